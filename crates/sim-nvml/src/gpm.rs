//! GPM, the profiling counters of Hopper and later: two samples of a device or an instance, and the metrics
//! between them.
//!
//! A sample is a time and a place; a metric is the mean of a level between two times, so it is exact for any
//! pair of samples. On a frozen clock no time passes between samples, and a metric is the level itself.

use std::ffi::{CStr, c_char, c_uint};
use std::sync::{Mutex, PoisonError};

use sim::Device;
use sim::cycle::Channel;
use sim::profile::Architecture;
use sim_abi::Registry;

use crate::abi::sys::{self, nvmlGpmMetric_t, nvmlGpmMetricsGet_t, nvmlGpmSample_t, nvmlGpmSupport_t};
use crate::args::{AnyDevice, Argument, Gpu, Out, garble};
use crate::call::{Call, Nvml, NvmlCall, Result, code, entries};
use crate::parts::Part;

const MIB: f64 = 1_048_576.0;

garble! { nvmlGpmSupport_t {} }

/// When and where a sample was taken.
#[derive(Clone, Copy)]
struct Shot {
    device: usize,
    instance: Option<u32>,
    epoch: u32,
    seconds: f64,
}

/// A client's sample buffer: empty until its first use.
type Sample = Mutex<Option<Shot>>;

static SAMPLES: Registry<Sample> = Registry::empty();

/// What a sample is of.
fn taken(sample: nvmlGpmSample_t) -> Result<Shot> {
    let sample = SAMPLES.get(sample.addr()).ok_or(code::INVALID_ARGUMENT)?;
    let shot = *sample.lock().unwrap_or_else(PoisonError::into_inner);
    shot.ok_or(code::INVALID_ARGUMENT)
}

fn keep(sample: nvmlGpmSample_t, shot: Shot) -> Result {
    let sample = SAMPLES.get(sample.addr()).ok_or(code::INVALID_ARGUMENT)?;
    *sample.lock().unwrap_or_else(PoisonError::into_inner) = Some(shot);
    Ok(())
}

/// The request of `nvmlGpmMetricsGet`. Its `metrics` array is as long as the caller's header made it (98, 210
/// and 477 are in use), so only its beginning and the members that `numMetrics` counts are ever touched.
struct Request {
    metrics: Out<nvmlGpmMetric_t>,
    count: usize,
    from: Shot,
    to: Shot,
}

impl Argument<Nvml> for Request {
    type Raw = *mut nvmlGpmMetricsGet_t;

    unsafe fn take(raw: Self::Raw, call: &Call<'_>) -> Result<Self> {
        let head: Out<Head> = {
            // SAFETY: this function's own contract; the head is the beginning of the caller's struct.
            unsafe { Out::take(raw.cast(), call) }?
        };
        let head = head.get();
        if head.version != sys::NVML_GPM_METRICS_GET_VERSION {
            return Err(code::VERSION_MISMATCH);
        }
        let [first, second] = [head.sample1, head.sample2].map(taken);
        let (first, second) = (first?, second?);
        let same = first.device == second.device && first.instance == second.instance;
        if !same || first.epoch != call.epoch || second.epoch != call.epoch || head.count == 0 {
            return Err(code::INVALID_ARGUMENT);
        }
        call.device.set(Some(first.device));
        if call.moment.conditions().device(first.device).is_some_and(|device| device.hidden) {
            return Err(code::GPU_IS_LOST);
        }
        let (from, to) = if first.seconds <= second.seconds { (first, second) } else { (second, first) };
        let offset = std::mem::offset_of!(nvmlGpmMetricsGet_t, metrics);
        let array = raw.wrapping_byte_add(offset).cast();
        // SAFETY: `raw` is the caller's struct (checked above), of which the array is a member at this offset
        // in every version of the header.
        let metrics: Out<nvmlGpmMetric_t> = unsafe { Out::take(array, call) }?;
        Ok(Self { metrics, count: head.count as usize, from, to })
    }
}

/// The members before the array.
#[derive(Clone, Copy)]
#[repr(C)]
struct Head {
    version: c_uint,
    count: c_uint,
    sample1: nvmlGpmSample_t,
    sample2: nvmlGpmSample_t,
}

entries! {
    fn nvmlGpmQueryDeviceSupport(call, device: AnyDevice, support: Out<nvmlGpmSupport_t>) {
        let asked = support.get().version;
        if asked != sys::NVML_GPM_SUPPORT_VERSION {
            return Err(code::VERSION_MISMATCH);
        }
        let has = call.gpu(device.0.device)?.since(Architecture::Hopper).is_ok();
        support.put(nvmlGpmSupport_t { version: asked, isSupportedDevice: u32::from(has) })
    }

    fn nvmlGpmSampleAlloc(_call, sample: Out<nvmlGpmSample_t>) {
        sample.put(std::ptr::without_provenance_mut(SAMPLES.insert(Mutex::new(None))))
    }

    fn nvmlGpmSampleFree(_call, sample: nvmlGpmSample_t) {
        if SAMPLES.remove(sample.addr()) { Ok(()) } else { Err(code::INVALID_ARGUMENT) }
    }

    fn nvmlGpmSampleGet(call, device: AnyDevice, sample: nvmlGpmSample_t) {
        keep(sample, shot(call, &call.gpu(device.0.device)?, device.0.instance)?)
    }

    fn nvmlGpmMigSampleGet(call, gpu: Gpu, instance: c_uint, sample: nvmlGpmSample_t) {
        keep(sample, shot(call, &call.gpu(gpu.0)?, Some(instance))?)
    }

    fn nvmlGpmMetricsGet(call, request: Request) {
        let device = call.gpu(request.to.device)?.at(request.to.seconds);
        for index in 0..request.count {
            let place = request.metrics.nth(index);
            let mut metric = place.get();
            let result = METRICS
                .iter()
                .find(|known| known.ids.contains(&metric.metricId))
                .ok_or(code::INVALID_ARGUMENT)
                .and_then(|known| Ok((known, mean(&device, &request, known, metric.metricId)?)));
            match result {
                Ok((known, value)) => {
                    metric.nvmlReturn = code::SUCCESS;
                    metric.value = call.garbled(value);
                    metric.metricInfo.shortName = text(known.short_name);
                    metric.metricInfo.longName = text(known.long_name);
                    metric.metricInfo.unit = text(known.unit);
                }
                Err(code) => metric.nvmlReturn = code,
            }
            place.put(metric)?;
        }
        Ok(())
    }
}

/// nvml.h declares the texts as `char *`; they are never written.
fn text(text: &'static CStr) -> *mut c_char {
    text.as_ptr().cast_mut()
}

fn shot(call: &Call<'_>, device: &Device<'_>, instance: Option<u32>) -> Result<Shot> {
    device.since(Architecture::Hopper)?;
    if let Some(id) = instance {
        let instance = device.instance(id).ok_or(code::INVALID_ARGUMENT)?;
        // Counters run in compute instances; without one there is nothing to count.
        if instance.compute_instances == 0 {
            return Err(code::NO_DATA);
        }
    }
    Ok(Shot { device: device.index(), instance, epoch: call.epoch, seconds: call.moment.seconds() })
}

const _: () = {
    use std::mem::offset_of;
    assert!(offset_of!(Head, count) == offset_of!(nvmlGpmMetricsGet_t, numMetrics));
    assert!(offset_of!(Head, sample1) == offset_of!(nvmlGpmMetricsGet_t, sample1));
    assert!(offset_of!(Head, sample2) == offset_of!(nvmlGpmMetricsGet_t, sample2));
    assert!(size_of::<Head>() == offset_of!(nvmlGpmMetricsGet_t, metrics));
};

/// `NVML_GPM_METRIC_*`.
mod id {
    pub(super) use crate::abi::sys::{
        nvmlGpmMetricId_t_NVML_GPM_METRIC_ANY_TENSOR_UTIL as ANY_TENSOR_UTIL,
        nvmlGpmMetricId_t_NVML_GPM_METRIC_DFMA_TENSOR_UTIL as DFMA_TENSOR_UTIL,
        nvmlGpmMetricId_t_NVML_GPM_METRIC_DRAM_BW_UTIL as DRAM_BW_UTIL,
        nvmlGpmMetricId_t_NVML_GPM_METRIC_FP16_UTIL as FP16_UTIL,
        nvmlGpmMetricId_t_NVML_GPM_METRIC_FP32_UTIL as FP32_UTIL,
        nvmlGpmMetricId_t_NVML_GPM_METRIC_FP64_UTIL as FP64_UTIL,
        nvmlGpmMetricId_t_NVML_GPM_METRIC_GRAPHICS_UTIL as GRAPHICS_UTIL,
        nvmlGpmMetricId_t_NVML_GPM_METRIC_HMMA_TENSOR_UTIL as HMMA_TENSOR_UTIL,
        nvmlGpmMetricId_t_NVML_GPM_METRIC_IMMA_TENSOR_UTIL as IMMA_TENSOR_UTIL,
        nvmlGpmMetricId_t_NVML_GPM_METRIC_INTEGER_UTIL as INTEGER_UTIL,
        nvmlGpmMetricId_t_NVML_GPM_METRIC_NVDEC_0_UTIL as NVDEC_0_UTIL,
        nvmlGpmMetricId_t_NVML_GPM_METRIC_NVDEC_7_UTIL as NVDEC_7_UTIL,
        nvmlGpmMetricId_t_NVML_GPM_METRIC_NVJPG_0_UTIL as NVJPG_0_UTIL,
        nvmlGpmMetricId_t_NVML_GPM_METRIC_NVJPG_7_UTIL as NVJPG_7_UTIL,
        nvmlGpmMetricId_t_NVML_GPM_METRIC_NVLINK_L0_RX_PER_SEC as NVLINK_L0_RX_PER_SEC,
        nvmlGpmMetricId_t_NVML_GPM_METRIC_NVLINK_L17_TX_PER_SEC as NVLINK_L17_TX_PER_SEC,
        nvmlGpmMetricId_t_NVML_GPM_METRIC_NVLINK_TOTAL_RX_PER_SEC as NVLINK_TOTAL_RX_PER_SEC,
        nvmlGpmMetricId_t_NVML_GPM_METRIC_NVLINK_TOTAL_TX_PER_SEC as NVLINK_TOTAL_TX_PER_SEC,
        nvmlGpmMetricId_t_NVML_GPM_METRIC_NVOFA_0_UTIL as NVOFA_0_UTIL,
        nvmlGpmMetricId_t_NVML_GPM_METRIC_NVOFA_1_UTIL as NVOFA_1_UTIL,
        nvmlGpmMetricId_t_NVML_GPM_METRIC_PCIE_RX_PER_SEC as PCIE_RX_PER_SEC,
        nvmlGpmMetricId_t_NVML_GPM_METRIC_PCIE_TX_PER_SEC as PCIE_TX_PER_SEC,
        nvmlGpmMetricId_t_NVML_GPM_METRIC_SM_OCCUPANCY as SM_OCCUPANCY,
        nvmlGpmMetricId_t_NVML_GPM_METRIC_SM_UTIL as SM_UTIL,
    };
    pub(super) use crate::abi::{
        NVML_GPM_METRIC_DMMA_TENSOR_UTIL as DMMA_TENSOR_UTIL,
        NVML_GPM_METRIC_DRAM_CACHE_MISS as DRAM_CACHE_MISS,
        NVML_GPM_METRIC_FP16_CYCLES_ACTIVE as FP16_CYCLES_ACTIVE,
        NVML_GPM_METRIC_GR0_CTXSW_ACTIVE_PCT as GR0_CTXSW_ACTIVE_PCT,
        NVML_GPM_METRIC_GR0_CTXSW_REQUESTS as GR0_CTXSW_REQUESTS,
        NVML_GPM_METRIC_HOSTMEM_CACHE_HIT as HOSTMEM_CACHE_HIT, NVML_GPM_METRIC_PCIE_RX as PCIE_RX,
        NVML_GPM_METRIC_PCIE_TX as PCIE_TX, NVML_GPM_METRIC_SM_CYCLES_ELAPSED as SM_CYCLES_ELAPSED,
    };
}

/// Where a metric comes from.
#[derive(Clone, Copy)]
enum Source {
    /// A load, in percent, as a factor on a channel.
    Percent(Channel, f64),
    /// One of several equal engines, in percent.
    Engine(Channel, fn(&Device<'_>) -> u32),
    /// One of several engines that no phase of the workload uses, in percent.
    Unused(fn(&Device<'_>) -> u32),
    /// PCIe traffic, in MiB per second.
    Pcie(Channel),
    /// NVLink traffic of all links, in MiB per second.
    Nvlink(Channel),
    /// NVLink traffic of one link, received on even offsets and transmitted on odd ones.
    Link,
    /// Hits and misses of caches: of host memory, of peers' memory, of the device's own, in percent.
    Cache,
    /// Cycles of the SMs since the driver was loaded: all, and those of pipes in the order of [`PIPES`].
    Cycles,
    /// Bytes over PCIe since then.
    PcieBytes(Channel),
    /// Context switches, of which a loaded device makes so many each second.
    Switches(f64),
}

/// Metrics of one kind, by `nvmlGpmMetricId_t`.
struct Metric {
    ids: std::ops::RangeInclusive<u32>,
    source: Source,
    short_name: &'static CStr,
    long_name: &'static CStr,
    unit: &'static CStr,
}

/// One metric.
const fn metric(id: u32, source: Source, short_name: &'static CStr, long_name: &'static CStr) -> Metric {
    metrics(id..=id, source, short_name, long_name)
}

/// One metric for each of several engines or links.
const fn metrics(
    ids: std::ops::RangeInclusive<u32>,
    source: Source,
    short_name: &'static CStr,
    long_name: &'static CStr,
) -> Metric {
    let unit = match source {
        Percent(..) | Engine(..) | Unused(_) | Cache => c"%",
        Pcie(_) | Nvlink(_) | Link => c"MiB/s",
        Switches(_) | Cycles => c"",
        PcieBytes(_) => c"B",
    };
    Metric { ids, source, short_name, long_name, unit }
}

/// Of the tensor pipes, what inference puts on half-precision and on integer matrices.
const HMMA_SHARE: f64 = 0.85;
const IMMA_SHARE: f64 = 0.15;

/// Of the accesses to each memory, what its cache serves: host, peers, own.
const CACHE_HITS: [f64; 3] = [40.0, 25.0, 70.0];
/// Context switches each second of a device that one server has to itself, and the time that one takes.
const SWITCHES_PER_SECOND: f64 = 4.0;
const SWITCH_SECONDS: f64 = 5e-4;
/// The driver that brought the metrics of caches and context switches.
const DRIVER_WITH_CACHES: u32 = 580;

/// The driver that brought counts since reset.
const DRIVER_WITH_CYCLES: u32 = 595;
/// SM cycles in a second of the simulated clock, whatever the part: all its SMs together.
const CYCLES_PER_SECOND: f64 = 2e11;
/// Loads of the pipes whose cycles are counted, by number from that of all SM cycles on: SM, any tensor pipe, DMMA,
/// HMMA, IMMA, DFMA; then, past the two counts of bytes, integer, FP64, FP32, FP16.
const PIPES: [Option<(Channel, f64)>; 13] = [
    None,
    Some((Channel::Sm, 1.0)),
    Some((Channel::Tensor, 1.0)),
    Some((Channel::Tensor, 0.0)),
    Some((Channel::Tensor, HMMA_SHARE)),
    Some((Channel::Tensor, IMMA_SHARE)),
    Some((Channel::Tensor, 0.0)),
    None,
    None,
    Some((Channel::Integer, 1.0)),
    Some((Channel::Fp64, 1.0)),
    Some((Channel::Fp32, 1.0)),
    Some((Channel::Fp16, 1.0)),
];

use Source::{Cache, Cycles, Engine, Link, Nvlink, Pcie, PcieBytes, Percent, Switches, Unused};

static METRICS: [Metric; 27] = [
    metric(id::GRAPHICS_UTIL, Percent(Channel::Graphics, 1.0), c"gr_util", c"Graphics engine activity"),
    metric(id::SM_UTIL, Percent(Channel::Sm, 1.0), c"sm_util", c"SM activity"),
    metric(id::SM_OCCUPANCY, Percent(Channel::Occupancy, 1.0), c"sm_occupancy", c"SM occupancy"),
    metric(id::INTEGER_UTIL, Percent(Channel::Integer, 1.0), c"int_util", c"Integer pipe activity"),
    metric(id::ANY_TENSOR_UTIL, Percent(Channel::Tensor, 1.0), c"tensor_util", c"Tensor pipe activity"),
    metric(id::DFMA_TENSOR_UTIL, Unused(|_| 1), c"dfma_util", c"DFMA tensor pipe activity"),
    metric(
        id::HMMA_TENSOR_UTIL,
        Percent(Channel::Tensor, HMMA_SHARE),
        c"hmma_util",
        c"HMMA tensor pipe activity",
    ),
    metric(id::DMMA_TENSOR_UTIL, Unused(|_| 1), c"dmma_util", c"DMMA tensor pipe activity"),
    metric(
        id::IMMA_TENSOR_UTIL,
        Percent(Channel::Tensor, IMMA_SHARE),
        c"imma_util",
        c"IMMA tensor pipe activity",
    ),
    metric(id::DRAM_BW_UTIL, Percent(Channel::Dram, 1.0), c"dram_util", c"DRAM bandwidth"),
    metric(id::FP64_UTIL, Percent(Channel::Fp64, 1.0), c"fp64_util", c"FP64 pipe activity"),
    metric(id::FP32_UTIL, Percent(Channel::Fp32, 1.0), c"fp32_util", c"FP32 pipe activity"),
    metric(id::FP16_UTIL, Percent(Channel::Fp16, 1.0), c"fp16_util", c"FP16 pipe activity"),
    metric(id::PCIE_TX_PER_SEC, Pcie(Channel::PcieTransmit), c"pcie_tx", c"PCIe traffic from the GPU"),
    metric(id::PCIE_RX_PER_SEC, Pcie(Channel::PcieReceive), c"pcie_rx", c"PCIe traffic to the GPU"),
    metrics(
        id::NVDEC_0_UTIL..=id::NVDEC_7_UTIL,
        Engine(Channel::Decoder, |device| device.nvidia().engines.decoders),
        c"nvdec_util",
        c"Video decoder activity",
    ),
    metrics(
        id::NVJPG_0_UTIL..=id::NVJPG_7_UTIL,
        Engine(Channel::Jpeg, |device| device.nvidia().engines.jpeg),
        c"nvjpg_util",
        c"JPEG decoder activity",
    ),
    metrics(
        id::NVOFA_0_UTIL..=id::NVOFA_1_UTIL,
        Unused(|device| device.nvidia().engines.optical_flow),
        c"nvofa_util",
        c"Optical flow accelerator activity",
    ),
    metric(
        id::NVLINK_TOTAL_RX_PER_SEC,
        Nvlink(Channel::NvlinkReceive),
        c"nvlink_rx",
        c"NVLink traffic to the GPU",
    ),
    metric(
        id::NVLINK_TOTAL_TX_PER_SEC,
        Nvlink(Channel::NvlinkTransmit),
        c"nvlink_tx",
        c"NVLink traffic from the GPU",
    ),
    metrics(
        id::NVLINK_L0_RX_PER_SEC..=id::NVLINK_L17_TX_PER_SEC,
        Link,
        c"nvlink_link",
        c"NVLink traffic of one link",
    ),
    metrics(id::HOSTMEM_CACHE_HIT..=id::DRAM_CACHE_MISS, Cache, c"cache", c"Hits or misses of a cache"),
    metric(
        id::GR0_CTXSW_REQUESTS,
        Switches(SWITCHES_PER_SECOND),
        c"ctxsw_requests",
        c"Context switches that were asked for",
    ),
    metric(
        id::GR0_CTXSW_ACTIVE_PCT,
        Percent(Channel::Graphics, SWITCHES_PER_SECOND * SWITCH_SECONDS),
        c"ctxsw_active",
        c"Context switch activity",
    ),
    // Before those of cycles, between whose numbers they are.
    metric(id::PCIE_TX, PcieBytes(Channel::PcieTransmit), c"pcie_tx_total", c"PCIe bytes from the GPU"),
    metric(id::PCIE_RX, PcieBytes(Channel::PcieReceive), c"pcie_rx_total", c"PCIe bytes to the GPU"),
    metrics(id::SM_CYCLES_ELAPSED..=id::FP16_CYCLES_ACTIVE, Cycles, c"cycles", c"Cycles since reset"),
];

/// The metric between the request's two samples.
fn mean(device: &Device<'_>, request: &Request, metric: &Metric, id: u32) -> Result<f64> {
    let instance = match request.to.instance {
        None => None,
        Some(id) => Some(device.instance(id).ok_or(code::INVALID_ARGUMENT)?),
    };
    let gain = instance.map_or(1.0, |instance| device.instance_gain(instance));
    let mean = |channel| device.mean_since(request.from.seconds, channel) * gain;
    let offset = id - metric.ids.start();
    if *metric.ids.start() >= id::HOSTMEM_CACHE_HIT && device.since_driver(DRIVER_WITH_CACHES).is_err() {
        return Err(code::INVALID_ARGUMENT);
    }
    if *metric.ids.start() >= id::SM_CYCLES_ELAPSED && device.since_driver(DRIVER_WITH_CYCLES).is_err() {
        return Err(code::INVALID_ARGUMENT);
    }
    Ok(match metric.source {
        Cycles => {
            let pipe = PIPES.get(offset as usize).copied().flatten();
            let seconds = match pipe {
                Some((channel, factor)) => device.total(channel) * gain * factor,
                None => device.seconds_since_load(),
            };
            (seconds * CYCLES_PER_SECOND).floor()
        }
        Percent(channel, factor) => 100.0 * factor * mean(channel),
        Engine(channel, count) if offset < count(device) => 100.0 * mean(channel),
        Unused(count) if offset < count(device) => 0.0,
        Engine(..) | Unused(_) => return Err(code::NOT_SUPPORTED),
        // Links belong to the GPU, not to a part of it.
        Pcie(_) | PcieBytes(_) | Nvlink(_) | Link if instance.is_some() => return Err(code::NOT_SUPPORTED),
        PcieBytes(channel) => device.total(channel).floor(),
        Pcie(channel) => mean(channel) / MIB,
        Nvlink(channel) => {
            device.nvlink()?;
            mean(channel) / MIB
        }
        Cache => {
            let hits = CACHE_HITS.get(offset as usize / 2).copied().unwrap_or_default();
            if offset.is_multiple_of(2) { hits } else { 100.0 - hits }
        }
        Switches(each_second) => {
            each_second * mean(Channel::Graphics) * (request.to.seconds - request.from.seconds)
        }
        Link => {
            let link = device.link(offset / 2)?;
            let channel =
                if offset.is_multiple_of(2) { Channel::NvlinkReceive } else { Channel::NvlinkTransmit };
            mean(channel) * device.link_share(link) / MIB
        }
    })
}
