//! What a board's readings cannot exceed, by what the board itself reports. A driver was seen to report 593 W
//! for a board of 175 W, 4 PHz, and one GPM sample of 2^64 bytes per second.

use kernel::pci::Link;
use reading::{Ceiling, Fault, FaultCode, Measured};

use crate::raw::{FieldValues, GpmMetric, GpmMetrics, Raw, fields as f};

/// Rates are of samples whose ends are not exactly those of the interval.
const LINK_ROOM: f64 = 1.5;

/// The ceilings of one board in one round.
pub struct Ceilings {
    power_mw: Ceiling,
    clocks_mhz: [Ceiling; 4],
    pcie_mib: Ceiling,
    nvlink_mib: Ceiling,
    /// Of the counter of energy.
    pub energy_mj: Ceiling,
    /// Of a counter of bytes over PCIe.
    pub pcie: Ceiling,
}

impl Ceilings {
    /// From the limits that the board reports.
    pub fn new(raw: &Raw, fields: &FieldValues) -> Self {
        let power_mw = raw.limits_mw.range.map(|(_, max)| f64::from(max));
        let mib = |bytes: f64| bytes / 1_048_576.0;
        let (generation, width) = raw.pcie_max;
        let unknown = Fault::new("nvmlDeviceGetMaxPcieLinkGeneration", FaultCode::UnknownGeneration);
        let pcie = generation.and_then(|generation| Link::new(generation, width?).ok_or(unknown));
        let nvlink = fields.unsigned(f::NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON);
        let pcie = pcie.map(Link::bytes_per_second);
        let energy_mj = Ceiling::of_energy(power_mw.map(|milli| milli / 1e3)).times(1e3);
        Self {
            energy_mj,
            pcie: Ceiling::of_link(pcie),
            power_mw: energy_mj,
            clocks_mhz: raw
                .max_clocks_mhz
                .map(|max| Ceiling::of_clock(max.map(|mega| f64::from(mega) * 1e6)).times(1e-6)),
            pcie_mib: Ceiling::new(pcie.map(mib), LINK_ROOM),
            nvlink_mib: Ceiling::new(
                nvlink.map(|mega| mib(mega as f64 * 1e6) * raw.links.len() as f64),
                LINK_ROOM,
            ),
        }
    }

    /// Of a counter of bytes over an NVLink in one direction.
    pub fn nvlink(fields: &FieldValues, link: u32) -> Ceiling {
        let own = fields.unsigned(f::NVML_FI_DEV_NVLINK_GET_SPEED.of(link));
        let speed = own.or_else(|_| fields.unsigned(f::NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON));
        Ceiling::of_link(speed.map(|mega| mega as f64 * 1e6))
    }

    /// Drops what single-value calls returned past a ceiling.
    pub fn apply(&self, raw: &mut Raw) {
        let check = |ceiling: Ceiling, call, reading: Measured<u32>| {
            reading.and_then(|value| ceiling.check(call, value))
        };
        raw.power_mw = check(self.power_mw, "nvmlDeviceGetPowerUsage", raw.power_mw);
        for (clock, ceiling) in raw.clocks_mhz.iter_mut().zip(self.clocks_mhz) {
            *clock = check(ceiling, "nvmlDeviceGetClockInfo", *clock);
        }
    }

    /// Drops rates past what the links carry.
    pub fn apply_to_gpm(&self, gpm: &mut GpmMetrics) {
        for (metric, ceiling) in [
            (GpmMetric::PcieTxPerSec, self.pcie_mib),
            (GpmMetric::PcieRxPerSec, self.pcie_mib),
            (GpmMetric::NvlinkTotalTxPerSec, self.nvlink_mib),
            (GpmMetric::NvlinkTotalRxPerSec, self.nvlink_mib),
        ] {
            gpm.limit(metric, ceiling);
        }
    }

    /// The power of the last moments, in milliwatts.
    pub fn instant_power(&self, fields: &FieldValues) -> Measured<u64> {
        let field = f::NVML_FI_DEV_POWER_INSTANT;
        let milliwatts = fields.unsigned(field)?;
        self.power_mw.check(field.name(), milliwatts as f64).map(|_| milliwatts)
    }
}
