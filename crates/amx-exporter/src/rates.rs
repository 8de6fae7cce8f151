//! What rounds add up to: power from energy, and whether counters of throttling moved.

use std::time::Instant;

use reading::{Fault, FaultCode, Measured};

use crate::raw::{Raw, Throttle};

/// A counter of energy over time.
#[derive(Debug, Default)]
pub struct Power {
    last: Option<(Instant, u64)>,
}

impl Power {
    /// Microwatts since the last round. A counter that went back, as after a reload of its driver, has none.
    pub fn microwatts(&mut self, now: Instant, energy_uj: Measured<u64>) -> Measured<f64> {
        let energy = energy_uj.inspect_err(|_| self.last = None)?;
        let none = |code| Err(Fault::new("energy_uj", code));
        match self.last.replace((now, energy)) {
            Some((_, before)) if energy < before => none(FaultCode::CounterFell),
            Some((last, before)) if now > last => Ok((energy - before) as f64 / (now - last).as_secs_f64()),
            _ => none(FaultCode::FirstReading),
        }
    }
}

/// Whether heat or the power limit holds the clocks down.
#[derive(Debug, Default)]
pub struct Throttling {
    last: Option<Throttle>,
}

/// What holds the clocks down now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Active {
    /// Heat, of the package or of a core.
    pub thermal: Measured<bool>,
    /// The package's power limit.
    pub power: Measured<bool>,
}

impl Throttling {
    /// A reason is active when its counters moved since the last round. They move when a spell of throttling
    /// begins and when it ends, so a long one shows by the temperature, which then stands at its limit.
    pub fn active(&mut self, raw: &Raw) -> Active {
        let now = raw.throttle;
        let before = self.last.replace(now);
        let moved = |of: fn(&Throttle) -> Measured<u64>| -> Measured<bool> {
            let count = of(&now)?;
            let none = Fault::new("thermal_throttle", FaultCode::FirstReading);
            Ok(count != before.as_ref().ok_or(none).and_then(of)?)
        };
        let counted = [moved(|t| t.package_count), moved(|t| t.package_ms), moved(|t| t.core_count)];
        let at_limit = raw.temperature_mc[0].and_then(|now| Ok(now >= raw.temperature_mc[1]?));
        let thermal = match counted[0] {
            Ok(_) if at_limit == Ok(true) => Ok(true),
            Ok(_) => Ok(counted.into_iter().any(|moved| moved == Ok(true))),
            Err(fault) => Err(fault),
        };
        Active { thermal, power: moved(|t| t.power_count) }
    }
}
