//! The catalogue: one entry per quantity, in the order in which families are printed.

use crate::{Bytes, Count, Distribution, Flag, Kind, Metric, MetricOf, Quantity, Scope, Seconds, Unit};

macro_rules! catalogue {
    ($($id:ident: $quantity:ty = $entry:expr;)*) => {
        #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "the index of each entry, by its name")]
        #[repr(u16)]
        enum Index { $($id),* }

        $(
            #[doc = concat!("Handle of the entry `", stringify!($id), "`.")]
            pub const $id: MetricOf<$quantity> = MetricOf::new(Index::$id as u16);
        )*

        /// Every entry.
        pub static METRICS: &[Metric] = &[$({
            let mut entry: Metric = $entry;
            entry.unit = <$quantity as Quantity>::UNIT;
            entry
        }),*];
    };
}

/// An exporter self-metric; these have no vendor source by nature.
const fn own(kind: Kind, name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric {
        name: Some(name),
        kind,
        unit: Unit::None,
        scope: Scope::Exporter,
        labels,
        help,
        sources: &[],
        sourceless: "Made by the exporter itself.",
        integral: None,
        vendor: &[],
    }
}

catalogue! {
    DEVICE_UP: Flag = Metric { scope: Scope::Device, ..own(Kind::Gauge, "accel_device_up", &[],
        "Whether the device answered within its deadline; while it is 0 the device has no other series") };
    DEVICES: Count = own(Kind::Gauge, "accel_devices", &["family"],
        "Devices that the family's driver lists now");
    DEVICES_EXPECTED: Count = own(Kind::Gauge, "accel_devices_expected", &["family"],
        "Devices of the family on the PCI bus, from the vendor and class files under bus/pci/devices");

    BUILD_INFO: Flag = own(Kind::Info, "accelscope_build_info", &["version", "simulated"],
        "Version of the running exporter, and the simulated machine behind it or none");
    SOURCE_UP: Flag = own(Kind::Gauge, "accelscope_source_up", &["source"],
        "Whether the source's library or kernel interface is open and answering");
    SOURCE_CONNECTS: Count = own(Kind::Counter, "accelscope_source_connects_total", &["source"],
        "Attempts to open the source, successful or not");
    SOURCE_FAULTS: Count = own(Kind::Counter, "accelscope_source_faults_total", &["source", "kind", "call", "code"],
        "Calls that gave no value, by kind of absence, call and error code; unsupported ones are counted once per device");
    STUCK_THREADS: Count = own(Kind::Gauge, "accelscope_stuck_threads", &["source"],
        "Threads that wait in a driver call past its deadline");
    SAMPLE_DURATION: Distribution = own(Kind::Histogram, "accelscope_sample_duration_seconds", &["source"],
        "Time to read one device once");
    SNAPSHOT_AGE: Seconds = own(Kind::Gauge, "accelscope_snapshot_age_seconds", &["source"],
        "Age of the oldest device snapshot being served, as of the encoding of this body, itself at most one interval old");
    HTTP_REQUESTS: Count = own(Kind::Counter, "accelscope_http_requests_total", &["code"],
        "HTTP requests answered, by status code");
    HTTP_IN_FLIGHT: Count = own(Kind::Gauge, "accelscope_http_requests_in_flight", &[],
        "HTTP requests being answered");
    HTTP_CONNECTIONS: Count = own(Kind::Gauge, "accelscope_http_connections", &[],
        "Open client connections");
    HTTP_CONNECTIONS_REFUSED: Count = own(Kind::Counter, "accelscope_http_connections_refused_total", &[],
        "Client connections closed at once because the cap on connections was reached");
    PROCESS_CPU: Seconds = own(Kind::Counter, "process_cpu_seconds_total", &[],
        "User and system CPU time spent");
    PROCESS_RESIDENT: Bytes = own(Kind::Gauge, "process_resident_memory_bytes", &[],
        "Resident memory size");
    PROCESS_VIRTUAL: Bytes = own(Kind::Gauge, "process_virtual_memory_bytes", &[],
        "Virtual memory size");
    PROCESS_OPEN_FDS: Count = own(Kind::Gauge, "process_open_fds", &[],
        "Open file descriptors");
    PROCESS_MAX_FDS: Count = own(Kind::Gauge, "process_max_fds", &[],
        "Limit of open file descriptors");
    PROCESS_THREADS: Count = own(Kind::Gauge, "process_threads", &[],
        "Threads of the process");
    PROCESS_START: Seconds = own(Kind::Gauge, "process_start_time_seconds", &[],
        "Start of the process as Unix time");
}
