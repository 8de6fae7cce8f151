//! NVML around every call: its return codes, and what its bodies need of a call. The rest is in `sim-abi`.

use sim::control::Garbage;
use sim::{Device, Profile};
use sim_abi::{Library, Machine};

use crate::abi::sys::nvmlReturn_t;
use crate::handle::{HandleKind, Target};
use crate::session;

/// `nvmlReturn_t`, by the names that the bodies use.
pub(crate) mod code {
    use crate::abi::sys::{self, nvmlReturn_t};

    pub(crate) const SUCCESS: nvmlReturn_t = sys::nvmlReturn_enum_NVML_SUCCESS;
    pub(crate) const UNINITIALIZED: nvmlReturn_t = sys::nvmlReturn_enum_NVML_ERROR_UNINITIALIZED;
    pub(crate) const INVALID_ARGUMENT: nvmlReturn_t = sys::nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT;
    pub(crate) const NOT_SUPPORTED: nvmlReturn_t = sys::nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED;
    pub(crate) const NOT_FOUND: nvmlReturn_t = sys::nvmlReturn_enum_NVML_ERROR_NOT_FOUND;
    pub(crate) const INSUFFICIENT_SIZE: nvmlReturn_t = sys::nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE;
    pub(crate) const DRIVER_NOT_LOADED: nvmlReturn_t = sys::nvmlReturn_enum_NVML_ERROR_DRIVER_NOT_LOADED;
    pub(crate) const TIMEOUT: nvmlReturn_t = sys::nvmlReturn_enum_NVML_ERROR_TIMEOUT;
    pub(crate) const FUNCTION_NOT_FOUND: nvmlReturn_t = sys::nvmlReturn_enum_NVML_ERROR_FUNCTION_NOT_FOUND;
    pub(crate) const GPU_IS_LOST: nvmlReturn_t = sys::nvmlReturn_enum_NVML_ERROR_GPU_IS_LOST;
    pub(crate) const NO_DATA: nvmlReturn_t = sys::nvmlReturn_enum_NVML_ERROR_NO_DATA;
    pub(crate) const VERSION_MISMATCH: nvmlReturn_t =
        sys::nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    pub(crate) const UNKNOWN: nvmlReturn_t = sys::nvmlReturn_enum_NVML_ERROR_UNKNOWN;
}

/// NVML, as `sim-abi` sees it.
#[derive(Clone, Copy)]
pub(crate) struct Nvml;

impl Library for Nvml {
    type Code = nvmlReturn_t;
    type Return = nvmlReturn_t;

    const UNINITIALIZED: nvmlReturn_t = code::UNINITIALIZED;
    const NO_MACHINE: nvmlReturn_t = code::UNKNOWN;
    const NO_DEVICE: nvmlReturn_t = code::DRIVER_NOT_LOADED;
    const INVALID_ARGUMENT: nvmlReturn_t = code::INVALID_ARGUMENT;
    const NULL_POINTER: nvmlReturn_t = code::INVALID_ARGUMENT;
    const INSUFFICIENT_SIZE: nvmlReturn_t = code::INSUFFICIENT_SIZE;
    const LOST: nvmlReturn_t = code::GPU_IS_LOST;

    fn code(number: u32) -> nvmlReturn_t {
        number
    }

    fn returned(result: Result) -> nvmlReturn_t {
        result.err().unwrap_or(code::SUCCESS)
    }

    fn machine() -> &'static Machine<Self> {
        &session::MACHINE
    }

    fn epoch() -> Option<u32> {
        session::epoch()
    }

    fn has_devices(profile: &Profile) -> bool {
        profile.device.nvidia.is_some()
    }
}

/// What a body returns: a value or NVML's code.
pub(crate) type Result<T = ()> = sim_abi::Result<T, Nvml>;

/// A call in progress.
pub(crate) type Call<'a> = sim_abi::Call<'a, Nvml>;

/// What NVML's bodies need of a call.
pub(crate) trait NvmlCall {
    /// A device that an argument named.
    fn gpu(&self, device: usize) -> Result<Device<'_>>;
    /// The handle of a device or instance, valid until the driver is reloaded or the instance is gone.
    fn handle<T>(&self, kind: HandleKind, target: Target) -> *mut T;
    /// Whole degrees, or 255 when the control file asks for it.
    fn celsius(&self, degrees: f64) -> u32;
}

impl NvmlCall for Call<'_> {
    fn gpu(&self, device: usize) -> Result<Device<'_>> {
        self.moment.device(device).ok_or(code::INVALID_ARGUMENT)
    }

    fn handle<T>(&self, kind: HandleKind, target: Target) -> *mut T {
        let standing = self.moment.conditions().device(target.device);
        target.encode(kind, self.epoch, standing.map_or(0, |standing| standing.mig_generation))
    }

    fn celsius(&self, degrees: f64) -> u32 {
        if self.garbage == Some(Garbage::Hot) { 255 } else { degrees.round() as u32 }
    }
}

/// Declares NVML functions, as [`sim_abi::entries`] says.
macro_rules! entries {
    ($($entry:tt)*) => { sim_abi::entries! { $crate::call::Nvml; $($entry)* } };
}

/// Declares NVML functions that take a GPU and return one value: `name: type = |device| result;`.
macro_rules! readings {
    ($($reading:tt)*) => {
        sim_abi::readings! {
            $crate::call::Nvml, $crate::args::Gpu => $crate::call::NvmlCall::gpu; $($reading)*
        }
    };
}

pub(crate) use {entries, readings};
