//! The share of one counter in another: busy time in the time that passed, bytes in a driver's own time.
//!
//! A counter against our own clock is a [`reading::Counter`]; both follow the same rules about what a reading
//! can be.

use std::time::Instant;

use reading::{Bound, Ceiling, Counter, Fault, FaultCode, Measured, Tracker};

/// Two counters are not read at the same instant, so a part may pass its whole by as much.
const ROOM: f64 = 1.1;
/// Drivers update a part at least once in so many rounds.
const ROUNDS: u64 = 10;

/// The share of one counter in another of the same unit, between two rounds.
#[derive(Debug)]
pub struct Share {
    part: Tracker,
    whole: Counter,
}

impl Default for Share {
    fn default() -> Self {
        Self { part: Tracker::from_zero(), whole: Counter::from_zero(Vec::new()) }
    }
}

impl Share {
    /// Takes a reading of both and returns the share of `part` in `whole` since the reading before, at most
    /// 1.
    ///
    /// # Errors
    /// The reading's own, which makes the next one the first; those of [`Tracker::add`]; `no_time` when `whole`
    /// stands still.
    pub fn of(&mut self, call: &'static str, now: Instant, reading: Measured<(u64, u64)>) -> Measured<f64> {
        self.quotient(call, now, reading, ROOM).map(|share| share.min(1.0))
    }

    /// The same for counters that differ in unit: how much the first grew for each step of the second, which is
    /// at most `most`.
    ///
    /// # Errors
    /// Those of [`Share::of`].
    pub fn quotient(
        &mut self,
        call: &'static str,
        now: Instant,
        reading: Measured<(u64, u64)>,
        most: f64,
    ) -> Measured<f64> {
        let (part, whole) = reading.inspect_err(|_| *self = Self::default())?;
        let whole = self.whole.add(call, now, Ok(whole), Ceiling::of_cycles())?;
        let passed = whole.increment().unwrap_or(0);
        let bound = Bound { per_tick: most, credit: passed.saturating_mul(ROUNDS) };
        let step = self.part.add(whole.total, part, bound).map_err(|code| Fault::new(call, code))?;
        match step.ticks {
            0 => Err(Fault::new(call, FaultCode::NoTime)),
            ticks => Ok(step.increment as f64 / ticks as f64),
        }
    }

    /// The same for a part that its driver may report too low for a while: it counts as the largest that was
    /// taken until that is passed, as Documentation/gpu/drm-usage-stats.rst asks.
    ///
    /// # Errors
    /// Those of [`Share::of`], except for a part that falls.
    pub fn of_lagging(
        &mut self,
        call: &'static str,
        now: Instant,
        (part, whole): (u64, u64),
    ) -> Measured<f64> {
        let part = part.max(self.part.value().unwrap_or(0));
        self.of(call, now, Ok((part, whole)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reading::Absence;

    use super::*;

    /// Shares of one counter, read once a second.
    struct Rounds(Share, Instant);

    impl Rounds {
        fn new() -> Self {
            Self(Share::default(), Instant::now())
        }

        fn next(&mut self) -> (&mut Share, Instant) {
            self.1 += Duration::from_secs(1);
            (&mut self.0, self.1)
        }

        fn of(&mut self, part: u64, whole: u64) -> Result<f64, &'static str> {
            let (share, now) = self.next();
            code(share.of("call", now, Ok((part, whole))))
        }
    }

    fn code<T>(measured: Measured<T>) -> Result<T, &'static str> {
        measured.map_err(|fault| fault.code.name())
    }

    #[test]
    fn a_share_is_of_what_both_counters_grew() {
        let mut share = Rounds::new();
        assert_eq!(share.of(10, 100), Err("first_reading"));
        assert_eq!(share.of(60, 200), Ok(0.5));
        assert_eq!(share.of(165, 300), Ok(1.0), "not read at the same instant");
        assert_eq!(share.of(165, 300), Err("no_time"));
        assert_eq!(share.of(900, 400), Err("rose_too_fast"), "no part is more than the whole");
        assert_eq!(share.of(205, 500), Ok(0.2), "of both rounds");
        assert_eq!(share.of(0, 600), Err("counter_fell"));
        assert_eq!(share.of(10, 700), Ok(0.1), "and stays: it was set back");
        assert_eq!(share.of(20, 5), Err("counter_fell"), "the whole");
        assert_eq!(share.of(20, 900), Ok(0.05));
        let (inner, now) = share.next();
        let gone = Fault::returned(Absence::Unsupported, "call", "ENOENT");
        assert_eq!(code(inner.of("call", now, Err(gone))), Err("ENOENT"));
        assert_eq!(share.of(30, 1000), Err("first_reading"), "old values are forgotten");
    }

    #[test]
    fn a_quotient_has_its_own_limit() {
        let mut share = Rounds::new();
        let mut at = |part, whole| {
            let (share, now) = share.next();
            code(share.quotient("call", now, Ok((part, whole)), 8.0))
        };
        assert_eq!(at(0, 100), Err("first_reading"));
        assert_eq!(at(300, 200), Ok(3.0));
        assert_eq!(at(1200, 300), Err("rose_too_fast"));
    }

    #[test]
    fn a_part_that_lags_counts_once() {
        let mut share = Rounds::new();
        let mut at = |part, whole| {
            let (share, now) = share.next();
            code(share.of_lagging("call", now, (part, whole)))
        };
        assert_eq!(at(50, 100), Err("first_reading"));
        assert_eq!(at(40, 200), Ok(0.0));
        assert_eq!(at(90, 300), Ok(0.4), "from 50 on, not from 40");
        assert_eq!(at(90, 400), Ok(0.0));
        assert_eq!(at(290, 500), Ok(1.0), "counted when the work was switched out");
    }
}
