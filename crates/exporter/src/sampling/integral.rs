//! Counters of busy seconds: the integral of each ratio whose catalogue entry names one.

use std::{collections::HashMap, sync::Arc, time::Instant};

use naming::{Id, Value};
use reading::{Batch, Group, Identity, Integral, Labels, Reading};

use crate::sampling::timing::KEEP;

/// The sums of one device and its partitions. They outlive the device's loss, so that no counter falls
/// when it returns.
#[derive(Debug, Default)]
pub struct Integrals {
    subjects: Vec<Sums>,
    previous: Option<Instant>,
}

#[derive(Debug)]
struct Sums {
    identity: Option<Arc<Identity>>,
    seen: Instant,
    busy: HashMap<(Id, Labels), Integral>,
}

impl Integrals {
    /// Notes a gap: the time until the next sample is not added to any sum.
    pub fn interrupt(&mut self) {
        self.previous = None;
    }

    /// Integrates a round taken at `now` and adds the sums to it. A ratio holds for the time since the
    /// previous round if the same series was present then; the first round of a series adds 0.
    pub fn add(&mut self, batch: &mut Batch, now: Instant) {
        for Group { identity, readings } in &mut batch.groups {
            let place = self.place(identity.as_ref(), now);
            let sums = &mut self.subjects[place].busy;
            for index in 0..readings.len() {
                let Reading { id, labels, value } = &readings[index];
                let Some(integral) = id.metric().integral else { continue };
                let labels = labels.clone();
                let sum = sums.entry((integral, labels.clone())).or_default();
                let seconds = sum.add(now, self.previous, value.as_f64());
                readings.push(Reading { id: integral, labels, value: Value::Float(seconds) });
            }
        }
        self.previous = Some(now);
        self.subjects.retain(|sums| now.saturating_duration_since(sums.seen) < KEEP);
    }

    fn place(&mut self, identity: Option<&Arc<Identity>>, now: Instant) -> usize {
        let is_same = |sums: &Sums| match (&sums.identity, identity) {
            (Some(known), Some(identity)) => known.is_same(identity),
            (known, identity) => known.is_none() && identity.is_none(),
        };
        let known = self.subjects.iter().position(is_same);
        let place = known.unwrap_or_else(|| {
            self.subjects.push(Sums { identity: identity.cloned(), seen: now, busy: HashMap::new() });
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
        Family, Label, Ratio,
        catalogue::{ENGINE_ACTIVE, ENGINE_BUSY},
    };

    use super::*;

    fn round(integrals: &mut Integrals, at: Instant, engines: &[(&'static str, f64)]) -> Vec<(String, f64)> {
        let identity = Arc::new(Identity::new(Family::Nvidia, "gpu0"));
        let mut batch = Batch::default();
        batch.begin(&identity);
        for (engine, ratio) in engines {
            batch.put(ENGINE_ACTIVE, Labels::one(Label::Engine, *engine), Ok(Ratio(*ratio)));
        }
        integrals.add(&mut batch, at);
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
        let mut integrals = Integrals::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let sum = |name: &str, seconds: f64| (name.to_owned(), seconds);
        assert_eq!(round(&mut integrals, at(0), &[("sm", 0.5)]), [sum("sm", 0.0)]);
        assert_eq!(
            round(&mut integrals, at(2), &[("sm", 0.5), ("copy", 1.0)]),
            [sum("sm", 1.0), sum("copy", 0.0)]
        );
        assert_eq!(round(&mut integrals, at(3), &[("copy", 0.25)]), [sum("copy", 0.25)]);
        assert_eq!(
            round(&mut integrals, at(4), &[("sm", 0.5), ("copy", 0.0)]),
            [sum("sm", 1.0), sum("copy", 0.25)],
            "sm was absent a round: nothing is known of that time"
        );
        assert_eq!(round(&mut integrals, at(5), &[("sm", 1.0)]), [sum("sm", 2.0)]);
        integrals.interrupt();
        assert_eq!(round(&mut integrals, at(9), &[("sm", 1.0)]), [sum("sm", 2.0)], "the device was lost");
        assert_eq!(round(&mut integrals, at(10), &[("sm", -1.0), ("copy", 1.5)]), [], "no shares of time");
        assert_eq!(round(&mut integrals, at(11), &[("sm", 1.0)]), [sum("sm", 2.0)]);
    }

    #[test]
    fn sums_of_partitions_that_are_gone_for_a_day_are_dropped() {
        let mut integrals = Integrals::default();
        let start = Instant::now();
        for day in 0..5 {
            let mut batch = Batch::default();
            let partition = Some(format!("MIG-{day}"));
            batch.begin(&Arc::new(Identity { partition, ..Identity::new(Family::Nvidia, "gpu0") }));
            integrals.add(&mut batch, start + KEEP * day);
        }
        assert_eq!(integrals.subjects.len(), 1);
    }
}
