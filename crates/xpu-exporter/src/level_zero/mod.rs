//! GPUs as Level Zero Sysman reports them, in Sysman's units and enumerations.
//!
//! Handles stay valid until the driver is unloaded, so they are enumerated until the driver has described all of
//! them. A value for which the driver returns `UNSUPPORTED_FEATURE` is absent; the documentation lists which values
//! those are on which part.

mod background;
mod components;
mod counters;
mod device;
mod library;
mod listed;
mod sample;
mod source;

use ::source::LossCodes;
use level_zero_sys::{Failure, Why, code};
use reading::{Absence, Fault, FaultCode, Measured, call_returned};

pub use background::{BackgroundOpen, SharedSource, open};
pub use device::Sysman;
pub use library::Gpu;
pub use listed::{LATE, ListedGpus, TakenGpu};
pub use sample::{
    EngineSample, FrequencySample, MemorySample, Missing, PortSample, PowerRange, Sample, TemperatureSample,
};
pub use source::{Facts, LevelZeroSource, Options, SEARCH, partition};

/// The firmware works just so far that it can be written anew.
pub const SURVIVABILITY: &str = "ERROR_SURVIVABILITY_MODE_DETECTED";

/// The codes that mean more than that one value is missing.
pub const LOSSES: LossCodes = LossCodes {
    device: &["ERROR_DEVICE_LOST", "ERROR_DEVICE_REQUIRES_RESET", SURVIVABILITY],
    session: &["ERROR_UNINITIALIZED"],
};

/// The fault that a failed call means.
pub fn fault(Failure { call, why }: Failure) -> Fault {
    let code = match why {
        Why::Missing => return Fault::new(call, FaultCode::SymbolMissing),
        Why::TooMany(_) => return Fault::new(call, FaultCode::MoreThanPossible),
        Why::Returned(code) => code,
    };
    let Some(name) = code::name(code) else { return Fault::new(call, FaultCode::UnknownReturnCode) };
    let absence = match code {
        code::INSUFFICIENT_PERMISSIONS => return Fault::new(call, FaultCode::NeedsRoot),
        code::UNSUPPORTED_FEATURE | code::UNSUPPORTED_VERSION | code::DEPENDENCY_UNAVAILABLE => {
            Absence::Unsupported
        }
        code::NOT_AVAILABLE | code::DEVICE_IN_LOW_POWER_STATE => Absence::NoData,
        _ => Absence::Failed,
    };
    Fault::returned(absence, call, name)
}

/// What a call returned, or the fault that its failure means.
fn returned<T>(call: Result<T, Failure>) -> Measured<T> {
    call_returned();
    call.map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::{Absence, Failure, LOSSES, Why, code, fault};

    #[test]
    fn a_return_code_is_a_kind_of_absence_and_may_lose_device_or_session() {
        for (why, absence, name, loses_device, loses_session) in [
            (Why::Missing, Absence::Unsupported, "symbol_missing", false, false),
            (Why::TooMany(257), Absence::NoData, "more_than_possible", false, false),
            (Why::Returned(0x7abc_def0), Absence::Failed, "unknown_return_code", false, false),
            (Why::Returned(code::INSUFFICIENT_PERMISSIONS), Absence::Unsupported, "needs_root", false, false),
            (
                Why::Returned(code::UNSUPPORTED_FEATURE),
                Absence::Unsupported,
                "ERROR_UNSUPPORTED_FEATURE",
                false,
                false,
            ),
            (Why::Returned(code::NOT_AVAILABLE), Absence::NoData, "ERROR_NOT_AVAILABLE", false, false),
            (Why::Returned(code::DEVICE_LOST), Absence::Failed, "ERROR_DEVICE_LOST", true, false),
            (
                Why::Returned(code::DEVICE_REQUIRES_RESET),
                Absence::Failed,
                "ERROR_DEVICE_REQUIRES_RESET",
                true,
                false,
            ),
            (
                Why::Returned(code::SURVIVABILITY_MODE),
                Absence::Failed,
                "ERROR_SURVIVABILITY_MODE_DETECTED",
                true,
                false,
            ),
            (Why::Returned(code::UNINITIALIZED), Absence::Failed, "ERROR_UNINITIALIZED", false, true),
        ] {
            let fault = fault(Failure { call: "zesDeviceGetState", why });
            assert_eq!((fault.absence, fault.code.name()), (absence, name));
            assert_eq!(
                (LOSSES.loses_device(&fault), LOSSES.loses_session(&fault)),
                (loses_device, loses_session)
            );
        }
    }
}
