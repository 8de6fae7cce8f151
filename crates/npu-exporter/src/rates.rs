//! What rounds add up to: the busy share, power, and counters whose registers wrap.

use std::time::{Duration, Instant};

use kernel::Unwrapped;
use reading::{Fault, FaultCode};

use crate::{raw::Got, telemetry::Registers};

/// The driver asks to be read once a second; a round may come a little early.
pub const PERIOD: Duration = Duration::from_millis(900);

/// Nothing to compare with yet.
const fn no_interval(call: &'static str) -> Fault {
    Fault::new(call, FaultCode::FirstReading)
}

/// The busy share of the last second, from a counter that is read no more than once a second.
#[derive(Debug)]
pub struct Busy {
    last: Option<(Instant, u64)>,
    ratio: Got<f64>,
    /// Whether the next reading gives the first share, for which somebody waits.
    first: bool,
}

impl Default for Busy {
    fn default() -> Self {
        Self { last: None, ratio: Err(no_interval(Self::CALL)), first: true }
    }
}

impl Busy {
    const CALL: &'static str = "npu_busy_time_us";

    /// The share of the last whole period, reading the counter of microseconds when it is time. Time is
    /// measured, not taken from the interval that was asked for.
    pub fn ratio(&mut self, now: Instant, counter: impl FnOnce() -> Got<u64>) -> Got<f64> {
        let elapsed = self.last.map(|(last, _)| now.duration_since(last));
        if elapsed.is_some_and(|elapsed| elapsed < PERIOD && !self.first) {
            return self.ratio;
        }
        self.ratio = match counter() {
            Ok(busy) => {
                let before = self.last.replace((now, busy));
                self.first = before.is_none();
                match before {
                    Some((last, before)) if busy >= before => share(busy - before, now - last),
                    // Only a reload of the driver sets it back.
                    Some(_) => Err(Fault::new(Self::CALL, FaultCode::CounterFell)),
                    None => Err(no_interval(Self::CALL)),
                }
            }
            Err(fault) => {
                self.last = None;
                Err(fault)
            }
        };
        self.ratio
    }
}

/// Clamped: the counter and the clock are not read at the same instant.
fn share(busy_us: u64, elapsed: Duration) -> Got<f64> {
    if elapsed.is_zero() {
        return Err(no_interval(Busy::CALL));
    }
    Ok((busy_us as f64 / (elapsed.as_secs_f64() * 1e6)).min(1.0))
}

/// The PMT registers over time.
#[derive(Debug)]
pub struct Totals {
    energy: Unwrapped,
    memory_traffic: Unwrapped,
    last: Option<(Instant, u64)>,
}

/// What the PMT registers add up to, in their own units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sums {
    /// 2^-14 J.
    pub energy: u64,
    /// 2^-14 J per second since the last round.
    pub power: Got<f64>,
    /// Kilobytes.
    pub memory_traffic: u64,
}

impl Default for Totals {
    fn default() -> Self {
        Self { energy: Unwrapped::new(1 << 32), memory_traffic: Unwrapped::new(1 << 32), last: None }
    }
}

impl Totals {
    /// Takes in one round. After one without registers the sums go on, and power begins anew: a mean over the
    /// time until they came back is no power of now.
    pub fn add(&mut self, now: Instant, registers: Got<Registers>) -> Got<Sums> {
        let registers = registers.inspect_err(|_| self.last = None)?;
        let beyond = Fault::new("intel_pmt/telem", FaultCode::OutOfRange);
        let energy = self.energy.add(registers.energy).ok_or(beyond)?;
        let memory_traffic = self.memory_traffic.add(registers.memory_traffic).ok_or(beyond)?;
        let power = match self.last.replace((now, energy)) {
            Some((last, before)) if now > last => Ok((energy - before) as f64 / (now - last).as_secs_f64()),
            _ => Err(no_interval("intel_pmt/telem")),
        };
        Ok(Sums { energy, power, memory_traffic })
    }
}

#[cfg(test)]
mod tests {
    use reading::Absence;

    use super::*;

    #[test]
    fn the_share_is_of_measured_time_and_the_counter_is_read_once_a_second() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut busy = Busy::default();
        let code = |got: Got<f64>| got.map_err(|fault| fault.code.name());
        assert_eq!(code(busy.ratio(at(0), || Ok(5_000_000))), Err("first_reading"));
        assert_eq!(code(busy.ratio(at(1000), || Ok(5_370_000))), Ok(0.37));
        assert_eq!(code(busy.ratio(at(1250), || panic!("read twice within a second"))), Ok(0.37));
        // Two seconds and not the nominal one.
        assert_eq!(code(busy.ratio(at(3000), || Ok(6_370_000))), Ok(0.5));
        assert_eq!(code(busy.ratio(at(4000), || Ok(9_000_000))), Ok(1.0), "clamped");
        assert_eq!(code(busy.ratio(at(5000), || Ok(10))), Err("counter_fell"));
        assert_eq!(code(busy.ratio(at(6000), || Ok(250_010))), Ok(0.25));
        let gone = Fault::returned(Absence::Unsupported, "npu_busy_time_us", "ENOENT");
        assert_eq!(code(busy.ratio(at(7000), || Err(gone))), Err("ENOENT"));
        assert_eq!(
            code(busy.ratio(at(8000), || Ok(400_000))),
            Err("first_reading"),
            "old values are forgotten"
        );
        assert_eq!(code(busy.ratio(at(8150), || Ok(475_000))), Ok(0.5), "the first share comes soon");
    }

    #[test]
    fn registers_wrap_or_are_set_back_and_power_is_the_difference() {
        let start = Instant::now();
        let mut totals = Totals::default();
        let registers =
            |energy, memory_traffic| Registers { energy, temperature: 45, clock: 0, memory_traffic };
        let mut add = |seconds, energy, traffic| {
            totals
                .add(start + Duration::from_secs(seconds), Ok(registers(energy, traffic)))
                .expect("in range")
        };
        let first = add(0, 0xffff_ffff, 0xffff_fffe);
        assert_eq!((first.energy, first.memory_traffic), (0, 0), "what ran before is not of now");
        assert_eq!(first.power.map_err(|fault| fault.code.name()), Err("first_reading"));
        assert_eq!(add(2, 16_383, 4), Sums { energy: 16_384, power: Ok(8192.0), memory_traffic: 6 });
        // The machine was suspended to memory, which clears the registers: no 2^18 J and no 4.3 TB.
        assert_eq!(add(3, 1000, 1), Sums { energy: 17_384, power: Ok(1000.0), memory_traffic: 7 });
        let gone = Fault::returned(Absence::Unsupported, "intel_pmt/telem", "ENOENT");
        assert_eq!(totals.add(start + Duration::from_secs(4), Err(gone)), Err(gone));
        let back = totals.add(start + Duration::from_mins(1), Ok(registers(2000, 3))).expect("in range");
        assert_eq!((back.energy, back.memory_traffic), (18_384, 9));
        assert_eq!(back.power.map_err(|fault| fault.code.name()), Err("first_reading"));
    }
}
