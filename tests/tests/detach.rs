//! Letting go of devices, at the real binary: what of a device a process still has open, by its `/proc/PID/fd`.

#![expect(clippy::float_cmp, reason = "flags and counts are printed and parsed exactly")]

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result, ensure};
use e2e::{
    Exporter, Node, Samples, eventually,
    http::{Request, Response},
};
use sim::{Control, control::DriverState};

/// A node whose library holds the nodes of its GPUs open, as the driver's does.
fn node() -> Result<Node> {
    let node = Node::new("h100-sxm-4")?.with_nodes(4)?.with_bus()?;
    Ok(node)
}

/// The names of the device nodes that the process and its helpers have open.
fn open_nodes(node: &Node, exporter: &Exporter) -> Result<BTreeSet<String>> {
    let mut open = BTreeSet::new();
    for pid in exporter.process.and_children()? {
        // A helper may end meanwhile.
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for file in files.flatten() {
            let Ok(target) = fs::read_link(file.path()) else { continue };
            if let Ok(name) = target.strip_prefix(node.nodes()) {
                open.insert(name.display().to_string());
            }
        }
    }
    Ok(open)
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn post(exporter: &Exporter, path: &str) -> Result<Response> {
    exporter.send(Request { method: "POST", path, headers: &[] })
}

fn is_up(samples: &Samples, device: &str) -> Result<()> {
    ensure!(samples.value("accel_device_up", &[("device", device)])? == 1.0, "{device}");
    Ok(())
}

/// One that is detached is not lost, and no device is missing.
fn is_detached(samples: &Samples, device: &str) -> Result<()> {
    let of = [("device", device)];
    ensure!(samples.value("accel_device_detached", &of)? == 1.0, "{device}");
    ensure!(samples.all("accel_device_detached", &[]).count() == 1);
    ensure!(samples.all("accel_device_up", &of).count() == 0, "{device}");
    ensure!(samples.all("accel_device_info", &of).count() == 1, "{device}");
    ensure!(samples.all("accel_power_watts", &of).count() == 0, "{device}");
    for counted in ["accel_devices", "accel_devices_expected"] {
        ensure!(samples.value(counted, &[("family", "nvidia")])? == 4.0, "{counted}");
    }
    Ok(())
}

fn lets_go(flags: &[&str]) -> Result<()> {
    let node = node()?;
    let exporter = node.start(&[&["--detach.enable"], flags].concat())?;
    exporter.settled()?;
    let all = names(&["nvidia0", "nvidia1", "nvidia2", "nvidia3", "nvidiactl"]);
    ensure!(open_nodes(&node, &exporter)? == all);
    let uuid = exporter
        .scrape()?
        .all("accel_device_up", &[("device", "gpu1")])
        .next()
        .context("gpu1")?
        .label("uuid")
        .to_owned();
    let response = post(&exporter, &format!("/-/detach?device={uuid}"))?;
    ensure!(response.status == 200, "{}", response.text()?);
    let left = open_nodes(&node, &exporter)?;
    ensure!(!left.contains("nvidia1"), "{left:?}");
    exporter.until("the others are read again", |samples| {
        is_detached(samples, "gpu1")?;
        ["gpu0", "gpu2", "gpu3"].iter().try_for_each(|device| is_up(samples, device))?;
        ensure!(open_nodes(&node, &exporter)? == names(&["nvidia0", "nvidia2", "nvidia3", "nvidiactl"]));
        Ok(())
    })?;
    // A board goes and comes, and the list is made anew.
    node.control(&Control { hidden: vec![3], ..Control::default() })?;
    exporter.until("a board is gone", |samples| {
        ensure!(samples.value("accel_device_up", &[("device", "gpu3")])? == 0.0);
        Ok(())
    })?;
    node.control(&Control::default())?;
    exporter.until("it is back", |samples| is_up(samples, "gpu3").and(is_detached(samples, "gpu1")))?;
    ensure!(!open_nodes(&node, &exporter)?.contains("nvidia1"));
    ensure!(post(&exporter, "/-/attach?device=nvidia1")?.status == 200);
    exporter.until("it is read again", |samples| is_up(samples, "gpu1"))?;
    ensure!(open_nodes(&node, &exporter)? == all);
    exporter.ends_in_order()
}

#[test]
fn a_gpu_is_let_go_of_and_taken_again() -> Result<()> {
    lets_go(&[])
}

#[test]
fn a_gpu_is_let_go_of_by_a_helper_process() -> Result<()> {
    lets_go(&["--isolate", "on"])
}

#[test]
fn a_driver_can_be_replaced_once_all_of_its_devices_are_detached() -> Result<()> {
    let node = node()?;
    let exporter = node.start(&["--detach.enable"])?;
    exporter.settled()?;
    ensure!(post(&exporter, "/-/detach?family=nvidia")?.status == 200);
    let open = open_nodes(&node, &exporter)?;
    ensure!(open.is_empty(), "{open:?}");
    node.control(&Control { driver: Some(DriverState::Unloaded), ..Control::default() })?;
    exporter.until("the source is closed", |samples| {
        ensure!(samples.value("accelscope_source_up", &[("source", "nvidia")])? == 0.0);
        ensure!(samples.value("accel_devices", &[("family", "nvidia")])? == 4.0, "none is missing");
        Ok(())
    })?;
    node.control(&Control { driver_epoch: Some(2), ..Control::default() })?;
    ensure!(post(&exporter, "/-/attach?family=nvidia")?.status == 200);
    exporter.until("all are read", |samples| (0..4).try_for_each(|n| is_up(samples, &format!("gpu{n}"))))?;
    Ok(())
}

#[test]
fn a_gpu_that_its_driver_gives_up_is_let_go_of() -> Result<()> {
    for flags in [&[][..], &["--isolate", "on"]] {
        let node = node()?;
        let exporter = node.start(flags)?;
        exporter.settled()?;
        node.control(&Control { unbound: vec![1], ..Control::default() })?;
        eventually("it is closed", || {
            let open = open_nodes(&node, &exporter)?;
            ensure!(!open.contains("nvidia1"), "{open:?}");
            Ok(())
        })?;
        exporter
            .until("it is detached", |samples| is_detached(samples, "gpu1").and(is_up(samples, "gpu0")))?;
        node.control(&Control::default())?;
        exporter.until("it is taken again", |samples| is_up(samples, "gpu1"))?;
        // Nobody has switched requests on.
        let refused = post(&exporter, "/-/detach?device=gpu0")?;
        ensure!(refused.status == 403 && refused.text()?.contains("--detach.enable"));
    }
    Ok(())
}

#[test]
fn a_token_or_a_password_is_asked_for_where_there_is_one() -> Result<()> {
    let node = node()?;
    let token = node.dir().join("token");
    fs::write(&token, "s3cret\n")?;
    let token = token.display().to_string();
    let exporter = node.start(&["--detach.enable", "--detach.token-file", &token])?;
    exporter.settled()?;
    let with = |headers: &[(&str, &str)]| {
        exporter.send(Request { method: "POST", path: "/-/detach?device=gpu0", headers })
    };
    ensure!(with(&[])?.status == 401);
    ensure!(with(&[("Authorization", "Bearer wrong")])?.status == 401);
    ensure!(exporter.scrape()?.all("accel_device_detached", &[]).count() == 0);
    ensure!(with(&[("Authorization", "Bearer s3cret")])?.status == 200);
    let refused = node.run("serve", &["--detach.token-file", &token])?;
    ensure!(refused.code == Some(2), "{refused:?}");
    Ok(())
}
