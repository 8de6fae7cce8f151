//! Every metric that accelscope exports, once: name, kind, unit, labels, HELP, sources and vendor names.
//!
//! This room is pure data. A metric is declared in [`catalogue`] with the type of its quantity, so a
//! source can only fill it with a value in the right base unit; exposition, documentation, rules and
//! dashboards read the same entry. No other crate spells a metric name.

#![forbid(unsafe_code)]

pub mod catalogue;
mod entry;
mod errno;
mod family;
mod fault;
mod filter;
mod label;
mod metric;
mod returned;
mod unit;
pub mod vocabularies;
mod xid;

pub use catalogue::METRICS;
pub use errno::Errno;
pub use family::{Family, HolderNames, OwnPod, PciMatch};
pub use fault::{Absence, FaultCode};
pub use filter::{FilterEntry, VendorFilter};
pub use label::{Label, LabelValues};
pub use metric::{Id, Metric, MetricKind, MetricOf, Scope};
pub use returned::{RETURNED_CODES, ReturnedCode};
pub use unit::{
    Bytes, BytesPerSecond, Celsius, Count, Distribution, Flag, Hertz, Joules, Quantity, Ratio, Seconds, Unit,
    Value, Watts,
};
pub use vocabularies::{
    DCGM_LABELS, DcgmGeneration, DcgmLabel, OtherName, VendorName, VendorUnit, Vocabulary, vendor_names,
};
pub use xid::{XID_CODES, xid_text};

#[cfg(test)]
mod laws;
