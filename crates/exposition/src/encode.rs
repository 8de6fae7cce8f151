//! The iteration over families and subjects, common to all formats.

use std::collections::BTreeSet;

use naming::{Value, VendorFilter, VendorName};
use reading::{Labels, Reading, Subject};

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
    let encoded: Vec<_> = subjects.into_iter().map(EncodedSubject::new::<W>).collect();
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
                    labels.clear();
                    subject.push_labels::<W>(input, reading, &mut labels);
                    match input.row {
                        None => writer.sample(&heading, &labels, &reading.value),
                        Some(row) => writer.sample(&heading, &labels, &row.unit.from_base(&reading.value)),
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
    vendor: Vec<u8>,
    readings: &'a [Reading],
}

impl<'a> EncodedSubject<'a> {
    fn new<W: Writer>(subject: &'a Subject) -> Self {
        let (mut unified, mut vendor) = (Vec::new(), Vec::new());
        if let Some(identity) = subject.identity() {
            identity.labels().for_each(|(name, value)| W::push_label(&mut unified, name, value));
            identity.vendor.iter().for_each(|(name, value)| W::push_label(&mut vendor, name, value));
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

    /// Appends the labels of one sample: the subject's, then the reading's own.
    fn push_labels<W: Writer>(&self, input: &Input, reading: &Reading, out: &mut Vec<u8>) {
        let Some(row) = input.row else {
            out.extend_from_slice(&self.unified);
            reading.labels.for_each(|label, value| W::push_label(out, label.name(), value));
            return;
        };
        out.extend_from_slice(&self.vendor);
        for (label, printed) in row.keep {
            reading.labels.with_value(*label, |value| W::push_label(out, printed, value));
        }
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
