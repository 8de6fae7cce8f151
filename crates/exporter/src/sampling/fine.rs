//! The fine samples of a device: a ring of the last ten minutes, of what incident mode reads.
//!
//! There is none before the first fine sample, and none when the last is ten minutes old. A ring has at most [`ROWS`]
//! rows of at most [`COLUMNS`] numbers of eight bytes, 4.7 MiB; an H100 with about 100 series takes 1.8 MiB.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use naming::{Id, Value, catalogue as m};
use reading::{Batch, Identity, Labels, Reading, Subject};
use source::lock;

/// What is read more often.
pub const FINE: &[Id] = &[
    m::UTILIZATION.id,
    m::ENGINE_ACTIVE.id,
    m::SM_OCCUPANCY.id,
    m::MEMORY_TOTAL.id,
    m::MEMORY_USED.id,
    m::MEMORY_SHARED.id,
    m::MEMORY_BANDWIDTH_ACTIVE.id,
    m::MEMORY_CONTROLLER_ACTIVE.id,
    m::TEMPERATURE.id,
    m::POWER.id,
    m::POWER_INSTANT.id,
    m::POWER_LIMIT.id,
    m::CLOCK.id,
    m::THROTTLE_ACTIVE.id,
    m::LINK_RECEIVE.id,
    m::LINK_TRANSMIT.id,
    m::LINK_UP.id,
];

/// How long a sample is kept.
pub const KEPT: Duration = Duration::from_mins(10);

/// The most samples of a device: ten minutes of four a second.
pub const ROWS: usize = 2400;

/// The most series of a device.
pub const COLUMNS: usize = 256;

/// The time over which highest, lowest and mean values are: a usual scrape interval, and the same for every scraper.
pub const WINDOW: Duration = Duration::from_secs(15);

/// Whether a device is read more often, and what that yielded.
#[derive(Debug, Default)]
pub struct Fine {
    is_on: AtomicBool,
    ring: Mutex<Option<Box<Ring>>>,
}

/// From when on samples are asked for.
#[derive(Clone, Copy, Debug)]
pub enum Since {
    /// Milliseconds since 1970.
    At(i64),
    /// A time ago, whatever the clock did since.
    Ago(Duration),
}

/// One series and its samples: milliseconds since 1970, and the value.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Whose it is.
    pub identity: Arc<Identity>,
    /// Its metric.
    pub id: Id,
    /// Its own labels.
    pub labels: Labels,
    /// The oldest first.
    pub samples: Vec<(i64, f64)>,
}

#[derive(Debug)]
struct Ring {
    /// A moment on both clocks: later times are counted from it, so that a clock that leaps moves nothing.
    anchor: (Instant, i64),
    times: VecDeque<Instant>,
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    identity: Arc<Identity>,
    id: Id,
    labels: Labels,
    /// As many as there are times; what is absent is not a number.
    values: VecDeque<f64>,
}

impl Fine {
    /// Whether the device is to be read more often.
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Switches that, and forgets what is too old.
    pub fn set(&self, is_on: bool, now: Instant) {
        self.is_on.store(is_on, Ordering::Relaxed);
        let mut ring = lock(&self.ring);
        if let Some(kept) = &mut *ring {
            kept.forget(now);
            if kept.times.is_empty() && !is_on {
                *ring = None;
            }
        }
    }

    /// Adds a fine round that was begun at `taken`.
    pub fn add(&self, batch: Batch, taken: Instant) {
        let mut ring = lock(&self.ring);
        // Incident mode may have ended meanwhile.
        if self.is_on() {
            ring.get_or_insert_with(|| Box::new(Ring::new(taken))).add(batch, taken);
        }
    }

    /// The series that `is_meant` chooses, with their samples from a moment on.
    pub fn series(&self, since: Since, is_meant: impl Fn(&Identity, Id) -> bool) -> Vec<Series> {
        let ring = lock(&self.ring);
        let Some(ring) = &*ring else { return Vec::new() };
        let since = match since {
            Since::At(milliseconds) => milliseconds,
            Since::Ago(ago) => {
                Instant::now().checked_sub(ago).map_or(i64::MIN, |from| ring.milliseconds(from))
            }
        };
        let meant = ring.columns.iter().filter(|column| is_meant(&column.identity, column.id));
        let series = meant.map(|Column { identity, id, labels, values }| Series {
            identity: Arc::clone(identity),
            id: *id,
            labels: labels.clone(),
            samples: (ring.times.iter().zip(values))
                .map(|(time, value)| (ring.milliseconds(*time), *value))
                .filter(|(time, value)| *time >= since && !value.is_nan())
                .collect(),
        });
        series.filter(|series| !series.samples.is_empty()).collect()
    }

    /// Highest, lowest and mean values over the last [`WINDOW`], while incident mode is on.
    pub fn spreads(&self, now: Instant) -> Vec<Subject> {
        let ring = lock(&self.ring);
        let Some(ring) = ring.as_ref().filter(|_| self.is_on()) else { return Vec::new() };
        let is_old = |time: &Instant| now.saturating_duration_since(*time) > WINDOW;
        let from = ring.times.partition_point(is_old);
        let mut groups: Vec<(&Arc<Identity>, Vec<Reading>)> = Vec::new();
        for column in &ring.columns {
            let Some((_, spread)) = m::SPREADS.iter().find(|(of, _)| *of == column.id) else { continue };
            let values: Vec<f64> =
                column.values.range(from..).copied().filter(|value| !value.is_nan()).collect();
            if values.is_empty() {
                continue;
            }
            let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let readings = spread.iter().zip([highest, lowest, mean]).map(|(id, value)| Reading {
                id: *id,
                labels: column.labels.clone(),
                value: Value::Float(value),
                begins_with_sampler: false,
            });
            match groups.iter_mut().find(|(identity, _)| identity.is_same(&column.identity)) {
                Some((_, known)) => known.extend(readings),
                None => groups.push((&column.identity, readings.collect())),
            }
        }
        groups.into_iter().map(|(of, readings)| Subject::new(Some(Arc::clone(of)), readings)).collect()
    }
}

impl Ring {
    fn new(now: Instant) -> Self {
        // Before 1970 the clock is not set.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = wall.saturating_sub(now.elapsed()).as_millis();
        let anchor = (now, i64::try_from(wall).unwrap_or(0));
        Self { anchor, times: VecDeque::new(), columns: Vec::new() }
    }

    fn milliseconds(&self, time: Instant) -> i64 {
        let (instant, wall) = self.anchor;
        wall + i64::try_from(time.saturating_duration_since(instant).as_millis()).unwrap_or(0)
    }

    fn forget(&mut self, now: Instant) {
        let is_old = |time: &Instant| now.saturating_duration_since(*time) > KEPT;
        let old = self.times.partition_point(is_old).max((self.times.len() + 1).saturating_sub(ROWS));
        self.times.drain(..old.min(self.times.len()));
        for column in &mut self.columns {
            column.values.drain(..old.min(column.values.len()));
        }
        // A partition may be gone for good.
        self.columns.retain(|column| column.values.iter().any(|value| !value.is_nan()));
    }

    fn add(&mut self, batch: Batch, taken: Instant) {
        // Columns are looked at whole only now and then.
        if self.times.len() + 1 > ROWS || self.times.front().is_some_and(|first| taken - *first > KEPT) {
            self.times.pop_front();
            self.columns.iter_mut().for_each(|column| _ = column.values.pop_front());
        }
        let before = self.times.len();
        self.times.push_back(taken);
        // Rounds read the same in the same order, so the next column is nearly always the one.
        let mut next = 0;
        for group in batch.groups {
            let Some(identity) = group.identity else { continue };
            for Reading { id, labels, value, .. } in group.readings {
                let is_it = |column: &Column| {
                    column.id == id && column.labels == labels && column.identity.is_same(&identity)
                };
                let is_next = self.columns.get(next).is_some_and(is_it);
                let place = if is_next { Some(next) } else { self.columns.iter().position(is_it) };
                if let Some(place) = place {
                    next = place + 1;
                    let column = &mut self.columns[place];
                    // Of two readings of one series in a round the first counts.
                    if column.values.len() == before {
                        column.values.push_back(value.as_f64());
                    }
                } else if self.columns.len() < COLUMNS {
                    let mut values: VecDeque<_> = std::iter::repeat_n(f64::NAN, before).collect();
                    values.push_back(value.as_f64());
                    self.columns.push(Column { identity: Arc::clone(&identity), id, labels, values });
                }
            }
        }
        for column in &mut self.columns {
            column.values.resize(self.times.len(), f64::NAN);
        }
    }
}

#[cfg(test)]
mod tests {
    use naming::{Family, Label, Watts};

    use super::*;

    fn round(watts: Option<f64>, partition: Option<u32>) -> Batch {
        let mut batch = Batch::default();
        let partition = partition.map(|number| number.to_string());
        batch.begin(&Arc::new(Identity { partition, ..Identity::new(Family::ALL[0], "one") }));
        if let Some(watts) = watts {
            batch.put(m::POWER, Labels::NONE, Ok(Watts(watts)));
        }
        batch.put(m::CLOCK, Labels::one(Label::Domain, "sm"), Ok(naming::Hertz(1e9)));
        batch
    }

    #[test]
    fn memory_is_bounded_by_time_rows_and_series_and_free_after_the_last_sample() {
        let (fine, start) = (Fine::default(), Instant::now());
        fine.add(round(Some(1.0), None), start);
        assert!(lock(&fine.ring).is_none(), "nothing is kept while it is off");
        fine.set(true, start);
        let every = |milliseconds: u64, rounds: u64| {
            for number in 0..rounds {
                fine.add(
                    round(Some(number as f64), None),
                    start + Duration::from_millis(number * milliseconds),
                );
            }
        };
        every(1, 5000);
        let size = || lock(&fine.ring).as_ref().map(|ring| (ring.times.len(), ring.columns.len()));
        assert_eq!(size(), Some((ROWS, 2)));
        for partition in 0..300 {
            fine.add(round(None, Some(partition)), start + Duration::from_secs(6));
        }
        assert_eq!(size(), Some((ROWS, COLUMNS)));
        let late = start + Duration::from_secs(6) + KEPT + Duration::from_secs(1);
        fine.set(true, late);
        assert_eq!(size(), Some((0, 0)));
        fine.add(round(Some(2.0), None), late);
        fine.set(false, late);
        assert_eq!(size(), Some((1, 2)), "what was seen can still be asked for");
        fine.set(false, late + KEPT + Duration::from_secs(1));
        assert_eq!(size(), None);
    }

    #[test]
    fn spreads_are_over_the_window_and_absent_when_nothing_was_read_in_it() {
        let (fine, start) = (Fine::default(), Instant::now());
        fine.set(true, start);
        for (seconds, watts) in [(0, Some(900.0)), (10, Some(100.0)), (16, None), (17, Some(400.0))] {
            fine.add(round(watts, None), start + Duration::from_secs(seconds));
        }
        let of = |seconds, id: Id| {
            let subjects = fine.spreads(start + Duration::from_secs(seconds));
            subjects.first().and_then(|subject| subject.of(id).first().map(|reading| reading.value.as_f64()))
        };
        let power = [m::POWER_MAX.id, m::POWER_MIN.id, m::POWER_MEAN.id];
        assert_eq!(power.map(|id| of(17, id)), [Some(400.0), Some(100.0), Some(250.0)]);
        assert_eq!(power.map(|id| of(40, id)), [None; 3]);
        fine.set(false, start + Duration::from_secs(17));
        assert_eq!(of(17, m::POWER_MAX.id), None, "only during an incident");
    }

    #[test]
    fn times_rise_with_the_monotonic_clock_and_what_is_absent_has_no_sample() {
        let (fine, start) = (Fine::default(), Instant::now());
        fine.set(true, start);
        for (milliseconds, watts) in [(0, Some(1.0)), (250, None), (500, Some(3.0))] {
            fine.add(round(watts, None), start + Duration::from_millis(milliseconds));
        }
        let series = fine.series(Since::At(0), |_, id| id == m::POWER.id);
        let [(first, one), (last, three)] = series[0].samples[..] else { panic!("{series:?}") };
        assert_eq!((last - first, one, three), (500, 1.0, 3.0));
        assert_eq!(fine.series(Since::At(first + 1), |_, id| id == m::POWER.id)[0].samples.len(), 1);
        assert!(fine.series(Since::At(last + 1), |_, _| true).is_empty());
    }
}
