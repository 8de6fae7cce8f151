//! The packaged unit: valid, little exposed, and each of its lines in force under the real systemd while simulated
//! machines of every family are read.

mod attempts;
mod system_calls;

use std::{
    collections::BTreeSet, fmt::Write as _, fs, net::SocketAddr, os::unix::fs::PermissionsExt as _,
    path::PathBuf, process::Command,
};

use anyhow::{Context, Result, ensure};
use e2e::{
    Artefacts, Node, Samples,
    artefacts::repository,
    eventually, http,
    http::Request,
    process,
    skip::{is_root, skipped},
    systemd::Systemd,
};

/// Why a machine may be unable to run some of these tests.
const ROOT_ONLY: &str = "only root may start a systemd of its own";

/// Machines that together have every family, and the drop-in of each.
const MACHINES: [(&str, Option<&str>); 5] = [
    ("h100-sxm-8", None),
    ("gaudi3-8", None),
    ("battlematrix-8", Some("intel-gpu.conf")),
    ("nuc-lunar-lake", Some("intel-gpu.conf")),
    ("xeon6-amx", Some("xeon.conf")),
];

/// The first id that systemd gives to a dynamic user.
const FIRST_DYNAMIC_USER: u32 = 61184;

/// The unit and its drop-ins, and the exposure that systemd rates each at, at most, in tenths (the unit alone without
/// any of its lines has 96).
const EXPOSURES: [(Option<&str>, u32); 4] =
    [(None, 16), (Some("intel-gpu.conf"), 21), (Some("intel-npu.conf"), 18), (Some("xeon.conf"), 18)];

fn folder() -> PathBuf {
    repository().join("packaging/systemd")
}

fn unit() -> Result<String> {
    let path = folder().join("accelscope.service");
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

#[test]
fn the_unit_and_its_drop_ins_are_valid_and_little_exposed() -> Result<()> {
    let binary = Artefacts::beside_this_program()?.binary("accelscope")?;
    for (drop_in, most) in EXPOSURES {
        let place = tempfile::tempdir()?;
        let path = place.path().join("accelscope.service");
        // The binary is where cargo built it, and not installed.
        fs::write(&path, unit()?.replace("/usr/local/bin/accelscope", &binary.display().to_string()))?;
        if let Some(name) = drop_in {
            let own = place.path().join("accelscope.service.d");
            fs::create_dir(&own)?;
            fs::copy(folder().join(name), own.join(name))?;
        }
        let verified = process::run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path))?;
        let about_it = verified.stderr.lines().filter(|line| line.contains("accelscope"));
        let about_it: Vec<_> = about_it.collect();
        ensure!(verified.code == Some(0) && about_it.is_empty(), "{drop_in:?}: {verified:?}");
        let threshold = format!("--threshold={most}");
        let mut rate = Command::new("systemd-analyze");
        rate.args(["security", "--offline=true", "--no-pager", &threshold]).arg(&path);
        process::run(&mut rate)?.success().with_context(|| format!("{drop_in:?}"))?;
    }
    Ok(())
}

/// A unit of the lab: where its file lies, and the text.
type Units = Vec<(String, String)>;

/// The packaged unit on a simulated machine, and beside it the same program, user and capabilities without the unit's
/// other lines.
struct Service {
    node: Node,
    machine: &'static str,
    capabilities: String,
    held: SocketAddr,
    free: SocketAddr,
}

impl Service {
    fn new((machine, drop_in): (&'static str, Option<&str>)) -> Result<Self> {
        let node = Node::new(machine)?.frozen();
        // The service runs as an ordinary user.
        fs::set_permissions(node.dir(), fs::Permissions::from_mode(0o755))?;
        let capabilities = drop_in.map(|name| fs::read_to_string(folder().join(name))).transpose()?;
        let [held, free] = [process::free_address()?, process::free_address()?];
        Ok(Self { node, machine, capabilities: capabilities.unwrap_or_default(), held, free })
    }

    fn name(&self) -> String {
        format!("{}.service", self.machine)
    }

    fn free_name(&self) -> String {
        format!("free-{}.service", self.machine)
    }

    /// The packaged unit with its drop-in and these further lines, and the one beside it.
    fn units(&self, further: &str) -> Result<Units> {
        let free = "[Service]\nType=notify\nUser=65534\n".to_owned();
        let mut units = Vec::new();
        for (name, text, address, further) in
            [(self.name(), unit()?, self.held, further), (self.free_name(), free, self.free, "")]
        {
            units.push((format!("{name}.d/1.conf"), self.capabilities.clone()));
            units.push((format!("{name}.d/2.conf"), self.machine(address, further)?));
            units.push((name, text));
        }
        Ok(units)
    }

    /// A drop-in that says where the program is and what it reads, and takes nothing back.
    fn machine(&self, address: SocketAddr, further: &str) -> Result<String> {
        let serve = self.node.accelscope("serve", &["--web.listen-address", &address.to_string()])?;
        let program = self.node.dir().join("accelscope");
        if !program.exists() {
            fs::copy(serve.get_program(), &program)?;
        }
        let program = program.display();
        let mut text = format!("[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=\nExecStart={program}");
        for argument in serve.get_args() {
            write!(text, " {}", argument.display())?;
        }
        for (name, value) in serve.get_envs() {
            let value = value.unwrap_or_default();
            write!(text, "\nEnvironment=\"{}={}\"", name.display(), value.display())?;
        }
        writeln!(text, "\nBindReadOnlyPaths={}\n{further}", self.node.dir().display())?;
        Ok(text)
    }

    /// Waits until the two have the same series of devices, and some.
    fn until_equal(&self, systemd: &Systemd) -> Result<()> {
        eventually(&format!("{}: the unit costs no series", self.machine), || {
            let (held, free) = (of_devices(self.held)?, of_devices(self.free)?);
            let other: Vec<_> = held.symmetric_difference(&free).collect();
            ensure!(held.len() > 20 && other.is_empty(), "{} and {other:?}\n{}", held.len(), systemd.log());
            Ok(())
        })
    }
}

fn scrape(address: SocketAddr) -> Result<Samples> {
    Samples::parse(http::send(address, Request::get("/metrics"))?.ok()?.text()?)
}

/// Names and labels of the devices' series.
fn of_devices(address: SocketAddr) -> Result<BTreeSet<String>> {
    let samples = scrape(address)?;
    let own = samples.samples.iter().filter(|sample| !sample.label("device").is_empty());
    Ok(own.map(|sample| sample.series.clone()).collect())
}

fn boot(units: &[(String, String)]) -> Result<Systemd> {
    let units: Vec<_> = units.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    Systemd::boot(&units)
}

/// A field of `/proc/PID/status`.
fn status(id: u32, field: &str) -> Result<String> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    Ok(value.with_context(|| format!("no {field}"))?.trim().to_owned())
}

#[test]
fn under_the_unit_every_family_is_read_and_nothing_is_killed() -> Result<()> {
    if !is_root() {
        return skipped(ROOT_ONLY);
    }
    let services = MACHINES.map(Service::new).into_iter().collect::<Result<Vec<_>>>()?;
    // Here a system call that is not among those of the program itself kills it.
    let listed = system_calls::listed(&unit()?)?.join(" ");
    let strict =
        format!("SystemCallFilter=\nSystemCallFilter={listed} perf_event_open\nSystemCallErrorNumber=kill");
    let units = services.iter().map(|service| service.units(&strict)).collect::<Result<Vec<_>>>()?.concat();
    let systemd = boot(&units)?;
    for service in &services {
        // Returns when both have reported that they are ready.
        let started = systemd.control(&["start", &service.name(), &service.free_name()])?;
        started.success().with_context(|| systemd.log())?;
        service.until_equal(&systemd)?;
        systemd.control(&["stop", &service.free_name()])?.success()?;
        let id = systemd.main_process(&service.name())?;
        let users = status(id, "Uid")?;
        let user: u32 = users.split_whitespace().next().context("a user")?.parse()?;
        ensure!(user >= FIRST_DYNAMIC_USER, "{users}");
        let bounding = u64::from_str_radix(&status(id, "CapBnd")?, 16)?;
        let granted = service.capabilities.lines().find_map(|line| line.strip_prefix("AmbientCapabilities="));
        let granted = granted.map_or(0, |names| names.split(' ').count());
        ensure!(bounding.count_ones() as usize == granted, "{bounding:x}");
        ensure!(status(id, "NoNewPrivs")? == "1" && status(id, "Seccomp")? == "2");
        ensure!(mount(id, "/")?.starts_with("ro,"), "/ can be written");
        ensure!(mount(id, "/proc")?.contains("hidepid=invisible"), "processes of others are seen");
    }
    for service in &services {
        ensure!(systemd.property(&service.name(), "NRestarts")? == "0", "{}", systemd.log());
        systemd.control(&["stop", &service.name()])?.success()?;
        ensure!(systemd.property(&service.name(), "Result")? == "success", "{}", systemd.log());
    }
    Ok(())
}

/// The options of the mount at a path, as a process sees it.
fn mount(id: u32, at: &str) -> Result<String> {
    let mounts = fs::read_to_string(format!("/proc/{id}/mountinfo"))?;
    let mount = mounts.lines().rfind(|line| line.split(' ').nth(4) == Some(at)).context("no such mount")?;
    Ok(mount.split(' ').skip(5).collect::<Vec<_>>().join(" "))
}

#[test]
fn it_is_started_again_however_it_ends() -> Result<()> {
    if !is_root() {
        return skipped(ROOT_ONLY);
    }
    let service = Service::new(("xeon6-amx", None))?;
    let name = service.name();
    let systemd = boot(&service.units("WatchdogSec=2\nTimeoutAbortSec=1\nRestartSec=100ms")?)?;
    systemd.control(&["start", &name])?.success().with_context(|| systemd.log())?;
    // A crash, an end in order, and a process that stands still.
    for (restarts, signal) in (1..).zip(["KILL", "TERM", "STOP"]) {
        let before = systemd.main_process(&name)?;
        process::send_signal(signal, before)?;
        eventually(&format!("it serves after {signal}"), || {
            ensure!(systemd.property(&name, "NRestarts")? == restarts.to_string());
            ensure!(systemd.property(&name, "ActiveState")? == "active");
            ensure!(scrape(service.held)?.sum("accel_device_up", &[]) > 0.0);
            Ok(())
        })
        .with_context(|| systemd.log())?;
    }
    Ok(())
}
