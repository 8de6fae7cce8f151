//! `cargo xtask bench`: what a scrape costs beside other exporters, what the page of a node costs, and what the rules
//! cost at fleet size.

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
