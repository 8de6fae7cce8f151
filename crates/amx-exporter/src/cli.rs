//! The source's flags.

use clap::{Args, FromArgMatches};
use naming::Family;
use source::{Common, Opened, Parts, SourceSpec, UsageError};

use crate::session::AmxSource;

/// This source for the command line.
pub const SPEC: SourceSpec = SourceSpec {
    family: Family::Amx,
    about: "Xeon sockets through perf events, RAPL and sysfs",
    args: Flags::augment_args,
    open,
};

#[derive(Args)]
#[group(skip)]
struct Flags {
    /// Also export the busy share of AMX of each core, as a partition of its socket.
    #[arg(long = "amx.per-core")]
    per_core: bool,
}

fn open(matches: &clap::ArgMatches, common: &Common) -> Result<Opened, UsageError> {
    let flags = Flags::from_arg_matches(matches).map_err(|error| UsageError(error.to_string()))?;
    let source = AmxSource { sysfs: common.sysfs.clone(), per_core: flags.per_core };
    Ok(Opened { parts: Parts::Kernel(Box::new(source)), filters: Vec::new() })
}
