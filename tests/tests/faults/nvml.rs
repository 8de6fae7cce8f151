//! What goes wrong with NVML alone.

use std::{
    collections::BTreeSet,
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use e2e::{Node, Samples, artefacts::repository, wait::Final};
use sim::{
    Control,
    control::{Ecc, Event, EventKind, Fault, Garbage, Link, Mig, Scope, Severity, Xid},
};

use super::{one_fault, others_are_fresh, until_back, until_withdrawn, vendor::NVIDIA};

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
        // What happened in an instance is not forgotten with it.
        let device = [("device", "gpu1"), ("kind", "xid"), ("code", "31")];
        ensure!(samples.value("accel_errors_total", &device)? == 1.0);
        ensure!(samples.has("accel_error_last_timestamp_seconds", &device));
        Ok(())
    })
}

#[test]
fn an_xid_of_an_instance_that_is_not_there_is_the_devices() -> Result<()> {
    let node = Node::new("h100-sxm-4")?;
    let mig = Mig { device: 1, enabled: true, instances: vec!["3g.40gb".to_owned()] };
    let mut control = Control { mig: vec![mig], ..Control::default() };
    node.control(&control)?;
    let exporter = node.start(&[])?;
    exporter.settled()?;
    // Instance 0 where MIG is off, as a driver was seen to report it, and one that is not listed where it is on.
    let event = |id, device, code, instance| Xid {
        gpu_instance: Some(instance),
        compute_instance: Some(0),
        ..Xid { id, device, code, ..Xid::default() }
    };
    control.xid = vec![event(1, 0, 79, 0), event(2, 1, 94, 13)];
    node.control(&control)?;
    for (device, code) in [("gpu0", "79"), ("gpu1", "94")] {
        exporter.until(&format!("XID {code} is counted on {device}"), |samples| {
            let device = [("device", device), ("partition", ""), ("kind", "xid"), ("code", code)];
            ensure!(samples.value("accel_errors_total", &device)? == 1.0);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn an_xid_of_an_instance_stays_whatever_becomes_of_the_instance() -> Result<()> {
    let node = Node::new("h100-sxm-4")?;
    let with = |instances: &[&str], xid: &[Xid]| -> Result<()> {
        let instances: Vec<_> = instances.iter().map(|name| (*name).to_owned()).collect();
        let mig = Mig { device: 1, enabled: !instances.is_empty(), instances };
        node.control(&Control { mig: vec![mig], xid: xid.to_vec(), ..Control::default() })
    };
    with(&["3g.40gb", "2g.20gb"], &[])?;
    let exporter = node.start(&[])?;
    let of_instances = |samples: &Samples| -> BTreeSet<u32> {
        let all = samples.all("DCGM_FI_DEV_FB_USED", &[("gpu", "1")]);
        all.filter_map(|sample| sample.label("GPU_I_ID").parse().ok()).collect()
    };
    let instances = exporter.until("both instances are read", |samples| {
        let instances = of_instances(samples);
        ensure!(instances.len() == 2, "{instances:?}");
        Ok(instances)
    })?;
    let event = Xid {
        gpu_instance: instances.first().copied(),
        compute_instance: Some(0),
        ..Xid { id: 1, device: 1, code: 94, ..Xid::default() }
    };
    let counted = |samples: &Samples| {
        let own = [("device", "gpu1"), ("kind", "xid"), ("code", "94")];
        ensure!(samples.sum("accel_errors_total", &own) == 1.0);
        ensure!(samples.all("accel_error_last_timestamp_seconds", &own).count() == 1);
        Ok(())
    };
    with(&["3g.40gb", "2g.20gb"], &[event])?;
    exporter.until("it is counted", counted)?;
    // MIG is switched off, other instances are made, and the first ones again.
    for profiles in [&[][..], &["1g.10gb"], &["3g.40gb", "2g.20gb"]] {
        with(profiles, &[])?;
        exporter.until("the instances are others", |samples| {
            if let Err(error) = counted(samples) {
                return Err(Final(format!("with {profiles:?}: {error}")).into());
            }
            ensure!(of_instances(samples).len() == profiles.len());
            Ok(())
        })?;
        counted(&exporter.settled()?)?;
    }
    Ok(())
}

#[test]
fn waiting_for_events_does_not_spin_where_the_driver_returns_at_once() -> Result<()> {
    /// NVML_ERROR_TIMEOUT and NVML_ERROR_UNKNOWN.
    const CODES: [u32; 2] = [10, 999];
    let node = Node::new("h100-sxm-4")?;
    let exporter = node.start(&[])?;
    exporter.settled()?;
    for code in CODES {
        node.control(&one_fault(Fault::error(code).call("nvmlEventSetWait_v2")))?;
        thread::sleep(Duration::from_secs(1));
        let (start, before) = (Instant::now(), thread_ticks(exporter.process.id(), "nvml-events")?);
        thread::sleep(Duration::from_secs(2));
        let ticks = thread_ticks(exporter.process.id(), "nvml-events")? - before;
        // 100 ticks are a second of a CPU; a thread that spins takes what it gets.
        let share = ticks as f64 / 100.0 / start.elapsed().as_secs_f64();
        ensure!(share < 0.05, "code {code}: {share} of a CPU");
    }
    Ok(())
}

/// The CPU time that the thread of this name has taken, in ticks of the kernel.
fn thread_ticks(process: u32, name: &str) -> Result<u64> {
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm"))?.trim_end() == name {
            let stat = fs::read_to_string(task.join("stat"))?;
            // The name ends with the last parenthesis; utime and stime are the 14th and 15th field.
            let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
            return fields.skip(11).take(2).map(|ticks| Ok(ticks.parse::<u64>()?)).sum();
        }
    }
    bail!("no thread {name}")
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
    let at = told.value("accel_error_last_timestamp_seconds", &unified)?;
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
fn events_of_other_types_are_counted_or_logged_where_the_driver_has_them() -> Result<()> {
    let node = Node::new("h100-sxm-4")?;
    let exporter = node.start(&[])?;
    let before = exporter.settled()?;
    let codes = ["fatal_poison", "gpu_unavailable", "non_fatal_poison", "single_bit_ecc_storm"];
    let own = |device, code| [("device", device), ("kind", "nvml_event"), ("code", code)];
    let runbook = fs::read_to_string(repository().join("docs/runbooks/GpuXidErrorDetected.md"))?;
    for code in codes {
        assert_eq!(before.value("accel_errors_total", &own("gpu1", code))?, 0.0, "{code}");
        assert!(runbook.contains(&format!("<a id=\"code-{code}\">")), "{code}");
    }
    assert_eq!(
        before.all("accel_errors_total", &[("device", "gpu1"), ("kind", "nvml_event")]).count(),
        codes.len()
    );
    let kinds = [
        EventKind::PState,
        EventKind::MigConfig,
        EventKind::SingleBitStorm,
        EventKind::DramRetirement,
        EventKind::DramRetirementFailure,
        EventKind::NonFatalPoison,
        EventKind::RecoveryAction,
        EventKind::FatalPoison,
        EventKind::GpuUnavailable,
    ];
    let event = (1..).zip(kinds).map(|(id, kind)| Event { id, device: 1, kind, at: None, every: None });
    let xid = vec![Xid { id: 1, device: 1, code: 31, ..Xid::default() }];
    let ecc = [Severity::Corrected, Severity::Uncorrectable].map(|severity| Ecc {
        device: 1,
        severity,
        scope: Scope::Dram,
        count: 1,
    });
    let control = Control { event: event.collect(), xid, ecc: ecc.to_vec(), ..Control::default() };
    node.control(&control)?;
    let after = exporter.until("all are counted", |samples| {
        for code in codes {
            ensure!(samples.value("accel_errors_total", &own("gpu1", code))? == 1.0, "{code}");
            ensure!(samples.has("accel_error_last_timestamp_seconds", &own("gpu1", code)), "{code}");
        }
        ensure!(exporter.process.log().contains("the MIG configuration has changed"));
        Ok(samples.clone())
    })?;
    // What other series have is not counted beside them.
    let all = |device| after.sum("accel_errors_total", &[("device", device)]);
    assert_eq!((all("gpu1"), all("gpu0")), (5.0, 0.0), "four events and an XID");
    assert_eq!(after.value("DCGM_FI_DEV_XID_ERRORS", &[("gpu", "1")])?, 31.0, "an event is no XID");

    // A device that is lost keeps them.
    node.control(&Control { fault: vec![Fault::lost().device(1)], ..control })?;
    exporter.until("it is withdrawn and keeps its events", |samples| {
        ensure!(samples.value("accel_device_up", &[("device", "gpu1")])? == 0.0);
        ensure!(samples.sum("accel_errors_total", &[("device", "gpu1")]) == 5.0);
        Ok(())
    })
}

#[test]
fn no_xid_is_lost_to_what_an_older_driver_does_not_know() -> Result<()> {
    let unsupported = |call: &str| vec![Fault::error(3).call(call)];
    for (machine, fault) in [
        // Driver 550, which refuses what it does not list.
        ("a100-8", vec![]),
        ("h100-sxm-4", unsupported("nvmlDeviceGetSupportedEventTypes")),
        // What it lists is more than it has.
        ("a100-8", vec![Fault::garbage(Garbage::Absurd).call("nvmlDeviceGetSupportedEventTypes")]),
    ] {
        let node = Node::new(machine)?;
        let mut control = Control { fault, ..Control::default() };
        node.control(&control)?;
        let exporter = node.start(&[])?;
        let before = exporter.settled()?;
        ensure!(
            !before.has("accel_errors_total", &[("kind", "nvml_event")]),
            "{machine} {:?}",
            control.fault
        );
        control.xid = vec![Xid { id: 1, device: 0, code: 31, ..Xid::default() }];
        node.control(&control)?;
        exporter.until("the XID is counted", |samples| {
            let own = [("device", "gpu0"), ("kind", "xid"), ("code", "31")];
            ensure!(samples.value("accel_errors_total", &own)? == 1.0);
            Ok(())
        })?;
    }
    Ok(())
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
    until_counted("gpu1", "79")?;
    node.control(&control)?;
    // Its events are waited for again when it is listed.
    exporter.until("it is back", |samples| {
        ensure!(samples.value("accel_device_up", &[("device", "gpu1")])? == 1.0);
        Ok(())
    })?;
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
fn a_device_of_which_nothing_can_be_read_is_down_whatever_the_code() -> Result<()> {
    let node = Node::new(NVIDIA.machine)?;
    let exporter = node.start(&[])?;
    let before = exporter.settled()?;
    // Its UUID comes from the library's memory; an unknown error says nothing, and neither does "not supported".
    let initials = ["A", "B", "C", "E", "F", "G", "J", "M", "N", "P", "S", "T", "Util", "V"];
    for code in [999, 3] {
        let call = |initial: &str| format!("nvmlDeviceGet{initial}*");
        let fault = |initial| Fault::error(code).device(1).call(&call(initial));
        node.control(&Control { fault: initials.map(fault).to_vec(), ..Control::default() })?;
        until_withdrawn(&NVIDIA, &exporter, 1)?;
        others_are_fresh(&NVIDIA, &exporter, 1)?;
        node.control(&Control::default())?;
        until_back(&NVIDIA, &exporter, 1, &before)?;
    }
    Ok(())
}

#[test]
fn without_a_uuid_of_its_own_a_device_is_known_by_its_address() -> Result<()> {
    let node = Node::new(NVIDIA.machine)?;
    let uuid = |fault: Fault, device| fault.device(device).call("nvmlDeviceGetUUID");
    let zeros = || Fault::garbage(Garbage::Blank);
    // One has none, and two have the same zeros.
    let fault = vec![uuid(Fault::error(3), 1), uuid(zeros(), 2), uuid(zeros(), 3)];
    node.control(&Control { fault, ..Control::default() })?;
    let exporter = node.start(&[])?;
    exporter.until("all eight are read", |samples| {
        ensure!(samples.sum("accel_device_up", &[]) == 8.0);
        for device in ["gpu1", "gpu2", "gpu3"] {
            ensure!(samples.value("accel_device_up", &[("device", device), ("uuid", "")])? == 1.0);
            ensure!(samples.has("accel_power_watts", &[("device", device)]), "{device} is not read");
        }
        ensure!(samples.faults("no_data", "nvmlDeviceGetUUID", "uuid_not_unique") >= 3.0);
        Ok(())
    })
}
