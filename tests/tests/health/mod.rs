//! The verdict on devices: `accelscope health`, its socket and series, and the programs that ask it.

mod programs;
mod table;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{Exporter, Node, eventually, process::Finished};
use serde_json::Value;
use sim::{Control, control::Fault};

/// The socket of a test's exporter.
pub fn socket(node: &Node) -> String {
    node.dir().join("health.sock").display().to_string()
}

/// An exporter with a socket.
pub fn start(node: &Node) -> Result<Exporter> {
    node.start(&["--health.socket", &socket(node)])
}

/// What `accelscope health` prints.
pub fn health(node: &Node, flags: &[&str]) -> Result<Finished> {
    node.run("health", &[&["--health.socket", &socket(node)], flags].concat())
}

/// Waits until the exporter has this line for its node.
pub fn becomes(node: &Node, line: &str, code: i32) -> Result<()> {
    eventually(line, || {
        let found = health(node, &[])?;
        ensure!(found.stdout == format!("{line}\n") && found.code == Some(code), "{found:?}");
        Ok(())
    })
}

#[test]
fn the_running_exporter_is_asked_first_and_says_what_its_series_say() -> Result<()> {
    let node = Node::new("h100-sxm-4")?;
    let exporter = start(&node)?;
    becomes(&node, "ok: 4 devices", 0)?;
    let mode = fs::metadata(socket(&node))?.permissions().mode() & 0o777;
    ensure!(mode == 0o660, "{mode:o}");
    node.control(&Control { fault: vec![Fault::lost().device(2)], ..Control::default() })?;
    becomes(&node, "failed: gpu2 lost", 1)?;
    exporter.until("the series say it too", |samples| {
        let is = |device, state| {
            let value = samples.value("accel_device_health", &[("device", device), ("state", state)]);
            value.map(|value| value > 0.5)
        };
        ensure!(is("gpu2", "failed")? && !is("gpu2", "ok")? && is("gpu1", "ok")?, "another state");
        let reasons: Vec<_> = samples.all("accel_device_health_reason", &[]).collect();
        ensure!(reasons.len() == 1 && reasons[0].label("reason") == "lost", "{reasons:?}");
        Ok(())
    })?;
    let json: Value = serde_json::from_str(&health(&node, &["--json"])?.stdout)?;
    let lost = json["devices"].as_array().context("devices")?.iter().find(|one| one["device"] == "gpu2");
    let lost = lost.context("gpu2")?;
    ensure!(lost["state"] == "failed" && lost["reasons"][0]["alert"] == "DeviceLost", "{lost}");
    ensure!(lost["reasons"][0]["actions"].as_array().is_some_and(|all| !all.is_empty()), "{lost}");
    // One that is well, several, and one that is not known.
    ensure!(health(&node, &["--device", "gpu1"])?.stdout == "ok: gpu1\n");
    let several = health(&node, &["--device", "gpu1,gpu2"])?;
    ensure!(several.stdout == "ok: gpu1\nfailed: gpu2 lost\n" && several.code == Some(1), "{several:?}");
    let unknown = health(&node, &["--device", "gpu9"])?;
    ensure!(unknown.code == Some(2) && unknown.stdout.starts_with("unknown: no device gpu9"), "{unknown:?}");
    Ok(())
}

#[test]
fn without_an_exporter_the_devices_are_read_in_a_process_of_their_own() -> Result<()> {
    let node = Node::new("h100-sxm-4")?;
    let found = health(&node, &[])?;
    ensure!(found.stdout == "ok: 4 devices\n" && found.code == Some(0), "{found:?}");
    node.control(&Control { fault: vec![Fault::lost().device(1)], ..Control::default() })?;
    let found = health(&node, &[])?;
    ensure!(found.stdout == "failed: gpu1 lost\n" && found.code == Some(1), "{found:?}");
    Ok(())
}

#[test]
fn a_driver_that_hangs_does_not_keep_the_verdict() -> Result<()> {
    let node = Node::new("h100-sxm-4")?;
    // Of one device, and of the whole driver, with an exporter and without.
    let one = Control { fault: vec![Fault::hang().device(1)], ..Control::default() };
    let driver = Control { fault: vec![Fault::hang().call("nvmlInit_v2")], ..Control::default() };
    // A new process cannot list the devices while one of them hangs.
    let unknown = ("unknown: nvidia hung", 2);
    for (control, alone, asked) in [(&one, unknown, ("failed: gpu1 hung", 1)), (&driver, unknown, unknown)] {
        node.control(control)?;
        let begin = Instant::now();
        let found = health(&node, &["--timeout", "20s"])?;
        ensure!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
        let is = |found: &Finished, (line, code): (&str, i32)| {
            ensure!(found.stdout.starts_with(line) && found.code == Some(code), "{found:?}");
            Ok(())
        };
        is(&found, alone)?;
        node.control(&Control::default())?;
        let hangs_from_the_start = alone == asked;
        if hangs_from_the_start {
            node.control(control)?;
        }
        let exporter = node.launch(&["--health.socket", &socket(&node)])?;
        if !hangs_from_the_start {
            becomes(&node, "ok: 4 devices", 0)?;
            node.control(control)?;
        }
        eventually(asked.0, || is(&health(&node, &[])?, asked))?;
        drop(exporter);
        node.control(&Control::default())?;
    }
    Ok(())
}

/// Each vendor's library: the machine, the flags by which it alone is read, and the second device.
const LIBRARIES: [(&str, &[&str], &str); 3] = [
    ("h100-sxm-4", &[], "gpu1"),
    ("gaudi3-8", &[], "hpu1"),
    ("battlematrix-8", &["--xpu.backend", "level-zero"], "0000:07:00.0"),
];

#[test]
fn two_seconds_are_enough_for_a_verdict_while_any_library_hangs() -> Result<()> {
    let hang = Control { fault: vec![Fault::hang().device(1)], ..Control::default() };
    for (machine, flags, device) in LIBRARIES {
        let node = Node::new(machine)?;
        let verdict = |what: &str, is: &dyn Fn(&Finished) -> bool| {
            eventually(&format!("{machine}: {what}"), || {
                let begin = Instant::now();
                let found = health(&node, &[&["--timeout", "2s"], flags].concat())?;
                let took = begin.elapsed();
                ensure!(is(&found) && took < Duration::from_secs(2), "{took:?}: {found:?}");
                Ok(())
            })
        };
        let exporter = node.start(&[&["--health.socket", &socket(&node)], flags].concat())?;
        verdict("every device is well", &|found| found.code == Some(0))?;
        node.control(&hang)?;
        let failed = format!("failed: {device} hung\n");
        verdict("the exporter says which hangs", &|found| found.stdout == failed && found.code == Some(1))?;
        drop(exporter);
        // A process that is new cannot always list the devices then.
        verdict("without an exporter, something hangs", &|found| {
            found.stdout.contains("hung") && matches!(found.code, Some(1 | 2))
        })?;
    }
    Ok(())
}
