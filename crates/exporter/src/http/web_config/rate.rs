//! The token bucket of `rate_limit`.

use std::{cell::Cell, time::Duration};

use tokio::time::Instant;

/// How many requests are served: one per interval, and so many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Time in which one more request is allowed.
    pub interval: Duration,
    /// The most that are allowed at once.
    pub burst: u32,
}

/// What is left of a rate; full at first, and after the rate has changed.
#[derive(Debug, Default)]
pub struct Bucket(Cell<Option<(Rate, Instant, f64)>>);

impl Bucket {
    /// Whether a request is allowed now; if so, it is counted.
    pub fn take(&self, rate: Rate, now: Instant) -> bool {
        let full = f64::from(rate.burst);
        let left = match self.0.get() {
            Some((same, then, left)) if same == rate => {
                let gained = now.saturating_duration_since(then).as_secs_f64() / rate.interval.as_secs_f64();
                (left + gained).min(full)
            }
            _ => full,
        };
        let allowed = left >= 1.0;
        self.0.set(Some((rate, now, if allowed { left - 1.0 } else { left })));
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_one_per_interval() {
        let (bucket, start) = (Bucket::default(), Instant::now());
        let rate = Rate { interval: Duration::from_secs(1), burst: 3 };
        let taken = |after: u64| bucket.take(rate, start + Duration::from_millis(after));
        assert_eq!([0, 0, 0, 0, 999].map(taken), [true, true, true, false, false]);
        assert_eq!([1000, 1500, 2001].map(taken), [true, false, true]);
        assert_eq!([60_000; 4].map(taken), [true, true, true, false]);
        let wider = Rate { burst: 1, ..rate };
        assert!(bucket.take(wider, start + Duration::from_mins(1)), "another rate begins anew");
    }
}
