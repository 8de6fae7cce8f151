//! What a source reads: sources, sessions and devices on one side, readings and absences on the other.
//!
//! Pure: nothing here opens, reads or waits. A vendor crate implements [`Source`], [`Session`] and
//! [`Sampler`]; the exporter runs them on threads that it can afford to lose; exposition prints the
//! [`Subject`]s that come out.

#![forbid(unsafe_code)]

mod batch;
mod counter;
mod fault;
mod identity;
mod labels;
mod plausible;
mod progress;
mod source;
mod wanted;

pub use batch::{Absent, Batch, Client, Group, Reading, Subject};
pub use counter::{Bound, Counted, Counter, Integral, Step, Tracker};
pub use fault::{Code, Fault, Measured};
pub use identity::{Alias, Identity};
pub use labels::{LabelValue, Labels};
pub use naming::{Absence, Errno, FaultCode};
pub use plausible::{Blanks, Ceiling, is_distinctive, plausible_celsius, plausible_count, terminated_text};
pub use progress::{Progress, call_returned};
pub use source::{
    Announced, Backend, Found, Lost, Notice, Notify, Prior, Remembered, Sampler, Session, Source, Unavailable,
};
pub use wanted::Wanted;
