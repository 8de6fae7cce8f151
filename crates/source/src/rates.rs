//! What two readings of a counter say that one does not: rates and shares.
//!
//! Pure: the time of a reading comes with it. One behaviour for every vendor: the first reading has no rate,
//! a counter that fell was reset and has a rate again at the next reading, and a reading that failed makes
//! the next one the first.

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

    /// The mean power since the reading before, by a counter of energy.
    ///
    /// # Errors
    /// As [`Rate::per_second`]; `counter_stands`: a counter that stands was not measured anew, and no device
    /// draws nothing.
    pub fn power(&mut self, call: &'static str, now: Instant, energy: Measured<u64>) -> Measured<f64> {
        let power = self.per_second(call, now, energy)?;
        if power > 0.0 { Ok(power) } else { Err(Fault::new(call, FaultCode::CounterStands)) }
    }

    /// Makes the next reading the first, for instance after the device slept: a mean over that time says
    /// nothing about now.
    pub fn forget(&mut self) {
        self.0 = None;
    }
}

/// The share of one counter in another of the same unit, between two rounds.
#[derive(Debug, Default)]
pub struct Share(Option<(u64, u64)>);

impl Share {
    /// Takes a reading of both and returns the share of `part` in `whole` since the reading before, at most
    /// 1.
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
        assert_eq!(code(rate.per_second("call", at(8), Ok(30))), Ok(0.0));
        assert_eq!(code(rate.power("call", at(9), Ok(30))), Err("counter_stands"), "no device draws nothing");
        assert_eq!(code(rate.power("call", at(10), Ok(40))), Ok(10.0));
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
}
