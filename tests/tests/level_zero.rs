//! Intel GPUs through Level Zero: layouts against Debian's headers, Debian's real loader, Intel's own client,
//! the kernel's numbers beside Level Zero's, and what goes wrong there.

#![expect(clippy::float_cmp, reason = "flags and counts are printed and parsed exactly")]

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use e2e::{
    Exporter, Node, Process, Samples,
    artefacts::{level_zero_headers, level_zero_loader, python_env, repository},
    eventually, process,
};
use level_zero_sys::{code, layouts, value};
use serde_json::Value;
use sim::{
    Control,
    control::{Ecc, Fault, Recovery, RecoveryAction, Scope, Severity},
};

use crate::c_headers::Headers;

pub const MACHINE: &str = "battlematrix-8";
pub const CARD: [(&str, &str); 1] = [("device", "0000:03:00.0")];
/// Level Zero alone, with the engine counters.
pub const LEVEL_ZERO: &[&str] = &["--xpu.backend", "level-zero", "--xpu.hold-awake"];

/// A struct that came after the headers of Debian 12; a unit test of `level-zero-sys` has its layout in a
/// table.
const NEWER: &str = "zes_fabric_port_error_counters_t";

/// A path into what pyzes read, the factor to our unit, our metric, its labels.
type Row = (&'static str, f64, &'static str, &'static [(&'static str, &'static str)]);

pub fn one_fault(fault: Fault) -> Control {
    Control { fault: vec![fault], ..Control::default() }
}

#[test]
fn structs_constants_and_tables_are_those_of_debians_headers() -> Result<()> {
    let mut headers = Headers::new(&["zes_api.h", "ze_ddi.h", "zes_ddi.h"]);
    headers.equal(layouts().into_iter().filter(|(expression, _)| !expression.contains(NEWER)));
    headers.equal(value::ALL.iter().map(|(name, number)| (name, (*number).into())));
    let codes = code::NAMES.iter().filter(|(number, _)| *number != code::SURVIVABILITY_MODE);
    headers.equal(codes.map(|(number, name)| (format!("(unsigned)ZE_RESULT_{name}"), (*number).into())));
    let places = ze_accelsim::tables::PLACES.iter();
    headers.equal(
        places.map(|(table, member, place)| (format!("offsetof({table}, {member})"), 8 * *place as u64)),
    );
    headers.check(&[&level_zero_headers()?], 300)
}

/// The real loader of Debian, with the simulated driver behind it; the kernel shows nothing.
pub struct Real {
    pub node: Node,
    pub command: Command,
}

impl Real {
    pub fn new(machine: &str, subcommand: &str, flags: &[&str]) -> Result<Self> {
        let node = Node::new(machine)?.only("xpu").frozen();
        let mut command = node.accelscope(subcommand, &[])?;
        let program = command.get_program().to_owned();
        command = node.command(Path::new(&program));
        command
            .args([subcommand, "--source", "xpu", "--path.sysfs"])
            .arg(node.dir().join("nothing"))
            .arg("--library.level-zero")
            .arg(level_zero_loader()?)
            .env("ZE_ENABLE_ALT_DRIVERS", node.library())
            .args(flags);
        Ok(Self { node, command })
    }
}

#[test]
fn debians_loader_opens_the_driver_and_the_exporter_reads_through_it() -> Result<()> {
    let address = process::free_address()?;
    let listen = address.to_string();
    let flags = [LEVEL_ZERO, &["--web.listen-address", &listen]].concat();
    let mut real = Real::new(MACHINE, "serve", &flags)?;
    let exporter = Exporter { process: Process::spawn("accelscope", &mut real.command)?, address };
    let through_loader = eventually("the exporter answers", || exporter.settled())?;

    let direct = real.node.start(&[LEVEL_ZERO, &["--path.dev", "/nowhere"]].concat()[..2])?;
    let direct = direct.settled()?;
    // The same driver's values, with Debian's loader between or not.
    let values = |samples: &Samples, device: &str| -> BTreeSet<String> {
        let own = samples.samples.iter().filter(|sample| sample.label("device") == device);
        let kept =
            own.filter(|sample| sample.series.starts_with("accel_") && !sample.series.contains("_info"));
        // How many processes use it is known to one that reads the host's own procfs.
        kept.filter(|sample| !sample.series.contains("asleep") && sample.name != "accel_compute_processes")
            .map(|sample| format!("{} {}", sample.series.replace(device, "_"), sample.value))
            .collect()
    };
    let (real_values, direct_values) =
        (values(&through_loader, "0000:03:00.0"), values(&direct, "0000:03:00.0"));
    ensure!(real_values.len() > 25, "{real_values:?}");
    ensure!(
        real_values == direct_values,
        "{:?}",
        real_values.symmetric_difference(&direct_values).collect::<Vec<_>>()
    );
    ensure!(exporter.get("/")?.ok()?.text()?.contains("zeInit"), "Debian 12's loader has no zesInit");
    Ok(())
}

#[test]
fn without_a_driver_the_loader_says_so_and_the_exporter_runs() -> Result<()> {
    let mut real = Real::new(MACHINE, "probe", &[])?;
    real.command.env_remove("ZE_ENABLE_ALT_DRIVERS");
    let probe = process::run(&mut real.command)?;
    ensure!(probe.code == Some(3), "{probe:?}");
    ensure!(probe.stdout.contains("zeInit returned ERROR_UNINITIALIZED"), "{}", probe.stdout);
    ensure!(probe.stdout.contains("intel-level-zero-gpu"), "no advice: {}", probe.stdout);
    Ok(())
}

#[test]
fn a_level_zero_that_is_not_there_is_named_beside_the_kernel() -> Result<()> {
    let node = Node::new(MACHINE)?.only("xpu").frozen();
    fs::remove_file(node.library())?;
    let probe = node.run("probe", &[])?;
    ensure!(probe.code == Some(0), "{probe:?}");
    ensure!(
        probe.stdout.contains("without Level Zero: ") && probe.stdout.contains("install libze1"),
        "{probe:?}"
    );
    ensure!(probe.stdout.contains("unsupported: level_zero (not_open)"), "{}", probe.stdout);
    Ok(())
}

#[test]
fn a_driver_that_lists_no_gpu_is_open_and_says_so() -> Result<()> {
    let node = Node::new(MACHINE)?.only("xpu").frozen();
    node.control(&one_fault(Fault::error(code::NOT_AVAILABLE).call("zesDeviceGetProperties")))?;
    let probe = node.run("probe", &[])?;
    ensure!(probe.code == Some(0), "{probe:?}");
    ensure!(probe.stdout.contains("Level Zero by zesInit, which lists no GPU"), "{}", probe.stdout);
    ensure!(probe.stdout.contains("unsupported: level_zero (not_listed)"), "{}", probe.stdout);
    ensure!(!probe.stdout.contains("not_open"), "{}", probe.stdout);
    Ok(())
}

#[test]
fn engines_are_for_root_alone_and_probe_says_so() -> Result<()> {
    let mut real = Real::new(MACHINE, "probe", LEVEL_ZERO)?;
    real.command.env("ACCELSIM_EUID", "65534");
    let probe = process::run(&mut real.command)?;
    ensure!(probe.stdout.contains("unsupported: zesDeviceEnumEngineGroups (needs_root)"), "{}", probe.stdout);
    Ok(())
}

/// What pyzes reads, by way.
fn pyzes(node: &Node, library: &Path, way: &str) -> Result<Value> {
    let mut command = node.command(python_env()?.join("bin/python"));
    command.arg(repository().join("tests/clients/pyzes_dump.py")).arg(library).arg(way);
    command.env("ZES_ENABLE_SYSMAN", "1").env("ZE_ENABLE_ALT_DRIVERS", node.library());
    let finished = process::run(&mut command)?;
    ensure!(finished.code == Some(0), "{finished:?}");
    Ok(serde_json::from_str(&finished.stdout)?)
}

#[test]
fn pyzes_reads_what_is_exported_through_the_stand_in_and_through_debians_loader() -> Result<()> {
    for machine in [MACHINE, "nuc-lunar-lake"] {
        let node = Node::new(machine)?.only("xpu").frozen();
        let exporter = node.start(LEVEL_ZERO)?;
        let samples = exporter.settled()?;
        let direct = pyzes(&node, &node.library(), "zesInit")?;
        let loader = pyzes(&node, &level_zero_loader()?, "zeInit")?;
        ensure!(direct == loader, "the loader changes what the driver says");
        let devices = direct.as_object().context("an object")?;
        let infos: Vec<_> = samples.all("accel_device_info", &[]).collect();
        ensure!(devices.len() == infos.len() && !infos.is_empty(), "{} and {}", devices.len(), infos.len());
        let mut compared = 0;
        for info in infos {
            let theirs = &devices[info.label("pci_bus_id")];
            ensure!(theirs["name"] == info.label("model"), "{theirs}");
            let device = ("device", info.label("device"));
            let discrete = machine == MACHINE;
            // Path, factor to our unit, metric, labels. Nothing there means that nothing may be exported.
            let rows: [Row; 17] = [
                ("/pci/0", 1.0, "accel_pcie_link_generation", &[]),
                ("/pci/1", 1.0, "accel_pcie_link_width", &[]),
                ("/pci_bytes/0", 1.0, "accel_link_receive_bytes_total", &[("kind", "pcie")]),
                ("/pci_bytes/1", 1.0, "accel_link_transmit_bytes_total", &[("kind", "pcie")]),
                // Followed from 0, and this clock stands.
                ("/energy/1", 0.0, "accel_energy_joules_total", &[]),
                ("/limits/2", 1e-3, "accel_power_limit_watts", &[("limit", "burst")]),
                ("/limits/3", 1e-3, "accel_power_limit_watts", &[("limit", "peak")]),
                ("/clocks/0/0", 1e6, "accel_clock_hertz", &[("domain", "graphics")]),
                ("/clocks/0/1", 1e6, "accel_clock_max_hertz", &[("domain", "graphics")]),
                ("/clocks/2/0", 1e6, "accel_clock_hertz", &[("domain", "video")]),
                ("/temperatures/0", 1.0, "accel_temperature_celsius", &[("sensor", "hottest")]),
                ("/temperatures/1", 1.0, "accel_temperature_celsius", &[("sensor", "gpu")]),
                ("/temperatures/2", 1.0, "accel_temperature_celsius", &[("sensor", "memory")]),
                ("/temperatures/8", 1.0, "accel_temperature_celsius", &[("sensor", "voltage_regulator")]),
                ("/memory/0/physical", 1.0, "accel_memory_total_bytes", &[]),
                ("/memory/0/free", 1.0, "accel_memory_free_bytes", &[]),
                ("/memory/0/read", 1.0, "accel_memory_read_bytes_total", &[]),
            ];
            for (path, factor, metric, own) in rows {
                let labels = [&[device], own].concat();
                // What the driver says of an integrated GPU's memory is invented.
                let theirs = theirs.pointer(path).and_then(Value::as_f64);
                match theirs.filter(|_| discrete || !path.starts_with("/memory")) {
                    Some(number) => {
                        let ours = samples.value(metric, &labels)?;
                        let same = (ours - number * factor).abs() <= ours.abs() * 1e-12;
                        ensure!(same, "{path} {number}, {metric}{own:?} {ours}");
                        compared += 1;
                    }
                    None => ensure!(!samples.has(metric, &labels), "no {path}, and yet {metric}{own:?}"),
                }
            }
            if discrete {
                for limit in ["default", "max"] {
                    ensure!(samples.value("accel_power_limit_watts", &[device, ("limit", limit)])? == 200.0);
                }
                let module = &theirs["memory"][0];
                let used =
                    module["size"].as_f64().context("size")? - module["free"].as_f64().context("free")?;
                ensure!((samples.value("xe_memory_used", &[device])? - used).abs() < 1.0);
            }
        }
        ensure!(compared >= if machine == MACHINE { 8 * 17 } else { 3 }, "only {compared} values");
    }
    Ok(())
}

/// What the two backends say of the same moment, by series. Shares and rates are compared where the clock
/// moves.
#[test]
fn both_backends_say_the_same_or_it_is_known_why_not() -> Result<()> {
    let node = Node::new(MACHINE)?.only("xpu").workload("hot").frozen();
    let kernel = node.start(&["--xpu.backend", "kernel"])?.settled()?;
    let level_zero = node.start(LEVEL_ZERO)?.settled()?;
    let mut same = 0;
    for sample in level_zero.samples.iter().filter(|sample| sample.label("device") == "0000:03:00.0") {
        let Some(other) = kernel.samples.iter().find(|other| other.series == sample.series) else { continue };
        let name = sample.series.split('{').next().unwrap_or_default();
        match name {
            // The kernel's counter does not wrap. Sysman's does, so it is followed from 0, and this clock
            // stands.
            "accel_energy_joules_total" => {
                ensure!(other.value > 0.0 && sample.value == 0.0, "{} {}", other.value, sample.value);
            }
            _ => ensure!(
                (other.value - sample.value).abs() <= 1e-9 * other.value.abs(),
                "{}: kernel {}, Level Zero {}",
                sample.series,
                other.value,
                sample.value
            ),
        }
        same += 1;
    }
    ensure!(same >= 18, "only {same} series are of both");

    let node = Node::new(MACHINE)?.only("xpu").workload("decode");
    let exporters = [node.start(&["--xpu.backend", "kernel"])?, node.start(LEVEL_ZERO)?];
    for (metric, labels, within) in [
        ("accel_engine_active_ratio", vec![CARD[0], ("engine", "compute")], 0.06),
        ("accel_engine_active_ratio", vec![CARD[0], ("engine", "render")], 0.06),
        ("accel_engine_active_ratio", vec![CARD[0], ("engine", "copy")], 0.06),
        ("accel_engine_active_ratio", vec![CARD[0], ("engine", "enhance")], 0.06),
        ("accel_utilization_ratio", CARD.to_vec(), 0.06),
        ("accel_power_watts", CARD.to_vec(), 12.0),
        ("accel_temperature_celsius", vec![CARD[0], ("sensor", "gpu")], 2.0),
    ] {
        eventually(metric, || {
            let [a, b] =
                [&exporters[0], &exporters[1]].map(|exporter| exporter.scrape()?.value(metric, &labels));
            let (a, b) = (a?, b?);
            ensure!((a - b).abs() <= within, "{metric} {labels:?}: kernel {a}, Level Zero {b}");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn together_each_metric_has_one_source_and_the_info_metric_names_it() -> Result<()> {
    let node = Node::new(MACHINE)?.only("xpu");
    let exporter = node.start(&[])?;
    exporter.until("Level Zero fills in", |samples| {
        let info = samples.all("accel_device_info", &CARD).next().context("info")?;
        let sources = info.label("signal_sources");
        ensure!(sources.starts_with("kernel; level_zero:"), "{sources}");
        for own in ["memory_bandwidth_active", "link_receive", "temperature"] {
            ensure!(sources.split(' ').any(|word| word == own), "{own} in {sources}");
        }
        for kernels in ["energy", "clock", "memory_used", "fan_speed_rpm", "engine_active"] {
            ensure!(!sources.split(' ').any(|word| word == kernels), "{kernels} in {sources}");
        }
        ensure!(info.label("model") == "Intel(R) Arc(TM) Pro B60 Graphics");
        ensure!(!info.label("serial").is_empty());
        ensure!(samples.has("accel_memory_bandwidth_active_ratio", &CARD));
        // The kernel's video engine, not Level Zero's decoders and encoders.
        let engines: BTreeSet<_> =
            samples.all("accel_engine_active_ratio", &CARD).map(|sample| sample.label("engine")).collect();
        ensure!(engines.contains("media") && !engines.contains("decode"), "{engines:?}");
        // Two series of one name and labels would be refused by every scraper.
        let all: BTreeSet<_> = samples.samples.iter().map(|sample| &sample.series).collect();
        ensure!(all.len() == samples.samples.len(), "a series is there twice");
        Ok(())
    })
}

#[test]
fn an_integrated_gpu_has_no_memory_of_its_own_whatever_its_driver_says() -> Result<()> {
    let node = Node::new("nuc-panther-lake")?.only("xpu");
    let exporter = node.start(&[])?;
    exporter.until("shared memory and nothing else", |samples| {
        ensure!(samples.value("accel_memory_shared_bytes", &[])? > 1e9);
        for invented in ["accel_memory_total_bytes", "accel_memory_used_bytes", "xe_memory_used"] {
            ensure!(!samples.has(invented, &[]), "{invented}");
        }
        Ok(())
    })
}

#[test]
fn what_battlemage_does_not_support_is_absent_and_named() -> Result<()> {
    let node = Node::new(MACHINE)?.only("xpu").frozen();
    let samples = node.start(LEVEL_ZERO)?.settled()?;
    let probe = node.run("probe", &[LEVEL_ZERO, &["--json"]].concat())?;
    let report: Value = serde_json::from_str(&probe.stdout)?;
    let metrics = report["sources"][0]["devices"][0]["metrics"].as_array().context("metrics")?;
    for (metric, call, code) in [
        ("accel_ecc_enabled", "zesDeviceGetEccState", "ERROR_UNSUPPORTED_FEATURE"),
        ("accel_errors_total", "zesDeviceEnumRasErrorSets", "none"),
        ("accel_pcie_replays_total", "zesDevicePciGetStats", "no_replay_counter"),
    ] {
        ensure!(!samples.has(metric, &[]), "{metric}");
        let told = metrics.iter().find(|told| told["metric"] == metric).context(metric)?;
        let absent = &told["absent"][0];
        ensure!(
            absent["kind"] == "unsupported" && absent["call"] == call && absent["code"] == code,
            "{told}"
        );
    }
    for metric in ["accel_errors_corrected_total", "accel_ecc_errors_total", "accel_link_up"] {
        ensure!(!samples.has(metric, &[]), "{metric}");
    }
    Ok(())
}

#[test]
fn an_idle_gpu_may_fall_asleep_beside_level_zero_too() -> Result<()> {
    let node = Node::new("nuc-lunar-lake")?.only("xpu").workload("idle");
    let flags = &["--xpu.backend", "level-zero"];
    let probe = node.run("probe", flags)?;
    ensure!(!probe.stdout.contains("left_alone_to_sleep"), "who asks once is answered: {}", probe.stdout);
    let exporter = node.start(flags)?;
    exporter.until("it is left alone", |samples| {
        ensure!(samples.sum("accelscope_source_faults_total", &[("code", "left_alone_to_sleep")]) > 0.0);
        ensure!(!samples.has("accel_clock_hertz", &[]) && samples.value("accel_device_up", &[])? == 1.0);
        Ok(())
    })
}

#[test]
fn a_data_centre_part_has_tiles_errors_and_fabric() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("max.toml");
    fs::write(
        &path,
        "extends = \"battlematrix-8\"\n[device.xpu]\nras = true\nfabric_ports = 2\ntiles = 2\n",
    )?;
    let machine = path.to_str().context("UTF-8")?;
    let node = Node::new(machine)?.frozen();
    let ecc = |severity, count| Ecc { device: 0, severity, scope: Scope::Sram, count };
    node.control(&Control {
        ecc: vec![ecc(Severity::Corrected, 5), ecc(Severity::Uncorrectable, 2)],
        recovery: vec![Recovery { device: 0, action: RecoveryAction::Reset }],
        link: vec![sim::control::Link { link: 1, down: true, replays: 3, ..Default::default() }],
        ..Control::default()
    })?;
    let samples = node.start(&[])?.settled()?;
    let value = |name: &str, labels: &[(&str, &str)]| samples.value(name, &[&CARD, labels].concat());
    let cache = [("kind", "ras"), ("code", "cache_errors")];
    ensure!(value("accel_errors_total", &cache)? == 2.0);
    ensure!(
        value("accel_errors_total", &[("kind", "ras"), ("code", "reset")])? == 0.0,
        "known codes start at 0"
    );
    ensure!(value("accel_errors_corrected_total", &cache)? == 5.0);
    ensure!(value("accel_ecc_errors_total", &[("severity", "uncorrectable"), ("scope", "volatile")])? == 2.0);
    ensure!(value("accel_recovery_action", &[("action", "gpu_reset")])? == 1.0);
    ensure!(value("accel_recovery_action", &[("action", "none")])? == 0.0);
    ensure!(value("accel_ecc_enabled", &[])? == 1.0);
    let port = |link| [("link", link), ("kind", "xelink")];
    ensure!(value("accel_link_up", &port("0"))? == 1.0 && value("accel_link_up", &port("1"))? == 0.0);
    let degraded = [("link", "1"), ("kind", "xelink"), ("error", "degraded")];
    ensure!(value("accel_link_errors_total", &degraded)? == 3.0);
    // A series that were there twice would not be read at all.
    for flags in [&[][..], &["--xpu.backend", "kernel"], LEVEL_ZERO] {
        let samples = Node::new(machine)?.frozen().start(flags)?.settled()?;
        for tile in ["tile0", "tile1"] {
            let labels = [CARD[0], ("partition", tile), ("domain", "graphics")];
            ensure!(samples.value("accel_clock_hertz", &labels)? > 1e8, "{flags:?}");
        }
        ensure!(samples.all("accel_clock_hertz", &CARD).count() == 2, "{flags:?}");
    }
    Ok(())
}

#[test]
fn level_zero_never_wakes_a_sleeping_card() -> Result<()> {
    let node = Node::new(MACHINE)?.only("xpu");
    // One that Level Zero did not get to know while it was awake.
    let unknown = Fault::error(code::NOT_AVAILABLE).device(7).call("zesDeviceGetProperties");
    node.control(&one_fault(unknown))?;
    let wakes = node.dir().join("wakes");
    let mut command = {
        let address = process::free_address()?;
        let listen = address.to_string();
        let mut command =
            node.accelscope("serve", &["--interval", "100ms", "--web.listen-address", &listen])?;
        command.env("ACCELSIM_WAKES", &wakes);
        (command, address)
    };
    let exporter = Exporter { process: Process::spawn("accelscope", &mut command.0)?, address: command.1 };
    eventually("Level Zero answers", || {
        let samples = exporter.scrape()?;
        ensure!(samples.all("accel_memory_bandwidth_active_ratio", &[]).count() == 7);
        Ok(())
    })?;
    node.control(&Control { asleep: vec![0, 7], ..Control::default() })?;
    exporter.until("they sleep", |samples| {
        ensure!(samples.sum("accel_device_asleep", &[]) == 2.0);
        Ok(())
    })?;
    // The round or enumeration in which it fell asleep may have been under way.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let count = || fs::read_to_string(&wakes).unwrap_or_default().lines().count();
    let before = count();
    let rounds =
        |samples: &Samples| samples.value("accelscope_sample_duration_seconds_count", &[("source", "xpu")]);
    let start = rounds(&exporter.scrape()?)?;
    exporter.until("a hundred rounds and two enumerations go by", |samples| {
        ensure!(rounds(samples)? >= start + 8.0 * 120.0);
        Ok(())
    })?;
    ensure!(count() == before, "woken by {:?}", fs::read_to_string(&wakes)?.lines().collect::<BTreeSet<_>>());
    Ok(())
}
