//! Incident mode: what its fine samples show between two scrapes, and the state of the mode.

use crate::{
    Bytes, Celsius, Count, Flag, Hertz, Id, Label, MetricKind, Ratio, Seconds, Watts, catalogue as m,
    entry::{gauge, own},
};

/// Highest, lowest and mean of a quantity.
macro_rules! spread {
    ($name:literal, $which:literal, $word:literal) => {
        gauge(
            concat!($name, "_", $word),
            concat!(
                $which,
                " ",
                $name,
                " among the fine samples of the last 15 seconds, which is since the last scrape interval \
                 of a scraper that asks as often; only during an incident"
            ),
        )
        .sourceless("From the fine samples of incident mode.")
    };
}

entries! { from super::workloads::END;

    UTILIZATION_MAX: Ratio = spread!("accel_utilization_ratio", "Highest", "max");
    UTILIZATION_MIN: Ratio = spread!("accel_utilization_ratio", "Lowest", "min");
    UTILIZATION_MEAN: Ratio = spread!("accel_utilization_ratio", "Mean", "mean");

    ENGINE_ACTIVE_MAX: Ratio =
        spread!("accel_engine_active_ratio", "Highest", "max").labels(&[Label::Engine]);
    ENGINE_ACTIVE_MIN: Ratio =
        spread!("accel_engine_active_ratio", "Lowest", "min").labels(&[Label::Engine]);
    ENGINE_ACTIVE_MEAN: Ratio =
        spread!("accel_engine_active_ratio", "Mean", "mean").labels(&[Label::Engine]);

    MEMORY_USED_MAX: Bytes = spread!("accel_memory_used_bytes", "Highest", "max");
    MEMORY_USED_MIN: Bytes = spread!("accel_memory_used_bytes", "Lowest", "min");
    MEMORY_USED_MEAN: Bytes = spread!("accel_memory_used_bytes", "Mean", "mean");

    TEMPERATURE_MAX: Celsius =
        spread!("accel_temperature_celsius", "Highest", "max").labels(&[Label::Sensor]);
    TEMPERATURE_MIN: Celsius =
        spread!("accel_temperature_celsius", "Lowest", "min").labels(&[Label::Sensor]);
    TEMPERATURE_MEAN: Celsius =
        spread!("accel_temperature_celsius", "Mean", "mean").labels(&[Label::Sensor]);

    POWER_MAX: Watts = spread!("accel_power_watts", "Highest", "max");
    POWER_MIN: Watts = spread!("accel_power_watts", "Lowest", "min");
    POWER_MEAN: Watts = spread!("accel_power_watts", "Mean", "mean");

    CLOCK_HIGHEST: Hertz =
        spread!("accel_clock_hertz", "Highest", "max").labels(&[Label::Domain]);
    CLOCK_LOWEST: Hertz =
        spread!("accel_clock_hertz", "Lowest", "min").labels(&[Label::Domain]);
    CLOCK_MEAN: Hertz =
        spread!("accel_clock_hertz", "Mean", "mean").labels(&[Label::Domain]);

    INCIDENT_ACTIVE: Flag = own(
        MetricKind::Gauge,
        "accelscope_incident_active",
        &[],
        "Whether incident mode is on, in which the chosen devices are sampled more often; only with --incident.enable",
    );

    INCIDENT_REASON: Flag = own(
        MetricKind::Info,
        "accelscope_incident_reason_info",
        &[Label::Trigger],
        "What keeps incident mode on: one series for each name of an alert, or request for a call by hand",
    );

    INCIDENT_UNTIL: Seconds = own(
        MetricKind::Gauge,
        "accelscope_incident_until_timestamp_seconds",
        &[],
        "When incident mode ends by itself at the latest, as Unix time; only while it is on",
    );

    INCIDENT_DEVICES: Count = own(
        MetricKind::Gauge,
        "accelscope_incident_devices",
        &[],
        "Devices that incident mode samples more often now",
    );

    INCIDENT_ALERTS: Count = own(
        MetricKind::Counter,
        "accelscope_incident_alerts_total",
        &[Label::Result],
        "Alerts that came to /-/incident, by what became of them",
    );

    INCIDENT_FORWARDS: Count = own(
        MetricKind::Counter,
        "accelscope_incident_forwards_total",
        &[Label::Result],
        "Notifications for other nodes that were sent on to a peer, or could not be; only with --incident.peers",
    );
}

/// The quantities that have a highest, lowest and mean value, in this order.
pub const SPREADS: [(Id, [Id; 3]); 6] = [
    (m::UTILIZATION.id, [UTILIZATION_MAX.id, UTILIZATION_MIN.id, UTILIZATION_MEAN.id]),
    (m::ENGINE_ACTIVE.id, [ENGINE_ACTIVE_MAX.id, ENGINE_ACTIVE_MIN.id, ENGINE_ACTIVE_MEAN.id]),
    (m::MEMORY_USED.id, [MEMORY_USED_MAX.id, MEMORY_USED_MIN.id, MEMORY_USED_MEAN.id]),
    (m::TEMPERATURE.id, [TEMPERATURE_MAX.id, TEMPERATURE_MIN.id, TEMPERATURE_MEAN.id]),
    (m::POWER.id, [POWER_MAX.id, POWER_MIN.id, POWER_MEAN.id]),
    (m::CLOCK.id, [CLOCK_HIGHEST.id, CLOCK_LOWEST.id, CLOCK_MEAN.id]),
];
