//! The `health` command: the verdict of the exporter that runs, or one of its own, within a deadline.
//!
//! Devices are read in a process of their own: a thread that a driver does not return from keeps its process from
//! ending. That process is this program with the same arguments and `--look`.

use std::{
    ffi::OsString,
    io::Read,
    process::{Command as Process, Stdio},
    rc::Rc,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use clap::ArgMatches;
use source::SourceSpec;
use thresholds::{Health, Judge};

use super::{
    choice::Chosen,
    flags::{HealthFlags, Worst},
    print, settings,
};
use crate::{
    Exit, Failure,
    health::{
        Verdicts,
        report::{self, Report},
        socket,
    },
    sampling::{
        device::Status,
        state::{ConnectionStatus, NodeState},
        supervisor,
        timing::Timing,
    },
};

/// What is left of the time limit for the verdict to be printed.
const MARGIN: Duration = Duration::from_millis(100);

/// Parts of the time limit: a call that lasts longer than one of them hangs.
const PARTS: u32 = 4;

/// Between two looks at what the sampling threads have read.
const MOMENT: Duration = Duration::from_millis(10);

/// Prints the verdict.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(flags: &HealthFlags, args: &[OsString]) -> Result<Exit, Failure> {
    let until = Instant::now() + flags.timeout.saturating_sub(MARGIN);
    let path = flags.socket.as_deref().unwrap_or(socket::PATH.as_ref());
    // A folder that cannot be entered, and an exporter that hangs itself, are no reason to know nothing.
    let asked = socket::ask(path, flags.timeout / PARTS).ok();
    let parsed = asked.and_then(|text| serde_json::from_str::<Report>(&text).ok());
    let report = parsed.map_or_else(|| look(args, until), Ok);
    let report = report.and_then(|report| match &*flags.device {
        [] => Ok(report),
        wanted => report.only(wanted),
    });
    let report = match report {
        Ok(report) => report,
        Err(why) => {
            let line = report::unknown(&why);
            let json = serde_json::json!({"schema": 1, "state": "unknown", "error": why});
            print::text(&if flags.json.json { format!("{json:#}\n") } else { line + "\n" })?;
            return Ok(Exit::Usage);
        }
    };
    let is_problem = match flags.fail_on {
        Worst::Degraded => report.health() >= Health::Degraded,
        Worst::Failed => report.health() == Health::Failed,
    };
    let exit = match report.health() {
        Health::Unknown => Exit::Usage,
        _ if is_problem => Exit::Failed,
        _ => Exit::Done,
    };
    let text = if flags.json.json {
        report.json()
    } else if flags.device.len() > 1 {
        report.lines().join("\n") + "\n"
    } else {
        report.line() + "\n"
    };
    print::text(&text)?;
    Ok(exit)
}

/// Starts the process that looks, and waits for its verdict.
fn look(args: &[OsString], until: Instant) -> Result<Report, String> {
    let mut command = Process::new("/proc/self/exe");
    command.args(args.iter().skip(1)).arg("--look");
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = started.map_err(|error| format!("cannot start a process: {error}"))?;
    let pipes = (child.stdout.take(), child.stderr.take());
    let (sender, receiver) = mpsc::channel();
    let read = move || {
        let mut text = String::new();
        let mut error = String::new();
        if let (Some(mut out), Some(mut err)) = pipes {
            // What cannot be read is no verdict.
            let _ = out.read_to_string(&mut text);
            if text.is_empty() {
                let _ = err.read_to_string(&mut error);
            }
        }
        // The one who waits may have given up.
        let _ = sender.send((text, error));
    };
    thread::Builder::new().spawn(read).map_err(|error| format!("cannot start a thread: {error}"))?;
    let verdict = receiver.recv_timeout(until.saturating_duration_since(Instant::now()));
    // It may hang in a driver, where nothing ends it at once, so nobody waits for it.
    let _ = child.kill();
    let (text, error) = verdict.map_err(|_| "no verdict in time: a driver hangs".to_owned())?;
    let last = error.lines().next_back().unwrap_or("the process that looks ended").to_owned();
    serde_json::from_str(&text).map_err(|_| last)
}

/// The process that looks: samples every device once, and prints the verdict as the socket sends it.
///
/// # Errors
/// A flag cannot be used, or no thread can be started.
pub fn look_here(flags: &HealthFlags, specs: &[SourceSpec], matches: &ArgMatches) -> Result<(), Failure> {
    let deadline = flags.timeout / PARTS;
    let timing = Timing { deadline, ..Timing::new(Duration::from_secs(1)) };
    let metrics = Chosen::all(specs.iter().map(|spec| spec.family));
    let configured = settings::sources(&flags.sources, timing.interval, specs, matches, &metrics)?;
    let auto = specs.len() > 1 && flags.sources.source.iter().any(|name| name == "auto");
    let families = configured.iter().map(|(source, _)| source.family());
    let node = Arc::new(NodeState::new(families, auto, timing.clone(), &metrics));
    for ((source, _), state) in configured.into_iter().zip(&node.sources) {
        supervisor::spawn(source, Arc::clone(state), timing.clone(), &flags.sources.sysfs)
            .map_err(|error| format!("cannot start a thread: {error}"))?;
    }
    let until = Instant::now() + flags.timeout / 2;
    while !is_known(&node) && Instant::now() < until {
        thread::sleep(MOMENT);
        node.check(Instant::now());
    }
    let verdicts = Verdicts::new(node, Rc::new(Judge::builtin()));
    let report = verdicts.report(&settings::node_name());
    print::text(&serde_json::to_string(&report).expect("texts"))
}

/// Whether each source has been asked, and each of its devices.
fn is_known(node: &NodeState) -> bool {
    node.sources.iter().all(|source| {
        let is_asked = source.connection().status != ConnectionStatus::Starting;
        is_asked && source.snapshots().iter().all(|snapshot| snapshot.status != Status::Starting)
    })
}
