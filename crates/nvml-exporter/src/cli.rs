//! The flags of the NVIDIA source.

use std::path::PathBuf;

use clap::{Args, FromArgMatches, ValueEnum};
use naming::{DCGM_DEFAULT_LABEL, Family};
use source::{Common, LibraryPath, Opened, Parts, SourceSpec, UsageError};

use crate::{counters::Counters, identity::DcgmLabelOptions, raw, session::NvmlSource};

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

    /// The label with the node's name in the DCGM vocabulary. dcgm-exporter wrote Hostname up to 4.8.2 and
    /// hostname since.
    #[arg(long = "names.host-label", value_name = "LABEL", default_value = "Hostname")]
    host_label: HostLabel,
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
    let counters = flags.collectors.map(|path| Counters::load(&path)).transpose()?;
    let host = |label| Some((label, common.hostname.clone()));
    let labels = DcgmLabelOptions {
        host: match flags.host_label {
            HostLabel::Capital => host("Hostname"),
            HostLabel::Small => host("hostname"),
            HostLabel::Off => None,
        },
        label_fields: match &counters {
            Some(counters) => counters.label_fields.clone(),
            None => vec![DCGM_DEFAULT_LABEL],
        },
    };
    let library = LibraryPath::new("--library.nvml", flags.library, raw::SEARCH, common.try_library);
    let source = NvmlSource::new(library, common.sysfs.clone(), labels);
    Ok(Opened {
        parts: Parts::Library(Box::new(source)),
        filters: counters.map(|counters| counters.filter).into_iter().collect(),
    })
}
