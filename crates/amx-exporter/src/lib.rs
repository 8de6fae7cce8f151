//! Sockets of a Xeon: AMX occupancy and what surrounds it.
//!
//! | module | purpose |
//! |---|---|
//! | `cli` | the flags of the source |
//! | `session` | the processor, and its sockets |
//! | `sampler` | one round over a socket |
//! | `cpu` | CPUID decoded, and the models whose AMX can be counted |
//! | `topology` | which CPUs are in which socket, die and core |
//! | `perf` | perf events of the kernel, behind a trait |
//! | `simulated` | the same of a simulated machine |
//! | `groups` | event groups, open on every CPU through hot-plug |
//! | `cores`, `memory` | what the cores and the memory controllers of a socket count |
//! | `raw` | kernel files of a socket, in the kernel's units |
//! | `throttling` | whether heat or the power limit holds the clocks down |
//! | `map` | from the kernel's units to base units and the catalogue |

#![forbid(unsafe_code)]

mod cli;
mod cores;
mod cpu;
mod groups;
mod mandatory;
mod map;
mod memory;
mod perf;
mod raw;
mod sampler;
mod session;
mod simulated;
mod throttling;
mod topology;

pub use cli::SPEC;

#[cfg(test)]
mod tests;
