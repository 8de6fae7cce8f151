//! What a worker does between two rounds while incident mode is on: it reads a part of the device more often.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::RecvTimeoutError,
    time::{Duration, Instant},
};

use naming::catalogue::DEVICE_ASLEEP;
use reading::{Batch, FaultCode, Sampler};
use source::panic_message;
use tracing::error;

use super::Worker;
use crate::sampling::fine::FINE;

/// How often a worker looks whether incident mode was switched on.
const LOOK: Duration = Duration::from_secs(1);

/// A device's fine rounds.
#[derive(Default)]
pub(super) struct FineRounds {
    sampler: Option<Box<dyn Sampler>>,
    /// When the last one was begun, and how long it lasted.
    last: Option<(Instant, Duration)>,
    /// The device has no fine rounds, or a defect ended them; until incident mode ends.
    has_none: bool,
    /// The device sleeps, or is left alone so that it can.
    rests: bool,
}

impl FineRounds {
    /// Takes what a whole round says of the device.
    pub fn follow(&mut self, round: &Batch) {
        let mut readings = round.groups.iter().flat_map(|group| &group.readings);
        let sleeps = readings.any(|reading| reading.id == DEVICE_ASLEEP.id && reading.value.as_f64() != 0.0);
        self.rests = sleeps || round.absences.iter().any(|absent| absent.fault.code == FaultCode::LeftAlone);
    }
}

impl Worker {
    /// Waits for the next whole round, with fine rounds meanwhile. Returns whether the worker is asked to stop.
    pub(super) fn wait(&self, next: Instant, sampler: &dyn Sampler, fine: &mut FineRounds) -> bool {
        loop {
            let now = Instant::now();
            let mut wake = next;
            if let Some(interval) = self.timing.fine {
                let is_on = self.device.fine.is_on();
                if !is_on && fine.last.is_some() {
                    self.call("close", || fine.sampler = None);
                    (fine.last, fine.has_none) = (None, false);
                }
                let due = match fine.last {
                    _ if !is_on || fine.has_none || fine.rests => now + LOOK,
                    None => now,
                    Some((last, _)) => self.timing.tick_after(last, interval),
                };
                // Whole rounds keep their pace.
                let lasts = fine.last.map_or(Duration::ZERO, |(_, lasted)| lasted);
                if due <= now && now + lasts < next {
                    self.fine_round(now, sampler, fine);
                    continue;
                }
                if due > now {
                    wake = next.min(due);
                }
            }
            match self.stop.recv_timeout(wake.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) if Instant::now() >= next => return false,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// What is wrong with the device the next whole round finds out: a fine one that fails has no values.
    fn fine_round(&self, now: Instant, sampler: &dyn Sampler, fine: &mut FineRounds) {
        let mut batch = Batch::default();
        let (late, read) = self.call("sample", || {
            catch_unwind(AssertUnwindSafe(|| {
                if fine.sampler.is_none() {
                    fine.sampler = sampler.fine(&self.source.wanted.only(FINE));
                }
                fine.sampler.as_mut().map(|sampler| sampler.sample(&mut batch))
            }))
        });
        fine.last = Some((now, now.elapsed()));
        match read {
            Ok(Some(Ok(()))) if !late => {
                batch.keep(|id| FINE.contains(&id) && self.source.wanted.has(id));
                self.device.fine.add(batch, now);
            }
            Ok(Some(Ok(()))) => {}
            Ok(Some(Err(_))) => {
                self.call("close", || fine.sampler = None);
            }
            Ok(None) => fine.has_none = true,
            Err(panic) => {
                fine.has_none = true;
                let (family, key, why) =
                    (self.source.family.name(), &*self.device.key, panic_message(&*panic));
                error!(family, key, why, "a defect ended the device's fine samples");
            }
        }
    }
}
