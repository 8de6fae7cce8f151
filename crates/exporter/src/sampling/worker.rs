//! The thread that reads one device: opens it, samples it on every tick, and may be lost to a driver.

mod fine;

use std::{
    collections::HashSet,
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, Sender},
    },
    time::{Duration, Instant},
};

use reading::{Absence, Batch, Fault, FaultCode, Lost, Sampler};
use source::panic_message;
use tracing::error;

use self::fine::FineRounds;
use crate::{
    sampling::device::Device, sampling::state::SourceState, sampling::supervisor::Event,
    sampling::timing::Timing,
};

/// Stack of a thread that calls a driver. Vendor libraries run on it, and how much they need is
/// unknown; what they do not touch costs address space, not memory.
pub const STACK_BYTES: usize = 512 * 1024;

/// Readings that [`Sums`](crate::sampling::sums::Sums) may add to a subject.
const CAPACITY_FOR_INTEGRALS: usize = 32;

/// Capacity for the first round, which has no predecessor: as many readings as the largest devices have.
/// Unused capacity costs no memory, and growing would leave the outgrown buffers on the heap.
const FIRST_CAPACITY: usize = 448;

/// What opens the device; see [`reading::Found::open`].
pub type Open = Box<dyn FnOnce() -> Result<Box<dyn Sampler>, Fault> + Send>;

/// One device's worker.
pub struct Worker {
    /// The device.
    pub device: Arc<Device>,
    /// Its source.
    pub source: Arc<SourceState>,
    /// Distinguishes this worker from earlier ones of the device.
    pub serial: u64,
    /// Intervals and deadlines of this run.
    pub timing: Timing,
    /// Closed to make the worker stop.
    pub stop: Receiver<Infallible>,
    /// To the supervisor.
    pub events: Sender<Event>,
}

/// Why a worker ends.
enum End {
    /// It was asked to stop.
    Stopped,
    /// The device cannot be read.
    Device(Fault),
    /// The driver went away under every device.
    Session(Fault),
}

impl Worker {
    /// Reads the device until it is lost or the supervisor asks to stop, and reports the end.
    pub fn run(self, open: Open) {
        let mut healthy_since = None;
        let work = catch_unwind(AssertUnwindSafe(|| self.work(open, &mut healthy_since)));
        let failed = match work {
            Ok(stopped) => !stopped,
            Err(panic) => {
                let (family, key, why) =
                    (self.source.family.name(), &*self.device.key, panic_message(&*panic));
                error!(family, key, why, "a defect ended the device's sampler; it will be opened again");
                let fault = Fault::new("sample", FaultCode::Panic);
                self.lose(fault, Event::DeviceLost);
                true
            }
        };
        self.device.end();
        let healthy = failed.then(|| healthy_since.map_or(Duration::ZERO, |since: Instant| since.elapsed()));
        // As in `lose`.
        let _ = self.events.send(Event::Ended { key: self.device.key.clone(), failed: healthy });
    }

    /// Returns whether it ended because it was asked to.
    fn work(&self, open: Open, healthy_since: &mut Option<Instant>) -> bool {
        let mut sampler = match self.call("open", open).1 {
            Ok(sampler) => sampler,
            Err(fault) => {
                self.lose(fault, Event::DeviceLost);
                return false;
            }
        };
        drop(self.device.stand_by(self.serial, sampler.mandatory()));
        let end = self.sample(&mut *sampler, healthy_since);
        drop(self.device.stand_by(self.serial, None));
        match end {
            End::Stopped => {}
            End::Device(fault) => self.lose(fault, Event::DeviceLost),
            End::Session(fault) => self.lose(fault, Event::SessionLost(fault)),
        }
        self.call("close", || drop(sampler));
        matches!(end, End::Stopped)
    }

    fn sample(&self, sampler: &mut dyn Sampler, healthy_since: &mut Option<Instant>) -> End {
        let (mut faults, mut fine) = (Faults::default(), FineRounds::default());
        let (mut capacity, mut absent) = (FIRST_CAPACITY, 0);
        loop {
            let mut batch = Batch { capacity, absences: Vec::with_capacity(absent), ..Batch::default() };
            let started = Instant::now();
            let (late, result) = self.call("sample", || sampler.sample(&mut batch));
            let done = Instant::now();
            self.source.observe(done - started);
            match result {
                Err(Lost::Device(fault)) => return End::Device(fault),
                Err(Lost::Session(fault)) => return End::Session(fault),
                // The values may be as old as the call, so the device is read again instead.
                Ok(()) if late => {}
                Ok(()) => {
                    fine.follow(&batch);
                    if !self.source.wanted.is_all() {
                        batch.keep(|id| self.source.wanted.has(id));
                    }
                    self.source.count(faults.of(&batch));
                    // The first round has no counters yet.
                    if healthy_since.is_some() {
                        let most = batch.groups.iter().map(|group| group.readings.len()).max();
                        capacity = most.unwrap_or(0) + CAPACITY_FOR_INTEGRALS;
                    }
                    absent = batch.absences.len();
                    self.device.publish(self.serial, batch, started);
                }
            }
            let next = match healthy_since {
                None if !late && done < started + self.timing.interval => started + self.timing.second_sample,
                _ => self.timing.next_tick(started, done),
            };
            if !late {
                healthy_since.get_or_insert(started);
            }
            if self.wait(next, sampler, &mut fine) {
                return End::Stopped;
            }
        }
    }

    /// Calls a driver under the watchdog's supervision. Returns whether the call was late, and its result.
    fn call<T>(&self, name: &'static str, driver: impl FnOnce() -> T) -> (bool, T) {
        self.device.begin(name, Instant::now());
        let result = driver();
        (self.device.end(), result)
    }

    /// Withdraws the device and notifies the supervisor, unless another worker is current.
    fn lose(&self, fault: Fault, event: Event) {
        self.source.count(&[fault]);
        if self.device.fail(self.serial, fault) {
            // At the end of the process the supervisor may be gone, and needs no notice.
            let _ = self.events.send(event);
        }
    }
}

/// Which absences of a round to count.
#[derive(Default)]
struct Faults {
    /// Of each absence of the last round, in its order.
    absent: Vec<Fault>,
    /// Those of them that count, by each round like it.
    counted: Vec<Fault>,
    unsupported: HashSet<Fault>,
}

impl Faults {
    /// Each distinct fault once, although one call may feed several metrics; an unsupported value, which is a
    /// normal state, once in the life of this worker.
    fn of(&mut self, batch: &Batch) -> &[Fault] {
        let absent = || batch.absences.iter().map(|absent| absent.fault);
        if absent().eq(self.absent.iter().copied()) {
            // Most rounds are like the one before, and to sort some hundred faults costs more than to compare them.
            self.counted.retain(|fault| fault.absence != Absence::Unsupported);
            return &self.counted;
        }
        self.absent.clear();
        self.absent.extend(absent());
        self.counted.clone_from(&self.absent);
        self.counted.sort_unstable();
        self.counted.dedup();
        let unsupported = &mut self.unsupported;
        self.counted.retain(|fault| fault.absence != Absence::Unsupported || unsupported.insert(*fault));
        self.counted.shrink_to_fit();
        &self.counted
    }
}

#[cfg(test)]
mod tests {
    use naming::{FaultCode, catalogue::POWER};
    use reading::{Absent, Labels};

    use super::*;

    #[test]
    fn a_fault_counts_once_in_a_round_and_what_is_unsupported_once_in_all() {
        let failed = Fault::new("a", FaultCode::Blank);
        let unsupported = Fault::returned(Absence::Unsupported, "b", "ENOENT");
        let other = Fault::new("c", FaultCode::Blank);
        let mut faults = Faults::default();
        for (round, counted) in [
            (vec![unsupported, failed, failed], vec![failed, unsupported]),
            (vec![unsupported, failed, failed], vec![failed]),
            (vec![unsupported, failed, failed], vec![failed]),
            (vec![failed, other, unsupported], vec![failed, other]),
            (vec![unsupported], vec![]),
            (vec![failed, unsupported], vec![failed]),
            (vec![], vec![]),
        ] {
            let absent = |fault| Absent { id: POWER.id, labels: Labels::NONE, fault };
            let batch = Batch { absences: round.into_iter().map(absent).collect(), ..Batch::default() };
            let mut found = faults.of(&batch).to_vec();
            found.sort_unstable_by_key(|fault| fault.call);
            let mut counted = counted;
            counted.sort_unstable_by_key(|fault| fault.call);
            assert_eq!(found, counted);
        }
    }
}
