//! What the kernel's files say of one socket, in the kernel's units: RAPL, coretemp, throttling, frequency.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use kernel::{
    File,
    hwmon::{Attribute, Channel, Chip, Quantity},
    powercap::Zone,
};
use reading::{Absence, Fault, FaultCode, Measured};

use crate::topology::{self, Cpu};

/// RAPL's names of a package's limits, and ours.
const LIMITS: [(&str, &str); 3] =
    [("long_term", "enforced"), ("short_term", "short_term"), ("peak_power", "peak")];

/// One round of files.
#[derive(Clone, Debug)]
pub struct Raw {
    /// µJ of the package.
    pub energy_uj: Measured<u64>,
    /// µJ of its memory.
    pub memory_energy_uj: Measured<u64>,
    /// µW, by our word for the limit.
    pub limits_uw: Vec<(&'static str, Measured<u64>)>,
    /// m°C: now, where it slows down, and the upper end of its operating range.
    pub temperature_mc: [Measured<i64>; 3],
    /// kHz, mean over the cores.
    pub clock_khz: Measured<f64>,
    /// kHz.
    pub clock_max_khz: Measured<u64>,
    /// Counters of throttling.
    pub throttle: Throttle,
}

/// Counters of throttling since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// How often the package was too hot.
    pub package_count: Measured<u64>,
    /// For how many milliseconds.
    pub package_ms: Measured<u64>,
    /// How often a core was too hot, over all cores.
    pub core_count: Measured<u64>,
    /// For how many milliseconds, over all cores.
    pub core_ms: Measured<u64>,
    /// How often the package met its power limit, on kernels that count this.
    pub power_count: Measured<u64>,
}

/// The files of one socket.
pub struct Files {
    sysfs: PathBuf,
    socket: u32,
    /// What the class listed when the zones were looked up.
    listed: Vec<String>,
    zones: Vec<Zone>,
    /// The dies there were when the sensors were looked up.
    dies: Vec<(u32, u32)>,
    temperatures: Measured<Vec<Channel>>,
    counters: [Followed; THROTTLE.len()],
    /// The CPUs that spoke for their cores, and the one among them with the highest clock: favoured cores reach
    /// a higher one than others.
    leaders: Vec<Cpu>,
    fastest: Option<Cpu>,
}

/// Counters of throttling, and whether each core has its own.
const THROTTLE: [(&str, bool); 5] = [
    ("thermal_throttle/package_throttle_count", false),
    ("thermal_throttle/package_throttle_total_time_ms", false),
    ("thermal_throttle/core_throttle_count", true),
    ("thermal_throttle/core_throttle_total_time_ms", true),
    ("thermal_throttle/package_power_limit_count", false),
];

/// A counter that every CPU keeps for itself, summed over those that speak for their core or for the package.
/// When one goes offline, the sum stays; another that speaks in its place has counted before, which is not
/// added again.
#[derive(Debug, Default)]
struct Followed {
    last: BTreeMap<u32, u64>,
    total: Option<u64>,
}

impl Followed {
    /// The sum after readings of some CPUs.
    fn total(&mut self, readings: &[(u32, u64)]) -> u64 {
        let total = match self.total {
            None => readings.iter().map(|(_, count)| count).sum(),
            Some(total) => {
                let moved = |(cpu, count): &(u32, u64)| {
                    self.last.get(cpu).map_or(0, |before| count.saturating_sub(*before))
                };
                total + readings.iter().map(moved).sum::<u64>()
            }
        };
        self.last.extend(readings.iter().copied());
        self.total = Some(total);
        total
    }
}

/// No sensor of the package: the module is not loaded, or this is a guest.
const NO_CORETEMP: Fault = unsupported("coretemp", "ENOENT");

const fn unsupported(call: &'static str, code: &'static str) -> Fault {
    Fault::returned(Absence::Unsupported, call, code)
}

impl Files {
    /// The files of socket `socket` below `sysfs`.
    pub fn new(sysfs: &Path, socket: u32) -> Self {
        Self {
            sysfs: sysfs.to_owned(),
            socket,
            listed: Vec::new(),
            zones: Vec::new(),
            dies: Vec::new(),
            temperatures: Err(NO_CORETEMP),
            counters: Default::default(),
            leaders: Vec::new(),
            fastest: None,
        }
    }

    /// Reads everything; `cpus` are the socket's CPUs that are online, `dies` those of the machine.
    pub fn read(&mut self, cpus: &[Cpu], dies: &[(u32, u32)]) -> Raw {
        // Modules may be loaded after the exporter has started, and unloaded; a die may come and go.
        let listed = Zone::listed(&self.sysfs);
        if listed != self.listed || self.zones.is_empty() {
            self.zones = zones(&self.sysfs, self.socket);
            self.listed = listed;
        }
        if self.temperatures.is_err() || dies != self.dies {
            self.temperatures = temperatures(&self.sysfs, self.socket, dies);
            dies.clone_into(&mut self.dies);
        }
        let leaders = one_per_core(cpus);
        if leaders != self.leaders {
            self.fastest = leaders.iter().rev().max_by_key(|cpu| self.max_clock(**cpu).unwrap_or(0)).copied();
            leaders.clone_into(&mut self.leaders);
        }
        let raw = Raw {
            energy_uj: sum(self.zones.iter_mut(), "powercap"),
            memory_energy_uj: sum(
                self.zones.iter_mut().flat_map(|zone| &mut zone.parts).filter(|part| part.name == "dram"),
                "powercap/dram",
            ),
            limits_uw: self.limits(),
            temperature_mc: [Attribute::Input, Attribute::Critical, Attribute::Max]
                .map(|attribute| self.temperature(attribute)),
            clock_khz: self.mean_clock(&leaders),
            clock_max_khz: self
                .fastest
                .map_or(Err(Fault::new("cpuinfo_max_freq", FaultCode::NoCpu)), |cpu| self.max_clock(cpu)),
            throttle: self.throttle(&leaders),
        };
        if raw.temperature_mc[0].is_err_and(|fault| fault.code == "ENOENT") {
            self.temperatures = Err(NO_CORETEMP);
        }
        raw
    }

    /// Of the hottest die; of a limit the lowest.
    fn temperature(&self, attribute: Attribute) -> Measured<i64> {
        let channels = self.temperatures.as_ref().map_err(|fault| *fault)?;
        let all: Vec<i64> =
            channels.iter().map(|channel| channel.file(attribute).number()).collect::<Measured<_>>()?;
        let chosen =
            if attribute == Attribute::Input { all.into_iter().max() } else { all.into_iter().min() };
        chosen.ok_or(NO_CORETEMP)
    }

    fn cpu_folder(&self, cpu: Cpu) -> PathBuf {
        topology::folder(&self.sysfs, cpu.number)
    }

    fn max_clock(&self, cpu: Cpu) -> Measured<u64> {
        File::new(&self.cpu_folder(cpu), "cpufreq/cpuinfo_max_freq").number()
    }

    /// Limits of the package: those of its dies together, where it has several.
    fn limits(&self) -> Vec<(&'static str, Measured<u64>)> {
        let mut limits = Vec::new();
        for (kernel, ours) in LIMITS {
            let constraints =
                || self.zones.iter().flat_map(|zone| &zone.constraints).filter(|limit| limit.name == kernel);
            let total = |file: fn(&kernel::powercap::Constraint) -> &File| -> Measured<u64> {
                constraints().map(|limit| file(limit).number::<u64>()).sum()
            };
            if constraints().next().is_some() {
                limits.push((ours, total(|limit| &limit.limit)));
                if ours == "enforced" {
                    limits.push(("max", total(|limit| &limit.max)));
                }
            }
        }
        if limits.is_empty() {
            limits.push(("enforced", Err(unsupported("powercap", "ENOENT"))));
        }
        limits
    }

    /// The kernel's own average of each core over its last tick.
    fn mean_clock(&self, leaders: &[Cpu]) -> Measured<f64> {
        let file = |cpu: &Cpu| File::new(&self.cpu_folder(*cpu), "cpufreq/scaling_cur_freq");
        let clocks: Vec<u64> = leaders.iter().map(|cpu| file(cpu).number()).collect::<Measured<_>>()?;
        if clocks.is_empty() {
            return Err(Fault::new("cpufreq/scaling_cur_freq", FaultCode::NoCpu));
        }
        Ok(clocks.iter().sum::<u64>() as f64 / clocks.len() as f64)
    }

    /// Each CPU has the counters of its core and of its package, so threads and cores must not be added up
    /// blindly: one CPU speaks for its core, and one for the package.
    fn throttle(&mut self, leaders: &[Cpu]) -> Throttle {
        let read = |(name, each_core): (&'static str, bool)| -> Measured<Vec<(u32, u64)>> {
            let speakers = if each_core { leaders } else { leaders.get(..1).unwrap_or_default() };
            let number = |cpu: &Cpu| Ok((cpu.number, File::new(&self.cpu_folder(*cpu), name).number()?));
            speakers.iter().map(number).collect()
        };
        let readings = THROTTLE.map(read);
        let mut totals = self
            .counters
            .iter_mut()
            .zip(readings)
            .map(|(counter, readings)| readings.map(|readings| counter.total(&readings)));
        let mut next = || totals.next().unwrap_or(Err(Fault::new("thermal_throttle", FaultCode::NoCpu)));
        Throttle {
            package_count: next(),
            package_ms: next(),
            core_count: next(),
            core_ms: next(),
            power_count: next(),
        }
    }
}

/// The RAPL zones of a socket: one, or one per die.
fn zones(sysfs: &Path, socket: u32) -> Vec<Zone> {
    let name = format!("package-{socket}");
    let is_ours = |zone: &Zone| {
        zone.name.strip_prefix(&name).is_some_and(|rest| rest.is_empty() || rest.starts_with("-die-"))
    };
    Zone::packages(sysfs).into_iter().filter(is_ours).collect()
}

fn sum<'a>(zones: impl Iterator<Item = &'a mut Zone>, call: &'static str) -> Measured<u64> {
    let energies: Vec<u64> = zones.map(Zone::energy_microjoules).collect::<Measured<_>>()?;
    if energies.is_empty() { Err(unsupported(call, "ENOENT")) } else { Ok(energies.iter().sum()) }
}

/// The package sensors of a socket among coretemp's, which has a chip for each die and on it a channel for each
/// core beside the first, that of the die.
///
/// What it calls `Package id` is the kernel's running number of the die over all sockets
/// (`topology_logical_die_id`), which equals the socket's number only where each socket has one die and none is
/// left out. It runs in the order of sockets and of their dies.
fn temperatures(sysfs: &Path, socket: u32, dies: &[(u32, u32)]) -> Measured<Vec<Channel>> {
    let chips = Chip::all(sysfs).into_iter().filter(|chip| chip.name == "coretemp");
    let mut packages: Vec<(u32, Channel)> = chips
        .filter_map(|chip| {
            let channel = chip.channel(Quantity::Temperature, 1);
            let number = channel.label.as_deref()?.strip_prefix("Package id ")?.parse().ok()?;
            Some((number, channel))
        })
        .collect();
    if packages.is_empty() {
        return Err(NO_CORETEMP);
    }
    if packages.len() != dies.len() {
        return Err(Fault::new("coretemp", FaultCode::OtherDies));
    }
    packages.sort_by_key(|(number, _)| *number);
    let ours = dies.iter().zip(packages).filter(|((die_socket, _), _)| *die_socket == socket);
    Ok(ours.map(|(_, (_, channel))| channel).collect())
}

fn one_per_core(cpus: &[Cpu]) -> Vec<Cpu> {
    let mut leaders: Vec<Cpu> = Vec::new();
    for cpu in cpus {
        if leaders.iter().all(|leader| leader.core != cpu.core) {
            leaders.push(*cpu);
        }
    }
    leaders
}
