//! `libhlml.so` over the simulated machine: HLML's C ABI, so that programs which open the driver's library at
//! run time (our exporter, habana-pyhlml) run on it unchanged.
//!
//! An entry point is a few lines: `entries!` (in `call`) checks the state of the library, turns C arguments
//! into safe ones, lets the faults of the control file happen, and runs the body, which only reads the
//! machine. Structs are those of the release that the machine's `hlml_version` names, with as many bytes
//! behind them as its `extra_struct_bytes` says. What a Gaudi does not have, what no client here calls and
//! what would change the machine returns `HLML_ERROR_NOT_SUPPORTED`.
//!
//! The variables `ACCELSIM_*` are those of the other simulated libraries (machines/README.md). One symbol is
//! not HLML's: `const char *accelsim_machine(void)` returns the profile's name, so that a program can report
//! that its values are simulated.
//!
//! A panic cannot leave through the C ABI: an `extern "C"` function that unwinds aborts the process, and the
//! bodies neither index out of bounds nor unwrap.

// A model's floats become the integers that the ABI reports; `as` saturates, which is what a sensor does.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod args;
mod call;
mod device;
mod events;
mod init;
mod session;
mod unsupported;
