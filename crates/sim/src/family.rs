//! The families of devices that a simulated machine may have: one row each, with the library and the kernel
//! files that a program reads them through.

use crate::kernel::Files;
use crate::live::{self, Live, Options};

pub mod amx;
pub mod gaudi;
pub mod npu;
pub mod xpu;

/// A family.
#[derive(Debug)]
pub struct DeviceFamily {
    /// As `--source`, the label `family` and the family's table in a machine file are called.
    pub name: &'static str,
    /// Where that table is.
    pub table: TableOf,
    /// The vendor's library, where there is one.
    pub library: Option<Library>,
    /// What the kernel shows of the devices.
    pub files: Option<OpenFiles>,
    /// Flags that name other roots than sysfs, each with the folder of the simulated sysfs that is this root.
    pub roots: &'static [(&'static str, &'static str)],
}

/// What a family's table in a machine file is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableOf {
    /// `[name]`: a part of the machine that the kernel alone shows.
    Machine,
    /// `[device.name]`: what these PCI accelerators have and others do not.
    Device,
}

/// Opens the kernel files of a machine that has the devices; `None` of one that lacks the part.
pub type OpenFiles = fn(&Options) -> Result<Option<KernelFiles>, live::Error>;

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
    /// The flag by which an exporter is given its path.
    pub flag: &'static str,
    /// Whether programs preload it: it then stands behind the device nodes too, which are plain files here.
    pub preloaded: bool,
}

/// Every simulated library.
pub fn libraries() -> impl Iterator<Item = &'static Library> {
    FAMILIES.iter().filter_map(|family| family.library.as_ref())
}

/// Every family.
pub const FAMILIES: &[DeviceFamily] = &[
    DeviceFamily {
        name: "nvidia",
        table: TableOf::Device,
        library: Some(Library {
            package: "sim-nvml",
            built: "libnvidia_ml.so",
            shipped: "libnvidia-ml.so.1",
            flag: "--library.nvml",
            preloaded: false,
        }),
        files: None,
        roots: &[],
    },
    DeviceFamily {
        name: "gaudi",
        table: TableOf::Device,
        library: Some(Library {
            package: "sim-hlml",
            built: "libhlml.so",
            shipped: "libhlml.so",
            flag: "--library.hlml",
            preloaded: false,
        }),
        files: Some(|options| {
            let live = Live::open(options)?;
            Ok(Some(Box::new(move || gaudi::files(&live.now()))))
        }),
        roots: &[],
    },
    DeviceFamily {
        name: "xpu",
        table: TableOf::Device,
        // As a loader; the tests of Debian's own loader give it to that as a driver.
        library: Some(Library {
            package: "sim-level-zero",
            built: "libze_accelsim.so",
            shipped: "libze_loader.so.1",
            flag: "--library.level-zero",
            preloaded: true,
        }),
        files: Some(|options| {
            let live = Live::open(options)?;
            Ok(Some(Box::new(move || xpu::files(&live.now()))))
        }),
        roots: &[("--path.procfs", "proc"), ("--path.dev", "dev")],
    },
    DeviceFamily {
        name: "npu",
        table: TableOf::Machine,
        library: None,
        files: Some(|options| {
            let npu = npu::Npu::open(options)?;
            Ok(npu.map(|mut npu| Box::new(move || npu.files()) as _))
        }),
        roots: &[],
    },
    DeviceFamily {
        name: "amx",
        table: TableOf::Machine,
        library: None,
        files: Some(|options| {
            let sockets = amx::Amx::open(options)?;
            Ok(sockets.map(|mut sockets| Box::new(move || sockets.files()) as _))
        }),
        roots: &[],
    },
];

#[cfg(test)]
mod tests {
    use super::{FAMILIES, TableOf};
    use crate::live::Options;
    use crate::profile;

    fn families_of(machine: &str) -> Vec<&'static str> {
        let on = FAMILIES.iter().filter(|family| profile::has(machine, family).expect("built in"));
        on.map(|family| family.name).collect()
    }

    #[test]
    fn a_machine_has_the_families_of_its_tables() {
        assert_eq!(families_of("h100-mig"), ["nvidia"]);
        assert_eq!(families_of("nuc-lunar-lake"), ["xpu", "npu"]);
        assert_eq!(families_of("xeon6-amx"), ["amx"]);
        assert!(profile::has("no-such-machine", &FAMILIES[0]).is_err());
    }

    #[test]
    fn a_part_that_a_machine_lacks_shows_no_files() {
        let options = Options { machine: "t4-1".to_owned(), ..Options::default() };
        for family in FAMILIES.iter().filter(|family| family.table == TableOf::Machine) {
            let files = family.files.expect("the kernel shows it")(&options).expect("built in");
            assert!(files.is_none(), "{}", family.name);
        }
    }
}
