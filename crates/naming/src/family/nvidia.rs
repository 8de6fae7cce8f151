//! NVIDIA GPUs through NVML.

use super::{HolderNames, PciMatch, Row};
use crate::{Label, catalogue as m};

pub(super) const ROW: Row = Row {
    name: "nvidia",
    first_device: "gpu0",
    rule_file: "nvidia",
    // A board's audio and USB functions have other classes.
    pci: Some(PciMatch { vendor: 0x10de, classes: &[0x0300, 0x0302], drivers: &["nvidia"] }),
    allocators: &["nvidia.com", "gpu.nvidia.com"],
    holders: HolderNames {
        labels: &[
            (Label::Container, "container"),
            (Label::Job, "hpc_job"),
            (Label::Namespace, "namespace"),
            (Label::Pod, "pod"),
            (Label::Share, "vgpu"),
        ],
        own_pod: None,
    },
    sources: &[
        (m::DEVICE_INFO.id, "nvmlDeviceGetName, GetPciInfo, GetSerial, GetVbiosVersion, GetInforomVersion"),
        (m::PLATFORM_INFO.id, "nvmlDeviceGetPlatformInfo; Blackwell and later"),
        (m::DEVICE_ASLEEP.id, "power/runtime_status of the PCI function"),
        (m::UPTIME.id, "nvmlDeviceGetGpuUptime_v1; NVML 13.5 and later"),
        (m::UTILIZATION.id, "nvmlDeviceGetUtilizationRates"),
        (
            m::ENGINE_ACTIVE.id,
            "nvmlGpmMetricsGet, nvmlDeviceGetEncoderUtilization, GetDecoderUtilization, \
             GetJpgUtilization, GetOfaUtilization",
        ),
        (m::ENGINE_CYCLES.id, "nvmlGpmMetricsGet *_CYCLES_ACTIVE; NVML 13.2 and later"),
        (m::SM_CYCLES.id, "nvmlGpmMetricsGet SM_CYCLES_ELAPSED; NVML 13.2 and later"),
        (m::SM_OCCUPANCY.id, "nvmlGpmMetricsGet SM_OCCUPANCY"),
        (m::CONTEXT_SWITCH_ACTIVE.id, "nvmlGpmMetricsGet GR0_CTXSW_ACTIVE_PCT; NVML 13.0 and later"),
        (m::CONTEXT_SWITCHES.id, "nvmlGpmMetricsGet GR0_CTXSW_REQUESTS; NVML 13.0 and later"),
        (m::COMPUTE_PROCESSES.id, "nvmlDeviceGetComputeRunningProcesses_v3"),
        (m::MEMORY_TOTAL.id, "nvmlDeviceGetMemoryInfo_v2"),
        (m::MEMORY_USED.id, "nvmlDeviceGetMemoryInfo_v2"),
        (m::MEMORY_FREE.id, "nvmlDeviceGetMemoryInfo_v2"),
        (m::MEMORY_RESERVED.id, "nvmlDeviceGetMemoryInfo_v2"),
        (m::MEMORY_BANDWIDTH_ACTIVE.id, "nvmlGpmMetricsGet DRAM_BW_UTIL"),
        (m::MEMORY_CONTROLLER_ACTIVE.id, "nvmlDeviceGetUtilizationRates"),
        (
            m::CACHE_HIT.id,
            "nvmlGpmMetricsGet DRAM_CACHE_HIT, HOSTMEM_CACHE_HIT, PEERMEM_CACHE_HIT; NVML 13.0 and later",
        ),
        (m::BAR1_TOTAL.id, "nvmlDeviceGetBAR1MemoryInfo"),
        (m::BAR1_USED.id, "nvmlDeviceGetBAR1MemoryInfo"),
        (m::BAR1_FREE.id, "nvmlDeviceGetBAR1MemoryInfo"),
        (
            m::TEMPERATURE.id,
            "field GPU_TEMP (NVML 13.4 and later), else nvmlDeviceGetTemperatureV or GetTemperature; field \
             MEMORY_TEMP",
        ),
        (
            m::TEMPERATURE_LIMIT.id,
            "from Ada on the temperature at which the margin reaches fields TEMPERATURE_*_TLIMIT, before and \
             for memory nvmlDeviceGetTemperatureThreshold",
        ),
        (m::TEMPERATURE_MARGIN.id, "nvmlDeviceGetMarginTemperature"),
        (m::TEMPERATURE_MARGIN_LIMIT.id, "fields TEMPERATURE_*_TLIMIT; Ada and later"),
        (m::POWER.id, "nvmlDeviceGetPowerUsage"),
        (m::POWER_INSTANT.id, "field POWER_INSTANT"),
        (
            m::POWER_LIMIT.id,
            "nvmlDeviceGetEnforcedPowerLimit, GetPowerManagementLimit, GetPowerManagementDefaultLimit, \
             GetPowerManagementLimitConstraints",
        ),
        (
            m::POWER_PROFILE_REQUESTED.id,
            "nvmlDeviceWorkloadPowerProfileGetCurrentProfiles; Blackwell and later",
        ),
        (
            m::POWER_PROFILE_ENFORCED.id,
            "nvmlDeviceWorkloadPowerProfileGetCurrentProfiles; Blackwell and later",
        ),
        (m::ENERGY.id, "nvmlDeviceGetTotalEnergyConsumption"),
        (m::CLOCK.id, "nvmlDeviceGetClockInfo"),
        (m::CLOCK_MAX.id, "nvmlDeviceGetMaxClockInfo"),
        (m::PERFORMANCE_STATE.id, "nvmlDeviceGetPerformanceState"),
        (m::THROTTLE_ACTIVE.id, "nvmlDeviceGetCurrentClocksEventReasons"),
        (m::CLOCKS_EVENT_REASONS.id, "nvmlDeviceGetCurrentClocksEventReasons"),
        (m::THROTTLE_SECONDS.id, "fields PERF_POLICY_* and CLOCKS_EVENT_REASON_*"),
        (m::CLOCK_EVENTS_WINDOW.id, "nvmlDeviceGetCurrentClocksEventReasons"),
        (m::FAN_SPEED.id, "nvmlDeviceGetFanSpeed_v2"),
        (
            m::LINK_RECEIVE.id,
            "fields NVLINK_THROUGHPUT_DATA_RX, NVLINK_COUNT_RCV_BYTES, PCIE_COUNT_RX_BYTES; where the last wraps at 32 \
             bits, nvmlGpmMetricsGet PCIE_RX or the integral of PCIE_RX_PER_SEC",
        ),
        (
            m::LINK_TRANSMIT.id,
            "fields NVLINK_THROUGHPUT_DATA_TX, NVLINK_COUNT_XMIT_BYTES, PCIE_COUNT_TX_BYTES; where the last wraps at \
             32 bits, nvmlGpmMetricsGet PCIE_TX or the integral of PCIE_TX_PER_SEC",
        ),
        (
            m::LINK_BANDWIDTH.id,
            "field NVLINK_GET_SPEED or NVLINK_SPEED_MBPS_COMMON, PCIe generation and width, field \
             C2C_LINK_GET_MAX_BW",
        ),
        (m::LINK_UP.id, "nvmlDeviceGetNvLinkState, field C2C_LINK_GET_STATUS"),
        (
            m::LINK_ERRORS.id,
            "fields NVLINK_ERROR_DL_*, NVLINK_*_ERROR_COUNT_TOTAL, NVLINK_COUNT_*, C2C_LINK_ERROR_*",
        ),
        (m::LINK_SYMBOL_ERRORS.id, "field NVLINK_COUNT_SYMBOL_ERRORS; Blackwell and later"),
        (m::LINK_BIT_ERRORS.id, "field NVLINK_COUNT_EFFECTIVE_BER; Blackwell and later"),
        (m::LINK_RAW_ERRORS.id, "fields NVLINK_COUNT_RAW_ERRORS_LANE*; Blackwell, NVML 13.2 and later"),
        (m::LINK_RAW_BIT_ERRORS.id, "fields NVLINK_COUNT_RAW_BER*_V2; Blackwell, NVML 13.2 and later"),
        (m::LINK_BLOCKS.id, "field NVLINK_PLR_XMIT_BLOCKS; Blackwell, NVML 13.2 and later"),
        (m::LINK_RETRY_BLOCKS.id, "field NVLINK_PLR_XMIT_RETRY_BLOCKS; Blackwell, NVML 13.2 and later"),
        (m::LINK_DATA_BANDWIDTH.id, "field NVLINK_GET_DATA_RATE; Blackwell, NVML 13.2 and later"),
        (m::LINK_FEC.id, "fields NVLINK_COUNT_FEC_HISTORY_*; Blackwell and later"),
        (m::LINK_LOW_POWER.id, "field C2C_LINK_POWER_STATE"),
        (m::NVLINK_ERRORS.id, "fields NVLINK_*_ERROR_COUNT_TOTAL"),
        (m::PCIE_GENERATION.id, "nvmlDeviceGetCurrPcieLinkGeneration"),
        (m::PCIE_GENERATION_MAX.id, "nvmlDeviceGetMaxPcieLinkGeneration"),
        (m::PCIE_WIDTH.id, "nvmlDeviceGetCurrPcieLinkWidth"),
        (m::PCIE_WIDTH_MAX.id, "nvmlDeviceGetMaxPcieLinkWidth"),
        (m::PCIE_REPLAYS.id, "nvmlDeviceGetPcieReplayCounter"),
        (m::PCIE_ERRORS.id, "fields PCIE_COUNT_*; Hopper and later"),
        (m::PCIE_RATE.id, "nvmlGpmMetricsGet PCIE_TX_PER_SEC and PCIE_RX_PER_SEC"),
        (
            m::NVLINK_RATE.id,
            "nvmlGpmMetricsGet NVLINK_TOTAL_TX_PER_SEC and NVLINK_TOTAL_RX_PER_SEC, fields \
             NVLINK_THROUGHPUT_DATA_TX and RX",
        ),
        (m::ERRORS.id, "nvmlEventSetWait_v2: XIDs, and other types that the driver supports"),
        (m::ERROR_LAST.id, "nvmlEventSetWait_v2"),
        (m::XID_LAST.id, "nvmlEventSetWait_v2"),
        (m::XID_TOTAL.id, "nvmlEventSetWait_v2"),
        (m::XID_WINDOW.id, "nvmlEventSetWait_v2"),
        (m::XID_WINDOW_EMPTY.id, "nvmlEventSetWait_v2"),
        (m::ECC_ENABLED.id, "nvmlDeviceGetEccMode"),
        (
            m::ECC_ERRORS.id,
            "fields ECC_SBE_VOL_TOTAL, ECC_DBE_VOL_TOTAL, ECC_SBE_AGG_TOTAL, ECC_DBE_AGG_TOTAL",
        ),
        (m::SRAM_ECC_ERRORS.id, "nvmlDeviceGetSramEccErrorStatus"),
        (m::SRAM_ECC_THRESHOLD.id, "nvmlDeviceGetSramEccErrorStatus"),
        (m::SRAM_LOCATIONS.id, "nvmlDeviceGetSramUniqueUncorrectedEccErrorCounts; Blackwell and later"),
        (m::ROWS_REMAPPED.id, "fields REMAPPED_COR and REMAPPED_UNC"),
        (m::ROW_REMAP_PENDING.id, "field REMAPPED_PENDING"),
        (m::ROW_REMAP_FAILED.id, "field REMAPPED_FAILURE"),
        (m::ROW_REMAP_BANKS.id, "nvmlDeviceGetRowRemapperHistogram"),
        (
            m::ROWS_REMAPPED_INACTIVE.id,
            "fields REMAPPED_ROWS_COR_INACTIVE and UNC_INACTIVE; NVML 13.2 and later",
        ),
        (m::BANKS_REMAPPED.id, "fields ACTIVE_BANK_REMAPPINGS and INACTIVE_BANK_REMAPPINGS; after Blackwell"),
        (m::BANK_REMAP_PENDING.id, "field PENDING_BANK_REMAPPING; after Blackwell"),
        (m::BANK_REMAP_GROUPS.id, "fields BANK_REMAPPER_HISTOGRAM_*; after Blackwell"),
        (m::REPAIR_PENDING.id, "nvmlDeviceGetRepairStatus; Ampere and later"),
        (
            m::MEMORY_UNREPAIRABLE.id,
            "nvmlDeviceGetUnrepairableMemoryFlag_v1; Hopper and later, NVML 13.1 and later",
        ),
        (m::PAGES_RETIRED.id, "fields RETIRED_SBE and RETIRED_DBE"),
        (m::PAGES_PENDING.id, "field RETIRED_PENDING"),
        (m::RECOVERY_ACTION.id, "field GET_GPU_RECOVERY_ACTION"),
        (m::FABRIC_STATE.id, "nvmlDeviceGetGpuFabricInfo_v4 or GetGpuFabricInfoV"),
        (m::FABRIC_INFO.id, "nvmlDeviceGetGpuFabricInfo_v4 or GetGpuFabricInfoV"),
        (m::FABRIC_REGISTRATION_FAILED.id, "nvmlDeviceGetGpuFabricInfo_v4 or GetGpuFabricInfoV status"),
        (m::FABRIC_UNHEALTHY.id, "nvmlDeviceGetGpuFabricInfoV healthMask"),
        (m::FABRIC_HEALTH_MASK.id, "nvmlDeviceGetGpuFabricInfoV healthMask"),
        (m::MIG_ENABLED.id, "nvmlDeviceGetMigMode"),
        (m::LICENSE_ACTIVE.id, "nvmlDeviceGetGridLicensableFeatures_v4"),
        (
            m::SLOW_READINGS_AGE.id,
            "made of when the values were read that are read every 15 s, and while a round takes long",
        ),
    ],
};
