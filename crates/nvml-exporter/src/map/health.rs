//! Health: memory errors and their repair, recovery, the fabric, and modes.

use naming::{Count, FaultCode, Flag, Label, catalogue as m};
use reading::{Batch, Fault, Labels, Measured};

use super::DeviceSample;
use crate::raw::{FieldKey, Raw, fields as f};

/// ECC fields: severity, scope, field.
const ECC: [(&str, &str, FieldKey); 4] = [
    ("corrected", "volatile", f::NVML_FI_DEV_ECC_SBE_VOL_TOTAL),
    ("uncorrectable", "volatile", f::NVML_FI_DEV_ECC_DBE_VOL_TOTAL),
    ("corrected", "aggregate", f::NVML_FI_DEV_ECC_SBE_AGG_TOTAL),
    ("uncorrectable", "aggregate", f::NVML_FI_DEV_ECC_DBE_AGG_TOTAL),
];

/// Severities of [`Raw::sram_ecc`].
const SRAM_SEVERITIES: [&str; 3] = ["corrected", "uncorrectable_parity", "uncorrectable_secded"];

/// Spare rows of [`Raw::row_banks`].
const AVAILABILITIES: [&str; 5] = ["max", "high", "partial", "low", "none"];

/// nvml.h, `nvmlDeviceGpuRecoveryAction_t`, by value.
const RECOVERY_ACTIONS: [&str; 8] = [
    "none",
    "gpu_reset",
    "node_reboot",
    "drain_p2p",
    "drain_and_reset",
    "recover_imex_domain",
    "bus_reset",
    "system_reboot",
];

/// nvml.h, `NVML_GPU_FABRIC_STATE_*`, by value.
const FABRIC_STATES: [&str; 4] = ["not_supported", "not_started", "in_progress", "completed"];

/// nvml.h, `NVML_GPU_FABRIC_HEALTH_MASK_*`: shift and width of each, and the value that is the healthy one.
/// 0 is not supported; the others are what is wrong.
const FABRIC_FAULTS: [(&str, u32, u32, u32); 7] = [
    ("degraded_bandwidth", 0, 0x3, 2),
    ("route_recovery", 2, 0x3, 2),
    ("route_unhealthy", 4, 0x3, 2),
    ("access_timeout_recovery", 6, 0x3, 2),
    ("incorrect_configuration", 8, 0xf, 1),
    ("partition_not_assigned", 12, 0x3, 1),
    ("fabric_manager_disconnected", 14, 0x3, 1),
];

/// Memory errors.
pub fn ecc(sample: &DeviceSample<'_>, batch: &mut Batch) {
    let (raw, fields) = (sample.raw, sample.fields);
    let labels = |severity, scope| Labels::one(Label::Severity, severity).with(Label::Scope, scope);
    batch.put(m::ECC_ENABLED, Labels::NONE, raw.ecc_enabled.map(Flag));
    for (severity, scope, field) in ECC {
        batch.put(m::ECC_ERRORS, labels(severity, scope), fields.unsigned(field).map(Count));
    }
    for (index, severity) in SRAM_SEVERITIES.into_iter().enumerate() {
        for (scope, count) in [
            ("volatile", raw.sram_ecc.map(|sram| sram.volatile[index])),
            ("aggregate", raw.sram_ecc.map(|sram| sram.aggregate[index])),
        ] {
            batch.put(m::SRAM_ECC_ERRORS, labels(severity, scope), count.map(Count));
        }
    }
    batch.put(m::SRAM_ECC_THRESHOLD, Labels::NONE, raw.sram_ecc.map(|sram| Flag(sram.threshold_exceeded)));
}

/// Rows and pages that the driver has replaced, and what is left.
pub fn memory_repair(sample: &DeviceSample<'_>, batch: &mut Batch) {
    let count = |field| sample.fields.unsigned(field).map(Count);
    let flag = |field| sample.fields.unsigned(field).map(|value| Flag(value != 0));
    for (cause, field) in
        [("correctable", f::NVML_FI_DEV_REMAPPED_COR), ("uncorrectable", f::NVML_FI_DEV_REMAPPED_UNC)]
    {
        batch.put(m::ROWS_REMAPPED, Labels::one(Label::Cause, cause), count(field));
    }
    batch.put(m::ROW_REMAP_PENDING, Labels::NONE, flag(f::NVML_FI_DEV_REMAPPED_PENDING));
    batch.put(m::ROW_REMAP_FAILED, Labels::NONE, flag(f::NVML_FI_DEV_REMAPPED_FAILURE));
    for (index, availability) in AVAILABILITIES.into_iter().enumerate() {
        let banks = sample.raw.row_banks.map(|banks| Count(banks.0[index].into()));
        batch.put(m::ROW_REMAP_BANKS, Labels::one(Label::Availability, availability), banks);
    }
    for (cause, field) in
        [("single_bit", f::NVML_FI_DEV_RETIRED_SBE), ("double_bit", f::NVML_FI_DEV_RETIRED_DBE)]
    {
        batch.put(m::PAGES_RETIRED, Labels::one(Label::Cause, cause), count(field));
    }
    batch.put(m::PAGES_PENDING, Labels::NONE, flag(f::NVML_FI_DEV_RETIRED_PENDING));
}

/// What the driver says must be done before the device is healthy again.
pub fn recovery(sample: &DeviceSample<'_>, batch: &mut Batch) {
    let action = sample.fields.unsigned(f::NVML_FI_DEV_GET_GPU_RECOVERY_ACTION);
    for (value, name) in (0..).zip(RECOVERY_ACTIONS) {
        batch.put(m::RECOVERY_ACTION, Labels::one(Label::Action, name), action.map(|now| Flag(now == value)));
    }
    // A driver that is newer than this list wants something done.
    let other = action.map(|now| Flag(now >= RECOVERY_ACTIONS.len() as u64));
    batch.put(m::RECOVERY_ACTION, Labels::one(Label::Action, "other"), other);
}

/// Registration with the NVSwitch fabric, and its health.
pub fn fabric(raw: &Raw, batch: &mut Batch) {
    for (value, name) in (0..).zip(FABRIC_STATES) {
        let state = raw.fabric.map(|fabric| Flag(fabric.state == value));
        batch.put(m::FABRIC_STATE, Labels::one(Label::State, name), state);
    }
    batch.put(m::FABRIC_HEALTH_MASK, Labels::NONE, raw.fabric.map(|fabric| Count(fabric.health_mask.into())));
    for (name, shift, width, healthy) in FABRIC_FAULTS {
        let fault = raw.fabric.and_then(|fabric| fabric_fault(fabric.health_mask, shift, width, healthy));
        batch.put(m::FABRIC_UNHEALTHY, Labels::one(Label::Fault, name), fault);
    }
}

/// MIG mode and vGPU licence.
pub fn modes(raw: &Raw, batch: &mut Batch) {
    batch.put(m::MIG_ENABLED, Labels::NONE, raw.mig_enabled.map(Flag));
    batch.put(m::LICENSE_ACTIVE, Labels::NONE, raw.license_active.map(Flag));
}

fn fabric_fault(mask: u32, shift: u32, width: u32, healthy: u32) -> Measured<Flag> {
    match mask >> shift & width {
        0 => Err(Fault::new("nvmlDeviceGetGpuFabricInfoV", FaultCode::HealthNotReported)),
        value => Ok(Flag(value != healthy)),
    }
}

#[cfg(test)]
mod tests {
    use super::{FABRIC_FAULTS, fabric_fault};

    #[test]
    fn fabric_health_is_read_by_shift_width_and_healthy_value() {
        let faults = |mask| {
            let read = |&(name, shift, width, healthy)| {
                Some((name, fabric_fault(mask, shift, width, healthy).ok()?.0))
            };
            FABRIC_FAULTS.iter().filter_map(read).collect::<Vec<_>>()
        };
        assert_eq!(faults(0), []);
        // nvml.h: DEGRADED_BW_FALSE, INCORRECT_CONFIGURATION_NONE, PARTITION_ASSIGNED_TRUE,
        // GFM_STATE_CONNECTED.
        let healthy = [
            ("degraded_bandwidth", false),
            ("incorrect_configuration", false),
            ("partition_not_assigned", false),
            ("fabric_manager_disconnected", false),
        ];
        assert_eq!(faults(2 | 1 << 8 | 1 << 12 | 1 << 14), healthy);
        // DEGRADED_BW_TRUE, INCORRECT_CONFIGURATION_GPU_STATE_INVALID, PARTITION_ASSIGNED_FALSE,
        // GFM_STATE_DISCONNECTED.
        assert_eq!(faults(1 | 8 << 8 | 2 << 12 | 2 << 14), healthy.map(|(name, _)| (name, true)));
    }
}
