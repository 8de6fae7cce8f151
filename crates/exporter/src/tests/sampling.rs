//! What a scrape shows while drivers fail, hang, vanish and come back.

use std::{
    fs,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use naming::Family;
use reading::{Batch, Found, Identity};

use super::fake::{Act, Machine, Rig};
use crate::commands::choice::Chosen;
use crate::sampling::{device::Status, state::NodeState, timing::Timing};

/// A device that no test opens.
fn found(key: String, identity: Arc<Identity>) -> Found {
    Found { key, address: None, identity, open: Box::new(|| unreachable!("it is not opened here")) }
}

#[test]
fn devices_are_sampled_at_once_and_twice_before_the_first_tick_is_missed() {
    let rig = Rig::new(Machine::with(&["gpu0", "gpu1"]));
    rig.until("both devices are up", |rig| rig.up("gpu0") == Some(1.0) && rig.up("gpu1") == Some(1.0));
    assert_eq!(rig.power("gpu0"), Some(350.0));
    assert_eq!(rig.value(&["accelscope_source_up"]), Some(1.0));
    assert_eq!(rig.value(&["accel_devices{"]), Some(2.0));
    assert_eq!(rig.value(&["accelscope_stuck_threads"]), Some(0.0));
    assert_eq!(rig.value(&["accelscope_source_connects_total"]), Some(1.0));
    rig.until("the second sample is counted", |rig| {
        rig.value(&["accelscope_sample_duration_seconds_count"]).is_some_and(|count| count >= 4.0)
    });
    assert!(rig.value(&["accelscope_snapshot_age_seconds"]).is_some_and(|age| age < 1.0));
}

#[test]
fn a_library_that_is_absent_is_a_reason_and_is_found_when_it_appears() {
    let machine = Machine::with(&["gpu0"]);
    machine.set("connect", Act::Fail);
    let rig = Rig::new(machine);
    rig.until("it was tried several times", |rig| rig.machine.calls("connect") > 3);
    assert_eq!(rig.value(&["accelscope_source_up"]), Some(0.0));
    assert_eq!(rig.up("gpu0"), None);
    assert_eq!(rig.value(&["accel_devices{"]), None, "unknown is not 0");
    rig.machine.set("connect", Act::Succeed);
    rig.until("the source is found", |rig| rig.up("gpu0") == Some(1.0));
}

#[test]
fn a_driver_without_devices_is_let_go_and_tried_again() {
    let rig = Rig::new(Machine::default());
    rig.until("it was tried several times", |rig| rig.machine.calls("connect") > 3);
    assert_eq!(rig.value(&["accelscope_source_up"]), Some(0.0));
    rig.until("none is a number", |rig| rig.value(&["accel_devices{"]) == Some(0.0));
    rig.machine.plug(&["gpu0"]);
    rig.until("the device is found", |rig| rig.up("gpu0") == Some(1.0));
    rig.machine.plug(&[]);
    rig.until("the device is gone", |rig| rig.up("gpu0") == Some(0.0));
    rig.until("and so is the source", |rig| rig.value(&["accelscope_source_up"]) == Some(0.0));
}

#[test]
fn one_call_that_fails_costs_one_series_and_is_counted_once_per_sample() {
    let rig = Rig::new(Machine::with(&["gpu0"]));
    rig.until("power is there", |rig| rig.power("gpu0").is_some());
    assert_eq!(rig.faults(&["fake_call"]), None);
    rig.machine.set("power gpu0", Act::Fail);
    rig.until("power is gone", |rig| rig.power("gpu0").is_none());
    rig.until("the fault is counted again and again", |rig| {
        rig.faults(&["kind=\"failed\"", "call=\"fake_call\"", "code=\"FAKE_BROKEN\""]) > Some(3.0)
    });
    assert_eq!(rig.up("gpu0"), Some(1.0));
    assert_eq!(rig.value(&["accel_temperature_celsius"]), Some(54.0));
    rig.machine.set("power gpu0", Act::Succeed);
    rig.until("power is back", |rig| rig.power("gpu0").is_some());
}

#[test]
fn what_is_unsupported_is_counted_once_per_device() {
    let rig = Rig::new(Machine::with(&["gpu0", "gpu1"]));
    rig.until("some rounds are over", |rig| {
        rig.value(&["accelscope_sample_duration_seconds_count"]).is_some_and(|count| count >= 8.0)
    });
    assert_eq!(rig.faults(&["kind=\"unsupported\"", "call=\"fake_fan\""]), Some(2.0));
}

#[test]
fn a_lost_device_is_withdrawn_at_once_and_returns() {
    let rig = Rig::new(Machine::with(&["gpu0", "gpu1"]));
    rig.until("both are up", |rig| rig.up("gpu0") == Some(1.0) && rig.up("gpu1") == Some(1.0));
    rig.until("it has been busy", |rig| rig.value(&["accel_engine_busy_seconds_total", "gpu0"]) > Some(0.05));
    let busy = rig.value(&["accel_engine_busy_seconds_total", "gpu0"]).expect("it is up");
    rig.machine.set("sample gpu0", Act::Fail);
    rig.until("it is down", |rig| rig.up("gpu0") == Some(0.0));
    assert_eq!(rig.names("gpu0"), ["accel_device_info", "accel_device_up", "accel_errors_total"]);
    assert_eq!(rig.up("gpu1"), Some(1.0));
    rig.until("it was opened again and again", |rig| rig.machine.calls("open gpu0") > 3);
    rig.machine.set("sample gpu0", Act::Succeed);
    rig.until("it is back", |rig| rig.up("gpu0") == Some(1.0));
    assert!(rig.value(&["accel_engine_busy_seconds_total", "gpu0"]) >= Some(busy), "a counter never falls");
    assert_eq!(rig.machine.most_threads("gpu0"), 1);
}

#[test]
fn a_hung_call_costs_one_thread_and_one_device_until_it_returns() {
    let rig = Rig::new(Machine::with(&["gpu0", "gpu1"]));
    rig.until("both are up", |rig| rig.up("gpu0") == Some(1.0) && rig.up("gpu1") == Some(1.0));
    rig.machine.set("sample gpu0", Act::Hang);
    rig.until("it hangs", |rig| rig.value(&["accelscope_stuck_threads"]) == Some(1.0));
    assert_eq!(rig.up("gpu0"), Some(0.0));
    assert_eq!(rig.power("gpu0"), None);
    assert_eq!(rig.faults(&["kind=\"timed_out\"", "call=\"sample\"", "code=\"deadline\""]), Some(1.0));
    let samples = rig.machine.calls("sample gpu1");
    let listed = rig.machine.calls("devices");
    rig.until("the other goes on", |rig| rig.machine.calls("sample gpu1") > samples + 10);
    assert_eq!(rig.up("gpu1"), Some(1.0));
    assert_eq!(rig.machine.calls("devices"), listed, "no second call into a driver that hangs");
    rig.machine.set("sample gpu1", Act::Fail);
    rig.until("the other is down", |rig| rig.up("gpu1") == Some(0.0));
    rig.machine.set("sample gpu1", Act::Succeed);
    rig.until("unless it is needed", |rig| rig.up("gpu1") == Some(1.0));
    rig.machine.set("sample gpu0", Act::Succeed);
    rig.until("it rejoins", |rig| rig.up("gpu0") == Some(1.0));
    assert_eq!(rig.value(&["accelscope_stuck_threads"]), Some(0.0));
    assert_eq!(rig.machine.most_threads("gpu0"), 1, "never a second thread");
    assert_eq!(rig.machine.calls("open gpu0"), 1, "the same worker");
}

/// Two devices of which a part can be read by itself, both up.
fn with_mandatory_parts() -> Rig {
    let machine = Machine::with(&["gpu0", "gpu1"]);
    for device in ["gpu0", "gpu1"] {
        machine.set(&format!("mandatory {device}"), Act::Succeed);
    }
    let rig = Rig::new(machine);
    rig.until("both are up", |rig| rig.up("gpu0") == Some(1.0) && rig.up("gpu1") == Some(1.0));
    assert_eq!(rig.power("gpu0"), Some(350.0));
    rig
}

#[test]
fn an_optional_call_that_hangs_costs_what_it_reads_and_not_the_device() {
    let rig = with_mandatory_parts();
    let busy = |rig: &Rig| rig.value(&["accel_engine_busy_seconds_total", "gpu0"]);
    rig.machine.set("sample gpu0", Act::Hang);
    rig.until("what is mandatory is read", |rig| rig.power("gpu0") == Some(99.0));
    rig.until("the hang is counted", |rig| {
        rig.faults(&["kind=\"timed_out\"", "call=\"sample\"", "code=\"deadline\""]) == Some(1.0)
    });
    let reads = rig.machine.calls("mandatory gpu0");
    rig.until("again and again", |rig| {
        assert_eq!(rig.up("gpu0"), Some(1.0));
        rig.machine.calls("mandatory gpu0") > reads + 10
    });
    assert_eq!(rig.value(&["accelscope_stuck_threads"]), Some(1.0));
    assert_eq!(rig.value(&["accel_engine_active_ratio", "gpu0"]), Some(1.0), "of the round before");
    let age = rig.value(&["accel_slow_readings_age_seconds", "gpu0"]);
    assert!(age > Some(0.2), "with its age: {age:?}");
    assert!(rig.value(&["accelscope_snapshot_age_seconds"]) >= age);
    assert_eq!(rig.value(&["accel_temperature_celsius", "gpu0"]), None, "what fails now is no old value");
    assert_eq!(rig.value(&["accel_slow_readings_age_seconds", "gpu1"]), None, "the other is read whole");
    let sum = busy(&rig);
    rig.machine.set("sample gpu0", Act::Succeed);
    rig.until("a round is whole", |rig| rig.power("gpu0") == Some(350.0));
    assert!(busy(&rig) >= sum, "a counter never falls");
    assert_eq!(rig.value(&["accelscope_stuck_threads"]), Some(0.0));
    assert_eq!(rig.machine.calls("open gpu0"), 1, "the same worker");
}

#[test]
fn a_mandatory_call_that_hangs_costs_its_device_and_no_other_its_standby() {
    let rig = with_mandatory_parts();
    rig.machine.set("mandatory gpu0", Act::Hang);
    rig.machine.set("sample gpu0", Act::Hang);
    rig.until("it is down", |rig| rig.up("gpu0") == Some(0.0));
    assert_eq!(rig.value(&["accelscope_stuck_threads"]), Some(1.0), "of one device");
    let reads = rig.machine.calls("mandatory gpu0");
    rig.machine.set("sample gpu1", Act::Hang);
    rig.until("the other has a standby", |rig| rig.power("gpu1") == Some(99.0));
    assert_eq!(rig.machine.calls("mandatory gpu0"), reads, "no second thread for the first");
    rig.machine.set("mandatory gpu0", Act::Succeed);
    rig.until("what is mandatory is read again", |rig| rig.power("gpu0") == Some(99.0));
    for device in ["sample gpu0", "sample gpu1"] {
        rig.machine.set(device, Act::Succeed);
    }
    rig.until("both are whole", |rig| rig.power("gpu0") == Some(350.0) && rig.power("gpu1") == Some(350.0));
    // A part that says that the device is gone is believed.
    rig.machine.set("sample gpu0", Act::Hang);
    rig.until("a part is read", |rig| rig.power("gpu0") == Some(99.0));
    rig.machine.set("mandatory gpu0", Act::Fail);
    rig.until("it is lost", |rig| rig.up("gpu0") == Some(0.0));
    rig.machine.set("sample gpu0", Act::Succeed);
    rig.until("it is whole", |rig| rig.power("gpu0") == Some(350.0));
}

#[test]
fn a_driver_reload_beside_a_hung_device_starts_no_second_thread_for_it() {
    let rig = Rig::new(Machine::with(&["gpu0", "gpu1"]));
    rig.until("both are up", |rig| rig.up("gpu0") == Some(1.0) && rig.up("gpu1") == Some(1.0));
    rig.machine.set("sample gpu0", Act::Hang);
    rig.until("it hangs", |rig| rig.value(&["accelscope_stuck_threads"]) == Some(1.0));
    rig.machine.set("sample gpu1", Act::LoseSession);
    rig.until("the other is withdrawn", |rig| rig.up("gpu1") == Some(0.0));
    rig.machine.set("sample gpu1", Act::Succeed);
    rig.until("a new session has the other", |rig| rig.up("gpu1") == Some(1.0));
    assert_eq!(rig.value(&["accelscope_source_connects_total"]), Some(2.0));
    let samples = rig.machine.calls("sample gpu1");
    rig.until("the other goes on", |rig| rig.machine.calls("sample gpu1") > samples + 10);
    assert_eq!(rig.up("gpu0"), Some(0.0));
    assert_eq!(rig.value(&["accelscope_stuck_threads"]), Some(1.0));
    rig.machine.set("sample gpu0", Act::Succeed);
    rig.until("it rejoins", |rig| rig.up("gpu0") == Some(1.0));
    assert_eq!(rig.machine.most_threads("gpu0"), 1, "never a second thread");
}

#[test]
fn a_session_that_is_lost_is_connected_again() {
    let rig = Rig::new(Machine::with(&["gpu0", "gpu1"]));
    rig.until("both are up", |rig| rig.up("gpu0") == Some(1.0) && rig.up("gpu1") == Some(1.0));
    rig.machine.set("connect", Act::Fail);
    rig.machine.set("sample gpu1", Act::LoseSession);
    rig.until("everything is down", |rig| {
        rig.up("gpu0") == Some(0.0)
            && rig.up("gpu1") == Some(0.0)
            && rig.value(&["accelscope_source_up"]) == Some(0.0)
    });
    rig.until("the driver was let go", |rig| rig.machine.sessions() == 0);
    rig.machine.set("sample gpu1", Act::Succeed);
    rig.machine.set("connect", Act::Succeed);
    rig.until("everything is back", |rig| rig.up("gpu0") == Some(1.0) && rig.up("gpu1") == Some(1.0));
    assert_eq!(rig.machine.sessions(), 1);
}

#[test]
fn hot_plug_is_found_and_what_is_gone_stays_down() {
    let rig = Rig::new(Machine::with(&["gpu0"]));
    rig.until("it is up", |rig| rig.up("gpu0") == Some(1.0));
    rig.machine.plug(&["gpu0", "gpu1"]);
    rig.until("the new one is up", |rig| rig.up("gpu1") == Some(1.0));
    rig.machine.plug(&["gpu1"]);
    rig.until("the old one is gone", |rig| rig.up("gpu0") == Some(0.0));
    assert_eq!(rig.power("gpu0"), None);
    rig.until("its count is right", |rig| rig.value(&["accel_devices{"]) == Some(1.0));
    rig.machine.plug(&["gpu0", "gpu1"]);
    rig.until("it is back", |rig| rig.up("gpu0") == Some(1.0));
    assert_eq!(rig.value(&["accelscope_source_connects_total"]), Some(1.0));
}

#[test]
fn what_is_known_of_a_lost_device_and_what_becomes_known_of_it_later_stays() {
    let rig = Rig::new(Machine::with(&["gpu0", "gpu1"]));
    let errors = |rig: &Rig| rig.value(&["accel_errors_total", "gpu0", "code=\"79\""]);
    let window = |rig: &Rig| rig.vendor_lines("DCGM_EXP_XID_ERRORS_COUNT", "0");
    rig.until("it is up", |rig| rig.up("gpu0") == Some(1.0));
    assert_eq!((errors(&rig), window(&rig).len()), (Some(0.0), 1));
    // The event and the loss come at the same moment, and the event is read after the loss.
    rig.machine.set("sample gpu0", Act::Fail);
    rig.until("it is down", |rig| rig.up("gpu0") == Some(0.0));
    assert_eq!(errors(&rig), Some(0.0));
    rig.machine.announce("gpu0");
    rig.until("the event is counted", |rig| errors(rig) == Some(1.0));
    let lines = window(&rig);
    assert!(lines.len() == 1 && lines[0].contains("xid=\"79\"") && lines[0].ends_with(" 1"), "{lines:?}");
    // It leaves the list, the driver goes away, and another session comes.
    rig.machine.plug(&["gpu1"]);
    rig.until("it is no longer listed", |rig| rig.value(&["accel_devices{"]) == Some(1.0));
    rig.machine.set("connect", Act::Fail);
    rig.machine.set("sample gpu1", Act::LoseSession);
    rig.until("the driver is gone", |rig| rig.value(&["accelscope_source_up"]) == Some(0.0));
    let known = ["accel_device_info", "accel_device_up", "accel_errors_total"];
    assert_eq!((rig.names("gpu0"), errors(&rig)), (known.map(str::to_owned).to_vec(), Some(1.0)));
    assert_eq!(rig.value(&["accel_device_info", "gpu0", "serial=\"15\""]), Some(1.0));
    rig.machine.set("sample gpu1", Act::Succeed);
    rig.machine.set("connect", Act::Succeed);
    rig.until("the other is back", |rig| rig.up("gpu1") == Some(1.0));
    assert_eq!((rig.names("gpu0"), errors(&rig)), (known.map(str::to_owned).to_vec(), Some(1.0)));
    rig.machine.announce("gpu0");
    rig.until("it is counted though nothing lists it", |rig| errors(rig) == Some(2.0));
    rig.machine.set("sample gpu0", Act::Succeed);
    rig.machine.plug(&["gpu0", "gpu1"]);
    rig.until("it is back", |rig| rig.power("gpu0").is_some());
    assert_eq!(errors(&rig), Some(2.0));
}

#[test]
fn events_of_a_device_that_hangs_are_counted() {
    let rig = Rig::new(Machine::with(&["gpu0", "gpu1"]));
    rig.until("both are up", |rig| rig.up("gpu0") == Some(1.0) && rig.up("gpu1") == Some(1.0));
    rig.machine.set("sample gpu0", Act::Hang);
    rig.until("it is down", |rig| rig.up("gpu0") == Some(0.0));
    rig.machine.announce("gpu0");
    rig.until("the event is counted", |rig| rig.value(&["accel_errors_total", "gpu0"]) == Some(1.0));
    rig.machine.set("sample gpu0", Act::Succeed);
}

#[test]
fn a_device_that_was_never_read_shows_where_it_is() {
    let machine = Machine::with(&["gpu0"]);
    machine.place("gpu0", "0000:19:00.0");
    machine.set("open gpu0", Act::Fail);
    let rig = Rig::new(machine);
    rig.until("it is down", |rig| rig.up("gpu0") == Some(0.0));
    assert_eq!(rig.value(&["accel_device_info", "pci_bus_id=\"0000:19:00.0\""]), Some(1.0));
    rig.machine.set("open gpu0", Act::Succeed);
    rig.until("it is read", |rig| rig.value(&["accel_device_info", "serial=\"15\""]) == Some(1.0));
    assert_eq!(rig.value(&["accel_device_info{"]), Some(1.0), "once");
}

#[test]
fn without_a_driver_nothing_is_listed_of_what_is_on_the_bus() {
    let machine = Machine::with(&["gpu0"]);
    machine.set("connect", Act::Hang);
    let rig = Rig::new(machine);
    let listed = |rig: &Rig| rig.value(&["accel_devices{"]);
    rig.until("it is counted", |rig| rig.faults(&["kind=\"timed_out\"", "call=\"connect\""]) == Some(1.0));
    assert_eq!(listed(&rig), None, "unknown is not 0");
    rig.machine.set("connect", Act::Fail);
    rig.until("the driver refuses", |rig| rig.machine.calls("connect") > 1);
    assert_eq!(listed(&rig), None);
    rig.plug_pci("0000:19:00.0");
    rig.until("the bus is counted", |rig| rig.value(&["accel_devices_expected"]) == Some(1.0));
    rig.until("none is listed", |rig| listed(rig) == Some(0.0));
    rig.machine.set("connect", Act::Hang);
    rig.until("it hangs again", |rig| rig.faults(&["call=\"connect\"", "timed_out"]) == Some(2.0));
    assert_eq!(listed(&rig), Some(0.0));
    rig.machine.set("connect", Act::Succeed);
    rig.until("it is listed", |rig| listed(rig) == Some(1.0));
    rig.machine.set("devices", Act::Hang);
    rig.until("the list hangs", |rig| rig.faults(&["call=\"devices\"", "timed_out"]) == Some(1.0));
    assert_eq!(listed(&rig), None, "what is sampled may be listed or not");
    rig.machine.set("devices", Act::Succeed);
}

#[test]
fn what_is_gone_is_forgotten_after_a_day() {
    let rig = Rig::new(Machine::with(&["gpu0", "gpu1"]));
    rig.until("both are up", |rig| rig.up("gpu0") == Some(1.0) && rig.up("gpu1") == Some(1.0));
    rig.machine.plug(&["gpu1"]);
    rig.until("one is gone", |rig| rig.up("gpu0") == Some(0.0));
    let source = &rig.node.sources[0];
    source.forget(Instant::now() + Duration::from_hours(23));
    assert_eq!(rig.up("gpu0"), Some(0.0));
    source.forget(Instant::now() + Duration::from_hours(25));
    assert_eq!((rig.up("gpu0"), rig.up("gpu1")), (None, Some(1.0)));
}

#[test]
fn a_board_that_was_replaced_is_forgotten_at_once() {
    let machine = Machine::with(&["old", "other"]);
    machine.place("old", "0000:19:00.0");
    machine.place("new", "0000:19:00.0");
    machine.place("other", "0000:3b:00.0");
    let rig = Rig::new(machine);
    rig.until("both are up", |rig| rig.up("old") == Some(1.0) && rig.up("other") == Some(1.0));
    rig.machine.plug(&["new"]);
    rig.until("the new one is up", |rig| rig.up("new") == Some(1.0));
    rig.until("the old one is forgotten", |rig| rig.up("old").is_none());
    assert_eq!(rig.up("other"), Some(0.0), "nothing has its place");
}

#[test]
fn devices_with_ever_new_names_do_not_accumulate() {
    let rig = Rig::new(Machine::with(&["gpu0"]));
    rig.until("it is up", |rig| rig.up("gpu0") == Some(1.0));
    let source = &rig.node.sources[0];
    for number in 0..200 {
        let key = format!("board{number}");
        let identity = Arc::new(Identity::new(Family::Nvidia, &*key));
        source.device(&found(key, identity)).give_up(Status::Gone);
        source.forget(Instant::now());
    }
    let down = rig.scrape().lines().filter(|line| line.starts_with("accel_device_up{")).count() - 1;
    assert_eq!(down, 64);
    assert!(rig.up("board0").is_none() && rig.up("board199") == Some(0.0), "the oldest are forgotten");
}

#[test]
fn a_device_with_a_new_name_is_opened_again_under_it() {
    let rig = Rig::new(Machine::with(&["gpu0", "gpu1"]));
    rig.until("both are up", |rig| rig.up("gpu0") == Some(1.0) && rig.up("gpu1") == Some(1.0));
    rig.machine.rename("gpu1", "gpu7");
    rig.until("it has its new name", |rig| rig.up("gpu7") == Some(1.0));
    assert_eq!(rig.up("gpu1"), None);
    assert_eq!(rig.machine.most_threads("gpu1"), 1);
}

#[test]
fn a_change_of_the_bus_reconnects_without_a_gap() {
    let rig = Rig::new(Machine::with(&["gpu0"]));
    rig.until("it is up", |rig| rig.up("gpu0") == Some(1.0));
    assert_eq!(rig.value(&["accel_devices_expected"]), None, "no bus, no expectation");
    let function = rig.plug_pci("0000:19:00.0");
    rig.until("it was connected again", |rig| {
        assert_eq!(rig.up("gpu0"), Some(1.0), "series go on meanwhile");
        rig.value(&["accelscope_source_connects_total"]) == Some(2.0)
    });
    rig.until("the bus is counted", |rig| rig.value(&["accel_devices_expected"]) == Some(1.0));
    fs::remove_dir_all(function).expect("removed");
    rig.until("it was connected once more", |rig| {
        rig.value(&["accelscope_source_connects_total"]) == Some(3.0)
    });
    rig.until("the bus is counted", |rig| rig.value(&["accel_devices_expected"]) == Some(0.0));
}

#[test]
fn a_reconnect_that_hangs_serves_nothing_old() {
    let rig = Rig::new(Machine::with(&["gpu0"]));
    rig.until("it is up", |rig| rig.up("gpu0") == Some(1.0));
    rig.machine.set("connect", Act::Hang);
    rig.plug_pci("0000:19:00.0");
    rig.until("it is withdrawn", |rig| rig.up("gpu0") == Some(0.0));
    assert_eq!(rig.power("gpu0"), None);
    assert_eq!(rig.faults(&["kind=\"timed_out\"", "code=\"stale\""]), Some(1.0));
    rig.machine.set("connect", Act::Succeed);
    rig.until("it is back", |rig| rig.up("gpu0") == Some(1.0));
}

#[test]
fn an_enumeration_that_fails_costs_no_device() {
    let rig = Rig::new(Machine::with(&["gpu0"]));
    rig.until("it is up", |rig| rig.up("gpu0") == Some(1.0));
    rig.machine.set("devices", Act::Fail);
    rig.until("the list is unknown", |rig| rig.value(&["accel_devices{"]).is_none());
    assert_eq!(rig.up("gpu0"), Some(1.0));
    rig.machine.set("sample gpu0", Act::Fail);
    rig.until("it is down", |rig| rig.up("gpu0") == Some(0.0));
    let (start, listed) = (Instant::now(), rig.machine.calls("devices"));
    rig.until("it was tried to list it", |rig| rig.machine.calls("devices") > listed + 3);
    thread::sleep(Duration::from_millis(200));
    let tries = rig.machine.calls("devices") - listed;
    assert!(
        f64::from(u32::try_from(tries).expect("few")) < 200.0 * start.elapsed().as_secs_f64(),
        "{tries} tries"
    );
    assert_eq!(rig.value(&["accelscope_source_connects_total"]), Some(1.0));
    rig.machine.set("sample gpu0", Act::Succeed);
    rig.machine.set("devices", Act::Succeed);
    rig.until("the list is known", |rig| rig.value(&["accel_devices{"]) == Some(1.0));
    rig.until("it is back", |rig| rig.up("gpu0") == Some(1.0));
}

#[test]
fn an_enumeration_that_hangs_costs_no_device() {
    let rig = Rig::new(Machine::with(&["gpu0"]));
    rig.until("it is up", |rig| rig.up("gpu0") == Some(1.0));
    rig.machine.set("devices", Act::Hang);
    rig.until("the source is down", |rig| rig.value(&["accelscope_source_up"]) == Some(0.0));
    assert_eq!(rig.value(&["accelscope_stuck_threads"]), Some(1.0));
    let samples = rig.machine.calls("sample gpu0");
    rig.until("its device goes on", |rig| rig.machine.calls("sample gpu0") > samples + 10);
    assert_eq!(rig.up("gpu0"), Some(1.0));
    rig.machine.set("devices", Act::Succeed);
    rig.until("the source is back", |rig| rig.value(&["accelscope_source_up"]) == Some(1.0));
    assert_eq!(rig.value(&["accelscope_stuck_threads"]), Some(0.0));
}

#[test]
fn a_connect_that_hangs_is_told_and_served_when_it_returns() {
    let machine = Machine::with(&["gpu0"]);
    machine.set("connect", Act::Hang);
    let rig = Rig::new(machine);
    rig.until("it is counted", |rig| rig.faults(&["kind=\"timed_out\"", "call=\"connect\""]) == Some(1.0));
    assert_eq!(rig.value(&["accelscope_source_up"]), Some(0.0));
    rig.machine.set("connect", Act::Succeed);
    rig.until("it is up", |rig| rig.up("gpu0") == Some(1.0));
    assert_eq!(rig.machine.calls("connect"), 1);
}

#[test]
fn a_defect_in_a_sampler_costs_its_device_only() {
    let rig = Rig::new(Machine::with(&["gpu0", "gpu1"]));
    rig.until("both are up", |rig| rig.up("gpu0") == Some(1.0) && rig.up("gpu1") == Some(1.0));
    rig.machine.set("sample gpu0", Act::Panic);
    rig.until("it is down", |rig| rig.up("gpu0") == Some(0.0));
    rig.until("it is counted", |rig| rig.faults(&["kind=\"failed\"", "code=\"panic\""]).is_some());
    assert_eq!(rig.up("gpu1"), Some(1.0));
    rig.machine.set("sample gpu0", Act::Succeed);
    rig.until("it is back", |rig| rig.up("gpu0") == Some(1.0));
}

#[test]
fn a_device_that_cannot_be_opened_is_down_and_tried_again() {
    let machine = Machine::with(&["gpu0"]);
    machine.set("open gpu0", Act::Fail);
    let rig = Rig::new(machine);
    rig.until("it was tried several times", |rig| rig.machine.calls("open gpu0") > 3);
    assert_eq!(rig.up("gpu0"), Some(0.0));
    assert_eq!(rig.value(&["accelscope_source_up"]), Some(1.0));
    rig.machine.set("open gpu0", Act::Succeed);
    rig.until("it is up", |rig| rig.up("gpu0") == Some(1.0));
}

#[test]
fn busy_seconds_are_the_integral_of_the_ratio() {
    let rig = Rig::new(Machine::with(&["gpu0"]));
    rig.until("it is up", |rig| rig.up("gpu0") == Some(1.0));
    let busy =
        |rig: &Rig| rig.value(&["accel_engine_busy_seconds_total", "engine=\"sm\""]).expect("it is up");
    let (start, first) = (Instant::now(), busy(&rig));
    thread::sleep(Duration::from_secs(1));
    let (elapsed, grown) = (start.elapsed().as_secs_f64(), busy(&rig) - first);
    // The ratio is 1. At each end the sample may be as old as is ever served.
    let slack = rig.node.timing.oldest().as_secs_f64();
    assert!((grown - elapsed).abs() < slack, "{grown} s busy in {elapsed} s");
}

#[test]
fn a_long_interval_does_not_delay_that_a_hang_shows() {
    let interval = Duration::from_mins(5);
    let node = NodeState::new([Family::Nvidia], false, Timing::new(interval), &Chosen::all([]));
    let source = &node.sources[0];
    let identity = Arc::new(Identity::new(Family::Nvidia, "gpu0"));
    let device = source.device(&found("gpu0".to_owned(), Arc::clone(&identity)));
    let start = Instant::now();
    let is_up = || device.snapshot().status == Status::Up;
    device.assign(1, &identity);
    device.publish(1, Batch::default(), start);
    node.check(start + interval);
    assert!(is_up(), "old, as the interval is long");
    assert!(!node.in_call());
    device.begin("sample", start + interval);
    assert!(node.in_call(), "it is checked on more often");
    node.check(start + interval + Duration::from_secs(11));
    assert!(!is_up(), "its call hangs");
    device.end();
    device.publish(1, Batch::default(), start + interval);
    // The session is replaced: no worker reads the device before the connect returns.
    device.revoke();
    assert!(!node.in_call());
    source.begin("connect", start + interval);
    assert!(node.in_call());
    node.check(start + interval + Duration::from_secs(9));
    assert!(is_up());
    node.check(start + interval + Duration::from_secs(11));
    assert!(!is_up(), "the connect hangs");
}
