//! The iteration over families and subjects, common to all formats.

use std::{collections::BTreeSet, slice, sync::Arc};

use naming::{Value, VendorFilter, VendorName};
use reading::{Identity, Labels, Reading, Subject};

use crate::{
    Format,
    plan::{FAMILIES, Family, Heading, Input},
    protobuf::Protobuf,
    text::{OPENMETRICS, TEXT, Text},
};

/// What to print.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Whether to print the unified schema. The exporter's own metrics are always printed.
    pub unified: bool,
    /// Vendors' own names.
    pub vendor: bool,
    /// For each vocabulary, the names to keep, with their TYPE and HELP. A vocabulary without a filter is
    /// printed completely.
    pub filters: &'a [VendorFilter],
    /// Names that are not printed. The exporter's own metrics always are.
    pub left_out: &'a BTreeSet<&'static str>,
    /// Devices whose series under vendors' names also name their holders.
    pub held: &'a [Held],
}

/// A device, and what its series say of its holders under vendors' names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The device or partition.
    pub identity: Arc<Identity>,
    /// The labels of each holder; each series is printed once for every holder.
    pub holders: Vec<Vec<(&'static str, String)>>,
}

/// Prints `subjects` in `format`.
///
/// Families are in catalogue order. Each is announced once, and its samples follow without interruption; a
/// family without a reading is not announced. Within a family, samples keep the order of the subjects.
pub fn encode<'a>(
    format: Format,
    subjects: impl IntoIterator<Item = &'a Subject>,
    options: &Options<'_>,
) -> Vec<u8> {
    match format {
        Format::Text => walk(Text::new(&TEXT), &FAMILIES, subjects, options),
        Format::OpenMetrics => walk(Text::new(&OPENMETRICS), &FAMILIES, subjects, options),
        Format::Protobuf => walk(Protobuf::default(), &FAMILIES, subjects, options),
    }
}

/// How many series of each family [`encode`] would print of `subjects`, in its order.
pub fn count<'a>(
    subjects: impl IntoIterator<Item = &'a Subject>,
    options: &Options<'_>,
) -> Vec<(&'static str, usize)> {
    let mut writer = Count::default();
    walk(&mut writer, &FAMILIES, subjects, options);
    writer.0
}

/// Counts instead of writing.
#[derive(Default)]
struct Count(Vec<(&'static str, usize)>);

impl Writer for &mut Count {
    /// Which labels there are decides about vendors' names.
    fn push_label(labels: &mut Vec<u8>, _: &str, _: &str) {
        labels.push(b',');
    }

    fn begin(&mut self, heading: &Heading<'_>) {
        self.0.push((heading.name, 0));
    }

    fn sample(&mut self, _: &Heading<'_>, _: &[u8], value: &Value) {
        let series = match value {
            // Its buckets, sum and count.
            Value::Histogram(distribution) => distribution.counts.len() + 2,
            Value::Float(_) | Value::Int(_) => 1,
        };
        if let Some((_, count)) = self.0.last_mut() {
            *count += series;
        }
    }

    fn end(&mut self) {}

    fn finish(self) -> Vec<u8> {
        Vec::new()
    }
}

/// Writes one format. For each family with samples, `begin` is called, then `sample` at least once, then
/// `end`.
pub(crate) trait Writer {
    /// Appends one label to a sample's encoded labels.
    fn push_label(labels: &mut Vec<u8>, name: &str, value: &str);
    /// Announces a family.
    fn begin(&mut self, heading: &Heading<'_>);
    /// Adds a sample of the current family; `labels` were written by [`Self::push_label`].
    fn sample(&mut self, heading: &Heading<'_>, labels: &[u8], value: &Value);
    /// Closes the family.
    fn end(&mut self);
    /// Returns the complete body.
    fn finish(self) -> Vec<u8>;
}

pub(crate) fn walk<'a, W: Writer>(
    mut writer: W,
    families: &[Family],
    subjects: impl IntoIterator<Item = &'a Subject>,
    options: &Options<'_>,
) -> Vec<u8> {
    let encoded: Vec<_> =
        subjects.into_iter().map(|subject| EncodedSubject::new::<W>(subject, options.held)).collect();
    let mut labels = Vec::new();
    for family in families {
        let Some(heading) = family.heading(options) else { continue };
        let mut begun = false;
        for input in &family.inputs {
            for subject in &encoded {
                for reading in subject.readings(input) {
                    if !begun {
                        writer.begin(&heading);
                        begun = true;
                    }
                    for of_subject in subject.labels(input) {
                        labels.clear();
                        labels.extend_from_slice(of_subject);
                        push_own_labels::<W>(input, reading, &mut labels);
                        match input.row {
                            None => writer.sample(&heading, &labels, &reading.value),
                            Some(row) => {
                                writer.sample(&heading, &labels, &row.unit.from_base(&reading.value));
                            }
                        }
                    }
                }
            }
        }
        if begun {
            writer.end();
        }
    }
    writer.finish()
}

/// A subject with the labels of its identity encoded once.
struct EncodedSubject<'a> {
    /// The family, which selects the vendor rows that apply.
    family: Option<naming::Family>,
    unified: Vec<u8>,
    /// Once for every holder that is named; none where the vendor has no names.
    vendor: Vec<Vec<u8>>,
    readings: &'a [Reading],
}

impl<'a> EncodedSubject<'a> {
    fn new<W: Writer>(subject: &'a Subject, held: &[Held]) -> Self {
        let (mut unified, mut vendor) = (Vec::new(), Vec::new());
        if let Some(identity) = subject.identity() {
            identity.labels().for_each(|(name, value)| W::push_label(&mut unified, name, value));
            if !identity.vendor.is_empty() {
                let held = held.iter().find(|held| held.identity.is_same(identity));
                let nobody = [Vec::new()];
                let holders = held.map_or(&nobody[..], |held| &held.holders);
                let with = |holder: &Vec<(&'static str, String)>| {
                    let mut labels = Vec::new();
                    let all = identity.vendor.iter().chain(holder);
                    all.for_each(|(name, value)| W::push_label(&mut labels, name, value));
                    labels
                };
                vendor = holders.iter().map(with).collect();
            }
        }
        let family = subject.identity().map(|identity| identity.family);
        Self { family, unified, vendor, readings: subject.readings() }
    }

    /// Returns the readings that a input prints.
    fn readings(&self, input: &Input) -> impl Iterator<Item = &'a Reading> {
        let applies = input.row.is_none_or(|row| !self.vendor.is_empty() && self.family == Some(row.family));
        let tail = if applies {
            &self.readings[self.readings.partition_point(|reading| reading.id < input.id)..]
        } else {
            &[]
        };
        tail.iter()
            .take_while(|reading| reading.id == input.id)
            .filter(|reading| input.row.is_none_or(|row| takes(row, &reading.labels)))
    }

    /// The subject's labels in each series that an input prints of one reading.
    fn labels(&self, input: &Input) -> &[Vec<u8>] {
        if input.row.is_some() { &self.vendor } else { slice::from_ref(&self.unified) }
    }
}

/// Appends the reading's own labels.
fn push_own_labels<W: Writer>(input: &Input, reading: &Reading, out: &mut Vec<u8>) {
    let Some(row) = input.row else {
        reading.labels.for_each(|label, value| W::push_label(out, label.name(), value));
        return;
    };
    for (label, printed) in row.keep {
        reading.labels.with_value(*label, |value| W::push_label(out, printed, value));
    }
}

/// Returns whether a vendor's name applies to readings with these labels.
fn takes(row: &VendorName, labels: &Labels) -> bool {
    row.when.iter().all(|(label, wanted)| {
        let mut equal = false;
        labels.with_value(*label, |value| equal = value == *wanted);
        equal
    })
}
