//! C arguments made safe: one type for each way in which hlml.h passes something. `take` checks what can be
//! checked (handles, null pointers), so that the bodies contain no pointer.

use std::ffi::{CStr, c_char, c_uint, c_ulonglong, c_void};
use std::ptr::NonNull;

use hlml_sys::{Layout, Return};
use sim::control::Garbage;

use crate::call::{Answer, Call};

/// How one C parameter becomes one safe value.
pub(crate) trait Argument: Sized {
    /// The parameter's type in C.
    type Raw;

    /// # Safety
    /// `raw` is what hlml.h asks for: null, or a pointer to the declared type that stays valid for the call.
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

plain!(c_uint c_ulonglong);

/// What a handle says, in its top bits.
const MARK: u64 = 0x484c;

/// The handle of a device, valid for one load of the driver.
pub(crate) fn handle(device: usize, epoch: u32) -> *mut c_void {
    let number = MARK << 48 | u64::from(epoch) << 16 | device as u64 & 0xffff;
    std::ptr::without_provenance_mut(number as usize)
}

/// A device.
#[derive(Clone, Copy)]
pub(crate) struct Device(pub(crate) usize);

impl Argument for Device {
    type Raw = *mut c_void;

    unsafe fn take(raw: Self::Raw, call: &Call<'_>) -> Answer<Self> {
        let device = raw.addr() & 0xffff;
        if raw != handle(device, call.epoch) {
            return Err(Return::InvalidArgument);
        }
        let standing = call.moment.conditions().device(device).ok_or(Return::InvalidArgument)?;
        call.device.set(Some(device));
        if standing.hidden {
            return Err(Return::AipIsLost);
        }
        Ok(Self(device))
    }
}

/// A place for a value; null is an invalid argument.
#[derive(Clone, Copy)]
pub(crate) struct Out<T>(NonNull<T>);

impl<T> Argument for Out<T> {
    type Raw = *mut T;

    unsafe fn take(raw: Self::Raw, _: &Call<'_>) -> Answer<Self> {
        NonNull::new(raw).map(Self).ok_or(Return::InvalidArgument)
    }
}

impl<T> Out<T> {
    /// Gives the caller the value, or nonsense in its place when the control file asks for it.
    pub(crate) fn set(self, call: &Call<'_>, value: T) -> Answer
    where
        T: Garble,
    {
        self.put(if call.garbage == Some(Garbage::Blank) { T::BLANK } else { value })
    }

    /// Gives the caller the value as it is.
    #[allow(clippy::unnecessary_wraps, reason = "every body ends in an answer")]
    pub(crate) fn put(self, value: T) -> Answer {
        // SAFETY: `take` saw that it is not null; hlml.h: the caller's memory for one T, writable.
        unsafe { self.0.write(value) };
        Ok(())
    }

    /// Member `index` of the caller's array, which hlml.h fixes the length of.
    pub(crate) fn nth(self, index: usize) -> Self {
        // SAFETY: hlml.h: the array holds as many, and the bodies stay below that.
        Self(unsafe { self.0.add(index) })
    }
}

/// A place that may be null, for callers who only want a count.
pub(crate) struct Unused;

impl Argument for Unused {
    type Raw = *mut c_void;

    unsafe fn take(_: Self::Raw, _: &Call<'_>) -> Answer<Self> {
        Ok(Self)
    }
}

/// A caller's buffer for a string; its length is the parameter beside it.
#[derive(Clone, Copy)]
pub(crate) struct Buffer(NonNull<c_char>);

impl Argument for Buffer {
    type Raw = *mut c_char;

    unsafe fn take(raw: Self::Raw, _: &Call<'_>) -> Answer<Self> {
        NonNull::new(raw).map(Self).ok_or(Return::InvalidArgument)
    }
}

impl Buffer {
    /// Writes the text and its NUL, if both fit.
    pub(crate) fn set(self, length: c_uint, text: &str) -> Answer {
        if length as usize <= text.len() {
            return Err(Return::InsufficientSize);
        }
        let bytes = text.as_ptr().cast::<c_char>();
        // SAFETY: hlml.h: the caller's buffer holds `length` bytes, and the text is shorter.
        unsafe { self.0.as_ptr().copy_from_nonoverlapping(bytes, text.len()) };
        // SAFETY: as above: there is room for one byte after the text.
        let end = unsafe { self.0.add(text.len()) };
        // SAFETY: as above.
        unsafe { end.write(0) };
        Ok(())
    }
}

/// A caller's struct of the machine's release.
#[derive(Clone, Copy)]
pub(crate) struct Struct(NonNull<u8>);

impl Argument for Struct {
    type Raw = *mut c_void;

    unsafe fn take(raw: Self::Raw, _: &Call<'_>) -> Answer<Self> {
        NonNull::new(raw.cast()).map(Self).ok_or(Return::InvalidArgument)
    }
}

impl Struct {
    /// Writes a struct with these members; those that the release does not have are left out. Blank, all ones
    /// in place of every number, when the control file asks for it.
    pub(crate) fn set(self, call: &Call<'_>, layout: &Layout, members: &[(&str, Member)]) -> Answer {
        let extra = call.hlml()?.extra_struct_bytes;
        let mut bytes = vec![0; layout.size];
        // What a later release would have there.
        bytes.resize(layout.size + extra, 0x5a);
        for (name, value) in members {
            let Some(span) = layout.span(name) else { continue };
            let place = bytes.get_mut(span.offset..span.offset + span.length).ok_or(Return::Unknown)?;
            match value {
                Member::Number(_) if call.garbage == Some(Garbage::Blank) => place.fill(0xff),
                Member::Number(number) => place.copy_from_slice(&number.to_le_bytes()[..span.length]),
                Member::Text(text) => {
                    let text = text.as_bytes();
                    // A text that fills its place would have no NUL.
                    let length = text.len().min(span.length - 1);
                    place[..length].copy_from_slice(&text[..length]);
                }
            }
        }
        // SAFETY: hlml.h: the caller's memory for this struct of the library's release, and with
        // `extra_struct_bytes` for as much more as that says, which is what a caller of this machine knows.
        unsafe { self.0.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }
}

/// A member's value.
pub(crate) enum Member {
    /// As many low bytes as the member has.
    Number(u64),
    /// Up to the member's length, with a NUL.
    Text(String),
}

/// A string from the caller.
pub(crate) struct Text(pub(crate) String);

impl Argument for Text {
    type Raw = *const c_char;

    unsafe fn take(raw: Self::Raw, _: &Call<'_>) -> Answer<Self> {
        if raw.is_null() {
            return Err(Return::InvalidArgument);
        }
        // SAFETY: not null; hlml.h: the caller's string ends in a NUL.
        let text = unsafe { CStr::from_ptr(raw) };
        Ok(Self(text.to_string_lossy().into_owned()))
    }
}

/// A number with a blank: all ones.
pub(crate) trait Garble: Copy {
    const BLANK: Self;
}

impl Garble for c_uint {
    const BLANK: Self = Self::MAX;
}

impl Garble for c_ulonglong {
    const BLANK: Self = Self::MAX;
}
