//! Whether heat or the power limit holds the clocks of a socket down.

use reading::{Fault, FaultCode, Measured};

use crate::raw::{Raw, ThrottleCounters};

/// The counters of throttling as of the last round.
#[derive(Debug, Default)]
pub struct Throttling {
    last: Option<ThrottleCounters>,
}

/// What holds the clocks down now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttled {
    /// Heat of the package or of a core.
    pub thermal: Measured<bool>,
    /// The package's power limit.
    pub power: Measured<bool>,
}

impl Throttling {
    /// Takes a round. A reason is active when its counters changed since the last round. They change when
    /// throttling begins and when it ends; in between, the temperature is at its limit.
    pub fn update(&mut self, raw: &Raw) -> Throttled {
        let now = raw.throttle;
        let before = self.last.replace(now);
        let changed = |counter: fn(&ThrottleCounters) -> Measured<u64>| -> Measured<bool> {
            let count = counter(&now)?;
            let first = Fault::new("thermal_throttle", FaultCode::FirstReading);
            Ok(count != before.as_ref().ok_or(first).and_then(counter)?)
        };
        let package = changed(|counters| counters.package_count);
        let others = [changed(|counters| counters.package_ms), changed(|counters| counters.core_count)];
        let at_limit = raw.temperature_mc[0].and_then(|now| Ok(now >= raw.temperature_mc[1]?));
        let thermal = package.map(|package| {
            package || at_limit == Ok(true) || others.into_iter().any(|other| other == Ok(true))
        });
        Throttled { thermal, power: changed(|counters| counters.power_count) }
    }
}
