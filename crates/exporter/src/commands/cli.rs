//! The command line of a program: our own flags, those of its sources, and a variable for each.
//!
//! `--web.listen-address` is `ACCELSCOPE_WEB_LISTEN_ADDRESS`. A mistake in either is one line that says what
//! is wrong, where, and how to write it.

use std::ffi::{OsStr, OsString};

use clap::{
    ArgAction, ArgMatches, CommandFactory, FromArgMatches,
    builder::{BoolishValueParser, PossibleValuesParser},
    error::ErrorKind,
};
use source::{SourceSpec, UsageError};

use super::{
    config::Config,
    flags::{Command, CommandLine},
    mistake,
};

/// Prefix of the variables that stand for flags.
const PREFIX: &str = "ACCELSCOPE_";

/// The flag of every command that opens sources.
const SOURCE: &str = "source";

const EXIT_CODES: &str = "\
Exit codes:
  0  done; for serve: stopped by SIGTERM or SIGINT
  1  cannot run, for example because an address is taken; generate --check: a file is stale
  2  a flag, variable or file is wrong
  3  probe found no device, and the PCI bus shows none
  4  probe found devices, or the PCI bus shows some, and not all can be read
health has codes of its own, those of node-problem-detector: 0 ok, 1 a problem, 2 unknown.

Every flag can be given as a variable: --web.listen-address is ACCELSCOPE_WEB_LISTEN_ADDRESS.
Flags win over variables, and variables over --config.file; lists are separated by commas.";

/// The whole command line of a program with these sources.
pub fn command(name: &'static str, about: &'static str, specs: &[SourceSpec]) -> clap::Command {
    let root = CommandLine::command()
        .name(name)
        .about(about)
        .version(env!("CARGO_PKG_VERSION"))
        .after_help(EXIT_CODES)
        .max_term_width(100);
    let root = root.mut_subcommands(|command| with_sources(command.after_help(EXIT_CODES), specs));
    with_variables(with_sources(root, specs))
}

/// Gives a command that has `--source` the names to choose from, and the flags of those sources.
fn with_sources(command: clap::Command, specs: &[SourceSpec]) -> clap::Command {
    if !command.get_arguments().any(|arg| arg.get_id() == SOURCE) {
        return command;
    }
    let known = std::iter::once("auto").chain(specs.iter().map(|spec| spec.family.name()));
    let known = PossibleValuesParser::new(known);
    let command =
        command.mut_args(|arg| if arg.get_id() == SOURCE { arg.value_parser(known.clone()) } else { arg });
    specs.iter().fold(command, |command, spec| (spec.args)(command.next_help_heading(spec.about)))
}

/// Gives each flag its variable, those of the sources too.
fn with_variables(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| {
            let Some(variable) = arg.get_long().map(variable) else { return arg };
            let arg = if matches!(arg.get_action(), ArgAction::SetTrue) {
                arg.value_parser(BoolishValueParser::new())
            } else {
                arg
            };
            arg.env(variable).hide_env(true)
        })
        .mut_subcommands(with_variables)
}

/// The variable of a flag.
pub fn variable(flag: &str) -> String {
    format!("{PREFIX}{}", flag.replace(['.', '-'], "_").to_uppercase())
}

/// Variables with our prefix that no flag of any command reads. Those that an orchestrator derives from a
/// service called `accelscope` (`ACCELSCOPE_SERVICE_HOST`, `ACCELSCOPE_PORT_9477_TCP`) are not meant for us.
pub fn unknown_variables(command: &clap::Command, variables: impl Iterator<Item = OsString>) -> Vec<String> {
    fn known(command: &clap::Command, name: &str) -> bool {
        command.get_arguments().any(|arg| arg.get_env() == Some(OsStr::new(name)))
            || command.get_subcommands().any(|command| known(command, name))
    }
    let of_a_service = |rest: &str| {
        ["SERVICE_HOST", "SERVICE_PORT", "PORT"].iter().any(|prefix| {
            rest.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        })
    };
    variables
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.strip_prefix(PREFIX).is_some_and(|rest| !of_a_service(rest)))
        .filter(|name| !known(command, name))
        .collect()
}

/// A parsed command line.
pub enum Parsed {
    /// A command, the matches in which sources find their own flags, and the file of settings.
    Run(Box<Command>, ArgMatches, Config),
    /// Help or version text for standard output.
    Print(String),
}

/// Parses a command line, program name first, with the file of settings that it names.
///
/// # Errors
/// [`UsageError`] for the first mistake, in one line.
pub fn parse(program: &clap::Command, args: &[OsString]) -> Result<Parsed, UsageError> {
    let none = Config::default();
    let matches = match program.clone().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Ok(Parsed::Print(error.render().to_string()));
        }
        Err(error) => return Err(mistake::one_line(&error, args, &none)),
    };
    let config = Config::read(program, matches.subcommand().map_or(&matches, |(_, matches)| matches))?;
    let matches = if config.is_empty() {
        Ok(matches)
    } else {
        config.apply(program.clone(), matches.subcommand_name()).try_get_matches_from(args)
    };
    let parsed = matches.and_then(|mut matches| {
        let CommandLine { serve, command } = CommandLine::from_arg_matches(&matches)?;
        let of_command = matches.remove_subcommand().map_or(matches, |(_, matches)| matches);
        Ok((Box::new(command.unwrap_or(Command::Serve(serve))), of_command))
    });
    match parsed {
        Ok((command, matches)) => Ok(Parsed::Run(command, matches, config)),
        Err(error) => Err(mistake::one_line(&error, args, &config)),
    }
}
