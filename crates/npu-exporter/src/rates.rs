//! What two rounds give that one does not: the busy share, power, and sums over registers that wrap.

use std::time::{Duration, Instant};

use reading::{Ceiling, Counter, Fault, FaultCode, Measured};

use crate::telemetry::{CALL, Registers};

/// How often a file may be read that the driver asks to read once a second; a round may come a little early.
pub const PERIOD: Duration = Duration::from_millis(900);

/// No memory of a client processor moves more.
const KILOBYTES_PER_SECOND_MAX: f64 = 1e9;

/// PMT counts energy in 2^-14 J.
pub const ENERGY_PER_JOULE: f64 = 16384.0;

/// The busy share, from a counter that is read once a [`PERIOD`].
#[derive(Debug)]
pub struct BusyShare {
    counter: Counter,
    /// The last share and when it was read; none before the second reading and after a failed one.
    last: Option<(Instant, f64)>,
}

impl Default for BusyShare {
    fn default() -> Self {
        Self { counter: Counter::from_zero(Vec::new()), last: None }
    }
}

impl BusyShare {
    /// The share between the last two readings of a counter of microseconds. The counter is read when there
    /// is no share yet or the last one is a period old. Time is measured, since rounds are not exact.
    ///
    /// # Errors
    /// Those of the file, of [`Counter::add`] and of [`reading::Counted::per_second`].
    pub fn ratio(&mut self, now: Instant, counter: impl FnOnce() -> Measured<u64>) -> Measured<f64> {
        if let Some((read, ratio)) = self.last
            && now.saturating_duration_since(read) < PERIOD
        {
            return Ok(ratio);
        }
        let ceiling = Ceiling::of_time().times(1e6);
        let rate = self.counter.add("npu_busy_time_us", now, counter(), ceiling);
        let rate = rate.and_then(|counted| counted.per_second());
        // The counter and the clock are not read at the same instant.
        let ratio = rate.map(|microseconds| (microseconds / 1e6).min(1.0));
        self.last = ratio.ok().map(|ratio| (now, ratio));
        ratio
    }
}

/// The PMT registers over time.
#[derive(Debug)]
pub struct RegisterSums {
    energy: Counter,
    memory_traffic: Counter,
}

/// What the PMT registers counted since the first reading, in their own units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sums {
    /// 2^-14 J.
    pub energy: u64,
    /// 2^-14 J per second since the last round.
    pub power: Measured<f64>,
    /// Kilobytes.
    pub memory_traffic: u64,
}

impl Default for RegisterSums {
    fn default() -> Self {
        let register = || Counter::from_zero(vec![1 << 32]);
        Self { energy: register(), memory_traffic: register() }
    }
}

impl RegisterSums {
    /// Takes one round. After a round without registers the sums go on and power needs two readings again: a
    /// mean over the gap would not be the current power.
    ///
    /// # Errors
    /// The registers' own, and those of [`Counter::add`].
    pub fn add(&mut self, now: Instant, registers: Measured<Registers>) -> Measured<Sums> {
        let unknown = Fault::new(CALL, FaultCode::NoMaximum);
        let watts = Ceiling::of_energy(Err(unknown)).times(ENERGY_PER_JOULE);
        let kilobytes = Ceiling::new(Ok(KILOBYTES_PER_SECOND_MAX), 1.0);
        let (energy, traffic) = (registers.map(|r| r.energy), registers.map(|r| r.memory_traffic));
        let energy = self.energy.add(CALL, now, energy, watts);
        let traffic = self.memory_traffic.add(CALL, now, traffic, kilobytes);
        let (energy, traffic) = (energy?, traffic?);
        Ok(Sums { energy: energy.total, power: energy.per_second(), memory_traffic: traffic.total })
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
        let mut busy = BusyShare::default();
        let code = |got: Measured<f64>| got.map_err(|fault| fault.code.name());
        assert_eq!(code(busy.ratio(at(0), || Ok(5_000_000))), Err("first_reading"));
        assert_eq!(code(busy.ratio(at(1000), || Ok(5_370_000))), Ok(0.37));
        assert_eq!(code(busy.ratio(at(1250), || panic!("read twice within a second"))), Ok(0.37));
        // Two seconds and not the nominal one.
        assert_eq!(code(busy.ratio(at(3000), || Ok(6_370_000))), Ok(0.5));
        assert_eq!(code(busy.ratio(at(4000), || Ok(7_400_000))), Ok(1.0), "not read at the same instant");
        assert_eq!(code(busy.ratio(at(5000), || Ok(17_400_000))), Err("rose_too_fast"));
        assert_eq!(code(busy.ratio(at(6000), || Ok(7_400_000))), Ok(0.0));
        assert_eq!(code(busy.ratio(at(7000), || Ok(10))), Err("counter_fell"));
        assert_eq!(code(busy.ratio(at(8000), || Ok(250_010))), Ok(0.25));
        let gone = Fault::returned(Absence::Unsupported, "npu_busy_time_us", "ENOENT");
        assert_eq!(code(busy.ratio(at(9000), || Err(gone))), Err("ENOENT"));
        assert_eq!(
            code(busy.ratio(at(10_000), || Ok(400_000))),
            Err("first_reading"),
            "old values are forgotten"
        );
        assert_eq!(code(busy.ratio(at(10_150), || Ok(475_000))), Ok(0.5), "the first share comes soon");
    }

    #[test]
    fn registers_wrap_or_are_set_back_and_power_is_the_difference() {
        let start = Instant::now();
        let mut totals = RegisterSums::default();
        let registers =
            |energy, memory_traffic| Registers { energy, temperature: 45, clock: 0, memory_traffic };
        let mut add = |seconds, energy, traffic| {
            let sums = totals.add(start + Duration::from_secs(seconds), Ok(registers(energy, traffic)));
            sums.map_err(|fault| fault.code.name())
        };
        let first = add(0, 0xffff_ffff, 0xffff_fffe).expect("the first");
        assert_eq!((first.energy, first.memory_traffic), (0, 0), "what ran before is not of now");
        assert_eq!(first.power.map_err(|fault| fault.code.name()), Err("first_reading"));
        assert_eq!(add(2, 16_383, 4), Ok(Sums { energy: 16_384, power: Ok(8192.0), memory_traffic: 6 }));
        // The machine was suspended to memory, which clears the registers: no 2^18 J and no 4.3 TB.
        assert_eq!(add(3, 1000, 1), Err("counter_fell"));
        assert_eq!(add(4, 1500, 2), Ok(Sums { energy: 17_884, power: Ok(500.0), memory_traffic: 8 }));
        let gone = Fault::returned(Absence::Unsupported, "intel_pmt/telem", "ENOENT");
        assert_eq!(totals.add(start + Duration::from_secs(5), Err(gone)), Err(gone));
        let back = totals.add(start + Duration::from_mins(1), Ok(registers(2000, 3))).expect("taken");
        assert_eq!((back.energy, back.memory_traffic), (18_384, 9));
        assert_eq!(back.power.map_err(|fault| fault.code.name()), Err("first_reading"));
    }
}
