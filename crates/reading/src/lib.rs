//! What a source reads: sources, sessions and devices on one side, readings and absences on the other.
//!
//! Pure: nothing here opens, reads or waits. A vendor crate implements [`Source`], [`Session`] and
//! [`Sampler`]; the exporter runs them on threads that it can afford to lose; exposition prints the
//! [`Subject`]s that come out.

#![forbid(unsafe_code)]

mod batch;
mod fault;
mod labels;
mod plausible;
mod source;

pub use batch::{Absent, Batch, Reading, Subject};
pub use fault::{Absence, Fault};
pub use labels::{Identity, LabelValue, Labels};
pub use plausible::Blanks;
pub use source::{Backend, BusMatch, Found, Lost, Sampler, Session, Source, Unavailable};
