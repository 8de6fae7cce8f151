//! From the kernel's units to base units and the catalogue.

use naming::{Bytes, Celsius, Count, Flag, Hertz, Joules, Label, Ratio, Seconds, Watts, catalogue as m};
use reading::{Absence, Batch, Labels, Measured, plausible_celsius};

use crate::{
    rates::{ENERGY_PER_JOULE, Sums},
    raw::Raw,
    telemetry::CALL,
};

/// What one round yields, before units are converted.
pub struct Sample<'a> {
    /// Labels of the info metric.
    pub info: &'a Labels,
    /// Kernel files and registers.
    pub raw: &'a Raw,
    /// Busy share since the last reading.
    pub busy: Measured<f64>,
    /// Sums of the PMT registers.
    pub sums: Measured<Sums>,
}

/// Puts all metrics of an NPU into the batch.
pub fn device(sample: &Sample<'_>, batch: &mut Batch) {
    let raw = sample.raw;
    mandatory(sample.info, raw.asleep, batch);
    for (state, milliseconds) in ["active", "suspended"].into_iter().zip(raw.runtime_ms) {
        let seconds = milliseconds.map(|ms| Seconds(ms as f64 / 1e3));
        batch.put(m::RUNTIME_SECONDS, Labels::one(Label::State, state), seconds);
    }
    batch.put(m::UTILIZATION, Labels::NONE, sample.busy.map(Ratio));
    batch.put(m::ENGINE_ACTIVE, Labels::one(Label::Engine, "npu"), sample.busy.map(Ratio));
    batch.put(m::MEMORY_USED, Labels::NONE, raw.memory_bytes.map(Bytes));

    let celsius = raw.telemetry.and_then(|registers| plausible_celsius(CALL, registers.temperature as f64));
    batch.put(m::TEMPERATURE, Labels::one(Label::Sensor, "npu"), celsius.map(Celsius));
    let energy = sample.sums.map(|sums| Joules(sums.energy as f64 / ENERGY_PER_JOULE));
    batch.put_sum(m::ENERGY, Labels::NONE, energy);
    let power = sample.sums.and_then(|sums| sums.power).map(|power| Watts(power / ENERGY_PER_JOULE));
    batch.put(m::POWER, Labels::NONE, power);
    let traffic = sample.sums.map(|sums| Bytes(sums.memory_traffic.saturating_mul(1000)));
    batch.put_sum(m::MEMORY_TRAFFIC, Labels::NONE, traffic);

    // The driver's file, which reads 0 while the NPU sleeps. Telemetry replaces it on kernels that do not
    // have the file, but not when reading it fails: a series has one source.
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

/// Puts what is known of an NPU without its firmware into the batch.
pub fn mandatory(info: &Labels, asleep: Measured<bool>, batch: &mut Batch) {
    batch.put(m::DEVICE_INFO, info.clone(), Ok(Flag(true)));
    batch.put(m::DEVICE_ASLEEP, Labels::NONE, asleep.map(Flag));
}
