//! What is read of NVIDIA boards beyond what every driver has, and boards that are not read at all.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};
use e2e::{Exporter, Node, Process, Samples, eventually, process};
use sim::{Control, Profile, kernel::Tree};

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
        ensure!(samples.has("accel_power_watts", &BOARD) && samples.has("DCGM_FI_DEV_POWER_USAGE", &[("gpu", "0")]));
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
            ensure!(samples.sum("accelscope_source_faults_total", &left_alone) > 2.0);
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
