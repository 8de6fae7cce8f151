//! Where devices sit in the host: affinity, common ancestors, peers.

use std::ffi::{c_int, c_uint, c_ulong};

use crate::abi::sys::{self, nvmlDevice_t, nvmlGpuP2PStatus_t, nvmlGpuTopologyLevel_t};
use crate::args::{Gpu, Out};
use crate::call::{Call, NvmlCall, Result, code, entries};
use crate::handle::{HandleKind, Target};
use crate::lists::{Items, list};

/// Logical processors of the simulated host, half on each of two nodes.
const PROCESSORS: u32 = 128;

entries! {
    fn nvmlDeviceGetCpuAffinity(call, gpu: Gpu, words: c_uint, set: Items<c_ulong>) {
        let mask = processors(call.gpu(gpu.0)?.numa_node());
        write_set(words, set, |word| (mask >> (64 * word)) as c_ulong)
    }

    fn nvmlDeviceGetCpuAffinityWithinScope(
        call, gpu: Gpu, words: c_uint, set: Items<c_ulong>, _scope: c_uint,
    ) {
        let mask = processors(call.gpu(gpu.0)?.numa_node());
        write_set(words, set, |word| (mask >> (64 * word)) as c_ulong)
    }

    fn nvmlDeviceGetMemoryAffinity(call, gpu: Gpu, words: c_uint, set: Items<c_ulong>, _scope: c_uint) {
        let node = call.gpu(gpu.0)?.numa_node();
        write_set(words, set, |word| if word == 0 { 1 << node } else { 0 })
    }

    fn nvmlDeviceGetTopologyCommonAncestor(
        call, one: Gpu, other: Gpu, level: Out<nvmlGpuTopologyLevel_t>,
    ) {
        level.set(call, common_ancestor(call, one, other)?)
    }

    fn nvmlDeviceGetTopologyNearestGpus(
        call, gpu: Gpu, level: nvmlGpuTopologyLevel_t, count: Out<c_uint>, devices: Items<nvmlDevice_t>,
    ) {
        let near = |other: &usize| {
            *other != gpu.0 && common_ancestor(call, gpu, Gpu(*other)) == Ok(level)
        };
        list(count, devices, handles(call, call.moment.present().filter(near).collect()))
    }

    fn nvmlSystemGetTopologyGpuSet(
        call, processor: c_uint, count: Out<c_uint>, devices: Items<nvmlDevice_t>,
    ) {
        let node = processor / (PROCESSORS / 2);
        let near = |device: &usize| call.gpu(*device).is_ok_and(|gpu| gpu.numa_node() == node);
        list(count, devices, handles(call, call.moment.present().filter(near).collect()))
    }

    fn nvmlDeviceGetP2PStatus(
        call, one: Gpu, other: Gpu, capability: c_uint, status: Out<nvmlGpuP2PStatus_t>,
    ) {
        let nvlink = call.gpu(one.0)?.nvidia().nvlink.is_some();
        let supported = match capability {
            sys::nvmlGpuP2PCapsIndex_enum_NVML_P2P_CAPS_INDEX_NVLINK
            | sys::nvmlGpuP2PCapsIndex_enum_NVML_P2P_CAPS_INDEX_ATOMICS => nvlink,
            sys::nvmlGpuP2PCapsIndex_enum_NVML_P2P_CAPS_INDEX_READ
            | sys::nvmlGpuP2PCapsIndex_enum_NVML_P2P_CAPS_INDEX_WRITE => true,
            other if other < sys::nvmlGpuP2PCapsIndex_enum_NVML_P2P_CAPS_INDEX_UNKNOWN => false,
            _ => return Err(code::INVALID_ARGUMENT),
        };
        let cut = [one, other].iter().any(|gpu| {
            call.gpu(gpu.0).is_ok_and(|device| device.standing().mig_enabled)
        });
        status.set(call, if supported && !cut {
            sys::nvmlGpuP2PStatus_enum_NVML_P2P_STATUS_OK
        } else {
            sys::nvmlGpuP2PStatus_enum_NVML_P2P_STATUS_NOT_SUPPORTED
        })
    }

    fn nvmlDeviceOnSameBoard(call, one: Gpu, other: Gpu, same: Out<c_int>) {
        same.set(call, c_int::from(one.0 == other.0))
    }
}

/// The processors of a node as a set of bits.
fn processors(node: u32) -> u128 {
    let half = (1u128 << (PROCESSORS / 2)) - 1;
    half << (node * (PROCESSORS / 2) % PROCESSORS)
}

fn write_set(words: c_uint, set: Items<c_ulong>, word: impl Fn(u32) -> c_ulong) -> Result {
    if words == 0 || set.is_null() {
        return Err(code::INVALID_ARGUMENT);
    }
    set.write((0..words).map(|index| if index < PROCESSORS / 64 { word(index) } else { 0 }));
    Ok(())
}

fn common_ancestor(call: &Call<'_>, one: Gpu, other: Gpu) -> Result<nvmlGpuTopologyLevel_t> {
    let (first, second) = (call.gpu(one.0)?, call.gpu(other.0)?);
    Ok(if one.0 == other.0 {
        sys::nvmlGpuLevel_enum_NVML_TOPOLOGY_INTERNAL
    } else if first.numa_node() == second.numa_node() {
        sys::nvmlGpuLevel_enum_NVML_TOPOLOGY_NODE
    } else {
        sys::nvmlGpuLevel_enum_NVML_TOPOLOGY_SYSTEM
    })
}

fn handles(call: &Call<'_>, devices: Vec<usize>) -> impl Iterator<Item = nvmlDevice_t> + Clone {
    let handles: Vec<nvmlDevice_t> =
        devices.into_iter().map(|device| call.handle(HandleKind::Device, Target::gpu(device))).collect();
    handles.into_iter()
}
