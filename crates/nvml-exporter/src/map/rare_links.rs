//! What is read of links once in a while: PCIe errors, the counters of NVLink from Blackwell on, and the links to
//! the CPU beside the device.

use naming::{BytesPerSecond, Count, FaultCode, Flag, Label, Ratio, catalogue as m};
use reading::{Absence, Batch, Fault, Labels, Measured};

use crate::raw::{FieldKey, FieldValues, LinkField, fields as f};

/// Errors of the PCIe link.
const PCIE_ERRORS: [(&str, FieldKey); 11] = [
    ("correctable", f::NVML_FI_DEV_PCIE_COUNT_CORRECTABLE_ERRORS),
    ("non_fatal", f::NVML_FI_DEV_PCIE_COUNT_NON_FATAL_ERROR),
    ("fatal", f::NVML_FI_DEV_PCIE_COUNT_FATAL_ERROR),
    ("unsupported_request", f::NVML_FI_DEV_PCIE_COUNT_UNSUPPORTED_REQ),
    ("receiver", f::NVML_FI_DEV_PCIE_COUNT_RECEIVER_ERROR),
    ("lane", f::NVML_FI_DEV_PCIE_COUNT_LANE_ERROR),
    ("lcrc", f::NVML_FI_DEV_PCIE_COUNT_LCRC_ERROR),
    ("bad_tlp", f::NVML_FI_DEV_PCIE_COUNT_BAD_TLP),
    ("bad_dllp", f::NVML_FI_DEV_PCIE_COUNT_BAD_DLLP),
    ("nak_received", f::NVML_FI_DEV_PCIE_COUNT_NAKS_RECEIVED),
    ("nak_sent", f::NVML_FI_DEV_PCIE_COUNT_NAKS_SENT),
];

/// Errors of each NVLink that name the link to replace.
const NVLINK_ERRORS: [(&str, LinkField); 2] = [
    ("link_recovery_failed", f::NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_FAILED_EVENTS),
    ("local_integrity", f::NVML_FI_DEV_NVLINK_COUNT_LOCAL_LINK_INTEGRITY_ERRORS),
];

/// Errors of NVLinks that are exported as a sum, to bound the number of series.
const NVLINK_ERROR_SUMS: [(&str, LinkField); 5] = [
    ("malformed_packet", f::NVML_FI_DEV_NVLINK_COUNT_MALFORMED_PACKET_ERRORS),
    ("buffer_overrun", f::NVML_FI_DEV_NVLINK_COUNT_BUFFER_OVERRUN_ERRORS),
    ("receive_remote", f::NVML_FI_DEV_NVLINK_COUNT_RCV_REMOTE_ERRORS),
    ("receive_general", f::NVML_FI_DEV_NVLINK_COUNT_RCV_GENERAL_ERRORS),
    ("transmit_discard", f::NVML_FI_DEV_NVLINK_COUNT_XMIT_DISCARDS),
];

/// Errors of each lane of an NVLink before error correction.
const LANE_ERRORS: [LinkField; 2] =
    [f::NVML_FI_DEV_NVLINK_COUNT_RAW_ERRORS_LANE0, f::NVML_FI_DEV_NVLINK_COUNT_RAW_ERRORS_LANE1];

/// Their shares of the bits, and that of the link.
const LANE_BIT_ERRORS: [(&str, LinkField); 3] = [
    ("0", f::NVML_FI_DEV_NVLINK_COUNT_RAW_BER_LANE0_V2),
    ("1", f::NVML_FI_DEV_NVLINK_COUNT_RAW_BER_LANE1_V2),
    ("all", f::NVML_FI_DEV_NVLINK_COUNT_RAW_BER_V2),
];

/// Bins of forward error correction.
const FEC_BINS: [LinkField; 16] = [
    f::NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_0,
    f::NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_1,
    f::NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_2,
    f::NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_3,
    f::NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_4,
    f::NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_5,
    f::NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_6,
    f::NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_7,
    f::NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_8,
    f::NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_9,
    f::NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_10,
    f::NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_11,
    f::NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_12,
    f::NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_13,
    f::NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_14,
    f::NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_15,
];

/// Errors of each link to the CPU.
const C2C_ERRORS: [(&str, LinkField); 3] = [
    ("crc", f::NVML_FI_DEV_C2C_LINK_ERROR_INTR),
    ("replay", f::NVML_FI_DEV_C2C_LINK_ERROR_REPLAY),
    ("replay_back_to_back", f::NVML_FI_DEV_C2C_LINK_ERROR_REPLAY_B2B),
];

/// Puts all of it, of a board with so many NVLinks and links to its CPU. `often` are the fields of the round.
pub fn put(
    rare: &FieldValues,
    often: &FieldValues,
    links: Measured<u32>,
    c2c_links: Measured<u32>,
    batch: &mut Batch,
) {
    for (error, field) in PCIE_ERRORS {
        let count = rare.unsigned(field).map(Count);
        batch.put(m::PCIE_ERRORS, Labels::one(Label::Error, error), count);
    }
    if let Ok(links) = links {
        nvlink(rare, often, links, batch);
    }
    for link in 0..c2c_links.unwrap_or(0) {
        c2c(rare, link, batch);
    }
}

fn nvlink(rare: &FieldValues, often: &FieldValues, links: u32, batch: &mut Batch) {
    for link in 0..links {
        let labels = || Labels::one(Label::Link, link).with(Label::Kind, "nvlink");
        let count = |field: LinkField| rare.unsigned(field.of(link)).map(Count);
        for (error, field) in NVLINK_ERRORS {
            batch.put(m::LINK_ERRORS, labels().with(Label::Error, error), count(field));
        }
        let ratio = |field: LinkField| bit_error_ratio(field.of(link).name(), rare.unsigned(field.of(link))?);
        for (lane, field) in (0u32..).zip(LANE_ERRORS) {
            batch.put(m::LINK_RAW_ERRORS, labels().with(Label::Lane, lane), count(field));
        }
        for (lane, field) in LANE_BIT_ERRORS {
            batch.put(m::LINK_RAW_BIT_ERRORS, labels().with(Label::Lane, lane), ratio(field));
        }
        batch.put(m::LINK_BLOCKS, labels(), count(f::NVML_FI_DEV_NVLINK_PLR_XMIT_BLOCKS));
        batch.put(m::LINK_RETRY_BLOCKS, labels(), count(f::NVML_FI_DEV_NVLINK_PLR_XMIT_RETRY_BLOCKS));
        batch.put(m::LINK_DATA_BANDWIDTH, labels(), data_bandwidth(rare, often, link));
        batch.put(m::LINK_SYMBOL_ERRORS, labels(), count(f::NVML_FI_DEV_NVLINK_COUNT_SYMBOL_ERRORS));
        batch.put(m::LINK_BIT_ERRORS, labels(), ratio(f::NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_BER));
    }
    for (error, field) in NVLINK_ERROR_SUMS {
        let labels = Labels::one(Label::Link, "all").with(Label::Kind, "nvlink").with(Label::Error, error);
        batch.put(m::LINK_ERRORS, labels, sum(rare, field, links));
    }
    for (bin, field) in (0u32..).zip(FEC_BINS) {
        let labels = Labels::one(Label::Kind, "nvlink").with(Label::Bin, bin);
        batch.put(m::LINK_FEC, labels, sum(rare, field, links));
    }
}

/// The sum over all links; absent when one that has the counter cannot be read, since a sum without it would fall.
fn sum(fields: &FieldValues, field: LinkField, links: u32) -> Measured<Count> {
    let mut sum: Option<u64> = None;
    let mut unsupported = None;
    for link in 0..links {
        match fields.unsigned(field.of(link)) {
            Ok(count) => sum = Some(sum.unwrap_or(0).saturating_add(count)),
            Err(fault) if fault.absence == Absence::Unsupported => unsupported = Some(fault),
            Err(fault) => return Err(fault),
        }
    }
    match (sum, unsupported) {
        (None, Some(fault)) => Err(fault),
        (sum, _) => Ok(Count(sum.unwrap_or(0))),
    }
}

/// A ratio as NVML packs it: mantissa in bits 8 to 11, negative exponent of 10 in bits 0 to 7 (nvml.h,
/// `NVML_NVLINK_ERROR_COUNTER_BER_GET`).
fn bit_error_ratio(call: &'static str, packed: u64) -> Measured<Ratio> {
    let (mantissa, exponent) = (packed >> 8, packed & 0xff);
    let ratio = mantissa as f64 * 10f64.powi(-i32::try_from(exponent).unwrap_or(i32::MAX));
    if mantissa > 0xf || ratio > 1.0 {
        Err(Fault::new(call, FaultCode::OutOfRange))
    } else {
        Ok(Ratio(ratio))
    }
}

/// What error correction leaves of a link's speed. nvml.h names no unit: a number that is not a part of the link's
/// speed is of another one.
fn data_bandwidth(seldom: &FieldValues, often: &FieldValues, link: u32) -> Measured<BytesPerSecond> {
    const RATE: LinkField = f::NVML_FI_DEV_NVLINK_GET_DATA_RATE;
    let rate = seldom.unsigned(RATE.of(link))?;
    let speed = often.unsigned(f::NVML_FI_DEV_NVLINK_GET_SPEED.of(link))?;
    let fault = |code| Err(Fault::new(RATE.of(link).name(), code));
    match rate {
        _ if speed == 0 => fault(FaultCode::LinkWithoutSpeed),
        rate if (speed / 2..=speed).contains(&rate) => Ok(BytesPerSecond(rate as f64 * 1e6)),
        _ => fault(FaultCode::OutOfRange),
    }
}

fn c2c(fields: &FieldValues, link: u32, batch: &mut Batch) {
    let labels = || Labels::one(Label::Link, link).with(Label::Kind, "c2c");
    let flag = |field: LinkField| fields.unsigned(field.of(link)).map(|value| Flag(value == 1));
    batch.put(m::LINK_UP, labels(), flag(f::NVML_FI_DEV_C2C_LINK_GET_STATUS));
    batch.put(m::LINK_LOW_POWER, labels(), flag(f::NVML_FI_DEV_C2C_LINK_POWER_STATE));
    let mega = fields.unsigned(f::NVML_FI_DEV_C2C_LINK_GET_MAX_BW.of(link));
    batch.put(m::LINK_BANDWIDTH, labels(), mega.map(|mega| BytesPerSecond(mega as f64 * 1e6)));
    for (error, field) in C2C_ERRORS {
        let count = fields.unsigned(field.of(link)).map(Count);
        batch.put(m::LINK_ERRORS, labels().with(Label::Error, error), count);
    }
}

#[cfg(test)]
mod tests {
    use super::bit_error_ratio;

    #[test]
    fn bit_error_ratios_are_unpacked() {
        let ratio = |packed| bit_error_ratio("call", packed).map(|ratio| ratio.0);
        assert!(ratio(0x10c).is_ok_and(|ratio| (ratio - 1e-12).abs() < 1e-24));
        assert!(ratio(0xffe).is_ok_and(|ratio| (ratio - 1.5e-253).abs() < 1e-260));
        assert!(ratio(0xff).is_ok_and(|ratio| ratio < f64::MIN_POSITIVE), "no errors");
        // More wrong bits than bits, and a number that is not packed.
        assert!(ratio(0x200).is_err() && ratio(0x1_0005).is_err());
    }
}
