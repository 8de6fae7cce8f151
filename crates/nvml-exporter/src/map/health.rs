//! Health: memory errors and their repair, recovery, and modes.

use naming::{Count, Flag, Label, catalogue as m};
use reading::{Batch, Labels};

use super::DeviceSample;
use crate::raw::{FieldKey, Rare, Raw, fields as f};

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

/// What is repaired or cannot be, as far as it is read once in a while.
pub fn repairs(rare: &Rare, batch: &mut Batch) {
    let count = |field| rare.fields.unsigned(field).map(Count);
    for (cause, field) in [
        ("correctable", f::NVML_FI_DEV_REMAPPED_ROWS_COR_INACTIVE),
        ("uncorrectable", f::NVML_FI_DEV_REMAPPED_ROWS_UNC_INACTIVE),
    ] {
        batch.put(m::ROWS_REMAPPED_INACTIVE, Labels::one(Label::Cause, cause), count(field));
    }
    for (state, field) in [
        ("active", f::NVML_FI_DEV_ACTIVE_BANK_REMAPPINGS),
        ("inactive", f::NVML_FI_DEV_INACTIVE_BANK_REMAPPINGS),
    ] {
        batch.put(m::BANKS_REMAPPED, Labels::one(Label::State, state), count(field));
    }
    let pending = rare.fields.unsigned(f::NVML_FI_DEV_PENDING_BANK_REMAPPING);
    batch.put(m::BANK_REMAP_PENDING, Labels::NONE, pending.map(|value| Flag(value != 0)));
    for (availability, field) in [
        ("max", f::NVML_FI_DEV_BANK_REMAPPER_HISTOGRAM_MAX),
        ("none", f::NVML_FI_DEV_BANK_REMAPPER_HISTOGRAM_NONE),
    ] {
        batch.put(m::BANK_REMAP_GROUPS, Labels::one(Label::Availability, availability), count(field));
    }
    for (index, kind) in ["memory_channel", "tpc"].into_iter().enumerate() {
        let pending = rare.repair_pending.map(|pending| Flag(pending[index]));
        batch.put(m::REPAIR_PENDING, Labels::one(Label::Kind, kind), pending);
    }
    batch.put(m::MEMORY_UNREPAIRABLE, Labels::NONE, rare.unrepairable.map(Flag));
    batch.put(m::SRAM_LOCATIONS, Labels::NONE, rare.sram_locations.map(|count| Count(count.into())));
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

/// MIG mode and vGPU licence.
pub fn modes(raw: &Raw, batch: &mut Batch) {
    batch.put(m::MIG_ENABLED, Labels::NONE, raw.mig_enabled.map(Flag));
    batch.put(m::LICENSE_ACTIVE, Labels::NONE, raw.license_active.map(Flag));
}
