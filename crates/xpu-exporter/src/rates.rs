//! What two readings tell that one does not: rates, busy shares, and counters that wrap or are torn.
//!
//! Pure: the time of a reading comes with it.

use std::time::Instant;

use reading::{Fault, FaultCode};

use crate::Got;

/// The rate of a counter between two rounds.
#[derive(Debug, Default)]
pub struct Rate(Option<(Instant, u64)>);

impl Rate {
    /// Takes a reading; answers the counter's units per second since the one before.
    ///
    /// # Errors
    /// The reading's own; `NoData` at the first one, when no time passed, and when the counter fell, which is a
    /// reset: the next round has a rate again.
    pub fn per_second(&mut self, call: &'static str, now: Instant, reading: Got<u64>) -> Got<f64> {
        let reading = reading.inspect_err(|_| self.0 = None)?;
        let (since, last) =
            self.0.replace((now, reading)).ok_or(Fault::new(call, FaultCode::FirstReading))?;
        let increment = reading.checked_sub(last).ok_or(Fault::new(call, FaultCode::CounterFell))?;
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        if seconds > 0.0 { Ok(increment as f64 / seconds) } else { Err(Fault::new(call, FaultCode::NoTime)) }
    }
}

/// The share of one counter in another of the same unit, between two rounds.
#[derive(Debug, Default)]
pub struct Share(Option<(u64, u64)>);

impl Share {
    /// Takes a reading of both; answers the share of `part` in `whole` since the one before, at most 1.
    ///
    /// # Errors
    /// As [`Rate::per_second`]; no time passed when `whole` stands still.
    pub fn of(&mut self, call: &'static str, reading: Got<(u64, u64)>) -> Got<f64> {
        self.quotient(call, reading).map(|share| share.min(1.0))
    }

    /// The same of counters that differ in unit: how much the one grew for each step of the other.
    ///
    /// # Errors
    /// Those of [`Share::of`].
    pub fn quotient(&mut self, call: &'static str, reading: Got<(u64, u64)>) -> Got<f64> {
        let (part, whole) = reading.inspect_err(|_| self.0 = None)?;
        let (part_before, whole_before) =
            self.0.replace((part, whole)).ok_or(Fault::new(call, FaultCode::FirstReading))?;
        match (part.checked_sub(part_before), whole.checked_sub(whole_before)) {
            (Some(_), Some(0)) => Err(Fault::new(call, FaultCode::NoTime)),
            (Some(part), Some(whole)) => Ok(part as f64 / whole as f64),
            _ => Err(Fault::new(call, FaultCode::CounterFell)),
        }
    }

    /// The same, of a part that its driver may tell too low for a while: it counts as the largest that was told,
    /// until that is passed, as Documentation/gpu/drm-usage-stats.rst asks.
    ///
    /// # Errors
    /// Those of [`Share::of`], but for a part that falls.
    pub fn of_lagging(&mut self, call: &'static str, (part, whole): (u64, u64)) -> Got<f64> {
        let part = self.0.map_or(part, |(before, _)| part.max(before));
        self.of(call, Ok((part, whole)))
    }
}

/// Where energy counters start again from 0, µJ: 32 bits of microjoules, and 2^18 J, the fixed point of
/// Battlemage's telemetry (18 bits before the point, 14 after it).
const ENERGY_WRAPS: [u64; 2] = [1 << 32, 262_144_000_000];
/// A counter that falls from below this share of a wrap was reset.
const WRAP_FROM: f64 = 0.9;
/// No single GPU draws more; µW.
const PLAUSIBLE_MICROWATTS: f64 = 2e9;

/// An energy counter in µJ, made monotonic over its wraps.
#[derive(Debug, Default)]
pub struct Energy {
    last: Option<(Instant, u64)>,
    /// What the wraps so far were worth.
    wrapped: u64,
}

impl Energy {
    /// Whether it was ever read.
    pub fn counts(&self) -> bool {
        self.last.is_some()
    }

    /// Takes a reading; answers the energy since the counter's own start, as far as it was followed.
    ///
    /// # Errors
    /// The reading's own; `NoData` for 0, which drivers answer when their own read failed.
    pub fn total(&mut self, call: &'static str, now: Instant, reading: Got<u64>) -> Got<u64> {
        let reading = reading?;
        if reading == 0 {
            return Err(Fault::new(call, FaultCode::Zero));
        }
        if let Some((since, last)) = self.last
            && reading < last
        {
            let seconds = now.saturating_duration_since(since).as_secs_f64();
            let wrap = ENERGY_WRAPS.into_iter().find(|wrap| {
                last < *wrap
                    && last as f64 > WRAP_FROM * *wrap as f64
                    && (wrap - last + reading) as f64 <= PLAUSIBLE_MICROWATTS * seconds
            });
            // Without a wrap it is a reset, and the sum begins anew, as Prometheus expects of a counter.
            self.wrapped = wrap.map_or(0, |wrap| self.wrapped + wrap);
        }
        self.last = Some((now, reading));
        Ok(self.wrapped + reading)
    }
}

/// Reads up to this many times for two readings that agree.
const READS_MAX: usize = 4;
/// Bytes that may pass between two readings that follow each other, beside what the link can carry.
const SLACK_BYTES: f64 = 1e6;

/// A pair of 64-bit counters that the driver puts together from 32-bit words: a carry between the two reads
/// makes one 4 GiB too high or too low. Two readings in a row that differ by no more than the link can carry
/// meanwhile are right; answers the second.
///
/// # Errors
/// The reading's own; `NoData` when no two of four agree.
pub fn untorn(
    call: &'static str,
    bytes_per_second: f64,
    mut read: impl FnMut() -> Got<(u64, u64)>,
    mut now: impl FnMut() -> Instant,
) -> Got<(u64, u64)> {
    let (mut last, mut since) = (read()?, now());
    for _ in 1..READS_MAX {
        let (next, then) = (read()?, now());
        let most = bytes_per_second * then.saturating_duration_since(since).as_secs_f64() + SLACK_BYTES;
        let agrees = |a: u64, b: u64| b.checked_sub(a).is_some_and(|more| more as f64 <= most);
        if agrees(last.0, next.0) && agrees(last.1, next.1) {
            return Ok(next);
        }
        (last, since) = (next, then);
    }
    Err(Fault::new(call, FaultCode::TornRead))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Energy, Got, Rate, Share, untorn};

    fn code<T>(got: Got<T>) -> Result<T, &'static str> {
        got.map_err(|fault| fault.code.name())
    }

    #[test]
    fn a_rate_needs_two_readings_and_survives_a_reset() {
        let start = Instant::now();
        let mut rate = Rate::default();
        let mut at = |seconds: u64, reading| {
            code(rate.per_second("energy_input", start + Duration::from_secs(seconds), Ok(reading)))
        };
        assert_eq!(at(0, 100), Err("first_reading"));
        assert_eq!(at(2, 400), Ok(150.0));
        assert_eq!(at(2, 500), Err("no_time"));
        assert_eq!(at(3, 7), Err("counter_fell"));
        assert_eq!(at(4, 8), Ok(1.0));
    }

    #[test]
    fn a_share_is_of_its_own_clock_and_at_most_whole() {
        let mut share = Share::default();
        let mut of = |part, whole| code(share.of("zesEngineGetActivity", Ok((part, whole))));
        assert_eq!(of(10, 100), Err("first_reading"));
        assert_eq!(of(35, 200), Ok(0.25));
        assert_eq!(of(35, 200), Err("no_time"));
        assert_eq!(of(350, 300), Ok(1.0));
        assert_eq!(of(0, 1), Err("counter_fell"));
        let mut lagging = Share::default();
        let mut of = |part, whole| code(lagging.of_lagging("fdinfo", (part, whole)));
        assert_eq!(of(50, 100), Err("first_reading"));
        assert_eq!(of(20, 200), Ok(0.0), "50 were told before");
        assert_eq!(of(60, 300), Ok(0.1));
        assert_eq!(of(60, 1), Err("counter_fell"));
    }

    #[test]
    fn energy_counts_on_over_both_wraps_and_starts_anew_after_a_reset() {
        let start = Instant::now();
        let mut energy = Energy::default();
        let mut at = |seconds: u64, reading| {
            code(energy.total("zesPowerGetEnergyCounter", start + Duration::from_secs(seconds), Ok(reading)))
        };
        assert_eq!(at(0, 262_100_000_000), Ok(262_100_000_000));
        assert_eq!(at(1, 0), Err("zero"), "the driver's own read failed");
        assert_eq!(at(2, 156_000_000), Ok(262_300_000_000), "2^18 J");
        assert_eq!(at(3, 1_000_000), Ok(1_000_000), "a reset: nothing wraps at 156 J");
        assert_eq!(at(4, 4_294_000_000), Ok(4_294_000_000));
        assert_eq!(at(5, 5_000_000), Ok(4_299_967_296), "32 bits");
        assert_eq!(at(6, 4_294_000_000), Ok(8_588_967_296));
        assert_eq!(at(6, 4_293_000_000), Ok(4_293_000_000), "no GPU draws 4 kJ in no time: a reset");
    }

    #[test]
    fn a_torn_reading_is_read_again() {
        const CARRY: u64 = 1 << 32;
        let start = Instant::now();
        let read = |readings: &[u64]| {
            let mut readings = readings.iter();
            let read = || Ok((*readings.next().expect("no more are read than needed"), 7));
            let mut clock = 0;
            let now = || {
                clock += 100;
                start + Duration::from_micros(clock)
            };
            code(untorn("zesDevicePciGetStats", 32e9, read, now)).map(|(received, _)| received)
        };
        assert_eq!(read(&[CARRY, CARRY + 3_000_000]), Ok(CARRY + 3_000_000));
        assert_eq!(read(&[2 * CARRY, CARRY + 5, CARRY + 9]), Ok(CARRY + 9), "too high");
        assert_eq!(read(&[0, CARRY + 5, CARRY + 9]), Ok(CARRY + 9), "too low");
        assert_eq!(read(&[1, CARRY, 2, CARRY]), Err("torn_read"));
    }
}
