//! Intel NPUs through the driver `intel_vpu`'s files and the SoC's PMT telemetry.
//!
//! `part` knows the models; `raw` reads what the kernel says, in its units; `telemetry` finds and reads the
//! PMT region; `rates` keeps what rounds add up to; `map` is the only place where a kernel unit becomes a base
//! unit; `sampler` runs a round, `session` lists devices and is all that the command line needs.

#![forbid(unsafe_code)]

mod map;
mod part;
mod rates;
mod raw;
mod sampler;
mod session;
mod telemetry;

pub use session::SPEC;

#[cfg(test)]
mod tests;
