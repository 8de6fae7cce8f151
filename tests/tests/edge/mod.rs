//! NPUs and Xeon sockets: what goes wrong below the exporter, what is not permitted, and what must not be
//! disturbed; each with the real binary on a simulated machine's kernel files. Odd files one by one are in
//! the crates' own tests.

#![expect(clippy::float_cmp, reason = "flags and counts are printed and parsed exactly")]

mod privileges;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{Node, Prometheus, Samples, ScrapeJob, eventually, process};
use rustix::fs::inotify;
use sim::{Control, control::DriverState};

const NPU: &str = "bus/pci/devices/0000:00:0b.0";
const NUC: &str = "nuc-lunar-lake";
/// A machine on which nothing else is found when its NPU is not.
const NPU_ONLY: &str = "nuc-arrow-lake";
const XEON: &str = "xeon6-amx";

fn source_up(samples: &Samples, source: &str) -> Result<bool> {
    Ok(samples.value("accelscope_source_up", &[("source", source)])? > 0.0)
}

fn put(node: &Node, name: &str, text: &str) -> Result<()> {
    let path = node.sysfs().join(name);
    fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
    fs::write(&path, format!("{text}\n")).with_context(|| path.display().to_string())
}

#[test]
fn a_driver_that_goes_takes_the_npu_with_it_and_brings_it_back() -> Result<()> {
    let node = Node::new(NUC)?.only("npu");
    let exporter = node.start(&[])?;
    let before = exporter.settled()?;
    ensure!(before.value("accel_devices_expected", &[("family", "npu")])? == 1.0);
    node.control(&Control { driver: Some(DriverState::Unloaded), ..Control::default() })?;
    exporter.until("the NPU is lost, and the bus still has it", |samples| {
        ensure!(!source_up(samples, "npu")?);
        ensure!(samples.value("accel_devices", &[("family", "npu")])? == 0.0);
        ensure!(samples.value("accel_devices_expected", &[("family", "npu")])? == 1.0);
        ensure!(!samples.has("accel_memory_used_bytes", &[("device", "0000:00:0b.0")]));
        Ok(())
    })?;
    // Bound again, its counters start from 0.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64();
    node.control(&Control { driver_loaded_at: Some(now), ..Control::default() })?;
    exporter.until("the NPU is back with every series", |samples| {
        ensure!(source_up(samples, "npu")?);
        let (before, now) = (before.labelled("0000:00:0b.0"), samples.labelled("0000:00:0b.0"));
        ensure!(before == now, "{:?}", before.symmetric_difference(&now).collect::<Vec<_>>());
        let awake = samples.value("accel_runtime_seconds_total", &[("state", "active")])?;
        ensure!(awake < 3600.0, "the new driver counts from 0: {awake}");
        Ok(())
    })
}

#[test]
fn an_npu_that_comes_later_is_found() -> Result<()> {
    let node = Node::new(NPU_ONLY)?.only("npu");
    node.control(&Control { hidden: vec![0], ..Control::default() })?;
    let exporter = node.start(&[])?;
    exporter.until("there is none", |samples| {
        ensure!(!source_up(samples, "npu")? && !samples.has("accel_device_up", &[]));
        Ok(())
    })?;
    ensure!(node.run("probe", &[])?.code == Some(3));
    node.control(&Control::default())?;
    exporter.until("it is found", |samples| {
        ensure!(samples.value("accel_device_up", &[("device", "0000:00:0b.0")])? == 1.0);
        Ok(())
    })
}

#[test]
fn without_the_driver_it_says_what_to_load() -> Result<()> {
    let node = Node::new(NPU_ONLY)?.only("npu").frozen();
    node.accelscope("probe", &[])?;
    fs::remove_dir_all(node.sysfs().join("bus/pci/drivers/intel_vpu"))?;
    let probe = node.run("probe", &[])?;
    ensure!(probe.code == Some(4), "the bus shows one: {probe:?}");
    ensure!(probe.stdout.contains("drivers/intel_vpu: no such driver; load intel_vpu"), "{probe:?}");
    node.start(&[])?.until("none of one is found", |samples| {
        ensure!(samples.value("accel_devices_expected", &[("family", "npu")])? == 1.0);
        ensure!(samples.value("accel_devices", &[("family", "npu")])? == 0.0);
        Ok(())
    })
}

#[test]
fn an_npu_that_its_driver_refused_is_named_with_the_kernels_reason() -> Result<()> {
    let node = Node::new(NPU_ONLY)?.frozen();
    node.control(&Control { driver: Some(DriverState::Unloaded), ..Control::default() })?;
    fs::create_dir_all(node.dir().join("dev"))?;
    let reason = "intel_vpu 0000:00:0b.0: [drm] *ERROR* ivpu_boot(): Failed to boot the firmware: -110";
    fs::write(node.dir().join("dev/kmsg"), format!("3,41,900,-;{reason}\n6,42,950,-;usb 1-1: new device\n"))?;
    let probe = node.run("probe", &[])?;
    ensure!(probe.code == Some(4), "{probe:?}");
    ensure!(probe.stdout.contains("0000:00:0b.0  not listed: no driver has bound it: intel_vpu is loaded"));
    ensure!(probe.stdout.contains(reason), "{probe:?}");
    node.start(&[])?.until("none of one is found", |samples| {
        ensure!(samples.value("accel_devices_expected", &[("family", "npu")])? == 1.0);
        ensure!(samples.value("accel_devices", &[("family", "npu")])? == 0.0);
        Ok(())
    })
}

#[test]
fn an_npu_that_is_lost_keeps_what_it_is_and_its_resets() -> Result<()> {
    let node = Node::new(NUC)?.only("npu").frozen();
    let exporter = node.start(&[])?;
    exporter.settled()?;
    let resets = [("device", "0000:00:0b.0"), ("kind", "reset"), ("code", "device")];
    put(&node, "kernel/debug/accel/0000:00:0b.0/reset_counter", "3")?;
    exporter.until("the resets are counted", |samples| {
        ensure!(samples.value("accel_errors_total", &resets)? == 3.0);
        Ok(())
    })?;
    node.control(&Control { driver: Some(DriverState::Unloaded), ..Control::default() })?;
    exporter.until("it is lost", |samples| {
        ensure!(samples.value("accel_device_up", &[])? == 0.0 && !samples.has("accel_clock_hertz", &[]));
        ensure!(samples.value("accel_errors_total", &resets)? == 3.0);
        let info = samples.all("accel_device_info", &[("accel_node", "accel0")]);
        ensure!(info.map(|info| info.label("pci_bus_id")).eq(["0000:00:0b.0"]));
        Ok(())
    })
}

#[test]
fn a_neighbour_in_the_class_accel_is_not_taken_for_an_npu() -> Result<()> {
    let node = Node::new(NUC)?.only("npu").frozen();
    node.accelscope("probe", &[])?;
    let gaudi = node.sysfs().join("bus/pci/devices/0000:33:00.0");
    fs::create_dir_all(gaudi.join("accel/accel1"))?;
    fs::create_dir_all(node.sysfs().join("bus/pci/drivers/habanalabs"))?;
    std::os::unix::fs::symlink("../../drivers/habanalabs", gaudi.join("driver"))?;
    std::os::unix::fs::symlink(&gaudi, node.sysfs().join("bus/pci/drivers/habanalabs/0000:33:00.0"))?;
    std::os::unix::fs::symlink(gaudi.join("accel/accel1"), node.sysfs().join("class/accel/accel1"))?;
    for (name, text) in [("vendor", "0x1da3"), ("device", "0x1060"), ("class", "0x120000")] {
        fs::write(gaudi.join(name), format!("{text}\n"))?;
    }
    let samples = node.start(&[])?.settled()?;
    ensure!(samples.value("accel_devices", &[("family", "npu")])? == 1.0);
    ensure!(samples.value("accel_devices_expected", &[("family", "npu")])? == 1.0);
    Ok(())
}

/// What the exporter may open of a sleeping NPU: files that the driver and the core of power management
/// return without waking it.
const HARMLESS: [&str; 18] = [
    "accel",
    // The core prints the number of the node.
    "dev",
    "vendor",
    "device",
    "class",
    "sched_mode",
    "npu_busy_time_us",
    "npu_memory_utilization",
    "npu_current_frequency_mhz",
    "npu_max_frequency_mhz",
    "current_freq",
    "hw_max_freq",
    "runtime_status",
    "runtime_active_time",
    "runtime_suspended_time",
    "power",
    "freq",
    "0000:00:0b.0",
];

#[test]
fn reading_a_sleeping_npu_does_not_wake_it() -> Result<()> {
    // Nothing runs on this machine, so the NPU sleeps all the time.
    let node = Node::new("nuc-panther-lake")?.only("npu").workload("idle");
    node.accelscope("probe", &[])?;
    let folder = node.sysfs().join(NPU);
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK)?;
    for place in [folder.clone(), folder.join("power"), folder.join("freq"), folder.join("accel/accel0")] {
        inotify::add_watch(&watch, &place, inotify::WatchFlags::OPEN)
            .with_context(|| place.display().to_string())?;
    }
    let awake = |node: &Node| fs::read_to_string(node.sysfs().join(NPU).join("power/runtime_active_time"));
    let before = awake(&node)?;
    let start = Instant::now();
    let exporter = node.start(&["--interval", "250ms"])?;
    let asleep = exporter.until("it is read ten times", |samples| {
        let rounds = samples.value("accelscope_sample_duration_seconds_count", &[("source", "npu")])?;
        ensure!(
            rounds >= 10.0 && samples.has("accel_utilization_ratio", &[("device", "0000:00:0b.0")]),
            "{rounds} rounds"
        );
        Ok(samples.clone())
    })?;
    ensure!(asleep.value("accel_device_asleep", &[("device", "0000:00:0b.0")])? == 1.0);
    ensure!(asleep.value("accel_clock_hertz", &[("device", "0000:00:0b.0")])? == 0.0);
    ensure!(asleep.value("accel_utilization_ratio", &[("device", "0000:00:0b.0")])? == 0.0);
    drop(exporter);
    let seconds = start.elapsed().as_secs_f64();
    ensure!(awake(&node)? == before, "it was awake for a while");

    let mut opened = BTreeMap::<String, u32>::new();
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    while let Ok(event) = events.next() {
        if let Some(name) = event.file_name() {
            *opened.entry(name.to_string_lossy().into_owned()).or_default() += 1;
        }
    }
    let strange: Vec<_> = opened.keys().filter(|name| !HARMLESS.contains(&name.as_str())).collect();
    ensure!(strange.is_empty(), "{strange:?} may wake it");
    // The driver asks for its counter to be read once a second; everything else is read each round.
    let times = |name| opened.get(name).copied().unwrap_or_default();
    ensure!(times("runtime_status") >= 10, "{opened:?}");
    let busy = f64::from(times("npu_busy_time_us"));
    ensure!((2.0..=2.0 + seconds / 0.9).contains(&busy), "{busy} readings in {seconds} s: {opened:?}");
    Ok(())
}

#[test]
fn telemetry_of_an_unknown_layout_costs_its_own_series() -> Result<()> {
    let lost = |change: fn(&Path) -> std::io::Result<()>| -> Result<(BTreeSet<String>, Samples)> {
        let node = Node::new(NUC)?.only("npu").frozen();
        let whole = node.start(&[])?.settled()?.labelled("0000:00:0b.0");
        change(&node.sysfs().join("class/intel_pmt/telem1"))?;
        let samples = node.start(&[])?.settled()?;
        let rest = samples.labelled("0000:00:0b.0");
        ensure!(rest.is_subset(&whole));
        let name = |series: &String| series.split('{').next().unwrap_or_default().to_owned();
        Ok((whole.difference(&rest).map(name).collect(), samples))
    };
    let of_telemetry: BTreeSet<String> = [
        "accel_energy_joules_total",
        "accel_memory_traffic_bytes_total",
        "accel_power_watts",
        "accel_temperature_celsius",
    ]
    .map(str::to_owned)
    .into();
    let (names, samples) = lost(|region| fs::write(region.join("guid"), "0x3072006\n"))?;
    assert_eq!(names, of_telemetry);
    assert_eq!(samples.faults("unsupported", "intel_pmt/telem", "unknown_guid"), 1.0, "once per device");
    let (names, samples) = lost(|region| fs::write(region.join("telem"), [0; 0x5d4]))?;
    assert_eq!(names, of_telemetry);
    ensure!(samples.faults("no_data", "intel_pmt/telem", "short") > 1.0);
    Ok(())
}

#[test]
fn a_reset_and_a_restarted_counter_are_told() -> Result<()> {
    let node = Node::new(NUC)?.only("npu").frozen();
    let exporter = node.start(&[])?;
    exporter.settled()?;
    let resets = [("device", "0000:00:0b.0"), ("kind", "reset"), ("code", "device")];
    ensure!(exporter.scrape()?.value("accel_errors_total", &resets)? == 0.0);
    put(&node, "kernel/debug/accel/0000:00:0b.0/reset_counter", "1")?;
    exporter.until("the reset is counted", |samples| {
        ensure!(samples.value("accel_errors_total", &resets)? == 1.0);
        Ok(())
    })?;
    put(&node, &format!("{NPU}/npu_busy_time_us"), "10")?;
    exporter.until("the counter's restart is no busy time", |samples| {
        ensure!(samples.faults("no_data", "npu_busy_time_us", "counter_fell") == 1.0);
        Ok(())
    })?;
    exporter.until("and it goes on", |samples| {
        ensure!(samples.value("accel_utilization_ratio", &[("device", "0000:00:0b.0")])? == 0.0);
        Ok(())
    })
}

#[test]
fn amx_is_busy_as_the_machine_is() -> Result<()> {
    let node = Node::new(XEON)?.workload("prefill");
    let exporter = node.start(&["--amx.per-core"])?;
    exporter.until("both sockets count", |samples| {
        for socket in ["socket0", "socket1"] {
            let ratio =
                samples.value("accel_engine_active_ratio", &[("device", socket), ("engine", "amx")])?;
            ensure!((0.5..0.95).contains(&ratio), "{socket}: {ratio}");
            let alias = samples.value("cpu_amx_utilization", &[("device", socket)])?;
            ensure!((alias - ratio * 100.0).abs() <= 0.5, "{alias} and {ratio}");
            let of_cores = [("device", socket), ("engine", "amx_core")];
            let cores: BTreeSet<_> = samples
                .all("accel_engine_active_ratio", &of_cores)
                .map(|sample| sample.label("partition").to_owned())
                .collect();
            ensure!(cores.len() == 16 && cores.contains("core15"), "{cores:?}");
            let watts = samples.value("accel_power_watts", &[("device", socket)])?;
            ensure!((50.0..200.0).contains(&watts), "{socket}: {watts} W");
        }
        Ok(())
    })
}

#[test]
fn a_hot_socket_says_what_holds_it_down() -> Result<()> {
    // Without the boot option the kernel counts heat, and not the times at which the power limit was reached.
    for (machine, counts_power) in [(XEON, false), ("sierra-forest", true)] {
        let samples = Node::new(machine)?.workload("hot").frozen().start(&[])?.settled()?;
        for socket in samples.all("accel_device_up", &[]) {
            let socket = socket.label("device");
            for (reason, counts) in [("thermal", true), ("core_thermal", true), ("power", counts_power)] {
                let labels = [("device", socket), ("reason", reason)];
                let count = samples.value("accel_throttle_events_total", &labels);
                ensure!(count.is_ok() == counts, "{machine} {socket} {reason}: {count:?}");
                ensure!(count.is_err() || count? > 0.0, "{machine} {socket} {reason}");
            }
            let labels = [("device", socket), ("reason", "thermal")];
            ensure!(samples.value("accel_throttle_seconds_total", &labels)? > 1.0);
            ensure!(samples.has("accel_throttle_active", &labels));
        }
        let call = "thermal_throttle/package_power_limit_count";
        let unreported = samples.faults("unsupported", call, "needs_int_pln_enable") >= 1.0;
        ensure!(unreported != counts_power, "{machine}");
    }
    let probe = Node::new(XEON)?.frozen().run("probe", &[])?;
    let mut lines = probe.stdout.lines().map(str::trim_start);
    let events = lines.find(|line| line.starts_with("accel_throttle_events_total")).context("events")?;
    ensure!(
        events.contains("without {reason=power}: unsupported: ") && events.contains("needs_int_pln"),
        "{events}"
    );
    ensure!(probe.stdout.contains("Boot with int_pln_enable"), "{}", probe.stdout);
    Ok(())
}

#[test]
fn what_the_kernel_refuses_costs_the_counters_and_no_other_socket() -> Result<()> {
    for (number, kind, code) in
        [(13, "unsupported", "EACCES"), (2, "unsupported", "ENOENT"), (24, "failed", "EMFILE")]
    {
        let node = Node::new(XEON)?.frozen();
        node.accelscope("probe", &[])?;
        // CPU 1 is of socket 0.
        put(&node, "accelsim/perf/cpu1", &format!("error {number}"))?;
        let samples = node.start(&[])?.settled()?;
        ensure!(samples.faults(kind, "perf_event_open", code) >= 1.0, "{code} is not told");
        for device in ["socket0", "socket1"] {
            let labels = [("device", device)];
            ensure!(samples.has("accel_energy_joules_total", &labels), "{code}: {device} lost more");
            ensure!(samples.value("accel_device_up", &labels)? == 1.0);
        }
        // The other socket's events are open; on a stopped clock they have not run.
        ensure!(samples.faults("no_data", "perf_event_open", "not_running") >= 1.0);
    }
    Ok(())
}

#[test]
fn a_file_that_hangs_costs_one_thread_and_one_socket() -> Result<()> {
    let node = Node::new(XEON)?.frozen();
    let exporter = node.start(&[])?;
    let before = exporter.settled()?.labelled("socket0");
    // Opening a pipe that nobody writes to waits for ever, as a driver in trouble does.
    let energy = node.sysfs().join("class/powercap/intel-rapl-tpmi:0/energy_uj");
    let healthy = fs::read(&energy)?;
    fs::remove_file(&energy)?;
    let pipe = process::run(Command::new("mkfifo").arg(&energy))?;
    ensure!(pipe.code == Some(0), "{pipe:?}");
    exporter.until("socket 0 is withdrawn and socket 1 is not", |samples| {
        ensure!(samples.value("accel_device_up", &[("device", "socket0")])? == 0.0);
        let left = samples.labelled("socket0");
        ensure!(
            left.len() == 2 && left.iter().any(|series| series.starts_with("accel_device_info")),
            "{left:?}"
        );
        ensure!(samples.value("accel_device_up", &[("device", "socket1")])? == 1.0);
        ensure!(samples.has("accel_energy_joules_total", &[("device", "socket1")]));
        ensure!(samples.value("accelscope_stuck_threads", &[("source", "amx")])? == 1.0);
        Ok(())
    })?;
    let staged = node.dir().join("energy");
    fs::write(&staged, &healthy)?;
    // A reader that waits at the pipe gets a value, and the next reader a file.
    let mut writer = fs::OpenOptions::new().write(true).open(&energy)?;
    fs::rename(&staged, &energy)?;
    writer.write_all(&healthy)?;
    drop(writer);
    exporter.until("socket 0 is back", |samples| {
        ensure!(samples.value("accelscope_stuck_threads", &[("source", "amx")])? == 0.0);
        let now = samples.labelled("socket0");
        ensure!(now == before, "{:?}", before.symmetric_difference(&now).collect::<Vec<_>>());
        Ok(())
    })
}

#[test]
fn a_cpu_goes_offline_and_comes_back_while_it_runs() -> Result<()> {
    let node = Node::new(XEON)?.workload("prefill");
    let exporter = node.start(&[])?;
    let counts = |samples: &Samples| samples.has("accel_engine_active_ratio", &[("device", "socket0")]);
    exporter.until("AMX is counted", |samples| {
        ensure!(counts(samples));
        Ok(())
    })?;
    put(&node, "devices/system/cpu/online", "0-4,6-63")?;
    fs::remove_dir_all(node.sysfs().join("devices/system/cpu/cpu5/topology"))?;
    let cycles =
        |samples: &Samples| samples.value("accel_cycles_total", &[("device", "socket0"), ("kind", "thread")]);
    let before = cycles(&exporter.scrape()?)?;
    exporter.until("the others are counted on", |samples| {
        ensure!(counts(samples) && cycles(samples)? > before);
        ensure!(samples.value("accel_device_up", &[("device", "socket0")])? == 1.0);
        Ok(())
    })
}

#[test]
fn a_containers_list_of_cpus_hides_none_of_the_machines() -> Result<()> {
    let node = Node::new(XEON)?.frozen();
    let whole = node.start(&[])?.settled()?;
    for list in ["0", "2,5,9,11"] {
        put(&node, "devices/system/cpu/online", list)?;
        let samples = node.start(&[])?.settled()?;
        for socket in ["socket0", "socket1"] {
            let missing: Vec<_> =
                whole.labelled(socket).difference(&samples.labelled(socket)).cloned().collect();
            ensure!(missing.is_empty(), "{list}: {missing:?}");
        }
    }
    Ok(())
}

#[test]
fn rapl_energy_that_stands_is_no_power() -> Result<()> {
    let node = Node::new(XEON)?.frozen();
    let samples = node.start(&[])?.settled()?;
    ensure!(samples.has("accel_energy_joules_total", &[("device", "socket0")]));
    for power in ["accel_power_watts", "accel_memory_power_watts"] {
        ensure!(!samples.has(power, &[]), "{power} of a counter that stands");
    }
    ensure!(samples.sum("accelscope_source_faults_total", &[("code", "counter_stands")]) > 0.0);
    Ok(())
}

#[test]
fn prometheus_scrapes_a_nuc_and_a_xeon() -> Result<()> {
    let (nuc, xeon) = (Node::new(NUC)?.only("npu"), Node::new(XEON)?.workload("prefill"));
    let (npu, amx) = (nuc.start(&[])?, xeon.start(&[])?);
    let jobs = [ScrapeJob::new("npu", npu.address), ScrapeJob::new("amx", amx.address)];
    let server = Prometheus::start(&jobs, &[])?;
    eventually("rates are there", || {
        ensure!(server.value("min(min_over_time(up[5m]))")? == 1.0);
        let amx = server.value("min(rate(accel_engine_busy_seconds_total{engine=\"amx\"}[15s]))")?;
        ensure!((0.4..1.0).contains(&amx), "{amx}");
        let ipc = "rate(accel_instructions_total[15s]) / on (device) rate(accel_cycles_total{kind=\"thread\"}[15s])";
        let ipc = server.value(&format!("min({ipc})"))?;
        ensure!((1.6..1.8).contains(&ipc), "{ipc}");
        ensure!(server.value("count(accel_utilization_busy_seconds_total{family=\"npu\"})")? == 1.0);
        ensure!(server.value("count(accel_temperature_limit_celsius{family=\"amx\",limit=\"slowdown\"} - on (device, sensor) group_left accel_temperature_celsius)")? == 2.0);
        Ok(())
    })?;
    let log = server.log();
    ensure!(!log.contains("level=warn") && !log.contains("level=error"), "{log}");
    Ok(())
}

#[test]
fn the_host_is_told_of_when_asked_for() -> Result<()> {
    let node = Node::new(NUC)?.only("npu").frozen();
    ensure!(!node.start(&[])?.scrape()?.samples.iter().any(|sample| sample.name.starts_with("accel_host_")));
    let samples = node.start(&["--host.metrics"])?.scrape()?;
    let memory = |what| samples.value(&format!("accel_host_memory_{what}_bytes"), &[]);
    ensure!(0.0 < memory("available")? && memory("available")? < memory("total")?);
    ensure!(samples.value("accel_host_cpu_seconds_total", &[("state", "busy")])? > 0.0);
    ensure!(samples.value("accel_host_runnable_threads", &[])? >= 1.0);
    Ok(())
}

#[test]
fn sigterm_ends_it_in_order() -> Result<()> {
    for machine in [NUC, XEON] {
        let node = Node::new(machine)?;
        let exporter = node.start(&[])?;
        exporter.settled()?;
        exporter.ends_in_order()?;
    }
    Ok(())
}

#[test]
fn a_machine_with_one_family_has_no_series_of_the_other() -> Result<()> {
    let node = Node::new("sierra-forest")?;
    let exporter = node.start(&[])?;
    exporter.settled()?;
    thread::sleep(Duration::from_secs(2));
    let samples = exporter.scrape()?;
    ensure!(!samples.has("accel_engine_active_ratio", &[]), "Sierra Forest has no AMX");
    ensure!(!samples.has("cpu_amx_utilization", &[]));
    assert_eq!(samples.faults("unsupported", "CPUID", "no_amx"), 1.0, "once per device");
    ensure!(samples.has("accel_instructions_total", &[]));
    Ok(())
}
