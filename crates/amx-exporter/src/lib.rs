//! Sockets of a Xeon: AMX occupancy and what surrounds it.
//!
//! `cpu` decodes CPUID and knows the models; `perf` is the kernel's perf events behind a trait, `pmu` names
//! their events and `groups` keeps them open on every CPU; `cores` and `memory` count with them; `topology` and
//! `raw` read the kernel's files; `rates` keeps what rounds
//! add up to; `map` is the only place where a kernel unit becomes a base unit;
//! `sampler` runs a round, `session` lists sockets, `cli` is what a user can set.

#![forbid(unsafe_code)]

mod cli;
mod cores;
mod cpu;
mod groups;
mod map;
mod memory;
mod perf;
mod pmu;
mod rates;
mod raw;
mod sampler;
mod session;
mod topology;

pub use cli::SPEC;

#[cfg(test)]
mod tests;
