//! Waits between attempts.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    ops::RangeInclusive,
    time::{Duration, Instant},
};

/// The share of an outage that is waited.
const SHARE: u32 = 8;

/// Waits that grow with the outage, an eighth of it, with jitter so that a fleet does not retry in step. So
/// the end of a short fault is noticed at once, and a long one costs few attempts. Each second of service makes the
/// next wait a second shorter: what fails often and works in between is soon back, and what works only for moments
/// is not opened all the time.
#[derive(Debug, Default)]
pub struct Backoff {
    outage: Duration,
    last: Option<Instant>,
}

impl Backoff {
    /// The wait after a failure at `now` that followed `healthy` time of service, within `waits`. Service
    /// for longer than the longest wait starts over.
    pub fn failed(&mut self, waits: &RangeInclusive<Duration>, now: Instant, healthy: Duration) -> Duration {
        if healthy > *waits.end() {
            *self = Self::default();
        }
        let since = self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.outage = (self.outage + since).saturating_sub(healthy).saturating_sub(healthy * SHARE);
        self.last = Some(now);
        let wait = (self.outage / SHARE).clamp(*waits.start(), *waits.end());
        // A hasher's random key is all the randomness that this needs.
        let tenths = RandomState::new().build_hasher().finish() % 5;
        wait.mul_f64(0.8 + 0.1 * tenths as f64)
    }
}
