//! `[[fabric]]`, `[[repair]]` and `[[power_profile]]`: what only NVIDIA devices report.

use serde::{Deserialize, Serialize};

/// How a device stands with the fabric of its switches.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fabric {
    /// The device.
    pub device: usize,
    /// State of its registration as NVML numbers it; absent is completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<u8>,
    /// What registration returned, as NVML numbers it.
    pub status: u32,
    /// Its clique.
    pub clique: u32,
}

/// Repairs that are due, and defects that cannot be repaired.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Repair {
    /// The device.
    pub device: usize,
    /// What waits for a reset to be repaired.
    pub pending: Vec<Repairable>,
    /// Memory is defective for good.
    pub unrepairable: bool,
    /// Places in on-chip memory with uncorrectable errors.
    pub sram_locations: u32,
    /// Memory banks that are remapped.
    pub banks: u32,
}

/// What can be repaired by a reset.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Repairable {
    /// A memory channel.
    MemoryChannel,
    /// A processing cluster.
    Tpc,
    /// A memory bank.
    Bank,
}

/// Power profiles that somebody has asked for, by their numbers in NVML.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PowerProfile {
    /// The device.
    pub device: usize,
    /// Asked for.
    pub requested: Vec<u32>,
    /// In force.
    pub enforced: Vec<u32>,
}
