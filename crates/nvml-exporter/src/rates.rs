//! What NVML leaves to its callers: rates and sums over the rounds of one device, and the window of clock
//! events.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use reading::Measured;
use source::Rate;

use crate::{
    raw::{FieldValues, GpmMetric, GpmMetrics, fields as f},
    xid,
};

/// Traffic of one device's links, from round to round.
#[derive(Default)]
pub struct LinkTraffic {
    /// Over all NVLinks, and over link 0.
    nvlink: [Rate; 2],
    last: Option<Instant>,
    pcie_bytes: [Option<f64>; 2],
}

/// The traffic as of one round.
pub struct LinkRates {
    /// KiB per second over all NVLinks and over link 0, both directions together.
    pub nvlink_kib_per_second: [Measured<f64>; 2],
    /// Bytes sent and received over PCIe since the device was opened, integrated from GPM's rates.
    pub pcie_bytes: [Option<f64>; 2],
}

impl LinkTraffic {
    /// Begins anew after a pause: rates over it would be of another time than the values beside them. Sums go
    /// on.
    pub fn restart(&mut self) {
        *self = Self { pcie_bytes: self.pcie_bytes, ..Self::default() };
    }

    /// Takes the values of one round.
    pub fn advance(&mut self, now: Instant, fields: &FieldValues, gpm: &GpmMetrics) -> LinkRates {
        let (sent, received) =
            (f::NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX, f::NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX);
        let mut rate = |slot: usize, sent, received| {
            let kib =
                fields.unsigned(sent).and_then(|sent| Ok(sent.saturating_add(fields.unsigned(received)?)));
            self.nvlink[slot].per_second(sent.name(), now, kib)
        };
        let nvlink_kib_per_second =
            [rate(0, sent.sum(), received.sum()), rate(1, sent.of(0), received.of(0))];
        let seconds = self.last.replace(now).map(|last| now.duration_since(last).as_secs_f64());
        for (sum, metric) in
            self.pcie_bytes.iter_mut().zip([GpmMetric::PcieTxPerSec, GpmMetric::PcieRxPerSec])
        {
            if let (Ok(mib_per_second), Some(seconds)) = (gpm.get(metric), seconds) {
                *sum = Some(sum.unwrap_or(0.0) + mib_per_second * 1_048_576.0 * seconds);
            }
        }
        LinkRates { nvlink_kib_per_second, pcie_bytes: self.pcie_bytes }
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
