//! A kubelet that hangs, refuses, sends what is no message, is dead or is none: no holder is reported, the reason is,
//! and all is well again once it is.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{
        fs::{PermissionsExt as _, chown},
        net::UnixListener,
    },
    path::Path,
    process::Command,
    thread,
};

use anyhow::{Context, Result, ensure};
use e2e::{Exporter, Kubelet, Node, Process, Samples, process, skip::is_root};
use serde_json::{Value, json};

use super::{INFO, pod, start};

/// Waits until no holder is reported, for this reason.
fn until_down(exporter: &Exporter, code: &str) -> Result<Samples> {
    exporter.until(&format!("no holder because of {code}"), |samples| {
        let labels = [("interface", "pod_resources")];
        ensure!(samples.value("accelscope_workloads_up", &labels)? == 0.0, "it is up");
        ensure!(!samples.has(INFO, &[]), "there is a holder");
        let faults = samples.all("accelscope_workloads_faults_total", &labels);
        let codes: Vec<_> = faults.map(|sample| sample.label("code")).collect();
        ensure!(codes.contains(&code), "{codes:?}");
        Ok(samples.clone())
    })
}

fn until_up(exporter: &Exporter) -> Result<()> {
    exporter.until("the holder is back", |samples| {
        ensure!(samples.value("accelscope_workloads_up", &[("interface", "pod_resources")])? == 1.0);
        ensure!(samples.has(INFO, &[("pod", "a")]), "no holder");
        Ok(())
    })
}

#[test]
fn each_way_of_failing_takes_the_holders_away_with_its_reason() -> Result<()> {
    let node = Node::new("t4-1")?;
    let scenario = |fault: Value| json!({"pods": [pod("a", "nvidia.com/gpu", &["0"])], "fault": fault});
    let mut kubelet = Kubelet::start(&scenario(Value::Null))?;
    let exporter = start(&node, &kubelet, &[])?;
    until_up(&exporter)?;
    let faults = [
        (json!("garbage"), "not_the_message"),
        (json!("flood"), "over_size_limit"),
        (json!({"status": "PERMISSION_DENIED"}), "GRPC_PERMISSION_DENIED"),
        (json!({"status": "RESOURCE_EXHAUSTED"}), "GRPC_RESOURCE_EXHAUSTED"),
        (json!({"status": "UNIMPLEMENTED"}), "GRPC_UNIMPLEMENTED"),
        (json!({"status": "FAILED_PRECONDITION"}), "GRPC_FAILED_PRECONDITION"),
        (json!("hang"), "no_response"),
    ];
    for (fault, code) in faults {
        kubelet.set(&scenario(fault))?;
        let samples = until_down(&exporter, code)?;
        ensure!(samples.value("accel_device_up", &[])? == 1.0, "{code}: the device is not concerned");
        kubelet.set(&scenario(Value::Null))?;
        until_up(&exporter)?;
    }
    // One that takes a second to respond is no fault.
    kubelet.set(&scenario(json!({"slow": 1})))?;
    until_up(&exporter)?;
    kubelet.set(&scenario(Value::Null))?;
    kubelet.kill();
    until_down(&exporter, "ECONNREFUSED")?;
    fs::remove_file(kubelet.socket())?;
    until_down(&exporter, "ENOENT")?;
    kubelet.restart()?;
    until_up(&exporter)?;
    let log = exporter.process.log();
    let count = |text: &str| log.matches(text).count();
    ensure!(count("who holds a device cannot be listed") == 8, "one line for each change:\n{log}");
    ensure!(count("who holds a device is listed") == 9, "one line for each change:\n{log}");
    exporter.ends_in_order()
}

/// Lets nobody but root's capabilities into a folder.
fn shut(folder: &Path, is_shut: bool) -> Result<()> {
    let (mode, owner) = if is_shut { (0o000, 65534) } else { (0o755, 0) };
    if is_root() {
        chown(folder, Some(owner), Some(owner))?;
    }
    Ok(fs::set_permissions(folder, fs::Permissions::from_mode(mode))?)
}

/// The command without the capabilities by which root passes over permissions.
pub(super) fn without_capabilities(node: &Node, command: &Command) -> Command {
    let mut same = node.command("setpriv");
    same.args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]);
    same.arg(command.get_program()).args(command.get_args());
    same
}

#[test]
fn a_socket_that_may_not_be_opened_is_a_fault_that_ends_with_the_permission() -> Result<()> {
    let node = Node::new("t4-1")?;
    let kubelet = Kubelet::start(&json!({"pods": [pod("a", "nvidia.com/gpu", &["0"])]}))?;
    let folder = kubelet.socket().parent().context("a folder")?.to_owned();
    shut(&folder, true)?;
    let address = process::free_address()?;
    let listen = ["--web.listen-address".to_owned(), address.to_string()];
    let flags: Vec<_> = kubelet.flags().into_iter().chain(listen).collect();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let serve = node.accelscope("serve", &flags)?;
    let process = Process::spawn("accelscope", &mut without_capabilities(&node, &serve))?;
    let exporter = Exporter { process, address };
    until_down(&exporter, "EACCES")?;
    let probe = node.accelscope("probe", &flags[..2])?;
    let table = process::run(&mut without_capabilities(&node, &probe))?.success()?;
    ensure!(table.contains("pod_resources") && table.contains("(EACCES)"), "{table}");
    ensure!(
        table.contains("may not be read by this user") && table.contains("docs/privileges.md"),
        "{table}"
    );
    shut(&folder, false)?;
    until_up(&exporter)
}

#[test]
fn what_is_no_kubelet_is_called_so() -> Result<()> {
    let node = Node::new("t4-1")?;
    let socket = node.dir().join("other.sock");
    let listener = UnixListener::bind(&socket)?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (mut stream, mut request) = (stream, [0; 24]);
            let _ = stream.read_exact(&mut request);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let socket = socket.to_str().context("a path of ASCII")?;
    let exporter = node.start(&["--kubelet.pod-resources-socket", socket, "--workloads.interval", "1s"])?;
    until_down(&exporter, "not_grpc")?;
    Ok(())
}

#[test]
fn a_kubelet_without_pod_info_costs_no_holder() -> Result<()> {
    let node = Node::new("t4-1")?;
    let pods = json!([pod("a", "nvidia.com/gpu", &["0"])]);
    let mut kubelet = Kubelet::start(&json!({"pods": pods, "pod_info": true}))?;
    let exporter = start(&node, &kubelet, &[])?;
    exporter.until("the UID", |samples| {
        ensure!(samples.has(INFO, &[("pod", "a"), ("pod_uid", "uid-a")]));
        Ok(())
    })?;
    // Its feature gate is switched off: the socket of before is left behind, and nothing listens on it.
    kubelet.set(&json!({"pods": pods}))?;
    kubelet.restart()?;
    exporter.until("the holder without its UID", |samples| {
        ensure!(samples.has(INFO, &[("pod", "a"), ("pod_uid", "")]));
        ensure!(samples.value("accelscope_workloads_up", &[("interface", "pod_info")])? == 0.0);
        ensure!(samples.value("accelscope_workloads_up", &[("interface", "pod_resources")])? == 1.0);
        Ok(())
    })
}
