//! `libnvidia-ml.so.1` over the simulated machine: NVML's C ABI, so that programs which open the driver's
//! library at run time (our exporter, nvidia-ml-py, nvml-wrapper, NVIDIA's own tools) run on it unchanged.
//!
//! An entry point is a few lines: `entries!` (in `call`) checks the state of the library, turns C arguments
//! into safe ones, lets the faults of the control file happen, and runs the body, which only reads the
//! machine. A function for what the real part does not have returns `NVML_ERROR_NOT_SUPPORTED`, and so does
//! every function of `nvml.h` that no client here calls (`unsupported`).
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `ACCELSIM_MACHINE` | name of a profile in `machines/`, or a path | `h100-sxm-8` |
//! | `ACCELSIM_CONTROL` | control file: faults and changes while it runs | none |
//! | `ACCELSIM_CLOCK` | `fixed:<unix seconds>` freezes the clock | wall clock |
//! | `ACCELSIM_WORKLOAD` | `mixed`, `idle`, `prefill`, `decode`, `burst`, `hot` | `mixed` |
//! | `ACCELSIM_SEED` | identities and small variations | 1 |
//! | `ACCELSIM_DEV` | folder with the files `nvidiactl` and `nvidia<N>`, which are held open as by the driver's library | none |
//! | `ACCELSIM_WAKES` | file that grows by a line for each call that would have woken a sleeping device | none |
//!
//! The variables are read by the `nvmlInit` that finds the library uninitialised. One symbol is not NVML's:
//! `const char *accelsim_machine(void)` returns the profile's name, so that a program can report that its
//! values are simulated.
//!
//! A panic cannot leave through the C ABI: an `extern "C"` function that unwinds aborts the process, and the
//! bodies neither index out of bounds nor unwrap.

// C's names are the ABI.
#![allow(non_snake_case)]
// A model's floats become the integers that the ABI reports; `as` saturates, which is what a sensor does.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

pub mod abi;

mod args;
mod call;
mod clocks;
mod ecc;
mod events;
mod fields;
mod gpm;
mod handle;
mod identity;
mod init;
mod lists;
mod memory;
mod mig;
mod nodes;
mod nvlink;
mod parts;
mod pcie;
mod processes;
mod repairs;
mod session;
mod system_events;
mod thermal_power;
mod topology;
mod unsupported;
mod utilization;
