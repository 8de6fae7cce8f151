//! One source per metric: the kernel's value where it has one, Level Zero's where it has none.
//!
//! The choice is final. A metric that the kernel has reported once stays the kernel's: when its file cannot
//! be read in one round, the series is absent in that round rather than filled from the other backend, whose
//! value may differ. A metric for which the kernel may have a value in the next round is left to the kernel
//! too.

use std::collections::{BTreeSet, HashSet};

use naming::{Id, catalogue::ENGINE_ACTIVE};
use reading::{Absence, Batch, Group, Labels};

/// One series: the tile (`None` for the card), the metric and its labels.
type Key = (Option<String>, Id, Labels);

/// What was chosen for one device so far.
#[derive(Debug, Default)]
pub struct Chooser {
    kernel: HashSet<Key>,
    level_zero: BTreeSet<Id>,
}

/// What the choice is made for. A tile's value is not its card's, so each has its own choice. The two
/// backends group engines differently, so all engines of a device come from one of them.
fn key(tile: Option<&str>, id: Id, labels: &Labels) -> Key {
    if id == ENGINE_ACTIVE.id {
        return (None, id, Labels::NONE);
    }
    (tile.map(str::to_owned), id, labels.clone())
}

fn tile(group: &Group) -> Option<&str> {
    group.identity.as_deref()?.partition.as_deref()
}

impl Chooser {
    /// Puts what the two backends read from one device into `batch`.
    pub fn merge(&mut self, kernel: Batch, level_zero: Batch, batch: &mut Batch) {
        batch.clients = kernel.clients;
        for group in kernel.groups {
            let tile = tile(&group);
            self.kernel.extend(group.readings.iter().map(|reading| key(tile, reading.id, &reading.labels)));
            add(batch, group);
        }
        let pending = kernel.absences.iter().filter(|absent| absent.fault.absence != Absence::Unsupported);
        let pending: HashSet<_> = pending.map(|absent| key(None, absent.id, &absent.labels)).collect();
        let mut filled = HashSet::new();
        for mut group in level_zero.groups {
            let tile = tile(&group).map(str::to_owned);
            group.readings.retain(|reading| {
                let key = key(tile.as_deref(), reading.id, &reading.labels);
                !self.kernel.contains(&key) && !pending.contains(&key)
            });
            filled.extend(group.readings.iter().map(|reading| (reading.id, reading.labels.clone())));
            self.level_zero.extend(group.readings.iter().map(|reading| reading.id));
            add(batch, group);
        }
        let of_kernel: HashSet<_> = kernel.absences.iter().map(|absent| absent.id).collect();
        // An absence without labels is that of all series of the metric.
        let missing = |id: Id, labels: &Labels| match labels {
            none if *none == Labels::NONE => filled.iter().all(|(of, _)| *of != id),
            _ => !filled.contains(&(id, labels.clone())),
        };
        batch
            .absences
            .extend(kernel.absences.into_iter().filter(|absent| missing(absent.id, &absent.labels)));
        // Where neither has a value, the kernel's reason is the one to fix.
        batch.absences.extend(level_zero.absences.into_iter().filter(|absent| {
            !of_kernel.contains(&absent.id) && !self.kernel.contains(&key(None, absent.id, &absent.labels))
        }));
    }

    /// Which backend fills which metrics, as text for the info metric: the kernel, and the metrics that come
    /// from Level Zero.
    pub fn sources(&self) -> String {
        let names: Vec<_> = self.level_zero.iter().map(|id| short(*id)).collect();
        match (self.kernel.is_empty(), names.is_empty()) {
            (_, true) => "kernel".to_owned(),
            (true, false) => "level_zero".to_owned(),
            (false, false) => format!("kernel; level_zero: {}", names.join(" ")),
        }
    }
}

/// Adds readings to the group of their identity, and drops those whose metric and labels are there already: a
/// scraper refuses a whole body in which one series occurs twice, so a driver that lists a component twice
/// must not cost more than that component.
pub fn add(batch: &mut Batch, Group { identity, readings }: Group) {
    if readings.is_empty() {
        return;
    }
    let position = batch.groups.iter().position(|group| group.identity == identity);
    let position = position.unwrap_or_else(|| {
        batch.groups.push(Group { identity, readings: Vec::with_capacity(readings.len()) });
        batch.groups.len() - 1
    });
    let present = &mut batch.groups[position].readings;
    for reading in readings {
        if !present.iter().any(|known| known.id == reading.id && known.labels == reading.labels) {
            present.push(reading);
        }
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

    use naming::{
        Bytes, Celsius, Count, Family, FaultCode, Hertz, Joules, Label, Ratio, Watts, catalogue as m,
    };
    use reading::{Absence, Batch, Fault, Identity, Labels};

    use super::Chooser;

    const FAULT: Fault = Fault::new("fdinfo", FaultCode::NoEngineTime);

    fn batch(put: impl FnOnce(&mut Batch)) -> Batch {
        let mut batch = Batch::default();
        batch.begin(&Arc::new(Identity::new(Family::Xpu, "0000:03:00.0")));
        put(&mut batch);
        batch
    }

    #[test]
    fn the_kernel_comes_first_and_the_choice_is_final() {
        let mut chooser = Chooser::default();
        let sensor = |name| Labels::one(Label::Sensor, name);
        let engine = |name| Labels::one(Label::Engine, name);
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
            batch.groups[0].readings.iter().map(|reading| reading.value.as_f64()).collect()
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
    fn what_level_zero_fills_is_not_missing_for_want_of_a_kernel_file() {
        let none = Fault::returned(Absence::Unsupported, "fan_input", "ENOENT");
        let kernel = || batch(|batch| batch.put(m::FAN_REVOLUTIONS, Labels::NONE, Err(none)));
        let fan = batch(|batch| batch.put(m::FAN_REVOLUTIONS, Labels::one(Label::Fan, 0u32), Ok(Count(900))));
        let absences = [fan, Batch::default()].map(|level_zero| {
            let mut merged = Batch::default();
            Chooser::default().merge(kernel(), level_zero, &mut merged);
            merged.absences.len()
        });
        assert_eq!(absences, [0, 1]);
    }

    #[test]
    fn what_the_kernel_may_report_next_time_is_left_to_it() {
        let mut chooser = Chooser::default();
        let level_zero = || {
            batch(|batch| {
                batch.put(m::POWER, Labels::NONE, Ok(Watts(190.0)));
                batch.put(m::ENERGY, Labels::NONE, Ok(Joules(2.0)));
            })
        };
        let first = Fault::new("energy_input", FaultCode::FirstReading);
        let rounds = [(Err(first), Err(FAULT)), (Ok(Watts(180.0)), Err(FAULT))];
        let seen = rounds.map(|(power, energy)| {
            let kernel = batch(|batch| {
                batch.put(m::POWER, Labels::NONE, power);
                batch.put(m::ENERGY, Labels::NONE, energy);
            });
            let mut merged = Batch::default();
            chooser.merge(kernel, level_zero(), &mut merged);
            merged.groups[0].readings.iter().map(|reading| reading.value.as_f64()).collect::<Vec<_>>()
        });
        assert_eq!(seen, [vec![2.0], vec![180.0, 2.0]], "power has one source from the beginning");
    }

    #[test]
    fn a_tile_and_its_card_are_chosen_for_separately() {
        let partition = Some("tile1".to_owned());
        let tile = Arc::new(Identity { partition, ..Identity::new(Family::Xpu, "0000:03:00.0") });
        let level_zero = || {
            batch(|batch| {
                batch.put(m::MEMORY_TOTAL, Labels::NONE, Ok(Bytes(2)));
                batch.begin(&tile);
                batch.put(m::MEMORY_TOTAL, Labels::NONE, Ok(Bytes(1)));
            })
        };
        let kernel = batch(|batch| batch.put(m::MEMORY_TOTAL, Labels::NONE, Ok(Bytes(3))));
        let mut merged = Batch::default();
        Chooser::default().merge(kernel, level_zero(), &mut merged);
        let seen = merged.groups.iter().flat_map(|group| {
            group.readings.iter().map(|reading| (super::tile(group), reading.value.as_f64()))
        });
        assert_eq!(seen.collect::<Vec<_>>(), [(None, 3.0), (Some("tile1"), 1.0)]);
    }

    #[test]
    fn a_component_that_is_listed_twice_is_reported_once() {
        let kernel = batch(|batch| {
            for hertz in [1e9, 2e9] {
                batch.put(m::CLOCK, Labels::one(Label::Domain, "graphics"), Ok(Hertz(hertz)));
            }
            batch.put(m::CLOCK, Labels::one(Label::Domain, "video"), Ok(Hertz(3e9)));
        });
        let mut merged = Batch::default();
        Chooser::default().merge(kernel, Batch::default(), &mut merged);
        let seen = merged.groups[0].readings.iter().map(|reading| reading.value.as_f64());
        assert_eq!(seen.collect::<Vec<_>>(), [1e9, 3e9]);
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
