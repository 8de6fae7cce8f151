//! The driver call that a thread is in: since when, and whether it is past its deadline.

use std::time::{Duration, Instant};

/// At most one call at a time; protected by the lock of the thread's owner.
#[derive(Debug, Default)]
pub struct DriverCall(Option<Running>);

#[derive(Debug)]
struct Running {
    name: &'static str,
    since: Instant,
    late: bool,
}

impl DriverCall {
    /// Notes that the thread enters a call.
    pub fn begin(&mut self, name: &'static str, now: Instant) {
        self.0 = Some(Running { name, since: now, late: false });
    }

    /// Notes that the call returned, and returns whether it was late.
    pub fn end(&mut self) -> bool {
        self.0.take().is_some_and(|running| running.late)
    }

    /// The call's name when it has just passed its deadline: once per call.
    pub fn overdue(&mut self, now: Instant, deadline: Duration) -> Option<&'static str> {
        let running = self.0.as_mut()?;
        let newly = !running.late && now.saturating_duration_since(running.since) > deadline;
        running.late |= newly;
        newly.then_some(running.name)
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
