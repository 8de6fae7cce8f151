//! The flags of the NVIDIA source.

use std::path::PathBuf;

use clap::{Args, FromArgMatches, ValueEnum};
use naming::Family;
use source::{Common, LibraryPath, Opened, Parts, SourceSpec, UsageError};

use crate::{
    counters::{Counters, Generations},
    identity::DcgmLabelOptions,
    raw,
    resting::Roots,
    session::NvmlSource,
};

/// How the command line knows this source.
pub const SPEC: SourceSpec = SourceSpec {
    family: Family::Nvidia,
    about: "NVIDIA GPUs through NVML and GPM",
    args: Flags::augment_args,
    open,
};

#[derive(Args)]
struct Flags {
    /// The driver's library. Without this flag it is searched for: libnvidia-ml.so.1 on the loader's path,
    /// then the places where container runtimes and node images mount the driver.
    #[arg(long = "library.nvml", value_name = "PATH")]
    library: Option<PathBuf>,

    /// A counters file of dcgm-exporter: export just its fields in the DCGM vocabulary, with its types and
    /// HELP texts, and its fields of type `label` as labels.
    #[arg(long = "dcgm.collectors", value_name = "FILE")]
    collectors: Option<PathBuf>,

    /// Which names the DCGM vocabulary has: those of dcgm-exporter up to 4.8, those of 4.9 and later, which are
    /// in base units, or both. A counters file may use either; without this flag its names are exported as
    /// it has them. Without a counters file the default is 4.8.
    #[arg(long = "names.dcgm-generation", value_name = "GENERATION")]
    generation: Option<Generations>,

    /// The label with the node's name in the DCGM vocabulary. dcgm-exporter wrote Hostname up to 4.8.2 and
    /// hostname since. The default is hostname with --names.dcgm-generation 4.9 or both, else Hostname.
    #[arg(long = "names.host-label", value_name = "LABEL")]
    host_label: Option<HostLabel>,
}

#[derive(Clone, Copy, ValueEnum)]
enum HostLabel {
    #[value(name = "Hostname")]
    Capital,
    #[value(name = "hostname")]
    Small,
    Off,
}

fn open(matches: &clap::ArgMatches, common: &Common) -> Result<Opened, UsageError> {
    let flags = Flags::from_arg_matches(matches).map_err(|error| UsageError(error.to_string()))?;
    let generation = flags.generation;
    let Counters { filter, label_fields } = match flags.collectors {
        Some(path) => Counters::load(&path, generation)?,
        None => Counters::all(generation.unwrap_or(Generations::V4_8)),
    };
    let host_label = flags.host_label.unwrap_or(match generation {
        None | Some(Generations::V4_8) => HostLabel::Capital,
        Some(Generations::V4_9 | Generations::Both) => HostLabel::Small,
    });
    let host = |label| Some((label, common.hostname.clone()));
    let labels = DcgmLabelOptions {
        host: match host_label {
            HostLabel::Capital => host("Hostname"),
            HostLabel::Small => host("hostname"),
            HostLabel::Off => None,
        },
        label_fields,
    };
    let roots = Roots { sysfs: common.sysfs.clone(), procfs: common.procfs.clone() };
    let library = LibraryPath::new("--library.nvml", flags.library, raw::SEARCH, common.try_library);
    let source = NvmlSource::new(library, roots, labels, common.wanted.clone());
    Ok(Opened { parts: Parts::Library(Box::new(source)), filters: vec![filter] })
}
