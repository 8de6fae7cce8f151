//! What one round over one device yields.

use std::{collections::HashSet, sync::Arc};

use naming::{FaultCode, Id, LabelValues, MetricOf, Quantity, Scope, Value};

use crate::{Fault, Identity, LabelValue, Labels};

/// One value of one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Which metric.
    pub id: Id,
    /// Its own labels.
    pub labels: Labels,
    /// The number, in the metric's base unit.
    pub value: Value,
    /// Whether it is a sum that began at 0 when its sampler did; see [`Batch::put_sum`].
    pub begins_with_sampler: bool,
}

impl Reading {
    /// Whether a source may report it: a finite number of a device, with the labels of its catalogue entry.
    pub fn is_of_a_device(&self) -> bool {
        let is_number = match &self.value {
            Value::Float(float) => float.is_finite(),
            Value::Int(_) => true,
            Value::Histogram(_) => false,
        };
        is_number && self.id.metric().scope == Scope::Device && disagreement(self.id, &self.labels).is_none()
    }
}

/// One metric that has no value this round, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Absent {
    /// Which metric.
    pub id: Id,
    /// Its own labels; those that depend on the missing value are left out.
    pub labels: Labels,
    /// Why.
    pub fault: Fault,
}

/// A device, a partition of one, or the exporter itself, with its readings in catalogue order.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    identity: Option<Arc<Identity>>,
    readings: Vec<Reading>,
}

impl Subject {
    /// Puts readings into catalogue order; those of one metric stay as they came.
    pub fn new(identity: Option<Arc<Identity>>, mut readings: Vec<Reading>) -> Self {
        put_in_order(&mut readings);
        Self { identity, readings }
    }

    /// Whose readings these are; `None` for the exporter's own.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    /// The subject with these of its readings alone; `None` when none is left.
    pub fn filtered(&self, is_left: impl Fn(&Reading) -> bool) -> Option<Self> {
        let readings: Vec<_> = self.readings.iter().filter(|reading| is_left(reading)).cloned().collect();
        (!readings.is_empty()).then(|| Self { identity: self.identity.clone(), readings })
    }

    /// The same with what was read since, and without what was absent then.
    #[must_use]
    pub fn renewed(&self, newer: &Self, absences: &[Absent]) -> Self {
        let is_same = |one: &Reading, id: Id, labels: &Labels| one.id == id && one.labels == *labels;
        let is_old = |old: &&Reading| {
            let is_info = matches!(old.labels, Labels::Shared(_));
            !is_info && newer.readings.iter().any(|new| is_same(old, new.id, &new.labels))
                || absences.iter().any(|absent| is_same(old, absent.id, &absent.labels))
        };
        // What is known of a device is known since it was opened, and of two rounds the whole one knows more.
        let is_known = |new: &&Reading| {
            matches!(new.labels, Labels::Shared(_)) && self.readings.iter().any(|old| old.id == new.id)
        };
        let kept = self.readings.iter().filter(|old| !is_old(old));
        let new = newer.readings.iter().filter(|new| !is_known(new));
        Self::new(self.identity.clone(), kept.chain(new).cloned().collect())
    }

    /// The readings of one metric.
    pub fn of(&self, id: Id) -> &[Reading] {
        let from = self.readings.partition_point(|reading| reading.id < id);
        // Most metrics have few readings, so the end is near.
        let many = self.readings[from..].iter().take_while(|reading| reading.id == id).count();
        &self.readings[from..from + many]
    }

    /// The readings, in catalogue order.
    pub fn readings(&self) -> &[Reading] {
        &self.readings
    }
}

/// Puts readings into catalogue order; those of one metric stay as they came. Metrics are counted instead of compared,
/// which costs a tenth of a sort, and each reading is moved once, in place: readings are large.
fn put_in_order(readings: &mut [Reading]) {
    let place_of = |reading: &Reading| usize::from(reading.id.index());
    let metrics = readings.iter().map(place_of).max().map_or(0, |last| last + 1);
    // The place of the first reading of each metric, and then of the next one.
    let mut next = vec![0; metrics];
    for reading in &*readings {
        next[place_of(reading)] += 1;
    }
    let mut before = 0;
    for count in &mut next {
        before += std::mem::replace(count, before);
    }
    let place = |reading| {
        let next = &mut next[place_of(reading)];
        *next += 1;
        *next - 1
    };
    let mut places: Vec<usize> = readings.iter().map(place).collect();
    for index in 0..readings.len() {
        while places[index] != index {
            let place = places[index];
            readings.swap(index, place);
            places.swap(index, place);
        }
    }
}

/// A process that has work or memory on a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    /// The device, or the partition of it.
    pub identity: Arc<Identity>,
    /// Its id in the PID namespace of the host.
    pub pid: u32,
    /// Memory of the device that it has, in bytes.
    pub memory_bytes: Option<u64>,
    /// For how many seconds each engine has worked for it since it is followed; the names are values of the label
    /// `engine`. They only rise.
    pub busy_seconds: Vec<(&'static str, f64)>,
}

/// Readings of one device or partition while a round collects them, in any order.
#[derive(Debug)]
pub struct Group {
    /// Whose readings these are; `None` for the exporter's own.
    pub identity: Option<Arc<Identity>>,
    /// What was read so far.
    pub readings: Vec<Reading>,
}

/// Collects one round: values and absences, for a device and its partitions. [`Batch::finish`] puts it in
/// order.
#[derive(Debug, Default)]
pub struct Batch {
    /// The device first, then its partitions.
    pub groups: Vec<Group>,
    /// What has no value, and why.
    pub absences: Vec<Absent>,
    /// Processes on the device and its partitions.
    pub clients: Vec<Client>,
    /// How many readings to make room for when a group begins. A round is much like the one before it, and
    /// growing in steps would leave each worker's heap a third larger.
    pub capacity: usize,
}

impl Batch {
    /// Starts the readings of `identity`; what is put next belongs to it.
    pub fn begin(&mut self, identity: &Arc<Identity>) {
        self.begin_group(Some(Arc::clone(identity)));
    }

    /// Starts the exporter's own readings.
    pub fn begin_exporter(&mut self) {
        self.begin_group(None);
    }

    fn begin_group(&mut self, identity: Option<Arc<Identity>>) {
        self.groups.push(Group { identity, readings: Vec::with_capacity(self.capacity) });
    }

    /// Records a value or its absence. A number that is not finite is absent, and so is a share of busy time
    /// that is not one, and what no part can have.
    ///
    /// # Panics
    /// When no group was begun, and in debug builds when the labels are not those of the metric's entry: both
    /// are programming errors that the first sample shows.
    pub fn put<Q: Quantity>(&mut self, metric: MetricOf<Q>, labels: Labels, value: Result<Q, Fault>) {
        self.put_reading(metric.id, labels, value, false);
    }

    /// Records a sum that began at 0 when its sampler did, and never falls. The exporter adds what earlier samplers
    /// of the device have counted, so that its series goes on when the device is opened again.
    ///
    /// # Panics
    /// As [`Batch::put`].
    pub fn put_sum<Q: Quantity>(&mut self, metric: MetricOf<Q>, labels: Labels, value: Result<Q, Fault>) {
        self.put_reading(metric.id, labels, value, true);
    }

    fn put_reading<Q: Quantity>(
        &mut self,
        id: Id,
        labels: Labels,
        value: Result<Q, Fault>,
        begins_with_sampler: bool,
    ) {
        let absent = |code| Err(Fault::new(id.metric().name.unwrap_or("value"), code));
        let value = value.map(Quantity::value).and_then(|value| match value {
            Value::Float(float) if !float.is_finite() => absent(FaultCode::NotFinite),
            // What is integrated to busy time is a share of the time.
            Value::Float(float) if id.metric().integral.is_some() && !(0.0..=1.0).contains(&float) => {
                absent(FaultCode::OutOfRange)
            }
            value if id.metric().is_past_any_part(&value) => absent(FaultCode::AboveMaximum),
            value => Ok(value),
        });
        match value {
            Ok(value) => {
                debug_assert_eq!(
                    disagreement(id, &labels),
                    None,
                    "labels differ from those of the catalogue"
                );
                let group = self.groups.last_mut().expect("begin comes first");
                group.readings.push(Reading { id, labels, value, begins_with_sampler });
            }
            Err(fault) => self.absences.push(Absent { id, labels, fault }),
        }
    }

    /// Adds what was put into another batch for the device or partition that was begun last: a reading that is taken
    /// less often than rounds is put once and part of every round.
    ///
    /// # Panics
    /// When no group was begun, a programming error that the first sample shows.
    pub fn append(&mut self, part: &Self) {
        let group = self.groups.last_mut().expect("begin comes first");
        group.readings.extend(part.groups.iter().flat_map(|group| &group.readings).cloned());
        self.absences.extend_from_slice(&part.absences);
    }

    /// Keeps one absence of each metric for each fault, where many parts of a device lack the same: all links of a
    /// board are of one generation.
    pub fn merge_absences(&mut self) {
        let mut seen = HashSet::new();
        self.absences.retain(|absent| seen.insert((absent.id, absent.fault)));
        self.absences.shrink_to_fit();
    }

    /// Forgets what is not wanted, values and absences.
    pub fn keep(&mut self, is_wanted: impl Fn(Id) -> bool) {
        self.groups.iter_mut().for_each(|group| group.readings.retain(|reading| is_wanted(reading.id)));
        self.absences.retain(|absent| is_wanted(absent.id));
    }

    /// Records a process on the device or partition that was begun last.
    ///
    /// # Panics
    /// When none was begun, a programming error that the first sample shows.
    pub fn put_client(
        &mut self,
        pid: u32,
        memory_bytes: Option<u64>,
        busy_seconds: Vec<(&'static str, f64)>,
    ) {
        let identity = self.groups.last().and_then(|group| group.identity.clone());
        let identity = identity.expect("begin comes first");
        self.clients.push(Client { identity, pid, memory_bytes, busy_seconds });
    }

    /// The round's subjects in the order in which they were begun, each with its readings in catalogue order.
    pub fn finish(self) -> Vec<Subject> {
        self.groups.into_iter().map(|Group { identity, readings }| Subject::new(identity, readings)).collect()
    }
}

/// What is wrong with the labels of a reading: they are those of the entry, in its order, and a closed label
/// has one of its words, or a number that is newer than them. An info metric leaves out what is not known.
fn disagreement(id: Id, labels: &Labels) -> Option<String> {
    let metric = id.metric();
    let wanted = metric.labels;
    let name = metric.name.unwrap_or(metric.help);
    let given: Vec<_> = labels.names().collect();
    let same = match labels {
        Labels::Inline { .. } => given == wanted,
        Labels::Shared(_) => given.iter().all(|label| wanted.contains(label)),
    };
    if !same {
        return Some(format!("{name} has {given:?} instead of {wanted:?}"));
    }
    labels.inline().find_map(|(label, value)| match (label.values(), value) {
        (LabelValues::Closed(words), LabelValue::Word(word)) if !words.contains(&word) => {
            Some(format!("{name}: {word} is not a value of {}", label.name()))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use naming::{Bytes, Celsius, Count, Label, Ratio, Watts, catalogue as m};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn labels_are_compared_with_the_catalogue() {
        let check = |labels| disagreement(m::LINK_RECEIVE.id, &labels);
        let link = || Labels::one(Label::Link, 0);
        assert_eq!(check(link().with(Label::Kind, "pcie")), None);
        assert!(check(Labels::one(Label::Kind, "pcie")).is_some(), "a label is missing");
        assert!(check(Labels::one(Label::Kind, "pcie").with(Label::Link, 0)).is_some(), "in another order");
        assert!(check(link().with(Label::Kind, "pcie").with(Label::Fan, 0)).is_some(), "one too many");
        assert!(check(link().with(Label::Kind, "usb")).is_some(), "not one of its words");
        assert_eq!(check(link().with(Label::Kind, 7)), None, "a number that is newer than the list");
        let facts = |label| Labels::Shared([(label, "x".to_owned())].into());
        assert_eq!(disagreement(m::DEVICE_INFO.id, &facts(Label::Serial)), None);
        assert!(disagreement(m::DEVICE_INFO.id, &facts(Label::Sensor)).is_some());
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "labels differ")]
    fn a_reading_with_other_labels_is_refused() {
        let mut batch = Batch::default();
        batch.begin_exporter();
        batch.put(m::LINK_RECEIVE, Labels::one(Label::Kind, "pcie"), Ok(Bytes(1)));
    }

    #[test]
    fn what_is_not_finite_is_absent() {
        let mut batch = Batch::default();
        batch.begin_exporter();
        for celsius in [f64::NAN, 50.0, f64::INFINITY] {
            batch.put(m::TEMPERATURE, Labels::one(Label::Sensor, "gpu"), Ok(Celsius(celsius)));
        }
        assert!(batch.absences.iter().all(|absent| absent.fault.code == FaultCode::NotFinite));
        assert_eq!((batch.absences.len(), batch.finish()[0].readings().len()), (2, 1));
    }

    #[test]
    fn what_no_part_can_have_is_absent() {
        let mut batch = Batch::default();
        batch.begin_exporter();
        let enforced = || Labels::one(Label::Limit, "enforced");
        for (watts, is_possible) in [(700.0, true), (5e3, true), (700e3, false)] {
            batch.put(m::POWER_LIMIT, enforced(), Ok(Watts(watts)));
            assert_eq!(batch.groups[0].readings.pop().is_some(), is_possible, "{watts} W");
        }
        batch.put(m::PERFORMANCE_STATE, Labels::NONE, Ok(Count(32)));
        batch.put(m::MEMORY_TOTAL, Labels::NONE, Ok(Bytes(85 << 40)));
        assert!(batch.groups[0].readings.is_empty());
        let codes: Vec<_> = batch.absences.iter().map(|absent| absent.fault.code.name()).collect();
        assert_eq!(codes, ["above_maximum"; 3]);
        // A count may be any.
        batch.put(m::PCIE_REPLAYS, Labels::NONE, Ok(Count(1 << 60)));
        assert_eq!(batch.groups[0].readings.len(), 1);
    }

    #[test]
    fn a_share_of_busy_time_is_at_most_all_of_it() {
        let mut batch = Batch::default();
        batch.begin_exporter();
        for ratio in [-0.1, 0.0, 1.0, 1.1] {
            batch.put(m::ENGINE_ACTIVE, Labels::one(Label::Engine, "sm"), Ok(Ratio(ratio)));
        }
        assert!(batch.absences.iter().all(|absent| absent.fault.code == FaultCode::OutOfRange));
        assert_eq!((batch.absences.len(), batch.finish()[0].readings().len()), (2, 2));
    }

    #[test]
    fn what_was_read_since_takes_the_place_of_what_was_read_before() {
        let round = |temperatures: &[(&'static str, Option<f64>)]| {
            let mut batch = Batch::default();
            batch.begin_exporter();
            for (sensor, celsius) in temperatures {
                let absent = Fault::new("call", FaultCode::Blank);
                let labels = Labels::one(Label::Sensor, *sensor);
                batch.put(m::TEMPERATURE, labels, celsius.map(Celsius).ok_or(absent));
            }
            let absences = std::mem::take(&mut batch.absences);
            (batch.finish().remove(0), absences)
        };
        let (old, _) = round(&[("gpu", Some(1.0)), ("memory", Some(2.0)), ("board", Some(3.0))]);
        let (new, absences) = round(&[("memory", Some(20.0)), ("gpu", None)]);
        let values =
            |subject: &Subject| subject.readings.iter().map(|r| r.value.as_f64()).collect::<Vec<_>>();
        assert_eq!(values(&old.renewed(&new, &absences)), [3.0, 20.0]);
    }

    #[test]
    fn a_part_that_is_read_once_in_a_while_is_in_every_round_and_its_absences_are_one_by_fault() {
        let mut part = Batch::default();
        part.begin_exporter();
        part.put(m::TEMPERATURE, Labels::one(Label::Sensor, "memory"), Ok(Celsius(1.0)));
        for (link, code) in [FaultCode::Blank, FaultCode::Blank, FaultCode::Zero].into_iter().enumerate() {
            let labels =
                Labels::one(Label::Link, u32::try_from(link).expect("few")).with(Label::Kind, "nvlink");
            part.put(m::LINK_RECEIVE, labels.clone(), Err(Fault::new("call", code)));
            part.put(m::LINK_TRANSMIT, labels, Err(Fault::new("call", code)));
        }
        part.merge_absences();
        assert_eq!(part.absences.len(), 4, "two faults of two metrics");
        for _ in 0..2 {
            let mut round = Batch::default();
            round.begin_exporter();
            round.put(m::MEMORY_TOTAL, Labels::NONE, Ok(Bytes(2)));
            round.append(&part);
            assert_eq!(round.absences, part.absences);
            assert_eq!(round.finish()[0].readings().len(), 2);
        }
    }

    proptest! {
        #[test]
        fn readings_are_in_catalogue_order_and_those_of_one_metric_as_they_came(
            metrics in prop::collection::vec(0_u16..40, 0..200)
        ) {
            let reading = |(metric, place): (u16, u32)| Reading {
                id: Id::of_index(metric).expect("an entry"),
                labels: Labels::one(Label::Link, place),
                value: Value::Int(place.into()),
                begins_with_sampler: false,
            };
            let readings: Vec<_> = metrics.into_iter().zip(0..).map(reading).collect();
            let mut expected = readings.clone();
            expected.sort_by_key(|reading| reading.id);
            let subject = Subject::new(None, readings);
            prop_assert_eq!(subject.readings(), expected);
        }
    }

    #[test]
    fn a_finished_round_is_in_catalogue_order() {
        let mut batch = Batch::default();
        batch.begin_exporter();
        batch.put(m::TEMPERATURE, Labels::one(Label::Sensor, "memory"), Ok(Celsius(1.0)));
        batch.put(m::MEMORY_TOTAL, Labels::NONE, Ok(Bytes(2)));
        batch.put(m::TEMPERATURE, Labels::one(Label::Sensor, "gpu"), Ok(Celsius(3.0)));
        let values =
            |subject: &Subject| subject.readings().iter().map(|r| r.value.as_f64()).collect::<Vec<_>>();
        let subject = batch.finish().remove(0);
        assert_eq!(values(&subject), [2.0, 1.0, 3.0]);
        let of = |id| subject.of(id).iter().map(|r| r.value.as_f64()).collect::<Vec<_>>();
        assert_eq!(
            (of(m::MEMORY_TOTAL.id), of(m::TEMPERATURE.id), of(m::POWER.id)),
            (vec![2.0], vec![1.0, 3.0], vec![])
        );
    }
}
