//! The command line: what it accepts, where each flag may also come from, and how a mistake is told.
//!
//! Every flag also reads a variable: `--web.listen-address` is `ACCELSCOPE_WEB_LISTEN_ADDRESS`. A mistake
//! in either is one line that says what, where and the mend.

use std::ffi::{OsStr, OsString};

use clap::{
    Arg, ArgAction, ArgMatches, Command,
    builder::{BoolishValueParser, PossibleValuesParser},
    error::{ContextKind, ContextValue, ErrorKind},
};

use source::{SourceSpec, UsageError};

use super::{
    generate,
    values::{interval, listen_address, positive, request_path},
};

/// Prefix of the variables that stand for flags.
const PREFIX: &str = "ACCELSCOPE_";

const EXIT_CODES: &str = "\
Exit codes:
  0  done; for serve: stopped by SIGTERM or SIGINT
  1  cannot run, for one because an address is taken; generate --check: a file is stale
  2  a flag, variable or file is wrong
  3  probe found no device

Every flag can be given as a variable: --web.listen-address is ACCELSCOPE_WEB_LISTEN_ADDRESS.
Flags win over variables; lists are separated by commas.";

/// The whole command line of a program with these sources.
pub fn command(name: &'static str, about: &'static str, specs: &[SourceSpec]) -> Command {
    let serve = |command| web_args(names_args(sampling_args(command, specs)));
    let json = || Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON for machines");
    let root = Command::new(name)
        .about(about)
        .version(env!("CARGO_PKG_VERSION"))
        .after_help(EXIT_CODES)
        .args_conflicts_with_subcommands(true)
        .max_term_width(100);
    let commands = [
        serve(Command::new("serve").about("Serve metrics over HTTP; what runs when no command is given")),
        source_args(
            Command::new("probe")
                .about(
                    "Show what is on this node, which library answered, and each metric or why it is missing",
                )
                .arg(json()),
            specs,
        ),
        Command::new("fields").about("List every metric with its vendor names and sources").arg(json()),
        generate::command(),
    ];
    with_variables(serve(root).subcommands(commands.map(|command| command.after_help(EXIT_CODES))))
}

/// Flags of every command that opens sources.
fn source_args(command: Command, specs: &[SourceSpec]) -> Command {
    let known = std::iter::once("auto").chain(specs.iter().map(|spec| spec.family.name()));
    let command = command.next_help_heading("Sources").args([
        list("source", "SOURCE", "auto")
            .value_parser(PossibleValuesParser::new(known))
            .help("Which kinds of device to look for; auto is all of them"),
        value("path.sysfs", "DIR", "/sys").help("Root of the host's sysfs"),
        value("path.procfs", "DIR", "/proc").help("Root of the host's procfs"),
    ]);
    let command = command.next_help_heading("Log").args([
        value("log.level", "LEVEL", "info")
            .value_parser(["error", "warn", "info", "debug"])
            .help("Least severe message to log"),
        value("log.format", "FORMAT", "text")
            .value_parser(["text", "json"])
            .help("Shape of log lines on standard error"),
    ]);
    specs.iter().fold(command, |command, spec| (spec.args)(command.next_help_heading(spec.about)))
}

fn sampling_args(command: Command, specs: &[SourceSpec]) -> Command {
    source_args(
        command.next_help_heading("Sampling").args([
            value("interval", "DURATION", "1s")
                .value_parser(interval)
                .help("Time between two samples of a device, 100ms to 5m"),
            Arg::new("host.metrics")
                .long("host.metrics")
                .action(ArgAction::SetTrue)
                .help("Export load and memory of the host as context; node_exporter tells more"),
        ]),
        specs,
    )
}

fn names_args(command: Command) -> Command {
    command.next_help_heading("Names").arg(
        list("names", "SCHEMA", "unified,vendor")
            .value_parser(["unified", "vendor"])
            .help("Names to print: one schema for all devices, and those of the vendor's own exporter"),
    )
}

fn web_args(command: Command) -> Command {
    command.next_help_heading("Web").args([
        list("web.listen-address", "ADDRESS", ":9477").value_parser(listen_address).help(
            "Where to listen: :9477, 127.0.0.1:9477, [::1]:9477 or unix:/run/accelscope.sock; repeatable",
        ),
        Arg::new("web.systemd-socket")
            .long("web.systemd-socket")
            .action(ArgAction::SetTrue)
            .help("Serve on the sockets that systemd passes, instead of --web.listen-address"),
        value("web.telemetry-path", "PATH", "/metrics")
            .value_parser(request_path)
            .help("Path of the metrics"),
        value("web.max-requests", "COUNT", "40")
            .value_parser(clap::value_parser!(u32).range(1..))
            .help("Scrapes answered at the same time; past it, 503"),
        value("web.max-connections", "COUNT", "512")
            .value_parser(clap::value_parser!(u32).range(1..))
            .help("Open connections; past it, new ones are closed at once"),
        value("web.header-timeout", "DURATION", "10s")
            .value_parser(positive)
            .help("Time in which a client must send a whole request head"),
        value("web.idle-timeout", "DURATION", "2m")
            .value_parser(positive)
            .help("Time after which a connection on which nothing moves is closed"),
    ])
}

fn value(name: &'static str, value_name: &'static str, default: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value_name).default_value(default)
}

fn list(name: &'static str, value_name: &'static str, default: &'static str) -> Arg {
    value(name, value_name, default).value_delimiter(',').action(ArgAction::Append)
}

/// Gives each flag its variable, those of the sources too.
fn with_variables(command: Command) -> Command {
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
fn variable(flag: &str) -> String {
    format!("{PREFIX}{}", flag.replace(['.', '-'], "_").to_uppercase())
}

/// Variables with our prefix that no flag of any command reads. Those that an orchestrator derives from a
/// service called `accelscope` (`ACCELSCOPE_SERVICE_HOST`, `ACCELSCOPE_PORT_9477_TCP`) are not meant for us.
pub fn unknown_variables(command: &Command, variables: impl Iterator<Item = OsString>) -> Vec<String> {
    fn known(command: &Command, name: &str) -> bool {
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

/// What came of a command line.
pub enum Parsed {
    /// The command to run (`serve` when none was named) and its flags.
    Run(Vec<String>, ArgMatches),
    /// Help or version text for standard output.
    Print(String),
}

/// Parses a command line, program name first.
///
/// # Errors
/// [`UsageError`] for the first mistake, in one line.
pub fn parse(command: Command, args: &[OsString]) -> Result<Parsed, UsageError> {
    match command.try_get_matches_from(args) {
        Ok(mut matches) => {
            let mut path = Vec::new();
            while let Some((name, inner)) = matches.remove_subcommand() {
                path.push(name);
                matches = inner;
            }
            if path.is_empty() {
                path.push("serve".to_owned());
            }
            Ok(Parsed::Run(path, matches))
        }
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Ok(Parsed::Print(error.render().to_string()))
            }
            _ => Err(one_line(&error, args)),
        },
    }
}

/// What, where and the mend, without the usage text that clap would print below it.
fn one_line(error: &clap::Error, args: &[OsString]) -> UsageError {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let program = args.first().map_or_else(String::new, |arg| arg.to_string_lossy().into_owned());
    let program = program.rsplit('/').next().unwrap_or_default();
    let did_you_mean = |kind| match text(kind) {
        suggestion if suggestion.is_empty() => format!("{program} --help lists what there is"),
        suggestion => format!("did you mean {suggestion}?"),
    };
    let bad = text(ContextKind::InvalidValue);
    let place = place(&text(ContextKind::InvalidArg), args);
    UsageError(match error.kind() {
        ErrorKind::UnknownArgument if !place.starts_with('-') => {
            format!("unknown command {place}; {}", did_you_mean(ContextKind::SuggestedSubcommand))
        }
        ErrorKind::UnknownArgument => {
            format!("unknown flag {place}; {}", did_you_mean(ContextKind::SuggestedArg))
        }
        ErrorKind::InvalidSubcommand => format!(
            "unknown command {}; {}",
            text(ContextKind::InvalidSubcommand),
            did_you_mean(ContextKind::SuggestedSubcommand)
        ),
        ErrorKind::InvalidValue if bad.is_empty() => format!("{place} needs a value"),
        ErrorKind::InvalidValue => {
            format!("{place}: {bad:?} is not one of {}", text(ContextKind::ValidValue))
        }
        ErrorKind::ValueValidation => {
            let why =
                std::error::Error::source(error).map_or_else(|| "not valid".to_owned(), ToString::to_string);
            format!("{place}: {bad:?}: {why}")
        }
        ErrorKind::ArgumentConflict if error.get(ContextKind::InvalidSubcommand).is_some() => {
            "flags stand before the command; put them after it".to_owned()
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            format!("a command is missing; {program} generate --help lists what can be generated")
        }
        _ => {
            let whole = error.render().to_string();
            let first = whole.lines().next().unwrap_or_default();
            format!("{}; see {program} --help", first.trim_start_matches("error: "))
        }
    })
}

/// Where a bad value came from: the flag if the command line has it, else its variable.
fn place(arg: &str, args: &[OsString]) -> String {
    let flag = arg.split([' ', '=']).next().unwrap_or_default();
    let given = args.iter().any(|given| {
        given
            .to_string_lossy()
            .strip_prefix(flag)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    });
    match flag.strip_prefix("--") {
        Some(name) if !given && std::env::var_os(variable(name)).is_some() => {
            format!("{} (for {flag})", variable(name))
        }
        _ => flag.to_owned(),
    }
}
