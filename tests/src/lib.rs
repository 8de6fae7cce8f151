//! The laboratory of the end-to-end tests and of `cargo xtask demo` and `bench`.
//!
//! A [`Node`] is a simulated machine: the vendor's library in a folder of its own, a control file for
//! faults, a clock and a workload. [`Node::start`] runs the real binary on it, with the library opened by
//! `dlopen` as in production, and gives an [`Exporter`] to talk to over real HTTP. [`Prometheus`] runs the
//! real server beside it.
//!
//! Nothing here is shared between two tests: each has its own processes, folder, address and ports.

#![forbid(unsafe_code)]

pub mod artefacts;
pub mod family;
pub mod http;
mod node;
pub mod process;
mod prometheus;
mod samples;
pub mod wait;

pub use artefacts::Artefacts;
pub use family::{DeviceFamily, Library};
pub use node::{Exporter, INSTANT, NODE_NAME, Node};
pub use process::Process;
pub use prometheus::{Prometheus, ScrapeJob, relay};
pub use samples::{Family, Sample, Samples};
pub use wait::eventually;
