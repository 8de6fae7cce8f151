//! The last five minutes of a few values of a device, for the page at `/`.
//!
//! The memory is bounded: [`STEPS`] rows of seven numbers of four bytes, 1.7 KiB for each device, whatever the
//! interval. The metrics do not come from here.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use naming::{
    Id, Label,
    catalogue::{
        ENGINE_ACTIVE, ERRORS, LINK_ERRORS, MEMORY_USED, PCIE_REPLAYS, POWER, TEMPERATURE, UTILIZATION,
    },
};
use reading::{Reading, Subject};

/// The time of one row.
pub const STEP: Duration = Duration::from_secs(5);

/// Rows that are kept: five minutes.
pub const STEPS: usize = 60;

/// Values of which each row has the mean. Of utilization the busiest engine where there is no other, of temperatures the
/// highest that is not the memory's.
pub const GAUGES: [Id; 4] = [UTILIZATION.id, MEMORY_USED.id, POWER.id, TEMPERATURE.id];

/// Counters of which each row has what they rose by, summed over their series.
const RISES: [Id; 3] = [ERRORS.id, LINK_ERRORS.id, PCIE_REPLAYS.id];

const COLUMNS: usize = GAUGES.len() + RISES.len();

/// One device's.
#[derive(Debug, Default)]
pub struct History {
    /// When its first row began.
    begun: Option<Instant>,
    /// The number of the newest row.
    newest: usize,
    /// The oldest first; what is absent is not a number.
    rows: VecDeque<[f32; COLUMNS]>,
    /// Rounds that the means of the newest row are over.
    rounds: [u16; GAUGES.len()],
    /// What each counter stood at.
    totals: [Option<f64>; RISES.len()],
}

impl History {
    /// Adds a round that was begun at `taken`.
    #[expect(clippy::cast_possible_truncation, reason = "a line of pixels needs no more than seven digits")]
    pub fn add<'s, S>(&mut self, subjects: &S, taken: Instant)
    where
        S: Iterator<Item = &'s Subject> + Clone,
    {
        let step = steps(*self.begun.get_or_insert(taken), taken);
        if step < self.newest {
            return;
        }
        if self.rows.capacity() == 0 {
            self.rows.reserve_exact(STEPS);
        }
        let new = if self.rows.is_empty() { 1 } else { (step - self.newest).min(STEPS) };
        for _ in 0..new {
            if self.rows.len() == STEPS {
                self.rows.pop_front();
            }
            self.rows.push_back([f32::NAN; COLUMNS]);
            self.rounds = [0; GAUGES.len()];
        }
        self.newest = step;
        let Some(row) = self.rows.back_mut() else { return };
        let of = |id| subjects.clone().flat_map(move |subject| subject.of(id));
        let (gauges, rises) = row.split_at_mut(GAUGES.len());
        for ((mean, rounds), id) in gauges.iter_mut().zip(&mut self.rounds).zip(GAUGES) {
            let Some(value) = gauge(id, of) else { continue };
            let before = if *rounds == 0 { 0.0 } else { f64::from(*mean) * f64::from(*rounds) };
            *rounds = rounds.saturating_add(1);
            *mean = ((before + value) / f64::from(*rounds)) as f32;
        }
        for ((rise, total), id) in rises.iter_mut().zip(&mut self.totals).zip(RISES) {
            let Some(now) = of(id).map(|reading| reading.value.as_f64()).reduce(|sum, value| sum + value)
            else {
                continue;
            };
            let step = total.replace(now).map_or(0.0, |before| (now - before).max(0.0));
            *rise = (f64::from(rise.max(0.0)) + step) as f32;
        }
    }

    /// The means of a gauge, one for each of the last [`STEPS`] steps, the oldest first; `None` where there was none.
    pub fn means(&self, gauge: Id, now: Instant) -> Vec<Option<f32>> {
        let Some(column) = GAUGES.iter().position(|known| *known == gauge) else { return Vec::new() };
        let mut means: Vec<_> =
            self.recent(column, now).map(|mean| Some(mean).filter(|mean| !mean.is_nan())).collect();
        let silent = self.silent(now).min(STEPS);
        means.resize(means.len() + silent, None);
        let missing = STEPS.saturating_sub(means.len());
        means.splice(..0, std::iter::repeat_n(None, missing));
        means
    }

    /// The mean of a gauge over all steps, once they are over.
    pub fn mean(&self, gauge: Id, now: Instant) -> Option<f64> {
        let is_over = self.begun.is_some_and(|begun| steps(begun, now) >= STEPS);
        let means: Vec<_> = self.means(gauge, now).into_iter().flatten().map(f64::from).collect();
        (is_over && !means.is_empty()).then(|| means.iter().sum::<f64>() / means.len() as f64)
    }

    /// By how much a counter rose over all steps.
    pub fn rise(&self, counter: Id, now: Instant) -> f64 {
        let Some(column) = RISES.iter().position(|known| *known == counter) else { return 0.0 };
        let rises = self.recent(GAUGES.len() + column, now);
        rises.filter(|rise| !rise.is_nan()).map(f64::from).sum()
    }

    /// A column of the rows that are no older than all steps.
    fn recent(&self, column: usize, now: Instant) -> impl Iterator<Item = f32> {
        let old = (self.rows.len() + self.silent(now)).saturating_sub(STEPS);
        self.rows.iter().skip(old).map(move |row| row[column])
    }

    /// Steps since the newest row.
    fn silent(&self, now: Instant) -> usize {
        self.begun.map_or(0, |begun| steps(begun, now).saturating_sub(self.newest))
    }
}

/// The number of the row of a moment.
fn steps(begun: Instant, now: Instant) -> usize {
    let steps = now.saturating_duration_since(begun).as_secs() / STEP.as_secs();
    usize::try_from(steps).unwrap_or(usize::MAX)
}

/// The value of a gauge in one round.
fn gauge<'r, R: Iterator<Item = &'r Reading>>(id: Id, of: impl Fn(Id) -> R) -> Option<f64> {
    let is_meant = |reading: &&Reading| !reading.labels.has(Label::Sensor, "memory");
    let highest = |id| of(id).filter(is_meant).map(|reading| reading.value.as_f64()).reduce(f64::max);
    highest(id).or_else(|| if id == UTILIZATION.id { highest(ENGINE_ACTIVE.id) } else { None })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use naming::{Celsius, Count, Family, Ratio};
    use reading::{Batch, Identity, Labels};

    use super::*;

    fn round(utilization: Option<f64>, errors: Option<u64>) -> Vec<Subject> {
        let mut batch = Batch::default();
        batch.begin(&Arc::new(Identity::new(Family::ALL[0], "one")));
        if let Some(utilization) = utilization {
            batch.put(UTILIZATION, Labels::NONE, Ok(Ratio(utilization)));
        }
        for (sensor, celsius) in [("gpu", 50.0), ("memory", 80.0)] {
            batch.put(TEMPERATURE, Labels::one(Label::Sensor, sensor), Ok(Celsius(celsius)));
        }
        if let Some(errors) = errors {
            let code = |code: u32| Labels::one(Label::Kind, "xid").with(Label::Code, code);
            batch.put(ERRORS, code(1), Ok(Count(errors)));
            batch.put(ERRORS, code(2), Ok(Count(1)));
        }
        batch.finish()
    }

    #[test]
    fn rows_have_means_of_gauges_and_rises_of_counters() {
        let (mut history, start) = (History::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for (seconds, utilization, errors) in [
            (0, Some(0.0), Some(7)),
            (1, Some(1.0), Some(7)),
            (6, None, Some(9)),
            (7, None, None),
            (16, Some(0.25), Some(3)),
        ] {
            history.add(&round(utilization, errors).iter(), at(seconds));
        }
        let means = history.means(UTILIZATION.id, at(21));
        assert_eq!(means.len(), STEPS);
        assert_eq!(means[STEPS - 5..], [Some(0.5), None, None, Some(0.25), None]);
        assert!(means[..STEPS - 5].iter().all(Option::is_none));
        assert_eq!(history.means(TEMPERATURE.id, at(16))[STEPS - 1], Some(50.0), "not the memory's");
        assert_eq!(Some(history.rise(ERRORS.id, at(16))), Some(2.0), "a fall is no rise");
        assert_eq!(history.mean(UTILIZATION.id, at(16)), None, "five minutes are not over");
    }

    #[test]
    fn what_is_older_than_all_steps_is_forgotten_and_memory_is_bounded() {
        let (mut history, start) = (History::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for seconds in 0..1000 {
            history.add(&round(Some(1.0), Some(seconds)).iter(), at(seconds));
        }
        assert_eq!((history.rows.len(), history.mean(UTILIZATION.id, at(1000))), (STEPS, Some(1.0)));
        assert!(history.rows.capacity() == STEPS, "{}", history.rows.capacity());
        assert_eq!(Some(history.rise(ERRORS.id, at(999))), Some(300.0));
        assert_eq!(Some(history.rise(ERRORS.id, at(999 + 150))), Some(150.0), "a device that is silent");
        assert_eq!(Some(history.rise(ERRORS.id, at(9999))), Some(0.0));
        assert!(history.means(UTILIZATION.id, at(9999)).iter().all(Option::is_none));
        history.add(&round(Some(0.5), Some(0)).iter(), at(1_000_000));
        assert_eq!(history.rows.len(), STEPS);
        assert_eq!(history.mean(UTILIZATION.id, at(1_000_000)), Some(0.5));
    }
}
