//! NVLink and the fabric behind it.

use std::ffi::{c_uint, c_ulonglong};

use sim::Device;
use sim::profile::{Architecture, pci_numbers};

use crate::abi::sys::{
    self, nvmlEnableState_t, nvmlGpuFabricClique_v1_t, nvmlGpuFabricInfo_t, nvmlGpuFabricInfo_v2_t,
    nvmlGpuFabricInfo_v3_t, nvmlGpuFabricInfo_v4_t, nvmlIntNvLinkDeviceType_t, nvmlPciInfo_t,
};
use crate::abi::version;
use crate::args::{Gpu, Out, garble};
use crate::call::{Call, NvmlCall, Result, code, entries};
use crate::identity::pci_info_of;
use crate::parts::Part;

/// PCI device and vendor id of an NVSwitch, and its subsystem.
const NVSWITCH_PCI_IDS: (u32, u32) = (0x22a3_10de, 0x1796_10de);
/// nvml.h, `NVML_GPU_FABRIC_CLIQUE_TYPE_MULTICAST_POINTER`.
const MULTICAST_POINTER: u8 = 1;
/// The fabric's cluster, the same for every device of a machine.
const CLUSTER_UUID: [u8; 16] = [0xac, 0xce, 0x15, 0xc0, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

garble! { nvmlGpuFabricInfo_t {} nvmlGpuFabricInfo_v2_t {} nvmlGpuFabricInfo_v3_t {} nvmlGpuFabricInfo_v4_t {} }

entries! {
    fn nvmlDeviceGetNvLinkState(call, gpu: Gpu, link: c_uint, active: Out<nvmlEnableState_t>) {
        let device = call.gpu(gpu.0)?;
        active.set(call, u32::from(device.link_is_up(device.link(link)?)))
    }

    fn nvmlDeviceGetNvLinkVersion(call, gpu: Gpu, link: c_uint, number: Out<c_uint>) {
        let device = call.gpu(gpu.0)?;
        device.link(link)?;
        number.set(call, version_code(device.nvlink()?.version))
    }

    fn nvmlDeviceGetNvLinkCapability(
        call, gpu: Gpu, link: c_uint, capability: c_uint, has: Out<c_uint>,
    ) {
        call.gpu(gpu.0)?.link(link)?;
        let known = capability < sys::nvmlNvLinkCapability_enum_NVML_NVLINK_CAP_COUNT;
        let bridge = capability == sys::nvmlNvLinkCapability_enum_NVML_NVLINK_CAP_SLI_BRIDGE;
        if known { has.set(call, u32::from(!bridge)) } else { Err(code::INVALID_ARGUMENT) }
    }

    fn nvmlDeviceGetNvLinkRemoteDeviceType(
        call, gpu: Gpu, link: c_uint, kind: Out<nvmlIntNvLinkDeviceType_t>,
    ) {
        let device = call.gpu(gpu.0)?;
        device.link(link)?;
        kind.set(call, if device.nvlink()?.switch_addresses.is_empty() {
            sys::nvmlIntNvLinkDeviceType_enum_NVML_NVLINK_DEVICE_TYPE_GPU
        } else {
            sys::nvmlIntNvLinkDeviceType_enum_NVML_NVLINK_DEVICE_TYPE_SWITCH
        })
    }

    fn nvmlDeviceGetNvLinkRemotePciInfo_v2(call, gpu: Gpu, link: c_uint, pci: Out<nvmlPciInfo_t>) {
        pci.set(call, remote(call, gpu, link)?)
    }

    fn nvmlDeviceGetNvLinkRemotePciInfo(call, gpu: Gpu, link: c_uint, pci: Out<nvmlPciInfo_t>) {
        pci.set(call, remote(call, gpu, link)?)
    }

    fn nvmlDeviceGetNvLinkErrorCounter(
        call, gpu: Gpu, link: c_uint, counter: c_uint, count: Out<c_ulonglong>,
    ) {
        let device = call.gpu(gpu.0)?;
        let errors = device.link_errors(device.link(link)?);
        let before_hopper = || {
            let old = device.nvidia().architecture < Architecture::Hopper;
            if old { Ok(()) } else { Err(code::NOT_SUPPORTED) }
        };
        count.set(call, match counter {
            sys::nvmlNvLinkErrorCounter_enum_NVML_NVLINK_ERROR_DL_REPLAY => errors.replays,
            sys::nvmlNvLinkErrorCounter_enum_NVML_NVLINK_ERROR_DL_RECOVERY => errors.recoveries,
            sys::nvmlNvLinkErrorCounter_enum_NVML_NVLINK_ERROR_DL_CRC_FLIT => errors.crc_errors,
            sys::nvmlNvLinkErrorCounter_enum_NVML_NVLINK_ERROR_DL_CRC_DATA
            | sys::nvmlNvLinkErrorCounter_enum_NVML_NVLINK_ERROR_DL_ECC_DATA => before_hopper().map(|()| 0)?,
            _ => return Err(code::INVALID_ARGUMENT),
        })
    }

    fn nvmlDeviceGetGpuFabricInfo(call, gpu: Gpu, info: Out<nvmlGpuFabricInfo_t>) {
        let fabric = fabric(&call.gpu(gpu.0)?)?;
        info.set(call, nvmlGpuFabricInfo_t {
            clusterUuid: fabric.clusterUuid,
            status: fabric.status,
            cliqueId: fabric.cliqueId,
            state: fabric.state,
        })
    }

    fn nvmlDeviceGetGpuFabricInfo_v4(call, gpu: Gpu, info: Out<nvmlGpuFabricInfo_v4_t>) {
        let device = call.gpu(gpu.0)?;
        device.function_since(DRIVER_WITH_CLIQUES)?;
        let fabric = fabric(&device)?;
        let none = nvmlGpuFabricClique_v1_t { kind: 0, id: 0 };
        let mut cliques = [none; sys::NVML_GPU_FABRIC_CLIQUE_MAX as usize];
        let types = [sys::NVML_GPU_FABRIC_CLIQUE_TYPE_UNICAST_POINTER as u8, MULTICAST_POINTER];
        for (clique, kind) in cliques.iter_mut().zip(types) {
            *clique = nvmlGpuFabricClique_v1_t { kind, id: fabric.cliqueId };
        }
        info.set(call, nvmlGpuFabricInfo_v4_t {
            clusterUuid: fabric.clusterUuid,
            status: fabric.status,
            cliques,
            numCliques: types.len() as c_uint,
            state: fabric.state,
            healthMask: fabric.healthMask,
            healthSummary: fabric.healthSummary,
        })
    }

    fn nvmlDeviceGetGpuFabricInfoV(call, gpu: Gpu, info: Out<nvmlGpuFabricInfo_v3_t>) {
        // The version word comes first in both versions, and only as much is written as the version has.
        let word: Out<c_uint> = info.older();
        let asked = word.get();
        let mut fabric = fabric(&call.gpu(gpu.0)?)?;
        fabric.version = asked;
        if asked == version::<nvmlGpuFabricInfo_v3_t>(3) {
            info.set(call, fabric)
        } else if asked == version::<nvmlGpuFabricInfo_v2_t>(2) {
            let nvmlGpuFabricInfo_v3_t { version, clusterUuid, status, cliqueId, state, healthMask, .. } =
                fabric;
            let older =
                nvmlGpuFabricInfo_v2_t { version, clusterUuid, status, cliqueId, state, healthMask };
            info.older().set(call, older)
        } else {
            Err(code::VERSION_MISMATCH)
        }
    }
}

/// The driver that brought the fourth version of the fabric's struct.
const DRIVER_WITH_CLIQUES: u32 = 615;

/// `NVML_NVLINK_VERSION_*`: the generations as they came out, half generations included.
pub(crate) fn version_code(generation: u32) -> u32 {
    match generation {
        0 | 1 => generation,
        2 => 2,
        3 => 4,
        4 => 6,
        _ => 7,
    }
}

fn remote(call: &Call<'_>, gpu: Gpu, link: u32) -> Result<nvmlPciInfo_t> {
    let device = call.gpu(gpu.0)?;
    device.link(link)?;
    let switches = &device.nvlink()?.switch_addresses;
    let address = switches.get(link as usize % switches.len().max(1)).ok_or(code::NOT_SUPPORTED)?;
    let numbers = pci_numbers(address).ok_or(code::UNKNOWN)?;
    Ok(pci_info_of(numbers, NVSWITCH_PCI_IDS.0, NVSWITCH_PCI_IDS.1))
}

/// The device's place in the fabric that its switches make, from Hopper on.
fn fabric(device: &Device<'_>) -> Result<nvmlGpuFabricInfo_v3_t> {
    device.since(Architecture::Hopper)?;
    if device.nvlink()?.switch_addresses.is_empty() {
        return Err(code::NOT_SUPPORTED);
    }
    let links = device.nvlink()?.links;
    let degraded = (0..links).any(|link| !device.link_is_up(link));
    let mask = if degraded {
        sys::NVML_GPU_FABRIC_HEALTH_MASK_DEGRADED_BW_TRUE
    } else {
        sys::NVML_GPU_FABRIC_HEALTH_MASK_DEGRADED_BW_FALSE
    };
    let summary = if degraded {
        sys::NVML_GPU_FABRIC_HEALTH_SUMMARY_LIMITED_CAPACITY
    } else {
        sys::NVML_GPU_FABRIC_HEALTH_SUMMARY_HEALTHY
    };
    let standing = &device.standing().fabric;
    Ok(nvmlGpuFabricInfo_v3_t {
        version: 0,
        clusterUuid: CLUSTER_UUID,
        status: standing.status,
        cliqueId: standing.clique,
        state: standing.state.unwrap_or(sys::NVML_GPU_FABRIC_STATE_COMPLETED as u8),
        healthMask: mask << sys::NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_DEGRADED_BW,
        healthSummary: summary as u8,
    })
}
