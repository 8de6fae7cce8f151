//! The thread that listens for XIDs.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use reading::Fault;

use crate::{
    raw::{self, EventSet, Gpu, Library, XidEvent},
    xid::{Heard, Log},
};

/// Hears XIDs on a thread of its own, since waiting for them blocks.
pub struct Listener {
    library: Library,
    /// What is waited on; another one once a device in it is lost.
    set: Mutex<Result<Arc<EventSet>, Fault>>,
    log: Log,
    /// The devices in the set with their UUIDs, by handle: a device that is lost can no longer be asked who
    /// it is, and that is when its most important event comes.
    registered: Mutex<HashMap<usize, (Gpu, String)>>,
    /// Why a device's XIDs cannot be heard, by UUID.
    deaf: Mutex<HashMap<String, Fault>>,
    /// Why no XID can be heard at all.
    broken: Mutex<Option<Fault>>,
    stop: AtomicBool,
}

/// How long one wait lasts: the longest that the thread outlives its session.
const WAIT: Duration = Duration::from_millis(500);

impl Listener {
    /// Starts to listen; devices are added by [`Listener::register`].
    pub fn start(library: &Library, log: Log) -> Arc<Self> {
        let set = EventSet::new(library).map(Arc::new);
        let broken = Mutex::new(set.as_ref().err().copied());
        let listener = Arc::new(Self {
            library: library.clone(),
            set: Mutex::new(set),
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
        while !self.stop.load(Ordering::Relaxed) {
            let Ok(set) = lock(&self.set).clone() else { return };
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
                        self.record(&event);
                    }
                }
                Err(fault) => {
                    let mended = raw::means_device_lost(&fault) && self.leave_out_lost().is_ok();
                    *lock(&self.broken) = (!mended).then_some(fault);
                    // A call that fails at once must not spin.
                    thread::sleep(WAIT.saturating_sub(started.elapsed()));
                }
            }
        }
    }

    fn record(&self, event: &XidEvent) {
        let known = lock(&self.registered).get(&event.gpu.token()).map(|(_, uuid)| uuid.clone());
        match known.map_or_else(|| event.gpu.uuid(), Ok) {
            Ok(uuid) => {
                tracing::warn!(uuid, xid = event.code, instance = event.instance, "XID");
                self.log.record(&uuid, event.instance, event.code);
            }
            Err(fault) => tracing::warn!(%fault, xid = event.code, "XID of a device that cannot be named"),
        }
    }

    /// Waits on a new set from now on, without the devices that are lost: with one of them in it, a set only
    /// says that a device is lost, and the others could not be heard.
    fn leave_out_lost(&self) -> Result<(), Fault> {
        let mut registered = lock(&self.registered);
        let set = Arc::new(EventSet::new(&self.library)?);
        registered.retain(|_, (gpu, uuid)| match gpu.uuid().and_then(|_| set.register(gpu)) {
            Ok(()) => true,
            Err(fault) => {
                lock(&self.deaf).insert(uuid.clone(), fault);
                false
            }
        });
        *lock(&self.set) = Ok(set);
        Ok(())
    }

    /// Starts to listen to a device, unless it is being listened to.
    pub fn register(&self, gpu: &Gpu, uuid: &str) {
        let mut registered = lock(&self.registered);
        let Ok(set) = lock(&self.set).clone() else { return };
        if registered.contains_key(&gpu.token()) {
            return;
        }
        match set.register(gpu) {
            Ok(()) => {
                lock(&self.deaf).remove(uuid);
                registered.insert(gpu.token(), (gpu.clone(), uuid.to_owned()));
            }
            Err(fault) => {
                lock(&self.deaf).insert(uuid.to_owned(), fault);
            }
        }
    }

    /// Ends the thread after its current wait.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// What was heard of a device or a GPU instance of it, or why nothing can be.
    pub fn history(&self, uuid: &str, instance: Option<u32>, now: Instant) -> Result<Heard, Fault> {
        if let Some(fault) = *lock(&self.broken) {
            return Err(fault);
        }
        if let Some(fault) = lock(&self.deaf).get(uuid) {
            return Err(*fault);
        }
        Ok(Heard { history: self.log.history(uuid, instance).unwrap_or_default(), now })
    }
}

/// Plain data behind every lock here: a panic elsewhere leaves nothing half-written.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
