//! `[[fault]]`: calls that go wrong.

use serde::{Deserialize, Serialize};

/// A call that goes wrong.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The device; absent is every device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<usize>,
    /// The call, exact or with a trailing `*`; absent is every call about a device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// What happens.
    pub kind: FaultKind,
    /// For [`FaultKind::Error`]: the vendor's return code. For [`FaultKind::Exit`]: that of the process; absent
    /// is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u32>,
    /// For [`FaultKind::Hang`]: how long each call hangs; absent is until the fault is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// For [`FaultKind::Slow`]: how long each call is held up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<f64>,
    /// For [`FaultKind::Garbage`]: the class of wrong value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Garbage>,
    /// First begin, unix seconds; absent is the machine's boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<f64>,
    /// How long it lasts, in seconds; absent is for ever.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<f64>,
    /// Seconds from one begin to the next; absent is once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<f64>,
}

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultKind {
    /// It returns a code.
    Error,
    /// It reports that the device has fallen off the bus.
    Lost,
    /// It does not return.
    Hang,
    /// It returns late.
    Slow,
    /// It returns at once, with success and a wrong value.
    Garbage,
    /// It writes where no memory is, which ends the process.
    Crash,
    /// It aborts the process.
    Abort,
    /// It ends the process as if that were the program's own wish.
    Exit,
}

/// A class of wrong values.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Garbage {
    /// A thousand times the true number.
    Absurd,
    /// All ones in 32 bits, the vendors' blank constants in 64, not-a-number in floating point, zeros in place of each
    /// letter of a text.
    Blank,
    /// A text that fills the caller's buffer, without an end.
    Endless,
    /// 255 °C.
    Hot,
    /// Not-a-number in floating point.
    Nan,
    /// Nothing: the caller's memory stays as it was.
    Untouched,
}

impl Fault {
    fn of(kind: FaultKind) -> Self {
        Self {
            device: None,
            call: None,
            kind,
            code: None,
            seconds: None,
            ms: None,
            value: None,
            at: None,
            lasts: None,
            every: None,
        }
    }

    /// The call returns `code`.
    pub fn error(code: u32) -> Self {
        Self { code: Some(code), ..Self::of(FaultKind::Error) }
    }

    /// The device is lost.
    pub fn lost() -> Self {
        Self::of(FaultKind::Lost)
    }

    /// The call hangs until the fault is gone.
    pub fn hang() -> Self {
        Self::of(FaultKind::Hang)
    }

    /// Each call hangs for `seconds`, and then returns.
    pub fn hang_for(seconds: f64) -> Self {
        Self { seconds: Some(seconds), ..Self::of(FaultKind::Hang) }
    }

    /// Each call is held up for `ms`.
    pub fn slow(ms: f64) -> Self {
        Self { ms: Some(ms), ..Self::of(FaultKind::Slow) }
    }

    /// The call succeeds with a wrong value.
    pub fn garbage(value: Garbage) -> Self {
        Self { value: Some(value), ..Self::of(FaultKind::Garbage) }
    }

    /// The call crashes the process.
    pub fn crash() -> Self {
        Self::of(FaultKind::Crash)
    }

    /// The call aborts the process.
    pub fn abort() -> Self {
        Self::of(FaultKind::Abort)
    }

    /// The call ends the process with code 0.
    pub fn exit() -> Self {
        Self::of(FaultKind::Exit)
    }

    /// Only on this device.
    #[must_use]
    pub fn device(self, device: usize) -> Self {
        Self { device: Some(device), ..self }
    }

    /// Only this call, exact or with a trailing `*`.
    #[must_use]
    pub fn call(self, call: &str) -> Self {
        Self { call: Some(call.to_owned()), ..self }
    }
}
