//! What a device's rounds add up to: rates and integrals that NVML leaves to its callers, and the window
//! of clock events.

use std::{collections::VecDeque, time::Instant};

use crate::{
    raw::{FieldValues, GpmMetric, GpmMetrics, fields as f},
    xid,
};

/// Rates and integrals that NVML leaves to its callers.
#[derive(Default)]
pub struct Traffic {
    last: Option<Instant>,
    /// KiB over all links and over link 0, both directions, as of the last round.
    nvlink_kib: [Option<u64>; 2],
    /// KiB per second over all links and over link 0, both directions.
    pub nvlink_kib_per_second: [Option<f64>; 2],
    /// Bytes sent and received over PCIe, integrated from GPM's rates.
    pub pcie_bytes: [Option<f64>; 2],
}

impl Traffic {
    /// Takes in one round.
    pub fn advance(&mut self, now: Instant, fields: &FieldValues, gpm: &GpmMetrics) {
        let seconds = self.last.replace(now).map(|last| now.duration_since(last).as_secs_f64());
        let (sent, received) =
            (f::NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX, f::NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX);
        for (slot, keys) in
            [[sent.sum(), received.sum()], [sent.of(0), received.of(0)]].into_iter().enumerate()
        {
            let [tx, rx] = keys.map(|key| fields.unsigned(key).ok());
            let total = tx.zip(rx).map(|(tx, rx)| tx.saturating_add(rx));
            let before = std::mem::replace(&mut self.nvlink_kib[slot], total);
            // A counter that went back has restarted: no rate for this interval.
            self.nvlink_kib_per_second[slot] = match (total, before, seconds) {
                (Some(total), Some(before), Some(seconds)) if total >= before && seconds > 0.0 => {
                    Some((total - before) as f64 / seconds)
                }
                _ => None,
            };
        }
        for (slot, metric) in [GpmMetric::PcieTxPerSec, GpmMetric::PcieRxPerSec].into_iter().enumerate() {
            if let (Ok(mib_per_second), Some(seconds)) = (gpm.get(metric), seconds) {
                let bytes = mib_per_second * 1_048_576.0 * seconds;
                self.pcie_bytes[slot] = Some(self.pcie_bytes[slot].unwrap_or(0.0) + bytes);
            }
        }
    }
}

/// How often each clock event was seen within dcgm-exporter's window.
#[derive(Default)]
pub struct ClockEvents(VecDeque<(Instant, u64)>);

impl ClockEvents {
    /// Takes in one round.
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
