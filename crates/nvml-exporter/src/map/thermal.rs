//! Temperatures, power and fans.

use naming::{Celsius, FaultCode, Flag, Joules, Label, Ratio, Watts, catalogue as m};
use reading::{Batch, Fault, Labels, Measured};

use super::DeviceSample;
use crate::raw::{Profiles, Raw, fields as f};

/// Limits of [`Rare::margin_limits_c`](crate::raw::Rare::margin_limits_c), with sensor and limit of the
/// temperature at which each is reached.
const LIMITS: [(&str, &str, &str); 4] = [
    ("slowdown", "gpu", "slowdown"),
    ("shutdown", "gpu", "shutdown"),
    ("operating", "gpu", "operating"),
    ("memory_operating", "memory", "operating"),
];

/// nvml.h, `nvmlPowerProfileType_t`, by value.
const POWER_PROFILES: [&str; 25] = [
    "max_p",
    "max_q",
    "compute",
    "memory_bound",
    "network",
    "balanced",
    "llm_inference",
    "llm_training",
    "rbm",
    "dcpcie",
    "hmma_sparse",
    "hmma_dense",
    "sync_balanced",
    "hpc",
    "mig",
    "max_q_1",
    "network_bound",
    "high_throughput_inference",
    "medium_throughput_inference",
    "low_latency_inference",
    "training",
    "inference",
    "max_q_2",
    "max_q_3",
    "low_priority_background",
];

/// The die's temperature.
pub fn die(celsius: Measured<f64>, batch: &mut Batch) {
    batch.put(m::TEMPERATURE, Labels::one(Label::Sensor, "gpu"), celsius.map(Celsius));
}

/// No sensor changes by more between two calls of one round.
const FRACTION_MAX_C: f64 = 2.0;

/// The die's temperature with its fractions, where the driver has them and they fit the whole degrees: nvml.h names
/// no scale.
fn with_fractions(whole: Measured<u32>, exact: Measured<f64>) -> Measured<f64> {
    let whole = f64::from(whole?);
    Ok(exact.ok().filter(|exact| (exact - whole).abs() <= FRACTION_MAX_C).unwrap_or(whole))
}

/// Temperatures and their limits.
pub fn temperatures(sample: &DeviceSample<'_>, batch: &mut Batch) {
    let celsius = |c: u32| Celsius(c.into());
    let exact = sample.fields.temperature(f::NVML_FI_DEV_GPU_TEMP);
    die(with_fractions(sample.raw.temperature_c, exact), batch);
    let memory = sample.fields.memory_temperature();
    batch.put(m::TEMPERATURE, Labels::one(Label::Sensor, "memory"), memory.map(celsius));
    let signed = |c: i32| Celsius(c.into());
    for (place, (margin_limit, sensor, limit)) in LIMITS.into_iter().enumerate() {
        let margin = sample.rare.margin_limits_c[place];
        batch.put(m::TEMPERATURE_MARGIN_LIMIT, Labels::one(Label::Limit, margin_limit), margin.map(signed));
        let threshold = sample.rare.thresholds_c[place];
        let temperature = match (threshold, margin) {
            // Not asked for, because the part has its limits as margins: the die's temperature when what is left
            // of the margin is used up.
            (Err(fault), Ok(limit)) if fault.code == FaultCode::NotAsked => {
                sample.raw.temperature_c.and_then(|die| {
                    let left = sample.raw.margin_c? - limit;
                    Ok(Celsius(f64::from(die) + f64::from(left)))
                })
            }
            (Err(fault), Err(reason)) if fault.code == FaultCode::NotAsked => Err(reason),
            (threshold, _) => threshold.map(celsius),
        };
        let labels = Labels::one(Label::Sensor, sensor).with(Label::Limit, limit);
        batch.put(m::TEMPERATURE_LIMIT, labels, temperature);
    }
    batch.put(m::TEMPERATURE_MARGIN, Labels::NONE, sample.raw.margin_c.map(signed));
}

/// Profiles for kinds of work, of those that the device has.
pub fn profiles(profiles: Measured<Profiles>, batch: &mut Batch) {
    let profiles = match profiles {
        Ok(profiles) => profiles,
        Err(fault) => {
            batch.put(m::POWER_PROFILE_ENFORCED, Labels::NONE, Err(fault));
            return;
        }
    };
    let has = |mask: u32, number: usize| mask >> number & 1 == 1;
    let known = POWER_PROFILES.into_iter().enumerate();
    for (number, name) in known.filter(|(number, _)| has(profiles.supported, *number)) {
        let labels = || Labels::one(Label::Profile, name);
        batch.put(m::POWER_PROFILE_REQUESTED, labels(), Ok(Flag(has(profiles.requested, number))));
        batch.put(m::POWER_PROFILE_ENFORCED, labels(), Ok(Flag(has(profiles.enforced, number))));
    }
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

#[cfg(test)]
mod tests {
    use naming::FaultCode;
    use reading::Fault;

    use super::with_fractions;

    #[test]
    fn fractions_refine_whole_degrees_and_replace_none() {
        let fault = Fault::new("call", FaultCode::Blank);
        assert_eq!(with_fractions(Ok(45), Ok(45.375)), Ok(45.375));
        assert_eq!(with_fractions(Ok(45), Ok(44.5)), Ok(44.5));
        assert_eq!(with_fractions(Ok(45), Err(fault)), Ok(45.0));
        // In tenths, and of a sensor that cannot be read.
        assert_eq!(with_fractions(Ok(15), Ok(150.0)), Ok(15.0));
        assert_eq!(with_fractions(Ok(45), Ok(0.0)), Ok(45.0));
        assert_eq!(with_fractions(Err(fault), Ok(45.375)), Err(fault));
    }
}
