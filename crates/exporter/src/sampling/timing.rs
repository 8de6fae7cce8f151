//! Intervals and deadlines. Tests use shorter ones.

use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

/// The longest deadline of one driver call. A call that lasts longer hangs, however long the interval is.
const LONGEST_DEADLINE: Duration = Duration::from_secs(10);

/// How long the state of a device or partition is kept that no longer exists: it may return after a
/// reconfiguration, but ever new ones must not accumulate.
pub const KEEP: Duration = Duration::from_hours(24);

/// How long the values of the last whole round are served beside newer ones of what is mandatory.
pub const OPTIONAL_AGE_MAX: Duration = Duration::from_mins(1);

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
    /// Time between two fine samples of incident mode, where that may be switched on.
    pub fine: Option<Duration>,
    /// The time after which a driver call counts as hung.
    pub deadline: Duration,
    /// Time between two enumerations.
    pub enumerate: Duration,
    /// Wait after the first failure.
    pub first_retry: Duration,
    /// Longest wait between two attempts.
    pub last_retry: Duration,
}

impl Timing {
    /// The times that fit a sampling interval.
    pub fn new(interval: Duration) -> Self {
        Self {
            epoch: Instant::now(),
            interval,
            second_sample: Duration::from_millis(150).min(interval),
            fine: None,
            deadline: (2 * interval).clamp(Duration::from_secs(2), LONGEST_DEADLINE),
            enumerate: (5 * interval).max(Duration::from_secs(5)),
            first_retry: interval.min(Duration::from_secs(1)),
            last_retry: Duration::from_secs(30),
        }
    }

    /// How long after a round its values are served while its worker begins no other.
    pub fn oldest(&self) -> Duration {
        3 * self.interval + self.deadline
    }

    /// How long a round may take until what is mandatory is read beside it: so short that a device whose driver
    /// hangs in an optional call is never down.
    pub fn budget(&self) -> Duration {
        self.interval.min(self.deadline / 4)
    }

    /// How often hung calls and old snapshots are checked for while a thread is in a call: often enough that a hung
    /// device's series are withdrawn before they are [`Self::oldest`]. While none is, the next check is due after
    /// [`Self::budget`]: no call can have lasted longer by then.
    pub fn watch(&self) -> Duration {
        self.interval.min(self.deadline / 8)
    }

    /// Between which two the waits between attempts are.
    pub fn waits(&self) -> RangeInclusive<Duration> {
        self.first_retry..=self.last_retry
    }

    /// When to sample next after a sample from `started` to `now`: the first tick that leaves enough time between
    /// the two for a rate, and a slow driver time for others.
    pub fn next_tick(&self, started: Instant, now: Instant) -> Instant {
        let is_slow = now.saturating_duration_since(started) > self.interval;
        let pause = if is_slow { self.interval / 2 } else { Duration::ZERO };
        let earliest = (now + pause).max(started + self.second_sample.min(self.interval / 2));
        self.tick_after(earliest, self.interval)
    }

    /// The first tick of this interval after a moment.
    pub fn tick_after(&self, moment: Instant, interval: Duration) -> Instant {
        let past = moment.saturating_duration_since(self.epoch).as_nanos();
        let interval = interval.as_nanos();
        let to_go = interval - past % interval;
        moment + Duration::from_nanos(u64::try_from(to_go).expect("at most an interval"))
    }
}

#[cfg(test)]
mod tests {
    use source::Backoff;

    use super::*;

    #[test]
    fn ticks_are_aligned_and_leave_time_for_a_rate() {
        let timing = Timing::new(Duration::from_secs(1));
        let at = |millis| timing.epoch + Duration::from_millis(millis);
        assert_eq!(timing.next_tick(at(150), at(160)), at(1000));
        assert_eq!(timing.next_tick(at(1000), at(1010)), at(2000), "no drift");
        assert_eq!(timing.next_tick(at(2000), at(4300)), at(5000), "a slow sample skips ticks");
        assert_eq!(timing.next_tick(at(2000), at(4900)), at(6000), "and is followed by a pause");
        assert_eq!(timing.next_tick(at(5900), at(5910)), at(7000), "too close to the next tick");
    }

    #[test]
    fn a_deadline_follows_the_interval_up_to_ten_seconds() {
        let deadline = |seconds| Timing::new(Duration::from_secs(seconds)).deadline.as_secs();
        assert_eq!([1, 3, 5, 30, 300].map(deadline), [2, 6, 10, 10, 10]);
    }

    #[test]
    fn a_short_fault_is_over_within_two_intervals_and_a_long_one_costs_few_attempts() {
        for (interval, fault) in [(1000, 9), (1000, 12), (100, 1), (30_000, 60)] {
            let timing = Timing::new(Duration::from_millis(interval));
            let mut backoff = Backoff::default();
            let (start, mut now) = (timing.epoch, timing.epoch);
            let end = start + Duration::from_secs(fault);
            let mut healthy = Duration::from_hours(1);
            while now <= end {
                now += backoff.failed(&timing.waits(), now, std::mem::take(&mut healthy));
            }
            assert!(now - end < 2 * timing.interval, "{:?} after {fault} s at {interval} ms", now - end);
            let mut attempts = 0;
            while now < start + Duration::from_hours(1) {
                now += backoff.failed(&timing.waits(), now, Duration::ZERO);
                attempts += 1;
            }
            assert!((100..250).contains(&attempts), "{attempts} attempts in an hour");
            // A device that fails every few seconds, for seconds, is back soon each time.
            let (mut flapping, period) = (Backoff::default(), Duration::from_secs(3));
            for time in 1..1000 {
                let wait = flapping.failed(&timing.waits(), start + time * period, period / 2);
                assert!(wait <= (timing.first_retry).max(period).mul_f64(1.21), "{wait:?}");
            }
            // A device that works only for moments is not opened in every interval.
            let wait = backoff.failed(&timing.waits(), now + Duration::from_secs(1), Duration::from_secs(1));
            assert!(wait >= timing.last_retry.mul_f64(0.79), "{wait:?}");
            let wait = backoff.failed(&timing.waits(), now + Duration::from_mins(1), Duration::from_secs(31));
            assert!(wait <= timing.first_retry.mul_f64(1.21), "long service starts over: {wait:?}");
        }
    }
}
