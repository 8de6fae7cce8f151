//! MIG: modes, the profiles a GPU offers, its instances, and handles to them.

use std::ffi::c_uint;

use sim::Device;
use sim::mig::{Instance, InstanceProfile};

use crate::abi::sys::{
    self, nvmlComputeInstance_t, nvmlComputeInstanceInfo_t, nvmlComputeInstancePlacement_t,
    nvmlComputeInstanceProfileInfo_t, nvmlComputeInstanceProfileInfo_v2_t, nvmlDevice_t,
    nvmlDeviceAttributes_t, nvmlGpuInstance_t, nvmlGpuInstanceInfo_t, nvmlGpuInstancePlacement_t,
    nvmlGpuInstanceProfileInfo_t, nvmlGpuInstanceProfileInfo_v2_t, nvmlGpuInstanceProfileInfo_v3_t,
};
use crate::abi::version;
use crate::args::{AnyDevice, ComputeInstance, Gpu, GpuInstance, Out, fill, garble};
use crate::call::{Call, NvmlCall, Result, code, entries, readings};
use crate::handle::{HandleKind, Target};
use crate::lists::{Items, list};

/// Compute instances that a GPU can have, in all.
const COMPUTE_INSTANCES_MAX: u32 = 7;

garble! {
    nvmlDeviceAttributes_t { memorySizeMB }
    nvmlGpuInstanceInfo_t {}
    nvmlComputeInstanceInfo_t {}
    nvmlGpuInstanceProfileInfo_t {}
    nvmlGpuInstanceProfileInfo_v2_t {}
    nvmlGpuInstanceProfileInfo_v3_t {}
    nvmlComputeInstanceProfileInfo_t {}
    nvmlComputeInstanceProfileInfo_v2_t {}
}

/// What the versions of the struct have in common, and the members of each.
macro_rules! profile_info {
    ($info:ident, $profile:expr, $($own:ident: $value:expr),*) => {
        $info {
            id: $profile.id,
            sliceCount: $profile.slices,
            instanceCount: $profile.instances_max,
            multiprocessorCount: $profile.multiprocessors,
            copyEngineCount: $profile.copy_engines,
            decoderCount: $profile.decoders,
            encoderCount: 0,
            jpegCount: $profile.jpeg,
            ofaCount: $profile.optical_flow,
            memorySizeMB: $profile.memory_mib,
            $($own: $value),*
        }
    };
}

readings! {
    nvmlDeviceGetMaxMigDeviceCount: c_uint =
        |device| Ok(if can_be_cut(&device).is_ok() { COMPUTE_INSTANCES_MAX } else { 0 });
}

entries! {
    fn nvmlDeviceGetMigMode(call, gpu: Gpu, current: Out<c_uint>, pending: Out<c_uint>) {
        let device = call.gpu(gpu.0)?;
        can_be_cut(&device)?;
        let mode = u32::from(device.standing().mig_enabled);
        current.set(call, mode)?;
        pending.set(call, mode)
    }

    fn nvmlDeviceGetMigDeviceHandleByIndex(call, gpu: Gpu, index: c_uint, device: Out<nvmlDevice_t>) {
        let parent = call.gpu(gpu.0)?;
        can_be_cut(&parent)?;
        if index >= COMPUTE_INSTANCES_MAX {
            return Err(code::INVALID_ARGUMENT);
        }
        let instances = parent.standing().instances.iter();
        let mut found = instances.flat_map(|instance| {
            (0..instance.compute_instances).map(|compute| Target {
                device: gpu.0,
                instance: Some(instance.id),
                compute: Some(compute),
            })
        });
        let target = found.nth(index as usize).ok_or(code::NOT_FOUND)?;
        device.put(call.handle(HandleKind::Device, target))
    }

    fn nvmlDeviceIsMigDeviceHandle(_call, device: AnyDevice, is: Out<c_uint>) {
        is.put(u32::from(device.0.instance.is_some()))
    }

    fn nvmlDeviceGetDeviceHandleFromMigDeviceHandle(call, device: AnyDevice, parent: Out<nvmlDevice_t>) {
        device.0.instance.ok_or(code::INVALID_ARGUMENT)?;
        parent.put(call.handle(HandleKind::Device, Target::gpu(device.0.device)))
    }

    fn nvmlDeviceGetGpuInstanceId(call, device: AnyDevice, id: Out<c_uint>) {
        id.set(call, device.0.instance.ok_or(code::NOT_SUPPORTED)?)
    }

    fn nvmlDeviceGetComputeInstanceId(call, device: AnyDevice, id: Out<c_uint>) {
        id.set(call, device.0.compute.ok_or(code::NOT_SUPPORTED)?)
    }

    fn nvmlDeviceGetAttributes_v2(call, device: AnyDevice, attributes: Out<nvmlDeviceAttributes_t>) {
        attributes.set(call, attributes_of(call, device.0)?)
    }

    fn nvmlDeviceGetAttributes(call, device: AnyDevice, attributes: Out<nvmlDeviceAttributes_t>) {
        attributes.set(call, attributes_of(call, device.0)?)
    }

    fn nvmlDeviceGetGpuInstances(
        call, gpu: Gpu, profile: c_uint, instances: Items<nvmlGpuInstance_t>, count: Out<c_uint>,
    ) {
        let device = call.gpu(gpu.0)?;
        is_cut(&device)?;
        let of_profile = device.standing().instances.iter().filter(|found| found.profile.id == profile);
        // nvml.h: the array must have room for as many instances as the profile allows.
        let handles = of_profile.map(|instance| gpu_instance(call, gpu.0, instance.id));
        count.put(handles.clone().count() as c_uint)?;
        if instances.is_null() {
            return Err(code::INVALID_ARGUMENT);
        }
        instances.write(handles);
        Ok(())
    }

    fn nvmlDeviceGetGpuInstanceById(call, gpu: Gpu, id: c_uint, instance: Out<nvmlGpuInstance_t>) {
        let device = call.gpu(gpu.0)?;
        is_cut(&device)?;
        device.instance(id).ok_or(code::NOT_FOUND)?;
        instance.put(gpu_instance(call, gpu.0, id))
    }

    fn nvmlGpuInstanceGetInfo(call, gpu_instance: GpuInstance, info: Out<nvmlGpuInstanceInfo_t>) {
        let device = call.gpu(gpu_instance.0.device)?;
        let instance = instance(&device, gpu_instance.0)?;
        info.set(call, nvmlGpuInstanceInfo_t {
            device: call.handle(HandleKind::Device, Target::gpu(gpu_instance.0.device)),
            id: instance.id,
            profileId: instance.profile.id,
            placement: nvmlGpuInstancePlacement_t {
                start: instance.placement,
                size: instance.profile.placement_slices,
            },
        })
    }

    fn nvmlDeviceGetGpuInstanceProfileInfo(
        call, gpu: Gpu, kind: c_uint, info: Out<nvmlGpuInstanceProfileInfo_t>,
    ) {
        let device = call.gpu(gpu.0)?;
        let profile = by_kind(&device, kind)?;
        info.set(call, profile_info!(nvmlGpuInstanceProfileInfo_t, profile, isP2pSupported: 0))
    }

    fn nvmlDeviceGetGpuInstanceProfileInfoV(
        call, gpu: Gpu, kind: c_uint, info: Out<nvmlGpuInstanceProfileInfo_v2_t>,
    ) {
        let device = call.gpu(gpu.0)?;
        versioned_instance_profile(call, by_kind(&device, kind)?, info)
    }

    fn nvmlDeviceGetGpuInstanceProfileInfoByIdV(
        call, gpu: Gpu, id: c_uint, info: Out<nvmlGpuInstanceProfileInfo_v2_t>,
    ) {
        let device = call.gpu(gpu.0)?;
        versioned_instance_profile(call, by_id(&device, id)?, info)
    }

    fn nvmlDeviceGetGpuInstancePossiblePlacements_v2(
        call, gpu: Gpu, id: c_uint, placements: Items<nvmlGpuInstancePlacement_t>, count: Out<c_uint>,
    ) {
        let device = call.gpu(gpu.0)?;
        list_placements(by_id(&device, id)?, placements, count)
    }

    fn nvmlDeviceGetGpuInstancePossiblePlacements(
        call, gpu: Gpu, id: c_uint, placements: Items<nvmlGpuInstancePlacement_t>, count: Out<c_uint>,
    ) {
        let device = call.gpu(gpu.0)?;
        list_placements(by_id(&device, id)?, placements, count)
    }

    fn nvmlDeviceGetGpuInstanceRemainingCapacity(call, gpu: Gpu, id: c_uint, count: Out<c_uint>) {
        let device = call.gpu(gpu.0)?;
        is_cut(&device)?;
        let profile = by_id(&device, id)?;
        let mut names: Vec<String> =
            device.standing().instances.iter().map(|instance| instance.profile.name.clone()).collect();
        let before = names.len();
        loop {
            names.push(profile.name.clone());
            if sim::mig::layout(&device.nvidia().mig_profiles, &names).is_err() {
                break;
            }
        }
        count.set(call, (names.len() - 1 - before) as c_uint)
    }

    fn nvmlGpuInstanceGetComputeInstances(
        call, gpu_instance: GpuInstance, profile: c_uint, instances: Items<nvmlComputeInstance_t>,
        count: Out<c_uint>,
    ) {
        let device = call.gpu(gpu_instance.0.device)?;
        let instance = instance(&device, gpu_instance.0)?;
        let number = if compute_profile(instance).id == profile { instance.compute_instances } else { 0 };
        count.put(number)?;
        if instances.is_null() {
            return Err(code::INVALID_ARGUMENT);
        }
        instances.write((0..number).map(|id| compute_instance(call, gpu_instance.0, id)));
        Ok(())
    }

    fn nvmlGpuInstanceGetComputeInstanceById(
        call, gpu_instance: GpuInstance, id: c_uint, found: Out<nvmlComputeInstance_t>,
    ) {
        let device = call.gpu(gpu_instance.0.device)?;
        if id >= instance(&device, gpu_instance.0)?.compute_instances {
            return Err(code::NOT_FOUND);
        }
        found.put(compute_instance(call, gpu_instance.0, id))
    }

    fn nvmlComputeInstanceGetInfo_v2(
        call, compute: ComputeInstance, info: Out<nvmlComputeInstanceInfo_t>,
    ) {
        info.set(call, compute_info(call, compute.0)?)
    }

    fn nvmlComputeInstanceGetInfo(call, compute: ComputeInstance, info: Out<nvmlComputeInstanceInfo_t>) {
        info.set(call, compute_info(call, compute.0)?)
    }

    fn nvmlGpuInstanceGetComputeInstanceProfileInfo(
        call, gpu_instance: GpuInstance, kind: c_uint, _engine: c_uint,
        info: Out<nvmlComputeInstanceProfileInfo_t>,
    ) {
        let device = call.gpu(gpu_instance.0.device)?;
        info.set(call, compute_profile_of_kind(instance(&device, gpu_instance.0)?, kind)?)
    }

    fn nvmlGpuInstanceGetComputeInstanceProfileInfoV(
        call, gpu_instance: GpuInstance, kind: c_uint, _engine: c_uint,
        info: Out<nvmlComputeInstanceProfileInfo_v2_t>,
    ) {
        let asked = info.get().version;
        if asked != version::<nvmlComputeInstanceProfileInfo_v2_t>(2) {
            return Err(code::VERSION_MISMATCH);
        }
        let device = call.gpu(gpu_instance.0.device)?;
        let instance = instance(&device, gpu_instance.0)?;
        let profile = compute_profile_of_kind(instance, kind)?;
        let mut reading = info.get();
        reading.id = profile.id;
        reading.sliceCount = profile.sliceCount;
        reading.instanceCount = profile.instanceCount;
        reading.multiprocessorCount = profile.multiprocessorCount;
        reading.sharedCopyEngineCount = profile.sharedCopyEngineCount;
        reading.sharedDecoderCount = profile.sharedDecoderCount;
        reading.sharedEncoderCount = profile.sharedEncoderCount;
        reading.sharedJpegCount = profile.sharedJpegCount;
        reading.sharedOfaCount = profile.sharedOfaCount;
        fill(&mut reading.name, &format!("MIG {}c.{}", profile.sliceCount, instance.profile.name));
        info.set(call, reading)
    }
}

fn can_be_cut(device: &Device<'_>) -> Result {
    if device.nvidia().mig_profiles.is_empty() { Err(code::NOT_SUPPORTED) } else { Ok(()) }
}

fn is_cut(device: &Device<'_>) -> Result {
    if device.standing().mig_enabled { Ok(()) } else { Err(code::NOT_SUPPORTED) }
}

fn gpu_instance(call: &Call<'_>, device: usize, id: u32) -> nvmlGpuInstance_t {
    call.handle(HandleKind::GpuInstance, Target { device, instance: Some(id), compute: None })
}

fn compute_instance(call: &Call<'_>, target: Target, id: u32) -> nvmlComputeInstance_t {
    call.handle(HandleKind::ComputeInstance, Target { compute: Some(id), ..target })
}

fn instance<'a>(device: &Device<'a>, target: Target) -> Result<&'a Instance> {
    target.instance.and_then(|id| device.instance(id)).ok_or(code::INVALID_ARGUMENT)
}

fn by_kind<'a>(device: &Device<'a>, kind: u32) -> Result<&'a InstanceProfile> {
    can_be_cut(device)?;
    if kind >= sys::NVML_GPU_INSTANCE_PROFILE_COUNT {
        return Err(code::INVALID_ARGUMENT);
    }
    device.nvidia().mig_profiles.iter().find(|profile| profile.kind == kind).ok_or(code::NOT_SUPPORTED)
}

fn by_id<'a>(device: &Device<'a>, id: u32) -> Result<&'a InstanceProfile> {
    can_be_cut(device)?;
    device.nvidia().mig_profiles.iter().find(|profile| profile.id == id).ok_or(code::INVALID_ARGUMENT)
}

fn attributes_of(call: &Call<'_>, target: Target) -> Result<nvmlDeviceAttributes_t> {
    // nvml.h: for MIG device handles only.
    target.instance.ok_or(code::NOT_SUPPORTED)?;
    let device = call.gpu(target.device)?;
    let instance = instance(&device, target)?;
    let profile = &instance.profile;
    Ok(nvmlDeviceAttributes_t {
        multiprocessorCount: instance.compute_multiprocessors(),
        sharedCopyEngineCount: profile.copy_engines,
        sharedDecoderCount: profile.decoders,
        sharedEncoderCount: 0,
        sharedJpegCount: profile.jpeg,
        sharedOfaCount: profile.optical_flow,
        gpuInstanceSliceCount: profile.slices,
        computeInstanceSliceCount: instance.compute_slices(),
        memorySizeMB: profile.memory_mib,
    })
}

/// The declared type is version 2; a caller with version 3 has given a struct of that version.
fn versioned_instance_profile(
    call: &Call<'_>,
    profile: &InstanceProfile,
    info: Out<nvmlGpuInstanceProfileInfo_v2_t>,
) -> Result {
    let asked = info.get().version;
    let mut name = [0; 96];
    fill(&mut name, &format!("MIG {}", profile.name));
    if asked == version::<nvmlGpuInstanceProfileInfo_v3_t>(3) {
        info.newer().set(
            call,
            profile_info!(
                nvmlGpuInstanceProfileInfo_v3_t, profile, version: asked, name: name, capabilities: 0
            ),
        )
    } else if asked == version::<nvmlGpuInstanceProfileInfo_v2_t>(2) {
        info.set(
            call,
            profile_info!(
                nvmlGpuInstanceProfileInfo_v2_t, profile, version: asked, isP2pSupported: 0, name: name
            ),
        )
    } else {
        Err(code::VERSION_MISMATCH)
    }
}

fn list_placements(
    profile: &InstanceProfile,
    placements: Items<nvmlGpuInstancePlacement_t>,
    count: Out<c_uint>,
) -> Result {
    let size = profile.placement_slices;
    let all = profile.placements.iter().map(|&start| nvmlGpuInstancePlacement_t { start, size });
    if placements.is_null() {
        return count.put(profile.placements.len() as c_uint);
    }
    list(count, placements, all)
}

/// The compute profile of the instances that are there, or would be: equal parts of the GPU instance.
fn compute_profile(instance: &Instance) -> nvmlComputeInstanceProfileInfo_t {
    let profile = &instance.profile;
    let slices = instance.compute_slices();
    nvmlComputeInstanceProfileInfo_t {
        // As `nvidia-smi mig -lcip` numbers them: by slices, less one.
        id: slices - 1,
        sliceCount: slices,
        instanceCount: profile.slices / slices,
        multiprocessorCount: instance.compute_multiprocessors(),
        sharedCopyEngineCount: profile.copy_engines,
        sharedDecoderCount: profile.decoders,
        sharedEncoderCount: 0,
        sharedJpegCount: profile.jpeg,
        sharedOfaCount: profile.optical_flow,
    }
}

fn compute_profile_of_kind(instance: &Instance, kind: u32) -> Result<nvmlComputeInstanceProfileInfo_t> {
    let slices = match kind {
        sys::NVML_COMPUTE_INSTANCE_PROFILE_1_SLICE => 1,
        sys::NVML_COMPUTE_INSTANCE_PROFILE_2_SLICE => 2,
        sys::NVML_COMPUTE_INSTANCE_PROFILE_3_SLICE => 3,
        sys::NVML_COMPUTE_INSTANCE_PROFILE_4_SLICE => 4,
        sys::NVML_COMPUTE_INSTANCE_PROFILE_7_SLICE => 7,
        other if other < sys::NVML_COMPUTE_INSTANCE_PROFILE_COUNT => return Err(code::NOT_SUPPORTED),
        _ => return Err(code::INVALID_ARGUMENT),
    };
    if slices > instance.profile.slices {
        return Err(code::NOT_SUPPORTED);
    }
    let equal = Instance { compute_instances: instance.profile.slices / slices, ..instance.clone() };
    Ok(nvmlComputeInstanceProfileInfo_t {
        id: slices - 1,
        sliceCount: slices,
        multiprocessorCount: instance.profile.multiprocessors * slices / instance.profile.slices,
        ..compute_profile(&equal)
    })
}

fn compute_info(call: &Call<'_>, target: Target) -> Result<nvmlComputeInstanceInfo_t> {
    let device = call.gpu(target.device)?;
    let instance = instance(&device, target)?;
    let id = target.compute.ok_or(code::INVALID_ARGUMENT)?;
    let size = instance.compute_slices();
    Ok(nvmlComputeInstanceInfo_t {
        device: call.handle(HandleKind::Device, Target::gpu(target.device)),
        gpuInstance: gpu_instance(call, target.device, instance.id),
        id,
        profileId: compute_profile(instance).id,
        placement: nvmlComputeInstancePlacement_t { start: id * size, size },
    })
}
