//! A GPU's handle, its identity, and the instances that MIG makes of it.

use std::ffi::{CString, c_char};

use nvml_wrapper_sys::bindings::{
    NVML_DEVICE_INFOROM_VERSION_BUFFER_SIZE, NVML_DEVICE_NAME_V2_BUFFER_SIZE,
    NVML_DEVICE_PART_NUMBER_BUFFER_SIZE, NVML_DEVICE_SERIAL_BUFFER_SIZE, NVML_DEVICE_UUID_V2_BUFFER_SIZE,
    NVML_DEVICE_VBIOS_VERSION_BUFFER_SIZE, nvmlDevice_t, nvmlGpuInstance_t, nvmlGpuInstanceInfo_t,
    nvmlGpuInstancePlacement_t, nvmlPciInfo_t,
};
use reading::{Absence, Fault, FaultCode, Measured, plausible_count, terminated_text};

use super::{
    INVALID_ARGUMENT, Library, NOT_FOUND, call, number,
    plausible::{self, Number as _},
    text,
};

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

/// Architectures by their number in nvml.h (`NVML_DEVICE_ARCH_*`).
const ARCHITECTURES: [&str; 9] =
    ["Kepler", "Maxwell", "Pascal", "Volta", "Turing", "Ampere", "Ada", "Hopper", "Blackwell"];

/// Most MIG devices that one GPU can have: eight instances of eight slices.
const MIG_DEVICES_MAX: u32 = 64;

/// An object of the InfoROM, by its number in nvml.h (`nvmlInforomObject_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum InforomObject {
    /// What the board's maker wrote.
    Oem = 0,
    /// Memory errors.
    Ecc = 1,
    /// Power management.
    Power = 2,
}

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
        let mut handle = std::ptr::null_mut();
        call!(library, nvmlDeviceGetHandleByIndex_v2(index, &raw mut handle))?;
        Ok(Self::from_handle(library, handle))
    }

    /// The device at a PCI address, without a look at any other.
    pub fn by_address(library: &Library, address: &str) -> Measured<Self> {
        const CALL: &str = "nvmlDeviceGetHandleByPciBusId_v2";
        let address = CString::new(address).map_err(|_| Fault::new(CALL, FaultCode::Garbage))?;
        let mut handle = std::ptr::null_mut();
        call!(library, nvmlDeviceGetHandleByPciBusId_v2(address.as_ptr(), &raw mut handle))?;
        Ok(Self::from_handle(library, handle))
    }

    /// Its place in NVML's list.
    pub fn index(&self) -> Measured<u32> {
        number!(self, nvmlDeviceGetIndex)
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

    /// UUID; also the cheapest call that fails once the device is lost.
    pub fn uuid(&self) -> Measured<String> {
        text!(self.library, nvmlDeviceGetUUID(self.handle()), NVML_DEVICE_UUID_V2_BUFFER_SIZE)
    }

    /// What says whether the handle still is that of the same board: its UUID, or its PCI address where the
    /// driver reports no UUID.
    pub fn mark(&self) -> Measured<String> {
        self.uuid().or_else(|fault| match fault.absence {
            Absence::Unsupported | Absence::NoData => self.pci_bus_id(),
            _ => Err(fault),
        })
    }

    /// Product name.
    pub fn name(&self) -> Measured<String> {
        text!(self.library, nvmlDeviceGetName(self.handle()), NVML_DEVICE_NAME_V2_BUFFER_SIZE)
    }

    /// Board serial number.
    pub fn serial(&self) -> Measured<String> {
        text!(self.library, nvmlDeviceGetSerial(self.handle()), NVML_DEVICE_SERIAL_BUFFER_SIZE)
    }

    /// Board part number.
    pub fn board_part_number(&self) -> Measured<String> {
        const LENGTH: u32 = NVML_DEVICE_PART_NUMBER_BUFFER_SIZE;
        text!(self.library, nvmlDeviceGetBoardPartNumber(self.handle()), LENGTH)
    }

    /// VBIOS version.
    pub fn vbios_version(&self) -> Measured<String> {
        const LENGTH: u32 = NVML_DEVICE_VBIOS_VERSION_BUFFER_SIZE;
        text!(self.library, nvmlDeviceGetVbiosVersion(self.handle()), LENGTH)
    }

    /// InfoROM image version.
    pub fn inforom_image_version(&self) -> Measured<String> {
        const LENGTH: u32 = NVML_DEVICE_INFOROM_VERSION_BUFFER_SIZE;
        text!(self.library, nvmlDeviceGetInforomImageVersion(self.handle()), LENGTH)
    }

    /// Version of one InfoROM object.
    pub fn inforom_version(&self, object: InforomObject) -> Measured<String> {
        const LENGTH: u32 = NVML_DEVICE_INFOROM_VERSION_BUFFER_SIZE;
        text!(self.library, nvmlDeviceGetInforomVersion(self.handle(), object as u32), LENGTH)
    }

    /// Brand, spelled as DCGM spells it; `None` for one that is newer than this list.
    pub fn brand(&self) -> Measured<Option<&'static str>> {
        let number: u32 = number!(self, nvmlDeviceGetBrand)?;
        Ok(BRANDS.get(number as usize).copied())
    }

    /// Architecture by name, such as `Hopper`; `None` for one that is newer than this list.
    pub fn architecture(&self) -> Measured<Option<&'static str>> {
        // nvml.h: Kepler is 2.
        let number: u32 = number!(self, nvmlDeviceGetArchitecture)?;
        Ok(number.checked_sub(2).and_then(|place| ARCHITECTURES.get(place as usize)).copied())
    }

    /// PCI address as NVML writes it, with an eight-digit domain.
    pub fn pci_bus_id(&self) -> Measured<String> {
        // SAFETY: integers and character arrays only: all-zero bytes are valid.
        let mut pci: nvmlPciInfo_t = unsafe { std::mem::zeroed() };
        call!(self.library, nvmlDeviceGetPciInfo_v3(self.handle(), &raw mut pci))?;
        terminated_text("nvmlDeviceGetPciInfo_v3", &pci.busId.map(c_char::cast_unsigned))
    }

    /// N of `/dev/nvidiaN`.
    pub fn minor_number(&self) -> Measured<u32> {
        number!(self, nvmlDeviceGetMinorNumber)
    }

    /// Whether MIG is on now.
    pub fn mig_enabled(&self) -> Measured<bool> {
        const CALL: &str = "nvmlDeviceGetMigMode";
        let (mut current, mut pending) = (u32::BLANK, u32::BLANK);
        call!(self.library, nvmlDeviceGetMigMode(self.handle(), &raw mut current, &raw mut pending))?;
        plausible::switch(CALL, current.checked(CALL)?)
    }

    /// Profile id and first memory slice of a GPU instance of this GPU; NVML gives them to root alone.
    pub fn placement(&self, instance: u32) -> Measured<(u32, u32)> {
        const CALL: &str = "nvmlGpuInstanceGetInfo";
        let mut handle: nvmlGpuInstance_t = std::ptr::null_mut();
        call!(self.library, nvmlDeviceGetGpuInstanceById(self.handle(), instance, &raw mut handle))?;
        let mut info = nvmlGpuInstanceInfo_t {
            device: std::ptr::null_mut(),
            id: u32::BLANK,
            profileId: u32::BLANK,
            placement: nvmlGpuInstancePlacement_t { start: u32::BLANK, size: u32::BLANK },
        };
        call!(self.library, nvmlGpuInstanceGetInfo(handle, &raw mut info))?;
        Ok((info.profileId.checked(CALL)?, info.placement.start.checked(CALL)?))
    }

    /// The GPU instances that exist now, one entry each, ascending by id.
    ///
    /// For slots without an instance NVML returns NOT_FOUND, and they are skipped; an instance whose identity
    /// cannot be read is a fault of its own, and the others remain.
    pub fn instances(&self, faults: &mut Vec<Fault>) -> Vec<Instance> {
        let slots: Measured<u32> = number!(self, nvmlDeviceGetMaxMigDeviceCount);
        let slots =
            slots.and_then(|slots| plausible_count("nvmlDeviceGetMaxMigDeviceCount", slots, MIG_DEVICES_MAX));
        let slots = slots.unwrap_or_else(|fault| {
            faults.push(fault);
            0
        });
        let mut found: Vec<Instance> = Vec::new();
        for slot in 0..slots {
            let mut handle = std::ptr::null_mut();
            let asked = call!(
                self.library,
                nvmlDeviceGetMigDeviceHandleByIndex(self.handle(), slot, &raw mut handle)
            );
            let device = match asked {
                Ok(()) => Self::from_handle(&self.library, handle),
                Err(fault) if fault.code == NOT_FOUND || fault.code == INVALID_ARGUMENT => continue,
                Err(fault) => {
                    faults.push(fault);
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
        let id = number!(self, nvmlDeviceGetGpuInstanceId)?;
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
