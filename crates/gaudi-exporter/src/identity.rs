//! Labels: who a Gaudi is, in both vocabularies.

use std::{path::Path, sync::Arc};

use naming::{Family, Label};
use reading::{Identity, Labels};

use crate::{
    driver::{self, Node},
    raw::Hpu,
};

/// What does not change while a card is plugged in. Empty text stands for what neither library nor driver
/// has.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// Place in HLML's list, or the number of the device's node where there is no list.
    index: u32,
    minor: Option<u32>,
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
    /// Reads it from library and driver; either may be missing.
    pub fn read(index: u32, address: &str, hpu: Option<&Hpu>, node: Option<&Node>, sysfs: &Path) -> Self {
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
            index,
            minor: node.map(|node| node.minor).or_else(|| hpu?.minor_number().ok()),
            uuid: library(|hpu| hpu.uuid().ok()).unwrap_or_default(),
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
            ("id", self.index.to_string()),
            ("spi", self.spi_version.clone()),
        ];
        // The node's number stays with the card when another card drops out of the list.
        let device = format!("hpu{}", self.minor.unwrap_or(self.index));
        Arc::new(Identity {
            uuid: Some(self.uuid.clone()).filter(|uuid| !uuid.is_empty()),
            vendor: vendor.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
            ..Identity::new(Family::Gaudi, device)
        })
    }

    /// Labels of `accel_device_info`.
    pub fn info(&self) -> Labels {
        let [pcb, assembly] = &self.pcb_versions;
        let facts = [
            (Label::Vendor, "Intel"),
            (Label::Model, if self.model.is_empty() { &self.device_type } else { &self.model }),
            (Label::Architecture, &self.device_type),
            (Label::PciBusId, &self.pci_bus_id),
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
            index: 1,
            minor: Some(4),
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
        let bare = Inventory { index: 3, ..Inventory::default() }.identity();
        assert_eq!((unified(&bare), vendor(&bare)), ("family=gaudi,device=hpu3".into(), "id=3".into()));
    }
}
