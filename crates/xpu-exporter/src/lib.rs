//! Intel GPUs through two backends that fill the same readings: the kernel's files (drivers xe and i915), and
//! Level Zero Sysman.
//!
//! ```text
//! session -> sampler -+-> rest: may an idle GPU be read now, or shall it fall asleep?
//!                     +-> drm         -> map::drm        -+
//!                     +-> level_zero  -> map::level_zero -+-> choose: one source per metric -> Batch
//! ```
//!
//! The kernel comes first: most of it is readable without privilege, its energy counter does not wrap, and its
//! files say whether reading would wake the GPU. Level Zero fills in what the kernel does not tell. A GPU
//! that runtime power management has suspended is reported asleep and left asleep; one that idles is left
//! alone long enough to fall asleep.
//!
//! `raw` holds the only unsafe code; `rates` is what two readings tell that one does not; `cli` is what a user
//! can set.

mod choose;
mod cli;
mod drm;
mod identity;
mod level_zero;
mod map;
mod rates;
mod raw;
mod rest;
mod sampler;
mod session;

pub use cli::SPEC;
pub use drm::Roots;
pub use session::{Choice, XpuSource};

/// A value in the source's own unit, or why there is none.
type Got<T> = Result<T, reading::Fault>;
