//! A GPU's handle, its identity, and the instances that MIG makes of it.

use nvml_wrapper::{Device, enum_wrappers::device::InfoRom, error::NvmlError};
use nvml_wrapper_sys::bindings::nvmlDevice_t;
use reading::{Fault, FaultCode, Measured};

use super::{Library, call, fault};

/// Brands by their number in nvml.h (`nvmlBrandType_enum`), in DCGM's words.
const BRANDS: [&str; 17] = [
    "Unknown",
    "Quadro",
    "Tesla",
    "NVS",
    "Grid",
    "GeForce",
    "Titan",
    "NVIDIA Virtual Applications",
    "NVIDIA Virtual PC",
    "NVIDIA Virtual Compute Server",
    "NVIDIA RTX Virtual Workstation",
    "NVIDIA vGaming",
    "Quadro RTX",
    "NVIDIA RTX",
    "NVIDIA",
    "GeForce RTX",
    "Titan RTX",
];

/// NVML's opaque device handle.
#[derive(Clone, Copy)]
struct Handle(nvmlDevice_t);

// SAFETY: a handle is a token that NVML looks up; nvml.h documents the library as thread-safe.
unsafe impl Send for Handle {}

/// A GPU, or a MIG instance of one.
#[derive(Clone)]
pub struct Gpu {
    library: Library,
    handle: Handle,
}

/// A MIG GPU instance: its handle, ids and names.
pub struct Instance {
    /// Handle of the instance's first compute instance; memory is read through it.
    pub gpu: Gpu,
    /// GPU instance id, DCGM's `GPU_I_ID`.
    pub id: u32,
    /// Profile such as `1g.10gb`, DCGM's `GPU_I_PROFILE`.
    pub profile: String,
    /// `MIG-...` UUID.
    pub uuid: String,
}

impl Gpu {
    /// The device at an index below [`Library::device_count`].
    pub fn by_index(library: &Library, index: u32) -> Measured<Self> {
        let device =
            library.nvml().device_by_index(index).map_err(|e| fault("nvmlDeviceGetHandleByIndex_v2", &e))?;
        Ok(Self::from_device(library, &device))
    }

    fn from_device(library: &Library, device: &Device<'_>) -> Self {
        // SAFETY: the handle is only a token; `library` keeps the NVML that it belongs to initialised.
        let handle = unsafe { device.handle() };
        Self::from_handle(library, handle)
    }

    /// The device behind a handle that NVML gave, such as the one in an event.
    pub(super) fn from_handle(library: &Library, handle: nvmlDevice_t) -> Self {
        Self { library: library.clone(), handle: Handle(handle) }
    }

    /// What distinguishes this device's handle from every other of the same library.
    pub fn token(&self) -> usize {
        self.handle.0.addr()
    }

    /// The library that the handle belongs to.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// NVML's handle, for raw calls.
    pub(super) fn handle(&self) -> nvmlDevice_t {
        self.handle.0
    }

    /// The safe wrapper around the same handle.
    pub(super) fn device(&self) -> Device<'_> {
        // SAFETY: the handle came from a device of this very `Nvml`, which `self` keeps initialised.
        unsafe { Device::new(self.handle.0, self.library.nvml()) }
    }

    /// UUID; also the cheapest call that fails once the device is lost.
    pub fn uuid(&self) -> Measured<String> {
        text("nvmlDeviceGetUUID", self.device().uuid())
    }

    /// Product name.
    pub fn name(&self) -> Measured<String> {
        text("nvmlDeviceGetName", self.device().name())
    }

    /// Board serial number.
    pub fn serial(&self) -> Measured<String> {
        text("nvmlDeviceGetSerial", self.device().serial())
    }

    /// Board part number.
    pub fn board_part_number(&self) -> Measured<String> {
        text("nvmlDeviceGetBoardPartNumber", self.device().board_part_number())
    }

    /// VBIOS version.
    pub fn vbios_version(&self) -> Measured<String> {
        text("nvmlDeviceGetVbiosVersion", self.device().vbios_version())
    }

    /// InfoROM image version.
    pub fn inforom_image_version(&self) -> Measured<String> {
        text("nvmlDeviceGetInforomImageVersion", self.device().info_rom_image_version())
    }

    /// Version of one InfoROM object.
    pub fn inforom_version(&self, object: InfoRom) -> Measured<String> {
        text("nvmlDeviceGetInforomVersion", self.device().info_rom_version(object))
    }

    /// Brand, spelled as DCGM spells it.
    pub fn brand(&self) -> Measured<String> {
        let name = |number: u32| BRANDS.get(usize::try_from(number).ok()?);
        let brand =
            self.device().brand().map(|brand| name(brand.as_c()).copied().unwrap_or_default().to_owned());
        text("nvmlDeviceGetBrand", brand)
    }

    /// Architecture by name, such as `Hopper`.
    pub fn architecture(&self) -> Measured<String> {
        text("nvmlDeviceGetArchitecture", self.device().architecture().map(|a| a.to_string()))
    }

    /// PCI address as NVML writes it, with an eight-digit domain.
    pub fn pci_bus_id(&self) -> Measured<String> {
        text("nvmlDeviceGetPciInfo_v3", self.device().pci_info().map(|pci| pci.bus_id))
    }

    /// N of `/dev/nvidiaN`.
    pub fn minor_number(&self) -> Measured<u32> {
        self.device().minor_number().map_err(|e| fault("nvmlDeviceGetMinorNumber", &e))
    }

    /// Whether MIG is on now.
    pub fn mig_enabled(&self) -> Measured<bool> {
        self.device().mig_mode().map(|mode| mode.current == 1).map_err(|e| fault("nvmlDeviceGetMigMode", &e))
    }

    /// The GPU instances that exist now, one entry each, ascending by id.
    ///
    /// For slots without an instance NVML returns NOT_FOUND, and they are skipped; an instance whose identity
    /// cannot be read is a fault of its own, and the others remain.
    pub fn instances(&self, faults: &mut Vec<Fault>) -> Vec<Instance> {
        let slots = match self.device().mig_device_count() {
            Ok(slots) => slots,
            Err(error) => {
                faults.push(fault("nvmlDeviceGetMaxMigDeviceCount", &error));
                return Vec::new();
            }
        };
        let mut found: Vec<Instance> = Vec::new();
        for slot in 0..slots {
            let device = match self.device().mig_device_by_index(slot) {
                Ok(device) => Self::from_device(&self.library, &device),
                Err(NvmlError::NotFound | NvmlError::InvalidArg) => continue,
                Err(error) => {
                    faults.push(fault("nvmlDeviceGetMigDeviceHandleByIndex", &error));
                    continue;
                }
            };
            match device.into_instance() {
                // Several compute instances of one GPU instance share its memory and counters.
                Ok(instance) if found.iter().all(|known| known.id != instance.id) => found.push(instance),
                Ok(_) => {}
                Err(fault) => faults.push(fault),
            }
        }
        found.sort_by_key(|instance| instance.id);
        found
    }

    fn into_instance(self) -> Measured<Instance> {
        let mut id = 0;
        call!(self.library, nvmlDeviceGetGpuInstanceId(self.handle(), &raw mut id))?;
        let name = self.name()?;
        // "NVIDIA H100 80GB HBM3 MIG 1g.10gb"; with a partial compute instance "MIG 1c.3g.40gb".
        let profile = name.rsplit_once("MIG ").map_or(name.as_str(), |(_, profile)| profile);
        let profile = match profile.split_once('.') {
            Some((slice, rest)) if slice.ends_with('c') => rest,
            _ => profile,
        };
        Ok(Instance { id, profile: profile.to_owned(), uuid: self.uuid()?, gpu: self })
    }
}

/// A text that is not empty: NVML returns an empty string for some of what a board does not have.
fn text(call: &'static str, returned: Result<String, NvmlError>) -> Measured<String> {
    match returned {
        Ok(text) if text.is_empty() => Err(Fault::new(call, FaultCode::Empty)),
        Ok(text) => Ok(text),
        Err(error) => Err(fault(call, &error)),
    }
}
