//! Sysman's enumerations as label values.

use level_zero_sys::value as v;
use reading::LabelValue;

/// `zes_engine_group_t` of single engines, by values of the label `engine`.
pub const ENGINES: [(u32, &str); 7] = [
    (v::ENGINE_COMPUTE, "compute"),
    (v::ENGINE_RENDER, "render"),
    (v::ENGINE_DECODE, "decode"),
    (v::ENGINE_ENCODE, "encode"),
    (v::ENGINE_COPY, "copy"),
    (v::ENGINE_ENHANCE, "enhance"),
    (v::newer::ENGINE_CODEC, "media"),
];

/// `zes_engine_group_t` of several engines together, which would be counted twice.
pub const COMBINED_ENGINES: [u32; 8] =
    [v::ENGINE_ALL, v::ENGINE_COMPUTE_ALL, v::ENGINE_MEDIA_ALL, v::ENGINE_COPY_ALL, 10, 11, 12, 13];

/// `zes_freq_domain_t`, by values of the label `domain`.
pub const DOMAINS: [(u32, &str); 3] =
    [(v::CLOCK_GPU, "graphics"), (v::CLOCK_MEMORY, "memory"), (v::newer::CLOCK_MEDIA, "video")];

/// `zes_temp_sensors_t`, by values of the label `sensor`.
pub const SENSORS: [(u32, &str); 5] = [
    (v::SENSOR_GLOBAL, "hottest"),
    (v::SENSOR_GPU, "gpu"),
    (v::SENSOR_MEMORY, "memory"),
    (v::newer::SENSOR_BOARD, "board"),
    (v::newer::SENSOR_REGULATOR, "voltage_regulator"),
];
/// Sensors that report the lowest of several temperatures (`*_MIN`), which are not exported.
pub const LOWEST_SENSORS: [u32; 4] = [3, 4, 5, 7];

/// `zes_power_level_t`, by the same values of the label `limit` as the kernel's limits.
pub const LIMITS: [(u32, &str); 3] =
    [(v::LEVEL_SUSTAINED, "enforced"), (v::LEVEL_BURST, "burst"), (v::LEVEL_PEAK, "peak")];

/// `zes_freq_throttle_reason_flag_t`, by values of the label `reason`. The driver derives the first four from
/// the kernel's reasons, so they have the kernel's names.
pub const REASONS: [(u32, &str); 10] = [
    (v::THROTTLE_AVERAGE_POWER, "pl1"),
    (v::THROTTLE_BURST_POWER, "pl2"),
    (v::THROTTLE_CURRENT, "pl4"),
    (v::THROTTLE_THERMAL, "thermal"),
    (v::THROTTLE_SUPPLY, "psu_alert"),
    (v::THROTTLE_SOFTWARE_RANGE, "sw_range"),
    (v::THROTTLE_HARDWARE_RANGE, "hw_range"),
    (v::newer::THROTTLE_VOLTAGE, "voltage"),
    (v::newer::THROTTLE_HEAT, "thermal"),
    (v::newer::THROTTLE_POWER, "power"),
];
/// The reasons that every driver reports, so that they are 0 while they are not active.
pub const REASONS_ALWAYS_REPORTED: u32 =
    v::THROTTLE_AVERAGE_POWER | v::THROTTLE_BURST_POWER | v::THROTTLE_CURRENT | v::THROTTLE_THERMAL;

/// `zes_ras_error_cat_t`, by value: the label `code` of errors.
pub const RAS_CATEGORIES: [&str; 7] = [
    "reset",
    "programming_errors",
    "driver_errors",
    "compute_errors",
    "non_compute_errors",
    "cache_errors",
    "display_errors",
];
/// Cache errors are those of ECC.
pub const CACHE_ERRORS: usize = 5;

/// The label of a value of an enumeration; a value that is newer than the table keeps its number.
pub fn named(table: &[(u32, &'static str)], value: u32) -> LabelValue {
    let row = table.iter().find(|(known, _)| *known == value);
    row.map_or(LabelValue::Number(value), |(_, word)| LabelValue::Word(word))
}
