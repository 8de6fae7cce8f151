//! The PCI functions of a family that are on the bus, whether or not a driver lists them, and which of them
//! count as its devices.
//!
//! One rule for every family and for both sides, what is expected and what is found: a function counts if the
//! family's driver has bound it, or if no driver has, since then the family's should have. One that another
//! driver has bound is not the family's, and a virtual function is part of a board that counts by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use kernel::{File, pci::Function};
use naming::PciMatch;
use reading::{Found, Measured};

/// Who uses a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// A driver of the family.
    Driver(String),
    /// No driver.
    Nobody,
    /// A driver of another purpose, such as one that gives the function to a guest.
    Other(String),
    /// The board that it is a virtual function of.
    Board,
}

impl User {
    /// Whether the function counts as a device of the family.
    pub fn counts(&self) -> bool {
        matches!(self, Self::Driver(_) | Self::Nobody)
    }
}

/// Lists one family's functions again and again.
pub struct PciBus {
    sysfs: PathBuf,
    wanted: PciMatch,
    /// Whether the function at each address matches, once that could be read: a server has hundreds of functions,
    /// whose files need to be read only when they appear, and one that appears has its folder before its files.
    known: BTreeMap<String, bool>,
}

impl PciBus {
    /// The bus below `sysfs`.
    pub fn new(sysfs: &Path, wanted: PciMatch) -> Self {
        Self { sysfs: sysfs.to_owned(), wanted, known: BTreeMap::new() }
    }

    /// The matching functions by address, with their users; `None` when this machine shows no PCI bus.
    pub fn users(&mut self) -> Option<BTreeMap<String, User>> {
        let entries = fs::read_dir(self.sysfs.join("bus/pci/devices")).ok()?;
        let present: BTreeSet<_> =
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        self.known.retain(|address, _| present.contains(address));
        for address in present {
            if !self.known.contains_key(&address)
                && let Ok(matches) = self.matches(&address)
            {
                self.known.insert(address, matches);
            }
        }
        let matching = self.known.iter().filter(|(_, matches)| **matches);
        Some(matching.map(|(address, _)| (address.clone(), self.user(address))).collect())
    }

    /// How many of the devices that a driver lists count. One that says of no function that it is its own does.
    pub fn count(&self, found: &[Found]) -> usize {
        let counts =
            |found: &&Found| found.address.as_ref().is_none_or(|address| self.user(address).counts());
        found.iter().filter(counts).count()
    }

    /// Who uses a function. One that is not on the bus is a driver's own matter and has no user here.
    fn user(&self, address: &str) -> User {
        let function = Function::at(&self.sysfs, address);
        if function.is_virtual() {
            return User::Board;
        }
        match function.driver() {
            None => User::Nobody,
            Some(driver) if self.wanted.drivers.contains(&driver.as_str()) => User::Driver(driver),
            Some(driver) => User::Other(driver),
        }
    }

    fn matches(&self, address: &str) -> Measured<bool> {
        let function = Function::at(&self.sysfs, address);
        let class = File::new(&function.folder, "class").hex()?;
        let is_class = self.wanted.classes.iter().any(|wanted| class >> 8 == u64::from(*wanted));
        Ok(is_class && function.vendor()? == u64::from(self.wanted.vendor))
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, sync::Arc};

    use naming::Family;
    use reading::Identity;

    use super::*;

    struct Machine {
        sysfs: tempfile::TempDir,
        bus: PciBus,
    }

    impl Machine {
        fn of(family: Family) -> Self {
            let sysfs = tempfile::tempdir().expect("a folder");
            let bus = PciBus::new(sysfs.path(), family.pci().expect("on the bus"));
            Self { sysfs, bus }
        }

        fn folder(&self, address: &str) -> PathBuf {
            self.sysfs.path().join("bus/pci/devices").join(address)
        }

        fn plug(&self, address: &str, vendor: u16, class: u32) {
            let folder = self.folder(address);
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(folder.join("vendor"), format!("{vendor:#06x}\n")).expect("a file");
            fs::write(folder.join("class"), format!("{class:#08x}\n")).expect("a file");
        }

        fn bind(&self, address: &str, driver: &str) {
            let link = self.folder(address).join("driver");
            let _ = fs::remove_file(&link);
            if !driver.is_empty() {
                symlink(Path::new("../../../bus/pci/drivers").join(driver), link).expect("linked");
            }
        }

        fn counted(&mut self) -> Option<Vec<String>> {
            let users = self.bus.users()?.into_iter();
            Some(users.filter(|(_, user)| user.counts()).map(|(address, _)| address).collect())
        }

        /// How many count of the devices that a driver lists at these addresses.
        fn found(&self, addresses: &[&str]) -> usize {
            let found = |address: &&str| Found {
                key: (*address).to_owned(),
                address: Some((*address).to_owned()).filter(|address| !address.is_empty()),
                identity: Arc::new(Identity::new(Family::Xpu, *address)),
                open: Box::new(|| unreachable!("nothing is opened here")),
            };
            self.bus.count(&addresses.iter().map(found).collect::<Vec<_>>())
        }
    }

    #[test]
    fn functions_of_the_vendor_and_class_count_and_changes_are_seen() {
        let mut machine = Machine::of(Family::Nvidia);
        assert_eq!(machine.counted(), None, "no bus is not an empty bus");
        machine.plug("0000:00:00.0", 0x8086, 0x06_0000);
        machine.plug("0000:05:00.0", 0x10de, 0x06_8000);
        machine.plug("0000:19:00.0", 0x10de, 0x03_0200);
        assert_eq!(machine.counted(), Some(vec!["0000:19:00.0".to_owned()]));
        fs::remove_dir_all(machine.folder("0000:19:00.0")).expect("removed");
        assert_eq!(machine.counted(), Some(vec![]));
    }

    #[test]
    fn a_function_whose_files_come_after_its_folder_is_seen_with_them() {
        let mut machine = Machine::of(Family::Nvidia);
        let folder = machine.folder("0000:19:00.0");
        fs::create_dir_all(&folder).expect("a folder");
        assert_eq!(machine.counted(), Some(vec![]));
        fs::write(folder.join("class"), "").expect("a file");
        assert_eq!(machine.counted(), Some(vec![]));
        machine.plug("0000:19:00.0", 0x10de, 0x03_0200);
        assert_eq!(machine.counted(), Some(vec!["0000:19:00.0".to_owned()]));
    }

    #[test]
    fn what_another_driver_has_bound_counts_on_neither_side_in_any_family() {
        for family in Family::ALL {
            let Some(pci) = family.pci() else { continue };
            let mut machine = Machine::of(family);
            let (own, other) = ("0000:19:00.0", "0000:1a:00.0");
            for address in [own, other] {
                machine.plug(address, pci.vendor, u32::from(pci.classes[0]) << 8);
            }
            for driver in [pci.drivers, &[""]].concat() {
                machine.bind(own, driver);
                for guest in ["vfio-pci", "nvgrace_vfio_pci", "pci-stub", "xe-vfio-pci"] {
                    machine.bind(other, guest);
                    assert_eq!(machine.counted(), Some(vec![own.to_owned()]), "{family} {driver} {guest}");
                    assert_eq!(machine.found(&[own, other]), 1, "{family} {driver} {guest}");
                }
                machine.bind(other, "");
                assert_eq!(
                    machine.counted().map(|all| all.len()),
                    Some(2),
                    "{family}: its driver should bind it"
                );
            }
        }
    }

    #[test]
    fn a_virtual_function_hides_no_lost_card() {
        let mut machine = Machine::of(Family::Xpu);
        for address in ["0000:03:00.0", "0000:03:00.1", "0000:04:00.0"] {
            machine.plug(address, 0x8086, 0x03_0000);
        }
        machine.bind("0000:03:00.0", "xe");
        machine.bind("0000:03:00.1", "xe");
        symlink("../0000:03:00.0", machine.folder("0000:03:00.1").join("physfn")).expect("linked");
        assert_eq!(machine.counted().map(|all| all.len()), Some(2), "the second card has lost its driver");
        assert_eq!(machine.found(&["0000:03:00.0", "0000:03:00.1"]), 1);
        assert_eq!(machine.found(&["", "0000:ff:00.0"]), 2, "not on the bus that is visible here");
    }
}
