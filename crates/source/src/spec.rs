//! How a vendor crate describes itself to the command line: one [`SourceSpec`] per family.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use naming::{Family, VendorFilter};
use reading::{Source, Wanted};

/// A source as the command line sees it. A vendor crate exports one constant of this type.
#[derive(Clone, Copy, Debug)]
pub struct SourceSpec {
    /// The family; its name is the source's name in `--source`, `collect[]` and the `source` label.
    pub family: Family,
    /// A few words for people, such as `NVIDIA GPUs through NVML`; heads the source's flags in `--help`.
    pub about: &'static str,
    /// Adds the source's own flags. Each gets its `ACCELSCOPE_*` variable and its heading here, not there.
    pub args: fn(clap::Command) -> clap::Command,
    /// Builds the source from the parsed flags. Must not call the driver: [`Source::connect`] does.
    ///
    /// # Errors
    /// [`UsageError`] when a flag or a file that it names cannot be used; the process ends with code 2.
    pub open: fn(&clap::ArgMatches, &Common) -> Result<Opened, UsageError>,
}

/// What [`SourceSpec::open`] yields.
pub struct Opened {
    /// The source, not yet connected.
    pub parts: Parts,
    /// Restrictions of vendor vocabularies that the user asked for, for the encoder.
    pub filters: Vec<VendorFilter>,
}

/// A source, divided into what must run in this process and what can run in another.
pub enum Parts {
    /// It reads the kernel's files alone.
    Kernel(Box<dyn Source>),
    /// It depends on a vendor's library.
    Library(Box<dyn Source>),
    /// It reads the kernel's files, and has a source of its own for the library beside them.
    Both {
        /// The source that calls the library.
        library: Box<dyn Source>,
        /// Makes the whole of it.
        whole: Whole,
    },
}

/// Makes a source of the one that calls its library.
pub type Whole = Box<dyn FnOnce(Box<dyn Source>) -> Box<dyn Source>>;

/// Opens a library in a process that ends then, and returns what happened where that failed.
pub type TryLibrary = fn(&Path) -> Result<(), String>;

/// Settings that every source may need.
#[derive(Clone, Debug)]
pub struct Common {
    /// Time between two samples of a device.
    pub interval: Duration,
    /// Root of the host's sysfs.
    pub sysfs: PathBuf,
    /// Root of the host's procfs.
    pub procfs: PathBuf,
    /// The node's name: `NODE_NAME` where an orchestrator sets it, else the kernel's host name.
    pub hostname: String,
    /// How a library is opened for a trial, where this process must outlive it.
    pub try_library: Option<TryLibrary>,
    /// What is exported of what could be read.
    pub wanted: Wanted,
}

/// A flag, variable or file that cannot be used: what, where and what to do, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);
