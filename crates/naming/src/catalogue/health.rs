//! Errors, ECC, row remapping, recovery and fabric state.

use crate::{
    Count, Flag, Label, Seconds,
    entry::{counter, gauge, info, state_set, vendor_only},
};

entries! { from super::links::END;

    ERRORS: Count = counter(
        "accel_errors_total",
        "Critical events that the driver reported, or the kernel log with --kernel-log, by code; known codes \
         start at 0 so that the first one is an increase",
    )
    .labels(&[Label::Kind, Label::Code])
    .outlives_loss();

    ERRORS_CORRECTED: Count = counter(
        "accel_errors_corrected_total",
        "Errors that the hardware put right by itself, by category; a steady rate foretells one that it \
         cannot",
    )
    .labels(&[Label::Kind, Label::Code])
    .outlives_loss();

    ERROR_LAST: Seconds = gauge(
        "accel_error_last_timestamp_seconds",
        "Unix time of the last critical event that the exporter saw, by code, absent before the first",
    )
    .labels(&[Label::Kind, Label::Code])
    .outlives_loss();

    RESETS: Count = counter(
        "accel_resets_total",
        "Resets of the device since its driver was loaded; soft ones are everyday after a job where the \
         driver cleans up by them",
    )
    .labels(&[Label::Kind])
    .outlives_loss();

    XID_LAST: Count = vendor_only(
        "DCGM prints the code of the last XID as a value, which hides repeats; the unified schema has \
         accel_errors_total",
    )
    .labels(&[Label::ErrCode, Label::ErrMsg])
    .outlives_loss();

    XID_TOTAL: Count = vendor_only(
        "The unified schema has accel_errors_total, where known codes start at 0; this one lists the \
         codes that occurred",
    )
    .labels(&[Label::Xid])
    .outlives_loss();

    XID_WINDOW: Count = vendor_only(
        "DCGM counts XIDs in a sliding window and calls it a counter; it falls, so here it is a gauge",
    )
    .labels(&[Label::WindowSizeInMs, Label::Xid]);

    XID_WINDOW_EMPTY: Count = vendor_only(
        "DCGM prints a single 0 without a code while its sliding window has no XID",
    )
    .labels(&[Label::WindowSizeInMs]);

    ECC_ENABLED: Flag = gauge("accel_ecc_enabled", "Whether error correction is on");

    ECC_ERRORS: Count = counter(
        "accel_ecc_errors_total",
        "Memory errors found by ECC: volatile ones since the driver was loaded, aggregate ones over the \
         device's life",
    )
    .labels(&[Label::Severity, Label::Scope])
    .outlives_loss();

    SRAM_ECC_ERRORS: Count = counter(
        "accel_sram_ecc_errors_total",
        "Errors in on-chip memory: corrected, uncorrectable found by parity, uncorrectable found by \
         SEC-DED",
    )
    .labels(&[Label::Severity, Label::Scope])
    .outlives_loss();

    SRAM_ECC_THRESHOLD: Flag = gauge(
        "accel_sram_ecc_threshold_exceeded",
        "Whether uncorrectable on-chip memory errors passed the vendor's replacement threshold",
    );

    SRAM_LOCATIONS: Count = gauge(
        "accel_sram_uncorrectable_locations",
        "Places in on-chip memory that had an uncorrectable error; many errors in one place are one defect",
    );

    ROWS_REMAPPED: Count = counter(
        "accel_memory_rows_remapped_total",
        "Memory rows replaced by spare rows over the device's life",
    )
    .labels(&[Label::Cause])
    .outlives_loss();

    ROW_REMAP_PENDING: Flag = gauge(
        "accel_memory_row_remap_pending",
        "Whether a row waits for a reset to be remapped",
    );

    ROW_REMAP_FAILED: Flag = gauge(
        "accel_memory_row_remap_failed",
        "Whether a row could not be remapped: the device must be replaced",
    );

    ROW_REMAP_BANKS: Count = gauge(
        "accel_memory_row_remap_banks",
        "Memory banks by how many spare rows they have left",
    )
    .labels(&[Label::Availability]);

    ROWS_REMAPPED_INACTIVE: Count = gauge(
        "accel_memory_rows_remapped_inactive",
        "Row remappings that are not in force",
    )
    .labels(&[Label::Cause]);

    BANKS_REMAPPED: Count = gauge(
        "accel_memory_banks_remapped",
        "Memory banks replaced by spare ones, where the remapping is in force and where it is not",
    )
    .labels(&[Label::State]);

    BANK_REMAP_PENDING: Flag = gauge(
        "accel_memory_bank_remap_pending",
        "Whether a memory bank waits for a reset to be remapped",
    );

    BANK_REMAP_GROUPS: Count = gauge(
        "accel_memory_bank_remap_groups",
        "Groups of memory banks that have all their spare banks left, and those that have none",
    )
    .labels(&[Label::Availability]);

    REPAIR_PENDING: Flag = gauge(
        "accel_repair_pending",
        "Whether a repair of a memory channel or of a processing cluster (TPC) waits for a reset",
    )
    .labels(&[Label::Kind]);

    MEMORY_UNREPAIRABLE: Flag = gauge(
        "accel_memory_unrepairable",
        "Whether memory is defective that can no longer be repaired: the device must be replaced",
    );

    PAGES_RETIRED: Count = counter(
        "accel_memory_pages_retired_total",
        "Memory pages taken out of use over the device's life, on parts before row remapping",
    )
    .labels(&[Label::Cause])
    .outlives_loss();

    PAGES_PENDING: Flag = gauge(
        "accel_memory_page_retirement_pending",
        "Whether pages wait for a reset to be retired",
    );

    RECOVERY_ACTION: Flag = state_set(
        "accel_recovery_action",
        "What the driver says must be done before the device is healthy again; none is the healthy state",
    )
    .labels(&[Label::Action]);

    FABRIC_STATE: Flag = state_set(
        "accel_fabric_state",
        "Registration of the device with the fabric manager; it must be completed before NVLink peers can \
         be used",
    )
    .labels(&[Label::State]);

    FABRIC_INFO: Flag = info(
        "accel_fabric_info",
        "Where the device is in the fabric, its cluster and cliques, and how its registration ended",
    )
    .labels(&[
        Label::ClusterUuid,
        Label::CliqueId,
        Label::MulticastCliqueId,
        Label::EndpointCliqueId,
        Label::MulticastEndpointCliqueId,
        Label::RegistrationStatus,
    ]);

    FABRIC_REGISTRATION_FAILED: Flag = gauge(
        "accel_fabric_registration_failed",
        "Whether registration with the fabric manager is completed and ended with an error, which \
         accel_fabric_info names",
    );

    FABRIC_UNHEALTHY: Flag = state_set(
        "accel_fabric_unhealthy",
        "Whether the fabric reports the fault for this device",
    )
    .labels(&[Label::Fault]);

    FABRIC_HEALTH_MASK: Count = vendor_only(
        "DCGM prints the health as a bit mask; the unified schema has accel_fabric_unhealthy, one series \
         per fault",
    );

    MIG_ENABLED: Flag = gauge(
        "accel_mig_enabled",
        "Whether the device is split into instances, which then have their own series with a partition \
         label",
    );

    LICENSE_ACTIVE: Flag = gauge("accel_license_active", "Whether a vGPU licence is held");

    AMX_MISSING: Flag = gauge(
        "accel_amx_missing",
        "Whether the processor's model has AMX and CPUID does not show it, because firmware, kernel or hypervisor \
         hides it",
    );

    SLOW_READINGS_AGE: Seconds = gauge(
        "accel_slow_readings_age_seconds",
        "Age of what is read of the device at a lower rate, because the calls take long or the values change \
         rarely",
    );
}
