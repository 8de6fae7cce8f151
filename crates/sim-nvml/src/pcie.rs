//! The PCIe link: its state, its errors, its traffic.

use std::ffi::c_uint;
use std::thread::sleep;
use std::time::Duration;

use sim::Device;
use sim::cycle::Channel;

use crate::abi::sys;
use crate::args::{Gpu, Out};
use crate::call::{NvmlCall, code, entries, readings};

/// How long `nvmlDeviceGetPcieThroughput` counts, as nvml.h says.
const THROUGHPUT_WINDOW: Duration = Duration::from_millis(20);

readings! {
    nvmlDeviceGetMaxPcieLinkGeneration: c_uint = |device| Ok(device.facts().pcie.generation);
    nvmlDeviceGetGpuMaxPcieLinkGeneration: c_uint = |device| Ok(device.facts().pcie.generation);
    nvmlDeviceGetMaxPcieLinkWidth: c_uint = |device| Ok(device.facts().pcie.width);
    nvmlDeviceGetCurrPcieLinkGeneration: c_uint = |device| Ok(generation(&device));
    nvmlDeviceGetCurrPcieLinkWidth: c_uint = |device| Ok(device.facts().pcie.width);
    nvmlDeviceGetPcieReplayCounter: c_uint = |device| Ok(device.pcie_replays() as c_uint);
    nvmlDeviceGetPcieLinkMaxSpeed: c_uint = |device| Ok(device.facts().pcie.generation);
    nvmlDeviceGetPcieSpeed: c_uint = |device| Ok(megabits_per_second(generation(&device)));
}

entries! {
    fn nvmlDeviceGetPcieThroughput(call, gpu: Gpu, counter: c_uint, kilobytes: Out<c_uint>) {
        let channel = match counter {
            sys::nvmlPcieUtilCounter_enum_NVML_PCIE_UTIL_TX_BYTES => Channel::PcieTransmit,
            sys::nvmlPcieUtilCounter_enum_NVML_PCIE_UTIL_RX_BYTES => Channel::PcieReceive,
            _ => return Err(code::INVALID_ARGUMENT),
        };
        let begin = call.gpu(gpu.0)?.now_seconds();
        sleep(THROUGHPUT_WINDOW);
        let end = call.live.now();
        let device = end.device(gpu.0).ok_or(code::INVALID_ARGUMENT)?;
        kilobytes.set(call, (device.mean_since(begin, channel) / 1e3) as c_uint)
    }
}

/// A part that saves power with nothing to do lets the link run at its lowest speed.
fn generation(device: &Device<'_>) -> u32 {
    let saves = device.nvidia().idle_performance_state > 0 && device.is_active(Channel::Idle);
    if saves { 1 } else { device.facts().pcie.generation }
}

/// Speed of one lane.
fn megabits_per_second(generation: u32) -> u32 {
    match generation {
        1 => 2_500,
        2 => 5_000,
        later => 8_000 << later.saturating_sub(3),
    }
}
