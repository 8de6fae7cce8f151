//! Counters of Level Zero that cannot be taken as they are: energy that wraps, bytes by direction, and PCIe bytes
//! that are torn.
//!
//! Pure: the time of a reading comes with it.

use std::time::Instant;

use reading::{Ceiling, Counted, Counter, Fault, FaultCode, Measured};

/// Where energy counters start again from 0, µJ: 32 bits of microjoules, and 2^18 J, the fixed point of
/// Battlemage's telemetry (18 bits before the point, 14 after it). The driver does not report which.
const ENERGY_WRAPS: [u64; 2] = [1 << 32, 262_144_000_000];

/// Energy in µJ.
#[derive(Debug)]
pub struct Energy(Counter);

impl Default for Energy {
    fn default() -> Self {
        Self(Counter::from_zero(ENERGY_WRAPS.to_vec()))
    }
}

impl Energy {
    /// Takes a reading of a device with this highest power limit.
    ///
    /// # Errors
    /// The reading's own; `zero`, which drivers return when their own read failed; those of [`Counter::add`].
    pub fn add(
        &mut self,
        call: &'static str,
        now: Instant,
        reading: Measured<u64>,
        watts: Measured<f64>,
    ) -> Measured<Counted> {
        let zero = Fault::new(call, FaultCode::Zero);
        let reading = reading.and_then(|energy| if energy == 0 { Err(zero) } else { Ok(energy) });
        self.0.add(call, now, reading, Ceiling::of_energy(watts).times(1e6))
    }
}

/// Counters of bytes in two directions.
#[derive(Debug)]
pub struct Directions([Counter; 2]);

impl Default for Directions {
    fn default() -> Self {
        Self([Counter::of_device(), Counter::of_device()])
    }
}

impl Directions {
    /// Takes a reading of both.
    pub fn add(
        &mut self,
        call: &'static str,
        reading: Measured<[u64; 2]>,
        ceiling: Ceiling,
    ) -> [Measured<u64>; 2] {
        let (now, [one, other]) = (Instant::now(), &mut self.0);
        let of = |index: usize| reading.map(|both| both[index]);
        [one.total(call, now, of(0), ceiling), other.total(call, now, of(1), ceiling)]
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
    mut read: impl FnMut() -> Measured<[u64; 2]>,
    mut now: impl FnMut() -> Instant,
) -> Measured<[u64; 2]> {
    let (mut last, mut since) = (read()?, now());
    for _ in 1..READS_MAX {
        let (next, then) = (read()?, now());
        let most = bytes_per_second * then.saturating_duration_since(since).as_secs_f64() + SLACK_BYTES;
        let agrees = |a: u64, b: u64| b.checked_sub(a).is_some_and(|more| more as f64 <= most);
        if agrees(last[0], next[0]) && agrees(last[1], next[1]) {
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
            let now = start + Duration::from_secs(seconds);
            code(energy.add("zesPowerGetEnergyCounter", now, Ok(reading), Ok(250.0)))
                .map(|counted| counted.total)
        };
        assert_eq!(at(0, 262_100_000_000), Ok(0), "how often it wrapped before is unknown");
        assert_eq!(at(1, 0), Err("zero"), "the driver's own read failed");
        assert_eq!(at(2, 156_000_000), Ok(200_000_000), "2^18 J");
        assert_eq!(at(3, 1_000_000), Err("counter_fell"));
        assert_eq!(at(4, 2_000_000), Ok(202_000_000), "a reset: nothing wraps at 156 J");
        assert_eq!(at(5, 4_294_000_000), Err("rose_too_fast"), "no such GPU uses 4 kJ in a second");
        assert_eq!(at(6, 4_294_900_000), Ok(202_900_000), "and what follows is counted from there");
        assert_eq!(at(7, 5_000_000), Ok(207_967_296), "32 bits");
    }

    #[test]
    fn a_torn_reading_is_read_again() {
        const CARRY: u64 = 1 << 32;
        let start = Instant::now();
        let read = |readings: &[u64]| {
            let mut readings = readings.iter();
            let read = || Ok([*readings.next().expect("no more reads than needed"), 7]);
            let mut clock = 0;
            let now = || {
                clock += 100;
                start + Duration::from_micros(clock)
            };
            code(read_untorn("zesDevicePciGetStats", 32e9, read, now)).map(|[received, _]| received)
        };
        assert_eq!(read(&[CARRY, CARRY + 3_000_000]), Ok(CARRY + 3_000_000));
        assert_eq!(read(&[2 * CARRY, CARRY + 5, CARRY + 9]), Ok(CARRY + 9), "too high");
        assert_eq!(read(&[0, CARRY + 5, CARRY + 9]), Ok(CARRY + 9), "too low");
        assert_eq!(read(&[1, CARRY, 2, CARRY]), Err("torn_read"));
    }
}
