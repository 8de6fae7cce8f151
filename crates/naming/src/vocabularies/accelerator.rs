//! accelerator_* as the official Gaudi exporter prints them: names that promise another unit than they carry.

use super::VendorName;
use crate::{
    Family, Id, Label, VendorUnit,
    VendorUnit::{Base, Megahertz, Milliwatts, Percent},
    Vocabulary, catalogue as m,
};

const fn gauge(id: Id, name: &'static str, unit: VendorUnit, help: &'static str) -> VendorName {
    VendorName::gauge(id, (Vocabulary::Accelerator, Family::Gaudi), name, unit, help)
}

pub(super) const ROWS: &[VendorName] = &[
    gauge(
        m::UTILIZATION.id,
        "accelerator_gpu_utilization",
        Percent,
        "Utilization of the last second (in %), cut to 100, may be derived from power.",
    ),
    gauge(m::MEMORY_TOTAL.id, "accelerator_memory_total_bytes", Base, "Device memory (in bytes)."),
    gauge(m::MEMORY_USED.id, "accelerator_memory_used_bytes", Base, "Device memory in use (in bytes)."),
    gauge(
        m::TEMPERATURE.id,
        "accelerator_temperature_celcius",
        Base,
        "Temperature of the chip (in C), spelt as in the original.",
    )
    .when(&[(Label::Sensor, "gpu")]),
    gauge(
        m::POWER.id,
        "accelerator_power_usage_watts",
        Milliwatts,
        "Power draw in milliwatts, whatever the name says.",
    ),
    gauge(
        m::CLOCK.id,
        "accelerator_sm_clock_hertz",
        Megahertz,
        "SoC clock in megahertz, whatever the name says.",
    )
    .when(&[(Label::Domain, "soc")]),
];
