//! Intel Gaudi through HLML and the driver's files.

use super::{HolderNames, PciMatch, Row};
use crate::{Label, catalogue as m};

pub(super) const ROW: Row = Row {
    name: "gaudi",
    first_device: "hpu0",
    rule_file: "gaudi",
    pci: Some(PciMatch { vendor: 0x1da3, classes: &[0x1200], drivers: &["habanalabs"] }),
    allocators: &["habana.ai", "gaudi.intel.com"],
    holders: HolderNames {
        labels: &[(Label::Pod, "pod_name"), (Label::Namespace, "pod_namespace")],
        own_pod: Some((
            m::OWN_POD.id,
            &[
                ("podName", "KUBE_POD_NAME"),
                ("namespace", "KUBE_NAMESPACE"),
                ("podIP", "KUBE_POD_IP"),
                ("node", "KUBE_NODE"),
                ("hostname", "HOSTNAME"),
            ],
        )),
    },
    sources: &[
        (m::DEVICE_INFO.id, "hlml_device_get_name, get_serial, get_pci_info, get_pcb_info, sysfs"),
        (m::DEVICE_CONFIG.id, "hlml_device_get_handle_by_index"),
        (m::UTILIZATION.id, "hlml_device_get_utilization_rates, may be derived from power"),
        (m::MEMORY_TOTAL.id, "hlml_device_get_memory_info"),
        (m::MEMORY_USED.id, "hlml_device_get_memory_info"),
        (m::MEMORY_FREE.id, "hlml_device_get_memory_info"),
        (m::TEMPERATURE.id, "hwmon, hlml_device_get_temperature"),
        (m::TEMPERATURE_LIMIT.id, "hlml_device_get_temperature_threshold"),
        (m::POWER.id, "hlml_device_get_power_usage, hwmon"),
        (
            m::POWER_LIMIT.id,
            "hlml_device_get_power_management_limit, get_power_management_default_limit, \
             get_power_management_limit_constraints, max_power",
        ),
        (m::ENERGY.id, "hlml_device_get_total_energy_consumption"),
        (m::CLOCK.id, "hlml_device_get_clock_info, clk_cur_freq_mhz"),
        (m::CLOCK_MAX.id, "hlml_device_get_max_clock_info, clk_max_freq_mhz"),
        (m::PERFORMANCE_STATE.id, "hlml_device_get_performance_state"),
        (m::THROTTLE_ACTIVE.id, "hlml_device_get_current_clocks_throttle_reasons"),
        (m::LINK_BANDWIDTH.id, "PCIe generation and width"),
        (m::LINK_UP.id, "hlml_get_mac_addr_info, hlml_nic_get_link; kind tells internal from external ports"),
        (m::NIC_PORT.id, "hlml_get_mac_addr_info, hlml_nic_get_link"),
        (m::LINK_ERRORS.id, "hlml_device_get_pcie_replay_counter"),
        (m::PCIE_GENERATION.id, "current_link_speed"),
        (m::PCIE_GENERATION_MAX.id, "max_link_speed"),
        (m::PCIE_WIDTH.id, "current_link_width"),
        (m::PCIE_WIDTH_MAX.id, "max_link_width"),
        (m::PCIE_REPLAYS.id, "hlml_device_get_pcie_replay_counter"),
        (m::PCIE_SPEED.id, "current_link_speed"),
        (m::PCIE_RATE.id, "hlml_device_get_pcie_throughput"),
        (m::ERRORS.id, "hlml_event_set_wait"),
        (m::ERROR_LAST.id, "hlml_event_set_wait"),
        (m::RESETS.id, "hard_reset_cnt, soft_reset_cnt"),
        (m::ECC_ENABLED.id, "hlml_device_get_ecc_mode"),
        (m::ECC_ERRORS.id, "hlml_device_get_total_ecc_errors"),
        (m::SRAM_ECC_ERRORS.id, "hlml_device_get_memory_error_counter"),
        (m::ROWS_REMAPPED.id, "hlml_device_get_replaced_rows"),
        (m::ROW_REMAP_PENDING.id, "hlml_device_get_replaced_rows_pending_status"),
        (
            m::SLOW_READINGS_AGE.id,
            "hlml_device_get_pcie_throughput, hlml_device_get_temperature where hwmon has no labels; everything \
             optional while a round takes long",
        ),
        (m::OWN_POD.id, "the environment of the exporter's own pod, with --kubernetes.vendor-labels"),
    ],
};
