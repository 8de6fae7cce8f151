//! The walk over families and subjects, the same for every format.

use naming::{Id, Value, Vendor, VendorFilter};
use reading::{Identity, LabelValue, Labels, Reading, Subject};

use crate::{
    Format,
    plan::{FAMILIES, Heading},
    protobuf::Protobuf,
    text::{OPENMETRICS, TEXT, Text},
};

/// What to print.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The unified schema.
    pub unified: bool,
    /// Vendors' own names.
    pub vendor: bool,
    /// Per vocabulary, the names to keep, with the TYPE and HELP to announce; a vocabulary without a
    /// filter is printed whole.
    pub filters: &'a [VendorFilter],
}

/// Prints `subjects` in `format`.
///
/// Families come in catalogue order, each announced once and without gaps; a family without a reading is
/// not announced. Within a family, samples keep the order of the subjects. Each subject's readings must
/// be in catalogue order, as [`reading::Batch::finish`] leaves them.
pub fn encode<'a>(
    format: Format,
    subjects: impl IntoIterator<Item = &'a Subject>,
    options: &Options<'_>,
) -> Vec<u8> {
    match format {
        Format::Text => walk(Text::new(&TEXT), subjects, options),
        Format::OpenMetrics => walk(Text::new(&OPENMETRICS), subjects, options),
        Format::Protobuf => walk(Protobuf::default(), subjects, options),
    }
}

/// How one format is written. For each family that has samples: `begin`, `sample` at least once, `end`.
pub(crate) trait Writer {
    /// Appends one label to a sample's encoded labels.
    fn push_label(labels: &mut Vec<u8>, name: &str, value: &str);
    /// Announces a family.
    fn begin(&mut self, heading: &Heading<'_>);
    /// Adds a sample of the family that was begun; `labels` were made by [`Self::push_label`].
    fn sample(&mut self, heading: &Heading<'_>, labels: &[u8], value: &Value);
    /// Closes the family.
    fn end(&mut self);
    /// The whole body.
    fn finish(self) -> Vec<u8>;
}

fn walk<'a, W: Writer>(
    mut writer: W,
    subjects: impl IntoIterator<Item = &'a Subject>,
    options: &Options<'_>,
) -> Vec<u8> {
    let pages: Vec<_> = subjects.into_iter().map(Page::new::<W>).collect();
    let mut labels = Vec::new();
    for family in FAMILIES.iter() {
        let Some(heading) = family.heading(options) else { continue };
        let mut begun = false;
        for feed in &family.feeds {
            for page in &pages {
                let Some(identity) = page.identity(feed.row) else { continue };
                for reading in page.readings_of(feed.id) {
                    labels.clear();
                    labels.extend_from_slice(identity);
                    let converted;
                    let value = match feed.row {
                        None => {
                            each_label(&reading.labels, |name, value| {
                                W::push_label(&mut labels, name, value)
                            });
                            &reading.value
                        }
                        Some(row) if takes(row, &reading.labels) => {
                            for (name, printed) in row.keep {
                                with_label(&reading.labels, name, |value| {
                                    W::push_label(&mut labels, printed, value);
                                });
                            }
                            converted = row.unit.from_base(&reading.value);
                            &converted
                        }
                        Some(_) => continue,
                    };
                    if !begun {
                        writer.begin(&heading);
                        begun = true;
                    }
                    writer.sample(&heading, &labels, value);
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
struct Page<'a> {
    /// The `family` label: which vendor rows apply.
    family: &'a str,
    unified: Vec<u8>,
    vendor: Vec<u8>,
    readings: &'a [Reading],
}

impl<'a> Page<'a> {
    fn new<W: Writer>(subject: &'a Subject) -> Self {
        debug_assert!(subject.readings.is_sorted_by_key(|reading| reading.id), "a batch is finished");
        let encoded = |labels: &[(&'static str, String)]| {
            let mut out = Vec::new();
            labels.iter().for_each(|(name, value)| W::push_label(&mut out, name, value));
            out
        };
        let Identity { unified, vendor } = &*subject.identity;
        Self {
            family: unified.iter().find(|(name, _)| *name == "family").map_or("", |(_, family)| family),
            unified: encoded(unified),
            vendor: encoded(vendor),
            readings: &subject.readings,
        }
    }

    /// The labels under which a feed prints this subject; `None` when it has no such series.
    fn identity(&self, row: Option<&Vendor>) -> Option<&[u8]> {
        match row {
            None => Some(&self.unified),
            Some(row) => {
                (!self.vendor.is_empty() && self.family == row.family.name()).then_some(&self.vendor)
            }
        }
    }

    fn readings_of(&self, id: Id) -> &'a [Reading] {
        let tail = &self.readings[self.readings.partition_point(|reading| reading.id < id)..];
        &tail[..tail.iter().take_while(|reading| reading.id == id).count()]
    }
}

/// Whether a vendor's name applies to readings with these labels.
fn takes(row: &Vendor, labels: &Labels) -> bool {
    row.when.iter().all(|(name, wanted)| {
        let mut equal = false;
        with_label(labels, name, |value| equal = value == *wanted);
        equal
    })
}

/// Shows `visit` each label with its value as text. Unlike [`Labels::for_each`], without the formatting
/// machinery, which would cost more than all else that is done for a sample.
fn each_label(labels: &Labels, mut visit: impl FnMut(&'static str, &str)) {
    match labels {
        Labels::Inline { len, items } => {
            for (name, value) in &items[..usize::from(*len)] {
                match value {
                    LabelValue::Word(word) => visit(name, word),
                    LabelValue::Number(number) => visit(name, itoa::Buffer::new().format(*number)),
                }
            }
        }
        Labels::Shared(all) => all.iter().for_each(|(name, value)| visit(name, value)),
    }
}

/// Shows `visit` the label called `wanted`, if there is one.
fn with_label(labels: &Labels, wanted: &str, mut visit: impl FnMut(&str)) {
    each_label(labels, |name, value| {
        if name == wanted {
            visit(value);
        }
    });
}
