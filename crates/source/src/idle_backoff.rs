//! When an idle device is not read, so that runtime power management can suspend it.
//!
//! Each read of a file or call of a driver that wakes the device takes a runtime power reference, and releasing
//! it restarts the driver's autosuspend delay (`xe_pm_runtime_put` sets the time of last use). An exporter that
//! reads every second would therefore keep an idle device awake for ever. After a round in which the device did
//! nothing, it is not read for longer than that delay. A device that is still awake afterwards is in use by
//! another process, and pausing again would only cost its series, so the next attempt comes after [`RETRY`].

use std::time::{Duration, Instant};

/// How much longer than the autosuspend delay an idle device is not read: suspending takes time too.
const MARGIN: Duration = Duration::from_millis(1500);
/// When to try again with a device that was idle and not read and did not suspend.
const RETRY: Duration = Duration::from_mins(5);

/// Whether and until when one device is not read.
#[derive(Debug, Default)]
pub struct IdleBackoff {
    /// The device is not read before this time.
    until: Option<Instant>,
    /// No pause begins before this time.
    not_before: Option<Instant>,
}

impl IdleBackoff {
    /// Whether an awake device may be read now.
    pub fn may_read(&mut self, now: Instant) -> bool {
        match self.until {
            Some(until) if now < until => false,
            Some(_) => {
                self.until = None;
                self.not_before = Some(now + RETRY);
                true
            }
            None => true,
        }
    }

    /// The device was seen suspended: the pause worked, or was not needed.
    pub fn suspended(&mut self) {
        *self = Self::default();
    }

    /// A round was read. `delay` is the driver's autosuspend delay, `None` when the device never suspends.
    /// `idle` is true if the device did nothing since the previous round.
    pub fn round_read(&mut self, now: Instant, delay: Option<Duration>, idle: bool) {
        if let Some(delay) = delay
            && idle
            && self.not_before.is_none_or(|then| now >= then)
        {
            self.until = Some(now + delay + MARGIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::IdleBackoff;

    #[test]
    fn an_idle_device_is_not_read_until_it_could_suspend() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let delay = Some(Duration::from_secs(1));
        let mut backoff = IdleBackoff::default();
        backoff.round_read(at(0), delay, false);
        assert!(backoff.may_read(at(1000)), "a busy device is read");
        backoff.round_read(at(1000), None, true);
        assert!(backoff.may_read(at(2000)), "so is one that never suspends");
        backoff.round_read(at(2000), delay, true);
        assert!(!backoff.may_read(at(3000)) && !backoff.may_read(at(4400)));
        assert!(backoff.may_read(at(4600)), "it did not suspend");
        backoff.round_read(at(4600), delay, true);
        assert!(backoff.may_read(at(5000)), "in use by another process: no second pause at once");
        backoff.round_read(at(310_000), delay, true);
        assert!(!backoff.may_read(at(310_500)), "but after a while");
        backoff.suspended();
        backoff.round_read(at(320_000), delay, true);
        assert!(!backoff.may_read(at(320_100)), "and at once after it was suspended");
    }
}
