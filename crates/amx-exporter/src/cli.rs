//! The flags of the source.

use clap::{Args, FromArgMatches};
use naming::Family;
use source::{Common, Opened, SourceSpec, UsageError};

use crate::session::AmxSource;

/// How the command line knows this source.
pub const SPEC: SourceSpec = SourceSpec {
    family: Family::Amx,
    about: "Xeon sockets through perf events, RAPL and sysfs",
    args: Flags::augment_args,
    open,
};

#[derive(Args)]
#[group(skip)]
struct Flags {
    /// Export the busy share of AMX for each core as well, as partitions of its socket.
    #[arg(long = "amx.per-core")]
    per_core: bool,
}

fn open(matches: &clap::ArgMatches, common: &Common) -> Result<Opened, UsageError> {
    let flags = Flags::from_arg_matches(matches).map_err(|error| UsageError(error.to_string()))?;
    let source = AmxSource { sysfs: common.sysfs.clone(), per_core: flags.per_core };
    Ok(Opened { source: Box::new(source), filters: Vec::new() })
}
