//! The flags of the source for Intel GPUs.

use std::path::PathBuf;

use clap::{Args, FromArgMatches};
use kernel::processes::in_host_namespace;
use naming::{Family, FaultCode};
use reading::Fault;
use source::{Common, LibraryPath, Opened, Parts, SourceSpec, UsageError};

use crate::{
    drm::Roots,
    level_zero::{LevelZeroSource, Options, SEARCH},
    raw,
    session::{BackendChoice, XpuSource, is_root},
};

/// The call that counts processes.
const PROCESSES: &str = "zesDeviceProcessesGetState";

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
    /// for root, or where the PCI bus shows an Intel GPU that no driver of the kernel has.
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
    let path = LibraryPath::new("--library.level-zero", flags.xpu_library, SEARCH, common.try_library);
    let (is_given, choice, hold_awake) = (path.is_given(), flags.xpu_backend, flags.xpu_hold_awake);
    // The kernel's own count is better where its files are read.
    let processes = if choice.reads_kernel() {
        Err(Fault::new(PROCESSES, FaultCode::NotAsked))
    } else if is_root() {
        in_host_namespace(&common.procfs, PROCESSES)
    } else {
        Err(Fault::new(PROCESSES, FaultCode::NeedsRoot))
    };
    let library = LevelZeroSource::new(path, Options { engines: hold_awake, processes });
    Ok(Opened {
        parts: Parts::Both {
            library: Box::new(library),
            whole: Box::new(move |library| {
                Box::new(XpuSource::new(roots, library, is_given, choice, hold_awake))
            }),
        },
        filters: Vec::new(),
    })
}
