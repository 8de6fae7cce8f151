//! What the laboratory provides for each family of devices: one row per vendor.

use anyhow::{Context, Result};
use sim::{Live, Options, Profile, amx, kernel::Files, npu, profile::section};

/// A family whose devices a simulated machine may have.
#[derive(Debug)]
pub struct DeviceFamily {
    /// As `--source` and the label `family` call it.
    pub name: &'static str,
    /// Whether a machine has such devices.
    pub on: fn(machine: &str) -> bool,
    /// The vendor's library, where there is one.
    pub library: Option<Library>,
    /// What the kernel shows of the devices, as a function to be called again and again.
    pub files: Option<fn(&Options) -> Result<KernelFiles>>,
}

/// Returns the kernel files of the moment.
pub type KernelFiles = Box<dyn FnMut() -> Files + Send>;

/// A simulated vendor's library.
#[derive(Debug)]
pub struct Library {
    /// The package that builds it.
    pub package: &'static str,
    /// The file's name as cargo builds it.
    pub built: &'static str,
    /// The file's name as the vendor ships it.
    pub shipped: &'static str,
    /// The flag with its path.
    pub flag: &'static str,
}

/// Every family.
pub const FAMILIES: &[DeviceFamily] = &[
    DeviceFamily {
        name: "nvidia",
        on: |machine| Profile::open(machine).is_ok_and(|profile| profile.device.nvidia.is_some()),
        library: Some(Library {
            package: "sim-nvml",
            built: "libnvidia_ml.so",
            shipped: "libnvidia-ml.so.1",
            flag: "--library.nvml",
        }),
        files: None,
    },
    DeviceFamily {
        name: "gaudi",
        on: |machine| Profile::open(machine).is_ok_and(|profile| profile.device.gaudi.is_some()),
        library: Some(Library {
            package: "sim-hlml",
            built: "libhlml.so",
            shipped: "libhlml.so",
            flag: "--library.hlml",
        }),
        files: Some(|options| {
            let live = Live::open(options)?;
            Ok(Box::new(move || sim::gaudi::files(&live.now())))
        }),
    },
    DeviceFamily {
        name: "npu",
        on: |machine| section::<npu::NpuProfile>(machine, "npu").is_ok_and(|section| section.is_some()),
        library: None,
        files: Some(|options| {
            let mut npu = npu::Npu::open(options)?.context("a machine with an NPU")?;
            Ok(Box::new(move || npu.files()))
        }),
    },
    DeviceFamily {
        name: "amx",
        on: |machine| section::<amx::XeonProfile>(machine, "amx").is_ok_and(|section| section.is_some()),
        library: None,
        files: Some(|options| {
            let mut sockets = amx::Amx::open(options)?.context("a machine with simulated sockets")?;
            Ok(Box::new(move || sockets.files()))
        }),
    },
    DeviceFamily {
        name: "xpu",
        on: |machine| Profile::open(machine).is_ok_and(|profile| profile.device.xpu.is_some()),
        // As a loader; the tests of Debian's own loader give it to that as a driver.
        library: Some(Library {
            package: "sim-level-zero",
            built: "libze_accelsim.so",
            shipped: "libze_loader.so.1",
            flag: "--library.level-zero",
        }),
        files: Some(|options| {
            let live = Live::open(options)?;
            Ok(Box::new(move || sim::xpu::files(&live.now())))
        }),
    },
];

/// Flags that name other roots than sysfs, for the families whose kernel files lie there; each root is a
/// folder of the simulated sysfs.
pub const ROOTS: &[(&str, &str, &str)] = &[("xpu", "--path.procfs", "proc"), ("xpu", "--path.dev", "dev")];

/// The simulated libraries.
pub fn libraries() -> impl Iterator<Item = &'static Library> {
    FAMILIES.iter().filter_map(|family| family.library.as_ref())
}

/// The family whose library implements the device nodes, which are plain files here, in programs that preload
/// it.
pub const NODES_OF: &str = "xpu";
