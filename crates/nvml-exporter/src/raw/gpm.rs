//! GPM: the profiling counters of Hopper and later, two samples at a time, one batched call per device.

use nvml_wrapper_sys::bindings::{nvmlGpmMetricsGet_t, nvmlGpmSample_t, nvmlGpmSupport_t};
use reading::{Absence, Ceiling, Fault, FaultCode, Measured};

use super::{
    Gpu, INVALID_ARGUMENT, Library, QUEUE, call, check, field_values::ROUNDS_BETWEEN_ALL, plausible,
};

/// nvml.h, `NVML_GPM_METRICS_GET_VERSION`.
const METRICS_GET_VERSION: u32 = 1;
/// nvml.h, `NVML_GPM_SUPPORT_VERSION`.
const SUPPORT_VERSION: u32 = 1;

macro_rules! gpm_metrics {
    ($($(#[$doc:meta])* $variant:ident = $id:literal, $name:literal;)*) => {
        /// The GPM metrics that are read, with their ids in nvml.h (`nvmlGpmMetricId_t`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum GpmMetric { $($(#[$doc])* $variant = $id),* }

        impl GpmMetric {
            /// All, in the order in which they are requested.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            const fn name(self) -> &'static str {
                match self { $(Self::$variant => concat!("NVML_GPM_METRIC_", $name)),* }
            }
        }
    };
}

gpm_metrics! {
    /// Percent of time in which a graphics or compute engine was busy.
    GraphicsUtil = 1, "GRAPHICS_UTIL";
    /// Percent of cycles with at least one warp on an SM.
    SmUtil = 2, "SM_UTIL";
    /// Percent of the warps that the SMs can hold.
    SmOccupancy = 3, "SM_OCCUPANCY";
    /// Percent of cycles of the integer pipe.
    IntegerUtil = 4, "INTEGER_UTIL";
    /// Percent of cycles of any tensor pipe.
    AnyTensorUtil = 5, "ANY_TENSOR_UTIL";
    /// Percent of cycles of the FP64 tensor pipe.
    DfmaTensorUtil = 6, "DFMA_TENSOR_UTIL";
    /// Percent of cycles of the FP16 and FP8 tensor pipe.
    HmmaTensorUtil = 7, "HMMA_TENSOR_UTIL";
    /// Percent of cycles of the integer tensor pipe.
    ImmaTensorUtil = 9, "IMMA_TENSOR_UTIL";
    /// Percent of the memory interface's cycles.
    DramBwUtil = 10, "DRAM_BW_UTIL";
    /// Percent of cycles of the FP64 pipe.
    Fp64Util = 11, "FP64_UTIL";
    /// Percent of cycles of the FP32 pipe.
    Fp32Util = 12, "FP32_UTIL";
    /// Percent of cycles of the FP16 pipe.
    Fp16Util = 13, "FP16_UTIL";
    /// MiB per second sent over PCIe.
    PcieTxPerSec = 20, "PCIE_TX_PER_SEC";
    /// MiB per second received over PCIe.
    PcieRxPerSec = 21, "PCIE_RX_PER_SEC";
    /// MiB per second received over all NVLinks.
    NvlinkTotalRxPerSec = 60, "NVLINK_TOTAL_RX_PER_SEC";
    /// MiB per second sent over all NVLinks.
    NvlinkTotalTxPerSec = 61, "NVLINK_TOTAL_TX_PER_SEC";
    /// Percent of the accesses to host memory that the cache served.
    HostmemCacheHit = 160, "HOSTMEM_CACHE_HIT";
    /// Percent of the accesses to other devices' memory that the cache served.
    PeermemCacheHit = 162, "PEERMEM_CACHE_HIT";
    /// Percent of the accesses to the device's memory that the cache served.
    DramCacheHit = 164, "DRAM_CACHE_HIT";
    /// Switches between contexts that were asked for.
    ContextSwitches = 172, "GR0_CTXSW_REQUESTS";
    /// Percent of time in which contexts were switched.
    ContextSwitchActive = 174, "GR0_CTXSW_ACTIVE_PCT";
    /// Cycles that passed on the SMs since the part was reset.
    SmCyclesElapsed = 248, "SM_CYCLES_ELAPSED";
    /// Those with at least one warp.
    SmCyclesActive = 249, "SM_CYCLES_ACTIVE";
    /// Those of any tensor pipe.
    MmaCyclesActive = 250, "MMA_CYCLES_ACTIVE";
    /// Those of the DMMA tensor pipe.
    DmmaCyclesActive = 251, "DMMA_CYCLES_ACTIVE";
    /// Those of the FP16 and FP8 tensor pipe.
    HmmaCyclesActive = 252, "HMMA_CYCLES_ACTIVE";
    /// Those of the integer tensor pipe.
    ImmaCyclesActive = 253, "IMMA_CYCLES_ACTIVE";
    /// Those of the FP64 tensor pipe.
    DfmaCyclesActive = 254, "DFMA_CYCLES_ACTIVE";
    /// Bytes sent over PCIe since the part was reset.
    PcieTx = 255, "PCIE_TX";
    /// Bytes received over PCIe since then.
    PcieRx = 256, "PCIE_RX";
    /// Cycles of the integer pipe.
    IntegerCyclesActive = 257, "INTEGER_CYCLES_ACTIVE";
    /// Cycles of the FP64 pipe.
    Fp64CyclesActive = 258, "FP64_CYCLES_ACTIVE";
    /// Cycles of the FP32 pipe.
    Fp32CyclesActive = 259, "FP32_CYCLES_ACTIVE";
    /// Cycles of the FP16 pipe.
    Fp16CyclesActive = 260, "FP16_CYCLES_ACTIVE";
}

/// The releases of NVML that brought metrics: the first with GPM, 13.0, 13.2.
const RELEASES: usize = 3;

impl GpmMetric {
    /// Its place among [`Self::ALL`].
    fn place(self) -> usize {
        Self::ALL.iter().position(|known| *known == self).unwrap_or(usize::MAX)
    }

    /// The value, if it is one of the metric's kind.
    fn checked(self, value: f64) -> Measured<f64> {
        match self {
            Self::PcieTxPerSec
            | Self::PcieRxPerSec
            | Self::NvlinkTotalRxPerSec
            | Self::NvlinkTotalTxPerSec => plausible::gpm_rate(self.name(), value),
            Self::ContextSwitches => plausible::gpm_count(self.name(), value),
            _ if self.is_total() => plausible::gpm_total(self.name(), value),
            _ => plausible::gpm_percent(self.name(), value),
        }
    }

    /// Whether it is a count since the part was reset.
    const fn is_total(self) -> bool {
        self as u32 >= Self::SmCyclesElapsed as u32
    }

    /// The release that brought it. Each release's metrics are asked for by a call of their own: no document says
    /// that a library which does not know a number refuses that number alone.
    const fn release(self) -> usize {
        match self as u32 {
            ..98 => 0,
            _ if self.is_total() => 2,
            _ => 1,
        }
    }
}

/// The metrics of one interval.
pub struct GpmMetrics(Measured<Vec<Measured<f64>>>);

impl GpmMetrics {
    /// No metrics, for one reason.
    pub fn absent(fault: Fault) -> Self {
        Self(Err(fault))
    }

    /// Drops a metric that is past its ceiling.
    pub fn limit(&mut self, metric: GpmMetric, ceiling: Ceiling) {
        self.replace(metric, |call, value| value.and_then(|value| ceiling.check(call, value)));
    }

    /// Replaces a metric by what becomes of it.
    pub fn replace(
        &mut self,
        metric: GpmMetric,
        with: impl FnOnce(&'static str, Measured<f64>) -> Measured<f64>,
    ) {
        let Ok(values) = &mut self.0 else { return };
        if let Some(value) = values.get_mut(metric.place()) {
            *value = with(metric.name(), *value);
        }
    }

    /// One metric, in the vendor's unit.
    pub fn get(&self, metric: GpmMetric) -> Measured<f64> {
        let values = self.0.as_ref().map_err(|fault| *fault)?;
        let value = values.get(metric.place()).copied();
        value.unwrap_or(Err(Fault::new(metric.name(), FaultCode::NotReturned)))
    }

    /// One metric that is a count.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, bounded")]
    pub fn total(&self, metric: GpmMetric) -> Measured<u64> {
        self.get(metric).map(|count| count as u64)
    }
}

/// One sample buffer of NVML.
struct Sample {
    library: Library,
    handle: nvmlGpmSample_t,
}

// SAFETY: the buffer belongs to whoever holds the handle; NVML does not tie it to a thread.
unsafe impl Send for Sample {}

impl Sample {
    fn new(library: &Library) -> Measured<Self> {
        let mut handle = std::ptr::null_mut();
        call!(library, nvmlGpmSampleAlloc(&raw mut handle))?;
        Ok(Self { library: library.clone(), handle })
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        // Nothing can be done about a failure, and the process holds a handful of buffers at most.
        let _ = call!(self.library, nvmlGpmSampleFree(self.handle));
    }
}

/// Two sample buffers of one device or instance, taken in turn.
pub struct Gpm {
    newer: Sample,
    older: Sample,
    /// Whether `newer` holds a sample of the interval before.
    primed: bool,
    request: Box<nvmlGpmMetricsGet_t>,
    /// Of each release none of whose metrics is supported: why, and rounds until they are asked for again.
    missing: [Option<(Fault, u32)>; RELEASES],
}

// SAFETY: `request` is a plain buffer whose two sample handles are rewritten before each call.
unsafe impl Send for Gpm {}

impl Gpm {
    /// Whether the device has GPM at all.
    pub fn supported(gpu: &Gpu) -> Measured<()> {
        let mut support = nvmlGpmSupport_t { version: SUPPORT_VERSION, isSupportedDevice: 0 };
        call!(gpu.library(), nvmlGpmQueryDeviceSupport(gpu.handle(), &raw mut support))?;
        match support.isSupportedDevice {
            0 => Err(Fault::new("nvmlGpmQueryDeviceSupport", FaultCode::DeviceWithoutGpm)),
            _ => Ok(()),
        }
    }

    /// Buffers for one device or instance.
    pub fn new(library: &Library) -> Measured<Self> {
        // SAFETY: integers, doubles, raw pointers and arrays of them: all-zero bytes are valid.
        let request = unsafe { Box::<nvmlGpmMetricsGet_t>::new_zeroed().assume_init() };
        let (newer, older) = (Sample::new(library)?, Sample::new(library)?);
        Ok(Self { newer, older, primed: false, request, missing: [None; RELEASES] })
    }

    /// Forgets the last sample: what it is compared with next would be of another time than its neighbours.
    pub fn restart(&mut self) {
        self.primed = false;
    }

    /// Takes a sample of `gpu`, or of its GPU instance `instance`, and returns the metrics between the
    /// last sample and this one. The first call has nothing to compare with and returns no data.
    pub fn read(&mut self, gpu: &Gpu, instance: Option<u32>) -> GpmMetrics {
        std::mem::swap(&mut self.newer, &mut self.older);
        let taken = {
            let _permit = QUEUE.acquire();
            match instance {
                None => call!(gpu.library(), nvmlGpmSampleGet(gpu.handle(), self.newer.handle)),
                Some(id) => call!(gpu.library(), nvmlGpmMigSampleGet(gpu.handle(), id, self.newer.handle)),
            }
        };
        if let Err(fault) = taken {
            self.primed = false;
            return GpmMetrics::absent(fault);
        }
        if !std::mem::replace(&mut self.primed, true) {
            return GpmMetrics::absent(Fault::new("nvmlGpmMetricsGet", FaultCode::FirstReading));
        }
        GpmMetrics(self.compare(gpu.library()))
    }

    fn compare(&mut self, library: &Library) -> Measured<Vec<Measured<f64>>> {
        let mut values = Vec::with_capacity(GpmMetric::ALL.len());
        for metrics in GpmMetric::ALL.chunk_by(|one, next| one.release() == next.release()) {
            match self.of_release(library, metrics) {
                Ok(read) => values.extend(read),
                Err(fault) if values.is_empty() => return Err(fault),
                Err(fault) => values.extend(std::iter::repeat_n(Err(fault), metrics.len())),
            }
        }
        Ok(values)
    }

    /// The metrics of one release. Those that a library or a part does not have cost as much as others, so they are
    /// asked for once in a while.
    fn of_release(&mut self, library: &Library, metrics: &[GpmMetric]) -> Measured<Vec<Measured<f64>>> {
        let release = metrics[0].release();
        if let Some((fault, rounds)) = &mut self.missing[release]
            && *rounds > 0
        {
            *rounds -= 1;
            return Ok(metrics.iter().map(|metric| Err(Fault { call: metric.name(), ..*fault })).collect());
        }
        let values = self.request(library, metrics)?;
        let unsupported =
            |value: &Measured<f64>| value.err().filter(|fault| fault.absence == Absence::Unsupported);
        let all: Option<Vec<_>> = values.iter().map(unsupported).collect();
        self.missing[release] = all.and_then(|faults| Some((*faults.first()?, ROUNDS_BETWEEN_ALL)));
        Ok(values)
    }

    fn request(&mut self, library: &Library, metrics: &[GpmMetric]) -> Measured<Vec<Measured<f64>>> {
        let request = &mut *self.request;
        request.version = METRICS_GET_VERSION;
        request.numMetrics = u32::try_from(metrics.len()).unwrap_or(0);
        request.sample1 = self.older.handle;
        request.sample2 = self.newer.handle;
        for (slot, metric) in request.metrics.iter_mut().zip(metrics) {
            slot.metricId = *metric as u32;
            slot.nvmlReturn = nvml_wrapper_sys::bindings::nvmlReturn_enum_NVML_ERROR_UNKNOWN;
            slot.value = f64::NAN;
        }
        call!(library, nvmlGpmMetricsGet(&raw mut *request))?;
        let value = |(metric, slot): (&GpmMetric, &nvml_wrapper_sys::bindings::nvmlGpmMetric_t)| {
            check(metric.name(), slot.nvmlReturn).map_err(|fault| {
                // The only argument of a metric is its number: a library that returns that it is invalid is older.
                let unsupported = Fault { absence: Absence::Unsupported, ..fault };
                if fault.code == INVALID_ARGUMENT { unsupported } else { fault }
            })?;
            metric.checked(slot.value)
        };
        Ok(metrics.iter().zip(&request.metrics).map(value).collect())
    }
}
