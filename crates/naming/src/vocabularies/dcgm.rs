//! DCGM_FI_* and DCGM_EXP_* as dcgm-exporter prints them: the names up to 4.8, each row with the one that
//! replaces it from 4.9 on (DCGM 4.7).
//!
//! HELP texts of names that are in dcgm-exporter's own counter lists up to 4.8 are theirs, byte for byte, and
//! stay where a new name has the old unit. The other fields have no HELP that was published when this was
//! written, so those sentences are ours.

use super::VendorName;
use crate::{
    Family, Id, Label, MetricKind, VendorUnit,
    VendorUnit::{
        Base, Mebibytes, Megahertz, Millijoules, Nanoseconds, Percent, ThousandKibibytesPerSecond,
        WholeCelsius,
    },
    Vocabulary, catalogue as m,
};

const fn gauge(id: Id, name: &'static str, unit: VendorUnit, help: &'static str) -> VendorName {
    VendorName::gauge(id, (Vocabulary::Dcgm, Family::Nvidia), name, unit, help)
}

pub(super) const fn counter(id: Id, name: &'static str, unit: VendorUnit, help: &'static str) -> VendorName {
    VendorName { kind: MetricKind::Counter, ..gauge(id, name, unit, help) }
}

pub(super) const ROWS: &[VendorName] = &[
    gauge(m::UTILIZATION.id, "DCGM_FI_DEV_GPU_UTIL", Percent, "GPU utilization (in %).")
        .in_base_units("DCGM_FI_DEV_GPU_UTIL_RATIO", "GPU utilization (ratio)."),
    gauge(m::ENGINE_ACTIVE.id, "DCGM_FI_DEV_ENC_UTIL", Percent, "Encoder utilization (in %).")
        .when(&[(Label::Engine, "encode")])
        .in_base_units("DCGM_FI_DEV_ENC_UTIL_RATIO", "Encoder utilization (ratio)."),
    gauge(m::ENGINE_ACTIVE.id, "DCGM_FI_DEV_DEC_UTIL", Percent, "Decoder utilization (in %).")
        .when(&[(Label::Engine, "decode")])
        .in_base_units("DCGM_FI_DEV_DEC_UTIL_RATIO", "Decoder utilization (ratio)."),
    gauge(
        m::ENGINE_ACTIVE.id,
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE",
        Base,
        "Ratio of time the graphics engine is active.",
    )
    .when(&[(Label::Engine, "graphics")])
    .renamed("DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO"),
    gauge(
        m::ENGINE_ACTIVE.id,
        "DCGM_FI_PROF_SM_ACTIVE",
        Base,
        "The ratio of cycles an SM has at least 1 warp assigned.",
    )
    .when(&[(Label::Engine, "sm")])
    .renamed("DCGM_FI_PROF_SM_UTIL_RATIO"),
    gauge(
        m::ENGINE_ACTIVE.id,
        "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE",
        Base,
        "Ratio of cycles the tensor (HMMA) pipe is active.",
    )
    .when(&[(Label::Engine, "tensor")])
    .renamed("DCGM_FI_PROF_TENSOR_UTIL_RATIO"),
    gauge(
        m::ENGINE_ACTIVE.id,
        "DCGM_FI_PROF_PIPE_TENSOR_DFMA_ACTIVE",
        Base,
        "Ratio of cycles the tensor (DFMA) pipe is active.",
    )
    .when(&[(Label::Engine, "tensor_dfma")])
    .renamed("DCGM_FI_PROF_DFMA_UTIL_RATIO"),
    gauge(
        m::ENGINE_ACTIVE.id,
        "DCGM_FI_PROF_PIPE_TENSOR_HMMA_ACTIVE",
        Base,
        "Ratio of cycles the tensor (HMMA) pipe is active, without other tensor work.",
    )
    .when(&[(Label::Engine, "tensor_hmma")])
    .renamed("DCGM_FI_PROF_HMMA_UTIL_RATIO"),
    gauge(
        m::ENGINE_ACTIVE.id,
        "DCGM_FI_PROF_PIPE_TENSOR_IMMA_ACTIVE",
        Base,
        "Ratio of cycles the tensor (IMMA) pipe is active.",
    )
    .when(&[(Label::Engine, "tensor_imma")])
    .renamed("DCGM_FI_PROF_IMMA_UTIL_RATIO"),
    gauge(
        m::ENGINE_ACTIVE.id,
        "DCGM_FI_PROF_PIPE_FP64_ACTIVE",
        Base,
        "Ratio of cycles the fp64 pipes are active.",
    )
    .when(&[(Label::Engine, "fp64")])
    .renamed("DCGM_FI_PROF_FP64_UTIL_RATIO"),
    gauge(
        m::ENGINE_ACTIVE.id,
        "DCGM_FI_PROF_PIPE_FP32_ACTIVE",
        Base,
        "Ratio of cycles the fp32 pipes are active.",
    )
    .when(&[(Label::Engine, "fp32")])
    .renamed("DCGM_FI_PROF_FP32_UTIL_RATIO"),
    gauge(
        m::ENGINE_ACTIVE.id,
        "DCGM_FI_PROF_PIPE_FP16_ACTIVE",
        Base,
        "Ratio of cycles the fp16 pipes are active.",
    )
    .when(&[(Label::Engine, "fp16")])
    .renamed("DCGM_FI_PROF_FP16_UTIL_RATIO"),
    gauge(
        m::ENGINE_ACTIVE.id,
        "DCGM_FI_PROF_PIPE_INT_ACTIVE",
        Base,
        "Ratio of cycles the integer pipe is active.",
    )
    .when(&[(Label::Engine, "int")])
    .renamed("DCGM_FI_PROF_INT_UTIL_RATIO"),
    gauge(
        m::SM_OCCUPANCY.id,
        "DCGM_FI_PROF_SM_OCCUPANCY",
        Base,
        "The ratio of number of warps resident on an SM.",
    )
    .renamed("DCGM_FI_PROF_SM_OCCUPANCY_RATIO"),
    gauge(m::MEMORY_TOTAL.id, "DCGM_FI_DEV_FB_TOTAL", Mebibytes, "Framebuffer memory total (in MiB).")
        .in_base_units("DCGM_FI_DEV_FB_CAPACITY_BYTES", "Framebuffer memory capacity (in bytes)."),
    gauge(m::MEMORY_USED.id, "DCGM_FI_DEV_FB_USED", Mebibytes, "Framebuffer memory used (in MiB).")
        .in_base_units("DCGM_FI_DEV_FB_USED_BYTES", "Framebuffer memory used (in bytes)."),
    gauge(m::MEMORY_FREE.id, "DCGM_FI_DEV_FB_FREE", Mebibytes, "Framebuffer memory free (in MiB).")
        .in_base_units("DCGM_FI_DEV_FB_FREE_BYTES", "Framebuffer memory free (in bytes)."),
    gauge(
        m::MEMORY_RESERVED.id,
        "DCGM_FI_DEV_FB_RESERVED",
        Mebibytes,
        "Framebuffer memory reserved (in MiB).",
    )
    .in_base_units("DCGM_FI_DEV_FB_RESERVED_BYTES", "Framebuffer memory reserved (in bytes)."),
    gauge(
        m::MEMORY_BANDWIDTH_ACTIVE.id,
        "DCGM_FI_PROF_DRAM_ACTIVE",
        Base,
        "Ratio of cycles the device memory interface is active sending or receiving data.",
    )
    .renamed("DCGM_FI_PROF_DRAM_UTIL_RATIO"),
    gauge(m::MEMORY_CONTROLLER_ACTIVE.id, "DCGM_FI_DEV_MEM_COPY_UTIL", Percent, "Memory utilization (in %).")
        .in_base_units("DCGM_FI_DEV_MEMORY_UTIL_RATIO", "Memory utilization (ratio)."),
    gauge(m::BAR1_TOTAL.id, "DCGM_FI_DEV_BAR1_TOTAL", Mebibytes, "BAR1 memory total (in MiB).")
        .in_base_units("DCGM_FI_DEV_BAR1_CAPACITY_BYTES", "BAR1 memory capacity (in bytes)."),
    gauge(m::BAR1_USED.id, "DCGM_FI_DEV_BAR1_USED", Mebibytes, "BAR1 memory used (in MiB).")
        .in_base_units("DCGM_FI_DEV_BAR1_USED_BYTES", "BAR1 memory used (in bytes)."),
    gauge(m::BAR1_FREE.id, "DCGM_FI_DEV_BAR1_FREE", Mebibytes, "BAR1 memory free (in MiB).")
        .in_base_units("DCGM_FI_DEV_BAR1_FREE_BYTES", "BAR1 memory free (in bytes)."),
    gauge(m::TEMPERATURE.id, "DCGM_FI_DEV_GPU_TEMP", WholeCelsius, "GPU temperature (in C).")
        .when(&[(Label::Sensor, "gpu")])
        .renamed("DCGM_FI_DEV_GPU_TEMP_CELSIUS"),
    gauge(m::TEMPERATURE.id, "DCGM_FI_DEV_MEMORY_TEMP", Base, "Memory temperature (in C).")
        .when(&[(Label::Sensor, "memory")])
        .renamed("DCGM_FI_DEV_MEMORY_TEMP_CELSIUS"),
    gauge(m::TEMPERATURE_LIMIT.id, "DCGM_FI_DEV_SLOWDOWN_TEMP", Base, "Slowdown temperature (in C).")
        .when(&[(Label::Sensor, "gpu"), (Label::Limit, "slowdown")])
        .renamed("DCGM_FI_DEV_GPU_TEMP_SLOWDOWN_CELSIUS"),
    gauge(m::TEMPERATURE_LIMIT.id, "DCGM_FI_DEV_SHUTDOWN_TEMP", Base, "Shutdown temperature (in C).")
        .when(&[(Label::Sensor, "gpu"), (Label::Limit, "shutdown")])
        .renamed("DCGM_FI_DEV_GPU_TEMP_SHUTDOWN_CELSIUS"),
    gauge(
        m::TEMPERATURE_LIMIT.id,
        "DCGM_FI_DEV_GPU_MAX_OP_TEMP",
        Base,
        "Maximum operating temperature of the GPU (in C).",
    )
    .when(&[(Label::Sensor, "gpu"), (Label::Limit, "operating")])
    .renamed("DCGM_FI_DEV_GPU_MAX_OP_TEMP_CELSIUS"),
    gauge(
        m::TEMPERATURE_LIMIT.id,
        "DCGM_FI_DEV_MEM_MAX_OP_TEMP",
        Base,
        "Maximum operating temperature of the memory (in C).",
    )
    .when(&[(Label::Sensor, "memory"), (Label::Limit, "operating")])
    .renamed("DCGM_FI_DEV_MEMORY_MAX_OP_TEMP_CELSIUS"),
    gauge(m::POWER.id, "DCGM_FI_DEV_POWER_USAGE", Base, "Power draw (in W).")
        .renamed("DCGM_FI_DEV_BOARD_POWER_WATTS"),
    gauge(m::POWER_INSTANT.id, "DCGM_FI_DEV_POWER_USAGE_INSTANT", Base, "Instantaneous power draw (in W).")
        .renamed("DCGM_FI_DEV_BOARD_POWER_RAW_WATTS"),
    gauge(
        m::POWER_LIMIT.id,
        "DCGM_FI_DEV_ENFORCED_POWER_LIMIT",
        Base,
        "Effective power limit that the driver enforces (in W).",
    )
    .when(&[(Label::Limit, "enforced")])
    .renamed("DCGM_FI_DEV_BOARD_POWER_LIMIT_ENFORCED_WATTS"),
    gauge(m::POWER_LIMIT.id, "DCGM_FI_DEV_POWER_MGMT_LIMIT", Base, "Current power limit (in W).")
        .when(&[(Label::Limit, "requested")])
        .renamed("DCGM_FI_DEV_BOARD_POWER_LIMIT_REQUESTED_WATTS"),
    gauge(m::POWER_LIMIT.id, "DCGM_FI_DEV_POWER_MGMT_LIMIT_DEF", Base, "Default power limit (in W).")
        .when(&[(Label::Limit, "default")])
        .renamed("DCGM_FI_DEV_BOARD_POWER_LIMIT_DEFAULT_WATTS"),
    gauge(m::POWER_LIMIT.id, "DCGM_FI_DEV_POWER_MGMT_LIMIT_MIN", Base, "Minimum power limit (in W).")
        .when(&[(Label::Limit, "min")])
        .renamed("DCGM_FI_DEV_BOARD_POWER_LIMIT_MIN_WATTS"),
    gauge(m::POWER_LIMIT.id, "DCGM_FI_DEV_POWER_MGMT_LIMIT_MAX", Base, "Maximum power limit (in W).")
        .when(&[(Label::Limit, "max")])
        .renamed("DCGM_FI_DEV_BOARD_POWER_LIMIT_MAX_WATTS"),
    counter(
        m::ENERGY.id,
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
        Millijoules,
        "Total energy consumption since boot (in mJ).",
    )
    .in_base_units(
        "DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL",
        "Total energy consumption since the driver was last reloaded (in J).",
    ),
    gauge(m::CLOCK.id, "DCGM_FI_DEV_SM_CLOCK", Megahertz, "SM clock frequency (in MHz).")
        .when(&[(Label::Domain, "sm")])
        .in_base_units("DCGM_FI_DEV_SM_CLOCK_HERTZ", "SM clock frequency (in Hz)."),
    gauge(m::CLOCK.id, "DCGM_FI_DEV_MEM_CLOCK", Megahertz, "Memory clock frequency (in MHz).")
        .when(&[(Label::Domain, "memory")])
        .in_base_units("DCGM_FI_DEV_MEMORY_CLOCK_HERTZ", "Memory clock frequency (in Hz)."),
    gauge(m::CLOCK.id, "DCGM_FI_DEV_VIDEO_CLOCK", Megahertz, "Video clock frequency (in MHz).")
        .when(&[(Label::Domain, "video")])
        .in_base_units("DCGM_FI_DEV_VIDEO_CLOCK_HERTZ", "Video clock frequency (in Hz)."),
    gauge(m::CLOCK_MAX.id, "DCGM_FI_DEV_MAX_SM_CLOCK", Megahertz, "Maximum SM clock frequency (in MHz).")
        .when(&[(Label::Domain, "sm")])
        .in_base_units("DCGM_FI_DEV_SM_MAX_CLOCK_HERTZ", "Maximum SM clock frequency (in Hz)."),
    gauge(
        m::CLOCK_MAX.id,
        "DCGM_FI_DEV_MAX_MEM_CLOCK",
        Megahertz,
        "Maximum memory clock frequency (in MHz).",
    )
    .when(&[(Label::Domain, "memory")])
    .in_base_units("DCGM_FI_DEV_MEMORY_MAX_CLOCK_HERTZ", "Maximum memory clock frequency (in Hz)."),
    gauge(
        m::CLOCK_MAX.id,
        "DCGM_FI_DEV_MAX_VIDEO_CLOCK",
        Megahertz,
        "Maximum video clock frequency (in MHz).",
    )
    .when(&[(Label::Domain, "video")])
    .in_base_units("DCGM_FI_DEV_VIDEO_MAX_CLOCK_HERTZ", "Maximum video clock frequency (in Hz)."),
    gauge(m::PERFORMANCE_STATE.id, "DCGM_FI_DEV_PSTATE", Base, "Performance state (P-State) 0-15.")
        .renamed("DCGM_FI_DEV_GPU_PSTATE"),
    gauge(
        m::CLOCKS_EVENT_REASONS.id,
        "DCGM_FI_DEV_CLOCKS_EVENT_REASONS",
        Base,
        "Current clock event reasons (bitmask of DCGM_CLOCKS_EVENT_REASON_*).",
    ),
    gauge(
        m::CLOCKS_EVENT_REASONS.id,
        "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS",
        Base,
        "Current clock throttle reasons (bitmask of DCGM_CLOCKS_THROTTLE_REASON_*).",
    )
    .dropped(),
    counter(
        m::THROTTLE_SECONDS.id,
        "DCGM_FI_DEV_POWER_VIOLATION",
        Nanoseconds,
        "Throttling duration due to power constraints (in ns).",
    )
    .when(&[(Label::Reason, "sw_power_cap")])
    .in_base_units(
        "DCGM_FI_DEV_GPU_POWER_THROTTLE_SECONDS_TOTAL",
        "Throttling duration due to power constraints (in s).",
    ),
    counter(
        m::THROTTLE_SECONDS.id,
        "DCGM_FI_DEV_THERMAL_VIOLATION",
        Nanoseconds,
        "Throttling duration due to thermal constraints (in ns).",
    )
    .when(&[(Label::Reason, "thermal")])
    .in_base_units(
        "DCGM_FI_DEV_GPU_THERMAL_THROTTLE_SECONDS_TOTAL",
        "Throttling duration due to thermal constraints (in s).",
    ),
    counter(
        m::THROTTLE_SECONDS.id,
        "DCGM_FI_DEV_SYNC_BOOST_VIOLATION",
        Nanoseconds,
        "Throttling duration due to sync-boost constraints (in ns).",
    )
    .when(&[(Label::Reason, "sync_boost")])
    .in_base_units(
        "DCGM_FI_DEV_GPU_SYNC_BOOST_THROTTLE_SECONDS_TOTAL",
        "Throttling duration due to sync-boost constraints (in s).",
    ),
    counter(
        m::THROTTLE_SECONDS.id,
        "DCGM_FI_DEV_BOARD_LIMIT_VIOLATION",
        Nanoseconds,
        "Throttling duration due to board limit constraints (in ns).",
    )
    .when(&[(Label::Reason, "board_limit")])
    .in_base_units(
        "DCGM_FI_DEV_GPU_LIMIT_THROTTLE_SECONDS_TOTAL",
        "Throttling duration due to board limit constraints (in s).",
    ),
    counter(
        m::THROTTLE_SECONDS.id,
        "DCGM_FI_DEV_LOW_UTIL_VIOLATION",
        Nanoseconds,
        "Throttling duration due to low utilization (in ns).",
    )
    .when(&[(Label::Reason, "low_utilization")])
    .in_base_units(
        "DCGM_FI_DEV_GPU_LOW_UTIL_THROTTLE_SECONDS_TOTAL",
        "Throttling duration due to low utilization (in s).",
    ),
    counter(
        m::THROTTLE_SECONDS.id,
        "DCGM_FI_DEV_RELIABILITY_VIOLATION",
        Nanoseconds,
        "Throttling duration due to reliability constraints (in ns).",
    )
    .when(&[(Label::Reason, "reliability")])
    .in_base_units(
        "DCGM_FI_DEV_GPU_RELIABILITY_THROTTLE_SECONDS_TOTAL",
        "Throttling duration due to reliability constraints (in s).",
    ),
    gauge(m::CLOCK_EVENTS_WINDOW.id, "DCGM_EXP_CLOCK_EVENTS_COUNT", Base, "reported clock events")
        .keep(&[(Label::ClockEvent, "clock_event"), (Label::WindowSizeInMs, "window_size_in_ms")]),
    gauge(m::FAN_SPEED.id, "DCGM_FI_DEV_FAN_SPEED", Percent, "Fan speed (in %).")
        .when(&[(Label::Fan, "0")])
        .in_base_units("DCGM_FI_DEV_FAN_SPEED_RATIO", "Fan speed (ratio)."),
    counter(
        m::NVLINK_ERRORS.id,
        "DCGM_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL",
        Base,
        "Total number of NVLink flow-control CRC errors.",
    )
    .when(&[(Label::Error, "crc_flit")])
    .renamed("DCGM_FI_DEV_NVLINK_CRC_FLIT_ERROR_TOTAL"),
    counter(
        m::NVLINK_ERRORS.id,
        "DCGM_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL",
        Base,
        "Total number of NVLink data CRC errors.",
    )
    .when(&[(Label::Error, "crc_data")])
    .renamed("DCGM_FI_DEV_NVLINK_CRC_DATA_ERROR_TOTAL"),
    counter(
        m::NVLINK_ERRORS.id,
        "DCGM_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL",
        Base,
        "Total number of NVLink retries.",
    )
    .when(&[(Label::Error, "replay")])
    .renamed("DCGM_FI_DEV_NVLINK_REPLAY_ERROR_TOTAL"),
    counter(
        m::NVLINK_ERRORS.id,
        "DCGM_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL",
        Base,
        "Total number of NVLink recovery errors.",
    )
    .when(&[(Label::Error, "recovery")])
    .renamed("DCGM_FI_DEV_NVLINK_RECOVERY_ERROR_TOTAL"),
    gauge(m::PCIE_GENERATION.id, "DCGM_FI_DEV_PCIE_LINK_GEN", Base, "PCIe current link generation."),
    gauge(m::PCIE_GENERATION_MAX.id, "DCGM_FI_DEV_PCIE_MAX_LINK_GEN", Base, "PCIe maximum link generation."),
    gauge(m::PCIE_WIDTH.id, "DCGM_FI_DEV_PCIE_LINK_WIDTH", Base, "PCIe current link width."),
    gauge(m::PCIE_WIDTH_MAX.id, "DCGM_FI_DEV_PCIE_MAX_LINK_WIDTH", Base, "PCIe maximum link width."),
    counter(m::PCIE_REPLAYS.id, "DCGM_FI_DEV_PCIE_REPLAY_COUNTER", Base, "Total number of PCIe retries.")
        .renamed("DCGM_FI_DEV_PCIE_REPLAY_TOTAL"),
    gauge(
        m::PCIE_RATE.id,
        "DCGM_FI_PROF_PCIE_TX_BYTES",
        Base,
        "The rate of data transmitted over the PCIe bus - including both protocol headers and data \
         payloads - in bytes per second.",
    )
    .when(&[(Label::Direction, "transmit")]),
    gauge(
        m::PCIE_RATE.id,
        "DCGM_FI_PROF_PCIE_RX_BYTES",
        Base,
        "The rate of data received over the PCIe bus - including both protocol headers and data payloads \
         - in bytes per second.",
    )
    .when(&[(Label::Direction, "receive")]),
    gauge(
        m::NVLINK_RATE.id,
        "DCGM_FI_PROF_NVLINK_TX_BYTES",
        Base,
        "The rate of data transmitted over NVLink, not including protocol headers, in bytes per second.",
    )
    .when(&[(Label::Direction, "transmit")]),
    gauge(
        m::NVLINK_RATE.id,
        "DCGM_FI_PROF_NVLINK_RX_BYTES",
        Base,
        "The rate of data received over NVLink, not including protocol headers, in bytes per second.",
    )
    .when(&[(Label::Direction, "receive")]),
    gauge(
        m::NVLINK_RATE.id,
        "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL",
        ThousandKibibytesPerSecond,
        "Total number of NVLink bandwidth counters for all lanes.",
    )
    .when(&[(Label::Direction, "both")])
    .in_base_units(
        "DCGM_FI_DEV_NVLINK_THROUGHPUT_BYTES_PER_SECOND",
        "Aggregate NVLink throughput across all lanes (in bytes per second).",
    ),
    gauge(
        m::NVLINK_RATE.id,
        "DCGM_FI_DEV_NVLINK_BANDWIDTH_L0",
        ThousandKibibytesPerSecond,
        "The number of bytes of active NVLink rx or tx data including both header and payload.",
    )
    .when(&[(Label::Direction, "both_link_0")])
    .in_base_units(
        "DCGM_FI_DEV_NVLINK_THROUGHPUT_L0_BYTES_PER_SECOND",
        "NVLink throughput of lane 0 (in bytes per second).",
    ),
    gauge(m::XID_LAST.id, "DCGM_FI_DEV_XID_ERRORS", Base, "Value of the last XID error encountered.")
        .keep(&[(Label::ErrCode, "err_code"), (Label::ErrMsg, "err_msg")])
        .renamed("DCGM_FI_DEV_XID_ERROR"),
    counter(m::XID_TOTAL.id, "DCGM_EXP_XID_ERRORS_TOTAL", Base, "Total number of XID errors by code.")
        .keep(&[(Label::Xid, "xid")]),
    gauge(m::XID_WINDOW.id, "DCGM_EXP_XID_ERRORS_COUNT", Base, "reported XIDs during last window")
        .keep(&[(Label::WindowSizeInMs, "window_size_in_ms"), (Label::Xid, "xid")]),
    gauge(m::XID_WINDOW_EMPTY.id, "DCGM_EXP_XID_ERRORS_COUNT", Base, "reported XIDs during last window")
        .keep(&[(Label::WindowSizeInMs, "window_size_in_ms")]),
    counter(
        m::ECC_ERRORS.id,
        "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL",
        Base,
        "Total number of single-bit volatile ECC errors.",
    )
    .when(&[(Label::Severity, "corrected"), (Label::Scope, "volatile")]),
    counter(
        m::ECC_ERRORS.id,
        "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL",
        Base,
        "Total number of double-bit volatile ECC errors.",
    )
    .when(&[(Label::Severity, "uncorrectable"), (Label::Scope, "volatile")]),
    counter(
        m::ECC_ERRORS.id,
        "DCGM_FI_DEV_ECC_SBE_AGG_TOTAL",
        Base,
        "Total number of single-bit persistent ECC errors.",
    )
    .when(&[(Label::Severity, "corrected"), (Label::Scope, "aggregate")]),
    counter(
        m::ECC_ERRORS.id,
        "DCGM_FI_DEV_ECC_DBE_AGG_TOTAL",
        Base,
        "Total number of double-bit persistent ECC errors.",
    )
    .when(&[(Label::Severity, "uncorrectable"), (Label::Scope, "aggregate")]),
    gauge(
        m::SRAM_ECC_THRESHOLD.id,
        "DCGM_FI_DEV_THRESHOLD_SRM",
        Base,
        "SRAM threshold exceeded boolean (1: exceeded, 0: not exceeded).",
    )
    .renamed("DCGM_FI_DEV_SRAM_EXCEEDED"),
    counter(
        m::ROWS_REMAPPED.id,
        "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS",
        Base,
        "Number of remapped rows for uncorrectable errors",
    )
    .when(&[(Label::Cause, "uncorrectable")])
    .renamed("DCGM_FI_DEV_ROW_REMAP_UNCORRECTABLE_TOTAL"),
    counter(
        m::ROWS_REMAPPED.id,
        "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS",
        Base,
        "Number of remapped rows for correctable errors",
    )
    .when(&[(Label::Cause, "correctable")])
    .renamed("DCGM_FI_DEV_ROW_REMAP_CORRECTABLE_TOTAL"),
    gauge(
        m::ROW_REMAP_PENDING.id,
        "DCGM_FI_DEV_ROW_REMAP_PENDING",
        Base,
        "Whether remapping of rows is pending",
    ),
    gauge(
        m::ROW_REMAP_FAILED.id,
        "DCGM_FI_DEV_ROW_REMAP_FAILURE",
        Base,
        "Whether remapping of rows has failed",
    )
    .renamed("DCGM_FI_DEV_ROW_REMAP_FAILED"),
    gauge(
        m::MEMORY_UNREPAIRABLE.id,
        "DCGM_FI_DEV_MEMORY_UNREPAIRABLE_FLAG",
        Base,
        "Whether the GPU has memory that cannot be repaired",
    )
    .renamed("DCGM_FI_DEV_MEMORY_UNREPAIRABLE"),
    counter(
        m::PAGES_RETIRED.id,
        "DCGM_FI_DEV_RETIRED_SBE",
        Base,
        "Total number of retired pages due to single-bit errors.",
    )
    .when(&[(Label::Cause, "single_bit")])
    .renamed("DCGM_FI_DEV_PAGE_RETIRED_SBE_TOTAL"),
    counter(
        m::PAGES_RETIRED.id,
        "DCGM_FI_DEV_RETIRED_DBE",
        Base,
        "Total number of retired pages due to double-bit errors.",
    )
    .when(&[(Label::Cause, "double_bit")])
    .renamed("DCGM_FI_DEV_PAGE_RETIRED_DBE_TOTAL"),
    gauge(
        m::PAGES_PENDING.id,
        "DCGM_FI_DEV_RETIRED_PENDING",
        Base,
        "Total number of pages pending retirement.",
    )
    .renamed("DCGM_FI_DEV_PAGE_RETIRED_PENDING"),
    gauge(m::FABRIC_HEALTH_MASK.id, "DCGM_FI_DEV_FABRIC_HEALTH_MASK", Base, "Fabric health status mask."),
    gauge(m::MIG_ENABLED.id, "DCGM_FI_DEV_MIG_MODE", Base, "MIG mode boolean (1: enabled, 0: disabled)."),
    gauge(m::LICENSE_ACTIVE.id, "DCGM_FI_DEV_VGPU_LICENSE_STATUS", Base, "vGPU License status"),
];
