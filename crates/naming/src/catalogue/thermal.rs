//! Temperatures, power, energy, clocks, throttling and fans.

use crate::{
    Celsius, Count,
    Family::{Amx, Gaudi, Npu, Nvidia, Xpu},
    Flag, Hertz, Joules, Label, Ratio, Seconds, Watts,
    entry::{counter, gauge, state_set, vendor_only},
};

entries! { from super::memory::END;

    TEMPERATURE: Celsius = gauge(
        "accel_temperature_celsius",
        "Temperature of the die (sensor gpu), of its memory (sensor memory) or of the part that the \
         sensor names",
    )
    .labels(&[Label::Sensor])
    .from(&[
        (Nvidia, "nvmlDeviceGetTemperature, field MEMORY_TEMP"),
        (Gaudi, "hwmon, hlml_device_get_temperature"),
        (Xpu, "hwmon, zesTemperatureGetState"),
        (Npu, "PMT SOC_TEMPERATURES"),
        (Amx, "hwmon coretemp"),
    ]);

    TEMPERATURE_LIMIT: Celsius = gauge(
        "accel_temperature_limit_celsius",
        "Temperature at which the device slows down, shuts down or leaves its operating range",
    )
    .labels(&[Label::Sensor, Label::Limit])
    .from(&[
        (Nvidia, "nvmlDeviceGetTemperatureThreshold"),
        (Gaudi, "hlml_device_get_temperature_threshold"),
        (Xpu, "hwmon max, crit, emergency"),
        (Amx, "hwmon coretemp crit"),
    ]);

    TEMPERATURE_MARGIN: Celsius = gauge(
        "accel_temperature_margin_celsius",
        "Degrees left before the nearest thermal limit slows the device",
    )
    .from(&[(Nvidia, "nvmlDeviceGetMarginTemperature")]);

    POWER: Watts = gauge(
        "accel_power_watts",
        "Power draw of the whole device, averaged by its driver over about a second where the part \
         averages",
    )
    .from(&[
        (Nvidia, "nvmlDeviceGetPowerUsage"),
        (Gaudi, "hlml_device_get_power_usage, hwmon"),
        (Xpu, "hwmon energy, zesPowerGetEnergyCounter"),
        (Npu, "PMT VPU_ENERGY"),
        (Amx, "RAPL energy_uj"),
    ]);

    POWER_INSTANT: Watts = gauge(
        "accel_power_instant_watts",
        "Power draw of the whole device at the moment of reading",
    )
    .from(&[(Nvidia, "field POWER_INSTANT")]);

    POWER_LIMIT: Watts = gauge(
        "accel_power_limit_watts",
        "Power limits: enforced now, requested, the default, and the range that can be set",
    )
    .labels(&[Label::Limit])
    .from(&[
        (
            Nvidia,
            "nvmlDeviceGetEnforcedPowerLimit, GetPowerManagementLimit, GetPowerManagementDefaultLimit, \
             GetPowerManagementLimitConstraints",
        ),
        (
            Gaudi,
            "hlml_device_get_power_management_limit, get_power_management_default_limit, \
             get_power_management_limit_constraints, max_power",
        ),
        (Xpu, "hwmon power_max, zesPowerGetLimitsExt"),
        (Amx, "RAPL constraint_power_limit_uw"),
    ]);

    ENERGY: Joules = counter(
        "accel_energy_joules_total",
        "Energy that the device has used, counted from when its driver was loaded or, where its own \
         counter wraps, from when this exporter was started",
    )
    .from(&[
        (Nvidia, "nvmlDeviceGetTotalEnergyConsumption"),
        (Gaudi, "hlml_device_get_total_energy_consumption"),
        (Xpu, "hwmon energy1_input, zesPowerGetEnergyCounter"),
        (Npu, "PMT VPU_ENERGY since it is followed"),
        (Amx, "RAPL energy_uj since it is followed"),
    ]);

    MEMORY_POWER: Watts = gauge(
        "accel_memory_power_watts",
        "Power draw of the memory beside the device, which accel_power_watts does not include, averaged \
         over the last interval",
    )
    .from(&[(Amx, "RAPL dram energy_uj")]);

    MEMORY_ENERGY: Joules = counter(
        "accel_memory_energy_joules_total",
        "Energy used by the memory beside the device, which accel_energy_joules_total does not include",
    )
    .from(&[(Amx, "RAPL dram energy_uj since it is followed")]);

    CLOCK: Hertz = gauge("accel_clock_hertz", "Current clock of the domain")
        .labels(&[Label::Domain])
        .from(&[
            (Nvidia, "nvmlDeviceGetClockInfo"),
            (Gaudi, "hlml_device_get_clock_info, clk_cur_freq_mhz"),
            (Xpu, "freq0/act_freq, zesFrequencyGetState"),
            (Npu, "npu_current_frequency_mhz, PMT VPU_WORKPOINT"),
            (Amx, "scaling_cur_freq"),
        ]);

    CLOCK_MAX: Hertz = gauge("accel_clock_max_hertz", "Highest clock of the domain")
        .labels(&[Label::Domain])
        .from(&[
            (Nvidia, "nvmlDeviceGetMaxClockInfo"),
            (Gaudi, "hlml_device_get_max_clock_info, clk_max_freq_mhz"),
            (Xpu, "freq0/rp0_freq, zesFrequencyGetProperties"),
            (Npu, "npu_max_frequency_mhz, freq/hw_max_freq"),
            (Amx, "cpuinfo_max_freq"),
        ]);

    PERFORMANCE_STATE: Count = gauge("accel_performance_state", "Performance state, 0 is the fastest")
        .from(&[(Nvidia, "nvmlDeviceGetPerformanceState"), (Gaudi, "hlml_device_get_performance_state")]);

    THROTTLE_ACTIVE: Flag = state_set(
        "accel_throttle_active",
        "Whether the reason holds clocks below their maximum now; several can be 1 at once",
    )
    .labels(&[Label::Reason])
    .from(&[
        (Nvidia, "nvmlDeviceGetCurrentClocksEventReasons"),
        (Gaudi, "hlml_device_get_current_clocks_throttle_reasons"),
        (Xpu, "throttle/reasons, zesFrequencyGetState"),
        (Amx, "thermal_throttle"),
    ]);

    CLOCKS_EVENT_REASONS: Count = vendor_only(
        "DCGM prints the reasons as one bit mask; the unified schema has accel_throttle_active, one \
         series per reason",
    )
    .from(&[(Nvidia, "nvmlDeviceGetCurrentClocksEventReasons")]);

    THROTTLE_SECONDS: Seconds = counter(
        "accel_throttle_seconds_total",
        "Time for which the reason held clocks below their maximum, counted by the device",
    )
    .labels(&[Label::Reason])
    .from(&[(Nvidia, "fields PERF_POLICY_* and CLOCKS_EVENT_REASON_*"), (Amx, "thermal_throttle")]);

    THROTTLE_EVENTS: Count = counter(
        "accel_throttle_events_total",
        "How often the reason began to hold clocks below their maximum, counted by the device",
    )
    .labels(&[Label::Reason])
    .from(&[(Amx, "thermal_throttle")]);

    CLOCK_EVENTS_WINDOW: Count = vendor_only(
        "DCGM counts samples in a sliding window; the unified schema has accel_throttle_seconds_total",
    )
    .labels(&[Label::ClockEvent, Label::WindowSizeInMs])
    .from(&[(Nvidia, "nvmlDeviceGetCurrentClocksEventReasons")]);

    FAN_SPEED: Ratio = gauge("accel_fan_speed_ratio", "Fan speed over its maximum")
        .labels(&[Label::Fan])
        .from(&[(Nvidia, "nvmlDeviceGetFanSpeed_v2"), (Xpu, "zesFanGetState")]);

    FAN_REVOLUTIONS: Count = gauge(
        "accel_fan_speed_rpm",
        "Fan speed in revolutions per minute, of devices that do not tell the fan's maximum",
    )
    .labels(&[Label::Fan])
    .from(&[(Xpu, "hwmon fan_input, zesFanGetState")]);
}
