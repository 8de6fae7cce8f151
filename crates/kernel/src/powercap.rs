//! RAPL zones of the powercap class (Documentation/power/powercap/powercap.rst).
//!
//! Zones have the kernel's names: `package-0`, on parts with several dies `package-0-die-1`. Since Linux 5.10
//! only root may read `energy_uj`; for others it is absent as `Unsupported` `EACCES`.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use reading::{Fault, FaultCode, Measured, WrappingCounter};

use crate::file::{File, entries};

/// One zone: a package, or a part of one.
#[derive(Clone, Debug)]
pub struct Zone {
    /// `package-0`, `dram`, `core`, `uncore`, `psys`.
    pub name: String,
    /// The zones in a package.
    pub parts: Vec<Zone>,
    /// Power limits of the zone.
    pub constraints: Vec<Constraint>,
    energy: File,
    total: Option<WrappingCounter>,
}

/// A power limit of a zone.
#[derive(Clone, Debug)]
pub struct Constraint {
    /// `long_term`, `short_term`, `peak_power`.
    pub name: String,
    /// µW; the limit in force.
    pub limit: File,
    /// µW; the highest limit that can be set.
    pub max: File,
}

impl Zone {
    /// The packages of the machine, in order of the numbers of their zones. Where both the MSR and the TPMI
    /// driver list a package, it is returned once.
    pub fn packages(sysfs: &Path) -> Vec<Self> {
        let zones = Self::below(&class(sysfs), |name| {
            ["intel-rapl:", "intel-rapl-tpmi:"]
                .iter()
                .any(|prefix| name.strip_prefix(prefix).is_some_and(|number| !number.contains(':')))
        });
        let mut names = HashSet::new();
        zones.into_iter().filter(|zone| names.insert(zone.name.clone())).collect()
    }

    /// Names in the powercap class. They change when zones appear or disappear.
    pub fn listed(sysfs: &Path) -> Vec<String> {
        entries(&class(sysfs))
    }

    fn below(folder: &Path, is_zone: impl Fn(&str) -> bool) -> Vec<Self> {
        let zones = entries(folder).into_iter().filter(|name| is_zone(name));
        zones.filter_map(|zone| Self::open(&folder.join(&zone), &zone)).collect()
    }

    fn open(folder: &Path, zone: &str) -> Option<Self> {
        let name = File::new(folder, "name").text().ok()?;
        // The counter wraps after this value, not at it.
        let range = File::new(folder, "max_energy_range_uj").number::<u64>().ok();
        Some(Self {
            name,
            parts: Self::below(folder, |part| {
                part.strip_prefix(zone).is_some_and(|number| number.starts_with(':'))
            }),
            constraints: constraints(folder),
            energy: File::new(folder, "energy_uj"),
            total: range.and_then(|range| range.checked_add(1)).map(WrappingCounter::new),
        })
    }

    /// Energy in µJ since the first reading, across wraps of the counter.
    ///
    /// # Errors
    /// The file's own; `NoData` `out_of_range` when the counter exceeds the zone's range or the zone reports
    /// none.
    pub fn energy_microjoules(&mut self) -> Measured<u64> {
        let reading = self.energy.number()?;
        let total = self.total.as_mut().and_then(|total| total.add(reading));
        total.ok_or(Fault::new(self.energy.call(), FaultCode::OutOfRange))
    }
}

fn class(sysfs: &Path) -> PathBuf {
    sysfs.join("class/powercap")
}

fn constraints(folder: &Path) -> Vec<Constraint> {
    let file = |number: u32, what: &str, call| -> File {
        let path: PathBuf = folder.join(format!("constraint_{number}_{what}"));
        File::called(path, call)
    };
    (0..)
        .map_while(|number| {
            Some(Constraint {
                name: file(number, "name", "constraint_name").text().ok()?,
                limit: file(number, "power_limit_uw", "constraint_power_limit_uw"),
                max: file(number, "max_power_uw", "constraint_max_power_uw"),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::Zone;

    fn put(folder: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(folder).expect("created");
        for (name, text) in files {
            fs::write(folder.join(name), format!("{text}\n")).expect("written");
        }
    }

    #[test]
    fn packages_have_parts_limits_and_an_energy_that_wraps() {
        let sysfs = tempfile::tempdir().expect("a folder");
        let class = sysfs.path().join("class/powercap");
        let package = class.join("intel-rapl:0");
        put(
            &package,
            &[
                ("name", "package-0"),
                ("energy_uj", "262143328000"),
                ("max_energy_range_uj", "262143328850"),
                ("constraint_0_name", "long_term"),
                ("constraint_0_power_limit_uw", "350000000"),
                ("constraint_0_max_power_uw", "350000000"),
            ],
        );
        put(&package.join("intel-rapl:0:1"), &[("name", "dram"), ("energy_uj", "5")]);
        // The class folder lists the parts beside the packages.
        put(&class.join("intel-rapl:0:1"), &[("name", "dram"), ("energy_uj", "5")]);
        put(&class.join("intel-rapl"), &[("enabled", "1")]);

        // The same package by the other driver.
        put(&class.join("intel-rapl-tpmi:0"), &[("name", "package-0"), ("energy_uj", "7")]);

        let mut zones = Zone::packages(sysfs.path());
        assert_eq!(zones.iter().map(|zone| zone.name.as_str()).collect::<Vec<_>>(), ["package-0"]);
        let zone = &mut zones[0];
        assert_eq!(zone.constraints[0].name, "long_term");
        assert_eq!(zone.constraints[0].limit.number(), Ok(350_000_000));
        assert_eq!(zone.energy_microjoules(), Ok(0));
        put(&package, &[("energy_uj", "149")]);
        assert_eq!(zone.energy_microjoules(), Ok(1000), "851 to the end of the range and 149 after it");
        put(&package, &[("energy_uj", "300000000000")]);
        assert_eq!(zone.energy_microjoules().map_err(|fault| fault.code.name()), Err("out_of_range"));
        assert_eq!(zone.parts[0].name, "dram");
        assert_eq!(
            zone.parts[0].energy_microjoules().map_err(|fault| fault.code.name()),
            Err("out_of_range")
        );
    }
}
