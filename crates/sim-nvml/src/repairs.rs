//! What newer parts and drivers report: defects for good, places of errors, the place in a rack, power profiles and
//! the time since the driver began.

use std::ffi::c_uint;

use sim::profile::Architecture;

use crate::abi::sys::{
    nvmlEccSramUniqueUncorrectedErrorCounts_t, nvmlGpuUptime_v1_t, nvmlMask255_t, nvmlPlatformInfo_v2_t,
    nvmlUnrepairableMemoryStatus_v1_t, nvmlWorkloadPowerProfileCurrentProfiles_t,
};
use crate::abi::version;
use crate::args::{Gpu, Out, garble};
use crate::call::{NvmlCall, code, entries};
use crate::parts::Part;

/// The drivers that brought the functions.
const DRIVER_WITH_UNREPAIRABLE_FLAG: u32 = 590;
const DRIVER_WITH_UPTIME: u32 = 615;

garble! {
    nvmlUnrepairableMemoryStatus_v1_t { bUnrepairableMemory }
    nvmlEccSramUniqueUncorrectedErrorCounts_t { entryCount }
    nvmlPlatformInfo_v2_t {}
    nvmlWorkloadPowerProfileCurrentProfiles_t {}
    nvmlGpuUptime_v1_t { uptime }
}

entries! {
    fn nvmlDeviceGetUnrepairableMemoryFlag_v1(
        call, gpu: Gpu, status: Out<nvmlUnrepairableMemoryStatus_v1_t>,
    ) {
        let device = call.gpu(gpu.0)?;
        device.function_since(DRIVER_WITH_UNREPAIRABLE_FLAG)?;
        device.since(Architecture::Hopper)?;
        let flag = u32::from(device.standing().repair.unrepairable);
        status.set(call, nvmlUnrepairableMemoryStatus_v1_t { bUnrepairableMemory: flag })
    }

    fn nvmlDeviceGetSramUniqueUncorrectedEccErrorCounts(
        call, gpu: Gpu, counts: Out<nvmlEccSramUniqueUncorrectedErrorCounts_t>,
    ) {
        let mut asked = counts.get();
        if asked.version != version::<nvmlEccSramUniqueUncorrectedErrorCounts_t>(1) {
            return Err(code::VERSION_MISMATCH);
        }
        let device = call.gpu(gpu.0)?;
        device.since(Architecture::Blackwell)?;
        let room = if asked.entries.is_null() { 0 } else { asked.entryCount };
        asked.entryCount = device.standing().repair.sram_locations;
        counts.set(call, asked)?;
        // The entries themselves are read by no client here.
        if asked.entries.is_null() || asked.entryCount == 0 { Ok(()) }
        else if room < asked.entryCount { Err(code::INSUFFICIENT_SIZE) }
        else { Err(code::NOT_SUPPORTED) }
    }

    fn nvmlDeviceGetPlatformInfo(call, gpu: Gpu, info: Out<nvmlPlatformInfo_v2_t>) {
        // The version word comes first in both versions of the struct; the first one is deprecated.
        let word: Out<c_uint> = info.older();
        if word.get() != version::<nvmlPlatformInfo_v2_t>(2) {
            return Err(code::VERSION_MISMATCH);
        }
        let device = call.gpu(gpu.0)?;
        device.since(Architecture::Blackwell)?;
        let platform = device.nvidia().platform.as_ref().ok_or(code::NOT_SUPPORTED)?;
        let mut guid = [0; 16];
        guid[..8].copy_from_slice(&(0x1070_fd03_0000_0000 + device.index() as u64).to_be_bytes());
        info.set(call, nvmlPlatformInfo_v2_t {
            version: word.get(),
            ibGuid: guid,
            chassisSerialNumber: sim_abi::text(&platform.chassis_serial),
            slotNumber: platform.slot,
            trayIndex: platform.tray,
            hostId: 1,
            peerType: 1,
            moduleId: device.module_id().unwrap_or_default() as u8,
        })
    }

    fn nvmlDeviceWorkloadPowerProfileGetCurrentProfiles(
        call, gpu: Gpu, profiles: Out<nvmlWorkloadPowerProfileCurrentProfiles_t>,
    ) {
        let mut asked = profiles.get();
        if asked.version != version::<nvmlWorkloadPowerProfileCurrentProfiles_t>(1) {
            return Err(code::VERSION_MISMATCH);
        }
        let device = call.gpu(gpu.0)?;
        device.since(Architecture::Blackwell)?;
        let set = &device.standing().power_profile;
        asked.perfProfilesMask = mask(&device.nvidia().power_profiles);
        asked.requestedProfilesMask = mask(&set.requested);
        asked.enforcedProfilesMask = mask(&set.enforced);
        profiles.set(call, asked)
    }

    fn nvmlDeviceGetGpuUptime_v1(call, gpu: Gpu, uptime: Out<nvmlGpuUptime_v1_t>) {
        let device = call.gpu(gpu.0)?;
        device.function_since(DRIVER_WITH_UPTIME)?;
        let seconds = device.now_seconds() - call.moment.conditions().driver_loaded_at();
        uptime.set(call, nvmlGpuUptime_v1_t { uptime: seconds.max(0.0) as c_uint })
    }
}

fn mask(numbers: &[u32]) -> nvmlMask255_t {
    let mut mask = [0; 8];
    for number in numbers {
        if let Some(word) = mask.get_mut(*number as usize / 32) {
            *word |= 1 << (number % 32);
        }
    }
    nvmlMask255_t { mask }
}
