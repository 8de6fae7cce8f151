//! C arguments made safe that only hlml.h has: handles, and structs that differ from release to release.

use std::ffi::{c_uint, c_ulonglong, c_void};
use std::ptr::NonNull;

use hlml_sys::{Layout, Return};
use sim::control::Garbage;
use sim_abi::Garble;
pub(crate) use sim_abi::{Argument, Text};

use crate::call::{Call, Hlml, HlmlCall as _, Result};

/// A place for a value.
pub(crate) type Out<T> = sim_abi::Out<T, Hlml>;

/// A caller's buffer for a string.
pub(crate) type Buffer = sim_abi::Buffer<Hlml>;

/// The top bits of a handle.
const MARK: u64 = 0x484c;

/// The handle of a device, valid for one load of the driver.
pub(crate) fn handle(device: usize, epoch: u32) -> *mut c_void {
    let number = MARK << 48 | u64::from(epoch) << 16 | device as u64 & 0xffff;
    std::ptr::without_provenance_mut(number as usize)
}

/// A device.
#[derive(Clone, Copy)]
pub(crate) struct Device(pub(crate) usize);

impl Argument<Hlml> for Device {
    type Raw = *mut c_void;

    unsafe fn take(raw: Self::Raw, call: &Call<'_>) -> Result<Self> {
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

/// A caller's struct of the machine's release.
#[derive(Clone, Copy)]
pub(crate) struct Struct(NonNull<u8>);

impl Argument<Hlml> for Struct {
    type Raw = *mut c_void;

    unsafe fn take(raw: Self::Raw, _: &Call<'_>) -> Result<Self> {
        NonNull::new(raw.cast()).map(Self).ok_or(Return::InvalidArgument)
    }
}

impl Struct {
    /// Writes a struct with these members; those that the release does not have are left out. Blank, all ones
    /// in place of every number, when the control file asks for it.
    pub(crate) fn set(self, call: &Call<'_>, layout: &Layout, members: &[(&str, Member)]) -> Result {
        if call.garbage == Some(Garbage::Untouched) {
            return Ok(());
        }
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

impl Garble<Hlml> for c_uint {
    fn garble(self, class: Garbage) -> Self {
        match class {
            Garbage::Absurd => self.saturating_mul(1000),
            Garbage::Blank => Self::MAX,
            _ => self,
        }
    }
}

impl Garble<Hlml> for c_ulonglong {
    fn garble(self, class: Garbage) -> Self {
        match class {
            Garbage::Absurd => self.saturating_mul(1000),
            Garbage::Blank => Self::MAX,
            _ => self,
        }
    }
}
