//! One source per metric: the kernel's value where it has one, Level Zero's where it has none.
//!
//! The choice sticks. A metric that the kernel has told once is the kernel's: a file that cannot be read for a
//! round costs the series that round, instead of a value from elsewhere that may differ.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use naming::{Id, catalogue::ENGINE_ACTIVE};
use reading::{Batch, Identity, Labels, Reading, Subject};

/// What has been chosen for one device.
#[derive(Debug, Default)]
pub struct Chooser {
    kernel: HashSet<(Id, Labels)>,
    level_zero: BTreeSet<Id>,
}

/// The two backends count engines in different pieces, so they are taken whole.
fn key(id: Id, labels: &Labels) -> (Id, Labels) {
    (id, if id == ENGINE_ACTIVE.id { Labels::NONE } else { labels.clone() })
}

impl Chooser {
    /// Puts what the two backends read of one device into `batch`.
    pub fn merge(&mut self, kernel: Batch, level_zero: Batch, batch: &mut Batch) {
        let told = kernel.subjects.iter().flat_map(|subject| &subject.readings);
        self.kernel.extend(told.map(|reading| key(reading.id, &reading.labels)));
        for Subject { identity, readings } in kernel.subjects {
            add(batch, identity, readings);
        }
        let mut filled = HashSet::new();
        for Subject { identity, mut readings } in level_zero.subjects {
            readings.retain(|reading| !self.kernel.contains(&key(reading.id, &reading.labels)));
            filled.extend(readings.iter().map(|reading| (reading.id, reading.labels.clone())));
            self.level_zero.extend(readings.iter().map(|reading| reading.id));
            add(batch, identity, readings);
        }
        let of_kernel: HashSet<_> = kernel.absences.iter().map(|absent| absent.id).collect();
        let missing = |id: Id, labels: &Labels| !filled.contains(&(id, labels.clone()));
        batch
            .absences
            .extend(kernel.absences.into_iter().filter(|absent| missing(absent.id, &absent.labels)));
        // Where both have nothing, the kernel's reason is the one to mend.
        batch.absences.extend(level_zero.absences.into_iter().filter(|absent| {
            !of_kernel.contains(&absent.id) && !self.kernel.contains(&key(absent.id, &absent.labels))
        }));
    }

    /// Which source tells what, in words for the info metric: the kernel, or it and for which metrics the other.
    pub fn sources(&self) -> String {
        let names: Vec<_> = self.level_zero.iter().map(|id| short(*id)).collect();
        match (self.kernel.is_empty(), names.is_empty()) {
            (_, true) => "kernel".to_owned(),
            (true, false) => "level_zero".to_owned(),
            (false, false) => format!("kernel; level_zero: {}", names.join(" ")),
        }
    }
}

/// Adds readings to whom they belong to, who is there once.
pub fn add(batch: &mut Batch, identity: Arc<Identity>, readings: Vec<Reading>) {
    match batch.subjects.iter_mut().find(|subject| subject.identity == identity) {
        Some(subject) => subject.readings.extend(readings),
        None if readings.is_empty() => {}
        None => batch.subjects.push(Subject { identity, readings }),
    }
}

/// A metric's name without prefix and unit.
fn short(id: Id) -> &'static str {
    let metric = id.metric();
    let name = metric.name.unwrap_or_default();
    let name = name.split_once('_').map_or(name, |(_, name)| name);
    let name = name.strip_suffix("_total").unwrap_or(name);
    name.strip_suffix(metric.unit.suffix()).map_or(name, |name| name.trim_end_matches('_'))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use naming::{Celsius, Joules, Ratio, catalogue as m};
    use reading::{Absence, Batch, Fault, Identity, Labels};

    use super::Chooser;

    const FAULT: Fault = Fault { absence: Absence::Unsupported, call: "fdinfo", code: "needs" };

    fn batch(put: impl FnOnce(&mut Batch)) -> Batch {
        let mut batch = Batch::default();
        batch.begin(&Arc::new(Identity::default()));
        put(&mut batch);
        batch
    }

    #[test]
    fn the_kernel_comes_first_and_the_choice_sticks() {
        let mut chooser = Chooser::default();
        let sensor = |name| Labels::one("sensor", name);
        let engine = |name| Labels::one("engine", name);
        let level_zero = || {
            batch(|batch| {
                batch.put(m::TEMPERATURE, sensor("gpu"), Ok(Celsius(62.0)));
                batch.put(m::TEMPERATURE, sensor("voltage_regulator"), Ok(Celsius(70.0)));
                batch.put(m::ENERGY, Labels::NONE, Ok(Joules(2.0)));
                batch.put(m::ENGINE_ACTIVE, engine("decode"), Ok(Ratio(0.5)));
                batch.put(m::MEMORY_BANDWIDTH_ACTIVE, Labels::NONE, Err(FAULT));
            })
        };
        let kernel = batch(|batch| {
            batch.put(m::TEMPERATURE, sensor("gpu"), Ok(Celsius(61.0)));
            batch.put(m::ENERGY, Labels::NONE, Err(FAULT));
            batch.put(m::ENGINE_ACTIVE, engine("media"), Ok(Ratio(0.25)));
        });
        let mut merged = Batch::default();
        chooser.merge(kernel, level_zero(), &mut merged);
        let seen = |batch: &Batch| -> Vec<f64> {
            batch.subjects[0].readings.iter().map(|reading| reading.value.as_f64()).collect()
        };
        assert_eq!(seen(&merged), [61.0, 0.25, 70.0, 2.0]);
        assert_eq!(merged.absences.len(), 1, "{:?}", merged.absences);
        assert_eq!(chooser.sources(), "kernel; level_zero: temperature energy");

        let kernel = batch(|batch| batch.put(m::TEMPERATURE, sensor("gpu"), Err(FAULT)));
        let mut merged = Batch::default();
        chooser.merge(kernel, level_zero(), &mut merged);
        assert_eq!(seen(&merged), [70.0, 2.0], "neither the temperature nor the engines change their source");
        assert_eq!(merged.absences.len(), 2, "{:?}", merged.absences);
    }

    #[test]
    fn one_backend_alone_is_named_alone() {
        let mut chooser = Chooser::default();
        assert_eq!(chooser.sources(), "kernel");
        let level_zero = batch(|batch| batch.put(m::ENERGY, Labels::NONE, Ok(Joules(2.0))));
        chooser.merge(Batch::default(), level_zero, &mut Batch::default());
        assert_eq!(chooser.sources(), "level_zero");
    }
}
