//! What goes wrong below the exporter, and what it costs: one test per fault, each with the real binary on
//! a simulated machine that is broken while it runs. Wrong flags and files are in `cli.rs`, hostile clients
//! in `hostile.rs`.
//!
//! "Unharmed" is never taken on trust: the series of the other devices are compared one by one, and their
//! energy counters must move.

#![expect(clippy::float_cmp, reason = "flags and counts are printed and parsed exactly")]

mod identity;
mod implausible;
mod nvml;
mod slow;
mod vendor;

use std::{
    collections::BTreeSet,
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use e2e::{Exporter, Node, Samples};
use identity::{a_lost_device_keeps_its_errors, without_a_driver_what_is_on_the_bus_is_counted};
use sim::{
    Control, Profile,
    control::{DriverState, Fault},
    kernel::Tree,
    library::strip_symbols,
};
use vendor::{
    GAUDI, GAUDI_ISOLATED, KERNEL, LEVEL_ZERO, LEVEL_ZERO_IN_PROCESS, NVIDIA, NVIDIA_ISOLATED, Vendor,
};

/// Faults that a vendor's source bears like the others: a test of each.
macro_rules! rows {
    ($family:ident = $vendor:ident: $($row:ident)*) => {
        mod $family {$(
            #[test]
            fn $row() -> anyhow::Result<()> {
                super::$row(&super::$vendor)
            }
        )*}
    };
    ($($family:ident = $vendor:ident,)*) => {$(
        rows! {
            $family = $vendor:
            without_a_device_it_runs_says_so_and_finds_them_later
            a_missing_symbol_costs_its_own_metric
            a_failing_call_costs_its_series_for_as_long_as_it_fails
            a_lost_device_takes_no_other_with_it
            a_lost_device_keeps_its_errors
            without_a_driver_what_is_on_the_bus_is_counted
            a_hang_costs_one_thread_and_one_device
            a_slow_call_is_waited_for
            a_driver_reload_needs_no_restart
            a_device_that_is_plugged_in_is_found
            garbage_is_dropped_and_counted
            sigterm_ends_it_in_order
        }
    )*};
}

rows! {
    nvidia = NVIDIA,
    gaudi = GAUDI,
    xpu_level_zero = LEVEL_ZERO,
}
rows! {
    nvidia_isolated = NVIDIA_ISOLATED,
    gaudi_isolated = GAUDI_ISOLATED,
    xpu_level_zero_in_process = LEVEL_ZERO_IN_PROCESS,
}
rows! {
    xpu_kernel = KERNEL:
    without_a_device_it_runs_says_so_and_finds_them_later
    a_lost_device_takes_no_other_with_it
    a_lost_device_keeps_its_errors
    without_a_driver_what_is_on_the_bus_is_counted
    a_driver_reload_needs_no_restart
    a_device_that_is_plugged_in_is_found
}

fn one_fault(fault: Fault) -> Control {
    Control { fault: vec![fault], ..Control::default() }
}

fn is_up(vendor: &Vendor, samples: &Samples, device: usize) -> Result<bool> {
    Ok(samples.value("accel_device_up", &[("device", &vendor.device(device))])? > 0.0)
}

/// Waits until a device is down and has no series but those that say so, what it is, and its errors.
fn until_withdrawn(vendor: &Vendor, exporter: &Exporter, device: usize) -> Result<()> {
    exporter.until(&format!("{} is withdrawn", vendor.device(device)), |samples| {
        ensure!(!is_up(vendor, samples, device)?, "it is up");
        let left = samples.measured_of(device);
        ensure!(left.is_empty(), "left: {left:?}");
        let info = samples.all("accel_device_info", &[("device", &vendor.device(device))]).count();
        ensure!(info == 1, "{info} times what it is");
        Ok(())
    })
}

/// Waits until a device is up and has the series that it had.
fn until_back(vendor: &Vendor, exporter: &Exporter, device: usize, before: &Samples) -> Result<()> {
    let before = before.of_device(device);
    exporter.until(&format!("{} is back", vendor.device(device)), |samples| {
        ensure!(is_up(vendor, samples, device)?, "it is down");
        let now = samples.of_device(device);
        ensure!(now == before, "{:?}", now.symmetric_difference(&before).collect::<Vec<_>>());
        Ok(())
    })
}

/// All devices but `broken` are up and are being read: their energy counters move from here on.
fn others_are_fresh(vendor: &Vendor, exporter: &Exporter, broken: usize) -> Result<()> {
    let energies = |samples: &Samples| -> Result<Vec<f64>> {
        let others = (0..8).filter(|device| *device != broken).map(|device| vendor.device(device));
        others.map(|device| samples.value("accel_energy_joules_total", &[("device", &device)])).collect()
    };
    let before = energies(&exporter.scrape()?)?;
    exporter.until("the other seven are read", |samples| {
        let now = energies(samples)?;
        ensure!(before.iter().zip(&now).all(|(before, now)| now > before), "{before:?}, then {now:?}");
        Ok(())
    })
}

#[test]
fn without_a_library_it_runs_says_why_and_finds_it_later() -> Result<()> {
    let node = Node::new(NVIDIA.machine)?;
    let aside = node.dir().join("aside");
    fs::rename(node.library(), &aside)?;
    let exporter = node.start(&[])?;
    exporter.until("the source is down", |samples| {
        ensure!(samples.value("accelscope_source_up", &NVIDIA.source)? == 0.0);
        ensure!(!samples.has("accel_device_up", &[]));
        Ok(())
    })?;
    exporter.get("/-/healthy")?.ok()?;
    let page = exporter.get("/")?.ok()?;
    ensure!(page.text()?.contains("libnvidia-ml.so.1"), "no reason: {}", page.text()?);

    let probe = node.run("probe", &[])?;
    ensure!(probe.code == Some(3) && probe.stdout.contains("libnvidia-ml.so.1"), "{probe:?}");

    let attempts = |samples: &Samples| samples.value("accelscope_source_connects_total", &NVIDIA.source);
    exporter.until("it tries again", |samples| {
        ensure!(attempts(samples)? >= 3.0);
        Ok(())
    })?;
    let told = exporter.process.log().lines().filter(|line| line.contains("libnvidia-ml.so.1")).count();
    ensure!(told == 1, "{told} lines about the library, for one change of state");

    fs::rename(&aside, node.library())?;
    exporter.until("the devices are found", |samples| {
        ensure!(samples.value("accelscope_source_up", &NVIDIA.source)? == 1.0);
        ensure!(samples.sum("accel_device_up", &[]) == 8.0);
        Ok(())
    })
}

fn without_a_device_it_runs_says_so_and_finds_them_later(vendor: &Vendor) -> Result<()> {
    let node = Node::new(vendor.machine)?;
    node.control(&Control { hidden: (0..8).collect(), ..Control::default() })?;
    let exporter = node.start(vendor.flags)?;
    exporter.until("the source is down", |samples| {
        ensure!(samples.value("accelscope_source_up", &vendor.source)? == 0.0);
        ensure!(!samples.has("accel_device_up", &[]));
        Ok(())
    })?;
    exporter.get("/-/ready")?.ok()?;
    ensure!(node.run("probe", vendor.flags)?.code == Some(3));

    node.control(&Control::default())?;
    exporter.until("the devices are found", |samples| {
        ensure!(samples.value("accelscope_source_up", &vendor.source)? == 1.0);
        ensure!(samples.sum("accel_device_up", &[]) == 8.0);
        Ok(())
    })
}

fn a_missing_symbol_costs_its_own_metric(vendor: &Vendor) -> Result<()> {
    let series = |strip: &[&str]| -> Result<(BTreeSet<String>, Samples)> {
        let node = Node::new(vendor.machine)?.frozen();
        let whole = node.dir().join("whole");
        fs::rename(node.library(), &whole)?;
        strip_symbols(&whole, &node.library(), strip)?;
        let samples = node.start(vendor.flags)?.settled()?;
        let of_devices = samples.samples.iter().filter(|sample| !sample.label("device").is_empty());
        Ok((of_devices.map(|sample| sample.series.clone()).collect(), samples))
    };
    let (whole, _) = series(&[])?;
    let (symbols, costs) = vendor.missing;
    let (old, samples) = series(symbols)?;
    let names = |series: &str| series.split('{').next().unwrap_or_default().to_owned();
    let lost: BTreeSet<_> = whole.difference(&old).map(|series| names(series)).collect();
    assert_eq!(lost.iter().map(String::as_str).collect::<Vec<_>>(), costs);
    assert!(old.is_subset(&whole), "{:?}", old.difference(&whole).collect::<Vec<_>>());
    assert_eq!(samples.faults("unsupported", symbols[0], "symbol_missing"), 8.0, "counted once per device");
    Ok(())
}

fn a_failing_call_costs_its_series_for_as_long_as_it_fails(vendor: &Vendor) -> Result<()> {
    let node = Node::new(vendor.machine)?;
    let exporter = node.start(vendor.flags)?;
    let before = exporter.settled()?;
    node.control(&one_fault(Fault::error(vendor.unknown.0).device(2).call(vendor.call)))?;
    let count = |samples: &Samples| samples.faults("failed", vendor.call, vendor.unknown.1);
    let broken = exporter.until("the series is absent", |samples| {
        ensure!(!samples.has("accel_power_watts", &[("device", &vendor.device(2))]));
        Ok(samples.clone())
    })?;
    let series = |samples: &Samples, device| -> BTreeSet<String> {
        samples.of_device(device).into_iter().map(str::to_owned).collect()
    };
    for device in 0..8 {
        let (before, now) = (series(&before, device), series(&broken, device));
        let expected = if device == 2 { &vendor.series[..] } else { &[] };
        let lost =
            before.symmetric_difference(&now).map(|series| series.split('{').next().unwrap_or_default());
        assert_eq!(lost.collect::<Vec<_>>(), expected, "{}", vendor.device(device));
    }
    assert!(count(&before) == 0.0 && count(&broken) >= 1.0);
    exporter.until("each failure is counted", |samples| {
        ensure!(count(samples) > count(&broken));
        Ok(())
    })?;
    node.control(&Control::default())?;
    until_back(vendor, &exporter, 2, &before)
}

fn a_lost_device_takes_no_other_with_it(vendor: &Vendor) -> Result<()> {
    let node = Node::new(vendor.machine)?;
    let exporter = node.start(vendor.flags)?;
    let before = exporter.settled()?;
    node.control(&one_fault(Fault::lost().device(3)))?;
    until_withdrawn(vendor, &exporter, 3)?;
    others_are_fresh(vendor, &exporter, 3)?;
    // It is still said to be down after the driver's list has been read again: an alert must not resolve.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(7) {
        let samples = exporter.scrape()?;
        ensure!(!is_up(vendor, &samples, 3)? && samples.sum("accel_device_up", &[]) == 7.0);
        thread::sleep(Duration::from_millis(200));
    }
    node.control(&Control::default())?;
    until_back(vendor, &exporter, 3, &before)
}

fn a_hang_costs_one_thread_and_one_device(vendor: &Vendor) -> Result<()> {
    let node = Node::new(vendor.machine)?;
    let exporter = node.start(vendor.flags)?;
    let before = exporter.settled()?;
    let threads = exporter.process.threads()?;
    node.control(&one_fault(Fault::hang().device(5)))?;
    until_withdrawn(vendor, &exporter, 5)?;

    // Long after the deadline of 2 s there is still the one thread, and nothing else stands still.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(9) {
        let samples = exporter.scrape()?;
        ensure!(!is_up(vendor, &samples, 5)?);
        ensure!(samples.value("accelscope_stuck_threads", &vendor.source)? == 1.0);
        thread::sleep(Duration::from_millis(200));
    }
    others_are_fresh(vendor, &exporter, 5)?;
    let now = exporter.process.threads()?;
    // The standby, which the source had no need of before.
    ensure!(now <= threads + 1, "{threads} threads became {now}");
    let told = exporter.process.log().lines().filter(|line| line.contains(&vendor.device(5))).count();
    ensure!(told <= 2, "{told} lines about one change of state");

    node.control(&Control::default())?;
    until_back(vendor, &exporter, 5, &before)?;
    exporter.until("no thread is stuck", |samples| {
        ensure!(samples.value("accelscope_stuck_threads", &vendor.source)? == 0.0);
        Ok(())
    })
}

fn a_slow_call_is_waited_for(vendor: &Vendor) -> Result<()> {
    let node = Node::new(vendor.machine)?;
    let exporter = node.start(vendor.flags)?;
    let before = exporter.settled()?;
    node.control(&one_fault(Fault::slow(700.0).device(1).call(vendor.call)))?;
    exporter.until("slow samples are seen", |samples| {
        let slow = |bound| samples.value("accelscope_sample_duration_seconds_bucket", &[("le", bound)]);
        ensure!(slow("+Inf")? > slow("0.5")?);
        Ok(())
    })?;
    until_back(vendor, &exporter, 1, &before)?;
    ensure!(exporter.scrape()?.value("accelscope_stuck_threads", &vendor.source)? == 0.0);
    Ok(())
}

fn a_driver_reload_needs_no_restart(vendor: &Vendor) -> Result<()> {
    let node = Node::new(vendor.machine)?;
    let exporter = node.start(vendor.flags)?;
    let before = exporter.settled()?;
    node.control(&Control { driver: Some(DriverState::Unloaded), ..Control::default() })?;
    exporter.until("the source is down and its series are gone", |samples| {
        ensure!(samples.value("accelscope_source_up", &vendor.source)? == 0.0);
        ensure!(!samples.has("accel_energy_joules_total", &[]));
        Ok(())
    })?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64();
    node.control(&Control { driver_epoch: Some(1), driver_loaded_at: Some(now), ..Control::default() })?;
    for device in 0..8 {
        until_back(vendor, &exporter, device, &before)?;
    }
    let energy = |samples: &Samples| samples.sum("accel_energy_joules_total", &[]);
    let goes_on = energy(&exporter.scrape()?) > energy(&before);
    ensure!(goes_on == vendor.sums_energy, "the new driver counts from 0");
    Ok(())
}

fn a_device_that_is_plugged_in_is_found(vendor: &Vendor) -> Result<()> {
    let node = Node::new(vendor.machine)?;
    let profile = Profile::open(vendor.machine)?;
    node.control(&Control { hidden: vec![7], ..Control::default() })?;
    let mut bus = (!vendor.shows_bus).then(|| Tree::new(&node.sysfs())).transpose()?;
    let mut show = |hidden: &[usize]| -> Result<()> {
        let Some(bus) = &mut bus else { return Ok(()) };
        Ok(bus.show(sim::bus::files(&profile, hidden))?)
    };
    show(&[7])?;
    let exporter = node.start(vendor.flags)?;
    let family = [("family", vendor.source[0].1)];
    let devices = |samples: &Samples, name: &str| samples.value(name, &family);
    exporter.until("seven are found", |samples| {
        ensure!(devices(samples, "accel_devices")? == 7.0);
        ensure!(devices(samples, "accel_devices_expected")? == 7.0);
        Ok(())
    })?;
    if !vendor.shows_bus {
        // The bus shows it first; what the driver does not list yet is a difference that can be alerted on.
        show(&[])?;
        exporter.until("eight are expected", |samples| {
            ensure!(devices(samples, "accel_devices_expected")? == 8.0);
            ensure!(devices(samples, "accel_devices")? == 7.0);
            Ok(())
        })?;
    }
    node.control(&Control::default())?;
    exporter.until("eight are found", |samples| {
        ensure!(devices(samples, "accel_devices")? == 8.0);
        ensure!(devices(samples, "accel_devices_expected")? == 8.0);
        ensure!(samples.sum("accel_device_up", &[]) == 8.0);
        ensure!(samples.has("accel_power_watts", &[("device", &vendor.device(7))]));
        Ok(())
    })
}

fn garbage_is_dropped_and_counted(vendor: &Vendor) -> Result<()> {
    let node = Node::new(vendor.machine)?;
    let exporter = node.start(vendor.flags)?;
    let before = exporter.settled()?;
    for (garbage, call, metric, labels, code) in vendor.garbage {
        let about = format!("{metric} {code}");
        node.control(&one_fault(Fault::garbage(*garbage).call(call).device(0)))?;
        let devices = [vendor.device(0), vendor.device(1)];
        let [broken, healthy] =
            devices.each_ref().map(|name| [&[("device", name.as_str())], *labels].concat());
        exporter.until(&format!("{about}: dropped and counted"), |samples| {
            ensure!(!samples.has(metric, &broken), "still there");
            let counted =
                samples.sum("accelscope_source_faults_total", &[("kind", "no_data"), ("code", code)]);
            ensure!(counted > 0.0, "not counted");
            ensure!(samples.has(metric, &healthy), "gone from a healthy device");
            Ok(())
        })?;
        node.control(&Control::default())?;
        until_back(vendor, &exporter, 0, &before)?;
    }
    Ok(())
}

fn sigterm_ends_it_in_order(vendor: &Vendor) -> Result<()> {
    let hung = one_fault(Fault::hang().device(0));
    for control in [Control::default(), hung] {
        let node = Node::new(vendor.machine)?;
        let exporter = node.start(vendor.flags)?;
        exporter.settled()?;
        let is_hung = !control.fault.is_empty();
        node.control(&control)?;
        if is_hung {
            until_withdrawn(vendor, &exporter, 0)?;
        }
        exporter.ends_in_order()?;
    }
    Ok(())
}
