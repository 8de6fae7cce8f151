//! Sysman, the management half of oneAPI Level Zero: its structs, its constants, and its functions opened
//! at run time from the loader (`libze_loader.so.1`), each of them optional.
//!
//! Layouts, values and prototypes are those of `zes_api.h` (specification 1.17), typed anew and compared
//! with the header by a C compiler in the tests. Enumerations are plain numbers here: a driver newer than
//! this crate may answer a value that it does not know, and a driver does answer values that no header has.
//!
//! The calls are safe: handles come from enumeration alone, and the loader is never unloaded, so a handle
//! stays one for the life of the process.

mod calls;
mod structs;

pub mod code;
pub mod value;

pub use calls::{
    Device, Driver, Engine, FabricPort, Failure, Fan, Frequency, LevelZero, Memory, OpenError, Power, Ras,
    SYSMAN_VARIABLE, Temperature, Way,
};
pub use structs::*;
