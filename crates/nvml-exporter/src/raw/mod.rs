//! NVML as NVIDIA defines it: calls, fields and structs in vendor units and names, each with its own failure.
//!
//! This is the only room of the crate with unsafe code and the only one that knows NVML's types. Calls
//! that `nvml-wrapper` does safely go through it; the others go through its `sys` symbols, one by one, so
//! that a symbol which an old driver lacks costs its own metric only.
//!
//! Source of every signature, constant and struct: `nvml.h` of the CUDA toolkit.

mod device;
mod events;
mod field_values;
pub mod fields;
mod gpm;
mod library;
mod plausible;
mod sample;

pub use device::{Gpu, Instance};
pub use events::{EventSet, XidEvent};
pub use field_values::FieldValues;
pub use fields::{FieldKey, LinkField, SummedLinkField};
pub use gpm::{Gpm, GpmMetric, GpmMetrics};
pub use library::Library;
pub use sample::{Memory, NvLink, Raw, memory, read};

use std::time::Duration;

use nvml_wrapper::error::NvmlError;
use reading::{Absence, Fault, FaultCode};
use source::{CallQueue, LossCodes};

/// The queue in front of the calls that are not thread-safe. There is one per process, as the library is
/// loaded once.
///
/// nvml.h says that NVML is thread-safe, and its users found otherwise: threads that were in
/// `nvmlGpmSampleGet` at the same time crashed, and in `nvmlDeviceGetFieldValues` they lost fields of NVLink,
/// also with a device each (DataDog/datadog-agent, pull requests 54458 and 54821).
///
/// Such a call takes milliseconds; one that takes longer hangs in the driver, and must not stop the other
/// devices: together with their own calls, the wait is well below the shortest deadline.
static QUEUE: CallQueue = CallQueue::new(Duration::from_millis(500));

/// NVML return codes that `nvml-wrapper` 0.13 does not name (nvml.h, `nvmlReturn_enum`).
const RETURN_NAMES: &[(u32, Absence, &str)] = &[
    (23, Absence::Failed, "NVML_ERROR_INSUFFICIENT_RESOURCES"),
    (24, Absence::Failed, "NVML_ERROR_FREQ_NOT_SUPPORTED"),
    (25, Absence::Unsupported, "NVML_ERROR_ARGUMENT_VERSION_MISMATCH"),
    (26, Absence::Unsupported, "NVML_ERROR_DEPRECATED"),
    (27, Absence::NoData, "NVML_ERROR_NOT_READY"),
    (28, Absence::Failed, "NVML_ERROR_GPU_NOT_FOUND"),
    (29, Absence::Failed, "NVML_ERROR_INVALID_STATE"),
    (30, Absence::Unsupported, "NVML_ERROR_RESET_TYPE_NOT_SUPPORTED"),
];

/// The fault of an NVML error: what does not exist is distinguished from what fails.
pub fn fault(call: &'static str, error: &NvmlError) -> Fault {
    use Absence::{Failed, NoData, TimedOut, Unsupported};
    let (absence, code) = match error {
        NvmlError::FailedToLoadSymbol(_) => return Fault::new(call, FaultCode::SymbolMissing),
        NvmlError::Utf8Error(_) | NvmlError::NulError(_) | NvmlError::StringTooLong { .. } => {
            return Fault::new(call, FaultCode::BadString);
        }
        NvmlError::FunctionNotFound => (Unsupported, "NVML_ERROR_FUNCTION_NOT_FOUND"),
        NvmlError::NotSupported => (Unsupported, "NVML_ERROR_NOT_SUPPORTED"),
        NvmlError::NoPermission => (Unsupported, "NVML_ERROR_NO_PERMISSION"),
        NvmlError::NotFound => (NoData, "NVML_ERROR_NOT_FOUND"),
        NvmlError::NoData => (NoData, "NVML_ERROR_NO_DATA"),
        NvmlError::Timeout => (TimedOut, "NVML_ERROR_TIMEOUT"),
        NvmlError::GpuLost => (Failed, "NVML_ERROR_GPU_IS_LOST"),
        NvmlError::ResetRequired => (Failed, "NVML_ERROR_RESET_REQUIRED"),
        NvmlError::Uninitialized => (Failed, "NVML_ERROR_UNINITIALIZED"),
        NvmlError::DriverNotLoaded => (Failed, "NVML_ERROR_DRIVER_NOT_LOADED"),
        NvmlError::LibRmVersionMismatch => (Failed, "NVML_ERROR_LIB_RM_VERSION_MISMATCH"),
        NvmlError::InvalidArg => (Failed, "NVML_ERROR_INVALID_ARGUMENT"),
        NvmlError::InsufficientSize(_) => (Failed, "NVML_ERROR_INSUFFICIENT_SIZE"),
        NvmlError::InsufficientPower => (Failed, "NVML_ERROR_INSUFFICIENT_POWER"),
        NvmlError::IrqIssue => (Failed, "NVML_ERROR_IRQ_ISSUE"),
        NvmlError::OperatingSystem => (Failed, "NVML_ERROR_OPERATING_SYSTEM"),
        NvmlError::CorruptedInfoROM => (Failed, "NVML_ERROR_CORRUPTED_INFOROM"),
        NvmlError::InsufficientMemory => (Failed, "NVML_ERROR_MEMORY"),
        NvmlError::InUse => (Failed, "NVML_ERROR_IN_USE"),
        NvmlError::Unknown => (Failed, "NVML_ERROR_UNKNOWN"),
        NvmlError::UnexpectedVariant(code) => match RETURN_NAMES.iter().find(|(known, ..)| known == code) {
            Some((_, absence, name)) => (*absence, *name),
            None => return Fault::new(call, FaultCode::UnknownReturnCode),
        },
        _ => return Fault::new(call, FaultCode::UnexpectedAnswer),
    };
    Fault::returned(absence, call, code)
}

/// The return codes that mean more than that a value is missing.
pub const LOSSES: LossCodes = LossCodes {
    device: &["NVML_ERROR_GPU_IS_LOST", "NVML_ERROR_RESET_REQUIRED", "NVML_ERROR_GPU_NOT_FOUND"],
    session: &[
        "NVML_ERROR_UNINITIALIZED",
        "NVML_ERROR_DRIVER_NOT_LOADED",
        "NVML_ERROR_LIB_RM_VERSION_MISMATCH",
    ],
};

/// `NVML_STRUCT_VERSION`: the size of a versioned struct with its version in the top byte.
#[expect(clippy::cast_possible_truncation, reason = "NVML structs are far below 16 MiB")]
const fn struct_version<T>(version: u32) -> u32 {
    size_of::<T>() as u32 | version << 24
}

/// Calls one optional symbol of the library: `call!(gpu.library(), nvmlName(arg, ...))`.
macro_rules! call {
    ($library:expr, $name:ident($($arg:expr),* $(,)?)) => {{
        const CALL: &str = stringify!($name);
        match $library.symbols().$name.as_ref() {
            Err(_) => Err(::reading::Fault::new(CALL, ::reading::FaultCode::SymbolMissing)),
            // SAFETY: the symbol has the prototype that nvml.h declares for this name, NVML is initialised
            // for the life of the library, handles come from it, and each out-parameter is a live
            // exclusive reference to the type in the prototype, versioned where NVML asks for it.
            Ok(function) => match unsafe { function($($arg),*) } {
                0 => Ok(()),
                code => Err($crate::raw::fault(CALL, &::nvml_wrapper::error::NvmlError::from(code))),
            },
        }
    }};
}
pub(crate) use call;
