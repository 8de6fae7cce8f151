//! HLML as it is at run time: a library that is opened, symbols that may be missing, return codes that may be
//! new, and structs that have grown from release to release.
//!
//! HLML has no versioned structs and no soname, and the only public header describes the oldest release. So
//! nothing here is a Rust struct that the library writes into: [`layout`] says, for each [`Generation`], which
//! bytes mean what, and a caller gives the library a buffer that is larger than any of them.
//!
//! Sources: `hlml.h` of gohlml (MIT) for prototypes, the ctypes definitions of habana-pyhlml 1.10 to 1.24 for
//! what came later. `tests/clients.rs` compares every layout with those definitions again.

pub mod constants;
pub mod layout;
mod result;
mod symbols;

pub use layout::{Generation, Layout, Span};
pub use result::Return;
pub use symbols::{Device, EventSet, Hlml};
