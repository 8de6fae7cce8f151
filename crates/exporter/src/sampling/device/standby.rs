//! What is mandatory of a device, read beside a round that takes long.

use std::time::{Duration, Instant};

use naming::{Seconds, catalogue::SLOW_READINGS_AGE};
use reading::{Batch, Labels, Lost, Sampler, Subject};

use super::{Device, Snapshot, Status};
use crate::sampling::{
    call::DriverCall,
    timing::{OPTIONAL_AGE_MAX, Timing},
};

/// A device's part of the standby; protected by the device's lock.
#[derive(Default)]
pub(super) struct Standby {
    /// What reads it, unless that is just being done.
    sampler: Option<Box<dyn Sampler>>,
    /// Whether the worker has the device open.
    is_open: bool,
    call: DriverCall,
    begun: Option<Instant>,
    published: Option<Instant>,
}

impl std::fmt::Debug for Standby {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Standby").field("call", &self.call).finish_non_exhaustive()
    }
}

impl Standby {
    /// Whether what is mandatory was read in the last while.
    pub(super) fn serves(&self, now: Instant, deadline: Duration) -> bool {
        let is_new = |published: Instant| now.saturating_duration_since(published) < deadline;
        !self.call.is_late() && self.published.is_some_and(is_new)
    }

    /// What hangs, when it has just passed the deadline.
    pub(super) fn hangs(&mut self, now: Instant, deadline: Duration) -> Option<&'static str> {
        self.call.overdue(now, deadline)
    }

    /// Whether its call is past the deadline.
    pub(super) fn is_late(&self) -> bool {
        self.call.is_late()
    }
}

/// The right to read what is mandatory of a device, for one reading.
pub struct Turn {
    /// Of the worker whose round takes long.
    worker: u64,
    /// What reads it.
    pub sampler: Box<dyn Sampler>,
}

impl Device {
    /// Notes what reads the mandatory part of the device for its `worker`, or that the worker has closed it, and
    /// returns what is to be dropped outside of the lock, since that may call the driver.
    pub fn stand_by(&self, worker: u64, sampler: Option<Box<dyn Sampler>>) -> Option<Box<dyn Sampler>> {
        let mut state = self.state();
        if sampler.is_some() && state.worker != worker {
            return sampler;
        }
        state.standby.published = None;
        state.standby.is_open = sampler.is_some();
        std::mem::replace(&mut state.standby.sampler, sampler)
    }

    /// Whether a round takes so long that the mandatory part should be read beside it now.
    pub fn needs_standby(&self, now: Instant, timing: &Timing) -> bool {
        let state = self.state();
        let standby = &state.standby;
        let is_long = state.call.lasts(now).is_some_and(|lasts| lasts > timing.budget());
        let is_due = |begun| now.saturating_duration_since(begun) >= timing.interval;
        state.worker != 0 && is_long && standby.sampler.is_some() && standby.begun.is_none_or(is_due)
    }

    /// Whether the standby hangs in a call for it.
    pub fn holds_standby(&self) -> bool {
        self.state().standby.is_late()
    }

    /// Begins such a reading, if it is needed.
    pub fn begin_standby(&self, now: Instant, timing: &Timing) -> Option<Turn> {
        if !self.needs_standby(now, timing) {
            return None;
        }
        let mut state = self.state();
        let sampler = state.standby.sampler.take()?;
        state.standby.begun = Some(now);
        state.standby.call.begin("sample", now);
        Some(Turn { worker: state.worker, sampler })
    }

    /// Ends it, with what it read or why it read nothing, unless it was late or the round has ended meanwhile.
    /// Returns what is to be dropped outside of the lock.
    pub fn end_standby(
        &self,
        Turn { worker, sampler }: Turn,
        read: Result<Batch, Lost>,
        begun: Instant,
    ) -> Option<Box<dyn Sampler>> {
        let mut state = self.state();
        let late = state.standby.call.end();
        if state.worker != worker || !state.standby.is_open {
            return Some(sampler);
        }
        state.standby.sampler = Some(sampler);
        if late || !state.call.is_running() {
            return None;
        }
        match read {
            Ok(batch) => {
                let now = Instant::now();
                state.standby.published = Some(now);
                let new = self.renewed(batch, begun, now);
                state.history.add(&new.whole(), begun);
                self.replace(&state, new);
            }
            Err(Lost::Device(fault) | Lost::Session(fault)) => self.withdraw(&state, Status::Down(fault)),
        }
        None
    }

    /// The last whole round with these values in place of its own, and the age of the others; these alone when
    /// that round is too old.
    fn renewed(&self, mut batch: Batch, begun: Instant, now: Instant) -> Snapshot {
        let old = self.read.load();
        let identity = old.identity.clone();
        let age = now.saturating_duration_since(old.taken);
        if old.status != Status::Up || age > OPTIONAL_AGE_MAX {
            return Snapshot::new(identity, Status::Up, begun, batch.finish());
        }
        batch.put(SLOW_READINGS_AGE, Labels::NONE, Ok(Seconds(age.as_secs_f64())));
        let absences = std::mem::take(&mut batch.absences);
        let newer = batch.finish();
        let renewed = |old: &Subject| {
            let newer = newer.iter().filter(|newer| newer.identity() == old.identity());
            newer.fold(old.clone(), |old, newer| old.renewed(newer, &absences))
        };
        // The first is `accel_device_up`.
        let subjects = old.subjects.iter().skip(1).map(renewed).collect();
        let clients = old.clients.clone();
        Snapshot { clients, ..Snapshot::new(identity, Status::Up, old.taken, subjects) }
    }
}
