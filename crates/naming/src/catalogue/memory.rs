//! Memory of the device: sizes, traffic, bandwidth.

use crate::{
    Bytes,
    Family::{Amx, Gaudi, Npu, Nvidia, Xpu},
    Ratio, Seconds,
    entry::{counter, gauge},
};

entries! { from super::compute::END;

    MEMORY_TOTAL: Bytes = gauge(
        "accel_memory_total_bytes",
        "Device memory, including what the driver reserves",
    )
    .from(&[
        (Nvidia, "nvmlDeviceGetMemoryInfo_v2"),
        (Gaudi, "hlml_device_get_memory_info"),
        (Xpu, "DRM query MEM_REGIONS, zesMemoryGetState"),
    ]);

    MEMORY_USED: Bytes = gauge("accel_memory_used_bytes", "Device memory allocated by processes")
        .from(&[
            (Nvidia, "nvmlDeviceGetMemoryInfo_v2"),
            (Gaudi, "hlml_device_get_memory_info"),
            (Xpu, "DRM query MEM_REGIONS, zesMemoryGetState"),
            (Npu, "npu_memory_utilization"),
        ]);

    MEMORY_FREE: Bytes = gauge("accel_memory_free_bytes", "Device memory that can still be allocated")
        .from(&[
            (Nvidia, "nvmlDeviceGetMemoryInfo_v2"),
            (Gaudi, "hlml_device_get_memory_info"),
            (Xpu, "DRM query MEM_REGIONS, zesMemoryGetState"),
        ]);

    MEMORY_RESERVED: Bytes = gauge(
        "accel_memory_reserved_bytes",
        "Device memory reserved by driver and firmware; absent on drivers that count it as used",
    )
    .from(&[(Nvidia, "nvmlDeviceGetMemoryInfo_v2")]);

    MEMORY_SHARED: Bytes = gauge(
        "accel_memory_shared_bytes",
        "Host memory resident for the device's clients, which is all that an integrated GPU works in; a \
         buffer that clients share counts for each",
    )
    .from(&[(Xpu, "fdinfo")]);

    MEMORY_BANDWIDTH_ACTIVE: Ratio = gauge(
        "accel_memory_bandwidth_active_ratio",
        "Share of cycles in which the memory interface moved data",
    )
    .from(&[(Nvidia, "nvmlGpmMetricsGet DRAM_BW_UTIL"), (Xpu, "zesMemoryGetBandwidth")])
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
    .from(&[(Nvidia, "nvmlDeviceGetUtilizationRates")])
    .integral(MEMORY_CONTROLLER_BUSY.id);

    MEMORY_CONTROLLER_BUSY: Seconds = counter(
        "accel_memory_controller_busy_seconds_total",
        "Integral of accel_memory_controller_active_ratio over time",
    )
    .sourceless("Integrated by the exporter from accel_memory_controller_active_ratio.");

    MEMORY_READ: Bytes = counter("accel_memory_read_bytes_total", "Bytes read from device or socket memory")
        .from(&[(Xpu, "zesMemoryGetBandwidth"), (Amx, "uncore_imc cas_count_read")]);

    MEMORY_WRITTEN: Bytes = counter(
        "accel_memory_written_bytes_total",
        "Bytes written to device or socket memory",
    )
    .from(&[(Xpu, "zesMemoryGetBandwidth"), (Amx, "uncore_imc cas_count_write")]);

    MEMORY_TRAFFIC: Bytes = counter(
        "accel_memory_traffic_bytes_total",
        "Bytes moved between the device and memory, where it does not tell reads from writes",
    )
    .from(&[(Npu, "PMT VPU_MEMORY_BW since it is followed")]);

    BAR1_TOTAL: Bytes = gauge(
        "accel_bar1_memory_total_bytes",
        "Aperture through which the host maps device memory",
    )
    .from(&[(Nvidia, "nvmlDeviceGetBAR1MemoryInfo")]);

    BAR1_USED: Bytes = gauge("accel_bar1_memory_used_bytes", "Aperture that is mapped")
        .from(&[(Nvidia, "nvmlDeviceGetBAR1MemoryInfo")]);

    BAR1_FREE: Bytes = gauge("accel_bar1_memory_free_bytes", "Aperture that can still be mapped")
        .from(&[(Nvidia, "nvmlDeviceGetBAR1MemoryInfo")]);
}
