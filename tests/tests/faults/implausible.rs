//! What a library returns with success and what cannot be true: blanks, counts that no hardware has, texts without an
//! end. None of it is exported, and none of it costs memory or another device.

use anyhow::{Result, ensure};
use e2e::{Node, Samples};
use sim::{
    Control,
    control::{Fault, Garbage},
};

use super::{
    is_up, one_fault, others_are_fresh, until_back, until_withdrawn,
    vendor::{GAUDI, NVIDIA, Vendor},
};

fn all(faults: impl IntoIterator<Item = Fault>) -> Control {
    Control { fault: faults.into_iter().collect(), ..Control::default() }
}

/// A blank count of devices or components: it is counted, every device stays up, and no memory is taken for it.
fn a_blank_count_costs_nothing(vendor: &Vendor, calls: &[&str]) -> Result<()> {
    let node = Node::new(vendor.machine)?;
    let exporter = node.start(vendor.flags)?;
    exporter.settled()?;
    let resident = |samples: &Samples| samples.value("process_resident_memory_bytes", &[]);
    let before = resident(&exporter.scrape()?)?;
    node.control(&all(calls.iter().map(|call| Fault::garbage(Garbage::Blank).call(call))))?;
    let after = exporter.until("each blank is counted", |samples| {
        for call in calls {
            ensure!(samples.faults("no_data", call, "blank") >= 1.0, "{call}");
        }
        Ok(samples.clone())
    })?;
    for device in 0..8 {
        ensure!(is_up(vendor, &after, device)?, "{} is down", vendor.device(device));
    }
    ensure!(resident(&after)? < before + 64e6, "{before} became {}", resident(&after)?);
    Ok(())
}

#[test]
fn a_blank_count_of_nvml_costs_nothing() -> Result<()> {
    let calls = ["nvmlDeviceGetCount_v2", "nvmlDeviceGetNumFans"];
    a_blank_count_costs_nothing(&NVIDIA, &calls)
}

#[test]
fn a_blank_count_of_hlml_costs_nothing() -> Result<()> {
    a_blank_count_costs_nothing(&GAUDI, &["hlml_device_get_count"])
}

/// Every call but those that say that the device is there returns blanks: what is still exported is what it was.
#[test]
fn no_blank_is_exported_whatever_call_returns_it() -> Result<()> {
    let node = Node::new(NVIDIA.machine)?.frozen();
    let exporter = node.start(&[])?;
    let before = exporter.settled()?;
    let initials = ["A", "B", "C", "E", "F", "G", "J", "M", "O", "R", "S", "T", "V", "Pc", "Pe", "PowerM"];
    let calls = initials.map(|initial| format!("nvmlDeviceGet{initial}*"));
    let calls = calls.iter().map(String::as_str).chain(["nvmlGpm*"]);
    node.control(&all(calls.map(|call| Fault::garbage(Garbage::Blank).device(0).call(call))))?;
    let broken = exporter.until("they are absent", |samples| {
        for metric in ["accel_sram_ecc_errors_total", "accel_power_limit_watts", "accel_throttle_active"] {
            ensure!(!samples.has(metric, &[("device", "gpu0")]), "{metric}");
        }
        Ok(samples.clone())
    })?;
    let device = broken.of_device(0);
    for sample in broken.samples.iter().filter(|sample| device.contains(sample.series.as_str())) {
        // The exporter's own sums and ages go on.
        let is_own =
            sample.name.ends_with("_busy_seconds_total") || sample.name == "accel_slow_readings_age_seconds";
        let same = before.samples.iter().find(|old| old.series == sample.series);
        ensure!(
            is_own || same.is_some_and(|old| old.value.to_bits() == sample.value.to_bits()),
            "{sample:?}"
        );
    }
    Ok(())
}

/// What a board reports of itself is bounded too: limits, maxima, capacities, its link.
#[test]
fn no_limit_or_capacity_that_no_part_has_is_exported() -> Result<()> {
    let gpu0 = [("device", "gpu0")];
    for (vendor, device, rows) in [
        (
            &NVIDIA,
            "gpu0",
            &[
                ("nvmlDeviceGetEnforcedPowerLimit", "accel_power_limit_watts", &[("limit", "enforced")][..]),
                ("nvmlDeviceGetMaxClockInfo", "accel_clock_max_hertz", &[("domain", "sm")]),
                ("nvmlDeviceGetBAR1MemoryInfo", "accel_bar1_memory_total_bytes", &[]),
                ("nvmlDeviceGetCurrPcieLinkWidth", "accel_pcie_link_width", &[]),
                ("nvmlDeviceGetMaxPcieLinkGeneration", "accel_pcie_link_generation_max", &[]),
                ("nvmlDeviceGetMemoryInfo_v2", "accel_memory_total_bytes", &[]),
            ][..],
        ),
        (
            &GAUDI,
            "hpu0",
            &[
                (
                    "hlml_device_get_power_management_limit",
                    "accel_power_limit_watts",
                    &[("limit", "enforced")],
                ),
                ("hlml_device_get_max_clock_info", "accel_clock_max_hertz", &[]),
            ],
        ),
    ] {
        let node = Node::new(vendor.machine)?.frozen();
        let exporter = node.start(vendor.flags)?;
        let before = exporter.settled()?;
        let calls = rows.iter().map(|(call, ..)| Fault::garbage(Garbage::Absurd).device(0).call(call));
        node.control(&all(calls))?;
        exporter.until("they are absent and counted", |samples| {
            for (call, metric, labels) in rows {
                let labels = [&[("device", device)][..], labels].concat();
                ensure!(before.has(metric, &labels), "{metric}: the machine has it");
                ensure!(!samples.has(metric, &labels), "{metric} after {call}");
            }
            ensure!(samples.sum("accelscope_source_faults_total", &[("code", "above_maximum")]) > 0.0);
            Ok(())
        })?;
        ensure!(is_up(vendor, &exporter.scrape()?, 0)?, "its other values are read");
    }
    // A board of which nothing possible is read is not up.
    let node = Node::new(NVIDIA.machine)?.frozen();
    let exporter = node.start(&[])?;
    let before = exporter.settled()?;
    node.control(&all([Fault::garbage(Garbage::Absurd).device(0).call("nvmlDeviceGet*")]))?;
    exporter.until("it is down", |samples| {
        ensure!(samples.value("accel_device_up", &gpu0)? == 0.0);
        Ok(())
    })?;
    node.control(&Control::default())?;
    until_back(&NVIDIA, &exporter, 0, &before)
}

#[test]
fn a_text_without_an_end_is_not_read_past_its_buffer() -> Result<()> {
    let node = Node::new(NVIDIA.machine)?;
    let exporter = node.start(&[])?;
    let before = exporter.settled()?;
    node.control(&one_fault(Fault::garbage(Garbage::Endless).device(3)))?;
    until_withdrawn(&NVIDIA, &exporter, 3)?;
    ensure!(exporter.scrape()?.faults("failed", "nvmlDeviceGetUUID", "bad_string") >= 1.0);
    others_are_fresh(&NVIDIA, &exporter, 3)?;
    node.control(&Control::default())?;
    until_back(&NVIDIA, &exporter, 3, &before)
}
