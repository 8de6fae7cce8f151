//! What is read of NVIDIA boards beyond what every driver has, and boards that are not read at all.

#![expect(clippy::float_cmp, reason = "whole numbers and flags are reported exactly")]

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};
use e2e::{Exporter, Node, Process, Samples, eventually, process};
use sim::{
    Control, Profile,
    control::{Fabric, Fault, Repair, Repairable},
    kernel::Tree,
};

/// Starts the exporter with a file of the calls about boards that the machine takes for suspended.
fn watched(node: &Node, flags: &[&str]) -> Result<Exporter> {
    let address = process::free_address()?;
    let mut command = node.accelscope("serve", &["--web.listen-address", &address.to_string()])?;
    command.args(flags).env("ACCELSIM_WAKES", node.dir().join("calls"));
    Ok(Exporter { process: Process::spawn("accelscope", &mut command)?, address })
}

/// The calls so far.
fn calls(node: &Node) -> Vec<String> {
    let text = fs::read_to_string(node.dir().join("calls")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Shows the bus, with one board that the kernel may suspend, after so many milliseconds, and has or has not.
fn show_bus(node: &Node, tree: &mut Tree, delay_ms: Option<u32>, is_asleep: bool) -> Result<()> {
    let profile = Profile::open("h100-sxm-4")?;
    let mut files = sim::bus::files(&profile, &[]);
    for address in &profile.device.pci_addresses[1..] {
        sim::bus::power(&mut files, address, None, false);
    }
    sim::bus::power(&mut files, &profile.device.pci_addresses[0], delay_ms, is_asleep);
    tree.show(files).with_context(|| node.sysfs().display().to_string())
}

fn rounds(samples: &Samples) -> Result<f64> {
    samples.value("accelscope_sample_duration_seconds_count", &[("source", "nvidia")])
}

const BOARD: [(&str, &str); 1] = [("device", "gpu0")];

#[test]
fn a_suspended_board_is_asleep_and_not_called() -> Result<()> {
    let node = Node::new("h100-sxm-4")?;
    let mut tree = Tree::new(&node.sysfs())?;
    show_bus(&node, &mut tree, Some(500), false)?;
    let exporter = watched(&node, &["--interval", "100ms"])?;
    eventually("it is read", || {
        let samples = exporter.scrape()?;
        ensure!(samples.value("accel_device_asleep", &BOARD)? == 0.0);
        ensure!(samples.has("accel_power_watts", &BOARD));
        Ok(())
    })?;
    ensure!(calls(&node).is_empty(), "the machine counts calls about boards that sleep: {:?}", calls(&node));

    show_bus(&node, &mut tree, Some(500), true)?;
    exporter.until("it sleeps", |samples| {
        ensure!(samples.value("accel_device_asleep", &BOARD)? == 1.0);
        ensure!(samples.value("accel_device_up", &BOARD)? == 1.0);
        ensure!(samples.has("accel_device_info", &BOARD) && samples.has("accel_errors_total", &BOARD));
        ensure!(!samples.has("accel_power_watts", &BOARD), "an old value");
        Ok(())
    })?;
    // A round or a listing that was under way has ended by the next of each.
    let start = rounds(&exporter.scrape()?)?;
    exporter.until("what was under way has ended", |samples| {
        ensure!(rounds(samples)? >= start + 4.0 * 60.0);
        Ok(())
    })?;
    node.control(&Control { asleep: vec![0], ..Control::default() })?;
    let start = rounds(&exporter.scrape()?)?;
    exporter.until("a hundred rounds and two listings go by", |samples| {
        ensure!(samples.value("accel_devices", &[("family", "nvidia")])? == 4.0);
        ensure!(rounds(samples)? >= start + 4.0 * 120.0);
        Ok(())
    })?;
    let woken: BTreeSet<_> = calls(&node).into_iter().collect();
    ensure!(woken.is_empty(), "woken by {woken:?}");

    show_bus(&node, &mut tree, Some(500), false)?;
    exporter.until("it is read again", |samples| {
        ensure!(
            samples.has("accel_power_watts", &BOARD)
                && samples.has("DCGM_FI_DEV_POWER_USAGE", &[("gpu", "0")])
        );
        Ok(())
    })?;
    ensure!(!calls(&node).is_empty(), "the machine counts the calls about it");
    Ok(())
}

#[test]
fn an_idle_board_is_left_alone_and_a_busy_one_is_not() -> Result<()> {
    for (workload, is_idle) in [("idle", true), ("decode", false)] {
        let node = Node::new("h100-sxm-4")?.workload(workload);
        let mut tree = Tree::new(&node.sysfs())?;
        show_bus(&node, &mut tree, Some(1500), false)?;
        // The machine counts every call about the board from the start.
        node.control(&Control { asleep: vec![0], ..Control::default() })?;
        let exporter = watched(&node, &["--interval", "100ms"])?;
        let left_alone = [("source", "nvidia"), ("code", "left_alone_to_sleep")];
        eventually("each board is read", || {
            let samples = exporter.scrape()?;
            ensure!(rounds(&samples)? >= 40.0);
            Ok(())
        })?;
        if !is_idle {
            ensure!(!exporter.scrape()?.has("accelscope_source_faults_total", &left_alone), "it is busy");
            continue;
        }
        // It is left alone once in a while, for longer than the delay, by its worker and by the listing.
        exporter.until("it is left alone", |samples| {
            ensure!(samples.sum("accelscope_source_faults_total", &left_alone) >= 1.0);
            ensure!(!samples.has("accel_power_watts", &BOARD));
            ensure!(samples.value("accel_device_up", &BOARD)? == 1.0);
            Ok(())
        })?;
        let before = calls(&node).len();
        let start = rounds(&exporter.scrape()?)?;
        exporter.until("ten rounds go by", |samples| {
            ensure!(rounds(samples)? >= start + 4.0 * 10.0);
            Ok(())
        })?;
        let since: Vec<_> = calls(&node).split_off(before);
        ensure!(since.is_empty(), "kept awake by {since:?}");
        // Suspended meanwhile: it stays so.
        show_bus(&node, &mut tree, Some(1500), true)?;
        exporter.until("it sleeps", |samples| {
            ensure!(samples.value("accel_device_asleep", &BOARD)? == 1.0);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_registration_that_failed_shows_with_its_reason() -> Result<()> {
    // Drivers with the second, third and fourth version of the struct.
    for machine in ["h100-sxm-4", "b200-8"] {
        let node = Node::new(machine)?.frozen();
        node.control(&Control {
            fabric: vec![
                Fabric { device: 0, status: 23, ..Fabric::default() },
                Fabric { device: 1, state: Some(2), status: 23, clique: 5 },
                Fabric { device: 2, clique: 32766, ..Fabric::default() },
            ],
            ..Control::default()
        })?;
        let samples = node.start(&[])?.settled()?;
        let failed = |device| samples.value("accel_fabric_registration_failed", &[("device", device)]);
        ensure!(failed("gpu0")? == 1.0 && failed("gpu2")? == 0.0, "{machine}");
        ensure!(failed("gpu1").is_err(), "{machine}: it has not registered, so nothing has failed yet");
        let completed =
            |device| samples.value("accel_fabric_state", &[("device", device), ("state", "completed")]);
        ensure!(completed("gpu0")? == 1.0 && completed("gpu1")? == 0.0);
        let labels = |device| {
            let of_device = [("device", device)];
            let info = samples.all("accel_fabric_info", &of_device).next()?;
            Some(["clique_id", "registration_status"].map(|label| info.label(label).to_owned()))
        };
        let expected = ["0", "NVML_ERROR_INSUFFICIENT_RESOURCES"].map(str::to_owned);
        ensure!(labels("gpu0").as_ref() == Some(&expected), "{machine}: {:?}", labels("gpu0"));
        ensure!(labels("gpu1").is_none(), "{machine}");
        ensure!(labels("gpu2") == Some(["32766", "NVML_SUCCESS"].map(str::to_owned)), "{machine}");
    }
    Ok(())
}

#[test]
fn repairs_and_defects_are_read_while_it_runs() -> Result<()> {
    let node = Node::new("b200-8")?;
    let exporter = node.start(&[])?;
    let value = |samples: &Samples, name: &str, label: &[(&str, &str)]| {
        samples.value(name, &[&BOARD[..], label].concat())
    };
    let channel = [("kind", "memory_channel")];
    exporter.until("nothing is due", |samples| {
        ensure!(value(samples, "accel_repair_pending", &channel)? == 0.0);
        ensure!(value(samples, "accel_memory_unrepairable", &[])? == 0.0);
        ensure!(value(samples, "accel_sram_uncorrectable_locations", &[])? == 0.0);
        ensure!(value(samples, "accel_uptime_seconds", &[])? > 0.0);
        ensure!(value(samples, "accel_slow_readings_age_seconds", &[])? < 17.0);
        Ok(())
    })?;
    let pending = vec![Repairable::MemoryChannel];
    let repair = Repair { pending, unrepairable: true, sram_locations: 3, ..Repair::default() };
    node.control(&Control { repair: vec![repair], ..Control::default() })?;
    exporter.until("all of it shows", |samples| {
        ensure!(value(samples, "accel_repair_pending", &channel)? == 1.0);
        ensure!(value(samples, "accel_repair_pending", &[("kind", "tpc")])? == 0.0);
        ensure!(value(samples, "accel_memory_unrepairable", &[])? == 1.0);
        ensure!(value(samples, "accel_sram_uncorrectable_locations", &[])? == 3.0);
        Ok(())
    })
}

#[test]
fn limits_come_from_margins_where_the_part_has_them() -> Result<()> {
    // The call that the header prefers no longer is not made for the GPU's limits from Ada on.
    let old_call = Fault::error(3).call("nvmlDeviceGetTemperatureThreshold");
    for (machine, has_margins) in [("h100-sxm-4", true), ("a100-8", false)] {
        let before = Node::new(machine)?.frozen().start(&[])?.settled()?;
        let node = Node::new(machine)?.frozen();
        node.control(&Control { fault: vec![old_call.clone()], ..Control::default() })?;
        let after = node.start(&[])?.settled()?;
        for limit in ["slowdown", "shutdown", "operating"] {
            let labels = [("device", "gpu0"), ("sensor", "gpu"), ("limit", limit)];
            let limit = before.value("accel_temperature_limit_celsius", &labels)?;
            let without = after.value("accel_temperature_limit_celsius", &labels).ok();
            ensure!(without == has_margins.then_some(limit), "{machine}: {limit} and {without:?}");
        }
        ensure!(after.has("accel_temperature_margin_limit_celsius", &BOARD) == has_margins, "{machine}");
    }
    Ok(())
}

#[test]
fn links_to_the_cpu_and_remapped_banks_are_read_where_a_part_has_them() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("grace.toml");
    fs::write(
        &path,
        "extends = \"b200-8\"\n[device.ecc]\nbank_groups = 64\n[device.nvidia.c2c]\nlinks = 2\n\
         link_megabytes_per_second = 44712\n",
    )?;
    let node = Node::new(path.to_str().context("UTF-8")?)?.frozen();
    let repair = Repair { pending: vec![Repairable::Bank], banks: 3, ..Repair::default() };
    node.control(&Control { repair: vec![repair], ..Control::default() })?;
    let samples = node.start(&[])?.settled()?;
    let value = |name: &str, labels: &[(&str, &str)]| samples.value(name, &[&BOARD[..], labels].concat());
    for link in ["0", "1"] {
        let link = [("link", link), ("kind", "c2c")];
        ensure!(value("accel_link_up", &link)? == 1.0);
        ensure!(value("accel_link_bandwidth_bytes_per_second", &link)? == 44_712e6);
        ensure!(value("accel_link_low_power", &link).is_ok());
        for error in ["crc", "replay", "replay_back_to_back"] {
            ensure!(value("accel_link_errors_total", &[&link[..], &[("error", error)]].concat())? == 0.0);
        }
    }
    ensure!(value("accel_memory_banks_remapped", &[("state", "active")])? == 3.0);
    ensure!(value("accel_memory_bank_remap_pending", &[])? == 1.0);
    ensure!(value("accel_memory_bank_remap_groups", &[("availability", "max")])? == 61.0);
    // A part without them has no such series.
    let samples = Node::new("b200-8")?.frozen().start(&[])?.settled()?;
    ensure!(!samples.has("accel_memory_banks_remapped", &[]));
    ensure!(!samples.has("accel_link_up", &[("kind", "c2c")]));
    Ok(())
}

#[test]
fn bytes_over_pcie_are_counted_where_the_devices_own_counter_wraps() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let narrow = |machine: &str| -> Result<String> {
        let path = folder.path().join(format!("{machine}.toml"));
        fs::write(&path, format!("extends = \"{machine}\"\n[device.pcie]\nbyte_counter_bits = 32\n"))?;
        Ok(path.to_str().context("UTF-8")?.to_owned())
    };
    let labels = [("device", "gpu0"), ("kind", "pcie")];
    // GPM counts the same bytes in 64 bits from 13.2 on.
    let wide = Node::new("b200-8")?.frozen().start(&[])?.settled()?;
    let samples = Node::new(&narrow("b200-8")?)?.frozen().start(&[])?.settled()?;
    for name in ["accel_link_receive_bytes_total", "accel_link_transmit_bytes_total"] {
        let (wide, narrow) = (wide.value(name, &labels)?, samples.value(name, &labels)?);
        ensure!(wide == narrow && wide > 4_294_967_296.0, "{name}: {wide} and {narrow}");
    }
    // Before, the rate is summed up, of a counter that is declared to have 64 bits and has 32.
    let node = Node::new(&narrow("h100-sxm-4")?)?.workload("decode");
    let exporter = node.start(&["--interval", "200ms"])?;
    let mut before = 0.0;
    for _ in 0..3 {
        exporter.until("it has risen", |samples| {
            let now = samples.value("accel_link_receive_bytes_total", &labels)?;
            ensure!(now > before && now < before + 1e12, "{before} and {now}");
            before = now;
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_generation_of_dcgm_names_is_chosen() -> Result<()> {
    let node = Node::new("h100-sxm-4")?.frozen();
    let labels = [("gpu", "0")];
    for (flags, older, newer) in [
        (&[][..], true, false),
        (&["--names.dcgm-generation", "4.8"][..], true, false),
        (&["--names.dcgm-generation", "4.9"][..], false, true),
        (&["--names.dcgm-generation", "both"][..], true, true),
    ] {
        let samples = node.start(flags)?.settled()?;
        for (old, new, factor) in [
            ("DCGM_FI_DEV_SM_CLOCK", "DCGM_FI_DEV_SM_CLOCK_HERTZ", 1e6),
            ("DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_GPU_UTIL_RATIO", 1e-2),
            ("DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_GPU_TEMP_CELSIUS", 1.0),
            ("DCGM_FI_DEV_FB_TOTAL", "DCGM_FI_DEV_FB_CAPACITY_BYTES", 1_048_576.0),
        ] {
            ensure!(
                samples.has(old, &labels) == older && samples.has(new, &labels) == newer,
                "{flags:?} {old}"
            );
            if older && newer {
                let (old, new) = (samples.value(old, &labels)? * factor, samples.value(new, &labels)?);
                ensure!((old - new).abs() < 1e-9 * new, "{old} and {new}");
            }
        }
        let common = samples.all("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", &labels).next().context("in both")?;
        let has = |label: &str| !common.label(label).is_empty();
        ensure!(has("DCGM_FI_DRIVER_VERSION") == older, "{}", common.series);
        ensure!(has("DCGM_FI_SYSTEM_DRIVER_VERSION") == newer, "{}", common.series);
        ensure!(has("Hostname") != newer && has("hostname") == newer, "{}", common.series);
        ensure!(samples.has("DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", &labels) == older);
    }
    Ok(())
}
