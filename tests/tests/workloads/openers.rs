//! Devices whose drivers list no processes: who holds them is known by the open files of real processes.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use e2e::{Exporter, Grouped, Node, Process, process};

use super::{INFO, faults::without_capabilities};

/// A device of every machine, which stands for an accelerator's node: hardly any process has it open.
const NODE: (&str, &str) = ("/dev/full", "1:7\n");

const OPEN_FILES: [(&str, &str); 1] = [("interface", "open_files")];

/// A machine whose clock stands, so that its files stay as they are changed here, with the number of a device's node in
/// this file, and a procfs of the host that lists processes of the test's own.
fn machine(machine: &str, family: &str, file: &str) -> Result<(Node, PathBuf)> {
    let node = Node::new(machine)?.only(family).frozen();
    // The files are there when a command is.
    drop(node.accelscope("probe", &[])?);
    let file = node.sysfs().join(file);
    ensure!(fs::read_to_string(&file)?.starts_with("261:"), "the major number of accelerators");
    fs::write(file, NODE.1)?;
    let procfs = node.dir().join("processes");
    fs::create_dir_all(procfs.join("2"))?;
    fs::write(procfs.join("2/comm"), "kthreadd\n")?;
    Ok((node, procfs))
}

/// A process of the container with this short id that has the node open, in this procfs.
fn worker(procfs: &Path, id: &str) -> Result<Grouped> {
    let process = Grouped::with_open(&format!("docker/{id}{:052}", 0), File::open(NODE.0)?)?;
    let pid = process.id().to_string();
    symlink(PathBuf::from("/proc").join(&pid), procfs.join(pid))?;
    Ok(process)
}

fn held_by(exporter: &Exporter, device: &str, id: &str) -> Result<()> {
    exporter.until("the container holds the device", |samples| {
        let labels = [("device", device), ("workload_kind", "container"), ("container", id)];
        ensure!(samples.value(INFO, &labels)? == 1.0);
        ensure!(samples.all(INFO, &[]).count() == 1, "and nobody another");
        ensure!(samples.value("accelscope_workloads_up", &OPEN_FILES)? == 1.0);
        // What it has of the device is not known, so neither is what others have.
        ensure!(!samples.has("accel_workload_memory_used_bytes", &[]));
        Ok(())
    })
}

#[test]
fn gaudis_and_npus_are_held_by_who_has_their_nodes_open() -> Result<()> {
    for (name, family, device, file) in [
        ("gaudi3-8", "gaudi", "hpu3", "class/accel/accel3/dev"),
        ("nuc-lunar-lake", "npu", "0000:00:0b.0", "bus/pci/devices/0000:00:0b.0/accel/accel0/dev"),
    ] {
        let (node, procfs) = machine(name, family, file)?;
        let procfs_flag = ["--path.procfs", procfs.to_str().context("UTF-8")?];
        let exporter = node.start(&procfs_flag)?;
        let free = exporter.until("the processes can be seen", |samples| {
            ensure!(samples.value("accelscope_workloads_up", &OPEN_FILES)? == 1.0);
            Ok(samples.clone())
        })?;
        ensure!(!free.has(INFO, &[]), "{name}: nobody holds it");
        let process = worker(&procfs, "0be100000001")?;
        held_by(&exporter, device, "0be100000001")?;
        let table = node.run("probe", &procfs_flag)?.success()?;
        ensure!(table.contains(&format!("{device}  container 0be100000001")), "{table}");
        drop(process);
        exporter.until("the process has ended", |samples| {
            ensure!(!samples.has(INFO, &[]));
            ensure!(samples.value("accelscope_workloads_up", &OPEN_FILES)? == 1.0);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn processes_that_cannot_be_seen_are_a_reason_and_not_nobody() -> Result<()> {
    let (node, procfs) = machine("gaudi3-8", "gaudi", "class/accel/accel3/dev")?;
    let _process = worker(&procfs, "0be100000002")?;
    let address = process::free_address()?.to_string();
    let procfs_flag = ["--path.procfs", procfs.to_str().context("UTF-8")?];
    let flags =
        [&procfs_flag[..], &["--workloads.interval", "1s", "--web.listen-address", &address]].concat();
    let serve = node.accelscope("serve", &flags)?;
    let process = Process::spawn("accelscope", &mut without_capabilities(&node, &serve))?;
    let exporter = Exporter { process, address: address.parse()? };
    let until_hidden = |code: &str| {
        exporter.until(&format!("no holder because of {code}"), |samples| {
            ensure!(samples.value("accelscope_workloads_up", &OPEN_FILES)? == 0.0);
            let labels = [OPEN_FILES[0], ("call", "fd"), ("code", code)];
            ensure!(samples.value("accelscope_workloads_faults_total", &labels)? >= 1.0);
            ensure!(!samples.has(INFO, &[]) && samples.sum("accel_device_up", &[]) == 8.0);
            Ok(())
        })
    };
    until_hidden("needs_cap_sys_ptrace_and_dac_read_search")?;
    // In a container with processes of its own.
    fs::write(procfs.join("2/comm"), "sleep\n")?;
    fs::create_dir(procfs.join("1"))?;
    until_hidden("needs_host_pid_namespace")?;
    // One that may see them.
    fs::write(procfs.join("2/comm"), "kthreadd\n")?;
    held_by(&node.start(&procfs_flag)?, "hpu3", "0be100000002")
}

#[test]
fn nobody_looks_at_processes_where_nobody_asks_who_holds_a_device() -> Result<()> {
    let (node, procfs) = machine("gaudi3-8", "gaudi", "class/accel/accel3/dev")?;
    let _process = worker(&procfs, "0be100000003")?;
    let exporter = node.start(&["--path.procfs", procfs.to_str().context("UTF-8")?, "--workloads", "off"])?;
    let samples = exporter.settled()?;
    ensure!(!samples.has(INFO, &[]) && !samples.has("accelscope_workloads_up", &[]));
    Ok(())
}
