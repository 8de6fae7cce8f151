//! The page at `/` and its JSON on real sockets.

use std::{io::Write, sync::Arc};

use flate2::read::GzDecoder;
use naming::Family;
use serde_json::Value;

use super::{
    fake::{Act, Machine, eventually, timing},
    http::{Server, live, read_one},
};
use crate::{commands::choice::Chosen, sampling::state::NodeState};

fn node(server: &Server) -> Value {
    let response = server.get("/api/v1/node");
    serde_json::from_str(response.split_once("\r\n\r\n").expect("a body").1).expect("JSON")
}

fn device<'n>(node: &'n Value, name: &str) -> &'n Value {
    let devices = node["devices"].as_array().expect("devices");
    devices.iter().find(|device| device["device"] == name).expect("the device")
}

#[test]
fn the_json_has_what_is_read_and_nothing_in_the_place_of_what_is_not() {
    let devices = ["gpu0", "gpu10", "gpu9"];
    let machine = Machine::with(&devices);
    let server = Server::start(&machine);
    let read = node(&server);
    assert_eq!(
        (&read["schema"], &read["node"], &read["program"]),
        (&1.into(), &"node<1>".into(), &"fake-exporter".into())
    );
    assert_eq!(read["state"], "OK");
    assert!(read.get("simulated").is_none());
    let source = &read["sources"][0];
    assert_eq!((&source["status"], &source["library"]), (&"up".into(), &"libfake.so.1".into()));
    let names: Vec<_> =
        read["devices"].as_array().expect("devices").iter().map(|device| &device["device"]).collect();
    assert_eq!(names, ["gpu0", "gpu9", "gpu10"]);
    let gpu = device(&read, "gpu0");
    assert_eq!(
        (&gpu["status"], &gpu["state"], &gpu["uuid"]),
        (&"up".into(), &"OK".into(), &"uuid-gpu0".into())
    );
    assert_eq!(gpu["health"], "ok");
    assert!(gpu["power_watts"].is_number() && gpu["engines"].is_object(), "{gpu}");
    for absent in
        ["memory_used_bytes", "utilization_ratio", "pcie", "findings", "errors", "reason", "health_reasons"]
    {
        assert!(gpu.get(absent).is_none(), "{absent}: {gpu}");
    }
    let power = gpu["history"]["power_watts"].as_array().expect("a history");
    assert!(power.len() == 60 && power[59].is_number() && power[0].is_null(), "{power:?}");
    assert!(gpu["history"].get("memory_used_bytes").is_none());
}

#[test]
fn a_device_that_is_down_and_an_event_are_red_with_their_reasons() {
    let machine = Machine::with(&["gpu0", "gpu1"]);
    let server = Server::start(&machine);
    machine.announce("gpu0");
    machine.set("sample gpu1", Act::Fail);
    let read = || node(&server);
    eventually("gpu1 is down", || device(&read(), "gpu1")["status"] == "down", || read().to_string());
    let lost = device(&read(), "gpu1").clone();
    assert_eq!((&lost["state"], &read()["state"]), (&"CRIT".into(), &"CRIT".into()));
    assert!(lost["reason"].as_str().is_some_and(|reason| reason.contains("FAKE_BROKEN")), "{lost}");
    assert_eq!(lost["findings"][0]["signal"], "device_up");
    assert_eq!((&lost["health"], &lost["health_reasons"][0]["reason"]), (&"failed".into(), &"lost".into()));
    assert_eq!(lost["health_reasons"][0]["alert"], "DeviceLost");
    assert!(server.get("/").contains("health failed: lost"), "the table has it too");
    eventually("the event", || device(&read(), "gpu0")["errors"][0]["count"] == 1.0, || read().to_string());
    let error = device(&read(), "gpu0")["errors"][0].clone();
    assert_eq!((&error["kind"], &error["code"]), (&"xid".into(), &"79".into()));
    assert!(error["meaning"].as_str().is_some_and(|text| text.contains("fallen off the bus")), "{error}");
    assert!(error["action"].is_string(), "{error}");
    let counted = device(&read(), "gpu0").clone();
    assert_eq!(
        (&counted["health"], &counted["health_reasons"][0]["detail"]),
        (&"failed".into(), &"xid 79".into())
    );
    machine.set("sample gpu1", Act::Succeed);
}

#[test]
fn the_json_is_compressed_when_asked_and_the_page_loads_nothing_from_elsewhere() {
    let server = Server::start(&Machine::with(&["gpu0"]));
    let mut stream = server.connect();
    stream.write_all(b"GET /api/v1/node HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n").expect("sent");
    let (head, body) = read_one(&mut stream);
    for header in [
        "content-encoding: gzip",
        "vary: accept-encoding",
        "cache-control: no-cache",
        "content-type: application/json",
    ] {
        assert!(head.contains(&format!("{header}\r\n")), "{header}: {head}");
    }
    let read: Value = serde_json::from_reader(GzDecoder::new(&*body)).expect("JSON");
    assert_eq!(read["devices"][0]["device"], "gpu0");
    let page = server.get("/");
    assert!(
        page.contains("content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'"),
        "{page}"
    );
    assert!(page.contains("<h1>node&lt;1&gt;</h1>") && !page.contains("node<1>"), "{page}");
    // A proxy may serve the page below a path of its own.
    for link in page
        .split(['"'])
        .filter(|text| text.contains("live.") || text.contains("metrics") && !text.contains('>'))
    {
        assert!(!link.starts_with('/') && !link.contains(':'), "{link}");
    }
    assert!(
        server
            .get("/live.css")
            .contains(&format!(".crit {{ --state: {}; }}", thresholds::State::Crit.color()))
    );
    assert!(server.get("/live.js").contains("content-type: text/javascript"));
    let posted = server
        .exchange("POST /api/v1/node HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert!(posted.starts_with("HTTP/1.1 405"), "{posted}");
}

#[test]
fn a_driver_that_is_not_there_for_devices_of_the_bus_is_red() {
    let node = Arc::new(NodeState::new(Family::ALL, true, timing(), &Chosen::all([])));
    let live = live(&node);
    let read = || serde_json::from_slice::<Value>(&live.json(true, false)).expect("JSON");
    assert_eq!(
        (&read()["state"], &read()["sources"][0]["status"]),
        (&"NO DATA".into(), &"connecting".into())
    );
    node.sources[0].down("no driver".to_owned(), None, Some(8), false);
    node.sources[1].down("no such hardware".to_owned(), None, None, true);
    let read = read();
    assert_eq!(read["state"], "CRIT");
    let status =
        |place: usize| (read["sources"][place]["status"].clone(), read["sources"][place]["state"].clone());
    assert_eq!(status(0), ("down".into(), "CRIT".into()));
    assert_eq!(status(1), ("absent".into(), "NO DATA".into()));
    assert_eq!(
        (&read["sources"][0]["devices"], &read["sources"][0]["reason"]),
        (&0.into(), &"no driver".into())
    );
}

#[test]
fn the_json_is_made_once_while_nothing_changes() {
    let node = Arc::new(NodeState::new(
        [Family::Nvidia],
        false,
        crate::sampling::timing::Timing { interval: std::time::Duration::from_hours(1), ..timing() },
        &Chosen::all([]),
    ));
    let live = live(&node);
    let (plain, gzip) = (live.json(true, false), live.json(true, true));
    let is_same = |kept: &bytes::Bytes, gzip| std::ptr::eq(kept.as_ptr(), live.json(true, gzip).as_ptr());
    let started = std::time::Instant::now();
    let both = is_same(&plain, false) && is_same(&gzip, true);
    // It is kept for a second.
    assert!(both || started.elapsed().as_millis() > 900, "made anew");
    node.sources[0].down("gone".to_owned(), None, None, false);
    assert!(live.json(true, false) != plain, "a change makes a new one");
    assert!(!String::from_utf8_lossy(&live.json(false, false)).contains("gone"));
}
