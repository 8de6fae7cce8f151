//! HLML around every call: its return codes, and what its bodies need of a call. The rest is in `sim-abi`.

use std::ffi::c_int;

use hlml_sys::{Generation, Return};
use sim::Profile;
use sim::family::gaudi::Hpu;
use sim::profile::Gaudi;
use sim_abi::{Library, Machine};

use crate::session;

/// HLML, as `sim-abi` sees it.
#[derive(Clone, Copy)]
pub(crate) struct Hlml;

impl Library for Hlml {
    type Code = Return;
    type Return = c_int;

    const UNINITIALIZED: Return = Return::Uninitialized;
    const NO_MACHINE: Return = Return::Unknown;
    const NO_DEVICE: Return = Return::DriverNotLoaded;
    const INVALID_ARGUMENT: Return = Return::InvalidArgument;
    const NULL_POINTER: Return = Return::InvalidArgument;
    const INSUFFICIENT_SIZE: Return = Return::InsufficientSize;
    const LOST: Return = Return::AipIsLost;

    fn code(number: u32) -> Return {
        Return::from(number.cast_signed())
    }

    fn returned(result: Result) -> c_int {
        result.err().unwrap_or(Return::Success).code()
    }

    fn machine() -> &'static Machine<Self> {
        &session::MACHINE
    }

    fn epoch() -> Option<u32> {
        session::epoch()
    }

    fn has_devices(profile: &Profile) -> bool {
        profile.device.gaudi.is_some()
    }

    /// The driver returns nothing about a device that it is resetting.
    fn refusal(call: &Call<'_>) -> Option<Return> {
        let standing = call.moment.conditions().device(call.device.get()?)?;
        standing.reset.running.then_some(Return::Unknown)
    }
}

/// What a body returns: a value or HLML's code.
pub(crate) type Result<T = ()> = sim_abi::Result<T, Hlml>;

/// A call in progress.
pub(crate) type Call<'a> = sim_abi::Call<'a, Hlml>;

/// What HLML's bodies need of a call.
pub(crate) trait HlmlCall {
    /// A device that an argument named.
    fn hpu(&self, device: usize) -> Result<Hpu<'_>>;
    /// The machine's table of HLML facts.
    fn hlml(&self) -> Result<&Gaudi>;
    /// Which structs it writes.
    fn generation(&self) -> Result<Generation>;
}

impl HlmlCall for Call<'_> {
    fn hpu(&self, device: usize) -> Result<Hpu<'_>> {
        self.moment.device(device).and_then(Hpu::new).ok_or(Return::InvalidArgument)
    }

    fn hlml(&self) -> Result<&Gaudi> {
        self.moment.machine().profile().device.gaudi.as_ref().ok_or(Return::DriverNotLoaded)
    }

    fn generation(&self) -> Result<Generation> {
        Ok(Generation::of_version(&self.hlml()?.hlml_version).unwrap_or(Generation::V1_19))
    }
}

/// Declares HLML functions, as [`sim_abi::entries`] says.
macro_rules! entries {
    ($($entry:tt)*) => { sim_abi::entries! { $crate::call::Hlml; $($entry)* } };
}

/// Declares HLML functions that take a device and return one value: `name: type = |hpu| result;`.
macro_rules! readings {
    ($($reading:tt)*) => {
        sim_abi::readings! {
            $crate::call::Hlml, $crate::args::Device => $crate::call::HlmlCall::hpu; $($reading)*
        }
    };
}

/// Declares HLML functions that take a device and return one text: `name = |hpu| text;`.
macro_rules! texts {
    ($($name:ident = |$hpu:ident| $text:expr;)*) => {
        $crate::call::entries! {$(
            fn $name(call, device: $crate::args::Device, text: $crate::args::Buffer, length: ::std::ffi::c_uint) {
                let $hpu = $crate::call::HlmlCall::hpu(call, device.0)?;
                text.write(call, length, &$text)
            }
        )*}
    };
}

pub(crate) use {entries, readings, texts};
