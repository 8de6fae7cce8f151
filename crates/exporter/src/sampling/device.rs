//! One device as scrapes see it: an immutable snapshot that its worker replaces, and that is withdrawn
//! when the worker fails, hangs or goes silent.

mod errors;
mod standby;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use naming::{
    Flag, Id, Label, Value,
    catalogue::{DEVICE_DETACHED, DEVICE_INFO, DEVICE_UP, ERROR_LAST, ERRORS},
};
use reading::{
    Announced, Batch, Client, Fault, FaultCode, Found, Identity, Labels, Reading, Remembered, Subject, Wanted,
};
use tracing::{info, warn};

use self::standby::Standby;
use crate::{
    kernel_log::KernelLog, sampling::call::DriverCall, sampling::fine::Fine, sampling::history::History,
    sampling::state::Generation, sampling::sums::Sums, sampling::timing::Timing,
};

/// What is known of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Listed, not yet sampled.
    Starting,
    /// Its last sample succeeded.
    Up,
    /// Cannot be read, and why.
    Down(Fault),
    /// No longer listed by its driver.
    Gone,
    /// The exporter has let go of it.
    Detached,
}

impl Status {
    /// Whether the device was there and is not read now.
    pub fn is_lost(self) -> bool {
        matches!(self, Self::Down(_) | Self::Gone | Self::Detached)
    }

    /// What of [`Snapshot::subjects`] says it.
    fn put(self, batch: &mut Batch) {
        match self {
            Self::Starting => {}
            Self::Detached => batch.put(DEVICE_DETACHED, Labels::NONE, Ok(Flag(true))),
            _ => batch.put(DEVICE_UP, Labels::NONE, Ok(Flag(self == Self::Up))),
        }
    }
}

/// What a scrape prints of a device. Immutable: a change makes a new one.
#[derive(Debug)]
pub struct Snapshot {
    /// The labels of `accel_device_up`.
    pub identity: Arc<Identity>,
    /// Whether there are readings, and if not, why.
    pub status: Status,
    /// When the sample was begun.
    pub taken: Instant,
    /// When this was made, which is long after that if the driver is slow.
    made: Instant,
    /// `accel_device_up`, or `accel_device_detached`, then what the sampler read, or what is kept of it while the device is lost.
    pub subjects: Vec<Subject>,
    /// Processes on the device and its partitions.
    pub clients: Vec<Client>,
}

impl Snapshot {
    fn new(identity: Arc<Identity>, status: Status, taken: Instant, sampled: Vec<Subject>) -> Self {
        let mut subjects = Vec::with_capacity(1 + sampled.len());
        if status != Status::Starting {
            let mut batch = Batch::default();
            batch.begin(&identity);
            status.put(&mut batch);
            subjects.append(&mut batch.finish());
        }
        subjects.extend(sampled);
        Self { identity, status, taken, made: Instant::now(), subjects, clients: Vec::new() }
    }

    /// A device that is lost, with what is `kept` of it: at least where it is, for those who go and look.
    fn lost(
        identity: &Arc<Identity>,
        status: Status,
        taken: Instant,
        mut kept: Vec<Subject>,
        address: Option<&String>,
    ) -> Self {
        let has_info = kept.iter().flat_map(Subject::readings).any(|reading| reading.id == DEVICE_INFO.id);
        if let Some(address) = address.filter(|_| !has_info) {
            let mut batch = Batch::default();
            batch.begin(identity);
            let info = Labels::Shared([(Label::PciBusId, address.clone())].into());
            batch.put(DEVICE_INFO, info, Ok(Flag(true)));
            kept.append(&mut batch.finish());
        }
        Self::new(Arc::clone(identity), status, taken, kept)
    }

    /// What is left of it with these metrics alone.
    fn left(&self, is_left: impl Fn(Id) -> bool) -> Vec<Subject> {
        let left = |subject: &Subject| subject.filtered(|reading| is_left(reading.id));
        self.subjects.iter().filter_map(left).collect()
    }

    /// The readings of the device as a whole, without its partitions.
    pub fn whole(&self) -> impl Iterator<Item = &Subject> + Clone {
        let is_whole = |subject: &&Subject| subject.identity().is_none_or(|own| own.partition.is_none());
        self.subjects.iter().filter(is_whole)
    }

    /// Its age while it is served.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        (self.status == Status::Up).then(|| now.saturating_duration_since(self.taken))
    }

    /// The device's readable name.
    pub fn name(&self) -> &str {
        &self.identity.device
    }
}

/// The events of a driver about a device or partition.
fn announced(subject: &Subject) -> Vec<Announced> {
    let of = |wanted: Id| subject.readings().iter().filter(move |reading| reading.id == wanted);
    let event = |last: &Reading| {
        let count = of(ERRORS.id).find(|count| count.labels == last.labels)?;
        let Value::Int(count) = count.value else { return None };
        let partition = subject.identity()?.partition.clone();
        Some(Announced { partition, code: last.labels.value(Label::Code)?, count, last: last.value.as_f64() })
    };
    of(ERROR_LAST.id).filter_map(event).collect()
}

/// A device that was seen, kept until it is gone for long.
#[derive(Debug)]
pub struct Device {
    /// What identifies the silicon across enumerations.
    pub key: String,
    /// Its fine samples.
    pub fine: Fine,
    state: Mutex<State>,
    /// What its source says of it.
    read: ArcSwap<Snapshot>,
    /// The same, with what the kernel log says.
    shown: ArcSwap<Snapshot>,
    generation: Generation,
    wanted: Wanted,
    kernel_log: KernelLog,
}

/// What the device's worker, its supervisor and the watchdog share.
#[derive(Debug, Default)]
struct State {
    /// The serial number of the current worker; 0 after it was asked to stop. A worker that returns from a
    /// hung call after it was given up is no longer current and changes nothing.
    worker: u64,
    call: DriverCall,
    standby: Standby,
    sums: Sums,
    history: History,
    address: Option<String>,
    gone: Option<Instant>,
}

impl Device {
    /// A device that enumeration has just found.
    pub fn new(found: &Found, generation: Generation, wanted: Wanted, kernel_log: KernelLog) -> Self {
        let identity = Arc::clone(&found.identity);
        let snapshot = Snapshot::new(identity, Status::Starting, Instant::now(), Vec::new());
        let state = State { address: found.address.clone(), ..State::default() };
        let (key, state, snapshot) = (found.key.clone(), Mutex::new(state), Arc::new(snapshot));
        let (read, shown) = (ArcSwap::new(Arc::clone(&snapshot)), ArcSwap::new(snapshot));
        Self { key, fine: Fine::default(), state, read, shown, generation, wanted, kernel_log }
    }

    /// Notes where its driver lists it now.
    pub fn moved(&self, address: Option<&String>) {
        let mut state = self.state();
        if state.address.as_ref() != address {
            state.address = address.cloned();
        }
    }

    /// What the next list of its driver should know of it.
    pub fn remembered(&self) -> Remembered {
        let snapshot = self.read.load();
        Remembered {
            key: self.key.clone(),
            address: self.address(),
            identity: Arc::clone(&snapshot.identity),
            announced: snapshot.subjects.iter().flat_map(announced).collect(),
        }
    }

    /// What to print now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shown.load_full()
    }

    /// Reads what it remembers of the last minutes.
    pub fn history<R>(&self, read: impl FnOnce(&History) -> R) -> R {
        read(&self.state().history)
    }

    /// Whether its worker is in a call.
    pub fn is_in_call(&self) -> bool {
        self.state().call.is_running()
    }

    /// Whether a thread is in a call for it past the deadline.
    pub fn is_stuck(&self) -> bool {
        let state = self.state();
        state.call.is_late() || state.standby.is_late()
    }

    /// Since when its driver no longer lists it and no thread is in a call for it.
    pub fn gone_since(&self) -> Option<Instant> {
        let state = self.state();
        state.gone.filter(|_| !state.call.is_running())
    }

    /// Its place on the bus, where it has one.
    pub fn address(&self) -> Option<String> {
        self.state().address.clone()
    }

    /// Makes a new worker the current one. What was printed until now stays until that worker publishes or
    /// fails.
    pub fn assign(&self, worker: u64, identity: &Arc<Identity>) {
        let mut state = self.state();
        state.worker = worker;
        state.gone = None;
        state.sums.interrupt();
        let old = self.read.load_full();
        if old.identity != *identity {
            let new = if old.status.is_lost() {
                Snapshot::lost(identity, old.status, old.taken, Vec::new(), state.address.as_ref())
            } else {
                Snapshot::new(Arc::clone(identity), Status::Starting, old.taken, Vec::new())
            };
            self.replace(&state, new);
        }
    }

    /// The device is to be read again: it is as one that was just listed.
    pub fn attached(&self) {
        let state = self.state();
        let old = self.read.load_full();
        let kept = old.left(|id| id != DEVICE_DETACHED.id);
        let identity = Arc::clone(&old.identity);
        self.replace(&state, Snapshot::new(identity, Status::Starting, old.taken, kept));
    }

    /// Leaves the device without a current worker.
    pub fn revoke(&self) {
        self.state().worker = 0;
    }

    /// The worker enters a driver call.
    pub fn begin(&self, call: &'static str, now: Instant) {
        self.state().call.begin(call, now);
    }

    /// The call returned. Returns whether it was late.
    pub fn end(&self) -> bool {
        let mut state = self.state();
        let late = state.call.end();
        if late {
            state.sums.interrupt();
        }
        late
    }

    /// A whole round of `worker`, begun at `taken`.
    pub fn publish(&self, worker: u64, mut batch: Batch, taken: Instant) {
        let mut state = self.state();
        if state.worker == worker {
            state.sums.add(&mut batch, taken);
            let identity = Arc::clone(&self.read.load().identity);
            let clients = std::mem::take(&mut batch.clients);
            let new = Snapshot { clients, ..Snapshot::new(identity, Status::Up, taken, batch.finish()) };
            state.history.add(&new.whole(), taken);
            self.replace(&state, new);
        }
    }

    /// `worker` cannot read the device. Returns whether it is the current worker.
    pub fn fail(&self, worker: u64, fault: Fault) -> bool {
        let state = self.state();
        let counts = state.worker == worker;
        if counts {
            self.withdraw(&state, Status::Down(fault));
        }
        counts
    }

    /// Withdraws the device's series and leaves it without a current worker.
    pub fn give_up(&self, status: Status) {
        let mut state = self.state();
        state.worker = 0;
        if status == Status::Gone {
            state.gone.get_or_insert_with(Instant::now);
        }
        self.withdraw(&state, status);
    }

    /// Withdraws the series when the worker hangs or the snapshot is too old to serve, and returns the fault.
    /// While the supervisor `is_stuck`, a device without a worker gets none, so nothing newer can be
    /// expected.
    pub fn check(&self, now: Instant, timing: &Timing, is_stuck: bool) -> Option<Fault> {
        let mut state = self.state();
        let snapshot = self.read.load();
        let worker = state.worker;
        let hung = state.call.overdue(now, timing.deadline).filter(|_| worker != 0);
        let standby_hangs = state.standby.hangs(now, timing.deadline);
        if let Some(call) = hung.filter(|_| state.standby.serves(now, timing.deadline)) {
            let fault = Fault::new(call, FaultCode::Deadline);
            let (family, device) = (snapshot.identity.family.name(), snapshot.name());
            warn!(family, device, key = &*self.key, %fault, "only what is mandatory is read");
            return Some(fault);
        }
        let hung = hung.or(standby_hangs.filter(|_| worker != 0 && state.call.is_running()));
        // A worker in a call has its deadline. Any other is checked again only after a while, so what would
        // be too old by then is withdrawn now.
        let waits = state.worker != 0 && state.call.is_running();
        let age = now.saturating_duration_since(snapshot.made) + timing.budget();
        let is_left = state.worker == 0 && is_stuck;
        let too_old = snapshot.status == Status::Up && !waits && (age > timing.oldest() || is_left);
        let fault = match hung {
            Some(call) => Fault::new(call, FaultCode::Deadline),
            None if too_old => Fault::new("sample", FaultCode::Stale),
            None => return None,
        };
        self.withdraw(&state, Status::Down(fault));
        Some(fault)
    }

    fn withdraw(&self, state: &MutexGuard<'_, State>, status: Status) {
        let old = self.read.load_full();
        if old.status != status {
            let was_lost = old.status.is_lost();
            let is_status = |id| id == DEVICE_UP.id || id == DEVICE_DETACHED.id;
            let kept = old.left(|id| !is_status(id) && (was_lost || id.metric().outlives_loss));
            let address = state.address.as_ref();
            self.replace(state, Snapshot::lost(&old.identity, status, old.taken, kept, address));
        }
    }

    /// Renews what is kept of a device that is lost by what its source remembers of it: `put` is called for the
    /// device and for each partition that has series. A driver often announces why a device was lost after it
    /// was found to be.
    pub fn recall(&self, put: impl Fn(&Identity, &mut Batch)) {
        let state = self.state();
        let old = self.read.load_full();
        if !old.status.is_lost() {
            return;
        }
        let kept = old.left(|id| id.metric().outlives_loss);
        let mut identities = vec![&old.identity];
        identities.extend(kept.iter().filter_map(Subject::identity));
        identities.dedup_by(|a, b| a.is_same(b));
        let renewed = |identity: &Arc<Identity>| {
            let mut batch = Batch::default();
            batch.begin(identity);
            put(identity, &mut batch);
            let mut readings = batch.groups.swap_remove(0).readings;
            let fresh: Vec<_> = readings.iter().map(|reading| reading.id).collect();
            let own =
                kept.iter().filter(|subject| subject.identity().is_some_and(|own| own.is_same(identity)));
            let own = own.flat_map(Subject::readings).filter(|reading| !fresh.contains(&reading.id));
            readings.extend(own.cloned());
            (!readings.is_empty()).then(|| Subject::new(Some(Arc::clone(identity)), readings))
        };
        let kept = identities.into_iter().filter_map(renewed).collect();
        let new = Snapshot::lost(&old.identity, old.status, old.taken, kept, state.address.as_ref());
        if new.subjects != old.subjects {
            self.replace(&state, new);
        }
    }

    /// Replaces what is printed, always under the lock, and logs a change of status. Nothing else replaces
    /// it.
    fn replace(&self, locked: &MutexGuard<'_, State>, new: Snapshot) {
        let old = self.read.load();
        let (family, name, key) = (new.identity.family.name(), new.name(), &*self.key);
        match (old.status, new.status) {
            (old, new) if old == new => {}
            (Status::Starting, Status::Up) => info!(family, device = name, key, "device is up"),
            (_, Status::Up) => info!(family, device = name, key, "device is up again"),
            (_, Status::Down(fault)) => warn!(family, device = name, key, %fault, "device is down"),
            (_, Status::Gone) => {
                warn!(family, device = name, key, "device is no longer listed by its driver");
            }
            (_, Status::Detached) => info!(family, device = name, key, "device is detached"),
            (Status::Detached, Status::Starting) => info!(family, device = name, key, "device is attached"),
            (_, Status::Starting) => info!(family, device = name, key, "device has a new identity"),
        }
        self.read.store(Arc::new(new));
        self.show(locked);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is changed in single steps, so it is whole even after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
