//! What the same fault is called in each vendor's library.

use e2e::ARC_ADDRESSES;
use sim::control::Garbage;

/// A vendor, its machine and its words.
pub struct Vendor {
    /// The family, and the label of its source.
    pub source: [(&'static str, &'static str); 1],
    /// A machine of eight.
    pub machine: &'static str,
    /// Flags of the exporter.
    pub flags: &'static [&'static str],
    /// Whether it shows its PCI bus itself, at one with the driver's list.
    pub shows_bus: bool,
    /// What devices are called, without their number; empty where it is their PCI address.
    pub prefix: &'static str,
    /// Whether its energy is a sum of the exporter's own, which goes on when a driver is loaded again.
    pub sums_energy: bool,
    /// A call that one series of each vocabulary comes from, and those series.
    pub call: &'static str,
    pub series: [&'static str; 2],
    /// The code that says nothing.
    pub unknown: (u32, &'static str),
    /// Calls that return a wrong value: the metric that is lost, with its labels, and its fault.
    pub garbage: &'static [(Garbage, &'static str, &'static str, Labels, &'static str)],
    /// An older library: symbols that it lacks, and the metrics that it costs.
    pub missing: (&'static [&'static str], &'static [&'static str]),
}

type Labels = &'static [(&'static str, &'static str)];

pub const NVIDIA: Vendor = Vendor {
    source: [("source", "nvidia")],
    machine: "h100-sxm-8",
    flags: &[],
    shows_bus: false,
    prefix: "gpu",
    sums_energy: false,
    call: "nvmlDeviceGetPowerUsage",
    series: ["DCGM_FI_DEV_POWER_USAGE", "accel_power_watts"],
    unknown: (999, "NVML_ERROR_UNKNOWN"),
    garbage: &[
        (Garbage::Blank, "nvmlDeviceGetPowerUsage", "accel_power_watts", &[], "blank"),
        (Garbage::Blank, "nvmlDeviceGetMemoryInfo*", "accel_memory_used_bytes", &[], "blank"),
        (Garbage::Blank, "nvmlDeviceGetTotalEnergyConsumption", "accel_energy_joules_total", &[], "blank"),
        (
            Garbage::Hot,
            "nvmlDeviceGetTemperature*",
            "accel_temperature_celsius",
            &[("sensor", "gpu")],
            "over_200_celsius",
        ),
        (Garbage::Nan, "nvmlGpm*", "accel_sm_occupancy_ratio", &[], "not_finite"),
        // A switch is on or off.
        (Garbage::Absurd, "nvmlDeviceGetEccMode", "accel_ecc_enabled", &[], "out_of_range"),
        (
            Garbage::Absurd,
            "nvmlDeviceGetNvLinkState",
            "accel_link_up",
            &[("kind", "nvlink"), ("link", "3")],
            "out_of_range",
        ),
        // What this board cannot do, by its own limits.
        (Garbage::Absurd, "nvmlDeviceGetPowerUsage", "accel_power_watts", &[], "above_maximum"),
        (
            Garbage::Absurd,
            "nvmlDeviceGetTotalEnergyConsumption",
            "accel_energy_joules_total",
            &[],
            "rose_too_fast",
        ),
        (
            Garbage::Absurd,
            "nvmlDeviceGetClockInfo",
            "accel_clock_hertz",
            &[("domain", "sm")],
            "above_maximum",
        ),
    ],
    missing: (
        &["nvmlDeviceGetPowerUsage", "nvmlDeviceGetPcieReplayCounter"],
        &[
            "DCGM_FI_DEV_PCIE_REPLAY_COUNTER",
            "DCGM_FI_DEV_POWER_USAGE",
            "accel_pcie_replays_total",
            "accel_power_watts",
        ],
    ),
};

pub const GAUDI: Vendor = Vendor {
    source: [("source", "gaudi")],
    machine: "gaudi3-8",
    flags: &[],
    shows_bus: true,
    prefix: "hpu",
    sums_energy: false,
    call: "hlml_device_get_power_usage",
    series: ["accel_power_watts", "habanalabs_power_mW"],
    unknown: (49, "HLML_ERROR_UNKNOWN"),
    garbage: &[
        (Garbage::Blank, "hlml_device_get_power_usage", "accel_power_watts", &[], "blank"),
        (Garbage::Blank, "hlml_device_get_memory_info", "accel_memory_used_bytes", &[], "blank"),
        (Garbage::Blank, "hlml_device_get_utilization_rates", "accel_utilization_ratio", &[], "blank"),
        (Garbage::Blank, "hlml_get_mac_addr_info", "accel_link_up", &[("kind", "roce_external")], "blank"),
        // Success without a value.
        (Garbage::Untouched, "hlml_device_get_power_usage", "accel_power_watts", &[], "blank"),
        (Garbage::Untouched, "hlml_device_get_utilization_rates", "accel_utilization_ratio", &[], "blank"),
        (Garbage::Untouched, "hlml_device_get_total_ecc_errors", "accel_ecc_errors_total", &[], "blank"),
        (Garbage::Absurd, "hlml_device_get_power_usage", "accel_power_watts", &[], "above_maximum"),
        (
            Garbage::Absurd,
            "hlml_device_get_total_energy_consumption",
            "accel_energy_joules_total",
            &[],
            "rose_too_fast",
        ),
        (Garbage::Absurd, "hlml_device_get_clock_info", "accel_clock_hertz", &[], "above_maximum"),
        (
            Garbage::Hot,
            "hlml_device_get_temperature",
            "accel_temperature_celsius",
            &[("sensor", "gpu")],
            "over_200_celsius",
        ),
    ],
    missing: (
        &["hlml_device_get_total_energy_consumption", "hlml_device_get_pcie_throughput"],
        &[
            "accel_energy_joules_total",
            "habanalabs_energy",
            "habanalabs_pcie_receive_throughput",
            "habanalabs_pcie_rx",
            "habanalabs_pcie_transmit_throughput",
            "habanalabs_pcie_tx",
        ],
    ),
};

/// Intel GPUs through Level Zero alone.
pub const LEVEL_ZERO: Vendor = Vendor {
    source: [("source", "xpu")],
    machine: "battlematrix-8",
    flags: &["--xpu.backend", "level-zero"],
    shows_bus: true,
    prefix: "",
    sums_energy: true,
    call: "zesPowerGetEnergyCounter",
    series: ["accel_energy_joules_total", "accel_power_watts"],
    unknown: (0x7abc_def0, "unknown_return_code"),
    garbage: &[
        (Garbage::Blank, "zesPowerGetEnergyCounter", "accel_energy_joules_total", &[], "blank"),
        (Garbage::Blank, "zesMemoryGetState", "accel_memory_used_bytes", &[], "sizes_disagree"),
        // Success without a value.
        (
            Garbage::Untouched,
            "zesTemperatureGetState",
            "accel_temperature_celsius",
            &[("sensor", "gpu")],
            "not_finite",
        ),
        (
            Garbage::Hot,
            "zesTemperatureGetState",
            "accel_temperature_celsius",
            &[("sensor", "gpu")],
            "over_200_celsius",
        ),
    ],
    missing: (
        &["zesPowerGetEnergyCounter", "zesDevicePciGetStats"],
        &["accel_energy_joules_total", "accel_link_receive_bytes_total", "accel_link_transmit_bytes_total"],
    ),
};

/// The same through the kernel's files, where there is no call to fail and no symbol to miss: what becomes of
/// single files is in `xpu.rs`.
pub const KERNEL: Vendor = Vendor { flags: &["--xpu.backend", "kernel"], sums_energy: false, ..LEVEL_ZERO };

/// The same faults in helper processes, and without one where there is one by default.
const ISOLATED: &[&str] = &["--isolate", "on"];
pub const NVIDIA_ISOLATED: Vendor = Vendor { flags: ISOLATED, ..NVIDIA };
pub const GAUDI_ISOLATED: Vendor = Vendor { flags: ISOLATED, ..GAUDI };
pub const LEVEL_ZERO_IN_PROCESS: Vendor =
    Vendor { flags: &["--xpu.backend", "level-zero", "--isolate", "off"], ..LEVEL_ZERO };

impl Vendor {
    /// What a device is called.
    pub fn device(&self, index: usize) -> String {
        match self.prefix {
            "" => ARC_ADDRESSES[index].to_owned(),
            prefix => format!("{prefix}{index}"),
        }
    }
}
