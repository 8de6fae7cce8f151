//! Sockets of a Xeon: AMX occupancy and what surrounds it.
//!
//! `cpu` decodes CPUID and knows the models; `perf` is the kernel's perf events behind a trait, `pmu` names
//! their events and `groups` keeps them open on every CPU; `core` and `memory` count with them; `topology` and
//! `socket` read the kernel's files; `map` is the only place where a kernel unit becomes a base unit;
//! `sampler` runs a round, `session` lists sockets, `cli` is what a user can set.

#![forbid(unsafe_code)]

mod cpu;
mod groups;
mod perf;
mod pmu;
mod topology;
