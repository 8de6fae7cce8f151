//! The GPUs that Level Zero lists, between the session, which lists them, and the devices' samplers.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use naming::FaultCode;
use reading::{Batch, Fault, Found, Lost, Sampler};
use source::{Lane, LaneTimes, lock};

use super::Facts;

/// What opens a device; see [`Found::open`].
type Open = Box<dyn FnOnce() -> Result<Box<dyn Sampler>, Fault> + Send>;

/// The GPUs, or why there are none.
#[derive(Clone)]
pub struct ListedGpus(Arc<Mutex<State>>);

struct State {
    /// Counts sessions, so that a sampler of an earlier one changes nothing.
    session: u64,
    gpus: Result<Vec<ListedGpu>, Fault>,
}

struct ListedGpu {
    address: String,
    facts: Facts,
    reader: Reader,
}

/// What reads a GPU.
enum Reader {
    Unopened(Open),
    Idle(Box<dyn Sampler>),
    InUse,
}

impl ListedGpus {
    /// None, for this reason.
    pub fn none(why: Fault) -> Self {
        Self(Arc::new(Mutex::new(State { session: 0, gpus: Err(why) })))
    }

    /// Takes the list of a new session.
    pub fn open(&self, found: Vec<Found>) {
        let mut state = lock(&self.0);
        state.session += 1;
        state.gpus = Ok(found.into_iter().map(ListedGpu::from).collect());
    }

    /// Takes a newer list of the same session. Those that are in use stay so, and are opened anew after that.
    pub fn update(&self, found: Vec<Found>) {
        lock(&self.0).gpus = Ok(found.into_iter().map(ListedGpu::from).collect());
    }

    /// The session is lost.
    pub fn close(&self, why: Fault) {
        lock(&self.0).gpus = Err(why);
    }

    /// Why there is no session.
    pub fn why_closed(&self) -> Option<Fault> {
        lock(&self.0).gpus.as_ref().err().copied()
    }

    /// Whether it lists none, where there is a session.
    pub fn is_empty(&self) -> bool {
        lock(&self.0).gpus.as_ref().is_ok_and(Vec::is_empty)
    }

    /// Their PCI addresses, in their order.
    pub fn addresses(&self) -> Vec<String> {
        lock(&self.0).gpus.iter().flatten().map(|gpu| gpu.address.clone()).collect()
    }

    /// What is known of the GPU at a PCI address.
    pub fn facts(&self, address: &str) -> Option<Facts> {
        let state = lock(&self.0);
        let gpu = state.gpus.iter().flatten().find(|gpu| gpu.address == address);
        gpu.map(|gpu| gpu.facts.clone())
    }

    /// Opens the GPU at a PCI address.
    ///
    /// # Errors
    /// Why that cannot be: it is not listed, or there is no session.
    pub fn take(&self, address: &str) -> Result<TakenGpu, Fault> {
        let not_listed = Fault::new("level_zero", FaultCode::NotListed);
        let mut state = lock(&self.0);
        let session = state.session;
        let gpus = state.gpus.as_mut().map_err(|why| *why)?;
        let gpu = gpus.iter_mut().find(|gpu| gpu.address == address).ok_or(not_listed)?;
        let reader = std::mem::replace(&mut gpu.reader, Reader::InUse);
        // Opening may take long.
        drop(state);
        let sampler = match reader {
            Reader::Unopened(open) => open()?,
            Reader::Idle(sampler) => sampler,
            Reader::InUse => return Err(not_listed),
        };
        Ok(TakenGpu::new(self.clone(), session, address.to_owned(), sampler))
    }
}

impl From<Found> for ListedGpu {
    fn from(Found { key, identity, open, .. }: Found) -> Self {
        Self { address: key, facts: Facts::in_labels_of(&identity), reader: Reader::Unopened(open) }
    }
}

/// The session of the GPU is lost.
const CLOSED: Lost = Lost::Session(Fault::new("level_zero", FaultCode::NotOpen));

/// The GPU is still being read.
pub const LATE: Lost = Lost::Device(Fault::new("level_zero", FaultCode::Deadline));

/// A round waits for Level Zero, where the kernel's files have values, for less than any deadline, and uses no values
/// that are older than a round may take.
const IN_TIME: LaneTimes =
    LaneTimes { period: Duration::ZERO, budget: Duration::from_secs(1), age_max: Duration::from_secs(2) };

/// What reads a GPU; none once its session is lost. Whoever reads holds the lock.
type Slot = Arc<Mutex<Option<Box<dyn Sampler>>>>;

/// An opened GPU, which is given back when it is dropped.
pub struct TakenGpu {
    listed: ListedGpus,
    session: u64,
    address: String,
    sampler: Slot,
    lane: Lane<Result<Batch, Lost>>,
}

impl TakenGpu {
    fn new(listed: ListedGpus, session: u64, address: String, sampler: Box<dyn Sampler>) -> Self {
        let sampler = Arc::new(Mutex::new(Some(sampler)));
        let own = Arc::clone(&sampler);
        let name = format!("level_zero {address} {:p}", Arc::as_ptr(&listed.0));
        Self {
            listed,
            session,
            address,
            sampler,
            lane: Lane::new(name, "level_zero", IN_TIME, move || round(&own)),
        }
    }

    /// Reads everything once.
    ///
    /// # Errors
    /// As [`Sampler::sample`]. Where the session is lost, it is closed.
    pub fn sample(&mut self) -> Result<Batch, Lost> {
        let read = round(&self.sampler);
        self.ended(read)
    }

    /// Reads everything once, in a lane, and waits for a moment: a driver that hangs keeps nothing from the caller,
    /// and no second thread is started.
    ///
    /// # Errors
    /// As above, and [`LATE`].
    pub fn sample_in_time(&mut self) -> Result<Batch, Lost> {
        match self.lane.take() {
            Ok(read) => self.ended(read),
            Err(fault) if fault.code == FaultCode::Panic => Err(Lost::Device(fault)),
            Err(_) => Err(LATE),
        }
    }

    fn ended(&self, read: Result<Batch, Lost>) -> Result<Batch, Lost> {
        if let Err(Lost::Session(why)) = read {
            let mut state = lock(&self.listed.0);
            if state.session == self.session {
                state.gpus = Err(why);
            }
        }
        read
    }
}

fn round(slot: &Slot) -> Result<Batch, Lost> {
    let mut slot = lock(slot);
    let mut batch = Batch::default();
    let read = slot.as_mut().ok_or(CLOSED)?.sample(&mut batch);
    if matches!(read, Err(Lost::Session(_))) {
        *slot = None;
    }
    read.map(|()| batch)
}

impl Drop for TakenGpu {
    fn drop(&mut self) {
        // One that is still being read is let go when that ends.
        let Some(sampler) = self.sampler.try_lock().ok().and_then(|mut slot| slot.take()) else { return };
        let mut state = lock(&self.listed.0);
        if state.session != self.session {
            return;
        }
        let gpu = state.gpus.iter_mut().flatten().find(|gpu| gpu.address == self.address);
        // One that was listed again since is opened anew.
        if let Some(reader @ Reader::InUse) = gpu.map(|gpu| &mut gpu.reader) {
            *reader = Reader::Idle(sampler);
        }
    }
}
