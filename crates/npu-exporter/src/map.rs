//! From the kernel's units to base units and the catalogue.

use naming::{
    Bytes, Celsius, Count, FaultCode, Flag, Hertz, Joules, Label, Ratio, Seconds, Watts, catalogue as m,
};
use reading::{Absence, Batch, Fault, Labels};

use crate::{
    rates::Sums,
    raw::{Got, Raw},
};

/// PMT counts energy in 2^-14 J.
const ENERGY_PER_JOULE: f64 = 16384.0;
/// No silicon is hotter and still answers.
const CELSIUS_MAX: u64 = 200;

/// One round.
pub struct Round<'a> {
    /// Labels of the info metric.
    pub info: &'a Labels,
    /// Files and registers.
    pub raw: &'a Raw,
    /// Busy share.
    pub busy: Got<f64>,
    /// PMT counters.
    pub sums: Got<Sums>,
}

/// Puts a whole NPU into the batch.
pub fn device(round: &Round<'_>, batch: &mut Batch) {
    let raw = round.raw;
    batch.put(m::DEVICE_INFO, round.info.clone(), Ok(Flag(true)));
    batch.put(m::DEVICE_ASLEEP, Labels::NONE, raw.asleep.map(Flag));
    for (state, milliseconds) in ["active", "suspended"].into_iter().zip(raw.runtime_ms) {
        let seconds = milliseconds.map(|ms| Seconds(ms as f64 / 1e3));
        batch.put(m::RUNTIME_SECONDS, Labels::one(Label::State, state), seconds);
    }
    batch.put(m::UTILIZATION, Labels::NONE, round.busy.map(Ratio));
    batch.put(m::ENGINE_ACTIVE, Labels::one(Label::Engine, "npu"), round.busy.map(Ratio));
    batch.put(m::MEMORY_USED, Labels::NONE, raw.memory_bytes.map(Bytes));

    let temperature = raw.telemetry.and_then(|registers| match registers.temperature {
        0..=CELSIUS_MAX => Ok(Celsius(registers.temperature as f64)),
        _ => Err(Fault::new("intel_pmt/telem", FaultCode::Over200Celsius)),
    });
    batch.put(m::TEMPERATURE, Labels::one(Label::Sensor, "npu"), temperature);
    let energy = round.sums.map(|sums| Joules(sums.energy as f64 / ENERGY_PER_JOULE));
    batch.put(m::ENERGY, Labels::NONE, energy);
    let power = round.sums.and_then(|sums| sums.power).map(|power| Watts(power / ENERGY_PER_JOULE));
    batch.put(m::POWER, Labels::NONE, power);
    let traffic = round.sums.map(|sums| Bytes(sums.memory_traffic.saturating_mul(1000)));
    batch.put(m::MEMORY_TRAFFIC, Labels::NONE, traffic);

    // The driver's file where there is one: it says 0 while the NPU sleeps. Telemetry on kernels before it, and
    // not for a file that fails, since a series has one source.
    let clock = raw.clock_mhz.map(Hertz::from_mega).or_else(|fault| match (fault.absence, raw.telemetry) {
        (Absence::Unsupported, Ok(registers)) => Ok(Hertz(registers.clock as f64)),
        _ => Err(fault),
    });
    batch.put(m::CLOCK, Labels::one(Label::Domain, "npu"), clock);
    batch.put(m::CLOCK_MAX, Labels::one(Label::Domain, "npu"), raw.clock_max_mhz.map(Hertz::from_mega));
    for (code, count) in raw.resets {
        batch.put(m::ERRORS, Labels::one(Label::Kind, "reset").with(Label::Code, code), count.map(Count));
    }
}
