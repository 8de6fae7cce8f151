//! What goes wrong below the exporter, and what it costs: one test per fault, each with the real binary on
//! a simulated machine that is broken while it runs. Wrong flags and files are in `cli.rs`, hostile clients
//! in `hostile.rs`.
//!
//! "Unharmed" is never taken on trust: the series of the other devices are compared one by one, and their
//! energy counters must move.

#![expect(clippy::float_cmp, reason = "flags and counts are printed and parsed exactly")]

mod vendor;

use std::{
    collections::BTreeSet,
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use e2e::{Exporter, Node, Samples};
use sim::{
    Control, Profile,
    control::{DriverState, Ecc, Fault, Link, Mig, Scope, Severity, Xid},
    kernel::Tree,
    library::strip_symbols,
};
use vendor::{GAUDI, NVIDIA, Vendor};

/// Faults that every vendor's source bears alike: a test of each for each.
macro_rules! rows {
    ($($row:ident)*) => {
        mod nvidia {$(
            #[test]
            fn $row() -> anyhow::Result<()> {
                super::$row(&super::NVIDIA)
            }
        )*}
        mod gaudi {$(
            #[test]
            fn $row() -> anyhow::Result<()> {
                super::$row(&super::GAUDI)
            }
        )*}
    };
}

rows! {
    without_a_device_it_runs_says_so_and_finds_them_later
    a_missing_symbol_costs_its_own_metric
    a_failing_call_costs_its_series_for_as_long_as_it_fails
    a_lost_device_takes_no_other_with_it
    a_hang_costs_one_thread_and_one_device
    a_slow_call_is_waited_for
    a_driver_reload_needs_no_restart
    a_device_that_is_plugged_in_is_found
    garbage_is_dropped_and_counted
    sigterm_ends_it_in_order
}

fn one_fault(fault: Fault) -> Control {
    Control { fault: vec![fault], ..Control::default() }
}

fn is_up(vendor: &Vendor, samples: &Samples, device: usize) -> Result<bool> {
    Ok(samples.value("accel_device_up", &[("device", &vendor.device(device))])? > 0.0)
}

/// Waits until a device is down and has no series but the one that says so.
fn until_withdrawn(vendor: &Vendor, exporter: &Exporter, device: usize) -> Result<()> {
    exporter.until(&format!("{} is withdrawn", vendor.device(device)), |samples| {
        ensure!(!is_up(vendor, samples, device)?, "it is up");
        let left = samples.of_device(device);
        ensure!(left.len() == 1, "left: {left:?}");
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
    let exporter = node.start(&[])?;
    exporter.until("the source is down", |samples| {
        ensure!(samples.value("accelscope_source_up", &vendor.source)? == 0.0);
        ensure!(!samples.has("accel_device_up", &[]));
        Ok(())
    })?;
    exporter.get("/-/ready")?.ok()?;
    ensure!(node.run("probe", &[])?.code == Some(3));

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
        let samples = node.start(&[])?.settled()?;
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
    let exporter = node.start(&[])?;
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
    let exporter = node.start(&[])?;
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
    let exporter = node.start(&[])?;
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
    ensure!(now <= threads, "{threads} threads became {now}");
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
    let exporter = node.start(&[])?;
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
    let exporter = node.start(&[])?;
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
    ensure!(energy(&exporter.scrape()?) < energy(&before), "the new driver counts from 0");
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
    let exporter = node.start(&[])?;
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
    let exporter = node.start(&[])?;
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

#[test]
fn instances_come_and_go_while_it_runs() -> Result<()> {
    let node = Node::new("h100-sxm-4")?;
    let exporter = node.start(&[])?;
    exporter.settled()?;
    let cut = |instances: &[&str]| Control {
        mig: vec![Mig {
            device: 1,
            enabled: !instances.is_empty(),
            instances: instances.iter().map(|name| (*name).to_owned()).collect(),
        }],
        ..Control::default()
    };
    let partitions = |samples: &Samples| -> BTreeSet<String> {
        let memory = samples.all("accel_memory_total_bytes", &[("device", "gpu1")]);
        memory.map(|sample| sample.label("partition").to_owned()).filter(|name| !name.is_empty()).collect()
    };
    ensure!(partitions(&exporter.scrape()?).is_empty());

    node.control(&cut(&["3g.40gb", "2g.20gb"]))?;
    exporter.until("two instances", |samples| {
        ensure!(partitions(samples).len() == 2, "{:?}", partitions(samples));
        ensure!(samples.value("accel_mig_enabled", &[("device", "gpu1"), ("partition", "")])? == 1.0);
        for profile in ["3g.40gb", "2g.20gb"] {
            let labels = [("gpu", "1"), ("GPU_I_PROFILE", profile)];
            let id = samples.all("DCGM_FI_DEV_FB_USED", &labels).map(|sample| sample.label("GPU_I_ID"));
            ensure!(id.filter(|id| !id.is_empty()).count() == 1, "{profile}");
            ensure!(samples.has("DCGM_FI_PROF_SM_ACTIVE", &labels), "{profile} is not profiled");
        }
        Ok(())
    })?;
    node.control(&cut(&["1g.10gb"]))?;
    exporter.until("one other instance", |samples| {
        ensure!(partitions(samples).len() == 1);
        ensure!(samples.has("DCGM_FI_DEV_FB_USED", &[("gpu", "1"), ("GPU_I_PROFILE", "1g.10gb")]));
        Ok(())
    })?;
    // Another in its place gets its ids and with them its UUID.
    node.control(&cut(&["1g.10gb+me"]))?;
    let replaced = [("gpu", "1"), ("GPU_I_ID", "7")];
    exporter.until("the instance in its place", |samples| {
        ensure!(samples.value("DCGM_FI_DEV_XID_ERRORS", &replaced)? == 0.0);
        let profile =
            samples.all("DCGM_FI_DEV_FB_USED", &replaced).map(|sample| sample.label("GPU_I_PROFILE"));
        ensure!(profile.eq(["1g.10gb+me"]), "it has the profile of the one before it");
        ensure!(samples.has("DCGM_FI_PROF_SM_ACTIVE", &replaced));
        ensure!(!samples.has("DCGM_FI_PROF_PCIE_TX_BYTES", &replaced), "the link is the device's");
        Ok(())
    })?;
    let event = Xid { id: 1, device: 1, code: 31, gpu_instance: Some(7), ..Xid::default() };
    node.control(&Control { xid: vec![event], ..cut(&["1g.10gb+me"]) })?;
    exporter.until("its XID is told", |samples| {
        ensure!(samples.value("DCGM_FI_DEV_XID_ERRORS", &replaced)? == 31.0);
        let instance = [("device", "gpu1"), ("partition", "gi7")];
        ensure!(samples.value("accel_errors_total", &instance)? == 1.0);
        ensure!(samples.has("accel_error_last_timestamp_seconds", &instance));
        let device = [("device", "gpu1"), ("partition", ""), ("kind", "xid"), ("code", "31")];
        ensure!(samples.value("accel_errors_total", &device)? == 0.0, "it is not the device's as a whole");
        Ok(())
    })?;
    node.control(&cut(&[]))?;
    exporter.until("whole again", |samples| {
        ensure!(partitions(samples).is_empty());
        ensure!(samples.value("accel_mig_enabled", &[("device", "gpu1")])? == 0.0);
        ensure!(samples.has("accel_utilization_ratio", &[("device", "gpu1")]));
        Ok(())
    })
}

#[test]
fn an_xid_is_told_in_three_spellings_from_a_counter_that_was_there() -> Result<()> {
    let node = Node::new("h100-sxm-4")?;
    let exporter = node.start(&[])?;
    let before = exporter.settled()?;
    let unified = [("device", "gpu1"), ("kind", "xid"), ("code", "79")];
    assert_eq!(before.value("accel_errors_total", &unified)?, 0.0, "increase() sees the first one");
    assert_eq!(before.value("DCGM_FI_DEV_XID_ERRORS", &[("gpu", "1")])?, 0.0, "absent until the first one");
    assert!(!before.has("accel_error_last_timestamp_seconds", &[]));

    let event = Xid { id: 1, device: 1, code: 79, ..Xid::default() };
    node.control(&Control { xid: vec![event.clone()], ..Control::default() })?;
    let told = exporter.until("the event is told", |samples| {
        ensure!(samples.value("accel_errors_total", &unified)? == 1.0);
        Ok(samples.clone())
    })?;
    assert_eq!(told.value("DCGM_FI_DEV_XID_ERRORS", &[("gpu", "1"), ("err_code", "79")])?, 79.0);
    assert_eq!(told.value("DCGM_EXP_XID_ERRORS_TOTAL", &[("gpu", "1"), ("xid", "79")])?, 1.0);
    let message =
        told.all("DCGM_FI_DEV_XID_ERRORS", &[("gpu", "1")]).next().map(|sample| sample.label("err_msg"));
    assert!(message.is_some_and(|message| message.len() > 5), "{message:?}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64();
    let at = told.value("accel_error_last_timestamp_seconds", &[("device", "gpu1"), ("kind", "xid")])?;
    assert!((now - at).abs() < 120.0, "{at} is not about {now}");
    assert_eq!(
        told.value("accel_errors_total", &[("device", "gpu0"), ("kind", "xid"), ("code", "79")])?,
        0.0
    );

    // The same code again: a gauge of the last code would hide it.
    let again = Xid { id: 2, ..event.clone() };
    node.control(&Control { xid: vec![event, again], ..Control::default() })?;
    exporter.until("the repeat is counted", |samples| {
        ensure!(samples.value("accel_errors_total", &unified)? == 2.0);
        Ok(())
    })
}

#[test]
fn an_xid_of_a_device_that_is_lost_is_counted_and_the_others_are_still_heard() -> Result<()> {
    let node = Node::new("h100-sxm-4")?;
    let exporter = node.start(&[])?;
    exporter.settled()?;
    let counted = |samples: &Samples, device, code| {
        samples.value("accel_errors_total", &[("device", device), ("kind", "xid"), ("code", code)])
    };
    let until_counted = |device, code| {
        exporter.until(&format!("XID {code} of {device} is counted"), |samples| {
            ensure!(counted(samples, device, code)? == 1.0);
            Ok(())
        })
    };
    let down = |samples: &Samples| -> Result<()> {
        ensure!(samples.value("accel_device_up", &[("device", "gpu1")])? == 0.0);
        Ok(())
    };
    // The board cannot be asked who it is any more, and the wait for events fails while it is waited for.
    let fell = Xid { id: 1, device: 1, code: 79, ..Xid::default() };
    let fault = vec![Fault::lost().device(1)];
    let mut control = Control { xid: vec![fell], fault, ..Control::default() };
    node.control(&control)?;
    exporter.until("it is withdrawn", down)?;
    control.xid.push(Xid { id: 2, device: 0, code: 31, ..Xid::default() });
    node.control(&control)?;
    until_counted("gpu0", "31")?;
    for _ in 0..20 {
        let samples = exporter.scrape()?;
        down(&samples)?;
        ensure!(counted(&samples, "gpu0", "31")? == 1.0);
        thread::sleep(Duration::from_millis(100));
    }
    control.fault.clear();
    node.control(&control)?;
    until_counted("gpu1", "79")?;
    control.xid.push(Xid { id: 3, device: 1, code: 31, ..Xid::default() });
    node.control(&control)?;
    until_counted("gpu1", "31")
}

#[test]
fn calls_that_are_not_thread_safe_are_made_one_at_a_time() -> Result<()> {
    for call in ["nvmlGpmSampleGet", "nvmlDeviceGetFieldValues"] {
        let node = Node::new("h100-sxm-4")?;
        let exporter = node.start(&[])?;
        exporter.settled()?;
        node.control(&one_fault(Fault::slow(200.0).call(&format!("{call}*"))))?;
        // Four devices, all on the same tick: together they would all be done after 0.2 s.
        exporter.until(&format!("the last waits for the others' {call}"), |samples| {
            let done = |bound| samples.value("accelscope_sample_duration_seconds_bucket", &[("le", bound)]);
            ensure!(done("+Inf")? > done("0.5")?);
            Ok(())
        })?;
        ensure!(exporter.scrape()?.sum("accel_device_up", &[]) == 4.0);
    }
    Ok(())
}

#[test]
fn a_hang_in_a_call_that_is_made_one_at_a_time_costs_one_device() -> Result<()> {
    let node = Node::new(NVIDIA.machine)?;
    let exporter = node.start(&[])?;
    let before = exporter.settled()?;
    node.control(&one_fault(Fault::hang().device(5).call("nvmlDeviceGetFieldValues")))?;
    until_withdrawn(&NVIDIA, &exporter, 5)?;
    others_are_fresh(&NVIDIA, &exporter, 5)?;
    for device in (0..8).filter(|device| *device != 5) {
        until_back(&NVIDIA, &exporter, device, &before)?;
    }
    node.control(&Control::default())?;
    until_back(&NVIDIA, &exporter, 5, &before)
}

#[test]
fn what_could_not_be_asked_at_first_is_asked_again() -> Result<()> {
    let node = Node::new("h100-sxm-4")?;
    let busy = |call: &str| Fault::error(999).device(1).call(call);
    let calls = ["nvmlGpmQueryDeviceSupport", "nvmlDeviceGetFieldValues", "nvmlDeviceGetName"];
    node.control(&Control { fault: calls.map(busy).to_vec(), ..Control::default() })?;
    let exporter = node.start(&[])?;
    let device = [("device", "gpu1")];
    exporter.until("it is up without them", |samples| {
        ensure!(samples.value("accel_device_up", &device)? == 1.0);
        ensure!(!samples.has("accel_sm_occupancy_ratio", &device) && !samples.has("accel_link_up", &device));
        Ok(())
    })?;
    node.control(&Control::default())?;
    exporter.until("it is whole", |samples| {
        ensure!(samples.has("accel_sm_occupancy_ratio", &device));
        for link in ["0", "17"] {
            let link = [("device", "gpu1"), ("kind", "nvlink"), ("link", link)];
            ensure!(samples.has("accel_link_up", &link) && samples.has("accel_link_errors_total", &link));
        }
        let info = samples.all("accel_device_info", &device).map(|sample| sample.label("model"));
        ensure!(info.eq(["NVIDIA H100 80GB HBM3"]), "it has no name");
        Ok(())
    })
}

#[test]
fn a_link_that_is_down_has_no_capacity() -> Result<()> {
    let node = Node::new("h100-sxm-4")?;
    let down = Link { device: 0, link: 3, down: true, ..Link::default() };
    node.control(&Control { link: vec![down], ..Control::default() })?;
    let samples = node.start(&[])?.settled()?;
    let link = |number| [("device", "gpu0"), ("kind", "nvlink"), ("link", number)];
    ensure!(samples.value("accel_link_up", &link("3"))? == 0.0);
    ensure!(!samples.has("accel_link_bandwidth_bytes_per_second", &link("3")));
    ensure!(samples.value("accel_link_bandwidth_bytes_per_second", &link("4"))? > 25e9);
    Ok(())
}

#[test]
fn memory_errors_are_counted_once_however_often_they_are_read() -> Result<()> {
    let node = Node::new("h100-sxm-4")?;
    let ecc = Ecc { device: 0, severity: Severity::Corrected, scope: Scope::Dram, count: 5 };
    node.control(&Control { ecc: vec![ecc], ..Control::default() })?;
    let exporter = node.start(&[])?;
    exporter.settled()?;
    let labels = [("device", "gpu0"), ("severity", "corrected"), ("scope", "volatile")];
    let errors = || exporter.scrape()?.value("accel_ecc_errors_total", &labels);
    let first = errors()?;
    ensure!(first >= 5.0);
    for _ in 0..25 {
        let now = errors()?;
        // A healthy board has some of its own, now and then.
        ensure!(now < first + 5.0, "{first}, then {now}");
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

#[test]
fn no_other_counter_stands_in_for_one_that_fails() -> Result<()> {
    let node = Node::new(NVIDIA.machine)?;
    let exporter = node.start(&[])?;
    let before = exporter.settled()?;
    let pcie = [("device", "gpu2"), ("kind", "pcie")];
    ensure!(before.has("accel_link_receive_bytes_total", &pcie));
    node.control(&one_fault(Fault::error(999).device(2).call("nvmlDeviceGetFieldValues")))?;
    exporter.until("it is absent", |samples| {
        ensure!(!samples.has("accel_memory_rows_remapped_total", &[("device", "gpu2")]), "not yet failing");
        ensure!(!samples.has("accel_link_receive_bytes_total", &pcie), "of another origin");
        Ok(())
    })
}

fn sigterm_ends_it_in_order(vendor: &Vendor) -> Result<()> {
    let hung = one_fault(Fault::hang().device(0));
    for control in [Control::default(), hung] {
        let node = Node::new(vendor.machine)?;
        let exporter = node.start(&[])?;
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
