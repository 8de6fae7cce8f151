//! From HLML's and the driver's units and names to base units and the catalogue: one line per quantity,
//! nothing else.
//!
//! Past this room no value is in megahertz, milliwatts, millidegrees, percent or KB/s. Where both the library
//! and the driver's files have a value, the comment says which comes first and why.

use std::{sync::Arc, time::Duration};

use hlml_sys::constants::{PSTATE_MAX, THROTTLE_POWER, THROTTLE_THERMAL};
use kernel::pci::Link;
use naming::{
    Bytes, BytesPerSecond, Celsius, Count, FaultCode, Flag, Hertz, Joules, Label, Ratio, Seconds, Watts,
    catalogue as m,
};
use reading::{Absence, Batch, Fault, Labels, Measured};

use crate::{
    driver::{DriverFiles, NO_NODE},
    raw::{EVENTS, HlmlEventHistory, Port, Raw, SlowRaw},
};

/// Everything that one round over a device yielded.
pub struct DeviceSample<'a> {
    /// What the library returned.
    pub raw: &'a Raw,
    /// The driver's files, where they can be seen.
    pub files: Option<&'a DriverFiles>,
    /// The PCIe link.
    pub link: Measured<Link>,
    /// Hard and soft resets, where the driver's files can be seen.
    pub resets: Option<[Measured<u64>; 2]>,
    /// What is read at a lower rate, and its age.
    pub slow: Measured<(Duration, Arc<SlowRaw>)>,
    /// Critical events so far, or why none can be received.
    pub events: Measured<HlmlEventHistory>,
    /// Labels of the info metric.
    pub info: &'a Labels,
}

/// Sensors in the order of temperatures: die, board, memory.
const SENSORS: [&str; 3] = ["gpu", "board", "memory"];

/// Sensors and limits of [`Raw::thresholds_c`].
const THRESHOLDS: [(&str, &str); 4] =
    [("gpu", "shutdown"), ("gpu", "slowdown"), ("memory", "operating"), ("gpu", "operating")];

/// Severity and scope of [`Raw::ecc_errors`] and [`Raw::sram_errors`].
const ECC: [(&str, &str); 4] = [
    ("corrected", "volatile"),
    ("uncorrectable", "volatile"),
    ("corrected", "aggregate"),
    ("uncorrectable", "aggregate"),
];

/// Bits of the throttle mask.
const REASONS: [(u64, &str); 2] = [(THROTTLE_POWER, "power"), (THROTTLE_THERMAL, "thermal")];

/// Puts a whole device into the batch.
pub fn device(sample: &DeviceSample<'_>, batch: &mut Batch) {
    batch.put(m::DEVICE_INFO, sample.info.clone(), Ok(Flag(true)));
    batch.put(m::DEVICE_CONFIG, Labels::NONE, Ok(Flag(true)));
    compute(sample.raw, batch);
    temperatures(sample, batch);
    power(sample, batch);
    clocks(sample, batch);
    ports(&sample.raw.ports, batch);
    pcie(sample, batch);
    health(sample, batch);
    let age = sample.slow.as_ref().map(|(age, _)| Seconds(age.as_secs_f64()));
    batch.put(m::SLOW_READINGS_AGE, Labels::NONE, age.map_err(|fault| *fault));
}

/// Puts what is mandatory of a device into the batch.
pub fn mandatory(raw: &Raw, info: &Labels, batch: &mut Batch) {
    batch.put(m::DEVICE_INFO, info.clone(), Ok(Flag(true)));
    compute(raw, batch);
    batch.put(m::POWER, Labels::NONE, raw.power_mw.map(|milli| Watts::from_milli(milli.into())));
}

fn compute(raw: &Raw, batch: &mut Batch) {
    let utilization = raw.utilization_percent.map(|percent| Ratio::from_percent(percent.into()));
    batch.put(m::UTILIZATION, Labels::NONE, utilization);
    batch.put(m::MEMORY_TOTAL, Labels::NONE, raw.memory.map(|memory| Bytes(memory.total)));
    batch.put(m::MEMORY_USED, Labels::NONE, raw.memory.map(|memory| Bytes(memory.used)));
    batch.put(m::MEMORY_FREE, Labels::NONE, raw.memory.map(|memory| Bytes(memory.free)));
}

/// From hwmon where the channel is known, since HLML's call leaks; else from the slow readings.
fn temperatures(sample: &DeviceSample<'_>, batch: &mut Batch) {
    let channels = sample.files.map_or([Err(NO_NODE); 3], |files| files.sensors.millidegrees());
    for (index, sensor) in SENSORS.into_iter().enumerate() {
        let value = match &sample.slow {
            Ok((_, slow)) => match slow.temperatures_c[index] {
                Some(celsius) => celsius.map(|celsius| Celsius(celsius.into())),
                None => channels[index].map(millidegrees),
            },
            // Without slow readings only hwmon is left; where it has nothing, the fault is that of the slow
            // readings.
            Err(slow) => channels[index].map(millidegrees).map_err(|fault| match slow.absence {
                Absence::TimedOut => *slow,
                _ => fault,
            }),
        };
        batch.put(m::TEMPERATURE, Labels::one(Label::Sensor, sensor), value);
    }
    for ((sensor, limit), value) in THRESHOLDS.into_iter().zip(sample.raw.thresholds_c) {
        let labels = Labels::one(Label::Sensor, sensor).with(Label::Limit, limit);
        batch.put(m::TEMPERATURE_LIMIT, labels, value.map(|celsius| Celsius(celsius.into())));
    }
}

fn millidegrees(milli: i64) -> Celsius {
    Celsius(milli as f64 / 1e3)
}

fn power(sample: &DeviceSample<'_>, batch: &mut Batch) {
    let raw = sample.raw;
    let watts = |milli: u32| Watts::from_milli(milli.into());
    // HLML first: it documents its unit, the driver's hwmon follows the class.
    let drawn = raw.power_mw.map(watts).or_else(|fault| {
        let microwatts = sample.files.ok_or(fault)?.sensors.microwatts();
        if_unsupported(fault, microwatts.map(|micro| Watts(micro as f64 / 1e6)))
    });
    batch.put(m::POWER, Labels::NONE, drawn);
    let [enforced, default, lowest, highest] = raw.limits_mw;
    let enforced =
        enforced.or_else(|fault| if_unsupported(fault, sample.files.ok_or(fault)?.limit_milliwatts()));
    for (limit, value) in [("enforced", enforced), ("default", default), ("min", lowest), ("max", highest)] {
        batch.put(m::POWER_LIMIT, Labels::one(Label::Limit, limit), value.map(watts));
    }
    batch.put(m::ENERGY, Labels::NONE, raw.energy_mj.map(Joules::from_milli));
}

/// The value of the driver's files in place of a call that is not supported; a call that fails stays a
/// failure.
fn if_unsupported<T>(fault: Fault, kernel: Measured<T>) -> Measured<T> {
    if fault.absence == Absence::Unsupported { kernel.map_err(|_| fault) } else { Err(fault) }
}

fn clocks(sample: &DeviceSample<'_>, batch: &mut Batch) {
    let raw = sample.raw;
    for (index, metric) in [m::CLOCK, m::CLOCK_MAX].into_iter().enumerate() {
        let clock = raw.clocks_mhz[index]
            .or_else(|fault| if_unsupported(fault, sample.files.ok_or(fault)?.megahertz()[index]));
        batch.put(metric, Labels::one(Label::Domain, "soc"), clock.map(|mega| Hertz::from_mega(mega.into())));
    }
    let state = raw.performance_state.and_then(|state| match state {
        0..=PSTATE_MAX => Ok(Count(state.into())),
        _ => Err(Fault::new("hlml_device_get_performance_state", FaultCode::UnknownState)),
    });
    batch.put(m::PERFORMANCE_STATE, Labels::NONE, state);
    for (bit, reason) in REASONS {
        let active = raw.throttle_reasons.map(|mask| Flag(mask & bit != 0));
        batch.put(m::THROTTLE_ACTIVE, Labels::one(Label::Reason, reason), active);
    }
}

fn ports(ports: &Measured<Vec<Port>>, batch: &mut Batch) {
    let ports = match ports {
        Ok(ports) => ports,
        Err(fault) => {
            batch.put(m::LINK_UP, Labels::one(Label::Kind, "roce_internal"), Err(*fault));
            return;
        }
    };
    for port in ports {
        let (kind, port_type) =
            if port.external { ("roce_external", "external") } else { ("roce_internal", "internal") };
        let up = port.up.map(Flag);
        batch.put(m::LINK_UP, Labels::one(Label::Link, port.number).with(Label::Kind, kind), up);
        batch.put(m::NIC_PORT, Labels::one(Label::Port, port.number).with(Label::PortType, port_type), up);
    }
}

fn pcie(sample: &DeviceSample<'_>, batch: &mut Batch) {
    let link = sample.link;
    batch.put(m::PCIE_GENERATION, Labels::NONE, link.map(|link| Count(link.generation.into())));
    batch.put(m::PCIE_WIDTH, Labels::NONE, link.map(|link| Count(link.width.into())));
    // Whole gigatransfers, as the official exporter prints them.
    let speed = link.map(|link| Count((link.megatransfers_per_second() / 1000).into()));
    batch.put(m::PCIE_SPEED, Labels::NONE, speed);
    let best = sample.files.map_or(Err(NO_NODE), |files| files.function().link_max());
    batch.put(m::PCIE_GENERATION_MAX, Labels::NONE, best.map(|link| Count(link.generation.into())));
    batch.put(m::PCIE_WIDTH_MAX, Labels::NONE, best.map(|link| Count(link.width.into())));
    let labels = || Labels::one(Label::Link, 0u32).with(Label::Kind, "pcie");
    let capacity = link.map(|link| BytesPerSecond(link.bytes_per_second().round()));
    batch.put(m::LINK_BANDWIDTH, labels(), capacity);
    let replays = sample.raw.pcie_replays.map(|replays| Count(replays.into()));
    batch.put(m::PCIE_REPLAYS, Labels::NONE, replays);
    // Also counted as an error of the link, since the link had to send again.
    batch.put(m::LINK_ERRORS, labels().with(Label::Error, "replay"), replays);
    for (index, direction) in ["transmit", "receive"].into_iter().enumerate() {
        let rate = sample.slow.as_ref().map_err(|fault| *fault).and_then(|(_, slow)| {
            slow.pcie_kilobytes_per_second[index].map(|kilo| BytesPerSecond(f64::from(kilo) * 1e3))
        });
        batch.put(m::PCIE_RATE, Labels::one(Label::Direction, direction), rate);
    }
}

fn health(sample: &DeviceSample<'_>, batch: &mut Batch) {
    let raw = sample.raw;
    batch.put(m::ECC_ENABLED, Labels::NONE, raw.ecc_enabled.map(Flag));
    for (metric, counts) in [(m::ECC_ERRORS, raw.ecc_errors), (m::SRAM_ECC_ERRORS, raw.sram_errors)] {
        for ((severity, scope), count) in ECC.into_iter().zip(counts) {
            batch.put(
                metric,
                Labels::one(Label::Severity, severity).with(Label::Scope, scope),
                count.map(Count),
            );
        }
    }
    for (cause, rows) in ["correctable", "uncorrectable"].into_iter().zip(raw.rows) {
        batch.put(m::ROWS_REMAPPED, Labels::one(Label::Cause, cause), rows.map(|rows| Count(rows.into())));
    }
    batch.put(m::ROW_REMAP_PENDING, Labels::NONE, raw.rows_pending.map(Flag));
    let resets = sample.resets.unwrap_or([Err(NO_NODE); 2]);
    for (kind, count) in ["hard", "soft"].into_iter().zip(resets) {
        batch.put(m::RESETS, Labels::one(Label::Kind, kind), count.map(Count));
    }
    events(&sample.events, batch);
}

/// Puts critical events, or why none can be received.
pub fn events(events: &Measured<HlmlEventHistory>, batch: &mut Batch) {
    let labels = || Labels::one(Label::Kind, "hlml_event");
    match events {
        Ok(history) => {
            for (_, code) in EVENTS {
                let count = history.counts.get(code).copied().unwrap_or(0);
                batch.put(m::ERRORS, labels().with(Label::Code, code), Ok(Count(count)));
                if let Some(unix_seconds) = history.times.get(code) {
                    batch.put(m::ERROR_LAST, labels().with(Label::Code, code), Ok(Seconds(*unix_seconds)));
                }
            }
        }
        Err(fault) => batch.put(m::ERRORS, labels(), Err(*fault)),
    }
}
