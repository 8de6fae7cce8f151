//! `DCGM_FI_PROF_*_TOTAL` as dcgm-exporter prints them: counts of the device since it was reset, under one name in
//! both generations, with dcgm-exporter's own HELP texts.

use super::{VendorName, VendorUnit::Base, dcgm::counter};
use crate::{Label, catalogue as m};

const fn cycles(
    engine: &'static [(Label, &'static str)],
    name: &'static str,
    help: &'static str,
) -> VendorName {
    counter(m::ENGINE_CYCLES.id, name, Base, help).when(engine)
}

pub(super) const ROWS: &[VendorName] = &[
    counter(m::SM_CYCLES.id, "DCGM_FI_PROF_SM_CYCLES_ELAPSED_TOTAL", Base, "Total elapsed SM cycles."),
    cycles(
        &[(Label::Engine, "sm")],
        "DCGM_FI_PROF_SM_CYCLES_ACTIVE_TOTAL",
        "Total SM cycles with active warps.",
    ),
    cycles(
        &[(Label::Engine, "tensor")],
        "DCGM_FI_PROF_MMA_CYCLES_ACTIVE_TOTAL",
        "Total MMA tensor cycles active.",
    ),
    cycles(
        &[(Label::Engine, "tensor_dmma")],
        "DCGM_FI_PROF_DMMA_CYCLES_ACTIVE_TOTAL",
        "Total DMMA tensor cycles active.",
    ),
    cycles(
        &[(Label::Engine, "tensor_hmma")],
        "DCGM_FI_PROF_HMMA_CYCLES_ACTIVE_TOTAL",
        "Total HMMA tensor cycles active.",
    ),
    cycles(
        &[(Label::Engine, "tensor_imma")],
        "DCGM_FI_PROF_IMMA_CYCLES_ACTIVE_TOTAL",
        "Total IMMA tensor cycles active.",
    ),
    cycles(
        &[(Label::Engine, "tensor_dfma")],
        "DCGM_FI_PROF_DFMA_CYCLES_ACTIVE_TOTAL",
        "Total DFMA tensor cycles active.",
    ),
    cycles(
        &[(Label::Engine, "int")],
        "DCGM_FI_PROF_INT_CYCLES_ACTIVE_TOTAL",
        "Total integer pipe cycles active.",
    ),
    cycles(
        &[(Label::Engine, "fp64")],
        "DCGM_FI_PROF_FP64_CYCLES_ACTIVE_TOTAL",
        "Total FP64 pipe cycles active.",
    ),
    cycles(
        &[(Label::Engine, "fp32")],
        "DCGM_FI_PROF_FP32_CYCLES_ACTIVE_TOTAL",
        "Total FP32 pipe cycles active.",
    ),
    cycles(
        &[(Label::Engine, "fp16")],
        "DCGM_FI_PROF_FP16_CYCLES_ACTIVE_TOTAL",
        "Total FP16 pipe cycles active.",
    ),
    counter(m::LINK_TRANSMIT.id, "DCGM_FI_PROF_PCIE_TX_BYTES_TOTAL", Base, "Total PCIe transmitted bytes.")
        .when(&[(Label::Link, "0"), (Label::Kind, "pcie")]),
    counter(m::LINK_RECEIVE.id, "DCGM_FI_PROF_PCIE_RX_BYTES_TOTAL", Base, "Total PCIe received bytes.")
        .when(&[(Label::Link, "0"), (Label::Kind, "pcie")]),
];
