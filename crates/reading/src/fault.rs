//! Why a value is missing.

use std::fmt;

use naming::{Absence, FaultCode};

/// What made a value absent: a check or state of ours, or a code that the vendor or kernel returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// One of the catalogue's codes.
    Known(FaultCode),
    /// The vendor's or the kernel's own name for the error, such as `NVML_ERROR_UNKNOWN` or `ENOENT`.
    Returned(&'static str),
}

impl Code {
    /// The `code` label of the fault counter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Known(code) => code.name(),
            Self::Returned(name) => name,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq<FaultCode> for Code {
    fn eq(&self, other: &FaultCode) -> bool {
        *self == Self::Known(*other)
    }
}

impl PartialEq<&str> for Code {
    fn eq(&self, other: &&str) -> bool {
        self.name() == *other
    }
}

/// One call that gave no value.
///
/// `call` and `code` are labels of a counter, so both come from small fixed sets: a function or file name,
/// and a code of the catalogue or of the vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fault {
    /// Kind of absence.
    pub absence: Absence,
    /// The vendor function, field or file.
    pub call: &'static str,
    /// What made the value absent.
    pub code: Code,
}

impl Fault {
    /// A fault with one of the catalogue's codes, which says what kind of absence it is.
    pub const fn new(call: &'static str, code: FaultCode) -> Self {
        Self { absence: code.absence(), call, code: Code::Known(code) }
    }

    /// A call that returned a code of the vendor or the kernel.
    pub const fn returned(absence: Absence, call: &'static str, code: &'static str) -> Self {
        Self { absence, call, code: Code::Returned(code) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.call, self.absence.name(), self.code)
    }
}

/// A value, or why there is none.
pub type Measured<T> = Result<T, Fault>;
