//! From the kernel's units to base units and the catalogue.

use std::{collections::BTreeMap, sync::Arc};

use naming::{
    Bytes, Celsius, Count, FaultCode, Flag, Hertz, Joules, Label, Ratio, Seconds, Watts, catalogue as m,
};
use reading::{Batch, Fault, Identity, Labels, Measured};

use crate::{cores::Counted, memory::Accesses, rates::Active, raw::Raw};

/// A column access moves a cache line.
const BYTES_PER_ACCESS: f64 = 64.0;
/// No silicon is hotter and still answers.
const CELSIUS_MAX: f64 = 200.0;

/// One round.
pub struct Round<'a> {
    /// Labels of the info metric.
    pub info: &'a Labels,
    /// Files.
    pub raw: &'a Raw,
    /// µW of the package and of its memory.
    pub power_uw: [Measured<f64>; 2],
    /// Throttling.
    pub active: Active,
    /// Core events.
    pub counted: &'a Measured<Counted>,
    /// Memory controller events.
    pub accesses: Measured<Accesses>,
}

/// Puts a whole socket into the batch.
pub fn socket(round: &Round<'_>, batch: &mut Batch) {
    batch.put(m::DEVICE_INFO, round.info.clone(), Ok(Flag(true)));
    counters(round, batch);
    heat_and_power(round, batch);
    throttling(round, batch);
}

fn counters(round: &Round<'_>, batch: &mut Batch) {
    let counted = round.counted.as_ref().map_err(|fault| *fault);
    let ratio = counted.and_then(|counted| counted.amx_ratio).map(Ratio);
    batch.put(m::ENGINE_ACTIVE, Labels::one(Label::Engine, "amx"), ratio);
    let totals = counted.map(|counted| counted.totals);
    let amx = counted.and_then(|counted| counted.amx.map(|()| whole(counted.totals.amx_cycles)));
    batch.put(m::CYCLES, Labels::one(Label::Kind, "thread"), totals.map(|t| Count(whole(t.thread_cycles))));
    let cores = counted.and_then(|counted| counted.cores.map(|()| whole(counted.totals.core_cycles)));
    batch.put(m::CYCLES, Labels::one(Label::Kind, "core"), cores.map(Count));
    batch.put(m::CYCLES, Labels::one(Label::Kind, "amx"), amx.map(Count));
    batch.put(m::INSTRUCTIONS, Labels::NONE, totals.map(|t| Count(whole(t.instructions))));
    let bytes = |accesses: f64| Bytes(whole(accesses * BYTES_PER_ACCESS));
    batch.put(m::MEMORY_READ, Labels::NONE, round.accesses.map(|accesses| bytes(accesses.reads)));
    batch.put(m::MEMORY_WRITTEN, Labels::NONE, round.accesses.map(|accesses| bytes(accesses.writes)));
}

/// A sum of counts, of which scaling may have made fractions.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sums of counts are not negative"
)]
fn whole(sum: f64) -> u64 {
    sum.round() as u64
}

fn heat_and_power(round: &Round<'_>, batch: &mut Batch) {
    let raw = round.raw;
    let celsius = |milli: i64| match milli as f64 / 1e3 {
        celsius if celsius <= CELSIUS_MAX => Ok(Celsius(celsius)),
        _ => Err(Fault::new("temp_input", FaultCode::Over200Celsius)),
    };
    let [now, slowdown, operating] = raw.temperature_mc.map(|got| got.and_then(celsius));
    let package = || Labels::one(Label::Sensor, "package");
    batch.put(m::TEMPERATURE, package(), now);
    batch.put(m::TEMPERATURE_LIMIT, package().with(Label::Limit, "slowdown"), slowdown);
    batch.put(m::TEMPERATURE_LIMIT, package().with(Label::Limit, "operating"), operating);

    let [power, memory_power] = round.power_uw.map(|got| got.map(|microwatts| Watts(microwatts / 1e6)));
    let joules = |microjoules: u64| Joules(microjoules as f64 / 1e6);
    batch.put(m::POWER, Labels::NONE, power);
    batch.put(m::ENERGY, Labels::NONE, raw.energy_uj.map(joules));
    batch.put(m::MEMORY_POWER, Labels::NONE, memory_power);
    batch.put(m::MEMORY_ENERGY, Labels::NONE, raw.memory_energy_uj.map(joules));
    for (limit, microwatts) in &raw.limits_uw {
        let watts = microwatts.and_then(|microwatts| match microwatts {
            0 => Err(Fault::new("constraint_power_limit_uw", FaultCode::Zero)),
            _ => Ok(Watts(microwatts as f64 / 1e6)),
        });
        batch.put(m::POWER_LIMIT, Labels::one(Label::Limit, *limit), watts);
    }
    batch.put(m::CLOCK, Labels::one(Label::Domain, "core"), raw.clock_khz.map(|khz| Hertz(khz * 1e3)));
    let max = raw.clock_max_khz.map(|khz| Hertz(khz as f64 * 1e3));
    batch.put(m::CLOCK_MAX, Labels::one(Label::Domain, "core"), max);
}

fn throttling(round: &Round<'_>, batch: &mut Batch) {
    let throttle = round.raw.throttle;
    let reason = |word| Labels::one(Label::Reason, word);
    batch.put(m::THROTTLE_ACTIVE, reason("thermal"), round.active.thermal.map(Flag));
    batch.put(m::THROTTLE_ACTIVE, reason("power"), round.active.power.map(Flag));
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

/// Puts the busy shares of single cores into the batch, each a partition of the socket. Their engine has a name
/// of its own: rules judge the socket, and a core with other work is no fault.
pub fn cores(shares: &BTreeMap<u32, f64>, socket: &Identity, batch: &mut Batch) {
    for (core, share) in shares {
        let mut identity = socket.clone();
        identity.partition = Some(format!("core{core}"));
        batch.begin(&Arc::new(identity));
        batch.put(m::ENGINE_ACTIVE, Labels::one(Label::Engine, "amx_core"), Ok(Ratio(*share)));
    }
}
