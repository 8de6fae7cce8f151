//! What every vendor crate is built on: how it presents itself to the command line, and the machinery that
//! reading any driver needs.
//!
//! | module | purpose |
//! |---|---|
//! | [`spec`] | [`SourceSpec`]: a vendor's flags and how its source is opened |
//! | [`lane`] | a queue in front of a library that two threads must not be in at once |

#![forbid(unsafe_code)]

pub mod lane;
pub mod spec;

pub use lane::{Lane, Turn};
pub use spec::{Common, Opened, SourceSpec, UsageError};
