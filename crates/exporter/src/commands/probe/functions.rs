//! The PCI functions of a family in `probe`: which count as its devices, and why one is not listed.

use std::{collections::BTreeMap, path::Path};

use kernel::log;
use naming::Family;
use serde::Serialize;

use crate::sampling::bus::User;

/// A function of the family's vendor and class.
#[derive(Debug, Serialize)]
pub struct FunctionReport {
    /// As sysfs writes it.
    pub address: String,
    driver: Option<String>,
    /// Whether it counts as a device of the family.
    pub counted: bool,
    /// Whether the family's source lists it.
    pub listed: bool,
    /// Why it counts and is not listed, as far as the bus shows it.
    why: Option<String>,
    /// The last line of the kernel log about it, if it counts, is not listed and the log may be read.
    kernel_log: Option<String>,
}

/// The functions of a family; `listed` has the addresses of its devices.
pub fn reports(
    users: BTreeMap<String, User>,
    family: Family,
    listed: &[&str],
    sysfs: &Path,
) -> Vec<FunctionReport> {
    let drivers = family.pci().map_or(&[][..], |pci| pci.drivers);
    let report = |(address, user): (String, User)| {
        let is_listed = listed.contains(&address.as_str());
        let is_missing = user.counts() && !is_listed;
        FunctionReport {
            why: is_missing.then(|| why(&user, drivers, sysfs)),
            kernel_log: is_missing.then(|| log::last_line_about(&kernel_log(sysfs), &address)).flatten(),
            counted: user.counts(),
            listed: is_listed,
            driver: match user {
                User::Driver(driver) | User::Other(driver) => Some(driver),
                User::Nobody | User::Board => None,
            },
            address,
        }
    };
    users.into_iter().map(report).collect()
}

/// The kernel log of the machine whose sysfs this is.
fn kernel_log(sysfs: &Path) -> std::path::PathBuf {
    sysfs.parent().unwrap_or(Path::new("/")).join("dev/kmsg")
}

fn why(user: &User, drivers: &[&str], sysfs: &Path) -> String {
    let loaded = drivers.iter().find(|driver| sysfs.join("bus/pci/drivers").join(driver).exists());
    match (user, loaded) {
        (User::Driver(driver), _) => format!("{driver} drives it, and does not list it"),
        (_, Some(driver)) => {
            format!(
                "no driver has bound it: {driver} is loaded, and either refused it or was unbound from it"
            )
        }
        (_, None) => format!("no driver has bound it: {} is not loaded", drivers.join(" or ")),
    }
}

impl FunctionReport {
    /// Whether the family should have it as a device and has not.
    pub fn is_missing(&self) -> bool {
        self.counted && !self.listed
    }

    /// What people read about one that is missing.
    pub fn lines(&self) -> Vec<String> {
        let Some(why) = self.why.as_ref().filter(|_| self.is_missing()) else { return Vec::new() };
        let log = self.kernel_log.as_ref().map_or_else(
            || format!("read the kernel log about it: dmesg | grep {}", self.address),
            |line| format!("last line of the kernel log about it: {line}"),
        );
        vec![format!("  {}  not listed: {why}", self.address), format!("    {log}")]
    }
}

/// One line about the functions that count as no device; `None` where there are none.
pub fn not_counted(functions: &[FunctionReport]) -> Option<String> {
    let why = |function: &FunctionReport| match &function.driver {
        Some(driver) => format!("{} (bound to {driver})", function.address),
        None => format!("{} (a virtual function)", function.address),
    };
    let all: Vec<_> = functions.iter().filter(|function| !function.counted).map(why).collect();
    (!all.is_empty()).then(|| format!("  not counted: {}", all.join(", ")))
}
