//! A container of the chart, run by runc as a kubelet and its runtime would run it: with the user, capabilities, mounts,
//! variables and limits of the rendered pod, and the restrictions that containerd adds by itself.
//!
//! The network is that of the test, where a kubelet would give the pod one of its own.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    NODE_NAME, Process, eventually,
    process::{self, Finished},
};

/// What containerd hides from a container that is not privileged.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// What it makes read-only.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The default profile of Debian's container tools.
pub const SECCOMP: &str = "/usr/share/containers/seccomp.json";

/// What vendors' libraries are linked with, and the image has beside the C library itself.
const LIBRARIES: [&str; 5] = ["libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libgcc_s.so.1"];

/// Where the program of the image is.
pub const PROGRAM: &str = "/usr/bin/accelscope";

/// The variable with the root file system of an image.
pub const IMAGE_ROOT: &str = "ACCELSCOPE_IMAGE_ROOT";

/// A running container, and its log.
pub struct Container {
    process: Process,
    state: TempDir,
    id: String,
}

impl Container {
    /// Runs the first container of a pod in a copy of the root file system that must stay as it is.
    pub fn start(root: &Path, pod: &Value) -> Result<Self> {
        let state = tempfile::Builder::new().prefix("accelscope-container-").tempdir()?;
        let id = state.path().file_name().and_then(|name| name.to_str()).context("a name")?.to_owned();
        let empty = state.path().join("empty");
        fs::create_dir(&empty)?;
        fs::write(state.path().join("config.json"), config(root, pod, &id, &empty)?.to_string())?;
        let mut run = runc(state.path());
        let process = Process::spawn("runc", run.args(["run", "--bundle"]).arg(state.path()).arg(&id))?;
        Ok(Self { process, state, id })
    }

    /// Runs its program to the end; returns what it printed.
    pub fn run(root: &Path, pod: &Value) -> Result<Finished> {
        let mut container = Self::start(root, pod)?;
        container.process.quiet();
        let status = container.process.wait()?;
        Ok(Finished { code: status.code(), stdout: container.log(), stderr: String::new() })
    }

    /// Its main process, by its id outside.
    pub fn id(&self) -> Result<u32> {
        eventually("the container has a process", || {
            let state = process::run(runc(self.state.path()).args(["state", &self.id]))?.success()?;
            let id = serde_json::from_str::<Value>(&state)?["pid"].as_u64().context("a process")?;
            ensure!(id > 0, "not yet");
            Ok(u32::try_from(id)?)
        })
    }

    /// Runs a command beside its program, with the same environment and restrictions.
    pub fn exec(&self, command: &[&str]) -> Result<Finished> {
        process::run(runc(self.state.path()).arg("exec").arg(&self.id).args(command))
    }

    /// Fails when it has ended, with its log.
    pub fn ensure_running(&mut self) -> Result<()> {
        self.process.ensure_running()
    }

    /// What it has written.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Asks it to end as a kubelet does; fails unless it ends in order.
    pub fn ends_in_order(mut self) -> Result<()> {
        process::run(runc(self.state.path()).args(["kill", &self.id, "TERM"]))?.success()?;
        let status = self.process.wait()?;
        ensure!(status.success(), "{status}: {}", self.log());
        self.process.quiet();
        Ok(())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Fails where it has ended by itself.
        let _ = process::run(runc(self.state.path()).args(["delete", "--force", &self.id]));
    }
}

fn runc(state: &Path) -> Command {
    let mut command = Command::new("runc");
    command.arg("--root").arg(state.join("runc"));
    command
}

/// The description of the container that runc reads.
fn config(root: &Path, pod: &Value, id: &str, empty: &Path) -> Result<Value> {
    let container = &pod["containers"][0];
    let security = &container["securityContext"];
    let privileged = security["privileged"] == true;
    let capabilities = capabilities(security)?;
    let command = container["command"].as_array().cloned().unwrap_or_else(|| vec![json!(PROGRAM)]);
    let args = command.iter().chain(container["args"].as_array().into_iter().flatten());
    let mut namespaces = vec!["mount", "uts", "ipc"];
    if pod["hostPID"] != true {
        namespaces.push("pid");
    }
    let mut linux = json!({
        "cgroupsPath": format!("/{id}"),
        "namespaces": namespaces.iter().map(|kind| json!({"type": kind})).collect::<Vec<_>>(),
        "rootfsPropagation": "rslave",
        "resources": {
            "devices": [{"allow": privileged, "access": "rwm"}],
            "memory": {"limit": bytes(&container["resources"]["limits"]["memory"])?},
        },
    });
    if !privileged {
        linux["maskedPaths"] = json!(MASKED);
        linux["readonlyPaths"] = json!(READ_ONLY);
        linux["seccomp"] = match security["seccompProfile"]["type"].as_str() {
            Some("RuntimeDefault") => seccomp(&capabilities)?,
            other => anyhow::bail!("profile {other:?} is not known here"),
        };
    }
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": security["runAsUser"], "gid": security["runAsGroup"]},
            "args": args.collect::<Vec<_>>(),
            "env": environment(container)?,
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "noNewPrivileges": security["allowPrivilegeEscalation"] == false,
        },
        "root": {"path": root, "readonly": security["readOnlyRootFilesystem"]},
        "mounts": mounts(pod, privileged, empty)?,
        "linux": linux,
    }))
}

/// All for a privileged container; else what the pod adds, since the chart drops all.
fn capabilities(security: &Value) -> Result<Vec<String>> {
    if security["privileged"] == true {
        let last: usize = fs::read_to_string("/proc/sys/kernel/cap_last_cap")?.trim().parse()?;
        let bounding = fs::read_to_string("/proc/self/status")?;
        let bounding =
            bounding.lines().find_map(|line| line.strip_prefix("CapBnd:")).context("capabilities")?;
        let bounding = u64::from_str_radix(bounding.trim(), 16)?;
        let names =
            process::run(Command::new("capsh").arg(format!("--decode={:x}", bounding & ((2 << last) - 1))))?;
        let names = names.success()?;
        let (_, names) = names.trim().split_once('=').context("names of capabilities")?;
        return Ok(names.split(',').map(str::to_uppercase).collect());
    }
    ensure!(security["capabilities"]["drop"] == json!(["ALL"]), "not all capabilities are dropped");
    let added = security["capabilities"]["add"].as_array().into_iter().flatten();
    Ok(added.filter_map(Value::as_str).map(|name| format!("CAP_{name}")).collect())
}

/// `NAME=VALUE`, the later of two of a name.
fn environment(container: &Value) -> Result<Vec<String>> {
    let mut all = vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
    for variable in container["env"].as_array().into_iter().flatten() {
        let name = variable["name"].as_str().context("a variable has a name")?;
        let value = match (variable["value"].as_str(), &variable["valueFrom"]["fieldRef"]["fieldPath"]) {
            (Some(value), _) => value,
            (None, path) if path == "spec.nodeName" => NODE_NAME,
            (None, other) => anyhow::bail!("{name} has a value from {other}"),
        };
        all.retain(|(known, _)| known != name);
        all.push((name.to_owned(), value.to_owned()));
    }
    Ok(all.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}

/// The runtime's own mounts, and those of the pod. A folder that the host lacks is `empty`, where containerd would make
/// it on the host.
fn mounts(pod: &Value, privileged: bool, empty: &Path) -> Result<Vec<Value>> {
    let own = |at: &str, kind: &str, options: &[&str]| {
        let options = [&["nosuid"], options].concat();
        json!({"destination": at, "type": kind, "source": kind, "options": options})
    };
    let sysfs = if privileged { "rw" } else { "ro" };
    let mut all = vec![
        own("/proc", "proc", &["noexec", "nodev"]),
        own("/dev", "tmpfs", &["strictatime", "mode=755", "size=65536k"]),
        own("/dev/pts", "devpts", &["noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
        own("/dev/shm", "tmpfs", &["noexec", "nodev", "mode=1777", "size=65536k"]),
        own("/dev/mqueue", "mqueue", &["noexec", "nodev"]),
        own("/sys", "sysfs", &["noexec", "nodev", sysfs]),
    ];
    let volumes = pod["volumes"].as_array().map_or(&[][..], Vec::as_slice);
    for mount in pod["containers"][0]["volumeMounts"].as_array().into_iter().flatten() {
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).context("its volume")?;
        let access = match (&mount["readOnly"], &mount["recursiveReadOnly"]) {
            (Value::Bool(true), Value::String(_)) => "rro",
            (Value::Bool(true), _) => "ro",
            _ => "rw",
        };
        let slave = if mount["mountPropagation"] == "HostToContainer" { "rslave" } else { "rprivate" };
        let source = Path::new(volume["hostPath"]["path"].as_str().context("a folder of the host")?);
        let source = if source.exists() { source } else { empty };
        all.push(json!({
            "destination": mount["mountPath"], "type": "bind", "source": source,
            "options": ["rbind", access, slave],
        }));
    }
    Ok(all)
}

/// A quantity of memory, in bytes.
///
/// # Errors
/// When it is not in Mi.
pub fn bytes(quantity: &Value) -> Result<u64> {
    let text = quantity.as_str().context("a memory limit")?;
    Ok(text.strip_suffix("Mi").context("a number of Mi")?.parse::<u64>()? << 20)
}

/// The default profile for a container with these capabilities. Debian's permits `perf_event_open` with
/// `CAP_SYS_ADMIN` only; containerd permits it with `CAP_PERFMON` too, and so does this one.
fn seccomp(capabilities: &[String]) -> Result<Value> {
    let text = fs::read_to_string(SECCOMP).with_context(|| format!("{SECCOMP}: run `cargo xtask setup`"))?;
    let profile: Value = serde_json::from_str(&text)?;
    let has = |list: &Value, all: bool| {
        let mut caps = list["caps"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let known = |name: &str| capabilities.iter().any(|own| own == name);
        if all { caps.all(known) } else { caps.any(known) }
    };
    let here =
        |rule: &Value| rule["includes"]["arches"].as_array().is_none_or(|all| all.contains(&json!("amd64")));
    let perf = capabilities.iter().any(|name| name == "CAP_PERFMON");
    let mut rules = Vec::new();
    for rule in profile["syscalls"].as_array().context("a profile has calls")? {
        if !has(&rule["includes"], true) || has(&rule["excludes"], false) || !here(rule) {
            continue;
        }
        let names: Vec<_> = rule["names"].as_array().into_iter().flatten().collect();
        let names: Vec<_> = names.into_iter().filter(|name| !perf || *name != "perf_event_open").collect();
        let mut own = json!({"names": names, "action": rule["action"]});
        for key in ["args", "errnoRet"] {
            if !rule[key].is_null() && rule[key] != json!([]) {
                own[key] = rule[key].clone();
            }
        }
        rules.push(own);
    }
    if perf {
        rules.push(json!({"names": ["perf_event_open"], "action": "SCMP_ACT_ALLOW"}));
    }
    Ok(json!({
        "defaultAction": profile["defaultAction"], "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": rules,
    }))
}

/// The root file system of the image that `cargo xtask image` has built, or, without one, a program with just the
/// libraries of this machine that it is linked with, as the image has them.
pub fn root(program: &Path) -> Result<Root> {
    if let Some(image) = env::var_os(IMAGE_ROOT) {
        return Ok(Root { path: fs::canonicalize(image)?, _own: None });
    }
    let folder = tempfile::Builder::new().prefix("accelscope-root-").tempdir()?;
    let libraries = process::run(Command::new("ldd").arg(program))?.success()?;
    let mut libraries: BTreeSet<_> =
        libraries.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect();
    let c =
        libraries.iter().find(|path| path.ends_with("libc.so.6")).context("it needs a C library")?.clone();
    libraries.extend(LIBRARIES.map(|name| c.with_file_name(name)));
    for (from, to) in libraries.iter().map(|path| (&**path, &**path)).chain([(program, Path::new(PROGRAM))]) {
        let to = folder.path().join(to.strip_prefix("/")?);
        fs::create_dir_all(to.parent().context("a folder")?)?;
        fs::copy(from, &to).with_context(|| from.display().to_string())?;
    }
    // runc makes the places of mounts in it, as a runtime does in the container's own layer.
    Ok(Root { path: folder.path().to_owned(), _own: Some(folder) })
}

/// A root file system.
pub struct Root {
    path: PathBuf,
    _own: Option<TempDir>,
}

impl Root {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
