//! What NVML leaves to its callers: rates and sums over the rounds of one device, and the window of clock
//! events.

use std::{collections::VecDeque, time::Instant};

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

/// How often each clock event was seen within dcgm-exporter's window.
#[derive(Default)]
pub struct ClockEvents(VecDeque<(Instant, u64)>);

impl ClockEvents {
    /// Takes the mask of one round.
    pub fn record(&mut self, now: Instant, mask: u64) {
        self.0.push_back((now, mask));
        while self.0.front().is_some_and(|(at, _)| now.duration_since(*at) > xid::WINDOW) {
            self.0.pop_front();
        }
    }

    /// Samples in the window with bit `mask` set.
    pub fn count(&self, mask: u64) -> u64 {
        self.0.iter().filter(|(_, seen)| seen & mask != 0).count() as u64
    }
}
