//! The laboratory of the end-to-end tests and of `cargo xtask demo` and `bench`.
//!
//! A [`Node`] is a simulated machine: the vendor's library in a folder of its own, a control file for faults,
//! a clock and a workload. [`Node::start`] runs the real binary on it, with the library opened by `dlopen` as
//! in production, and gives an [`Exporter`] to talk to over real HTTP. [`Prometheus`] runs the real server
//! beside it, with rules where a test wants them, and an [`Alertmanager`] that delivers what fires to a
//! [`Webhook`]; a [`SimEngine`] is an inference engine on such a machine. A [`fleet::Fleet`] is all of it at once, with
//! dashboards drawn over it.
//!
//! Nothing here is shared between two tests: each has its own processes, folder, address and ports.

#![forbid(unsafe_code)]

mod alertmanager;
pub mod artefacts;
mod cgroup;
pub mod chart;
pub mod chroot;
pub mod client;
pub mod container;
mod engine;
pub mod fleet;
mod footprint;
pub mod http;
mod kubelet;
pub mod live;
pub mod matrix;
mod node;
pub mod packages;
pub mod process;
mod prometheus;
mod samples;
pub mod skip;
pub mod soak;
pub mod systemd;
pub mod wait;

pub use alertmanager::{Alertmanager, Message, Notification, Webhook};
pub use artefacts::Artefacts;
pub use cgroup::Grouped;
pub use engine::SimEngine;
pub use footprint::Footprint;
pub use kubelet::Kubelet;
pub use node::{Exporter, INSTANT, NODE_NAME, Node};
pub use process::Process;
pub use prometheus::{Alerting, Prometheus, ScrapeJob, encoded, relay};
pub use samples::{ARC_ADDRESSES, Family, Sample, Samples};
pub use wait::{eventually, eventually_within};
