//! Intel GPUs whose Level Zero fails, hangs or reports impossible values: what that costs, and what stays
//! readable.

#![expect(clippy::float_cmp, reason = "flags and counts are printed and parsed exactly")]

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use e2e::{ARC_ADDRESSES, Node, Samples, eventually, process};
use level_zero_sys::code;
use serde_json::Value;
use sim::{
    Control,
    control::{Fault, Garbage},
};

use super::level_zero::{CARD, LEVEL_ZERO, MACHINE, Real, one_fault};

/// A fault, the metric and labels that it costs, and the code that is counted.
type Case = (Fault, &'static str, Vec<(&'static str, &'static str)>, &'static str);

fn cases() -> Vec<Case> {
    let pcie = vec![CARD[0], ("kind", "pcie")];
    vec![
        (
            Fault::garbage(Garbage::Nan).call("zesMemoryGetState"),
            "accel_memory_used_bytes",
            CARD.to_vec(),
            "needs_cap_perfmon",
        ),
        (
            Fault::error(code::UNSUPPORTED_FEATURE).call("zesFrequencyGetState"),
            "accel_clock_hertz",
            CARD.to_vec(),
            "ERROR_UNSUPPORTED_FEATURE",
        ),
        (
            Fault::error(code::NOT_AVAILABLE).call("zesFanGetState"),
            "accel_fan_speed_rpm",
            CARD.to_vec(),
            "ERROR_NOT_AVAILABLE",
        ),
        (
            Fault::error(code::INSUFFICIENT_PERMISSIONS).call("zesDevicePciGetStats"),
            "accel_link_receive_bytes_total",
            pcie,
            "needs_root",
        ),
        (
            Fault::garbage(Garbage::Absurd).call("zesPowerGetEnergyCounter"),
            "accel_energy_joules_total",
            CARD.to_vec(),
            "rose_too_fast",
        ),
        (
            Fault::garbage(Garbage::Blank).call("zesPowerGetEnergyCounter"),
            "accel_energy_joules_total",
            CARD.to_vec(),
            "blank",
        ),
        (
            Fault::garbage(Garbage::Blank).call("zesMemoryGetBandwidth"),
            "accel_memory_read_bytes_total",
            CARD.to_vec(),
            "blank",
        ),
        (
            Fault::error(0x7abc_def0).call("zesEngineGetActivity"),
            "accel_engine_active_ratio",
            CARD.to_vec(),
            "unknown_return_code",
        ),
    ]
}

#[test]
fn what_level_zero_gets_wrong_costs_its_own_series() -> Result<()> {
    let node = Node::new(MACHINE)?.only("xpu");
    let exporter = node.start(LEVEL_ZERO)?;
    let whole = exporter.until("shares and power are there", |samples| {
        ensure!(samples.has("accel_engine_active_ratio", &CARD) && samples.has("accel_power_watts", &CARD));
        Ok(samples.clone())
    })?;
    let count =
        |samples: &Samples| samples.samples.iter().filter(|s| s.label("device") == "0000:03:00.0").count();
    let before = count(&whole);
    for (fault, metric, labels, code) in cases() {
        node.control(&one_fault(fault.device(0)))?;
        exporter.until(&format!("{metric} {code}: dropped and counted"), |samples| {
            ensure!(!samples.has(metric, &labels), "still there");
            ensure!(samples.sum("accelscope_source_faults_total", &[("code", code)]) > 0.0, "not counted");
            ensure!(
                samples.has(metric, &[&[("device", "0000:07:00.0")], &labels[1..]].concat()),
                "a healthy card lost it"
            );
            Ok(())
        })?;
        node.control(&Control::default())?;
        exporter.until("it is back", |samples| {
            ensure!(count(samples) == before, "{} of {before} series", count(samples));
            Ok(())
        })?;
    }
    // A torn counter is read again: the series stays, and never jumps.
    node.control(&one_fault(Fault::garbage(Garbage::Blank).call("zesDevicePciGetStats").device(0)))?;
    let mut last = 0.0;
    for _ in 0..20 {
        if let Ok(bytes) =
            exporter.scrape()?.value("accel_link_receive_bytes_total", &[CARD[0], ("kind", "pcie")])
        {
            ensure!(bytes >= last && (last == 0.0 || bytes - last < 4e9), "{last}, then {bytes}");
            last = bytes;
        }
        std::thread::sleep(std::time::Duration::from_millis(150));
    }
    ensure!(last > 0.0, "no reading in three seconds");

    // A request for the device's state reports that all is well.
    let gone = Fault::error(code::DEVICE_LOST).call("zesMemoryGetState");
    for lost in [Fault::lost(), gone] {
        node.control(&one_fault(lost.device(0)))?;
        exporter.until("the device is lost", |samples| {
            ensure!(samples.value("accel_device_up", &CARD)? == 0.0);
            ensure!(samples.sum("accel_device_up", &[]) == 7.0);
            Ok(())
        })?;
        node.control(&Control::default())?;
        exporter.until("and comes back", |samples| {
            ensure!(samples.value("accel_device_up", &CARD)? == 1.0 && count(samples) == before);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_level_zero_that_hangs_keeps_nothing_from_the_kernel() -> Result<()> {
    let node = Node::new(MACHINE)?.only("xpu");
    node.control(&one_fault(Fault::hang().device(3).call("zesDeviceGetProperties")))?;
    let exporter = node.start(&[])?;
    exporter.until("the kernel's values are there", |samples| {
        ensure!(samples.sum("accel_device_up", &[]) == 8.0 && samples.has("accel_power_watts", &CARD));
        ensure!(!samples.has("accel_memory_bandwidth_active_ratio", &[]));
        ensure!(samples.value("accelscope_stuck_threads", &[("source", "xpu")])? == 0.0);
        Ok(())
    })?;
    node.control(&Control::default())?;
    exporter.until("Level Zero fills in", |samples| {
        ensure!(samples.all("accel_memory_bandwidth_active_ratio", &[]).count() == 8);
        Ok(())
    })?;
    eventually("the page names both", || {
        ensure!(exporter.get("/")?.ok()?.text()?.contains("Level Zero by zesInit"));
        Ok(())
    })
}

#[test]
fn what_failed_once_at_open_is_asked_again() -> Result<()> {
    let all = |samples: &Samples| -> BTreeSet<String> {
        let own = samples.samples.iter().filter(|sample| sample.label("device") == "0000:03:00.0");
        own.map(|sample| sample.series.clone()).collect()
    };
    let healthy = Node::new(MACHINE)?.only("xpu");
    let whole = all(&healthy.start(LEVEL_ZERO)?.settled()?);
    for call in
        ["zesDeviceEnum*", "zesMemoryGetProperties", "zesPowerGetProperties", "zesFrequencyGetProperties"]
    {
        let node = Node::new(MACHINE)?.only("xpu");
        node.control(&one_fault(Fault::error(code::NOT_AVAILABLE).device(0).call(call)))?;
        let exporter = node.start(LEVEL_ZERO)?;
        exporter.until(&format!("{call}: the reason is counted"), |samples| {
            ensure!(all(samples).len() < whole.len());
            ensure!(samples.sum("accelscope_source_faults_total", &[("code", "ERROR_NOT_AVAILABLE")]) > 0.0);
            ensure!(samples.sum("accelscope_source_faults_total", &[("code", "integrated")]) == 0.0);
            Ok(())
        })?;
        node.control(&Control::default())?;
        exporter.until(&format!("{call}: everything is there"), |samples| {
            let now = all(samples);
            ensure!(now.is_superset(&whole), "{:?}", whole.difference(&now).collect::<Vec<_>>());
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn in_survivability_mode_what_the_kernel_reads_stays() -> Result<()> {
    let node = Node::new(MACHINE)?.only("xpu");
    let exporter = node.start(&[])?;
    exporter.until("Level Zero is open", |samples| {
        ensure!(samples.has("accel_memory_bandwidth_active_ratio", &CARD));
        Ok(())
    })?;
    let repair = [CARD[0], ("action", "repair")];
    let broken = Fault::error(code::SURVIVABILITY_MODE).device(0).call("zesDeviceGetState");
    node.control(&one_fault(broken))?;
    exporter.until("the kernel's values stay, and the state is exported", |samples| {
        ensure!(samples.value("accel_recovery_action", &repair)? == 1.0);
        ensure!(samples.value("accel_device_up", &CARD)? == 1.0 && samples.has("accel_power_watts", &CARD));
        ensure!(!samples.has("accel_memory_bandwidth_active_ratio", &CARD));
        let counted = [("code", "ERROR_SURVIVABILITY_MODE_DETECTED")];
        ensure!(samples.sum("accelscope_source_faults_total", &counted) > 0.0);
        Ok(())
    })?;
    node.control(&Control::default())?;
    exporter.until("it is repaired", |samples| {
        ensure!(samples.value("accel_recovery_action", &repair)? == 0.0);
        ensure!(samples.has("accel_memory_bandwidth_active_ratio", &CARD));
        Ok(())
    })
}

#[test]
fn a_device_that_is_lost_from_the_beginning_costs_the_others_nothing() -> Result<()> {
    let mut real = Real::new(MACHINE, "probe", &["--xpu.backend", "level-zero", "--json"])?;
    let lost = Fault::error(code::DEVICE_LOST).device(2).call("zesDeviceGetProperties");
    real.node.control(&one_fault(lost))?;
    let report: Value = serde_json::from_str(&process::run(&mut real.command)?.stdout)?;
    let found = report["sources"][0]["devices"].as_array().context("devices")?;
    let names: Vec<_> = found.iter().filter_map(|device| device["labels"]["device"].as_str()).collect();
    let others: Vec<_> = ARC_ADDRESSES.into_iter().enumerate().filter(|(card, _)| *card != 2).collect();
    ensure!(others.iter().map(|(_, address)| *address).eq(names.iter().copied()), "{names:?}");
    Ok(())
}
