//! Everything between a vendor's source and a Prometheus server: command line, sampling threads, snapshots,
//! the exporter's own metrics and HTTP.
//!
//! ```text
//! main -> cli -> serve -+-> supervisor (one thread per source) -> worker (one thread per device)
//!                       |        |  both write                        |
//!                       |        v                                    v
//!                       |      board: connections, counts, one immutable snapshot per device
//!                       |        ^  both read
//!                       +-> HTTP, on the main thread: routes -> body -> exposition
//! ```
//!
//! Threads that call a driver share nothing with the HTTP side but the board, and hold its locks only to
//! swap values: a driver call that never returns costs the series of its device and nothing else.

#![forbid(unsafe_code)]

mod commands;
mod health;
mod http;
mod incident;
mod isolation;
mod kernel_log;
mod sampling;
mod self_metrics;
#[cfg(test)]
mod tests;

use std::{
    ffi::{OsStr, OsString},
    io,
    sync::Arc,
    time::Duration,
};

use source::{SourceSpec, UsageError};

use crate::{
    commands::{
        choice::Chosen,
        cli, fields,
        flags::{Command, JsonFlag, LogFlags},
        log, print, probe,
        reload::Reload,
        serve, settings,
    },
    isolation::{HELPER, TRIAL, helper, trial},
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

/// How a command ended; the number is the program's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    NoDevice = 3,
    Unreadable = 4,
}

/// The whole of a program that exports `specs`: parses the command line, runs it and ends the process.
///
/// Every mistake and failure is one line on standard error; `--help` lists the exit codes. Vendors' libraries
/// are still loaded at the end, and threads may be inside them, so the process ends without running their
/// destructors: one that hangs or crashes would decide over the end and the exit code.
pub fn main(name: &'static str, about: &'static str, specs: &[SourceSpec]) -> ! {
    let args: Vec<_> = std::env::args_os().collect();
    let ran = match &*args {
        [_, hidden, library] if *hidden == *TRIAL => served(trial::open(library.as_ref())),
        [program, hidden, family, rest @ ..] if *hidden == *HELPER => {
            let args: Vec<_> = std::iter::once(program).chain(rest).cloned().collect();
            help(family, &cli::command(name, about, specs), specs, &args)
        }
        _ => run(name, about, specs, &args),
    };
    let exit = ran.unwrap_or_else(|failure| {
        let (error, exit) = match failure {
            Failure::Usage(error) => (error.to_string(), Exit::Usage),
            Failure::Run(error) => (error, Exit::Failed),
        };
        log::line(&format!("{name}: {error}"));
        exit
    });
    log::flush();
    signal_hook::low_level::exit(exit as i32)
}

fn run(
    name: &'static str,
    about: &'static str,
    specs: &[SourceSpec],
    args: &[OsString],
) -> Result<Exit, Failure> {
    let program = cli::command(name, about, specs);
    let (command, matches, config) = match cli::parse(&program, args)? {
        cli::Parsed::Run(command, matches, config) => (command, matches, config),
        cli::Parsed::Print(text) => return print::text(&text).map(|()| Exit::Done),
    };
    match *command {
        Command::Fields(JsonFlag { json: true }) => print::text(&fields::json())?,
        Command::Fields(JsonFlag { json: false }) => print::table(&fields::table())?,
        Command::Generate(generate) => generate.run(&program)?,
        Command::Probe(flags) => {
            start_log(&flags.log, &program);
            let sources =
                settings::sources(&flags.sources, PROBE_INTERVAL, specs, &matches, &Chosen::all([]))?;
            let sources = sources.into_iter().map(|(source, _)| source).collect();
            let mut report = probe::run(sources, &flags.sources.sysfs);
            if let Some(settings) = settings::workloads(flags.workloads, &flags.sources.procfs) {
                report.ask_who_holds(&settings)?;
            }
            if flags.json.json {
                print::text(&report.json())?;
            } else {
                print::table(&report.table())?;
                // Sentences are wrapped by the terminal, not cut.
                print::text(&report.advice())?;
                if let Some(line) = report.unreadable() {
                    print::text(&format!("\n{line}\n"))?;
                }
            }
            if report.found_nothing() {
                return Ok(Exit::NoDevice);
            }
            if report.unreadable().is_some() {
                return Ok(Exit::Unreadable);
            }
        }
        Command::Health(flags) if flags.look => commands::health::look_here(&flags, specs, &matches)?,
        Command::Health(flags) => return commands::health::run(&flags, args),
        Command::Serve(flags) => {
            start_log(&flags.log, &program);
            drop(program);
            let serve = settings::serve(flags, name, specs, &matches, &config)?;
            let reload = Reload {
                name,
                about,
                args: args.to_vec(),
                specs: specs.to_vec(),
                vocabularies: Arc::clone(&serve.vocabularies),
                metrics: serve.metrics.clone(),
                web_config: serve.web.config.clone(),
                state: serve.settings.clone(),
                matches,
            };
            reload.start().map_err(|error| format!("cannot wait for SIGHUP: {error}"))?;
            serve.run(serve::signals)?;
        }
    }
    Ok(Exit::Done)
}

/// The helper process of a family, with the arguments of the exporter that started it.
fn help(
    family: &OsStr,
    program: &clap::Command,
    specs: &[SourceSpec],
    args: &[OsString],
) -> Result<Exit, Failure> {
    let cli::Parsed::Run(command, matches, _) = cli::parse(program, args)? else {
        return Ok(Exit::Usage);
    };
    let (sources, logging, interval, names) = match *command {
        Command::Serve(flags) => (flags.sources, flags.log, flags.sampling.interval, Some(flags.names)),
        Command::Probe(flags) => (flags.sources, flags.log, PROBE_INTERVAL, None),
        Command::Health(flags) => (flags.sources, flags.log, PROBE_INTERVAL, None),
        Command::Fields(_) | Command::Generate(_) => return Ok(Exit::Usage),
    };
    let library = settings::library(family, &sources, interval, specs, &matches, names.as_ref())?;
    log::start(&logging);
    served(helper::serve(library))
}

/// How a process ends that this program starts for itself.
fn served(result: io::Result<()>) -> Result<Exit, Failure> {
    result.map(|()| Exit::Done).map_err(|error| Failure::Run(format!("not for use by hand: {error}")))
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
