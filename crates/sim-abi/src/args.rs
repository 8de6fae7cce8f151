//! C arguments made safe: one type for each way in which vendors' headers pass something. `take` checks what
//! can be checked (handles, null pointers), so that bodies follow no pointer.

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong};
use std::marker::PhantomData;
use std::ptr::NonNull;

use sim::control::Garbage;

use crate::{Call, Library, Result};

/// How one C parameter becomes one safe value.
pub trait Argument<L: Library>: Sized {
    /// The parameter's type in C.
    type Raw;

    /// Takes it.
    ///
    /// # Errors
    /// The code that the library returns for an argument that is not valid.
    ///
    /// # Safety
    /// `raw` is what the vendor's header asks for: null, or a pointer to the declared type that stays valid for
    /// the call.
    unsafe fn take(raw: Self::Raw, call: &Call<'_, L>) -> Result<Self, L>;
}

macro_rules! plain {
    ($($type:ty)*) => {$(
        impl<L: Library> Argument<L> for $type {
            type Raw = Self;

            unsafe fn take(raw: Self, _: &Call<'_, L>) -> Result<Self, L> {
                Ok(raw)
            }
        }
    )*};
}

plain!(u8 c_int c_uint c_ulonglong);

/// A pointer that no body follows: a handle of what the library keeps, or what is never looked at.
impl<T, L: Library> Argument<L> for *mut T {
    type Raw = Self;

    unsafe fn take(raw: Self, _: &Call<'_, L>) -> Result<Self, L> {
        Ok(raw)
    }
}

/// A place for a value; null is an error.
#[derive(Clone, Copy)]
pub struct Out<T, L>(NonNull<T>, PhantomData<L>);

impl<T, L: Library> Argument<L> for Out<T, L> {
    type Raw = *mut T;

    unsafe fn take(raw: Self::Raw, _: &Call<'_, L>) -> Result<Self, L> {
        NonNull::new(raw).map(|place| Self(place, PhantomData)).ok_or(L::NULL_POINTER)
    }
}

impl<T, L: Library> Out<T, L> {
    /// Writes the value, or a wrong one when the control file asks for it.
    pub fn set(self, call: &Call<'_, L>, value: T) -> Result<(), L>
    where
        T: Garble<L>,
    {
        if call.garbage == Some(Garbage::Untouched) { Ok(()) } else { self.put(call.garbled(value)) }
    }

    /// Writes the value.
    pub fn put(self, value: T) -> Result<(), L> {
        // SAFETY: `take` saw that it is not null; the header: the caller's memory for one T, writable.
        unsafe { self.0.write(value) };
        Ok(())
    }

    /// Changes some members of the caller's struct, and leaves the others as the caller has written them.
    pub fn update(self, change: impl FnOnce(&mut T) -> Result<(), L>) -> Result<(), L>
    where
        T: Copy,
    {
        let mut value = self.get();
        change(&mut value)?;
        self.put(value)
    }

    /// What the caller has written there.
    pub fn get(self) -> T
    where
        T: Copy,
    {
        // SAFETY: `take` saw that it is not null; the header: the caller has filled in the input members.
        unsafe { self.0.read() }
    }

    /// The same place as an earlier, shorter version of the struct, or as its first member.
    pub fn older<U>(self) -> Out<U, L> {
        const { assert!(size_of::<U>() <= size_of::<T>() && align_of::<U>() <= align_of::<T>()) };
        Out(self.0.cast(), PhantomData)
    }

    /// The same place as a later, longer version of the struct, which the caller's version word says it is.
    pub fn newer<U>(self) -> Out<U, L> {
        Out(self.0.cast(), PhantomData)
    }

    /// Member `index` of the caller's array; the body keeps below the length that the header or the count
    /// beside it gives.
    #[must_use]
    pub fn nth(self, index: usize) -> Self {
        // SAFETY: the header: the array holds as many.
        Self(unsafe { self.0.add(index) }, PhantomData)
    }
}

/// A caller's buffer for a string; its length is the parameter beside it.
pub type Buffer<L> = Out<c_char, L>;

impl<L: Library> Buffer<L> {
    /// Writes the text and its NUL, if both fit; or a wrong text when the control file asks for it.
    ///
    /// # Errors
    /// When they do not.
    pub fn write(self, call: &Call<'_, L>, length: c_uint, text: &str) -> Result<(), L> {
        let length = length as usize;
        let text = match call.garbage {
            Some(Garbage::Untouched) => return Ok(()),
            Some(Garbage::Endless) => {
                Items(self.0.as_ptr()).write(std::iter::repeat_n(c_char::from_ne_bytes(*b"A"), length));
                return Ok(());
            }
            Some(Garbage::Blank) => text.replace(|letter: char| letter.is_ascii_alphanumeric(), "0"),
            _ => text.to_owned(),
        };
        if length <= text.len() {
            return Err(L::INSUFFICIENT_SIZE);
        }
        let bytes = text.bytes().chain([0]);
        Items(self.0.as_ptr()).write(bytes.map(|byte| c_char::from_ne_bytes([byte])));
        Ok(())
    }
}

/// A string from the caller.
pub struct Text(pub String);

impl<L: Library> Argument<L> for Text {
    type Raw = *const c_char;

    unsafe fn take(raw: Self::Raw, _: &Call<'_, L>) -> Result<Self, L> {
        if raw.is_null() {
            return Err(L::NULL_POINTER);
        }
        // SAFETY: not null; the header: the caller's string ends in a NUL.
        let text = unsafe { CStr::from_ptr(raw) };
        Ok(Self(text.to_string_lossy().into_owned()))
    }
}

/// The first of a caller's array, or null.
#[derive(Clone, Copy)]
pub struct Items<T>(*mut T);

impl<T, L: Library> Argument<L> for Items<T> {
    type Raw = *mut T;

    unsafe fn take(raw: Self::Raw, _: &Call<'_, L>) -> Result<Self, L> {
        Ok(Self(raw))
    }
}

impl<T> Items<T> {
    /// The array that a caller's struct points to.
    #[must_use]
    pub fn of(first: *mut T) -> Self {
        Self(first)
    }

    /// Whether the caller passed none.
    pub fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// Writes the values one after another; the body has checked that there is room.
    pub fn write(self, values: impl IntoIterator<Item = T>) {
        for (index, value) in values.into_iter().enumerate() {
            // SAFETY: the header: the array holds as many as the count beside it says, and the body checked
            // that.
            let place = unsafe { self.0.add(index) };
            // SAFETY: as above.
            unsafe { place.write(value) };
        }
    }
}

/// The text in a fixed array, cut to fit, with its NUL.
#[must_use]
pub fn text<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    for (place, byte) in bytes.iter_mut().take(N - 1).zip(text.bytes()) {
        *place = byte;
    }
    bytes
}

/// A value that a library may replace by a wrong one.
pub trait Garble<L>: Copy {
    /// The wrong value of this class; the value itself where the class has none for its type.
    #[must_use]
    fn garble(self, _: Garbage) -> Self {
        self
    }
}

impl<L> Call<'_, L> {
    /// The value, or a wrong one when the control file asks for it.
    pub fn garbled<T: Garble<L>>(&self, value: T) -> T {
        self.garbage.map_or(value, |class| value.garble(class))
    }
}
