//! How busy compute engines are.

use crate::{
    Count, Label, Ratio, Seconds,
    entry::{counter, gauge},
};

entries! { from super::identity::END;

    UTILIZATION: Ratio = gauge(
        "accel_utilization_ratio",
        "Share of the last sample period in which any work ran; coarse, it says nothing about how full \
         the device was",
    )
    .integral(UTILIZATION_BUSY.id);

    UTILIZATION_BUSY: Seconds = counter(
        "accel_utilization_busy_seconds_total",
        "Integral of accel_utilization_ratio over time",
    )
    .sourceless("Integrated by the exporter from accel_utilization_ratio.");

    ENGINE_ACTIVE: Ratio = gauge(
        "accel_engine_active_ratio",
        "Share of cycles or time in which the engine was busy, averaged over the last interval",
    )
    .labels(&[Label::Engine])
    .integral(ENGINE_BUSY.id);

    ENGINE_BUSY: Seconds = counter(
        "accel_engine_busy_seconds_total",
        "Integral of accel_engine_active_ratio over time; its rate is the exact mean over any window",
    )
    .labels(&[Label::Engine])
    .sourceless("Integrated by the exporter from accel_engine_active_ratio.");

    ENGINE_CYCLES: Count = counter(
        "accel_engine_active_cycles_total",
        "Cycles in which the engine was busy, counted by the device; its increase over that of \
         accel_sm_cycles_total is the exact mean over any window",
    )
    .labels(&[Label::Engine]);

    SM_CYCLES: Count = counter(
        "accel_sm_cycles_total",
        "Cycles that passed on the SMs, whether they were busy or not, counted by the device",
    );

    SM_OCCUPANCY: Ratio = gauge(
        "accel_sm_occupancy_ratio",
        "Resident warps over the maximum that the SMs can hold",
    );

    CONTEXT_SWITCH_ACTIVE: Ratio = gauge(
        "accel_context_switch_active_ratio",
        "Share of time in which the graphics engine switched between contexts, averaged over the last \
         interval; it is the price of sharing a device",
    );

    CONTEXT_SWITCHES: Count = counter(
        "accel_context_switches_total",
        "Switches between contexts that were asked of the graphics engine, counted from when this exporter \
         was started",
    );

    CYCLES: Count = counter(
        "accel_cycles_total",
        "Unhalted cycles of all threads (kind thread), of all cores (kind core) and those in which AMX \
         was busy (kind amx), summed over the socket",
    )
    .labels(&[Label::Kind]);

    INSTRUCTIONS: Count = counter(
        "accel_instructions_total",
        "Instructions retired, summed over the socket; over accel_cycles_total of kind thread it is \
         instructions per cycle",
    );

    COMPUTE_PROCESSES: Count = gauge(
        "accel_compute_processes",
        "Processes with a compute context on the device",
    );
}
