//! Labels: who a GPU or a MIG instance is, in both vocabularies.

use std::{path::Path, sync::Arc};

use naming::{DCGM_LABELS, Family, Label};
use reading::{Identity, Labels};

use crate::{
    aliases,
    raw::{Gpu, InforomObject, Instance},
};

/// GPUs are called this and a number.
pub const PREFIX: &str = "gpu";

/// GPU instances are called this and their id.
const INSTANCE: &str = "gi";

/// The id of the GPU instance whose labels these are; `None` for those of a whole GPU.
pub fn instance_id(identity: &Identity) -> Option<u32> {
    instance_number(identity.partition.as_deref()?)
}

/// The id of the GPU instance of this name.
pub fn instance_number(partition: &str) -> Option<u32> {
    partition.strip_prefix(INSTANCE)?.parse().ok()
}

/// What the user chose about labels of the DCGM vocabulary.
#[derive(Clone, Debug, Default)]
pub struct DcgmLabelOptions {
    /// Name and value of the host label, if it is wanted.
    pub host: Option<(&'static str, String)>,
    /// DCGM fields that are printed as labels of every series, sorted.
    pub label_fields: Vec<&'static str>,
}

/// What does not change while a GPU is plugged in. Empty text stands for what the board does not have.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The number in its lasting name: its place in NVML's list when it was first listed, unless another had
    /// that number.
    number: u32,
    /// Its place in NVML's list now.
    index: u32,
    uuid: String,
    minor: Option<u32>,
    name: String,
    architecture: &'static str,
    brand: &'static str,
    pci_bus_id: String,
    serial: String,
    board_part_number: String,
    vbios_version: String,
    inforom_image: String,
    inforom_oem: String,
    inforom_ecc: String,
    inforom_power: String,
    driver_version: String,
    nvml_version: String,
    cuda_version: String,
}

impl Inventory {
    /// Reads it from the board at `index` of NVML's list; `uuid` is empty where it is not unique.
    pub fn read(gpu: &Gpu, index: u32, number: u32, uuid: String) -> Self {
        let library = gpu.library();
        Self {
            number,
            index,
            uuid,
            minor: gpu.minor_number().ok(),
            name: gpu.name().unwrap_or_default(),
            architecture: gpu.architecture().ok().flatten().unwrap_or_default(),
            brand: gpu.brand().ok().flatten().unwrap_or_default(),
            pci_bus_id: gpu.pci_bus_id().unwrap_or_default(),
            serial: gpu.serial().unwrap_or_default(),
            board_part_number: gpu.board_part_number().unwrap_or_default(),
            vbios_version: gpu.vbios_version().unwrap_or_default(),
            inforom_image: gpu.inforom_image_version().unwrap_or_default(),
            inforom_oem: gpu.inforom_version(InforomObject::Oem).unwrap_or_default(),
            inforom_ecc: gpu.inforom_version(InforomObject::Ecc).unwrap_or_default(),
            inforom_power: gpu.inforom_version(InforomObject::Power).unwrap_or_default(),
            driver_version: library.driver_version().unwrap_or_default(),
            nvml_version: library.nvml_version().unwrap_or_default(),
            cuda_version: library.cuda_version().unwrap_or_default(),
        }
    }

    /// Whether it has what every board returns; a board that did not may have been busy.
    pub fn is_complete(&self) -> bool {
        !self.name.is_empty() && !self.pci_bus_id.is_empty()
    }

    /// Whether the board is where it was read.
    pub fn is_at(&self, address: Option<&String>) -> bool {
        address.is_none_or(|address| *address == kernel::pci::address(&self.pci_bus_id))
    }

    /// Whether it has a UUID that distinguishes it.
    pub fn has_uuid(&self) -> bool {
        !self.uuid.is_empty()
    }

    /// PCI address, as sysfs writes it.
    pub fn address(&self) -> String {
        kernel::pci::address(&self.pci_bus_id)
    }

    /// Labels of the GPU's series.
    pub fn identity(&self, options: &DcgmLabelOptions) -> Arc<Identity> {
        Arc::new(Identity {
            uuid: Some(self.uuid.clone()).filter(|uuid| !uuid.is_empty()),
            vendor: self.dcgm_labels(options, &[]),
            aliases: aliases::of_gpu(self.index, self.minor),
            ..Identity::new(Family::Nvidia, self.device())
        })
    }

    /// Labels of a MIG instance's series: its own UUID in the unified schema, the GPU's in DCGM's. `gpu` is the whole
    /// GPU.
    pub fn instance_identity(
        &self,
        options: &DcgmLabelOptions,
        gpu: &Gpu,
        instance: &Instance,
        procfs: &Path,
    ) -> Arc<Identity> {
        let aliases = self.minor.map(|minor| aliases::of_instance(gpu, self.index, minor, instance, procfs));
        let vendor = [("GPU_I_PROFILE", instance.profile.clone()), ("GPU_I_ID", instance.id.to_string())];
        Arc::new(Identity {
            uuid: Some(instance.uuid.clone()),
            partition: Some(format!("{INSTANCE}{}", instance.id)),
            vendor: self.dcgm_labels(options, &vendor),
            aliases: aliases.unwrap_or_default(),
            ..Identity::new(Family::Nvidia, self.device())
        })
    }

    /// Labels of `accel_device_info`; `profile` is the MIG profile of an instance.
    pub fn info(&self, profile: Option<&str>) -> Labels {
        let known = self.facts(profile).into_iter().filter(|(_, value)| !value.is_empty());
        Labels::Shared(known.collect())
    }

    /// Every fact by its label of `accel_device_info`, empty where the board does not have it.
    fn facts(&self, profile: Option<&str>) -> [(Label, String); 16] {
        [
            (Label::Vendor, "NVIDIA"),
            (Label::Model, &self.name),
            (Label::Architecture, self.architecture),
            (Label::Brand, self.brand),
            (Label::PciBusId, &self.address()),
            (Label::Serial, &self.serial),
            (Label::BoardPartNumber, &self.board_part_number),
            (Label::DriverVersion, &self.driver_version),
            (Label::LibraryVersion, &self.nvml_version),
            (Label::RuntimeVersion, &self.cuda_version),
            (Label::FirmwareVersion, &self.vbios_version),
            (Label::InforomVersion, &self.inforom_image),
            (Label::OemInforomVersion, &self.inforom_oem),
            (Label::EccInforomVersion, &self.inforom_ecc),
            (Label::PowerInforomVersion, &self.inforom_power),
            (Label::PartitionProfile, profile.unwrap_or_default()),
        ]
        .map(|(label, value)| (label, value.to_owned()))
    }

    fn device(&self) -> String {
        format!("{PREFIX}{}", self.number)
    }

    /// dcgm-exporter's labels in its order: identity, instance, host, then the label fields sorted.
    fn dcgm_labels(
        &self,
        options: &DcgmLabelOptions,
        instance: &[(&'static str, String)],
    ) -> Vec<(&'static str, String)> {
        let mut labels = vec![
            ("gpu", self.number.to_string()),
            ("UUID", self.uuid.clone()),
            ("pci_bus_id", self.pci_bus_id.clone()),
            ("device", format!("nvidia{}", self.minor.unwrap_or(self.number))),
            ("modelName", self.name.clone()),
        ];
        labels.retain(|(_, value)| !value.is_empty());
        labels.extend_from_slice(instance);
        labels.extend(options.host.clone());
        let facts = self.facts(None);
        labels.extend(options.label_fields.iter().filter_map(|field| {
            let known = DCGM_LABELS.iter().find(|label| label.names.contains(field))?;
            let (_, value) = facts.iter().find(|(label, _)| *label == known.fact)?;
            Some((*field, value.clone()))
        }));
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dcgm_labels_come_in_dcgm_exporters_order() {
        let inventory = Inventory {
            number: 0,
            uuid: "GPU-1".into(),
            minor: Some(4),
            name: "NVIDIA H100 80GB HBM3".into(),
            pci_bus_id: "00000000:1A:00.0".into(),
            serial: "15".into(),
            driver_version: "570.1".into(),
            ..Inventory::default()
        };
        let options = DcgmLabelOptions {
            host: Some(("Hostname", "node1".into())),
            label_fields: vec!["DCGM_FI_DEV_SERIAL", "DCGM_FI_DRIVER_VERSION"],
        };
        let names: Vec<_> = inventory
            .dcgm_labels(&options, &[("GPU_I_PROFILE", "1g.10gb".into()), ("GPU_I_ID", "7".into())])
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            names.join(","),
            "gpu=0,UUID=GPU-1,pci_bus_id=00000000:1A:00.0,device=nvidia4,modelName=NVIDIA H100 80GB HBM3,\
             GPU_I_PROFILE=1g.10gb,GPU_I_ID=7,Hostname=node1,DCGM_FI_DEV_SERIAL=15,DCGM_FI_DRIVER_VERSION=570.1"
        );
    }
}
