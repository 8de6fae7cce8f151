//! The system calls of the program on every simulated machine, and the list of them in the unit.

use std::{collections::BTreeSet, env, fs, os::unix::net::UnixDatagram, process::Command};

use anyhow::{Context, Result, ensure};
use e2e::{Node, Process, eventually, http, http::Request, process};
use sim::{
    Control,
    control::{DriverState, Fault},
};

use super::{MACHINES, folder, unit};

/// The comment above the list.
const MARK: &str = "; written by `cargo xtask bless`.\n";
const SETTING: &str = "SystemCallFilter=";

/// Calls of the program as the unit lists them.
pub fn listed(unit: &str) -> Result<Vec<&str>> {
    let (_, after) = unit.split_once(MARK).context("the unit has a list that is written")?;
    let line = after.lines().next().and_then(|line| line.strip_prefix(SETTING)).context("it is a setting")?;
    Ok(line.split(' ').collect())
}

/// Headers of scrapes in every format.
const FORMATS: [&[(&str, &str)]; 3] = [
    &[],
    &[("Accept", "application/openmetrics-text;version=1.0.0"), ("Accept-Encoding", "gzip")],
    &[(
        "Accept",
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
    )],
];

/// Runs the program under strace, from its start to its end in order; returns what it called.
fn traced(machine: &str) -> Result<BTreeSet<String>> {
    let node = Node::new(machine)?;
    let address = process::free_address()?;
    let health = node.dir().join("health.sock");
    let health = health.to_str().context("a path in text")?;
    let serve =
        node.accelscope("serve", &["--web.listen-address", &address.to_string(), "--health.socket", health])?;
    let (log, notify) = (node.dir().join("strace.log"), node.dir().join("notify"));
    let _supervisor = UnixDatagram::bind(&notify)?;
    let mut strace = Command::new("strace");
    strace.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default()).current_dir(node.dir());
    strace.args(["-f", "-qq", "-e", "signal=none", "-o"]).arg(&log);
    for (name, value) in serve.get_envs() {
        strace.arg("-E").arg(format!("{}={}", name.display(), value.unwrap_or_default().display()));
    }
    // As a supervisor with a watchdog has it.
    strace.arg("-E").arg(format!("NOTIFY_SOCKET={}", notify.display())).args(["-E", "WATCHDOG_USEC=1000000"]);
    strace.arg(serve.get_program()).args(serve.get_args());
    let mut running = Process::spawn("strace", &mut strace)?;
    running.quiet();
    let scrape = |headers| http::send(address, Request::get("/metrics").with(headers))?.ok();
    eventually("devices are read", || {
        running.ensure_running()?;
        ensure!(scrape(FORMATS[0])?.text()?.contains("\naccel_device_up{"));
        Ok(())
    })?;
    let lost = Control { fault: vec![Fault::lost()], ..Control::default() };
    let unloaded = Control { driver: Some(DriverState::Unloaded), ..Control::default() };
    for control in [lost, unloaded, Control::default()] {
        node.control(&control)?;
        for headers in FORMATS {
            scrape(headers)?;
        }
        // The machine looks at its control file, and each device is read, in the meantime.
        std::thread::sleep(std::time::Duration::from_secs(2));
    }
    for path in ["/", "/-/ready", "/-/healthy"] {
        http::send(address, Request::get(path))?;
    }
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.id()))?;
    let traced = children.split_whitespace().next().context("strace has a child")?.parse()?;
    process::send_signal("TERM", traced)?;
    running.wait()?;
    Ok(calls(&fs::read_to_string(&log)?))
}

/// Names of calls in strace's log: `PID name(arguments) = result`.
fn calls(log: &str) -> BTreeSet<String> {
    let names =
        log.lines().filter_map(|line| line.trim_start().split_once(' ')?.1.trim_start().split_once('('));
    let is_name = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    names.map(|(name, _)| name).filter(is_name).map(str::to_owned).collect()
}

#[test]
fn system_calls_are_those_that_the_unit_lists() -> Result<()> {
    let mut used = BTreeSet::new();
    for (machine, _) in MACHINES {
        used.extend(traced(machine)?);
    }
    ensure!(used.len() > 20, "strace saw {used:?}");
    let text = unit()?;
    let known = listed(&text)?;
    let missing: Vec<_> = used.iter().filter(|call| !known.contains(&call.as_str())).collect();
    if env::var_os("BLESS").is_some() {
        let all: BTreeSet<_> = known.iter().copied().chain(used.iter().map(String::as_str)).collect();
        let all = all.into_iter().collect::<Vec<_>>().join(" ");
        let blessed =
            text.replace(&format!("{MARK}{SETTING}{}", known.join(" ")), &format!("{MARK}{SETTING}{all}"));
        fs::write(folder().join("accelscope.service"), blessed)?;
        return Ok(());
    }
    ensure!(
        missing.is_empty(),
        "the program calls {missing:?}, which packaging/systemd/accelscope.service does not list; if it should, \
         run `cargo xtask bless`"
    );
    Ok(())
}

#[test]
fn names_of_calls_are_read_and_nothing_else() {
    let log = "12 openat(AT_FDCWD, \"a b(\", O_RDONLY) = 3\n  7 futex(0x1, FUTEX_WAIT <unfinished ...>\n\
        7 <... futex resumed>) = 0\n12 +++ exited with 0 +++\n12 --- SIGTERM {si_signo=SIGTERM} ---\n";
    assert_eq!(calls(log).into_iter().collect::<Vec<_>>(), ["futex", "openat"]);
}
