//! Lists in NVML's way: the caller says how many there is room for, and is told how many there are.

use std::ffi::c_uint;

use crate::args::{Argument, Out};
use crate::call::{Answer, Call, Nvml, code};

/// Gives the caller the values: their number into `count`, and themselves into `items`, if `count` said that
/// there is room. A null `items` asks for the number alone.
pub(crate) fn list<T>(
    count: Out<c_uint>,
    items: Items<T>,
    values: impl Iterator<Item = T> + Clone,
) -> Answer {
    let room = if items.0.is_null() { 0 } else { count.get() as usize };
    let number = values.clone().count();
    count.put(number as c_uint)?;
    if number > room {
        return Err(code::INSUFFICIENT_SIZE);
    }
    items.write(values);
    Ok(())
}

/// The first of a caller's array, or null.
#[derive(Clone, Copy)]
pub(crate) struct Items<T>(*mut T);

impl<T> Argument<Nvml> for Items<T> {
    type Raw = *mut T;

    unsafe fn take(raw: Self::Raw, _: &Call<'_>) -> Answer<Self> {
        Ok(Self(raw))
    }
}

impl<T> Items<T> {
    /// Whether the caller gave none.
    pub(crate) fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// Writes the values one after another; the caller has checked that there is room.
    pub(crate) fn write(self, values: impl Iterator<Item = T>) {
        for (index, value) in values.enumerate() {
            // SAFETY: nvml.h: the array holds as many as the count beside it says, and that was checked.
            let place = unsafe { self.0.add(index) };
            // SAFETY: as above.
            unsafe { place.write(value) };
        }
    }
}
