//! The C side: structs and constants by their names in `nvml.h`.

pub use nvml_wrapper_sys::bindings as sys;

/// The version word of a versioned struct: its size, and its version in the top byte.
pub(crate) const fn version<T>(number: u32) -> u32 {
    size_of::<T>() as u32 | number << 24
}
