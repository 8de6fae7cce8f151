//! NVIDIA GPUs through NVML and GPM: one source, both vocabularies.
//!
//! `raw` says what NVML says; `map` is the only place where a vendor unit becomes a base unit; `sampler`
//! keeps what must be remembered between two rounds; `session` opens the library and enumerates; `xid`
//! keeps the XIDs that the event thread hears; `identity` builds labels; `cli` and `counters` are what a
//! user can set.

mod cli;
mod counters;
mod identity;
mod map;
mod raw;
mod sampler;
mod session;
mod xid;

pub use cli::SPEC;
