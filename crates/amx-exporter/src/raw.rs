//! What the kernel's files say of one socket, in the kernel's units: RAPL, coretemp, throttling, frequency.

use std::path::{Path, PathBuf};

use reading::{Absence, Fault};
use sysfs::{
    File,
    hwmon::{Attribute, Channel, Chip, Quantity},
    powercap::Zone,
};

use crate::topology::{self, Cpu};

/// A value in the kernel's unit, or why there is none.
pub type Got<T> = Result<T, Fault>;

/// RAPL's names of a package's limits, and ours.
const LIMITS: [(&str, &str); 3] =
    [("long_term", "enforced"), ("short_term", "short_term"), ("peak_power", "peak")];

/// One round of files.
#[derive(Clone, Debug)]
pub struct Raw {
    /// µJ of the package.
    pub energy_uj: Got<u64>,
    /// µJ of its memory.
    pub memory_energy_uj: Got<u64>,
    /// µW, by our word for the limit.
    pub limits_uw: Vec<(&'static str, Got<u64>)>,
    /// m°C: now, where it slows down, and the upper end of its operating range.
    pub temperature_mc: [Got<i64>; 3],
    /// kHz, mean over the cores.
    pub clock_khz: Got<f64>,
    /// kHz.
    pub clock_max_khz: Got<u64>,
    /// Counters of throttling.
    pub throttle: Throttle,
}

/// Counters of throttling since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// How often the package was too hot.
    pub package_count: Got<u64>,
    /// For how many milliseconds.
    pub package_ms: Got<u64>,
    /// How often a core was too hot, over all cores.
    pub core_count: Got<u64>,
    /// For how many milliseconds, over all cores.
    pub core_ms: Got<u64>,
    /// How often the package met its power limit, on kernels that count this.
    pub power_count: Got<u64>,
}

/// The files of one socket.
pub struct Files {
    sysfs: PathBuf,
    socket: u32,
    zones: Vec<Zone>,
    temperature: Option<Channel>,
}

const fn unsupported(call: &'static str, code: &'static str) -> Fault {
    Fault { absence: Absence::Unsupported, call, code }
}

impl Files {
    /// The files of socket `socket` below `sysfs`.
    pub fn new(sysfs: &Path, socket: u32) -> Self {
        Self { sysfs: sysfs.to_owned(), socket, zones: Vec::new(), temperature: None }
    }

    /// Reads everything; `cpus` are the socket's CPUs that are online.
    pub fn read(&mut self, cpus: &[Cpu]) -> Raw {
        // Modules may be loaded after the exporter has started.
        if self.zones.is_empty() {
            self.zones = zones(&self.sysfs, self.socket);
        }
        if self.temperature.is_none() {
            self.temperature = temperature(&self.sysfs, self.socket);
        }
        let leaders = one_per_core(cpus);
        let raw = Raw {
            energy_uj: sum(self.zones.iter_mut(), "powercap"),
            memory_energy_uj: sum(
                self.zones.iter_mut().flat_map(|zone| &mut zone.parts).filter(|part| part.name == "dram"),
                "powercap/dram",
            ),
            limits_uw: self.limits(),
            temperature_mc: [Attribute::Input, Attribute::Critical, Attribute::Max].map(|attribute| {
                let channel = self.temperature.as_ref();
                channel.ok_or(unsupported("coretemp", "ENOENT"))?.file(attribute).number()
            }),
            clock_khz: self.mean_clock(&leaders),
            clock_max_khz: cpus.first().map_or(Err(unsupported("cpuinfo_max_freq", "no_cpu")), |cpu| {
                File::new(&self.cpu_folder(*cpu), "cpufreq/cpuinfo_max_freq").number()
            }),
            throttle: self.throttle(&leaders),
        };
        // And unloaded: what comes back is looked for anew.
        let gone = |fault: Option<Fault>| fault.is_some_and(|fault| fault.code == "ENOENT");
        if gone(raw.energy_uj.err()) {
            self.zones.clear();
        }
        if gone(raw.temperature_mc[0].err()) {
            self.temperature = None;
        }
        raw
    }

    fn cpu_folder(&self, cpu: Cpu) -> PathBuf {
        topology::folder(&self.sysfs, cpu.number)
    }

    /// Limits of the package: those of its dies together, where it has several.
    fn limits(&self) -> Vec<(&'static str, Got<u64>)> {
        let mut limits = Vec::new();
        for (kernel, ours) in LIMITS {
            let constraints =
                || self.zones.iter().flat_map(|zone| &zone.constraints).filter(|limit| limit.name == kernel);
            let total = |file: fn(&sysfs::powercap::Constraint) -> &File| -> Got<u64> {
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
    fn mean_clock(&self, leaders: &[Cpu]) -> Got<f64> {
        let file = |cpu: &Cpu| File::new(&self.cpu_folder(*cpu), "cpufreq/scaling_cur_freq");
        let clocks: Vec<u64> = leaders.iter().map(|cpu| file(cpu).number()).collect::<Got<_>>()?;
        if clocks.is_empty() {
            return Err(unsupported("cpufreq/scaling_cur_freq", "no_cpu"));
        }
        Ok(clocks.iter().sum::<u64>() as f64 / clocks.len() as f64)
    }

    /// Each CPU has the counters of its core and of its package, so threads and cores must not be added up
    /// blindly: one CPU speaks for its core, and one for the package.
    fn throttle(&self, leaders: &[Cpu]) -> Throttle {
        let number = |cpu: &Cpu, name| File::new(&self.cpu_folder(*cpu), name).number::<u64>();
        let package =
            |name| leaders.first().map_or(Err(unsupported(name, "no_cpu")), |cpu| number(cpu, name));
        let cores = |name| -> Got<u64> {
            package(name)?;
            leaders.iter().map(|cpu| number(cpu, name)).sum()
        };
        Throttle {
            package_count: package("thermal_throttle/package_throttle_count"),
            package_ms: package("thermal_throttle/package_throttle_total_time_ms"),
            core_count: cores("thermal_throttle/core_throttle_count"),
            core_ms: cores("thermal_throttle/core_throttle_total_time_ms"),
            power_count: package("thermal_throttle/package_power_limit_count"),
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

fn sum<'a>(zones: impl Iterator<Item = &'a mut Zone>, call: &'static str) -> Got<u64> {
    let energies: Vec<u64> = zones.map(Zone::energy_microjoules).collect::<Got<_>>()?;
    if energies.is_empty() { Err(unsupported(call, "ENOENT")) } else { Ok(energies.iter().sum()) }
}

/// The sensor of a package among coretemp's, which also has one per core.
fn temperature(sysfs: &Path, socket: u32) -> Option<Channel> {
    let label = format!("Package id {socket}");
    let chips = Chip::all(sysfs).into_iter().filter(|chip| chip.name == "coretemp");
    let mut channels = chips.flat_map(|chip| chip.channels(Quantity::Temperature));
    channels.find(|channel| channel.label.as_deref() == Some(&label))
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
