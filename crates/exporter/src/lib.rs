//! Everything between a vendor's source and a Prometheus server: command line, sampling threads that may
//! be lost to a driver, snapshots, self-metrics and HTTP.

#![forbid(unsafe_code)]

mod spec;

pub use spec::{Common, Opened, SourceSpec, UsageError};
