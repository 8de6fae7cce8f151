//! The NPU's registers in the SoC's Platform Monitoring Technology region: energy, temperature, work point,
//! memory traffic (Documentation/ABI/testing/sysfs-class-intel_pmt, offsets of Intel's PMT definitions).
//!
//! The region belongs to the SoC, so reading it does not wake the NPU. Only its GUID identifies its layout: a
//! region with an unknown GUID is not read. `telem` is readable by root and with CAP_DAC_READ_SEARCH only.

use std::path::{Path, PathBuf};

use kernel::{File, entries, file::missing};
use reading::{Fault, FaultCode, Measured};

/// The name of the region in faults.
pub const CALL: &str = "intel_pmt/telem";

/// Offsets of the registers in a region, and the unit of the frequency ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    guid: u64,
    energy: u64,
    temperatures: u64,
    workpoint: u64,
    memory_traffic: u64,
    /// Hertz per step of the frequency ratio, as a fraction. The driver computes ratio · 100 / 3 MHz (two
    /// thirds of 50 MHz per step) up to Arrow Lake and ratio · 25 MHz since.
    hertz: (u64, u64),
}

/// Meteor Lake and Arrow Lake.
const fn meteor_lake(guid: u64) -> Layout {
    Layout {
        guid,
        energy: 0x628,
        temperatures: 0x98,
        workpoint: 0x68,
        memory_traffic: 0x0,
        hertz: (100_000_000, 3),
    }
}

const LAYOUTS: [Layout; 6] = [
    meteor_lake(0x1306_70b2),
    meteor_lake(0x1306_a0b3),
    meteor_lake(0x1306_a0b2),
    meteor_lake(0x1306_a0b4),
    // Lunar Lake.
    Layout {
        guid: 0x0307_2005,
        energy: 0x5d0,
        temperatures: 0x70,
        workpoint: 0x18,
        memory_traffic: 0xc18,
        hertz: (25_000_000, 1),
    },
    // Panther Lake.
    Layout {
        guid: 0x0308_6000,
        energy: 0x670,
        temperatures: 0x78,
        workpoint: 0x18,
        memory_traffic: 0xc18,
        hertz: (25_000_000, 1),
    },
];

/// The registers, in their own units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// Energy in 2^-14 J, 32 bits wide.
    pub energy: u64,
    /// °C.
    pub temperature: u64,
    /// Hz; 0 while the NPU sleeps.
    pub clock: u64,
    /// Kilobytes (1000 bytes) moved to and from memory, 32 bits wide: it wraps every 4.3 TB.
    pub memory_traffic: u64,
}

/// The region of this machine's NPU, looked up until it exists, and again when its GUID changes: the kernel
/// numbers regions in the order in which their driver finds them, so after a reload the same number may be
/// another region.
#[derive(Clone, Debug)]
pub struct Telemetry {
    class: PathBuf,
    region: Option<Region>,
}

#[derive(Clone, Debug)]
struct Region {
    guid: File,
    telem: File,
    layout: Layout,
}

impl Telemetry {
    /// The region below `sysfs`, not looked up yet.
    pub fn new(sysfs: &Path) -> Self {
        Self { class: sysfs.join("class/intel_pmt"), region: None }
    }

    /// Reads the registers.
    ///
    /// # Errors
    /// `ENOENT` when the kernel lists no region, `unknown_guid` when no listed one is known, `EACCES` without
    /// permission, `short` when the region ends before its registers do.
    pub fn read(&mut self) -> Measured<Registers> {
        let known = self.region.take().filter(Region::is_current);
        let region = known.map_or_else(|| self.find(), Ok)?;
        self.region.insert(region).read()
    }

    /// The first region whose GUID is known.
    fn find(&self) -> Measured<Region> {
        let regions = entries(&self.class);
        let mut regions = regions.iter().filter(|name| name.starts_with("telem")).peekable();
        let none_known =
            if regions.peek().is_none() { missing(CALL) } else { Fault::new(CALL, FaultCode::UnknownGuid) };
        let known = regions.find_map(|region| {
            let folder = self.class.join(region);
            let guid = File::new(&folder, "guid");
            let found = guid.hex().ok()?;
            let layout = LAYOUTS.into_iter().find(|layout| layout.guid == found)?;
            Some(Region { guid, telem: File::called(folder.join("telem"), CALL), layout })
        });
        known.ok_or(none_known)
    }
}

impl Region {
    /// Whether it still has this layout.
    fn is_current(&self) -> bool {
        self.guid.hex() == Ok(self.layout.guid)
    }

    fn read(&self) -> Measured<Registers> {
        let Layout { energy, temperatures, workpoint, memory_traffic, hertz, .. } = self.layout;
        let [energy, temperatures, workpoint, traffic] =
            self.telem.words([energy, temperatures, workpoint, memory_traffic])?;
        Ok(Registers {
            // Fixed point in 32 bits, 14 of them after the point; the upper word is another field.
            energy: energy & u64::from(u32::MAX),
            temperature: temperatures >> 40 & 0xff,
            clock: (workpoint & 0xff) * hertz.0 / hertz.1,
            memory_traffic: traffic & u64::from(u32::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use reading::Absence;

    use super::*;

    fn region(guid: &str, length: usize, words: &[(usize, u64)]) -> tempfile::TempDir {
        let sysfs = tempfile::tempdir().expect("a folder");
        let folder = sysfs.path().join("class/intel_pmt/telem3");
        fs::create_dir_all(&folder).expect("created");
        fs::write(folder.join("guid"), format!("{guid}\n")).expect("written");
        let mut bytes = vec![0xa5; length];
        for (offset, word) in words {
            bytes[*offset..offset + 8].copy_from_slice(&word.to_le_bytes());
        }
        fs::write(folder.join("telem"), bytes).expect("written");
        sysfs
    }

    fn read(sysfs: &tempfile::TempDir) -> Result<Registers, (Absence, &'static str)> {
        Telemetry::new(sysfs.path()).read().map_err(|fault| (fault.absence, fault.code.name()))
    }

    #[test]
    fn each_layout_is_read_at_its_own_offsets_with_its_own_clock() {
        // 5.5 J, 45 °C, ratio 40, 128.75 MB.
        let (energy, temperature, workpoint, traffic) = (5 << 14 | 1 << 13, 45 << 40, 0x02_0028, 128_750);
        let old = [(0x628, energy), (0x98, temperature), (0x68, workpoint), (0x0, traffic)];
        let lunar = [(0x5d0, energy), (0x70, temperature), (0x18, workpoint), (0xc18, traffic)];
        let panther = [(0x670, energy), (0x78, temperature), (0x18, workpoint), (0xc18, traffic)];
        for (guid, words, clock) in [
            ("0x130670b2", old, 1_333_333_333),
            ("0x1306a0b3", old, 1_333_333_333),
            ("0x1306a0b2", old, 1_333_333_333),
            ("0x1306a0b4", old, 1_333_333_333),
            ("0x3072005", lunar, 1_000_000_000),
            ("0x3086000", panther, 1_000_000_000),
        ] {
            let registers = Registers { energy: 90_112, temperature: 45, clock, memory_traffic: 128_750 };
            assert_eq!(read(&region(guid, 0xc20, &words)), Ok(registers), "{guid}");
        }
    }

    #[test]
    fn neighbouring_bits_are_not_read_as_part_of_a_field() {
        let words = [(0x5d0, u64::MAX), (0x70, u64::MAX), (0x18, u64::MAX), (0xc18, u64::MAX)];
        let registers = read(&region("0x3072005", 0xc20, &words)).expect("whole");
        let widest = Registers {
            energy: 0xffff_ffff,
            temperature: 255,
            clock: 6_375_000_000,
            memory_traffic: 0xffff_ffff,
        };
        assert_eq!(registers, widest);
    }

    #[test]
    fn an_unknown_or_short_region_gives_nothing() {
        assert_eq!(read(&region("0x12345678", 0xc20, &[])), Err((Absence::Unsupported, "unknown_guid")));
        assert_eq!(read(&region("garbage", 0xc20, &[])), Err((Absence::Unsupported, "unknown_guid")));
        assert_eq!(read(&region("0x3072005", 0x5d4, &[])), Err((Absence::NoData, "short")));
        let empty = tempfile::tempdir().expect("a folder");
        assert_eq!(read(&empty), Err((Absence::Unsupported, "ENOENT")));
    }
}
