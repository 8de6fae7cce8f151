//! Utilization: of the device as a whole, and of each engine and pipe.

use naming::{Count, Label, Ratio, catalogue as m};
use reading::{Batch, Labels, Measured};

use crate::raw::{GpmMetric, GpmMetrics, Raw};

/// GPM percentages of engines.
const PIPES: [(&str, GpmMetric); 10] = [
    ("graphics", GpmMetric::GraphicsUtil),
    ("sm", GpmMetric::SmUtil),
    ("tensor", GpmMetric::AnyTensorUtil),
    ("tensor_dfma", GpmMetric::DfmaTensorUtil),
    ("tensor_hmma", GpmMetric::HmmaTensorUtil),
    ("tensor_imma", GpmMetric::ImmaTensorUtil),
    ("fp64", GpmMetric::Fp64Util),
    ("fp32", GpmMetric::Fp32Util),
    ("fp16", GpmMetric::Fp16Util),
    ("int", GpmMetric::IntegerUtil),
];

/// GPM's counts of cycles of engines.
const CYCLES: [(&str, GpmMetric); 10] = [
    ("sm", GpmMetric::SmCyclesActive),
    ("tensor", GpmMetric::MmaCyclesActive),
    ("tensor_dfma", GpmMetric::DfmaCyclesActive),
    ("tensor_dmma", GpmMetric::DmmaCyclesActive),
    ("tensor_hmma", GpmMetric::HmmaCyclesActive),
    ("tensor_imma", GpmMetric::ImmaCyclesActive),
    ("fp64", GpmMetric::Fp64CyclesActive),
    ("fp32", GpmMetric::Fp32CyclesActive),
    ("fp16", GpmMetric::Fp16CyclesActive),
    ("int", GpmMetric::IntegerCyclesActive),
];

/// Percent of time with any kernel, and with any memory access.
pub fn coarse(percent: Measured<(u32, u32)>, batch: &mut Batch) {
    batch.put(m::UTILIZATION, Labels::NONE, ratio(percent.map(|(gpu, _)| gpu)));
    batch.put(m::MEMORY_CONTROLLER_ACTIVE, Labels::NONE, ratio(percent.map(|(_, memory)| memory)));
}

fn ratio(percent: Measured<u32>) -> Measured<Ratio> {
    percent.map(|percent| Ratio::from_percent(percent.into()))
}

/// What every device has: coarse utilization, media engines, processes.
pub fn utilization(raw: &Raw, batch: &mut Batch) {
    coarse(raw.utilization_percent, batch);
    for (engine, percent) in [
        ("encode", raw.encoder_percent),
        ("decode", raw.decoder_percent),
        ("jpeg", raw.jpeg_percent),
        ("optical_flow", raw.ofa_percent),
    ] {
        batch.put(m::ENGINE_ACTIVE, Labels::one(Label::Engine, engine), ratio(percent));
    }
    batch.put(m::COMPUTE_PROCESSES, Labels::NONE, raw.compute_processes.map(|n| Count(n.into())));
}

/// GPM's counters of a device or instance.
pub fn profiling(gpm: &GpmMetrics, batch: &mut Batch) {
    let ratio = |metric| gpm.get(metric).map(Ratio::from_percent);
    for (engine, metric) in PIPES {
        batch.put(m::ENGINE_ACTIVE, Labels::one(Label::Engine, engine), ratio(metric));
    }
    for (engine, metric) in CYCLES {
        batch.put(m::ENGINE_CYCLES, Labels::one(Label::Engine, engine), gpm.total(metric).map(Count));
    }
    batch.put(m::SM_CYCLES, Labels::NONE, gpm.total(GpmMetric::SmCyclesElapsed).map(Count));
    batch.put(m::SM_OCCUPANCY, Labels::NONE, ratio(GpmMetric::SmOccupancy));
    batch.put(m::MEMORY_BANDWIDTH_ACTIVE, Labels::NONE, ratio(GpmMetric::DramBwUtil));
    batch.put(m::CONTEXT_SWITCH_ACTIVE, Labels::NONE, ratio(GpmMetric::ContextSwitchActive));
    for (cache, metric) in [
        ("dram", GpmMetric::DramCacheHit),
        ("host", GpmMetric::HostmemCacheHit),
        ("peer", GpmMetric::PeermemCacheHit),
    ] {
        batch.put(m::CACHE_HIT, Labels::one(Label::Cache, cache), ratio(metric));
    }
}
