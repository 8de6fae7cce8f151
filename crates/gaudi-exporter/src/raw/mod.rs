//! HLML as Intel says it: calls in vendor units and names, each with its own failure.
//!
//! This is the only room of the crate with unsafe code. Every call takes its [`source::Turn`] first, since no
//! document says that HLML may be called from two threads at once.
//!
//! Source of signatures and numbers: `hlml-sys`.

mod answer;
mod device;
mod events;
mod library;
mod plausible;
mod sample;

pub use device::Hpu;
pub use events::{EVENTS, Events};
pub use library::{Library, Missing};
pub use sample::{Port, Raw, SlowRaw, read, read_slow};

use hlml_sys::Return;
use reading::{Absence, Fault};

/// A value in the vendor's unit, or why there is none.
pub type Got<T> = Result<T, Fault>;

/// Turns HLML's answer into ours: what does not exist is told apart from what fails.
pub fn check(call: &'static str, code: std::ffi::c_int) -> Got<()> {
    let answer = Return::from(code);
    let absence = match answer {
        Return::Success => return Ok(()),
        Return::NotSupported => Absence::Unsupported,
        Return::NoData | Return::NotFound => Absence::NoData,
        Return::Timeout => Absence::TimedOut,
        _ => Absence::Failed,
    };
    Err(Fault { absence, call, code: answer.name() })
}

/// Whether the fault says that the device as such is gone, not just one of its values.
pub fn means_device_lost(fault: &Fault) -> bool {
    fault.code == Return::AipIsLost.name()
}

/// Whether the fault says that the driver went away under every device.
pub fn means_session_lost(fault: &Fault) -> bool {
    [Return::Uninitialized, Return::DriverNotLoaded].iter().any(|code| code.name() == fault.code)
}

/// Calls one optional symbol of the library when it is this thread's turn:
/// `call!(library, hlml_name(argument, ...))`, or `call!(slow library, ...)` for a call that lets all others
/// go first.
macro_rules! call {
    (slow $library:expr, $($rest:tt)*) => { $crate::raw::call!(@ enter_slow, $library, $($rest)*) };
    (@ $enter:ident, $library:expr, $name:ident($($argument:expr),* $(,)?)) => {{
        const CALL: &str = stringify!($name);
        let library: &$crate::raw::Library = $library;
        match library.symbols().$name {
            None => Err(::reading::Fault { absence: ::reading::Absence::Unsupported, call: CALL, code: "symbol_missing" }),
            Some(function) => {
                let turn = library.lane().$enter();
                // SAFETY: hlml.h declares this prototype for the name, HLML is initialised for the life of
                // the library, handles come from it, and each out-parameter is a live exclusive reference:
                // to its declared type where that never changed, else to an `Answer`, larger than any.
                let code = unsafe { function($($argument),*) };
                drop(turn);
                $crate::raw::check(CALL, code)
            }
        }
    }};
    ($library:expr, $($rest:tt)*) => { $crate::raw::call!(@ enter, $library, $($rest)*) };
}
pub(crate) use call;

#[cfg(test)]
mod tests {
    use super::{Absence, check, means_device_lost, means_session_lost};

    #[test]
    fn codes_mean_what_they_cost() {
        let fault = |code| check("call", code).expect_err("no success");
        assert_eq!(check("call", 0), Ok(()));
        assert_eq!(fault(3).absence, Absence::Unsupported);
        assert_eq!(fault(21).absence, Absence::NoData);
        assert_eq!(fault(10).absence, Absence::TimedOut);
        assert_eq!((fault(77).absence, fault(77).code), (Absence::Failed, "unknown_return_code"));
        for code in 1..60 {
            assert_eq!(means_device_lost(&fault(code)), code == 15, "{code}");
            assert_eq!(means_session_lost(&fault(code)), code == 1 || code == 9, "{code}");
        }
    }
}
