//! `ze_result_t`: the codes that change a client's behaviour, and the names of the others.

/// A result code of Level Zero.
pub type Code = u32;

/// Success.
pub const SUCCESS: Code = 0;
/// The device hung, was reset or was removed.
pub const DEVICE_LOST: Code = 0x7000_0001;
/// The device needs a reset.
pub const DEVICE_REQUIRES_RESET: Code = 0x7000_0006;
/// The device is asleep.
pub const DEVICE_IN_LOW_POWER_STATE: Code = 0x7000_0007;
/// The caller lacks the permission.
pub const INSUFFICIENT_PERMISSIONS: Code = 0x7001_0000;
/// Not available at present: busy, asleep, or not ready.
pub const NOT_AVAILABLE: Code = 0x7001_0001;
/// Something that the driver needs is missing.
pub const DEPENDENCY_UNAVAILABLE: Code = 0x7002_0000;
/// No driver, or not initialised.
pub const UNINITIALIZED: Code = 0x7800_0001;
/// The loader or driver is too old or too new.
pub const UNSUPPORTED_VERSION: Code = 0x7800_0002;
/// The device does not support it.
pub const UNSUPPORTED_FEATURE: Code = 0x7800_0003;
/// An argument is wrong.
pub const INVALID_ARGUMENT: Code = 0x7800_0004;
/// A handle is null.
pub const INVALID_NULL_HANDLE: Code = 0x7800_0005;
/// A pointer is null.
pub const INVALID_NULL_POINTER: Code = 0x7800_0007;
/// A size is wrong.
pub const INVALID_SIZE: Code = 0x7800_0008;
/// The device runs on its recovery firmware.
pub const SURVIVABILITY_MODE: Code = 0x7800_0020;
/// Unknown error.
pub const UNKNOWN: Code = 0x7fff_fffe;

/// Every code above by its name in the header, without `ZE_RESULT_`.
pub const NAMES: &[(Code, &str)] = &[
    (SUCCESS, "SUCCESS"),
    (DEVICE_LOST, "ERROR_DEVICE_LOST"),
    (DEVICE_REQUIRES_RESET, "ERROR_DEVICE_REQUIRES_RESET"),
    (DEVICE_IN_LOW_POWER_STATE, "ERROR_DEVICE_IN_LOW_POWER_STATE"),
    (INSUFFICIENT_PERMISSIONS, "ERROR_INSUFFICIENT_PERMISSIONS"),
    (NOT_AVAILABLE, "ERROR_NOT_AVAILABLE"),
    (DEPENDENCY_UNAVAILABLE, "ERROR_DEPENDENCY_UNAVAILABLE"),
    (UNINITIALIZED, "ERROR_UNINITIALIZED"),
    (UNSUPPORTED_VERSION, "ERROR_UNSUPPORTED_VERSION"),
    (UNSUPPORTED_FEATURE, "ERROR_UNSUPPORTED_FEATURE"),
    (INVALID_ARGUMENT, "ERROR_INVALID_ARGUMENT"),
    (INVALID_NULL_HANDLE, "ERROR_INVALID_NULL_HANDLE"),
    (INVALID_NULL_POINTER, "ERROR_INVALID_NULL_POINTER"),
    (INVALID_SIZE, "ERROR_INVALID_SIZE"),
    (SURVIVABILITY_MODE, "ERROR_SURVIVABILITY_MODE_DETECTED"),
    (UNKNOWN, "ERROR_UNKNOWN"),
];

/// Returns the header's name of a code, without `ZE_RESULT_`; `None` for a code that is not in the table.
pub fn name(code: Code) -> Option<&'static str> {
    NAMES.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
}
