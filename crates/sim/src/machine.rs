//! A machine: a profile, one cycle that all its devices share, and what makes each of them differ.

use crate::cycle::{Channel, Cycle};
use crate::hash;
use crate::profile::{Nvidia, Profile};
use crate::workload::Workload;

/// Words that keep independent uses of the seed apart.
mod salt {
    pub(super) const UUID: u64 = 1;
    pub(super) const INSTANCE_UUID: u64 = 2;
    pub(super) const PHASE: u64 = 3;
    pub(super) const GAIN: u64 = 4;
    pub(super) const INLET: u64 = 5;
    pub(super) const LINK: u64 = 6;
    pub(super) const INSTANCE: u64 = 7;
    pub(super) const EVENTS: u64 = 8;
    pub(super) const PROCESS: u64 = 9;
}

/// Most that a device lags behind device 0's schedule, seconds.
const PHASE_SHIFT_MAX_SECONDS: f64 = 12.0;
/// Most that a device's air is warmer than the profile's, °C.
const INLET_OFFSET_MAX_CELSIUS: f64 = 3.0;
/// Least of the shared load that a device takes.
const GAIN_MIN: f64 = 0.95;

/// A machine; its state can be computed for any time.
pub struct Machine {
    pub(crate) profile: Profile,
    pub(crate) cycle: Cycle,
    pub(crate) seed: u64,
    pub(crate) variations: Vec<Variation>,
}

/// What makes one device differ from the next.
pub(crate) struct Variation {
    pub(crate) uuid: String,
    /// Seconds that the device is ahead in the cycle.
    pub(crate) phase_seconds: f64,
    /// Factor on each channel.
    pub(crate) gains: [f64; Channel::COUNT],
    /// Added to temperatures.
    pub(crate) inlet_celsius: f64,
    /// Share of the device's NVLink traffic on each link; they add up to 1.
    pub(crate) link_shares: Vec<f64>,
}

impl Machine {
    /// Works out the machine. The same arguments give the same machine.
    pub fn new(profile: Profile, workload: Workload, seed: u64) -> Self {
        let cycle = Cycle::new(&profile.device.silicon(), workload, seed);
        let links = profile.device.fabric_links();
        let variations = (0..profile.device_count() as u64)
            .map(|device| {
                let weights: Vec<f64> = (0..u64::from(links))
                    .map(|link| 1.0 + 0.05 * hash::signed_unit(&[seed, salt::LINK, device, link]))
                    .collect();
                let sum: f64 = weights.iter().sum();
                Variation {
                    uuid: hash::uuid(&[seed, salt::UUID, device]),
                    phase_seconds: PHASE_SHIFT_MAX_SECONDS * hash::unit(&[seed, salt::PHASE, device]),
                    gains: std::array::from_fn(|channel| gain(seed, device, channel)),
                    inlet_celsius: INLET_OFFSET_MAX_CELSIUS * hash::unit(&[seed, salt::INLET, device]),
                    link_shares: weights.iter().map(|weight| weight / sum).collect(),
                }
            })
            .collect();
        Self { profile, cycle, seed, variations }
    }

    /// What the machine is.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// What only NVIDIA devices have.
    ///
    /// # Panics
    /// As [`crate::Device::nvidia`].
    pub fn nvidia(&self) -> &Nvidia {
        self.profile.device.nvidia.as_ref().expect("an NVIDIA machine")
    }

    /// UUID of a compute instance: made of the device's and the ids, whatever the profile.
    pub fn instance_uuid(&self, device: usize, instance: u32, compute: u32) -> String {
        let words = [self.seed, salt::INSTANCE_UUID, device as u64, instance.into(), compute.into()];
        format!("MIG-{}", hash::uuid(&words))
    }

    /// How busy an instance is beside the device as a whole, as a factor.
    pub(crate) fn instance_gain(&self, device: usize, instance: u32) -> f64 {
        0.75 + 0.25 * hash::unit(&[self.seed, salt::INSTANCE, device as u64, u64::from(instance)])
    }

    /// Fixes the instants of a kind of rare event on a device.
    pub(crate) fn event_salt(&self, device: usize, kind: u64) -> u64 {
        hash::mix(&[self.seed, salt::EVENTS, device as u64, kind])
    }

    /// Process id of the server that runs on a device's `slot`.
    pub(crate) fn process_id(&self, device: usize, slot: u32) -> u32 {
        let words = [self.seed, salt::PROCESS, device as u64, u64::from(slot)];
        100_000 + (hash::mix(&words) % 900_000) as u32
    }
}

fn gain(seed: u64, device: u64, channel: usize) -> f64 {
    let varies = channel == Channel::Power as usize || Channel::LOADS.contains(&channel);
    if varies {
        GAIN_MIN + (1.0 - GAIN_MIN) * hash::unit(&[seed, salt::GAIN, device, channel as u64])
    } else {
        1.0
    }
}
