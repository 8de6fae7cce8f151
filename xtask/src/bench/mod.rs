//! `cargo xtask bench`: what a scrape costs beside other exporters, what the page of a node and incident mode
//! cost, and what the rules cost at fleet size.

pub mod incident;
mod measure;
pub mod page;
pub mod rules;
pub mod scrapes;

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// As published.
    Whole,
    /// A part of it, for a look.
    Quick,
}
