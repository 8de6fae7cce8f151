//! Sums of a device that outlive its samplers: busy seconds, which are the integral of each ratio whose catalogue
//! entry names one, and what samplers count from 0 on.

use std::{sync::Arc, time::Instant};

use naming::{Id, Value};
use reading::{Batch, Group, Identity, Integral, Labels, Reading};

use crate::sampling::timing::KEEP;

/// The sums of one device and its partitions. They outlive the device's loss, so that no counter falls
/// when it returns.
#[derive(Debug, Default)]
pub struct Sums {
    subjects: Vec<OfSubject>,
    previous: Option<Instant>,
}

#[derive(Debug)]
struct OfSubject {
    identity: Option<Arc<Identity>>,
    seen: Instant,
    busy: BySeries<Integral>,
    counted: BySeries<Counted>,
}

/// What is kept of each series, in the order in which a round has them. That is the same in nearly every round, so the
/// next one is where it is looked for first.
#[derive(Debug)]
struct BySeries<T> {
    kept: Vec<(Id, Labels, T)>,
    next: usize,
}

impl<T> BySeries<T> {
    const NONE: Self = Self { kept: Vec::new(), next: 0 };

    /// What is kept of a series; `new` where it has not been seen.
    fn of(&mut self, id: Id, labels: &Labels, new: impl FnOnce() -> T) -> &mut T {
        let is_it = |(known, of, _): &(Id, Labels, T)| *known == id && of == labels;
        let place = if self.kept.get(self.next).is_some_and(is_it) {
            self.next
        } else {
            self.kept.iter().position(is_it).unwrap_or_else(|| {
                self.kept.push((id, labels.clone(), new()));
                self.kept.len() - 1
            })
        };
        self.next = place + 1;
        &mut self.kept[place].2
    }
}

/// A sum that samplers begin at 0 and that never falls while one of them lives.
#[derive(Debug)]
struct Counted {
    /// By the samplers before this one.
    before: Value,
    /// By this one.
    now: Value,
}

impl Counted {
    /// Takes the sum of the sampler and returns that of all so far.
    fn add(&mut self, now: &Value) -> Value {
        if now.as_f64() < self.now.as_f64() {
            self.before = plus(&self.before, &self.now);
        }
        self.now = now.clone();
        plus(&self.before, now)
    }
}

fn plus(one: &Value, other: &Value) -> Value {
    match (one, other) {
        (Value::Int(one), Value::Int(other)) => Value::Int(one.saturating_add(*other)),
        _ => Value::Float(one.as_f64() + other.as_f64()),
    }
}

impl Sums {
    /// Notes a gap: the time until the next sample is not added to any integral.
    pub fn interrupt(&mut self) {
        self.previous = None;
    }

    /// Takes a round taken at `now`: adds busy seconds to it, and to what its sampler counted what samplers before
    /// did. A ratio holds for the time since the previous round if the same series was present then; the first
    /// round of a series adds 0.
    pub fn add(&mut self, batch: &mut Batch, now: Instant) {
        for Group { identity, readings } in &mut batch.groups {
            let place = self.place(identity.as_ref(), now);
            let OfSubject { busy, counted, .. } = &mut self.subjects[place];
            (busy.next, counted.next) = (0, 0);
            for index in 0..readings.len() {
                let Reading { id, labels, value, begins_with_sampler } = &mut readings[index];
                if *begins_with_sampler {
                    let new = || Counted { before: Value::Int(0), now: Value::Int(0) };
                    *value = counted.of(*id, labels, new).add(value);
                }
                let Some(integral) = id.metric().integral else { continue };
                let labels = labels.clone();
                let sum = busy.of(integral, &labels, Integral::default);
                let value = Value::Float(sum.add(now, self.previous, value.as_f64()));
                readings.push(Reading { id: integral, labels, value, begins_with_sampler: false });
            }
        }
        self.previous = Some(now);
        self.subjects.retain(|of| now.saturating_duration_since(of.seen) < KEEP);
    }

    fn place(&mut self, identity: Option<&Arc<Identity>>, now: Instant) -> usize {
        let is_same = |of: &OfSubject| match (&of.identity, identity) {
            (Some(known), Some(identity)) => known.is_same(identity),
            (known, identity) => known.is_none() && identity.is_none(),
        };
        let known = self.subjects.iter().position(is_same);
        let place = known.unwrap_or_else(|| {
            let (busy, counted) = (BySeries::NONE, BySeries::NONE);
            self.subjects.push(OfSubject { identity: identity.cloned(), seen: now, busy, counted });
            self.subjects.len() - 1
        });
        self.subjects[place].seen = now;
        place
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use naming::{
        Count, Family, Joules, Label, Ratio,
        catalogue::{CYCLES, ENERGY, ENGINE_ACTIVE, ENGINE_BUSY},
    };

    use super::*;

    fn round(sums: &mut Sums, at: Instant, engines: &[(&'static str, f64)]) -> Vec<(String, f64)> {
        let identity = Arc::new(Identity::new(Family::Nvidia, "gpu0"));
        let mut batch = Batch::default();
        batch.begin(&identity);
        for (engine, ratio) in engines {
            batch.put(ENGINE_ACTIVE, Labels::one(Label::Engine, *engine), Ok(Ratio(*ratio)));
        }
        sums.add(&mut batch, at);
        let subjects = batch.finish();
        let busy = subjects[0].readings().iter().filter(|reading| reading.id == ENGINE_BUSY.id);
        busy.map(|reading| {
            let mut engine = String::new();
            reading.labels.for_each(|_, value| engine = value.to_string());
            (engine, reading.value.as_f64())
        })
        .collect()
    }

    #[test]
    fn sums_run_over_rounds_and_not_over_gaps() {
        let mut sums = Sums::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let sum = |name: &str, seconds: f64| (name.to_owned(), seconds);
        assert_eq!(round(&mut sums, at(0), &[("sm", 0.5)]), [sum("sm", 0.0)]);
        assert_eq!(
            round(&mut sums, at(2), &[("sm", 0.5), ("copy", 1.0)]),
            [sum("sm", 1.0), sum("copy", 0.0)]
        );
        assert_eq!(round(&mut sums, at(3), &[("copy", 0.25)]), [sum("copy", 0.25)]);
        assert_eq!(
            round(&mut sums, at(4), &[("sm", 0.5), ("copy", 0.0)]),
            [sum("sm", 1.0), sum("copy", 0.25)],
            "sm was absent a round: nothing is known of that time"
        );
        assert_eq!(round(&mut sums, at(5), &[("sm", 1.0)]), [sum("sm", 2.0)]);
        sums.interrupt();
        assert_eq!(round(&mut sums, at(9), &[("sm", 1.0)]), [sum("sm", 2.0)], "the device was lost");
        assert_eq!(round(&mut sums, at(10), &[("sm", -1.0), ("copy", 1.5)]), [], "no shares of time");
        assert_eq!(round(&mut sums, at(11), &[("sm", 1.0)]), [sum("sm", 2.0)]);
        let other_order = [("decode", 1.0), ("copy", 1.0), ("sm", 1.0)];
        assert_eq!(
            round(&mut sums, at(12), &other_order),
            [sum("decode", 0.0), sum("copy", 0.25), sum("sm", 3.0)],
            "each series has its own sum, wherever it is"
        );
        assert_eq!(round(&mut sums, at(13), &other_order[..2]), [sum("decode", 1.0), sum("copy", 1.25)]);
    }

    #[test]
    fn sums_of_partitions_that_are_gone_for_a_day_are_dropped() {
        let mut sums = Sums::default();
        let start = Instant::now();
        for day in 0..5 {
            let mut batch = Batch::default();
            let partition = Some(format!("MIG-{day}"));
            batch.begin(&Arc::new(Identity { partition, ..Identity::new(Family::Nvidia, "gpu0") }));
            sums.add(&mut batch, start + KEEP * day);
        }
        assert_eq!(sums.subjects.len(), 1);
    }

    #[test]
    fn what_samplers_count_goes_on_from_one_to_the_next() {
        let mut sums = Sums::default();
        let identity = Arc::new(Identity::new(Family::Amx, "socket0"));
        let mut round = |joules: f64, cycles: u64| {
            let mut batch = Batch::default();
            batch.begin(&identity);
            batch.put_sum(ENERGY, Labels::NONE, Ok(Joules(joules)));
            batch.put_sum(CYCLES, Labels::one(Label::Kind, "amx"), Ok(Count(cycles)));
            batch.put(CYCLES, Labels::one(Label::Kind, "core"), Ok(Count(cycles)));
            sums.add(&mut batch, Instant::now());
            batch.groups[0].readings.iter().map(|reading| reading.value.clone()).collect::<Vec<_>>()
        };
        let values = |joules, amx, core| vec![Value::Float(joules), Value::Int(amx), Value::Int(core)];
        assert_eq!(round(0.0, 0), values(0.0, 0, 0));
        assert_eq!(round(2.5, u64::MAX - 1), values(2.5, u64::MAX - 1, u64::MAX - 1));
        assert_eq!(
            round(0.0, 0),
            values(2.5, u64::MAX - 1, 0),
            "opened again; the third is the device's own"
        );
        assert_eq!(round(1.0, 7), values(3.5, u64::MAX, 7));
        assert_eq!(round(0.5, 1), values(4.0, u64::MAX, 1), "and again");
    }
}
