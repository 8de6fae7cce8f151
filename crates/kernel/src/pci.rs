//! PCI functions: driver, identity, link and runtime power state.
//!
//! Reading identity and power state does not wake a function. [`Function::link`] reads its configuration
//! space and does, so [`Function::power`] is read first.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use reading::{Fault, FaultCode, Measured};

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

/// A PCIe link's speed and width. [`Link::new`] makes only those that the specification has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// PCIe generation, 1 to 7.
    pub generation: u32,
    /// Lanes.
    pub width: u32,
}

/// Generations from 1 on: transfers per second and lane in 10^6, and the share of the transferred bits that
/// carry packets (PCI Express Base Specification, revision 6).
///
/// Line coding takes the rest: 8b/10b in generations 1 and 2, 128b/130b in 3 to 5. From generation 6 on (64
/// GT/s, PAM4) there is none, and 14 of the 256 bytes of each FLIT are its CRC and error correction.
const GENERATIONS: [(u32, f64); 7] = [
    (2_500, 8.0 / 10.0),
    (5_000, 8.0 / 10.0),
    (8_000, 128.0 / 130.0),
    (16_000, 128.0 / 130.0),
    (32_000, 128.0 / 130.0),
    (64_000, 242.0 / 256.0),
    (128_000, 242.0 / 256.0),
];

impl Link {
    /// A link of a known generation with 1 to 32 lanes; `None` for any other, such as one that is down.
    pub fn new(generation: u32, width: u32) -> Option<Self> {
        let known = (1..=GENERATIONS.len()).contains(&usize::try_from(generation).ok()?);
        (known && (1..=32).contains(&width)).then_some(Self { generation, width })
    }

    /// A link as it is written in texts: speeds such as `32.0 GT/s PCIe` or `32 GT/s`, widths such as `16` or
    /// `x16`.
    pub fn parse(speed: &str, width: &str) -> Option<Self> {
        Self::new(parse_generation(speed)?, parse_width(width)?)
    }

    /// Transfers per second and lane in 10^6; 0 for a generation that [`Link::new`] refuses.
    pub fn megatransfers_per_second(self) -> u32 {
        self.row().0
    }

    /// Capacity for packets in each direction, in bytes per second; 0 as above. Packets have headers, so that
    /// no transfer of data reaches it.
    pub fn bytes_per_second(self) -> f64 {
        let (megatransfers, packets) = self.row();
        f64::from(megatransfers) * packets * 1e6 / 8.0 * f64::from(self.width)
    }

    fn row(self) -> (u32, f64) {
        let index = usize::try_from(self.generation).unwrap_or(usize::MAX).wrapping_sub(1);
        GENERATIONS.get(index).copied().unwrap_or_default()
    }
}

fn parse_generation(speed: &str) -> Option<u32> {
    let end = speed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(speed.len());
    let megatransfers = speed[..end].parse::<f64>().ok()? * 1e3;
    let index =
        GENERATIONS.iter().position(|(known, _)| f64::from(*known).total_cmp(&megatransfers).is_eq())?;
    u32::try_from(index + 1).ok()
}

/// 255 is the kernel's `PCIE_LNK_WIDTH_UNKNOWN`, 0 a link that is down.
fn parse_width(width: &str) -> Option<u32> {
    width.trim_start_matches(['x', 'X']).parse().ok().filter(|width| (1..=32).contains(width))
}

/// An address in the form of sysfs, `0000:1a:00.0`, from a vendor's, such as `00000000:1A:00.0`.
pub fn address(vendors: &str) -> String {
    let lower = vendors.to_ascii_lowercase();
    match lower.split_once(':') {
        Some((domain, rest)) if domain.len() == 8 && domain.starts_with("0000") => {
            format!("{}:{rest}", &domain[4..])
        }
        _ => lower,
    }
}

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

    /// What the DRA drivers of Intel call it: its address and device id, such as `0000-03-00-0-0x56c0`; `None` where
    /// the device id cannot be read.
    pub fn resource_name(&self) -> Option<String> {
        let device = self.device().ok()?;
        Some(format!("{}-{device:#06x}", self.address.replace([':', '.'], "-")))
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

    /// Whether it is an SR-IOV virtual function: a part of a board that is on the same bus.
    pub fn is_virtual(&self) -> bool {
        fs::symlink_metadata(self.folder.join("physfn")).is_ok()
    }

    /// Its runtime power state. Does not wake it.
    ///
    /// # Errors
    /// `ENOENT` when the kernel was built without runtime power management; `garbage` for an undocumented
    /// state.
    pub fn power(&self) -> Measured<Power> {
        File::new(&self.folder, "power/runtime_status").parse(|text| match text {
            "active" => Some(Power::Active),
            "suspended" => Some(Power::Suspended),
            "suspending" | "resuming" => Some(Power::Changing),
            "unsupported" | "error" => Some(Power::Unmanaged),
            _ => None,
        })
    }

    /// Whether it is suspended or about to be. Wakes nothing. A kernel without runtime power management, where
    /// nothing is suspended, is no error.
    ///
    /// # Errors
    /// When the function is gone, or its power state cannot be read.
    pub fn is_asleep(&self) -> Measured<bool> {
        match self.power() {
            Ok(power) => Ok(matches!(power, Power::Suspended | Power::Changing)),
            Err(fault) if fault.code == "ENOENT" && self.folder.exists() => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// How long it must be idle until it is suspended; `None` when it never is. `drivers_own` is the delay of a
    /// driver that does not leave it to the kernel: the file then cannot be read
    /// (Documentation/ABI/testing/sysfs-devices-power). Wakes nothing.
    pub fn autosuspend_delay(&self, drivers_own: Option<Duration>) -> Option<Duration> {
        if File::new(&self.folder, "power/control").text().ok()? != "auto" {
            return None;
        }
        match File::new(&self.folder, "power/autosuspend_delay_ms").number::<i64>() {
            Ok(delay) => u64::try_from(delay).ok().map(Duration::from_millis),
            Err(_) => drivers_own,
        }
    }

    /// The link's current speed and width. Wakes a sleeping function.
    pub fn link(&self) -> Measured<Link> {
        self.read_link("current_link_speed", "current_link_width")
    }

    /// The highest speed and width that the function supports.
    pub fn link_max(&self) -> Measured<Link> {
        self.read_link("max_link_speed", "max_link_width")
    }

    /// A function that is a part of the SoC, or whose link is down, has the speed `Unknown` or one of these widths.
    fn read_link(&self, speed: &'static str, width: &'static str) -> Measured<Link> {
        let known = |call, value: Option<u32>| value.ok_or(Fault::new(call, FaultCode::Unknown));
        let generation = File::new(&self.folder, speed).parse(|text| match text {
            "Unknown" => Some(None),
            _ => parse_generation(text).map(Some),
        })?;
        let lanes = File::new(&self.folder, width).parse(|text| match text {
            "0" | "255" => Some(None),
            _ => parse_width(text).map(Some),
        })?;
        Ok(Link { generation: known(speed, generation)?, width: known(width, lanes)? })
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
    fn capacity_follows_generation_and_width() {
        for (generation, width, megatransfers, bytes_per_second) in [
            (1, 1, 2_500, 250_000_000.0),
            (2, 1, 5_000, 500_000_000.0),
            (3, 16, 8_000, 15_753_846_154.0),
            (4, 16, 16_000, 31_507_692_308.0),
            (5, 16, 32_000, 63_015_384_615.0),
            (6, 16, 64_000, 121_000_000_000.0),
            (7, 1, 128_000, 15_125_000_000.0),
        ] {
            let link = Link::new(generation, width).expect("a known generation");
            let figures = (link.megatransfers_per_second(), link.bytes_per_second().round());
            assert_eq!(figures, (megatransfers, bytes_per_second), "{generation}");
        }
        for (generation, width) in [(0, 16), (8, 16), (5, 0), (5, 255)] {
            assert_eq!(Link::new(generation, width), None);
        }
    }

    #[test]
    fn links_are_read_as_kernel_and_libraries_write_them() {
        for (speed, width, expected) in [
            ("32.0 GT/s PCIe", "16", Some((5, 16))),
            ("32 GT/s", "x16", Some((5, 16))),
            ("32.0GT/s", "16", Some((5, 16))),
            ("2.5 GT/s", "x1", Some((1, 1))),
            ("Unknown", "x16", None),
            ("33 GT/s", "x16", None),
            ("16 GT/s", "x255", None),
            ("16 GT/s", "", None),
        ] {
            let expected = expected.map(|(generation, width)| Link { generation, width });
            assert_eq!(Link::parse(speed, width), expected, "{speed} {width}");
        }
    }

    #[test]
    fn a_function_has_a_driver_an_identity_a_link_and_a_power_state() {
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
        assert_eq!(function.resource_name().as_deref(), Some("0000-03-00-0-0xe211"));
        assert_eq!(function.driver().as_deref(), Some("xe"));
        assert!(!function.is_virtual());
        symlink("../0000:03:00.0", folder.join("physfn")).expect("linked");
        assert!(function.is_virtual());
        let link = function.link().expect("linked");
        assert_eq!(link, Link { generation: 5, width: 8 });
        assert_eq!(function.link_max().map_err(|fault| fault.code.name()), Err("unknown"));
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
