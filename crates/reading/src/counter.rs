//! Accumulated quantities compared with time: energy, bytes, cycles, busy time.
//!
//! A driver's counter may wrap, be set back, or show a number that is none for a moment. What it counted
//! between two readings is at most what the part can do in the time between them, so:
//!
//! - A rise within that is counted, across a wrap of a width that the counter may have.
//! - Any other reading is dropped. If the next one goes on from the reading before it, it was a glitch, and
//!   nothing is lost or counted twice.
//! - If two dropped readings go on from each other, the counter goes on from them. It was set back to 0 where
//!   the second is no more than can have been counted since the last reading that was taken; else it jumped,
//!   and the jump is not counted.
//!
//! At most what the part did between the last reading that was taken and the first of the pair is lost.

use std::time::{Duration, Instant};

use naming::FaultCode;

use crate::{Ceiling, Fault, Measured};

/// Drivers update a counter at least this often: a rise may have been counted over as much of the time in
/// which the counter stood.
const UPDATE_PERIOD_MAX: Duration = Duration::from_secs(10);

/// The largest rise that is taken, whatever its ceiling: doubles are exact up to here.
const RISE_MAX: f64 = 9_007_199_254_740_992.0;

/// A counter against a clock: time, or another counter that passes with it.
#[derive(Clone, Debug)]
pub struct Tracker {
    /// Widths at which it may wrap, beside 2^64.
    wraps: Vec<u64>,
    begins_at_zero: bool,
    /// The last reading that was taken.
    last: Option<Point>,
    /// The last reading that was dropped, since then.
    dropped: Option<Point>,
    total: u64,
}

/// What a counter can count, in units of its clock.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// At most so much in each tick.
    pub per_tick: f64,
    /// Ticks of standing still that a rise may make up for.
    pub credit: u64,
}

/// One reading.
#[derive(Clone, Copy, Debug)]
struct Point {
    clock: u64,
    /// When the counter was first seen to have this value.
    changed: u64,
    value: u64,
}

/// What was counted between two readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// How much.
    pub increment: u64,
    /// Since the last reading that was taken.
    pub ticks: u64,
    /// Since the counter was first seen at the value of that reading.
    pub ticks_since_change: u64,
}

impl Point {
    /// The most that is counted until `clock`.
    fn most(self, clock: u64, bound: Bound) -> f64 {
        let standing = self.clock.saturating_sub(self.changed).min(bound.credit);
        bound.per_tick * clock.saturating_sub(self.clock).saturating_add(standing) as f64
    }
}

/// What was counted from one value to another, if that is at most `most`: modulo 2^64, a rise and a wrap are one.
fn rise(before: u64, after: u64, most: f64) -> Option<u64> {
    Some(after.wrapping_sub(before)).filter(|rise| *rise as f64 <= most.min(RISE_MAX))
}

impl Ceiling {
    /// What a counter of the kernel counted in a time, if it can have.
    pub fn rise(self, before: u64, after: u64, nanoseconds: u64) -> Option<u64> {
        rise(before, after, self.most() * nanoseconds as f64 / 1e9)
    }
}

impl Tracker {
    /// A counter that may wrap at `wraps`. Its sum begins at 0, or at the device's own count.
    const fn new(wraps: Vec<u64>, begins_at_zero: bool) -> Self {
        Self { wraps, begins_at_zero, last: None, dropped: None, total: 0 }
    }

    /// A counter whose sum begins at 0 with the first reading.
    pub const fn from_zero() -> Self {
        Self::new(Vec::new(), true)
    }

    /// The last reading that was taken, or the first one.
    pub fn value(&self) -> Option<u64> {
        self.last.or(self.dropped).map(|point| point.value)
    }

    /// Takes or drops a reading, and returns what was counted since the last one that was taken.
    ///
    /// # Errors
    /// `first_reading`, `counter_fell` or `rose_too_fast` for a reading that is dropped; `blank` for all ones, which
    /// drivers return where they have no number, however long they do.
    pub fn add(&mut self, clock: u64, value: u64, bound: Bound) -> Result<Step, FaultCode> {
        if value == u64::MAX {
            return Err(FaultCode::Blank);
        }
        let rise = |from: Point| self.rise(from, clock, value, bound);
        if let Some(last) = self.last
            && let Some(increment) = rise(last)
        {
            // A device's own sum wraps at 64 bits as the device's does.
            self.total = self.total.wrapping_add(increment);
            let changed = if increment == 0 { last.changed } else { clock };
            return Ok(self.take(last, Point { clock, changed, value }, increment));
        }
        let why = match self.last {
            None => FaultCode::FirstReading,
            Some(last) if value < last.value => FaultCode::CounterFell,
            Some(_) => FaultCode::RoseTooFast,
        };
        let pair = self.dropped.and_then(|before| Some((before, rise(before)?)));
        let point = Point { clock, changed: clock, value };
        let Some((before, increment)) = pair else {
            self.dropped = Some(point);
            return Err(why);
        };
        // A glitch may last, and then does not count: only time shows whether a standing value stays.
        if self.last.is_some() && increment == 0 && clock.saturating_sub(before.clock) < bound.credit {
            return Err(why);
        }
        self.total = match self.last {
            None if self.begins_at_zero => increment,
            None => value,
            Some(last) if value < last.value && value as f64 <= last.most(clock, bound) => {
                // It counts from 0 again.
                if self.begins_at_zero { self.total.saturating_add(value) } else { value }
            }
            Some(_) => self.total.wrapping_add(increment),
        };
        Ok(self.take(before, point, increment))
    }

    /// What was counted from a reading to this one, if that is possible.
    fn rise(&self, from: Point, clock: u64, value: u64, bound: Bound) -> Option<u64> {
        let most = from.most(clock, bound);
        let wrapped = |width: &u64| {
            // As far before 0 as it is before the wrap.
            rise(from.value.wrapping_sub(*width), value, most)
                .filter(|_| from.value < *width && value < from.value)
        };
        rise(from.value, value, most).or_else(|| self.wraps.iter().find_map(wrapped))
    }

    fn take(&mut self, from: Point, point: Point, increment: u64) -> Step {
        (self.last, self.dropped) = (Some(point), None);
        let since = |then: u64| point.clock.saturating_sub(then);
        Step { increment, ticks: since(from.clock), ticks_since_change: since(from.changed) }
    }

    /// What was counted until now says nothing about the time to come.
    fn interrupt(&mut self) {
        if let Some(last) = &mut self.last {
            last.changed = last.clock;
        }
    }
}

/// A counter over time: its sum, and its rate.
#[derive(Clone, Debug)]
pub struct Counter {
    tracker: Tracker,
    update_period: Duration,
    epoch: Option<Instant>,
    /// Whether the round before had a reading: only then is there a rate.
    goes_on: bool,
}

/// A reading that was taken.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// The sum, in the counter's unit.
    pub total: u64,
    call: &'static str,
    step: Result<Step, FaultCode>,
}

impl Counter {
    /// A counter that the device keeps: the sum is the device's own, and begins anew where that does. It is
    /// known from the second reading on, since a single one may be a glitch.
    pub const fn of_device() -> Self {
        Self::new(Tracker::new(Vec::new(), false))
    }

    /// A counter that wraps at one of these widths, or whose own value means nothing: the sum begins at 0 with
    /// the first reading and never falls. A sum that began at the counter's value would jump each time that
    /// the exporter, the device or its driver starts again, and Prometheus would take the jump for an increase.
    ///
    /// One wrap between two readings is seen and two are not: 2^18 J last 22 min at 200 W, and 9 min at the
    /// 500 W of a large package.
    pub const fn from_zero(wraps: Vec<u64>) -> Self {
        Self::new(Tracker::new(wraps, true))
    }

    const fn new(tracker: Tracker) -> Self {
        Self { tracker, update_period: UPDATE_PERIOD_MAX, epoch: None, goes_on: false }
    }

    /// The same for a counter that its driver may leave alone for longer than others.
    #[must_use]
    pub const fn updated_within(mut self, period: Duration) -> Self {
        self.update_period = period;
        self
    }

    /// Takes or drops the reading of one round. `ceiling` is the most that the device counts in a second.
    ///
    /// # Errors
    /// The reading's own, and those of [`Tracker::add`].
    pub fn add(
        &mut self,
        call: &'static str,
        now: Instant,
        reading: Measured<u64>,
        ceiling: Ceiling,
    ) -> Measured<Counted> {
        let value = reading.inspect_err(|_| self.forget())?;
        let clock = nanoseconds(now.saturating_duration_since(*self.epoch.get_or_insert(now)));
        let bound = Bound { per_tick: ceiling.most() / 1e9, credit: nanoseconds(self.update_period) };
        let is_first = self.tracker.last.is_none() && self.tracker.dropped.is_none();
        let step = self.tracker.add(clock, value, bound);
        let total = self.tracker.total;
        match step {
            Ok(_) if std::mem::replace(&mut self.goes_on, true) => Ok(Counted { total, call, step }),
            Ok(_) => {
                self.tracker.interrupt();
                Ok(Counted { total, call, step: Err(FaultCode::FirstReading) })
            }
            // Nothing is counted yet, whatever the counter's value means.
            Err(code) if is_first && code != FaultCode::Blank => {
                self.goes_on = true;
                if self.tracker.begins_at_zero {
                    Ok(Counted { total, call, step })
                } else {
                    Err(Fault::new(call, code))
                }
            }
            Err(code) => Err(Fault::new(call, code)),
        }
    }

    /// The same where only the sum is of use.
    ///
    /// # Errors
    /// Those of [`Counter::add`].
    pub fn total(
        &mut self,
        call: &'static str,
        now: Instant,
        reading: Measured<u64>,
        ceiling: Ceiling,
    ) -> Measured<u64> {
        self.add(call, now, reading, ceiling).map(|counted| counted.total)
    }

    /// The sum so far.
    pub const fn sum(&self) -> u64 {
        self.tracker.total
    }

    /// Makes the next rate need two readings again, for instance after the device slept: a mean over that time
    /// says nothing about now. The sum goes on.
    pub fn forget(&mut self) {
        self.goes_on = false;
        self.tracker.interrupt();
    }
}

impl Counted {
    /// What was counted since the reading before.
    ///
    /// # Errors
    /// `first_reading`.
    pub fn increment(&self) -> Measured<u64> {
        self.step().map(|step| step.increment)
    }

    /// The counter's units per second since the reading before.
    ///
    /// # Errors
    /// `first_reading`, or `no_time` when no time passed.
    pub fn per_second(&self) -> Measured<f64> {
        let step = self.step()?;
        self.mean(step.increment, step.ticks)
    }

    /// The mean power since the last change, by a counter of energy.
    ///
    /// # Errors
    /// As [`Counted::per_second`]; `counter_stands`: a counter that stands was not measured anew, and no device
    /// draws nothing.
    pub fn power(&self) -> Measured<f64> {
        let step = self.step()?;
        match step.increment {
            0 => Err(Fault::new(self.call, FaultCode::CounterStands)),
            increment => self.mean(increment, step.ticks_since_change),
        }
    }

    fn step(&self) -> Measured<Step> {
        self.step.map_err(|code| Fault::new(self.call, code))
    }

    fn mean(&self, increment: u64, nanoseconds: u64) -> Measured<f64> {
        match nanoseconds {
            0 => Err(Fault::new(self.call, FaultCode::NoTime)),
            nanoseconds => Ok(increment as f64 / (nanoseconds as f64 / 1e9)),
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The integral of a rate over time, as a sum that never falls.
#[derive(Clone, Debug, Default)]
pub struct Integral {
    sum: f64,
    last: Option<Instant>,
}

impl Integral {
    /// Takes the rate of a round at `now` and returns the sum. The rate holds for the time since the `previous`
    /// round if there was one then: nothing is known of the time before that.
    pub fn add(&mut self, now: Instant, previous: Option<Instant>, per_second: f64) -> f64 {
        let last = self.last.replace(now).filter(|last| Some(*last) == previous);
        let seconds = last.map_or(0.0, |last| now.saturating_duration_since(last).as_secs_f64());
        // Of a rate that is no number, `max` returns 0.
        self.sum += per_second.max(0.0) * seconds;
        self.sum
    }
}

#[cfg(test)]
mod tests;
