//! `cargo xtask bench`: what a scrape costs beside other exporters, what holders of devices, TLS, the page of a node and
//! incident mode and the kernel log cost, what the rules cost at fleet size, and how large the artefacts are.

pub mod incident;
pub mod kernel_log;
mod measure;
pub mod page;
pub mod rules;
pub mod scrapes;
pub mod sizes;
pub mod workloads;

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// As published.
    Whole,
    /// A part of it, for a look.
    Quick,
}
