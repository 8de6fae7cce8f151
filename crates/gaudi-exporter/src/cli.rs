//! The flags of the Gaudi source.

use std::path::PathBuf;

use clap::{Args, FromArgMatches};
use naming::{Family, VendorFilter, Vocabulary};
use source::{Common, LibraryPath, Opened, Parts, SourceSpec, UsageError};

use crate::{raw, session::GaudiSource};

/// How the command line knows this source.
pub const SPEC: SourceSpec = SourceSpec {
    family: Family::Gaudi,
    about: "Intel Gaudi through HLML and the kernel's files",
    args: Flags::augment_args,
    open,
};

// A program has the flags of every source: fields are called so that no two sources share a name, and there
// is no group, which would be called like the struct.
#[derive(Args)]
#[group(skip)]
struct Flags {
    /// The driver's library. Without this flag it is searched for: libhlml.so on the loader's path, then
    /// where the driver's package puts it. Without any library, the kernel's files give what they can.
    #[arg(long = "library.hlml", value_name = "PATH")]
    hlml_library: Option<PathBuf>,

    /// The labels of hwmon channels that the driver's package installs for lm-sensors. With them temperatures
    /// come from hwmon; HLML's own call for them leaks memory, so without them it is asked every ten seconds.
    #[arg(long = "path.sensors", value_name = "FILE", default_value = "/etc/sensors.d/hl_sensors.conf")]
    sensors: PathBuf,

    /// Export the accelerator_* names of Intel's exporter, too, with the units that they really have there:
    /// accelerator_sm_clock_hertz in MHz, accelerator_power_usage_watts in mW.
    #[arg(long = "names.accelerator-aliases")]
    accelerator_aliases: bool,
}

fn open(matches: &clap::ArgMatches, common: &Common) -> Result<Opened, UsageError> {
    let flags = Flags::from_arg_matches(matches).map_err(|error| UsageError(error.to_string()))?;
    let no_aliases = VendorFilter { vocabulary: Vocabulary::Accelerator, entries: Vec::new() };
    let library = LibraryPath::new("--library.hlml", flags.hlml_library, raw::SEARCH, common.try_library);
    let source = GaudiSource::new(library, common.sysfs.clone(), flags.sensors);
    Ok(Opened {
        parts: Parts::Library(Box::new(source)),
        filters: if flags.accelerator_aliases { Vec::new() } else { vec![no_aliases] },
    })
}
