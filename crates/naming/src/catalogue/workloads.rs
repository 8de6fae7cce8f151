//! Who holds a device: pods, containers and jobs.

use crate::{
    Bytes, Count, Flag, Label, Metric, MetricKind, Scope, Seconds,
    entry::{counter, gauge, info, own, vendor_only},
};

/// The labels of a holder, as far as they are known, with those of the metric before and after them.
macro_rules! holder {
    ($($before:ident)?; $($after:ident)?) => {
        &[
            $(Label::$before,)?
            Label::WorkloadKind,
            Label::Namespace,
            Label::Pod,
            Label::Container,
            Label::PodUid,
            Label::Job,
            Label::User,
            $(Label::$after,)?
        ]
    };
}

entries! { from super::health::END;

    WORKLOAD_INFO: Flag = info(
        "accel_workload_info",
        "Who holds the device or partition, one series for each holder and share; the series of the device \
         stay as they are whoever holds it",
    )
    .labels(holder!(; Share))
    .sourceless(
        "From the kubelet's pod-resources API, from folders of a batch system, and by the control groups of processes.",
    );

    WORKLOAD_MEMORY_USED: Bytes = gauge(
        "accel_workload_memory_used_bytes",
        "Memory of the device that processes of a holder have, or host memory on a device without its own; \
         unattributed is the rest of what the device has in use",
    )
    .labels(holder!(;))
    .sourceless("From the driver's list of processes, by their control groups.");

    WORKLOAD_ENGINE_BUSY: Seconds = counter(
        "accel_workload_engine_busy_seconds_total",
        "Time in which an engine worked for processes of a holder, since the exporter follows them; unattributed is the \
         rest of the device's own busy time",
    )
    .labels(holder!(Engine;))
    .sourceless("From the driver's times by process, by their control groups.");

    WORKLOAD_POD_LABEL: Flag = own(
        MetricKind::Info,
        "accel_workload_pod_label_info",
        &[Label::Namespace, Label::Pod, Label::PodUid, Label::Label, Label::Value],
        "A label of a pod that holds a device, of those that --kubernetes.pod-labels names",
    );

    OWN_POD: Flag = Metric {
        scope: Scope::Exporter,
        ..vendor_only(
            "Intel's Gaudi exporter prints a constant 1 beside the names of its own pod; the unified schema leaves \
             those to the labels of the target",
        )
    };

    WORKLOADS_UP: Flag = own(
        MetricKind::Gauge,
        "accelscope_workloads_up",
        &[Label::Interface],
        "Whether the interface that knows who holds a device gave its last list; while it did not, no holder \
         is reported, and accelscope_workloads_faults_total has the reason",
    );

    WORKLOADS_FAULTS: Count = own(
        MetricKind::Counter,
        "accelscope_workloads_faults_total",
        &[Label::Interface, Label::Kind, Label::Call, Label::Code],
        "Lists of holders that could not be read, by interface, kind of absence, call and error code",
    );

    WORKLOADS_UNRESOLVED: Count = own(
        MetricKind::Gauge,
        "accelscope_workloads_unresolved_ids",
        &[Label::Family],
        "Device ids that were given to pods and that no device of this node has, such as those of a GPU that \
         is passed to a virtual machine",
    );
}
