//! A card that a driver has bound: where it is, and its PCIe slot.

use std::path::{Path, PathBuf};

use kernel::{
    File,
    pci::{Function, Link},
};
use reading::{Fault, FaultCode, Measured};

use super::gt::numbered;
use crate::raw::drm::Driver;

/// What the link between a card's switch and its GPU reports; no card of Intel's has so narrow a slot.
const LINK_INSIDE_THE_CARD: Link = Link { generation: 1, width: 1 };

/// A card that xe or i915 drives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Its PCI function.
    pub function: Function,
    /// `card1`, which may be another function's after a boot, and after the driver was unbound and bound.
    pub name: String,
    /// `renderD128`, where it has one.
    pub render_node: Option<String>,
    /// Its driver.
    pub driver: Driver,
    /// Whether the GPU shares die and memory with the CPU.
    pub integrated: bool,
}

/// The upper bytes of the PCI device ids of discrete parts: Ponte Vecchio, DG1, DG2 (two), Crescent Island,
/// Battlemage. Those of integrated GPUs begin otherwise.
const DISCRETE: [u64; 6] = [0x0b, 0x49, 0x4f, 0x56, 0x67, 0xe2];

/// Whether a function is an integrated GPU. Its address says nothing: a guest has any GPU at any address.
/// Of parts that are newer than the table, only the discrete have a hwmon chip.
fn is_integrated(function: &Function) -> bool {
    let is_discrete = |device: u64| DISCRETE.contains(&(device >> 8));
    !function.device().is_ok_and(is_discrete) && !function.folder.join("hwmon").exists()
}

impl Card {
    /// The cards of the machine, by PCI address.
    pub fn all(sysfs: &Path) -> Vec<Self> {
        let driven = [Driver::Xe, Driver::I915].into_iter().flat_map(|driver| {
            Function::driven_by(sysfs, driver.name()).into_iter().map(move |function| (driver, function))
        });
        let mut cards: Vec<_> = driven
            .filter_map(|(driver, function)| {
                let node = |prefix: &str| {
                    let (number, _) = numbered(&function.folder.join("drm"), prefix).next()?;
                    Some(format!("{prefix}{number}"))
                };
                let (name, render_node) = (node("card")?, node("renderD"));
                let integrated = is_integrated(&function);
                Some(Self { function, name, render_node, driver, integrated })
            })
            .collect();
        cards.sort_by(|a, b| a.function.address.cmp(&b.function.address));
        cards
    }

    /// The function whose PCIe link is the slot's. Discrete cards have a switch of their own in front of the
    /// GPU. Its link to the GPU is inside the package and reports 2.5 GT/s x1 whatever the slot does, so the
    /// link that counts is that of the switch's upstream port, two functions above the GPU. Intel's own
    /// driver reads it there on every discrete part (compute-runtime, `LinuxPciImp::getPciLinkSpeed` where
    /// `isUpstreamPortConnected`: DG1, DG2, PVC, BMG, CRI), and so does nvtop (pull request 344, with the bus
    /// of an A770).
    ///
    /// # Errors
    /// `inside_the_card` where the switch is not visible, as in a virtual machine that was given the GPU alone;
    /// `integrated` where the GPU is in no slot.
    pub fn slot(&self) -> Measured<Function> {
        if self.integrated {
            return Err(Fault::new("current_link_speed", FaultCode::Integrated));
        }
        let upstream = || {
            let gpu = self.function.folder.canonicalize().ok()?;
            // root port / upstream port / downstream port / GPU
            let (upstream, root) = (gpu.ancestors().nth(2)?, gpu.ancestors().nth(3)?);
            let is_function = |folder: &Path| folder.join("vendor").exists();
            let of_intel = File::new(upstream, "vendor").hex() == Ok(0x8086);
            let bridge = File::new(upstream, "class").hex().is_ok_and(|class| class >> 8 == 0x0604);
            let address = upstream.file_name()?.to_str()?.to_owned();
            (of_intel && bridge && is_function(root))
                .then(|| Function { address, folder: upstream.to_owned() })
        };
        match upstream() {
            Some(port) => Ok(port),
            None if self.function.link_max() == Ok(LINK_INSIDE_THE_CARD) => {
                Err(Fault::new("max_link_speed", FaultCode::InsideTheCard))
            }
            None => Ok(self.function.clone()),
        }
    }

    /// Whether the card still is what the driver made of its function.
    ///
    /// # Errors
    /// `unbound` when the function has no driver any more, or its card another name.
    pub fn check(&self) -> Measured<()> {
        if self.folder().exists() { Ok(()) } else { Err(Fault::new("drm", FaultCode::Unbound)) }
    }

    /// Its folder in the drm class.
    pub fn folder(&self) -> PathBuf {
        self.function.folder.join("drm").join(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use kernel::pci::{Function, Link};

    use super::{Card, Driver};

    fn function(folder: &Path, vendor: &str, class: &str, speed: &str, width: u32) {
        fs::create_dir_all(folder).expect("created");
        let (speed, width) = (format!("{speed} GT/s PCIe"), width.to_string());
        for (name, text) in [
            ("vendor", vendor),
            ("class", class),
            ("current_link_speed", &speed),
            ("current_link_width", &width),
            ("max_link_speed", &speed),
            ("max_link_width", &width),
        ] {
            fs::write(folder.join(name), format!("{text}\n")).expect("written");
        }
    }

    #[test]
    fn the_link_is_the_slots_and_not_the_one_inside_the_card() {
        let slots = Link { generation: 5, width: 8 };
        for (vendor, inside, expected) in [
            ("0x8086", ("2.5", 1), Ok(slots)),
            // A switch of another vendor is the mainboard's: then the card's own is hidden, or it has none.
            ("0x10b5", ("2.5", 1), Err("inside_the_card")),
            ("0x10b5", ("16.0", 4), Ok(Link { generation: 4, width: 4 })),
        ] {
            let sysfs = tempfile::tempdir().expect("a folder");
            let root = sysfs.path().join("devices/pci0000:00/0000:00:01.0");
            let upstream = root.join("0000:01:00.0");
            let gpu = upstream.join("0000:02:01.0/0000:03:00.0");
            function(&root, "0x8086", "0x060400", "32.0", 16);
            function(&upstream, vendor, "0x060400", "32.0", 8);
            function(&gpu, "0x8086", "0x030000", inside.0, inside.1);
            let devices = sysfs.path().join("bus/pci/devices");
            fs::create_dir_all(&devices).expect("created");
            symlink(&gpu, devices.join("0000:03:00.0")).expect("linked");
            let function = Function::at(sysfs.path(), "0000:03:00.0");
            let card = Card {
                function,
                name: "card1".to_owned(),
                render_node: None,
                driver: Driver::Xe,
                integrated: false,
            };
            let link = card.slot().and_then(|slot| slot.link());
            assert_eq!(link.map_err(|fault| fault.code.name()), expected, "{vendor} {inside:?}");
            let none = Card { integrated: true, ..card }.slot().map_err(|fault| fault.code.name());
            assert_eq!(none, Err("integrated"));
        }
    }
}
