//! The flags of the source for Intel GPUs.

use std::path::PathBuf;

use clap::{Args, FromArgMatches};
use naming::Family;
use source::{Common, Opened, SourceSpec, UsageError};

use crate::{
    drm::Roots,
    raw,
    session::{BackendChoice, XpuSource},
};

/// How the command line presents this source.
pub const SPEC: SourceSpec = SourceSpec {
    family: Family::Xpu,
    about: "Intel GPUs through the kernel and Level Zero",
    args: XpuFlags::augment_args,
    open,
};

// One program has the flags of every source, so each name here begins with its source.
#[derive(Args)]
#[expect(clippy::struct_field_names, reason = "see above")]
struct XpuFlags {
    /// The Level Zero loader. Without this flag it is libze_loader.so.1 on the loader's path, and is opened
    /// for root, or where the kernel shows no Intel GPU.
    #[arg(long = "library.level-zero", value_name = "PATH")]
    xpu_library: Option<PathBuf>,

    /// Root of the host's device nodes.
    #[arg(long = "path.dev", value_name = "DIR", default_value = "/dev")]
    xpu_dev: PathBuf,

    /// Which backends are read: the kernel first and Level Zero for the rest, or one of them alone.
    #[arg(long = "xpu.backend", value_name = "BACKEND", value_enum, default_value = "auto")]
    xpu_backend: BackendChoice,

    /// Read the engines' own counters too: the kernel's PMU where not every process is visible, and Level
    /// Zero's. The driver keeps a GPU awake while they are open.
    #[arg(long = "xpu.hold-awake")]
    xpu_hold_awake: bool,
}

fn open(matches: &clap::ArgMatches, common: &Common) -> Result<Opened, UsageError> {
    let flags = XpuFlags::from_arg_matches(matches).map_err(|error| UsageError(error.to_string()))?;
    if flags.xpu_backend != BackendChoice::Kernel {
        raw::enable_sysman();
    }
    let roots = Roots { sysfs: common.sysfs.clone(), procfs: common.procfs.clone(), dev: flags.xpu_dev };
    let source = XpuSource::new(roots, flags.xpu_library, flags.xpu_backend, flags.xpu_hold_awake);
    Ok(Opened { source: Box::new(source), filters: Vec::new() })
}
