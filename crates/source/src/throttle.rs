//! One log line per subject and period, with how often it happened since the last one: a storm of events must
//! not fill a disk.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

/// Time between two lines about the same event of the same device.
pub const LINE_PERIOD: Duration = Duration::from_mins(1);

/// Subjects that are kept. Beyond them a new subject gets no line until an old one is a period old.
const SUBJECTS_MAX: usize = 1024;

/// Decides which events are written to the log.
#[derive(Debug)]
pub struct Throttle<K> {
    period: Duration,
    /// When the last line about a subject was written, and how often it happened since.
    subjects: HashMap<K, (Instant, u64)>,
}

impl<K: Eq + Hash> Throttle<K> {
    /// At most one line per subject and `period`.
    #[must_use]
    pub fn new(period: Duration) -> Self {
        Self { period, subjects: HashMap::new() }
    }

    /// Counts an event of this subject at `now`. Returns how many there were since the last line, this one
    /// included, when it is time for a line.
    pub fn admit(&mut self, subject: K, now: Instant) -> Option<u64> {
        if let Some((written, count)) = self.subjects.get_mut(&subject) {
            *count += 1;
            let is_due = now.saturating_duration_since(*written) >= self.period;
            return is_due.then(|| {
                *written = now;
                std::mem::take(count)
            });
        }
        if self.subjects.len() >= SUBJECTS_MAX {
            let (period, is_new) = (self.period, |written| now.saturating_duration_since(written));
            self.subjects.retain(|_, (written, _)| is_new(*written) < period);
            if self.subjects.len() >= SUBJECTS_MAX {
                return None;
            }
        }
        self.subjects.insert(subject, (now, 0));
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_mins(1);

    #[test]
    fn a_storm_is_one_line_with_its_count() {
        let (mut lines, start) = (Throttle::new(PERIOD), Instant::now());
        assert_eq!(lines.admit("79", start), Some(1));
        let later = (1..6000).filter_map(|n| lines.admit("79", start + Duration::from_millis(n * 10)));
        assert_eq!(later.count(), 0);
        assert_eq!(lines.admit("31", start), Some(1), "another subject");
        assert_eq!(lines.admit("79", start + PERIOD), Some(6000));
    }

    #[test]
    fn invented_subjects_take_no_memory() {
        let (mut lines, start) = (Throttle::new(PERIOD), Instant::now());
        let written = (0..10 * SUBJECTS_MAX).filter_map(|subject| lines.admit(subject, start)).count();
        assert_eq!((written, lines.subjects.len()), (SUBJECTS_MAX, SUBJECTS_MAX));
        assert_eq!(lines.admit(usize::MAX, start + PERIOD), Some(1), "the old ones make room");
    }
}
