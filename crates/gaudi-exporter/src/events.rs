//! What the exporter has heard of critical events since it started.
//!
//! HLML announces each event once, to those who listen. The log therefore lives as long as the process,
//! through resets and driver reloads, so that its counters never fall.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::raw::EVENTS;

/// One device's events.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Heard {
    /// How many, in the order of [`EVENTS`].
    pub counts: [u64; EVENTS.len()],
    /// Unix time of the last one of each, in seconds.
    pub last: [Option<f64>; EVENTS.len()],
}

/// Every device's events, by its key. Cheap to clone: one log, many hands.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<HashMap<String, Heard>>>);

impl Log {
    /// Records events, one mask each; a mask of other events than [`EVENTS`] is none.
    pub fn record(&self, key: &str, masks: &[u64]) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for mask in masks {
            for (place, (bit, code)) in EVENTS.iter().enumerate().filter(|(_, (bit, _))| mask & bit != 0) {
                tracing::warn!(key, code, bit, "critical event");
                let heard = log.entry(key.to_owned()).or_default();
                heard.counts[place] += 1;
                let unix = SystemTime::now().duration_since(UNIX_EPOCH);
                heard.last[place] = Some(unix.map_or(0.0, |since| since.as_secs_f64()));
            }
        }
    }

    /// What is known of a device.
    pub fn heard(&self, key: &str) -> Heard {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.get(key).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use hlml_sys::constants::{EVENT_CLOCK, EVENT_CRITICAL, EVENT_DRAM_UNCORRECTED, EVENT_ECC_CORRECTED};

    use super::*;

    #[test]
    fn repeats_count_and_everyday_events_do_not() {
        let log = Log::default();
        assert_eq!(log.heard("0000:19:00.0"), Heard::default());
        log.record("0000:19:00.0", &[EVENT_CLOCK, EVENT_ECC_CORRECTED, 1 << 40]);
        assert_eq!(log.heard("0000:19:00.0"), Heard::default());
        log.record("0000:19:00.0", &[EVENT_CRITICAL, EVENT_CRITICAL | EVENT_DRAM_UNCORRECTED]);
        assert_eq!(log.heard("0000:19:00.0").counts, [2, 0, 1]);
        assert_eq!(log.heard("0000:19:00.0").last.map(|last| last.is_some()), [true, false, true]);
        assert_eq!(log.heard("0000:1a:00.0"), Heard::default());
    }
}
