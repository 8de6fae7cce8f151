//! Letting go of devices: what is closed, what a scrape shows meanwhile, and who may ask for it.

use std::{fs, os::unix::fs::symlink, path::Path};

use super::{
    fake::{Act, Machine, Rig},
    http::Server,
};
use crate::sampling::detached::Cause;

const DETACHED: &str = "accel_device_detached{";

fn detach(rig: &Rig, key: &str, cause: Cause) {
    let source = &rig.node.sources[0];
    let device = source.devices().iter().find(|device| device.key == key).cloned().expect("known");
    source.detach(&device, cause);
}

fn attach(rig: &Rig, key: &str) {
    let source = &rig.node.sources[0];
    let device = source.devices().iter().find(|device| device.key == key).cloned().expect("known");
    assert!(source.attach(&device));
}

fn is_open(rig: &Rig, key: &str) -> Option<bool> {
    rig.node.sources[0].detached.is_open(key)
}

#[test]
fn a_detached_device_is_closed_with_its_session_and_is_not_lost() {
    let rig = Rig::new(Machine::with(&["gpu0", "gpu1"]));
    rig.until("both are up", |rig| rig.up("gpu0") == Some(1.0) && rig.up("gpu1") == Some(1.0));
    detach(&rig, "gpu0", Cause::Request);
    rig.until("it is closed", |rig| is_open(rig, "gpu0") == Some(false));
    let opened = rig.machine.calls("open gpu0");
    rig.until("the other is read again", |rig| {
        rig.machine.calls("connect") == 2 && rig.up("gpu1") == Some(1.0)
    });
    assert_eq!(rig.names("gpu0"), ["accel_device_detached", "accel_device_info", "accel_errors_total"]);
    assert_eq!(rig.value(&[DETACHED]), Some(1.0), "no other device has the series");
    assert_eq!(rig.value(&["accel_devices{"]), Some(2.0), "it counts, so none is missing");
    let listed = rig.machine.calls("devices");
    rig.machine.plug(&["gpu0", "gpu1", "gpu2"]);
    rig.until("hot-plug goes on", |rig| {
        rig.up("gpu2") == Some(1.0) && rig.machine.calls("devices") > listed + 3
    });
    assert_eq!((rig.up("gpu0"), rig.machine.calls("open gpu0")), (None, opened));
    attach(&rig, "gpu0");
    rig.until("it is back", |rig| rig.up("gpu0") == Some(1.0));
    assert_eq!(rig.value(&[DETACHED]), None);
}

#[test]
fn a_device_whose_driver_hangs_stays_open_until_the_call_returns() {
    let rig = Rig::new(Machine::with(&["gpu0", "gpu1"]));
    rig.until("both are up", |rig| rig.up("gpu0") == Some(1.0) && rig.up("gpu1") == Some(1.0));
    rig.machine.set("sample gpu0", Act::Hang);
    rig.until("it hangs", |rig| rig.value(&["accelscope_stuck_threads"]) == Some(1.0));
    detach(&rig, "gpu0", Cause::Request);
    rig.until("the other goes on", |rig| rig.machine.calls("connect") == 2 && rig.up("gpu1") == Some(1.0));
    assert_eq!((is_open(&rig, "gpu0"), rig.up("gpu0")), (Some(true), None));
    rig.machine.set("sample gpu0", Act::Succeed);
    rig.until("it is closed", |rig| is_open(rig, "gpu0") == Some(false));
}

#[test]
fn a_driver_of_which_every_device_is_detached_is_not_opened() {
    let rig = Rig::new(Machine::with(&["gpu0", "gpu1"]));
    rig.until("both are up", |rig| rig.up("gpu0") == Some(1.0) && rig.up("gpu1") == Some(1.0));
    for key in ["gpu0", "gpu1"] {
        detach(&rig, key, Cause::Request);
    }
    rig.until("the driver is closed", |rig| {
        rig.machine.sessions() == 0 && rig.value(&["accelscope_source_up"]) == Some(0.0)
    });
    assert_eq!(rig.value(&["accel_devices{"]), Some(2.0));
    attach(&rig, "gpu1");
    rig.until("it is read again", |rig| rig.up("gpu1") == Some(1.0));
    assert_eq!(rig.up("gpu0"), None);
}

#[test]
fn what_a_driver_gives_up_is_read_again_when_the_bus_shows_that_it_has_it() {
    let machine = Machine::with(&["gpu0", "gpu1"]);
    machine.place("gpu0", "0000:1a:00.0");
    machine.place("gpu1", "0000:1b:00.0");
    let rig = Rig::new(machine);
    let bind = |address: &str, driver: &str| {
        let link = rig.plug_pci(address).join("driver");
        let _ = fs::remove_file(&link);
        if !driver.is_empty() {
            symlink(Path::new("../../../bus/pci/drivers").join(driver), link).expect("linked");
        }
    };
    bind("0000:1a:00.0", "nvidia");
    bind("0000:1b:00.0", "nvidia");
    rig.until("both are up", |rig| {
        rig.up("gpu0") == Some(1.0)
            && rig.up("gpu1") == Some(1.0)
            && rig.value(&["accel_devices_expected{"]) == Some(2.0)
    });
    // The bus may have been seen to change once already.
    let before = rig.machine.calls("connect");
    detach(&rig, "gpu0", Cause::Unbind);
    let is_read_since = |rig: &Rig, connected| {
        rig.machine.calls("connect") == before + connected && rig.up("gpu1") == Some(1.0)
    };
    rig.until("it is closed", |rig| is_open(rig, "gpu0") == Some(false) && is_read_since(rig, 1));
    bind("0000:1a:00.0", "vfio-pci");
    rig.until("the change is seen, and the other is read", |rig| is_read_since(rig, 2));
    assert_eq!(
        rig.value(&["accel_devices_expected{"]),
        Some(2.0),
        "a device that was given away is not missing"
    );
    assert_eq!((rig.value(&[DETACHED]), rig.value(&["accel_devices{"])), (Some(1.0), Some(2.0)));
    bind("0000:1a:00.0", "nvidia");
    rig.until("it is back", |rig| rig.up("gpu0") == Some(1.0));
}

#[test]
fn requests_name_a_device_by_any_of_its_names_and_mistakes_have_a_reason() {
    let machine = Machine::with(&["gpu0", "gpu1"]);
    machine.place("gpu0", "0000:1a:00.0");
    machine.place("gpu1", "0000:1b:00.0");
    let server = Server::start(&machine);
    let send = |method: &str, target: &str, header: &str| {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n");
        server.exchange(&head)
    };
    let post = |target: &str| send("POST", target, "");
    for (target, status, says) in [
        ("/-/detach", 400, "no device is named"),
        ("/-/detach?device=gpu7", 404, "there is gpu0, gpu1"),
        ("/-/detach?family=amx", 404, "there is nvidia"),
        ("/-/detach?gpu=gpu0", 400, "use device or family"),
        // Both have it, in this fake.
        ("/-/detach?device=15", 409, "gpu0 and gpu1"),
    ] {
        let response = post(target);
        assert!(response.starts_with(&format!("HTTP/1.1 {status}")) && response.contains(says), "{response}");
    }
    assert!(send("GET", "/-/detach?device=gpu0", "").starts_with("HTTP/1.1 405"));
    assert!(send("POST", "/-/detach?device=gpu0", "Origin: http://x\r\n").starts_with("HTTP/1.1 403"));
    assert!(!server.get("/metrics").contains(DETACHED));
    for name in ["gpu0", "uuid-gpu0", "00000000:1A:00.0"] {
        assert!(post(&format!("/-/detach?device={name}")).contains("gpu0: detached; nothing of it is open"));
        assert!(server.get("/metrics").contains(DETACHED), "{name}");
        assert!(post(&format!("/-/attach?device={name}")).contains("gpu0: attached"), "{name}");
    }
    assert!(post("/-/attach?device=gpu0").contains("gpu0: was not detached"));
    let all = post("/-/detach?family=nvidia");
    assert!(all.contains("gpu0: detached") && all.contains("gpu1: detached"), "{all}");
}
