//! Xeon sockets as the kernel shows them: topology, frequency, RAPL, coretemp, throttling, PMUs; and beside
//! the kernel's files, in `accelsim/perf`, what the system calls of perf events and CPUID would return.
//! The machine's file names who described it.

use std::fmt::Write as _;

use serde::Deserialize;

use crate::cycle::Channel;
use crate::kernel::{Files, SIMULATED};
use crate::live::Options;
use crate::part::{Part, Physics};
use crate::profile;

/// How much later than the first each further socket gets the same load, and how much less of it.
const SOCKET_LAG_SECONDS: f64 = 7.0;
const SOCKET_GAIN: f64 = 0.85;
/// Share of the cycles in which an idle core does housekeeping.
const HOUSEKEEPING: f64 = 0.02;
const INSTRUCTIONS_PER_CYCLE: f64 = 1.7;
/// Share of memory accesses that are writes.
const WRITES: f64 = 0.3;
/// Where RAPL's counters end (`max_energy_range_uj`).
const ENERGY_RANGE_UJ: u64 = 262_143_328_850;
const MEMORY_ENERGY_RANGE_UJ: u64 = 65_712_999_613;
/// The platform's counter is in whole joules on servers, and its range is wider.
const PLATFORM_ENERGY_RANGE_UJ: u64 = 4_294_967_295_000_000;
/// What the rest of the platform draws.
const PLATFORM_WATTS: f64 = 120.0;
/// Memory controllers' PMUs have types from here on.
const FIRST_IMC_TYPE: usize = 30;
const CORE_PMU: u32 = 4;
const IMC: &str = "bus/event_source/devices/uncore_imc_";

/// The table `[amx]` of a machine file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct XeonProfile {
    /// Brand string.
    pub brand: String,
    /// EAX of CPUID leaf 1: family, model, stepping.
    pub signature: u32,
    /// Data types of its AMX units: `int8`, `bf16`, `fp16`; none without AMX.
    #[serde(default)]
    pub amx: Vec<String>,
    /// Microcode revision, as sysfs shows it.
    pub microcode: String,
    /// Sockets.
    pub sockets: u32,
    /// Cores of a socket.
    pub cores: u32,
    /// Threads of a core.
    pub threads: u32,
    /// Memory controllers of a socket.
    pub memory_controllers: u32,
    /// Whether each controller counts two sub-channels apart.
    #[serde(default)]
    pub sub_channels: bool,
    /// By which driver the kernel reads RAPL.
    pub rapl: Rapl,
    /// Whether the kernel was booted with `int_pln_enable`, without which it counts no power limit events.
    #[serde(default)]
    pub power_limit_events: bool,
    /// Memory traffic of a socket under full load, 10^9 bytes per second.
    pub gigabytes_per_second: f64,
    /// Memory's power draw idle and under full load.
    pub memory_watts: (f64, f64),
    /// Power, heat, clocks of a socket.
    pub physics: Physics,
}

/// The drivers of RAPL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rapl {
    /// Registers of the CPU; the platform's zone is numbered between those of the packages.
    Msr,
    /// TPMI, as on Xeon 6.
    Tpmi,
}

/// The sockets of a machine.
pub struct Amx(Part<XeonProfile>);

/// One thread.
#[derive(Clone, Copy)]
struct Cpu {
    number: u32,
    socket: u32,
    core: u32,
}

impl Amx {
    /// Opens the sockets of a machine; `None` when it has none that is simulated.
    ///
    /// # Errors
    /// When there is no such machine, or its table is not one of sockets.
    pub fn open(options: &Options) -> Result<Option<Self>, profile::Error> {
        Ok(Part::open(options, "amx", |facts: &XeonProfile| &facts.physics)?.map(Self))
    }

    /// The files now.
    pub fn files(&mut self) -> Files {
        let now = self.0.now();
        let facts = &self.0.facts;
        let mut files = Files::of_machine(&self.0.machine);
        files.put(format!("{SIMULATED}/perf/cpuid"), cpuid(facts));
        let cpus: Vec<_> = self.cpus().collect();
        files.put("devices/system/cpu/online", format_args!("0-{}", cpus.len() - 1));
        files.put("devices/system/cpu/smt/active", u32::from(facts.threads > 1));
        files.put("devices/system/cpu/cpu0/microcode/version", &facts.microcode);
        files.put("bus/event_source/devices/cpu/type", CORE_PMU);
        for cpu in &cpus {
            self.cpu(now, *cpu, &mut files);
            files.put(format!("{SIMULATED}/perf/cpu{}", cpu.number), self.counters(now, *cpu));
        }
        for socket in 0..facts.sockets {
            self.socket(now, socket, &mut files);
        }
        self.memory_controllers(&mut files);
        self.0.afflict(&mut files, now);
        files
    }

    /// Threads as Linux numbers them: the first of each core, socket after socket, then the second ones.
    fn cpus(&self) -> impl Iterator<Item = Cpu> {
        let XeonProfile { sockets, cores, threads, .. } = self.0.facts;
        (0..threads * sockets * cores).map(move |number| Cpu {
            number,
            socket: number / cores % sockets,
            core: number % cores,
        })
    }

    fn level(&self, channel: Channel, socket: u32, now: f64) -> f64 {
        self.0.level(channel, now - SOCKET_LAG_SECONDS * f64::from(socket))
    }

    /// The channel's integral since boot, of a load on this socket.
    fn since_boot(&self, channel: Channel, socket: u32, now: f64) -> f64 {
        let lag = SOCKET_LAG_SECONDS * f64::from(socket);
        (self.0.since_boot(channel, now - lag) * SOCKET_GAIN.powf(f64::from(socket))).max(0.0)
    }

    fn cpu(&self, now: f64, cpu: Cpu, files: &mut Files) {
        let Cpu { number, socket, core } = cpu;
        let folder = format!("devices/system/cpu/cpu{number}");
        let mut put = |name: &str, value: u64| files.put(format!("{folder}/{name}"), value);
        put("topology/physical_package_id", socket.into());
        put("topology/core_id", core.into());
        put("topology/die_id", 0);
        let clocks = &self.0.facts.physics.clocks;
        put("cpufreq/scaling_cur_freq", (self.level(Channel::SmClock, socket, now) * 1e3) as u64);
        put("cpufreq/cpuinfo_max_freq", (clocks.core_max_megahertz * 1e3) as u64);
        // A spell of throttling takes about a second.
        let hot = self.since_boot(Channel::HardwareThermal, socket, now);
        put("thermal_throttle/package_throttle_count", hot as u64);
        put("thermal_throttle/package_throttle_total_time_ms", (hot * 1e3) as u64);
        put("thermal_throttle/core_throttle_count", hot as u64 / 2);
        put("thermal_throttle/core_throttle_total_time_ms", (hot * 5e2) as u64);
        if self.0.facts.power_limit_events {
            let count = self.since_boot(Channel::PowerCap, socket, now) as u64;
            put("thermal_throttle/package_power_limit_count", count);
        }
    }

    /// The RAPL zone of a socket, below the root.
    fn zone(&self, socket: u32) -> (String, String) {
        let (control, number) = match self.0.facts.rapl {
            Rapl::Msr if socket > 0 => ("intel-rapl", socket + 1),
            Rapl::Msr => ("intel-rapl", socket),
            Rapl::Tpmi => ("intel-rapl-tpmi", socket),
        };
        let zone = format!("{control}:{number}");
        (format!("class/powercap/{zone}"), zone)
    }

    fn socket(&self, now: f64, socket: u32, files: &mut Files) {
        let XeonProfile {
            physics: Physics { power, thermal, .. }, memory_watts: (idle, full), cores, ..
        } = &self.0.facts;
        let uptime = self.0.uptime(now);
        let joules = self.since_boot(Channel::Power, socket, now);
        let memory_joules = idle * uptime + (full - idle) * self.since_boot(Channel::Dram, socket, now);
        let (folder, zone) = self.zone(socket);
        let microwatts = |watts: f64| (watts * 1e6) as u64;
        files.put(format!("{folder}/name"), format_args!("package-{socket}"));
        for (name, value) in [
            ("energy_uj", (joules * 1e6) as u64 % (ENERGY_RANGE_UJ + 1)),
            ("max_energy_range_uj", ENERGY_RANGE_UJ),
            ("constraint_0_power_limit_uw", microwatts(power.limit_watts)),
            ("constraint_0_max_power_uw", microwatts(power.limit_max_watts)),
            ("constraint_1_power_limit_uw", microwatts(power.limit_watts * 1.2)),
            ("constraint_1_max_power_uw", microwatts(power.limit_max_watts * 2.0)),
        ] {
            files.put(format!("{folder}/{name}"), value);
        }
        files.put(format!("{folder}/constraint_0_name"), "long_term");
        files.put(format!("{folder}/constraint_1_name"), "short_term");
        let dram = format!("{folder}/{zone}:0");
        files.put(format!("{dram}/name"), "dram");
        files.put(format!("{dram}/energy_uj"), (memory_joules * 1e6) as u64 % (MEMORY_ENERGY_RANGE_UJ + 1));
        files.put(format!("{dram}/max_energy_range_uj"), MEMORY_ENERGY_RANGE_UJ);
        if socket == 0 && self.0.facts.rapl == Rapl::Msr {
            // Counted in whole joules, and without a limit.
            let platform = "class/powercap/intel-rapl:1";
            files.put(format!("{platform}/name"), "psys");
            files.put(format!("{platform}/energy_uj"), (joules + PLATFORM_WATTS * uptime) as u64 * 1_000_000);
            files.put(format!("{platform}/max_energy_range_uj"), PLATFORM_ENERGY_RANGE_UJ);
            files.put(format!("{platform}/constraint_0_name"), "long_term");
            files.put(format!("{platform}/constraint_0_power_limit_uw"), 0);
        }

        let chip = format!("class/hwmon/hwmon{socket}");
        files.put(format!("{chip}/name"), "coretemp");
        let package =
            self.level(Channel::GpuTemperature, socket, now).min(f64::from(thermal.slowdown_celsius));
        let sensors = std::iter::once((1, format!("Package id {socket}"), package))
            .chain((0..*cores).map(|core| (core + 2, format!("Core {core}"), package - f64::from(core % 4))));
        for (number, label, celsius) in sensors {
            files.put(format!("{chip}/temp{number}_label"), label);
            files.put(format!("{chip}/temp{number}_input"), (celsius.round() as u64) * 1000);
            files.put(format!("{chip}/temp{number}_max"), thermal.gpu_max_celsius * 1000);
            files.put(format!("{chip}/temp{number}_crit"), thermal.slowdown_celsius * 1000);
        }
    }

    /// What the events of a CPU have counted, as the file that stands for the system calls holds it.
    fn counters(&self, now: f64, cpu: Cpu) -> String {
        let facts = &self.0.facts;
        let nanoseconds = (self.0.uptime(now) * 1e9) as u64;
        let hertz = facts.physics.clocks.core_max_megahertz * 1e6;
        let busy = self.since_boot(Channel::Graphics, cpu.socket, now) + HOUSEKEEPING * self.0.uptime(now);
        let thread = busy * hertz;
        // Two threads that are not halted get half of their core's cycles each.
        let share = 1.0 / f64::from(facts.threads);
        let mut text = format!("{nanoseconds} {nanoseconds}");
        let mut count = |pmu, config: u32, value: f64| {
            write!(text, "\n{pmu} {config:#x} {}", value as u64).expect("a String takes all");
        };
        count(CORE_PMU, 0x003c, thread);
        count(CORE_PMU, 0x00c0, thread * INSTRUCTIONS_PER_CYCLE);
        count(CORE_PMU, 0x02ec, thread * share);
        if !facts.amx.is_empty() {
            count(CORE_PMU, 0x02b7, self.since_boot(Channel::Tensor, cpu.socket, now) * hertz * share);
        }
        if cpu.core == 0 && cpu.number < facts.sockets * facts.cores {
            let bytes = self.since_boot(Channel::Dram, cpu.socket, now) * facts.gigabytes_per_second * 1e9;
            let events = cas_events(facts);
            let accesses = bytes / 64.0 / f64::from(facts.memory_controllers) / events.len() as f64;
            for controller in 0..facts.memory_controllers {
                let pmu = FIRST_IMC_TYPE as u32 + controller;
                for (_, channel) in events {
                    count(pmu, 0xcf00 | channel, accesses * (1.0 - WRITES));
                    count(pmu, 0xf000 | channel, accesses * WRITES);
                }
            }
        }
        text
    }

    fn memory_controllers(&self, files: &mut Files) {
        let XeonProfile { sockets, cores, memory_controllers, .. } = self.0.facts;
        let cpumask: Vec<_> = (0..sockets).map(|socket| (socket * cores).to_string()).collect();
        for controller in 0..memory_controllers {
            let folder = format!("{IMC}{controller}");
            files.put(format!("{folder}/type"), FIRST_IMC_TYPE as u32 + controller);
            files.put(format!("{folder}/cpumask"), cpumask.join(","));
            files.put(format!("{folder}/format/event"), "config:0-7");
            files.put(format!("{folder}/format/umask"), "config:8-15");
            for (channel, event) in cas_events(&self.0.facts) {
                for (name, umask) in [("read", "0xcf"), ("write", "0xf0")] {
                    let event = format!("event={event:#04x},umask={umask}");
                    let path = format!("{folder}/events/cas_count_{name}{channel}");
                    files.put(format!("{path}.scale"), "6.103515625e-5");
                    files.put(format!("{path}.unit"), "MiB");
                    files.put(path, event);
                }
            }
        }
    }
}

/// Events that count column accesses: the suffix of their names, and their number.
fn cas_events(facts: &XeonProfile) -> &'static [(&'static str, u32)] {
    if facts.sub_channels { &[("_sch0", 0x05), ("_sch1", 0x06)] } else { &[("", 0x05)] }
}

/// Leaves of CPUID: number, sub-leaf, EAX, EBX, ECX, EDX, in hexadecimal.
fn cpuid(facts: &XeonProfile) -> String {
    let bit = |has: bool, bit: u32| u32::from(has) << bit;
    let knows = |kind: &str| facts.amx.iter().any(|known| known == kind);
    let amx = bit(!facts.amx.is_empty(), 24) | bit(knows("bf16"), 22) | bit(knows("int8"), 25);
    let fp16 = bit(knows("fp16"), 21);
    let vendor = *b"GenuineIntel";
    let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    let mut lines = vec![
        (0, 0, [0x20, word(&vendor[..4]), word(&vendor[8..]), word(&vendor[4..8])]),
        (1, 0, [facts.signature, 0, 0, 0]),
        (7, 0, [1, 0, 0, amx]),
        (7, 1, [fp16, 0, 0, 0]),
        (0x8000_0000_u32, 0, [0x8000_0008, 0, 0, 0]),
    ];
    let mut brand = facts.brand.clone().into_bytes();
    brand.resize(48, 0);
    for (leaf, text) in (0x8000_0002..).zip(brand.chunks(16)) {
        lines.push((leaf, 0, [0, 4, 8, 12].map(|at| word(&text[at..at + 4]))));
    }
    let lines = lines
        .iter()
        .map(|(leaf, subleaf, [a, b, c, d])| format!("{leaf:x} {subleaf:x} {a:x} {b:x} {c:x} {d:x}"));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Amx;
    use crate::clock::Clock;
    use crate::kernel::Tree;
    use crate::live::Options;
    use crate::workload::Workload;

    fn shown(machine: &str, workload: Workload, seconds: f64) -> tempfile::TempDir {
        let clock = Clock::Fixed(seconds);
        let options = Options { machine: machine.to_owned(), clock, workload, ..Options::default() };
        let root = tempfile::tempdir().expect("a folder");
        let mut amx = Amx::open(&options).expect("it opens").expect("it has sockets");
        Tree::new(root.path()).expect("a root").show(amx.files()).expect("written");
        root
    }

    fn read(root: &tempfile::TempDir, name: &str) -> String {
        fs::read_to_string(root.path().join(name)).expect(name).trim().to_owned()
    }

    #[test]
    fn a_thread_belongs_to_a_core_of_a_socket() {
        let root = shown("xeon6-amx", Workload::Mixed, 1.79e9);
        let number =
            |cpu: u32, name: &str| read(&root, &format!("devices/system/cpu/cpu{cpu}/topology/{name}"));
        assert_eq!(read(&root, "devices/system/cpu/online"), "0-63");
        let place = |cpu| (number(cpu, "physical_package_id"), number(cpu, "core_id"));
        assert_eq!(place(1), ("0".to_owned(), "1".to_owned()));
        assert_eq!(place(33), place(1), "the second thread of the same core");
        assert_eq!(place(17), ("1".to_owned(), "1".to_owned()));
    }

    #[test]
    fn counters_follow_the_load_on_both_sockets() {
        let count = |root: &tempfile::TempDir, cpu: u32, event: &str| -> u64 {
            let text = read(root, &format!("accelsim/perf/cpu{cpu}"));
            let line = text.lines().find(|line| line.starts_with(event)).unwrap_or_else(|| panic!("{event}"));
            line.rsplit(' ').next().expect("a count").parse().expect("a number")
        };
        let [before, after] = [1.79e9, 1.79e9 + 30.0].map(|at| shown("xeon6-amx", Workload::Prefill, at));
        for cpu in [0, 40] {
            let moved = |event| count(&after, cpu, event) - count(&before, cpu, event);
            let ratio = moved("4 0x2b7") as f64 / moved("4 0x2ec") as f64;
            assert!((0.6..0.9).contains(&ratio), "CPU {cpu}: {ratio}");
        }
        let idle = [1.79e9, 1.79e9 + 30.0].map(|at| shown("xeon6-amx", Workload::Idle, at));
        assert_eq!(count(&idle[0], 0, "4 0x2b7"), count(&idle[1], 0, "4 0x2b7"));
        let forest = shown("sierra-forest", Workload::Prefill, 1.79e9);
        assert!(!read(&forest, "accelsim/perf/cpu0").contains("0x2b7"), "Sierra Forest has no AMX");
    }

    #[test]
    fn the_platforms_zone_is_numbered_between_the_packages() {
        let root = shown("xeon-sapphire-rapids", Workload::Decode, 1.79e9);
        let names = [0, 1, 2].map(|zone| read(&root, &format!("class/powercap/intel-rapl:{zone}/name")));
        assert_eq!(names, ["package-0", "psys", "package-1"]);
        assert_eq!(read(&root, "class/powercap/intel-rapl:2/intel-rapl:2:0/name"), "dram");
    }

    #[test]
    fn energy_wraps_where_it_says() {
        let root = shown("xeon6-amx", Workload::Decode, 1.79e9);
        let zone = "class/powercap/intel-rapl-tpmi:0";
        let number = |name: &str| read(&root, &format!("{zone}/{name}")).parse::<u64>();
        assert!(number("energy_uj").expect("a number") <= number("max_energy_range_uj").expect("a number"));
    }
}
