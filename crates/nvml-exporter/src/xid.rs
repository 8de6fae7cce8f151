//! What the exporter has heard of XIDs since it started: counts, the last one, and a sliding window.
//!
//! NVML announces each XID once, to those who listen. The log therefore lives as long as the process,
//! through driver reloads, so that its counters never fall.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// dcgm-exporter's default window for its `*_COUNT` names.
pub const WINDOW: Duration = Duration::from_millis(WINDOW_MS as u64);
/// The same in milliseconds, as its `window_size_in_ms` label says it.
pub const WINDOW_MS: u32 = 300_000;

/// Codes that are exported from the start with 0, so that the first event is an increase that `rate` and
/// `increase` can see: those that NVIDIA's XID catalogue documents for data-centre parts with an action
/// for the operator. Display, video-processor and reserved codes appear once they occur.
pub const WATCHED: &[u32] = &[
    13, 31, 32, 38, 43, 44, 45, 46, 48, 62, 63, 64, 66, 68, 69, 74, 79, 92, 94, 95, 109, 110, 119, 120, 121,
    136, 137, 140, 143, 144, 145, 146, 147, 148, 149, 150, 154, 156, 157, 158, 160, 161, 167, 171, 172,
];

/// Codes above this are no XIDs; a driver that sends one is not allowed to make series without bound.
pub const CODE_MAX: u32 = 1023;

/// One device's or instance's XIDs.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Events by code.
    pub counts: BTreeMap<u32, u64>,
    /// Unix time of the last one of each code, in seconds.
    pub times: BTreeMap<u32, f64>,
    /// Code of the last one.
    pub last: Option<u32>,
    recent: VecDeque<(Instant, u32)>,
}

impl History {
    /// Events by code within [`WINDOW`] before `now`.
    pub fn window(&self, now: Instant) -> BTreeMap<u32, u64> {
        let mut counts = BTreeMap::new();
        for (at, code) in &self.recent {
            if now.saturating_duration_since(*at) <= WINDOW {
                *counts.entry(*code).or_default() += 1;
            }
        }
        counts
    }
}

/// What was heard of one device up to `now`.
pub struct Heard {
    /// Its XIDs.
    pub history: History,
    /// When it was asked.
    pub now: Instant,
}

/// Every device's XIDs, by UUID and GPU instance. Cheap to clone: one log, many hands.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<HashMap<Key, History>>>);

/// UUID of the GPU, and the GPU instance on it.
type Key = (String, Option<u32>);

impl Log {
    /// Records an event.
    pub fn record(&self, uuid: &str, instance: Option<u32>, code: u64) {
        let code = u32::try_from(code).unwrap_or(u32::MAX).min(CODE_MAX);
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let now = Instant::now();
        // A poisoned lock only means that another thread panicked between two plain writes.
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let history = log.entry((uuid.to_owned(), instance)).or_default();
        *history.counts.entry(code).or_default() += 1;
        history.times.insert(code, unix);
        history.last = Some(code);
        history.recent.retain(|(at, _)| now.saturating_duration_since(*at) <= WINDOW);
        // A storm keeps the newest; the counters above have them all.
        if history.recent.len() >= 4096 {
            history.recent.pop_front();
        }
        history.recent.push_back((now, code));
    }

    /// What is known of a device or instance.
    pub fn history(&self, uuid: &str, instance: Option<u32>) -> Option<History> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.get(&(uuid.to_owned(), instance)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_count_and_the_window_slides() {
        let log = Log::default();
        log.record("GPU-1", None, 79);
        log.record("GPU-1", None, 79);
        log.record("GPU-1", Some(3), 31);
        let history = log.history("GPU-1", None).expect("recorded");
        assert_eq!(history.counts, BTreeMap::from([(79, 2)]));
        assert_eq!(history.last, Some(79));
        assert_eq!(history.times.keys().collect::<Vec<_>>(), [&79]);
        let now = Instant::now();
        assert_eq!(history.window(now), BTreeMap::from([(79, 2)]));
        assert!(history.window(now + WINDOW + Duration::from_secs(1)).is_empty());
        assert_eq!(log.history("GPU-1", Some(3)).expect("recorded").counts, BTreeMap::from([(31, 1)]));
        assert!(log.history("GPU-2", None).is_none());
    }

    #[test]
    fn garbage_codes_share_one_series() {
        let log = Log::default();
        for code in [u64::MAX, 5_000_000_000, 4096] {
            log.record("GPU-1", None, code);
        }
        assert_eq!(log.history("GPU-1", None).expect("recorded").counts, BTreeMap::from([(CODE_MAX, 3)]));
    }

    #[test]
    fn watched_codes_are_documented() {
        assert!(WATCHED.windows(2).all(|pair| pair[0] < pair[1]));
        // The rules take its series as the sign that a device's errors are heard of.
        assert!(WATCHED.contains(&79));
        for code in WATCHED {
            assert_ne!(naming::xid_text(u64::from(*code)), "Unknown Error", "{code}");
        }
    }
}
