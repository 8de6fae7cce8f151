//! Clocks, and the reasons why they are not higher.

use std::ffi::{c_uint, c_ulonglong};

use sim::Device;
use sim::cycle::Channel;

use crate::abi::sys::{self, nvmlPerfPolicyType_t, nvmlViolationTime_t};
use crate::args::{Gpu, Out, garble};
use crate::call::{NvmlCall, Result, code, entries, readings};
use crate::lists::{Items, list};

use sys::{
    nvmlClockType_enum_NVML_CLOCK_GRAPHICS as GRAPHICS, nvmlClockType_enum_NVML_CLOCK_MEM as MEMORY,
    nvmlClockType_enum_NVML_CLOCK_SM as SM, nvmlClockType_enum_NVML_CLOCK_VIDEO as VIDEO,
};

/// Each reason that the machine can meet, its bit, and what makes it so.
const REASONS: [(u32, Channel); 6] = [
    (sys::nvmlClocksEventReasonGpuIdle, Channel::Idle),
    (sys::nvmlClocksEventReasonSwPowerCap, Channel::PowerCap),
    (sys::nvmlClocksEventReasonSwThermalSlowdown, Channel::SoftwareThermal),
    (sys::nvmlClocksThrottleReasonHwThermalSlowdown, Channel::HardwareThermal),
    (sys::nvmlClocksThrottleReasonHwPowerBrakeSlowdown, Channel::PowerBrake),
    // The hardware slowdown bit stands with either of its two causes; see `reasons`.
    (sys::nvmlClocksThrottleReasonHwSlowdown, Channel::HardwareThermal),
];

/// Reasons that the parts can report but a simulated machine never meets: application clocks, sync boost.
const NEVER_MET: u32 =
    sys::nvmlClocksEventReasonApplicationsClocksSetting | sys::nvmlClocksEventReasonSyncBoost;

garble! { nvmlViolationTime_t { violationTime } }

readings! {
    nvmlDeviceGetCurrentClocksEventReasons: c_ulonglong = |device| Ok(reasons(&device));
    nvmlDeviceGetCurrentClocksThrottleReasons: c_ulonglong = |device| Ok(reasons(&device));
    nvmlDeviceGetSupportedClocksEventReasons: c_ulonglong = |_device| Ok(supported_reasons());
    nvmlDeviceGetSupportedClocksThrottleReasons: c_ulonglong = |_device| Ok(supported_reasons());
}

entries! {
    fn nvmlDeviceGetClockInfo(call, gpu: Gpu, kind: c_uint, megahertz: Out<c_uint>) {
        megahertz.set(call, current(&call.gpu(gpu.0)?, kind)?)
    }

    fn nvmlDeviceGetMaxClockInfo(call, gpu: Gpu, kind: c_uint, megahertz: Out<c_uint>) {
        megahertz.set(call, highest(&call.gpu(gpu.0)?, kind)?)
    }

    fn nvmlDeviceGetApplicationsClock(call, gpu: Gpu, kind: c_uint, megahertz: Out<c_uint>) {
        megahertz.set(call, application(&call.gpu(gpu.0)?, kind)?)
    }

    fn nvmlDeviceGetDefaultApplicationsClock(call, gpu: Gpu, kind: c_uint, megahertz: Out<c_uint>) {
        megahertz.set(call, application(&call.gpu(gpu.0)?, kind)?)
    }

    fn nvmlDeviceGetMaxCustomerBoostClock(call, gpu: Gpu, kind: c_uint, megahertz: Out<c_uint>) {
        megahertz.set(call, highest(&call.gpu(gpu.0)?, kind)?)
    }

    fn nvmlDeviceGetClock(call, gpu: Gpu, kind: c_uint, id: c_uint, megahertz: Out<c_uint>) {
        let device = call.gpu(gpu.0)?;
        let clock = match id {
            sys::nvmlClockId_enum_NVML_CLOCK_ID_CURRENT => current(&device, kind)?,
            sys::nvmlClockId_enum_NVML_CLOCK_ID_APP_CLOCK_TARGET
            | sys::nvmlClockId_enum_NVML_CLOCK_ID_APP_CLOCK_DEFAULT => application(&device, kind)?,
            sys::nvmlClockId_enum_NVML_CLOCK_ID_CUSTOMER_BOOST_MAX => highest(&device, kind)?,
            _ => return Err(code::INVALID_ARGUMENT),
        };
        megahertz.set(call, clock)
    }

    fn nvmlDeviceGetSupportedMemoryClocks(call, gpu: Gpu, count: Out<c_uint>, clocks: Items<c_uint>) {
        let memory = call.gpu(gpu.0)?.facts().clocks.memory_megahertz;
        list(count, clocks, std::iter::once(memory))
    }

    fn nvmlDeviceGetSupportedGraphicsClocks(
        call, gpu: Gpu, memory: c_uint, count: Out<c_uint>, megahertz: Items<c_uint>,
    ) {
        let clocks = &call.gpu(gpu.0)?.facts().clocks;
        if memory != clocks.memory_megahertz {
            return Err(code::NOT_FOUND);
        }
        let (low, high) = (clocks.core_idle_megahertz as u32, clocks.core_max_megahertz as u32);
        list(count, megahertz, (low..=high).rev().step_by(15))
    }

    fn nvmlDeviceGetViolationStatus(
        call, gpu: Gpu, policy: nvmlPerfPolicyType_t, time: Out<nvmlViolationTime_t>,
    ) {
        let device = call.gpu(gpu.0)?;
        let violation = nvmlViolationTime_t {
            referenceTime: (device.now_seconds() * 1e6) as u64,
            violationTime: violation_nanoseconds(&device, policy)?,
        };
        time.set(call, violation)
    }
}

fn current(device: &Device<'_>, kind: c_uint) -> Result<u32> {
    Ok(match kind {
        GRAPHICS | SM => device.sm_clock_megahertz(),
        MEMORY => device.facts().clocks.memory_megahertz,
        VIDEO => device.video_clock_megahertz(),
        _ => return Err(code::INVALID_ARGUMENT),
    })
}

fn highest(device: &Device<'_>, kind: c_uint) -> Result<u32> {
    let clocks = &device.facts().clocks;
    Ok(match kind {
        GRAPHICS | SM => clocks.core_max_megahertz as u32,
        MEMORY => clocks.memory_megahertz,
        VIDEO => device.nvidia().video_max_megahertz,
        _ => return Err(code::INVALID_ARGUMENT),
    })
}

/// Application clocks stand at their default, the highest clock, and there are none for video.
fn application(device: &Device<'_>, kind: c_uint) -> Result<u32> {
    if kind == VIDEO { Err(code::NOT_SUPPORTED) } else { highest(device, kind) }
}

/// The reasons that stand now, as NVML's bits.
pub(crate) fn reasons(device: &Device<'_>) -> u64 {
    let bits = REASONS
        .iter()
        .filter(|(_, channel)| device.is_active(*channel))
        .fold(0, |bits, (reason, _)| bits | reason);
    let braked = bits & sys::nvmlClocksThrottleReasonHwPowerBrakeSlowdown != 0;
    u64::from(bits | if braked { sys::nvmlClocksThrottleReasonHwSlowdown } else { 0 })
}

fn supported_reasons() -> u64 {
    u64::from(REASONS.iter().fold(NEVER_MET, |bits, (reason, _)| bits | reason))
}

/// Time in which clocks were held down for these reasons, since the driver was loaded.
pub(crate) fn nanoseconds(device: &Device<'_>, reasons: &[Channel]) -> u64 {
    reasons.iter().map(|reason| (device.total(*reason) * 1e9) as u64).sum()
}

/// Time in which a performance policy held clocks down, since the driver was loaded.
pub(crate) fn violation_nanoseconds(device: &Device<'_>, policy: nvmlPerfPolicyType_t) -> Result<u64> {
    use Channel::{HardwareThermal, PowerBrake, PowerCap, SoftwareThermal};
    let reasons: &[Channel] = match policy {
        sys::nvmlPerfPolicyType_enum_NVML_PERF_POLICY_POWER => &[PowerCap],
        sys::nvmlPerfPolicyType_enum_NVML_PERF_POLICY_THERMAL => &[SoftwareThermal, HardwareThermal],
        sys::nvmlPerfPolicyType_enum_NVML_PERF_POLICY_BOARD_LIMIT => &[PowerBrake],
        sys::nvmlPerfPolicyType_enum_NVML_PERF_POLICY_TOTAL_APP_CLOCKS
        | sys::nvmlPerfPolicyType_enum_NVML_PERF_POLICY_TOTAL_BASE_CLOCKS => {
            &[PowerCap, SoftwareThermal, HardwareThermal, PowerBrake]
        }
        sys::nvmlPerfPolicyType_enum_NVML_PERF_POLICY_SYNC_BOOST
        | sys::nvmlPerfPolicyType_enum_NVML_PERF_POLICY_LOW_UTILIZATION
        | sys::nvmlPerfPolicyType_enum_NVML_PERF_POLICY_RELIABILITY => &[],
        _ => return Err(code::INVALID_ARGUMENT),
    };
    Ok(nanoseconds(device, reasons))
}
