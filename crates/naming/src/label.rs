//! The labels of the catalogue, each declared once: its name, what it says, and which values it can have.
//!
//! A metric lists [`Label`]s, a source passes them with their values, and a batch compares the two, so a
//! label cannot be misspelt, forgotten or invented in one place only.

use std::fmt;

use crate::Family;

/// Which values a label can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelValues {
    /// A fact about the device or the exporter. Only info metrics have such labels, so that no other series
    /// changes when one does.
    Fact,
    /// Any text or number.
    Open,
    /// One of these words. A number stands for a value that is newer than the list.
    Closed(&'static [&'static str]),
}

macro_rules! labels {
    ($($variant:ident = $name:literal, $meaning:literal, $values:expr;)*) => {
        /// A label that readings may carry beside those of their device. A new one is a decision: it
        /// multiplies series and takes part in joins.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Label {
            $(#[doc = $meaning] $variant),*
        }

        impl Label {
            /// Every label, sorted by name.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name, as it is exported.
            pub const fn name(self) -> &'static str {
                const NAMES: &[&str] = &[$($name),*];
                NAMES[self as usize]
            }

            /// What the value says, as a phrase without a full stop.
            pub const fn meaning(self) -> &'static str {
                const MEANINGS: &[&str] = &[$($meaning),*];
                MEANINGS[self as usize]
            }

            /// The values that it can have.
            pub const fn values(self) -> LabelValues {
                const VALUES: &[LabelValues] = &[$($values),*];
                VALUES[self as usize]
            }
        }
    };
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

use LabelValues::{Closed, Fact, Open};

labels! {
    AccelNode = "accel_node", "The kernel's name of the device's node below /dev/accel, which may differ after each boot", Fact;
    Action = "action", "What the driver says must be done before the device is healthy again",
        Closed(&["none", "gpu_reset", "node_reboot", "drain_p2p", "drain_and_reset", "recover_imex_domain", "bus_reset",
            "system_reboot", "repair", "other"]);
    Address = "address", "PCI address, as sysfs writes it, of a device that no source lists", Open;
    Architecture = "architecture", "Name of the chip's architecture", Fact;
    Availability = "availability", "How many of a memory bank's spare rows are left",
        Closed(&["max", "high", "partial", "low", "none"]);
    Bin = "bin", "Number of the bin, from 0, as the driver counts", Open;
    BoardPartNumber = "board_part_number", "Part number of the board, as the vendor orders it", Fact;
    Brand = "brand", "Product line", Fact;
    Cache = "cache", "Memory whose accesses the cache serves: the device's own, the host's, or that of other devices",
        Closed(&["dram", "host", "peer"]);
    Call = "call", "Function of the vendor's library, field or kernel file that gave no value", Open;
    Card = "card", "The kernel's name of the GPU below /dev/dri, which may differ after each boot", Fact;
    Cause = "cause", "Kind of memory error that used up a row or page",
        Closed(&["correctable", "uncorrectable", "single_bit", "double_bit"]);
    ChassisSerial = "chassis_serial", "Serial number of the chassis", Fact;
    CliqueId = "clique_id", "Number of the fabric clique within which devices reach each other's memory", Fact;
    ClockEvent = "clock_event", "Clock event in the words of dcgm-exporter",
        Closed(&["gpu_idle", "clocks_setting", "power_cap", "hw_slowdown", "sync_boost", "sw_thermal", "hw_thermal",
            "hw_power_brake", "display_clocks"]);
    ClusterUuid = "cluster_uuid", "UUID of the fabric's cluster", Fact;
    Code = "code", "Code of the error, as the vendor numbers or names it; of a fault, see the table of faults; of an HTTP request, its status", Open;
    Container = "container", "Name of the container in its pod, or the name or id of a container without a pod", Open;
    CpldVersion = "cpld_version", "Version of the board's CPLD", Fact;
    Direction = "direction", "Direction of the traffic, seen from the device",
        Closed(&["transmit", "receive", "both", "both_link_0"]);
    Domain = "domain", "Clock domain", Closed(&["sm", "memory", "graphics", "video", "soc", "npu", "core"]);
    DriverVersion = "driver_version", "Version of the kernel driver", Fact;
    EccInforomVersion = "ecc_inforom_version", "Version of the InfoROM's ECC object", Fact;
    EndpointCliqueId = "endpoint_clique_id", "Number of the fabric clique for access by logical endpoint", Fact;
    Engine = "engine", "Engine or pipe of the device",
        Closed(&["amx", "amx_core", "compute", "copy", "decode", "encode", "enhance", "fp16", "fp32", "fp64", "graphics",
            "int", "jpeg", "media", "npu", "optical_flow", "other", "render", "sm", "tensor", "tensor_dfma", "tensor_dmma",
            "tensor_hmma", "tensor_imma"]);
    ErrCode = "err_code", "Code of the last XID, as dcgm-exporter labels it", Open;
    ErrMsg = "err_msg", "Text of the last XID, as dcgm-exporter labels it", Open;
    Error = "error", "Kind of link error",
        Closed(&["replay", "recovery", "crc", "crc_data", "crc_flit", "receive", "link_recovery", "effective", "link_failure",
            "firmware_communication", "firmware", "degraded", "link_recovery_failed", "local_integrity",
            "malformed_packet", "buffer_overrun", "receive_remote", "receive_general", "transmit_discard",
            "replay_back_to_back", "correctable", "non_fatal", "fatal", "unsupported_request", "receiver", "lane",
            "lcrc", "bad_tlp", "bad_dllp", "nak_received", "nak_sent"]);
    Family = "family", "Kind of silicon, and name of its source", Closed(&Family::NAMES);
    Fan = "fan", "Number of the fan, from 0", Open;
    Fault = "fault", "What the fabric reports as wrong",
        Closed(&["degraded_bandwidth", "route_recovery", "route_unhealthy", "access_timeout_recovery",
            "incorrect_configuration", "partition_not_assigned", "fabric_manager_disconnected"]);
    Features = "features", "Instruction sets or functions of the device that matter for inference", Fact;
    File = "file", "Which file of settings", Closed(&["config", "web_config"]);
    FirmwareVersion = "firmware_version", "Version of the device's firmware", Fact;
    FitVersion = "fit_version", "Version of the Gaudi's boot image", Fact;
    HostId = "host_id", "Number of the host within its slot of the rack", Fact;
    IbGuid = "ib_guid", "InfiniBand GUID that the platform gave the device", Fact;
    InforomVersion = "inforom_version", "Version of the InfoROM image", Fact;
    Interface = "interface", "Interface that knows who holds a device", Closed(&["pod_resources", "pod_info", "job_mapping", "open_files"]);
    Job = "job", "Id of the batch job, or name of the systemd unit", Open;
    Kind = "kind", "Kind of link, of error source, of reset, of repair, of cycles, or of absence, according to the metric",
        Closed(&["nvlink", "pcie", "c2c", "roce_internal", "roce_external", "xelink", "xid", "sxid", "nvml_event", "hlml_event",
            "ras", "reset", "aer", "hard",
            "soft", "thread", "core", "amx", "memory_channel", "tpc", "unsupported", "no_data", "failed", "timed_out"]);
    Label = "label", "Name of the pod's label", Open;
    Lane = "lane", "Number of the link's lane, from 0; all for the link as a whole", Open;
    LibraryVersion = "library_version", "Version of the vendor's library", Fact;
    Limit = "limit", "Which limit",
        Closed(&["enforced", "requested", "default", "min", "max", "burst", "peak", "short_term", "slowdown", "shutdown",
            "operating", "memory_operating"]);
    Link = "link", "Number of the link or port, from 0; all for a sum over links", Open;
    Model = "model", "Product name", Fact;
    ModuleId = "module_id", "Position of the device on its baseboard", Fact;
    MulticastCliqueId = "multicast_clique_id", "Number of the fabric clique for multicast", Fact;
    MulticastEndpointCliqueId = "multicast_endpoint_clique_id",
        "Number of the fabric clique for multicast by logical endpoint", Fact;
    Namespace = "namespace", "Kubernetes namespace of the pod", Open;
    OemInforomVersion = "oem_inforom_version", "Version of the InfoROM's OEM object", Fact;
    PartitionProfile = "partition_profile", "MIG profile of the GPU instance", Fact;
    PcbAssemblyVersion = "pcb_assembly_version", "Assembly version of the board", Fact;
    PcbVersion = "pcb_version", "Version of the board", Fact;
    PciBusId = "pci_bus_id", "PCI address, as sysfs writes it", Fact;
    PeerType = "peer_type", "Number of the kind of NVLink peer, as the platform reports it", Fact;
    Pod = "pod", "Name of the pod", Open;
    PodUid = "pod_uid", "UID of the pod", Open;
    Port = "port", "Number of the NIC port, as Intel's exporter labels it", Open;
    PortType = "port_type", "Where the NIC port leads, as Intel's exporter labels it", Closed(&["internal", "external"]);
    PowerInforomVersion = "power_inforom_version", "Version of the InfoROM's power object", Fact;
    Profile = "profile", "Kind of work that a power profile is for",
        Closed(&["max_p", "max_q", "compute", "memory_bound", "network", "balanced", "llm_inference",
            "llm_training", "rbm", "dcpcie", "hmma_sparse", "hmma_dense", "sync_balanced", "hpc", "mig", "max_q_1",
            "network_bound", "high_throughput_inference", "medium_throughput_inference", "low_latency_inference",
            "training", "inference", "max_q_2", "max_q_3", "low_priority_background"]);
    RatedTops = "rated_tops", "Rated operations per second in 10^12, as the driver reports it", Fact;
    Reason = "reason", "What holds the clocks below their maximum, or why a device is not healthy, according to the metric",
        Closed(&["idle", "app_clocks", "sw_power_cap", "hw_slowdown", "sync_boost", "sw_thermal", "hw_thermal",
            "hw_power_brake", "display_clocks", "board_limit", "reliability", "low_utilization", "thermal", "core_thermal",
            "power", "pl1", "pl2", "pl4", "prochot", "ratl", "vr_thermalert", "vr_tdc", "soc_thermal", "mem_thermal",
            "vr_thermal", "iccmax", "pwrbrk", "soc_avg_thermal", "fastvmode", "psys_pl1", "psys_pl2", "p0_freq", "psys_crit",
            "psys_pl4", "vr_tempalert", "psu_alert", "sw_range", "hw_range", "voltage", "any", "other",
            "lost", "hung", "gone", "missing", "stale", "starting", "detached", "recovery_action", "firmware_wedged", "critical_error",
            "device_error", "ras_error", "device_reset", "uncorrectable_errors", "remap_failed", "repair_pending",
            "no_spare_row", "on_chip_errors", "pages_retired", "rows_remapped", "links_down", "link_errors",
            "pcie_degraded", "fabric", "throttled", "overheating", "resetting", "amx_missing", "memory_unrepairable",
            "tpc_repair_pending"]);
    RegistrationStatus = "registration_status", "What registration with the fabric manager returned", Fact;
    RenderNode = "render_node", "The kernel's name of the GPU's render node below /dev/dri, which may differ after each boot", Fact;
    Result = "result", "What became of an alert, or of sending one on to a peer",
        Closed(&["chosen", "resolved", "replayed", "other_node", "unknown_device", "over_limit", "sent", "failed"]);
    RuntimeVersion = "runtime_version", "Highest version of the compute runtime that the driver supports", Fact;
    SchedMode = "sched_mode", "Scheduling mode of the NPU", Fact;
    Scope = "scope", "Since when errors are counted: volatile since the driver was loaded, aggregate over the device's life",
        Closed(&["volatile", "aggregate"]);
    Sensor = "sensor", "Where the temperature is measured",
        Closed(&["gpu", "memory", "board", "package", "npu", "hottest", "voltage_regulator", "pcie", "memory_controller",
            "memory_channel_0", "memory_channel_1", "memory_channel_2", "memory_channel_3", "memory_channel_4",
            "memory_channel_5", "memory_channel_6", "memory_channel_7", "memory_channel_8", "memory_channel_9",
            "memory_channel_10", "memory_channel_11", "memory_channel_12", "memory_channel_13", "memory_channel_14",
            "memory_channel_15"]);
    Serial = "serial", "Serial number of the board", Fact;
    Severity = "severity", "Whether the hardware corrected the error, and how an uncorrectable one was found",
        Closed(&["corrected", "uncorrectable", "uncorrectable_parity", "uncorrectable_secded"]);
    Share = "share", "Which share of a device that several containers hold", Open;
    SignalSources = "signal_sources", "Which backend each metric of the device is read from", Fact;
    Simulated = "simulated", "Name of the simulated machine; none on real hardware", Fact;
    Slot = "slot", "Number of the slot in the chassis, switches included", Fact;
    Source = "source", "Name of the source, which is that of its family", Closed(&Family::NAMES);
    State = "state", "State that the series stands for",
        Closed(&["not_supported", "not_started", "in_progress", "completed", "active", "suspended", "busy", "idle", "inactive",
            "ok", "degraded", "failed", "unknown"]);
    Tray = "tray", "Number of the compute tray in the chassis, switches not included", Fact;
    Trigger = "trigger", "Name of the alert, or request for a call by hand", Open;
    User = "user", "Who submitted the batch job, or the number of that user", Open;
    Value = "value", "Value of the pod's label", Open;
    Vendor = "vendor", "Maker of the device", Fact;
    Version = "version", "Version of the exporter", Fact;
    WindowSizeInMs = "window_size_in_ms", "Length of the sliding window in milliseconds, as dcgm-exporter labels it", Open;
    WorkloadKind = "workload_kind", "What holds the device", Closed(&["pod", "container", "slurm", "unit", "unattributed"]);
    Xid = "xid", "XID code, as dcgm-exporter labels it", Open;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Label, LabelValues};
    use crate::{Absence, METRICS, MetricKind, vendor_names};

    #[test]
    fn names_are_sorted_snake_case_and_explained() {
        assert!(Label::ALL.is_sorted_by_key(|label| label.name()));
        for label in Label::ALL {
            let name = label.name();
            assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert!(!label.meaning().is_empty() && !label.meaning().ends_with('.'), "{name}");
        }
    }

    #[test]
    fn closed_lists_have_no_value_twice() {
        for label in Label::ALL {
            if let LabelValues::Closed(values) = label.values() {
                assert_eq!(values.iter().collect::<BTreeSet<_>>().len(), values.len(), "{}", label.name());
            }
        }
    }

    #[test]
    fn enumerations_of_ours_are_listed_whole() {
        let words = |label: Label| match label.values() {
            LabelValues::Closed(words) => words,
            other => panic!("{label:?} is {other:?}"),
        };
        assert!(Absence::ALL.iter().all(|absence| words(Label::Kind).contains(&absence.name())));
    }

    #[test]
    fn no_label_is_unused() {
        let used: BTreeSet<_> = METRICS.iter().flat_map(|metric| metric.labels).collect();
        let unused: Vec<_> = Label::ALL.iter().filter(|label| !used.contains(label)).collect();
        assert!(unused.is_empty(), "{unused:?}");
    }

    #[test]
    fn facts_are_labels_of_info_metrics_alone() {
        for metric in METRICS.iter().filter(|metric| metric.kind != MetricKind::Info) {
            let fact = metric.labels.iter().find(|label| label.values() == LabelValues::Fact);
            assert_eq!(fact, None, "{:?}", metric.name);
        }
    }

    #[test]
    fn vendor_rows_match_on_labels_and_values_of_their_metric() {
        for row in vendor_names() {
            let labels = row.id.metric().labels;
            for (label, value) in row.when {
                assert!(labels.contains(label), "{}: {label}", row.name);
                if let LabelValues::Closed(words) = label.values() {
                    assert!(words.contains(value) || value.parse::<u32>().is_ok(), "{}: {value}", row.name);
                }
            }
            assert!(row.keep.iter().all(|(label, _)| labels.contains(label)), "{}", row.name);
        }
    }
}
