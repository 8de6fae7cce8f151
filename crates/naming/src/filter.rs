//! A user's choice among one vocabulary's names, such as dcgm-exporter's counters file.

use crate::{MetricKind, Vocabulary};

/// Which names of a vocabulary to print, and how to describe them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VendorFilter {
    /// The vocabulary that is restricted; others are not touched.
    pub vocabulary: Vocabulary,
    /// The names to print; all others of the vocabulary are left out.
    pub entries: Vec<FilterEntry>,
}

/// One chosen name with the user's own TYPE and HELP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterEntry {
    /// A name of the vocabulary.
    pub name: &'static str,
    /// Gauge or counter.
    pub kind: MetricKind,
    /// HELP text.
    pub help: String,
}

impl VendorFilter {
    /// The entry for `name`, if it is chosen.
    pub fn get(&self, name: &str) -> Option<&FilterEntry> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}
