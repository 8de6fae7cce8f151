//! Who a device is, and what stays of it when it is lost: names, keys, counts of errors, and how many there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::symlink,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use e2e::{Exporter, Node, Prometheus, Samples, ScrapeJob, eventually};
use sim::{
    Control, Profile,
    control::{DriverState, Fault, Xid},
    kernel::Tree,
};

use super::{
    is_up, one_fault, until_withdrawn,
    vendor::{GAUDI, KERNEL, NVIDIA, Vendor},
};

/// A device that goes, and an event of it at the same moment.
fn lost_with(device: usize, code: u64) -> Control {
    let event = Xid { id: 1, device, code, ..Xid::default() };
    Control { xid: vec![event], fault: vec![Fault::lost().device(device)], ..Control::default() }
}

/// Scrapes for as long as a list of the driver and more takes.
fn for_a_while(exporter: &Exporter, mut check: impl FnMut(&Samples) -> Result<()>) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(8) {
        check(&exporter.scrape()?)?;
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// The devices that are up, by UUID.
fn names(samples: &Samples) -> BTreeMap<String, String> {
    let up = samples.all("accel_device_up", &[]).filter(|sample| sample.value > 0.0);
    up.map(|sample| (sample.label("uuid").to_owned(), sample.label("device").to_owned())).collect()
}

#[test]
fn an_xid_at_the_moment_of_the_loss_is_counted_and_stays() -> Result<()> {
    let node = Node::new("h100-sxm-8")?;
    let exporter = node.start(&[])?;
    let before = exporter.settled()?;
    let known = |samples: &Samples| -> BTreeSet<String> {
        let info = samples.all("accel_device_info", &[("device", "gpu1")]);
        info.map(|info| info.series.clone()).collect()
    };
    let counted = |samples: &Samples| {
        let unified = [("device", "gpu1"), ("kind", "xid"), ("code", "79")];
        ensure!(samples.value("accel_device_up", &[("device", "gpu1")])? == 0.0);
        ensure!(samples.value("accel_errors_total", &unified)? == 1.0);
        ensure!(samples.value("accel_error_last_timestamp_seconds", &unified)? > 1.7e9);
        let gpu = [("gpu", "1")];
        ensure!(samples.value("DCGM_FI_DEV_XID_ERRORS", &gpu)? == 79.0);
        ensure!(samples.value("DCGM_EXP_XID_ERRORS_COUNT", &[gpu[0], ("xid", "79")])? == 1.0);
        ensure!(samples.all("DCGM_EXP_XID_ERRORS_COUNT", &gpu).count() == 1);
        ensure!(known(samples) == known(&before), "what it is has changed");
        Ok(())
    };
    node.control(&lost_with(1, 79))?;
    exporter.until("it is counted", counted)?;
    let info = known(&exporter.scrape()?);
    ensure!(
        info.iter().all(|info| info.contains("serial=") && info.contains("pci_bus_id=\"0000:")),
        "{info:?}"
    );
    for_a_while(&exporter, counted)?;
    until_withdrawn(&NVIDIA, &exporter, 1)?;
    // The driver goes, too: what is known of the board does not.
    node.control(&Control { driver: Some(DriverState::Unloaded), ..lost_with(1, 79) })?;
    exporter.until("the driver is gone", |samples| {
        ensure!(samples.value("accelscope_source_up", &NVIDIA.source)? == 0.0);
        Ok(())
    })?;
    for_a_while(&exporter, counted)
}

#[test]
fn prometheus_sees_an_xid_at_the_moment_of_the_loss() -> Result<()> {
    let node = Node::new("h100-sxm-8")?;
    let exporter = node.start(&[])?;
    exporter.settled()?;
    let server = Prometheus::start(&[ScrapeJob::new("accelscope", exporter.address)], &[])?;
    let of = |metric: &str| format!("max_over_time({metric}{{device=\"gpu1\",code=\"79\"}}[10m])");
    eventually("the zero is scraped", || {
        ensure!(server.value(&of("accel_errors_total"))? == 0.0);
        Ok(())
    })?;
    node.control(&lost_with(1, 79))?;
    eventually("the event is scraped", || {
        ensure!(server.value(&of("accel_errors_total"))? == 1.0);
        ensure!(
            server.value("increase(accel_errors_total{device=\"gpu1\",code=\"79\"}[10m]) > bool 0")? == 1.0
        );
        ensure!(server.value(&of("accel_error_last_timestamp_seconds"))? > 1.7e9);
        ensure!(server.value("accel_device_up{device=\"gpu1\"}")? == 0.0);
        Ok(())
    })
}

#[test]
fn an_event_of_a_gaudi_at_the_moment_of_the_loss_is_counted_and_stays() -> Result<()> {
    const CRITICAL: u64 = 1 << 1;
    let node = Node::new(GAUDI.machine)?;
    let exporter = node.start(&[])?;
    exporter.settled()?;
    node.control(&lost_with(1, CRITICAL))?;
    let counted = |samples: &Samples| {
        let event = [("device", "hpu1"), ("kind", "hlml_event"), ("code", "critical")];
        ensure!(!is_up(&GAUDI, samples, 1)?);
        ensure!(samples.value("accel_errors_total", &event)? == 1.0);
        ensure!(samples.value("accel_error_last_timestamp_seconds", &event)? > 1.7e9);
        Ok(())
    };
    exporter.until("it is counted", counted)?;
    for_a_while(&exporter, counted)?;
    until_withdrawn(&GAUDI, &exporter, 1)
}

/// Counts of errors that the driver keeps are as they were last, in every family that has them.
pub(super) fn a_lost_device_keeps_its_errors(vendor: &Vendor) -> Result<()> {
    let node = Node::new(vendor.machine)?.frozen();
    let exporter = node.start(vendor.flags)?;
    let before = exporter.settled()?;
    let device = vendor.device(3);
    let kept = |samples: &Samples| -> BTreeMap<String, u64> {
        let own = samples.samples.iter().filter(|sample| sample.label("device") == device);
        let kept = own.filter(|sample| {
            sample.name == "accel_device_info"
                || sample.name.starts_with("accel_") && sample.name.contains("_error")
                || sample.name == "accel_resets_total"
        });
        kept.map(|sample| (sample.series.clone(), sample.value.to_bits())).collect()
    };
    let expected = kept(&before);
    ensure!(!expected.is_empty(), "{device} has neither information nor errors");
    node.control(&one_fault(Fault::lost().device(3)))?;
    until_withdrawn(vendor, &exporter, 3)?;
    for_a_while(&exporter, |samples| {
        ensure!(kept(samples) == expected, "{:?} became {:?}", expected, kept(samples));
        Ok(())
    })
}

#[test]
fn no_name_moves_when_a_gpu_leaves_the_bus_and_the_others_are_renumbered() -> Result<()> {
    let node = Node::new(NVIDIA.machine)?;
    let profile = Profile::open(NVIDIA.machine)?;
    let mut bus = Tree::new(&node.sysfs())?;
    bus.show(sim::bus::files(&profile, &[]))?;
    let exporter = node.start(&[])?;
    let before = exporter.settled()?;
    let own = names(&before);
    ensure!(own.len() == 8);
    let series = |samples: &Samples, gpu: usize| -> BTreeSet<String> {
        samples.of_device(gpu).into_iter().map(str::to_owned).collect()
    };
    let mut ever: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut hide = |hidden: &[usize], also_on_the_bus: bool| -> Result<()> {
        node.control(&Control { hidden: hidden.to_vec(), ..Control::default() })?;
        if also_on_the_bus {
            bus.show(sim::bus::files(&profile, hidden))?;
        }
        let gone: Vec<_> = hidden.iter().map(|index| format!("gpu{index}")).collect();
        exporter.until(&format!("without {gone:?}"), |samples| {
            let now = names(samples);
            let left = own.iter().filter(|(_, name)| !gone.contains(name));
            ensure!(left.eq(now.iter()), "{now:?}");
            Ok(())
        })?;
        for_a_while(&exporter, |samples| {
            for sample in samples.all("accel_device_up", &[]) {
                let uuids = ever.entry(sample.label("device").to_owned()).or_default();
                uuids.insert(sample.label("uuid").to_owned());
            }
            ensure!(ever.values().all(|uuids| uuids.len() == 1), "two UUIDs share a name: {ever:?}");
            for gpu in (0..8).filter(|gpu| !hidden.contains(gpu)) {
                let (was, is) = (series(&before, gpu), series(samples, gpu));
                let of_other: Vec<_> = is.difference(&was).collect();
                ensure!(of_other.is_empty(), "gpu{gpu} has new series: {of_other:?}");
            }
            Ok(())
        })
    };
    hide(&[3], false)?;
    hide(&[3], true)?;
    // It returns, others go: it has another index now.
    hide(&[0, 1], true)?;
    hide(&[], true)?;
    ensure!(ever.len() == 8, "{ever:?}");
    Ok(())
}

#[test]
fn a_gpu_that_is_lost_from_the_beginning_is_down_and_keeps_its_name_when_it_returns() -> Result<()> {
    for has_bus in [true, false] {
        let node = Node::new(NVIDIA.machine)?;
        let node = if has_bus { node.with_bus()? } else { node };
        node.control(&one_fault(Fault::lost().device(3)))?;
        let probe = node.run("probe", &[])?;
        let last = probe.stdout.trim_end().lines().last().unwrap_or_default();
        ensure!(probe.code == Some(4) && last.contains("1 of 8 devices (gpu3: "), "{probe:?}");
        ensure!(probe.stdout.contains("NVML_ERROR_GPU_IS_LOST: The GPU has fallen off"), "{probe:?}");
        let exporter = node.start(&[])?;
        exporter.until("one of eight is down", |samples| {
            ensure!(samples.sum("accel_device_up", &[]) == 7.0);
            ensure!(!is_up(&NVIDIA, samples, 3)?);
            ensure!(samples.value("accel_devices", &[("family", "nvidia")])? == 8.0);
            let address = [("device", "gpu3"), ("pci_bus_id", "0000:4b:00.0")];
            ensure!(samples.has("accel_device_info", &address) == has_bus, "nobody finds it");
            Ok(())
        })?;
        node.control(&Control::default())?;
        exporter.until("it is there, under the name that it had", |samples| {
            ensure!(samples.sum("accel_device_up", &[]) == 8.0);
            ensure!(samples.all("accel_device_up", &[]).count() == 8, "it is there twice");
            let up = samples.all("accel_device_up", &[("device", "gpu3")]).map(|up| up.label("uuid"));
            ensure!(up.collect::<String>().starts_with("GPU-"));
            Ok(())
        })?;
    }
    Ok(())
}

/// Without a driver, none of what is on the bus is found, in every family and for every reason.
pub(super) fn without_a_driver_what_is_on_the_bus_is_counted(vendor: &Vendor) -> Result<()> {
    let node = Node::new(vendor.machine)?;
    let node = if vendor.shows_bus { node } else { node.with_bus()? };
    let family = [("family", vendor.source[0].1)];
    let counts = |exporter: &Exporter| {
        exporter.until("none of eight is found", |samples| {
            ensure!(samples.value("accel_devices_expected", &family)? == 8.0);
            ensure!(samples.value("accel_devices", &family)? == 0.0);
            ensure!(samples.value("accelscope_source_up", &vendor.source)? == 0.0);
            Ok(())
        })
    };
    let unloaded = || Control { driver: Some(DriverState::Unloaded), ..Control::default() };
    let mut reasons = vec![unloaded()];
    if vendor.source == NVIDIA.source {
        reasons.extend([9, 18].map(|code| one_fault(Fault::error(code).call("nvmlInit_v2"))));
    }
    for control in reasons {
        node.control(&control)?;
        let probe = node.run("probe", vendor.flags)?;
        let last = probe.stdout.trim_end().lines().last().unwrap_or_default();
        ensure!(probe.code == Some(4) && last.contains("8 of 8 devices ("), "{probe:?}");
        ensure!(probe.stdout.contains("not listed: no driver has bound it"), "{probe:?}");
        counts(&node.start(vendor.flags)?)?;
    }
    // The same after it has worked.
    node.control(&Control::default())?;
    let exporter = node.start(vendor.flags)?;
    exporter.settled()?;
    node.control(&unloaded())?;
    counts(&exporter)
}

#[test]
fn without_the_library_what_is_on_the_bus_is_counted() -> Result<()> {
    let node = Node::new(NVIDIA.machine)?.with_bus()?;
    fs::remove_file(node.library())?;
    let probe = node.run("probe", &[])?;
    ensure!(probe.code == Some(4) && probe.stdout.contains("libnvidia-ml.so.1"), "{probe:?}");
    node.start(&[])?.until("none of eight is found", |samples| {
        let family = [("family", "nvidia")];
        ensure!(samples.value("accel_devices", &family)? == 0.0);
        ensure!(samples.value("accel_devices_expected", &family)? == 8.0);
        Ok(())
    })
}

#[test]
fn boards_of_guests_are_not_expected() -> Result<()> {
    let node = Node::new(NVIDIA.machine)?.with_bus()?;
    node.control(&Control { hidden: vec![6, 7], ..Control::default() })?;
    let profile = Profile::open(NVIDIA.machine)?;
    for (index, driver) in [(6, "nvgrace_vfio_pci"), (7, "pci-stub")] {
        let address = profile.device.pci_addresses[index].to_lowercase();
        let function = node.sysfs().join("bus/pci/devices").join(address);
        symlink(format!("../../../bus/pci/drivers/{driver}"), function.join("driver"))?;
    }
    let probe = node.run("probe", &[])?;
    ensure!(probe.code == Some(0), "nothing is missing: {probe:?}");
    ensure!(probe.stdout.contains("(bound to nvgrace_vfio_pci)"), "{probe:?}");
    node.start(&[])?.until("six of six", |samples| {
        let family = [("family", "nvidia")];
        ensure!(samples.value("accel_devices", &family)? == 6.0);
        ensure!(samples.value("accel_devices_expected", &family)? == 6.0);
        Ok(())
    })
}

#[test]
fn a_virtual_function_hides_no_card_without_a_driver() -> Result<()> {
    let node = Node::new(KERNEL.machine)?.only("xpu").frozen();
    // Writes the tree, whose clock stands: what is changed there stays.
    node.accelscope("probe", KERNEL.flags)?;
    let devices = node.sysfs().join("bus/pci/devices");
    let drivers = node.sysfs().join("bus/pci/drivers/xe");
    // One card loses its driver, and another one has a virtual function that the driver has bound.
    fs::remove_file(devices.join("0000:8f:00.0/driver"))?;
    fs::remove_file(drivers.join("0000:8f:00.0"))?;
    let part = devices.join("0000:03:00.1");
    fs::create_dir_all(part.join("drm/card9"))?;
    for file in ["vendor", "device", "class"] {
        fs::copy(devices.join("0000:03:00.0").join(file), part.join(file))?;
    }
    symlink("../../drivers/xe", part.join("driver"))?;
    symlink("../0000:03:00.0", part.join("physfn"))?;
    symlink("../../devices/0000:03:00.1", drivers.join("0000:03:00.1"))?;
    let exporter = node.start(KERNEL.flags)?;
    exporter.until("seven of eight", |samples| {
        let family = [("family", "xpu")];
        ensure!(samples.value("accel_devices", &family)? == 7.0);
        ensure!(samples.value("accel_devices_expected", &family)? == 8.0);
        Ok(())
    })?;
    let probe = node.run("probe", KERNEL.flags)?;
    ensure!(probe.code == Some(4), "{probe:?}");
    ensure!(
        probe.stdout.contains("0000:8f:00.0  not listed: no driver has bound it: xe is loaded"),
        "{probe:?}"
    );
    Ok(())
}
