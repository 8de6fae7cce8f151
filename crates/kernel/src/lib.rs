//! The kernel's interfaces that several sources read: files of sysfs and procfs below a root, and perf
//! events.
//!
//! Values are in the kernel's units (millidegrees, microwatts, kilohertz); the `map` of a vendor crate
//! converts them. A file is opened for each reading, so one that vanishes is a [`Fault`] until it is back.
//! Nothing here writes.
//!
//! | module | purpose |
//! |---|---|
//! | [`mod@file`] | one file: bounded reading, text, numbers, bytes, and the fault that an error means |
//! | [`hwmon`] | sensors: chips, their channels and labels |
//! | [`log`] | the last line of the kernel log about a device |
//! | [`open_files`] | which processes have a device node open |
//! | [`pci`] | functions by driver, their identity, link and runtime power state |
//! | [`perf`] | groups of perf events on one CPU |
//! | [`pmu`] | PMUs and their events by name |
//! | [`processes`] | whether a procfs shows every process of the machine |
//! | [`powercap`] | RAPL zones: energy and power limits |
//! | [`search`] | when to look again for files that were not found |
//!
//! [`Fault`]: reading::Fault
#![forbid(unsafe_code)]

pub mod file;
pub mod hwmon;
pub mod log;
pub mod open_files;
pub mod pci;
pub mod perf;
pub mod pmu;
pub mod powercap;
pub mod processes;
pub mod search;

pub use file::{File, entries};
pub use search::Search;
