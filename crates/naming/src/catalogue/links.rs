//! PCIe, NVLink, Xe Link and Ethernet ports.

use crate::{
    Bytes, BytesPerSecond, Count, Flag, Label, Ratio,
    entry::{counter, gauge, vendor_only},
};

entries! { from super::thermal::END;

    LINK_RECEIVE: Bytes = counter(
        "accel_link_receive_bytes_total",
        "Bytes received over the link; payload on NVLink, with protocol overhead on PCIe",
    )
    .labels(&[Label::Link, Label::Kind]);

    LINK_TRANSMIT: Bytes = counter(
        "accel_link_transmit_bytes_total",
        "Bytes sent over the link; payload on NVLink, with protocol overhead on PCIe",
    )
    .labels(&[Label::Link, Label::Kind]);

    LINK_BANDWIDTH: BytesPerSecond = gauge(
        "accel_link_bandwidth_bytes_per_second",
        "Raw capacity of the link in each direction",
    )
    .labels(&[Label::Link, Label::Kind]);

    LINK_UP: Flag = gauge("accel_link_up", "Whether the link is up")
        .labels(&[Label::Link, Label::Kind]);

    NIC_PORT: Flag = vendor_only(
        "Intel's Gaudi exporter has labels of its own for NIC ports; the unified schema has accel_link_up",
    )
    .labels(&[Label::Port, Label::PortType]);

    LINK_ERRORS: Count = counter(
        "accel_link_errors_total",
        "Errors on the link; most are corrected by a retry, a steady rate is a bad cable or connector",
    )
    .labels(&[Label::Link, Label::Kind, Label::Error])
    .outlives_loss();

    LINK_SYMBOL_ERRORS: Count = counter(
        "accel_link_symbol_errors_total",
        "Symbols that were received wrong; a link with forward error correction has some at all times, and \
         what it cannot correct is in accel_link_errors_total",
    )
    .labels(&[Label::Link, Label::Kind])
    .outlives_loss();

    LINK_BIT_ERRORS: Ratio = gauge(
        "accel_link_bit_error_ratio",
        "Share of the received bits that were wrong after error correction",
    )
    .labels(&[Label::Link, Label::Kind]);

    LINK_RAW_ERRORS: Count = counter(
        "accel_link_raw_errors_total",
        "Errors on the lane before error correction; a link with forward error correction has some at all \
         times, and a lane that has more than its neighbours is going bad",
    )
    .labels(&[Label::Link, Label::Kind, Label::Lane])
    .outlives_loss();

    LINK_RAW_BIT_ERRORS: Ratio = gauge(
        "accel_link_raw_bit_error_ratio",
        "Share of the received bits that were wrong before error correction",
    )
    .labels(&[Label::Link, Label::Kind, Label::Lane]);

    LINK_BLOCKS: Count = counter(
        "accel_link_transmit_blocks_total",
        "Blocks sent over the link where its physical layer sends again what arrives damaged",
    )
    .labels(&[Label::Link, Label::Kind]);

    LINK_RETRY_BLOCKS: Count = counter(
        "accel_link_retransmit_blocks_total",
        "Blocks that the physical layer of the link sent again; their share of \
         accel_link_transmit_blocks_total is bandwidth that is lost to a bad cable or connector",
    )
    .labels(&[Label::Link, Label::Kind])
    .outlives_loss();

    LINK_DATA_BANDWIDTH: BytesPerSecond = gauge(
        "accel_link_data_bandwidth_bytes_per_second",
        "Capacity of the link in each direction that forward error correction leaves for data",
    )
    .labels(&[Label::Link, Label::Kind]);

    LINK_FEC: Count = counter(
        "accel_link_fec_corrected_total",
        "Symbol errors that forward error correction put right over all links of the kind, by the driver's \
         bins; a shift to higher bins foretells errors that it cannot",
    )
    .labels(&[Label::Kind, Label::Bin]);

    LINK_LOW_POWER: Flag = gauge("accel_link_low_power", "Whether the link is in its low-power state")
        .labels(&[Label::Link, Label::Kind]);

    NVLINK_ERRORS: Count = vendor_only(
        "DCGM prints the sums over all links; the unified schema has accel_link_errors_total, one series \
         per link where the links count for themselves",
    )
    .labels(&[Label::Error])
    .outlives_loss();

    PCIE_GENERATION: Count = gauge(
        "accel_pcie_link_generation",
        "PCIe generation in use now, lower while the device idles",
    );

    PCIE_GENERATION_MAX: Count = gauge(
        "accel_pcie_link_generation_max",
        "Highest PCIe generation of device and slot together",
    );

    PCIE_WIDTH: Count = gauge("accel_pcie_link_width", "PCIe lanes in use now");

    PCIE_WIDTH_MAX: Count = gauge("accel_pcie_link_width_max", "PCIe lanes of device and slot together");

    PCIE_REPLAYS: Count = counter(
        "accel_pcie_replays_total",
        "PCIe packets sent again after an error",
    )
    .outlives_loss();

    PCIE_ERRORS: Count = counter(
        "accel_pcie_errors_total",
        "Errors on the PCIe link that the device has counted; one packet that is sent again can count as \
         several kinds",
    )
    .labels(&[Label::Error])
    .outlives_loss();

    PCIE_SPEED: Count = vendor_only(
        "Intel's Gaudi exporter prints whole gigatransfers per second and lane; the unified schema has \
         accel_pcie_link_generation",
    );

    PCIE_RATE: BytesPerSecond = vendor_only(
        "DCGM and Intel's Gaudi exporter print the rate of the last interval; the unified schema has \
         accel_link_receive_bytes_total and accel_link_transmit_bytes_total, where bytes are counted",
    )
    .labels(&[Label::Direction]);

    NVLINK_RATE: BytesPerSecond = vendor_only(
        "DCGM prints the rate of the last interval; the unified schema has accel_link_receive_bytes_total \
         and accel_link_transmit_bytes_total",
    )
    .labels(&[Label::Direction]);
}
