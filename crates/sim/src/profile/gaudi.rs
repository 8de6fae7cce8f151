//! What only a Gaudi has: the table `[device.gaudi]` of a machine.

use serde::Deserialize;

use super::hold;

/// What only a Gaudi has.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gaudi {
    /// The version that the library reports; its release decides which structs it writes.
    pub hlml_version: String,
    /// Bytes that the library writes behind each struct: a release that is not known yet.
    #[serde(default)]
    pub extra_struct_bytes: usize,
    /// What the driver calls the generation: `GAUDI3`.
    pub device_type: String,
    /// Version of the boot firmware image.
    pub fit_version: String,
    /// Version of the firmware in flash.
    pub spi_version: String,
    /// Version of the board's logic.
    pub cpld_version: String,
    /// Version of the board.
    pub pcb_version: String,
    /// Version of the board's assembly.
    pub pcb_assembly_version: String,
    /// Performance state with no work; 0 under load.
    pub idle_performance_state: u32,
    /// Power draw that utilization calls 100 %; below the limit, it passes 100.
    pub full_watts: f64,
    /// How long the firmware measures PCIe traffic, per call and direction.
    pub pcie_measure_milliseconds: u64,
    /// What each call for a temperature leaves behind in the caller's memory.
    pub temperature_leak_bytes: usize,
    /// NIC ports, by number.
    pub ports: Vec<u32>,
    /// Those that leave the node.
    pub external_ports: Vec<u32>,
}

impl Gaudi {
    pub(super) fn check(&self) -> Result<(), String> {
        hold(&[
            (
                self.extra_struct_bytes <= 400,
                "device.gaudi: extra_struct_bytes is beyond any caller's buffer",
            ),
            (self.ports.iter().all(|port| *port < 128), "device.gaudi: ports must be below 128"),
            (
                self.external_ports.iter().all(|port| self.ports.contains(port)),
                "device.gaudi: external_ports must be among ports",
            ),
        ])
    }
}
