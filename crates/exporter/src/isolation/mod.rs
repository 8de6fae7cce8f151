//! Vendors' libraries in processes of their own: what crashes, exits or hangs there costs their series only.
//!
//! ```text
//! exporter:  supervisor, workers -> proxy (a Source) -> link --+
//!                                                              | frames over a socket pair
//! helper:    the vendor's Source, Session, Samplers <- helper <+   (the same program, started again)
//! ```
//!
//! The seam is [`reading::Source`]: a helper runs the vendor's source whole, and what passes between the two
//! processes is what the traits pass. So no vendor's crate knows where it runs.
//!
//! Where a library is opened in the exporter itself, [`trial::run`] opens it once in a process that lives no
//! longer than that.

mod frame;
pub mod helper;
mod link;
mod process;
mod proxy;
pub mod trial;
mod wire;

use std::{ffi::OsString, time::Duration};

pub use proxy::Isolated;
use reading::FaultCode;

/// The hidden command of a helper process: the name of a family follows, and then the exporter's own
/// arguments.
pub const HELPER: &str = "isolated-source";

/// The hidden command of a trial: the path of a library follows.
pub const TRIAL: &str = "isolated-trial";

/// How long a library may take to open and initialise: a driver without persistence mode needs seconds for
/// each device. Past it, the library hangs.
const OPENING: Duration = Duration::from_secs(30);

/// How long a helper in which a call is under way may send nothing at all. A call that lasts longer hangs,
/// however long the interval is; where other calls go on, only its device is affected.
const SILENCE: Duration = Duration::from_secs(10);

/// The command line of a helper for a family: the exporter's own, so that each flag means the same there.
fn helper_arguments(family: &str, own: impl Iterator<Item = OsString>) -> Vec<OsString> {
    [HELPER.into(), family.into()].into_iter().chain(own.skip(1)).collect()
}

/// What a library or its process did, for people.
fn describe(code: FaultCode) -> &'static str {
    match code {
        FaultCode::LibraryHung => "the library hangs: no call returned",
        _ => "the library's process lost its connection or sent what cannot be read",
    }
}
