//! Why a value is missing.

use std::fmt;

/// The four ways in which a value can be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Absence {
    /// This device, driver or mode does not have the quantity; a normal state.
    Unsupported,
    /// The quantity exists but has no usable value now: a first sample, a blank, a value out of range.
    NoData,
    /// The call answered with an error.
    Failed,
    /// The call did not answer within its deadline.
    TimedOut,
}

impl Absence {
    /// The `kind` label of the fault counter, and the word in `probe`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::NoData => "no_data",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
        }
    }
}

/// One call that gave no value.
///
/// `call` and `code` are labels of a counter, so both come from small fixed sets: a function or file
/// name, and the vendor's code (`NVML_ERROR_UNKNOWN`) or the plausibility check that failed (`blank`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fault {
    /// Kind of absence.
    pub absence: Absence,
    /// The vendor function, field or file.
    pub call: &'static str,
    /// The vendor's name for the error, or the check that rejected the value.
    pub code: &'static str,
}

impl Fault {
    /// A call that gave no usable value now.
    pub const fn no_data(call: &'static str, code: &'static str) -> Self {
        Self { absence: Absence::NoData, call, code }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.call, self.absence.name(), self.code)
    }
}
