//! The NVLink fabric: how the device is registered with it, and its health.

use nvml_wrapper_sys::bindings::{nvmlGpuFabricInfo_v2_t, nvmlGpuFabricInfo_v3_t};
use reading::{FaultCode, Measured, plausible_count};

use super::{
    FUNCTION_NOT_FOUND, Gpu, VERSION_MISMATCH, call,
    newer::{CLIQUES_MAX, FabricInfoV4},
    plausible::Number as _,
    struct_version,
};

/// Fabric registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fabric {
    /// nvml.h, `NVML_GPU_FABRIC_STATE_*`.
    pub state: u8,
    /// What registration returned; it counts once the state is completed.
    pub status: u32,
    /// UUID of the cluster; zeros where there is none.
    pub cluster: [u8; 16],
    /// The first clique of each type: unicast and multicast by pointer, then both by logical endpoint. Only
    /// the first is known to older drivers.
    pub cliques: [Option<u32>; 4],
    /// nvml.h, `NVML_GPU_FABRIC_HEALTH_MASK_*`.
    pub health_mask: u32,
}

/// Reads it by the newest of the calls that the driver has.
pub fn fabric(gpu: &Gpu) -> Measured<Fabric> {
    match newest(gpu) {
        Err(fault) if fault.code == FaultCode::SymbolMissing || fault.code == FUNCTION_NOT_FOUND => {
            older(gpu)
        }
        fabric => fabric,
    }
}

fn newest(gpu: &Gpu) -> Measured<Fabric> {
    const CALL: &str = "nvmlDeviceGetGpuFabricInfo_v4";
    // SAFETY: integers and arrays of them: all-zero bytes are valid.
    let mut info: FabricInfoV4 = unsafe { std::mem::zeroed() };
    call!(gpu.library().newer(), nvmlDeviceGetGpuFabricInfo_v4(gpu.handle(), &raw mut info))?;
    let count = plausible_count(CALL, info.clique_count, CLIQUES_MAX)?;
    let cliques = &info.cliques[..count as usize];
    let first = |kind: u8| cliques.iter().find(|clique| clique.kind == kind).map(|clique| clique.id);
    Ok(Fabric {
        state: info.state,
        status: info.status,
        cluster: info.cluster,
        cliques: [0, 1, 2, 3].map(first),
        health_mask: info.health_mask.checked(CALL)?,
    })
}

/// Version 3 of the struct only appends to version 2, so drivers that know no more than version 2 get the same
/// buffer as that version.
fn older(gpu: &Gpu) -> Measured<Fabric> {
    // SAFETY: integers and byte arrays only: all-zero bytes are valid.
    let mut info: nvmlGpuFabricInfo_v3_t = unsafe { std::mem::zeroed() };
    info.version = struct_version::<nvmlGpuFabricInfo_v3_t>(3);
    let returned = call!(gpu.library(), nvmlDeviceGetGpuFabricInfoV(gpu.handle(), &raw mut info));
    if returned.is_err_and(|fault| fault.code == VERSION_MISMATCH) {
        info.version = struct_version::<nvmlGpuFabricInfo_v2_t>(2);
        call!(gpu.library(), nvmlDeviceGetGpuFabricInfoV(gpu.handle(), &raw mut info))?;
    } else {
        returned?;
    }
    Ok(Fabric {
        state: info.state,
        status: info.status,
        cluster: info.clusterUuid,
        cliques: [Some(info.cliqueId), None, None, None],
        health_mask: info.healthMask.checked("nvmlDeviceGetGpuFabricInfoV")?,
    })
}
