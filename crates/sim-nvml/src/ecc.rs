//! Memory errors and what was done about them: ECC counters, retired pages (before Ampere), remapped rows.

use std::ffi::{c_uint, c_ulonglong};

use sim::Device;
use sim::control::{Scope, Severity};
use sim::profile::Architecture;

use crate::abi::sys::{
    self, nvmlEccCounterType_t, nvmlEccSramErrorStatus_t,
    nvmlEnableState_enum_NVML_FEATURE_ENABLED as ENABLED, nvmlEnableState_t, nvmlMemoryErrorType_t,
    nvmlRowRemapperHistogramValues_t,
};
use crate::abi::version;
use crate::args::{Gpu, Out, garble};
use crate::call::{Call, NvmlCall, Result, code, entries, readings};
use crate::lists::{Items, list};
use crate::parts::Part;

/// Uncorrected SRAM errors after which a part should be exchanged.
const SRAM_THRESHOLD: u64 = 10;
/// Size of a page that can be retired.
const PAGE_BYTES: u64 = 64 << 10;

garble! {
    nvmlEccSramErrorStatus_t {
        aggregateUncParity, aggregateUncSecDed, aggregateCor,
        volatileUncParity, volatileUncSecDed, volatileCor
    }
    nvmlRowRemapperHistogramValues_t { max, high, partial, low, none }
}

readings! {
    nvmlDeviceGetDefaultEccMode: nvmlEnableState_t = |_device| Ok(ENABLED);
    nvmlDeviceGetRetiredPagesPendingStatus: nvmlEnableState_t = |device| retired_pending(&device);
}

entries! {
    fn nvmlDeviceGetEccMode(
        call, gpu: Gpu, current: Out<nvmlEnableState_t>, pending: Out<nvmlEnableState_t>,
    ) {
        call.gpu(gpu.0)?;
        current.set(call, ENABLED)?;
        pending.set(call, ENABLED)
    }

    fn nvmlDeviceGetTotalEccErrors(
        call, gpu: Gpu, severity: c_uint, counter: c_uint, count: Out<c_ulonglong>,
    ) {
        count.set(call, total(&call.gpu(gpu.0)?, of_type(severity)?, lasting(counter)?))
    }

    fn nvmlDeviceGetMemoryErrorCounter(
        call, gpu: Gpu, severity: c_uint, counter: c_uint, location: c_uint, count: Out<c_ulonglong>,
    ) {
        let (severity, lasting) = (of_type(severity)?, lasting(counter)?);
        let scope = match location {
            sys::nvmlMemoryLocation_enum_NVML_MEMORY_LOCATION_DRAM => Scope::Dram,
            sys::nvmlMemoryLocation_enum_NVML_MEMORY_LOCATION_SRAM => Scope::Sram,
            // From Turing on the caches are counted together, as SRAM.
            other if other < sys::nvmlMemoryLocation_enum_NVML_MEMORY_LOCATION_COUNT => {
                return Err(code::NOT_SUPPORTED);
            }
            _ => return Err(code::INVALID_ARGUMENT),
        };
        count.set(call, errors(&call.gpu(gpu.0)?, severity, scope, lasting))
    }

    fn nvmlDeviceGetSramEccErrorStatus(call, gpu: Gpu, status: Out<nvmlEccSramErrorStatus_t>) {
        let asked = status.get().version;
        if asked != version::<nvmlEccSramErrorStatus_t>(1) {
            return Err(code::VERSION_MISMATCH);
        }
        let device = call.gpu(gpu.0)?;
        device.since(Architecture::Ampere)?;
        let sram = |severity, lasting| errors(&device, severity, Scope::Sram, lasting);
        let uncorrected = sram(Severity::Uncorrectable, true);
        status.set(call, nvmlEccSramErrorStatus_t {
            version: asked,
            aggregateUncParity: 0,
            aggregateUncSecDed: uncorrected,
            aggregateCor: sram(Severity::Corrected, true),
            volatileUncParity: 0,
            volatileUncSecDed: sram(Severity::Uncorrectable, false),
            volatileCor: sram(Severity::Corrected, false),
            aggregateUncBucketL2: 0,
            aggregateUncBucketSm: uncorrected,
            aggregateUncBucketPcie: 0,
            aggregateUncBucketMcu: 0,
            aggregateUncBucketOther: 0,
            bThresholdExceeded: u32::from(uncorrected >= SRAM_THRESHOLD),
        })
    }

    fn nvmlDeviceGetRemappedRows(
        call, gpu: Gpu, correctable: Out<c_uint>, uncorrectable: Out<c_uint>, pending: Out<c_uint>,
        failure: Out<c_uint>,
    ) {
        let device = call.gpu(gpu.0)?;
        remaps_rows(&device)?;
        device.whole()?;
        let rows = &device.standing().rows;
        correctable.set(call, rows.correctable)?;
        uncorrectable.set(call, rows.uncorrectable)?;
        pending.set(call, u32::from(rows.pending))?;
        failure.set(call, u32::from(rows.failure))
    }

    fn nvmlDeviceGetRowRemapperHistogram(
        call, gpu: Gpu, histogram: Out<nvmlRowRemapperHistogramValues_t>,
    ) {
        let device = call.gpu(gpu.0)?;
        remaps_rows(&device)?;
        let rows = &device.standing().rows;
        let banks = device.facts().ecc.remap_banks;
        // Each remapped row is in a bank of its own, and a failure is a bank with nothing left.
        let none = u32::from(rows.failure);
        let high = rows.correctable.saturating_add(rows.uncorrectable).min(banks - none);
        let max = banks - high - none;
        histogram.set(call, nvmlRowRemapperHistogramValues_t { max, high, partial: 0, low: 0, none })
    }

    fn nvmlDeviceGetRetiredPages(
        call, gpu: Gpu, cause: c_uint, count: Out<c_uint>, addresses: Items<c_ulonglong>,
    ) {
        let (pages, _) = retired(call, gpu, cause)?;
        list(count, addresses, pages)
    }

    fn nvmlDeviceGetRetiredPages_v2(
        call, gpu: Gpu, cause: c_uint, count: Out<c_uint>, addresses: Items<c_ulonglong>,
        times: Items<c_ulonglong>,
    ) {
        let (pages, seconds) = retired(call, gpu, cause)?;
        let number = pages.clone().count();
        list(count, addresses, pages)?;
        if !times.is_null() {
            times.write(std::iter::repeat_n(seconds, number));
        }
        Ok(())
    }
}

fn of_type(severity: nvmlMemoryErrorType_t) -> Result<Severity> {
    match severity {
        sys::nvmlMemoryErrorType_enum_NVML_MEMORY_ERROR_TYPE_CORRECTED => Ok(Severity::Corrected),
        sys::nvmlMemoryErrorType_enum_NVML_MEMORY_ERROR_TYPE_UNCORRECTED => Ok(Severity::Uncorrectable),
        _ => Err(code::INVALID_ARGUMENT),
    }
}

/// Whether a counter lasts for the device's life, and not only since the driver was loaded.
fn lasting(counter: nvmlEccCounterType_t) -> Result<bool> {
    match counter {
        sys::nvmlEccCounterType_enum_NVML_VOLATILE_ECC => Ok(false),
        sys::nvmlEccCounterType_enum_NVML_AGGREGATE_ECC => Ok(true),
        _ => Err(code::INVALID_ARGUMENT),
    }
}

/// Errors in one place.
pub(crate) fn errors(device: &Device<'_>, severity: Severity, scope: Scope, lasting: bool) -> u64 {
    if lasting {
        device.ecc_errors_aggregate(severity, scope)
    } else {
        device.ecc_errors_volatile(severity, scope)
    }
}

/// Errors in all places.
pub(crate) fn total(device: &Device<'_>, severity: Severity, lasting: bool) -> u64 {
    let [dram, sram] = [Scope::Dram, Scope::Sram].map(|scope| errors(device, severity, scope, lasting));
    dram.saturating_add(sram)
}

/// Not supported where pages are retired instead.
pub(crate) fn remaps_rows(device: &Device<'_>) -> Result {
    if device.retires_pages() { Err(code::NOT_SUPPORTED) } else { Ok(()) }
}

/// Not supported where rows are remapped instead.
pub(crate) fn retires_pages(device: &Device<'_>) -> Result {
    if device.retires_pages() { Ok(()) } else { Err(code::NOT_SUPPORTED) }
}

fn retired_pending(device: &Device<'_>) -> Result<nvmlEnableState_t> {
    retires_pages(device)?;
    Ok(u32::from(device.standing().rows.pending))
}

/// Addresses of the pages retired for a cause, and when (unix seconds).
fn retired(
    call: &Call<'_>,
    gpu: Gpu,
    cause: c_uint,
) -> Result<(impl Iterator<Item = u64> + Clone + use<>, u64)> {
    use sys::{
        nvmlPageRetirementCause_enum_NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR as DOUBLE,
        nvmlPageRetirementCause_enum_NVML_PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS as SINGLE,
    };
    let device = call.gpu(gpu.0)?;
    retires_pages(&device)?;
    let rows = &device.standing().rows;
    let (pages, base) = match cause {
        SINGLE => (rows.correctable, 1 << 32),
        DOUBLE => (rows.uncorrectable, 1 << 33),
        _ => return Err(code::INVALID_ARGUMENT),
    };
    let addresses = (0..u64::from(pages)).map(move |page| base + page * 7 * PAGE_BYTES);
    Ok((addresses, call.moment.machine().profile().boot as u64))
}
