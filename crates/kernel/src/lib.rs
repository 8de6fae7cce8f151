//! Kernel files, for every source that reads some: what sysfs and procfs say below a root, bounded and with
//! absence spelled.
//!
//! Values come as the kernel writes them (millidegrees, microwatts, kilohertz); the `map` of a vendor crate
//! makes base units of them. Nothing here is cached but paths: a file that vanishes is a [`Fault`] of its own,
//! and is found again when it is back. Nothing here writes.
//!
//! | module | room |
//! |---|---|
//! | [`mod@file`] | one file: text, numbers, bytes, and what each error means |
//! | [`hwmon`] | sensors: chips, their channels and labels |
//! | [`pci`] | functions by driver, their identity, link and runtime power state |
//! | [`perf`] | counting events of a PMU on one CPU |
//! | [`pmu`] | PMUs and the names of their events |
//! | [`powercap`] | RAPL zones: energy, limits |
//!
//! [`Fault`]: reading::Fault
#![forbid(unsafe_code)]

pub mod file;
pub mod hwmon;
pub mod pci;
pub mod perf;
pub mod pmu;
pub mod powercap;

pub use file::{File, entries};
