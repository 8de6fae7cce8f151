//! NVIDIA GPUs through NVML and GPM: one source, both vocabularies.
//!
//! `raw` says what NVML says; `map` is the only place where a vendor unit becomes a base unit; `sampler`
//! runs a round and `rates` keeps what rounds add up to; `session` opens the library and lists devices;
//! `listener` hears XIDs and `xid` remembers them; `identity` builds labels; `cli` and `counters` are what
//! a user can set.

mod cli;
mod counters;
mod identity;
mod listener;
mod map;
mod rates;
mod raw;
mod sampler;
mod session;
mod xid;

pub use cli::SPEC;
