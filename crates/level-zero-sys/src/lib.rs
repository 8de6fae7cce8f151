//! Sysman, the management interface of oneAPI Level Zero: its structs, its constants, and its functions,
//! looked up at run time in the loader (`libze_loader.so.1`). Each function is optional.
//!
//! Layouts, values and prototypes are those of `zes_api.h` (specification 1.17), written anew and compared
//! with the header by a C compiler in the tests. Enumerations are plain numbers: a newer driver may return a
//! value that is unknown to this crate, and drivers return values that are in no header.
//!
//! The calls are safe: handles come from enumeration only, and the loader is never unloaded, so a handle
//! stays valid for the life of the process.

mod calls;
mod structs;

pub mod code;
pub mod value;

pub use calls::{
    Celsius, Device, Driver, Engine, FabricPort, Failure, Fan, Frequency, InitFunction, LevelZero, Memory,
    OpenError, Power, Ras, SYSMAN_VARIABLE, Temperature, Why,
};
pub use structs::*;
