//! Readings to bytes: Prometheus text 0.0.4, OpenMetrics 1.0.0 and Prometheus protobuf.
//!
//! [`negotiate()`] finds the format in a request's `Accept` header; [`encode()`] prints subjects in it. The
//! catalogue decides which families exist and in which order; here each format only says how it writes
//! a family's heading, a label and a sample:
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
//! A state set is a gauge everywhere: OpenMetrics' own `stateset` wants the state in a label named like
//! the metric, which would rename our labels between formats, and a scraper stores both types alike.
//! A vendor's counter is `unknown` in OpenMetrics because a counter there must end in `_total`, and a
//! vendor's name never changes. Numbers are exact in both text formats; protobuf has only doubles, so
//! there a count above 2^53 is rounded, as a scraper rounds it in any format.

#![forbid(unsafe_code)]

mod encode;
mod negotiate;
mod number;
mod plan;
mod protobuf;
mod text;

pub use encode::{Options, encode};
pub use negotiate::{Format, Negotiated, negotiate};

#[cfg(test)]
mod tests;
