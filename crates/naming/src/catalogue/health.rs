//! Errors, ECC, row remapping, recovery and fabric state.

use crate::{
    Count,
    Family::{Gaudi, Npu, Nvidia, Xpu},
    Flag, Label, Seconds,
    entry::{counter, gauge, state_set, vendor_only},
};

entries! { from super::links::END;

    ERRORS: Count = counter(
        "accel_errors_total",
        "Critical events that the driver reported, by code; known codes start at 0 so that the first one \
         is an increase",
    )
    .labels(&[Label::Kind, Label::Code])
    .from(&[
        (Nvidia, "nvmlEventSetWait_v2 XID"),
        (Gaudi, "hlml_event_set_wait"),
        (Xpu, "zesRasGetState"),
        (Npu, "debugfs reset_counter, engine_reset_counter"),
    ]);

    ERRORS_CORRECTED: Count = counter(
        "accel_errors_corrected_total",
        "Errors that the hardware put right by itself, by category; a steady rate foretells one that it \
         cannot",
    )
    .labels(&[Label::Kind, Label::Code])
    .from(&[(Xpu, "zesRasGetState")]);

    ERROR_LAST: Seconds = gauge(
        "accel_error_last_timestamp_seconds",
        "Unix time of the last critical event that the exporter saw, by code, absent before the first",
    )
    .labels(&[Label::Kind, Label::Code])
    .from(&[(Nvidia, "nvmlEventSetWait_v2"), (Gaudi, "hlml_event_set_wait")]);

    RESETS: Count = counter(
        "accel_resets_total",
        "Resets of the device since its driver was loaded; soft ones are everyday after a job where the \
         driver cleans up by them",
    )
    .labels(&[Label::Kind])
    .from(&[(Gaudi, "hard_reset_cnt, soft_reset_cnt")]);

    XID_LAST: Count = vendor_only(
        "DCGM prints the code of the last XID as a value, which hides repeats; the unified schema has \
         accel_errors_total",
    )
    .labels(&[Label::ErrCode, Label::ErrMsg])
    .from(&[(Nvidia, "nvmlEventSetWait_v2")]);

    XID_TOTAL: Count = vendor_only(
        "The unified schema has accel_errors_total, where known codes start at 0; this one lists the \
         codes that occurred",
    )
    .labels(&[Label::Xid])
    .from(&[(Nvidia, "nvmlEventSetWait_v2")]);

    XID_WINDOW: Count = vendor_only(
        "DCGM counts XIDs in a sliding window and calls it a counter; it falls, so here it is a gauge",
    )
    .labels(&[Label::WindowSizeInMs, Label::Xid])
    .from(&[(Nvidia, "nvmlEventSetWait_v2")]);

    XID_WINDOW_EMPTY: Count = vendor_only(
        "DCGM prints a single 0 without a code while its sliding window has no XID",
    )
    .labels(&[Label::WindowSizeInMs])
    .from(&[(Nvidia, "nvmlEventSetWait_v2")]);

    ECC_ENABLED: Flag = gauge("accel_ecc_enabled", "Whether error correction is on")
        .from(&[
            (Nvidia, "nvmlDeviceGetEccMode"),
            (Gaudi, "hlml_device_get_ecc_mode"),
            (Xpu, "zesDeviceGetEccState"),
        ]);

    ECC_ERRORS: Count = counter(
        "accel_ecc_errors_total",
        "Memory errors found by ECC: volatile ones since the driver was loaded, aggregate ones over the \
         device's life",
    )
    .labels(&[Label::Severity, Label::Scope])
    .from(&[
        (Nvidia, "fields ECC_SBE_VOL_TOTAL, ECC_DBE_VOL_TOTAL, ECC_SBE_AGG_TOTAL, ECC_DBE_AGG_TOTAL"),
        (Gaudi, "hlml_device_get_total_ecc_errors"),
        (Xpu, "zesRasGetState"),
    ]);

    SRAM_ECC_ERRORS: Count = counter(
        "accel_sram_ecc_errors_total",
        "Errors in on-chip memory: corrected, uncorrectable found by parity, uncorrectable found by \
         SEC-DED",
    )
    .labels(&[Label::Severity, Label::Scope])
    .from(&[(Nvidia, "nvmlDeviceGetSramEccErrorStatus"), (Gaudi, "hlml_device_get_memory_error_counter")]);

    SRAM_ECC_THRESHOLD: Flag = gauge(
        "accel_sram_ecc_threshold_exceeded",
        "Whether uncorrectable on-chip memory errors passed the vendor's replacement threshold",
    )
    .from(&[(Nvidia, "nvmlDeviceGetSramEccErrorStatus")]);

    ROWS_REMAPPED: Count = counter(
        "accel_memory_rows_remapped_total",
        "Memory rows replaced by spare rows over the device's life",
    )
    .labels(&[Label::Cause])
    .from(&[(Nvidia, "fields REMAPPED_COR and REMAPPED_UNC"), (Gaudi, "hlml_device_get_replaced_rows")]);

    ROW_REMAP_PENDING: Flag = gauge(
        "accel_memory_row_remap_pending",
        "Whether a row waits for a reset to be remapped",
    )
    .from(&[(Nvidia, "field REMAPPED_PENDING"), (Gaudi, "hlml_device_get_replaced_rows_pending_status")]);

    ROW_REMAP_FAILED: Flag = gauge(
        "accel_memory_row_remap_failed",
        "Whether a row could not be remapped: the device must be replaced",
    )
    .from(&[(Nvidia, "field REMAPPED_FAILURE")]);

    ROW_REMAP_BANKS: Count = gauge(
        "accel_memory_row_remap_banks",
        "Memory banks by how many spare rows they have left",
    )
    .labels(&[Label::Availability])
    .from(&[(Nvidia, "nvmlDeviceGetRowRemapperHistogram")]);

    PAGES_RETIRED: Count = counter(
        "accel_memory_pages_retired_total",
        "Memory pages taken out of use over the device's life, on parts before row remapping",
    )
    .labels(&[Label::Cause])
    .from(&[(Nvidia, "fields RETIRED_SBE and RETIRED_DBE")]);

    PAGES_PENDING: Flag = gauge(
        "accel_memory_page_retirement_pending",
        "Whether pages wait for a reset to be retired",
    )
    .from(&[(Nvidia, "field RETIRED_PENDING")]);

    RECOVERY_ACTION: Flag = state_set(
        "accel_recovery_action",
        "What the driver says must be done before the device is healthy again; none is the healthy state",
    )
    .labels(&[Label::Action])
    .from(&[(Nvidia, "field GET_GPU_RECOVERY_ACTION"), (Xpu, "zesDeviceGetState")]);

    FABRIC_STATE: Flag = state_set(
        "accel_fabric_state",
        "Registration of the device with the fabric manager; it must be completed before NVLink peers can \
         be used",
    )
    .labels(&[Label::State])
    .from(&[(Nvidia, "nvmlDeviceGetGpuFabricInfoV")]);

    FABRIC_UNHEALTHY: Flag = state_set(
        "accel_fabric_unhealthy",
        "Whether the fabric reports the fault for this device",
    )
    .labels(&[Label::Fault])
    .from(&[(Nvidia, "nvmlDeviceGetGpuFabricInfoV healthMask")]);

    FABRIC_HEALTH_MASK: Count = vendor_only(
        "DCGM prints the health as a bit mask; the unified schema has accel_fabric_unhealthy, one series \
         per fault",
    )
    .from(&[(Nvidia, "nvmlDeviceGetGpuFabricInfoV healthMask")]);

    MIG_ENABLED: Flag = gauge(
        "accel_mig_enabled",
        "Whether the device is split into instances, which then have their own series with a partition \
         label",
    )
    .from(&[(Nvidia, "nvmlDeviceGetMigMode")]);

    LICENSE_ACTIVE: Flag = gauge("accel_license_active", "Whether a vGPU licence is held")
        .from(&[(Nvidia, "nvmlDeviceGetGridLicensableFeatures_v4")]);

    SLOW_READINGS_AGE: Seconds = gauge(
        "accel_slow_readings_age_seconds",
        "Age of what is read of the device at a lower rate because the calls take long",
    )
    .from(&[
        (Gaudi, "hlml_device_get_pcie_throughput, hlml_device_get_temperature where hwmon has no labels"),
    ]);
}
