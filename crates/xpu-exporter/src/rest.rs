//! Letting an idle GPU fall asleep: when to stop reading it.
//!
//! Every read of a waking file takes a runtime-power reference, and giving it back restarts the driver's autosuspend
//! delay (`xe_pm_runtime_put` marks the device as busy last now).
//! An exporter that reads each second would so keep an idle GPU awake for ever. After a round in which the GPU
//! did nothing it is therefore left alone for longer than that delay. A GPU that is still awake afterwards is
//! kept awake by somebody else, and leaving it alone again would only cost its series: that is tried again
//! after [`RETRY`].

use std::time::{Duration, Instant};

/// How much longer than the autosuspend delay an idle GPU is left alone: suspending takes time too.
const MARGIN: Duration = Duration::from_millis(1500);
/// When to try again with a GPU that was idle, left alone and did not fall asleep.
const RETRY: Duration = Duration::from_mins(5);

/// What is known of one GPU's sleep.
#[derive(Debug, Default)]
pub struct Rest {
    /// Left alone until then.
    until: Option<Instant>,
    /// Not left alone before.
    not_before: Option<Instant>,
}

impl Rest {
    /// Whether an awake GPU may be read now.
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

    /// The GPU was seen asleep: leaving it alone worked.
    pub fn slept(&mut self) {
        *self = Self::default();
    }

    /// A round is over. `delay` is the driver's autosuspend delay, `None` when the GPU never suspends; `idle`
    /// whether it did nothing since the round before.
    pub fn read(&mut self, now: Instant, delay: Option<Duration>, idle: bool) {
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

    use super::Rest;

    #[test]
    fn an_idle_gpu_is_left_alone_until_it_could_sleep() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let delay = Some(Duration::from_secs(1));
        let mut rest = Rest::default();
        rest.read(at(0), delay, false);
        assert!(rest.may_read(at(1000)), "a busy one is read on");
        rest.read(at(1000), None, true);
        assert!(rest.may_read(at(2000)), "one that never suspends too");
        rest.read(at(2000), delay, true);
        assert!(!rest.may_read(at(3000)) && !rest.may_read(at(4400)));
        assert!(rest.may_read(at(4600)), "it did not fall asleep");
        rest.read(at(4600), delay, true);
        assert!(rest.may_read(at(5000)), "somebody else keeps it awake: not tried at once");
        rest.read(at(310_000), delay, true);
        assert!(!rest.may_read(at(310_500)), "but again after a while");
        rest.slept();
        rest.read(at(320_000), delay, true);
        assert!(!rest.may_read(at(320_100)), "and at once after it slept");
    }
}
