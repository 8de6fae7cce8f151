//! Intel Gaudi through HLML and the kernel's files: one source, both vocabularies.
//!
//! `raw` calls HLML, one call at a time; `driver` and `sensors` read the driver's files; `map` is the only
//! place where values of either become base units. `sampler` runs a round, and `mandatory` a part of it; `announced`
//! records events, also of a card that is lost; `session` opens the library or does without, and lists devices;
//! `identity` builds labels; `cli` is what a user can set.

mod announced;
mod cli;
mod driver;
mod identity;
mod mandatory;
mod map;
mod raw;
mod sampler;
mod sensors;
mod session;

pub use cli::SPEC;
