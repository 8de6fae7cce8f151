//! Numbers in the arguments and results of HLML's functions (pyhlml 1.24.2; unchanged since 1.10 unless
//! noted).

/// Maximum length of names and serial numbers, bytes.
pub const FIELD_BYTES: usize = 32;
/// Maximum length of versions and UUIDs, bytes.
pub const VERSION_BYTES: usize = 128;

/// `hlml_clock_type_t`: the only clock of a Gaudi; the other values are for Goya.
pub const CLOCK_SOC: u32 = 0;

/// `hlml_temperature_sensors_t`: the die.
pub const TEMPERATURE_ON_AIP: u32 = 0;
/// The board.
pub const TEMPERATURE_ON_BOARD: u32 = 1;
/// The memory; newer libraries only.
pub const TEMPERATURE_HBM: u32 = 3;

/// `hlml_temperature_thresholds_t`: the device shuts down.
pub const THRESHOLD_SHUTDOWN: u32 = 0;
/// The device slows down.
pub const THRESHOLD_SLOWDOWN: u32 = 1;
/// The memory leaves its operating range.
pub const THRESHOLD_MEMORY: u32 = 2;
/// The die leaves its operating range.
pub const THRESHOLD_GPU: u32 = 3;

/// `hlml_p_states_t`: the highest performance state; 32 means unknown.
pub const PSTATE_MAX: u32 = 15;

/// `hlml_memory_error_type_t`: corrected errors.
pub const ERROR_CORRECTED: u32 = 0;
/// `hlml_memory_error_type_t`: uncorrected errors.
pub const ERROR_UNCORRECTED: u32 = 1;

/// `hlml_memory_location_type_t`: on the die.
pub const LOCATION_SRAM: u32 = 0;

/// `hlml_ecc_counter_type_t`: since the driver was loaded.
pub const ECC_VOLATILE: u32 = 0;
/// Over the device's life.
pub const ECC_AGGREGATE: u32 = 1;

/// `hlml_pcie_util_counter_t`: from the device.
pub const PCIE_TRANSMIT: u32 = 0;
/// To the device.
pub const PCIE_RECEIVE: u32 = 1;

/// `hlml_row_replacement_cause_t`: several single-bit errors in the row.
pub const ROWS_SINGLE_BIT: u32 = 0;
/// A double-bit error in the row.
pub const ROWS_DOUBLE_BIT: u32 = 1;

/// Event: an uncorrectable error in on-chip memory.
pub const EVENT_ECC_UNCORRECTED: u64 = 1 << 0;
/// Event: a critical error of the device.
pub const EVENT_CRITICAL: u64 = 1 << 1;
/// Event: the clock changed, which is normal.
pub const EVENT_CLOCK: u64 = 1 << 2;
/// Event: an uncorrectable error in HBM. The oldest libraries do not have it.
pub const EVENT_DRAM_UNCORRECTED: u64 = 1 << 3;
/// Event: a corrected error in on-chip memory.
pub const EVENT_ECC_CORRECTED: u64 = 1 << 4;

/// Throttle reason: power.
pub const THROTTLE_POWER: u64 = 1 << 0;
/// Throttle reason: temperature.
pub const THROTTLE_THERMAL: u64 = 1 << 1;

/// Number of 64-bit words in a port mask: `PORTS_ARR_SIZE`.
pub const PORT_WORDS: usize = 2;
