//! The memory-region queries of Linux's DRM drivers for Intel GPUs: structs and numbers of the kernel's user
//! API.
//!
//! They are typed by hand, once for the exporter and for the simulation. Each module has a table of
//! [`Fact`]s, which the end-to-end tests compare with the kernel's headers by a C compiler.

#![forbid(unsafe_code)]

pub mod i915;
pub mod xe;

/// An expression over a C header, and the value that it has here.
pub type Fact = (&'static str, u64);

/// Where a driver puts what is used of its memory regions; bytes.
#[derive(Clone, Copy, Debug)]
pub struct RegionLayout {
    /// Length of the head, which begins with the number of regions.
    pub head: usize,
    /// Length of a region.
    pub region: usize,
    /// Offset of the class in a region; 16 bits.
    pub class: usize,
    /// Offset of the region's size in a region; 64 bits.
    pub total: usize,
    /// Offset of how much of it is used (xe) or free (i915); 64 bits.
    pub rest: usize,
    /// The class of video memory.
    pub video_memory: u16,
}

/// Declares numbers and structs under our names, each with its name in the header, and the table of facts
/// about them.
macro_rules! abi {
    (
        $(const $constant:ident: $number:ty = $value:literal as $c_constant:literal;)*
        $(
            $(#[$doc:meta])*
            struct $name:ident as $c_name:literal {
                $($field:ident: $type:ty as $member:literal,)*
            }
        )*
    ) => {
        $(
            #[doc = concat!("`", $c_constant, "`.")]
            pub const $constant: $number = $value;
        )*
        $(
            $(#[$doc])*
            #[repr(C)]
            #[derive(Clone, Copy, Debug, Default)]
            pub struct $name {
                $(
                    #[doc = concat!("`", $member, "`.")]
                    pub $field: $type,
                )*
            }
        )*

        /// What the header must say: every number, and sizes and offsets of every struct.
        pub const FACTS: &[$crate::Fact] = &[
            $(($c_constant, $constant as u64),)*
            $(
                (concat!("sizeof(", $c_name, ")"), size_of::<$name>() as u64),
                $(
                    (
                        concat!("offsetof(", $c_name, ", ", $member, ")"),
                        std::mem::offset_of!($name, $field) as u64,
                    ),
                    (concat!("sizeof(((", $c_name, " *)0)->", $member, ")"), size_of::<$type>() as u64),
                )*
            )*
        ];
    };
}

use abi;
