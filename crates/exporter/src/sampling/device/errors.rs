//! Errors of a device that the kernel log has, among those that its driver has announced.

use std::sync::{Arc, MutexGuard};

use naming::{
    Id, Label, Value,
    catalogue::{ERROR_LAST, ERRORS},
};
use reading::{Labels, Reading, Subject};

use super::{Device, Snapshot, State, Status};
use crate::kernel_log::Errors;

impl Device {
    /// The kernel log has something new about it.
    pub fn reported(&self) {
        self.show(&self.state());
    }

    /// Shows what its source says of it, with what the kernel log says.
    pub(super) fn show(&self, locked: &MutexGuard<'_, State>) {
        let read = self.read.load_full();
        let errors = locked.address.as_ref().and_then(|address| self.kernel_log.of(address));
        let errors = errors.filter(|_| read.status != Status::Starting);
        let shown = match errors {
            None => read,
            Some(errors) => {
                let before = self.shown.load();
                let subjects = with_errors(&read, &errors, &before.subjects, |id| self.wanted.has(id));
                let (identity, clients) = (Arc::clone(&read.identity), read.clients.clone());
                Arc::new(Snapshot { identity, subjects, clients, ..*read })
            }
        };
        self.shown.store(shown);
        self.generation.bump();
    }
}

/// The readings of a device with errors of the kernel log. The driver may have announced some of them, for the device or
/// for a partition of it; those that it has not are the device's. A count is never less than it was `before`: an error that
/// the driver announces late moves from the device to its partition.
fn with_errors(
    read: &Snapshot,
    errors: &Errors,
    before: &[Subject],
    is_wanted: impl Fn(Id) -> bool,
) -> Vec<Subject> {
    let is_whole = |subject: &Subject| subject.identity().is_some_and(|own| own.partition.is_none());
    let of = |subject: &Subject, id, labels: &Labels| {
        subject.of(id).iter().find(|reading| reading.labels == *labels).map(|reading| reading.value.clone())
    };
    let mut subjects = read.subjects.clone();
    let place = subjects.iter().rposition(is_whole);
    let mut own = place.map_or_else(Vec::new, |place| subjects[place].readings().to_vec());
    for (kind, code, error) in errors {
        let labels = Labels::one(Label::Kind, *kind).with(Label::Code, *code);
        let sum = |subjects: &[Subject], is_meant: &dyn Fn(&Subject) -> bool| -> u64 {
            let counts = subjects.iter().filter(|subject| is_meant(subject));
            let counts = counts.filter_map(|subject| match of(subject, ERRORS.id, &labels)? {
                Value::Int(count) => Some(count),
                Value::Float(_) | Value::Histogram(_) => None,
            });
            counts.sum()
        };
        let announced = sum(&read.subjects, &|_| true);
        let count = sum(&read.subjects, &is_whole) + error.count.saturating_sub(announced);
        let count = count.max(sum(before, &is_whole));
        let last = read.whole().filter_map(|subject| of(subject, ERROR_LAST.id, &labels));
        let last = last.map(|value| value.as_f64()).fold(error.last, f64::max);
        for (id, value) in [(ERRORS.id, Value::Int(count)), (ERROR_LAST.id, Value::Float(last))] {
            if is_wanted(id) {
                own.retain(|reading| reading.id != id || reading.labels != labels);
                own.push(Reading { id, labels: labels.clone(), value, begins_with_sampler: false });
            }
        }
    }
    let own = Subject::new(Some(Arc::clone(&read.identity)), own);
    match place {
        Some(place) => subjects[place] = own,
        None => subjects.push(own),
    }
    subjects
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use naming::{Count, Family, Flag, Quantity as _, catalogue::DEVICE_UP};
    use reading::{Batch, Identity, LabelValue};

    use super::*;
    use crate::kernel_log::Error;

    fn xid(code: u32) -> Labels {
        Labels::one(Label::Kind, "xid").with(Label::Code, code)
    }

    /// A device with a partition, of which the driver has announced so many XIDs 94.
    fn read(device: u64, partition: u64) -> Snapshot {
        let identity =
            Arc::new(Identity { uuid: Some("u".to_owned()), ..Identity::new(Family::Nvidia, "gpu0") });
        let part = Arc::new(Identity { partition: Some("1".to_owned()), ..(*identity).clone() });
        let mut batch = Batch::default();
        batch.begin(&identity);
        batch.put(ERRORS, xid(94), Ok(Count(device)));
        batch.put(ERRORS, xid(79), Ok(Count(0)));
        batch.begin(&part);
        batch.put(ERRORS, xid(94), Ok(Count(partition)));
        Snapshot::new(identity, Status::Up, Instant::now(), batch.finish())
    }

    /// The readings, and the counts of XID 79 and 94 of the device and of 94 of its partition.
    fn shown(read: &Snapshot, errors: &Errors, before: &[Subject]) -> (Vec<Subject>, [Option<Value>; 3]) {
        let subjects = with_errors(read, errors, before, |_| true);
        let count = |place: usize, code| {
            let mut own = subjects[place].of(ERRORS.id).iter();
            own.find(|reading| reading.labels == xid(code)).map(|reading| reading.value.clone())
        };
        let counts = [count(1, 79), count(1, 94), count(2, 94)];
        (subjects, counts)
    }

    fn counts(counts: [u64; 3]) -> [Option<Value>; 3] {
        counts.map(|count| Some(Value::Int(count)))
    }

    fn error(code: u32, count: u64, last: f64) -> (&'static str, LabelValue, Error) {
        ("xid", LabelValue::Number(code), Error::of(count, last))
    }

    #[test]
    fn an_error_that_both_report_counts_once() {
        for (device, partition, log, expected) in [
            (0, 0, 2, [0, 2, 0]),
            (2, 0, 2, [0, 2, 0]),
            (0, 2, 2, [0, 0, 2]),
            (1, 1, 3, [0, 2, 1]),
            (5, 0, 2, [0, 5, 0]),
        ] {
            let errors = vec![error(94, log, 7.0)];
            assert_eq!(shown(&read(device, partition), &errors, &[]).1, counts(expected));
        }
    }

    #[test]
    fn a_count_never_falls_when_the_driver_announces_late() {
        let errors = vec![error(94, 1, 7.0)];
        let (before, now) = shown(&read(0, 0), &errors, &[]);
        assert_eq!(now, counts([0, 1, 0]));
        assert_eq!(shown(&read(1, 0), &errors, &before).1, counts([0, 1, 0]));
        assert_eq!(shown(&read(0, 1), &errors, &before).1, counts([0, 1, 1]));
    }

    #[test]
    fn an_error_from_before_has_a_time_and_no_count_and_a_lost_device_has_it_too() {
        let read = Snapshot::lost(&read(0, 0).identity, Status::Gone, Instant::now(), Vec::new(), None);
        let subjects = with_errors(&read, &vec![error(79, 0, 1234.5)], &[], |_| true);
        let all = || subjects.iter().flat_map(Subject::readings);
        assert!(all().any(|reading| reading.id == DEVICE_UP.id && reading.value == Flag(false).value()));
        let last = all().find(|reading| reading.id == ERROR_LAST.id).expect("a time");
        assert_eq!((&last.labels, &last.value), (&xid(79), &Value::Float(1234.5)));
        assert!(all().any(|reading| reading.id == ERRORS.id && reading.value == Value::Int(0)));
        let nothing = with_errors(&read, &vec![error(79, 0, 1234.5)], &[], |id| id == ERRORS.id);
        assert!(nothing.iter().flat_map(Subject::readings).all(|reading| reading.id != ERROR_LAST.id));
    }
}
