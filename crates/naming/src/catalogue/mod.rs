//! The catalogue: one entry per quantity, in the order in which families are printed, and a handle for each.
//!
//! Each module has the entries of one subject. Vendors' names for them are in
//! [`vocabularies`](crate::vocabularies).

macro_rules! entries {
    (from $base:expr; $($id:ident: $quantity:ty = $entry:expr;)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "the index of each entry, by its name")]
        #[repr(u16)]
        enum Index { $($id),* }

        /// Index of this subject's first entry among all.
        const BASE: u16 = $base;
        /// Index after this subject's last entry.
        #[expect(clippy::cast_possible_truncation, reason = "the catalogue is small")]
        pub(super) const END: u16 = BASE + ENTRIES.len() as u16;

        $(
            #[doc = concat!("Handle of the entry `", stringify!($id), "`.")]
            pub const $id: crate::MetricOf<$quantity> = crate::MetricOf::new(BASE + Index::$id as u16);
        )*

        /// The entries of this subject.
        pub(super) const ENTRIES: &[crate::Metric] = &[$({
            let mut entry: crate::Metric = $entry;
            entry.unit = <$quantity as crate::Quantity>::UNIT;
            entry
        }),*];

        /// The names of their handles.
        pub(super) const HANDLES: &[&str] = &[$(stringify!($id)),*];
    };
}

mod compute;
mod exporter;
mod health;
mod host;
mod identity;
mod incident;
mod links;
mod memory;
mod thermal;
mod workloads;

pub use compute::*;
pub use exporter::*;
pub use health::*;
pub use host::*;
pub use identity::*;
pub use incident::*;
pub use links::*;
pub use memory::*;
pub use thermal::*;
pub use workloads::*;

use crate::Metric;

const COUNT: usize = exporter::END as usize;

/// Every entry.
#[expect(unused_qualifications, reason = "each subject has a constant of this name")]
pub static METRICS: &[Metric] = &const {
    joined::<Metric, COUNT>([
        identity::ENTRIES,
        compute::ENTRIES,
        memory::ENTRIES,
        thermal::ENTRIES,
        links::ENTRIES,
        health::ENTRIES,
        workloads::ENTRIES,
        incident::ENTRIES,
        host::ENTRIES,
        exporter::ENTRIES,
    ])
};

/// The name of each entry's handle, in the order of [`METRICS`].
pub(crate) static HANDLES: &[&str] = &const {
    joined::<&str, COUNT>([
        identity::HANDLES,
        compute::HANDLES,
        memory::HANDLES,
        thermal::HANDLES,
        links::HANDLES,
        health::HANDLES,
        workloads::HANDLES,
        incident::HANDLES,
        host::HANDLES,
        exporter::HANDLES,
    ])
};

/// The parts as one array of `N`, which must be the sum of their lengths: the build fails otherwise.
const fn joined<T: Copy, const N: usize>(parts: [&[T]; 10]) -> [T; N] {
    let mut all = [parts[0][0]; N];
    let (mut part, mut at) = (0, 0);
    while part < parts.len() {
        let mut i = 0;
        while i < parts[part].len() {
            all[at] = parts[part][i];
            (i, at) = (i + 1, at + 1);
        }
        part += 1;
    }
    assert!(at == N, "a subject is missing");
    all
}
