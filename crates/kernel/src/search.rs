//! When to look again for files that were not found, or of which it could not be read what they are.
//!
//! A driver registers its files one after another, some of them seconds after its device, and another driver may
//! add its own at any time. So what a device has is never known for good.

use std::time::{Duration, Instant};

/// The shortest and the longest time between two looks.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A search that is repeated after as long as it has gone on, within bounds: most files come soon or never.
#[derive(Clone, Debug)]
pub struct Search {
    begun: Instant,
    last: Instant,
}

impl Search {
    /// Begins a search with a first look at `now`.
    pub const fn begin(now: Instant) -> Self {
        Self { begun: now, last: now }
    }

    /// Whether to look again; if so, that look is taken as done.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let wait = self.last.saturating_duration_since(self.begun).clamp(WAITS.0, WAITS.1);
        let is_due = now.saturating_duration_since(self.last) >= wait;
        if is_due {
            self.last = now;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_become_rarer_and_do_not_end() {
        let start = Instant::now();
        let mut search = Search::begin(start);
        let looks: Vec<_> = (0..200).filter(|s| search.is_due(start + Duration::from_secs(*s))).collect();
        assert_eq!(looks, [1, 2, 4, 8, 16, 32, 62, 92, 122, 152, 182]);
    }
}
