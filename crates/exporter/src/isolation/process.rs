//! Starting this program again as another process, and how such a process ends.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::{
        fd::OwnedFd,
        unix::{
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, atomic::AtomicBool},
};

use reading::FaultCode;
use rustix::{
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid},
    stdio,
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
    low_level::signal_name,
};

/// This program, also when its file was replaced or removed meanwhile.
const PROGRAM: &str = "/proc/self/exe";

/// Starts this program with other arguments, in a process group of its own. One end of a new connection is its standard
/// input; a library prints to standard output, so that is closed. The thread that calls this must live as long as the process
/// may: the kernel ends a process that has called [`connection`] together with that thread.
///
/// # Errors
/// Those of the operating system.
pub fn start(args: &[OsString]) -> io::Result<(Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new(PROGRAM);
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    command.args(args).stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
    Ok((command.process_group(0).spawn()?, ours))
}

/// How a process ended that was not waited for yet; `None` while it runs.
pub fn ended(child: &Child) -> Option<(FaultCode, String)> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let status = waitid(WaitId::Pid(Pid::from_child(child)), options).ok()??;
    Some(describe(status.terminating_signal(), status.exit_status()))
}

/// Ends a process that was not waited for yet, with the processes that a library started in it, and waits for it.
pub fn end(child: &mut Child) {
    // Nobody else can have its number before it was waited for. All of them may have ended already.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    // A process that hangs in the kernel ends when that lets it.
    let _ = child.wait();
}

/// In a process that was started by [`start`]: takes the connection from standard input, where a library
/// or a program that it starts could use it. From then on the process ends with the one that started it, and
/// only with that: signals to end are meant for the exporter, which reads on until it has ended.
///
/// # Errors
/// When standard input is no connection, as where a person runs the command.
pub fn connection() -> io::Result<UnixStream> {
    let connection = UnixStream::from(rustix::io::fcntl_dupfd_cloexec(stdio::stdin(), 3)?);
    connection.peer_addr()?;
    stdio::dup2_stdin(File::open("/dev/null")?)?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    for signal in [SIGTERM, SIGINT] {
        flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(connection)
}

/// What a library did to end a process, for a fault and for people.
pub fn ending(status: ExitStatus) -> (FaultCode, String) {
    describe(status.signal(), status.code())
}

fn describe(signal: Option<i32>, code: Option<i32>) -> (FaultCode, String) {
    match (signal, code) {
        (Some(signal), _) => {
            let name = signal_name(signal).map_or_else(|| format!("signal {signal}"), ToOwned::to_owned);
            (FaultCode::LibraryCrashed, format!("the library crashed ({name})"))
        }
        (None, code) => {
            let code = code.unwrap_or_default();
            (FaultCode::LibraryExited, format!("the library ended the process with code {code}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_crash_or_an_exit() {
        let (code, text) = ending(ExitStatus::from_raw(11));
        assert_eq!((code, text.as_str()), (FaultCode::LibraryCrashed, "the library crashed (SIGSEGV)"));
        let (code, text) = ending(ExitStatus::from_raw(0));
        assert_eq!(code, FaultCode::LibraryExited);
        assert!(text.ends_with("code 0"), "{text}");
    }
}
