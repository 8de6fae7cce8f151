//! PCIe, NVLink, Xe Link and Ethernet ports.

use crate::{
    Bytes, BytesPerSecond, Count,
    Family::{Gaudi, Nvidia, Xpu},
    Flag, Label,
    entry::{counter, gauge, vendor_only},
};

entries! { from super::thermal::END;

    LINK_RECEIVE: Bytes = counter(
        "accel_link_receive_bytes_total",
        "Bytes received over the link; payload on NVLink, with protocol overhead on PCIe",
    )
    .labels(&[Label::Link, Label::Kind])
    .from(&[
        (Nvidia, "fields NVLINK_THROUGHPUT_DATA_RX, NVLINK_COUNT_RCV_BYTES, PCIE_COUNT_RX_BYTES"),
        (Xpu, "zesDevicePciGetStats, zesFabricPortGetThroughput"),
    ]);

    LINK_TRANSMIT: Bytes = counter(
        "accel_link_transmit_bytes_total",
        "Bytes sent over the link; payload on NVLink, with protocol overhead on PCIe",
    )
    .labels(&[Label::Link, Label::Kind])
    .from(&[
        (Nvidia, "fields NVLINK_THROUGHPUT_DATA_TX, NVLINK_COUNT_XMIT_BYTES, PCIE_COUNT_TX_BYTES"),
        (Xpu, "zesDevicePciGetStats, zesFabricPortGetThroughput"),
    ]);

    LINK_BANDWIDTH: BytesPerSecond = gauge(
        "accel_link_bandwidth_bytes_per_second",
        "Raw capacity of the link in each direction",
    )
    .labels(&[Label::Link, Label::Kind])
    .from(&[
        (Nvidia, "field NVLINK_GET_SPEED or NVLINK_SPEED_MBPS_COMMON, PCIe generation and width"),
        (Gaudi, "PCIe generation and width"),
        (Xpu, "zesFabricPortGetState, PCIe generation and width"),
    ]);

    LINK_UP: Flag = gauge("accel_link_up", "Whether the link is up")
        .labels(&[Label::Link, Label::Kind])
        .from(&[
            (Nvidia, "nvmlDeviceGetNvLinkState"),
            (Gaudi, "hlml_get_mac_addr_info, hlml_nic_get_link; kind tells internal from external ports"),
            (Xpu, "zesFabricPortGetState"),
        ]);

    NIC_PORT: Flag = vendor_only(
        "Intel's Gaudi exporter has labels of its own for NIC ports; the unified schema has accel_link_up",
    )
    .labels(&[Label::Port, Label::PortType])
    .from(&[(Gaudi, "hlml_get_mac_addr_info, hlml_nic_get_link")]);

    LINK_ERRORS: Count = counter(
        "accel_link_errors_total",
        "Errors on the link; most are corrected by a retry, a steady rate is a bad cable or connector",
    )
    .labels(&[Label::Link, Label::Kind, Label::Error])
    .from(&[
        (Nvidia, "fields NVLINK_ERROR_DL_*, NVLINK_*_ERROR_COUNT_TOTAL, NVLINK_COUNT_*"),
        (Gaudi, "hlml_device_get_pcie_replay_counter"),
        (Xpu, "zesFabricPortGetFabricErrorCounters"),
    ]);

    NVLINK_ERRORS: Count = vendor_only(
        "DCGM prints the sums over all links; the unified schema has accel_link_errors_total, one series \
         per link where the links count for themselves",
    )
    .labels(&[Label::Error])
    .from(&[(Nvidia, "fields NVLINK_*_ERROR_COUNT_TOTAL")]);

    PCIE_GENERATION: Count = gauge(
        "accel_pcie_link_generation",
        "PCIe generation in use now, lower while the device idles",
    )
    .from(&[
        (Nvidia, "nvmlDeviceGetCurrPcieLinkGeneration"),
        (Gaudi, "current_link_speed"),
        (Xpu, "current_link_speed, zesDevicePciGetState"),
    ]);

    PCIE_GENERATION_MAX: Count = gauge(
        "accel_pcie_link_generation_max",
        "Highest PCIe generation of device and slot together",
    )
    .from(&[
        (Nvidia, "nvmlDeviceGetMaxPcieLinkGeneration"),
        (Gaudi, "max_link_speed"),
        (Xpu, "max_link_speed, zesDevicePciGetProperties"),
    ]);

    PCIE_WIDTH: Count = gauge("accel_pcie_link_width", "PCIe lanes in use now")
        .from(&[
            (Nvidia, "nvmlDeviceGetCurrPcieLinkWidth"),
            (Gaudi, "current_link_width"),
            (Xpu, "current_link_width, zesDevicePciGetState"),
        ]);

    PCIE_WIDTH_MAX: Count = gauge("accel_pcie_link_width_max", "PCIe lanes of device and slot together")
        .from(&[
            (Nvidia, "nvmlDeviceGetMaxPcieLinkWidth"),
            (Gaudi, "max_link_width"),
            (Xpu, "max_link_width, zesDevicePciGetProperties"),
        ]);

    PCIE_REPLAYS: Count = counter("accel_pcie_replays_total", "PCIe packets sent again after an error")
        .from(&[
            (Nvidia, "nvmlDeviceGetPcieReplayCounter"),
            (Gaudi, "hlml_device_get_pcie_replay_counter"),
            (Xpu, "zesDevicePciGetStats"),
        ]);

    PCIE_SPEED: Count = vendor_only(
        "Intel's Gaudi exporter prints whole gigatransfers per second and lane; the unified schema has \
         accel_pcie_link_generation",
    )
    .from(&[(Gaudi, "current_link_speed")]);

    PCIE_RATE: BytesPerSecond = vendor_only(
        "DCGM and Intel's Gaudi exporter print the rate of the last interval; the unified schema has \
         accel_link_receive_bytes_total and accel_link_transmit_bytes_total, where bytes are counted",
    )
    .labels(&[Label::Direction])
    .from(&[
        (Nvidia, "nvmlGpmMetricsGet PCIE_TX_PER_SEC and PCIE_RX_PER_SEC"),
        (Gaudi, "hlml_device_get_pcie_throughput"),
    ]);

    NVLINK_RATE: BytesPerSecond = vendor_only(
        "DCGM prints the rate of the last interval; the unified schema has accel_link_receive_bytes_total \
         and accel_link_transmit_bytes_total",
    )
    .labels(&[Label::Direction])
    .from(&[
        (
            Nvidia,
            "nvmlGpmMetricsGet NVLINK_TOTAL_TX_PER_SEC and NVLINK_TOTAL_RX_PER_SEC, fields \
             NVLINK_THROUGHPUT_DATA_TX and RX",
        ),
    ]);
}
