//! The tables of functions that a loader asks a driver for (`ze_ddi.h`, `zes_ddi.h`, `zet_ddi.h` of 1.4, and
//! what `zesInit` of 1.5 and later goes through). Tables grow at their end, so a loader passes the version of
//! its tables.
//!
//! A table is an array of function pointers, all null when the loader hands it over; a driver fills in what
//! it has. Each function must return success, or the loader drops the driver; the tables for compute and
//! tools stay empty.

use std::ffi::c_void;

use level_zero_sys::code::{self, Code};

use crate::{
    device::{
        zeDeviceGet, zeDeviceGetProperties, zeDriverGet, zeDriverGetApiVersion, zeInit,
        zesDeviceEccAvailable, zesDeviceEccConfigurable, zesDeviceGet, zesDeviceGetEccState,
        zesDeviceGetProperties, zesDeviceGetState, zesDevicePciGetProperties, zesDevicePciGetState,
        zesDevicePciGetStats, zesDeviceProcessesGetState, zesDriverGet, zesInit,
    },
    parts::{
        zesDeviceEnumEngineGroups, zesDeviceEnumFabricPorts, zesDeviceEnumFans,
        zesDeviceEnumFrequencyDomains, zesDeviceEnumMemoryModules, zesDeviceEnumPowerDomains,
        zesDeviceEnumRasErrorSets, zesDeviceEnumTemperatureSensors, zesEngineGetActivity,
        zesEngineGetProperties, zesFabricPortGetFabricErrorCounters, zesFabricPortGetProperties,
        zesFabricPortGetState, zesFabricPortGetThroughput, zesFanGetProperties, zesFanGetState,
        zesFrequencyGetProperties, zesFrequencyGetRange, zesFrequencyGetState, zesFrequencyGetThrottleTime,
        zesMemoryGetBandwidth, zesMemoryGetProperties, zesMemoryGetState, zesPowerGetEnergyCounter,
        zesPowerGetLimitsExt, zesPowerGetProperties, zesRasGetProperties, zesRasGetState,
        zesTemperatureGetProperties, zesTemperatureGetState,
    },
};

/// A function in a table: the table's and the member's name in the header, and its place.
pub type TableSlot = (&'static str, &'static str, usize);

/// `ZE_API_VERSION_1_5`, which brought `zesInit`, and `ZE_API_VERSION_1_7`, which brought errors of fabric
/// ports.
const V1_5: u32 = 0x0001_0005;
const V1_7: u32 = 0x0001_0007;

macro_rules! tables {
    (
        filled { $(
            $filled:ident: $table:ident { $($place:literal $member:ident = $function:ident,)* }
            $(=> $since:ident { $new_place:literal $new_member:ident = $new_function:ident, })?
        )* }
        empty { $($empty:ident)* }
    ) => {
        $(
            #[doc = concat!("`", stringify!($filled), "` as the header declares it.")]
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $filled(version: u32, table: *mut *const c_void) -> Code {
                if table.is_null() {
                    return code::INVALID_NULL_POINTER;
                }
                let put = |place: usize, function: *const c_void| {
                    // SAFETY: the loader passes a table of the header's type, which has this member.
                    let slot = unsafe { table.add(place) };
                    // SAFETY: as above; a member is one pointer.
                    unsafe { slot.write(function) };
                };
                $(put($place, $function as *const c_void);)*
                let newer: &[(u32, usize, *const c_void)] =
                    &[$(($since, $new_place, $new_function as *const c_void))?];
                for (_, place, function) in newer.iter().filter(|(since, ..)| *since <= version) {
                    put(*place, *function);
                }
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
        pub const PLACES: &[TableSlot] = &[$($((stringify!($table), stringify!($member), $place),)*)*];
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
        zesGetGlobalProcAddrTable: zes_global_dditable_t {} => V1_5 { 0 pfnInit = zesInit, }
        zesGetDriverProcAddrTable: zes_driver_dditable_t {} => V1_5 { 2 pfnGet = zesDriverGet, }
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
        } => V1_5 { 29 pfnGet = zesDeviceGet, }
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
            5 pfnGetThrottleTime = zesFrequencyGetThrottleTime,
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
        } => V1_7 { 6 pfnGetFabricErrorCounters = zesFabricPortGetFabricErrorCounters, }
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

#[cfg(test)]
mod tests {
    use super::{V1_5, c_void, zesGetDeviceProcAddrTable};

    /// `zes_device_dditable_t` has 29 members in 1.4, and in 1.5 `pfnGet` after them.
    #[test]
    fn a_table_is_filled_as_far_as_its_version_goes() {
        let filled = |version| {
            let mut table = [std::ptr::null::<c_void>(); 64];
            // SAFETY: the table is longer than any version's.
            unsafe { zesGetDeviceProcAddrTable(version, table.as_mut_ptr()) };
            table.iter().rposition(|function| !function.is_null())
        };
        assert_eq!([filled(V1_5 - 1), filled(V1_5), filled(V1_5 + 12)], [Some(27), Some(29), Some(29)]);
    }
}
