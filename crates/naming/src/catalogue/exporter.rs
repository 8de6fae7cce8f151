//! The exporter itself.

use crate::{Bytes, Count, Distribution, Flag, Label, MetricKind, Seconds, entry::own};

entries! { from super::host::END;

    BUILD_INFO: Flag = own(
        MetricKind::Info,
        "accelscope_build_info",
        &[Label::Version, Label::Simulated],
        "Version of the running exporter, and the simulated machine behind it or none",
    );

    SOURCE_UP: Flag = own(
        MetricKind::Gauge,
        "accelscope_source_up",
        &[Label::Source],
        "Whether the source's library or kernel interface is open and answering",
    );

    SOURCE_CONNECTS: Count = own(
        MetricKind::Counter,
        "accelscope_source_connects_total",
        &[Label::Source],
        "Attempts to open the source, successful or not",
    );

    SOURCE_FAULTS: Count = own(
        MetricKind::Counter,
        "accelscope_source_faults_total",
        &[Label::Source, Label::Kind, Label::Call, Label::Code],
        "Calls that gave no value, by kind of absence, call and error code; unsupported ones are counted \
         once per device",
    );

    STUCK_THREADS: Count = own(
        MetricKind::Gauge,
        "accelscope_stuck_threads",
        &[Label::Source],
        "Threads that wait in a driver call past its deadline",
    );

    SAMPLE_DURATION: Distribution = own(
        MetricKind::Histogram,
        "accelscope_sample_duration_seconds",
        &[Label::Source],
        "Time to read one device once",
    );

    SNAPSHOT_AGE: Seconds = own(
        MetricKind::Gauge,
        "accelscope_snapshot_age_seconds",
        &[Label::Source],
        "Age of the oldest device snapshot being served, as of the encoding of this body, itself at most \
         one interval old",
    );

    HTTP_REQUESTS: Count = own(
        MetricKind::Counter,
        "accelscope_http_requests_total",
        &[Label::Code],
        "HTTP requests answered, by status code",
    );

    HTTP_IN_FLIGHT: Count = own(
        MetricKind::Gauge,
        "accelscope_http_requests_in_flight",
        &[],
        "HTTP requests being answered",
    );

    HTTP_CONNECTIONS: Count = own(
        MetricKind::Gauge,
        "accelscope_http_connections",
        &[],
        "Open client connections",
    );

    HTTP_CONNECTIONS_REFUSED: Count = own(
        MetricKind::Counter,
        "accelscope_http_connections_refused_total",
        &[],
        "Client connections closed because a cap was reached: one that kept the server waiting, else the \
         new one",
    );

    HTTP_HANDSHAKES_FAILED: Count = own(
        MetricKind::Counter,
        "accelscope_http_tls_handshakes_failed_total",
        &[],
        "Client connections that ended in the TLS handshake: no common version or cipher, no valid client \
         certificate, or no end in time",
    );

    CONFIG_LAST_RELOAD: Flag = own(
        MetricKind::Gauge,
        "accelscope_config_last_reload_successful",
        &[Label::File],
        "Whether the file could be used when it was last read; if not, what it said before still holds",
    );

    CONFIG_LAST_RELOAD_SUCCESS: Seconds = own(
        MetricKind::Gauge,
        "accelscope_config_last_reload_success_timestamp_seconds",
        &[Label::File],
        "When the file was last read and could be used, as Unix time",
    );

    SERIES_REFUSED: Count = own(
        MetricKind::Gauge,
        "accelscope_series_refused",
        &[],
        "Series that are left out of this body because --max-series allows no more; the log names the first",
    );

    KERNEL_LOG_UP: Flag = own(
        MetricKind::Gauge,
        "accelscope_kernel_log_up",
        &[],
        "Whether the kernel log is open; only with --kernel-log",
    );

    KERNEL_LOG_RECORDS: Count = own(
        MetricKind::Counter,
        "accelscope_kernel_log_records_total",
        &[],
        "Messages of the kernel log that were read; only with --kernel-log",
    );

    KERNEL_LOG_RECORDS_LOST: Count = own(
        MetricKind::Counter,
        "accelscope_kernel_log_records_lost_total",
        &[],
        "Messages of the kernel log that the kernel overwrote before they were read; only with --kernel-log",
    );

    KERNEL_LOG_ERRORS: Count = own(
        MetricKind::Counter,
        "accelscope_kernel_log_errors_total",
        &[Label::Address, Label::Kind, Label::Code],
        "Errors in the kernel log of PCI devices that no source lists: NVSwitches, and accelerators that are missing; \
         only with --kernel-log",
    );

    KERNEL_LOG_ERROR_LAST: Seconds = own(
        MetricKind::Gauge,
        "accelscope_kernel_log_error_last_timestamp_seconds",
        &[Label::Address, Label::Kind, Label::Code],
        "Unix time of the last of those errors, of one before the exporter's start too; only with --kernel-log",
    );

    LOG_LINES_DROPPED: Count = own(
        MetricKind::Counter,
        "accelscope_log_lines_dropped_total",
        &[],
        "Log lines lost because standard error could not be written, or not fast enough",
    );

    PROCESS_CPU: Seconds = own(
        MetricKind::Counter,
        "process_cpu_seconds_total",
        &[],
        "User and system CPU time spent",
    );

    PROCESS_RESIDENT: Bytes = own(MetricKind::Gauge, "process_resident_memory_bytes", &[], "Resident memory size");

    PROCESS_VIRTUAL: Bytes = own(MetricKind::Gauge, "process_virtual_memory_bytes", &[], "Virtual memory size");

    PROCESS_OPEN_FDS: Count = own(MetricKind::Gauge, "process_open_fds", &[], "Open file descriptors");

    PROCESS_MAX_FDS: Count = own(MetricKind::Gauge, "process_max_fds", &[], "Limit of open file descriptors");

    PROCESS_THREADS: Count = own(MetricKind::Gauge, "process_threads", &[], "Threads of the process");

    PROCESS_START: Seconds = own(
        MetricKind::Gauge,
        "process_start_time_seconds",
        &[],
        "Start of the process as Unix time",
    );
}
