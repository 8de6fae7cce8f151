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

use std::path::{Path, PathBuf};

/// A simulated machine, as the root of its kernel files names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simulated {
    /// What the machine is called.
    pub name: String,
    /// Where beside kernel files lies what a file cannot say.
    pub folder: PathBuf,
}

/// The simulated machine whose files lie below this root, if it is one: no kernel has a folder `accelsim`.
pub fn simulated(root: &Path) -> Option<Simulated> {
    let folder = root.join("accelsim");
    let name = File::new(&folder, "machine").text().ok()?;
    Some(Simulated { name, folder })
}
