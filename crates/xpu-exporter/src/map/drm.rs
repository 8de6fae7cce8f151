//! What the kernel told.

use naming::{Bytes, BytesPerSecond, Count, FaultCode, Flag, Joules, Label, Ratio, Watts, catalogue as m};
use reading::{Absence, Batch, Fault, Labels};

use super::{Names, by, highest, megahertz, pcie_link, plausible};
use crate::{
    Got,
    drm::{GtRound, Round, SensorsRound},
};

/// Puts a whole round into the batch.
pub fn put(names: &Names, round: &Round, batch: &mut Batch) {
    batch.begin(&names.card);
    load(round, batch);
    memory(round, batch);
    sensors(&round.sensors, batch);
    link(round, batch);
    if names.tiles.is_empty() {
        gts(&round.gts.iter().collect::<Vec<_>>(), batch);
        return;
    }
    for (number, tile) in (0..).zip(&names.tiles) {
        let of_tile: Vec<_> = round.gts.iter().filter(|gt| gt.tile == number).collect();
        batch.begin(tile);
        batch.put(m::UTILIZATION, Labels::NONE, awake(of_tile.iter().copied()).map(Ratio));
        gts(&of_tile, batch);
    }
}

/// The busiest engine; where engines cannot be counted, the share of time in which any GT was awake.
fn load(round: &Round, batch: &mut Batch) {
    let load = &round.load;
    let uncounted = |got: &Got<f64>| got.is_err_and(|fault: Fault| fault.absence == Absence::Unsupported);
    let counted = !load.engines.is_empty() && !load.engines.iter().any(|(_, got)| uncounted(got));
    let busiest = if counted {
        load.engines.iter().try_fold(0.0, |most, (_, busy)| Ok(f64::max(most, (*busy)?)))
    } else {
        awake(&round.gts)
    };
    batch.put(m::UTILIZATION, Labels::NONE, busiest.map(Ratio));
    for (engine, busy) in &load.engines {
        batch.put(m::ENGINE_ACTIVE, by(Label::Engine, engine), busy.map(Ratio));
    }
    batch.put(m::COMPUTE_PROCESSES, Labels::NONE, load.processes.map(Count));
    batch.put(m::MEMORY_SHARED, Labels::NONE, load.shared_bytes.map(Bytes));
}

/// The most that any GT was awake; one that does not tell may have been awake more.
fn awake<'a>(gts: impl IntoIterator<Item = &'a GtRound>) -> Got<f64> {
    let none = Fault::new("idle_residency_ms", FaultCode::NoGt);
    let shares = gts.into_iter().map(|gt| gt.awake);
    shares.reduce(|most, awake| Ok(most?.max(awake?))).unwrap_or(Err(none))
}

fn memory(round: &Round, batch: &mut Batch) {
    let memory = round.memory;
    batch.put(m::MEMORY_TOTAL, Labels::NONE, memory.map(|memory| Bytes(memory.total)));
    batch.put(m::MEMORY_USED, Labels::NONE, memory.and_then(|memory| memory.used.map(Bytes)));
    let free = memory.and_then(|memory| memory.used.map(|used| Bytes(memory.total - used)));
    batch.put(m::MEMORY_FREE, Labels::NONE, free);
}

fn sensors(round: &SensorsRound, batch: &mut Batch) {
    batch.put(m::ENERGY, Labels::NONE, round.energy_uj.map(|micro| Joules(micro as f64 * 1e-6)));
    batch.put(m::POWER, Labels::NONE, round.power_uw.map(|micro| Watts(micro * 1e-6)));
    for (limit, value) in &round.limits_uw {
        let value = value.map(|micro| Watts(micro as f64 * 1e-6));
        batch.put(m::POWER_LIMIT, by(Label::Limit, limit), value);
    }
    let celsius = |call, milli: Got<i64>| milli.and_then(|milli| plausible(call, milli as f64 * 1e-3));
    for (sensor, value) in &round.temperatures_mc {
        batch.put(m::TEMPERATURE, by(Label::Sensor, sensor), celsius("temp_input", *value));
    }
    for (sensor, limit, value) in &round.temperature_limits_mc {
        let labels = by(Label::Sensor, sensor).with(Label::Limit, *limit);
        batch.put(m::TEMPERATURE_LIMIT, labels, celsius("temp_limit", *value));
    }
    for (fan, speed) in (0u32..).zip(&round.fans_rpm) {
        batch.put(m::FAN_REVOLUTIONS, Labels::one(Label::Fan, fan), speed.map(Count));
    }
}

fn link(round: &Round, batch: &mut Batch) {
    let generation = |link: Got<kernel::pci::Link>| link.map(|link| Count(link.generation.into()));
    let width = |link: Got<kernel::pci::Link>| link.map(|link| Count(link.width.into()));
    batch.put(m::PCIE_GENERATION, Labels::NONE, generation(round.link));
    batch.put(m::PCIE_GENERATION_MAX, Labels::NONE, generation(round.link_max));
    batch.put(m::PCIE_WIDTH, Labels::NONE, width(round.link));
    batch.put(m::PCIE_WIDTH_MAX, Labels::NONE, width(round.link_max));
    let capacity = round.link.map(|link| BytesPerSecond(link.bytes_per_second()));
    batch.put(m::LINK_BANDWIDTH, pcie_link(), capacity);
}

/// Clocks and throttling of one card or tile. Its GTs share the reasons, so one that throttles is enough.
fn gts(gts: &[&GtRound], batch: &mut Batch) {
    let mut throttle: Vec<(&'static str, bool)> = Vec::new();
    let mut untold = None;
    for gt in gts {
        let actual = gt.actual_mhz.and_then(|mhz| megahertz("act_freq", mhz as f64));
        let most = gt.max_mhz.and_then(|mhz| highest("rp0_freq", mhz as f64));
        batch.put(m::CLOCK, by(Label::Domain, gt.domain), actual);
        batch.put(m::CLOCK_MAX, by(Label::Domain, gt.domain), most);
        match &gt.reasons {
            Ok(reasons) => {
                for (reason, active) in reasons {
                    match throttle.iter_mut().find(|(known, _)| known == reason) {
                        Some((_, sum)) => *sum |= active,
                        None => throttle.push((reason, *active)),
                    }
                }
            }
            Err(fault) => untold = Some(*fault),
        }
    }
    // "Not throttled" is told only by all of them.
    match untold {
        Some(fault) => batch.put(m::THROTTLE_ACTIVE, Labels::NONE, Err(fault)),
        None => {
            for (reason, active) in throttle {
                batch.put(m::THROTTLE_ACTIVE, by(Label::Reason, reason), Ok(Flag(active)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use naming::FaultCode;
    use reading::Fault;

    use super::{Got, GtRound, awake};

    #[test]
    fn a_gt_that_does_not_tell_may_have_been_the_busy_one() {
        let fault = Fault::new("idle_residency_ms", FaultCode::Garbage);
        let most = |shares: &[Got<f64>]| {
            let gt = |awake: &Got<f64>| GtRound {
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
