//! Intel Gaudi through HLML and the kernel's files: one source, both vocabularies.
//!
//! `raw` says what HLML says, one call at a time; `kernel` and `sensors` say what the driver's files say;
//! `map` is the only place where either becomes a base unit. `sampler` runs a round, `slow` reads what takes
//! long beside it, `events` remembers what happened; `session` opens the library or does without, and lists
//! devices; `identity` builds labels; `cli` is what a user can set.

mod cli;
mod driver;
mod identity;
mod map;
mod raw;
mod sampler;
mod sensors;
mod session;
mod slow;

pub use cli::SPEC;
