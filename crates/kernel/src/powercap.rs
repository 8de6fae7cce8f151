//! RAPL zones of the powercap class (Documentation/power/powercap/powercap.rst).
//!
//! Zones have the kernel's names: `package-0`, on parts with several dies `package-0-die-1`. Since Linux 5.10
//! only root may read `energy_uj`; for others it is absent as `Unsupported` `EACCES`.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::Instant,
};

use reading::{Ceiling, Counted, Counter, Fault, FaultCode, Measured};

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
    /// Whether the kernel listed it at the last look.
    pub is_listed: bool,
    folder: PathBuf,
    energy: File,
    /// The counter and the highest value that it has; `None` where the zone does not report that.
    total: Option<(Counter, u64)>,
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
            is_listed: true,
            folder: folder.to_owned(),
            energy: File::new(folder, "energy_uj"),
            total: range.map(|range| (Counter::from_zero(range.checked_add(1).into_iter().collect()), range)),
        })
    }

    /// Takes what was found at another look into what is `known`. Sums go on, also those of zones that are not listed
    /// for a while. What cannot be read for the moment stays known.
    pub fn renew(known: &mut Vec<Self>, found: Vec<Self>) {
        for zone in &mut *known {
            zone.is_listed = match File::new(&zone.folder, "name").text() {
                Ok(name) => name == zone.name,
                Err(_) => zone.folder.exists(),
            };
            if !zone.is_listed {
                Self::renew(&mut zone.parts, Vec::new());
            }
        }
        for found in found {
            match known.iter_mut().find(|zone| zone.name == found.name) {
                None => known.push(found),
                // The same by the other driver.
                Some(zone) if zone.is_listed && zone.folder != found.folder => {}
                Some(zone) => zone.fill(found),
            }
        }
    }

    /// Takes what is known by now of the same zone.
    fn fill(&mut self, found: Self) {
        if !self.is_listed || found.constraints.len() > self.constraints.len() {
            self.constraints = found.constraints;
        }
        (self.folder, self.energy, self.is_listed) = (found.folder, found.energy, true);
        self.total = self.total.take().or(found.total);
        Self::renew(&mut self.parts, found.parts);
    }

    /// What was counted of it so far, µJ.
    pub fn counted_microjoules(&self) -> u64 {
        self.total.as_ref().map_or(0, |(counter, _)| counter.sum())
    }

    /// Energy in µJ since the first reading, across wraps of the counter, and its rate in µW. `watts` is the
    /// zone's highest power limit.
    ///
    /// # Errors
    /// The file's own; `NoData` `out_of_range` when the counter exceeds the zone's range or the zone reports
    /// none; those of [`Counter::add`].
    pub fn energy_microjoules(&mut self, now: Instant, watts: Measured<f64>) -> Measured<Counted> {
        let call = self.energy.call();
        let out_of_range = Fault::new(call, FaultCode::OutOfRange);
        let (counter, range) = self.total.as_mut().ok_or(out_of_range)?;
        let reading = self.energy.number();
        if reading.is_ok_and(|reading| reading > *range) {
            return Err(out_of_range);
        }
        counter.add(call, now, reading, Ceiling::of_energy(watts).times(1e6))
    }

    /// The counter as it stands, µJ.
    ///
    /// # Errors
    /// The file's own.
    pub fn counter_microjoules(&self) -> Measured<u64> {
        self.energy.number()
    }

    /// Makes the next rates need two readings again.
    pub fn forget_rate(&mut self) {
        if let Some((counter, _)) = &mut self.total {
            counter.forget();
        }
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
    use std::{fs, path::Path, time::Duration};

    use super::*;

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
        let start = Instant::now();
        let unknown = Fault::new("test", FaultCode::None);
        let energy = |zone: &mut Zone, seconds| {
            let counted = zone.energy_microjoules(start + Duration::from_secs(seconds), Err(unknown));
            counted.map(|counted| counted.total).map_err(|fault| fault.code.name())
        };
        assert_eq!(energy(zone, 0), Ok(0));
        put(&package, &[("energy_uj", "149")]);
        assert_eq!(energy(zone, 1), Ok(1000), "851 to the end of the range and 149 after it");
        put(&package, &[("energy_uj", "300000000000")]);
        assert_eq!(energy(zone, 2), Err("out_of_range"));
        put(&package, &[("energy_uj", "90000000000")]);
        assert_eq!(energy(zone, 3), Err("rose_too_fast"), "30 kW");
        put(&package, &[("energy_uj", "150")]);
        assert_eq!(energy(zone, 4), Ok(1001));
        // What appears later is added, and what is known counts on, readable or not.
        put(&package, &[("name", ""), ("constraint_1_name", "short_term")]);
        put(&package.join("intel-rapl:0:0"), &[("name", "core"), ("max_energy_range_uj", "9")]);
        Zone::renew(&mut zones, Zone::packages(sysfs.path()));
        assert_eq!(zones.len(), 1, "the other driver's is the same");
        put(&package, &[("name", "package-0")]);
        Zone::renew(&mut zones, Zone::packages(sysfs.path()));
        let zone = &mut zones[0];
        let parts: Vec<_> = zone.parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!((parts, zone.constraints.len()), (vec!["dram", "core"], 2));
        put(&package, &[("energy_uj", "250")]);
        assert_eq!(energy(zone, 5), Ok(1101));
        assert_eq!(zone.parts[0].name, "dram");
        assert_eq!(energy(&mut zone.parts[0], 0), Err("out_of_range"));
        put(&package.join("intel-rapl:0:1"), &[("max_energy_range_uj", "65712999613")]);
        Zone::renew(&mut zones, Zone::packages(sysfs.path()));
        assert_eq!(energy(&mut zones[0].parts[0], 0), Ok(0), "now its range is known");
        fs::remove_dir_all(&package).expect("removed");
        Zone::renew(&mut zones, Zone::packages(sysfs.path()));
        assert_eq!((zones.len(), zones[0].energy.number()), (1, Ok(7)), "the other driver's");
        assert_eq!(zones[0].counted_microjoules(), 1101);
        fs::remove_dir_all(class.join("intel-rapl-tpmi:0")).expect("removed");
        Zone::renew(&mut zones, Zone::packages(sysfs.path()));
        assert_eq!((zones[0].is_listed, zones[0].counted_microjoules()), (false, 1101));
        put(&package, &[("name", "package-0"), ("energy_uj", "20"), ("max_energy_range_uj", "262143328850")]);
        Zone::renew(&mut zones, Zone::packages(sysfs.path()));
        assert_eq!(energy(&mut zones[0], 6), Err("counter_fell"));
        put(&package, &[("energy_uj", "50")]);
        assert_eq!(energy(&mut zones[0], 7), Ok(1151), "set back while nobody looked");
    }
}
