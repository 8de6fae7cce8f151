//! C arguments made safe: one type for each way in which nvml.h passes something. `take` checks what can be
//! checked (handles, null pointers), so that the bodies contain no pointer.

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong};
use std::ptr::NonNull;

use sim::control::Garbage;

use crate::abi::sys::{nvmlComputeInstance_t, nvmlDevice_t, nvmlGpuInstance_t};
use crate::call::{Answer, Call, code};
use crate::handle::{Kind, Target};

/// How one C parameter becomes one safe value.
pub(crate) trait Argument: Sized {
    /// The parameter's type in C.
    type Raw;

    /// # Safety
    /// `raw` is what nvml.h asks for: null, or a pointer to the declared type that stays valid for the call.
    unsafe fn take(raw: Self::Raw, call: &Call<'_>) -> Answer<Self>;
}

macro_rules! plain {
    ($($type:ty)*) => {$(
        impl Argument for $type {
            type Raw = Self;

            unsafe fn take(raw: Self, _: &Call<'_>) -> Answer<Self> {
                Ok(raw)
            }
        }
    )*};
}

plain!(c_int c_uint c_ulonglong);

/// A GPU; an instance of one is not supported where this is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Gpu(pub(crate) usize);

/// A GPU or an instance of one.
#[derive(Clone, Copy)]
pub(crate) struct AnyDevice(pub(crate) Target);

/// A GPU instance.
#[derive(Clone, Copy)]
pub(crate) struct GpuInstance(pub(crate) Target);

/// A compute instance.
#[derive(Clone, Copy)]
pub(crate) struct ComputeInstance(pub(crate) Target);

/// Decodes a handle, notes its device for the faults, and checks that it still stands for something.
fn target<T>(raw: *mut T, kind: Kind, call: &Call<'_>) -> Answer<Target> {
    let (target, generation) = Target::decode(raw, kind, call.epoch).ok_or(code::INVALID_ARGUMENT)?;
    let standing = call.moment.conditions().device(target.device).ok_or(code::INVALID_ARGUMENT)?;
    call.device.set(Some(target.device));
    if standing.hidden {
        return Err(code::GPU_IS_LOST);
    }
    if target.instance.is_some() && generation != standing.mig_generation {
        return Err(code::INVALID_ARGUMENT);
    }
    Ok(target)
}

impl Argument for AnyDevice {
    type Raw = nvmlDevice_t;

    unsafe fn take(raw: Self::Raw, call: &Call<'_>) -> Answer<Self> {
        target(raw, Kind::Device, call).map(Self)
    }
}

impl Argument for Gpu {
    type Raw = nvmlDevice_t;

    unsafe fn take(raw: Self::Raw, call: &Call<'_>) -> Answer<Self> {
        let target = target(raw, Kind::Device, call)?;
        if target.instance.is_some() { Err(code::NOT_SUPPORTED) } else { Ok(Self(target.device)) }
    }
}

impl Argument for GpuInstance {
    type Raw = nvmlGpuInstance_t;

    unsafe fn take(raw: Self::Raw, call: &Call<'_>) -> Answer<Self> {
        target(raw, Kind::GpuInstance, call).map(Self)
    }
}

impl Argument for ComputeInstance {
    type Raw = nvmlComputeInstance_t;

    unsafe fn take(raw: Self::Raw, call: &Call<'_>) -> Answer<Self> {
        target(raw, Kind::ComputeInstance, call).map(Self)
    }
}

/// A place for a value; null is an invalid argument.
#[derive(Clone, Copy)]
pub(crate) struct Out<T>(NonNull<T>);

impl<T> Argument for Out<T> {
    type Raw = *mut T;

    unsafe fn take(raw: Self::Raw, _: &Call<'_>) -> Answer<Self> {
        NonNull::new(raw).map(Self).ok_or(code::INVALID_ARGUMENT)
    }
}

impl<T> Out<T> {
    /// Gives the caller the value, or nonsense in its place when the control file asks for it.
    pub(crate) fn set(self, call: &Call<'_>, value: T) -> Answer
    where
        T: Garble,
    {
        self.put(call.garbage.map_or(value, |class| value.garble(class)))
    }

    /// Gives the caller the value as it is.
    #[allow(clippy::unnecessary_wraps, reason = "every body ends in an answer")]
    pub(crate) fn put(self, value: T) -> Answer {
        // SAFETY: `take` saw that it is not null; nvml.h: the caller's memory for one T, writable.
        unsafe { self.0.write(value) };
        Ok(())
    }

    /// What the caller has written there.
    pub(crate) fn get(self) -> T
    where
        T: Copy,
    {
        // SAFETY: `take` saw that it is not null; nvml.h: the caller has filled in the input members.
        unsafe { self.0.read() }
    }

    /// The same place as an earlier, shorter version of the struct, or as its first member.
    pub(crate) fn older<U>(self) -> Out<U> {
        const { assert!(size_of::<U>() <= size_of::<T>() && align_of::<U>() <= align_of::<T>()) };
        Out(self.0.cast())
    }

    /// The same place as a later, longer version of the struct, which the caller's version word says it is.
    pub(crate) fn newer<U>(self) -> Out<U> {
        Out(self.0.cast())
    }

    /// Member `index` of the caller's array; the body has checked the count beside it.
    pub(crate) fn nth(self, index: usize) -> Self {
        // SAFETY: nvml.h: the array holds as many as the count beside it says.
        Self(unsafe { self.0.add(index) })
    }
}

/// A string from the caller.
pub(crate) struct Text(pub(crate) String);

impl Argument for Text {
    type Raw = *const c_char;

    unsafe fn take(raw: Self::Raw, _: &Call<'_>) -> Answer<Self> {
        if raw.is_null() {
            return Err(code::INVALID_ARGUMENT);
        }
        // SAFETY: not null; nvml.h: the caller's string ends in a NUL.
        let text = unsafe { CStr::from_ptr(raw) };
        Ok(Self(text.to_string_lossy().into_owned()))
    }
}

/// A caller's buffer for a string; its length is the parameter beside it.
#[derive(Clone, Copy)]
pub(crate) struct Buffer(NonNull<c_char>);

impl Argument for Buffer {
    type Raw = *mut c_char;

    unsafe fn take(raw: Self::Raw, _: &Call<'_>) -> Answer<Self> {
        NonNull::new(raw).map(Self).ok_or(code::INVALID_ARGUMENT)
    }
}

impl Buffer {
    /// Writes the text and its NUL, if both fit.
    pub(crate) fn set(self, length: c_uint, text: &str) -> Answer {
        if length as usize <= text.len() {
            return Err(code::INSUFFICIENT_SIZE);
        }
        let bytes = text.as_ptr().cast::<c_char>();
        // SAFETY: nvml.h: the caller's buffer holds `length` bytes, and the text is shorter.
        unsafe { self.0.as_ptr().copy_from_nonoverlapping(bytes, text.len()) };
        // SAFETY: as above: there is room for one byte after the text.
        let end = unsafe { self.0.add(text.len()) };
        // SAFETY: as above.
        unsafe { end.write(0) };
        Ok(())
    }
}

/// Writes the text and NULs into a struct's `char` array, cut to fit.
pub(crate) fn fill<const N: usize>(array: &mut [c_char; N], text: &str) {
    array.fill(0);
    for (place, byte) in array.iter_mut().take(N - 1).zip(text.bytes()) {
        *place = c_char::from_ne_bytes([byte]);
    }
}

/// A value that can be replaced by nonsense.
pub(crate) trait Garble: Copy {
    /// The value, unless this class of nonsense has something for its type.
    fn garble(self, _: Garbage) -> Self {
        self
    }
}

impl Garble for c_uint {
    fn garble(self, class: Garbage) -> Self {
        if class == Garbage::Blank { Self::MAX } else { self }
    }
}

impl Garble for c_int {
    fn garble(self, class: Garbage) -> Self {
        // DCGM's blank in 32 bits.
        if class == Garbage::Blank { 0x7fff_fff0 } else { self }
    }
}

impl Garble for c_ulonglong {
    fn garble(self, class: Garbage) -> Self {
        // DCGM's blank in 64 bits.
        if class == Garbage::Blank { 0x7fff_ffff_ffff_fff0 } else { self }
    }
}

impl Garble for f64 {
    fn garble(self, class: Garbage) -> Self {
        if class == Garbage::Hot { self } else { Self::NAN }
    }
}

/// Structs whose members are garbled one by one, and structs that are left alone.
macro_rules! garble {
    ($($type:ty { $($member:ident),* })*) => {$(
        impl $crate::args::Garble for $type {
            #[allow(unused_variables, reason = "some structs have no member to garble")]
            #[allow(clippy::needless_update, reason = "and some have no other")]
            fn garble(self, class: sim::control::Garbage) -> Self {
                Self { $($member: self.$member.garble(class),)* ..self }
            }
        }
    )*};
}

pub(crate) use garble;
