//! `generate`: files that follow from the catalogues and the command line, printed, written below a folder,
//! or compared with those in it.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use clap::{
    Args, Command, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use clap_complete::Shell;
use source::{UsageError, user_file};
use thresholds::{File, Format, Kind, Level, Names, Overrides};

use crate::{
    Failure,
    commands::{
        config,
        flags::Schema,
        print,
        reference::{cardinality, faults, flags, manual, metrics},
    },
};

/// The most bytes of a tokenizer's file; the largest published ones have 35 MiB.
const TOKENIZER_MAX: u64 = 256 << 20;

/// The most bytes of an exposition; that of a large node has 2 MiB.
const EXPOSITION_MAX: u64 = 64 << 20;

#[derive(Args)]
pub struct Generate {
    #[command(subcommand)]
    what: What,

    /// Write below this folder; without it, print
    #[arg(short, long, value_name = "DIR", global = true)]
    output: Option<PathBuf>,

    /// Write nothing; exit 1 when a file below --output (default .) is stale
    #[arg(long, global = true)]
    check: bool,
}

#[derive(Subcommand)]
enum What {
    /// Every metric and label, docs/metrics.md, and how many series a fleet has
    Metrics {
        /// Bodies of /metrics: count series by device, node and fleet, docs/cardinality.md
        #[arg(long, value_name = "FILE", num_args = 1..)]
        exposition: Vec<PathBuf>,
    },
    /// Every flag with its variable and default, docs/flags.md
    Flags,
    /// A file of settings with every flag at its default, etc/accelscope/accelscope.toml
    Config,
    /// Every reason for an absent value and what to do about it, docs/faults.md
    Faults,
    /// Manual pages, share/man/man1/
    Man,
    /// Completions of this command line for shells, in the folder below share/ where each looks for them
    Completions {
        /// The shells; all of them when none is given
        #[arg(value_parser = shells())]
        shell: Vec<Shell>,
    },
    /// Recording rules and alerts, alerts/ for a site and alerts/global/ for a centre over many sites
    Rules {
        #[command(flatten)]
        names: HardwareNames,

        /// Only the rules of one level; both when it is not given
        #[arg(long, value_name = "LEVEL")]
        level: Option<RuleLevel>,

        /// Rule files, or PrometheusRule resources of the Prometheus Operator
        #[arg(long, value_name = "FORMAT", default_value = "prometheus")]
        format: RuleFormat,

        #[command(flatten)]
        bounds: Bounds,
    },
    /// Unit tests of the rules for promtool, alerts/tests/
    Tests {
        #[command(flatten)]
        names: HardwareNames,
        #[command(flatten)]
        bounds: Bounds,
    },
    /// A page per alert, docs/runbooks/
    Runbooks(Bounds),
    /// Dashboards for Grafana, dashboards/, and their list, docs/dashboards.md
    Dashboards(Bounds),
    /// What a centre federates from each site or gets by remote write, examples/federation/ and docs/federation.md
    Federation(Bounds),
    /// What the router's catalogue of backends says, as recording rules, alerts/catalogue.yaml (docs/backends.md)
    Catalogue {
        /// The catalogue, in YAML
        #[arg(long, value_name = "FILE")]
        backends: PathBuf,
    },
}

fn shells() -> impl TypedValueParser<Value = Shell> {
    PossibleValuesParser::new(manual::SHELLS.map(|(shell, _)| shell.to_string()))
        .map(|shell| shell.parse().expect("each of these is a shell"))
}

#[derive(Args)]
struct HardwareNames {
    /// Names that hardware rules read: the unified schema, or those of stock dcgm-exporter
    #[arg(long, value_name = "SCHEMA", default_value = "unified,vendor", value_delimiter = ',')]
    names: Vec<Schema>,
}

impl HardwareNames {
    fn choice(&self) -> Names {
        match [Schema::Unified, Schema::Vendor].map(|schema| self.names.contains(&schema)) {
            [true, false] => Names::Unified,
            [false, true] => Names::Vendor,
            _ => Names::Both,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum RuleFormat {
    Prometheus,
    Operator,
}

#[derive(Clone, Copy, ValueEnum)]
enum RuleLevel {
    Site,
    Global,
}

impl RuleLevel {
    fn has(self, file: &File) -> bool {
        match self {
            Self::Site => Level::Site.has(file),
            Self::Global => Level::Global.has(file),
        }
    }
}

#[derive(Args)]
struct Bounds {
    /// Your own bounds, durations, objectives, prices and labels, in TOML or YAML; repeatable, later files win
    #[arg(long, value_name = "FILE")]
    overrides: Vec<PathBuf>,
}

impl Bounds {
    fn load(&self) -> Result<Overrides, UsageError> {
        self.overrides.iter().try_fold(Overrides::default(), |overrides, path| {
            let text = read("--overrides", path, user_file::WRITTEN_MAX)?;
            overrides.and(&path.display().to_string(), &text).map_err(|error| UsageError(error.to_string()))
        })
    }
}

fn read(flag: &str, path: &Path, limit: u64) -> Result<String, UsageError> {
    let unreadable = |error| UsageError(format!("{}: {error}; {flag} takes a readable file", path.display()));
    user_file::read(path, limit).map_err(unreadable)
}

impl Generate {
    /// Prints, writes or compares the files; `program` is the whole command line.
    pub fn run(&self, program: &Command) -> Result<(), Failure> {
        let files = self.what.files(program)?;
        match &self.output {
            output if self.check => check(output.as_deref().unwrap_or(Path::new(".")), &files),
            Some(root) => write(root, &files),
            None => print_all(&files),
        }
    }
}

impl What {
    fn files(&self, program: &Command) -> Result<Vec<File>, UsageError> {
        Ok(match self {
            Self::Metrics { exposition } => metrics_pages(exposition)?,
            Self::Flags => vec![("docs/flags.md".to_owned(), flags::page(program))],
            Self::Config => {
                let path = config::default_path(program.get_name()).display().to_string();
                vec![(path.trim_start_matches('/').to_owned(), config::template(program))]
            }
            Self::Faults => vec![("docs/faults.md".to_owned(), faults::page())],
            Self::Man => manual::pages(program),
            Self::Completions { shell } => manual::completions(program, shell),
            Self::Rules { names, level, format, bounds } => {
                let format = match format {
                    RuleFormat::Prometheus => Format::Prometheus,
                    RuleFormat::Operator => Format::Operator,
                };
                let mut files = thresholds::generate(Kind::Rules, &bounds.load()?, names.choice(), format);
                files.retain(|file| level.is_none_or(|level| level.has(file)));
                files
            }
            Self::Tests { names, bounds } => {
                thresholds::generate(Kind::Tests, &bounds.load()?, names.choice(), Format::Prometheus)
            }
            Self::Runbooks(bounds) => {
                thresholds::generate(Kind::Runbooks, &bounds.load()?, Names::Both, Format::Prometheus)
            }
            Self::Dashboards(bounds) => {
                thresholds::generate(Kind::Dashboards, &bounds.load()?, Names::Both, Format::Prometheus)
            }
            Self::Catalogue { backends } => vec![catalogue(backends)?],
            Self::Federation(bounds) => {
                thresholds::generate(Kind::Federation, &bounds.load()?, Names::Both, Format::Prometheus)
            }
        })
    }
}

/// The rules of a catalogue of backends, whose tokenizers' files are named from its folder.
fn catalogue(path: &Path) -> Result<File, UsageError> {
    let text = read("--backends", path, user_file::WRITTEN_MAX)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let digest = |name: &str| {
        let bytes = user_file::bytes(&folder.join(name), TOKENIZER_MAX)
            .map_err(|error| format!("{name}: {error}"))?;
        let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
        let mut hexadecimal = String::new();
        for byte in digest.as_ref() {
            write!(hexadecimal, "{byte:02x}").map_err(|error| error.to_string())?;
        }
        Ok(hexadecimal)
    };
    thresholds::backends(&path.display().to_string(), &text, &digest)
        .map_err(|error| UsageError(error.to_string()))
}

/// The reference of metrics, and the numbers of series where expositions are given.
fn metrics_pages(expositions: &[PathBuf]) -> Result<Vec<File>, UsageError> {
    let mut files = vec![("docs/metrics.md".to_owned(), metrics::page())];
    if !expositions.is_empty() {
        let named = |path: &PathBuf| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            Ok((name, read("--exposition", path, EXPOSITION_MAX)?))
        };
        let texts = expositions.iter().map(named).collect::<Result<Vec<_>, UsageError>>()?;
        files.push(("docs/cardinality.md".to_owned(), cardinality::page(&texts).map_err(UsageError)?));
    }
    Ok(files)
}

/// One file as it is; several as documents, each below its path.
fn print_all(files: &[File]) -> Result<(), Failure> {
    if let [(_, only)] = files {
        return print::text(only);
    }
    let all: Vec<_> = files.iter().map(|(path, text)| format!("# {path}\n---\n{text}")).collect();
    print::text(&all.join("\n"))
}

fn write(root: &Path, files: &[File]) -> Result<(), Failure> {
    for (path, text) in files {
        let file = root.join(path);
        let folder = file.parent().unwrap_or(root);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&file, text))
            .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    }
    Ok(())
}

fn check(root: &Path, files: &[File]) -> Result<(), Failure> {
    for (path, text) in files {
        let file = root.join(path);
        let committed = fs::read_to_string(&file).unwrap_or_default();
        if let Some(difference) = first_difference(&committed, text) {
            return Err(Failure::Run(format!("{} is stale: {difference}", file.display())));
        }
    }
    Ok(())
}

/// Where two texts first differ, in one line.
fn first_difference(old: &str, new: &str) -> Option<String> {
    if old == new {
        return None;
    }
    let same = old.lines().zip(new.lines()).take_while(|(old, new)| old == new).count();
    let line =
        |text: &str| text.lines().nth(same).map_or_else(|| "nothing".to_owned(), |line| format!("{line:?}"));
    Some(format!("line {} has {} and should have {}", same + 1, line(old), line(new)))
}
