//! The fields that are read: one row each, under a heading for when and of what it is read.
//!
//! A row is a constant with the field's name in `nvml.h`. `map` refers to it, so that a row that is missing
//! does not compile, and one that nothing maps is dead code.

/// The fields' numbers, and those that the bindings do not know yet.
mod field_id {
    pub use nvml_wrapper_sys::bindings::field_id::*;

    pub const NVML_FI_DEV_NVLINK_COUNT_RAW_ERRORS_LANE0: u32 = 289;
    pub const NVML_FI_DEV_NVLINK_COUNT_RAW_ERRORS_LANE1: u32 = 290;
    pub const NVML_FI_DEV_NVLINK_COUNT_RAW_BER_LANE0_V2: u32 = 291;
    pub const NVML_FI_DEV_NVLINK_COUNT_RAW_BER_LANE1_V2: u32 = 292;
    pub const NVML_FI_DEV_NVLINK_COUNT_RAW_BER_V2: u32 = 293;
    pub const NVML_FI_DEV_NVLINK_PLR_XMIT_BLOCKS: u32 = 294;
    pub const NVML_FI_DEV_NVLINK_PLR_XMIT_RETRY_BLOCKS: u32 = 295;
    pub const NVML_FI_DEV_NVLINK_GET_DATA_RATE: u32 = 296;
    pub const NVML_FI_DEV_REMAPPED_ROWS_COR_INACTIVE: u32 = 301;
    pub const NVML_FI_DEV_REMAPPED_ROWS_UNC_INACTIVE: u32 = 302;
    pub const NVML_FI_DEV_ACTIVE_BANK_REMAPPINGS: u32 = 303;
    pub const NVML_FI_DEV_INACTIVE_BANK_REMAPPINGS: u32 = 304;
    pub const NVML_FI_DEV_BANK_REMAPPER_HISTOGRAM_MAX: u32 = 305;
    pub const NVML_FI_DEV_BANK_REMAPPER_HISTOGRAM_NONE: u32 = 306;
    pub const NVML_FI_DEV_PENDING_BANK_REMAPPING: u32 = 307;
    pub const NVML_FI_DEV_GPU_TEMP: u32 = 308;
}

/// `scopeId` of the sum over all NVLinks (nvml.h, NVLink throughput counters).
const ALL_LINKS: u32 = u32::MAX;

/// A field of NVML: its number and name in `nvml.h`.
#[derive(Clone, Copy, Debug)]
struct Field {
    id: u32,
    name: &'static str,
}

/// One value: a field, and the scope that it is read for.
#[derive(Clone, Copy, Debug)]
pub struct FieldKey {
    field: Field,
    scope: u32,
}

impl FieldKey {
    /// The value of a field that has one per device.
    const fn new(field: Field) -> Self {
        Self { field, scope: 0 }
    }

    /// Number in `nvml.h`.
    pub fn id(self) -> u32 {
        self.field.id
    }

    /// `scopeId` in `nvml.h`.
    pub fn scope(self) -> u32 {
        self.scope
    }

    /// Name in `nvml.h`, for faults.
    pub fn name(self) -> &'static str {
        self.field.name
    }
}

/// A field that has a value for each NVLink.
#[derive(Clone, Copy, Debug)]
pub struct LinkField(Field);

impl LinkField {
    const fn new(field: Field) -> Self {
        Self(field)
    }

    /// The value of one link.
    pub const fn of(self, link: u32) -> FieldKey {
        FieldKey { field: self.0, scope: link }
    }
}

/// A field that has a value for each NVLink, and their sum.
#[derive(Clone, Copy, Debug)]
pub struct SummedLinkField(Field);

impl SummedLinkField {
    const fn new(field: Field) -> Self {
        Self(field)
    }

    /// The value of one link.
    pub const fn of(self, link: u32) -> FieldKey {
        FieldKey { field: self.0, scope: link }
    }

    /// The sum over all links.
    pub const fn sum(self) -> FieldKey {
        self.of(ALL_LINKS)
    }
}

macro_rules! fields {
    ($(
        $(#[$heading_doc:meta])*
        $heading:ident: $kind:ident { $($(#[$doc:meta])* $name:ident;)* }
    )*) => {$(
        $(#[$heading_doc])*
        const $heading: &[Field] = &[$(Field { id: field_id::$name, name: stringify!($name) }),*];
        $(
            $(#[$doc])*
            pub const $name: $kind = $kind::new(Field { id: field_id::$name, name: stringify!($name) });
        )*
    )*};
}

fields! {
    /// Once, when a device is opened.
    AT_OPEN: FieldKey {
        /// NVLinks that the device has.
        NVML_FI_DEV_NVLINK_LINK_COUNT;
        /// Links to the CPU beside the device, as of Grace.
        NVML_FI_DEV_C2C_LINK_COUNT;
    }

    /// In every round, of every device.
    EVERY_DEVICE: FieldKey {
        /// Degrees Celsius, with fractions.
        NVML_FI_DEV_GPU_TEMP;
        /// Degrees Celsius.
        NVML_FI_DEV_MEMORY_TEMP;
        /// Milliwatts.
        NVML_FI_DEV_POWER_INSTANT;
        /// Single-bit errors since the driver was loaded.
        NVML_FI_DEV_ECC_SBE_VOL_TOTAL;
        /// Double-bit errors since the driver was loaded.
        NVML_FI_DEV_ECC_DBE_VOL_TOTAL;
        /// Single-bit errors over the device's life.
        NVML_FI_DEV_ECC_SBE_AGG_TOTAL;
        /// Double-bit errors over the device's life.
        NVML_FI_DEV_ECC_DBE_AGG_TOTAL;
        /// Pages retired after single-bit errors.
        NVML_FI_DEV_RETIRED_SBE;
        /// Pages retired after double-bit errors.
        NVML_FI_DEV_RETIRED_DBE;
        /// Whether pages wait for a reboot to be retired.
        NVML_FI_DEV_RETIRED_PENDING;
        /// Rows remapped after correctable errors.
        NVML_FI_DEV_REMAPPED_COR;
        /// Rows remapped after uncorrectable errors.
        NVML_FI_DEV_REMAPPED_UNC;
        /// Whether rows wait for a reset to be remapped.
        NVML_FI_DEV_REMAPPED_PENDING;
        /// Whether remapping a row has failed.
        NVML_FI_DEV_REMAPPED_FAILURE;
        /// Nanoseconds.
        NVML_FI_DEV_PERF_POLICY_POWER;
        /// Nanoseconds.
        NVML_FI_DEV_PERF_POLICY_THERMAL;
        /// Nanoseconds.
        NVML_FI_DEV_PERF_POLICY_SYNC_BOOST;
        /// Nanoseconds.
        NVML_FI_DEV_PERF_POLICY_BOARD_LIMIT;
        /// Nanoseconds.
        NVML_FI_DEV_PERF_POLICY_LOW_UTILIZATION;
        /// Nanoseconds.
        NVML_FI_DEV_PERF_POLICY_RELIABILITY;
        /// Nanoseconds.
        NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN;
        /// Nanoseconds.
        NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN;
        /// Nanoseconds.
        NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN;
        /// Bytes; 32 bits wide on some devices.
        NVML_FI_DEV_PCIE_COUNT_TX_BYTES;
        /// Bytes; 32 bits wide on some devices.
        NVML_FI_DEV_PCIE_COUNT_RX_BYTES;
        /// `nvmlDeviceGpuRecoveryAction_t`.
        NVML_FI_DEV_GET_GPU_RECOVERY_ACTION;
    }

    /// In every round, of a device with NVLink. The error counters are those of devices before Hopper.
    NVLINK_DEVICE: FieldKey {
        /// 10^6 bytes per second of each link that is up.
        NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON;
        /// Errors of all links.
        NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL;
        /// Errors of all links.
        NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL;
        /// Errors of all links.
        NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL;
        /// Errors of all links.
        NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL;
    }

    /// In every round, of each NVLink and of all together.
    EACH_LINK_AND_SUM: SummedLinkField {
        /// KiB.
        NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX;
        /// KiB.
        NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX;
    }

    /// In every round, of each NVLink. `COUNT` fields exist from Blackwell on, `ERROR_DL` fields up to
    /// Hopper.
    EACH_LINK: LinkField {
        /// Bytes.
        NVML_FI_DEV_NVLINK_COUNT_XMIT_BYTES;
        /// Bytes.
        NVML_FI_DEV_NVLINK_COUNT_RCV_BYTES;
        /// Errors.
        NVML_FI_DEV_NVLINK_ERROR_DL_REPLAY;
        /// Errors.
        NVML_FI_DEV_NVLINK_ERROR_DL_RECOVERY;
        /// Errors.
        NVML_FI_DEV_NVLINK_ERROR_DL_CRC;
        /// Errors.
        NVML_FI_DEV_NVLINK_COUNT_RCV_ERRORS;
        /// Errors.
        NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_EVENTS;
        /// Errors.
        NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_ERRORS;
        /// 10^6 bytes per second.
        NVML_FI_DEV_NVLINK_GET_SPEED;
    }

    /// Rarely, of every device.
    RARELY: FieldKey {
        /// Margin in degrees Celsius.
        NVML_FI_DEV_TEMPERATURE_SHUTDOWN_TLIMIT;
        /// Margin in degrees Celsius.
        NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT;
        /// Margin in degrees Celsius.
        NVML_FI_DEV_TEMPERATURE_MEM_MAX_TLIMIT;
        /// Margin in degrees Celsius.
        NVML_FI_DEV_TEMPERATURE_GPU_MAX_TLIMIT;
        /// Errors.
        NVML_FI_DEV_PCIE_COUNT_CORRECTABLE_ERRORS;
        /// Errors.
        NVML_FI_DEV_PCIE_COUNT_NAKS_RECEIVED;
        /// Errors.
        NVML_FI_DEV_PCIE_COUNT_RECEIVER_ERROR;
        /// Errors.
        NVML_FI_DEV_PCIE_COUNT_BAD_TLP;
        /// Errors.
        NVML_FI_DEV_PCIE_COUNT_NAKS_SENT;
        /// Errors.
        NVML_FI_DEV_PCIE_COUNT_BAD_DLLP;
        /// Errors.
        NVML_FI_DEV_PCIE_COUNT_NON_FATAL_ERROR;
        /// Errors.
        NVML_FI_DEV_PCIE_COUNT_FATAL_ERROR;
        /// Errors.
        NVML_FI_DEV_PCIE_COUNT_UNSUPPORTED_REQ;
        /// Errors.
        NVML_FI_DEV_PCIE_COUNT_LCRC_ERROR;
        /// Errors.
        NVML_FI_DEV_PCIE_COUNT_LANE_ERROR;
        /// Rows.
        NVML_FI_DEV_REMAPPED_ROWS_COR_INACTIVE;
        /// Rows.
        NVML_FI_DEV_REMAPPED_ROWS_UNC_INACTIVE;
        /// Banks.
        NVML_FI_DEV_ACTIVE_BANK_REMAPPINGS;
        /// Banks.
        NVML_FI_DEV_INACTIVE_BANK_REMAPPINGS;
        /// Groups of banks.
        NVML_FI_DEV_BANK_REMAPPER_HISTOGRAM_MAX;
        /// Groups of banks.
        NVML_FI_DEV_BANK_REMAPPER_HISTOGRAM_NONE;
        /// Whether a bank waits for a reset to be remapped.
        NVML_FI_DEV_PENDING_BANK_REMAPPING;
    }

    /// Rarely, of each NVLink, from Blackwell on.
    RARELY_EACH_LINK: LinkField {
        /// Errors.
        NVML_FI_DEV_NVLINK_COUNT_MALFORMED_PACKET_ERRORS;
        /// Errors.
        NVML_FI_DEV_NVLINK_COUNT_BUFFER_OVERRUN_ERRORS;
        /// Errors.
        NVML_FI_DEV_NVLINK_COUNT_RCV_REMOTE_ERRORS;
        /// Errors.
        NVML_FI_DEV_NVLINK_COUNT_RCV_GENERAL_ERRORS;
        /// Errors.
        NVML_FI_DEV_NVLINK_COUNT_LOCAL_LINK_INTEGRITY_ERRORS;
        /// Errors.
        NVML_FI_DEV_NVLINK_COUNT_XMIT_DISCARDS;
        /// Errors.
        NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_FAILED_EVENTS;
        /// Symbols.
        NVML_FI_DEV_NVLINK_COUNT_SYMBOL_ERRORS;
        /// Mantissa in bits 8 to 11, negative exponent of 10 in bits 0 to 7.
        NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_BER;
        /// Symbols.
        NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_0;
        /// Symbols.
        NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_1;
        /// Symbols.
        NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_2;
        /// Symbols.
        NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_3;
        /// Symbols.
        NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_4;
        /// Symbols.
        NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_5;
        /// Symbols.
        NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_6;
        /// Symbols.
        NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_7;
        /// Symbols.
        NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_8;
        /// Symbols.
        NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_9;
        /// Symbols.
        NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_10;
        /// Symbols.
        NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_11;
        /// Symbols.
        NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_12;
        /// Symbols.
        NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_13;
        /// Symbols.
        NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_14;
        /// Symbols.
        NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_15;
        /// Errors.
        NVML_FI_DEV_NVLINK_COUNT_RAW_ERRORS_LANE0;
        /// Errors.
        NVML_FI_DEV_NVLINK_COUNT_RAW_ERRORS_LANE1;
        /// As that of effective errors.
        NVML_FI_DEV_NVLINK_COUNT_RAW_BER_LANE0_V2;
        /// As that of effective errors.
        NVML_FI_DEV_NVLINK_COUNT_RAW_BER_LANE1_V2;
        /// As that of effective errors.
        NVML_FI_DEV_NVLINK_COUNT_RAW_BER_V2;
        /// Blocks.
        NVML_FI_DEV_NVLINK_PLR_XMIT_BLOCKS;
        /// Blocks.
        NVML_FI_DEV_NVLINK_PLR_XMIT_RETRY_BLOCKS;
        /// 10^6 bytes per second.
        NVML_FI_DEV_NVLINK_GET_DATA_RATE;
    }

    /// Rarely, of each link to the CPU.
    RARELY_EACH_C2C_LINK: LinkField {
        /// 1 where the link is active.
        NVML_FI_DEV_C2C_LINK_GET_STATUS;
        /// 10^6 bytes per second.
        NVML_FI_DEV_C2C_LINK_GET_MAX_BW;
        /// Errors found by check sum.
        NVML_FI_DEV_C2C_LINK_ERROR_INTR;
        /// Packets sent again.
        NVML_FI_DEV_C2C_LINK_ERROR_REPLAY;
        /// Packets sent again twice running.
        NVML_FI_DEV_C2C_LINK_ERROR_REPLAY_B2B;
        /// 1 where the link is in its low-power state.
        NVML_FI_DEV_C2C_LINK_POWER_STATE;
    }
}

/// What is read when a device is opened.
pub fn at_open() -> Vec<FieldKey> {
    AT_OPEN.iter().copied().map(FieldKey::new).collect()
}

/// What is read in every round of a device with so many NVLinks.
pub fn every_round(links: u32) -> Vec<FieldKey> {
    let mut keys: Vec<_> = EVERY_DEVICE.iter().copied().map(FieldKey::new).collect();
    if links > 0 {
        keys.extend(NVLINK_DEVICE.iter().copied().map(FieldKey::new));
        for field in EACH_LINK_AND_SUM.iter().copied().map(SummedLinkField) {
            keys.push(field.sum());
            keys.extend((0..links).map(|link| field.of(link)));
        }
        for field in EACH_LINK.iter().copied().map(LinkField) {
            keys.extend((0..links).map(|link| field.of(link)));
        }
    }
    keys
}

/// What is read once in a while, of a device with so many NVLinks and links to its CPU.
pub fn rarely(links: u32, c2c_links: u32) -> Vec<FieldKey> {
    let mut keys: Vec<_> = RARELY.iter().copied().map(FieldKey::new).collect();
    for (fields, links) in [(RARELY_EACH_LINK, links), (RARELY_EACH_C2C_LINK, c2c_links)] {
        for field in fields.iter().copied().map(LinkField) {
            keys.extend((0..links).map(|link| field.of(link)));
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{ALL_LINKS, FieldKey, every_round, rarely};

    #[test]
    fn every_value_is_read_once_and_links_have_theirs() {
        let places =
            |keys: Vec<FieldKey>| -> Vec<_> { keys.iter().map(|key| (key.id(), key.scope())).collect() };
        let read = |links| places(every_round(links));
        for links in [0, 1, 18] {
            for keys in [read(links), places(rarely(links, 2))] {
                assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "{links} links");
            }
        }
        assert_eq!(rarely(2, 1).len() - rarely(1, 1).len(), 33, "NVLinks");
        assert_eq!(rarely(0, 3).len() - rarely(0, 2).len(), 6, "links to the CPU");
        let scopes = |links| read(links).into_iter().map(|(_, scope)| scope).collect::<BTreeSet<_>>();
        assert_eq!(scopes(0), [0].into());
        assert_eq!(scopes(3), [0, 1, 2, ALL_LINKS].into());
    }
}
