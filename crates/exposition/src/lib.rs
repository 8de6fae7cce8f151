//! Readings to bytes: Prometheus text 0.0.4, OpenMetrics 1.0.0 and Prometheus protobuf.
//!
//! [`negotiate()`] selects the format from a request's `Accept` header; [`encode()`] prints subjects in it.
//! The catalogue defines which families exist and in which order; each format defines only how a family's
//! heading, a label and a sample are written:
//!
//! | catalogue | text 0.0.4 | OpenMetrics 1.0.0 | protobuf |
//! |---|---|---|---|
//! | gauge | gauge | gauge | gauge |
//! | counter | counter, `x_total` | counter, family `x` | counter, `x_total` |
//! | info | gauge, `x_info` | info, family `x` | gauge, `x_info` |
//! | state set | gauge | gauge | gauge |
//! | histogram | histogram | histogram | histogram, classic buckets |
//! | vendor's counter without `_total` | counter | unknown | counter |
//!
//! A state set is a gauge in every format: the `stateset` of OpenMetrics requires the state in a label named
//! like the metric, so labels would differ between formats, and a scraper stores both types alike. A vendor's
//! counter is `unknown` in OpenMetrics because a counter's name must end in `_total` there, and a vendor's
//! name never changes. Numbers are exact in both text formats. Protobuf has only doubles, so a count above
//! 2^53 is rounded, as a scraper does with every format.

#![forbid(unsafe_code)]

mod encode;
mod negotiate;
mod number;
mod plan;
mod protobuf;
mod text;

pub use encode::{Held, Options, count, encode};
pub use negotiate::{Format, Negotiated, negotiate};

#[cfg(test)]
mod tests;
