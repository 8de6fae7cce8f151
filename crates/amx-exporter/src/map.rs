//! From the kernel's units to base units and the catalogue.

use std::{collections::BTreeMap, sync::Arc};

use naming::{
    Bytes, Celsius, Count, FaultCode, Flag, Hertz, Joules, Label, Ratio, Seconds, Watts, catalogue as m,
};
use reading::{Batch, Fault, Identity, Labels, Measured, plausible_celsius};

use crate::{
    cores::CoreReading,
    memory::{Accesses, BYTES_PER_ACCESS},
    raw::Raw,
    throttling::Throttled,
};

/// What one round yields, before units are converted.
pub struct Sample<'a> {
    /// Labels of the info metric.
    pub info: &'a Labels,
    /// Whether the processor hides its AMX units.
    pub amx_missing: Measured<bool>,
    /// Kernel files.
    pub raw: &'a Raw,
    /// What holds the clocks down.
    pub throttled: Throttled,
    /// Events of the cores.
    pub cores: Measured<&'a CoreReading>,
    /// Events of the memory controllers.
    pub accesses: Measured<Accesses>,
}

/// Puts all metrics of a socket into the batch.
pub fn socket(sample: &Sample<'_>, batch: &mut Batch) {
    batch.put(m::DEVICE_INFO, sample.info.clone(), Ok(Flag(true)));
    batch.put(m::AMX_MISSING, Labels::NONE, sample.amx_missing.map(Flag));
    counters(sample, batch);
    heat_and_power(sample, batch);
    throttling(sample, batch);
}

/// Puts what is mandatory of a socket into the batch; its temperature is in m°C.
pub fn mandatory(info: &Labels, temperature: Measured<i64>, batch: &mut Batch) {
    batch.put(m::DEVICE_INFO, info.clone(), Ok(Flag(true)));
    batch.put(m::TEMPERATURE, package(), temperature.and_then(celsius));
}

fn package() -> Labels {
    Labels::one(Label::Sensor, "package")
}

fn celsius(milli: i64) -> Measured<Celsius> {
    plausible_celsius("temp_input", milli as f64 / 1e3).map(Celsius)
}

fn counters(sample: &Sample<'_>, batch: &mut Batch) {
    let reading = sample.cores;
    let ratio = reading.and_then(|reading| reading.amx_ratio).map(Ratio);
    batch.put(m::ENGINE_ACTIVE, Labels::one(Label::Engine, "amx"), ratio);
    let totals = reading.map(|reading| reading.totals);
    let amx = reading.and_then(|reading| reading.amx.map(|()| whole(reading.totals.amx_cycles)));
    batch.put_sum(
        m::CYCLES,
        Labels::one(Label::Kind, "thread"),
        totals.map(|t| Count(whole(t.thread_cycles))),
    );
    let cores = reading.and_then(|reading| reading.cores.map(|()| whole(reading.totals.core_cycles)));
    batch.put_sum(m::CYCLES, Labels::one(Label::Kind, "core"), cores.map(Count));
    batch.put_sum(m::CYCLES, Labels::one(Label::Kind, "amx"), amx.map(Count));
    batch.put_sum(m::INSTRUCTIONS, Labels::NONE, totals.map(|t| Count(whole(t.instructions))));
    let bytes = |accesses: f64| Bytes(whole(accesses * BYTES_PER_ACCESS));
    batch.put_sum(m::MEMORY_READ, Labels::NONE, sample.accesses.map(|accesses| bytes(accesses.reads)));
    batch.put_sum(m::MEMORY_WRITTEN, Labels::NONE, sample.accesses.map(|accesses| bytes(accesses.writes)));
}

/// Sums of counts have fractions where the kernel multiplexed events.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sums of counts are not negative"
)]
fn whole(sum: f64) -> u64 {
    sum.round() as u64
}

fn heat_and_power(sample: &Sample<'_>, batch: &mut Batch) {
    let raw = sample.raw;
    let [now, slowdown, operating] = raw.temperature_mc.map(|measured| measured.and_then(celsius));
    batch.put(m::TEMPERATURE, package(), now);
    batch.put(m::TEMPERATURE_LIMIT, package().with(Label::Limit, "slowdown"), slowdown);
    batch.put(m::TEMPERATURE_LIMIT, package().with(Label::Limit, "operating"), operating);

    let watts = |microwatts: f64| Watts(microwatts / 1e6);
    let joules = |microjoules: u64| Joules(microjoules as f64 / 1e6);
    for (power, energy, of) in
        [(m::POWER, m::ENERGY, raw.energy), (m::MEMORY_POWER, m::MEMORY_ENERGY, raw.memory_energy)]
    {
        batch.put(power, Labels::NONE, of.and_then(|energy| energy.microwatts).map(watts));
        batch.put_sum(energy, Labels::NONE, of.map(|energy| joules(energy.microjoules)));
    }
    for (limit, microwatts) in &raw.limits_uw {
        let limited = microwatts.and_then(|microwatts| match microwatts {
            0 => Err(Fault::new("constraint_power_limit_uw", FaultCode::Zero)),
            _ => Ok(watts(microwatts as f64)),
        });
        batch.put(m::POWER_LIMIT, Labels::one(Label::Limit, *limit), limited);
    }
    batch.put(m::CLOCK, Labels::one(Label::Domain, "core"), raw.clock_khz.map(|khz| Hertz(khz * 1e3)));
    if let Some(age) = raw.clock_age {
        batch.put(m::SLOW_READINGS_AGE, Labels::NONE, Ok(Seconds(age.as_secs_f64())));
    }
    let max = raw.clock_max_khz.map(|khz| Hertz(khz as f64 * 1e3));
    batch.put(m::CLOCK_MAX, Labels::one(Label::Domain, "core"), max);
}

fn throttling(sample: &Sample<'_>, batch: &mut Batch) {
    let throttle = sample.raw.throttle;
    let reason = |word| Labels::one(Label::Reason, word);
    batch.put(m::THROTTLE_ACTIVE, reason("thermal"), sample.throttled.thermal.map(Flag));
    batch.put(m::THROTTLE_ACTIVE, reason("power"), sample.throttled.power.map(Flag));
    for (word, count) in [
        ("thermal", throttle.package_count),
        ("core_thermal", throttle.core_count),
        ("power", throttle.power_count),
    ] {
        batch.put(m::THROTTLE_EVENTS, reason(word), count.map(Count));
    }
    for (word, milliseconds) in [("thermal", throttle.package_ms), ("core_thermal", throttle.core_ms)] {
        batch.put(m::THROTTLE_SECONDS, reason(word), milliseconds.map(|ms| Seconds(ms as f64 / 1e3)));
    }
}

/// Puts the busy share of each core into the batch, as a partition of the socket. The engine has another name
/// than the socket's, because alerts are about the socket: an idle core among busy ones is normal.
pub fn cores(shares: &BTreeMap<u32, f64>, socket: &Identity, batch: &mut Batch) {
    for (core, share) in shares {
        let mut identity = socket.clone();
        identity.partition = Some(format!("core{core}"));
        batch.begin(&Arc::new(identity));
        batch.put(m::ENGINE_ACTIVE, Labels::one(Label::Engine, "amx_core"), Ok(Ratio(*share)));
    }
}
