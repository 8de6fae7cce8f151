//! Return codes.

use std::ffi::c_int;

/// `hlml_return_t`, with room for codes that a later release adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// It worked.
    Success,
    /// `hlml_init` was not called, or the driver behind it is another one now.
    Uninitialized,
    /// An argument has no meaning, such as the handle of a device that is gone.
    InvalidArgument,
    /// This device or driver does not have it.
    NotSupported,
    /// `hlml_init` was called twice.
    AlreadyInitialized,
    /// There is no such device.
    NotFound,
    /// The buffer is too small.
    InsufficientSize,
    /// The kernel module is not loaded.
    DriverNotLoaded,
    /// Nothing came in time: what `hlml_event_set_wait` usually returns.
    Timeout,
    /// The card has fallen off the bus.
    AipIsLost,
    /// No memory.
    Memory,
    /// No value now.
    NoData,
    /// The library gives no reason.
    Unknown,
    /// A code that this table does not have.
    Other(c_int),
}

/// Code, meaning and name in `hlml.h`.
const TABLE: [(c_int, Return, &str); 13] = [
    (0, Return::Success, "HLML_SUCCESS"),
    (1, Return::Uninitialized, "HLML_ERROR_UNINITIALIZED"),
    (2, Return::InvalidArgument, "HLML_ERROR_INVALID_ARGUMENT"),
    (3, Return::NotSupported, "HLML_ERROR_NOT_SUPPORTED"),
    (5, Return::AlreadyInitialized, "HLML_ERROR_ALREADY_INITIALIZED"),
    (6, Return::NotFound, "HLML_ERROR_NOT_FOUND"),
    (7, Return::InsufficientSize, "HLML_ERROR_INSUFFICIENT_SIZE"),
    (9, Return::DriverNotLoaded, "HLML_ERROR_DRIVER_NOT_LOADED"),
    (10, Return::Timeout, "HLML_ERROR_TIMEOUT"),
    (15, Return::AipIsLost, "HLML_ERROR_AIP_IS_LOST"),
    (20, Return::Memory, "HLML_ERROR_MEMORY"),
    (21, Return::NoData, "HLML_ERROR_NO_DATA"),
    (49, Return::Unknown, "HLML_ERROR_UNKNOWN"),
];

impl From<c_int> for Return {
    fn from(code: c_int) -> Self {
        TABLE.iter().find(|row| row.0 == code).map_or(Self::Other(code), |row| row.1)
    }
}

impl Return {
    /// The number.
    pub fn code(self) -> c_int {
        match self {
            Self::Other(code) => code,
            known => TABLE.iter().find(|row| row.1 == known).map_or(0, |row| row.0),
        }
    }

    /// The name in `hlml.h`; `None` for a number that has none there.
    pub fn name(self) -> Option<&'static str> {
        TABLE.iter().find(|row| row.1 == self).map(|row| row.2)
    }
}

#[cfg(test)]
mod tests {
    use super::{Return, TABLE};

    #[test]
    fn every_number_is_kept_known_or_not() {
        for code in -2..60 {
            assert_eq!(Return::from(code).code(), code);
        }
        for (code, meaning, name) in TABLE {
            assert_eq!((Return::from(code), meaning.name()), (meaning, Some(name)));
        }
        assert_eq!(Return::from(4), Return::Other(4));
        assert_eq!(Return::Other(4).name(), None);
    }
}
