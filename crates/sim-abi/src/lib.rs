//! C entry points over the simulated machine: what is the same around every call of every simulated library.
//!
//! [`entries!`] declares functions of C's ABI. Each checks that the library is initialised, turns C arguments
//! into safe ones ([`Argument`]), lets the faults of the control file happen, and runs its body, which
//! follows no pointer and only reads the machine. What differs between vendors is a [`Library`]; no vendor's
//! types are known here.
//!
//! The contract of every entry point is that of the vendor's header: each pointer is null or points to what
//! its declared type says, strings end in a NUL, and buffers are as long as the length beside them.
//!
//! A panic cannot leave through the C ABI: an `extern "C"` function that unwinds aborts the process, and
//! bodies neither index out of bounds nor unwrap.

mod args;
mod call;
mod events;
mod machine;
mod registry;

pub use args::{Argument, Buffer, Garble, Items, Out, Text, text};
pub use call::{Call, Library, Result, initialise, run, shut_down};
pub use events::{Event, EventSet, EventSets, Stream};
pub use machine::{Machine, Opened};
pub use registry::Registry;
