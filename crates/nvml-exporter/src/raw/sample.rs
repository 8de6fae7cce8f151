//! One round of single-value calls over a device: every value in vendor units, each with its own result.

use super::{
    Gpu, call, fault,
    plausible::{self, BLANKS},
    struct_version,
};
use nvml_wrapper::{
    Device,
    enum_wrappers::device::{Clock, TemperatureSensor, TemperatureThreshold},
    error::NvmlError,
};
use nvml_wrapper_sys::bindings::{
    nvmlEccSramErrorStatus_t, nvmlGpuFabricInfo_v2_t, nvmlGpuFabricInfo_v3_t, nvmlGridLicensableFeatures_t,
    nvmlMarginTemperature_t, nvmlMemory_t, nvmlRowRemapperHistogramValues_t,
};
use reading::Measured;

/// What the single-value calls returned. Units are in the names: MHz, mW, mJ and percent, as in NVML.
pub struct Raw {
    /// Percent of time with any kernel, percent of time with any memory access.
    pub utilization_percent: Measured<(u32, u32)>,
    /// Video encoder.
    pub encoder_percent: Measured<u32>,
    /// Video decoder.
    pub decoder_percent: Measured<u32>,
    /// JPEG engine.
    pub jpeg_percent: Measured<u32>,
    /// Optical flow engine.
    pub ofa_percent: Measured<u32>,
    /// Processes with a compute context.
    pub compute_processes: Measured<u32>,
    /// Framebuffer.
    pub memory: Measured<Memory>,
    /// BAR1 aperture.
    pub bar1: Measured<Bar1>,
    /// Die temperature.
    pub temperature_c: Measured<u32>,
    /// Degrees to the nearest limit; negative past it.
    pub margin_c: Measured<i32>,
    /// Thresholds: slowdown, shutdown, GPU operating, memory operating.
    pub thresholds_c: [Measured<u32>; 4],
    /// Power draw.
    pub power_mw: Measured<u32>,
    /// Power limits.
    pub limits_mw: Limits,
    /// Energy since driver load.
    pub energy_mj: Measured<u64>,
    /// SM, memory, graphics and video clocks, in the order of [`CLOCKS`].
    pub clocks_mhz: [Measured<u32>; 4],
    /// Their maxima.
    pub max_clocks_mhz: [Measured<u32>; 4],
    /// P-state.
    pub performance_state: Measured<u32>,
    /// Reasons that hold clocks down now, as a mask.
    pub clocks_event_reasons: Measured<u64>,
    /// Reasons that the device can report, as a mask.
    pub supported_reasons: Measured<u64>,
    /// Percent per fan; empty where the board has none.
    pub fans_percent: Measured<Vec<Measured<u32>>>,
    /// Current PCIe generation and width.
    pub pcie_current: (Measured<u32>, Measured<u32>),
    /// Highest PCIe generation and width of device and slot.
    pub pcie_max: (Measured<u32>, Measured<u32>),
    /// PCIe replays.
    pub pcie_replays: Measured<u32>,
    /// NVLinks, by number.
    pub links: Vec<NvLink>,
    /// Whether ECC is on.
    pub ecc_enabled: Measured<bool>,
    /// On-chip ECC.
    pub sram_ecc: Measured<SramEcc>,
    /// Spare rows left, by bank.
    pub row_banks: Measured<RowBanks>,
    /// Fabric registration and health.
    pub fabric: Measured<Fabric>,
    /// Whether MIG is on.
    pub mig_enabled: Measured<bool>,
    /// Whether a vGPU licence is held.
    pub license_active: Measured<bool>,
}

/// The clock domains of [`Raw::clocks_mhz`].
pub const CLOCKS: [Clock; 4] = [Clock::SM, Clock::Memory, Clock::Graphics, Clock::Video];

/// The thresholds of [`Raw::thresholds_c`].
const THRESHOLDS: [TemperatureThreshold; 4] = [
    TemperatureThreshold::Slowdown,
    TemperatureThreshold::Shutdown,
    TemperatureThreshold::GpuMax,
    TemperatureThreshold::MemoryMax,
];

/// Framebuffer, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// Allocated by processes; with the old call also what the driver reserves.
    pub used: u64,
    /// Not allocated.
    pub free: u64,
    /// Reserved by driver and firmware; unknown to the old call.
    pub reserved: Measured<u64>,
}

/// BAR1 aperture, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar1 {
    /// Size.
    pub total: u64,
    /// Mapped.
    pub used: u64,
    /// Not mapped.
    pub free: u64,
}

/// Power limits, in milliwatts.
pub struct Limits {
    /// The lowest of all limits in force.
    pub enforced: Measured<u32>,
    /// What an operator has set.
    pub requested: Measured<u32>,
    /// The board's default.
    pub default: Measured<u32>,
    /// Smallest and largest limit that can be set.
    pub range: Measured<(u32, u32)>,
}

/// One NVLink.
pub struct NvLink {
    /// Link number.
    pub number: u32,
    /// Whether it is up.
    pub active: Measured<bool>,
}

/// On-chip ECC counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SramEcc {
    /// Volatile: corrected, uncorrectable by parity, uncorrectable by SEC-DED.
    pub volatile: [u64; 3],
    /// Over the board's life, the same three.
    pub aggregate: [u64; 3],
    /// NVIDIA's replacement threshold is passed.
    pub threshold_exceeded: bool,
}

/// Banks by spare rows left: max, high, partial, low, none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowBanks(pub [u32; 5]);

/// Fabric registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fabric {
    /// nvml.h, `NVML_GPU_FABRIC_STATE_*`.
    pub state: u8,
    /// nvml.h, `NVML_GPU_FABRIC_HEALTH_MASK_*`.
    pub health_mask: u32,
}

/// Makes every call once. `links` is how many NVLinks the board has.
pub fn read(gpu: &Gpu, links: u32) -> Raw {
    let device = gpu.device();
    let number = |call, returned: Result<u32, NvmlError>| {
        returned.map_err(|e| fault(call, &e)).and_then(|value| BLANKS.number32(call, value))
    };
    let percent = |call, returned: Result<u32, NvmlError>| {
        returned.map_err(|e| fault(call, &e)).and_then(|value| plausible::percent(call, value))
    };
    let celsius = |call, returned: Result<u32, NvmlError>| {
        returned.map_err(|e| fault(call, &e)).and_then(|value| BLANKS.temperature(call, value))
    };
    Raw {
        utilization_percent: utilization(&device),
        encoder_percent: percent(
            "nvmlDeviceGetEncoderUtilization",
            device.encoder_utilization().map(|u| u.utilization),
        ),
        decoder_percent: percent(
            "nvmlDeviceGetDecoderUtilization",
            device.decoder_utilization().map(|u| u.utilization),
        ),
        jpeg_percent: out2(|o, us| call!(gpu.library(), nvmlDeviceGetJpgUtilization(gpu.handle(), o, us)))
            .and_then(|value| plausible::percent("nvmlDeviceGetJpgUtilization", value)),
        ofa_percent: out2(|o, us| call!(gpu.library(), nvmlDeviceGetOfaUtilization(gpu.handle(), o, us)))
            .and_then(|value| plausible::percent("nvmlDeviceGetOfaUtilization", value)),
        compute_processes: number(
            "nvmlDeviceGetComputeRunningProcesses_v3",
            device.running_compute_processes_count(),
        ),
        memory: memory(gpu),
        bar1: bar1(&device),
        temperature_c: celsius("nvmlDeviceGetTemperature", device.temperature(TemperatureSensor::Gpu)),
        margin_c: margin(gpu),
        thresholds_c: THRESHOLDS.map(|threshold| {
            celsius("nvmlDeviceGetTemperatureThreshold", device.temperature_threshold(threshold))
        }),
        power_mw: number("nvmlDeviceGetPowerUsage", device.power_usage()),
        limits_mw: Limits {
            enforced: number("nvmlDeviceGetEnforcedPowerLimit", device.enforced_power_limit()),
            requested: number("nvmlDeviceGetPowerManagementLimit", device.power_management_limit()),
            default: number(
                "nvmlDeviceGetPowerManagementDefaultLimit",
                device.power_management_limit_default(),
            ),
            range: device
                .power_management_limit_constraints()
                .map(|range| (range.min_limit, range.max_limit))
                .map_err(|e| fault("nvmlDeviceGetPowerManagementLimitConstraints", &e)),
        },
        energy_mj: device
            .total_energy_consumption()
            .map_err(|e| fault("nvmlDeviceGetTotalEnergyConsumption", &e))
            .and_then(|value| BLANKS.number64("nvmlDeviceGetTotalEnergyConsumption", value)),
        clocks_mhz: CLOCKS.map(|clock| number("nvmlDeviceGetClockInfo", device.clock_info(clock))),
        max_clocks_mhz: CLOCKS.map(|clock| number("nvmlDeviceGetMaxClockInfo", device.max_clock_info(clock))),
        performance_state: number(
            "nvmlDeviceGetPerformanceState",
            device.performance_state().map(|state| state.as_c()),
        ),
        // Drivers before 535 have only the older spelling of both.
        clocks_event_reasons: out(|o| {
            call!(gpu.library(), nvmlDeviceGetCurrentClocksEventReasons(gpu.handle(), o))
        })
        .or_else(|_| {
            out(|o| call!(gpu.library(), nvmlDeviceGetCurrentClocksThrottleReasons(gpu.handle(), o)))
        }),
        supported_reasons: out(|o| {
            call!(gpu.library(), nvmlDeviceGetSupportedClocksEventReasons(gpu.handle(), o))
        })
        .or_else(|_| {
            out(|o| call!(gpu.library(), nvmlDeviceGetSupportedClocksThrottleReasons(gpu.handle(), o)))
        }),
        fans_percent: fans(&device),
        pcie_current: (
            number("nvmlDeviceGetCurrPcieLinkGeneration", device.current_pcie_link_gen()),
            number("nvmlDeviceGetCurrPcieLinkWidth", device.current_pcie_link_width()),
        ),
        pcie_max: (
            number("nvmlDeviceGetMaxPcieLinkGeneration", device.max_pcie_link_gen()),
            number("nvmlDeviceGetMaxPcieLinkWidth", device.max_pcie_link_width()),
        ),
        pcie_replays: number("nvmlDeviceGetPcieReplayCounter", device.pcie_replay_counter()),
        links: (0..links)
            .map(|number| NvLink {
                number,
                active: device
                    .link_wrapper_for(number)
                    .is_active()
                    .map_err(|e| fault("nvmlDeviceGetNvLinkState", &e)),
            })
            .collect(),
        ecc_enabled: device
            .is_ecc_enabled()
            .map(|mode| mode.currently_enabled)
            .map_err(|e| fault("nvmlDeviceGetEccMode", &e)),
        sram_ecc: sram_ecc(gpu),
        row_banks: row_banks(gpu),
        fabric: fabric(gpu),
        mig_enabled: gpu.mig_enabled(),
        license_active: license_active(gpu),
    }
}

/// Runs a call with one number as its out-parameter.
fn out<T: Default>(call: impl FnOnce(*mut T) -> Measured<()>) -> Measured<T> {
    let mut value = T::default();
    call(&raw mut value)?;
    Ok(value)
}

/// Runs a call with a number and a sampling period as its out-parameters, and returns the number.
fn out2(call: impl FnOnce(*mut u32, *mut u32) -> Measured<()>) -> Measured<u32> {
    let (mut value, mut period_us) = (0, 0);
    call(&raw mut value, &raw mut period_us)?;
    Ok(value)
}

fn utilization(device: &Device<'_>) -> Measured<(u32, u32)> {
    const CALL: &str = "nvmlDeviceGetUtilizationRates";
    let rates = device.utilization_rates().map_err(|e| fault(CALL, &e))?;
    Ok((plausible::percent(CALL, rates.gpu)?, plausible::percent(CALL, rates.memory)?))
}

fn bar1(device: &Device<'_>) -> Measured<Bar1> {
    const CALL: &str = "nvmlDeviceGetBAR1MemoryInfo";
    let bar1 = device.bar1_memory_info().map_err(|e| fault(CALL, &e))?;
    BLANKS.sizes(CALL, bar1.total, bar1.used, bar1.free)?;
    Ok(Bar1 { total: bar1.total, used: bar1.used, free: bar1.free })
}

/// Framebuffer: only the newer call has what the driver reserves, and drivers before 510 have only the older.
pub fn memory(gpu: &Gpu) -> Measured<Memory> {
    const NEW: &str = "nvmlDeviceGetMemoryInfo_v2";
    match gpu.device().memory_info() {
        Ok(m) => {
            BLANKS.sizes(NEW, m.total, m.used, m.free)?;
            Ok(Memory {
                total: m.total,
                used: m.used,
                free: m.free,
                reserved: BLANKS.number64(NEW, m.reserved),
            })
        }
        Err(error @ (NvmlError::FailedToLoadSymbol(_) | NvmlError::FunctionNotFound)) => {
            let mut m = nvmlMemory_t { total: 0, free: 0, used: 0 };
            call!(gpu.library(), nvmlDeviceGetMemoryInfo(gpu.handle(), &raw mut m))?;
            BLANKS.sizes("nvmlDeviceGetMemoryInfo", m.total, m.used, m.free)?;
            Ok(Memory { total: m.total, used: m.used, free: m.free, reserved: Err(fault(NEW, &error)) })
        }
        Err(error) => Err(fault(NEW, &error)),
    }
}

fn margin(gpu: &Gpu) -> Measured<i32> {
    let mut margin = nvmlMarginTemperature_t {
        version: struct_version::<nvmlMarginTemperature_t>(1),
        marginTemperature: 0,
    };
    call!(gpu.library(), nvmlDeviceGetMarginTemperature(gpu.handle(), &raw mut margin))?;
    Ok(margin.marginTemperature)
}

fn fans(device: &Device<'_>) -> Measured<Vec<Measured<u32>>> {
    let count = device.num_fans().map_err(|e| fault("nvmlDeviceGetNumFans", &e))?;
    // A fan may be driven above 100 percent of its nominal speed, so only blanks are rejected.
    let speed = |fan| {
        const CALL: &str = "nvmlDeviceGetFanSpeed_v2";
        device.fan_speed(fan).map_err(|e| fault(CALL, &e)).and_then(|value| BLANKS.number32(CALL, value))
    };
    Ok((0..count).map(speed).collect())
}

fn sram_ecc(gpu: &Gpu) -> Measured<SramEcc> {
    // SAFETY: integers only: all-zero bytes are valid.
    let mut s: nvmlEccSramErrorStatus_t = unsafe { std::mem::zeroed() };
    s.version = struct_version::<nvmlEccSramErrorStatus_t>(1);
    call!(gpu.library(), nvmlDeviceGetSramEccErrorStatus(gpu.handle(), &raw mut s))?;
    Ok(SramEcc {
        volatile: [s.volatileCor, s.volatileUncParity, s.volatileUncSecDed],
        aggregate: [s.aggregateCor, s.aggregateUncParity, s.aggregateUncSecDed],
        threshold_exceeded: s.bThresholdExceeded != 0,
    })
}

fn row_banks(gpu: &Gpu) -> Measured<RowBanks> {
    let mut v = nvmlRowRemapperHistogramValues_t { max: 0, high: 0, partial: 0, low: 0, none: 0 };
    call!(gpu.library(), nvmlDeviceGetRowRemapperHistogram(gpu.handle(), &raw mut v))?;
    Ok(RowBanks([v.max, v.high, v.partial, v.low, v.none]))
}

/// Fabric state. Version 3 of the struct only appends to version 2, so drivers that know no more than
/// version 2 get the same buffer as that version.
fn fabric(gpu: &Gpu) -> Measured<Fabric> {
    // SAFETY: integers and byte arrays only: all-zero bytes are valid.
    let mut info: nvmlGpuFabricInfo_v3_t = unsafe { std::mem::zeroed() };
    info.version = struct_version::<nvmlGpuFabricInfo_v3_t>(3);
    let returned = call!(gpu.library(), nvmlDeviceGetGpuFabricInfoV(gpu.handle(), &raw mut info));
    if returned.is_err_and(|fault| fault.code == "NVML_ERROR_ARGUMENT_VERSION_MISMATCH") {
        info.version = struct_version::<nvmlGpuFabricInfo_v2_t>(2);
        call!(gpu.library(), nvmlDeviceGetGpuFabricInfoV(gpu.handle(), &raw mut info))?;
    } else {
        returned?;
    }
    Ok(Fabric { state: info.state, health_mask: info.healthMask })
}

/// Whether any vGPU feature is licensed; on hosts without vGPU none is.
fn license_active(gpu: &Gpu) -> Measured<bool> {
    /// nvml.h, `NVML_GRID_LICENSE_FEATURE_CODE_VGPU`.
    const VGPU: u32 = 1;
    // SAFETY: integers and character arrays only: all-zero bytes are valid.
    let mut features: nvmlGridLicensableFeatures_t = unsafe { std::mem::zeroed() };
    call!(gpu.library(), nvmlDeviceGetGridLicensableFeatures_v4(gpu.handle(), &raw mut features))?;
    let count = usize::try_from(features.licensableFeaturesCount).unwrap_or(0);
    Ok(features.isGridLicenseSupported != 0
        && features
            .gridLicensableFeatures
            .iter()
            .take(count)
            .any(|feature| feature.featureCode == VGPU && feature.featureState > 0))
}
