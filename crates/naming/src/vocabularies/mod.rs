//! Names that vendors' own exporters gave the quantities of the catalogue, kept byte for byte: one table for
//! each vocabulary, whose rows point at entries.

mod accelerator;
mod alias;
mod dcgm;
mod dcgm_totals;
mod generations;
mod habana;

pub use generations::{DCGM_LABELS, DcgmGeneration, DcgmLabel, OtherName};

use crate::{Family, Id, Label, Metric, MetricKind, Value};

/// Whose names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vocabulary {
    /// `DCGM_FI_*` and `DCGM_EXP_*` as dcgm-exporter prints them, in two generations.
    Dcgm,
    /// `habanalabs_*` as the official Gaudi exporter prints them.
    Habana,
    /// `accelerator_*` as the same exporter prints them: one schema for all vendors, with units that the
    /// names deny. Only for those who ask for it.
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
    /// Whole degrees Celsius, rounded as NVML does where it returns no fractions.
    WholeCelsius,
    /// Whole nanoseconds, from seconds.
    Nanoseconds,
    /// Whole thousands of kibibytes per second, from bytes per second: what DCGM calls MB/s.
    ThousandKibibytesPerSecond,
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
            Self::WholeCelsius => "°C",
            Self::Nanoseconds => "ns",
            Self::ThousandKibibytesPerSecond => "1000 KiB/s",
            Self::KilobytesPerSecond => "KB/s",
        }
    }

    /// How many of the unit are one of the base unit.
    pub const fn per_base(self) -> f64 {
        match self {
            Self::Base | Self::WholeCelsius => 1.0,
            Self::Megahertz => 1e-6,
            Self::ThousandKibibytesPerSecond => 1.0 / 1_024_000.0,
            Self::KilobytesPerSecond => 1e-3,
            Self::Millijoules | Self::Milliwatts => 1e3,
            Self::Percent => 1e2,
            Self::Nanoseconds => 1e9,
            Self::Mebibytes => 1.0 / 1_048_576.0,
        }
    }

    /// Converts a base-unit value. Whole units are rounded to the nearest integer, since the base value
    /// was itself an exact integer of the vendor's unit; mebibytes are truncated like the original.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rounded; a negative or huge base value saturates"
    )]
    pub fn from_base(self, value: &Value) -> Value {
        let converted = || value.as_f64() * self.per_base();
        match (self, value) {
            (Self::Base, _) => value.clone(),
            (Self::WholeCelsius, _) => Value::Float(converted().round()),
            (Self::Mebibytes, Value::Int(bytes)) => Value::Int(bytes >> 20),
            (Self::Mebibytes, _) => Value::Float(converted().trunc()),
            _ => Value::Int(converted().round() as u64),
        }
    }
}

/// One vendor name of a metric, for the readings whose labels match `when`.
#[derive(Clone, Copy, Debug)]
pub struct VendorName {
    /// The entry whose readings it names.
    pub id: Id,
    /// The name, exactly.
    pub name: &'static str,
    /// Whose.
    pub vocabulary: Vocabulary,
    /// The family whose readings get this name.
    pub family: Family,
    /// The kind that the vendor's exporter declares: gauge or counter.
    pub kind: MetricKind,
    /// The unit of the printed number.
    pub unit: VendorUnit,
    /// Labels that a reading must have, with these values, to be printed under this name.
    pub when: &'static [(Label, &'static str)],
    /// Labels of the reading that are printed, as (label in the entry, label in the vendor's output).
    pub keep: &'static [(Label, &'static str)],
    /// HELP, exactly as the vendor's exporter prints it.
    pub help: &'static str,
    /// The generation of the vocabulary that has the name; `None` for one that all generations have.
    pub generation: Option<DcgmGeneration>,
    /// The reading's name in the other generation, if that has it under another name.
    pub other: Option<OtherName>,
}

impl VendorName {
    /// A gauge without conditions.
    pub(super) const fn gauge(
        id: Id,
        (vocabulary, family): (Vocabulary, Family),
        name: &'static str,
        unit: VendorUnit,
        help: &'static str,
    ) -> Self {
        let kind = MetricKind::Gauge;
        let (when, keep, generation, other) = (&[], &[], None, None);
        Self { id, name, vocabulary, family, kind, unit, when, keep, help, generation, other }
    }

    pub(super) const fn when(mut self, when: &'static [(Label, &'static str)]) -> Self {
        self.when = when;
        self
    }

    pub(super) const fn keep(mut self, keep: &'static [(Label, &'static str)]) -> Self {
        self.keep = keep;
        self
    }
}

/// DCGM's rows under their names from 4.9 on, of those that have another.
const RENAMED: &[VendorName] =
    &generations::renamed::<{ generations::count_renamed(dcgm::ROWS) }>(dcgm::ROWS);

/// Every name of every vocabulary.
pub fn vendor_names() -> impl Iterator<Item = &'static VendorName> {
    [dcgm::ROWS, dcgm_totals::ROWS, RENAMED, habana::ROWS, accelerator::ROWS, alias::ROWS]
        .into_iter()
        .flatten()
}

impl Metric {
    /// The names that vendors gave this entry of the catalogue.
    pub fn vendor_names(&self) -> impl Iterator<Item = &'static VendorName> {
        vendor_names().filter(|row| std::ptr::eq(row.id.metric(), self))
    }
}
