//! Intel GPUs through two backends that fill the same readings: the kernel's files (drivers xe and i915), and
//! Level Zero Sysman.
//!
//! ```text
//! session -> sampler -+-> IdleBackoff: may an awake GPU be read now, or is it left alone to suspend?
//!                     +-> drm           -> map::drm        -+
//!                     +-> level_zero    -> map::level_zero -+-> choose: one source per metric -> Batch
//! ```
//!
//! The kernel comes first: most of its files are readable without privilege, its energy counter does not
//! wrap, and it reports whether reading would wake the GPU. Level Zero supplies what the kernel does not
//! report. A GPU that runtime power management has suspended is reported asleep and not woken; an idle one is
//! not read for long enough that it can suspend.
//!
//! `raw` holds the only unsafe code; `cli` declares the flags.

mod choose;
mod cli;
mod drm;
mod identity;
mod level_zero;
mod mandatory;
mod map;
mod models;
mod raw;
mod sampler;
mod session;

pub use cli::SPEC;
pub use drm::Roots;
pub use session::{BackendChoice, XpuSource};
