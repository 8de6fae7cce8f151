//! The C side: structs and constants by their names in `nvml.h`, and tables of all those that this library
//! relies on, so that a C compiler can compare them with the vendor's header.

/// The bindings, and what newer headers have beside them.
pub mod sys {
    #![allow(missing_docs, non_camel_case_types, reason = "C's names, as nvml.h documents them")]

    use std::ffi::{c_uchar, c_uint};

    pub use nvml_wrapper_sys::bindings::*;

    pub const NVML_GPU_FABRIC_CLIQUE_MAX: u32 = 64;
    pub const NVML_GPU_FABRIC_CLIQUE_TYPE_UNICAST_POINTER: u32 = 0;

    #[derive(Clone, Copy, Debug)]
    #[repr(C)]
    pub struct nvmlGpuFabricClique_v1_t {
        /// `type` in C.
        pub kind: c_uchar,
        pub id: c_uint,
    }

    #[derive(Clone, Copy, Debug)]
    #[repr(C)]
    pub struct nvmlGpuFabricInfo_v4_t {
        pub clusterUuid: [c_uchar; 16],
        pub status: nvmlReturn_t,
        pub cliques: [nvmlGpuFabricClique_v1_t; NVML_GPU_FABRIC_CLIQUE_MAX as usize],
        pub numCliques: c_uint,
        pub state: c_uchar,
        pub healthMask: c_uint,
        pub healthSummary: c_uchar,
    }

    #[derive(Clone, Copy, Debug)]
    #[repr(C)]
    pub struct nvmlUnrepairableMemoryStatus_v1_t {
        pub bUnrepairableMemory: c_uint,
    }

    #[derive(Clone, Copy, Debug)]
    #[repr(C)]
    pub struct nvmlGpuUptime_v1_t {
        pub uptime: c_uint,
    }

    pub mod field_id {
        pub use nvml_wrapper_sys::bindings::field_id::*;

        pub const NVML_FI_DEV_NVLINK_COUNT_RAW_ERRORS_LANE0: u32 = 289;
        pub const NVML_FI_DEV_NVLINK_COUNT_RAW_ERRORS_LANE1: u32 = 290;
        pub const NVML_FI_DEV_NVLINK_COUNT_RAW_BER_LANE0_V2: u32 = 291;
        pub const NVML_FI_DEV_NVLINK_COUNT_RAW_BER_LANE1_V2: u32 = 292;
        pub const NVML_FI_DEV_NVLINK_COUNT_RAW_BER_V2: u32 = 293;
        pub const NVML_FI_DEV_NVLINK_PLR_XMIT_BLOCKS: u32 = 294;
        pub const NVML_FI_DEV_NVLINK_PLR_XMIT_RETRY_BLOCKS: u32 = 295;
        pub const NVML_FI_DEV_NVLINK_GET_DATA_RATE: u32 = 296;
        pub const NVML_FI_DEV_REMAPPED_ROWS_COR_INACTIVE: u32 = 301;
        pub const NVML_FI_DEV_REMAPPED_ROWS_UNC_INACTIVE: u32 = 302;
        pub const NVML_FI_DEV_ACTIVE_BANK_REMAPPINGS: u32 = 303;
        pub const NVML_FI_DEV_INACTIVE_BANK_REMAPPINGS: u32 = 304;
        pub const NVML_FI_DEV_BANK_REMAPPER_HISTOGRAM_MAX: u32 = 305;
        pub const NVML_FI_DEV_BANK_REMAPPER_HISTOGRAM_NONE: u32 = 306;
        pub const NVML_FI_DEV_PENDING_BANK_REMAPPING: u32 = 307;
        pub const NVML_FI_DEV_GPU_TEMP: u32 = 308;
        /// One more than the last field of nvml.h 13.5.
        pub const NVML_FI_MAX: u32 = 310;
    }
}

/// First of the clock-event time fields since driver 580.82. The bindings know the older number, 251.
pub const NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN: u32 = 269;

/// A GPM metric that the bindings leave out.
pub const NVML_GPM_METRIC_DMMA_TENSOR_UTIL: u32 = 8;

/// GPM metrics of newer headers.
pub const NVML_GPM_METRIC_HOSTMEM_CACHE_HIT: u32 = 160;
/// The last of the six hits and misses of caches.
pub const NVML_GPM_METRIC_DRAM_CACHE_MISS: u32 = 165;
/// Context switches of the first graphics engine.
pub const NVML_GPM_METRIC_GR0_CTXSW_REQUESTS: u32 = 172;
/// Their share of the time.
pub const NVML_GPM_METRIC_GR0_CTXSW_ACTIVE_PCT: u32 = 174;
/// The first of the counts since reset: of cycles, and of bytes over PCIe.
pub const NVML_GPM_METRIC_SM_CYCLES_ELAPSED: u32 = 248;
/// Bytes sent over PCIe.
pub const NVML_GPM_METRIC_PCIE_TX: u32 = 255;
/// Bytes received over PCIe.
pub const NVML_GPM_METRIC_PCIE_RX: u32 = 256;
/// The last of them.
pub const NVML_GPM_METRIC_FP16_CYCLES_ACTIVE: u32 = 260;

/// The version word of a versioned struct: its size, and its version in the top byte.
pub(crate) const fn version<T>(number: u32) -> u32 {
    size_of::<T>() as u32 | number << 24
}

/// An expression over `nvml.h`, and the value that it has here.
pub type Fact = (&'static str, u64);

/// Declares [`layouts`].
macro_rules! layouts {
    ($($name:ident { $($member:ident $(. $inner:ident)?),* })*) => {
        /// Size, alignment and offsets of every struct that this library reads or writes for a caller.
        pub fn layouts() -> Vec<Fact> {
            let mut all = vec![$(
                (concat!("sizeof(", stringify!($name), ")"), size_of::<sys::$name>() as u64),
                (concat!("_Alignof(", stringify!($name), ")"), align_of::<sys::$name>() as u64),
                $((
                    concat!("offsetof(", stringify!($name), ", ", stringify!($member) $(, ".", stringify!($inner))?, ")"),
                    std::mem::offset_of!(sys::$name, $member $(. $inner)?) as u64,
                ),)*
            )*];
            // The array at its end has grown with the header: 98 metrics, 210, 333, 477. What comes before
            // it, and the size of one metric, are what has to agree.
            all.retain(|(expression, _)| *expression != "sizeof(nvmlGpmMetricsGet_t)");
            all
        }
    };
}

layouts! {
    nvmlBAR1Memory_t { bar1Total, bar1Free, bar1Used }
    nvmlComputeInstanceInfo_t { device, gpuInstance, id, profileId, placement }
    nvmlComputeInstancePlacement_t { start, size }
    nvmlComputeInstanceProfileInfo_t {
        id, sliceCount, instanceCount, multiprocessorCount, sharedCopyEngineCount,
        sharedDecoderCount, sharedEncoderCount, sharedJpegCount, sharedOfaCount
    }
    nvmlComputeInstanceProfileInfo_v2_t {
        version, id, sliceCount, instanceCount, multiprocessorCount, sharedCopyEngineCount,
        sharedDecoderCount, sharedEncoderCount, sharedJpegCount, sharedOfaCount, name
    }
    nvmlDeviceAddressingMode_v1_t { version, value }
    nvmlDeviceAttributes_t {
        multiprocessorCount, sharedCopyEngineCount, sharedDecoderCount, sharedEncoderCount,
        sharedJpegCount, sharedOfaCount, gpuInstanceSliceCount, computeInstanceSliceCount,
        memorySizeMB
    }
    nvmlDeviceCapabilities_v1_t { version, capMask }
    nvmlEccSramErrorStatus_v1_t {
        version, aggregateUncParity, aggregateUncSecDed, aggregateCor, volatileUncParity,
        volatileUncSecDed, volatileCor, aggregateUncBucketL2, aggregateUncBucketSm,
        aggregateUncBucketPcie, aggregateUncBucketMcu, aggregateUncBucketOther, bThresholdExceeded
    }
    nvmlEccSramUniqueUncorrectedErrorCounts_v1_t { version, entryCount, entries }
    nvmlEventData_t { device, eventType, eventData, gpuInstanceId, computeInstanceId }
    nvmlSystemEventData_v1_t { eventType, gpuId }
    nvmlSystemEventSetCreateRequest_v1_t { version, set }
    nvmlSystemEventSetFreeRequest_v1_t { version, set }
    nvmlSystemEventSetWaitRequest_v1_t { version, timeoutms, set, data, dataSize, numEvent }
    nvmlSystemRegisterEventRequest_v1_t { version, eventTypes, set }
    nvmlFBCStats_t { sessionsCount, averageFPS, averageLatency }
    nvmlFieldValue_t { fieldId, scopeId, timestamp, latencyUsec, valueType, nvmlReturn, value }
    nvmlGpmMetric_t {
        metricId, nvmlReturn, value, metricInfo.shortName, metricInfo.longName, metricInfo.unit
    }
    nvmlGpmMetricsGet_t { version, numMetrics, sample1, sample2, metrics }
    nvmlGpmSupport_t { version, isSupportedDevice }
    nvmlGpuDynamicPstatesInfo_t { flags, utilization }
    nvmlGpuFabricInfo_t { clusterUuid, status, cliqueId, state }
    nvmlGpuFabricInfo_v2_t { version, clusterUuid, status, cliqueId, state, healthMask }
    nvmlGpuFabricInfo_v3_t { version, clusterUuid, status, cliqueId, state, healthMask, healthSummary }
    nvmlGpuFabricInfo_v4_t { clusterUuid, status, cliques, numCliques, state, healthMask, healthSummary }
    nvmlGpuInstanceInfo_t { device, id, profileId, placement }
    nvmlGpuInstancePlacement_t { start, size }
    nvmlGpuInstanceProfileInfo_t {
        id, isP2pSupported, sliceCount, instanceCount, multiprocessorCount, copyEngineCount,
        decoderCount, encoderCount, jpegCount, ofaCount, memorySizeMB
    }
    nvmlGpuInstanceProfileInfo_v2_t {
        version, id, isP2pSupported, sliceCount, instanceCount, multiprocessorCount,
        copyEngineCount, decoderCount, encoderCount, jpegCount, ofaCount, memorySizeMB, name
    }
    nvmlGpuInstanceProfileInfo_v3_t {
        version, id, sliceCount, instanceCount, multiprocessorCount, copyEngineCount, decoderCount,
        encoderCount, jpegCount, ofaCount, memorySizeMB, name, capabilities
    }
    nvmlGridLicensableFeatures_t { isGridLicenseSupported, licensableFeaturesCount, gridLicensableFeatures }
    nvmlMarginTemperature_v1_t { version, marginTemperature }
    nvmlMemory_t { total, free, used }
    nvmlMemory_v2_t { version, total, reserved, free, used }
    nvmlPciInfoExt_v1_t {
        version, domain, bus, device, pciDeviceId, pciSubSystemId, baseClass, subClass, busId
    }
    nvmlPciInfo_t { busIdLegacy, domain, bus, device, pciDeviceId, pciSubSystemId, busId }
    nvmlPlatformInfo_v2_t {
        version, ibGuid, chassisSerialNumber, slotNumber, trayIndex, hostId, peerType, moduleId
    }
    nvmlProcessInfo_v1_t { pid, usedGpuMemory }
    nvmlProcessInfo_v2_t { pid, usedGpuMemory, gpuInstanceId, computeInstanceId }
    nvmlProcessUtilizationSample_t { pid, timeStamp, smUtil, memUtil, encUtil, decUtil }
    nvmlRepairStatus_v1_t { version, bChannelRepairPending, bTpcRepairPending }
    nvmlRowRemapperHistogramValues_t { max, high, partial, low, none }
    nvmlSystemDriverBranchInfo_v1_t { version, branch }
    nvmlTemperature_v1_t { version, sensorType, temperature }
    nvmlGpuUptime_v1_t { uptime }
    nvmlUnrepairableMemoryStatus_v1_t { bUnrepairableMemory }
    nvmlUtilization_t { gpu, memory }
    nvmlValue_t { dVal, siVal, uiVal, ulVal, ullVal, sllVal, usVal }
    nvmlViolationTime_t { referenceTime, violationTime }
    nvmlWorkloadPowerProfileCurrentProfiles_v1_t {
        version, perfProfilesMask, requestedProfilesMask, enforcedProfilesMask
    }
}

/// `NVML_SUCCESS` of `nvmlReturn_enum_NVML_SUCCESS`: the bindings put the enum's name before its members'.
fn c_name(path: &'static str) -> &'static str {
    let name = path.rsplit("::").next().unwrap_or(path).trim();
    name.find("NVML_").map_or(name, |at| &name[at..])
}

/// Declares a function that gives constants by their C names.
macro_rules! constants {
    ($(#[$doc:meta])* $function:ident: $($name:ident $(:: $inner:ident)?)*) => {
        $(#[$doc])*
        pub fn $function() -> Vec<Fact> {
            vec![$((c_name(stringify!($name $(:: $inner)?)), u64::from(sys::$name $(:: $inner)?))),*]
        }
    };
}

/// Every constant that this library relies on, with its value: those of the bindings, the version words, and
/// those that the bindings lack.
pub fn constants() -> Vec<Fact> {
    let mut all = bound_constants();
    all.extend([
        (
            "NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN",
            u64::from(NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN),
        ),
        ("NVML_GPM_METRIC_DMMA_TENSOR_UTIL", NVML_GPM_METRIC_DMMA_TENSOR_UTIL.into()),
        ("NVML_GPM_METRIC_HOSTMEM_CACHE_HIT", NVML_GPM_METRIC_HOSTMEM_CACHE_HIT.into()),
        ("NVML_GPM_METRIC_DRAM_CACHE_MISS", NVML_GPM_METRIC_DRAM_CACHE_MISS.into()),
        ("NVML_GPM_METRIC_GR0_CTXSW_REQUESTS", NVML_GPM_METRIC_GR0_CTXSW_REQUESTS.into()),
        ("NVML_GPM_METRIC_GR0_CTXSW_ACTIVE_PCT", NVML_GPM_METRIC_GR0_CTXSW_ACTIVE_PCT.into()),
        ("NVML_GPM_METRIC_SM_CYCLES_ELAPSED", NVML_GPM_METRIC_SM_CYCLES_ELAPSED.into()),
        ("NVML_GPM_METRIC_PCIE_TX", NVML_GPM_METRIC_PCIE_TX.into()),
        ("NVML_GPM_METRIC_PCIE_RX", NVML_GPM_METRIC_PCIE_RX.into()),
        ("NVML_GPM_METRIC_FP16_CYCLES_ACTIVE", NVML_GPM_METRIC_FP16_CYCLES_ACTIVE.into()),
        ("nvmlComputeInstanceProfileInfo_v2", version::<sys::nvmlComputeInstanceProfileInfo_v2_t>(2).into()),
        ("nvmlDeviceAddressingMode_v1", version::<sys::nvmlDeviceAddressingMode_t>(1).into()),
        ("nvmlDeviceCapabilities_v1", version::<sys::nvmlDeviceCapabilities_t>(1).into()),
        ("nvmlEccSramErrorStatus_v1", version::<sys::nvmlEccSramErrorStatus_t>(1).into()),
        (
            "nvmlEccSramUniqueUncorrectedErrorCounts_v1",
            version::<sys::nvmlEccSramUniqueUncorrectedErrorCounts_t>(1).into(),
        ),
        ("nvmlGpuFabricInfo_v2", version::<sys::nvmlGpuFabricInfo_v2_t>(2).into()),
        ("nvmlGpuFabricInfo_v3", version::<sys::nvmlGpuFabricInfo_v3_t>(3).into()),
        ("nvmlGpuInstanceProfileInfo_v2", version::<sys::nvmlGpuInstanceProfileInfo_v2_t>(2).into()),
        ("nvmlGpuInstanceProfileInfo_v3", version::<sys::nvmlGpuInstanceProfileInfo_v3_t>(3).into()),
        ("nvmlMarginTemperature_v1", version::<sys::nvmlMarginTemperature_t>(1).into()),
        ("nvmlMemory_v2", version::<sys::nvmlMemory_v2_t>(2).into()),
        ("nvmlPciInfoExt_v1", version::<sys::nvmlPciInfoExt_t>(1).into()),
        ("nvmlPlatformInfo_v2", version::<sys::nvmlPlatformInfo_v2_t>(2).into()),
        ("nvmlRepairStatus_v1", version::<sys::nvmlRepairStatus_t>(1).into()),
        ("nvmlSystemDriverBranchInfo_v1", version::<sys::nvmlSystemDriverBranchInfo_v1_t>(1).into()),
        ("nvmlTemperature_v1", version::<sys::nvmlTemperature_t>(1).into()),
        (
            "nvmlWorkloadPowerProfileCurrentProfiles_v1",
            version::<sys::nvmlWorkloadPowerProfileCurrentProfiles_t>(1).into(),
        ),
    ]);
    all
}

constants! {
    /// Constants that say how many of something there are. They grow with the header, so a newer one may say
    /// more.
    bounds:
    NVML_COMPUTE_INSTANCE_PROFILE_COUNT
    field_id::NVML_FI_MAX
    NVML_GPU_INSTANCE_PROFILE_COUNT
    nvmlInforomObject_enum_NVML_INFOROM_COUNT
    nvmlMemoryLocation_enum_NVML_MEMORY_LOCATION_COUNT
    nvmlNvLinkCapability_enum_NVML_NVLINK_CAP_COUNT
    NVML_NVLINK_MAX_LINKS
    nvmlTemperatureThresholds_enum_NVML_TEMPERATURE_THRESHOLD_COUNT
}

constants! {
    /// Constants of the bindings that mean the same in every header.
    bound_constants:
    nvmlEccCounterType_enum_NVML_AGGREGATE_ECC
    nvmlBrandType_enum_NVML_BRAND_NVIDIA
    NVML_BUS_TYPE_PCIE
    nvmlClockType_enum_NVML_CLOCK_GRAPHICS
    nvmlClockId_enum_NVML_CLOCK_ID_APP_CLOCK_DEFAULT
    nvmlClockId_enum_NVML_CLOCK_ID_APP_CLOCK_TARGET
    nvmlClockId_enum_NVML_CLOCK_ID_CURRENT
    nvmlClockId_enum_NVML_CLOCK_ID_CUSTOMER_BOOST_MAX
    nvmlClockType_enum_NVML_CLOCK_MEM
    nvmlClockType_enum_NVML_CLOCK_SM
    nvmlClockType_enum_NVML_CLOCK_VIDEO
    nvmlComputeMode_enum_NVML_COMPUTEMODE_DEFAULT
    NVML_COMPUTE_INSTANCE_PROFILE_1_SLICE
    NVML_COMPUTE_INSTANCE_PROFILE_2_SLICE
    NVML_COMPUTE_INSTANCE_PROFILE_3_SLICE
    NVML_COMPUTE_INSTANCE_PROFILE_4_SLICE
    NVML_COMPUTE_INSTANCE_PROFILE_7_SLICE
    nvmlDeviceAddressingModeType_t_NVML_DEVICE_ADDRESSING_MODE_HMM
    NVML_DEVICE_ARCH_ADA
    NVML_DEVICE_ARCH_AMPERE
    NVML_DEVICE_ARCH_BLACKWELL
    NVML_DEVICE_ARCH_HOPPER
    NVML_DEVICE_ARCH_TURING
    nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH
    nvmlReturn_enum_NVML_ERROR_DRIVER_NOT_LOADED
    nvmlReturn_enum_NVML_ERROR_FUNCTION_NOT_FOUND
    nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST
    nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE
    nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT
    nvmlReturn_enum_NVML_ERROR_NOT_FOUND
    nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED
    nvmlReturn_enum_NVML_ERROR_NO_DATA
    nvmlReturn_enum_NVML_ERROR_TIMEOUT
    nvmlReturn_enum_NVML_ERROR_UNINITIALIZED
    nvmlReturn_enum_NVML_ERROR_UNKNOWN
    nvmlEnableState_enum_NVML_FEATURE_DISABLED
    nvmlEnableState_enum_NVML_FEATURE_ENABLED
    field_id::NVML_FI_DEV_ACTIVE_BANK_REMAPPINGS
    field_id::NVML_FI_DEV_BANK_REMAPPER_HISTOGRAM_MAX
    field_id::NVML_FI_DEV_BANK_REMAPPER_HISTOGRAM_NONE
    field_id::NVML_FI_DEV_C2C_LINK_COUNT
    field_id::NVML_FI_DEV_C2C_LINK_ERROR_INTR
    field_id::NVML_FI_DEV_C2C_LINK_ERROR_REPLAY
    field_id::NVML_FI_DEV_C2C_LINK_ERROR_REPLAY_B2B
    field_id::NVML_FI_DEV_C2C_LINK_GET_MAX_BW
    field_id::NVML_FI_DEV_C2C_LINK_GET_STATUS
    field_id::NVML_FI_DEV_C2C_LINK_POWER_STATE
    field_id::NVML_FI_DEV_ECC_CURRENT
    field_id::NVML_FI_DEV_ECC_DBE_AGG_CBU
    field_id::NVML_FI_DEV_ECC_DBE_AGG_DEV
    field_id::NVML_FI_DEV_ECC_DBE_AGG_TOTAL
    field_id::NVML_FI_DEV_ECC_DBE_VOL_DEV
    field_id::NVML_FI_DEV_ECC_DBE_VOL_TOTAL
    field_id::NVML_FI_DEV_ECC_PENDING
    field_id::NVML_FI_DEV_ECC_SBE_AGG_DEV
    field_id::NVML_FI_DEV_ECC_SBE_AGG_TOTAL
    field_id::NVML_FI_DEV_ECC_SBE_VOL_DEV
    field_id::NVML_FI_DEV_ECC_SBE_VOL_L1
    field_id::NVML_FI_DEV_ECC_SBE_VOL_TOTAL
    field_id::NVML_FI_DEV_ENERGY
    field_id::NVML_FI_DEV_GET_GPU_RECOVERY_ACTION
    field_id::NVML_FI_DEV_GPU_TEMP
    field_id::NVML_FI_DEV_INACTIVE_BANK_REMAPPINGS
    field_id::NVML_FI_DEV_IS_MIG_MODE_INDEPENDENT_MIG_QUERY_CAPABLE
    field_id::NVML_FI_DEV_IS_RESETLESS_MIG_SUPPORTED
    field_id::NVML_FI_DEV_MEMORY_TEMP
    field_id::NVML_FI_DEV_NVLINK_COUNT_BUFFER_OVERRUN_ERRORS
    field_id::NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_BER
    field_id::NVML_FI_DEV_NVLINK_COUNT_EFFECTIVE_ERRORS
    field_id::NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_0
    field_id::NVML_FI_DEV_NVLINK_COUNT_FEC_HISTORY_15
    field_id::NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_EVENTS
    field_id::NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_FAILED_EVENTS
    field_id::NVML_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_SUCCESSFUL_EVENTS
    field_id::NVML_FI_DEV_NVLINK_COUNT_LOCAL_LINK_INTEGRITY_ERRORS
    field_id::NVML_FI_DEV_NVLINK_COUNT_MALFORMED_PACKET_ERRORS
    field_id::NVML_FI_DEV_NVLINK_COUNT_RAW_BER_LANE0_V2
    field_id::NVML_FI_DEV_NVLINK_COUNT_RAW_BER_LANE1_V2
    field_id::NVML_FI_DEV_NVLINK_COUNT_RAW_BER_V2
    field_id::NVML_FI_DEV_NVLINK_COUNT_RAW_ERRORS_LANE0
    field_id::NVML_FI_DEV_NVLINK_COUNT_RAW_ERRORS_LANE1
    field_id::NVML_FI_DEV_NVLINK_COUNT_RCV_BYTES
    field_id::NVML_FI_DEV_NVLINK_COUNT_RCV_ERRORS
    field_id::NVML_FI_DEV_NVLINK_COUNT_RCV_GENERAL_ERRORS
    field_id::NVML_FI_DEV_NVLINK_COUNT_RCV_REMOTE_ERRORS
    field_id::NVML_FI_DEV_NVLINK_COUNT_SYMBOL_ERRORS
    field_id::NVML_FI_DEV_NVLINK_COUNT_XMIT_BYTES
    field_id::NVML_FI_DEV_NVLINK_COUNT_XMIT_DISCARDS
    field_id::NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_L0
    field_id::NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_L6
    field_id::NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL
    field_id::NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_L0
    field_id::NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_L6
    field_id::NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL
    field_id::NVML_FI_DEV_NVLINK_ECC_DATA_ERROR_COUNT_L0
    field_id::NVML_FI_DEV_NVLINK_ECC_DATA_ERROR_COUNT_L6
    field_id::NVML_FI_DEV_NVLINK_ECC_DATA_ERROR_COUNT_TOTAL
    field_id::NVML_FI_DEV_NVLINK_ERROR_DL_CRC
    field_id::NVML_FI_DEV_NVLINK_ERROR_DL_RECOVERY
    field_id::NVML_FI_DEV_NVLINK_ERROR_DL_REPLAY
    field_id::NVML_FI_DEV_NVLINK_GET_DATA_RATE
    field_id::NVML_FI_DEV_NVLINK_GET_POWER_STATE
    field_id::NVML_FI_DEV_NVLINK_GET_SPEED
    field_id::NVML_FI_DEV_NVLINK_GET_STATE
    field_id::NVML_FI_DEV_NVLINK_GET_VERSION
    field_id::NVML_FI_DEV_NVLINK_LINK_COUNT
    field_id::NVML_FI_DEV_NVLINK_PLR_XMIT_BLOCKS
    field_id::NVML_FI_DEV_NVLINK_PLR_XMIT_RETRY_BLOCKS
    field_id::NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_L0
    field_id::NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_L6
    field_id::NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL
    field_id::NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_L0
    field_id::NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_L6
    field_id::NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL
    field_id::NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON
    field_id::NVML_FI_DEV_NVLINK_SPEED_MBPS_L0
    field_id::NVML_FI_DEV_NVLINK_SPEED_MBPS_L11
    field_id::NVML_FI_DEV_NVLINK_SPEED_MBPS_L5
    field_id::NVML_FI_DEV_NVLINK_SPEED_MBPS_L6
    field_id::NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX
    field_id::NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX
    field_id::NVML_FI_DEV_NVLINK_THROUGHPUT_RAW_RX
    field_id::NVML_FI_DEV_NVLINK_THROUGHPUT_RAW_TX
    field_id::NVML_FI_DEV_NVSWITCH_CONNECTED_LINK_COUNT
    field_id::NVML_FI_DEV_PCIE_COUNT_BAD_DLLP
    field_id::NVML_FI_DEV_PCIE_COUNT_BAD_TLP
    field_id::NVML_FI_DEV_PCIE_COUNT_CORRECTABLE_ERRORS
    field_id::NVML_FI_DEV_PCIE_COUNT_FATAL_ERROR
    field_id::NVML_FI_DEV_PCIE_COUNT_LANE_ERROR
    field_id::NVML_FI_DEV_PCIE_COUNT_LCRC_ERROR
    field_id::NVML_FI_DEV_PCIE_COUNT_NAKS_RECEIVED
    field_id::NVML_FI_DEV_PCIE_COUNT_NAKS_SENT
    field_id::NVML_FI_DEV_PCIE_COUNT_NON_FATAL_ERROR
    field_id::NVML_FI_DEV_PCIE_COUNT_RECEIVER_ERROR
    field_id::NVML_FI_DEV_PCIE_COUNT_RX_BYTES
    field_id::NVML_FI_DEV_PCIE_COUNT_TX_BYTES
    field_id::NVML_FI_DEV_PCIE_COUNT_UNSUPPORTED_REQ
    field_id::NVML_FI_DEV_PCIE_L0_TO_RECOVERY_COUNTER
    field_id::NVML_FI_DEV_PCIE_REPLAY_COUNTER
    field_id::NVML_FI_DEV_PCIE_REPLAY_ROLLOVER_COUNTER
    field_id::NVML_FI_DEV_PENDING_BANK_REMAPPING
    field_id::NVML_FI_DEV_PERF_POLICY_POWER
    field_id::NVML_FI_DEV_PERF_POLICY_RELIABILITY
    field_id::NVML_FI_DEV_PERF_POLICY_TOTAL_APP_CLOCKS
    field_id::NVML_FI_DEV_PERF_POLICY_TOTAL_BASE_CLOCKS
    field_id::NVML_FI_DEV_POWER_AVERAGE
    field_id::NVML_FI_DEV_POWER_CURRENT_LIMIT
    field_id::NVML_FI_DEV_POWER_DEFAULT_LIMIT
    field_id::NVML_FI_DEV_POWER_INSTANT
    field_id::NVML_FI_DEV_POWER_MAX_LIMIT
    field_id::NVML_FI_DEV_POWER_MIN_LIMIT
    field_id::NVML_FI_DEV_POWER_REQUESTED_LIMIT
    field_id::NVML_FI_DEV_REMAPPED_COR
    field_id::NVML_FI_DEV_REMAPPED_FAILURE
    field_id::NVML_FI_DEV_REMAPPED_PENDING
    field_id::NVML_FI_DEV_REMAPPED_ROWS_COR_INACTIVE
    field_id::NVML_FI_DEV_REMAPPED_ROWS_UNC_INACTIVE
    field_id::NVML_FI_DEV_REMAPPED_UNC
    field_id::NVML_FI_DEV_RETIRED_DBE
    field_id::NVML_FI_DEV_RETIRED_PENDING
    field_id::NVML_FI_DEV_RETIRED_PENDING_DBE
    field_id::NVML_FI_DEV_RETIRED_PENDING_SBE
    field_id::NVML_FI_DEV_RETIRED_SBE
    field_id::NVML_FI_DEV_TEMPERATURE_GPU_MAX_TLIMIT
    field_id::NVML_FI_DEV_TEMPERATURE_MEM_MAX_TLIMIT
    field_id::NVML_FI_DEV_TEMPERATURE_SHUTDOWN_TLIMIT
    field_id::NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT
    field_id::NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION
    NVML_GPM_METRICS_GET_VERSION
    nvmlGpmMetricId_t_NVML_GPM_METRIC_ANY_TENSOR_UTIL
    nvmlGpmMetricId_t_NVML_GPM_METRIC_DFMA_TENSOR_UTIL
    nvmlGpmMetricId_t_NVML_GPM_METRIC_DRAM_BW_UTIL
    nvmlGpmMetricId_t_NVML_GPM_METRIC_FP16_UTIL
    nvmlGpmMetricId_t_NVML_GPM_METRIC_FP32_UTIL
    nvmlGpmMetricId_t_NVML_GPM_METRIC_FP64_UTIL
    nvmlGpmMetricId_t_NVML_GPM_METRIC_GRAPHICS_UTIL
    nvmlGpmMetricId_t_NVML_GPM_METRIC_HMMA_TENSOR_UTIL
    nvmlGpmMetricId_t_NVML_GPM_METRIC_IMMA_TENSOR_UTIL
    nvmlGpmMetricId_t_NVML_GPM_METRIC_INTEGER_UTIL
    nvmlGpmMetricId_t_NVML_GPM_METRIC_NVDEC_0_UTIL
    nvmlGpmMetricId_t_NVML_GPM_METRIC_NVDEC_7_UTIL
    nvmlGpmMetricId_t_NVML_GPM_METRIC_NVJPG_0_UTIL
    nvmlGpmMetricId_t_NVML_GPM_METRIC_NVJPG_7_UTIL
    nvmlGpmMetricId_t_NVML_GPM_METRIC_NVLINK_L0_RX_PER_SEC
    nvmlGpmMetricId_t_NVML_GPM_METRIC_NVLINK_L17_TX_PER_SEC
    nvmlGpmMetricId_t_NVML_GPM_METRIC_NVLINK_TOTAL_RX_PER_SEC
    nvmlGpmMetricId_t_NVML_GPM_METRIC_NVLINK_TOTAL_TX_PER_SEC
    nvmlGpmMetricId_t_NVML_GPM_METRIC_NVOFA_0_UTIL
    nvmlGpmMetricId_t_NVML_GPM_METRIC_NVOFA_1_UTIL
    nvmlGpmMetricId_t_NVML_GPM_METRIC_PCIE_RX_PER_SEC
    nvmlGpmMetricId_t_NVML_GPM_METRIC_PCIE_TX_PER_SEC
    nvmlGpmMetricId_t_NVML_GPM_METRIC_SM_OCCUPANCY
    nvmlGpmMetricId_t_NVML_GPM_METRIC_SM_UTIL
    NVML_GPM_SUPPORT_VERSION
    NVML_GPU_FABRIC_HEALTH_MASK_DEGRADED_BW_FALSE
    NVML_GPU_FABRIC_HEALTH_MASK_DEGRADED_BW_TRUE
    NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_DEGRADED_BW
    NVML_GPU_FABRIC_HEALTH_SUMMARY_HEALTHY
    NVML_GPU_FABRIC_HEALTH_SUMMARY_LIMITED_CAPACITY
    NVML_GPU_FABRIC_CLIQUE_MAX
    NVML_GPU_FABRIC_CLIQUE_TYPE_UNICAST_POINTER
    NVML_GPU_FABRIC_STATE_COMPLETED
    nvmlGpuVirtualizationMode_NVML_GPU_VIRTUALIZATION_MODE_NONE
    NVML_GSP_FIRMWARE_VERSION_BUF_SIZE
    nvmlInforomObject_enum_NVML_INFOROM_ECC
    nvmlInforomObject_enum_NVML_INFOROM_OEM
    nvmlMemoryErrorType_enum_NVML_MEMORY_ERROR_TYPE_CORRECTED
    nvmlMemoryErrorType_enum_NVML_MEMORY_ERROR_TYPE_UNCORRECTED
    nvmlMemoryLocation_enum_NVML_MEMORY_LOCATION_DRAM
    nvmlMemoryLocation_enum_NVML_MEMORY_LOCATION_SRAM
    nvmlNvLinkCapability_enum_NVML_NVLINK_CAP_SLI_BRIDGE
    nvmlIntNvLinkDeviceType_enum_NVML_NVLINK_DEVICE_TYPE_GPU
    nvmlIntNvLinkDeviceType_enum_NVML_NVLINK_DEVICE_TYPE_SWITCH
    nvmlNvLinkErrorCounter_enum_NVML_NVLINK_ERROR_DL_CRC_DATA
    nvmlNvLinkErrorCounter_enum_NVML_NVLINK_ERROR_DL_CRC_FLIT
    nvmlNvLinkErrorCounter_enum_NVML_NVLINK_ERROR_DL_ECC_DATA
    nvmlNvLinkErrorCounter_enum_NVML_NVLINK_ERROR_DL_RECOVERY
    nvmlNvLinkErrorCounter_enum_NVML_NVLINK_ERROR_DL_REPLAY
    nvmlGpuP2PCapsIndex_enum_NVML_P2P_CAPS_INDEX_ATOMICS
    nvmlGpuP2PCapsIndex_enum_NVML_P2P_CAPS_INDEX_NVLINK
    nvmlGpuP2PCapsIndex_enum_NVML_P2P_CAPS_INDEX_READ
    nvmlGpuP2PCapsIndex_enum_NVML_P2P_CAPS_INDEX_UNKNOWN
    nvmlGpuP2PCapsIndex_enum_NVML_P2P_CAPS_INDEX_WRITE
    nvmlGpuP2PStatus_enum_NVML_P2P_STATUS_NOT_SUPPORTED
    nvmlGpuP2PStatus_enum_NVML_P2P_STATUS_OK
    nvmlPageRetirementCause_enum_NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR
    nvmlPageRetirementCause_enum_NVML_PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS
    nvmlPcieUtilCounter_enum_NVML_PCIE_UTIL_RX_BYTES
    nvmlPcieUtilCounter_enum_NVML_PCIE_UTIL_TX_BYTES
    nvmlPerfPolicyType_enum_NVML_PERF_POLICY_BOARD_LIMIT
    nvmlPerfPolicyType_enum_NVML_PERF_POLICY_LOW_UTILIZATION
    nvmlPerfPolicyType_enum_NVML_PERF_POLICY_POWER
    nvmlPerfPolicyType_enum_NVML_PERF_POLICY_RELIABILITY
    nvmlPerfPolicyType_enum_NVML_PERF_POLICY_SYNC_BOOST
    nvmlPerfPolicyType_enum_NVML_PERF_POLICY_THERMAL
    nvmlPerfPolicyType_enum_NVML_PERF_POLICY_TOTAL_APP_CLOCKS
    nvmlPerfPolicyType_enum_NVML_PERF_POLICY_TOTAL_BASE_CLOCKS
    NVML_POWER_SOURCE_AC
    nvmlReturn_enum_NVML_SUCCESS
    nvmlTemperatureSensors_enum_NVML_TEMPERATURE_GPU
    nvmlTemperatureThresholds_enum_NVML_TEMPERATURE_THRESHOLD_GPU_MAX
    nvmlTemperatureThresholds_enum_NVML_TEMPERATURE_THRESHOLD_MEM_MAX
    nvmlTemperatureThresholds_enum_NVML_TEMPERATURE_THRESHOLD_SHUTDOWN
    nvmlTemperatureThresholds_enum_NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
    nvmlGpuLevel_enum_NVML_TOPOLOGY_INTERNAL
    nvmlGpuLevel_enum_NVML_TOPOLOGY_NODE
    nvmlGpuLevel_enum_NVML_TOPOLOGY_SYSTEM
    nvmlValueType_enum_NVML_VALUE_TYPE_SIGNED_INT
    nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT
    nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG_LONG
    nvmlEccCounterType_enum_NVML_VOLATILE_ECC
    nvmlClocksEventReasonApplicationsClocksSetting
    nvmlClocksEventReasonGpuIdle
    nvmlClocksEventReasonSwPowerCap
    nvmlClocksEventReasonSwThermalSlowdown
    nvmlClocksEventReasonSyncBoost
    nvmlClocksThrottleReasonHwPowerBrakeSlowdown
    nvmlClocksThrottleReasonHwSlowdown
    nvmlClocksThrottleReasonHwThermalSlowdown
    nvmlEventMigConfigChange
    nvmlEventTypeAll
    nvmlEventTypeClock
    nvmlEventTypeDoubleBitEccError
    nvmlEventTypeDramRetirementEvent
    nvmlEventTypeDramRetirementFailure
    nvmlEventTypeFatalPoisonError
    nvmlEventTypeGpuRecoveryAction
    nvmlEventTypeGpuUnavailableError
    nvmlEventTypeNonFatalPoisonError
    nvmlEventTypePState
    nvmlEventTypePowerSourceChange
    nvmlEventTypeSingleBitEccError
    nvmlEventTypeSingleBitEccErrorStorm
    nvmlEventTypeXidCriticalError
}
