//! Kernel files of one socket, in the kernel's units: RAPL, coretemp, throttling, frequency.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use kernel::{
    File, Search,
    file::missing,
    hwmon::{Attribute, Channel, Chip, Quantity},
    powercap::Zone,
};
use reading::{Absence, Ceiling, Counted, Counter, Fault, FaultCode, Measured};

use source::{Lane, LaneTimes, lock};

use crate::topology::{self, Cpu};

/// The power limits of a package: RAPL's name, label value.
const LIMITS: [(&str, &str); 3] =
    [("long_term", "enforced"), ("short_term", "short_term"), ("peak_power", "peak")];

/// What one round reads.
#[derive(Clone, Debug)]
pub struct Raw {
    /// What the package consumed.
    pub energy: Measured<Energy>,
    /// What its memory consumed.
    pub memory_energy: Measured<Energy>,
    /// µW by label value.
    pub limits_uw: Vec<(&'static str, Measured<u64>)>,
    /// m°C: the reading, the slowdown limit, and the upper end of the operating range.
    pub temperature_mc: [Measured<i64>; 3],
    /// kHz; mean over the cores.
    pub clock_khz: Measured<f64>,
    /// How long ago that was read, where it was not in this round.
    pub clock_age: Option<Duration>,
    /// kHz; of the core with the highest.
    pub clock_max_khz: Measured<u64>,
    /// Counters of throttling since boot.
    pub throttle: ThrottleCounters,
}

/// A sum over zones.
#[derive(Clone, Copy, Debug)]
pub struct Energy {
    /// µJ since the first round.
    pub microjoules: u64,
    /// µW since the last round.
    pub microwatts: Measured<f64>,
}

/// Counters of throttling since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleCounters {
    /// Times that the package was too hot.
    pub package_count: Measured<u64>,
    /// Milliseconds for which the package was too hot.
    pub package_ms: Measured<u64>,
    /// Times that a core was too hot, summed over cores.
    pub core_count: Measured<u64>,
    /// Milliseconds for which a core was too hot, summed over cores.
    pub core_ms: Measured<u64>,
    /// Times that the package reached its power limit, on kernels that count this.
    pub power_count: Measured<u64>,
}

/// The files of one socket.
pub struct SocketFiles {
    sysfs: PathBuf,
    socket: u32,
    /// The zones that the powercap class listed when they were looked up.
    listed: Vec<String>,
    zones: Vec<Zone>,
    search: Search,
    /// The dies that were online when `temperatures` was read.
    dies: Vec<(u32, u32)>,
    temperatures: Measured<Vec<Channel>>,
    counters: [SummedCounter; THROTTLE.len()],
    /// One CPU of each core, as of when `fastest` was found.
    core_cpus: Vec<Cpu>,
    /// The one among them with the highest clock, which some cores reach and others do not.
    fastest: Option<Cpu>,
    /// The cores whose clocks are read, and the lane that reads them: the kernel may ask each of hundreds of cores.
    clocked: Arc<Mutex<Vec<Cpu>>>,
    clocks: Lane<Measured<f64>>,
}

/// Rounds of a small machine are as fast as without.
const CLOCKS: LaneTimes = LaneTimes {
    period: Duration::ZERO,
    budget: Duration::from_millis(250),
    age_max: Duration::from_secs(10),
};

/// Files of the counters of throttling, and whether each core has its own.
const THROTTLE: [(&str, bool); 5] = [
    ("thermal_throttle/package_throttle_count", false),
    ("thermal_throttle/package_throttle_total_time_ms", false),
    ("thermal_throttle/core_throttle_count", true),
    ("thermal_throttle/core_throttle_total_time_ms", true),
    ("thermal_throttle/package_power_limit_count", false),
];

/// What these count at most in a second: interrupts, of which no CPU takes more, or milliseconds.
const THROTTLE_PER_SECOND_MAX: f64 = 1e6;

/// The sum of a counter that every CPU has, read from one CPU per core or per package. When that CPU goes
/// offline, another one is read in its place: the sum continues from where it was, without what that one
/// counted before.
#[derive(Debug, Default)]
struct SummedCounter {
    counters: BTreeMap<u32, (Counter, u64)>,
    /// What the first readings add up to.
    base: Option<u64>,
}

impl SummedCounter {
    /// Takes a reading of each CPU and returns the sum.
    fn add(&mut self, call: &'static str, now: Instant, readings: &[(u32, u64)]) -> Measured<u64> {
        let most = Ceiling::new(Ok(THROTTLE_PER_SECOND_MAX), 1.0);
        let mut dropped = None;
        for (cpu, count) in readings {
            let new = || (Counter::from_zero(Vec::new()), 0);
            let (counter, total) = self.counters.entry(*cpu).or_insert_with(new);
            match counter.total(call, now, Ok(*count), most) {
                Ok(sum) => *total = sum,
                Err(fault) => dropped = Some(fault),
            }
        }
        let base = *self.base.get_or_insert_with(|| readings.iter().map(|(_, count)| count).sum());
        let sum = || base + self.counters.values().map(|(_, total)| total).sum::<u64>();
        dropped.map_or_else(|| Ok(sum()), Err)
    }
}

/// There is no sensor of the package: the module is not loaded, or this is a virtual machine.
const NO_CORETEMP: Fault = missing("coretemp");

impl SocketFiles {
    /// The files of socket `socket` below `sysfs`.
    pub fn new(sysfs: &Path, socket: u32) -> Self {
        let clocked = Arc::new(Mutex::new(Vec::new()));
        let (folder, cores) = (sysfs.to_owned(), Arc::clone(&clocked));
        let clocks =
            Lane::new(format!("{CUR_FREQ} {socket} {}", sysfs.display()), CUR_FREQ, CLOCKS, move || {
                let cores: Vec<_> = lock(&cores).clone();
                mean_clock(&folder, &cores)
            });
        Self {
            clocked,
            clocks,
            sysfs: sysfs.to_owned(),
            socket,
            listed: Vec::new(),
            zones: Vec::new(),
            search: Search::begin(Instant::now()),
            dies: Vec::new(),
            temperatures: Err(NO_CORETEMP),
            counters: Default::default(),
            core_cpus: Vec::new(),
            fastest: None,
        }
    }

    /// Reads everything at `now`. `cpus` are the socket's CPUs that are online, `dies` are those of the machine.
    pub fn read(&mut self, now: Instant, cpus: &[Cpu], dies: &[(u32, u32)]) -> Raw {
        // Modules may be loaded and unloaded while the exporter runs, and dies may go offline and come back.
        let listed = Zone::listed(&self.sysfs);
        if self.search.is_due(now) || listed != self.listed || self.zones().next().is_none() {
            Zone::renew(&mut self.zones, zones(&self.sysfs, self.socket));
            self.listed = listed;
        }
        let dies_here = dies.iter().filter(|(socket, _)| *socket == self.socket).count();
        // One of the package, or one of each die: those of some dies are not the package.
        let is_whole = match self.zones().collect::<Vec<_>>().as_slice() {
            [zone] if !zone.name.contains("-die-") => true,
            zones => zones.len() == dies_here || zones.is_empty(),
        };
        let limits = self.limits(is_whole);
        if self.temperatures.is_err() || dies != self.dies {
            self.temperatures = temperatures(&self.sysfs, self.socket, dies);
            dies.clone_into(&mut self.dies);
        }
        let core_cpus = one_cpu_per_core(cpus);
        if core_cpus != self.core_cpus {
            let clocks: Vec<_> = core_cpus.iter().map(|cpu| self.max_clock(*cpu)).collect();
            let fastest = core_cpus.iter().zip(&clocks).rev().max_by_key(|(_, clock)| clock.unwrap_or(0));
            self.fastest = fastest.map(|(cpu, _)| *cpu);
            // One that could not be asked may be faster.
            let is_known = |clock: &Measured<u64>| {
                clock.as_ref().err().is_none_or(|fault| fault.absence == Absence::Unsupported)
            };
            self.core_cpus = if clocks.iter().all(is_known) { core_cpus.clone() } else { Vec::new() };
        }
        lock(&self.clocked).clone_from(&core_cpus);
        let clock = self.clocks.read();
        let clock_age = clock.as_ref().ok().map(|(age, _)| *age);
        let raw = Raw {
            energy: self.energy(now, is_whole, &limits),
            memory_energy: self.memory_energy(now, is_whole),
            limits_uw: limits,
            temperature_mc: [Attribute::Input, Attribute::Critical, Attribute::Max]
                .map(|attribute| temperature(&self.temperatures, attribute)),
            clock_khz: clock.and_then(|(_, clock)| *clock),
            clock_age: clock_age.filter(|age| *age > CLOCKS.budget),
            clock_max_khz: self
                .fastest
                .map_or(Err(Fault::new("cpuinfo_max_freq", FaultCode::NoCpu)), |cpu| self.max_clock(cpu)),
            throttle: self.throttle(now, &core_cpus),
        };
        if raw.temperature_mc[0].is_err_and(|fault| fault.code == "ENOENT") {
            self.temperatures = Err(NO_CORETEMP);
        }
        raw
    }

    /// The zones that the kernel lists now.
    fn zones(&self) -> impl Iterator<Item = &Zone> {
        self.zones.iter().filter(|zone| zone.is_listed)
    }

    fn cpu_folder(&self, cpu: Cpu) -> PathBuf {
        topology::folder(&self.sysfs, cpu.number)
    }

    fn max_clock(&self, cpu: Cpu) -> Measured<u64> {
        File::new(&self.cpu_folder(cpu), "cpufreq/cpuinfo_max_freq").number()
    }

    /// Energy of the package, which is at most what the highest of its limits allows.
    fn energy(
        &mut self,
        now: Instant,
        is_whole: bool,
        limits: &[(&'static str, Measured<u64>)],
    ) -> Measured<Energy> {
        let highest = limits.iter().filter_map(|(_, limit)| limit.ok()).max();
        let unknown = Fault::new("constraint_max_power_uw", FaultCode::NoMaximum);
        let watts = highest.ok_or(unknown).map(|microwatts| microwatts as f64 / 1e6);
        let zones = if is_whole { self.zones().count() } else { usize::MAX };
        sum(self.zones.iter_mut(), zones, "powercap", now, watts)
    }

    /// Energy of the memory, for which the kernel reports no limit.
    fn memory_energy(&mut self, now: Instant, is_whole: bool) -> Measured<Energy> {
        const CALL: &str = "powercap/dram";
        let zones = if is_whole { self.zones().count() } else { usize::MAX };
        let parts = self.zones.iter_mut().flat_map(|zone| &mut zone.parts);
        let memory = parts.filter(|part| part.name == "dram");
        sum(memory, zones, CALL, now, Err(Fault::new(CALL, FaultCode::NoMaximum)))
    }

    /// Power limits of the package, summed over its dies.
    fn limits(&self, is_whole: bool) -> Vec<(&'static str, Measured<u64>)> {
        let mut limits = Vec::new();
        for (name, label) in LIMITS {
            let constraints =
                || self.zones().flat_map(|zone| &zone.constraints).filter(|limit| limit.name == name);
            let total = |file: fn(&kernel::powercap::Constraint) -> &File| -> Measured<u64> {
                constraints().map(|limit| file(limit).number::<u64>()).sum()
            };
            if constraints().next().is_some() {
                if !is_whole || constraints().count() != self.zones().count() {
                    limits.push((label, Err(Fault::new("powercap", FaultCode::OtherDies))));
                    continue;
                }
                limits.push((label, total(|limit| &limit.limit)));
                if label == "enforced" {
                    limits.push(("max", total(|limit| &limit.max)));
                }
            }
        }
        if limits.is_empty() {
            limits.push(("enforced", Err(missing("powercap"))));
        }
        limits
    }

    /// Every CPU shows the counters of its core and of its package, so they are read from one CPU per core
    /// and from one per package.
    fn throttle(&mut self, now: Instant, core_cpus: &[Cpu]) -> ThrottleCounters {
        let read = |(name, each_core): (&'static str, bool)| -> Measured<Vec<(u32, u64)>> {
            let cpus = if each_core { core_cpus } else { core_cpus.get(..1).unwrap_or_default() };
            let number = |cpu: &Cpu| Ok((cpu.number, File::new(&self.cpu_folder(*cpu), name).number()?));
            cpus.iter().map(number).collect()
        };
        let readings = THROTTLE.map(read);
        let mut totals = self
            .counters
            .iter_mut()
            .zip(THROTTLE)
            .zip(readings)
            .map(|((counter, (call, _)), readings)| counter.add(call, now, &readings?));
        let mut next = || totals.next().unwrap_or(Err(Fault::new("thermal_throttle", FaultCode::NoCpu)));
        let (package_count, package_ms, core_count, core_ms) = (next(), next(), next(), next());
        // The kernel has this file only when booted with `int_pln_enable`, though it has the others.
        let without_option = |fault: Fault| match package_count {
            Ok(_) if fault.code == "ENOENT" => Fault::new(fault.call, FaultCode::NeedsIntPlnEnable),
            _ => fault,
        };
        let power_count = next().map_err(without_option);
        ThrottleCounters { package_count, package_ms, core_count, core_ms, power_count }
    }
}

/// Mean over the cores of the clock that the kernel averaged over the last tick.
fn mean_clock(sysfs: &Path, core_cpus: &[Cpu]) -> Measured<f64> {
    let file = |cpu: &Cpu| File::called(topology::folder(sysfs, cpu.number).join(CUR_FREQ), CUR_FREQ);
    let clocks: Vec<u64> = core_cpus.iter().map(|cpu| file(cpu).number()).collect::<Measured<_>>()?;
    if clocks.is_empty() {
        return Err(Fault::new(CUR_FREQ, FaultCode::NoCpu));
    }
    Ok(clocks.iter().sum::<u64>() as f64 / clocks.len() as f64)
}

/// The clock of a CPU now.
const CUR_FREQ: &str = "cpufreq/scaling_cur_freq";

/// The reading of the hottest die, or the lowest limit of any.
pub fn temperature(channels: &Measured<Vec<Channel>>, attribute: Attribute) -> Measured<i64> {
    let channels = channels.as_ref().map_err(|fault| *fault)?;
    let all: Vec<i64> =
        channels.iter().map(|channel| channel.file(attribute).number()).collect::<Measured<_>>()?;
    let strictest = if attribute == Attribute::Input { all.into_iter().max() } else { all.into_iter().min() };
    strictest.ok_or(NO_CORETEMP)
}

/// The RAPL zones of a socket: one, or one per die.
pub fn zones(sysfs: &Path, socket: u32) -> Vec<Zone> {
    let name = format!("package-{socket}");
    let is_ours = |zone: &Zone| {
        zone.name.strip_prefix(&name).is_some_and(|rest| rest.is_empty() || rest.starts_with("-die-"))
    };
    Zone::packages(sysfs).into_iter().filter(is_ours).collect()
}

/// The sum over so many zones, and what those counted that are gone.
///
/// # Errors
/// That of any zone, and `other_dies` where there are others than these.
fn sum<'a>(
    zones: impl Iterator<Item = &'a mut Zone>,
    count: usize,
    call: &'static str,
    now: Instant,
    watts: Measured<f64>,
) -> Measured<Energy> {
    let (zones, gone): (Vec<_>, Vec<_>) = zones.partition(|zone| zone.is_listed);
    // Each is read, since a counter that is not would miss a wrap.
    let counted: Vec<_> = zones.into_iter().map(|zone| zone.energy_microjoules(now, watts)).collect();
    if counted.is_empty() {
        return Err(missing(call));
    }
    if counted.len() != count {
        return Err(Fault::new(call, FaultCode::OtherDies));
    }
    let counted: Vec<_> = counted.into_iter().collect::<Measured<_>>()?;
    Ok(Energy {
        microjoules: counted.iter().map(|counted| counted.total).sum::<u64>()
            + gone.iter().map(|zone| zone.counted_microjoules()).sum::<u64>(),
        microwatts: counted.iter().map(Counted::power).sum(),
    })
}

/// The package sensors of a socket. The driver coretemp has a chip for each die, whose first channel is the
/// die's and whose others are those of its cores.
///
/// The number in a label `Package id` is the kernel's number of the die over all sockets
/// (`topology_logical_die_id`), in the order of sockets and their dies. It is the socket's number only where
/// every socket has one die and all are online.
pub fn temperatures(sysfs: &Path, socket: u32, dies: &[(u32, u32)]) -> Measured<Vec<Channel>> {
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

/// The first CPU of each core.
fn one_cpu_per_core(cpus: &[Cpu]) -> Vec<Cpu> {
    let mut core_cpus: Vec<Cpu> = Vec::new();
    for cpu in cpus {
        if core_cpus.iter().all(|leader| leader.core != cpu.core) {
            core_cpus.push(*cpu);
        }
    }
    core_cpus
}
