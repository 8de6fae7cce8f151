//! Which metrics are exported, and how many series.

#![expect(clippy::float_cmp, reason = "counts are printed and parsed exactly")]

use std::fs;

use anyhow::{Context, Result, ensure};
use e2e::{Exporter, Node, Samples, eventually};
use sim::{Control, control::Fault};

/// The names of devices' metrics, of both vocabularies.
fn names(samples: &Samples) -> Vec<&str> {
    let own = ["accelscope_", "process_", "accel_devices"];
    let names = samples.families.keys().map(String::as_str);
    names.filter(|name| !own.iter().any(|own| name.starts_with(own))).collect()
}

#[test]
fn patterns_choose_among_the_names_of_both_vocabularies() -> Result<()> {
    let node = Node::new("h100-sxm-4")?.frozen();
    let flags =
        ["--metrics.include", "accel_power_*,DCGM_FI_DEV_?PU_TEMP", "--metrics.exclude", "*_limit_watts"];
    let samples = node.start(&flags)?.settled()?;
    let chosen = names(&samples);
    ensure!(chosen.contains(&"accel_power_watts") && chosen.contains(&"DCGM_FI_DEV_GPU_TEMP"), "{chosen:?}");
    for name in &chosen {
        let is_power = name.starts_with("accel_power_") && !name.ends_with("_limit_watts");
        ensure!(is_power || *name == "DCGM_FI_DEV_GPU_TEMP", "{name}");
    }
    // A vendor's name alone keeps what it is made of.
    let flags = ["--metrics.exclude", "accel_*", "--metrics.exclude", "DCGM_FI_PROF_*"];
    let samples = node.start(&flags)?.settled()?;
    let chosen = names(&samples);
    ensure!(
        chosen.contains(&"DCGM_FI_DEV_POWER_USAGE") && chosen.contains(&"DCGM_FI_DEV_FB_USED"),
        "{chosen:?}"
    );
    ensure!(!chosen.iter().any(|name| name.starts_with("accel_") || name.starts_with("DCGM_FI_PROF_")));
    // Busy seconds are the integral of a ratio that nobody wants.
    let samples = node.start(&["--metrics.include", "accel_engine_busy_seconds_total"])?.settled()?;
    ensure!(names(&samples) == ["accel_engine_busy_seconds_total"], "{:?}", names(&samples));
    ensure!(samples.all("accel_engine_busy_seconds_total", &[("engine", "tensor")]).count() == 4);
    Ok(())
}

#[test]
fn the_driver_is_not_asked_for_what_nobody_wants() -> Result<()> {
    let node = Node::new("a100-8")?.frozen();
    let calls = [
        ("nvmlDeviceGetBAR1MemoryInfo", "accel_bar1_memory_*,DCGM_FI_DEV_BAR1_*"),
        ("nvmlDeviceGetPcieReplayCounter", "accel_pcie_replays_total,DCGM_FI_DEV_PCIE_REPLAY_COUNTER"),
        ("nvmlDeviceGetComputeRunningProcesses_v3", "accel_compute_processes"),
    ];
    let fault = calls.map(|(call, _)| Fault::error(999).call(call)).to_vec();
    node.control(&Control { fault, ..Control::default() })?;
    let asked = node.start(&[])?.settled()?;
    let excluded: Vec<_> = calls.iter().map(|(_, names)| *names).collect();
    let not_asked = node.start(&["--metrics.exclude", &excluded.join(",")])?.settled()?;
    for (call, _) in calls {
        let label = [("call", call)];
        ensure!(asked.all("accelscope_source_faults_total", &label).count() == 1, "{call} has no fault");
        ensure!(not_asked.all("accelscope_source_faults_total", &label).count() == 0, "{call} is asked for");
    }
    ensure!(not_asked.sum("accel_device_up", &[]) == 8.0);
    Ok(())
}

#[test]
fn a_pattern_that_no_name_matches_is_refused_with_the_nearest() -> Result<()> {
    let node = Node::new("t4-1")?;
    for (flag, pattern, words) in [
        ("--metrics.include", "accel_power_wats", &["accel_power_watts"][..]),
        ("--metrics.exclude", "DCGM_FI_DEV_GPU_TEMPS", &["DCGM_FI_DEV_GPU_TEMP"]),
        ("--metrics.exclude", "accel_power_watts,nothing*", &["\"nothing*\"", "accelscope fields"]),
        ("--metrics.exclude", "accelscope_*", &["always exported"]),
        ("--max-series", "0", &["--max-series"]),
    ] {
        let finished = node.run("serve", &["--web.listen-address", "127.0.0.1:0", flag, pattern])?;
        ensure!(finished.code == Some(2) && finished.stderr.trim_end().lines().count() == 1, "{finished:?}");
        ensure!(finished.stderr.contains(flag), "{finished:?}");
        ensure!(words.iter().all(|word| finished.stderr.contains(word)), "{finished:?}");
    }
    Ok(())
}

fn series(exporter: &Exporter) -> Result<usize> {
    let body = exporter.get("/metrics")?.ok()?;
    Ok(body.text()?.lines().filter(|line| !line.starts_with('#')).count())
}

#[test]
fn what_is_over_the_budget_is_left_out_whole_counted_and_logged() -> Result<()> {
    let node = Node::new("h100-sxm-4")?.frozen();
    let file = node.dir().join("settings.toml");
    fs::write(&file, "")?;
    let flags = ["--config.file", &file.display().to_string()];
    let exporter = node.start(&flags)?;
    let all = exporter.settled()?;
    ensure!(!all.has("accelscope_series_refused", &[]), "without a budget none is counted");
    let change = |text: &str| -> Result<()> {
        fs::write(&file, text)?;
        exporter.process.signal("HUP")
    };
    change("max-series = 300\n")?;
    let kept = exporter.until("some are refused", |samples| {
        ensure!(samples.value("accelscope_series_refused", &[])? > 0.0);
        Ok(samples.clone())
    })?;
    ensure!(series(&exporter)? <= 300, "{}", series(&exporter)?);
    ensure!(kept.has("accel_device_up", &[]) && kept.has("accelscope_build_info", &[]));
    for name in names(&kept) {
        let [before, after] = [&all, &kept].map(|samples| samples.all(name, &[]).count());
        ensure!(before == after, "{name} is cut: {before} became {after}");
    }
    let log = exporter.process.log();
    let line = log.lines().find(|line| line.contains("--max-series 300")).context("it is logged")?;
    ensure!(line.contains("left out") && line.contains("--metrics.exclude"), "{line}");
    change("max-series = 100000\n\"metrics.exclude\" = [\"DCGM_*\"]\n")?;
    eventually("all fit", || {
        let samples = exporter.scrape()?;
        ensure!(samples.value("accelscope_series_refused", &[])? == 0.0);
        ensure!(samples.has("accel_power_watts", &[]) && !samples.has("DCGM_FI_DEV_POWER_USAGE", &[]));
        Ok(())
    })?;
    exporter.ends_in_order()
}
