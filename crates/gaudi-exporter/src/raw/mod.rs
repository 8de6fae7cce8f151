//! HLML as Intel defines it: calls in vendor units and names, each with its own failure.
//!
//! This is the only room of the crate with unsafe code. Every call waits for a [`source::CallPermit`], since
//! no document says that HLML may be called from two threads at once.
//!
//! Source of signatures and numbers: `hlml-sys`.

mod device;
mod events;
mod library;
mod out_buffer;
mod plausible;
mod sample;

pub use device::Hpu;
pub use events::{EVENTS, Events, HlmlEventHistory, HlmlEventLog};
pub use library::{Library, Missing, SEARCH};
pub use sample::{Port, Raw, SlowRaw, read, read_mandatory, read_slow};

use hlml_sys::Return;
use reading::{Absence, Code, Fault, FaultCode, Measured};
use source::LossCodes;

/// The fault of a return code, if it is one: what does not exist is distinguished from what fails.
pub fn check(call: &'static str, code: std::ffi::c_int) -> Measured<()> {
    let returned = Return::from(code);
    let absence = match returned {
        Return::Success => return Ok(()),
        Return::NotSupported => Absence::Unsupported,
        Return::NoData | Return::NotFound => Absence::NoData,
        Return::Timeout => Absence::TimedOut,
        _ => Absence::Failed,
    };
    let code = returned.name().map_or(Code::Known(FaultCode::UnknownReturnCode), Code::Returned);
    Err(Fault { absence, call, code })
}

/// The return codes that mean more than that a value is missing.
pub const LOSSES: LossCodes = LossCodes {
    device: &["HLML_ERROR_AIP_IS_LOST"],
    session: &["HLML_ERROR_UNINITIALIZED", "HLML_ERROR_DRIVER_NOT_LOADED"],
};

/// Calls one optional symbol of the library once it has a permit: `call!(library, hlml_name(argument, ...))`.
macro_rules! call {
    ($library:expr, $name:ident($($argument:expr),* $(,)?)) => {{
        const CALL: &str = stringify!($name);
        let library: &$crate::raw::Library = $library;
        match library.symbols().$name {
            None => Err(::reading::Fault::new(CALL, ::reading::FaultCode::SymbolMissing)),
            Some(function) => {
                let permit = library.queue().acquire();
                // SAFETY: hlml.h declares this prototype for the name, HLML is initialised for the life of
                // the library, handles come from it, and each out-parameter is a live exclusive reference: to
                // its declared type where that never changed, else to an `OutBuffer`, which is larger than
                // any.
                let code = unsafe { function($($argument),*) };
                drop(permit);
                ::reading::call_returned();
                $crate::raw::check(CALL, code)
            }
        }
    }};
}
pub(crate) use call;

#[cfg(test)]
mod tests {
    use super::{Absence, FaultCode, LOSSES, check};

    #[test]
    fn codes_say_what_is_absent_and_what_is_lost() {
        let fault = |code| check("call", code).expect_err("no success");
        assert_eq!(check("call", 0), Ok(()));
        assert_eq!(fault(3).absence, Absence::Unsupported);
        assert_eq!(fault(21).absence, Absence::NoData);
        assert_eq!(fault(10).absence, Absence::TimedOut);
        assert_eq!(fault(3).code, "HLML_ERROR_NOT_SUPPORTED");
        assert_eq!(fault(77).code, FaultCode::UnknownReturnCode);
        assert_eq!(fault(77).absence, Absence::Failed);
        for code in 1..60 {
            assert_eq!(LOSSES.loses_device(&fault(code)), code == 15, "{code}");
            assert_eq!(LOSSES.loses_session(&fault(code)), code == 1 || code == 9, "{code}");
        }
    }
}
