//! What a machine is: a TOML file of `machines/`, compiled in and chosen by name, or read from a path.
//!
//! A profile may say `extends = "<name or path>"`; its tables then override the other profile's, key by
//! key, and an array replaces the array it meets. All sizes carry their unit in the key.

use std::path::Path;

use serde::{Deserialize, de::DeserializeOwned};
use toml::{Table, Value};

use crate::control::Control;
use crate::cycle::Silicon;
use crate::family::{DeviceFamily, FAMILIES, TableOf};
use crate::mig::InstanceProfile;

mod gaudi;
mod nvidia;
mod xpu;

pub use gaudi::Gaudi;
pub use nvidia::{Architecture, Engines, Inforom, Nvidia, Nvlink};
pub use xpu::{Sensor, Shown, Xpu};

/// Calls the macro `$call` with every profile that is compiled in: an identifier and its name.
#[macro_export]
macro_rules! built_in {
    ($call:ident) => {
        $call! {
            a100_8 = "a100-8";
            arc_a770 = "arc-a770";
            arc_a770_linux_6_8 = "arc-a770-linux-6.8";
            arc_a770_xe = "arc-a770-xe";
            arc_b580 = "arc-b580";
            arc_b580_linux_6_16 = "arc-b580-linux-6.16";
            arc_pro_b70 = "arc-pro-b70";
            b200_8 = "b200-8";
            battlematrix_8 = "battlematrix-8";
            gaudi3_8 = "gaudi3-8";
            h100_mig = "h100-mig";
            h100_sxm_4 = "h100-sxm-4";
            h100_sxm_8 = "h100-sxm-8";
            nuc_arrow_lake = "nuc-arrow-lake";
            nuc_lunar_lake = "nuc-lunar-lake";
            nuc_meteor_lake = "nuc-meteor-lake";
            nuc_panther_lake = "nuc-panther-lake";
            sierra_forest = "sierra-forest";
            t4_1 = "t4-1";
            xeon6_amx = "xeon6-amx";
            xeon_sapphire_rapids = "xeon-sapphire-rapids";
        }
    };
}

macro_rules! texts {
    ($($_identifier:ident = $name:literal;)*) => {
        /// The profiles that are compiled in: name and text.
        const BUILT_IN: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../machines/", $name, ".toml")))),*];
    };
}

built_in!(texts);

/// Longest chain of `extends` that is followed; a longer one is an error, since it is a loop.
const EXTENDS_DEPTH_MAX: usize = 8;

/// A profile that cannot be used; the message names the profile and what to change, in one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a built-in name nor a path.
    #[error("machine {name:?}: no such profile; built in are {known}; a path needs a '/' or ends in .toml")]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The built-in names, comma-separated.
        known: String,
    },
    /// The file could not be read.
    #[error("machine profile {path}: {source}")]
    Read {
        /// The path that was asked for.
        path: String,
        /// Why it could not be read.
        source: std::io::Error,
    },
    /// The text is not a profile.
    #[error("machine profile {name}: {reason}")]
    Invalid {
        /// Name or path of the profile.
        name: String,
        /// What is wrong, in one line.
        reason: String,
    },
}

/// A machine: a driver, a number of equal devices, and what is wrong with them from the start.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The name or path under which the profile was opened.
    #[serde(skip)]
    pub name: String,
    /// When the machine booted and its driver loaded, unix seconds.
    pub boot: f64,
    /// The kernel driver.
    pub driver: Driver,
    /// What every device is.
    pub device: DeviceProfile,
    /// Faults, instances and errors that the machine has without a control file.
    #[serde(default)]
    pub control: Control,
}

/// The kernel driver and its user-space library.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Driver {
    /// As the vendor writes it: `570.172.08`. For drivers of the kernel itself, the kernel's release.
    pub version: String,
}

impl Driver {
    /// Major and minor number, for decisions that depend on the driver's age; 0 where there is none.
    pub fn release(&self) -> (u32, u32) {
        let mut parts = self.version.split('.').map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }
}

/// What every device of the machine is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceProfile {
    /// Marketing name.
    pub name: String,
    /// Serial number of device 0; the others count up from it.
    pub first_serial: u64,
    /// PCI device id (high half) and vendor id (low half).
    pub pci_device_id: u32,
    /// PCI subsystem id.
    pub pci_subsystem_id: u32,
    /// PCI class code; absent is a 3D controller.
    #[serde(default = "class_3d_controller")]
    pub pci_class: u32,
    /// PCI address of each device, `0000:1a:00.0`; their number is the number of devices.
    pub pci_addresses: Vec<String>,
    /// NUMA node of each device.
    pub numa_nodes: Vec<u32>,
    /// Slot of each device on its baseboard; empty where there is no baseboard.
    #[serde(default)]
    pub module_ids: Vec<u32>,
    /// Device memory.
    pub memory: Memory,
    /// Power draw and limits.
    pub power: Power,
    /// Heat.
    pub thermal: Thermal,
    /// Clocks.
    pub clocks: Clocks,
    /// The PCIe link.
    pub pcie: Pcie,
    /// Memory errors.
    pub ecc: Ecc,
    /// What only an NVIDIA device has.
    pub nvidia: Option<Nvidia>,
    /// What only a Gaudi has.
    pub gaudi: Option<Gaudi>,
    /// What only an Intel GPU has.
    pub xpu: Option<Xpu>,
}

/// Device memory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// In all, MiB.
    pub total_mib: u64,
    /// Of it kept by driver and firmware, MiB.
    pub reserved_mib: u64,
    /// Width of the memory bus, bits.
    pub bus_width_bits: u32,
}

/// Power draw and limits, W.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Power {
    /// With no work.
    pub idle_watts: f64,
    /// Limit at boot, and the one in force.
    pub limit_watts: f64,
    /// Lowest limit that can be set.
    pub limit_min_watts: f64,
    /// Highest limit that can be set.
    pub limit_max_watts: f64,
}

/// Thermal behaviour and thresholds, °C.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thermal {
    /// Air or coolant at the inlet.
    pub ambient_celsius: f64,
    /// Rise of the GPU over ambient for each watt, once settled.
    pub celsius_per_watt: f64,
    /// Time constant of the GPU's temperature.
    pub time_constant_seconds: f64,
    /// Whether the memory has a sensor of its own.
    pub memory_sensor: bool,
    /// The hardware shuts down.
    pub shutdown_celsius: i32,
    /// The hardware slows down.
    pub slowdown_celsius: i32,
    /// The driver begins to slow the GPU down.
    pub gpu_max_celsius: i32,
    /// The driver begins to slow the memory down; absent without a sensor.
    pub memory_max_celsius: Option<i32>,
}

/// Clock frequencies, MHz.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clocks {
    /// Core clock with no work.
    pub core_idle_megahertz: f64,
    /// Highest core clock.
    pub core_max_megahertz: f64,
    /// Memory clock.
    pub memory_megahertz: u32,
}

/// The PCIe link and its rate of errors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pcie {
    /// PCIe generation.
    pub generation: u32,
    /// Lanes.
    pub width: u32,
    /// Retransmissions per day.
    pub replays_per_day: f64,
    /// Width of the byte counters: they wrap when it is full. Absent is 64.
    pub byte_counter_bits: Option<u32>,
}

/// How often memory errors occur, and how they are repaired.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ecc {
    /// Corrected DRAM errors per device and day.
    pub corrected_per_day: f64,
    /// Corrected DRAM errors before this boot.
    pub corrected_before_boot: u64,
    /// Banks of row-remap spares; 0 where pages are retired instead (before Ampere).
    pub remap_banks: u32,
    /// Groups of banks with spare banks, where whole banks can be remapped too.
    pub bank_groups: Option<u32>,
}

/// An accelerator without a display.
fn class_3d_controller() -> u32 {
    0x03_0200
}

impl DeviceProfile {
    /// What the cycle needs to know.
    pub fn silicon(&self) -> Silicon {
        let nvlink = self.nvidia.as_ref().and_then(|nvidia| nvidia.nvlink.as_ref());
        Silicon {
            power: self.power.clone(),
            thermal: self.thermal.clone(),
            clocks: self.clocks.clone(),
            pcie_bytes_per_second: self.pcie.bytes_per_second(),
            fabric_bytes_per_second: nvlink.map_or(0.0, |nvlink| {
                f64::from(nvlink.links) * f64::from(nvlink.link_megabytes_per_second) * 1e6
            }),
        }
    }

    /// Links to other devices of the machine.
    pub fn fabric_links(&self) -> u32 {
        self.nvidia.as_ref().and_then(|nvidia| nvidia.nvlink.as_ref()).map_or(0, |nvlink| nvlink.links)
    }
}

impl Pcie {
    /// Capacity of the link in one direction.
    pub fn bytes_per_second(&self) -> f64 {
        // 8 GT/s with 128b/130b coding in generation 3, doubling with each.
        0.985e9 * f64::from(self.width) * f64::from(self.generation.saturating_sub(3)).exp2()
    }
}

impl Profile {
    /// Opens a built-in profile by name, or a file when `name` contains a `/` or ends in `.toml`.
    pub fn open(name: &str) -> Result<Self, Error> {
        let invalid = |reason: String| Error::Invalid { name: name.to_owned(), reason };
        let mut table = table(name, EXTENDS_DEPTH_MAX)?;
        for part in FAMILIES.iter().filter(|family| family.table == TableOf::Machine) {
            table.remove(part.name);
        }
        let mut profile: Self = Value::Table(table).try_into().map_err(|error| invalid(one_line(&error)))?;
        name.clone_into(&mut profile.name);
        profile.check().map_err(invalid)?;
        Ok(profile)
    }

    /// How many devices the machine has, present or hidden.
    pub fn device_count(&self) -> usize {
        self.device.pci_addresses.len()
    }

    /// How its devices can be cut; none where they cannot.
    pub fn mig_profiles(&self) -> &[InstanceProfile] {
        self.device.nvidia.as_ref().map_or(&[], |nvidia| &nvidia.mig_profiles)
    }

    /// What the arithmetic elsewhere relies on. Each row is a condition and what to say when it fails.
    fn check(&self) -> Result<(), String> {
        let device = &self.device;
        let (memory, power, count) = (&device.memory, &device.power, self.device_count());
        let modules = device.module_ids.len();
        let rows = [
            ((1..=64).contains(&count), "device.pci_addresses: 1 to 64 devices"),
            (
                device.pci_addresses.iter().all(|address| pci_numbers(address).is_some()),
                "device.pci_addresses: each like 0000:1a:00.0",
            ),
            (device.numa_nodes.len() == count, "device.numa_nodes: one for each device"),
            (device.numa_nodes.iter().all(|node| *node < 2), "device.numa_nodes: 0 or 1"),
            (modules == 0 || modules == count, "device.module_ids: one for each device, or none"),
            (memory.total_mib < 1 << 32, "device.memory: total_mib is beyond any device"),
            (memory.reserved_mib < memory.total_mib, "device.memory: reserved_mib must be below total_mib"),
            (power.idle_watts < power.limit_watts, "device.power: idle_watts must be below limit_watts"),
            (
                device.pcie.byte_counter_bits.is_none_or(|bits| (1..=64).contains(&bits)),
                "device.pcie: byte_counter_bits must be 1 to 64",
            ),
        ];
        hold(&rows)?;
        device.nvidia.as_ref().map_or(Ok(()), |nvidia| nvidia.check(memory))?;
        device.xpu.as_ref().map_or(Ok(()), Xpu::check)?;
        device.gaudi.as_ref().map_or(Ok(()), Gaudi::check)
    }
}

/// Names the first condition that does not hold.
fn hold(rows: &[(bool, &str)]) -> Result<(), String> {
    match rows.iter().find(|(holds, _)| !holds) {
        None => Ok(()),
        Some((_, reason)) => Err((*reason).to_owned()),
    }
}

/// The table of another family in a machine file, with what every machine has.
#[derive(Clone, Debug)]
pub struct Section<T> {
    /// When the machine booted, unix seconds.
    pub boot: f64,
    /// The kernel driver; absent on a machine without devices of its own.
    pub driver: Option<Driver>,
    /// Faults that the machine has without a control file.
    pub control: Control,
    /// The family's own table.
    pub facts: T,
}

/// Whether a machine has devices of a family.
///
/// # Errors
/// When there is no such machine, or its file is not TOML.
pub fn has(name: &str, family: &DeviceFamily) -> Result<bool, Error> {
    let table = table(name, EXTENDS_DEPTH_MAX)?;
    let parent = match family.table {
        TableOf::Machine => Some(&table),
        TableOf::Device => table.get("device").and_then(Value::as_table),
    };
    Ok(parent.is_some_and(|parent| parent.contains_key(family.name)))
}

/// Reads the table `key` of a machine file; `None` when the machine has no such devices.
///
/// # Errors
/// Those of [`Profile::open`].
pub fn section<T: DeserializeOwned>(name: &str, key: &str) -> Result<Option<Section<T>>, Error> {
    #[derive(Deserialize)]
    struct Common {
        boot: f64,
        driver: Option<Driver>,
        #[serde(default)]
        control: Control,
    }
    let table = table(name, EXTENDS_DEPTH_MAX)?;
    let invalid = |error| Error::Invalid { name: name.to_owned(), reason: one_line(&error) };
    let Some(facts) = table.get(key).cloned() else { return Ok(None) };
    let Common { boot, driver, control } = Value::Table(table).try_into().map_err(invalid)?;
    Ok(Some(Section { boot, driver, control, facts: facts.try_into().map_err(invalid)? }))
}

/// Domain, bus and device number of a PCI address like `0000:1a:00.0`.
pub fn pci_numbers(address: &str) -> Option<(u32, u32, u32)> {
    let (domain, rest) = address.split_once(':')?;
    let (bus, rest) = rest.split_once(':')?;
    let (slot, function) = rest.split_once('.')?;
    let hex = |digits: &str| u32::from_str_radix(digits, 16).ok();
    (function == "0").then_some(())?;
    Some((hex(domain)?, hex(bus)?, hex(slot)?))
}

fn table(name: &str, depth: usize) -> Result<Table, Error> {
    let text = if name.contains('/') || Path::new(name).extension().is_some_and(|ext| ext == "toml") {
        std::fs::read_to_string(name).map_err(|source| Error::Read { path: name.to_owned(), source })?
    } else if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
        (*text).to_owned()
    } else {
        let known = BUILT_IN.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
        return Err(Error::Unknown { name: name.to_owned(), known });
    };
    let invalid = |reason: String| Error::Invalid { name: name.to_owned(), reason };
    let mut own: Table = text.parse().map_err(|error| invalid(one_line(&error)))?;
    match own.remove("extends") {
        None => Ok(own),
        Some(_) if depth == 0 => Err(invalid("extends: more than 8 levels, or a loop".to_owned())),
        Some(Value::String(base)) => {
            let mut base = table(&base, depth - 1)?;
            overlay(&mut base, own);
            Ok(base)
        }
        Some(_) => Err(invalid("extends: must be the name or path of a profile".to_owned())),
    }
}

fn overlay(base: &mut Table, own: Table) {
    for (key, value) in own {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => overlay(below, above),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// TOML errors span several lines, with an excerpt; a log line has room for one.
pub(crate) fn one_line(error: &toml::de::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The built-in machines that have PCI accelerators.
#[cfg(test)]
pub(crate) fn accelerated() -> impl Iterator<Item = &'static str> {
    let names = BUILT_IN.iter().map(|(name, _)| *name);
    names.filter(|name| table(name, EXTENDS_DEPTH_MAX).expect("built in").contains_key("device"))
}

#[cfg(test)]
mod tests {
    use super::{Error, Profile, accelerated};

    #[test]
    fn every_built_in_profile_opens() {
        for name in accelerated() {
            let profile = Profile::open(name).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(profile.name, name);
        }
    }

    #[test]
    fn a_profile_extends_another_key_by_key() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("old.toml");
        let text = "extends = \"h100-sxm-8\"\n[driver]\nversion = \"535.104.05\"\n";
        std::fs::write(&path, text).expect("the profile is written");
        let old = Profile::open(path.to_str().expect("UTF-8")).expect("the profile opens");
        assert_eq!(old.driver.release(), (535, 104));
        assert_eq!(old.device.name, Profile::open("h100-sxm-8").expect("built in").device.name);
        assert_eq!(old.device_count(), 8);
    }

    #[test]
    fn figures_that_no_machine_has_are_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("odd.toml");
        for (table, word) in [
            ("[device]\nnuma_nodes = [0]", "numa_nodes"),
            ("[device]\nnuma_nodes = [0, 0, 0, 0, 0, 0, 0, 9]", "numa_nodes"),
            ("[device]\npci_addresses = []", "pci_addresses"),
            ("[device.memory]\nreserved_mib = 90000", "reserved_mib"),
            ("[device.power]\nidle_watts = 900.0", "idle_watts"),
            ("[device.pcie]\nbyte_counter_bits = 0", "byte_counter_bits"),
            ("[device.nvidia]\nbar1_mib = 0", "bar1_mib"),
            ("[device.nvidia.nvlink]\nlinks = 33", "nvlink"),
            ("[device]\ncolour = \"green\"", "colour"),
        ] {
            std::fs::write(&path, format!("extends = \"h100-sxm-8\"\n{table}\n")).expect("written");
            let error = Profile::open(path.to_str().expect("UTF-8")).expect_err(table).to_string();
            assert!(error.contains(word) && error.contains("odd.toml"), "{error}");
        }
    }

    #[test]
    fn errors_name_the_profile_in_one_line() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("loop.toml");
        let name = path.to_str().expect("UTF-8");
        std::fs::write(&path, format!("extends = {name:?}")).expect("the profile is written");
        let errors = [
            Profile::open("h100").expect_err("no such profile"),
            Profile::open("/nowhere/machine.toml").expect_err("no such file"),
            Profile::open(name).expect_err("a loop"),
        ];
        assert!(matches!(errors[0], Error::Unknown { .. }));
        assert!(matches!(errors[1], Error::Read { .. }));
        for error in errors {
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}
