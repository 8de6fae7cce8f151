//! Clocks, and what holds them below their maximum.

use naming::{Count, FaultCode, Flag, Hertz, Label, Seconds, catalogue as m};
use reading::{Batch, Fault, Labels};

use super::DeviceSample;
use crate::{
    raw::{FieldKey, Raw, fields as f},
    xid,
};

/// Domains of [`Raw::clocks_mhz`].
const DOMAINS: [&str; 4] = ["sm", "memory", "graphics", "video"];

/// Clock event bits (nvml.h, `nvmlClocksEventReason*`): our word, dcgm-exporter's word. It has none for the
/// last two, which are newer than its list.
const REASONS: [(u64, &str, Option<&str>); 11] = [
    (1 << 0, "idle", Some("gpu_idle")),
    (1 << 1, "app_clocks", Some("clocks_setting")),
    (1 << 2, "sw_power_cap", Some("power_cap")),
    (1 << 3, "hw_slowdown", Some("hw_slowdown")),
    (1 << 4, "sync_boost", Some("sync_boost")),
    (1 << 5, "sw_thermal", Some("sw_thermal")),
    (1 << 6, "hw_thermal", Some("hw_thermal")),
    (1 << 7, "hw_power_brake", Some("hw_power_brake")),
    (1 << 8, "display_clocks", Some("display_clocks")),
    (1 << 9, "board_limit", None),
    (1 << 10, "reliability", None),
];

/// The reasons that a driver reports which does not list those that it supports.
const REASONS_OF_OLD_DRIVERS: u64 = 0x1ff;

/// Nanosecond counters of reasons: our word, field.
pub const REASON_NANOSECONDS: [(&str, FieldKey); 9] = [
    ("sw_power_cap", f::NVML_FI_DEV_PERF_POLICY_POWER),
    ("thermal", f::NVML_FI_DEV_PERF_POLICY_THERMAL),
    ("sync_boost", f::NVML_FI_DEV_PERF_POLICY_SYNC_BOOST),
    ("board_limit", f::NVML_FI_DEV_PERF_POLICY_BOARD_LIMIT),
    ("low_utilization", f::NVML_FI_DEV_PERF_POLICY_LOW_UTILIZATION),
    ("reliability", f::NVML_FI_DEV_PERF_POLICY_RELIABILITY),
    ("sw_thermal", f::NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN),
    ("hw_thermal", f::NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN),
    ("hw_power_brake", f::NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN),
];

/// Clocks, their maxima, and the performance state.
pub fn clocks(raw: &Raw, batch: &mut Batch) {
    let hertz = |mega: u32| Hertz::from_mega(mega.into());
    for ((domain, clock), max) in DOMAINS.into_iter().zip(raw.clocks_mhz).zip(raw.max_clocks_mhz) {
        batch.put(m::CLOCK, Labels::one(Label::Domain, domain), clock.map(hertz));
        batch.put(m::CLOCK_MAX, Labels::one(Label::Domain, domain), max.map(hertz));
    }
    // nvml.h: P-state 32 means unknown.
    let state = raw.performance_state.and_then(|state| match state {
        0..=15 => Ok(Count(state.into())),
        _ => Err(Fault::new("nvmlDeviceGetPerformanceState", FaultCode::UnknownState)),
    });
    batch.put(m::PERFORMANCE_STATE, Labels::NONE, state);
}

/// Reasons that hold the clocks down: now, within dcgm-exporter's window, and for how long so far.
pub fn events(sample: &DeviceSample<'_>, batch: &mut Batch) {
    let reasons = sample.raw.clocks_event_reasons;
    batch.put(m::CLOCKS_EVENT_REASONS, Labels::NONE, reasons.map(Count));
    // A reason that the device cannot report has no series; one that it reports all the same has.
    let supported = sample.raw.supported_reasons.unwrap_or(REASONS_OF_OLD_DRIVERS) | reasons.unwrap_or(0);
    for (bit, reason, dcgm) in REASONS.into_iter().filter(|(bit, ..)| supported & bit != 0) {
        let active = reasons.map(|mask| Flag(mask & bit != 0));
        batch.put(m::THROTTLE_ACTIVE, Labels::one(Label::Reason, reason), active);
        let Some(dcgm) = dcgm else { continue };
        let labels = Labels::one(Label::ClockEvent, dcgm).with(Label::WindowSizeInMs, xid::WINDOW_MS);
        let seen = reasons.map(|_| Count(sample.clock_events.count(bit)));
        batch.put(m::CLOCK_EVENTS_WINDOW, labels, seen);
    }
    for ((reason, _), value) in REASON_NANOSECONDS.into_iter().zip(sample.counts.throttled_ns) {
        let value = value.map(Seconds::from_nanos);
        batch.put(m::THROTTLE_SECONDS, Labels::one(Label::Reason, reason), value);
    }
}
