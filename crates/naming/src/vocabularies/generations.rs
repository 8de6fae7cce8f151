//! The two generations of dcgm-exporter's names. A row of the table has both; the newer one is a row of its own
//! beside it, so that whoever reads names needs to know of no generation.

use super::{VendorName, VendorUnit};
use crate::Label;

/// The generations of dcgm-exporter's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DcgmGeneration {
    /// Up to 4.8: NVML's units.
    V4_8,
    /// From 4.9 on: base units, which the names end in.
    V4_9,
}

/// What one reading is called in the other generation of its vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherName {
    /// The name, exactly.
    pub name: &'static str,
    /// The unit of the printed number.
    pub unit: VendorUnit,
    /// HELP.
    pub help: &'static str,
}

impl VendorName {
    /// From 4.9 on it is called so, with the same unit and HELP.
    pub(super) const fn renamed(self, name: &'static str) -> Self {
        let other = OtherName { name, unit: self.unit, help: self.help };
        Self { generation: Some(DcgmGeneration::V4_8), other: Some(other), ..self }
    }

    /// From 4.9 on it is called so and printed in its base unit.
    pub(super) const fn in_base_units(self, name: &'static str, help: &'static str) -> Self {
        let other = OtherName { name, unit: VendorUnit::Base, help };
        Self { generation: Some(DcgmGeneration::V4_8), other: Some(other), ..self }
    }

    /// From 4.9 on there is no such name.
    pub(super) const fn dropped(self) -> Self {
        Self { generation: Some(DcgmGeneration::V4_8), ..self }
    }
}

/// How many rows have another name from 4.9 on.
pub(super) const fn count_renamed(rows: &[VendorName]) -> usize {
    let (mut row, mut count) = (0, 0);
    while row < rows.len() {
        count += rows[row].other.is_some() as usize;
        row += 1;
    }
    count
}

/// The rows under their names from 4.9 on, of those `N` that have another.
pub(super) const fn renamed<const N: usize>(rows: &[VendorName]) -> [VendorName; N] {
    let mut all = [rows[0]; N];
    let (mut row, mut count) = (0, 0);
    while row < rows.len() {
        let old = rows[row];
        if let Some(OtherName { name, unit, help }) = old.other {
            let other = Some(OtherName { name: old.name, unit: old.unit, help: old.help });
            let generation = Some(DcgmGeneration::V4_9);
            all[count] = VendorName { name, unit, help, generation, other, ..old };
            count += 1;
        }
        row += 1;
    }
    all
}

/// A field of dcgm-exporter's type `label`.
#[derive(Clone, Copy, Debug)]
pub struct DcgmLabel {
    /// The label's name up to 4.8, and from 4.9 on.
    pub names: [&'static str; 2],
    /// The label of `accel_device_info` that holds the same fact.
    pub fact: Label,
    /// Whether dcgm-exporter's default list has it.
    pub is_default: bool,
}

const fn label(names: [&'static str; 2], fact: Label) -> DcgmLabel {
    DcgmLabel { names, fact, is_default: false }
}

/// dcgm-exporter's fields of type `label` that NVML can give, sorted as it prints them.
pub const DCGM_LABELS: &[DcgmLabel] = &[
    label(["DCGM_FI_DEV_BRAND", "DCGM_FI_DEV_GPU_BRAND"], Label::Brand),
    label(["DCGM_FI_DEV_ECC_INFOROM_VER", "DCGM_FI_DEV_INFOROM_ECC_VERSION"], Label::EccInforomVersion),
    label(["DCGM_FI_DEV_INFOROM_IMAGE_VER", "DCGM_FI_DEV_INFOROM_IMAGE_VERSION"], Label::InforomVersion),
    label(["DCGM_FI_DEV_OEM_INFOROM_VER", "DCGM_FI_DEV_INFOROM_OEM_VERSION"], Label::OemInforomVersion),
    label(["DCGM_FI_DEV_POWER_INFOROM_VER", "DCGM_FI_DEV_INFOROM_POWER_VERSION"], Label::PowerInforomVersion),
    label(["DCGM_FI_DEV_SERIAL", "DCGM_FI_DEV_BOARD_SERIAL"], Label::Serial),
    label(["DCGM_FI_DEV_VBIOS_VERSION", "DCGM_FI_DEV_VBIOS_VERSION"], Label::FirmwareVersion),
    DcgmLabel {
        is_default: true,
        ..label(["DCGM_FI_DRIVER_VERSION", "DCGM_FI_SYSTEM_DRIVER_VERSION"], Label::DriverVersion)
    },
    label(["DCGM_FI_NVML_VERSION", "DCGM_FI_SYSTEM_NVML_VERSION"], Label::LibraryVersion),
];
