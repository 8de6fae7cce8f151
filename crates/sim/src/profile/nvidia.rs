//! What only an NVIDIA device has: the table `[device.nvidia]` of a machine.

use serde::Deserialize;

use super::{Memory, hold};
use crate::mig::InstanceProfile;

/// What only an NVIDIA device has.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nvidia {
    /// Generation.
    pub architecture: Architecture,
    /// CUDA compute capability, major and minor.
    pub compute_capability: [i32; 2],
    /// CUDA cores.
    pub cores: u32,
    /// Board part number.
    pub part_number: String,
    /// VBIOS version.
    pub vbios_version: String,
    /// Branch of the driver's release: `r570_00`.
    pub driver_branch: String,
    /// The newest CUDA version the driver serves: `[12, 8]`.
    pub cuda: [i32; 2],
    /// BAR1 aperture, MiB.
    pub bar1_mib: u64,
    /// Highest video clock.
    pub video_max_megahertz: u32,
    /// Performance state with no work; 0 under load.
    pub idle_performance_state: u32,
    /// Configuration memory versions.
    pub inforom: Inforom,
    /// Media engines.
    pub engines: Engines,
    /// NVLink, where the device has it.
    pub nvlink: Option<Nvlink>,
    /// Links to the CPU beside the device, where it has them.
    pub c2c: Option<C2c>,
    /// Its place in a rack, where the platform reports one.
    pub platform: Option<Platform>,
    /// Power profiles for kinds of work, by their numbers in NVML.
    #[serde(default)]
    pub power_profiles: Vec<u32>,
    /// Instance profiles, where the device can be cut.
    #[serde(default)]
    pub mig_profiles: Vec<InstanceProfile>,
}

impl Nvidia {
    pub(super) fn check(&self, memory: &Memory) -> Result<(), String> {
        let links = self.nvlink.as_ref().map_or(1, |nvlink| nvlink.links);
        let instances_fit = self.mig_profiles.iter().all(|profile| {
            (1..=7).contains(&profile.slices)
                && (1..=8).contains(&profile.placement_slices)
                && profile.first_instance_id < 128
                && (64..=memory.total_mib).contains(&profile.memory_mib)
        });
        hold(&[
            ((8..1 << 32).contains(&self.bar1_mib), "device.nvidia: bar1_mib must be at least 8"),
            ((1..=32).contains(&links), "device.nvidia.nvlink: 1 to 32 links"),
            (
                self.power_profiles.iter().all(|profile| *profile < 32),
                "device.nvidia: power_profiles are 0 to 31",
            ),
            (instances_fit, "device.nvidia.mig_profiles: slices, ids or memory that no device has"),
        ])
    }
}

/// A GPU generation, oldest first.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// 2018: T4.
    Turing,
    /// 2020: A100.
    Ampere,
    /// 2022: L40S.
    Ada,
    /// 2022: H100.
    Hopper,
    /// 2024: B200.
    Blackwell,
}

/// Versions of the inforom objects.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inforom {
    /// The image as a whole.
    pub image: String,
    /// OEM object.
    pub oem: String,
    /// ECC object.
    pub ecc: String,
}

/// Engine counts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engines {
    /// Video decoders.
    pub decoders: u32,
    /// Video encoders.
    pub encoders: u32,
    /// JPEG decoders.
    pub jpeg: u32,
    /// Optical flow accelerators.
    pub optical_flow: u32,
}

/// Links to the CPU beside the device.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct C2c {
    /// Links per device.
    pub links: u32,
    /// Speed of one link, 10^6 bytes per second.
    pub link_megabytes_per_second: u32,
}

/// A device's place in its rack.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platform {
    /// Serial number of the chassis, up to 13 characters.
    pub chassis_serial: String,
    /// Slot in the chassis, switches included.
    pub slot: u8,
    /// Compute tray.
    pub tray: u8,
}

/// NVLink and its rate of errors.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nvlink {
    /// Links per device.
    pub links: u32,
    /// NVLink generation.
    pub version: u32,
    /// Speed of one link in one direction, 10^6 bytes per second.
    pub link_megabytes_per_second: u32,
    /// PCI addresses of the switches at the far end; link `n` ends at switch `n % len`. Empty: GPU to GPU.
    pub switch_addresses: Vec<String>,
    /// Retransmissions per link and day.
    pub replays_per_day: f64,
}
