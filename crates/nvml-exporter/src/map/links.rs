//! NVLink and PCIe: traffic, capacity, state and errors.

use kernel::pci::Link;
use naming::{Bytes, BytesPerSecond, Count, FaultCode, Flag, Label, catalogue as m};
use reading::{Absence, Batch, Fault, Labels, Measured};

use super::DeviceSample;
use crate::raw::{
    FieldKey, FieldValues, GpmMetric, GpmMetrics, LinkField, NvLink, SummedLinkField, fields as f,
};

/// Error counters of one NVLink: the first three up to Hopper, the others from Blackwell on.
const LINK_ERRORS: [(&str, LinkField); 6] = [
    ("replay", f::NVML_FI_DEV_NVLINK_ERROR_DL_REPLAY),
    ("recovery", f::NVML_FI_DEV_NVLINK_ERROR_DL_RECOVERY),
    ("crc", f::NVML_FI_DEV_NVLINK_ERROR_DL_CRC),
    ("receive", f::NVML_FI_DEV_NVLINK_COUNT_RCV_ERRORS),
    ("link_recovery", f::NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_EVENTS),
    ("effective", f::NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_ERRORS),
];

/// Error counters over all NVLinks, before Hopper, each with the field that counts the same by link.
const ALL_LINK_ERRORS: [(&str, FieldKey, LinkField); 4] = [
    ("crc_flit", f::NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL, f::NVML_FI_DEV_NVLINK_ERROR_DL_CRC),
    ("crc_data", f::NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL, f::NVML_FI_DEV_NVLINK_ERROR_DL_CRC),
    ("replay", f::NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL, f::NVML_FI_DEV_NVLINK_ERROR_DL_REPLAY),
    ("recovery", f::NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL, f::NVML_FI_DEV_NVLINK_ERROR_DL_RECOVERY),
];

/// GPM's rates in DCGM's vocabulary.
pub fn rates(gpm: &GpmMetrics, batch: &mut Batch) {
    // MiB per second; whole bytes per second, as DCGM prints.
    let rate = |metric| gpm.get(metric).map(|mib| BytesPerSecond((mib * 1_048_576.0).trunc()));
    for (metric, sent, received) in [
        (m::PCIE_RATE, GpmMetric::PcieTxPerSec, GpmMetric::PcieRxPerSec),
        (m::NVLINK_RATE, GpmMetric::NvlinkTotalTxPerSec, GpmMetric::NvlinkTotalRxPerSec),
    ] {
        batch.put(metric, Labels::one(Label::Direction, "transmit"), rate(sent));
        batch.put(metric, Labels::one(Label::Direction, "receive"), rate(received));
    }
}

/// Every NVLink, and their sums.
pub fn nvlink(sample: &DeviceSample<'_>, batch: &mut Batch) {
    if sample.raw.links.is_empty() {
        let none = Fault::new(f::NVML_FI_DEV_NVLINK_LINK_COUNT.name(), FaultCode::NoNvlink);
        let none = sample.links.err().unwrap_or(none);
        for metric in [m::LINK_RECEIVE, m::LINK_TRANSMIT] {
            batch.put(metric, Labels::one(Label::Kind, "nvlink"), Err(none));
        }
        batch.put(m::LINK_UP, Labels::one(Label::Kind, "nvlink"), Err(none));
        return;
    }
    for (link, bytes) in sample.raw.links.iter().zip(&sample.counts.links) {
        one_nvlink(link, *bytes, sample, batch);
    }
    for (error, field, by_link) in ALL_LINK_ERRORS {
        let count = sample.fields.unsigned(field).map(Count);
        batch.put(m::NVLINK_ERRORS, Labels::one(Label::Error, error), count);
        // Beside the links' own counts it would be the same errors twice.
        let count_of = |link: &NvLink| sample.fields.unsigned(by_link.of(link.number));
        let unsupported =
            |count: Measured<u64>| count.is_err_and(|fault| fault.absence == Absence::Unsupported);
        if sample.raw.links.iter().map(count_of).all(unsupported) {
            let labels =
                Labels::one(Label::Link, "all").with(Label::Kind, "nvlink").with(Label::Error, error);
            batch.put(m::LINK_ERRORS, labels, count);
        }
    }
    for (direction, kib) in ["both", "both_link_0"].into_iter().zip(sample.counts.nvlink_kib_per_second) {
        let rate = kib.map(|kib| BytesPerSecond(kib * 1024.0));
        batch.put(m::NVLINK_RATE, Labels::one(Label::Direction, direction), rate);
    }
}

/// Bytes that a link sent and received by its counters, and the field that has them.
pub fn link_bytes(fields: &FieldValues, link: u32) -> [(&'static str, Measured<u64>); 2] {
    [
        (f::NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX, f::NVML_FI_DEV_NVLINK_COUNT_XMIT_BYTES),
        (f::NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX, f::NVML_FI_DEV_NVLINK_COUNT_RCV_BYTES),
    ]
    .map(|(kib, bytes): (SummedLinkField, LinkField)| {
        let (kib, bytes) = (kib.of(link), bytes.of(link));
        match fields.unsigned(kib) {
            Err(fault) if fault.absence == Absence::Unsupported => (bytes.name(), fields.unsigned(bytes)),
            counted => (kib.name(), counted.map(|kib| kib.saturating_mul(1024))),
        }
    })
}

fn one_nvlink(
    link: &NvLink,
    [sent, received]: [Measured<u64>; 2],
    sample: &DeviceSample<'_>,
    batch: &mut Batch,
) {
    let (fields, number) = (sample.fields, link.number);
    let labels = || Labels::one(Label::Link, number).with(Label::Kind, "nvlink");
    batch.put(m::LINK_UP, labels(), link.active.map(Flag));
    batch.put(m::LINK_RECEIVE, labels(), received.map(Bytes));
    batch.put(m::LINK_TRANSMIT, labels(), sent.map(Bytes));
    // The speed that all links have in common is that of those which are up.
    let own = f::NVML_FI_DEV_NVLINK_GET_SPEED.of(number);
    let speed = fields.unsigned(own).or_else(|fault| match (fault.absence, link.active) {
        (Absence::Unsupported, Ok(true)) => fields.unsigned(f::NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON),
        _ => Err(fault),
    });
    let capacity = speed.and_then(|mega| match mega {
        0 => Err(Fault::new(own.name(), FaultCode::LinkWithoutSpeed)),
        mega => Ok(BytesPerSecond(mega as f64 * 1e6)),
    });
    batch.put(m::LINK_BANDWIDTH, labels(), capacity);
    for (error, field) in LINK_ERRORS {
        let count = fields.unsigned(field.of(number)).map(Count);
        batch.put(m::LINK_ERRORS, labels().with(Label::Error, error), count);
    }
}

/// The PCIe link.
pub fn pcie(sample: &DeviceSample<'_>, batch: &mut Batch) {
    let raw = sample.raw;
    let count = |value: Measured<u32>| value.map(|n| Count(n.into()));
    let (generation, width) = raw.pcie_current;
    batch.put(m::PCIE_GENERATION, Labels::NONE, count(generation));
    batch.put(m::PCIE_WIDTH, Labels::NONE, count(width));
    batch.put(m::PCIE_GENERATION_MAX, Labels::NONE, count(raw.pcie_max.0));
    batch.put(m::PCIE_WIDTH_MAX, Labels::NONE, count(raw.pcie_max.1));
    batch.put(m::PCIE_REPLAYS, Labels::NONE, count(raw.pcie_replays));
    let labels = || Labels::one(Label::Link, 0u32).with(Label::Kind, "pcie");
    let link = generation.and_then(|generation| {
        let unknown = Fault::new("nvmlDeviceGetCurrPcieLinkGeneration", FaultCode::UnknownGeneration);
        Link::new(generation, width?).ok_or(unknown)
    });
    let capacity = link.map(|link| BytesPerSecond(link.bytes_per_second().round()));
    batch.put(m::LINK_BANDWIDTH, labels(), capacity);
    for (index, metric) in [m::LINK_TRANSMIT, m::LINK_RECEIVE].into_iter().enumerate() {
        match pcie_bytes(sample, index) {
            PcieBytes::OfDevice(bytes) => batch.put(metric, labels(), bytes.map(Bytes)),
            PcieBytes::Integral(bytes) => batch.put_sum(metric, labels(), bytes.map(Bytes)),
        }
    }
}

/// Bytes over PCIe, by where they come from.
enum PcieBytes {
    /// The device's own counter.
    OfDevice(Measured<u64>),
    /// The integral of GPM's rate, since the device was opened.
    Integral(Measured<u64>),
}

/// Bytes over PCIe: the device's own counter where it is 64 bits wide, else GPM's, else the integral of GPM's
/// rate. A 32-bit counter wraps many times a second at PCIe speeds, and the call that measures blocks for 20 ms.
///
/// They begin at different times, so none stands in for one that fails for a round: the return to that would look
/// like traffic.
fn pcie_bytes(sample: &DeviceSample<'_>, index: usize) -> PcieBytes {
    let is_unsupported = |fault: Fault| fault.absence == Absence::Unsupported;
    let counter = sample.counts.pcie[index];
    let why = match sample.counts.pcie_is_wide[index] {
        Some(true) => return PcieBytes::OfDevice(counter),
        Some(false) => Fault::new("nvmlDeviceGetFieldValues", FaultCode::CounterWrapsTooFast),
        None => match counter {
            Err(fault) if is_unsupported(fault) => fault,
            unknown => return PcieBytes::OfDevice(unknown),
        },
    };
    let of_gpm = sample.gpm.total([GpmMetric::PcieTx, GpmMetric::PcieRx][index]);
    if !of_gpm.is_err_and(is_unsupported) {
        return PcieBytes::OfDevice(of_gpm);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a sum of rates that are never negative"
    )]
    let integral = sample.counts.pcie_integrals[index].map(|bytes| bytes as u64);
    PcieBytes::Integral(integral.map_err(|_| why))
}
