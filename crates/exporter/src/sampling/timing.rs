//! Intervals and deadlines. Tests use shorter ones.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::{Duration, Instant},
};

/// The times of one run.
#[derive(Clone, Debug)]
pub struct Timing {
    /// The instant from which ticks are counted, so that all devices are sampled together.
    pub epoch: Instant,
    /// Time between two samples of a device.
    pub interval: Duration,
    /// Time from a device's first sample to its second: rates need two points, and a user should not
    /// wait an interval for them.
    pub second_sample: Duration,
    /// The time after which a driver call counts as hung.
    pub deadline: Duration,
    /// Time between two enumerations.
    pub enumerate: Duration,
    /// Wait after the first failure; doubles with each.
    pub first_retry: Duration,
    /// Longest wait between two attempts.
    pub last_retry: Duration,
    /// How long a shutdown waits for threads that are in a driver call.
    pub shutdown_wait: Duration,
}

impl Timing {
    /// The times that fit a sampling interval.
    pub fn new(interval: Duration) -> Self {
        Self {
            epoch: Instant::now(),
            interval,
            second_sample: Duration::from_millis(150).min(interval),
            deadline: (2 * interval).max(Duration::from_secs(2)),
            enumerate: (5 * interval).max(Duration::from_secs(5)),
            first_retry: Duration::from_secs(1),
            last_retry: Duration::from_secs(30),
            shutdown_wait: Duration::from_millis(500),
        }
    }

    /// The age at which a series is no longer served.
    pub fn oldest(&self) -> Duration {
        3 * self.interval + self.deadline
    }

    /// How often hung calls and old snapshots are checked for: often enough that a hung device's series
    /// are withdrawn before they are [`Self::oldest`].
    pub fn watch(&self) -> Duration {
        self.interval.min(self.deadline / 8)
    }

    /// When to sample next after a sample that started at `started`: the first tick that leaves enough
    /// time between the two for a rate.
    pub fn next_tick(&self, started: Instant, now: Instant) -> Instant {
        let earliest = now.max(started + self.second_sample.min(self.interval / 2));
        let past = earliest.saturating_duration_since(self.epoch).as_nanos();
        let interval = self.interval.as_nanos();
        let to_go = interval - past % interval;
        earliest + Duration::from_nanos(u64::try_from(to_go).expect("at most an interval"))
    }
}

/// Waits that double from attempt to attempt, with jitter so that a fleet does not retry in step.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after a failure that followed `healthy` time of service; long service starts over.
    pub fn failed(&mut self, timing: &Timing, healthy: Duration) -> Duration {
        if healthy > timing.last_retry {
            self.failures = 0;
        }
        let wait = timing.first_retry.saturating_mul(1 << self.failures.min(16)).min(timing.last_retry);
        self.failures += 1;
        // A hasher's random key is all the randomness that this needs.
        let tenths = RandomState::new().build_hasher().finish() % 5;
        wait.mul_f64(0.8 + 0.1 * tenths as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_aligned_and_leave_time_for_a_rate() {
        let timing = Timing::new(Duration::from_secs(1));
        let at = |millis| timing.epoch + Duration::from_millis(millis);
        assert_eq!(timing.next_tick(at(150), at(160)), at(1000));
        assert_eq!(timing.next_tick(at(1000), at(1010)), at(2000), "no drift");
        assert_eq!(timing.next_tick(at(2000), at(4300)), at(5000), "a slow sample skips ticks");
        assert_eq!(timing.next_tick(at(5900), at(5910)), at(7000), "too close to the next tick");
    }

    #[test]
    fn waits_double_to_the_last_and_start_over_after_long_service() {
        let timing = Timing::new(Duration::from_secs(1));
        let mut backoff = Backoff::default();
        let around = |wait: Duration, seconds: f64| {
            assert!(
                (0.79 * seconds..=1.21 * seconds).contains(&wait.as_secs_f64()),
                "{wait:?} is not about {seconds}"
            );
        };
        for seconds in [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] {
            around(backoff.failed(&timing, Duration::ZERO), seconds);
        }
        around(backoff.failed(&timing, Duration::from_secs(31)), 1.0);
    }
}
