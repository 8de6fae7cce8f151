//! Memory of the device: sizes, traffic, bandwidth.

use crate::{
    Bytes, Label, Ratio, Seconds,
    entry::{counter, gauge},
};

/// No part has more memory, nor a larger aperture, in bytes.
pub const MEMORY_MOST: f64 = 4_398_046_511_104.0;

entries! { from super::compute::END;

    MEMORY_TOTAL: Bytes = gauge(
        "accel_memory_total_bytes",
        "Device memory, including what the driver reserves",
    )
    .at_most(MEMORY_MOST);

    MEMORY_USED: Bytes = gauge("accel_memory_used_bytes", "Device memory allocated by processes")
    .at_most(MEMORY_MOST);

    MEMORY_FREE: Bytes = gauge("accel_memory_free_bytes", "Device memory that can still be allocated")
    .at_most(MEMORY_MOST);

    MEMORY_RESERVED: Bytes = gauge(
        "accel_memory_reserved_bytes",
        "Device memory reserved by driver and firmware; absent on drivers that count it as used",
    )
    .at_most(MEMORY_MOST);

    MEMORY_SHARED: Bytes = gauge(
        "accel_memory_shared_bytes",
        "Host memory resident for the device's clients, which is all that an integrated GPU works in; a \
         buffer that clients share counts for each",
    );

    MEMORY_BANDWIDTH_ACTIVE: Ratio = gauge(
        "accel_memory_bandwidth_active_ratio",
        "Share of cycles in which the memory interface moved data",
    )
    .integral(MEMORY_BANDWIDTH_BUSY.id);

    MEMORY_BANDWIDTH_BUSY: Seconds = counter(
        "accel_memory_bandwidth_busy_seconds_total",
        "Integral of accel_memory_bandwidth_active_ratio over time",
    )
    .sourceless("Integrated by the exporter from accel_memory_bandwidth_active_ratio.");

    MEMORY_CONTROLLER_ACTIVE: Ratio = gauge(
        "accel_memory_controller_active_ratio",
        "Share of the last sample period in which device memory was read or written at all; coarse",
    )
    .integral(MEMORY_CONTROLLER_BUSY.id);

    MEMORY_CONTROLLER_BUSY: Seconds = counter(
        "accel_memory_controller_busy_seconds_total",
        "Integral of accel_memory_controller_active_ratio over time",
    )
    .sourceless("Integrated by the exporter from accel_memory_controller_active_ratio.");

    CACHE_HIT: Ratio = gauge(
        "accel_cache_hit_ratio",
        "Share of the accesses to the memory that the device's cache served, averaged over the last interval",
    )
    .labels(&[Label::Cache]);

    MEMORY_READ: Bytes = counter("accel_memory_read_bytes_total", "Bytes read from device or socket memory");

    MEMORY_WRITTEN: Bytes = counter(
        "accel_memory_written_bytes_total",
        "Bytes written to device or socket memory",
    );

    MEMORY_TRAFFIC: Bytes = counter(
        "accel_memory_traffic_bytes_total",
        "Bytes moved between the device and memory, where it does not tell reads from writes",
    );

    BAR1_TOTAL: Bytes = gauge(
        "accel_bar1_memory_total_bytes",
        "Aperture through which the host maps device memory",
    )
    .at_most(MEMORY_MOST);

    BAR1_USED: Bytes = gauge("accel_bar1_memory_used_bytes", "Aperture that is mapped")
    .at_most(MEMORY_MOST);

    BAR1_FREE: Bytes = gauge("accel_bar1_memory_free_bytes", "Aperture that can still be mapped")
    .at_most(MEMORY_MOST);
}
