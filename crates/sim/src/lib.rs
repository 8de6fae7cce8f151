//! The simulated machine: what its devices are, what they are doing, and what is wrong with them.
//!
//! No machine here has an accelerator, so the vendors' C libraries are imitated (`sim-nvml`, ...) over the
//! state kept in this crate. That state is a **pure function of profile, seed and clock**: two processes that
//! open the same machine read the same values, and a frozen clock gives the same bytes for ever.
//!
//! | module | purpose |
//! |---|---|
//! | [`profile`] | what the machine is: a TOML file of `machines/`, compiled in or read from disk |
//! | [`clock`] | the wall clock, or one frozen instant |
//! | [`workload`] | the load of the devices: phases by schedule |
//! | [`cycle`] | what follows from the load, computed for one period: power, heat, clocks, traffic, their integrals |
//! | [`machine`] | a profile, a cycle and the variation from device to device |
//! | [`device`] | one device at one moment: every quantity, with its unit in its name |
//! | [`control`] | the control file: faults, errors and topology changes, while the machine runs |
//! | [`conditions`] | the control tables checked against a machine, and what they mean at a given time |
//! | [`live`] | a machine with its clock and its control file, as the libraries hold it |
//! | [`mig`] | how a GPU is cut into instances |
//! | [`part`] | a part that the kernel alone shows: its table, cycle, clock and control file |
//! | [`family`] | the families of devices: what each has beyond the others, and what the kernel shows of it |
//! | [`bus`] | the machine's PCI bus as sysfs shows it |
//! | [`kernel`] | a machine's kernel files below a root, kept up to date |
//! | `engine` | an inference engine beside the machine, and its metrics over HTTP (feature `engine`) |
//! | [`library`] | an older driver: a copy of a library with symbols taken out |
//!
//! Nothing here knows the ABI of a vendor's library, and nothing here is `unsafe`.
#![forbid(unsafe_code)]
// A model's floats become the integers that hardware reports; `as` saturates, which is what a sensor does.
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

pub mod bus;
pub mod clock;
pub mod conditions;
pub mod control;
pub mod cycle;
pub mod device;
pub mod engine;
pub mod family;
mod hash;
pub mod kernel;
pub mod library;
pub mod live;
pub mod machine;
pub mod mig;
pub mod part;
pub mod profile;
pub mod workload;

pub use control::Control;
pub use device::Device;
pub use live::{Live, Options};
pub use machine::Machine;
pub use profile::Profile;
