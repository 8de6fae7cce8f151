//! Events that a driver announced since the exporter started: counts and times by code, and a sliding window.
//!
//! A driver announces each event once, to those who listen. The log therefore lives as long as the process,
//! through resets and driver reloads, so that its counters never fall. In a process that is started for a library, it
//! begins with what the exporter remembers ([`EventLog::begin_with`]).

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Events of one code that follow each other within this time are one entry of the window.
const STEP: Duration = Duration::from_secs(1);

/// Entries that a window holds at most, the newest: a storm of few codes fills it never, one of invented codes does.
const ENTRIES_MAX: usize = 4096;

/// The events of one device or partition. `C` is the vendor's code.
#[derive(Clone, Debug)]
pub struct EventHistory<C> {
    /// Events by code.
    pub counts: BTreeMap<C, u64>,
    /// Unix time of the last event of each code, in seconds.
    pub times: BTreeMap<C, f64>,
    /// Code of the last event.
    pub last: Option<C>,
    recent: VecDeque<Entry<C>>,
}

/// Events of one code within a [`STEP`].
#[derive(Clone, Debug)]
struct Entry<C> {
    first: Instant,
    code: C,
    count: u64,
}

impl<C> Default for EventHistory<C> {
    fn default() -> Self {
        Self { counts: BTreeMap::new(), times: BTreeMap::new(), last: None, recent: VecDeque::new() }
    }
}

impl<C: Copy + Ord> EventHistory<C> {
    /// Events by code within `window` before `now`, which begins and ends with a [`STEP`]; the log keeps none for longer
    /// than its own window.
    pub fn within(&self, window: Duration, now: Instant) -> BTreeMap<C, u64> {
        let mut counts = BTreeMap::new();
        for entry in &self.recent {
            if now.saturating_duration_since(entry.first) <= window {
                *counts.entry(entry.code).or_default() += entry.count;
            }
        }
        counts
    }

    /// Puts an event into the window.
    fn put(&mut self, code: C, window: Duration, now: Instant) {
        let since = |entry: &Entry<C>| now.saturating_duration_since(entry.first);
        let mut newest = self.recent.iter_mut().rev().take_while(|entry| since(entry) < STEP);
        if let Some(entry) = newest.find(|entry| entry.code == code) {
            entry.count += 1;
            return;
        }
        // Before the new one, so that the memory of a full window does not double.
        while self.recent.len() >= ENTRIES_MAX
            || self.recent.front().is_some_and(|entry| since(entry) > window)
        {
            self.recent.pop_front();
        }
        self.recent.push_back(Entry { first: now, code, count: 1 });
    }

    fn add(&mut self, other: Self) {
        let newest = |history: &Self| history.times.values().copied().fold(0.0, f64::max);
        if newest(&other) > newest(self) {
            self.last = other.last;
        }
        for (code, count) in other.counts {
            *self.counts.entry(code).or_default() += count;
        }
        for (code, unix) in other.times {
            let time = self.times.entry(code).or_default();
            *time = time.max(unix);
        }
        self.recent.extend(other.recent);
        self.recent.make_contiguous().sort_by_key(|entry| entry.first);
        let excess = self.recent.len().saturating_sub(ENTRIES_MAX);
        self.recent.drain(..excess);
    }
}

/// Events by device or partition (`K`) and code (`C`). Cheap to clone: every clone is the same log.
#[derive(Clone, Debug)]
pub struct EventLog<K, C> {
    histories: Arc<Mutex<HashMap<K, EventHistory<C>>>>,
    window: Duration,
    has_begun: Arc<AtomicBool>,
}

impl<K: Eq + Hash, C: Copy + Ord> EventLog<K, C> {
    /// A log that remembers the times of single events for `window`; [`Duration::ZERO`] for none.
    pub fn new(window: Duration) -> Self {
        Self { histories: Arc::default(), window, has_begun: Arc::default() }
    }

    /// Takes what was announced before this process began to listen: key, code, count, and the unix time of the last.
    /// Only the first call counts, since later ones would bring back what this log has counted.
    pub fn begin_with(&self, before: impl IntoIterator<Item = (K, C, u64, f64)>) {
        if self.has_begun.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut histories = self.lock();
        for (key, code, count, unix) in before {
            let earlier = EventHistory {
                counts: BTreeMap::from([(code, count)]),
                times: BTreeMap::from([(code, unix)]),
                last: Some(code),
                ..EventHistory::default()
            };
            histories.entry(key).or_default().add(earlier);
        }
    }

    /// Counts events of these codes from 0 on, so that the first one is an increase.
    pub fn watch(&self, key: K, codes: impl IntoIterator<Item = C>) {
        let mut histories = self.lock();
        let history = histories.entry(key).or_default();
        for code in codes {
            history.counts.entry(code).or_default();
        }
    }

    /// Records an event that was announced now.
    pub fn record(&self, key: K, code: C) {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let now = Instant::now();
        let mut histories = self.lock();
        let history = histories.entry(key).or_default();
        *history.counts.entry(code).or_default() += 1;
        history.times.insert(code, unix);
        history.last = Some(code);
        if !self.window.is_zero() {
            history.put(code, self.window, now);
        }
    }

    /// Adds the events of partitions that are gone to those of `into`, so that none vanishes with them.
    pub fn merge(&self, is_gone: impl Fn(&K) -> bool, into: &K)
    where
        K: Clone,
    {
        let mut histories = self.lock();
        let gone: Vec<_> = histories.extract_if(|key, _| is_gone(key)).map(|(_, history)| history).collect();
        for history in gone {
            histories.entry(into.clone()).or_default().add(history);
        }
    }

    /// The events of a device or partition; `None` before its first one.
    pub fn history(&self, key: &K) -> Option<EventHistory<C>> {
        self.lock().get(key).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, EventHistory<C>>> {
        // A poisoned lock only means that another thread panicked between two plain writes.
        self.histories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_mins(5);

    #[test]
    fn repeats_count_and_the_window_slides() {
        let log = EventLog::new(WINDOW);
        for code in [31, 79, 79] {
            log.record("GPU-1", code);
        }
        log.record("GPU-2", 31);
        let history = log.history(&"GPU-1").expect("recorded");
        assert_eq!(history.counts, BTreeMap::from([(31, 1), (79, 2)]));
        assert_eq!((history.last, history.times.len()), (Some(79), 2));
        let now = Instant::now();
        assert_eq!(history.within(WINDOW, now), history.counts);
        assert!(history.within(WINDOW, now + WINDOW + Duration::from_secs(1)).is_empty());
        assert!(log.history(&"GPU-3").is_none());
    }

    #[test]
    fn a_storm_costs_no_more_than_its_window() {
        let log = EventLog::new(WINDOW);
        let all = 2 * ENTRIES_MAX;
        for event in 0..all {
            // Two codes in turns.
            log.record("GPU-1", 13 + event % 2);
            if event <= ENTRIES_MAX {
                log.record("GPU-2", event);
            }
        }
        let history = log.history(&"GPU-1").expect("recorded");
        assert_eq!(history.counts, BTreeMap::from([(13, all as u64 / 2), (14, all as u64 / 2)]));
        assert_eq!(history.within(WINDOW, Instant::now()), history.counts, "none is missing in the window");
        assert!(history.recent.len() < 100, "{}", history.recent.len());
        // A clone would have the capacity that it needs.
        let invented = &log.lock()["GPU-2"].recent;
        assert_eq!((invented.len(), invented.capacity()), (ENTRIES_MAX, ENTRIES_MAX));
    }

    #[test]
    fn events_that_are_apart_leave_the_window_one_after_the_other() {
        let mut history = EventHistory::default();
        let start = Instant::now();
        for second in [0, 0, 100, 200, 400] {
            history.put(31, WINDOW, start + Duration::from_secs(second));
        }
        let within = |second| history.within(WINDOW, start + Duration::from_secs(second))[&31];
        assert_eq!((history.recent.len(), within(400), within(401), within(501)), (3, 3, 2, 1));
    }

    #[test]
    fn what_happened_in_a_partition_stays_when_it_is_gone() {
        let log = EventLog::new(WINDOW);
        log.record(("GPU-1", None), 79);
        for code in [31, 79, 31] {
            log.record(("GPU-1", Some(7)), code);
        }
        log.merge(|key| *key == ("GPU-1", Some(7)), &("GPU-1", None));
        let history = log.history(&("GPU-1", None)).expect("recorded");
        assert_eq!(history.counts, BTreeMap::from([(31, 2), (79, 2)]));
        assert_eq!(history.last, Some(31));
        assert_eq!(history.within(WINDOW, Instant::now()), history.counts);
        assert!(log.history(&("GPU-1", Some(7))).is_none());
        log.merge(|key| *key == ("GPU-1", Some(8)), &("GPU-1", None));
        assert_eq!(log.history(&("GPU-1", None)).expect("recorded").counts, history.counts);
    }

    #[test]
    fn what_was_announced_to_another_process_is_taken_once() {
        let log = EventLog::new(WINDOW);
        log.begin_with([("GPU-1", 79, 2, 1e9), ("GPU-1", 31, 5, 1.1e9)]);
        log.record("GPU-1", 79);
        log.begin_with([("GPU-1", 79, 3, 1e9)]);
        let history = log.history(&"GPU-1").expect("recorded");
        assert_eq!(history.counts, BTreeMap::from([(31, 5), (79, 3)]));
        assert_eq!((history.last, history.times[&31].to_bits()), (Some(79), 1.1e9_f64.to_bits()));
        assert_eq!(history.within(WINDOW, Instant::now()), BTreeMap::from([(79, 1)]));
    }

    #[test]
    fn what_is_watched_is_0_until_it_happens() {
        let log = EventLog::new(WINDOW);
        log.record("GPU-1", 79);
        log.watch("GPU-1", [31, 79]);
        log.watch("GPU-2", [31]);
        let history = |key| log.history(&key).expect("watched");
        assert_eq!(history("GPU-1").counts, BTreeMap::from([(31, 0), (79, 1)]));
        assert_eq!((history("GPU-2").last, history("GPU-2").times.len()), (None, 0));
    }

    #[test]
    fn without_a_window_no_single_event_is_kept() {
        let log = EventLog::new(Duration::ZERO);
        log.record("hpu0", "critical");
        assert!(log.history(&"hpu0").expect("recorded").recent.is_empty());
    }
}
