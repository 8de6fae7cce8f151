//! What Level Zero told.

use level_zero_sys::{MemoryState, PciSpeed, value as v};
use naming::{
    Bytes, BytesPerSecond, Celsius, Count, FaultCode, Flag, Joules, Label, Ratio, Watts, catalogue as m,
};
use reading::{Batch, Fault, LabelValue, Labels};

use super::{Names, by, highest, megahertz, pcie_link, plausible};
use crate::{
    Got,
    level_zero::{EngineRound, MemoryRound, PortRound, Round},
};

/// `zes_engine_group_t` of single engines: groups of them would count twice.
const ENGINES: [(u32, &str); 7] = [
    (v::ENGINE_COMPUTE, "compute"),
    (v::ENGINE_RENDER, "render"),
    (v::ENGINE_DECODE, "decode"),
    (v::ENGINE_ENCODE, "encode"),
    (v::ENGINE_COPY, "copy"),
    (v::ENGINE_ENHANCE, "enhance"),
    (v::newer::ENGINE_CODEC, "media"),
];

/// `zes_freq_domain_t`.
const DOMAINS: [(u32, &str); 3] =
    [(v::CLOCK_GPU, "graphics"), (v::CLOCK_MEMORY, "memory"), (v::newer::CLOCK_MEDIA, "video")];

/// `zes_temp_sensors_t`; the lowest of several (`*_MIN`) is nothing to watch.
const SENSORS: [(u32, &str); 5] = [
    (v::SENSOR_GLOBAL, "hottest"),
    (v::SENSOR_GPU, "gpu"),
    (v::SENSOR_MEMORY, "memory"),
    (v::newer::SENSOR_BOARD, "board"),
    (v::newer::SENSOR_REGULATOR, "voltage_regulator"),
];
const LOWEST: [u32; 4] = [3, 4, 5, 7];

/// `zes_power_level_t`, in the words of the kernel's limits.
const LIMITS: [(u32, &str); 3] =
    [(v::LEVEL_SUSTAINED, "enforced"), (v::LEVEL_BURST, "burst"), (v::LEVEL_PEAK, "peak")];

/// `zes_freq_throttle_reason_flag_t`: the first four in the kernel's words, which the driver makes them from.
const REASONS: [(u32, &str); 10] = [
    (v::THROTTLE_AVERAGE_POWER, "pl1"),
    (v::THROTTLE_BURST_POWER, "pl2"),
    (v::THROTTLE_CURRENT, "pl4"),
    (v::THROTTLE_THERMAL, "thermal"),
    (v::THROTTLE_SUPPLY, "psu_alert"),
    (v::THROTTLE_SOFTWARE_RANGE, "sw_range"),
    (v::THROTTLE_HARDWARE_RANGE, "hw_range"),
    (v::newer::THROTTLE_VOLTAGE, "voltage"),
    (v::newer::THROTTLE_HEAT, "thermal"),
    (v::newer::THROTTLE_POWER, "power"),
];
/// Those that every driver tells, and which so are 0 while they are not active.
const REASONS_TOLD: u32 =
    v::THROTTLE_AVERAGE_POWER | v::THROTTLE_BURST_POWER | v::THROTTLE_CURRENT | v::THROTTLE_THERMAL;

/// `zes_ras_error_cat_t`, by value.
const CATEGORIES: [&str; 7] = [
    "reset",
    "programming_errors",
    "driver_errors",
    "compute_errors",
    "non_compute_errors",
    "cache_errors",
    "display_errors",
];
const CACHE: usize = 5;

/// What a value of an enumeration is called; one that came after this was written keeps its number.
fn named(table: &[(u32, &'static str)], value: u32) -> LabelValue {
    let known = table.iter().find(|(known, _)| *known == value);
    known.map_or(LabelValue::Number(value), |(_, name)| LabelValue::Word(name))
}

/// Puts a whole round into the batch.
pub fn put(names: &Names, round: &Round, batch: &mut Batch) {
    batch.begin(&names.card);
    engines(names, round, batch);
    memories(names, round, batch);
    power(round, batch);
    clocks(names, round, batch);
    heat(names, round, batch);
    pcie(round, batch);
    ports(names, &round.ports, batch);
    health(names, round, batch);
}

/// What only Level Zero tells of a card, where it is not open: why.
pub fn put_unopened(names: &Names, integrated: bool, why: FaultCode, batch: &mut Batch) {
    let fault = Fault::new("level_zero", why);
    batch.begin(&names.card);
    batch.put(m::RECOVERY_ACTION, Labels::NONE, Err(fault));
    if !integrated {
        batch.put(m::MEMORY_BANDWIDTH_ACTIVE, Labels::NONE, Err(fault));
        batch.put(m::MEMORY_READ, Labels::NONE, Err(fault));
        batch.put(m::MEMORY_WRITTEN, Labels::NONE, Err(fault));
        batch.put(m::LINK_RECEIVE, pcie_link(), Err(fault));
        batch.put(m::LINK_TRANSMIT, pcie_link(), Err(fault));
        batch.put(m::ECC_ENABLED, Labels::NONE, Err(fault));
    }
}

/// The means of the engines of each kind, and the busiest kind.
fn engines(names: &Names, round: &Round, batch: &mut Batch) {
    let groups = match &round.engines {
        Ok(groups) => groups,
        Err(fault) => {
            batch.put(m::UTILIZATION, Labels::NONE, Err(*fault));
            batch.put(m::ENGINE_ACTIVE, Labels::NONE, Err(*fault));
            return;
        }
    };
    let groups_of_many =
        [v::ENGINE_ALL, v::ENGINE_COMPUTE_ALL, v::ENGINE_MEDIA_ALL, v::ENGINE_COPY_ALL, 10, 11, 12, 13];
    let mut kinds: Vec<(Option<u32>, u32)> = groups.iter().map(|group| (group.tile, group.kind)).collect();
    kinds.retain(|(_, kind)| !groups_of_many.contains(kind));
    kinds.sort_unstable();
    kinds.dedup();
    let mut busiest: Got<f64> = Err(Fault::new("zesEngineGetActivity", FaultCode::NoSingleEngine));
    for (tile, kind) in kinds {
        let of_kind: Vec<&EngineRound> =
            groups.iter().filter(|group| (group.tile, group.kind) == (tile, kind)).collect();
        let sum: Got<f64> = of_kind.iter().map(|group| group.busy).sum();
        let mean = sum.map(|sum| sum / of_kind.len() as f64);
        busiest = match (busiest, mean) {
            (Ok(most), Ok(mean)) => Ok(most.max(mean)),
            (Err(_), mean) => mean,
            (most, Err(_)) => most,
        };
        batch.begin(names.of(tile));
        batch.put(m::ENGINE_ACTIVE, Labels::one(Label::Engine, named(&ENGINES, kind)), mean.map(Ratio));
    }
    batch.begin(&names.card);
    batch.put(m::UTILIZATION, Labels::NONE, busiest.map(Ratio));
}

fn memories(names: &Names, round: &Round, batch: &mut Batch) {
    let modules = match &round.memories {
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
        batch.begin(names.of(tile));
        memory(&of_tile, batch);
    }
    batch.begin(&names.card);
}

/// The modules of one card or tile together.
fn memory(modules: &[&MemoryRound], batch: &mut Batch) {
    let sum = |value: &dyn Fn(&MemoryRound) -> Got<u64>| -> Got<u64> {
        modules.iter().map(|module| value(module)).sum()
    };
    let untrue = Fault::new("zesMemoryGetState", FaultCode::SizesDisagree);
    let size = |module: &MemoryRound| match (module.physical_bytes, module.state) {
        (0, Ok(MemoryState { size: 0, .. })) => Err(Fault::new("zesMemoryGetState", FaultCode::Unknown)),
        (0, state) => state.map(|state| state.size),
        (physical, _) => Ok(physical),
    };
    // The specification says that `size` is what can be allocated, of which `free` is left. The driver asks the
    // kernel, which calls all of it free where the caller may not know, though a driver itself always uses some.
    let hidden = Fault::new("zesMemoryGetState", FaultCode::NeedsCapPerfmon);
    let used = |module: &MemoryRound| {
        let state = module.state?;
        match state.size.checked_sub(state.free).ok_or(untrue)? {
            0 => Err(hidden),
            used => Ok(used),
        }
    };
    batch.put(m::MEMORY_TOTAL, Labels::NONE, sum(&size).map(Bytes));
    batch.put(m::MEMORY_USED, Labels::NONE, sum(&used).map(Bytes));
    let free = sum(&|module| used(module).and(module.state.map(|state| state.free)));
    batch.put(m::MEMORY_FREE, Labels::NONE, free.map(Bytes));
    let read = sum(&|module| module.bandwidth.map(|bandwidth| bandwidth.read));
    batch.put(m::MEMORY_READ, Labels::NONE, read.map(Bytes));
    let written = sum(&|module| module.bandwidth.map(|bandwidth| bandwidth.written));
    batch.put(m::MEMORY_WRITTEN, Labels::NONE, written.map(Bytes));
    let active: Got<f64> = modules.iter().map(|module| module.active).sum();
    let active = active.map(|sum| Ratio(sum / modules.len() as f64));
    batch.put(m::MEMORY_BANDWIDTH_ACTIVE, Labels::NONE, active);
}

fn power(round: &Round, batch: &mut Batch) {
    batch.put(m::ENERGY, Labels::NONE, round.energy_uj.map(|micro| Joules(micro as f64 * 1e-6)));
    batch.put(m::POWER, Labels::NONE, round.power_uw.map(|micro| Watts(micro * 1e-6)));
    match &round.limits {
        Err(fault) => batch.put(m::POWER_LIMIT, Labels::NONE, Err(*fault)),
        Ok(limits) => {
            // Whether a limit is enabled is left unsaid by the Linux driver (compute-runtime, `getLimitsExt`): one of
            // 0 is the kernel's word for one that is switched off.
            for limit in limits.iter().filter(|limit| limit.unit == v::LIMIT_POWER) {
                let milli = match u64::try_from(limit.limit) {
                    Ok(0) => Err(Fault::new("zesPowerGetLimitsExt", FaultCode::Disabled)),
                    Ok(milli) => Ok(Watts::from_milli(milli)),
                    Err(_) => Err(Fault::new("zesPowerGetLimitsExt", FaultCode::Unknown)),
                };
                batch.put(m::POWER_LIMIT, Labels::one(Label::Limit, named(&LIMITS, limit.level)), milli);
            }
        }
    }
}

fn clocks(names: &Names, round: &Round, batch: &mut Batch) {
    const CALL: &str = "zesFrequencyGetState";
    let mut tiles: Vec<_> = round.frequencies.iter().map(|domain| domain.tile).collect();
    tiles.sort_unstable();
    tiles.dedup();
    for tile in tiles {
        batch.begin(names.of(tile));
        let mut reasons: Got<u32> = Ok(0);
        for domain in round.frequencies.iter().filter(|domain| domain.tile == tile) {
            let label = || Labels::one(Label::Domain, named(&DOMAINS, domain.kind));
            let actual = domain.state.and_then(|state| megahertz(CALL, state.actual));
            batch.put(m::CLOCK, label(), actual);
            batch.put(m::CLOCK_MAX, label(), highest("zesFrequencyGetProperties", domain.max_mhz));
            reasons = reasons.and_then(|reasons| domain.state.map(|state| reasons | state.throttle));
        }
        match reasons {
            Err(fault) => batch.put(m::THROTTLE_ACTIVE, Labels::NONE, Err(fault)),
            Ok(active) => throttle(active, batch),
        }
    }
    batch.begin(&names.card);
}

fn throttle(active: u32, batch: &mut Batch) {
    let mut told: Vec<LabelValue> = Vec::new();
    for bit in (0..u32::BITS).map(|bit| 1 << bit).filter(|bit| (active | REASONS_TOLD) & bit != 0) {
        let reason = named(&REASONS, bit);
        // Two bits are of one reason.
        if !told.contains(&reason) {
            told.push(reason);
            let same = REASONS.iter().filter(|(_, name)| reason == LabelValue::Word(name));
            let mask = same.fold(bit, |mask, (bit, _)| mask | bit);
            batch.put(m::THROTTLE_ACTIVE, Labels::one(Label::Reason, reason), Ok(Flag(active & mask != 0)));
        }
    }
}

fn heat(names: &Names, round: &Round, batch: &mut Batch) {
    let mut sensors: Vec<_> = round.temperatures.iter().map(|(tile, kind, _)| (*tile, *kind)).collect();
    sensors.retain(|(_, kind)| !LOWEST.contains(kind));
    sensors.sort_unstable();
    sensors.dedup();
    for sensor in sensors {
        // Of several that are called alike, the hottest.
        let alike = round.temperatures.iter().filter(|(tile, kind, _)| (*tile, *kind) == sensor);
        let celsius = alike.map(|(.., got)| plausible("zesTemperatureGetState", (*got)?));
        let hottest = celsius.reduce(|one, other| Ok(Celsius(one?.0.max(other?.0))));
        batch.begin(names.of(sensor.0));
        let none = Fault::new("zesTemperatureGetState", FaultCode::NoSensor);
        batch.put(
            m::TEMPERATURE,
            Labels::one(Label::Sensor, named(&SENSORS, sensor.1)),
            hottest.unwrap_or(Err(none)),
        );
    }
    batch.begin(&names.card);
    for (fan, (rpm, most)) in (0u32..).zip(&round.fans) {
        let rpm = rpm
            .and_then(|rpm| u64::try_from(rpm).map_err(|_| Fault::new("zesFanGetState", FaultCode::Unknown)));
        batch.put(m::FAN_REVOLUTIONS, Labels::one(Label::Fan, fan), rpm.map(Count));
        if *most > 0 {
            let ratio = rpm.map(|rpm| Ratio(rpm as f64 / f64::from(*most)));
            batch.put(m::FAN_SPEED, Labels::one(Label::Fan, fan), ratio);
        }
    }
}

fn pcie(round: &Round, batch: &mut Batch) {
    batch.put(m::LINK_RECEIVE, pcie_link(), round.pcie_bytes.map(|(received, _)| Bytes(received)));
    batch.put(m::LINK_TRANSMIT, pcie_link(), round.pcie_bytes.map(|(_, transmitted)| Bytes(transmitted)));
    batch.put(m::PCIE_REPLAYS, Labels::NONE, round.pcie_replays.map(Count));
    let known = |call, got: Got<PciSpeed>, field: fn(PciSpeed) -> i32| {
        let unknown = Fault::new(call, FaultCode::Unknown);
        got.and_then(|speed| u64::try_from(field(speed)).ok().filter(|n| *n > 0).ok_or(unknown)).map(Count)
    };
    let [now, most] = round.pcie_speeds;
    let (state, properties) = ("zesDevicePciGetState", "zesDevicePciGetProperties");
    batch.put(m::PCIE_GENERATION, Labels::NONE, known(state, now, |speed| speed.generation));
    batch.put(m::PCIE_WIDTH, Labels::NONE, known(state, now, |speed| speed.width));
    batch.put(m::PCIE_GENERATION_MAX, Labels::NONE, known(properties, most, |speed| speed.generation));
    batch.put(m::PCIE_WIDTH_MAX, Labels::NONE, known(properties, most, |speed| speed.width));
}

fn ports(names: &Names, ports: &[PortRound], batch: &mut Batch) {
    for port in ports {
        batch.begin(names.of(port.tile));
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
        batch.put(m::LINK_RECEIVE, labels(), port.throughput.map(|bytes| Bytes(bytes.received)));
        batch.put(m::LINK_TRANSMIT, labels(), port.throughput.map(|bytes| Bytes(bytes.transmitted)));
        for (error, count) in [
            ("link_failure", port.errors.map(|errors| errors.failures)),
            ("firmware_communication", port.errors.map(|errors| errors.firmware_communication)),
            ("firmware", port.errors.map(|errors| errors.firmware)),
            ("degraded", port.errors.map(|errors| errors.degradations)),
        ] {
            batch.put(m::LINK_ERRORS, labels().with(Label::Error, error), count.map(Count));
        }
    }
    batch.begin(&names.card);
}

fn health(names: &Names, round: &Round, batch: &mut Batch) {
    let unknown = Fault::new("zesDeviceGetEccState", FaultCode::Unknown);
    let ecc = round.ecc.and_then(|ecc| match ecc.current {
        v::ECC_ENABLED => Ok(Flag(true)),
        v::ECC_DISABLED => Ok(Flag(false)),
        _ => Err(unknown),
    });
    batch.put(m::ECC_ENABLED, Labels::NONE, ecc);
    match round.reset {
        Err(fault) => batch.put(m::RECOVERY_ACTION, Labels::NONE, Err(fault)),
        Ok(reset) => {
            for (action, active) in [
                ("none", reset == 0),
                ("gpu_reset", reset & v::RESET_WEDGED != 0),
                ("repair", reset & v::RESET_REPAIR != 0),
            ] {
                batch.put(m::RECOVERY_ACTION, by(Label::Action, action), Ok(Flag(active)));
            }
        }
    }
    if round.ras.is_empty() {
        let none = Fault::new("zesDeviceEnumRasErrorSets", FaultCode::None);
        batch.put(m::ERRORS, by(Label::Kind, "ras"), Err(none));
    }
    for (tile, kind, counts) in &round.ras {
        batch.begin(names.of(*tile));
        // What the device put right must not page anybody.
        let (metric, severity) = match *kind {
            v::RAS_CORRECTABLE => (m::ERRORS_CORRECTED, "corrected"),
            _ => (m::ERRORS, "uncorrectable"),
        };
        for (category, name) in CATEGORIES.into_iter().enumerate() {
            let count = counts.map(|counts| Count(counts[category]));
            batch.put(metric, by(Label::Kind, "ras").with(Label::Code, name), count);
        }
        let labels = by(Label::Severity, severity).with(Label::Scope, "volatile");
        batch.put(m::ECC_ERRORS, labels, counts.map(|counts| Count(counts[CACHE])));
    }
    batch.begin(&names.card);
}

#[cfg(test)]
mod tests;
