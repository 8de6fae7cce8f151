//! `generate`: what comes out of the catalogues, printed, written under a folder, or compared with what is there.

use std::{fs, path::Path, process::ExitCode};

use clap::{Arg, ArgAction, ArgMatches, Command};
use thresholds::{Format, Kind, Names, Overrides};

use source::UsageError;

use crate::{
    Failure,
    commands::{cardinality, metrics_page, print},
};

/// Where the reference of all metrics lies.
const METRICS: &str = "docs/metrics.md";

/// Where the numbers of series lie.
const CARDINALITY: &str = "docs/cardinality.md";

/// The command with a subcommand per kind of file.
pub fn command() -> Command {
    let output = || {
        [
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("DIR")
                .help("Write under this folder, the root of the repository; without it, print"),
            Arg::new("check")
                .long("check")
                .action(ArgAction::SetTrue)
                .help("Write nothing; exit 1 when a file under --output (default .) is stale"),
        ]
    };
    let about = |kind| match kind {
        Kind::Rules => "Recording rules and alerts, alerts/",
        Kind::Tests => "Unit tests of the rules for promtool, alerts/tests/",
        Kind::Runbooks => "A page per alert, docs/runbooks/",
        Kind::Dashboards => "Dashboards for Grafana, dashboards/, and their list, docs/dashboards.md",
    };
    let from_thresholds = Kind::ALL.map(|kind| {
        let command = Command::new(kind.name()).about(about(kind)).args(output()).arg(
            Arg::new("overrides")
                .long("overrides")
                .value_name("FILE")
                .help("Your own bounds, durations, objectives, prices and labels, in TOML or YAML"),
        );
        let names = Arg::new("names")
            .long("names")
            .value_name("SCHEMA")
            .default_value("unified,vendor")
            .value_delimiter(',')
            .action(ArgAction::Append)
            .value_parser(["unified", "vendor"])
            .help("Names that hardware rules read: the unified schema, or those of stock dcgm-exporter");
        let format = Arg::new("format")
            .long("format")
            .value_name("FORMAT")
            .default_value("prometheus")
            .value_parser(["prometheus", "operator"])
            .help("Rule files, or PrometheusRule resources of the Prometheus Operator");
        match kind {
            Kind::Rules => command.args([names, format]),
            Kind::Tests => command.arg(names),
            Kind::Runbooks | Kind::Dashboards => command,
        }
    });
    Command::new("generate")
        .about("Write what is derived from the catalogues")
        .subcommand_required(true)
        .subcommand(
            Command::new("metrics")
                .about("The reference of all metrics, docs/metrics.md, and how many series a fleet has")
                .args(output())
                .arg(Arg::new("exposition").long("exposition").value_name("FILE").num_args(1..).help(
                    "Answers of /metrics: count series by device, node and fleet, docs/cardinality.md",
                )),
        )
        .subcommands(from_thresholds)
}

/// Runs `generate WHAT`.
pub fn run(what: &str, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let files = match Kind::ALL.into_iter().find(|kind| kind.name() == what) {
        Some(kind) => from_thresholds(kind, matches)?,
        None => metrics(matches)?,
    };
    let output = matches.get_one::<String>("output");
    let root = Path::new(output.map_or(".", String::as_str));
    if matches.get_flag("check") {
        return check(root, &files);
    }
    if output.is_none() {
        let [(_, only)] = &*files else {
            let all: Vec<_> = files.iter().map(|(path, text)| format!("# {path}\n---\n{text}")).collect();
            return print::text(&all.join("\n"));
        };
        return print::text(only);
    }
    for (path, text) in &files {
        let file = root.join(path);
        let folder = file.parent().unwrap_or(root);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&file, text))
            .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The reference, and the numbers of series where expositions are given.
fn metrics(matches: &ArgMatches) -> Result<Vec<thresholds::File>, Failure> {
    let mut files = vec![(METRICS.to_owned(), metrics_page::page())];
    let Some(paths) = matches.get_many::<String>("exposition") else { return Ok(files) };
    let read = |path: &String| {
        let text = fs::read_to_string(path)
            .map_err(|error| UsageError(format!("{path}: {error}; --exposition names a readable file")))?;
        let name = Path::new(path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok::<_, UsageError>((name, text))
    };
    let expositions = paths.map(read).collect::<Result<Vec<_>, _>>()?;
    files.push((CARDINALITY.to_owned(), cardinality::page(&expositions).map_err(UsageError)?));
    Ok(files)
}

fn from_thresholds(kind: Kind, matches: &ArgMatches) -> Result<Vec<thresholds::File>, Failure> {
    let overrides = match matches.get_one::<String>("overrides") {
        None => Overrides::default(),
        Some(file) => {
            let text = fs::read_to_string(file)
                .map_err(|error| UsageError(format!("{file}: {error}; --overrides names a readable file")))?;
            Overrides::parse(file, &text).map_err(|error| UsageError(error.to_string()))?
        }
    };
    // A kind that does not differ by names or format has no such flag.
    let given = |id, word| {
        matches.try_get_many::<String>(id).ok().flatten().is_some_and(|mut all| all.any(|w| w == word))
    };
    let names = match (given("names", "unified"), given("names", "vendor")) {
        (true, false) => Names::Unified,
        (false, true) => Names::Vendor,
        _ => Names::Both,
    };
    let format = if given("format", "operator") { Format::Operator } else { Format::Prometheus };
    Ok(thresholds::generate(kind, &overrides, names, format))
}

fn check(root: &Path, files: &[thresholds::File]) -> Result<ExitCode, Failure> {
    for (path, text) in files {
        let file = root.join(path);
        let committed = fs::read_to_string(&file).unwrap_or_default();
        if let Some(difference) = first_difference(&committed, text) {
            return Err(Failure::Run(format!("{} is stale: {difference}", file.display())));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Where two texts part, in one line.
fn first_difference(old: &str, new: &str) -> Option<String> {
    if old == new {
        return None;
    }
    let same = old.lines().zip(new.lines()).take_while(|(old, new)| old == new).count();
    let line =
        |text: &str| text.lines().nth(same).map_or_else(|| "nothing".to_owned(), |line| format!("{line:?}"));
    Some(format!("line {} has {} and should have {}", same + 1, line(old), line(new)))
}
