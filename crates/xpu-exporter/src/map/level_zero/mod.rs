//! What Level Zero reports of a device.

mod tables;
#[cfg(test)]
mod tests;

use level_zero_sys::{MemoryState, PciSpeed, value as v};
use naming::{
    Bytes, BytesPerSecond, Celsius, Count, FaultCode, Flag, Joules, Label, MetricOf, Quantity, Ratio,
    Seconds, Watts, catalogue as m,
};
use reading::{Batch, Fault, LabelValue, Labels, Measured, plausible_celsius};

use super::{Identities, highest, megahertz, pcie_link};
use crate::level_zero::{EngineSample, MemorySample, PortSample, PowerRange, Sample};
use tables::{
    CACHE_ERRORS, COMBINED_ENGINES, DOMAINS, ENGINES, LIMITS, LOWEST_SENSORS, RAS_CATEGORIES, REASONS,
    REASONS_ALWAYS_REPORTED, SENSORS, named,
};

/// Puts one round of a device into the batch.
pub fn put(identities: &Identities, sample: &Sample, batch: &mut Batch) {
    batch.begin(&identities.card);
    engines(identities, sample, batch);
    batch.put(m::COMPUTE_PROCESSES, Labels::NONE, sample.processes.map(Count));
    memories(identities, sample, batch);
    power(sample, batch);
    clocks(identities, sample, batch);
    heat(identities, sample, batch);
    pcie(sample, batch);
    ports(identities, &sample.ports, batch);
    health(identities, sample, batch);
    missing(sample, batch);
}

/// Why components that the driver did not describe have no series.
fn missing(sample: &Sample, batch: &mut Batch) {
    let missing = &sample.missing;
    let none = |call, is_empty: bool| is_empty.then_some(Fault::new(call, FaultCode::None));
    let fans = missing.fans.or_else(|| none("zesDeviceEnumFans", sample.fans.is_empty()));
    let ports = missing.ports.or_else(|| none("zesDeviceEnumFabricPorts", sample.ports.is_empty()));
    absent(m::CLOCK, missing.frequencies, batch);
    absent(m::TEMPERATURE, missing.temperatures, batch);
    absent(m::FAN_REVOLUTIONS, fans, batch);
    absent(m::FAN_SPEED, fans, batch);
    absent(m::LINK_UP, ports, batch);
    absent(m::LINK_ERRORS, ports, batch);
}

fn absent<T: Quantity>(metric: MetricOf<T>, fault: Option<Fault>, batch: &mut Batch) {
    if let Some(fault) = fault {
        batch.put(metric, Labels::NONE, Err(fault));
    }
}

/// What is counted by the RAS error sets.
const OF_RAS: [MetricOf<Count>; 3] = [m::ERRORS, m::ERRORS_CORRECTED, m::ECC_ERRORS];

/// Why the values that only Level Zero reports are absent where it is not open.
pub fn put_unopened(identities: &Identities, integrated: bool, why: Fault, batch: &mut Batch) {
    batch.begin(&identities.card);
    batch.put(m::RECOVERY_ACTION, Labels::NONE, Err(why));
    for count in OF_RAS {
        batch.put(count, Labels::NONE, Err(why));
    }
    batch.put(m::THROTTLE_SECONDS, Labels::NONE, Err(why));
    let why = if integrated { Fault::new(why.call, FaultCode::Integrated) } else { why };
    for ratio in [m::MEMORY_BANDWIDTH_ACTIVE, m::FAN_SPEED] {
        batch.put(ratio, Labels::NONE, Err(why));
    }
    for bytes in [m::MEMORY_READ, m::MEMORY_WRITTEN] {
        batch.put(bytes, Labels::NONE, Err(why));
    }
    for bytes in [m::LINK_RECEIVE, m::LINK_TRANSMIT] {
        batch.put(bytes, pcie_link(), Err(why));
    }
    for flag in [m::LINK_UP, m::ECC_ENABLED] {
        batch.put(flag, Labels::NONE, Err(why));
    }
    for count in [m::LINK_ERRORS, m::PCIE_REPLAYS] {
        batch.put(count, Labels::NONE, Err(why));
    }
}

/// Puts what is known of a card whose firmware is in survivability mode: it must be repaired, and Level Zero
/// has no values.
pub fn put_in_survivability_mode(identities: &Identities, fault: Fault, batch: &mut Batch) {
    batch.begin(&identities.card);
    recovery(v::RESET_REPAIR, batch);
    batch.put(m::MEMORY_BANDWIDTH_ACTIVE, Labels::NONE, Err(fault));
}

/// What must be done, by `zes_reset_reason_flags_t`.
fn recovery(reset: u32, batch: &mut Batch) {
    for (action, active) in [
        ("none", reset == 0),
        ("gpu_reset", reset & v::RESET_WEDGED != 0),
        ("repair", reset & v::RESET_REPAIR != 0),
    ] {
        batch.put(m::RECOVERY_ACTION, Labels::one(Label::Action, action), Ok(Flag(active)));
    }
}

/// The mean over the engines of each kind, and the busiest kind.
fn engines(identities: &Identities, sample: &Sample, batch: &mut Batch) {
    let groups = match &sample.engines {
        Ok(groups) => groups,
        Err(fault) => {
            batch.put(m::UTILIZATION, Labels::NONE, Err(*fault));
            batch.put(m::ENGINE_ACTIVE, Labels::NONE, Err(*fault));
            return;
        }
    };
    let mut kinds: Vec<(Option<u32>, u32)> = groups.iter().map(|group| (group.tile, group.kind)).collect();
    kinds.retain(|(_, kind)| !COMBINED_ENGINES.contains(kind));
    kinds.sort_unstable();
    kinds.dedup();
    let mut busiest: Measured<f64> = Err(Fault::new("zesEngineGetActivity", FaultCode::NoSingleEngine));
    for (tile, kind) in kinds {
        let of_kind: Vec<&EngineSample> =
            groups.iter().filter(|group| (group.tile, group.kind) == (tile, kind)).collect();
        let sum: Measured<f64> = of_kind.iter().map(|group| group.busy).sum();
        let mean = sum.map(|sum| sum / of_kind.len() as f64);
        // An engine without a value may be the busiest.
        busiest = match busiest {
            Err(fault) if fault.code == FaultCode::NoSingleEngine => mean,
            most => most.and_then(|most| Ok(f64::max(most, mean?))),
        };
        batch.begin(identities.of(tile));
        batch.put(m::ENGINE_ACTIVE, Labels::one(Label::Engine, named(&ENGINES, kind)), mean.map(Ratio));
    }
    batch.begin(&identities.card);
    batch.put(m::UTILIZATION, Labels::NONE, busiest.map(Ratio));
}

fn memories(identities: &Identities, sample: &Sample, batch: &mut Batch) {
    let modules = match &sample.memories {
        Ok(modules) => modules,
        Err(fault) => {
            for metric in [m::MEMORY_TOTAL, m::MEMORY_USED, m::MEMORY_FREE, m::MEMORY_READ, m::MEMORY_WRITTEN]
            {
                batch.put(metric, Labels::NONE, Err(*fault));
            }
            batch.put(m::MEMORY_BANDWIDTH_ACTIVE, Labels::NONE, Err(*fault));
            return;
        }
    };
    let mut tiles: Vec<_> = modules.iter().map(|module| module.tile).collect();
    tiles.sort_unstable();
    tiles.dedup();
    for tile in tiles {
        let of_tile: Vec<_> = modules.iter().filter(|module| module.tile == tile).collect();
        batch.begin(identities.of(tile));
        memory(&of_tile, batch);
    }
    batch.begin(&identities.card);
}

/// The modules of one card or tile together.
fn memory(modules: &[&MemorySample], batch: &mut Batch) {
    let sum = |value: &dyn Fn(&MemorySample) -> Measured<u64>| -> Measured<u64> {
        modules.iter().map(|module| value(module)).sum()
    };
    let contradiction = Fault::new("zesMemoryGetState", FaultCode::SizesDisagree);
    let size = |module: &MemorySample| match (module.physical_bytes, module.state) {
        (0, Ok(MemoryState { size: 0, .. })) => Err(Fault::new("zesMemoryGetState", FaultCode::Unknown)),
        (0, state) => state.map(|state| state.size),
        (physical, _) => Ok(physical),
    };
    // By the specification, `size` can be allocated and `free` of it is left. The driver asks the kernel,
    // which reports all of it as free to a process without the capability, though the driver itself always
    // uses some.
    let hidden = Fault::new("zesMemoryGetState", FaultCode::NeedsCapPerfmon);
    let used = |module: &MemorySample| {
        let state = module.state?;
        match state.size.checked_sub(state.free).ok_or(contradiction)? {
            0 => Err(hidden),
            used => Ok(used),
        }
    };
    batch.put(m::MEMORY_TOTAL, Labels::NONE, sum(&size).map(Bytes));
    batch.put(m::MEMORY_USED, Labels::NONE, sum(&used).map(Bytes));
    let free = sum(&|module| used(module).and(module.state.map(|state| state.free)));
    batch.put(m::MEMORY_FREE, Labels::NONE, free.map(Bytes));
    batch.put(m::MEMORY_READ, Labels::NONE, sum(&|module| module.moved[0]).map(Bytes));
    batch.put(m::MEMORY_WRITTEN, Labels::NONE, sum(&|module| module.moved[1]).map(Bytes));
    let active: Measured<f64> = modules.iter().map(|module| module.active).sum();
    let active = active.map(|sum| Ratio(sum / modules.len() as f64));
    batch.put(m::MEMORY_BANDWIDTH_ACTIVE, Labels::NONE, active);
}

fn power(sample: &Sample, batch: &mut Batch) {
    let energy = sample.energy;
    batch.put_sum(m::ENERGY, Labels::NONE, energy.map(|energy| Joules(energy.total as f64 * 1e-6)));
    let power = energy.and_then(|energy| energy.power());
    batch.put(m::POWER, Labels::NONE, power.map(|micro| Watts(micro * 1e-6)));
    if let Ok(range) = sample.limit_range {
        power_range(range, batch);
    }
    match &sample.limits {
        Err(fault) => batch.put(m::POWER_LIMIT, Labels::NONE, Err(*fault)),
        Ok(limits) => {
            // The Linux driver does not report whether a limit is enabled (compute-runtime, `getLimitsExt`);
            // one that is switched off is 0.
            let of_power = limits.iter().filter(|limit| limit.unit == v::LIMIT_POWER);
            let of_power: Vec<_> = of_power.map(|limit| (limit.level, power_limit(limit.limit))).collect();
            for (level, limit) in &of_power {
                batch.put(m::POWER_LIMIT, Labels::one(Label::Limit, named(&LIMITS, *level)), *limit);
            }
            // A card without a sustained limit, or one of 0, is held at the limit of bursts.
            let of = |level| of_power.iter().find(|limit| limit.0 == level).map(|(_, limit)| *limit);
            let is_off = |limit: Measured<Watts>| limit.is_err_and(|fault| fault.code == FaultCode::Disabled);
            if of(v::LEVEL_SUSTAINED).is_none_or(is_off)
                && let Some(Ok(burst)) = of(v::LEVEL_BURST)
            {
                let enforced = named(&LIMITS, v::LEVEL_SUSTAINED);
                batch.put(m::POWER_LIMIT, Labels::one(Label::Limit, enforced), Ok(burst));
            }
        }
    }
}

/// The limits that the driver knows of the part; it writes -1 or 0 where it knows none.
fn power_range(range: PowerRange, batch: &mut Batch) {
    for (limit, milli) in [("default", range.default), ("min", range.min), ("max", range.max)] {
        let none = Fault::new("zesPowerGetProperties", FaultCode::None);
        let known = u64::try_from(milli).ok().filter(|milli| *milli > 0).ok_or(none);
        batch.put(m::POWER_LIMIT, Labels::one(Label::Limit, limit), known.map(Watts::from_milli));
    }
}

/// A limit in mW; 0 is switched off, and a negative one is unknown.
fn power_limit(milli: i32) -> Measured<Watts> {
    let absent = |code| Fault::new("zesPowerGetLimitsExt", code);
    match u64::try_from(milli).map_err(|_| absent(FaultCode::Unknown))? {
        0 => Err(absent(FaultCode::Disabled)),
        milli => Ok(Watts::from_milli(milli)),
    }
}

fn clocks(identities: &Identities, sample: &Sample, batch: &mut Batch) {
    const CALL: &str = "zesFrequencyGetState";
    let mut tiles: Vec<_> = sample.frequencies.iter().map(|domain| domain.tile).collect();
    tiles.sort_unstable();
    tiles.dedup();
    for tile in tiles {
        batch.begin(identities.of(tile));
        // A domain that is not known may be the one that throttles.
        let mut reasons: Measured<u32> = sample.missing.frequencies.map_or(Ok(0), Err);
        for domain in sample.frequencies.iter().filter(|domain| domain.tile == tile) {
            let label = || Labels::one(Label::Domain, named(&DOMAINS, domain.kind));
            let actual = domain.state.and_then(|state| megahertz(CALL, state.actual));
            batch.put(m::CLOCK, label(), actual);
            batch.put(m::CLOCK_MAX, label(), highest("zesFrequencyGetProperties", domain.max_mhz));
            reasons = reasons.and_then(|reasons| domain.state.map(|state| reasons | state.throttle));
            if domain.kind == v::CLOCK_GPU {
                let seconds = domain.throttled_us.map(|micro| Seconds(micro as f64 / 1e6));
                batch.put(m::THROTTLE_SECONDS, Labels::one(Label::Reason, "any"), seconds);
            }
        }
        match reasons {
            Err(fault) => batch.put(m::THROTTLE_ACTIVE, Labels::NONE, Err(fault)),
            Ok(active) => throttle(active, batch),
        }
    }
    batch.begin(&identities.card);
}

fn throttle(active: u32, batch: &mut Batch) {
    let mut reported: Vec<LabelValue> = Vec::new();
    for bit in (0..u32::BITS).map(|bit| 1 << bit).filter(|bit| (active | REASONS_ALWAYS_REPORTED) & bit != 0)
    {
        let reason = named(&REASONS, bit);
        // Two bits stand for the same reason.
        if !reported.contains(&reason) {
            reported.push(reason);
            let same = REASONS.iter().filter(|(_, name)| reason == LabelValue::Word(name));
            let mask = same.fold(bit, |mask, (bit, _)| mask | bit);
            batch.put(m::THROTTLE_ACTIVE, Labels::one(Label::Reason, reason), Ok(Flag(active & mask != 0)));
        }
    }
}

fn heat(identities: &Identities, sample: &Sample, batch: &mut Batch) {
    const LIMIT: &str = "zesTemperatureGetProperties";
    let mut sensors: Vec<_> = sample.temperatures.iter().map(|sensor| (sensor.tile, sensor.kind)).collect();
    sensors.retain(|(_, kind)| !LOWEST_SENSORS.contains(kind));
    sensors.sort_unstable();
    sensors.dedup();
    for sensor in sensors {
        // Of several sensors of one kind, the hottest.
        let alike = || sample.temperatures.iter().filter(|one| (one.tile, one.kind) == sensor);
        let celsius = alike().map(|one| plausible_celsius("zesTemperatureGetState", one.celsius?));
        let hottest = celsius.reduce(|one, other| Ok(one?.max(other?)));
        batch.begin(identities.of(sensor.0));
        let none = Fault::new("zesTemperatureGetState", FaultCode::NoSensor);
        batch.put(
            m::TEMPERATURE,
            Labels::one(Label::Sensor, named(&SENSORS, sensor.1)),
            hottest.unwrap_or(Err(none)).map(Celsius),
        );
        // The first of them reaches its limit first.
        let limits = alike().map(|one| one.max_celsius).filter(|max| *max > 0.0);
        let none = Fault::new(LIMIT, FaultCode::None);
        let lowest = limits.min_by(f64::total_cmp).ok_or(none);
        let labels = Labels::one(Label::Sensor, named(&SENSORS, sensor.1)).with(Label::Limit, "max");
        let limit = lowest.and_then(|max| plausible_celsius(LIMIT, max));
        batch.put(m::TEMPERATURE_LIMIT, labels, limit.map(Celsius));
    }
    batch.begin(&identities.card);
    for (fan, rpm, most) in &sample.fans {
        let rpm = rpm
            .and_then(|rpm| u64::try_from(rpm).map_err(|_| Fault::new("zesFanGetState", FaultCode::Unknown)));
        batch.put(m::FAN_REVOLUTIONS, Labels::one(Label::Fan, *fan), rpm.map(Count));
        let unknown = Err(Fault::new("zesFanGetProperties", FaultCode::NoMaximum));
        let ratio = |rpm| Ratio(rpm as f64 / f64::from(*most));
        let ratio = if *most > 0 { rpm.map(ratio) } else { unknown };
        batch.put(m::FAN_SPEED, Labels::one(Label::Fan, *fan), ratio);
    }
}

fn pcie(sample: &Sample, batch: &mut Batch) {
    batch.put(m::LINK_RECEIVE, pcie_link(), sample.pcie_bytes[0].map(Bytes));
    batch.put(m::LINK_TRANSMIT, pcie_link(), sample.pcie_bytes[1].map(Bytes));
    batch.put(m::PCIE_REPLAYS, Labels::NONE, sample.pcie_replays.map(Count));
    let known = |call, speed: Measured<PciSpeed>, field: fn(PciSpeed) -> i32| {
        let unknown = Fault::new(call, FaultCode::Unknown);
        speed.and_then(|speed| u64::try_from(field(speed)).ok().filter(|n| *n > 0).ok_or(unknown)).map(Count)
    };
    let [now, max] = sample.pcie_speeds;
    let (state, properties) = ("zesDevicePciGetState", "zesDevicePciGetProperties");
    batch.put(m::PCIE_GENERATION, Labels::NONE, known(state, now, |speed| speed.generation));
    batch.put(m::PCIE_WIDTH, Labels::NONE, known(state, now, |speed| speed.width));
    batch.put(m::PCIE_GENERATION_MAX, Labels::NONE, known(properties, max, |speed| speed.generation));
    batch.put(m::PCIE_WIDTH_MAX, Labels::NONE, known(properties, max, |speed| speed.width));
}

fn ports(identities: &Identities, ports: &[PortSample], batch: &mut Batch) {
    for port in ports {
        batch.begin(identities.of(port.tile));
        let labels = || Labels::one(Label::Link, port.number).with(Label::Kind, "xelink");
        let up = port.state.and_then(|state| match state.status {
            v::PORT_HEALTHY | v::PORT_DEGRADED => Ok(Flag(true)),
            v::PORT_FAILED | v::PORT_DISABLED => Ok(Flag(false)),
            _ => Err(Fault::new("zesFabricPortGetState", FaultCode::Unknown)),
        });
        batch.put(m::LINK_UP, labels(), up);
        let speed = port.state.and_then(|state| {
            let bits = state.receive.bit_rate.max(0) as f64 * f64::from(state.receive.width.max(0));
            if bits > 0.0 {
                Ok(bits / 8.0)
            } else {
                Err(Fault::new("zesFabricPortGetState", FaultCode::Unknown))
            }
        });
        batch.put(m::LINK_BANDWIDTH, labels(), speed.map(BytesPerSecond));
        batch.put(m::LINK_RECEIVE, labels(), port.moved[0].map(Bytes));
        batch.put(m::LINK_TRANSMIT, labels(), port.moved[1].map(Bytes));
        for (error, count) in [
            ("link_failure", port.errors.map(|errors| errors.failures)),
            ("firmware_communication", port.errors.map(|errors| errors.firmware_communication)),
            ("firmware", port.errors.map(|errors| errors.firmware)),
            ("degraded", port.errors.map(|errors| errors.degradations)),
        ] {
            batch.put(m::LINK_ERRORS, labels().with(Label::Error, error), count.map(Count));
        }
    }
    batch.begin(&identities.card);
}

fn health(identities: &Identities, sample: &Sample, batch: &mut Batch) {
    let unknown = Fault::new("zesDeviceGetEccState", FaultCode::Unknown);
    let ecc = sample.ecc.and_then(|ecc| match ecc.current {
        v::ECC_ENABLED => Ok(Flag(true)),
        v::ECC_DISABLED => Ok(Flag(false)),
        _ => Err(unknown),
    });
    batch.put(m::ECC_ENABLED, Labels::NONE, ecc);
    match sample.reset {
        Err(fault) => batch.put(m::RECOVERY_ACTION, Labels::NONE, Err(fault)),
        Ok(reset) => recovery(reset, batch),
    }
    let none = Fault::new("zesDeviceEnumRasErrorSets", FaultCode::None);
    if let Some(fault) = sample.missing.ras.or_else(|| sample.ras.is_empty().then_some(none)) {
        for count in OF_RAS {
            batch.put(count, Labels::NONE, Err(fault));
        }
    }
    for (tile, kind, counts) in &sample.ras {
        batch.begin(identities.of(*tile));
        // Corrected errors must not page anybody.
        let (metric, severity) = match *kind {
            v::RAS_CORRECTABLE => (m::ERRORS_CORRECTED, "corrected"),
            _ => (m::ERRORS, "uncorrectable"),
        };
        for (category, name) in RAS_CATEGORIES.into_iter().enumerate() {
            let count = counts.map(|counts| Count(counts[category]));
            batch.put(metric, Labels::one(Label::Kind, "ras").with(Label::Code, name), count);
        }
        let labels = Labels::one(Label::Severity, severity).with(Label::Scope, "volatile");
        batch.put(m::ECC_ERRORS, labels, counts.map(|counts| Count(counts[CACHE_ERRORS])));
    }
    batch.begin(&identities.card);
}
