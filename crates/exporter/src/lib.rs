//! Everything between a vendor's source and a Prometheus server: command line, sampling threads, snapshots,
//! the exporter's own metrics and HTTP.
//!
//! ```text
//! main -> cli -> serve -+-> supervisor (one thread per source) -> worker (one thread per device)
//!                       |        |  both write                        |
//!                       |        v                                    v
//!                       |      board: connections, counts, one immutable snapshot per device
//!                       |        ^  both read
//!                       +-> watchdog and HTTP, on the main thread: routes -> body -> exposition
//! ```
//!
//! Threads that call a driver share nothing with the HTTP side but the board, and hold its locks only to
//! swap values: a driver call that never returns costs the series of its device and nothing else.

#![forbid(unsafe_code)]

mod commands;
mod http;
mod sampling;
mod self_metrics;
#[cfg(test)]
mod tests;

use std::{ffi::OsString, process::ExitCode, time::Duration};

use source::{SourceSpec, UsageError};

use crate::commands::{
    cli, fields,
    flags::{Command, JsonFlag, LogFlags},
    log, print, probe, serve, settings,
};

/// The interval that `probe` passes to sources; nothing that it shows depends on it.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Why a command failed, and by that its exit code.
enum Failure {
    /// A flag, variable or file is wrong: exit code 2.
    Usage(UsageError),
    /// Anything else: exit code 1.
    Run(String),
}

impl From<UsageError> for Failure {
    fn from(error: UsageError) -> Self {
        Self::Usage(error)
    }
}

impl From<String> for Failure {
    fn from(error: String) -> Self {
        Self::Run(error)
    }
}

/// The whole of a program that exports `specs`: parses the command line and runs it.
///
/// Every mistake and failure is one line on standard error; `--help` lists the exit codes.
pub fn main(name: &'static str, about: &'static str, specs: &[SourceSpec]) -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    match run(name, about, specs, &args) {
        Ok(code) => code,
        Err(Failure::Usage(error)) => {
            eprintln!("{name}: {error}");
            ExitCode::from(2)
        }
        Err(Failure::Run(error)) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(
    name: &'static str,
    about: &'static str,
    specs: &[SourceSpec],
    args: &[OsString],
) -> Result<ExitCode, Failure> {
    let program = cli::command(name, about, specs);
    let (command, matches) = match cli::parse(program.clone(), args)? {
        cli::Parsed::Run(command, matches) => (command, matches),
        cli::Parsed::Print(text) => return print::text(&text),
    };
    match *command {
        Command::Fields(JsonFlag { json: true }) => print::text(&fields::json()),
        Command::Fields(JsonFlag { json: false }) => print::table(&fields::table()),
        Command::Generate(generate) => generate.run(&program),
        Command::Probe(flags) => {
            start_log(&flags.log, &program);
            let opened = settings::sources(&flags.sources, PROBE_INTERVAL, specs, &matches)?;
            let report = probe::run(opened);
            if flags.json.json {
                print::text(&report.json())?;
            } else {
                print::table(&report.table())?;
                // Sentences are wrapped by the terminal, not cut.
                print::text(&report.advice())?;
            }
            Ok(if report.found_nothing() { ExitCode::from(3) } else { ExitCode::SUCCESS })
        }
        Command::Serve(flags) => {
            start_log(&flags.log, &program);
            settings::serve(flags, name, specs, &matches)?.run(serve::signals)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Starts logging, and first reports variables that have our prefix but that no flag reads.
fn start_log(flags: &LogFlags, program: &clap::Command) {
    log::start(flags);
    let name = program.get_name();
    let variables = std::env::vars_os().map(|(name, _)| name);
    for variable in cli::unknown_variables(program, variables) {
        tracing::warn!(variable, "no flag reads this variable; {name} --help lists those that exist");
    }
}
