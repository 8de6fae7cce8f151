//! Counters of Level Zero that cannot be taken as they are: energy that wraps, and PCIe bytes that are torn.
//!
//! Pure: the time of a reading comes with it.

use std::time::Instant;

use reading::{Fault, FaultCode, Measured};

/// Where energy counters start again from 0, µJ: 32 bits of microjoules, and 2^18 J, the fixed point of
/// Battlemage's telemetry (18 bits before the point, 14 after it).
const ENERGY_WRAPS: [u64; 2] = [1 << 32, 262_144_000_000];
/// No single GPU draws more; µW.
const PLAUSIBLE_MICROWATTS: f64 = 2e9;

/// Energy in µJ, summed from a counter whose range the driver does not report.
///
/// The sum begins at 0 with the first reading, like that of every counter that wraps: see
/// [`source::WrappingCounter`], which needs to know the range.
#[derive(Debug, Default)]
pub struct Energy {
    last: Option<(Instant, u64)>,
    total: u64,
}

impl Energy {
    /// Takes a reading and returns the energy since the first one.
    ///
    /// # Errors
    /// The reading's own; `zero`, which drivers return when their own read failed.
    pub fn total(&mut self, call: &'static str, now: Instant, reading: Measured<u64>) -> Measured<u64> {
        let reading = reading?;
        if reading == 0 {
            return Err(Fault::new(call, FaultCode::Zero));
        }
        if let Some((since, last)) = self.last.replace((now, reading)) {
            let increment = reading.checked_sub(last).unwrap_or_else(|| {
                let seconds = now.saturating_duration_since(since).as_secs_f64();
                // A counter close below a wrap has wrapped; any other was reset and counts from 0. Neither
                // means more energy than a GPU can use.
                let wraps = ENERGY_WRAPS.into_iter().filter(|wrap| (wrap / 10 * 9..*wrap).contains(&last));
                let plausible = |increment: &u64| *increment as f64 <= PLAUSIBLE_MICROWATTS * seconds;
                wraps.map(|wrap| wrap - last + reading).chain([reading]).find(plausible).unwrap_or(0)
            });
            self.total = self.total.saturating_add(increment);
        }
        Ok(self.total)
    }
}

/// Reads up to this many times for two readings that agree.
const READS_MAX: usize = 4;
/// Bytes that may pass between two consecutive readings, beside what the link can carry.
const SLACK_BYTES: f64 = 1e6;

/// Reads a pair of 64-bit counters that the driver composes from 32-bit words: a carry between its two reads
/// makes one counter 4 GiB too high or too low. Of two consecutive readings that differ by no more than the
/// link can carry meanwhile, the second is returned.
///
/// # Errors
/// The reading's own; `torn_read` when no two consecutive readings of four agree.
pub fn read_untorn(
    call: &'static str,
    bytes_per_second: f64,
    mut read: impl FnMut() -> Measured<(u64, u64)>,
    mut now: impl FnMut() -> Instant,
) -> Measured<(u64, u64)> {
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

    use super::{Energy, Measured, read_untorn};

    fn code<T>(measured: Measured<T>) -> Result<T, &'static str> {
        measured.map_err(|fault| fault.code.name())
    }

    #[test]
    fn energy_is_followed_from_0_over_both_wraps_and_a_reset() {
        let start = Instant::now();
        let mut energy = Energy::default();
        let mut at = |seconds: u64, reading| {
            code(energy.total("zesPowerGetEnergyCounter", start + Duration::from_secs(seconds), Ok(reading)))
        };
        assert_eq!(at(0, 262_100_000_000), Ok(0), "how often it wrapped before is unknown");
        assert_eq!(at(1, 0), Err("zero"), "the driver's own read failed");
        assert_eq!(at(2, 156_000_000), Ok(200_000_000), "2^18 J");
        assert_eq!(at(3, 1_000_000), Ok(201_000_000), "a reset: nothing wraps at 156 J");
        assert_eq!(at(4, 4_294_000_000), Ok(4_494_000_000));
        assert_eq!(at(5, 5_000_000), Ok(4_499_967_296), "32 bits");
        assert_eq!(at(6, 4_294_000_000), Ok(8_788_967_296));
        assert_eq!(at(6, 4_293_000_000), Ok(8_788_967_296), "no GPU uses 4 kJ in no time");
        assert_eq!(at(7, 4_293_500_000), Ok(8_789_467_296), "and what follows is counted from there");
    }

    #[test]
    fn following_the_counter_anew_is_no_increase() {
        let start = Instant::now();
        for standing in [1, 5_000_000, 1 << 40] {
            assert_eq!(Energy::default().total("zesPowerGetEnergyCounter", start, Ok(standing)), Ok(0));
        }
    }

    #[test]
    fn a_torn_reading_is_read_again() {
        const CARRY: u64 = 1 << 32;
        let start = Instant::now();
        let read = |readings: &[u64]| {
            let mut readings = readings.iter();
            let read = || Ok((*readings.next().expect("no more reads than needed"), 7));
            let mut clock = 0;
            let now = || {
                clock += 100;
                start + Duration::from_micros(clock)
            };
            code(read_untorn("zesDevicePciGetStats", 32e9, read, now)).map(|(received, _)| received)
        };
        assert_eq!(read(&[CARRY, CARRY + 3_000_000]), Ok(CARRY + 3_000_000));
        assert_eq!(read(&[2 * CARRY, CARRY + 5, CARRY + 9]), Ok(CARRY + 9), "too high");
        assert_eq!(read(&[0, CARRY + 5, CARRY + 9]), Ok(CARRY + 9), "too low");
        assert_eq!(read(&[1, CARRY, 2, CARRY]), Err("torn_read"));
    }
}
