//! Processes on a GPU or a MIG instance: their memory, and what they did lately.

use nvml_wrapper_sys::bindings::{nvmlProcessInfo_t, nvmlProcessUtilizationSample_t};
use reading::Measured;

use super::{Gpu, INSUFFICIENT_SIZE, NOT_FOUND, call};

/// Room for processes that start between two calls.
const SPARE: u32 = 8;

/// A process with a compute context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id, in the namespace of the caller.
    pub pid: u32,
    /// Memory that it has on the device, in bytes.
    pub memory_bytes: Option<u64>,
}

/// The processes with a compute context.
pub fn running(gpu: &Gpu, about: u32) -> Measured<Vec<Process>> {
    let blank = nvmlProcessInfo_t { pid: 0, usedGpuMemory: u64::MAX, gpuInstanceId: 0, computeInstanceId: 0 };
    let mut count = about.saturating_add(SPARE);
    let mut infos = vec![blank; count as usize];
    call!(
        gpu.library(),
        nvmlDeviceGetComputeRunningProcesses_v3(gpu.handle(), &raw mut count, infos.as_mut_ptr())
    )?;
    infos.truncate(count as usize);
    // NVML_VALUE_NOT_AVAILABLE, as under WDDM and for a process of another user namespace.
    let known = |bytes: u64| (bytes != u64::MAX).then_some(bytes);
    Ok(infos.iter().map(|info| Process { pid: info.pid, memory_bytes: known(info.usedGpuMemory) }).collect())
}

/// What a process did in the driver's last sample period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utilization {
    /// The process.
    pub pid: u32,
    /// End of the period, microseconds on the driver's clock.
    pub at_us: u64,
    /// Percent of the time in which each unit worked for it: SMs, encoder, decoder.
    pub percent: [u32; 3],
}

/// What processes did after `since`, a time of an earlier sample. Processes that did nothing are left out.
pub fn utilization(gpu: &Gpu, since: u64) -> Measured<Vec<Utilization>> {
    let blank = nvmlProcessUtilizationSample_t {
        pid: 0,
        timeStamp: 0,
        smUtil: 0,
        memUtil: 0,
        encUtil: 0,
        decUtil: 0,
    };
    let mut samples = Vec::new();
    // The first call returns how many there may be. A process may start before the second.
    for _ in 0..2 {
        let mut count = u32::try_from(samples.len()).unwrap_or(0);
        let buffer = if samples.is_empty() { std::ptr::null_mut() } else { samples.as_mut_ptr() };
        let asked = call!(
            gpu.library(),
            nvmlDeviceGetProcessUtilization(gpu.handle(), buffer, &raw mut count, since)
        );
        match asked {
            Err(fault) if fault.code == NOT_FOUND => return Ok(Vec::new()),
            Err(fault) if fault.code == INSUFFICIENT_SIZE => {
                samples = vec![blank; count.saturating_add(SPARE).min(4096) as usize];
            }
            Err(fault) => return Err(fault),
            Ok(()) => samples.truncate(count as usize),
        }
    }
    let known = samples.iter().filter(|sample| sample.timeStamp > since && sample.pid != 0);
    let percent = |sample: &nvmlProcessUtilizationSample_t| [sample.smUtil, sample.encUtil, sample.decUtil];
    Ok(known
        .map(|sample| Utilization { pid: sample.pid, at_us: sample.timeStamp, percent: percent(sample) })
        .collect())
}
