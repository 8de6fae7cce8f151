//! The source: opening NVML, listing its devices, and the thread that listens for XIDs.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use naming::Family;
use reading::{Backend, BusMatch, Fault, Found, Identity, Lost, Session, Source, Unavailable};

use crate::{
    identity::{Facts, Naming},
    map::Xids,
    raw::{self, EventSet, Gpu, Library},
    sampler::GpuSampler,
    xid::Log,
};

/// NVML on this node.
pub struct NvmlSource {
    library: Option<PathBuf>,
    naming: Naming,
    log: Log,
}

impl NvmlSource {
    /// A source that opens `library`, or searches for it.
    pub fn new(library: Option<PathBuf>, naming: Naming) -> Self {
        Self { library, naming, log: Log::default() }
    }
}

impl Source for NvmlSource {
    fn family(&self) -> Family {
        Family::Nvidia
    }

    fn bus(&self) -> Option<BusMatch> {
        // VGA and 3D controllers of vendor NVIDIA; the boards' audio and USB functions are other classes.
        Some(BusMatch { vendor: 0x10de, classes: &[0x0300, 0x0302] })
    }

    fn connect(&mut self) -> Result<Box<dyn Session>, Unavailable> {
        let library = Library::open(self.library.as_ref())?;
        let listener = Listener::start(&library, self.log.clone());
        Ok(Box::new(NvmlSession { library, naming: self.naming.clone(), listener, known: HashMap::new() }))
    }
}

struct NvmlSession {
    library: Library,
    naming: Naming,
    listener: Arc<Listener>,
    /// Facts and labels by UUID and index, asked once.
    known: HashMap<(String, u32), (Facts, Arc<Identity>)>,
}

impl Session for NvmlSession {
    fn backend(&self) -> &Backend {
        self.library.backend()
    }

    fn devices(&mut self) -> Result<Vec<Found>, Lost> {
        let count = self.library.device_count().map_err(lost)?;
        let mut found = Vec::new();
        for index in 0..count {
            // A device that cannot be named now is not listed; its worker, if it has one, says why.
            let gpu = Gpu::by_index(&self.library, index);
            let (gpu, uuid) = match gpu.and_then(|gpu| gpu.uuid().map(|uuid| (gpu, uuid))) {
                Ok(named) => named,
                Err(fault) if raw::means_session_lost(&fault) => return Err(Lost::Session(fault)),
                Err(fault) => {
                    tracing::debug!(index, %fault, "device cannot be listed");
                    continue;
                }
            };
            let (facts, identity) = self
                .known
                .entry((uuid.clone(), index))
                .or_insert_with(|| {
                    let facts = Facts::read(&gpu, index, uuid.clone());
                    let identity = facts.identity(&self.naming);
                    (facts, identity)
                })
                .clone();
            self.listener.register(&gpu, &uuid);
            let (naming, listener) = (self.naming.clone(), Arc::clone(&self.listener));
            found.push(Found {
                key: uuid.clone(),
                identity: Arc::clone(&identity),
                open: Box::new(move || {
                    Ok(Box::new(GpuSampler::open(gpu, uuid, facts, naming, identity, listener)))
                }),
            });
        }
        Ok(found)
    }
}

impl Drop for NvmlSession {
    fn drop(&mut self) {
        self.listener.stop.store(true, Ordering::Relaxed);
    }
}

/// An enumeration that fails without the driver being gone costs no running device.
fn lost(fault: Fault) -> Lost {
    if raw::means_session_lost(&fault) { Lost::Session(fault) } else { Lost::Device(fault) }
}

/// Hears XIDs on a thread of its own, since waiting for them blocks.
pub struct Listener {
    set: Result<EventSet, Fault>,
    log: Log,
    registered: Mutex<HashSet<String>>,
    /// Why a device's XIDs cannot be heard, by UUID.
    deaf: Mutex<HashMap<String, Fault>>,
    /// Why no XID can be heard at all.
    broken: Mutex<Option<Fault>>,
    stop: AtomicBool,
}

/// How long one wait lasts: the longest that the thread outlives its session.
const WAIT: Duration = Duration::from_millis(500);

impl Listener {
    fn start(library: &Library, log: Log) -> Arc<Self> {
        let set = EventSet::new(library);
        let broken = Mutex::new(set.as_ref().err().copied());
        let listener = Arc::new(Self {
            set,
            log,
            registered: Mutex::default(),
            deaf: Mutex::default(),
            broken,
            stop: AtomicBool::new(false),
        });
        let heard = Arc::clone(&listener);
        let spawned = thread::Builder::new()
            .name("nvml-events".into())
            .stack_size(128 * 1024)
            .spawn(move || heard.listen());
        if let Err(error) = spawned {
            tracing::warn!(%error, "no thread for XID events: they are not exported");
        }
        listener
    }

    fn listen(&self) {
        let Ok(set) = &self.set else { return };
        while !self.stop.load(Ordering::Relaxed) {
            // Waiting on a set without devices answers an error; there is nothing to hear yet.
            if lock(&self.registered).is_empty() {
                thread::sleep(Duration::from_millis(50));
                continue;
            }
            let started = Instant::now();
            match set.wait(u32::try_from(WAIT.as_millis()).unwrap_or(0)) {
                Ok(event) => {
                    *lock(&self.broken) = None;
                    if let Some(event) = event {
                        tracing::warn!(uuid = event.uuid, xid = event.code, instance = event.instance, "XID");
                        self.log.record(&event.uuid, event.instance, event.code);
                    }
                }
                Err(fault) => {
                    *lock(&self.broken) = Some(fault);
                    // A call that fails at once must not spin.
                    thread::sleep(WAIT.saturating_sub(started.elapsed()));
                }
            }
        }
    }

    /// Starts to listen to a device; once per session.
    fn register(&self, gpu: &Gpu, uuid: &str) {
        let Ok(set) = &self.set else { return };
        if lock(&self.registered).contains(uuid) {
            return;
        }
        match set.register(gpu) {
            Ok(()) => {
                lock(&self.deaf).remove(uuid);
                lock(&self.registered).insert(uuid.to_owned());
            }
            Err(fault) => {
                lock(&self.deaf).insert(uuid.to_owned(), fault);
            }
        }
    }

    /// The process-wide log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// What was heard of a device, or why nothing can be.
    pub fn history(&self, uuid: &str, now: Instant) -> Result<Xids, Fault> {
        if let Some(fault) = *lock(&self.broken) {
            return Err(fault);
        }
        if let Some(fault) = lock(&self.deaf).get(uuid) {
            return Err(*fault);
        }
        Ok(Xids { history: self.log.history(uuid, None).unwrap_or_default(), now })
    }
}

/// Plain data behind every lock here: a panic elsewhere leaves nothing half-written.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
