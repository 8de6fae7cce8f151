//! What a GPU or a MIG instance is called by those who hand devices out: NVIDIA's device plugin and DRA driver, and
//! the device plugin of GKE.

use std::path::Path;

use kernel::File;
use reading::Alias;

use crate::raw::{Gpu, Instance};

/// What a GPU is called beside its UUID: by its index, where the device plugin is set to that, and by its minor
/// number.
pub fn of_gpu(index: u32, minor: Option<u32>) -> Vec<Alias> {
    let mut aliases = vec![Alias::Id(index.to_string())];
    if let Some(minor) = minor {
        aliases.push(Alias::Id(format!("nvidia{minor}")));
        aliases.push(Alias::Id(format!("gpu-{minor}")));
        aliases.push(Alias::Node(format!("/dev/nvidia{minor}")));
    }
    aliases
}

/// What an instance of the GPU with this index and minor number is called beside its UUID: also by the scripts of batch
/// systems, as dcgm-exporter reads them, and its node below
/// /dev/nvidia-caps.
///
/// The DRA driver names an instance by profile and placement, which the driver gives to root alone. The node, which
/// procfs shows to everyone, identifies it too.
pub fn of_instance(gpu: &Gpu, index: u32, minor: u32, instance: &Instance, procfs: &Path) -> Vec<Alias> {
    let id = instance.id;
    let mut aliases = vec![Alias::Id(format!("nvidia{minor}/gi{id}")), Alias::Id(format!("{index}.{id}"))];
    if let Ok((profile_id, start)) = gpu.placement(id) {
        let profile = instance.profile.replace('.', "").replace('+', "-");
        aliases.push(Alias::Id(format!("gpu-{minor}-mig-{profile}-{profile_id}-{start}")));
    }
    let capability = procfs.join(format!("driver/nvidia/capabilities/gpu{minor}/mig/gi{id}"));
    let access = File::new(&capability, "access").parse(node_number);
    aliases.extend(access.map(|number| Alias::Node(format!("/dev/nvidia-caps/nvidia-cap{number}"))));
    aliases
}

/// The minor number in the file of a capability, which has a line for each of its facts.
fn node_number(text: &str) -> Option<u32> {
    text.lines().find_map(|line| line.strip_prefix("DeviceFileMinor:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_without_a_minor_number_is_called_by_its_index() {
        assert_eq!(of_gpu(2, None), [Alias::Id("2".to_owned())]);
        let ids = ["2", "nvidia5", "gpu-5"].map(|id| Alias::Id(id.to_owned()));
        assert_eq!(of_gpu(2, Some(5)), [&ids[..], &[Alias::Node("/dev/nvidia5".to_owned())]].concat());
    }

    #[test]
    fn the_node_of_a_capability_is_the_minor_number_of_its_file() {
        let text = "DeviceFileMinor: 30\nDeviceFileMode: 292\nDeviceFileModify: 1\n";
        assert_eq!(node_number(text), Some(30));
        assert_eq!(node_number("DeviceFileMode: 292\n"), None);
        assert_eq!(node_number("DeviceFileMinor: x\n"), None);
    }
}
