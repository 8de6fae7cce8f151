//! The tables of functions that a loader asks a driver for (`ze_ddi.h`, `zes_ddi.h`, `zet_ddi.h` of 1.4).
//!
//! A table is an array of function pointers, all null when the loader hands it over; a driver fills in what it has.
//! All have to be answered, or the loader drops the driver: compute and tools have none of theirs filled.

use std::ffi::c_void;

use level_zero_sys::code::{self, Code};

use crate::{
    device::{
        zeDeviceGet, zeDeviceGetProperties, zeDriverGet, zeDriverGetApiVersion, zeInit,
        zesDeviceEccAvailable, zesDeviceEccConfigurable, zesDeviceGetEccState, zesDeviceGetProperties,
        zesDeviceGetState, zesDevicePciGetProperties, zesDevicePciGetState, zesDevicePciGetStats,
        zesDeviceProcessesGetState,
    },
    parts::{
        zesDeviceEnumEngineGroups, zesDeviceEnumFabricPorts, zesDeviceEnumFans,
        zesDeviceEnumFrequencyDomains, zesDeviceEnumMemoryModules, zesDeviceEnumPowerDomains,
        zesDeviceEnumRasErrorSets, zesDeviceEnumTemperatureSensors, zesEngineGetActivity,
        zesEngineGetProperties, zesFabricPortGetProperties, zesFabricPortGetState,
        zesFabricPortGetThroughput, zesFanGetProperties, zesFanGetState, zesFrequencyGetProperties,
        zesFrequencyGetRange, zesFrequencyGetState, zesMemoryGetBandwidth, zesMemoryGetProperties,
        zesMemoryGetState, zesPowerGetEnergyCounter, zesPowerGetLimitsExt, zesPowerGetProperties,
        zesRasGetProperties, zesRasGetState, zesTemperatureGetProperties, zesTemperatureGetState,
    },
};

/// A function in a table: the table's and the member's name in the header, and its place.
pub type Place = (&'static str, &'static str, usize);

macro_rules! tables {
    (
        filled { $($filled:ident: $table:ident { $($place:literal $member:ident = $function:ident,)* })* }
        empty { $($empty:ident)* }
    ) => {
        $(
            #[doc = concat!("`", stringify!($filled), "` as the header declares it.")]
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $filled(_version: u32, table: *mut *const c_void) -> Code {
                if table.is_null() {
                    return code::INVALID_NULL_POINTER;
                }
                $({
                    // SAFETY: the loader passes a table of the header's type, which has this member.
                    let slot = unsafe { table.add($place) };
                    // SAFETY: as above; a member is one pointer.
                    unsafe { slot.write($function as *const c_void) };
                })*
                code::SUCCESS
            }
        )*
        $(
            #[doc = concat!("`", stringify!($empty), "` as the header declares it.")]
            #[unsafe(no_mangle)]
            extern "C" fn $empty(_version: u32, _table: *mut *const c_void) -> Code {
                code::SUCCESS
            }
        )*

        /// Where each function is put, for a C compiler to compare.
        pub const PLACES: &[Place] = &[$($((stringify!($table), stringify!($member), $place),)*)*];
    };
}

tables! {
    filled {
        zeGetGlobalProcAddrTable: ze_global_dditable_t {
            0 pfnInit = zeInit,
        }
        zeGetDriverProcAddrTable: ze_driver_dditable_t {
            0 pfnGet = zeDriverGet,
            1 pfnGetApiVersion = zeDriverGetApiVersion,
        }
        zeGetDeviceProcAddrTable: ze_device_dditable_t {
            0 pfnGet = zeDeviceGet,
            2 pfnGetProperties = zeDeviceGetProperties,
        }
        zesGetDeviceProcAddrTable: zes_device_dditable_t {
            0 pfnGetProperties = zesDeviceGetProperties,
            1 pfnGetState = zesDeviceGetState,
            3 pfnProcessesGetState = zesDeviceProcessesGetState,
            4 pfnPciGetProperties = zesDevicePciGetProperties,
            5 pfnPciGetState = zesDevicePciGetState,
            7 pfnPciGetStats = zesDevicePciGetStats,
            9 pfnEnumEngineGroups = zesDeviceEnumEngineGroups,
            11 pfnEnumFabricPorts = zesDeviceEnumFabricPorts,
            12 pfnEnumFans = zesDeviceEnumFans,
            14 pfnEnumFrequencyDomains = zesDeviceEnumFrequencyDomains,
            16 pfnEnumMemoryModules = zesDeviceEnumMemoryModules,
            18 pfnEnumPowerDomains = zesDeviceEnumPowerDomains,
            21 pfnEnumRasErrorSets = zesDeviceEnumRasErrorSets,
            24 pfnEnumTemperatureSensors = zesDeviceEnumTemperatureSensors,
            25 pfnEccAvailable = zesDeviceEccAvailable,
            26 pfnEccConfigurable = zesDeviceEccConfigurable,
            27 pfnGetEccState = zesDeviceGetEccState,
        }
        zesGetEngineProcAddrTable: zes_engine_dditable_t {
            0 pfnGetProperties = zesEngineGetProperties,
            1 pfnGetActivity = zesEngineGetActivity,
        }
        zesGetMemoryProcAddrTable: zes_memory_dditable_t {
            0 pfnGetProperties = zesMemoryGetProperties,
            1 pfnGetState = zesMemoryGetState,
            2 pfnGetBandwidth = zesMemoryGetBandwidth,
        }
        zesGetPowerProcAddrTable: zes_power_dditable_t {
            0 pfnGetProperties = zesPowerGetProperties,
            1 pfnGetEnergyCounter = zesPowerGetEnergyCounter,
            6 pfnGetLimitsExt = zesPowerGetLimitsExt,
        }
        zesGetTemperatureProcAddrTable: zes_temperature_dditable_t {
            0 pfnGetProperties = zesTemperatureGetProperties,
            3 pfnGetState = zesTemperatureGetState,
        }
        zesGetFrequencyProcAddrTable: zes_frequency_dditable_t {
            0 pfnGetProperties = zesFrequencyGetProperties,
            2 pfnGetRange = zesFrequencyGetRange,
            4 pfnGetState = zesFrequencyGetState,
        }
        zesGetFanProcAddrTable: zes_fan_dditable_t {
            0 pfnGetProperties = zesFanGetProperties,
            5 pfnGetState = zesFanGetState,
        }
        zesGetRasProcAddrTable: zes_ras_dditable_t {
            0 pfnGetProperties = zesRasGetProperties,
            3 pfnGetState = zesRasGetState,
        }
        zesGetFabricPortProcAddrTable: zes_fabric_port_dditable_t {
            0 pfnGetProperties = zesFabricPortGetProperties,
            4 pfnGetState = zesFabricPortGetState,
            5 pfnGetThroughput = zesFabricPortGetThroughput,
        }
    }
    empty {
        zeGetCommandListProcAddrTable
        zeGetCommandQueueProcAddrTable
        zeGetContextProcAddrTable
        zeGetDeviceExpProcAddrTable
        zeGetEventExpProcAddrTable
        zeGetEventPoolProcAddrTable
        zeGetEventProcAddrTable
        zeGetFabricEdgeExpProcAddrTable
        zeGetFabricVertexExpProcAddrTable
        zeGetFenceProcAddrTable
        zeGetImageExpProcAddrTable
        zeGetImageProcAddrTable
        zeGetKernelExpProcAddrTable
        zeGetKernelProcAddrTable
        zeGetMemProcAddrTable
        zeGetModuleBuildLogProcAddrTable
        zeGetModuleProcAddrTable
        zeGetPhysicalMemProcAddrTable
        zeGetSamplerProcAddrTable
        zeGetVirtualMemProcAddrTable
        zesGetDiagnosticsProcAddrTable
        zesGetDriverProcAddrTable
        zesGetFirmwareProcAddrTable
        zesGetLedProcAddrTable
        zesGetPerformanceFactorProcAddrTable
        zesGetPsuProcAddrTable
        zesGetSchedulerProcAddrTable
        zesGetStandbyProcAddrTable
        zetGetCommandListProcAddrTable
        zetGetContextProcAddrTable
        zetGetDebugProcAddrTable
        zetGetDeviceProcAddrTable
        zetGetKernelProcAddrTable
        zetGetMetricGroupExpProcAddrTable
        zetGetMetricGroupProcAddrTable
        zetGetMetricProcAddrTable
        zetGetMetricQueryPoolProcAddrTable
        zetGetMetricQueryProcAddrTable
        zetGetMetricStreamerProcAddrTable
        zetGetModuleProcAddrTable
        zetGetTracerExpProcAddrTable
    }
}
