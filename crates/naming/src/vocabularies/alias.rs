//! Names that people write for families whose vendor has no exporter of its own.

use super::VendorName;
use crate::{
    Family,
    Family::{Amx, Gaudi, Npu, Xpu},
    Id, Label, VendorUnit,
    VendorUnit::{Base, Percent},
    Vocabulary, catalogue as m,
};

const fn alias(
    id: Id,
    family: Family,
    name: &'static str,
    unit: VendorUnit,
    help: &'static str,
) -> VendorName {
    VendorName::gauge(id, (Vocabulary::Alias, family), name, unit, help)
}

pub(super) const ROWS: &[VendorName] = &[
    alias(
        m::UTILIZATION.id,
        Npu,
        "npu_utilization",
        Percent,
        "Share of the time in which the NPU had work (in %).",
    ),
    alias(
        m::UTILIZATION.id,
        Gaudi,
        "habana_hpu_utilization",
        Percent,
        "Utilization of the last second (in %), cut to 100, may be derived from power.",
    ),
    alias(
        m::ENGINE_ACTIVE.id,
        Amx,
        "cpu_amx_utilization",
        Percent,
        "Share of the unhalted cycles in which AMX is busy (in %).",
    )
    .when(&[(Label::Engine, "amx")]),
    alias(m::ENGINE_ACTIVE.id, Xpu, "xe_engine_utilization", Percent, "Busy share of the engine (in %).")
        .keep(&[(Label::Engine, "engine")]),
    alias(m::MEMORY_USED.id, Gaudi, "habana_hbm_used", Base, "Device memory in use (in bytes)."),
    alias(m::MEMORY_USED.id, Xpu, "xe_memory_used", Base, "Device memory allocated (in bytes)."),
];
