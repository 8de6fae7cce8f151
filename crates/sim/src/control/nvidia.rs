//! `[[event]]`, `[[fabric]]`, `[[repair]]` and `[[power_profile]]`: what only NVIDIA devices report.

use serde::{Deserialize, Serialize};

/// An event of NVML that is neither an XID nor counted by `[[ecc]]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Names the event: the same id is delivered once.
    pub id: u64,
    /// The device it is about.
    pub device: usize,
    /// What has happened.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// When it happens, unix seconds; absent is as soon as it is seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<f64>,
    /// Seconds from one event to the next; absent is once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<f64>,
}

/// The types of events that have no data.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Another performance state.
    PState,
    /// Mains or battery.
    PowerSource,
    /// Another MIG configuration.
    MigConfig,
    /// Many corrected memory errors.
    SingleBitStorm,
    /// Memory was taken out of use.
    DramRetirement,
    /// Memory could not be taken out of use.
    DramRetirementFailure,
    /// Data that is known to be wrong, which nothing that matters has used.
    NonFatalPoison,
    /// Data that is known to be wrong was used.
    FatalPoison,
    /// The GPU cannot be used.
    GpuUnavailable,
    /// Another recovery action.
    RecoveryAction,
}

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
