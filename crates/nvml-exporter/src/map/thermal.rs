//! Temperatures, power and fans.

use naming::{Celsius, FaultCode, Joules, Label, Ratio, Watts, catalogue as m};
use reading::{Batch, Fault, Labels, Measured};

use super::DeviceSample;
use crate::raw::Raw;

/// Sensors and limits of [`Raw::thresholds_c`].
const THRESHOLDS: [(&str, &str); 4] =
    [("gpu", "slowdown"), ("gpu", "shutdown"), ("gpu", "operating"), ("memory", "operating")];

/// The die's temperature.
pub fn die(celsius: Measured<u32>, batch: &mut Batch) {
    let celsius = celsius.map(|celsius| Celsius(celsius.into()));
    batch.put(m::TEMPERATURE, Labels::one(Label::Sensor, "gpu"), celsius);
}

/// Temperatures and their limits.
pub fn temperatures(sample: &DeviceSample<'_>, batch: &mut Batch) {
    let celsius = |c: u32| Celsius(c.into());
    die(sample.raw.temperature_c, batch);
    let memory = sample.fields.memory_temperature();
    batch.put(m::TEMPERATURE, Labels::one(Label::Sensor, "memory"), memory.map(celsius));
    for ((sensor, limit), value) in THRESHOLDS.into_iter().zip(sample.raw.thresholds_c) {
        let labels = Labels::one(Label::Sensor, sensor).with(Label::Limit, limit);
        batch.put(m::TEMPERATURE_LIMIT, labels, value.map(celsius));
    }
    batch.put(m::TEMPERATURE_MARGIN, Labels::NONE, sample.raw.margin_c.map(|c| Celsius(c.into())));
}

/// Power draw.
pub fn drawn(milliwatts: Measured<u32>, batch: &mut Batch) {
    batch.put(m::POWER, Labels::NONE, milliwatts.map(|milli| Watts::from_milli(milli.into())));
}

/// Power, its limits, and energy.
pub fn power(sample: &DeviceSample<'_>, batch: &mut Batch) {
    let raw = sample.raw;
    let watts = |milli: u32| Watts::from_milli(milli.into());
    drawn(raw.power_mw, batch);
    batch.put(m::POWER_INSTANT, Labels::NONE, sample.power_instant_mw.map(Watts::from_milli));
    for (limit, value) in [
        ("enforced", raw.limits_mw.enforced),
        ("requested", raw.limits_mw.requested),
        ("default", raw.limits_mw.default),
        ("min", raw.limits_mw.range.map(|(min, _)| min)),
        ("max", raw.limits_mw.range.map(|(_, max)| max)),
    ] {
        batch.put(m::POWER_LIMIT, Labels::one(Label::Limit, limit), value.map(watts));
    }
    batch.put(m::ENERGY, Labels::NONE, sample.counts.energy_mj.map(Joules::from_milli));
}

/// The board's fans, if it has any.
pub fn fans(raw: &Raw, batch: &mut Batch) {
    match &raw.fans_percent {
        Ok(fans) if fans.is_empty() => {
            let none = Fault::new("nvmlDeviceGetNumFans", FaultCode::NoFan);
            batch.put(m::FAN_SPEED, Labels::NONE, Err(none));
        }
        Ok(fans) => {
            for (fan, speed) in (0u32..).zip(fans) {
                let ratio = speed.map(|percent| Ratio::from_percent(percent.into()));
                batch.put(m::FAN_SPEED, Labels::one(Label::Fan, fan), ratio);
            }
        }
        Err(fault) => batch.put(m::FAN_SPEED, Labels::NONE, Err(*fault)),
    }
}
