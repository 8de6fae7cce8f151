//! How a GPU is cut into instances: the profiles a device offers, and the layout that a list of names makes.
//!
//! An instance is written `3g.40gb`: one GPU instance with one compute instance that fills it. `3g.40gb:3`
//! has three equal compute instances, and `3g.40gb:0` none, which is how a GPU instance looks before its
//! first compute instance (its counters then have no data).

use serde::Deserialize;

/// Memory slices that a device is divided into.
const MEMORY_SLICES: u32 = 8;
/// Compute slices that a device is divided into.
const COMPUTE_SLICES: u32 = 7;

/// One row of what `nvidia-smi mig -lgip` lists.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct InstanceProfile {
    /// `3g.40gb`.
    pub name: String,
    /// `NVML_GPU_INSTANCE_PROFILE_*`: the kind that a caller asks for.
    pub kind: u32,
    /// The profile's id on this device.
    pub id: u32,
    /// Compute slices, of seven.
    pub slices: u32,
    /// How many fit the device.
    pub instances_max: u32,
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// Copy engines.
    pub copy_engines: u32,
    /// Video decoders.
    pub decoders: u32,
    /// JPEG decoders.
    pub jpeg: u32,
    /// Optical flow accelerators.
    pub optical_flow: u32,
    /// First memory slices at which one can start.
    pub placements: Vec<u32>,
    /// Memory slices it takes, of eight.
    pub placement_slices: u32,
    /// Lowest GPU instance id that the driver gives to this profile.
    pub first_instance_id: u32,
}

/// One GPU instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// GPU instance id.
    pub id: u32,
    /// What it was cut from.
    pub profile: InstanceProfile,
    /// First memory slice.
    pub placement: u32,
    /// Compute instances, each with an equal share of the slices; their ids count from 0.
    pub compute_instances: u32,
}

impl Instance {
    /// Compute slices of each compute instance.
    pub fn compute_slices(&self) -> u32 {
        self.profile.slices / self.compute_instances.max(1)
    }

    /// Streaming multiprocessors of each compute instance.
    pub fn compute_multiprocessors(&self) -> u32 {
        self.profile.multiprocessors / self.compute_instances.max(1)
    }

    /// `3g.40gb`, or `1c.3g.40gb` for a compute instance that does not fill it: the name's last part.
    pub fn compute_name(&self) -> String {
        if self.compute_instances <= 1 {
            self.profile.name.clone()
        } else {
            format!("{}c.{}", self.compute_slices(), self.profile.name)
        }
    }
}

/// Places the named instances on a device, first come, first served, each at its highest free placement.
pub fn layout(profiles: &[InstanceProfile], names: &[String]) -> Result<Vec<Instance>, String> {
    let mut instances: Vec<Instance> = Vec::with_capacity(names.len());
    for written in names {
        let (name, compute) =
            written.split_once(':').map_or((written.as_str(), None), |(name, count)| (name, Some(count)));
        let Some(profile) = profiles.iter().find(|profile| profile.name == name) else {
            let known = profiles.iter().map(|profile| profile.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(format!("instance {written:?}: this device offers [{known}]"));
        };
        let compute_instances = match compute.map(str::parse) {
            None => 1,
            Some(Ok(count)) if count <= profile.slices => count,
            Some(_) => {
                let slices = profile.slices;
                return Err(format!("instance {written:?}: 0 to {slices} compute instances"));
            }
        };
        let full = || format!("instance {written:?}: no room left beside the ones before it");
        let placement = profile.placements.iter().rev().copied().find(|&start| {
            start + profile.placement_slices <= MEMORY_SLICES
                && instances.iter().all(|other| {
                    start + profile.placement_slices <= other.placement
                        || other.placement + other.profile.placement_slices <= start
                })
        });
        let slices = instances.iter().map(|other| other.profile.slices).sum::<u32>() + profile.slices;
        let same = instances.iter().filter(|other| other.profile.name == name).count();
        if slices > COMPUTE_SLICES || same >= profile.instances_max as usize {
            return Err(full());
        }
        let id = (profile.first_instance_id..u32::MAX)
            .find(|id| instances.iter().all(|other| other.id != *id))
            .ok_or_else(full)?;
        let placement = placement.ok_or_else(full)?;
        instances.push(Instance { id, profile: profile.clone(), placement, compute_instances });
    }
    Ok(instances)
}

#[cfg(test)]
mod tests {
    use super::layout;
    use crate::profile::Profile;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn instances_are_placed_without_overlap_and_with_distinct_ids() {
        let profiles = Profile::open("h100-mig").expect("built in").mig_profiles().to_vec();
        let placed =
            layout(&profiles, &names(&["3g.40gb", "2g.20gb", "1g.10gb", "1g.10gb"])).expect("it fits");
        let ids: Vec<_> = placed.iter().map(|instance| (instance.id, instance.placement)).collect();
        assert_eq!(ids, [(1, 4), (3, 2), (7, 1), (8, 0)]);
        assert_eq!(layout(&profiles, &names(&["1g.10gb"; 7])).expect("seven fit").len(), 7);
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let profiles = Profile::open("h100-mig").expect("built in").mig_profiles().to_vec();
        for wrong in [
            &["7g.80gb", "1g.10gb"][..],
            &["1g.10gb"; 8],
            &["4g.40gb", "4g.40gb"],
            &["5g.50gb"],
            &["2g.20gb:3"],
        ] {
            let error = layout(&profiles, &names(wrong)).expect_err("too much");
            assert!(error.contains(wrong[wrong.len() - 1]), "{error}");
        }
    }

    #[test]
    fn compute_instances_share_the_slices() {
        let profiles = Profile::open("h100-mig").expect("built in").mig_profiles().to_vec();
        let placed = layout(&profiles, &names(&["3g.40gb:3", "2g.20gb:0"])).expect("it fits");
        assert_eq!(placed[0].compute_name(), "1c.3g.40gb");
        assert_eq!(placed[0].compute_multiprocessors(), 20);
        assert_eq!(placed[1].compute_instances, 0);
    }
}
