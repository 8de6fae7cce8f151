//! One round of single-value calls over a device: every value in vendor units, each with its own result.

use std::time::Instant;

use super::{
    FUNCTION_NOT_FOUND, Gpu, INSUFFICIENT_SIZE, call, celsius,
    fabric::{Fabric, fabric},
    number,
    plausible::{self, BLANKS, Number as _, numbers},
    struct_version,
};
use naming::catalogue as m;
use nvml_wrapper_sys::bindings::{
    nvmlBAR1Memory_t, nvmlClockType_enum_NVML_CLOCK_GRAPHICS as CLOCK_GRAPHICS,
    nvmlClockType_enum_NVML_CLOCK_MEM as CLOCK_MEMORY, nvmlClockType_enum_NVML_CLOCK_SM as CLOCK_SM,
    nvmlClockType_enum_NVML_CLOCK_VIDEO as CLOCK_VIDEO, nvmlEccSramErrorStatus_t,
    nvmlGridLicensableFeatures_t, nvmlMarginTemperature_t, nvmlMemory_t, nvmlMemory_v2_t,
    nvmlRowRemapperHistogramValues_t, nvmlTemperature_t,
    nvmlTemperatureSensors_enum_NVML_TEMPERATURE_GPU as SENSOR_GPU, nvmlUtilization_t,
};
use reading::{Absence, Ceiling, Fault, FaultCode, Measured, Wanted, plausible_count};

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
    /// Power draw.
    pub power_mw: Measured<u32>,
    /// Power limits.
    pub limits_mw: Limits,
    /// Energy since driver load.
    pub energy_mj: Measured<u64>,
    /// When that was read.
    pub energy_read_at: Instant,
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
const CLOCKS: [u32; 4] = [CLOCK_SM, CLOCK_MEMORY, CLOCK_GRAPHICS, CLOCK_VIDEO];

/// Most fans that one board has; none is known with more than 4.
const FANS_MAX: u32 = 16;

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

/// A call that writes two numbers about a device; only the first may be required to be one.
macro_rules! pair {
    ($gpu:expr, $name:ident) => {{
        let (mut first, mut second) = (u32::BLANK, u32::BLANK);
        call!($gpu.library(), $name($gpu.handle(), &raw mut first, &raw mut second))
            .and_then(|()| first.checked(stringify!($name)))
            .map(|first| (first, second))
    }};
}

/// A percentage with its sampling period, which is not used.
macro_rules! sampled_percent {
    ($gpu:expr, $name:ident) => {
        pair!($gpu, $name).and_then(|(value, _)| plausible::percent(stringify!($name), value))
    };
}

/// What is mandatory of each board: one of these at least is read, or the board is not up. The identity may come
/// from NVML's own memory.
pub struct Mandatory {
    /// Framebuffer.
    pub memory: Measured<Memory>,
    /// Die temperature.
    pub temperature_c: Measured<u32>,
    /// Power draw.
    pub power_mw: Measured<u32>,
    /// Percent of time with any kernel, percent of time with any memory access.
    pub utilization_percent: Measured<(u32, u32)>,
}

impl Mandatory {
    /// Why each of them was not read.
    pub fn faults(&self) -> [Option<Fault>; 4] {
        [self.memory.err(), self.temperature_c.err(), self.power_mw.err(), self.utilization_percent.err()]
    }
}

/// Makes the calls for what is mandatory. The board's power limit is not asked for; no board draws more than the
/// generic bound.
pub fn mandatory(gpu: &Gpu) -> Mandatory {
    const POWER: &str = "nvmlDeviceGetPowerUsage";
    let ceiling = Ceiling::of_energy(Err(Fault::new(POWER, FaultCode::NoMaximum))).times(1e3);
    Mandatory {
        memory: memory(gpu),
        temperature_c: temperature(gpu),
        power_mw: number!(gpu, nvmlDeviceGetPowerUsage).and_then(|milli| ceiling.check(POWER, milli)),
        utilization_percent: utilization(gpu),
    }
}

/// Makes every call once, but for those that read what is not `wanted` and nothing else. `links` is how many NVLinks
/// the board has.
pub fn read(gpu: &Gpu, links: u32, wanted: &Wanted) -> Raw {
    const LIMITS: &str = "nvmlDeviceGetPowerManagementLimitConstraints";
    Raw {
        utilization_percent: utilization(gpu),
        encoder_percent: sampled_percent!(gpu, nvmlDeviceGetEncoderUtilization),
        decoder_percent: sampled_percent!(gpu, nvmlDeviceGetDecoderUtilization),
        jpeg_percent: sampled_percent!(gpu, nvmlDeviceGetJpgUtilization),
        ofa_percent: sampled_percent!(gpu, nvmlDeviceGetOfaUtilization),
        compute_processes: wanted.ask(
            &[m::COMPUTE_PROCESSES.id],
            "nvmlDeviceGetComputeRunningProcesses_v3",
            || compute_processes(gpu),
        ),
        memory: memory(gpu),
        bar1: wanted.ask(
            &[m::BAR1_TOTAL.id, m::BAR1_USED.id, m::BAR1_FREE.id],
            "nvmlDeviceGetBAR1MemoryInfo",
            || bar1(gpu),
        ),
        temperature_c: temperature(gpu),
        margin_c: margin(gpu),
        power_mw: number!(gpu, nvmlDeviceGetPowerUsage),
        limits_mw: Limits {
            enforced: number!(gpu, nvmlDeviceGetEnforcedPowerLimit),
            requested: number!(gpu, nvmlDeviceGetPowerManagementLimit),
            default: number!(gpu, nvmlDeviceGetPowerManagementDefaultLimit),
            range: pair!(gpu, nvmlDeviceGetPowerManagementLimitConstraints)
                .and_then(|(min, max)| Ok((min, max.checked(LIMITS)?))),
        },
        energy_mj: number!(gpu, nvmlDeviceGetTotalEnergyConsumption),
        energy_read_at: Instant::now(),
        clocks_mhz: CLOCKS.map(|clock| number!(gpu, nvmlDeviceGetClockInfo, clock)),
        max_clocks_mhz: CLOCKS.map(|clock| number!(gpu, nvmlDeviceGetMaxClockInfo, clock)),
        performance_state: wanted.ask(&[m::PERFORMANCE_STATE.id], "nvmlDeviceGetPerformanceState", || {
            number!(gpu, nvmlDeviceGetPerformanceState)
        }),
        // Drivers before 535 have only the older spelling of both.
        clocks_event_reasons: older_if_missing(number!(gpu, nvmlDeviceGetCurrentClocksEventReasons), || {
            number!(gpu, nvmlDeviceGetCurrentClocksThrottleReasons)
        }),
        supported_reasons: older_if_missing(number!(gpu, nvmlDeviceGetSupportedClocksEventReasons), || {
            number!(gpu, nvmlDeviceGetSupportedClocksThrottleReasons)
        }),
        fans_percent: wanted.ask(&[m::FAN_SPEED.id], "nvmlDeviceGetFanSpeed_v2", || fans(gpu)),
        pcie_current: (
            number!(gpu, nvmlDeviceGetCurrPcieLinkGeneration),
            number!(gpu, nvmlDeviceGetCurrPcieLinkWidth),
        ),
        pcie_max: (
            number!(gpu, nvmlDeviceGetMaxPcieLinkGeneration),
            number!(gpu, nvmlDeviceGetMaxPcieLinkWidth),
        ),
        pcie_replays: wanted.ask(&[m::PCIE_REPLAYS.id], "nvmlDeviceGetPcieReplayCounter", || {
            number!(gpu, nvmlDeviceGetPcieReplayCounter)
        }),
        links: (0..links)
            .map(|number| NvLink {
                number,
                active: number!(gpu, nvmlDeviceGetNvLinkState, number)
                    .and_then(|state| plausible::switch("nvmlDeviceGetNvLinkState", state)),
            })
            .collect(),
        ecc_enabled: pair!(gpu, nvmlDeviceGetEccMode)
            .and_then(|(current, _)| plausible::switch("nvmlDeviceGetEccMode", current)),
        sram_ecc: wanted.ask(
            &[m::SRAM_ECC_ERRORS.id, m::SRAM_ECC_THRESHOLD.id],
            "nvmlDeviceGetSramEccErrorStatus",
            || sram_ecc(gpu),
        ),
        row_banks: wanted
            .ask(&[m::ROW_REMAP_BANKS.id], "nvmlDeviceGetRowRemapperHistogram", || row_banks(gpu)),
        fabric: fabric(gpu),
        mig_enabled: gpu.mig_enabled(),
        license_active: wanted
            .ask(&[m::LICENSE_ACTIVE.id], "nvmlDeviceGetGridLicensableFeatures_v4", || license_active(gpu)),
    }
}

/// The result of a call, or that of the `older` one in a library or driver that does not have it.
fn older_if_missing<T>(newer: Measured<T>, older: impl FnOnce() -> Measured<T>) -> Measured<T> {
    newer.or_else(|fault| match fault.absence {
        Absence::Unsupported => older(),
        _ => Err(fault),
    })
}

/// The die's temperature, in whole degrees. nvml.h 13.0 deprecates the older call, and older
/// drivers have no other.
fn temperature(gpu: &Gpu) -> Measured<u32> {
    const CALL: &str = "nvmlDeviceGetTemperatureV";
    let mut reading = nvmlTemperature_t {
        version: struct_version::<nvmlTemperature_t>(1),
        sensorType: SENSOR_GPU,
        temperature: i32::BLANK,
    };
    let newer =
        call!(gpu.library(), nvmlDeviceGetTemperatureV(gpu.handle(), &raw mut reading)).and_then(|()| {
            let celsius = reading.temperature.checked(CALL)?;
            let celsius = u32::try_from(celsius).map_err(|_| Fault::new(CALL, FaultCode::OutOfRange))?;
            BLANKS.temperature(CALL, celsius)
        });
    older_if_missing(newer, || celsius!(gpu, nvmlDeviceGetTemperature, SENSOR_GPU))
}

fn utilization(gpu: &Gpu) -> Measured<(u32, u32)> {
    const CALL: &str = "nvmlDeviceGetUtilizationRates";
    let mut rates = nvmlUtilization_t { gpu: u32::BLANK, memory: u32::BLANK };
    call!(gpu.library(), nvmlDeviceGetUtilizationRates(gpu.handle(), &raw mut rates))?;
    let [gpu, memory] = numbers(CALL, [rates.gpu, rates.memory])?;
    Ok((plausible::percent(CALL, gpu)?, plausible::percent(CALL, memory)?))
}

/// Processes with a compute context. Without a buffer for them the call only counts.
fn compute_processes(gpu: &Gpu) -> Measured<u32> {
    const CALL: &str = "nvmlDeviceGetComputeRunningProcesses_v3";
    let mut count = 0;
    let infos = std::ptr::null_mut();
    let counted =
        call!(gpu.library(), nvmlDeviceGetComputeRunningProcesses_v3(gpu.handle(), &raw mut count, infos));
    match counted {
        Err(fault) if fault.code != INSUFFICIENT_SIZE => Err(fault),
        _ => count.checked(CALL),
    }
}

fn bar1(gpu: &Gpu) -> Measured<Bar1> {
    const CALL: &str = "nvmlDeviceGetBAR1MemoryInfo";
    let mut bar1 = nvmlBAR1Memory_t { bar1Total: u64::BLANK, bar1Free: u64::BLANK, bar1Used: u64::BLANK };
    call!(gpu.library(), nvmlDeviceGetBAR1MemoryInfo(gpu.handle(), &raw mut bar1))?;
    BLANKS.sizes(CALL, bar1.bar1Total, bar1.bar1Used, bar1.bar1Free)?;
    Ok(Bar1 { total: bar1.bar1Total, used: bar1.bar1Used, free: bar1.bar1Free })
}

/// Framebuffer: only the newer call has what the driver reserves, and drivers before 510 have only the older.
pub fn memory(gpu: &Gpu) -> Measured<Memory> {
    const NEW: &str = "nvmlDeviceGetMemoryInfo_v2";
    let mut m = nvmlMemory_v2_t {
        version: struct_version::<nvmlMemory_v2_t>(2),
        total: u64::BLANK,
        reserved: u64::BLANK,
        free: u64::BLANK,
        used: u64::BLANK,
    };
    match call!(gpu.library(), nvmlDeviceGetMemoryInfo_v2(gpu.handle(), &raw mut m)) {
        Ok(()) => {
            BLANKS.sizes(NEW, m.total, m.used, m.free)?;
            Ok(Memory { total: m.total, used: m.used, free: m.free, reserved: m.reserved.checked(NEW) })
        }
        Err(fault) if fault.code == FaultCode::SymbolMissing || fault.code == FUNCTION_NOT_FOUND => {
            let mut m = nvmlMemory_t { total: u64::BLANK, free: u64::BLANK, used: u64::BLANK };
            call!(gpu.library(), nvmlDeviceGetMemoryInfo(gpu.handle(), &raw mut m))?;
            BLANKS.sizes("nvmlDeviceGetMemoryInfo", m.total, m.used, m.free)?;
            Ok(Memory { total: m.total, used: m.used, free: m.free, reserved: Err(fault) })
        }
        Err(fault) => Err(fault),
    }
}

fn margin(gpu: &Gpu) -> Measured<i32> {
    const CALL: &str = "nvmlDeviceGetMarginTemperature";
    let mut margin = nvmlMarginTemperature_t {
        version: struct_version::<nvmlMarginTemperature_t>(1),
        marginTemperature: i32::BLANK,
    };
    call!(gpu.library(), nvmlDeviceGetMarginTemperature(gpu.handle(), &raw mut margin))?;
    plausible::margin(CALL, margin.marginTemperature.checked(CALL)?)
}

fn fans(gpu: &Gpu) -> Measured<Vec<Measured<u32>>> {
    let count = number!(gpu, nvmlDeviceGetNumFans)?;
    let count = plausible_count("nvmlDeviceGetNumFans", count, FANS_MAX)?;
    // A fan may be driven above 100 percent of its nominal speed.
    Ok((0..count).map(|fan| number!(gpu, nvmlDeviceGetFanSpeed_v2, fan)).collect())
}

fn sram_ecc(gpu: &Gpu) -> Measured<SramEcc> {
    const CALL: &str = "nvmlDeviceGetSramEccErrorStatus";
    // SAFETY: integers only: all-zero bytes are valid.
    let mut s: nvmlEccSramErrorStatus_t = unsafe { std::mem::zeroed() };
    s.version = struct_version::<nvmlEccSramErrorStatus_t>(1);
    call!(gpu.library(), nvmlDeviceGetSramEccErrorStatus(gpu.handle(), &raw mut s))?;
    Ok(SramEcc {
        volatile: numbers(CALL, [s.volatileCor, s.volatileUncParity, s.volatileUncSecDed])?,
        aggregate: numbers(CALL, [s.aggregateCor, s.aggregateUncParity, s.aggregateUncSecDed])?,
        threshold_exceeded: s.bThresholdExceeded.checked(CALL)? != 0,
    })
}

fn row_banks(gpu: &Gpu) -> Measured<RowBanks> {
    let mut v = nvmlRowRemapperHistogramValues_t { max: 0, high: 0, partial: 0, low: 0, none: 0 };
    call!(gpu.library(), nvmlDeviceGetRowRemapperHistogram(gpu.handle(), &raw mut v))?;
    numbers("nvmlDeviceGetRowRemapperHistogram", [v.max, v.high, v.partial, v.low, v.none]).map(RowBanks)
}

/// Whether any vGPU feature is licensed; on hosts without vGPU none is.
fn license_active(gpu: &Gpu) -> Measured<bool> {
    /// nvml.h, `NVML_GRID_LICENSE_FEATURE_CODE_VGPU`.
    const VGPU: u32 = 1;
    /// nvml.h, `NVML_GRID_LICENSE_FEATURE_MAX_COUNT`.
    const FEATURES_MAX: u32 = 3;
    const CALL: &str = "nvmlDeviceGetGridLicensableFeatures_v4";
    // SAFETY: integers and character arrays only: all-zero bytes are valid.
    let mut features: nvmlGridLicensableFeatures_t = unsafe { std::mem::zeroed() };
    call!(gpu.library(), nvmlDeviceGetGridLicensableFeatures_v4(gpu.handle(), &raw mut features))?;
    let count = plausible_count(CALL, features.licensableFeaturesCount, FEATURES_MAX)?;
    Ok(features.isGridLicenseSupported != 0
        && features
            .gridLicensableFeatures
            .iter()
            .take(count as usize)
            .any(|feature| feature.featureCode == VGPU && feature.featureState > 0))
}
