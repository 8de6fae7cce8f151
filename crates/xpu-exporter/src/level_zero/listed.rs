//! The GPUs that Level Zero lists, between the session, which lists them, and the devices' samplers.

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

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
        let (listed, address) = (self.clone(), address.to_owned());
        Ok(TakenGpu { listed, session, address, sampler: Some(sampler), under_way: None })
    }
}

impl From<Found> for ListedGpu {
    fn from(Found { key, identity, open, .. }: Found) -> Self {
        Self { address: key, facts: Facts::in_labels_of(&identity), reader: Reader::Unopened(open) }
    }
}

/// As the exporter's own threads that call a driver.
const STACK_BYTES: usize = 512 * 1024;

/// The session of the GPU is lost.
const CLOSED: Lost = Lost::Session(Fault::new("level_zero", FaultCode::NotOpen));

/// The GPU is still being read.
pub const LATE: Lost = Lost::Device(Fault::new("level_zero", FaultCode::Deadline));

/// How long a round waits for Level Zero where the kernel's files have values: below any deadline.
const PATIENCE: Duration = Duration::from_secs(1);

/// The age at which values are not used that a round did not wait for.
const AGE_MAX: Duration = Duration::from_secs(2);

/// What reading a GPU yields.
type Round = (Box<dyn Sampler>, Result<Batch, Lost>);

/// An opened GPU, which is given back when it is dropped.
pub struct TakenGpu {
    listed: ListedGpus,
    session: u64,
    address: String,
    /// `None` while it reads on a thread of its own, and once its session is lost.
    sampler: Option<Box<dyn Sampler>>,
    /// A round on a thread of its own, and when it began.
    under_way: Option<(Instant, Receiver<Round>)>,
}

impl TakenGpu {
    /// Reads everything once.
    ///
    /// # Errors
    /// As [`Sampler::sample`]. Where the session is lost, it is closed.
    pub fn sample(&mut self) -> Result<Batch, Lost> {
        let sampler = self.sampler.take().ok_or(CLOSED)?;
        self.ended(round(sampler))
    }

    /// Reads everything once, on a thread that lives as long as that takes, and waits for a moment: a driver
    /// that hangs keeps nothing from the caller, and no second thread is started.
    ///
    /// # Errors
    /// As above, and [`LATE`].
    pub fn sample_in_time(&mut self) -> Result<Batch, Lost> {
        let (begun, receiver) = match self.under_way.take() {
            Some(under_way) => under_way,
            None => (Instant::now(), in_thread(self.sampler.take().ok_or(CLOSED)?)),
        };
        match receiver.recv_timeout(PATIENCE) {
            Ok(round) => {
                let read = self.ended(round);
                if begun.elapsed() > AGE_MAX { read.and(Err(LATE)) } else { read }
            }
            Err(RecvTimeoutError::Timeout) => {
                self.under_way = Some((begun, receiver));
                Err(LATE)
            }
            Err(RecvTimeoutError::Disconnected) => Err(Lost::Device(Fault::new("sample", FaultCode::Panic))),
        }
    }

    fn ended(&mut self, (sampler, read): Round) -> Result<Batch, Lost> {
        if let Err(Lost::Session(why)) = read {
            let mut state = lock(&self.listed.0);
            if state.session == self.session {
                state.gpus = Err(why);
            }
        } else {
            self.sampler = Some(sampler);
        }
        read
    }
}

fn round(mut sampler: Box<dyn Sampler>) -> Round {
    let mut batch = Batch::default();
    let read = sampler.sample(&mut batch);
    (sampler, read.map(|()| batch))
}

fn in_thread(sampler: Box<dyn Sampler>) -> Receiver<Round> {
    let (sender, receiver) = mpsc::channel();
    // Without a thread the sender is dropped, which ends the wait. Whoever is gone takes no round.
    let _ = thread::Builder::new().name("level-zero".to_owned()).stack_size(STACK_BYTES).spawn(move || {
        let _ = sender.send(round(sampler));
    });
    receiver
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
