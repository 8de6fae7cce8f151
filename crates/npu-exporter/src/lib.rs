//! Intel NPUs through the driver `intel_vpu`'s files and the SoC's PMT telemetry.
//!
//! | module | purpose |
//! |---|---|
//! | `session` | the source: the driver and the NPUs that it has bound |
//! | `sampler` | one round over an NPU |
//! | `part` | names and rated performance by PCI device id |
//! | `raw` | kernel files of an NPU, in the kernel's units |
//! | `telemetry` | registers of the SoC's PMT region |
//! | `rates` | what two rounds give that one does not |
//! | `map` | from the kernel's units to base units and the catalogue |

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
