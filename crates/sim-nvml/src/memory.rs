//! Framebuffer and BAR1, of a GPU or of an instance.

use std::ffi::c_uint;

use sim::device::MemoryBytes;

use crate::abi::sys::{nvmlBAR1Memory_t, nvmlMemory_t, nvmlMemory_v2_t};
use crate::abi::version;
use crate::args::{AnyDevice, Gpu, Out, garble};
use crate::call::{Call, NvmlCall, Result, code, entries, readings};
use crate::handle::Target;

const MIB: u64 = 1 << 20;

garble! {
    nvmlMemory_t { total, free, used }
    nvmlMemory_v2_t { total, reserved, free, used }
    nvmlBAR1Memory_t { bar1Total, bar1Free, bar1Used }
}

entries! {
    fn nvmlDeviceGetMemoryInfo(call, device: AnyDevice, memory: Out<nvmlMemory_t>) {
        let bytes = bytes(call, device.0)?;
        // Version 1 counts what is reserved as used.
        let used = bytes.used + bytes.reserved;
        memory.set(call, nvmlMemory_t { total: bytes.total, free: bytes.free, used })
    }

    fn nvmlDeviceGetMemoryInfo_v2(call, device: AnyDevice, memory: Out<nvmlMemory_v2_t>) {
        let asked = memory.get().version;
        if asked != version::<nvmlMemory_v2_t>(2) {
            return Err(code::VERSION_MISMATCH);
        }
        let MemoryBytes { total, reserved, used, free } = bytes(call, device.0)?;
        memory.set(call, nvmlMemory_v2_t { version: asked, total, reserved, free, used })
    }

    fn nvmlDeviceGetBAR1MemoryInfo(call, gpu: Gpu, memory: Out<nvmlBAR1Memory_t>) {
        let device = call.gpu(gpu.0)?;
        let total = device.nvidia().bar1_mib * MIB;
        let used = device.bar1_used_bytes();
        let bar1 = nvmlBAR1Memory_t { bar1Total: total, bar1Free: total - used, bar1Used: used };
        memory.set(call, bar1)
    }
}

readings! {
    nvmlDeviceGetMemoryBusWidth: c_uint = |device| Ok(device.facts().memory.bus_width_bits);
}

fn bytes(call: &Call<'_>, target: Target) -> Result<MemoryBytes> {
    let device = call.gpu(target.device)?;
    match target.instance {
        None => Ok(device.memory_bytes()),
        Some(id) => {
            let instance = device.instance(id).ok_or(code::INVALID_ARGUMENT)?;
            Ok(device.instance_memory_bytes(instance))
        }
    }
}
