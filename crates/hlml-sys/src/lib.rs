//! HLML opened at run time: symbols that may be missing, return codes that may be new, and structs that grow
//! from release to release.
//!
//! HLML has no versioned structs and no soname, and the only public header describes the oldest release. The
//! library therefore never writes into a Rust struct: [`layout`] contains the offsets for each
//! [`Generation`], and the caller passes a buffer that is larger than any of the structs.
//!
//! Sources: `hlml.h` of gohlml (MIT) for prototypes, the ctypes definitions of habana-pyhlml 1.10 to 1.24 for
//! later additions. `tests/clients.rs` compares every layout with those definitions.

pub mod constants;
pub mod layout;
mod result;
mod symbols;

pub use layout::{Generation, Layout, Span};
pub use result::Return;
pub use symbols::{Device, EventSet, Hlml};
