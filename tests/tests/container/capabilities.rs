//! Each capability of the preset `metrics` is needed: a command that needs it succeeds in the container, and fails when
//! the capability alone is taken away.

use std::{os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    Process,
    chart::{self, Helm},
    container::Container,
    skip::{is_root, skipped},
};
use serde_json::{Value, json};

use super::{ROOT_ONLY, root};

/// Source, capability, and a command of the shell; `PID` is a process of another user outside.
const NEEDED: [(&str, &str, &str); 4] = [
    ("xpu", "DAC_READ_SEARCH", "ls /host/proc/PID/fd"),
    ("xpu", "SYS_PTRACE", "cat /host/proc/PID/fdinfo/0"),
    // A counter of software over all processes of a CPU, which even a virtual machine has.
    ("xpu", "PERFMON", "perl -e '$a = pack(\"LLQx48\", 1, 64, 0); exit(syscall(298, $a, -1, 0, -1, 0) < 0)'"),
    ("amx", "PERFMON", "perl -e '$a = pack(\"LLQx48\", 1, 64, 0); exit(syscall(298, $a, -1, 0, -1, 0) < 0)'"),
];

/// Folders of this machine that a shell needs.
const TOOLS: [&str; 4] = ["/usr", "/lib", "/lib64", "/bin"];

/// The pod of a source with a shell in place of the program, without one of its capabilities.
fn shell(source: &str, without: Option<&str>, command: &str) -> Result<Value> {
    let volumes: Vec<_> =
        TOOLS.iter().map(|path| json!({"name": path[1..], "hostPath": {"path": path}})).collect();
    let mounts: Vec<_> =
        TOOLS.iter().map(|path| json!({"name": path[1..], "mountPath": path, "readOnly": true})).collect();
    let values = json!({"sources": [source], "extraVolumes": volumes, "extraVolumeMounts": mounts});
    let objects = Helm::newest()?.objects("accelscope", &values.to_string())?;
    let mut pod = chart::one(&objects, "DaemonSet")?["spec"]["template"]["spec"].clone();
    let container = &mut pod["containers"][0];
    container["command"] = json!(["/bin/sh", "-c", command]);
    container["args"] = json!([]);
    let added = container["securityContext"]["capabilities"]["add"].as_array_mut().context("capabilities")?;
    let before = added.len();
    added.retain(|name| Some(name.as_str().unwrap_or_default()) != without);
    ensure!(added.len() + usize::from(without.is_some()) == before, "{source} has no {without:?}");
    Ok(pod)
}

#[test]
fn every_capability_of_the_preset_is_needed() -> Result<()> {
    if !is_root() {
        return skipped(ROOT_ONLY);
    }
    let mut sleep = Command::new("sleep");
    let mut other = Process::spawn("sleep", sleep.arg("600").uid(65534).gid(65534))?;
    other.quiet();
    let root = root()?;
    for (source, capability, command) in NEEDED {
        let command = command.replace("PID", &other.id().to_string());
        let with = Container::run(root.path(), &shell(source, None, &command)?)?;
        ensure!(with.code == Some(0), "{source}, {command}: {with:?}");
        let without = Container::run(root.path(), &shell(source, Some(capability), &command)?)?;
        ensure!(without.code != Some(0), "{source} does not need {capability} for {command}");
    }
    Ok(())
}

#[test]
fn every_capability_of_the_chart_has_a_test() -> Result<()> {
    for source in ["nvidia", "gaudi", "xpu", "npu", "amx"] {
        let objects = Helm::newest()?.objects("accelscope", &format!("sources: [{source}]"))?;
        let pod = &chart::one(&objects, "DaemonSet")?["spec"]["template"]["spec"];
        let added = pod["containers"][0]["securityContext"]["capabilities"]["add"].clone();
        for name in added.as_array().into_iter().flatten() {
            ensure!(
                NEEDED.iter().any(|(own, capability, _)| *own == source && name == capability),
                "{source}: {name}"
            );
        }
    }
    Ok(())
}
