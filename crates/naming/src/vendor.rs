//! Names that vendors' own exporters gave the same quantities, kept byte for byte.

use crate::{Family, Kind, Label, Value};

/// Whose names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vocabulary {
    /// `DCGM_FI_*` and `DCGM_EXP_*` as dcgm-exporter prints them (legacy names).
    Dcgm,
    /// `habanalabs_*` as the official Gaudi exporter prints them.
    Habana,
    /// `accelerator_*` as the same exporter prints them: one schema for all vendors, with units that the names
    /// deny. Only for those who ask for it.
    Accelerator,
    /// Names that people write where a vendor has none of its own.
    Alias,
}

/// The unit in which a vendor prints; [`VendorUnit::from_base`] is the only way out of base units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VendorUnit {
    /// As in the unified schema.
    Base,
    /// Whole megahertz, from hertz.
    Megahertz,
    /// Whole millijoules, from joules.
    Millijoules,
    /// Milliwatts, from watts.
    Milliwatts,
    /// Whole percent, from a ratio.
    Percent,
    /// Whole mebibytes, truncated as DCGM does, from bytes.
    Mebibytes,
    /// Whole nanoseconds, from seconds.
    Nanoseconds,
    /// Whole megabytes (10^6) per second, from bytes per second.
    MegabytesPerSecond,
    /// Whole kilobytes (10^3) per second, from bytes per second.
    KilobytesPerSecond,
}

impl VendorUnit {
    /// The symbol shown in documents; empty for [`VendorUnit::Base`].
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Base => "",
            Self::Megahertz => "MHz",
            Self::Millijoules => "mJ",
            Self::Milliwatts => "mW",
            Self::Percent => "%",
            Self::Mebibytes => "MiB",
            Self::Nanoseconds => "ns",
            Self::MegabytesPerSecond => "MB/s",
            Self::KilobytesPerSecond => "KB/s",
        }
    }

    /// Converts a base-unit value. Whole units are rounded to the nearest integer, since the base value
    /// was itself an exact integer of the vendor's unit; mebibytes are truncated like the original.
    pub fn from_base(self, value: &Value) -> Value {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "rounded; a negative or huge base value saturates"
        )]
        let whole = |factor: f64| Value::Int((value.as_f64() * factor).round() as u64);
        match self {
            Self::Base => value.clone(),
            Self::Megahertz | Self::MegabytesPerSecond => whole(1e-6),
            Self::KilobytesPerSecond => whole(1e-3),
            Self::Millijoules | Self::Milliwatts => whole(1e3),
            Self::Percent => whole(1e2),
            Self::Nanoseconds => whole(1e9),
            Self::Mebibytes => match value {
                Value::Int(bytes) => Value::Int(bytes >> 20),
                other => Value::Float((other.as_f64() / 1_048_576.0).trunc()),
            },
        }
    }
}

/// One vendor name of a metric, for the readings whose labels match `when`.
#[derive(Debug)]
pub struct Vendor {
    /// The name, exactly.
    pub name: &'static str,
    /// Whose.
    pub vocabulary: Vocabulary,
    /// The family whose readings get this name.
    pub family: Family,
    /// The kind that the vendor's exporter declares: gauge or counter.
    pub kind: Kind,
    /// The unit of the printed number.
    pub unit: VendorUnit,
    /// Labels that a reading must have, with these values, to be printed under this name.
    pub when: &'static [(Label, &'static str)],
    /// Labels of the reading that are printed, as (label in the entry, label in the vendor's output).
    pub keep: &'static [(Label, &'static str)],
    /// HELP, exactly as the vendor's exporter prints it.
    pub help: &'static str,
}

/// dcgm-exporter's fields of type `label` that NVML can give, sorted as it prints them, each with the label
/// of `accel_device_info` that holds the same fact.
pub const DCGM_LABELS: &[(&str, Label)] = &[
    ("DCGM_FI_DEV_BRAND", Label::Brand),
    ("DCGM_FI_DEV_ECC_INFOROM_VER", Label::EccInforomVersion),
    ("DCGM_FI_DEV_INFOROM_IMAGE_VER", Label::InforomVersion),
    ("DCGM_FI_DEV_OEM_INFOROM_VER", Label::OemInforomVersion),
    ("DCGM_FI_DEV_POWER_INFOROM_VER", Label::PowerInforomVersion),
    ("DCGM_FI_DEV_SERIAL", Label::Serial),
    ("DCGM_FI_DEV_VBIOS_VERSION", Label::FirmwareVersion),
    (DCGM_DEFAULT_LABEL, Label::DriverVersion),
    ("DCGM_FI_NVML_VERSION", Label::LibraryVersion),
];

/// The only one of them in dcgm-exporter's default list.
pub const DCGM_DEFAULT_LABEL: &str = "DCGM_FI_DRIVER_VERSION";
