//! The files of `examples/` that ask for the verdict, run as their programs run them.

use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use e2e::{Node, artefacts::repository};
use serde_json::Value;
use sim::{Control, control::Fault};

use super::{becomes, socket, start};

/// A script that runs `accelscope` on the node as if it were installed.
fn installed(node: &Node) -> Result<String> {
    let command = node.accelscope("health", &[])?;
    let words = |word: &std::ffi::OsStr| format!("'{}'", word.display());
    let mut own = command.get_args();
    own.next();
    let own: Vec<_> = own.map(words).collect();
    let environment: Vec<_> = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={}", name.display(), words(value?))))
        .collect();
    let text = format!(
        "#!/bin/sh\nshift\nexec env {} {} health {} --health.socket '{}' \"$@\"\n",
        environment.join(" "),
        words(command.get_program()),
        own.join(" "),
        socket(node),
    );
    let path = node.dir().join("accelscope");
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path.display().to_string())
}

/// Machines that are well, in which a device has failed, and in which it is not known.
fn each(check: impl Fn(&Node, &str, i32) -> Result<()>) -> Result<()> {
    let node = Node::new("h100-sxm-4")?;
    let program = installed(&node)?;
    let exporter = start(&node)?;
    becomes(&node, "ok: 4 devices", 0)?;
    check(&node, &program, 0)?;
    node.control(&Control { fault: vec![Fault::lost()], ..Control::default() })?;
    becomes(&node, "failed: gpu0 lost, gpu1 lost, gpu2 lost, gpu3 lost", 1)?;
    check(&node, &program, 1)?;
    drop(exporter);
    node.control(&Control { fault: vec![Fault::hang().call("nvmlInit_v2")], ..Control::default() })?;
    check(&node, &program, 2)
}

#[test]
fn node_problem_detector_reads_the_code_and_a_message_of_80_characters() -> Result<()> {
    let text =
        fs::read_to_string(repository().join("examples/node-problem-detector/accelerator-health.json"))?;
    let plugin: Value = serde_json::from_str(&text)?;
    let longest = plugin["pluginConfig"]["max_output_length"].as_u64().context("a length")?;
    let rule = &plugin["rules"][0];
    let named = plugin["conditions"].as_array().context("conditions")?;
    ensure!(named.iter().any(|known| known["type"] == rule["condition"]), "an unknown condition");
    let seconds = |value: &Value| value.as_str().and_then(|text| text.strip_suffix('s')?.parse::<u64>().ok());
    let args: Vec<_> = rule["args"].as_array().context("args")?.iter().filter_map(Value::as_str).collect();
    let own = args.iter().position(|arg| *arg == "--timeout").and_then(|at| args.get(at + 1));
    let own = own.and_then(|text| text.strip_suffix('s')?.parse::<u64>().ok()).context("a time limit")?;
    ensure!(seconds(&rule["timeout"]).is_some_and(|limit| limit > own), "it is ended before it says unknown");
    each(|_, program, code| {
        // As the plugin does: without a terminal, and until standard output is closed.
        let mut child =
            Command::new(program).args(&args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut message = String::new();
        child.stdout.take().context("a pipe")?.read_to_string(&mut message)?;
        let status = child.wait()?;
        ensure!(status.code() == Some(code), "{status}: {message}");
        let message = message.trim();
        ensure!(!message.contains('\n') && message.chars().count() as u64 <= longest, "{message}");
        Ok(())
    })
}

/// Runs a script of Slurm; `scontrol` is one that notes what it is called with.
fn slurm(node: &Node, program: &str, script: &str, notes: &Path) -> Result<Option<i32>> {
    let scontrol = node.dir().join("scontrol");
    fs::write(&scontrol, format!("#!/bin/sh\necho \"$@\" >> '{}'\n", notes.display()))?;
    fs::set_permissions(&scontrol, fs::Permissions::from_mode(0o755))?;
    let mut command = Command::new(repository().join("examples/slurm").join(script));
    command.env("ACCELSCOPE", program).env("SCONTROL", scontrol).env("SLURMD_NODENAME", "node7");
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).status()?.code())
}

#[test]
fn slurm_drains_a_node_whose_device_has_failed_and_no_other() -> Result<()> {
    each(|node, program, code| {
        let notes = node.dir().join("notes");
        let _ = fs::remove_file(&notes);
        ensure!(slurm(node, program, "health-check.sh", &notes)? == Some(0));
        let called = fs::read_to_string(&notes).unwrap_or_default();
        let drains =
            called.starts_with("update NodeName=node7 State=DRAIN Reason=accelscope: failed: gpu0 lost");
        ensure!(if code == 1 { drains } else { called.is_empty() }, "{called}");
        Ok(())
    })
}

#[test]
fn a_prolog_ends_with_another_code_than_0_where_a_device_has_failed() -> Result<()> {
    each(|node, program, code| {
        let ended = slurm(node, program, "health-prolog.sh", &node.dir().join("notes"))?;
        ensure!(ended == Some(i32::from(code == 1)), "{ended:?} for {code}");
        Ok(())
    })
}
