//! GPM: the profiling counters of Hopper and later, two samples at a time, one batched call per device.

use nvml_wrapper_sys::bindings::{nvmlGpmMetricsGet_t, nvmlGpmSample_t, nvmlGpmSupport_t};
use reading::{Ceiling, Fault, FaultCode, Measured};

use super::{Gpu, Library, QUEUE, call, check, plausible};

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
        let Ok(values) = &mut self.0 else { return };
        for (_, value) in GpmMetric::ALL.iter().zip(values).filter(|(known, _)| **known == metric) {
            *value = value.and_then(|value| ceiling.check(metric.name(), value));
        }
    }

    /// One metric, in the vendor's unit.
    pub fn get(&self, metric: GpmMetric) -> Measured<f64> {
        let values = self.0.as_ref().map_err(|fault| *fault)?;
        let index = GpmMetric::ALL.iter().position(|known| *known == metric).unwrap_or(usize::MAX);
        values.get(index).copied().unwrap_or(Err(Fault::new(metric.name(), FaultCode::NotReturned)))
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
        Ok(Self { newer: Sample::new(library)?, older: Sample::new(library)?, primed: false, request })
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
        let request = &mut *self.request;
        request.version = METRICS_GET_VERSION;
        request.numMetrics = u32::try_from(GpmMetric::ALL.len()).unwrap_or(0);
        request.sample1 = self.older.handle;
        request.sample2 = self.newer.handle;
        for (slot, metric) in request.metrics.iter_mut().zip(GpmMetric::ALL) {
            slot.metricId = *metric as u32;
            slot.nvmlReturn = nvml_wrapper_sys::bindings::nvmlReturn_enum_NVML_ERROR_UNKNOWN;
            slot.value = f64::NAN;
        }
        call!(library, nvmlGpmMetricsGet(&raw mut *request))?;
        let value = |(metric, slot): (&GpmMetric, &nvml_wrapper_sys::bindings::nvmlGpmMetric_t)| {
            check(metric.name(), slot.nvmlReturn)?;
            // Ids below 20 are percentages, the others rates.
            if (*metric as u32) < 20 {
                plausible::gpm_percent(metric.name(), slot.value)
            } else {
                plausible::gpm_rate(metric.name(), slot.value)
            }
        };
        Ok(GpmMetric::ALL.iter().zip(&request.metrics).map(value).collect())
    }
}
