//! What two readings of a counter say that one does not: rates, shares, and sums over counters that wrap.
//!
//! Pure: the time of a reading comes with it. One behaviour for every vendor: the first reading has no rate, a
//! counter that fell was reset and has a rate again at the next reading, and a reading that failed makes the next
//! one the first.

use std::time::Instant;

use reading::{Fault, FaultCode, Measured};

/// The rate of a counter between two rounds.
#[derive(Debug, Default)]
pub struct Rate(Option<(Instant, u64)>);

impl Rate {
    /// Takes a reading and returns the counter's units per second since the reading before.
    ///
    /// # Errors
    /// The reading's own; `first_reading`, `counter_fell`, or `no_time` when no time passed.
    pub fn per_second(&mut self, call: &'static str, now: Instant, reading: Measured<u64>) -> Measured<f64> {
        let reading = reading.inspect_err(|_| self.forget())?;
        let first = Fault::new(call, FaultCode::FirstReading);
        let (since, last) = self.0.replace((now, reading)).ok_or(first)?;
        let increment = reading.checked_sub(last).ok_or(Fault::new(call, FaultCode::CounterFell))?;
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        if seconds > 0.0 { Ok(increment as f64 / seconds) } else { Err(Fault::new(call, FaultCode::NoTime)) }
    }

    /// Makes the next reading the first, for instance after the device slept: a mean over that time says nothing
    /// about now.
    pub fn forget(&mut self) {
        self.0 = None;
    }
}

/// The share of one counter in another of the same unit, between two rounds.
#[derive(Debug, Default)]
pub struct Share(Option<(u64, u64)>);

impl Share {
    /// Takes a reading of both and returns the share of `part` in `whole` since the reading before, at most 1.
    ///
    /// # Errors
    /// As [`Rate::per_second`]; `no_time` when `whole` stands still.
    pub fn of(&mut self, call: &'static str, reading: Measured<(u64, u64)>) -> Measured<f64> {
        self.quotient(call, reading).map(|share| share.min(1.0))
    }

    /// The same for counters that differ in unit: how much the first grew for each step of the second.
    ///
    /// # Errors
    /// Those of [`Share::of`].
    pub fn quotient(&mut self, call: &'static str, reading: Measured<(u64, u64)>) -> Measured<f64> {
        let (part, whole) = reading.inspect_err(|_| self.0 = None)?;
        let first = Fault::new(call, FaultCode::FirstReading);
        let (part_before, whole_before) = self.0.replace((part, whole)).ok_or(first)?;
        match (part.checked_sub(part_before), whole.checked_sub(whole_before)) {
            (Some(_), Some(0)) => Err(Fault::new(call, FaultCode::NoTime)),
            (Some(part), Some(whole)) => Ok(part as f64 / whole as f64),
            _ => Err(Fault::new(call, FaultCode::CounterFell)),
        }
    }

    /// The same for a part that its driver may report too low for a while: it counts as the largest that was
    /// reported until that is passed, as Documentation/gpu/drm-usage-stats.rst asks.
    ///
    /// # Errors
    /// Those of [`Share::of`], except for a part that falls.
    pub fn of_lagging(&mut self, call: &'static str, (part, whole): (u64, u64)) -> Measured<f64> {
        let part = self.0.map_or(part, |(before, _)| part.max(before));
        self.of(call, Ok((part, whole)))
    }
}

/// Sums the increments of a counter that starts again from 0 after `modulus - 1`.
///
/// The sum begins at 0 with the first reading: where such a counter stands when it is found says nothing, since
/// nobody knows how often it wrapped before, and a sum that took it in would fall or leap each time that the
/// counter is followed anew, which Prometheus takes for an increase.
///
/// One wrap between two readings is seen; two are not, so it must be read more often than half of the range
/// takes: 2^18 J last 22 min at 200 W, and 9 min at the 500 W of a large package.
#[derive(Clone, Debug)]
pub struct WrappingCounter {
    modulus: u64,
    last: Option<u64>,
    total: u64,
}

impl WrappingCounter {
    /// A counter that runs from 0 to `modulus - 1`.
    pub const fn new(modulus: u64) -> Self {
        Self { modulus, last: None, total: 0 }
    }

    /// Takes a reading and returns the sum since the first one. `None` for a reading that the counter cannot
    /// show, which is not taken.
    ///
    /// A counter that falls has wrapped, or was set back to 0, as registers are in a deep sleep. What would be
    /// more than half of the range is taken for the latter.
    pub fn add(&mut self, reading: u64) -> Option<u64> {
        if reading >= self.modulus {
            return None;
        }
        let increment = match self.last {
            None => 0,
            Some(last) if reading >= last => reading - last,
            Some(last) => match self.modulus - last + reading {
                wrapped if wrapped <= self.modulus / 2 => wrapped,
                _ => reading,
            },
        };
        self.last = Some(reading);
        self.total = self.total.saturating_add(increment);
        Some(self.total)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reading::Absence;

    use super::*;

    fn code<T>(measured: Measured<T>) -> Result<T, &'static str> {
        measured.map_err(|fault| fault.code.name())
    }

    #[test]
    fn a_rate_needs_two_readings_and_survives_a_reset() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut rate = Rate::default();
        let gone = Fault::returned(Absence::Unsupported, "call", "ENOENT");
        assert_eq!(code(rate.per_second("call", at(0), Ok(100))), Err("first_reading"));
        assert_eq!(code(rate.per_second("call", at(2), Ok(300))), Ok(100.0));
        assert_eq!(code(rate.per_second("call", at(3), Ok(5))), Err("counter_fell"));
        assert_eq!(code(rate.per_second("call", at(4), Ok(15))), Ok(10.0));
        assert_eq!(code(rate.per_second("call", at(4), Ok(16))), Err("no_time"));
        assert_eq!(code(rate.per_second("call", at(5), Err(gone))), Err("ENOENT"));
        assert_eq!(
            code(rate.per_second("call", at(6), Ok(20))),
            Err("first_reading"),
            "old values are forgotten"
        );
        rate.forget();
        assert_eq!(code(rate.per_second("call", at(7), Ok(30))), Err("first_reading"));
    }

    #[test]
    fn a_share_is_of_what_both_counters_grew() {
        let mut share = Share::default();
        assert_eq!(code(share.of("call", Ok((10, 100)))), Err("first_reading"));
        assert_eq!(code(share.of("call", Ok((60, 200)))), Ok(0.5));
        assert_eq!(code(share.of("call", Ok((260, 300)))), Ok(1.0), "at most 1");
        assert_eq!(code(share.of("call", Ok((270, 300)))), Err("no_time"));
        assert_eq!(code(share.of("call", Ok((0, 400)))), Err("counter_fell"));
        assert_eq!(code(share.quotient("call", Ok((300, 500)))), Ok(3.0));
    }

    #[test]
    fn a_part_that_lags_counts_once() {
        let mut share = Share::default();
        assert_eq!(code(share.of_lagging("call", (50, 100))), Err("first_reading"));
        assert_eq!(code(share.of_lagging("call", (40, 200))), Ok(0.0));
        assert_eq!(code(share.of_lagging("call", (90, 300))), Ok(0.4), "from 50 on, not from 40");
    }

    #[test]
    fn a_wrap_is_an_increment() {
        let mut energy = WrappingCounter::new(1 << 18);
        let totals: Vec<_> = [200_000, 262_143, 0, 5].map(|reading| energy.add(reading)).into();
        assert_eq!(totals, [0, 62_143, 62_144, 62_149].map(Some));
        assert_eq!(energy.add(1 << 18), None, "no 18-bit counter shows this");
        assert_eq!(energy.add(6), Some(62_150), "and it is not taken");
    }

    #[test]
    fn following_a_counter_anew_adds_nothing() {
        let mut before = WrappingCounter::new(1 << 18);
        before.add(1000);
        assert_eq!(before.add(200_000), Some(199_000));
        let mut after = WrappingCounter::new(1 << 18);
        assert_eq!(after.add(200_000), Some(0), "Prometheus adds what stands after a fall");
    }

    #[test]
    fn a_counter_that_was_set_back_did_not_wrap() {
        let mut energy = WrappingCounter::new(1 << 32);
        energy.add(1_000_000);
        assert_eq!(energy.add(1_500_000), Some(500_000));
        assert_eq!(energy.add(700), Some(500_700), "and not 2^32 more");
        assert_eq!(energy.add(800), Some(500_800));
    }
}
