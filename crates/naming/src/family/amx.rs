//! Xeon sockets and their AMX through perf events and RAPL.

use super::{HolderNames, Row};
use crate::catalogue as m;

pub(super) const ROW: Row = Row {
    name: "amx",
    first_device: "socket0",
    rule_file: "xeon",
    pci: None,
    allocators: &[],
    holders: HolderNames::NONE,
    sources: &[
        (m::DEVICE_INFO.id, "CPUID, sysfs"),
        (m::ENGINE_ACTIVE.id, "EXE.AMX_BUSY over unhalted cycles"),
        (m::CYCLES.id, "perf events CPU_CLK_UNHALTED.THREAD, CPU_CLK_UNHALTED.DISTRIBUTED and EXE.AMX_BUSY"),
        (m::INSTRUCTIONS.id, "perf event INST_RETIRED.ANY"),
        (m::MEMORY_READ.id, "uncore_imc cas_count_read"),
        (m::MEMORY_WRITTEN.id, "uncore_imc cas_count_write"),
        (m::TEMPERATURE.id, "hwmon coretemp"),
        (m::TEMPERATURE_LIMIT.id, "hwmon coretemp crit"),
        (m::POWER.id, "RAPL energy_uj"),
        (m::POWER_LIMIT.id, "RAPL constraint_power_limit_uw"),
        (m::ENERGY.id, "RAPL energy_uj since it is followed"),
        (m::MEMORY_POWER.id, "RAPL dram energy_uj"),
        (m::MEMORY_ENERGY.id, "RAPL dram energy_uj since it is followed"),
        (m::CLOCK.id, "scaling_cur_freq"),
        (m::CLOCK_MAX.id, "cpuinfo_max_freq"),
        (m::THROTTLE_ACTIVE.id, "thermal_throttle"),
        (m::THROTTLE_SECONDS.id, "thermal_throttle"),
        (m::THROTTLE_EVENTS.id, "thermal_throttle"),
        (m::AMX_MISSING.id, "CPUID"),
        (m::SLOW_READINGS_AGE.id, "while a round takes long"),
    ],
};
