//! habanalabs_* as the official Gaudi exporter prints them. It has gauges only.

use super::VendorName;
use crate::{
    Family, Id, Label, VendorUnit,
    VendorUnit::{Base, KilobytesPerSecond, Megahertz, Millijoules, Milliwatts, Percent},
    Vocabulary, catalogue as m,
};

const fn gauge(id: Id, name: &'static str, unit: VendorUnit, help: &'static str) -> VendorName {
    VendorName::gauge(id, (Vocabulary::Habana, Family::Gaudi), name, unit, help)
}

pub(super) const ROWS: &[VendorName] = &[
    gauge(m::DEVICE_CONFIG.id, "habanalabs_device_config", Base, "Labels of the device, always 1."),
    gauge(
        m::UTILIZATION.id,
        "habanalabs_utilization",
        Percent,
        "Utilization of the last second (in %), cut to 100, may be derived from power.",
    ),
    gauge(m::MEMORY_TOTAL.id, "habanalabs_memory_total_bytes", Base, "Device memory (in bytes)."),
    gauge(m::MEMORY_USED.id, "habanalabs_memory_used_bytes", Base, "Device memory in use (in bytes)."),
    gauge(m::MEMORY_FREE.id, "habanalabs_memory_free_bytes", Base, "Device memory that is free (in bytes)."),
    gauge(m::TEMPERATURE.id, "habanalabs_temperature_onchip", Base, "Temperature of the chip (in C).")
        .when(&[(Label::Sensor, "gpu")]),
    gauge(m::TEMPERATURE.id, "habanalabs_temperature_onboard", Base, "Temperature of the board (in C).")
        .when(&[(Label::Sensor, "board")]),
    gauge(
        m::TEMPERATURE_LIMIT.id,
        "habanalabs_temperature_threshold_slowdown",
        Base,
        "Temperature at which the chip slows down (in C).",
    )
    .when(&[(Label::Sensor, "gpu"), (Label::Limit, "slowdown")]),
    gauge(
        m::TEMPERATURE_LIMIT.id,
        "habanalabs_temperature_threshold_shutdown",
        Base,
        "Temperature at which the chip shuts down (in C).",
    )
    .when(&[(Label::Sensor, "gpu"), (Label::Limit, "shutdown")]),
    gauge(
        m::TEMPERATURE_LIMIT.id,
        "habanalabs_temperature_threshold_gpu",
        Base,
        "Highest operating temperature of the chip (in C).",
    )
    .when(&[(Label::Sensor, "gpu"), (Label::Limit, "operating")]),
    gauge(
        m::TEMPERATURE_LIMIT.id,
        "habanalabs_temperature_threshold_memory",
        Base,
        "Highest operating temperature of the memory (in C).",
    )
    .when(&[(Label::Sensor, "memory"), (Label::Limit, "operating")]),
    gauge(m::POWER.id, "habanalabs_power_mW", Milliwatts, "Power draw (in mW)."),
    gauge(m::POWER_LIMIT.id, "habanalabs_power_default_limit_mW", Milliwatts, "Default power limit (in mW).")
        .when(&[(Label::Limit, "default")]),
    gauge(m::ENERGY.id, "habanalabs_energy", Millijoules, "Energy used since the driver was loaded (in mJ)."),
    gauge(m::CLOCK.id, "habanalabs_clock_soc_mhz", Megahertz, "SoC clock (in MHz).")
        .when(&[(Label::Domain, "soc")]),
    gauge(m::CLOCK_MAX.id, "habanalabs_clock_soc_max_mhz", Megahertz, "Highest SoC clock (in MHz).")
        .when(&[(Label::Domain, "soc")]),
    gauge(
        m::NIC_PORT.id,
        "habanalabs_nic_port_status",
        Base,
        "Whether the NIC port has a link (1) or not (0).",
    )
    .keep(&[(Label::Port, "port"), (Label::PortType, "port_type")]),
    gauge(m::PCIE_WIDTH.id, "habanalabs_pci_link_width", Base, "PCIe lanes in use now."),
    gauge(m::PCIE_REPLAYS.id, "habanalabs_pcie_replay_count", Base, "PCIe packets sent again."),
    gauge(
        m::PCIE_SPEED.id,
        "habanalabs_pci_link_speed",
        Base,
        "PCIe speed in use now (in whole GT/s per lane).",
    ),
    gauge(
        m::PCIE_RATE.id,
        "habanalabs_pcie_tx",
        KilobytesPerSecond,
        "PCIe traffic from the device over 10 ms (in KB/s).",
    )
    .when(&[(Label::Direction, "transmit")]),
    gauge(
        m::PCIE_RATE.id,
        "habanalabs_pcie_rx",
        KilobytesPerSecond,
        "PCIe traffic to the device over 10 ms (in KB/s).",
    )
    .when(&[(Label::Direction, "receive")]),
    gauge(
        m::PCIE_RATE.id,
        "habanalabs_pcie_transmit_throughput",
        KilobytesPerSecond,
        "PCIe traffic from the device over 10 ms (in KB/s).",
    )
    .when(&[(Label::Direction, "transmit")]),
    gauge(
        m::PCIE_RATE.id,
        "habanalabs_pcie_receive_throughput",
        KilobytesPerSecond,
        "PCIe traffic to the device over 10 ms (in KB/s).",
    )
    .when(&[(Label::Direction, "receive")]),
    gauge(m::ECC_ENABLED.id, "habanalabs_ecc_feature_mode", Base, "Whether ECC is on (1) or off (0)."),
    gauge(
        m::ROWS_REMAPPED.id,
        "habanalabs_pending_rows_with_single_bit_ecc_errors",
        Base,
        "Rows replaced after several single-bit errors.",
    )
    .when(&[(Label::Cause, "correctable")]),
    gauge(
        m::ROWS_REMAPPED.id,
        "habanalabs_pending_rows_with_double_bit_ecc_errors",
        Base,
        "Rows replaced after a double-bit error.",
    )
    .when(&[(Label::Cause, "uncorrectable")]),
    gauge(
        m::ROW_REMAP_PENDING.id,
        "habanalabs_pending_rows_state",
        Base,
        "Whether rows wait to be replaced (1) or not (0).",
    ),
    gauge(m::OWN_POD.id, "habanalabs_kube_info", Base, "Labels of the exporter's own pod, always 1."),
];
