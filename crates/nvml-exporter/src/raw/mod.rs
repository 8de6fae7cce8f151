//! NVML as NVIDIA defines it: calls, fields and structs in vendor units and names, each with its own failure.
//!
//! This is the only room of the crate with unsafe code and the only one that knows NVML's types. Calls go
//! through the symbols of `nvml-wrapper-sys`, one by one, so that a symbol which an old driver lacks costs
//! its own metric only. A number leaves this room through `number!` or `numbers`, a text through `text!`, a
//! count through
//! `plausible_count`: so no blank, no text without an end and no impossible count passes.
//!
//! Source of every signature, constant and struct: `nvml.h` of the CUDA toolkit.

mod device;
mod event_types;
mod events;
mod fabric;
mod field_values;
pub mod fields;
mod gpm;
mod library;
mod newer;
mod plausible;
pub mod processes;
mod rare;
mod sample;

pub use device::{Gpu, InforomObject, Instance};
pub use event_types::{Purpose, codes as event_codes};
pub use events::{Event, EventSet, SystemEvents};
pub use fabric::Fabric;
pub use field_values::FieldValues;
pub use fields::{FieldKey, LinkField, SummedLinkField};
pub use gpm::{Gpm, GpmMetric, GpmMetrics};
pub use library::{Library, SEARCH};
pub use rare::{Profiles, Rare};
pub use sample::{Mandatory, Memory, NvLink, Raw, mandatory, memory, read};

use std::{borrow::Cow, time::Duration};

use reading::{Absence, Fault, FaultCode, Measured};
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

/// NVML's return codes (nvml.h, `nvmlReturn_enum`): what does not exist is distinguished from what fails.
const RETURNS: &[(u32, Absence, &str)] = &[
    (1, Absence::Failed, "NVML_ERROR_UNINITIALIZED"),
    (2, Absence::Failed, INVALID_ARGUMENT),
    (3, Absence::Unsupported, "NVML_ERROR_NOT_SUPPORTED"),
    (4, Absence::Unsupported, "NVML_ERROR_NO_PERMISSION"),
    (5, Absence::Failed, "NVML_ERROR_ALREADY_INITIALIZED"),
    (6, Absence::NoData, NOT_FOUND),
    (7, Absence::Failed, INSUFFICIENT_SIZE),
    (8, Absence::Failed, "NVML_ERROR_INSUFFICIENT_POWER"),
    (9, Absence::Failed, "NVML_ERROR_DRIVER_NOT_LOADED"),
    (10, Absence::TimedOut, "NVML_ERROR_TIMEOUT"),
    (11, Absence::Failed, "NVML_ERROR_IRQ_ISSUE"),
    (12, Absence::Failed, "NVML_ERROR_LIBRARY_NOT_FOUND"),
    (13, Absence::Unsupported, FUNCTION_NOT_FOUND),
    (14, Absence::Failed, "NVML_ERROR_CORRUPTED_INFOROM"),
    (15, Absence::Failed, "NVML_ERROR_GPU_IS_LOST"),
    (16, Absence::Failed, "NVML_ERROR_RESET_REQUIRED"),
    (17, Absence::Failed, "NVML_ERROR_OPERATING_SYSTEM"),
    (18, Absence::Failed, "NVML_ERROR_LIB_RM_VERSION_MISMATCH"),
    (19, Absence::Failed, "NVML_ERROR_IN_USE"),
    (20, Absence::Failed, "NVML_ERROR_MEMORY"),
    (21, Absence::NoData, "NVML_ERROR_NO_DATA"),
    (22, Absence::Unsupported, "NVML_ERROR_VGPU_ECC_NOT_SUPPORTED"),
    (23, Absence::Failed, "NVML_ERROR_INSUFFICIENT_RESOURCES"),
    (24, Absence::Failed, "NVML_ERROR_FREQ_NOT_SUPPORTED"),
    (25, Absence::Unsupported, VERSION_MISMATCH),
    (26, Absence::Unsupported, "NVML_ERROR_DEPRECATED"),
    (27, Absence::NoData, "NVML_ERROR_NOT_READY"),
    (28, Absence::Failed, "NVML_ERROR_GPU_NOT_FOUND"),
    (29, Absence::Failed, "NVML_ERROR_INVALID_STATE"),
    (30, Absence::Unsupported, "NVML_ERROR_RESET_TYPE_NOT_SUPPORTED"),
    (999, Absence::Failed, "NVML_ERROR_UNKNOWN"),
];

/// Returned for a place of a list where there is nothing.
const NOT_FOUND: &str = "NVML_ERROR_NOT_FOUND";
/// Returned for what the driver does not know.
const INVALID_ARGUMENT: &str = "NVML_ERROR_INVALID_ARGUMENT";
/// Returned by a call that only counts.
const INSUFFICIENT_SIZE: &str = "NVML_ERROR_INSUFFICIENT_SIZE";
/// Returned by a library that is newer than its driver.
const FUNCTION_NOT_FOUND: &str = "NVML_ERROR_FUNCTION_NOT_FOUND";
/// Returned for a struct that is newer than the driver.
const VERSION_MISMATCH: &str = "NVML_ERROR_ARGUMENT_VERSION_MISMATCH";

/// What a return code says of a call.
///
/// # Errors
/// The code's fault, for all but 0.
pub fn check(call: &'static str, code: u32) -> Measured<()> {
    // Most calls succeed, and a round has hundreds of them.
    if code == 0 {
        return Ok(());
    }
    match RETURNS.iter().find(|(known, ..)| *known == code) {
        Some((_, absence, name)) => Err(Fault::returned(*absence, call, name)),
        None => Err(Fault::new(call, FaultCode::UnknownReturnCode)),
    }
}

/// A return code's name in nvml.h, or its number.
pub fn return_name(code: u32) -> Cow<'static, str> {
    match RETURNS.iter().find(|(known, ..)| *known == code) {
        _ if code == 0 => Cow::Borrowed("NVML_SUCCESS"),
        Some((_, _, name)) => Cow::Borrowed(name),
        None => Cow::Owned(code.to_string()),
    }
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
            Ok(function) => {
                // SAFETY: the symbol has the prototype that nvml.h declares for this name, NVML is initialised
                // for the life of the library, handles come from it, and each out-parameter is a live
                // exclusive reference to the type in the prototype, versioned where NVML asks for it.
                let code = unsafe { function($($arg),*) };
                ::reading::call_returned();
                $crate::raw::check(CALL, code)
            }
        }
    }};
}
pub(crate) use call;

/// Calls a symbol that writes one number about a device: `number!(gpu, nvmlName, arg, ...)`, arguments
/// between the handle and the number.
macro_rules! number {
    ($gpu:expr, $name:ident $(, $arg:expr)* $(,)?) => {{
        let mut value = <_ as $crate::raw::plausible::Number>::BLANK;
        $crate::raw::call!($gpu.library(), $name($gpu.handle(), $($arg,)* &raw mut value))
            .and_then(|()| $crate::raw::plausible::Number::checked(value, stringify!($name)))
    }};
}
pub(crate) use number;

/// Calls a symbol that writes a temperature of a device.
macro_rules! celsius {
    ($gpu:expr, $name:ident $(, $arg:expr)*) => {
        $crate::raw::number!($gpu, $name $(, $arg)*)
            .and_then(|value| $crate::raw::plausible::BLANKS.temperature(stringify!($name), value))
    };
}
pub(crate) use celsius;

/// Calls a symbol that writes a text: `text!(library, nvmlName(handle, ...), 96)`, arguments before the
/// buffer, and the buffer's length.
macro_rules! text {
    ($library:expr, $name:ident($($arg:expr),*), $length:expr) => {{
        let mut buffer = [0u8; $length as usize];
        $crate::raw::call!($library, $name($($arg,)* buffer.as_mut_ptr().cast(), $length))
            .and_then(|()| ::reading::terminated_text(stringify!($name), &buffer))
    }};
}
pub(crate) use text;

#[cfg(test)]
mod tests {
    use super::{Absence, FaultCode, LOSSES, RETURNS, check};

    #[test]
    fn codes_say_what_is_absent_and_what_is_lost() {
        let fault = |code| check("call", code).expect_err("no success");
        assert_eq!(check("call", 0), Ok(()));
        assert_eq!(fault(3).absence, Absence::Unsupported);
        assert_eq!(fault(999).code, "NVML_ERROR_UNKNOWN");
        assert_eq!(fault(77).code, FaultCode::UnknownReturnCode);
        for (code, _, name) in RETURNS {
            assert_eq!(fault(*code).code, *name);
            assert_eq!(LOSSES.loses_device(&fault(*code)), [15, 16, 28].contains(code), "{code}");
            assert_eq!(LOSSES.loses_session(&fault(*code)), [1, 9, 18].contains(code), "{code}");
        }
    }
}
