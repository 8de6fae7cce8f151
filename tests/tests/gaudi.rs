//! What only the Gaudi source meets: a machine without its library, an older driver's files, libraries of
//! each release and of one that is not known yet, resets, ports that no card has, calls that leak or take
//! long.

#![expect(clippy::float_cmp, reason = "flags and counts are printed and parsed exactly")]

use std::{collections::BTreeSet, fs, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use e2e::{
    Artefacts, Exporter, INSTANT, Node, Prometheus, Samples, ScrapeJob, artefacts::repository, process,
};
use serde_json::Value;
use sim::{
    Control, Live, Options,
    clock::Clock,
    control::{Fault, Link, Recovery, RecoveryAction, Reset, Xid},
    family::gaudi::Hpu,
    kernel::{Files, Tree},
    library::strip_symbols,
    workload::Workload,
};

const MACHINE: &str = "gaudi3-8";
const SOURCE: [(&str, &str); 1] = [("source", "gaudi")];

/// `gaudi3-8` with other facts; the folder must outlive the node.
fn machine_with(facts: &str) -> Result<(Node, tempfile::TempDir)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("machine.toml");
    fs::write(&path, format!("extends = \"{MACHINE}\"\n[device.gaudi]\n{facts}\n"))?;
    Ok((Node::new(path.to_str().context("UTF-8")?)?, folder))
}

/// Where the simulated machine puts the labels of its sensors.
fn sensors(node: &Node) -> Result<String> {
    Ok(node.sysfs().join("accelsim/hl_sensors.conf").to_str().context("UTF-8")?.to_owned())
}

/// Series of devices, without values.
fn series(samples: &Samples) -> BTreeSet<String> {
    let is_of_device = |label: &str| {
        label == "accel_device_up" || label.starts_with("accel_") || label.starts_with("habana")
    };
    let devices = samples
        .samples
        .iter()
        .filter(|sample| is_of_device(&sample.name) && !sample.label("device").is_empty());
    devices.map(|sample| sample.series.clone()).collect()
}

fn names(series: &BTreeSet<String>) -> BTreeSet<&str> {
    series.iter().map(|series| series.split('{').next().unwrap_or_default()).collect()
}

fn all_up(exporter: &Exporter) -> Result<Samples> {
    exporter.until("all are up", |samples| {
        ensure!(samples.value("accelscope_source_up", &SOURCE)? == 1.0);
        ensure!(samples.sum("accel_device_up", &[]) == 8.0);
        ensure!(samples.all("accel_device_info", &[]).count() == 8);
        Ok(samples.clone())
    })
}

#[test]
fn a_library_that_could_not_be_shut_down_is_used_again() -> Result<()> {
    let node = Node::new(MACHINE)?;
    let exporter = node.start(&[])?;
    all_up(&exporter)?;
    // Another list of the bus ends the session.
    let shutdown = || vec![Fault::error(999).call("hlml_shutdown")];
    node.control(&Control { fault: shutdown(), hidden: vec![7], ..Control::default() })?;
    exporter.until("seven are up", |samples| {
        ensure!(samples.value("accelscope_source_up", &SOURCE)? == 1.0);
        ensure!(samples.sum("accel_device_up", &[]) == 7.0);
        Ok(())
    })?;
    node.control(&Control { fault: shutdown(), ..Control::default() })?;
    all_up(&exporter)?;
    Ok(())
}

#[test]
fn without_a_library_the_drivers_files_give_what_they_can() -> Result<()> {
    let node = Node::new(MACHINE)?;
    let aside = node.dir().join("aside");
    fs::rename(node.library(), &aside)?;
    let sensors = sensors(&node)?;
    let exporter = node.start(&["--path.sensors", &sensors])?;
    let files_alone = all_up(&exporter)?;
    let expected = [
        "accel_clock_hertz",
        "accel_clock_max_hertz",
        "accel_device_health",
        "accel_device_info",
        "accel_device_up",
        "accel_link_bandwidth_bytes_per_second",
        "accel_pcie_link_generation",
        "accel_pcie_link_generation_max",
        "accel_pcie_link_width",
        "accel_pcie_link_width_max",
        "accel_power_limit_watts",
        "accel_power_watts",
        "accel_resets_total",
        "accel_temperature_celsius",
    ];
    let unified = |samples: &Samples| -> Vec<String> {
        names(&series(samples))
            .into_iter()
            .filter(|name| name.starts_with("accel_"))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(unified(&files_alone), expected);
    let hot = files_alone.value("accel_temperature_celsius", &[("device", "hpu0"), ("sensor", "gpu")])?;
    ensure!((25.0..95.0).contains(&hot), "{hot}");
    ensure!(
        files_alone.value("accel_power_limit_watts", &[("device", "hpu0"), ("limit", "enforced")])? == 850.0
    );
    ensure!(files_alone.faults("unsupported", "libhlml", "library_missing") >= 8.0);
    let page = exporter.get("/")?.ok()?;
    let page = page.text()?;
    ensure!(page.contains("libhlml.so") && page.contains("SIMULATED"), "{page}");
    let probe = node.run("probe", &["--path.sensors", &sensors])?;
    ensure!(probe.code == Some(0) && probe.stdout.contains("library_missing"), "{probe:?}");
    ensure!(probe.stdout.contains("habanalabs_pcie_tx") && !probe.stdout.contains("DCGM_"), "{probe:?}");

    // The library is found without a restart, and the devices are the same ones.
    fs::rename(&aside, node.library())?;
    exporter.until("the library is used", |samples| {
        ensure!(samples.sum("accel_device_up", &[]) == 8.0);
        ensure!(samples.all("accel_device_up", &[]).count() == 8, "a device is there twice");
        ensure!(samples.all("accel_energy_joules_total", &[]).count() == 8);
        Ok(())
    })
}

#[test]
fn without_driver_or_library_it_says_which() -> Result<()> {
    let node = Node::new(MACHINE)?;
    let sysfs = tempfile::tempdir()?;
    let probe = |library: &str| -> Result<String> {
        let mut command = node.command(Artefacts::beside_this_program()?.binary("accelscope")?);
        command
            .args(["probe", "--source", "gaudi", "--library.hlml", library, "--path.sysfs"])
            .arg(sysfs.path());
        let finished = process::run(&mut command)?;
        ensure!(finished.code == Some(3), "{finished:?}");
        Ok(finished.stdout)
    };
    let said = probe("none.so")?;
    ensure!(said.contains("module/habanalabs") && said.contains("modprobe"), "{said}");
    fs::create_dir_all(sysfs.path().join("module/habanalabs"))?;
    let said = probe("none.so")?;
    ensure!(said.contains("none.so") && said.contains("--library.hlml"), "{said}");
    Ok(())
}

#[test]
fn files_of_an_older_driver_are_found() -> Result<()> {
    let node = Node::new(MACHINE)?;
    let sysfs = tempfile::tempdir()?;
    let mut files = Files::default();
    files.put("module/habanalabs/version", "1.5.0");
    files.put("bus/pci/devices/0000:19:00.0/vendor", "0x1da3");
    files.put("class/habanalabs/hl_controlD0/pci_addr", "0000:19:00.0");
    for (name, value) in [
        ("pci_addr", "0000:19:00.0"),
        ("status", "Operational"),
        ("device_type", "GAUDI"),
        ("uboot_ver", "U-Boot 2019.04"),
        ("clk_cur_freq_mhz", "1575"),
        ("max_power", "350000"),
        ("hard_reset_cnt", "1"),
    ] {
        files.put(format!("class/habanalabs/hl0/{name}"), value);
    }
    Tree::new(sysfs.path())?.show(files)?;
    let address = process::free_address()?;
    let mut command = node.command(Artefacts::beside_this_program()?.binary("accelscope")?);
    command.args([
        "serve",
        "--source",
        "gaudi",
        "--library.hlml",
        "none.so",
        "--web.listen-address",
        &address.to_string(),
        "--path.sysfs",
    ]);
    let process = e2e::Process::spawn("accelscope", command.arg(sysfs.path()))?;
    let exporter = Exporter { process, address };
    let samples = e2e::eventually("the device is read", || {
        let samples = exporter.scrape()?;
        samples.value("accel_clock_hertz", &[])?;
        Ok(samples)
    })?;
    assert_eq!(samples.value("accel_clock_hertz", &[("device", "hpu0"), ("domain", "soc")])?, 1.575e9);
    assert_eq!(samples.value("accel_power_limit_watts", &[("limit", "enforced")])?, 350.0);
    assert_eq!(samples.value("accel_resets_total", &[("kind", "hard")])?, 1.0);
    assert_eq!(samples.value("habanalabs_clock_soc_mhz", &[("id", "0"), ("fit", "U-Boot 2019.04")])?, 1575.0);
    ensure!(samples.has("accel_device_info", &[("model", "GAUDI"), ("driver_version", "1.5.0")]));
    ensure!(!samples.has("accel_power_watts", &[]), "there is no sensor");
    Ok(())
}

#[test]
fn a_library_of_each_release_costs_what_it_lacks() -> Result<()> {
    let limit = "hlml_device_get_power_management_limit";
    let range = "hlml_device_get_power_management_limit_constraints";
    let whole = |version: &str, missing: &[&str]| -> Result<(BTreeSet<String>, Samples)> {
        let (node, _folder) = machine_with(&format!("hlml_version = \"{version}\""))?;
        let node = node.frozen();
        let stripped = node.dir().join("stripped");
        strip_symbols(&node.library(), &stripped, missing)?;
        fs::rename(&stripped, node.library())?;
        let samples = node.start(&[])?.settled()?;
        let strip = |series: String| series.replace(version, "_");
        Ok((series(&samples).into_iter().map(strip).collect(), samples))
    };
    let (newest, _) = whole("1.24.2", &[])?;
    for (version, missing, lost) in [
        ("1.19.0", &[range][..], &[("min", 8), ("max", 8)][..]),
        ("1.18.0", &[range], &[("min", 8), ("max", 8)]),
        // The limit in force then comes from the driver's file.
        ("1.13.0", &[range, limit], &[("min", 8), ("max", 8)]),
        ("1.10.0", &[range, limit, "hlml_device_get_oper_status"], &[("min", 8), ("max", 8)]),
    ] {
        let (older, samples) = whole(version, missing)?;
        let gone: Vec<_> = newest.difference(&older).collect();
        let expected: usize = lost.iter().map(|(_, count)| count).sum();
        ensure!(gone.len() == expected, "{version}: {gone:?}");
        ensure!(
            gone.iter().all(|series| series.starts_with("accel_power_limit_watts")),
            "{version}: {gone:?}"
        );
        ensure!(older.is_subset(&newest), "{version}: {:?}", older.difference(&newest).collect::<Vec<_>>());
        ensure!(
            samples.all("accel_device_info", &[("pci_bus_id", "0000:33:00.0")]).count() == 1,
            "{version}"
        );
        ensure!(
            samples.value("accel_power_limit_watts", &[("device", "hpu0"), ("limit", "enforced")])? == 850.0
        );
    }
    Ok(())
}

#[test]
fn a_struct_that_has_grown_overwrites_nothing() -> Result<()> {
    // A later release, whose structs are longer than ours but within the buffer: nothing is lost.
    let (node, _folder) = machine_with("hlml_version = \"9.9.0\"\nextra_struct_bytes = 150")?;
    let grown = node.start(&[])?.settled()?;
    ensure!(grown.all("accel_memory_used_bytes", &[]).count() == 8);
    ensure!(grown.all("accel_utilization_ratio", &[]).count() == 8);
    ensure!(grown.sum("accelscope_source_faults_total", &[("code", "struct_larger_than_known")]) == 0.0);

    // One that reaches past it: what comes in structs is refused, said and absent; the rest is served.
    let (node, _folder) = machine_with("hlml_version = \"9.9.0\"\nextra_struct_bytes = 400")?;
    let exporter = node.start(&[])?;
    let beyond = exporter.settled()?;
    for metric in ["accel_memory_used_bytes", "accel_utilization_ratio", "habanalabs_utilization"] {
        ensure!(!beyond.has(metric, &[]), "{metric}");
    }
    for call in ["hlml_device_get_memory_info", "hlml_device_get_utilization_rates"] {
        ensure!(beyond.faults("failed", call, "struct_larger_than_known") >= 8.0, "{call}");
    }
    for metric in ["accel_power_watts", "accel_energy_joules_total", "accel_temperature_limit_celsius"] {
        ensure!(beyond.has(metric, &[("device", "hpu7")]), "{metric}");
    }
    ensure!(beyond.sum("accel_device_up", &[]) == 8.0);
    // It goes on for a while: what was written behind a buffer would have shown.
    let rounds = |samples: &Samples| samples.value("accelscope_sample_duration_seconds_count", &SOURCE);
    exporter.until("many rounds", |samples| {
        ensure!(rounds(samples)? >= rounds(&beyond)? + 24.0);
        Ok(())
    })
}

#[test]
fn a_reset_withdraws_the_device_and_is_counted() -> Result<()> {
    let node = Node::new(MACHINE)?;
    let exporter = node.start(&[])?;
    let before = exporter.settled()?;
    let reset = |reset: Reset| Control { reset: vec![Reset { device: 2, ..reset }], ..Control::default() };
    let resets = [("device", "hpu2"), ("kind", "hard")];
    assert_eq!(before.value("accel_resets_total", &resets)?, 0.0);

    node.control(&reset(Reset { running: true, ..Reset::default() }))?;
    exporter.until("it is down, and why", |samples| {
        ensure!(samples.value("accel_device_up", &[("device", "hpu2")])? == 0.0);
        ensure!(!samples.has("accel_power_watts", &[("device", "hpu2")]));
        ensure!(samples.faults("failed", "status", "in_reset") > 0.0);
        ensure!(samples.sum("accel_device_up", &[]) == 7.0, "a reset of one is none of the others");
        Ok(())
    })?;
    node.control(&reset(Reset { hard: 1, soft: 3, ..Reset::default() }))?;
    exporter.until("it is back, and the reset counted", |samples| {
        ensure!(samples.value("accel_resets_total", &resets)? == 1.0);
        ensure!(samples.value("accel_resets_total", &[("device", "hpu2"), ("kind", "soft")])? == 3.0);
        // What is read slowly may have been read for the first time since.
        ensure!(samples.of_device(2).is_superset(&before.of_device(2)));
        Ok(())
    })?;

    let needs = Recovery { device: 2, action: RecoveryAction::Reset };
    node.control(&Control { recovery: vec![needs], ..Control::default() })?;
    exporter.until("it needs one", |samples| {
        ensure!(samples.faults("failed", "status", "needs_reset") > 0.0);
        ensure!(samples.value("accel_device_up", &[("device", "hpu2")])? == 0.0);
        Ok(())
    })
}

#[test]
fn a_card_that_the_driver_numbers_anew_keeps_its_name_and_says_its_new_number() -> Result<()> {
    let node = Node::new(MACHINE)?;
    let exporter = node.start(&[])?;
    exporter.settled()?;
    let class = node.sysfs().join("class/accel");
    fs::rename(class.join("accel5"), class.join("accel12"))?;
    exporter.until("it has its new node", |samples| {
        ensure!(samples.has("accel_device_info", &[("device", "hpu5"), ("accel_node", "accel12")]));
        ensure!(samples.value("accel_resets_total", &[("device", "hpu5"), ("kind", "hard")])? == 0.0);
        ensure!(samples.all("accel_device_up", &[]).count() == 8, "a card is there once");
        ensure!(samples.sum("accel_device_up", &[]) == 8.0);
        Ok(())
    })
}

#[test]
fn a_round_that_a_reset_cuts_in_two_is_no_round() -> Result<()> {
    let node = Node::new(MACHINE)?;
    let exporter = node.start(&[])?;
    exporter.settled()?;
    // Rounds of the device follow each other without a pause, so that a reset falls within one.
    let slow = Fault::slow(1100.0).device(4).call("hlml_device_get_power_usage");
    let mut hard = 0;
    e2e::eventually("a round is dropped", || {
        hard += 1;
        let reset = vec![Reset { device: 4, hard, ..Reset::default() }];
        node.control(&Control { reset, fault: vec![slow.clone()], ..Control::default() })?;
        thread::sleep(Duration::from_millis(700));
        ensure!(exporter.scrape()?.faults("failed", "hard_reset_cnt", "reset_while_read") > 0.0);
        Ok(())
    })?;
    node.control(&Control::default())?;
    all_up(&exporter).map(|_| ())
}

#[test]
fn ports_beyond_those_of_a_gaudi_3_are_ports() -> Result<()> {
    let ports = "ports = [0, 23, 24, 63, 64, 70, 127]\nexternal_ports = [24, 70]";
    let (node, _folder) = machine_with(ports)?;
    node.control(&Control {
        link: vec![Link { device: 0, link: 70, down: true, ..Link::default() }],
        ..Control::default()
    })?;
    let samples = node.start(&[])?.settled()?;
    let found: BTreeSet<_> = samples
        .all("accel_link_up", &[("device", "hpu0")])
        .map(|port| (port.label("link").to_owned(), port.label("kind").to_owned(), port.value == 1.0))
        .collect();
    let expected = [
        ("0", "internal", true),
        ("127", "internal", true),
        ("23", "internal", true),
        ("24", "external", true),
        ("63", "internal", true),
        ("64", "internal", true),
        ("70", "external", false),
    ];
    let expected = expected.map(|(port, kind, up)| (port.to_owned(), format!("roce_{kind}"), up));
    assert_eq!(found, BTreeSet::from(expected));
    assert_eq!(samples.value("habanalabs_nic_port_status", &[("id", "0"), ("port", "70")])?, 0.0);
    Ok(())
}

#[test]
fn the_call_that_leaks_is_not_made_where_hwmon_has_labels() -> Result<()> {
    const LEAK: f64 = 2.0 * 1_048_576.0;
    let resident = |labels: bool| -> Result<(f64, Samples)> {
        let (node, _folder) = machine_with(&format!("temperature_leak_bytes = {LEAK}").replace(".0", ""))?;
        let sensors = sensors(&node)?;
        let flags = ["--path.sensors", &sensors];
        let samples = node.start(if labels { &flags } else { &[] })?.settled()?;
        ensure!(samples.all("accel_temperature_celsius", &[]).count() == 24, "three of each");
        Ok((samples.value("process_resident_memory_bytes", &[])?, samples))
    };
    let (without_calls, hwmon) = resident(true)?;
    let (with_calls, _) = resident(false)?;
    // Each device's first slow reading asks for three temperatures.
    ensure!(with_calls - without_calls > 20.0 * LEAK, "{with_calls} and {without_calls}");
    let exact = hwmon
        .all("accel_temperature_celsius", &[("sensor", "gpu")])
        .any(|sample| sample.value.fract() != 0.0);
    ensure!(exact, "hwmon has more than whole degrees");
    Ok(())
}

#[test]
fn a_slow_call_that_hangs_costs_its_own_readings_and_no_sample() -> Result<()> {
    let node = Node::new(MACHINE)?;
    let exporter = node.start(&[])?;
    let age = [("device", "hpu6")];
    let before = exporter.settled()?;
    ensure!(before.value("accel_slow_readings_age_seconds", &age)? < 30.0);
    let hung = Fault::hang().device(6).call("hlml_device_get_pcie_throughput");
    node.control(&Control { fault: vec![hung], ..Control::default() })?;
    let energy = |samples: &Samples| samples.value("accel_energy_joules_total", &age);
    let withdrawn = exporter.until("the old readings are withdrawn", |samples| {
        ensure!(samples.value("accel_device_up", &age)? == 1.0, "its samples wait for nothing");
        ensure!(!samples.has("habanalabs_pcie_tx", &[("id", "6")]));
        ensure!(!samples.has("accel_slow_readings_age_seconds", &age));
        Ok(samples.clone())
    })?;
    ensure!(withdrawn.faults("timed_out", "hlml_device_get_pcie_throughput", "stale") > 0.0);
    ensure!(energy(&withdrawn)? > energy(&before)?);
    ensure!(withdrawn.all("habanalabs_pcie_tx", &[]).count() == 7, "others' readings go on");
    ensure!(withdrawn.sum("accel_device_up", &[]) == 8.0);
    ensure!(withdrawn.value("accelscope_stuck_threads", &SOURCE)? == 0.0);
    node.control(&Control::default())?;
    exporter.until("the readings are back", |samples| {
        ensure!(samples.has("habanalabs_pcie_tx", &[("id", "6")]));
        ensure!(samples.value("accel_slow_readings_age_seconds", &age)? < 30.0);
        Ok(())
    })
}

/// A second at which the driver says more than 100 % of device 0.
fn overloaded() -> Result<u64> {
    let mut seconds = INSTANT..INSTANT + 600;
    let percent = |second: u64| -> Result<u32> {
        let options = Options {
            machine: MACHINE.to_owned(),
            clock: Clock::Fixed(second as f64),
            workload: Workload::Burst,
            ..Options::default()
        };
        let live = Live::open(&options)?;
        let moment = live.now();
        Ok(Hpu::new(moment.device(0).context("a device")?).context("a Gaudi")?.utilization_percent())
    };
    seconds.find(|second| percent(*second).is_ok_and(|percent| percent > 100)).context("never over 100")
}

#[test]
fn utilization_over_a_hundred_is_cut() -> Result<()> {
    let node = Node::new(MACHINE)?.frozen_at(overloaded()?).workload("burst");
    let samples = node.start(&[])?.settled()?;
    assert_eq!(samples.value("accel_utilization_ratio", &[("device", "hpu0")])?, 1.0);
    assert_eq!(samples.value("habanalabs_utilization", &[("id", "0")])?, 100.0);
    Ok(())
}

#[test]
fn critical_events_are_counted_from_a_counter_that_was_there() -> Result<()> {
    const CRITICAL: u64 = 1 << 1;
    const CLOCK: u64 = 1 << 2;
    let node = Node::new(MACHINE)?;
    let exporter = node.start(&[])?;
    let before = exporter.settled()?;
    let events = [("device", "hpu1"), ("kind", "hlml_event"), ("code", "critical")];
    assert_eq!(before.value("accel_errors_total", &events)?, 0.0, "increase() sees the first one");
    assert!(!before.has("accel_error_last_timestamp_seconds", &[]));
    let event = |id, code| Xid { id, device: 1, code, ..Xid::default() };
    let happen = |events: &[Xid]| node.control(&Control { xid: events.to_vec(), ..Control::default() });
    happen(&[event(1, CLOCK), event(2, CRITICAL)])?;
    let told = exporter.until("the event is told", |samples| {
        ensure!(samples.value("accel_errors_total", &events)? == 1.0);
        Ok(samples.clone())
    })?;
    assert_eq!(told.sum("accel_errors_total", &[]), 1.0, "a change of the clock is everyday");
    assert!(told.has("accel_error_last_timestamp_seconds", &events));
    happen(&[event(1, CLOCK), event(2, CRITICAL), event(3, CRITICAL)])?;
    exporter.until("the repeat is counted", |samples| {
        ensure!(samples.value("accel_errors_total", &events)? == 2.0);
        Ok(())
    })
}

#[test]
fn names_that_deny_their_units_are_for_those_who_ask() -> Result<()> {
    let node = Node::new(MACHINE)?.frozen();
    let plain = node.start(&[])?.settled()?;
    ensure!(plain.families.keys().all(|name| !name.starts_with("accelerator_")));
    let asked = node.start(&["--names.accelerator-aliases"])?.settled()?;
    for (alias, original) in [
        ("accelerator_gpu_utilization", "habanalabs_utilization"),
        ("accelerator_memory_used_bytes", "habanalabs_memory_used_bytes"),
        ("accelerator_memory_total_bytes", "habanalabs_memory_total_bytes"),
        ("accelerator_sm_clock_hertz", "habanalabs_clock_soc_mhz"),
        ("accelerator_power_usage_watts", "habanalabs_power_mW"),
        ("accelerator_temperature_celcius", "habanalabs_temperature_onchip"),
    ] {
        let id = [("id", "3")];
        assert_eq!(asked.value(alias, &id)?, plain.value(original, &id)?, "{alias}");
    }
    Ok(())
}

#[test]
fn no_function_that_changes_a_device_is_looked_up() -> Result<()> {
    let program = fs::read(Artefacts::beside_this_program()?.binary("accelscope")?)?;
    let has = |name: &str| program.windows(name.len()).any(|window| window == name.as_bytes());
    ensure!(has("hlml_device_get_power_usage"), "the program has no names of functions");
    for name in ["err_inject", "set_power_management_limit", "set_cpu_affinity", "clear_cpu_affinity"] {
        ensure!(!has(&format!("hlml_device_{name}")), "{name}");
    }
    Ok(())
}

#[test]
fn every_signal_of_the_rules_finds_its_series() -> Result<()> {
    let node = Node::new(MACHINE)?;
    let exporter = node.start(&[])?;
    exporter.settled()?;
    let server = Prometheus::start(&[ScrapeJob::new("gaudi", exporter.address)], &[])?;
    let rules: Value = serde_saphyr::from_str(&fs::read_to_string(repository().join("alerts/gaudi.yaml"))?)?;
    let groups = rules["groups"].as_array().context("groups")?;
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten());
    let signals: Vec<_> = rules.filter(|rule| rule["record"].is_string()).collect();
    ensure!(signals.len() >= 20, "{} recordings", signals.len());
    for signal in signals {
        let expression = signal["expr"].as_str().context("an expression")?;
        // States and the worst of them read what nothing records here, and events are absent while nothing is
        // wrong.
        let reads = |name: &str| signal["record"] == name || expression.contains(name);
        if reads("accel:signal_state") || signal["record"] == "accel:errors:open" {
            continue;
        }
        // Nobody holds a device here; the chain's tests see the rules about holders with data.
        if ["accel:holder:info", "accel:held_work:avg5m", "accel:unheld_work:avg5m"]
            .iter()
            .any(|name| reads(name))
        {
            continue;
        }
        e2e::eventually(&format!("{}", signal["record"]), || {
            let series = server.query(expression)?;
            let device = |labels: &Value| labels["device"].as_str().map(str::to_owned);
            let devices: BTreeSet<_> = series.iter().filter_map(|(labels, _)| device(labels)).collect();
            // How many devices there are, and what they have together, are facts of the node.
            let of_the_node =
                ["accel:devices:count", "accel:driver_versions:count", "accel:fleet_power:watts"];
            let of_the_node = of_the_node.iter().any(|name| signal["record"] == *name) && series.len() == 1;
            ensure!(devices.len() == 8 || of_the_node, "{devices:?}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_card_of_which_the_library_reads_nothing_is_down_whatever_the_code() -> Result<()> {
    let node = Node::new(MACHINE)?;
    let exporter = node.start(&[])?;
    all_up(&exporter)?;
    // HLML_ERROR_UNKNOWN; the UUID comes from the library's memory.
    let calls = ["hlml_device_get_p*", "hlml_device_get_m*", "hlml_device_get_util*"];
    let fault = calls.map(|call| Fault::error(49).device(2).call(call)).to_vec();
    node.control(&Control { fault, ..Control::default() })?;
    exporter.until("it is down, alone", |samples| {
        ensure!(samples.value("accel_device_up", &[("device", "hpu2")])? == 0.0);
        ensure!(samples.sum("accel_device_up", &[]) == 7.0);
        Ok(())
    })?;
    node.control(&Control::default())?;
    all_up(&exporter)?;
    Ok(())
}
