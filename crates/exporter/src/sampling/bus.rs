//! The PCI functions of a family that are on the bus, whether or not a driver lists them.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use kernel::File;
use naming::PciMatch;

/// Lists one family's functions again and again.
pub struct PciBus {
    devices: PathBuf,
    wanted: PciMatch,
    /// Whether the function at each address matches: a server has hundreds of functions, whose files need to
    /// be read only when they appear.
    known: HashMap<OsString, bool>,
}

impl PciBus {
    /// The bus below `sysfs`.
    pub fn new(sysfs: &Path, wanted: PciMatch) -> Self {
        Self { devices: sysfs.join("bus/pci/devices"), wanted, known: HashMap::new() }
    }

    /// Addresses of the matching functions that a driver of this host may list now; `None` when this machine
    /// shows no PCI bus.
    pub fn functions(&mut self) -> Option<BTreeSet<OsString>> {
        let mut present: BTreeSet<_> =
            fs::read_dir(&self.devices).ok()?.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
        self.known.retain(|address, _| present.contains(address));
        for address in &present {
            if !self.known.contains_key(address) {
                let matches = self.matches(&self.devices.join(address));
                self.known.insert(address.clone(), matches);
            }
        }
        present.retain(|address| self.known[address] && !self.is_given_away(address));
        Some(present)
    }

    /// Whether the function is for a virtual machine: a virtual function of a board that is itself listed, or
    /// one that is bound to the driver for device passthrough.
    fn is_given_away(&self, address: &OsString) -> bool {
        let function = self.devices.join(address);
        let driver = fs::read_link(function.join("driver"));
        function.join("physfn").exists() || driver.is_ok_and(|driver| driver.ends_with("vfio-pci"))
    }

    fn matches(&self, function: &Path) -> bool {
        let read = |file| File::new(function, file).hex().ok();
        read("vendor") == Some(self.wanted.vendor.into())
            && read("class")
                .is_some_and(|class| self.wanted.classes.iter().any(|c| class >> 8 == u64::from(*c)))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn counts_functions_of_the_vendor_and_class_and_sees_changes() {
        let sysfs = tempfile::tempdir().expect("a folder");
        let mut bus = PciBus::new(sysfs.path(), PciMatch { vendor: 0x10de, classes: &[0x0302] });
        assert_eq!(bus.functions(), None, "no bus is not an empty bus");
        let function = |address: &str, vendor: &str, class: &str| {
            let dir = sysfs.path().join("bus/pci/devices").join(address);
            fs::create_dir_all(&dir).expect("a folder");
            fs::write(dir.join("vendor"), vendor).expect("a file");
            fs::write(dir.join("class"), class).expect("a file");
            dir
        };
        function("0000:00:00.0", "0x8086\n", "0x060000\n");
        function("0000:05:00.0", "0x10de\n", "0x068000\n");
        let gpu = function("0000:19:00.0", "0x10de\n", "0x030200\n");
        assert_eq!(bus.functions(), Some(BTreeSet::from(["0000:19:00.0".into()])));
        let bind = |function: &Path, driver: &str| {
            let connection = function.join("driver");
            let _ = fs::remove_file(&connection);
            symlink(Path::new("../../../bus/pci/drivers").join(driver), connection).expect("a connection");
        };
        let virtual_function = function("0000:19:00.4", "0x10de\n", "0x030200\n");
        symlink(&gpu, virtual_function.join("physfn")).expect("a connection");
        bind(&virtual_function, "nvidia");
        bind(&gpu, "nvidia");
        assert_eq!(bus.functions(), Some(BTreeSet::from(["0000:19:00.0".into()])), "a virtual function");
        bind(&gpu, "vfio-pci");
        assert_eq!(bus.functions(), Some(BTreeSet::new()), "a guest has it");
        bind(&gpu, "nvidia");
        assert_eq!(bus.functions(), Some(BTreeSet::from(["0000:19:00.0".into()])));
        fs::remove_dir_all(virtual_function).expect("removed");
        fs::remove_dir_all(gpu).expect("removed");
        assert_eq!(bus.functions(), Some(BTreeSet::new()));
    }
}
