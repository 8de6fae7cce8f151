//! What one round over one device yields.

use std::sync::Arc;

use naming::{Id, MetricOf, Quantity, Value};

use crate::{Fault, Identity, Labels};

/// One value of one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Which metric.
    pub id: Id,
    /// Its own labels.
    pub labels: Labels,
    /// The number, in the metric's base unit.
    pub value: Value,
}

/// One metric that has no value this round, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Absent {
    /// Which metric.
    pub id: Id,
    /// Its own labels.
    pub labels: Labels,
    /// Why.
    pub fault: Fault,
}

/// A device, a partition of one, or the exporter itself, with its readings.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// Whose readings these are.
    pub identity: Arc<Identity>,
    /// Values, in the order of the catalogue once [`Subject::order`] has run.
    pub readings: Vec<Reading>,
}

/// Collects one round: values and absences, for a device and its partitions.
#[derive(Debug, Default)]
pub struct Batch {
    /// The device first, then its partitions.
    pub subjects: Vec<Subject>,
    /// What has no value, and why.
    pub absences: Vec<Absent>,
    /// How many readings to make room for when a subject begins. A round is much like the one before it,
    /// and growing in steps would leave each worker's heap a third larger.
    pub room: usize,
}

impl Batch {
    /// Starts the readings of `identity`; what is put next belongs to it.
    pub fn begin(&mut self, identity: &Arc<Identity>) {
        self.subjects
            .push(Subject { identity: Arc::clone(identity), readings: Vec::with_capacity(self.room) });
    }

    /// Records a value or its absence.
    ///
    /// # Panics
    /// When no subject was begun: a programming error that the first sample shows.
    pub fn put<Q: Quantity>(&mut self, metric: MetricOf<Q>, labels: Labels, value: Result<Q, Fault>) {
        match value {
            Ok(quantity) => self.subjects.last_mut().expect("begin comes first").readings.push(Reading {
                id: metric.id,
                labels,
                value: quantity.value(),
            }),
            Err(fault) => self.absences.push(Absent { id: metric.id, labels, fault }),
        }
    }

    /// [`Self::drop_unusable`], and puts each subject's readings into catalogue order, which exposition relies on.
    pub fn finish(&mut self) {
        self.drop_unusable();
        self.subjects.iter_mut().for_each(Subject::order);
    }

    /// Drops values that no base unit has (NaN, infinities) as [`crate::Absence::NoData`].
    pub fn drop_unusable(&mut self) {
        for subject in &mut self.subjects {
            subject.readings.retain(|reading| match reading.value {
                Value::Float(v) if !v.is_finite() => {
                    self.absences.push(Absent {
                        id: reading.id,
                        labels: reading.labels.clone(),
                        fault: Fault {
                            absence: crate::Absence::NoData,
                            call: reading.id.metric().name.unwrap_or("value"),
                            code: "not_finite",
                        },
                    });
                    false
                }
                _ => true,
            });
        }
    }
}

impl Subject {
    /// Puts the readings into catalogue order; those of one metric stay as they came. Keys are sorted, and then
    /// readings moved: those are large, and sorting them would take as much memory again.
    pub fn order(&mut self) {
        self.readings.sort_by_cached_key(|reading| reading.id);
    }
}
