//! XIDs: which are exported from the start, and the log of those that NVML announced.

use std::time::Duration;

use source::{EventHistory, EventLog};

/// dcgm-exporter's default window for its `*_COUNT` names.
pub const WINDOW: Duration = Duration::from_millis(WINDOW_MS as u64);
/// The same in milliseconds, as its `window_size_in_ms` label has it.
pub const WINDOW_MS: u32 = 300_000;

/// Codes that are exported from the start with 0, so that the first event is an increase that `rate` and
/// `increase` can see: those that NVIDIA's XID catalogue documents for data-centre parts with an action
/// for the operator. Display, video-processor and reserved codes appear once they occur.
pub const WATCHED: &[u32] = &[
    13, 31, 32, 38, 43, 44, 45, 46, 48, 62, 63, 64, 66, 68, 69, 74, 79, 92, 94, 95, 109, 110, 119, 120, 121,
    136, 137, 140, 143, 144, 145, 146, 147, 148, 149, 150, 154, 156, 157, 158, 160, 161, 167, 171, 172,
];

/// Codes above this are no XIDs; a driver that sends one is not allowed to make series without bound.
const CODE_MAX: u32 = 1023;

/// The XIDs of one GPU or GPU instance.
pub type XidHistory = EventHistory<u32>;

/// XIDs by key of the GPU and GPU instance on it.
pub type XidLog = EventLog<(String, Option<u32>), u32>;

/// The code that an XID is counted under. All that are no XIDs share one.
pub fn code(announced: u64) -> u32 {
    u32::try_from(announced).map_or(CODE_MAX, |code| code.min(CODE_MAX))
}

#[cfg(test)]
mod tests {
    use super::{CODE_MAX, WATCHED, code};

    #[test]
    fn garbage_codes_share_one_series() {
        assert_eq!([u64::MAX, 5_000_000_000, 4096].map(code), [CODE_MAX; 3]);
        assert_eq!(code(79), 79);
    }

    #[test]
    fn watched_codes_are_documented() {
        assert!(WATCHED.is_sorted_by(|a, b| a < b));
        // The rules take its series as the sign that a device's errors are received.
        assert!(WATCHED.contains(&79));
        for code in WATCHED {
            assert_ne!(naming::xid_text(u64::from(*code)), "Unknown Error", "{code}");
        }
    }
}
