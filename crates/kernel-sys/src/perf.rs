//! `linux/perf_event.h`: one event of a PMU.

crate::abi! {
    const ATTRIBUTES_BYTES: u32 = 64 as "PERF_ATTR_SIZE_VER0";
    const TOTAL_TIME_ENABLED: u64 = 1 as "PERF_FORMAT_TOTAL_TIME_ENABLED";
    const CLOSE_ON_EXEC: u64 = 8 as "PERF_FLAG_FD_CLOEXEC";

    /// The attributes as of their first version, which every kernel takes.
    struct Attributes as "struct perf_event_attr" of size "PERF_ATTR_SIZE_VER0" {
        kind: u32 as "type",
        size: u32 as "size",
        config: u64 as "config",
        sample_period: u64 as "sample_period",
        sample_type: u64 as "sample_type",
        read_format: u64 as "read_format",
        /// The header's bit fields, which have no offset there.
        flags: u64,
        wakeup: u32 as "wakeup_events",
        breakpoint_type: u32 as "bp_type",
        config1: u64 as "config1",
    }
}
