//! What may be read without privileges, and what the machine of the tests itself permits.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use e2e::{
    Node, process,
    skip::{is_root, skipped},
};
use serde_json::Value;

use super::{NUC, XEON};

/// Runs `accelscope probe --json` as nobody, with these capabilities; returns its report.
fn probe_as_nobody(node: &Node, capabilities: &str) -> Result<Value> {
    let probe = node.accelscope("probe", &["--json"])?;
    // Nobody may look into the node's folder, nor perhaps into the one that the binary was built in.
    fs::set_permissions(node.dir(), fs::Permissions::from_mode(0o755))?;
    let program = node.dir().join("accelscope");
    fs::copy(probe.get_program(), &program)?;
    // Who is not root cannot become somebody else, and is refused what root alone may read all the same.
    let mut command = if is_root() { node.command("setpriv") } else { node.command(&program) };
    if is_root() {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]);
        if !capabilities.is_empty() {
            command.arg(format!("--inh-caps={capabilities}")).arg(format!("--ambient-caps={capabilities}"));
        }
        command.arg(&program);
    }
    let finished = process::run(command.args(probe.get_args()))?;
    let said = finished.stderr.clone();
    serde_json::from_str(&finished.success()?).context(said)
}

/// Metric and code.
type Reasons = Vec<(String, String)>;

/// Metrics of the source's first device that have a value, and the codes of those that have none.
fn told(report: &Value, source: &str) -> Result<(BTreeSet<String>, Reasons)> {
    let mut sources = report["sources"].as_array().into_iter().flatten();
    let found = sources.find(|found| found["source"] == source).context("the source")?;
    let metrics = found["devices"][0]["metrics"].as_array().context("a device")?;
    let name = |metric: &Value| metric["metric"].as_str().unwrap_or_default().to_owned();
    let with = metrics.iter().filter(|metric| metric["series"].as_array().is_some_and(|all| !all.is_empty()));
    let without = metrics.iter().flat_map(|metric| {
        let absent = metric["absent"].as_array().into_iter().flatten();
        absent.map(move |why| (name(metric), why["code"].as_str().unwrap_or_default().to_owned()))
    });
    Ok((with.map(name).collect(), without.collect()))
}

/// Shuts files and folders to all but root.
fn only_root_reads(node: &Node, names: &[&str]) -> Result<()> {
    for name in names {
        fs::set_permissions(node.sysfs().join(name), fs::Permissions::from_mode(0o000))?;
    }
    Ok(())
}

#[test]
fn without_privileges_it_reads_what_the_permission_matrix_promises() -> Result<()> {
    let nuc = Node::new(NUC)?.only("npu").frozen();
    nuc.accelscope("probe", &[])?;
    only_root_reads(&nuc, &["class/intel_pmt/telem1/telem", "kernel/debug"])?;
    let (told_nobody, absent) = told(&probe_as_nobody(&nuc, "")?, "npu")?;
    for name in
        ["accel_utilization_ratio", "accel_memory_used_bytes", "accel_clock_hertz", "accel_device_asleep"]
    {
        ensure!(told_nobody.contains(name), "{name} needs no privilege");
    }
    for name in ["accel_power_watts", "accel_temperature_celsius", "accel_errors_total"] {
        ensure!(absent.contains(&(name.to_owned(), "EACCES".to_owned())), "{name}: {absent:?}");
    }
    if is_root() {
        let (with_capability, _) = told(&probe_as_nobody(&nuc, "+dac_read_search")?, "npu")?;
        for name in ["accel_power_watts", "accel_temperature_celsius", "accel_errors_total"] {
            ensure!(with_capability.contains(name), "{name} with CAP_DAC_READ_SEARCH");
        }
    } else {
        skipped("only root may give a capability to somebody else")?;
    }

    let xeon = Node::new(XEON)?.frozen();
    xeon.accelscope("probe", &[])?;
    let zone = "class/powercap/intel-rapl-tpmi:0";
    only_root_reads(
        &xeon,
        &[&format!("{zone}/energy_uj"), &format!("{zone}/intel-rapl-tpmi:0:0/energy_uj")],
    )?;
    let (told_nobody, absent) = told(&probe_as_nobody(&xeon, "")?, "amx")?;
    for name in [
        "accel_temperature_celsius",
        "accel_power_limit_watts",
        "accel_clock_hertz",
        "accel_throttle_events_total",
    ] {
        ensure!(told_nobody.contains(name), "{name} needs no privilege");
    }
    for name in ["accel_energy_joules_total", "accel_memory_energy_joules_total"] {
        ensure!(absent.contains(&(name.to_owned(), "EACCES".to_owned())), "{name}: {absent:?}");
    }
    if is_root() {
        let (with_capability, _) = told(&probe_as_nobody(&xeon, "+dac_read_search")?, "amx")?;
        ensure!(with_capability.contains("accel_energy_joules_total"));
    }
    // A folder that nobody may look into cannot be removed with the node by its own user.
    fs::set_permissions(nuc.sysfs().join("kernel/debug"), fs::Permissions::from_mode(0o700))?;
    Ok(())
}

#[test]
fn probe_says_what_this_very_machine_has_of_amx_and_why_it_is_not_counted() -> Result<()> {
    let node = Node::new(XEON)?.frozen();
    let program = node.accelscope("probe", &[])?.get_program().to_owned();
    let mut real = Command::new(program);
    real.args(["probe", "--source", "amx"]);
    let probe = process::run(&mut real)?;
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let intel = cpuinfo.contains("GenuineIntel");
    let sysfs = Path::new("/sys/bus/event_source/devices");
    if !intel || sysfs.join("cpu_core").exists() {
        ensure!(probe.code == Some(3) && probe.stdout.contains("reads Intel Xeons only"), "{probe:?}");
        return Ok(());
    }
    let amx = cpuinfo.contains(" amx_tile");
    ensure!(probe.code == Some(0) && probe.stdout.contains("socket0"), "{probe:?}");
    ensure!(probe.stdout.contains(if amx { "amx_int8" } else { "no AMX" }), "{probe:?}");
    if amx && !sysfs.join("cpu").exists() {
        ensure!(probe.stdout.contains("no_core_pmu"), "{probe:?}");
    }
    Ok(())
}
