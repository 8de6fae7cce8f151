//! Messages for mistakes on the command line: one line with what is wrong, where, and how to write it.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use source::UsageError;

use super::{cli::variable, config::Config};

/// One line, without the usage text that clap would print below it.
pub fn one_line(error: &clap::Error, args: &[OsString], config: &Config) -> UsageError {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let program = args.first().map_or_else(String::new, |arg| arg.to_string_lossy().into_owned());
    let program = program.rsplit('/').next().unwrap_or_default();
    let did_you_mean = |kind| match text(kind) {
        suggestion if suggestion.is_empty() => format!("{program} --help lists those that exist"),
        suggestion => format!("did you mean {suggestion}?"),
    };
    let bad = text(ContextKind::InvalidValue);
    let place = place(&text(ContextKind::InvalidArg), args, config);
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

/// Where a bad value came from: the flag if the command line has it, else its variable, else the file of settings.
fn place(arg: &str, args: &[OsString], config: &Config) -> String {
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
        Some(name) if !given => {
            config.place(name).map_or_else(|| flag.to_owned(), |at| format!("{at}: {name}"))
        }
        _ => flag.to_owned(),
    }
}
