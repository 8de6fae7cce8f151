//! NVIDIA GPUs through NVML and GPM: one source, both vocabularies.
//!
//! `raw` calls NVML, in its units and names; `map` is the only place where a vendor unit becomes a base unit;
//! `sampler` runs a round, and `mandatory` a part of it; `ceilings` drops what the board cannot do, and `rates` derives
//! rates and sums from several; `session` opens the library and lists devices; `resting` says when a board is not read,
//! because it sleeps or should be able to; `listener` receives events, `announced` remembers them, and `xid` says which XIDs
//! are exported; `identity` builds labels; `cli` and `counters` are what a user can set.

mod aliases;
mod announced;
mod ceilings;
mod cli;
mod clients;
mod counters;
mod identity;
mod listener;
mod mandatory;
mod map;
mod rates;
mod raw;
mod resting;
mod sampler;
mod session;
mod xid;

pub use cli::SPEC;
