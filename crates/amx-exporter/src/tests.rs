//! Whole sockets on a tree of files: the values of a round, and the effect of each odd file or refusal.

mod late;

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use naming::Family;
use reading::{Absence, Batch, Fault, Identity, Labels};
use source::Info;

use crate::{
    perf::Shared,
    sampler::{SocketConfig, SocketSampler},
    simulated::{self, Counters},
};

/// Granite Rapids with AMX: leaf, sub-leaf, EAX to EDX.
const CPUID: &str = "\
0 0 20 756e6547 6c65746e 49656e69
1 0 a06d1 0 0 0
7 0 1 0 0 3400000
7 1 200000 0 0 0
";

/// Two sockets of two cores of two threads.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().expect("a folder"));
        tree.put("devices/system/cpu/online", "0-7");
        tree.put("bus/event_source/devices/cpu/type", "4");
        tree.put("accelsim/perf/cpuid", CPUID);
        for controller in 0..2 {
            let pmu = format!("bus/event_source/devices/uncore_imc_{controller}");
            tree.put(&format!("{pmu}/type"), &(20 + controller).to_string());
            tree.put(&format!("{pmu}/cpumask"), "0,4");
            tree.put(&format!("{pmu}/format/event"), "config:0-7");
            tree.put(&format!("{pmu}/format/umask"), "config:8-15");
            for (channel, event) in [("sch0", "0x05"), ("sch1", "0x06")] {
                tree.put(
                    &format!("{pmu}/events/cas_count_read_{channel}"),
                    &format!("event={event},umask=0xcf"),
                );
                tree.put(
                    &format!("{pmu}/events/cas_count_write_{channel}"),
                    &format!("event={event},umask=0xf0"),
                );
            }
        }
        for cpu in 0..8 {
            let folder = format!("devices/system/cpu/cpu{cpu}");
            for (name, text) in [
                ("topology/physical_package_id", (cpu / 4).to_string()),
                ("topology/core_id", (cpu % 4 / 2).to_string()),
                ("cpufreq/scaling_cur_freq", (3_000_000 + cpu % 4 / 2 * 200_000).to_string()),
                ("cpufreq/cpuinfo_max_freq", (3_600_000 + cpu % 4 / 2 * 200_000).to_string()),
                ("thermal_throttle/package_throttle_count", "3".to_owned()),
                ("thermal_throttle/package_throttle_total_time_ms", "1500".to_owned()),
                ("thermal_throttle/core_throttle_count", "4".to_owned()),
                ("thermal_throttle/core_throttle_total_time_ms", "250".to_owned()),
            ] {
                tree.put(&format!("{folder}/{name}"), &text);
            }
            tree.count(cpu, 0, 0, [0; 4]);
        }
        tree.rapl("energy_uj", "262143328000");
        for (name, text) in [
            ("name", "package-0"),
            ("max_energy_range_uj", "262143328850"),
            ("constraint_0_name", "long_term"),
            ("constraint_0_power_limit_uw", "350000000"),
            ("constraint_0_max_power_uw", "350000000"),
            ("constraint_1_name", "short_term"),
            ("constraint_1_power_limit_uw", "420000000"),
            ("intel-rapl:0:0/name", "dram"),
            ("intel-rapl:0:0/energy_uj", "5000000"),
            ("intel-rapl:0:0/max_energy_range_uj", "65712999613"),
        ] {
            tree.rapl(name, text);
        }
        tree.sensor("temp1_label", "Package id 0");
        tree.sensor("temp1_input", "61000");
        tree.sensor("temp1_max", "90000");
        tree.sensor("temp1_crit", "100000");
        tree.sensor("temp2_label", "Core 0");
        tree.sensor("temp2_input", "99000");
        tree.put("class/hwmon/hwmon0/name", "coretemp");
        tree.put("class/hwmon/hwmon1/name", "coretemp");
        tree.put("class/hwmon/hwmon1/temp1_label", "Package id 1");
        tree.put("class/hwmon/hwmon1/temp1_input", "70000");
        tree
    }

    /// Puts these CPUs online and all others offline, where they have no topology.
    fn online(&self, cpus: &[u32]) {
        let list: Vec<_> = cpus.iter().map(u32::to_string).collect();
        self.put("devices/system/cpu/online", &list.join(","));
        for cpu in 0..8 {
            let core = format!("devices/system/cpu/cpu{cpu}/topology/core_id");
            if cpus.contains(&cpu) {
                self.put(&core, &(cpu % 4 / 2).to_string());
            } else if self.0.path().join(&core).exists() {
                self.remove(&core);
            }
        }
    }

    /// Makes each core a die of its own.
    fn two_dies(&self) {
        for cpu in 0..8 {
            self.put(&format!("devices/system/cpu/cpu{cpu}/topology/die_id"), &(cpu % 4 / 2).to_string());
        }
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().expect("has one")).expect("created");
        fs::write(path, format!("{}\n", text.trim_end())).expect("written");
    }

    fn rapl(&self, name: &str, text: &str) {
        self.put(&format!("class/powercap/intel-rapl:0/{name}"), text);
    }

    fn sensor(&self, name: &str, text: &str) {
        self.put(&format!("class/hwmon/hwmon0/{name}"), text);
    }

    /// Threads' cycles, instructions, cores' cycles and AMX of a CPU, and as many accesses of each
    /// controller; times in milliseconds.
    fn count(&self, cpu: u32, enabled: u64, running: u64, values: [u64; 4]) {
        let mut text = format!("{} {}\n", enabled * 1_000_000, running * 1_000_000);
        for (config, value) in [0x3c, 0xc0, 0x02ec, 0x02b7].into_iter().zip(values) {
            writeln!(text, "4 {config:#x} {value}").expect("a String takes all");
        }
        for pmu in [20, 21] {
            for (config, value) in [0xcf05, 0xcf06, 0xf005, 0xf006].into_iter().zip(values) {
                writeln!(text, "{pmu} {config:#x} {value}").expect("a String takes all");
            }
        }
        self.put(&format!("accelsim/perf/cpu{cpu}"), &text);
    }

    fn sampler(&self, per_core: bool) -> SocketSampler {
        self.sampler_of(0, per_core)
    }

    fn sampler_of(&self, number: u32, per_core: bool) -> SocketSampler {
        let folder = self.0.path().join("accelsim/perf");
        let cpu = simulated::cpu(&folder).expect("readable");
        let perf: Shared = Arc::new(Counters(folder));
        let socket = SocketConfig {
            sysfs: self.0.path().to_owned(),
            number,
            identity: Arc::new(Identity::new(Family::Amx, "socket0")),
            amx_missing: cpu.amx_missing().map_err(|code| Fault::new("cpuid", code)),
            info: Info::new(|| Labels::Shared([].into())),
            per_core,
        };
        SocketSampler::new(socket, &perf, &cpu)
    }

    fn remove(&self, name: &str) {
        let path: &Path = &self.0.path().join(name);
        fs::remove_file(path).expect("removed");
    }
}

fn round(sampler: &mut SocketSampler, at: Instant) -> Batch {
    let mut batch = Batch::default();
    sampler.round(at, &mut batch).expect("the socket is there");
    batch
}

/// The value of the series of this name whose labels are these words.
fn value(batch: &Batch, name: &str, labels: &str) -> Option<f64> {
    let mut found = batch.groups[0].readings.iter().filter(|reading| {
        let mut words = Vec::new();
        reading.labels.for_each(|_, value| words.push(value.to_owned()));
        reading.id.metric().name == Some(name) && words.join(" ") == labels
    });
    found.next().map(|reading| reading.value.as_f64())
}

fn absence(batch: &Batch, name: &str) -> Option<(Absence, &'static str)> {
    let absent = batch.absences.iter().find(|absent| absent.id.metric().name == Some(name));
    absent.map(|absent| (absent.fault.absence, absent.fault.code.name()))
}

#[test]
fn energy_that_stands_is_no_power() {
    let tree = Tree::new();
    let mut sampler = tree.sampler(false);
    let start = Instant::now();
    round(&mut sampler, start);
    let batch = round(&mut sampler, start + Duration::from_secs(1));
    for name in ["accel_power_watts", "accel_memory_power_watts"] {
        assert_eq!(absence(&batch, name), Some((Absence::NoData, "counter_stands")), "{name}");
    }
    tree.rapl("energy_uj", "262143328100");
    let batch = round(&mut sampler, start + Duration::from_secs(2));
    assert!(value(&batch, "accel_power_watts", "").is_some_and(|watts| watts > 0.0));
}

#[test]
fn a_second_of_a_socket() {
    let tree = Tree::new();
    let mut sampler = tree.sampler(true);
    let start = Instant::now();
    let first = round(&mut sampler, start);
    for name in
        ["accel_engine_active_ratio", "accel_cycles_total", "accel_power_watts", "accel_throttle_active"]
    {
        assert_eq!(absence(&first, name), Some((Absence::NoData, "first_reading")), "{name}");
    }
    // Only core 0 uses AMX. The kernel multiplexed CPU 3's group.
    for (cpu, amx) in [(0, 1_000_000_000), (1, 0)] {
        tree.count(cpu, 1000, 1000, [2_000_000_000, 4_000_000_000, 775_000_000, amx]);
    }
    tree.count(2, 1000, 1000, [2_000_000_000, 4_000_000_000, 775_000_000, 0]);
    tree.count(3, 1000, 250, [500_000_000, 1_000_000_000, 193_750_000, 0]);
    for cpu in 4..8 {
        tree.count(cpu, 1000, 1000, [7, 7, 7, 7]);
    }
    tree.rapl("energy_uj", "149149");
    tree.rapl("intel-rapl:0:0/energy_uj", "15000000");
    let batch = round(&mut sampler, start + Duration::from_secs(1));
    let ratio = value(&batch, "accel_engine_active_ratio", "amx").expect("counted");
    assert_eq!(format!("{ratio:.4}"), "0.3226", "1.0e9 of 3.1e9");
    for (name, labels, expected) in [
        ("accel_cycles_total", "thread", 8.0e9),
        ("accel_cycles_total", "core", 3.1e9),
        ("accel_cycles_total", "amx", 1.0e9),
        ("accel_instructions_total", "", 1.6e10),
        // CPU 0's four counts on two controllers, 64 bytes each.
        ("accel_memory_read_bytes_total", "", 2.0 * 6.0e9 * 64.0),
        ("accel_memory_written_bytes_total", "", 2.0 * 1.775e9 * 64.0),
        // 851 µJ to the wrap and 149,149 after it, the range included.
        ("accel_power_watts", "", 0.15),
        ("accel_energy_joules_total", "", 0.15),
        ("accel_memory_power_watts", "", 10.0),
        ("accel_memory_energy_joules_total", "", 10.0),
        ("accel_power_limit_watts", "enforced", 350.0),
        ("accel_power_limit_watts", "short_term", 420.0),
        ("accel_power_limit_watts", "max", 350.0),
        ("accel_temperature_celsius", "package", 61.0),
        ("accel_temperature_limit_celsius", "package slowdown", 100.0),
        ("accel_temperature_limit_celsius", "package operating", 90.0),
        ("accel_clock_hertz", "core", 3.1e9),
        ("accel_clock_max_hertz", "core", 3.8e9),
        ("accel_throttle_active", "thermal", 0.0),
        ("accel_throttle_events_total", "thermal", 3.0),
        ("accel_throttle_events_total", "core_thermal", 8.0),
        ("accel_throttle_seconds_total", "thermal", 1.5),
        ("accel_throttle_seconds_total", "core_thermal", 0.5),
    ] {
        assert_eq!(value(&batch, name, labels), Some(expected), "{name} {labels}");
    }
    let cores: Vec<_> = batch.groups[1..]
        .iter()
        .map(|core| {
            let partition = core.identity.as_ref().and_then(|identity| identity.partition.as_deref());
            (partition.unwrap_or_default(), format!("{:.4}", core.readings[0].value.as_f64()))
        })
        .collect();
    assert_eq!(cores, [("core0", "0.6452".to_owned()), ("core1", "0.0000".to_owned())]);
}

#[test]
fn throttling_shows_by_its_counters_and_by_the_temperature() {
    let tree = Tree::new();
    let mut sampler = tree.sampler(false);
    let start = Instant::now();
    let mut next = 0;
    let mut active = |tree: &Tree| {
        let _ = tree;
        next += 1;
        let batch = round(&mut sampler, start + Duration::from_secs(next));
        value(&batch, "accel_throttle_active", "thermal")
    };
    assert_eq!([active(&tree), active(&tree)], [None, Some(0.0)]);
    tree.put("devices/system/cpu/cpu2/thermal_throttle/core_throttle_count", "5");
    assert_eq!([active(&tree), active(&tree)], [Some(1.0), Some(0.0)]);
    tree.put("devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "4");
    assert_eq!([active(&tree), active(&tree)], [Some(1.0), Some(0.0)]);
    // Long throttling changes no counter, but the temperature is at its limit.
    tree.sensor("temp1_input", "100000");
    assert_eq!([active(&tree), active(&tree)], [Some(1.0), Some(1.0)]);
    // Without a boot option the kernel does not count the power limit.
    let mut again = tree.sampler(false);
    let batch = round(&mut again, start);
    let power =
        batch.absences.iter().rfind(|absent| absent.id.metric().name == Some("accel_throttle_active"));
    assert_eq!(power.map(|absent| absent.fault.code.name()), Some("needs_int_pln_enable"));
}

#[test]
fn each_refusal_of_the_kernel_is_a_reason_and_costs_the_counters_alone() {
    for (number, absence_kind, code) in [
        (13, Absence::Unsupported, "EACCES"),
        (2, Absence::Unsupported, "ENOENT"),
        (24, Absence::Failed, "EMFILE"),
    ] {
        let tree = Tree::new();
        tree.put("accelsim/perf/cpu1", &format!("error {number}"));
        let mut sampler = tree.sampler(false);
        let batch = round(&mut sampler, Instant::now());
        assert_eq!(absence(&batch, "accel_engine_active_ratio"), Some((absence_kind, code)));
        assert_eq!(value(&batch, "accel_temperature_celsius", "package"), Some(61.0), "{code}");
        // The events are opened again after a while.
        tree.count(1, 0, 0, [0; 4]);
        let later = Instant::now() + Duration::from_secs(11);
        assert_eq!(
            absence(&round(&mut sampler, later), "accel_instructions_total").map(|a| a.1),
            Some("first_reading")
        );
        for cpu in 0..4 {
            tree.count(cpu, 10, 10, [10, 10, 5, 1]);
        }
        let batch = round(&mut sampler, later + Duration::from_secs(1));
        assert_eq!(value(&batch, "accel_engine_active_ratio", "amx"), Some(0.2));
    }
}

#[test]
fn without_a_core_pmu_or_memory_controllers_it_says_so() {
    let tree = Tree::new();
    tree.remove("bus/event_source/devices/cpu/type");
    for controller in 0..2 {
        let folder = tree.0.path().join(format!("bus/event_source/devices/uncore_imc_{controller}"));
        fs::remove_dir_all(folder).expect("removed");
    }
    let batch = round(&mut tree.sampler(false), Instant::now());
    assert_eq!(absence(&batch, "accel_engine_active_ratio"), Some((Absence::Unsupported, "no_core_pmu")));
    let batch = {
        let mut sampler = tree.sampler(false);
        round(&mut sampler, Instant::now());
        round(&mut sampler, Instant::now())
    };
    assert_eq!(
        absence(&batch, "accel_memory_read_bytes_total"),
        Some((Absence::Unsupported, "no_uncore_imc"))
    );
}

#[test]
fn a_cpu_may_go_offline_between_two_rounds_and_come_back() {
    let tree = Tree::new();
    let mut sampler = tree.sampler(false);
    let start = Instant::now();
    let mut next = 0;
    let mut ratio = || {
        next += 1;
        let batch = round(&mut sampler, start + Duration::from_secs(next));
        value(&batch, "accel_engine_active_ratio", "amx").ok_or(absence(&batch, "accel_engine_active_ratio"))
    };
    let tick = |time: u64, cpus: &[u32]| {
        for cpu in cpus {
            tree.count(*cpu, time, time, [time, 1, time, time / 2]);
        }
    };
    assert!(ratio().is_err());
    tick(1000, &[0, 1, 2, 3]);
    assert_eq!(ratio(), Ok(0.5));
    // It is still listed, but offline.
    tree.remove("accelsim/perf/cpu3");
    tick(2000, &[0, 1, 2]);
    assert_eq!(ratio(), Ok(0.5));
    tree.online(&[0, 1, 2, 4, 5, 6, 7]);
    tick(3000, &[0, 1, 2]);
    assert_eq!(ratio(), Ok(0.5));
    tree.online(&[0, 1, 2, 3, 4, 5, 6, 7]);
    tick(3000, &[3]);
    tick(4000, &[0, 1, 2]);
    assert_eq!(ratio(), Ok(0.5));
    // Nothing was on the hardware.
    for cpu in 0..4 {
        tree.count(cpu, 9000, 4000, [5000, 1, 5000, 5000]);
    }
    tree.count(3, 9000, 3000, [5000, 1, 5000, 5000]);
    assert_eq!(ratio(), Err(Some((Absence::NoData, "not_running"))));
    // The increment since it was last on the hardware.
    for cpu in 0..4 {
        tree.count(cpu, 10_000, 10_000, [5000, 1, 6000, 3000]);
    }
    assert_eq!(ratio(), Ok(0.5));
    // All cores were halted.
    for cpu in 0..4 {
        tree.count(cpu, 11_000, 11_000, [5000, 1, 6000, 3000]);
    }
    assert_eq!(ratio(), Err(Some((Absence::NoData, "no_unhalted_cycles"))));
}

#[test]
fn a_socket_whose_last_cpu_went_offline_is_down() {
    let tree = Tree::new();
    let mut sampler = tree.sampler(false);
    round(&mut sampler, Instant::now());
    tree.online(&[4, 5, 6, 7]);
    let lost = sampler.round(Instant::now(), &mut Batch::default());
    assert!(matches!(lost, Err(reading::Lost::Device(fault)) if fault.code == "offline"), "{lost:?}");
}

#[test]
fn a_core_that_goes_offline_takes_no_counts_with_it() {
    let tree = Tree::new();
    let mut sampler = tree.sampler(false);
    let start = Instant::now();
    let mut next = 0;
    let mut counts = || {
        next += 1;
        let batch = round(&mut sampler, start + Duration::from_secs(next));
        [
            value(&batch, "accel_throttle_events_total", "thermal"),
            value(&batch, "accel_throttle_events_total", "core_thermal"),
            value(&batch, "accel_throttle_seconds_total", "core_thermal"),
            value(&batch, "accel_throttle_active", "thermal"),
        ]
    };
    counts();
    assert_eq!(counts(), [Some(3.0), Some(8.0), Some(0.5), Some(0.0)]);
    // Core 1 goes offline, and so does the CPU from which the package and core 0 were read.
    tree.put("devices/system/cpu/cpu1/thermal_throttle/package_throttle_count", "1");
    tree.online(&[1, 4, 5, 6, 7]);
    assert_eq!(counts(), [Some(3.0), Some(8.0), Some(0.5), Some(0.0)]);
    tree.put("devices/system/cpu/cpu1/thermal_throttle/core_throttle_count", "6");
    assert_eq!(counts(), [Some(3.0), Some(10.0), Some(0.5), Some(1.0)]);
    tree.online(&[0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(counts(), [Some(3.0), Some(10.0), Some(0.5), Some(0.0)]);
}

#[test]
fn the_sensor_of_a_package_is_found_by_its_dies() {
    // Two dies on each socket: the kernel's "Package id" counts dies, so 1 is no socket.
    let tree = Tree::new();
    tree.two_dies();
    let mut sampler = tree.sampler(false);
    let batch = round(&mut sampler, Instant::now());
    assert_eq!(absence(&batch, "accel_temperature_celsius"), Some((Absence::NoData, "other_dies")));
    for (chip, die, celsius) in [("hwmon3", 2, "88000"), ("hwmon2", 3, "90000")] {
        tree.put(&format!("class/hwmon/{chip}/name"), "coretemp");
        tree.put(&format!("class/hwmon/{chip}/temp1_label"), &format!("Package id {die}"));
        tree.put(&format!("class/hwmon/{chip}/temp1_input"), celsius);
    }
    let batch = round(&mut sampler, Instant::now());
    assert_eq!(value(&batch, "accel_temperature_celsius", "package"), Some(70.0), "the hotter of its two");
    // The other socket's dies go offline: the numbers stay.
    tree.online(&[0, 1, 2, 3]);
    for chip in ["hwmon2", "hwmon3"] {
        tree.remove(&format!("class/hwmon/{chip}/temp1_label"));
    }
    let batch = round(&mut sampler, Instant::now());
    assert_eq!(value(&batch, "accel_temperature_celsius", "package"), Some(70.0));
}

#[test]
fn the_number_of_a_socket_need_not_be_that_of_its_sensor() {
    // The kernel numbers only the dies that exist; sockets may be 0 and 4.
    let tree = Tree::new();
    for cpu in 4..8 {
        tree.put(&format!("devices/system/cpu/cpu{cpu}/topology/physical_package_id"), "4");
    }
    let batch = round(&mut tree.sampler_of(4, false), Instant::now());
    assert_eq!(value(&batch, "accel_temperature_celsius", "package"), Some(70.0));
}

#[test]
fn what_some_dies_or_controllers_have_is_not_the_sockets() {
    let tree = Tree::new();
    tree.two_dies();
    for (die, zone) in ["intel-rapl:0", "intel-rapl:1"].into_iter().enumerate() {
        tree.put(&format!("class/powercap/{zone}/name"), &format!("package-0-die-{die}"));
        tree.put(&format!("class/powercap/{zone}/energy_uj"), "1000");
        tree.put(&format!("class/powercap/{zone}/max_energy_range_uj"), "262143328850");
    }
    let mut sampler = tree.sampler(false);
    let start = Instant::now();
    let batch = round(&mut sampler, start);
    assert_eq!(value(&batch, "accel_energy_joules_total", ""), Some(0.0));
    // Only the first has memory and limits.
    for name in ["accel_memory_energy_joules_total", "accel_power_limit_watts"] {
        assert_eq!(absence(&batch, name), Some((Absence::NoData, "other_dies")), "{name}");
    }
    // No controller has a CPU of this socket in its list.
    for controller in 0..2 {
        tree.put(&format!("bus/event_source/devices/uncore_imc_{controller}/cpumask"), "4");
    }
    for seconds in [11, 12] {
        let batch = round(&mut sampler, start + Duration::from_secs(seconds));
        let traffic = absence(&batch, "accel_memory_read_bytes_total");
        assert_eq!(traffic, Some((Absence::NoData, "no_cpu")), "never 0");
    }
    // One of them cannot be looked up.
    tree.remove("bus/event_source/devices/uncore_imc_1/format/umask");
    let mut sampler = tree.sampler(false);
    for seconds in [0, 1] {
        let batch = round(&mut sampler, start + Duration::from_secs(seconds));
        assert!(absence(&batch, "accel_memory_read_bytes_total").is_some());
    }
}

#[test]
fn memory_controllers_may_come_later_and_one_that_fails_costs_no_counts() {
    let tree = Tree::new();
    let folder = tree.0.path().join("bus/event_source/devices");
    let aside = tree.0.path().join("aside");
    fs::rename(folder.join("uncore_imc_1"), &aside).expect("moved");
    let mut sampler = tree.sampler(false);
    let start = Instant::now();
    let mut next = 0;
    let mut read = |tree: &Tree| {
        next += 1;
        for cpu in 0..8 {
            tree.count(cpu, next * 1000, next * 1000, [next * 100; 4]);
        }
        let batch = round(&mut sampler, start + Duration::from_secs(next));
        value(&batch, "accel_memory_read_bytes_total", "")
            .ok_or(absence(&batch, "accel_memory_read_bytes_total").map(|absence| absence.1))
    };
    assert_eq!(read(&tree), Err(Some("first_reading")));
    assert_eq!(read(&tree), Ok(200.0 * 64.0), "a hundred accesses of both sub-channels");
    fs::rename(&aside, folder.join("uncore_imc_1")).expect("moved");
    assert_eq!(read(&tree), Ok(400.0 * 64.0), "found after it was read");
    assert_eq!(read(&tree), Ok(800.0 * 64.0));
    // One of them cannot be read: what the other counted meanwhile is reported when it can again.
    let broken =
        |text: String| text.lines().filter(|line| !line.starts_with("21 ")).collect::<Vec<_>>().join("\n");
    let counts = tree.0.path().join("accelsim/perf/cpu0");
    tree.count(0, 5000, 5000, [500; 4]);
    fs::write(&counts, broken(fs::read_to_string(&counts).expect("readable"))).expect("written");
    let batch = round(&mut sampler, start + Duration::from_secs(5));
    assert_eq!(absence(&batch, "accel_memory_read_bytes_total"), Some((Absence::Unsupported, "ENOENT")));
    tree.count(0, 5000, 5000, [500; 4]);
    round(&mut sampler, start + Duration::from_secs(16));
    tree.count(0, 6000, 6000, [600; 4]);
    let batch = round(&mut sampler, start + Duration::from_secs(17));
    assert_eq!(value(&batch, "accel_memory_read_bytes_total", ""), Some(1400.0 * 64.0));
}

#[test]
fn what_no_event_is_published_for_is_not_counted_by_another_models_event() {
    let tree = Tree::new();
    // Cascade Lake has threads, and no event for the cycles of its cores.
    tree.put("accelsim/perf/cpuid", &CPUID.replace("a06d1", "50657").replace("3400000", "0"));
    let mut sampler = tree.sampler(false);
    let start = Instant::now();
    round(&mut sampler, start);
    for cpu in 0..8 {
        tree.count(cpu, 1000, 1000, [100; 4]);
    }
    let batch = round(&mut sampler, start + Duration::from_secs(1));
    assert_eq!(value(&batch, "accel_cycles_total", "thread"), Some(400.0));
    assert_eq!(value(&batch, "accel_cycles_total", "core"), None);
    assert_eq!(absence(&batch, "accel_cycles_total"), Some((Absence::Unsupported, "unknown_model")));
}

#[test]
fn energy_that_cannot_be_read_costs_energy_alone() {
    let tree = Tree::new();
    tree.rapl("energy_uj", "much");
    tree.sensor("temp1_input", "255000");
    let batch = round(&mut tree.sampler(false), Instant::now());
    assert_eq!(absence(&batch, "accel_energy_joules_total"), Some((Absence::NoData, "garbage")));
    assert_eq!(absence(&batch, "accel_temperature_celsius"), Some((Absence::NoData, "over_200_celsius")));
    assert_eq!(value(&batch, "accel_memory_energy_joules_total", ""), Some(0.0));
    assert_eq!(value(&batch, "accel_power_limit_watts", "enforced"), Some(350.0));
}
