//! The file of settings: every flag of `serve` by its name. Flags win over variables, and variables over the file.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, ArgMatches, Command, builder::OsStr};
use document::{DocumentError, Node, Value, unknown};
use source::{UsageError, user_file};

/// The flag that names the file, and those of which none stands in it.
pub const FLAG: &str = "config.file";
const ELSEWHERE: [&str; 4] = [FLAG, "help", "json", "version"];

/// What the file sets.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The file, where there is one.
    pub path: Option<PathBuf>,
    settings: Vec<Setting>,
}

#[derive(Clone, Debug)]
struct Setting {
    flag: String,
    line: usize,
    values: Vec<String>,
}

/// Where the file of a program is looked for when no flag names one.
pub fn default_path(program: &str) -> PathBuf {
    format!("/etc/accelscope/{program}.toml").into()
}

impl Config {
    /// Reads the file that `matches` name, or the one at the default place where there is one.
    ///
    /// # Errors
    /// One line with file, line and what to write.
    pub fn read(program: &Command, matches: &ArgMatches) -> Result<Self, UsageError> {
        // Commands that open no source take no settings.
        let Ok(named) = matches.try_get_one::<PathBuf>(FLAG) else { return Ok(Self::default()) };
        let path = match named {
            Some(path) => path.clone(),
            None => default_path(program.get_name()),
        };
        if named.is_none() && !path.exists() {
            return Ok(Self::default());
        }
        let text = user_file::read(&path, user_file::WRITTEN_MAX).map_err(|error| {
            UsageError(format!("{}: {error}; --{FLAG} takes a readable file", path.display()))
        })?;
        let settings = document::toml(&text).and_then(|tree| settings(program, &tree));
        let settings = settings.map_err(|error| UsageError(error.of(path.display())))?;
        Ok(Self { path: Some(path), settings })
    }

    /// Whether it sets nothing.
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty()
    }

    /// The command line with what the file sets as defaults of one command, the root's where none is named.
    pub fn apply(&self, program: Command, command: Option<&str>) -> Command {
        let with = |arg: Arg| {
            let setting = arg.get_long().and_then(|long| self.settings.iter().find(|s| s.flag == long));
            match setting {
                Some(setting) => arg.default_values(setting.values.iter().map(OsStr::from)),
                None => arg,
            }
        };
        match command {
            Some(name) => program.mut_subcommand(name, |command| command.mut_args(with)),
            None => program.mut_args(with),
        }
    }

    /// Where the file sets a flag: file and line.
    pub fn place(&self, flag: &str) -> Option<String> {
        let setting = self.settings.iter().find(|setting| setting.flag == flag)?;
        Some(format!("{}:{}", self.path.as_deref().unwrap_or(Path::new("")).display(), setting.line))
    }
}

/// The flags that may stand in the file: those of `serve`.
fn flags(program: &Command) -> impl Iterator<Item = &Arg> {
    let serve = program.find_subcommand("serve").expect("every program has it");
    let stands = |arg: &&Arg| arg.get_long().is_some_and(|long| !ELSEWHERE.contains(&long));
    serve.get_arguments().filter(stands)
}

/// The settings of a file. `"log.level"`, `log.level` and `level` below `[log]` are the same flag.
fn settings(program: &Command, tree: &Node) -> Result<Vec<Setting>, DocumentError> {
    let mut settings = Vec::new();
    let mut tables = vec![(String::new(), tree)];
    while let Some((prefix, table)) = tables.pop() {
        for (key, place, value) in table.table("the file")? {
            let name = if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
            if let Value::Map(_) = value.value {
                tables.push((name, value));
                continue;
            }
            let Some(flag) = flags(program).find(|flag| flag.get_long() == Some(&name)) else {
                return unknown(place, &name, "the settings", flags(program).filter_map(Arg::get_long));
            };
            if settings.iter().any(|setting: &Setting| setting.flag == name) {
                return place.error(format!("`{name}` is set twice"));
            }
            settings.push(Setting { flag: name, line: place.line, values: values(flag, value)? });
        }
    }
    Ok(settings)
}

/// The values as the command line would have them.
fn values(flag: &Arg, node: &Node) -> Result<Vec<String>, DocumentError> {
    let name = flag.get_long().unwrap_or_default();
    let one = |node: &Node| match &node.value {
        Value::Text(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Flag(flag) => Ok(flag.to_string()),
        _ => node.error(format!("`{name}` is a text, a number or true or false")),
    };
    match &node.value {
        Value::List(_) if !is_list(flag) => node.error(format!("`{name}` has one value, not a list")),
        Value::List(items) => items.iter().map(one).collect(),
        Value::Text(text) if is_list(flag) => Ok(text.split(',').map(str::to_owned).collect()),
        _ => Ok(vec![one(node)?]),
    }
}

fn is_list(flag: &Arg) -> bool {
    flag.get_value_delimiter().is_some() || matches!(flag.get_action(), ArgAction::Append)
}

/// The flags whose values differ between two parsed command lines.
pub fn changed<'p>(program: &'p Command, old: &ArgMatches, new: &ArgMatches) -> Vec<&'p str> {
    let raw = |matches: &ArgMatches, flag: &Arg| {
        let values = matches.try_get_raw(flag.get_id().as_str()).ok().flatten();
        values.map(|values| values.map(ToOwned::to_owned).collect::<Vec<_>>())
    };
    flags(program).filter(|flag| raw(old, flag) != raw(new, flag)).filter_map(Arg::get_long).collect()
}

/// A file with every flag at its default, all of it as comments.
pub fn template(program: &Command) -> String {
    let name = program.get_name();
    let mut text = format!(
        "# Settings of {name}: {}, or another file that --{FLAG} names.\n\
         # Every flag of `{name} serve` by its name, which is in quotes where it has a dot; lists are in brackets.\n\
         # Flags win over variables, and variables win over this file. SIGHUP reads it again.\n",
        default_path(name).display()
    );
    let mut heading = None;
    for flag in flags(program) {
        let long = flag.get_long().unwrap_or_default();
        if flag.get_help_heading() != heading {
            heading = flag.get_help_heading();
            let heading = heading.unwrap_or_default();
            write!(text, "\n## {heading}\n").expect("a string takes everything");
        }
        let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
        let values = flag.get_possible_values();
        let values: Vec<_> = values.iter().map(clap::builder::PossibleValue::get_name).collect();
        let values = match flag.get_action() {
            ArgAction::SetTrue => String::new(),
            _ if values.is_empty() => String::new(),
            _ => format!(" ({})", values.join(", ")),
        };
        writeln!(text, "\n# {help}{values}.").expect("a string takes everything");
        let key = if long.contains('.') { format!("\"{long}\"") } else { long.to_owned() };
        writeln!(text, "#{key} = {}", default(flag)).expect("a string takes everything");
    }
    text
}

/// The default of a flag in TOML, or what stands for its value in the help.
fn default(flag: &Arg) -> String {
    if matches!(flag.get_action(), ArgAction::SetTrue) {
        return "false".to_owned();
    }
    let values: Vec<_> =
        flag.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let values = match flag.get_value_names() {
        Some(names) if values.is_empty() => names.iter().map(ToString::to_string).collect(),
        _ => values,
    };
    let quoted = |value: &str| match value.parse::<u32>() {
        Ok(number) => number.to_string(),
        Err(_) => format!("{value:?}"),
    };
    if is_list(flag) {
        let values: Vec<_> = values.iter().flat_map(|value| value.split(',')).map(quoted).collect();
        format!("[{}]", values.join(", "))
    } else {
        values.first().map_or_else(String::new, |value| quoted(value))
    }
}
