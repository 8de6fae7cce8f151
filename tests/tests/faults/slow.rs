//! Drivers that are slow in every call, and optional calls that do not return: older values with their age, and no
//! device down.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use e2e::{Exporter, Node, Samples};
use sim::{Control, control::Fault};

use super::{
    is_up, one_fault, others_are_fresh, until_back,
    vendor::{GAUDI, KERNEL, LEVEL_ZERO, NVIDIA, Vendor},
};

/// Eight devices by a driver that needs so many milliseconds in each call. Each of them is read whole, again and
/// again, and none is down meanwhile.
fn a_slow_driver_costs_age_alone(vendor: &Vendor, milliseconds: &[f64]) -> Result<()> {
    let node = Node::new(vendor.machine)?;
    let exporter = node.start(vendor.flags)?;
    let before = exporter.settled()?;
    let energies = |samples: &Samples| -> Result<Vec<f64>> {
        let devices = (0..8).map(|device| vendor.device(device));
        devices.map(|device| samples.value("accel_energy_joules_total", &[("device", &device)])).collect()
    };
    let mut first = energies(&exporter.scrape()?)?;
    for milliseconds in milliseconds {
        node.control(&one_fault(Fault::slow(*milliseconds)))?;
        for _ in 0..2 {
            first = exporter.until(&format!("whole rounds at {milliseconds} ms a call"), |samples| {
                ensure!(samples.sum("accel_device_up", &[]) == 8.0, "a device is down");
                ensure!(
                    samples.value("accelscope_stuck_threads", &vendor.source)? == 0.0,
                    "a thread is stuck"
                );
                let now = energies(samples)?;
                ensure!(now.iter().zip(&first).all(|(now, first)| now > first), "{first:?}, then {now:?}");
                Ok(now)
            })?;
        }
    }
    let age = exporter.scrape()?.value("accelscope_snapshot_age_seconds", &vendor.source)?;
    ensure!(age > 0.5, "the age shows that the values are older: {age} s");
    node.control(&Control::default())?;
    (0..8).try_for_each(|device| until_back(vendor, &exporter, device, &before))
}

#[test]
fn a_slow_nvml_costs_age_alone() -> Result<()> {
    a_slow_driver_costs_age_alone(&NVIDIA, &[10.0, 30.0])
}

#[test]
fn a_slow_hlml_that_eight_cards_share_costs_age_alone() -> Result<()> {
    a_slow_driver_costs_age_alone(&GAUDI, &[4.0, 10.0, 30.0])
}

#[test]
fn a_slow_level_zero_costs_age_alone() -> Result<()> {
    a_slow_driver_costs_age_alone(&LEVEL_ZERO, &[10.0, 30.0])
}

/// Waits until a hang of a device is counted, and checks that the device is up and has the age of what is not read.
fn until_read_in_part(vendor: &Vendor, exporter: &Exporter, device: usize) -> Result<()> {
    let labels = [("device", &*vendor.device(device))];
    exporter.until("the hang is counted, and the device is read on", |samples| {
        ensure!(is_up(vendor, samples, device)?, "it is down");
        ensure!(samples.faults("timed_out", "sample", "deadline") > 0.0, "the hang is not counted");
        ensure!(samples.value("accelscope_stuck_threads", &vendor.source)? == 1.0);
        let age = samples.value("accel_slow_readings_age_seconds", &labels)?;
        ensure!(age > 3.0, "{age} s old");
        Ok(())
    })
}

/// A call about device 5 that no board needs to be up does not return.
fn a_hang_in_an_optional_call_costs_what_it_reads(vendor: &Vendor, call: &str) -> Result<()> {
    // Without work the power is the same for minutes.
    let node = Node::new(vendor.machine)?.workload("decode");
    let exporter = node.start(vendor.flags)?;
    let before = exporter.settled()?;
    node.control(&one_fault(Fault::hang().device(5).call(call)))?;
    until_read_in_part(vendor, &exporter, 5)?;
    let device = vendor.device(5);
    let power = |samples: &Samples| samples.value("accel_power_watts", &[("device", &device)]);
    let first = power(&exporter.scrape()?)?;
    exporter.until("its power changes", |samples| {
        ensure!(samples.sum("accel_device_up", &[]) == 8.0, "a device is down");
        ensure!(power(samples)? != first, "as before");
        Ok(())
    })?;
    others_are_fresh(vendor, &exporter, 5)?;
    node.control(&Control::default())?;
    until_back(vendor, &exporter, 5, &before)
}

#[test]
fn a_hang_in_an_optional_call_of_nvml_costs_what_it_reads() -> Result<()> {
    // One that is made by one thread at a time, and one that is not.
    for call in ["nvmlDeviceGetFieldValues", "nvmlDeviceGetGpuFabricInfoV"] {
        a_hang_in_an_optional_call_costs_what_it_reads(&NVIDIA, call)?;
    }
    Ok(())
}

#[test]
fn a_hang_in_an_optional_call_of_hlml_costs_what_it_reads() -> Result<()> {
    a_hang_in_an_optional_call_costs_what_it_reads(&GAUDI, "hlml_device_get_total_ecc_errors")
}

#[test]
fn a_sensor_that_hangs_costs_what_it_reads() -> Result<()> {
    let node = Node::new(KERNEL.machine)?.only("xpu").frozen();
    let exporter = node.start(KERNEL.flags)?;
    let before = exporter.settled()?;
    let sensor = node.sysfs().join("bus/pci/devices/0000:03:00.0/hwmon/hwmon4/temp2_input");
    let (whole, pipe, staged) = (fs::read(&sensor)?, node.dir().join("pipe"), node.dir().join("staged"));
    // A driver that does not return: who opens a pipe waits for its other end.
    ensure!(Command::new("mkfifo").arg(&pipe).status()?.success());
    fs::hard_link(&pipe, &staged)?;
    fs::rename(&staged, &sensor)?;
    until_read_in_part(&KERNEL, &exporter, 0)?;
    ensure!(exporter.scrape()?.has("accel_clock_hertz", &[("device", &KERNEL.device(0))]));
    fs::write(&staged, &whole)?;
    fs::rename(&staged, &sensor)?;
    fs::write(&pipe, &whole)?;
    until_back(&KERNEL, &exporter, 0, &before)
}

/// A file of the kernel that what is optional comes from does not return: rounds go on, with everything else as new as
/// ever.
fn a_file_beside_the_rounds_that_hangs_costs_its_own_series(
    (machine, family, flags): (&str, &str, &[&str]),
    file: &str,
    (lost, kept): (&str, &str),
) -> Result<()> {
    let node = Node::new(machine)?.only(family).frozen();
    let exporter = node.start(&[flags, &["--interval", "200ms"]].concat())?;
    let before = exporter.settled()?;
    let count = before.all(lost, &[]).count();
    let (file, pipe, staged) = (node.sysfs().join(file), node.dir().join("pipe"), node.dir().join("staged"));
    let whole = fs::read(&file)?;
    ensure!(Command::new("mkfifo").arg(&pipe).status()?.success());
    fs::hard_link(&pipe, &staged)?;
    fs::rename(&staged, &file)?;
    exporter.until("the old value is shown with its age", |samples| {
        let age =
            samples.all("accel_slow_readings_age_seconds", &[]).map(|age| age.value).fold(0.0, f64::max);
        ensure!(age > 1.0, "{age} s old");
        ensure!(samples.all(lost, &[]).count() == count, "withdrawn at once");
        Ok(())
    })?;
    exporter.until("it is withdrawn", |samples| {
        ensure!(samples.all(lost, &[]).count() < count, "{lost} stays");
        ensure!(!samples.has("accel_slow_readings_age_seconds", &[]));
        Ok(())
    })?;
    let source = [("source", family)];
    let rounds = |samples: &Samples| samples.value("accelscope_sample_duration_seconds_count", &source);
    let start = rounds(&exporter.scrape()?)?;
    exporter.until("rounds go on as before", |samples| {
        ensure!(rounds(samples)? > start + 10.0 * samples.value("accel_devices", &[("family", family)])?);
        ensure!(samples.value("accelscope_stuck_threads", &source)? == 0.0);
        ensure!(samples.value("accelscope_snapshot_age_seconds", &source)? < 2.0);
        ensure!(samples.all(kept, &[]).count() == before.all(kept, &[]).count(), "{kept} is missing");
        Ok(())
    })?;
    fs::write(&staged, &whole)?;
    fs::rename(&staged, &file)?;
    fs::write(&pipe, &whole)?;
    exporter.until("it is back", |samples| {
        ensure!(samples.all(lost, &[]).count() == count);
        Ok(())
    })
}

#[test]
fn the_files_of_a_process_that_hang_cost_the_load_alone() -> Result<()> {
    let node = Node::new(KERNEL.machine)?.only("xpu").frozen();
    let exporter = node.start(KERNEL.flags)?;
    exporter.settled()?;
    let processes = node.sysfs().join("proc");
    let mut open = Vec::new();
    for process in fs::read_dir(&processes)? {
        let fdinfo = process?.path().join("fdinfo/9");
        open.extend(fdinfo.exists().then_some(fdinfo));
    }
    open.sort();
    let file = open.first().context("a client")?.strip_prefix(node.sysfs())?.to_owned();
    a_file_beside_the_rounds_that_hangs_costs_its_own_series(
        (KERNEL.machine, "xpu", KERNEL.flags),
        file.to_str().context("UTF-8")?,
        ("accel_compute_processes", "accel_temperature_celsius"),
    )
}

#[test]
fn the_clock_of_a_core_that_hangs_costs_the_sockets_clock_alone() -> Result<()> {
    a_file_beside_the_rounds_that_hangs_costs_its_own_series(
        ("xeon6-amx", "amx", &[]),
        "devices/system/cpu/cpu3/cpufreq/scaling_cur_freq",
        ("accel_clock_hertz", "accel_power_watts"),
    )
}
