//! Intel NPUs through sysfs and PMT telemetry.

use super::{HolderNames, INTEL, PciMatch, Row};
use crate::catalogue as m;

pub(super) const ROW: Row = Row {
    name: "npu",
    first_device: "0000:00:0b.0",
    rule_file: "edge",
    pci: Some(PciMatch { vendor: INTEL, classes: &[0x1200], drivers: &["intel_vpu"] }),
    allocators: &["npu.intel.com"],
    holders: HolderNames::NONE,
    sources: &[
        (m::DEVICE_INFO.id, "sysfs"),
        (m::DEVICE_ASLEEP.id, "power/runtime_status"),
        (m::RUNTIME_SECONDS.id, "power/runtime_active_time, power/runtime_suspended_time"),
        (m::UTILIZATION.id, "npu_busy_time_us"),
        (m::ENGINE_ACTIVE.id, "npu_busy_time_us"),
        (m::MEMORY_USED.id, "npu_memory_utilization"),
        (m::MEMORY_TRAFFIC.id, "PMT VPU_MEMORY_BW since it is followed"),
        (m::TEMPERATURE.id, "PMT SOC_TEMPERATURES"),
        (m::POWER.id, "PMT VPU_ENERGY"),
        (m::ENERGY.id, "PMT VPU_ENERGY since it is followed"),
        (m::CLOCK.id, "npu_current_frequency_mhz, PMT VPU_WORKPOINT"),
        (m::CLOCK_MAX.id, "npu_max_frequency_mhz, freq/hw_max_freq"),
        (m::ERRORS.id, "debugfs reset_counter, engine_reset_counter"),
        (m::SLOW_READINGS_AGE.id, "while a round takes long"),
    ],
};
