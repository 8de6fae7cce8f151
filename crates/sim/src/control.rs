//! The control tables: what is wrong with the machine, and how its topology stands, while it runs.
//!
//! The same tables are read from two places: a profile's `[control]`, and the file that `ACCELSIM_CONTROL`
//! names, which is read anew when it changes (looked at no more than every 50 ms). Lists add up; a `[[mig]]`
//! entry of the file replaces the profile's for that device; scalars of the file win. A missing file says
//! nothing is wrong. A broken file leaves the last good one in force and prints one line to stderr.
//!
//! ```toml
//! driver = "loaded"            # or "unloaded"
//! driver_epoch = 2             # another number: the driver was reloaded, all handles are invalid
//! driver_loaded_at = 1750000000.0   # unix seconds; volatile counters and energy restart here
//! hidden = [3]                 # devices that are not on the bus
//! unbound = [1]                # devices that the driver announces to give up; leaving the list: it takes them again
//! asleep = [2]                 # devices that runtime power management has suspended
//!
//! [[fault]]
//! device = 2                   # absent: every device
//! call = "nvmlDeviceGetPower*" # exact, or with a trailing *; absent: every call about a device
//! kind = "error"               # error | lost | hang | slow | garbage; of the whole process: crash | abort | exit
//! code = 999                   # error: the return code; exit: the process's (default: 0)
//! seconds = 5.0                # hang: how long; absent: until the fault is gone
//! ms = 200.0                   # slow: added to each call
//! value = "blank"              # garbage: absurd (x 1000) | blank (all ones, vendor blanks) | endless (text) |
//!                              #   hot (255 °C) | nan | untouched
//! at = 1750000000.0            # optional schedule: begin, unix seconds on the machine's clock (default: boot)
//! for = 30.0                   #   how long (default: for ever)
//! every = 600.0                #   again after this many seconds (default: once)
//!
//! [[xid]]
//! id = 1                       # delivered once to every event set that was made before its first sight
//! device = 0
//! code = 79
//! gpu_instance = 1             # optional
//! compute_instance = 0         # optional
//! at = 1750000000.0            # optional schedule, as above: one event per `every`
//! every = 3600.0
//!
//! [[event]]                    # NVIDIA: of another type, which the driver must support
//! id = 1
//! device = 0
//! type = "fatal_poison"        # see `EventKind`; `at` and `every` as for an XID
//!
//! [[ecc]]
//! device = 0
//! severity = "corrected"       # or "uncorrectable"
//! scope = "dram"               # or "sram"
//! count = 5                    # added to volatile and aggregate
//!
//! [[rows]]
//! device = 0
//! correctable = 1              # rows remapped (before Ampere: pages retired), by cause
//! uncorrectable = 0
//! pending = true
//! failure = false
//!
//! [[link]]
//! device = 0
//! link = 3
//! down = true
//! replays = 4
//! recoveries = 1
//! crc_errors = 2
//!
//! [[memory]]
//! device = 0
//! fill = 0.97                  # at least this share of what is not reserved is allocated
//!
//! [[heat]]
//! device = 0
//! celsius = 40.0               # hotter than the load explains; past its limits the device slows down
//!
//! [[process]]
//! device = 0
//! pids = [4711, 4712]          # processes of this host that work on the device, in equal parts
//!
//! [[recovery]]
//! device = 0
//! action = "reset"             # reset | reboot | drain_p2p | drain_and_reset
//!
//! [[fabric]]
//! device = 0
//! state = 2                    # as NVML numbers them; absent: completed
//! status = 23                  # what registration returned
//! clique = 0
//!
//! [[repair]]
//! device = 0
//! pending = ["memory_channel", "tpc", "bank"]   # what waits for a reset
//! unrepairable = true          # memory is defective for good
//! sram_locations = 2           # places with uncorrectable errors
//! banks = 1                    # memory banks that are remapped
//!
//! [[power_profile]]
//! device = 0
//! requested = [6]              # as NVML numbers them
//! enforced = [6]
//!
//! [[reset]]
//! device = 0
//! hard = 1                     # resets since the driver was loaded
//! soft = 2
//! running = true               # one is under way
//!
//! [[mig]]
//! device = 0
//! enabled = true
//! instances = ["3g.40gb", "2g.20gb:2"]   # see `mig`
//!
//! [[engine]]                   # an inference engine beside the machine; absent keys stay as the load has them
//! model = "llama"              # absent: every engine
//! kv_pressure = 0.97           # KV cache in use
//! ttft_seconds = 4.0           # mean time to first token
//! itl_seconds = 0.2            # mean inter-token latency
//! error_ratio = 0.05           # requests that end in an error
//! truncation_ratio = 0.2       # requests that end at their token limit
//! acceptance_ratio = 0.4       # drafted tokens that are accepted
//! waiting = 20                 # requests that wait for room
//! asleep = false
//! down = false                 # scrapes return 503
//! at = 1750000000.0            # optional: begin, unix seconds (default: from the start)
//! for = 600.0                  #   how long from then (default: for ever)
//! ```

mod engine;
mod fault;
mod file;
mod nvidia;
pub(crate) mod strain;

use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use engine::Engine;
pub use fault::{Fault, FaultKind, Garbage};
pub use file::ControlFile;
pub use nvidia::{Event, EventKind, Fabric, PowerProfile, Repair, Repairable};
pub use strain::{Heat, Memory, Processes};

/// All control tables. `Default` is a healthy machine.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// Whether the kernel driver is loaded; absent is loaded.
    pub driver: Option<DriverState>,
    /// Changes with every reload of the driver; absent is 0.
    pub driver_epoch: Option<u32>,
    /// When the driver was loaded, unix seconds; absent is at boot.
    pub driver_loaded_at: Option<f64>,
    /// Devices that are not on the bus.
    pub hidden: Vec<usize>,
    /// Devices that the driver announces to give up, and takes again when they are no longer here.
    pub unbound: Vec<usize>,
    /// Devices that runtime power management has suspended.
    pub asleep: Vec<usize>,
    /// Calls that go wrong.
    pub fault: Vec<Fault>,
    /// Critical error events.
    pub xid: Vec<Xid>,
    /// Events of other types.
    pub event: Vec<Event>,
    /// Memory errors.
    pub ecc: Vec<Ecc>,
    /// Remapped rows or retired pages.
    pub rows: Vec<Rows>,
    /// NVLink faults.
    pub link: Vec<Link>,
    /// Memory that something beside the load has allocated.
    pub memory: Vec<Memory>,
    /// Heat that the load does not explain.
    pub heat: Vec<Heat>,
    /// Which processes work on a device.
    pub process: Vec<Processes>,
    /// What an operator should do.
    pub recovery: Vec<Recovery>,
    /// Registration with the fabric.
    pub fabric: Vec<Fabric>,
    /// Repairs and defects.
    pub repair: Vec<Repair>,
    /// Power profiles.
    pub power_profile: Vec<PowerProfile>,
    /// Resets.
    pub reset: Vec<Reset>,
    /// Instances.
    pub mig: Vec<Mig>,
    /// Conditions of inference engines.
    pub engine: Vec<Engine>,
}

/// Whether the kernel driver is loaded.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DriverState {
    /// Calls return.
    #[default]
    Loaded,
    /// Initialisation fails, and what was initialised is no longer.
    Unloaded,
}

/// A critical error event.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Xid {
    /// Names the event: the same id is delivered once.
    pub id: u64,
    /// The device it is about.
    pub device: usize,
    /// The XID code.
    pub code: u64,
    /// The GPU instance it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_instance: Option<u32>,
    /// The compute instance it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_instance: Option<u32>,
    /// When it happens, unix seconds; absent is as soon as it is seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<f64>,
    /// Seconds from one event to the next; absent is once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<f64>,
}

/// Memory errors to add.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ecc {
    /// The device.
    pub device: usize,
    /// Corrected or not.
    pub severity: Severity,
    /// Where.
    pub scope: Scope,
    /// How many.
    pub count: u64,
}

/// Whether the hardware could correct an error.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It could.
    Corrected,
    /// It could not.
    Uncorrectable,
}

/// Where a memory error happened.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Device memory.
    Dram,
    /// Caches and register files.
    Sram,
}

/// Remapped rows, or retired pages on a device that retires pages.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rows {
    /// The device.
    pub device: usize,
    /// Because of corrected errors.
    pub correctable: u32,
    /// Because of uncorrectable errors.
    pub uncorrectable: u32,
    /// Some wait for a reset.
    pub pending: bool,
    /// A remapping has failed.
    pub failure: bool,
}

/// NVLink faults to add.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Link {
    /// The device.
    pub device: usize,
    /// The link.
    pub link: u32,
    /// It is down.
    pub down: bool,
    /// Retransmissions.
    pub replays: u64,
    /// Recoveries.
    pub recoveries: u64,
    /// Check-sum errors.
    pub crc_errors: u64,
}

/// What the driver recommends to an operator.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// The device.
    pub device: usize,
    /// What to do.
    pub action: RecoveryAction,
}

/// What the driver recommends to an operator, in the vendor's order.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryAction {
    /// Nothing.
    #[default]
    None,
    /// Reset the device.
    Reset,
    /// Reboot the node.
    Reboot,
    /// Drain peer-to-peer traffic.
    DrainP2p,
    /// Drain, then reset.
    DrainAndReset,
}

/// Resets that happened, and one that happens.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reset {
    /// The device.
    pub device: usize,
    /// Hard ones since the driver was loaded.
    pub hard: u64,
    /// Soft ones since the driver was loaded.
    pub soft: u64,
    /// One is under way.
    pub running: bool,
}

/// How a device is cut.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mig {
    /// The device.
    pub device: usize,
    /// Whether MIG mode is on.
    pub enabled: bool,
    /// The instances, as [`crate::mig`] writes them.
    pub instances: Vec<String>,
}

impl Control {
    /// Reads the tables from TOML; the error is one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| crate::profile::one_line(&error))
    }

    /// Writes the tables to `path` so that a reader sees the old file or the new one, never a half.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let text = toml::to_string(self).map_err(std::io::Error::other)?;
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let mut file = std::fs::File::create(&part)?;
        file.write_all(text.as_bytes())?;
        drop(file);
        std::fs::rename(&part, path)
    }

    /// These tables, overridden by those of `over`: what a control file does to a profile.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        fn joined<T: Clone>(below: &[T], above: &[T]) -> Vec<T> {
            [below, above].concat()
        }
        let kept_mig = self.mig.iter().filter(|mig| over.mig.iter().all(|own| own.device != mig.device));
        Self {
            driver: over.driver.or(self.driver),
            driver_epoch: over.driver_epoch.or(self.driver_epoch),
            driver_loaded_at: over.driver_loaded_at.or(self.driver_loaded_at),
            hidden: joined(&self.hidden, &over.hidden),
            unbound: joined(&self.unbound, &over.unbound),
            asleep: joined(&self.asleep, &over.asleep),
            fault: joined(&self.fault, &over.fault),
            xid: joined(&self.xid, &over.xid),
            event: joined(&self.event, &over.event),
            ecc: joined(&self.ecc, &over.ecc),
            rows: joined(&self.rows, &over.rows),
            link: joined(&self.link, &over.link),
            memory: joined(&self.memory, &over.memory),
            heat: joined(&self.heat, &over.heat),
            process: joined(&self.process, &over.process),
            recovery: joined(&self.recovery, &over.recovery),
            fabric: joined(&self.fabric, &over.fabric),
            repair: joined(&self.repair, &over.repair),
            power_profile: joined(&self.power_profile, &over.power_profile),
            reset: joined(&self.reset, &over.reset),
            mig: kept_mig.chain(&over.mig).cloned().collect(),
            engine: joined(&self.engine, &over.engine),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Control, Ecc, Engine, Event, EventKind, Fault, Garbage, Mig, Scope, Severity, Xid};

    fn full() -> Control {
        Control {
            driver_epoch: Some(2),
            hidden: vec![3],
            asleep: vec![2],
            fault: vec![
                Fault::error(999).device(2).call("nvmlDeviceGetPowerUsage"),
                Fault { every: Some(60.0), lasts: Some(5.0), ..Fault::garbage(Garbage::Nan) },
            ],
            xid: vec![Xid { id: 1, code: 79, gpu_instance: Some(1), ..Xid::default() }],
            event: vec![Event { id: 1, device: 0, kind: EventKind::PState, at: None, every: Some(9.0) }],
            ecc: vec![Ecc { device: 0, severity: Severity::Corrected, scope: Scope::Dram, count: 5 }],
            mig: vec![Mig { device: 0, enabled: true, instances: vec!["1g.10gb".to_owned()] }],
            engine: vec![Engine { kv_pressure: Some(0.97), at: Some(1.76e9), ..Engine::default() }],
            ..Control::default()
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("control.toml");
        full().write(&path).expect("the file is written");
        let text = std::fs::read_to_string(&path).expect("the file is read");
        assert_eq!(Control::parse(&text), Ok(full()));
        assert_eq!(std::fs::read_dir(directory.path()).expect("listed").count(), 1, "no part is left behind");
    }

    #[test]
    fn the_documented_example_is_accepted() {
        let lines: Vec<&str> = include_str!("control.rs")
            .lines()
            .skip_while(|line| *line != "//! ```toml")
            .skip(1)
            .take_while(|line| *line != "//! ```")
            .map(|line| line.strip_prefix("//! ").unwrap_or_default())
            .collect();
        let control = Control::parse(&lines.join("\n")).expect("the example parses");
        assert_eq!(control.fault.len(), 1);
        assert_eq!(control.mig.len(), 1);
        assert_eq!(control.engine.len(), 1);
        assert_eq!(control.engine[0].check(), Ok(()));
        assert!(control.recovery.len() == 1 && control.link.len() == 1 && control.rows.len() == 1);
        assert!(control.memory.len() == 1 && control.heat.len() == 1);
        assert_eq!((control.reset.len(), control.event.len()), (1, 1));
        assert!(control.fabric.len() == 1 && control.repair.len() == 1 && control.power_profile.len() == 1);
    }

    #[test]
    fn a_wrong_key_is_an_error_in_one_line() {
        let error = Control::parse("[[fault]]\nkind = \"error\"\ncod = 3\n").expect_err("a wrong key");
        assert!(error.contains("cod") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn a_file_adds_to_a_profile_and_replaces_its_instances() {
        let both = full().overlaid(&Control {
            driver_epoch: Some(7),
            hidden: vec![1],
            mig: vec![Mig { device: 0, ..Mig::default() }, Mig { device: 1, ..Mig::default() }],
            ..Control::default()
        });
        assert_eq!(both.driver_epoch, Some(7));
        assert_eq!(both.hidden, [3, 1]);
        assert_eq!(both.fault.len(), 2);
        assert!(both.mig.len() == 2 && both.mig.iter().all(|mig| !mig.enabled));
    }
}
