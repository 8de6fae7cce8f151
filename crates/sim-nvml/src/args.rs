//! C arguments made safe that only nvml.h has: handles, and NVML's wrong values.

use std::ffi::{c_char, c_int, c_uint, c_ulonglong};

use sim::control::Garbage;
use sim_abi::Garble;
pub(crate) use sim_abi::{Argument, Text};

use crate::abi::sys::{nvmlComputeInstance_t, nvmlDevice_t, nvmlGpuInstance_t};
use crate::call::{Call, Nvml, Result, code};
use crate::handle::{HandleKind, Target};

/// A place for a value.
pub(crate) type Out<T> = sim_abi::Out<T, Nvml>;

/// A caller's buffer for a string.
pub(crate) type Buffer = sim_abi::Buffer<Nvml>;

/// A GPU; an instance of one is not supported where this is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Gpu(pub(crate) usize);

/// Decodes a handle, notes its device for the faults, and checks that it still stands for something.
fn target<T>(raw: *mut T, kind: HandleKind, call: &Call<'_>) -> Result<Target> {
    let (target, generation) = Target::decode(raw, kind, call.epoch).ok_or(code::INVALID_ARGUMENT)?;
    let standing = call.moment.conditions().device(target.device).ok_or(code::INVALID_ARGUMENT)?;
    call.device.set(Some(target.device));
    if standing.hidden {
        return Err(code::GPU_IS_LOST);
    }
    if standing.asleep {
        call.count_wake();
    }
    if target.instance.is_some() && generation != standing.mig_generation {
        return Err(code::INVALID_ARGUMENT);
    }
    Ok(target)
}

impl Argument<Nvml> for Gpu {
    type Raw = nvmlDevice_t;

    unsafe fn take(raw: Self::Raw, call: &Call<'_>) -> Result<Self> {
        let target = target(raw, HandleKind::Device, call)?;
        if target.instance.is_some() { Err(code::NOT_SUPPORTED) } else { Ok(Self(target.device)) }
    }
}

/// Handles, by what they may stand for.
macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident: $raw:ty = $kind:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name(pub(crate) Target);

        impl Argument<Nvml> for $name {
            type Raw = $raw;

            unsafe fn take(raw: Self::Raw, call: &Call<'_>) -> Result<Self> {
                target(raw, HandleKind::$kind, call).map(Self)
            }
        }
    )*};
}

handles! {
    /// A GPU or an instance of one.
    AnyDevice: nvmlDevice_t = Device;
    /// A GPU instance.
    GpuInstance: nvmlGpuInstance_t = GpuInstance;
    /// A compute instance.
    ComputeInstance: nvmlComputeInstance_t = ComputeInstance;
}

/// Writes the text into a struct's `char` array, cut to fit, with NULs behind it.
pub(crate) fn fill<const N: usize>(array: &mut [c_char; N], text: &str) {
    *array = sim_abi::text(text).map(|byte| c_char::from_ne_bytes([byte]));
}

impl Garble<Nvml> for c_uint {
    fn garble(self, class: Garbage) -> Self {
        match class {
            Garbage::Absurd => self.saturating_mul(1000),
            Garbage::Blank => Self::MAX,
            _ => self,
        }
    }
}

impl Garble<Nvml> for c_int {
    fn garble(self, class: Garbage) -> Self {
        // DCGM's blank in 32 bits.
        match class {
            Garbage::Absurd => self.saturating_mul(1000),
            Garbage::Blank => 0x7fff_fff0,
            _ => self,
        }
    }
}

impl Garble<Nvml> for c_ulonglong {
    fn garble(self, class: Garbage) -> Self {
        // DCGM's blank in 64 bits.
        match class {
            Garbage::Absurd => self.saturating_mul(1000),
            Garbage::Blank => 0x7fff_ffff_ffff_fff0,
            _ => self,
        }
    }
}

impl Garble<Nvml> for f64 {
    fn garble(self, class: Garbage) -> Self {
        match class {
            Garbage::Absurd => self * 1e3,
            Garbage::Hot => self,
            _ => Self::NAN,
        }
    }
}

/// Structs whose members are garbled one by one, and structs that are left alone.
macro_rules! garble {
    ($($type:ty { $($member:ident),* })*) => {$(
        impl sim_abi::Garble<$crate::call::Nvml> for $type {
            #[allow(unused_variables, reason = "some structs have no member to garble")]
            #[allow(clippy::needless_update, reason = "and some have no other")]
            fn garble(self, class: sim::control::Garbage) -> Self {
                Self { $($member: self.$member.garble(class),)* ..self }
            }
        }
    )*};
}

pub(crate) use garble;
