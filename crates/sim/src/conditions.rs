//! The control tables checked against a machine, and what they mean at a given time.

use std::time::Duration;

use crate::control::{
    Control, DriverState, Event, Fabric, Fault, FaultKind, Garbage, Link, PowerProfile, RecoveryAction,
    Repair, Reset, Rows, Scope, Severity, Xid, strain::Strain,
};
use crate::mig::{self, Instance};
use crate::profile::Profile;

/// What a call meets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// Return this code.
    Error(u32),
    /// The device has fallen off the bus.
    Lost,
    /// Hold the call for so long, or until this effect is gone; then go on.
    Hang(Option<Duration>),
    /// Hold the call for so long, then go on.
    Slow(Duration),
    /// Succeed with a wrong value of this class.
    Garbage(Garbage),
    /// End the process: see [`End`].
    End(End),
}

/// How a library ends the process that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By a write to where no memory is.
    Crash,
    /// By `abort`.
    Abort,
    /// By `exit` with this code.
    Exit(u8),
}

/// The `[[fault]]` tables, in their order.
#[derive(Clone, Debug)]
pub struct Faults {
    all: Vec<(Effect, Fault)>,
    boot: f64,
}

/// Control tables that fit a machine.
#[derive(Clone, Debug)]
pub struct Conditions {
    driver: DriverState,
    driver_epoch: u32,
    driver_loaded_at: f64,
    faults: Faults,
    xids: Vec<Xid>,
    events: Vec<Event>,
    devices: Vec<DeviceConditions>,
}

/// What stands for one device, whatever the time.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "facts that are independent of each other")]
pub struct DeviceConditions {
    /// Not on the bus.
    pub hidden: bool,
    /// Announced to be given up by the driver.
    pub unbound: bool,
    /// Suspended by runtime power management.
    pub asleep: bool,
    /// Added errors: corrected then uncorrectable, each DRAM then SRAM.
    pub ecc: [[u64; 2]; 2],
    /// Remapped rows or retired pages.
    pub rows: Rows,
    /// NVLink faults, one entry for each link that has one.
    pub links: Vec<Link>,
    /// What fills or heats it beside its load.
    pub(crate) strain: Strain,
    /// Ids of the processes that work on it; empty where the machine makes them up.
    pub(crate) pids: Vec<u32>,
    /// What an operator should do.
    pub recovery: RecoveryAction,
    /// Registration with the fabric; the last entry counts.
    pub fabric: Fabric,
    /// Repairs and defects; the last entry counts.
    pub repair: Repair,
    /// Power profiles; the last entry counts.
    pub power_profile: PowerProfile,
    /// Resets.
    pub reset: Reset,
    /// MIG mode.
    pub mig_enabled: bool,
    /// Instances, in the order in which they were made; empty unless MIG mode is on.
    pub instances: Vec<Instance>,
    /// Changes when the instances do, so that a handle to an old one can be recognised.
    pub mig_generation: u16,
}

impl Conditions {
    /// Checks `control` against the machine; the error says in one line what does not fit.
    pub fn new(profile: &Profile, control: &Control) -> Result<Self, String> {
        let mut devices = vec![DeviceConditions::default(); profile.device_count()];
        let within = |table: &str, device: usize| {
            let count = profile.device_count();
            if device < count { Ok(device) } else { Err(format!("{table}: device {device} of {count}")) }
        };
        for &device in &control.hidden {
            devices[within("hidden", device)?].hidden = true;
        }
        for &device in &control.unbound {
            devices[within("unbound", device)?].unbound = true;
        }
        for &device in &control.asleep {
            devices[within("asleep", device)?].asleep = true;
        }
        for ecc in &control.ecc {
            let counts = &mut devices[within("ecc", ecc.device)?].ecc;
            let count = &mut counts[ecc.severity as usize][ecc.scope as usize];
            *count = count.saturating_add(ecc.count);
        }
        for rows in &control.rows {
            let sum = &mut devices[within("rows", rows.device)?].rows;
            sum.correctable = sum.correctable.saturating_add(rows.correctable);
            sum.uncorrectable = sum.uncorrectable.saturating_add(rows.uncorrectable);
            sum.pending |= rows.pending;
            sum.failure |= rows.failure;
        }
        for link in &control.link {
            devices[within("link", link.device)?].links.push(link.clone());
        }
        for memory in &control.memory {
            devices[within("memory", memory.device)?].strain.fill(memory)?;
        }
        for heat in &control.heat {
            devices[within("heat", heat.device)?].strain.heat(heat)?;
        }
        for process in &control.process {
            let pids = &mut devices[within("process", process.device)?].pids;
            pids.extend(&process.pids);
        }
        for recovery in &control.recovery {
            devices[within("recovery", recovery.device)?].recovery = recovery.action;
        }
        for fabric in &control.fabric {
            devices[within("fabric", fabric.device)?].fabric = fabric.clone();
        }
        for repair in &control.repair {
            devices[within("repair", repair.device)?].repair = repair.clone();
        }
        for profile in &control.power_profile {
            devices[within("power_profile", profile.device)?].power_profile = profile.clone();
        }
        for reset in &control.reset {
            let sum = &mut devices[within("reset", reset.device)?].reset;
            sum.hard = sum.hard.saturating_add(reset.hard);
            sum.soft = sum.soft.saturating_add(reset.soft);
            sum.running |= reset.running;
        }
        for mig in &control.mig {
            let device = &mut devices[within("mig", mig.device)?];
            device.mig_enabled = mig.enabled;
            if mig.enabled && profile.mig_profiles().is_empty() {
                return Err(format!("mig: device {} cannot be cut", mig.device));
            }
            let names = if mig.enabled { &mig.instances[..] } else { &[] };
            device.instances = mig::layout(profile.mig_profiles(), names)?;
            let words: Vec<u64> = names.iter().flat_map(|name| name.bytes().map(u64::from)).collect();
            device.mig_generation = crate::hash::mix(&words) as u16;
        }
        for device in control.fault.iter().filter_map(|fault| fault.device) {
            within("fault", device)?;
        }
        for xid in &control.xid {
            within("xid", xid.device)?;
        }
        for event in &control.event {
            within("event", event.device)?;
        }
        Ok(Self {
            driver: control.driver.unwrap_or_default(),
            driver_epoch: control.driver_epoch.unwrap_or_default(),
            driver_loaded_at: control.driver_loaded_at.unwrap_or(profile.boot),
            faults: Faults::new(&control.fault, profile.boot)?,
            xids: control.xid.clone(),
            events: control.event.clone(),
            devices,
        })
    }

    /// The driver's generation, or `None` while no driver is loaded.
    pub fn driver_epoch(&self) -> Option<u32> {
        (self.driver == DriverState::Loaded).then_some(self.driver_epoch)
    }

    /// When the driver was loaded, unix seconds.
    pub fn driver_loaded_at(&self) -> f64 {
        self.driver_loaded_at
    }

    /// What stands for one device.
    pub fn device(&self, index: usize) -> Option<&DeviceConditions> {
        self.devices.get(index)
    }

    /// What a call meets: [`Faults::effect`].
    pub fn effect(&self, call: &str, device: Option<usize>, now: f64) -> Option<Effect> {
        self.faults.effect(call, device, now)
    }

    /// What a read of a file meets: [`Faults::effect_on_file`].
    pub fn effect_on_file(&self, name: &str, device: usize, now: f64) -> Option<Effect> {
        self.faults.effect_on_file(name, Some(device), now)
    }

    /// Critical error events, each with how often it has happened by `now` (unix seconds).
    pub fn xids(&self, now: f64) -> impl Iterator<Item = (&Xid, u64)> {
        self.xids.iter().map(move |xid| (xid, occurrences(xid.at, xid.every, now)))
    }

    /// Events of other types, each with how often it has happened by `now` (unix seconds).
    pub fn events(&self, now: f64) -> impl Iterator<Item = (&Event, u64)> {
        self.events.iter().map(move |event| (event, occurrences(event.at, event.every, now)))
    }
}

impl Faults {
    /// Checks the tables of a machine that booted at `boot` (unix seconds); the error is one line.
    pub fn new(faults: &[Fault], boot: f64) -> Result<Self, String> {
        let all = faults.iter().map(|fault| Ok((effect(fault)?, fault.clone())));
        Ok(Self { all: all.collect::<Result<_, String>>()?, boot })
    }

    /// What a call meets at `now` (unix seconds): the first fault of the list that fits. `device` is `None` for a
    /// call that is not about a device; only a fault that names the call and no device affects it.
    pub fn effect(&self, call: &str, device: Option<usize>, now: f64) -> Option<Effect> {
        self.first(device, now, |fault| match &fault.call {
            None => device.is_some(),
            Some(pattern) => named(pattern, call),
        })
    }

    /// What a read of a file of this name meets, by the same rules; a fault must name the file.
    pub fn effect_on_file(&self, name: &str, device: Option<usize>, now: f64) -> Option<Effect> {
        self.first(device, now, |fault| fault.call.as_ref().is_some_and(|pattern| named(pattern, name)))
    }

    fn first(&self, device: Option<usize>, now: f64, fits: impl Fn(&Fault) -> bool) -> Option<Effect> {
        let applies = |fault: &Fault| {
            let begin = fault.at.unwrap_or(self.boot);
            (fault.device.is_none() || fault.device == device)
                && fits(fault)
                && active(begin, fault.lasts, fault.every, now)
        };
        self.all.iter().find(|(_, fault)| applies(fault)).map(|(effect, _)| *effect)
    }
}

/// Whether a pattern, exact or with a trailing `*`, names a call or a file.
fn named(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

impl DeviceConditions {
    /// Errors that the control tables add.
    pub fn ecc_errors(&self, severity: Severity, scope: Scope) -> u64 {
        self.ecc[severity as usize][scope as usize]
    }
}

fn effect(fault: &Fault) -> Result<Effect, String> {
    let missing = |key: &str| format!("fault: kind = \"{:?}\" needs `{key}`", fault.kind).to_lowercase();
    let time = |seconds: f64| Duration::try_from_secs_f64(seconds).map_err(|error| format!("fault: {error}"));
    Ok(match fault.kind {
        FaultKind::Error => Effect::Error(fault.code.ok_or_else(|| missing("code"))?),
        FaultKind::Lost => Effect::Lost,
        FaultKind::Hang => Effect::Hang(fault.seconds.map(time).transpose()?),
        FaultKind::Slow => Effect::Slow(time(fault.ms.ok_or_else(|| missing("ms"))? / 1e3)?),
        FaultKind::Garbage => Effect::Garbage(fault.value.ok_or_else(|| missing("value"))?),
        FaultKind::Crash => Effect::End(End::Crash),
        FaultKind::Abort => Effect::End(End::Abort),
        FaultKind::Exit => {
            let code = fault.code.unwrap_or(0);
            let code = u8::try_from(code).map_err(|_| format!("fault: code = {code}: write 0 to 255"))?;
            Effect::End(End::Exit(code))
        }
    })
}

fn active(begin: f64, lasts: Option<f64>, every: Option<f64>, now: f64) -> bool {
    let since = now - begin;
    let since = match every {
        Some(period) if period > 0.0 && since >= 0.0 => since % period,
        _ => since,
    };
    since >= 0.0 && lasts.is_none_or(|lasts| since < lasts)
}

fn occurrences(at: Option<f64>, every: Option<f64>, now: f64) -> u64 {
    match (at, every) {
        (Some(at), _) if now < at => 0,
        (Some(at), Some(period)) if period > 0.0 => ((now - at) / period) as u64 + 1,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::{Conditions, Effect};
    use crate::control::{Control, Fault, FaultKind, Garbage, Heat, Memory, Mig, Xid};
    use crate::profile::Profile;

    fn conditions(fault: Vec<Fault>) -> Conditions {
        let profile = Profile::open("h100-sxm-8").expect("built in");
        Conditions::new(&profile, &Control { fault, ..Control::default() }).expect("it fits")
    }

    #[test]
    fn faults_match_by_call_and_device() {
        let exact = conditions(vec![Fault::error(999).device(2).call("nvmlDeviceGetPowerUsage")]);
        let now = 1.8e9;
        assert_eq!(exact.effect("nvmlDeviceGetPowerUsage", Some(2), now), Some(Effect::Error(999)));
        assert_eq!(exact.effect("nvmlDeviceGetPowerUsage", Some(1), now), None);
        assert_eq!(exact.effect("nvmlDeviceGetPowerUsage", None, now), None);
        assert_eq!(exact.effect("nvmlDeviceGetPowerUsage_v2", Some(2), now), None);

        let glob = conditions(vec![Fault::lost().call("nvmlDeviceGet*")]);
        assert_eq!(glob.effect("nvmlDeviceGetName", Some(7), now), Some(Effect::Lost));
        assert_eq!(glob.effect("nvmlDeviceGetCount_v2", None, now), Some(Effect::Lost));
        assert_eq!(glob.effect("nvmlInit_v2", None, now), None);

        let any = conditions(vec![Fault::lost().device(0)]);
        assert_eq!(any.effect("nvmlDeviceGetName", Some(0), now), Some(Effect::Lost));
        assert_eq!(any.effect("nvmlInit_v2", None, now), None, "a call without a device must be named");
        assert_eq!(any.effect_on_file("energy1_input", 0, now), None, "and so must a file");
        assert_eq!(glob.effect_on_file("nvmlDeviceGetName", 0, now), Some(Effect::Lost));
    }

    #[test]
    fn the_first_fault_that_fits_wins() {
        let both = conditions(vec![Fault::garbage(Garbage::Hot).device(0), Fault::error(3)]);
        assert_eq!(both.effect("f", Some(0), 1.8e9), Some(Effect::Garbage(Garbage::Hot)));
        assert_eq!(both.effect("f", Some(1), 1.8e9), Some(Effect::Error(3)));
    }

    #[test]
    fn schedules_begin_last_and_repeat() {
        let fault = Fault { at: Some(1000.0), lasts: Some(5.0), every: Some(60.0), ..Fault::error(1) };
        let scheduled = conditions(vec![fault]);
        let active = |now| scheduled.effect("f", Some(0), now).is_some();
        assert!(!active(999.9));
        assert!(active(1000.0) && active(1004.9) && !active(1005.0));
        assert!(!active(1059.9) && active(1060.0) && !active(1065.0) && active(6000.0 + 1002.0));

        let once = conditions(vec![Fault { at: Some(1000.0), ..Fault::error(1) }]);
        assert!(once.effect("f", Some(0), 999.0).is_none() && once.effect("f", Some(0), 9e9).is_some());
    }

    #[test]
    fn events_happen_once_or_by_schedule() {
        let profile = Profile::open("h100-sxm-8").expect("built in");
        let xid = vec![
            Xid { id: 1, code: 79, ..Xid::default() },
            Xid { id: 2, code: 31, at: Some(100.0), every: Some(10.0), ..Xid::default() },
        ];
        let events = Conditions::new(&profile, &Control { xid, ..Control::default() }).expect("it fits");
        let counts = |now| events.xids(now).map(|(_, count)| count).collect::<Vec<_>>();
        assert_eq!(counts(0.0), [1, 0]);
        assert_eq!(counts(100.0), [1, 1]);
        assert_eq!(counts(125.0), [1, 3]);
    }

    #[test]
    fn tables_that_do_not_fit_are_refused() {
        let t4 = Profile::open("t4-1").expect("built in");
        let mig = vec![Mig { enabled: true, ..Mig::default() }];
        let wrong = [
            Control { hidden: vec![1], ..Control::default() },
            Control { fault: vec![Fault::lost().device(9)], ..Control::default() },
            Control { fault: vec![Fault { code: None, ..Fault::error(1) }], ..Control::default() },
            Control { fault: vec![Fault { kind: FaultKind::Slow, ..Fault::lost() }], ..Control::default() },
            Control { fault: vec![Fault::hang_for(-1.0)], ..Control::default() },
            Control { fault: vec![Fault { code: Some(256), ..Fault::exit() }], ..Control::default() },
            Control { memory: vec![Memory { device: 0, fill: 1.5 }], ..Control::default() },
            Control { heat: vec![Heat { device: 1, celsius: 5.0 }], ..Control::default() },
            Control { mig, ..Control::default() },
        ];
        for control in wrong {
            let error = Conditions::new(&t4, &control).expect_err("it must not fit");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
