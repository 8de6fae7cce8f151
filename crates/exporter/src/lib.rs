//! Everything between a vendor's source and a Prometheus server: command line, sampling threads that may
//! be lost to a driver, snapshots, self-metrics and HTTP.
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
//! swap values: a driver that never answers costs the series of its device and nothing else.

#![forbid(unsafe_code)]

mod commands;
mod http;
mod sampling;
mod self_metrics;
#[cfg(test)]
mod tests;

use std::{ffi::OsString, process::ExitCode};

use clap::ArgMatches;

use source::{SourceSpec, UsageError};

use crate::commands::{cli, fields, generate, log, print, probe, serve, settings};

/// Why a command did not do what it was asked.
enum Failure {
    /// Exit code 2.
    Usage(UsageError),
    /// Exit code 1.
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
    let (path, matches) = match cli::parse(cli::command(name, about, specs), args)? {
        cli::Parsed::Run(path, matches) => (path, matches),
        cli::Parsed::Print(text) => return print::text(&text),
    };
    let path: Vec<_> = path.iter().map(String::as_str).collect();
    match *path {
        ["fields"] if matches.get_flag("json") => print::text(&fields::json()),
        ["fields"] => print::table(&fields::table()),
        ["generate", what] => generate::run(what, &matches),
        ["probe"] => {
            start_log(name, about, specs, &matches);
            let report = probe::run(settings::sources(specs, &matches)?);
            if matches.get_flag("json") {
                print::text(&report.json())
            } else {
                print::table(&report.table())
            }?;
            Ok(if report.found_nothing() { ExitCode::from(3) } else { ExitCode::SUCCESS })
        }
        _ => {
            start_log(name, about, specs, &matches);
            settings::serve(name, specs, &matches)?.run(serve::signals)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Starts logging, and first of all tells of variables that look like ours and are not.
fn start_log(name: &'static str, about: &'static str, specs: &[SourceSpec], matches: &ArgMatches) {
    let value = |name| matches.get_one::<String>(name).expect("has a default").as_str();
    log::start(value("log.level"), value("log.format") == "json");
    let variables = std::env::vars_os().map(|(name, _)| name);
    for variable in cli::unknown_variables(&cli::command(name, about, specs), variables) {
        tracing::warn!(variable, "no flag reads this variable; {name} --help lists those that exist");
    }
}
