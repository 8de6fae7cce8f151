//! What a thread is doing in a driver: since when no call of it returned, and whether that is past the deadline.
//!
//! A round makes a hundred calls. A driver that is slow in each of them is waited for; one that does not return from
//! one of them hangs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use reading::Progress;

/// At most one round at a time; protected by the lock of the thread's owner.
#[derive(Debug, Default)]
pub struct DriverCall(Option<Running>);

#[derive(Debug)]
struct Running {
    name: &'static str,
    entered: Instant,
    /// Of the thread, and how many of its calls had returned at `since`.
    progress: Arc<Progress>,
    returned: u64,
    since: Instant,
    late: bool,
}

impl DriverCall {
    /// Notes that this thread enters the driver.
    pub fn begin(&mut self, name: &'static str, now: Instant) {
        let progress = Progress::of_this_thread();
        let returned = progress.calls();
        self.0 = Some(Running { name, entered: now, progress, returned, since: now, late: false });
    }

    /// Notes that the thread has left the driver, and returns whether a call was late.
    pub fn end(&mut self) -> bool {
        self.0.take().is_some_and(|running| running.late)
    }

    /// What the thread does, when no call has returned to it for the deadline: once.
    pub fn overdue(&mut self, now: Instant, deadline: Duration) -> Option<&'static str> {
        let running = self.0.as_mut()?;
        let returned = running.progress.calls();
        if returned != running.returned {
            (running.returned, running.since) = (returned, now);
        }
        let newly = !running.late && now.saturating_duration_since(running.since) > deadline;
        running.late |= newly;
        newly.then_some(running.name)
    }

    /// For how long the thread has been in the driver.
    pub fn lasts(&self, now: Instant) -> Option<Duration> {
        self.0.as_ref().map(|running| now.saturating_duration_since(running.entered))
    }

    /// Whether the thread is in a call.
    pub fn is_running(&self) -> bool {
        self.0.is_some()
    }

    /// Whether the thread is stuck in a call past its deadline.
    pub fn is_late(&self) -> bool {
        self.0.as_ref().is_some_and(|running| running.late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_that_of_one_call() {
        let deadline = Duration::from_secs(2);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut call = DriverCall::default();
        call.begin("sample", start);
        for second in 1..=10 {
            reading::call_returned();
            assert_eq!(call.overdue(at(second), deadline), None, "a slow driver");
        }
        assert_eq!(call.overdue(at(12), deadline), None);
        assert_eq!(call.overdue(at(13), deadline), Some("sample"), "one that hangs");
        assert_eq!(call.overdue(at(14), deadline), None, "once");
        reading::call_returned();
        assert!(call.is_late() && call.overdue(at(15), deadline).is_none(), "it was late all the same");
        assert!(call.end() && !call.is_running());
    }
}
