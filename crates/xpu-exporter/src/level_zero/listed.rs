//! The GPUs that Level Zero lists, between the session, which lists them, and the devices' samplers.

use std::sync::{Arc, Mutex};

use naming::FaultCode;
use reading::{Batch, Fault, Found, Lost, Sampler};
use source::lock;

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
        Ok(TakenGpu { listed: self.clone(), session, address: address.to_owned(), sampler: Some(sampler) })
    }
}

impl From<Found> for ListedGpu {
    fn from(Found { key, identity, open, .. }: Found) -> Self {
        Self { address: key, facts: Facts::in_labels_of(&identity), reader: Reader::Unopened(open) }
    }
}

/// An opened GPU, which is given back when it is dropped.
pub struct TakenGpu {
    listed: ListedGpus,
    session: u64,
    address: String,
    /// `None` once its session is lost.
    sampler: Option<Box<dyn Sampler>>,
}

impl TakenGpu {
    /// Reads everything once.
    ///
    /// # Errors
    /// As [`Sampler::sample`]. Where the session is lost, it is closed.
    pub fn sample(&mut self, batch: &mut Batch) -> Result<(), Lost> {
        let closed = Fault::new("level_zero", FaultCode::NotOpen);
        let sampler = self.sampler.as_mut().ok_or(Lost::Session(closed))?;
        sampler.sample(batch).inspect_err(|lost| {
            if let Lost::Session(why) = lost {
                self.sampler = None;
                let mut state = lock(&self.listed.0);
                if state.session == self.session {
                    state.gpus = Err(*why);
                }
            }
        })
    }
}

impl Drop for TakenGpu {
    fn drop(&mut self) {
        let Some(sampler) = self.sampler.take() else { return };
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
