//! Sysman over the simulated machine, two ways into one library:
//!
//! - as a **driver** that the real loader opens: `ZE_ENABLE_ALT_DRIVERS` names this file, `ZES_ENABLE_SYSMAN=1`
//!   lets `zeInit` open Sysman too, and a loader of 1.5 or later opens it by `zesInit`. The loader asks for tables of
//!   functions (`tables`); every table of the headers has to be there, and those for compute are empty;
//! - as a stand-in for a **loader** that has `zesInit` (specification 1.5), which Debian 12's has not: the same
//!   functions under their names.
//!
//! Preloaded into a program, it also implements `ioctl` and `statx` of the machine's render nodes (`render_node`).
//!
//! A function for what the profile's part does not have returns what Intel's driver returns: Battlemage
//! counts no errors and has no fabric, an integrated GPU reports host memory and has no sensors, engines are
//! listed to root alone.
//!
//! The machine is the one that `ACCELSIM_MACHINE` and its sisters name; see `sim-nvml`. Each device's brand
//! name is `accelsim:` and the machine, so that a program can report that its values are simulated.
//! `ACCELSIM_WAKES` names a file that grows by a line for each call that would have woken a sleeping device;
//! `ACCELSIM_EUID` overrides the user of the process.

// C's names are the ABI.
#![allow(non_snake_case)]
// A model's floats become the integers that the ABI reports; `as` saturates, which is what a sensor does.
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

mod call;
mod device;
mod parts;
mod render_node;
pub mod tables;
