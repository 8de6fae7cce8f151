//! Labels: who a Gaudi is, in both vocabularies.

use std::{path::Path, sync::Arc};

use kernel::pci::Function;
use naming::{Family, Label};
use reading::{Alias, Identity, Labels, Prior};
use source::Place;

use crate::{
    driver::{self, Node},
    raw::Hpu,
};

/// HPUs are called this and a number.
pub const PREFIX: &str = "hpu";

/// What a card is called for as long as it is remembered, however the driver numbers cards later.
#[derive(Clone, Copy, Debug, Default)]
pub struct Numbers {
    /// The number in its name: of its node when it was first listed, unless another card had that.
    pub name: u32,
    /// The vendor's label `id`: its place in the library's list, likewise.
    pub id: u32,
}

impl Numbers {
    /// The numbers of a card at a place of a list. A new one whose `index` is the id of another card has the
    /// number in its name for it, which is no other card's.
    pub fn new(place: &Place, index: u32, prior: &Prior) -> Self {
        let id = |identity: &Identity| {
            let (_, id) = identity.vendor.iter().find(|(name, _)| *name == ID)?;
            id.parse::<u32>().ok()
        };
        let is_taken = prior.remembered.iter().any(|other| id(&other.identity) == Some(index));
        let new = if is_taken { place.number } else { index };
        Self { name: place.number, id: place.before.as_deref().and_then(id).unwrap_or(new) }
    }
}

/// The label of the vendor's vocabulary that has a card's index.
const ID: &str = "id";

/// Labels that an info metric has when everything is known.
const FACTS: usize = 14;

/// Whether the labels of an info metric lack nothing.
pub fn is_complete(info: &Labels) -> bool {
    info.names().count() == FACTS
}

/// What does not change while a card is plugged in. Empty text stands for what neither library nor driver
/// has.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The lasting numbers in its name and in the vendor's label `id`.
    numbers: Numbers,
    node: String,
    device_number: Option<u64>,
    resource_name: String,
    uuid: String,
    serial: String,
    model: String,
    device_type: String,
    pci_bus_id: String,
    module: String,
    driver_version: String,
    library_version: String,
    fit_version: String,
    spi_version: String,
    cpld_version: String,
    pcb_versions: [String; 2],
}

impl Inventory {
    /// Reads it from library and driver; either may be missing. `uuid` is empty where it is not unique.
    pub fn read(
        numbers: Numbers,
        address: &str,
        uuid: String,
        hpu: Option<&Hpu>,
        node: Option<&Node>,
        sysfs: &Path,
    ) -> Self {
        let file = |name| node.and_then(|node| node.text(name)).unwrap_or_default();
        let first = |files: &[&'static str], library: Option<String>| {
            let found = files.iter().map(|name| file(name)).find(|text| !text.is_empty());
            found.or(library).unwrap_or_default()
        };
        let library = |read: fn(&Hpu) -> Option<String>| hpu.and_then(read);
        let module = library(|hpu| hpu.module_id().ok().map(|module| module.to_string()));
        let pcb = hpu.and_then(|hpu| hpu.pcb_versions().ok()).unwrap_or_default();
        let driver = driver::driver_version(sysfs).ok();
        Self {
            numbers,
            node: node.map(Node::name).unwrap_or_default(),
            device_number: node.and_then(Node::device_number),
            resource_name: Function::at(sysfs, address).resource_name().unwrap_or_default(),
            uuid,
            serial: library(|hpu| hpu.serial().ok()).unwrap_or_default(),
            model: library(|hpu| hpu.name().ok()).unwrap_or_default(),
            device_type: file("device_type"),
            pci_bus_id: address.to_owned(),
            module: module.unwrap_or_else(|| file("module_id")),
            driver_version: driver
                .or_else(|| library(|hpu| hpu.library().driver_version().ok()))
                .unwrap_or_default(),
            library_version: library(|hpu| hpu.library().hlml_version().ok()).unwrap_or_default(),
            // The files that the official exporter reads for its labels come first.
            fit_version: first(&["uboot_ver"], library(|hpu| hpu.fit_version().ok())),
            spi_version: first(
                &["armcp_kernel_ver", "cpucp_kernel_ver"],
                library(|hpu| hpu.spi_version().ok()),
            ),
            cpld_version: first(&["cpld_ver"], library(|hpu| hpu.cpld_version().ok())),
            pcb_versions: pcb.map(Option::unwrap_or_default),
        }
    }

    /// Labels of the device's series.
    pub fn identity(&self) -> Arc<Identity> {
        // The official exporter's labels in its order; `device` is the serial number there, too.
        let vendor = [
            ("Serial", self.serial.clone()),
            ("UUID", self.uuid.clone()),
            ("device", self.serial.clone()),
            ("driver", self.driver_version.clone()),
            ("fit", self.fit_version.clone()),
            (ID, self.numbers.id.to_string()),
            ("spi", self.spi_version.clone()),
        ];
        let device = format!("{PREFIX}{}", self.numbers.name);
        Arc::new(Identity {
            uuid: Some(self.uuid.clone()).filter(|uuid| !uuid.is_empty()),
            vendor: vendor.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
            aliases: self.aliases(),
            ..Identity::new(Family::Gaudi, device)
        })
    }

    /// What device plugin (the serial number) and DRA driver call it, and its node, which is open in the process that
    /// works on it.
    fn aliases(&self) -> Vec<Alias> {
        let ids = [&self.serial, &self.resource_name].into_iter().filter(|id| !id.is_empty()).cloned();
        // Drivers without the kernel's class `accel` have nodes such as /dev/hl0.
        let folder = if self.node.starts_with("accel") { "/dev/accel" } else { "/dev" };
        let path = (!self.node.is_empty()).then(|| Alias::Node(format!("{folder}/{}", self.node)));
        ids.map(Alias::Id).chain(path).chain(self.device_number.map(Alias::Opened)).collect()
    }

    /// Labels of `accel_device_info`.
    pub fn info(&self) -> Labels {
        let [pcb, assembly] = &self.pcb_versions;
        let facts: [_; FACTS] = [
            (Label::Vendor, "Intel"),
            (Label::Model, if self.model.is_empty() { &self.device_type } else { &self.model }),
            (Label::Architecture, &self.device_type),
            (Label::PciBusId, &self.pci_bus_id),
            (Label::AccelNode, &self.node),
            (Label::Serial, &self.serial),
            (Label::DriverVersion, &self.driver_version),
            (Label::LibraryVersion, &self.library_version),
            (Label::FirmwareVersion, &self.spi_version),
            (Label::FitVersion, &self.fit_version),
            (Label::CpldVersion, &self.cpld_version),
            (Label::ModuleId, &self.module),
            (Label::PcbVersion, pcb),
            (Label::PcbAssemblyVersion, assembly),
        ];
        let known = facts.into_iter().filter(|(_, value)| !value.is_empty());
        Labels::Shared(known.map(|(name, value)| (name, value.to_owned())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_in_the_official_exporters_order_and_none_is_empty() {
        let inventory = Inventory {
            numbers: Numbers { name: 4, id: 1 },
            uuid: "01P4".into(),
            serial: "AM1".into(),
            driver_version: "1.22.1".into(),
            fit_version: "63.0".into(),
            spi_version: "63.1".into(),
            ..Inventory::default()
        };
        let unified = |identity: &Identity| {
            identity.labels().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
        };
        let vendor = |identity: &Identity| {
            identity
                .vendor
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
                .join(",")
        };
        let identity = inventory.identity();
        assert_eq!(unified(&identity), "family=gaudi,device=hpu4,uuid=01P4");
        assert_eq!(vendor(&identity), "Serial=AM1,UUID=01P4,device=AM1,driver=1.22.1,fit=63.0,id=1,spi=63.1");
        assert_eq!(identity.aliases, [Alias::Id("AM1".to_owned())]);
        let node = |node: &str| Inventory { node: node.to_owned(), ..Inventory::default() }.aliases();
        assert_eq!(node("accel3"), [Alias::Node("/dev/accel/accel3".to_owned())]);
        assert_eq!(node("hl3"), [Alias::Node("/dev/hl3".to_owned())]);
        let opened = Inventory { device_number: Some(261 << 8), ..Inventory::default() }.aliases();
        assert_eq!(opened, [Alias::Opened(261 << 8)]);
        let bare = Inventory { numbers: Numbers { name: 3, id: 3 }, ..Inventory::default() }.identity();
        assert_eq!((unified(&bare), vendor(&bare)), ("family=gaudi,device=hpu3".into(), "id=3".into()));
    }
}
