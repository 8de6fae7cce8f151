//! Temperatures, power, energy, clocks, throttling and fans.

use crate::{
    Celsius, Count, Flag, Hertz, Joules, Label, Ratio, Seconds, Watts,
    entry::{counter, gauge, state_set, vendor_only},
};

entries! { from super::memory::END;

    TEMPERATURE: Celsius = gauge(
        "accel_temperature_celsius",
        "Temperature of the die (sensor gpu), of its memory (sensor memory) or of the part that the \
         sensor names",
    )
    .labels(&[Label::Sensor]);

    TEMPERATURE_LIMIT: Celsius = gauge(
        "accel_temperature_limit_celsius",
        "Temperature at which the device slows down, shuts down or leaves its operating range",
    )
    .labels(&[Label::Sensor, Label::Limit]);

    TEMPERATURE_MARGIN: Celsius = gauge(
        "accel_temperature_margin_celsius",
        "Degrees left before the nearest thermal limit slows the device",
    );

    TEMPERATURE_MARGIN_LIMIT: Celsius = gauge(
        "accel_temperature_margin_limit_celsius",
        "The margin, as accel_temperature_margin_celsius, at which the device slows down, shuts down or \
         leaves its operating range",
    )
    .labels(&[Label::Limit]);

    POWER: Watts = gauge(
        "accel_power_watts",
        "Power draw of the whole device, averaged by its driver over about a second where the part \
         averages",
    );

    POWER_INSTANT: Watts = gauge(
        "accel_power_instant_watts",
        "Power draw of the whole device at the moment of reading",
    );

    POWER_LIMIT: Watts = gauge(
        "accel_power_limit_watts",
        "Power limits: enforced now, requested, the default, and the range that can be set",
    )
    .labels(&[Label::Limit]);

    POWER_PROFILE_REQUESTED: Flag = state_set(
        "accel_power_profile_requested",
        "Whether the power profile for a kind of work is requested, of those that the device has",
    )
    .labels(&[Label::Profile]);

    POWER_PROFILE_ENFORCED: Flag = state_set(
        "accel_power_profile_enforced",
        "Whether the power profile for a kind of work is in force, of those that the device has",
    )
    .labels(&[Label::Profile]);

    ENERGY: Joules = counter(
        "accel_energy_joules_total",
        "Energy that the device has used, counted from when its driver was loaded or, where its own \
         counter wraps, from when this exporter was started",
    );

    MEMORY_POWER: Watts = gauge(
        "accel_memory_power_watts",
        "Power draw of the memory beside the device, which accel_power_watts does not include, averaged \
         over the last interval",
    );

    MEMORY_ENERGY: Joules = counter(
        "accel_memory_energy_joules_total",
        "Energy used by the memory beside the device, which accel_energy_joules_total does not include",
    );

    CLOCK: Hertz = gauge("accel_clock_hertz", "Current clock of the domain")
        .labels(&[Label::Domain]);

    CLOCK_MAX: Hertz = gauge("accel_clock_max_hertz", "Highest clock of the domain")
        .labels(&[Label::Domain]);

    PERFORMANCE_STATE: Count = gauge("accel_performance_state", "Performance state, 0 is the fastest")
        // nvml.h, `nvmlPstates_t`: 32 is an unknown state.
        .at_most(15.0);

    THROTTLE_ACTIVE: Flag = state_set(
        "accel_throttle_active",
        "Whether the reason holds clocks below their maximum now; several can be 1 at once",
    )
    .labels(&[Label::Reason]);

    CLOCKS_EVENT_REASONS: Count = vendor_only(
        "DCGM prints the reasons as one bit mask; the unified schema has accel_throttle_active, one \
         series per reason",
    );

    THROTTLE_SECONDS: Seconds = counter(
        "accel_throttle_seconds_total",
        "Time for which the reason held clocks below their maximum, counted by the device",
    )
    .labels(&[Label::Reason]);

    THROTTLE_EVENTS: Count = counter(
        "accel_throttle_events_total",
        "How often the reason began to hold clocks below their maximum, counted by the device",
    )
    .labels(&[Label::Reason]);

    CLOCK_EVENTS_WINDOW: Count = vendor_only(
        "DCGM counts samples in a sliding window; the unified schema has accel_throttle_seconds_total",
    )
    .labels(&[Label::ClockEvent, Label::WindowSizeInMs]);

    FAN_SPEED: Ratio = gauge("accel_fan_speed_ratio", "Fan speed over its maximum")
        .labels(&[Label::Fan]);

    FAN_REVOLUTIONS: Count = gauge(
        "accel_fan_speed_rpm",
        "Fan speed in revolutions per minute, of devices that do not tell the fan's maximum",
    )
    .labels(&[Label::Fan]);
}
