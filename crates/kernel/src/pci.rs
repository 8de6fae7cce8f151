//! PCI functions: driver, identity, link and runtime power state.
//!
//! Reading identity and power state does not wake a function. [`Function::link`] reads its configuration space and does,
//! so [`Function::power`] is read first.

use std::{
    fs,
    path::{Path, PathBuf},
};

use reading::{Fault, Measured};

use crate::file::{File, entries};

/// One function of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// `0000:03:00.0`, in lower case.
    pub address: String,
    /// Its folder, `bus/pci/devices/<address>`.
    pub folder: PathBuf,
}

/// Runtime power state (Documentation/power/runtime_pm.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// Awake.
    Active,
    /// Asleep; most reads of its registers wake it.
    Suspended,
    /// Suspending or resuming.
    Changing,
    /// Runtime power management is off or failed: the function is awake.
    Unmanaged,
}

/// A PCIe link's speed and width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// PCIe generation, 1 to 7.
    pub generation: u32,
    /// Lanes.
    pub width: u32,
}

impl Link {
    /// Bytes per second in one direction, after the line code of its generation: 8b/10b up to 2, 128b/130b up
    /// to 5, FLIT from 6 on (whose overhead beyond the line code is not taken off).
    pub fn bytes_per_second(self) -> f64 {
        let row = SPEEDS.iter().find(|(_, generation, _)| *generation == self.generation);
        row.map_or(0.0, |(speed, _, code)| speed.parse::<f64>().unwrap_or(0.0) * code * 1e9 / 8.0)
            * f64::from(self.width)
    }
}

/// A vendor's way of writing an address, `00000000:1A:00.0`, as sysfs and lspci write it: `0000:1a:00.0`.
pub fn address(vendors: &str) -> String {
    let lower = vendors.to_ascii_lowercase();
    match lower.split_once(':') {
        Some((domain, rest)) if domain.len() == 8 && domain.starts_with("0000") => {
            format!("{}:{rest}", &domain[4..])
        }
        _ => lower,
    }
}

/// Transfers per second and lane in 10^9, the generation that has it, and the share that is payload.
const SPEEDS: &[(&str, u32, f64)] = &[
    ("2.5", 1, 0.8),
    ("5.0", 2, 0.8),
    ("8.0", 3, 128.0 / 130.0),
    ("16.0", 4, 128.0 / 130.0),
    ("32.0", 5, 128.0 / 130.0),
    ("64.0", 6, 1.0),
    ("128.0", 7, 1.0),
];

impl Function {
    /// The functions that a kernel driver has bound, in order of their addresses.
    pub fn driven_by(sysfs: &Path, driver: &str) -> Vec<Self> {
        // The folder also has bind, module and uevent.
        let bound = entries(&sysfs.join("bus/pci/drivers").join(driver));
        bound.iter().filter(|name| name.matches(':').count() == 2).map(|name| Self::at(sysfs, name)).collect()
    }

    /// The function at an address, which need not exist.
    pub fn at(sysfs: &Path, address: &str) -> Self {
        let address = address.to_lowercase();
        Self { folder: sysfs.join("bus/pci/devices").join(&address), address }
    }

    /// Its vendor id.
    pub fn vendor(&self) -> Measured<u64> {
        File::new(&self.folder, "vendor").hex()
    }

    /// Its device id.
    pub fn device(&self) -> Measured<u64> {
        File::new(&self.folder, "device").hex()
    }

    /// Name of the kernel driver that has bound it, if any.
    pub fn driver(&self) -> Option<String> {
        let target = fs::read_link(self.folder.join("driver")).ok()?;
        target.file_name()?.to_str().map(str::to_owned)
    }

    /// Its runtime power state. Does not wake it.
    ///
    /// # Errors
    /// `ENOENT` when the kernel was built without runtime power management; `garbage` for an undocumented state.
    pub fn power(&self) -> Measured<Power> {
        File::new(&self.folder, "power/runtime_status").parse(|text| match text {
            "active" => Some(Power::Active),
            "suspended" => Some(Power::Suspended),
            "suspending" | "resuming" => Some(Power::Changing),
            "unsupported" | "error" => Some(Power::Unmanaged),
            _ => None,
        })
    }

    /// The link's current speed and width. Wakes a sleeping function.
    pub fn link(&self) -> Measured<Link> {
        self.read_link("current_link_speed", "current_link_width")
    }

    /// The highest speed and width that the function supports.
    pub fn link_max(&self) -> Measured<Link> {
        self.read_link("max_link_speed", "max_link_width")
    }

    fn read_link(&self, speed: &'static str, width: &'static str) -> Result<Link, Fault> {
        let generation = File::new(&self.folder, speed).parse(|text| {
            let transfers = text.split_whitespace().next()?;
            SPEEDS.iter().find(|(speed, ..)| *speed == transfers).map(|(_, generation, _)| *generation)
        })?;
        // 255 is the kernel's PCIE_LNK_WIDTH_UNKNOWN, 0 a link that is down.
        let width = File::new(&self.folder, width)
            .parse(|text| text.parse().ok().filter(|w| (1..=32).contains(w)))?;
        Ok(Link { generation, width })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::{Function, Link, Power, address};

    #[test]
    fn addresses_are_written_as_sysfs_does() {
        assert_eq!(address("00000000:1A:00.0"), "0000:1a:00.0");
        assert_eq!(address("0001A000:1A:00.0"), "0001a000:1a:00.0");
        assert_eq!(address("0000:04:00.0"), "0000:04:00.0");
        assert_eq!(address(""), "");
    }

    #[test]
    fn a_function_says_who_drives_it_how_it_is_linked_and_whether_it_sleeps() {
        let sysfs = tempfile::tempdir().expect("a folder");
        let driver = sysfs.path().join("bus/pci/drivers/xe");
        let folder = sysfs.path().join("bus/pci/devices/0000:03:00.0");
        fs::create_dir_all(folder.join("power")).expect("created");
        fs::create_dir_all(&driver).expect("created");
        symlink("../../../bus/pci/drivers/xe", folder.join("driver")).expect("linked");
        symlink("../../devices/0000:03:00.0", driver.join("0000:03:00.0")).expect("linked");
        fs::write(driver.join("bind"), "").expect("written");
        let put =
            |name: &str, text: &str| fs::write(folder.join(name), format!("{text}\n")).expect("written");
        put("vendor", "0x8086");
        put("device", "0xe211");
        put("current_link_speed", "32.0 GT/s PCIe");
        put("current_link_width", "8");
        put("max_link_speed", "Unknown");
        put("max_link_width", "255");

        let functions = Function::driven_by(sysfs.path(), "xe");
        assert_eq!(functions, [Function::at(sysfs.path(), "0000:03:00.0")]);
        let function = &functions[0];
        assert_eq!((function.vendor(), function.device()), (Ok(0x8086), Ok(0xe211)));
        assert_eq!(function.driver().as_deref(), Some("xe"));
        let link = function.link().expect("linked");
        assert_eq!(link, Link { generation: 5, width: 8 });
        assert!((link.bytes_per_second() / 1e9 - 31.5).abs() < 0.01, "{}", link.bytes_per_second());
        assert_eq!(function.link_max().map_err(|fault| fault.code.name()), Err("garbage"));
        assert_eq!(function.power().map_err(|fault| fault.code.name()), Err("ENOENT"));
        for (text, power) in [
            ("suspended", Ok(Power::Suspended)),
            ("active", Ok(Power::Active)),
            ("resuming", Ok(Power::Changing)),
            ("unsupported", Ok(Power::Unmanaged)),
            ("asleep", Err("garbage")),
        ] {
            put("power/runtime_status", text);
            assert_eq!(function.power().map_err(|fault| fault.code.name()), power);
        }
        assert_eq!(Function::driven_by(sysfs.path(), "i915"), []);
    }
}
