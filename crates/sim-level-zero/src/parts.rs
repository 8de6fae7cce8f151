//! The parts of a device: engines, memory, power, temperatures, clocks, fans, error sets, fabric ports.

use level_zero_sys::{
    EnergyCounter, EngineProperties, EngineStats, FanProperties, FrequencyProperties, FrequencyRange,
    FrequencyState, MemoryBandwidth, MemoryProperties, MemoryState, PortErrors, PortProperties, PortSpeed,
    PortState, PortThroughput, PowerDomain, PowerLimit, PowerProperties, RasProperties, RasState,
    TemperatureProperties, ThrottleTime, code, value as v,
};
use sim::{
    control::{Garbage, Scope, Severity},
    family::xpu::{ENERGY_WRAP_MICROJOULES, Gpu, TICKS_PER_SECOND},
};

use sim_abi::Items;

use crate::call::{Fan, Out, Power, Ras, entries, is_root, list, lists, values};

/// `zes_structure_type_t` of [`PowerDomain`].
const POWER_EXT_PROPERTIES: u32 = 0x28;
/// What the driver calls an integrated GPU's memory: no type of the header.
const MEMORY_TYPE_NONE: u32 = 0x7fff_ffff;

/// An engine group: its kind, and the classes of engines that it counts.
type Group = (u32, Vec<&'static str>);

/// The groups that the driver lists: every engine, then all together. A video engine decodes and encodes, and
/// is listed as both.
fn groups(gpu: &Gpu<'_>) -> Vec<Group> {
    if !is_root() {
        return Vec::new();
    }
    let singles = [
        (v::ENGINE_RENDER, "rcs"),
        (v::ENGINE_COMPUTE, "ccs"),
        (v::ENGINE_COPY, "bcs"),
        (v::ENGINE_DECODE, "vcs"),
        (v::ENGINE_ENCODE, "vcs"),
        (v::ENGINE_ENHANCE, "vecs"),
    ];
    let count = |class: &str| gpu.facts.engines.get(class).copied().unwrap_or(0) as usize;
    let mut groups: Vec<Group> = singles
        .iter()
        .flat_map(|(kind, class)| std::iter::repeat_n((*kind, vec![*class]), count(class)))
        .collect();
    if !gpu.facts.integrated {
        groups.extend([
            (v::ENGINE_ALL, vec!["rcs", "ccs", "bcs", "vcs", "vecs"]),
            (v::ENGINE_COMPUTE_ALL, vec!["rcs", "ccs"]),
            (v::ENGINE_MEDIA_ALL, vec!["vcs", "vecs"]),
            (v::ENGINE_COPY_ALL, vec!["bcs"]),
        ]);
    }
    groups
}

/// Power domains of a discrete card.
const DOMAINS: [u32; 2] = [v::newer::DOMAIN_PACKAGE, v::newer::DOMAIN_CARD];

/// Temperature sensors of a discrete card.
const SENSORS: [u32; 4] = [v::SENSOR_GLOBAL, v::SENSOR_GPU, v::SENSOR_MEMORY, v::newer::SENSOR_REGULATOR];

/// Clock domains: (tile, whether it is on a tile, domain, GT).
fn clocks(gpu: &Gpu<'_>) -> Vec<(u32, bool, u32, u32)> {
    match gpu.facts.tiles {
        1 if gpu.facts.media_max_megahertz.is_none() => vec![(0, false, v::CLOCK_GPU, 0)],
        1 => vec![(0, false, v::CLOCK_GPU, 0), (0, false, v::newer::CLOCK_MEDIA, 1)],
        tiles => (0..tiles).map(|tile| (tile, true, v::CLOCK_GPU, 0)).collect(),
    }
}

/// A counter, or what a faulty driver returns in its place.
fn counted(garbage: Option<Garbage>, counter: u64) -> u64 {
    match garbage {
        Some(Garbage::Absurd) => counter.wrapping_mul(1000),
        Some(Garbage::Blank) => u64::MAX,
        _ => counter,
    }
}

/// What no part of this kind has.
fn only_discrete(gpu: &Gpu<'_>, count: usize) -> usize {
    if gpu.facts.integrated { 0 } else { count }
}

values! {
    zesEngineGetProperties(Engine, EngineProperties) = |gpu, part, out, _garbage| {
        out.kind = groups(gpu).get(part).ok_or(code::INVALID_ARGUMENT)?.0;
        out.on_subdevice = 0;
        out.subdevice = 0;
        Ok(())
    };
    zesEngineGetActivity(Engine, EngineStats) = |gpu, part, out, garbage| {
        let groups = groups(gpu);
        let (_, classes) = groups.get(part).ok_or(code::INVALID_ARGUMENT)?;
        let busy: f64 = classes.iter().map(|class| gpu.busy_seconds(class)).sum();
        out.active = counted(garbage, (busy / classes.len() as f64 * TICKS_PER_SECOND) as u64);
        out.timestamp = (gpu.uptime_seconds * TICKS_PER_SECOND) as u64;
        Ok(())
    };
    zesMemoryGetProperties(Memory, MemoryProperties) = |gpu, _part, out, _garbage| {
        let memory = &gpu.device.facts().memory;
        let own = !gpu.facts.integrated;
        out.kind = if own { v::MEMORY_GDDR6 } else { MEMORY_TYPE_NONE };
        out.location = if own { v::MEMORY_DEVICE } else { v::MEMORY_SYSTEM };
        out.physical_bytes = memory.total_mib << 20;
        out.bus_width = if own { memory.bus_width_bits.cast_signed() } else { -1 };
        out.channels = -1;
        Ok(())
    };
    zesMemoryGetState(Memory, MemoryState) = |gpu, _part, out, garbage| {
        let memory = gpu.device.memory_bytes();
        out.health = v::MEMORY_HEALTH_OK;
        out.size = memory.total;
        out.free = memory.total - memory.reserved - memory.used;
        match garbage {
            // As where the caller may not know.
            Some(Garbage::Nan) => out.free = out.size,
            Some(_) => out.free = u64::MAX,
            None => {}
        }
        Ok(())
    };
    zesMemoryGetBandwidth(Memory, MemoryBandwidth) = |gpu, _part, out, garbage| {
        if gpu.facts.integrated {
            return Err(code::UNSUPPORTED_FEATURE);
        }
        let (read, written) = gpu.memory_traffic_bytes();
        (out.read, out.written) = (counted(garbage, read), counted(garbage, written));
        out.max = (gpu.facts.memory_gigabytes_per_second * 1e9) as u64;
        out.timestamp = (gpu.uptime_seconds * 1e6) as u64;
        Ok(())
    };
    zesPowerGetProperties(Power, PowerProperties) = |gpu, part, out, _garbage| {
        let limit = (gpu.device.facts().power.limit_watts * 1e3) as i32;
        (out.default_limit, out.min_limit, out.max_limit) = (limit, -1, limit);
        let domain: *mut PowerDomain = out.next.cast();
        // SAFETY: the header lets a caller chain structs, each with its tag; this one alone is known.
        if let Some(domain) = unsafe { domain.as_mut() }.filter(|chained| chained.stype == POWER_EXT_PROPERTIES) {
            domain.domain = DOMAINS[part % DOMAINS.len()];
        }
        Ok(())
    };
    zesPowerGetEnergyCounter(Power, EnergyCounter) = |gpu, part, out, garbage| {
        let card = gpu.energy_microjoules();
        let is_card = DOMAINS[part % DOMAINS.len()] == v::newer::DOMAIN_CARD;
        let energy = if is_card { card } else { gpu.package_energy_microjoules() };
        let energy = energy % ENERGY_WRAP_MICROJOULES;
        out.energy = match garbage {
            None | Some(Garbage::Absurd | Garbage::Blank) => counted(garbage, energy),
            // As where the driver's own read has failed.
            Some(_) => 0,
        };
        out.timestamp = (gpu.uptime_seconds * 1e6) as u64;
        Ok(())
    };
    zesTemperatureGetProperties(Temperature, TemperatureProperties) = |_gpu, part, out, _garbage| {
        out.kind = SENSORS[part % SENSORS.len()];
        out.max = -1.0;
        Ok(())
    };
    zesTemperatureGetState(Temperature, f64) = |gpu, part, out, garbage| {
        let (package, memory) = gpu.celsius();
        let memory = memory.unwrap_or(package);
        *out = match (garbage, SENSORS[part % SENSORS.len()]) {
            (Some(Garbage::Nan | Garbage::Blank), _) => f64::NAN,
            (Some(Garbage::Hot), _) => 255.0,
            (Some(Garbage::Absurd | Garbage::Endless | Garbage::Untouched), _) => return Ok(()),
            (None, v::SENSOR_GLOBAL) => package.max(memory),
            (None, v::SENSOR_GPU) => package,
            (None, v::SENSOR_MEMORY) => memory,
            (None, _) => package + 6.0,
        };
        Ok(())
    };
    zesFrequencyGetProperties(Frequency, FrequencyProperties) = |gpu, part, out, _garbage| {
        let (tile, on_tile, domain, gt) = *clocks(gpu).get(part).ok_or(code::INVALID_ARGUMENT)?;
        (out.kind, out.on_subdevice, out.subdevice) = (domain, u8::from(on_tile), tile);
        out.min = gpu.device.facts().clocks.core_idle_megahertz;
        out.max = gpu.clock_max_megahertz(gt).into();
        Ok(())
    };
    zesFrequencyGetRange(Frequency, FrequencyRange) = |gpu, part, out, _garbage| {
        let (_, _, _, gt) = *clocks(gpu).get(part).ok_or(code::INVALID_ARGUMENT)?;
        out.min = gpu.device.facts().clocks.core_idle_megahertz;
        out.max = gpu.clock_max_megahertz(gt).into();
        Ok(())
    };
    zesFrequencyGetState(Frequency, FrequencyState) = |gpu, part, out, _garbage| {
        let (_, _, _, gt) = *clocks(gpu).get(part).ok_or(code::INVALID_ARGUMENT)?;
        (out.voltage, out.tdp, out.efficient) = (-1.0, -1.0, -1.0);
        out.actual = gpu.clock_megahertz(gt).into();
        out.request = out.actual;
        let reasons = gpu.throttle();
        // The driver knows four of the kernel's reasons.
        out.throttle = [
            ("pl1", v::THROTTLE_AVERAGE_POWER),
            ("pl2", v::THROTTLE_BURST_POWER),
            ("pl4", v::THROTTLE_CURRENT),
            ("thermal", v::THROTTLE_THERMAL),
        ]
        .into_iter()
        .filter(|(reason, _)| reasons.contains(reason))
        .fold(0, |mask, (_, bit)| mask | bit);
        Ok(())
    };
    // As the driver on Linux, on every part.
    zesFrequencyGetThrottleTime(Frequency, ThrottleTime) = |_gpu, _part, _out, _garbage| {
        Err(code::UNSUPPORTED_FEATURE)
    };
    zesFanGetProperties(Fan, FanProperties) = |_gpu, _part, out, _garbage| {
        (out.modes, out.units, out.max_rpm, out.max_points) = (1, 1, -1, -1);
        Ok(())
    };
    zesRasGetProperties(Ras, RasProperties) = |_gpu, part, out, _garbage| {
        out.kind = if part == 0 { v::RAS_CORRECTABLE } else { v::RAS_UNCORRECTABLE };
        Ok(())
    };
    zesFabricPortGetProperties(Port, PortProperties) = |_gpu, part, out, _garbage| {
        out.id.port = part as u8;
        (out.max_receive, out.max_transmit) = (lane_speed(), lane_speed());
        Ok(())
    };
    zesFabricPortGetState(Port, PortState) = |gpu, part, out, _garbage| {
        out.status = if gpu.device.link_is_up(part as u32) { v::PORT_HEALTHY } else { v::PORT_FAILED };
        (out.receive, out.transmit) = (lane_speed(), lane_speed());
        Ok(())
    };
    zesFabricPortGetThroughput(Port, PortThroughput) = |gpu, _part, out, _garbage| {
        out.timestamp = (gpu.uptime_seconds * 1e6) as u64;
        // No workload of the model crosses the fabric of these parts.
        (out.received, out.transmitted) = (0, 0);
        Ok(())
    };
    zesFabricPortGetFabricErrorCounters(Port, PortErrors) = |gpu, part, out, _garbage| {
        let errors = gpu.device.link_errors(part as u32);
        (out.failures, out.degradations) = (errors.recoveries, errors.replays);
        (out.firmware, out.firmware_communication) = (0, errors.crc_errors);
        Ok(())
    };
}

lists! {
    zesDeviceEnumEngineGroups = |gpu| Engine x groups(gpu).len();
    zesDeviceEnumMemoryModules = |_gpu| Memory x 1;
    zesDeviceEnumPowerDomains = |gpu| Power x only_discrete(gpu, DOMAINS.len());
    zesDeviceEnumTemperatureSensors = |gpu| Temperature x only_discrete(gpu, SENSORS.len());
    zesDeviceEnumFrequencyDomains = |gpu| Frequency x clocks(gpu).len();
    zesDeviceEnumFans = |gpu| Fan x gpu.facts.fans();
    zesDeviceEnumRasErrorSets = |gpu| Ras x if gpu.facts.ras { 2 } else { 0 };
    zesDeviceEnumFabricPorts = |gpu| Port x gpu.facts.fabric_ports as usize;
}

/// 53 Gbit/s on each of 4 lanes.
fn lane_speed() -> PortSpeed {
    PortSpeed { bit_rate: 53_125_000_000, width: 4 }
}

entries! {
    pub(crate) fn zesPowerGetLimitsExt(call, domain: Power, count: Out<u32>, limits: Items<PowerLimit>) {
        let gpu = domain.gpu(call)?;
        let limit = |level, watts: f64| PowerLimit {
            level,
            source: v::SOURCE_ANY,
            unit: v::LIMIT_POWER,
            // Like the driver, which does not report whether it is enabled.
            enabled_locked: 1,
            interval: -1,
            limit: (watts * 1e3) as i32,
            ..PowerLimit::default()
        };
        // The driver reads the kernel's files, and lists those that there are.
        let levels = [("max", v::LEVEL_SUSTAINED), ("cap", v::LEVEL_BURST), ("crit", v::LEVEL_PEAK)];
        let limits_of = levels.into_iter().filter_map(|(file, level)| {
            gpu.facts.power_limit(file).map(|watts| limit(level, watts))
        });
        list(count, limits, limits_of.collect::<Vec<_>>())
    }

    pub(crate) fn zesFanGetState(call, fan: Fan, units: u32, speed: Out<i32>) {
        let gpu = fan.gpu(call)?;
        if units != v::FAN_RPM {
            return Err(code::UNSUPPORTED_FEATURE);
        }
        speed.put(gpu.fan_rpm().cast_signed())
    }

    pub(crate) fn zesRasGetState(call, errors: Ras, clear: u8, state: Out<RasState>) {
        let gpu = errors.gpu(call)?;
        // Clearing is refused: it is not for a reader.
        if clear != 0 {
            return Err(code::INSUFFICIENT_PERMISSIONS);
        }
        let severity = if errors.index == 0 { Severity::Corrected } else { Severity::Uncorrectable };
        state.update(|state| {
            // Like the driver, which adds to what it finds.
            state.category[5] += gpu.device.ecc_errors_volatile(severity, Scope::Sram);
            state.category[3] += gpu.device.ecc_errors_volatile(severity, Scope::Dram);
            Ok(())
        })
    }
}
