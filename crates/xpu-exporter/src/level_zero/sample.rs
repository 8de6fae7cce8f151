//! What one round reads from a device, in Sysman's units.

use level_zero_sys as sys;
use reading::{Counted, Fault, Measured};

/// One engine group.
pub struct EngineSample {
    /// Its tile; `None` for the whole device.
    pub tile: Option<u32>,
    /// `zes_engine_group_t`.
    pub kind: u32,
    /// Share of the time since the last round in which it was busy.
    pub busy: Measured<f64>,
}

/// One clock domain.
pub struct FrequencySample {
    /// Its tile; `None` for the whole device.
    pub tile: Option<u32>,
    /// `zes_freq_domain_t`.
    pub kind: u32,
    /// Highest clock, MHz; negative is unknown.
    pub max_mhz: f64,
    /// Its clock and what throttles it.
    pub state: Measured<sys::FrequencyState>,
    /// For how long it was throttled, µs.
    pub throttled_us: Measured<u64>,
}

/// One temperature sensor.
pub struct TemperatureSample {
    /// Its tile; `None` for the whole device.
    pub tile: Option<u32>,
    /// `zes_temp_sensors_t`.
    pub kind: u32,
    /// °C.
    pub celsius: Measured<f64>,
    /// The most that the part may have, °C; 0 or negative is unknown.
    pub max_celsius: f64,
}

/// One memory module.
pub struct MemorySample {
    /// Its tile; `None` for the whole device.
    pub tile: Option<u32>,
    /// Installed bytes; 0 is unknown.
    pub physical_bytes: u64,
    /// Its size and how much of it is free.
    pub state: Measured<sys::MemoryState>,
    /// Bytes read and written.
    pub moved: [Measured<u64>; 2],
    /// Share of its highest bandwidth that was used since the last round.
    pub active: Measured<f64>,
}

/// One fabric port.
pub struct PortSample {
    /// Its tile; `None` for the whole device.
    pub tile: Option<u32>,
    /// Its position among the device's ports.
    pub number: u32,
    /// Its status and speed.
    pub state: Measured<sys::PortState>,
    /// Bytes received and transmitted.
    pub moved: [Measured<u64>; 2],
    /// Errors by kind.
    pub errors: Measured<sys::PortErrors>,
}

/// One device.
pub struct Sample {
    /// Engine groups.
    pub engines: Measured<Vec<EngineSample>>,
    /// Other processes that have the device open.
    pub processes: Measured<u64>,
    /// Clock domains.
    pub frequencies: Vec<FrequencySample>,
    /// Memory modules on the device.
    pub memories: Measured<Vec<MemorySample>>,
    /// Energy of the card since it was first read, µJ.
    pub energy: Measured<Counted>,
    /// Power limits.
    pub limits: Measured<Vec<sys::PowerLimit>>,
    /// What the limit can be.
    pub limit_range: Measured<PowerRange>,
    /// Temperature sensors.
    pub temperatures: Vec<TemperatureSample>,
    /// Fans: position in the driver's list, revolutions per minute now, and at most.
    pub fans: Vec<(u32, Measured<i32>, i32)>,
    /// Error sets: tile, `zes_ras_error_type_t`, counts by category.
    pub ras: Vec<(Option<u32>, u32, Measured<[u64; 7]>)>,
    /// Fabric ports.
    pub ports: Vec<PortSample>,
    /// Bytes received and transmitted over PCIe.
    pub pcie_bytes: [Measured<u64>; 2],
    /// PCIe packets that were sent again.
    pub pcie_replays: Measured<u64>,
    /// Speed of the PCIe link now, and at most.
    pub pcie_speeds: [Measured<sys::PciSpeed>; 2],
    /// Whether memory is protected by ECC.
    pub ecc: Measured<sys::EccProperties>,
    /// `zes_reset_reason_flags_t`.
    pub reset: Measured<u32>,
    /// Why components are missing from the lists above.
    pub missing: Missing,
}

/// What the sustained limit can be, mW; negative is unknown.
#[derive(Clone, Copy, Debug)]
pub struct PowerRange {
    /// Of the part as it is sold.
    pub default: i32,
    /// The lowest that can be set.
    pub min: i32,
    /// The highest that can be set.
    pub max: i32,
}

/// Why components of a kind, or all of them, are not known.
#[derive(Default)]
pub struct Missing {
    /// Clock domains.
    pub frequencies: Option<Fault>,
    /// Temperature sensors.
    pub temperatures: Option<Fault>,
    /// Fans.
    pub fans: Option<Fault>,
    /// Error sets.
    pub ras: Option<Fault>,
    /// Fabric ports.
    pub ports: Option<Fault>,
}
