//! Intel GPUs through the kernel's files: the real binary on a live synthetic tree, what it says beside what
//! the machine does, and what goes wrong there.

#![expect(clippy::float_cmp, reason = "flags and counts are printed and parsed exactly")]

use std::{collections::BTreeSet, fs, process::Command};

use anyhow::{Context, Result, ensure};
use e2e::{ARC_ADDRESSES, Exporter, Node, Samples, eventually};
use serde_json::Value;
use sim::{
    Control, Live, Options,
    control::{DriverState, Fault, Garbage},
    cycle::Channel,
    family::xpu::Gpu,
};

mod privileges;

const MACHINE: &str = "battlematrix-8";
const KERNEL: &[&str] = &["--xpu.backend", "kernel"];
const XPU: [(&str, &str); 1] = [("source", "xpu")];
const CARD: [(&str, &str); 1] = [("device", "0000:03:00.0")];

fn one_fault(fault: Fault) -> Control {
    Control { fault: vec![fault], ..Control::default() }
}

/// Waits until a device has shares and rates, which need two readings of a clock that moves.
fn whole(exporter: &Exporter) -> Result<Samples> {
    exporter.until("engines and power are there", |samples| {
        ensure!(samples.has("accel_engine_active_ratio", &CARD) && samples.has("accel_power_watts", &CARD));
        Ok(samples.clone())
    })
}

/// Waits until a device has the series that it had.
fn until_back(exporter: &Exporter, device: &str, before: &Samples) -> Result<()> {
    let before = before.labelled(device);
    exporter.until(&format!("{device} is back"), |samples| {
        let now = samples.labelled(device);
        ensure!(now.is_superset(&before), "{:?}", before.difference(&now).collect::<Vec<_>>());
        Ok(())
    })
}

#[test]
fn load_power_and_heat_are_those_of_the_machine() -> Result<()> {
    let node = Node::new(MACHINE)?.only("xpu").workload("decode");
    let exporter = node.start(KERNEL)?;
    whole(&exporter)?;
    let workload = "decode".parse().map_err(anyhow::Error::msg::<String>)?;
    let live = Live::open(&Options { machine: MACHINE.to_owned(), workload, ..Options::default() })?;
    for (card, label) in ARC_ADDRESSES.into_iter().enumerate() {
        let device = [("device", label)];
        exporter.until("what is said is what happens", |samples| {
            let now = live.now();
            let gpu = Gpu::of(&now, card).context("an Intel GPU")?;
            let close = |what: &str, said: f64, is: f64, within: f64| {
                ensure!((said - is).abs() <= within, "{label}: {what} {said}, not {is}");
                Ok(())
            };
            let compute = [device[0], ("engine", "compute")];
            let busy = gpu.device.level(Channel::Graphics);
            close("compute", samples.value("accel_engine_active_ratio", &compute)?, busy, 0.08)?;
            close("utilization", samples.value("accel_utilization_ratio", &device)?, busy, 0.08)?;
            let percent = samples.value("xe_engine_utilization", &compute)?;
            close("alias", percent, busy * 100.0, 8.0)?;
            let media = [device[0], ("engine", "media")];
            let decoder = gpu.device.level(Channel::Decoder);
            close("media", samples.value("accel_engine_active_ratio", &media)?, decoder, 0.08)?;
            close("power", samples.value("accel_power_watts", &device)?, gpu.device.power_watts(), 12.0)?;
            let memory = gpu.device.memory_bytes();
            let used = (memory.used + memory.reserved) as f64;
            close("memory", samples.value("accel_memory_used_bytes", &device)?, used, 1e9)?;
            close("total", samples.value("accel_memory_total_bytes", &device)?, memory.total as f64, 0.0)?;
            let energy = gpu.energy_microjoules() as f64 * 1e-6;
            close("energy", samples.value("accel_energy_joules_total", &device)?, energy, 600.0)?;
            let sensor = [device[0], ("sensor", "gpu")];
            close("heat", samples.value("accel_temperature_celsius", &sensor)?, gpu.celsius().0, 2.0)?;
            let domain = [device[0], ("domain", "graphics")];
            let clock = f64::from(gpu.clock_megahertz(0)) * 1e6;
            close("clock", samples.value("accel_clock_hertz", &domain)?, clock, 1e8)
        })?;
    }
    let samples = exporter.scrape()?;
    ensure!(samples.value("accelscope_build_info", &[])? == 1.0);
    let info = samples.all("accelscope_build_info", &[]).next().context("build info")?;
    ensure!(info.label("simulated") == MACHINE, "simulated data must say so");
    Ok(())
}

#[test]
fn every_reason_to_throttle_is_one_that_the_rules_know() -> Result<()> {
    let node = Node::new(MACHINE)?.only("xpu").workload("hot");
    let exporter = node.start(KERNEL)?;
    let rules = fs::read_to_string(e2e::artefacts::repository().join("alerts/xpu.yaml"))?;
    let mut records = rules.split("- record: ");
    let selected =
        records.find(|rule| rule.starts_with("accel:throttle:level\n")).context("the throttle rule")?;
    let known: BTreeSet<_> = selected
        .split("reason=~\"")
        .skip(1)
        .flat_map(|rest| rest.split('"').next().unwrap_or_default().split('|'))
        .collect();
    exporter.until("a card throttles", |samples| {
        let all: Vec<_> = samples.all("accel_throttle_active", &[]).collect();
        ensure!(all.iter().any(|sample| sample.value == 1.0), "none throttles");
        for sample in all {
            let reason = sample.label("reason");
            ensure!(known.contains(reason), "{reason} is in no rule: {known:?}");
        }
        Ok(())
    })
}

#[test]
fn a_bad_file_costs_its_own_series_for_as_long_as_it_is_bad() -> Result<()> {
    let node = Node::new(MACHINE)?.only("xpu");
    let exporter = node.start(KERNEL)?;
    let before = whole(&exporter)?;
    let sensor = |name| vec![CARD[0], ("sensor", name)];
    // The fault, what it is called, and what it costs.
    let cases = [
        (
            Fault::garbage(Garbage::Blank).call("energy1_input"),
            ("energy_input", "empty"),
            ("accel_energy_joules_total", CARD.to_vec()),
        ),
        (
            Fault::garbage(Garbage::Nan).call("act_freq"),
            ("act_freq", "garbage"),
            ("accel_clock_hertz", CARD.to_vec()),
        ),
        (
            Fault::garbage(Garbage::Hot).call("temp2_input"),
            ("temp_input", "over_200_celsius"),
            ("accel_temperature_celsius", sensor("gpu")),
        ),
        (
            Fault::garbage(Garbage::Nan).call("reasons"),
            ("reasons", "garbage"),
            ("accel_throttle_active", CARD.to_vec()),
        ),
        (Fault::error(2).call("fan1_input"), ("fan_input", "ENOENT"), ("accel_fan_speed_rpm", CARD.to_vec())),
        (
            Fault::garbage(Garbage::Nan).call("current_link_speed"),
            ("current_link_speed", "garbage"),
            ("accel_pcie_link_generation", CARD.to_vec()),
        ),
        // The text of its only client: without it the load is not known, and not 0.
        (
            Fault::garbage(Garbage::Blank).call("9"),
            ("fdinfo", "no_client"),
            ("accel_engine_active_ratio", CARD.to_vec()),
        ),
    ];
    for (fault, (call, code), (metric, labels)) in cases {
        node.control(&one_fault(fault.device(0)))?;
        exporter.until(&format!("{call} {code}: dropped and counted"), |samples| {
            ensure!(!samples.has(metric, &labels), "still there");
            let counted = [XPU[0], ("call", call), ("code", code)];
            ensure!(samples.sum("accelscope_source_faults_total", &counted) > 0.0, "not counted");
            let healthy = samples.labelled("0000:07:00.0");
            ensure!(healthy.is_superset(&before.labelled("0000:07:00.0")), "a healthy card lost series");
            ensure!(samples.value("accel_device_up", &CARD)? == 1.0);
            Ok(())
        })?;
        node.control(&Control::default())?;
        until_back(&exporter, "0000:03:00.0", &before)?;
    }
    Ok(())
}

#[test]
fn a_file_that_only_has_a_nodes_name_is_no_client() -> Result<()> {
    let node = Node::new(MACHINE)?.only("xpu").workload("decode");
    let mine = node.dir().join("home/dri/renderD128");
    fs::create_dir_all(mine.parent().context("a folder")?)?;
    fs::write(&mine, "mine")?;
    // A plain file of somebody, and one that nobody else may look at, as below a FUSE mount.
    for (process, target) in [(900_001, mine.as_path()), (900_002, "/nowhere/dri/renderD128".as_ref())] {
        let folder = node.sysfs().join(format!("proc/{process}"));
        fs::create_dir_all(folder.join("fd"))?;
        fs::create_dir_all(folder.join("fdinfo"))?;
        std::os::unix::fs::symlink(target, folder.join("fd/5"))?;
        fs::write(folder.join("fdinfo/5"), "pos:\t0\nflags:\t0100000\nmnt_id:\t30\n")?;
    }
    let exporter = node.start(KERNEL)?;
    let samples = whole(&exporter)?;
    ensure!(
        samples.value("accel_compute_processes", &CARD)? == 1.0,
        "who has a plain file open is no client"
    );
    Ok(())
}

#[test]
fn a_file_that_hangs_costs_its_card_and_one_thread() -> Result<()> {
    let node = Node::new(MACHINE)?.only("xpu").frozen();
    let exporter = node.start(KERNEL)?;
    let before = exporter.settled()?;
    let clock = node.sysfs().join("bus/pci/devices/0000:03:00.0/tile0/gt0/freq0/act_freq");
    let whole = fs::read(&clock)?;
    // A driver that does not return: who opens a pipe waits for its other end.
    let pipe = node.dir().join("pipe");
    ensure!(Command::new("mkfifo").arg(&pipe).status()?.success());
    fs::hard_link(&pipe, node.dir().join("act_freq"))?;
    fs::rename(node.dir().join("act_freq"), &clock)?;
    exporter.until("the card is withdrawn", |samples| {
        ensure!(samples.value("accel_device_up", &CARD)? == 0.0 && samples.measured_of(0).is_empty());
        ensure!(samples.value("accelscope_stuck_threads", &XPU)? == 1.0);
        ensure!(
            samples.labelled("0000:07:00.0") == before.labelled("0000:07:00.0"),
            "a healthy card lost series"
        );
        Ok(())
    })?;
    fs::write(node.dir().join("act_freq"), &whole)?;
    fs::rename(node.dir().join("act_freq"), &clock)?;
    fs::write(&pipe, &whole)?;
    until_back(&exporter, "0000:03:00.0", &before)?;
    ensure!(exporter.scrape()?.value("accelscope_stuck_threads", &XPU)? == 0.0);
    Ok(())
}

#[test]
fn a_counter_that_reads_zero_or_goes_back_is_no_reading() -> Result<()> {
    let node = Node::new(MACHINE)?.only("xpu").frozen();
    let exporter = node.start(KERNEL)?;
    let before = exporter.settled()?.value("accel_energy_joules_total", &CARD)?;
    let file = node.sysfs().join("bus/pci/devices/0000:03:00.0/hwmon/hwmon4/energy1_input");
    // On a clock that stands, the tree is not written again.
    fs::write(&file, "0\n")?;
    exporter.until("0 is dropped", |samples| {
        ensure!(!samples.has("accel_energy_joules_total", &CARD));
        ensure!(samples.sum("accelscope_source_faults_total", &[("code", "zero")]) > 0.0);
        Ok(())
    })?;
    fs::write(&file, "5000000\n")?;
    exporter.until("a reset is a new beginning", |samples| {
        ensure!(samples.value("accel_energy_joules_total", &CARD)? == 5.0 && before > 5.0);
        Ok(())
    })?;
    fs::write(&file, "3000000\n")?;
    exporter.until("and so is another, which has no power", |samples| {
        ensure!(samples.value("accel_energy_joules_total", &CARD)? == 3.0);
        ensure!(samples.sum("accelscope_source_faults_total", &[("code", "counter_fell")]) > 0.0);
        ensure!(!samples.has("accel_power_watts", &CARD));
        Ok(())
    })
}

#[test]
fn a_battlemage_card_is_held_at_its_cap() -> Result<()> {
    let node = Node::new(MACHINE)?.only("xpu").frozen();
    let before = node.start(KERNEL)?.settled()?;
    let limit =
        |samples: &Samples, limit| samples.value("accel_power_limit_watts", &[CARD[0], ("limit", limit)]);
    ensure!(limit(&before, "enforced")? == 200.0 && limit(&before, "peak")? == 400.0);
    // A sustained limit that is switched off changes nothing; one that is set is the one in force.
    let chip = node.sysfs().join("bus/pci/devices/0000:03:00.0/hwmon/hwmon4");
    for (sustained, enforced) in [("0", 200.0), ("150000000", 150.0)] {
        fs::write(chip.join("power1_max"), sustained)?;
        let samples = node.start(KERNEL)?.settled()?;
        ensure!(limit(&samples, "enforced")? == enforced && limit(&samples, "burst")? == 200.0);
    }
    // With the peak known for the package alone.
    fs::remove_file(chip.join("power1_cap"))?;
    fs::write(chip.join("power1_max"), "0")?;
    fs::rename(chip.join("power1_crit"), chip.join("power2_crit"))?;
    let samples = node.start(KERNEL)?.settled()?;
    ensure!(limit(&samples, "enforced").is_err() && limit(&samples, "peak")? == 400.0);
    Ok(())
}

#[test]
fn a_card_that_sleeps_is_told_from_one_that_is_lost() -> Result<()> {
    let node = Node::new(MACHINE)?.only("xpu");
    let exporter = node.start(KERNEL)?;
    let before = whole(&exporter)?;
    node.control(&Control { asleep: vec![0], ..Control::default() })?;
    exporter.until("it sleeps", |samples| {
        ensure!(samples.value("accel_device_asleep", &CARD)? == 1.0);
        ensure!(samples.value("accel_device_up", &CARD)? == 1.0, "a sleeping card is not lost");
        let left: Vec<_> = samples.labelled("0000:03:00.0").into_iter().collect();
        ensure!(left.len() == 3, "{left:?}");
        ensure!(samples.has("accel_power_watts", &[("device", "0000:07:00.0")]));
        Ok(())
    })?;
    node.control(&Control::default())?;
    until_back(&exporter, "0000:03:00.0", &before)?;
    ensure!(exporter.scrape()?.value("accel_device_asleep", &CARD)? == 0.0);

    node.control(&one_fault(Fault::lost().device(0)))?;
    exporter.until("it is lost", |samples| {
        ensure!(samples.value("accel_device_up", &CARD)? == 0.0);
        ensure!(samples.measured_of(0).is_empty(), "{:?}", samples.measured_of(0));
        let info = samples.all("accel_device_info", &CARD).map(|info| info.label("pci_bus_id"));
        ensure!(info.eq(["0000:03:00.0"]), "nobody finds it");
        Ok(())
    })?;
    node.control(&Control::default())?;
    until_back(&exporter, "0000:03:00.0", &before)
}

#[test]
fn an_idle_gpu_is_left_alone_to_fall_asleep_and_a_busy_one_is_not() -> Result<()> {
    let left_alone =
        |samples: &Samples| samples.sum("accelscope_source_faults_total", &[("code", "left_alone_to_sleep")]);
    let idle = Node::new("nuc-lunar-lake")?.only("xpu").workload("idle");
    let exporter = idle.start(KERNEL)?;
    exporter.until("the idle one is not read", |samples| {
        ensure!(left_alone(samples) > 0.0);
        ensure!(!samples.has("accel_clock_hertz", &[]) && samples.value("accel_device_up", &[])? == 1.0);
        Ok(())
    })?;
    // It does not sleep all the same, so somebody else keeps it awake.
    exporter.until("it is read again", |samples| {
        ensure!(samples.has("accel_clock_hertz", &[]));
        Ok(())
    })?;
    let busy = Node::new("nuc-lunar-lake")?.only("xpu").workload("decode");
    let exporter = busy.start(KERNEL)?;
    exporter.until("the busy one is read on and on", |samples| {
        let rounds = samples.value("accelscope_sample_duration_seconds_count", &XPU)?;
        ensure!(rounds >= 6.0 && left_alone(samples) == 0.0);
        ensure!(samples.has("accel_clock_hertz", &[]));
        Ok(())
    })
}

#[test]
fn a_driver_reload_and_a_card_that_is_plugged_in_need_no_restart() -> Result<()> {
    let node = Node::new(MACHINE)?.only("xpu");
    node.control(&Control { hidden: vec![7], ..Control::default() })?;
    let exporter = node.start(KERNEL)?;
    let devices = |samples: &Samples| samples.value("accel_devices", &[("family", "xpu")]);
    exporter.until("seven are found", |samples| {
        ensure!(devices(samples)? == 7.0);
        Ok(())
    })?;
    node.control(&Control::default())?;
    exporter.until("eight are found", |samples| {
        ensure!(devices(samples)? == 8.0 && samples.has("accel_power_watts", &[("device", "0000:8f:00.0")]));
        Ok(())
    })?;
    node.control(&Control { driver: Some(DriverState::Unloaded), ..Control::default() })?;
    exporter.until("the source is down", |samples| {
        ensure!(samples.value("accelscope_source_up", &XPU)? == 0.0);
        ensure!(!samples.has("accel_clock_hertz", &[]));
        Ok(())
    })?;
    eventually("the page says why", || {
        ensure!(exporter.get("/")?.ok()?.text()?.contains("no Intel GPU is bound to xe or i915"));
        Ok(())
    })?;
    node.control(&Control::default())?;
    exporter.until("the cards are back", |samples| {
        ensure!(samples.sum("accel_device_up", &[]) == 8.0 && samples.has("accel_clock_hertz", &CARD));
        Ok(())
    })
}

/// A machine that is another with some keys changed.
fn variant(folder: &std::path::Path, name: &str, text: &str) -> Result<String> {
    let path = folder.join(name);
    fs::write(&path, text)?;
    Ok(path.to_str().context("UTF-8")?.to_owned())
}

#[test]
fn i915_and_engines_of_unknown_classes_are_read_too() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let text = "extends = \"nuc-lunar-lake\"\n[device.xpu]\nkernel_driver = \"i915\"\n\
        [device.xpu.engines]\nzcs = 1\n";
    let node = Node::new(&variant(folder.path(), "old.toml", text)?)?.only("xpu").workload("decode");
    let exporter = node.start(KERNEL)?;
    exporter.until("engines, clock and RAPL's power", |samples| {
        for engine in ["compute", "render", "copy", "media", "enhance", "other"] {
            let labels = [("device", "0000:00:02.0"), ("engine", engine)];
            let share = samples.value("accel_engine_active_ratio", &labels)?;
            ensure!((0.0..=1.0).contains(&share), "{engine} {share}");
        }
        ensure!(samples.value("accel_engine_active_ratio", &[("engine", "compute")])? > 0.5);
        ensure!(samples.value("accel_power_watts", &[])? > 1.0);
        ensure!(samples.value("accel_clock_hertz", &[("domain", "graphics")])? > 1e8);
        ensure!(!samples.has("accel_memory_total_bytes", &[]), "an integrated GPU has no memory of its own");
        ensure!(samples.value("accel_memory_shared_bytes", &[])? > 1e9);
        Ok(())
    })?;

    let text = "extends = \"battlematrix-8\"\n[device.xpu]\nkernel_driver = \"i915\"\n";
    let node = Node::new(&variant(folder.path(), "card.toml", text)?)?.only("xpu").workload("decode");
    let exporter = node.start(KERNEL)?;
    exporter.until("a discrete card's engines, memory and sensors", |samples| {
        let info = samples.all("accel_device_info", &CARD).next().context("info")?;
        ensure!(info.label("driver_version").starts_with("i915 "), "{info:?}");
        ensure!(samples.value("accel_engine_active_ratio", &[CARD[0], ("engine", "compute")])? > 0.5);
        let [total, used, free] =
            ["total", "used", "free"].map(|what| samples.value(&format!("accel_memory_{what}_bytes"), &CARD));
        let (total, used, free) = (total?, used?, free?);
        ensure!(used > 1e9 && used + free == total, "{used} and {free} of {total}");
        ensure!(samples.value("accel_power_watts", &CARD)? > 30.0);
        ensure!(samples.value("accel_throttle_active", &[CARD[0], ("reason", "pl1")]).is_ok());
        ensure!(samples.value("accel_clock_hertz", &[CARD[0], ("domain", "video")]).is_ok());
        Ok(())
    })
}

#[test]
fn integrated_is_a_property_of_the_gpu_and_not_of_its_address() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // A guest has its GPUs where its hypervisor puts them.
    let text = "extends = \"nuc-lunar-lake\"\n[device]\npci_addresses = [\"0000:00:18.0\"]\n";
    let node = Node::new(&variant(folder.path(), "guest.toml", text)?)?.only("xpu").workload("decode");
    node.start(KERNEL)?.until("its power is RAPL's and its memory the host's", |samples| {
        ensure!(samples.value("accel_power_watts", &[])? > 1.0);
        ensure!(!samples.has("accel_memory_total_bytes", &[]));
        Ok(())
    })?;
    let text =
        "extends = \"battlematrix-8\"\n[device]\nnuma_nodes = [0]\npci_addresses = [\"0000:00:02.0\"]\n";
    let node = Node::new(&variant(folder.path(), "card.toml", text)?)?.only("xpu").workload("decode");
    node.start(KERNEL)?.until("a card has its own power and memory", |samples| {
        ensure!(samples.value("accel_power_watts", &[])? > 30.0);
        ensure!(samples.value("accel_memory_total_bytes", &[])? > 2e10);
        Ok(())
    })
}

#[test]
fn a_card_is_named_by_the_systems_pci_ids_and_by_our_table() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (id, ours, systems) in [
        ("0x56A0", "Intel Arc A770", "\t56a0  DG2 [Arc A770 Limited]"),
        ("0x4680", "Intel UHD Graphics 770", "\t4680  AlderLake-S GT1 [UHD Graphics]"),
    ] {
        let text = format!("extends = \"nuc-lunar-lake\"\n[device]\npci_device_id = {id}8086\n");
        let node = Node::new(&variant(folder.path(), "named.toml", &text)?)?.only("xpu").frozen();
        let model = || -> Result<String> {
            let samples = node.start(KERNEL)?.settled()?;
            let info = samples.all("accel_device_info", &[]).next().context("info")?;
            Ok(info.label("model").to_owned())
        };
        ensure!(model()? == ours, "{}", model()?);
        let database = node.dir().join("usr/share/misc");
        fs::create_dir_all(&database)?;
        fs::write(database.join("pci.ids"), format!("8086  Intel Corporation\n{systems}\n"))?;
        let name = systems.split_once('[').and_then(|(_, name)| name.strip_suffix(']'));
        ensure!(model()? == format!("Intel {}", name.context("a name")?), "{}", model()?);
    }
    Ok(())
}

/// What a report says of a metric of a device.
pub fn metric_of<'a>(report: &'a Value, device: &str, name: &str) -> Result<&'a Value> {
    let mut found = report["sources"][0]["devices"].as_array().context("devices")?.iter();
    let card = found.find(|card| card["labels"]["device"] == device).context("the card")?;
    let all = card["metrics"].as_array().context("metrics")?;
    all.iter().find(|metric| metric["metric"] == name).with_context(|| name.to_owned())
}
