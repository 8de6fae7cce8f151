//! What NVML leaves to its callers: rates and sums over the rounds of one device, and the window of clock
//! events.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use reading::{Absence, Ceiling, Counter, Integral, Measured};

use crate::{
    ceilings::Ceilings,
    map,
    raw::{FieldKey, FieldValues, GpmMetric, GpmMetrics, Raw, fields as f},
    xid,
};

/// What one device's counters have counted, from round to round.
pub struct Counters {
    energy_mj: Counter,
    /// Nanoseconds of each reason to throttle, in the order of [`map::REASON_NANOSECONDS`].
    throttled_ns: [Counter; map::REASON_NANOSECONDS.len()],
    /// Bytes sent and received over PCIe, by the device's counters.
    pcie: [Counter; 2],
    /// Whether those are 64 bits wide; unknown before the first reading.
    pcie_is_wide: [Option<bool>; 2],
    /// The same by GPM's rates.
    pcie_integrals: [Integral; 2],
    /// When there were rates last.
    last: Option<Instant>,
    /// Of each link, bytes sent and received.
    links: Vec<[Counter; 2]>,
    /// KiB over all NVLinks, and over link 0.
    nvlink: [Counter; 2],
}

/// The counts as of one round.
pub struct Counts {
    /// Energy since the driver was loaded, mJ.
    pub energy_mj: Measured<u64>,
    /// Nanoseconds of each reason to throttle.
    pub throttled_ns: [Measured<u64>; map::REASON_NANOSECONDS.len()],
    /// Bytes sent and received over PCIe since the driver was loaded, by the device's counters.
    pub pcie: [Measured<u64>; 2],
    /// Whether those are 64 bits wide; unknown before the first reading.
    pub pcie_is_wide: [Option<bool>; 2],
    /// The same since the device was opened, by GPM's rates.
    pub pcie_integrals: [Measured<f64>; 2],
    /// Of each link, bytes sent and received.
    pub links: Vec<[Measured<u64>; 2]>,
    /// KiB per second over all NVLinks and over link 0, both directions together.
    pub nvlink_kib_per_second: [Measured<f64>; 2],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            energy_mj: Counter::of_device(),
            throttled_ns: [const { Counter::of_device() }; _],
            pcie: [const { Counter::of_device() }; 2],
            pcie_is_wide: [None; 2],
            pcie_integrals: Default::default(),
            last: None,
            links: Vec::new(),
            nvlink: [const { Counter::from_zero(Vec::new()) }; 2],
        }
    }
}

impl Counters {
    /// Begins rates anew after a pause: over it they would be of another time than the values beside them. Sums
    /// go on.
    pub fn restart(&mut self) {
        self.last = None;
        self.nvlink = Self::default().nvlink;
    }

    /// Takes the values of one round.
    pub fn advance(
        &mut self,
        raw: &Raw,
        fields: &FieldValues,
        gpm: &GpmMetrics,
        ceilings: &Ceilings,
    ) -> Counts {
        let now = fields.read_at();
        let field = |counter: &mut Counter, key: FieldKey, ceiling| {
            counter.total(key.name(), now, fields.unsigned(key), ceiling)
        };
        let nanoseconds = Ceiling::of_time().times(1e9);
        let throttled_ns = std::array::from_fn(|index| {
            field(&mut self.throttled_ns[index], map::REASON_NANOSECONDS[index].1, nanoseconds)
        });
        let keys = [f::NVML_FI_DEV_PCIE_COUNT_TX_BYTES, f::NVML_FI_DEV_PCIE_COUNT_RX_BYTES];
        let pcie = [0, 1].map(|index| field(&mut self.pcie[index], keys[index], ceilings.pcie));
        self.links.resize_with(raw.links.len(), || [const { Counter::of_device() }; 2]);
        let links = self.links.iter_mut().zip(&raw.links).map(|(counters, link)| {
            let ceiling = Ceilings::nvlink(fields, link.number);
            let bytes = map::link_bytes(fields, link.number);
            [0, 1].map(|index| {
                let (call, bytes) = bytes[index];
                counters[index].total(call, now, bytes, ceiling)
            })
        });
        let links = links.collect();
        let (sent, received) =
            (f::NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX, f::NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX);
        let both = |sent, received| {
            fields.unsigned(sent).and_then(|sent| Ok(sent.saturating_add(fields.unsigned(received)?)))
        };
        let count = raw.links.len() as f64;
        let rates = [(sent.sum(), received.sum(), count), (sent.of(0), received.of(0), 1.0)];
        let nvlink_kib_per_second = [0, 1].map(|index| {
            let (sent, received, links) = rates[index];
            let ceiling = Ceilings::nvlink(fields, 0).times(2.0 * links / 1024.0);
            self.nvlink[index].add(sent.name(), now, both(sent, received), ceiling)?.per_second()
        });
        Counts {
            energy_mj: self.energy_mj.total(
                "nvmlDeviceGetTotalEnergyConsumption",
                raw.energy_read_at,
                raw.energy_mj,
                ceilings.energy_mj,
            ),
            throttled_ns,
            pcie,
            pcie_is_wide: [0, 1].map(|index| self.pcie_is_wide(index, fields.unsigned(keys[index]), gpm)),
            pcie_integrals: self.pcie_integrals(now, gpm),
            links,
            nvlink_kib_per_second,
        }
    }

    /// Whether a counter of bytes over PCIe is 64 bits wide. nvml.h says that it may wrap and not where, and drivers
    /// declare 64 bits also for one of 32, so a counter is a wide one that has passed them when it is first read. One
    /// that passes them later stays what it was taken for, unless nothing else counts the bytes: a change of the
    /// counter would look like traffic.
    fn pcie_is_wide(&mut self, index: usize, count: Measured<u64>, gpm: &GpmMetrics) -> Option<bool> {
        let is_wide = &mut self.pcie_is_wide[index];
        if let Ok(count) = count {
            let is_past = count > u32::MAX.into();
            let rate = gpm.get([GpmMetric::PcieTxPerSec, GpmMetric::PcieRxPerSec][index]);
            let is_alone = rate.is_err_and(|fault| fault.absence == Absence::Unsupported);
            *is_wide = Some(is_wide.unwrap_or(is_past) || is_past && is_alone);
        }
        *is_wide
    }

    fn pcie_integrals(&mut self, now: Instant, gpm: &GpmMetrics) -> [Measured<f64>; 2] {
        let previous = self.last.replace(now);
        let rates = [GpmMetric::PcieTxPerSec, GpmMetric::PcieRxPerSec].map(|metric| gpm.get(metric));
        [0, 1].map(|index| {
            let mib_per_second = rates[index]?;
            Ok(self.pcie_integrals[index].add(now, previous, mib_per_second * 1_048_576.0))
        })
    }
}

/// What GPM has counted of a device or an instance since the part was reset.
pub struct GpmTotals([Counter; GPM_TOTALS.len()]);

/// The counts of [`GpmTotals`].
const GPM_TOTALS: [GpmMetric; 13] = [
    GpmMetric::PcieTx,
    GpmMetric::PcieRx,
    GpmMetric::SmCyclesElapsed,
    GpmMetric::SmCyclesActive,
    GpmMetric::MmaCyclesActive,
    GpmMetric::DmmaCyclesActive,
    GpmMetric::HmmaCyclesActive,
    GpmMetric::ImmaCyclesActive,
    GpmMetric::DfmaCyclesActive,
    GpmMetric::IntegerCyclesActive,
    GpmMetric::Fp64CyclesActive,
    GpmMetric::Fp32CyclesActive,
    GpmMetric::Fp16CyclesActive,
];

/// No part has more SMs.
const SMS_MAX: f64 = 1024.0;

impl Default for GpmTotals {
    fn default() -> Self {
        Self([const { Counter::of_device() }; _])
    }
}

impl GpmTotals {
    /// Puts what was counted in the place of what was read. `pcie` is the ceiling of bytes over PCIe.
    pub fn follow(&mut self, gpm: &mut GpmMetrics, now: Instant, pcie: Ceiling) {
        let cycles = Ceiling::of_cycles().times(SMS_MAX);
        for (counter, metric) in self.0.iter_mut().zip(GPM_TOTALS) {
            let ceiling = if matches!(metric, GpmMetric::PcieTx | GpmMetric::PcieRx) { pcie } else { cycles };
            gpm.replace(metric, |call, value| {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a count, bounded"
                )]
                let value = value.map(|count| count as u64);
                counter.total(call, now, value, ceiling).map(|count| count as f64)
            });
        }
    }
}

/// dcgm-exporter's default `--collect-interval`.
const DCGM_INTERVAL: Duration = Duration::from_secs(30);

/// How often dcgm-exporter would have seen each clock event within its window: it looks once in each of its
/// intervals, so an event that lasts counts 10 in five minutes. Here one that was seen in any round of such an
/// interval counts 1, whatever the time between rounds.
#[derive(Default)]
pub struct ClockEvents(VecDeque<(Instant, u64)>);

impl ClockEvents {
    /// Takes the mask of one round.
    pub fn record(&mut self, now: Instant, mask: u64) {
        match self.0.back_mut() {
            Some((begin, seen)) if now.duration_since(*begin) < DCGM_INTERVAL => *seen |= mask,
            _ => self.0.push_back((now, mask)),
        }
        while self.0.front().is_some_and(|(at, _)| now.duration_since(*at) >= xid::WINDOW) {
            self.0.pop_front();
        }
    }

    /// Intervals in the window in which bit `mask` was set.
    pub fn count(&self, mask: u64) -> u64 {
        self.0.iter().filter(|(_, seen)| seen & mask != 0).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_events_count_as_at_dcgm_exporters_interval_whatever_ours_is() {
        let start = Instant::now();
        for interval in [1, 5, 30] {
            let mut events = ClockEvents::default();
            for second in (0..600).step_by(interval) {
                let blip = if second == 450 { 2 } else { 0 };
                events.record(start + Duration::from_secs(second), 1 | blip);
            }
            assert_eq!(events.count(1), 10, "an event that lasts, every {interval} s");
            assert_eq!(events.count(2), 1, "one that was seen once, every {interval} s");
            assert_eq!(events.count(4), 0);
        }
    }

    #[test]
    fn clock_events_leave_the_window() {
        let start = Instant::now();
        let mut events = ClockEvents::default();
        events.record(start, 1);
        events.record(start + xid::WINDOW, 2);
        assert_eq!((events.count(1), events.count(2)), (0, 1));
    }
}
