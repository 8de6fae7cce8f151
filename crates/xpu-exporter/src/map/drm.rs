//! What the kernel reports of a card.

use kernel::file::missing;
use naming::{
    Bytes, BytesPerSecond, Celsius, Count, FaultCode, Flag, Joules, Label, Ratio, Seconds, Watts,
    catalogue as m,
};
use reading::{Absence, Batch, Fault, Labels, Measured, plausible_celsius};

use super::{Identities, highest, megahertz, pcie_link};
use crate::drm::{GtSample, Sample, SensorSample};

/// Puts one sample of a card into the batch.
pub fn put(identities: &Identities, sample: &Sample, batch: &mut Batch) {
    batch.begin(&identities.card);
    load(sample, batch);
    memory(sample, batch);
    sensors(sample, batch);
    missing_sensors(sample, batch);
    link(sample, batch);
    if identities.tiles.is_empty() {
        gts(&sample.gts.iter().collect::<Vec<_>>(), batch);
        return;
    }
    for (number, tile) in (0..).zip(&identities.tiles) {
        let of_tile: Vec<_> = sample.gts.iter().filter(|gt| gt.tile == number).collect();
        batch.begin(tile);
        batch.put(m::UTILIZATION, Labels::NONE, awake(of_tile.iter().copied()).map(Ratio));
        gts(&of_tile, batch);
    }
}

/// The busiest engine. Where the load of engines is unknown, the share of time in which any GT was awake.
fn load(sample: &Sample, batch: &mut Batch) {
    let load = &sample.load;
    if let Some(age) = sample.load_age {
        batch.put(m::SLOW_READINGS_AGE, Labels::NONE, Ok(Seconds(age.as_secs_f64())));
    }
    let unsupported = |busy: &Measured<f64>| busy.is_err_and(|fault| fault.absence == Absence::Unsupported);
    let counted = !load.engines.is_empty() && !load.engines.iter().any(|(_, busy)| unsupported(busy));
    let busiest = if counted {
        load.engines.iter().try_fold(0.0, |most, (_, busy)| Ok(f64::max(most, (*busy)?)))
    } else {
        awake(&sample.gts)
    };
    batch.put(m::UTILIZATION, Labels::NONE, busiest.map(Ratio));
    for (engine, busy) in &load.engines {
        batch.put(m::ENGINE_ACTIVE, Labels::one(Label::Engine, *engine), busy.map(Ratio));
    }
    batch.put(m::COMPUTE_PROCESSES, Labels::NONE, load.processes.map(Count));
    batch.put(m::MEMORY_SHARED, Labels::NONE, load.shared_bytes.map(Bytes));
    for process in &load.by_process {
        batch.put_client(process.pid, process.memory_bytes, process.busy_seconds.clone());
    }
}

/// The longest that any GT was awake. It is unknown if that of one GT is, which may have been awake for
/// longer.
fn awake<'a>(gts: impl IntoIterator<Item = &'a GtSample>) -> Measured<f64> {
    let none = Fault::new("idle_residency_ms", FaultCode::NoGt);
    let shares = gts.into_iter().map(|gt| gt.awake);
    shares.reduce(|most, awake| Ok(most?.max(awake?))).unwrap_or(Err(none))
}

fn memory(sample: &Sample, batch: &mut Batch) {
    let memory = sample.memory;
    batch.put(m::MEMORY_TOTAL, Labels::NONE, memory.map(|memory| Bytes(memory.total)));
    batch.put(m::MEMORY_USED, Labels::NONE, memory.and_then(|memory| memory.used.map(Bytes)));
    let free = memory.and_then(|memory| memory.used.map(|used| Bytes(memory.total - used)));
    batch.put(m::MEMORY_FREE, Labels::NONE, free);
}

fn sensors(Sample { sensors: sample, integrated, .. }: &Sample, batch: &mut Batch) {
    let energy = sample.energy;
    let joules = energy.map(|energy| Joules(energy.total as f64 * 1e-6));
    if *integrated {
        // RAPL's counter wraps.
        batch.put_sum(m::ENERGY, Labels::NONE, joules);
    } else {
        batch.put(m::ENERGY, Labels::NONE, joules);
    }
    let power = energy.and_then(|energy| energy.power());
    batch.put(m::POWER, Labels::NONE, power.map(|micro| Watts(micro * 1e-6)));
    for (limit, value) in &sample.limits_uw {
        let value = value.map(|micro| Watts(micro as f64 * 1e-6));
        batch.put(m::POWER_LIMIT, Labels::one(Label::Limit, *limit), value);
    }
    let celsius = |call, milli: Measured<i64>| {
        milli.and_then(|milli| plausible_celsius(call, milli as f64 * 1e-3)).map(Celsius)
    };
    for (sensor, value) in &sample.temperatures_mc {
        batch.put(m::TEMPERATURE, Labels::one(Label::Sensor, *sensor), celsius("temp_input", *value));
    }
    for (sensor, limit, value) in &sample.temperature_limits_mc {
        let labels = Labels::one(Label::Sensor, *sensor).with(Label::Limit, *limit);
        batch.put(m::TEMPERATURE_LIMIT, labels, celsius("temp_limit", *value));
    }
    for (fan, speed) in (0u32..).zip(&sample.fans_rpm) {
        batch.put(m::FAN_REVOLUTIONS, Labels::one(Label::Fan, fan), speed.map(Count));
    }
}

/// Why kinds of sensors that have no file have no series.
fn missing_sensors(sample: &Sample, batch: &mut Batch) {
    let SensorSample { limits_uw, temperatures_mc, temperature_limits_mc, fans_rpm, .. } = &sample.sensors;
    let integrated = |call| Fault::new(call, FaultCode::Integrated);
    let fault = |call| if sample.integrated { integrated(call) } else { missing(call) };
    if limits_uw.iter().all(|(limit, _)| *limit != "enforced") {
        batch.put(m::POWER_LIMIT, Labels::one(Label::Limit, "enforced"), Err(fault("power_cap")));
    }
    if temperatures_mc.is_empty() {
        batch.put(m::TEMPERATURE, Labels::NONE, Err(fault("temp_input")));
    }
    if temperature_limits_mc.is_empty() {
        batch.put(m::TEMPERATURE_LIMIT, Labels::NONE, Err(fault("temp_crit")));
    }
    if fans_rpm.is_empty() {
        batch.put(m::FAN_REVOLUTIONS, Labels::NONE, Err(fault("fan_input")));
    }
}

fn link(sample: &Sample, batch: &mut Batch) {
    let generation = |link: Measured<kernel::pci::Link>| link.map(|link| Count(link.generation.into()));
    let width = |link: Measured<kernel::pci::Link>| link.map(|link| Count(link.width.into()));
    batch.put(m::PCIE_GENERATION, Labels::NONE, generation(sample.link));
    batch.put(m::PCIE_GENERATION_MAX, Labels::NONE, generation(sample.link_max));
    batch.put(m::PCIE_WIDTH, Labels::NONE, width(sample.link));
    batch.put(m::PCIE_WIDTH_MAX, Labels::NONE, width(sample.link_max));
    let capacity = sample.link.map(|link| BytesPerSecond(link.bytes_per_second()));
    batch.put(m::LINK_BANDWIDTH, pcie_link(), capacity);
}

/// The clock of one domain.
pub fn clock(domain: &'static str, mhz: Measured<u64>, batch: &mut Batch) {
    let clock = mhz.and_then(|mhz| megahertz("act_freq", mhz as f64));
    batch.put(m::CLOCK, Labels::one(Label::Domain, domain), clock);
}

/// Clocks and throttling of one card or tile. A reason is active if it is active on one of the GTs.
fn gts(gts: &[&GtSample], batch: &mut Batch) {
    let mut throttle: Vec<(&'static str, bool)> = Vec::new();
    let mut missing = None;
    for gt in gts {
        clock(gt.domain, gt.actual_mhz, batch);
        let most = gt.max_mhz.and_then(|mhz| highest("rp0_freq", mhz as f64));
        batch.put(m::CLOCK_MAX, Labels::one(Label::Domain, gt.domain), most);
        match &gt.reasons {
            Ok(reasons) => {
                for (reason, active) in reasons {
                    match throttle.iter_mut().find(|(known, _)| known == reason) {
                        Some((_, sum)) => *sum |= active,
                        None => throttle.push((reason, *active)),
                    }
                }
            }
            Err(fault) => missing = Some(*fault),
        }
    }
    // Without the reasons of all GTs it is unknown which are inactive.
    match missing {
        Some(fault) => batch.put(m::THROTTLE_ACTIVE, Labels::NONE, Err(fault)),
        None => {
            for (reason, active) in throttle {
                batch.put(m::THROTTLE_ACTIVE, Labels::one(Label::Reason, reason), Ok(Flag(active)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use naming::FaultCode;
    use reading::Fault;

    use super::{GtSample, Measured, awake};

    #[test]
    fn a_gt_without_a_value_may_have_been_the_busiest() {
        let fault = Fault::new("idle_residency_ms", FaultCode::Garbage);
        let most = |shares: &[Measured<f64>]| {
            let gt = |awake: &Measured<f64>| GtSample {
                tile: 0,
                domain: "graphics",
                actual_mhz: Ok(0),
                max_mhz: Ok(0),
                awake: *awake,
                reasons: Ok(Vec::new()),
            };
            awake(&shares.iter().map(gt).collect::<Vec<_>>()).map_err(|fault| fault.code.name())
        };
        assert_eq!(most(&[Ok(0.25), Ok(0.75), Ok(0.5)]), Ok(0.75));
        assert_eq!(most(&[Err(fault), Ok(0.0)]), Err("garbage"));
        assert_eq!(most(&[Ok(0.0), Err(fault)]), Err("garbage"));
        assert_eq!(most(&[]), Err("no_gt"));
    }
}
