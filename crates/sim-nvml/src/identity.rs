//! Which devices there are, and what each is: handles, names, numbers, versions, modes.

use std::ffi::{c_char, c_int, c_uint};

use sim::control::Repairable;
use sim::profile::Architecture;

use crate::abi::sys::{
    self, nvmlBrandType_t, nvmlComputeMode_t, nvmlDevice_t, nvmlDeviceAddressingMode_t,
    nvmlDeviceArchitecture_t, nvmlDeviceCapabilities_t,
    nvmlEnableState_enum_NVML_FEATURE_DISABLED as DISABLED,
    nvmlEnableState_enum_NVML_FEATURE_ENABLED as ENABLED, nvmlEnableState_t, nvmlGpuOperationMode_t,
    nvmlGridLicensableFeatures_t, nvmlPciInfo_t, nvmlPciInfoExt_t, nvmlRepairStatus_t,
};
use crate::abi::version;
use crate::args::{AnyDevice, Argument, Buffer, Gpu, Out, Text, fill, garble};
use crate::call::{Call, Nvml, NvmlCall, Result, code, entries, readings};
use crate::handle::{HandleKind, Target};
use crate::nodes;
use crate::parts::Part;

/// PCI class of a 3D controller, as base class and subclass.
const PCI_CLASS: (u32, u32) = (0x03, 0x02);

garble! { nvmlPciInfo_t {} nvmlPciInfoExt_t {} nvmlRepairStatus_t { bChannelRepairPending, bTpcRepairPending } nvmlGridLicensableFeatures_t {} }

/// A GPU by its place among those on the bus.
struct ByIndex(usize);

impl Argument<Nvml> for ByIndex {
    type Raw = c_uint;

    unsafe fn take(raw: c_uint, call: &Call<'_>) -> Result<Self> {
        let device = call.moment.present().nth(raw as usize).ok_or(code::INVALID_ARGUMENT)?;
        call.device.set(Some(device));
        if call.moment.conditions().device(device).is_some_and(|standing| standing.asleep) {
            call.count_wake();
        }
        Ok(Self(device))
    }
}

/// A GPU or an instance by a text that names it.
macro_rules! by_text {
    ($($(#[$doc:meta])* $name:ident = |$call:ident, $target:ident, $text:ident| $is:expr;)*) => {$(
        $(#[$doc])*
        struct $name(Target);

        impl Argument<Nvml> for $name {
            type Raw = *const c_char;

            unsafe fn take(raw: Self::Raw, $call: &Call<'_>) -> Result<Self> {
                // SAFETY: this function's own contract.
                let text = unsafe { Text::take(raw, $call) }?;
                let $text = text.0.as_str();
                let found = targets($call).find(|$target| $is).ok_or(code::NOT_FOUND)?;
                $call.device.set(Some(found.device));
                Ok(Self(found))
            }
        }
    )*};
}

by_text! {
    /// By UUID.
    ByUuid = |call, target, text| uuid(call, *target).is_ok_and(|uuid| uuid == text);
    /// By PCI address, with a domain of four digits or eight.
    ByPciAddress = |call, target, text| {
        target.instance.is_none() && pci_address_is(call, target.device, text)
    };
    /// By serial number.
    BySerial = |call, target, text| {
        target.instance.is_none() && call.gpu(target.device).is_ok_and(|gpu| gpu.serial() == text)
    };
}

/// All GPUs on the bus, and the compute instances of each.
fn targets<'a>(call: &'a Call<'_>) -> impl Iterator<Item = Target> + 'a {
    call.moment.present().flat_map(|device| {
        let instances = call.moment.conditions().device(device).map_or(&[][..], |gpu| &gpu.instances);
        let cut = instances.iter().flat_map(move |instance| {
            (0..instance.compute_instances).map(move |compute| Target {
                device,
                instance: Some(instance.id),
                compute: Some(compute),
            })
        });
        std::iter::once(Target::gpu(device)).chain(cut)
    })
}

fn pci_address_is(call: &Call<'_>, device: usize, text: &str) -> bool {
    let Ok(gpu) = call.gpu(device) else { return false };
    let (domain, bus, slot) = gpu.pci_numbers();
    let rest = format!("{bus:02x}:{slot:02x}.0");
    [format!("{domain:08x}:{rest}"), format!("{domain:04x}:{rest}"), rest]
        .iter()
        .any(|address| address.eq_ignore_ascii_case(text))
}

fn uuid(call: &Call<'_>, target: Target) -> Result<String> {
    let gpu = call.gpu(target.device)?;
    match (target.instance, target.compute) {
        (Some(instance), Some(compute)) => {
            let instance = gpu.instance(instance).ok_or(code::INVALID_ARGUMENT)?;
            Ok(gpu.instance_uuid(instance, compute))
        }
        _ => Ok(format!("GPU-{}", gpu.uuid())),
    }
}

fn count(call: &Call<'_>) -> c_uint {
    call.moment.present().count() as c_uint
}

entries! {
    fn nvmlDeviceGetCount_v2(call, number: Out<c_uint>) { number.set(call, count(call)) }

    fn nvmlDeviceGetCount(call, number: Out<c_uint>) { number.set(call, count(call)) }

    fn nvmlDeviceGetHandleByIndex_v2(call, found: ByIndex, device: Out<nvmlDevice_t>) {
        nodes::attach_gpu(found.0);
        device.put(call.handle(HandleKind::Device, Target::gpu(found.0)))
    }

    fn nvmlDeviceGetHandleByIndex(call, found: ByIndex, device: Out<nvmlDevice_t>) {
        nodes::attach_gpu(found.0);
        device.put(call.handle(HandleKind::Device, Target::gpu(found.0)))
    }

    fn nvmlDeviceGetHandleByUUID(call, found: ByUuid, device: Out<nvmlDevice_t>) {
        nodes::attach_gpu(found.0.device);
        device.put(call.handle(HandleKind::Device, found.0))
    }

    fn nvmlDeviceGetHandleByPciBusId_v2(call, found: ByPciAddress, device: Out<nvmlDevice_t>) {
        nodes::attach_gpu(found.0.device);
        device.put(call.handle(HandleKind::Device, found.0))
    }

    fn nvmlDeviceGetHandleByPciBusId(call, found: ByPciAddress, device: Out<nvmlDevice_t>) {
        nodes::attach_gpu(found.0.device);
        device.put(call.handle(HandleKind::Device, found.0))
    }

    fn nvmlDeviceGetHandleBySerial(call, found: BySerial, device: Out<nvmlDevice_t>) {
        nodes::attach_gpu(found.0.device);
        device.put(call.handle(HandleKind::Device, found.0))
    }

    fn nvmlDeviceGetUUID(call, device: AnyDevice, text: Buffer, length: c_uint) {
        text.write(call, length, &uuid(call, device.0)?)
    }

    fn nvmlDeviceGetName(call, device: AnyDevice, text: Buffer, length: c_uint) {
        let gpu = call.gpu(device.0.device)?;
        let name = &gpu.facts().name;
        match device.0.instance {
            None => text.write(call, length, name),
            Some(id) => {
                let instance = gpu.instance(id).ok_or(code::INVALID_ARGUMENT)?;
                text.write(call, length, &format!("{name} MIG {}", instance.compute_name()))
            }
        }
    }

    fn nvmlDeviceGetIndex(call, gpu: Gpu, index: Out<c_uint>) {
        let place = call.moment.present().position(|device| device == gpu.0);
        index.set(call, place.ok_or(code::GPU_IS_LOST)? as c_uint)
    }

    fn nvmlDeviceGetSerial(call, gpu: Gpu, text: Buffer, length: c_uint) {
        text.write(call, length, &call.gpu(gpu.0)?.serial())
    }

    fn nvmlDeviceGetBoardPartNumber(call, gpu: Gpu, text: Buffer, length: c_uint) {
        text.write(call, length, &call.gpu(gpu.0)?.nvidia().part_number)
    }

    fn nvmlDeviceGetVbiosVersion(call, gpu: Gpu, text: Buffer, length: c_uint) {
        text.write(call, length, &call.gpu(gpu.0)?.nvidia().vbios_version)
    }

    fn nvmlDeviceGetInforomVersion(call, gpu: Gpu, object: c_uint, text: Buffer, length: c_uint) {
        let gpu = call.gpu(gpu.0)?;
        let inforom = &gpu.nvidia().inforom;
        match object {
            sys::nvmlInforomObject_enum_NVML_INFOROM_OEM => text.write(call, length, &inforom.oem),
            sys::nvmlInforomObject_enum_NVML_INFOROM_ECC => text.write(call, length, &inforom.ecc),
            // Data-centre parts of these generations have no power management object.
            other if other < sys::nvmlInforomObject_enum_NVML_INFOROM_COUNT => Err(code::NOT_SUPPORTED),
            _ => Err(code::INVALID_ARGUMENT),
        }
    }

    fn nvmlDeviceGetInforomImageVersion(call, gpu: Gpu, text: Buffer, length: c_uint) {
        text.write(call, length, &call.gpu(gpu.0)?.nvidia().inforom.image)
    }

    fn nvmlDeviceGetGspFirmwareVersion(call, gpu: Gpu, text: Buffer) {
        let gpu = call.gpu(gpu.0)?;
        text.write(call, sys::NVML_GSP_FIRMWARE_VERSION_BUF_SIZE, &gpu.driver().version)
    }

    fn nvmlDeviceGetGspFirmwareMode(call, gpu: Gpu, enabled: Out<c_uint>, default: Out<c_uint>) {
        call.gpu(gpu.0)?;
        enabled.set(call, 1)?;
        default.set(call, 1)
    }

    fn nvmlDeviceGetCudaComputeCapability(call, device: AnyDevice, major: Out<c_int>, minor: Out<c_int>) {
        let [high, low] = call.gpu(device.0.device)?.nvidia().compute_capability;
        major.set(call, high)?;
        minor.set(call, low)
    }

    fn nvmlDeviceGetGpuOperationMode(
        call, gpu: Gpu, _current: Out<nvmlGpuOperationMode_t>, _pending: Out<nvmlGpuOperationMode_t>,
    ) {
        call.gpu(gpu.0)?;
        Err(code::NOT_SUPPORTED)
    }

    fn nvmlDeviceGetAddressingMode(call, gpu: Gpu, mode: Out<nvmlDeviceAddressingMode_t>) {
        let mut reading = mode.get();
        if reading.version != version::<nvmlDeviceAddressingMode_t>(1) {
            return Err(code::VERSION_MISMATCH);
        }
        call.gpu(gpu.0)?.since(Architecture::Turing)?;
        reading.value = sys::nvmlDeviceAddressingModeType_t_NVML_DEVICE_ADDRESSING_MODE_HMM;
        mode.put(reading)
    }

    fn nvmlDeviceGetRepairStatus(call, gpu: Gpu, status: Out<nvmlRepairStatus_t>) {
        let mut reading = status.get();
        if reading.version != version::<nvmlRepairStatus_t>(1) {
            return Err(code::VERSION_MISMATCH);
        }
        let gpu = call.gpu(gpu.0)?;
        gpu.since(Architecture::Ampere)?;
        let repair = &gpu.standing().repair;
        let waits = |part| u32::from(repair.pending.contains(&part));
        reading.bChannelRepairPending = waits(Repairable::MemoryChannel);
        reading.bTpcRepairPending = waits(Repairable::Tpc);
        status.set(call, reading)
    }

    fn nvmlDeviceGetCapabilities(call, gpu: Gpu, capabilities: Out<nvmlDeviceCapabilities_t>) {
        let mut reading = capabilities.get();
        if reading.version != version::<nvmlDeviceCapabilities_t>(1) {
            return Err(code::VERSION_MISMATCH);
        }
        call.gpu(gpu.0)?;
        reading.capMask = 0;
        capabilities.put(reading)
    }

    fn nvmlDeviceGetPciInfo_v3(call, gpu: Gpu, pci: Out<nvmlPciInfo_t>) {
        pci.set(call, pci_info(call, gpu)?)
    }

    fn nvmlDeviceGetPciInfo_v2(call, gpu: Gpu, pci: Out<nvmlPciInfo_t>) {
        pci.set(call, pci_info(call, gpu)?)
    }

    fn nvmlDeviceGetPciInfo(call, gpu: Gpu, pci: Out<nvmlPciInfo_t>) {
        pci.set(call, pci_info(call, gpu)?)
    }

    fn nvmlDeviceGetPciInfoExt(call, gpu: Gpu, pci: Out<nvmlPciInfoExt_t>) {
        let asked = pci.get().version;
        if asked != version::<nvmlPciInfoExt_t>(1) {
            return Err(code::VERSION_MISMATCH);
        }
        let info = pci_info(call, gpu)?;
        pci.set(call, nvmlPciInfoExt_t {
            version: asked,
            domain: info.domain,
            bus: info.bus,
            device: info.device,
            pciDeviceId: info.pciDeviceId,
            pciSubSystemId: info.pciSubSystemId,
            baseClass: PCI_CLASS.0,
            subClass: PCI_CLASS.1,
            busId: info.busId,
        })
    }

    fn nvmlDeviceGetGridLicensableFeatures_v4(
        call, gpu: Gpu, features: Out<nvmlGridLicensableFeatures_t>,
    ) {
        call.gpu(gpu.0)?;
        let mut reading = features.get();
        // A bare-metal data-centre driver: nothing to license.
        reading.isGridLicenseSupported = 0;
        reading.licensableFeaturesCount = 0;
        features.put(reading)
    }
}

readings! {
    nvmlDeviceGetBrand: nvmlBrandType_t = |_device| Ok(sys::nvmlBrandType_enum_NVML_BRAND_NVIDIA);
    nvmlDeviceGetArchitecture: nvmlDeviceArchitecture_t = |device| Ok(match device.nvidia().architecture {
        Architecture::Turing => sys::NVML_DEVICE_ARCH_TURING,
        Architecture::Ampere => sys::NVML_DEVICE_ARCH_AMPERE,
        Architecture::Ada => sys::NVML_DEVICE_ARCH_ADA,
        Architecture::Hopper => sys::NVML_DEVICE_ARCH_HOPPER,
        Architecture::Blackwell => sys::NVML_DEVICE_ARCH_BLACKWELL,
    });
    nvmlDeviceGetMinorNumber: c_uint = |device| Ok(device.index() as c_uint);
    nvmlDeviceGetModuleId: c_uint = |device| device.module_id().ok_or(code::NOT_SUPPORTED);
    nvmlDeviceGetNumGpuCores: c_uint = |device| Ok(device.nvidia().cores);
    nvmlDeviceGetBoardId: c_uint = |device| {
        let (_, bus, slot) = device.pci_numbers();
        Ok(bus << 8 | slot)
    };
    nvmlDeviceGetMultiGpuBoard: c_uint = |_device| Ok(0);
    nvmlDeviceGetBusType: c_uint = |_device| Ok(sys::NVML_BUS_TYPE_PCIE);
    nvmlDeviceGetIrqNum: c_uint = |device| Ok(64 + device.index() as c_uint);
    nvmlDeviceGetPersistenceMode: nvmlEnableState_t = |_device| Ok(ENABLED);
    nvmlDeviceGetDisplayMode: nvmlEnableState_t = |_device| Ok(DISABLED);
    nvmlDeviceGetDisplayActive: nvmlEnableState_t = |_device| Ok(DISABLED);
    nvmlDeviceGetComputeMode: nvmlComputeMode_t =
        |_device| Ok(sys::nvmlComputeMode_enum_NVML_COMPUTEMODE_DEFAULT);
    nvmlDeviceGetVirtualizationMode: c_uint =
        |_device| Ok(sys::nvmlGpuVirtualizationMode_NVML_GPU_VIRTUALIZATION_MODE_NONE);
    nvmlDeviceGetAccountingMode: nvmlEnableState_t = |_device| Ok(DISABLED);
    nvmlDeviceGetNumaNodeId: c_uint = |_device| Err(code::NOT_SUPPORTED);
    nvmlDeviceGetInforomConfigurationChecksum: c_uint =
        |device| Ok(device.facts().pci_subsystem_id ^ device.facts().pci_device_id);
}

/// `NNNNNNNN:BB:DD.0` in 32 bytes, and `NNNN:BB:DD.0` in the 16 that came before.
fn pci_info(call: &Call<'_>, gpu: Gpu) -> Result<nvmlPciInfo_t> {
    let device = call.gpu(gpu.0)?;
    let (domain, bus, slot) = device.pci_numbers();
    Ok(pci_info_of((domain, bus, slot), device.facts().pci_device_id, device.facts().pci_subsystem_id))
}

/// As [`pci_info`], for any address.
pub(crate) fn pci_info_of((domain, bus, slot): (u32, u32, u32), id: u32, subsystem: u32) -> nvmlPciInfo_t {
    let mut info = nvmlPciInfo_t {
        busIdLegacy: [0; 16],
        domain,
        bus,
        device: slot,
        pciDeviceId: id,
        pciSubSystemId: subsystem,
        busId: [0; 32],
    };
    fill(&mut info.busIdLegacy, &format!("{domain:04X}:{bus:02X}:{slot:02X}.0"));
    fill(&mut info.busId, &format!("{domain:08X}:{bus:02X}:{slot:02X}.0"));
    info
}
