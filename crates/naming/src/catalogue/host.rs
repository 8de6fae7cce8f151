//! The host as context beside its accelerators.

use crate::{Bytes, Count, Label, MetricKind, Seconds, entry::own};

entries! { from super::incident::END;

    HOST_CPU: Seconds = own(
        MetricKind::Counter,
        "accel_host_cpu_seconds_total",
        &[Label::State],
        "CPU time of the whole host, busy and idle; only with --host.metrics",
    );

    HOST_RUNNABLE: Count = own(
        MetricKind::Gauge,
        "accel_host_runnable_threads",
        &[],
        "Threads of the host that run or wait for a CPU; only with --host.metrics",
    );

    HOST_MEMORY_TOTAL: Bytes = own(
        MetricKind::Gauge,
        "accel_host_memory_total_bytes",
        &[],
        "Memory of the host; only with --host.metrics",
    );

    HOST_MEMORY_AVAILABLE: Bytes = own(
        MetricKind::Gauge,
        "accel_host_memory_available_bytes",
        &[],
        "Memory of the host that new work can have without swapping; only with --host.metrics",
    );
}
