//! The processes on a device: what the simulated servers have allocated.

use std::ffi::{c_uint, c_ulonglong};

use sim::device::Process;

use crate::abi::sys::{nvmlProcessInfo_v1_t, nvmlProcessInfo_v2_t, nvmlProcessUtilizationSample_t};
use crate::args::{AnyDevice, Buffer, Gpu};
use crate::call::{Call, NvmlCall, Result, code, entries};
use crate::handle::Target;
use crate::lists::{Items, list};
use crate::parts::{Part, gpu_utilization, percent, recent};

use sim::cycle::Channel;

/// What an id is when there is none.
const NO_INSTANCE: u32 = u32::MAX;

/// Declares the calls of one shape: processes of a kind, in a version of the struct.
macro_rules! processes {
    ($($name:ident: $info:ty = $source:ident;)*) => {
        entries! {$(
            fn $name(call, device: AnyDevice, count: crate::args::Out<c_uint>, infos: Items<$info>) {
                list(count, infos, $source(call, device.0)?.into_iter().map(<$info as FromProcess>::from))
            }
        )*}
    };
}

processes! {
    nvmlDeviceGetComputeRunningProcesses_v3: nvmlProcessInfo_v2_t = compute;
    nvmlDeviceGetComputeRunningProcesses_v2: nvmlProcessInfo_v2_t = compute;
    nvmlDeviceGetComputeRunningProcesses: nvmlProcessInfo_v1_t = compute;
    nvmlDeviceGetGraphicsRunningProcesses_v3: nvmlProcessInfo_v2_t = none;
    nvmlDeviceGetGraphicsRunningProcesses_v2: nvmlProcessInfo_v2_t = none;
    nvmlDeviceGetGraphicsRunningProcesses: nvmlProcessInfo_v1_t = none;
    nvmlDeviceGetMPSComputeRunningProcesses_v3: nvmlProcessInfo_v2_t = none;
    nvmlDeviceGetMPSComputeRunningProcesses_v2: nvmlProcessInfo_v2_t = none;
    nvmlDeviceGetMPSComputeRunningProcesses: nvmlProcessInfo_v1_t = none;
}

/// Both versions of the struct.
trait FromProcess {
    fn from(process: Process) -> Self;
}

impl FromProcess for nvmlProcessInfo_v1_t {
    fn from(process: Process) -> Self {
        Self { pid: process.id, usedGpuMemory: process.memory_bytes }
    }
}

impl FromProcess for nvmlProcessInfo_v2_t {
    fn from(process: Process) -> Self {
        let (instance, compute) = process.instance.unwrap_or((NO_INSTANCE, NO_INSTANCE));
        Self {
            pid: process.id,
            usedGpuMemory: process.memory_bytes,
            gpuInstanceId: instance,
            computeInstanceId: compute,
        }
    }
}

entries! {
    fn nvmlSystemGetProcessName(call, pid: c_uint, name: Buffer, length: c_uint) {
        let runs = |device: usize| {
            call.gpu(device).is_ok_and(|gpu| gpu.processes().any(|process| process.id == pid))
        };
        if call.moment.present().any(runs) {
            name.write(call, length, "/usr/bin/vllm")
        } else {
            Err(code::NOT_FOUND)
        }
    }

    fn nvmlDeviceGetProcessUtilization(
        call, gpu: Gpu, samples: Items<nvmlProcessUtilizationSample_t>, count: crate::args::Out<c_uint>,
        since: c_ulonglong,
    ) {
        let device = call.gpu(gpu.0)?;
        device.whole()?;
        let timeStamp = (device.now_seconds() * 1e6) as u64;
        let count_running = device.processes().count().max(1) as u32;
        let recent = device.processes().filter(|_| since < timeStamp).map(|process| {
            nvmlProcessUtilizationSample_t {
                pid: process.id,
                timeStamp,
                smUtil: gpu_utilization(&device) / count_running,
                memUtil: percent(recent(&device, Channel::Dram)),
                encUtil: 0,
                decUtil: percent(recent(&device, Channel::Decoder)),
            }
        });
        let found: Vec<_> = recent.collect();
        if found.is_empty() {
            return Err(code::NOT_FOUND);
        }
        list(count, samples, found.into_iter())
    }
}

/// The servers of a GPU, or of one compute instance.
fn compute(call: &Call<'_>, target: Target) -> Result<Vec<Process>> {
    let device = call.gpu(target.device)?;
    let place = target.instance.zip(target.compute);
    Ok(device.processes().filter(|process| place.is_none() || process.instance == place).collect())
}

/// Nothing draws, and nothing runs under MPS.
fn none(call: &Call<'_>, target: Target) -> Result<Vec<Process>> {
    call.gpu(target.device).map(|_| Vec::new())
}
