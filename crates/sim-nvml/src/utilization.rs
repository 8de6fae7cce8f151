//! How busy the engines are, as NVML's percentages. None of this exists while a GPU is cut.

use std::ffi::c_uint;

use sim::Device;
use sim::cycle::Channel;
use sim::profile::Architecture;

use crate::abi::sys::{
    nvmlEncoderSessionInfo_t, nvmlFBCSessionInfo_t, nvmlFBCStats_t,
    nvmlGpuDynamicPstatesInfo_st__bindgen_ty_1 as Domain, nvmlGpuDynamicPstatesInfo_t, nvmlUtilization_t,
};
use crate::args::{Gpu, Out, garble};
use crate::call::{NvmlCall, Result, code, entries};
use crate::lists::{Items, list};
use crate::parts::{Part, UTILIZATION_PERIOD_SECONDS, gpu_utilization, percent, recent};

/// NVML's own period, in its unit.
const PERIOD_MICROSECONDS: c_uint = (UTILIZATION_PERIOD_SECONDS * 1e6) as c_uint;

garble! {
    nvmlUtilization_t { gpu, memory }
    nvmlFBCStats_t { sessionsCount, averageFPS, averageLatency }
    nvmlGpuDynamicPstatesInfo_t {}
}

/// Declares the four calls of one shape: a media engine's utilization and the period that it is over.
macro_rules! media_engines {
    ($($name:ident = |$device:ident| $ratio:expr;)*) => {
        entries! {$(
            fn $name(call, gpu: Gpu, utilization: Out<c_uint>, period: Out<c_uint>) {
                let $device = call.gpu(gpu.0)?;
                $device.whole()?;
                let ratio: Result<f64> = $ratio;
                utilization.set(call, percent(ratio?))?;
                period.put(PERIOD_MICROSECONDS)
            }
        )*}
    };
}

media_engines! {
    // No phase of the workload encodes video or estimates motion.
    nvmlDeviceGetEncoderUtilization = |device| Ok(0.0);
    nvmlDeviceGetDecoderUtilization = |device| Ok(recent(&device, Channel::Decoder));
    nvmlDeviceGetJpgUtilization = |device| jpeg(&device);
    nvmlDeviceGetOfaUtilization = |device| device.since(Architecture::Turing).map(|()| 0.0);
}

entries! {
    fn nvmlDeviceGetUtilizationRates(call, gpu: Gpu, utilization: Out<nvmlUtilization_t>) {
        let device = call.gpu(gpu.0)?;
        device.whole()?;
        let memory = percent(recent(&device, Channel::Dram));
        utilization.set(call, nvmlUtilization_t { gpu: gpu_utilization(&device), memory })
    }

    fn nvmlDeviceGetDynamicPstatesInfo(call, gpu: Gpu, info: Out<nvmlGpuDynamicPstatesInfo_t>) {
        let device = call.gpu(gpu.0)?;
        device.whole()?;
        let domains = [Channel::Graphics, Channel::Dram, Channel::Decoder];
        let absent = Domain { bIsPresent: 0, percentage: 0, incThreshold: 0, decThreshold: 0 };
        let mut reading = nvmlGpuDynamicPstatesInfo_t { flags: 0, utilization: [absent; 8] };
        for (domain, channel) in reading.utilization.iter_mut().zip(domains) {
            *domain = Domain { bIsPresent: 1, percentage: percent(recent(&device, channel)), ..absent };
        }
        info.set(call, reading)
    }

    fn nvmlDeviceGetEncoderCapacity(call, gpu: Gpu, _kind: c_uint, capacity: Out<c_uint>) {
        let device = call.gpu(gpu.0)?;
        if device.nvidia().engines.encoders == 0 {
            return Err(code::NOT_SUPPORTED);
        }
        capacity.set(call, 100)
    }

    fn nvmlDeviceGetEncoderStats(
        call, gpu: Gpu, sessions: Out<c_uint>, frames: Out<c_uint>, latency: Out<c_uint>,
    ) {
        call.gpu(gpu.0)?.whole()?;
        sessions.set(call, 0)?;
        frames.set(call, 0)?;
        latency.set(call, 0)
    }

    fn nvmlDeviceGetEncoderSessions(
        call, gpu: Gpu, count: Out<c_uint>, sessions: Items<nvmlEncoderSessionInfo_t>,
    ) {
        call.gpu(gpu.0)?.whole()?;
        list(count, sessions, std::iter::empty())
    }

    fn nvmlDeviceGetFBCStats(call, gpu: Gpu, stats: Out<nvmlFBCStats_t>) {
        call.gpu(gpu.0)?.whole()?;
        stats.set(call, nvmlFBCStats_t { sessionsCount: 0, averageFPS: 0, averageLatency: 0 })
    }

    fn nvmlDeviceGetFBCSessions(
        call, gpu: Gpu, count: Out<c_uint>, sessions: Items<nvmlFBCSessionInfo_t>,
    ) {
        call.gpu(gpu.0)?.whole()?;
        list(count, sessions, std::iter::empty())
    }
}

fn jpeg(device: &Device<'_>) -> Result<f64> {
    if device.nvidia().engines.jpeg == 0 {
        return Err(code::NOT_SUPPORTED);
    }
    Ok(recent(device, Channel::Jpeg))
}
