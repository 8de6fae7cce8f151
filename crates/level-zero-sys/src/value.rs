//! Values of Sysman's enumerations that a client or a simulated driver uses. All of them are `u32` in the
//! structs, because a driver may return other values.

macro_rules! values {
    ($($(#[$doc:meta])* $name:ident = $value:literal as $c:ident;)*) => {
        $($(#[$doc])* pub const $name: u32 = $value;)*

        /// Every value with the header's name for it.
        pub const ALL: &[(&str, u32)] = &[$((stringify!($c), $name)),*];
    };
}

values! {
    /// Every engine.
    ENGINE_ALL = 0 as ZES_ENGINE_GROUP_ALL;
    /// Every compute engine.
    ENGINE_COMPUTE_ALL = 1 as ZES_ENGINE_GROUP_COMPUTE_ALL;
    /// Every media engine.
    ENGINE_MEDIA_ALL = 2 as ZES_ENGINE_GROUP_MEDIA_ALL;
    /// Every copy engine.
    ENGINE_COPY_ALL = 3 as ZES_ENGINE_GROUP_COPY_ALL;
    /// One compute engine.
    ENGINE_COMPUTE = 4 as ZES_ENGINE_GROUP_COMPUTE_SINGLE;
    /// One render engine, which also runs compute work.
    ENGINE_RENDER = 5 as ZES_ENGINE_GROUP_RENDER_SINGLE;
    /// One decoder.
    ENGINE_DECODE = 6 as ZES_ENGINE_GROUP_MEDIA_DECODE_SINGLE;
    /// One encoder.
    ENGINE_ENCODE = 7 as ZES_ENGINE_GROUP_MEDIA_ENCODE_SINGLE;
    /// One copy engine.
    ENGINE_COPY = 8 as ZES_ENGINE_GROUP_COPY_SINGLE;
    /// One video enhancement engine.
    ENGINE_ENHANCE = 9 as ZES_ENGINE_GROUP_MEDIA_ENHANCEMENT_SINGLE;
    /// Memory of the host.
    MEMORY_SYSTEM = 0 as ZES_MEM_LOC_SYSTEM;
    /// Memory of the device.
    MEMORY_DEVICE = 1 as ZES_MEM_LOC_DEVICE;
    /// GDDR6.
    MEMORY_GDDR6 = 17 as ZES_MEM_TYPE_GDDR6;
    /// The memory is healthy.
    MEMORY_HEALTH_OK = 1 as ZES_MEM_HEALTH_OK;
    /// Power limit over seconds.
    LEVEL_SUSTAINED = 1 as ZES_POWER_LEVEL_SUSTAINED;
    /// Power limit over milliseconds.
    LEVEL_BURST = 2 as ZES_POWER_LEVEL_BURST;
    /// Power limit that is never exceeded.
    LEVEL_PEAK = 3 as ZES_POWER_LEVEL_PEAK;
    /// Any power source of the device.
    SOURCE_ANY = 0 as ZES_POWER_SOURCE_ANY;
    /// The limit is in milliwatts.
    LIMIT_POWER = 2 as ZES_LIMIT_UNIT_POWER;
    /// Maximum of all sensors.
    SENSOR_GLOBAL = 0 as ZES_TEMP_SENSORS_GLOBAL;
    /// GPU temperature.
    SENSOR_GPU = 1 as ZES_TEMP_SENSORS_GPU;
    /// Memory temperature.
    SENSOR_MEMORY = 2 as ZES_TEMP_SENSORS_MEMORY;
    /// The graphics and compute clock.
    CLOCK_GPU = 0 as ZES_FREQ_DOMAIN_GPU;
    /// The memory clock.
    CLOCK_MEMORY = 1 as ZES_FREQ_DOMAIN_MEMORY;
    /// Errors that the device corrected.
    RAS_CORRECTABLE = 0 as ZES_RAS_ERROR_TYPE_CORRECTABLE;
    /// Errors that it did not correct.
    RAS_UNCORRECTABLE = 1 as ZES_RAS_ERROR_TYPE_UNCORRECTABLE;
    /// The GPU shares the host's memory.
    DEVICE_INTEGRATED = 1 as ZE_DEVICE_PROPERTY_FLAG_INTEGRATED;
    /// A GPU.
    DEVICE_GPU = 1 as ZE_DEVICE_TYPE_GPU;
    /// The driver declared the device wedged.
    RESET_WEDGED = 1 as ZES_RESET_REASON_FLAG_WEDGED;
    /// A repair waits for a reset.
    RESET_REPAIR = 2 as ZES_RESET_REASON_FLAG_REPAIR;
    /// Fan speed in revolutions per minute.
    FAN_RPM = 0 as ZES_FAN_SPEED_UNITS_RPM;
    /// Fan speed in percent of the highest.
    FAN_PERCENT = 1 as ZES_FAN_SPEED_UNITS_PERCENT;
    /// ECC is on.
    ECC_ENABLED = 1 as ZES_DEVICE_ECC_STATE_ENABLED;
    /// ECC is off.
    ECC_DISABLED = 2 as ZES_DEVICE_ECC_STATE_DISABLED;
    /// The port works.
    PORT_HEALTHY = 1 as ZES_FABRIC_PORT_STATUS_HEALTHY;
    /// The port works with errors.
    PORT_DEGRADED = 2 as ZES_FABRIC_PORT_STATUS_DEGRADED;
    /// The port does not work.
    PORT_FAILED = 3 as ZES_FABRIC_PORT_STATUS_FAILED;
    /// The port is switched off.
    PORT_DISABLED = 4 as ZES_FABRIC_PORT_STATUS_DISABLED;
    /// Throttled by the average power limit.
    THROTTLE_AVERAGE_POWER = 0x1 as ZES_FREQ_THROTTLE_REASON_FLAG_AVE_PWR_CAP;
    /// Throttled by the burst power limit.
    THROTTLE_BURST_POWER = 0x2 as ZES_FREQ_THROTTLE_REASON_FLAG_BURST_PWR_CAP;
    /// Throttled by the current limit.
    THROTTLE_CURRENT = 0x4 as ZES_FREQ_THROTTLE_REASON_FLAG_CURRENT_LIMIT;
    /// Throttled by temperature.
    THROTTLE_THERMAL = 0x8 as ZES_FREQ_THROTTLE_REASON_FLAG_THERMAL_LIMIT;
    /// Throttled by the power supply.
    THROTTLE_SUPPLY = 0x10 as ZES_FREQ_THROTTLE_REASON_FLAG_PSU_ALERT;
    /// Throttled by a frequency range that software set.
    THROTTLE_SOFTWARE_RANGE = 0x20 as ZES_FREQ_THROTTLE_REASON_FLAG_SW_RANGE;
    /// Throttled by a frequency range of the hardware.
    THROTTLE_HARDWARE_RANGE = 0x40 as ZES_FREQ_THROTTLE_REASON_FLAG_HW_RANGE;
}

/// Values added after specification 1.4, the version in Debian 12: from `zes_api.h` of specification 1.17.
pub mod newer {
    values! {
        /// The GPU's own power.
        DOMAIN_GPU = 5 as ZES_POWER_DOMAIN_GPU;
        /// The whole card's power.
        DOMAIN_CARD = 1 as ZES_POWER_DOMAIN_CARD;
        /// The package's power.
        DOMAIN_PACKAGE = 2 as ZES_POWER_DOMAIN_PACKAGE;
        /// The memory's power.
        DOMAIN_MEMORY = 4 as ZES_POWER_DOMAIN_MEMORY;
        /// The board's temperature.
        SENSOR_BOARD = 6 as ZES_TEMP_SENSORS_GPU_BOARD;
        /// The voltage regulator's temperature.
        SENSOR_REGULATOR = 8 as ZES_TEMP_SENSORS_VOLTAGE_REGULATOR;
        /// The media clock.
        CLOCK_MEDIA = 2 as ZES_FREQ_DOMAIN_MEDIA;
        /// One engine that decodes and encodes.
        ENGINE_CODEC = 14 as ZES_ENGINE_GROUP_MEDIA_CODEC_SINGLE;
        /// Throttled because the voltage is too low.
        THROTTLE_VOLTAGE = 0x80 as ZES_FREQ_THROTTLE_REASON_FLAG_VOLTAGE;
        /// Throttled by temperature.
        THROTTLE_HEAT = 0x100 as ZES_FREQ_THROTTLE_REASON_FLAG_THERMAL;
        /// Throttled by power.
        THROTTLE_POWER = 0x200 as ZES_FREQ_THROTTLE_REASON_FLAG_POWER;
    }
}
