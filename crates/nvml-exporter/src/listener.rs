//! The thread that waits for XIDs.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use reading::{Fault, Measured};

use crate::{
    raw::{EventSet, Gpu, LOSSES, Library, XidEvent},
    xid::{self, XidHistory, XidLog},
};

/// Receives XIDs on a thread of its own, since waiting for them blocks.
pub struct Listener {
    library: Library,
    /// What is waited on; another one once a device in it is lost.
    set: Mutex<Measured<Arc<EventSet>>>,
    log: XidLog,
    /// The devices in the set with their UUIDs, by handle: a device that is lost no longer returns its UUID,
    /// and that is when its most important event comes.
    registered: Mutex<HashMap<usize, (Gpu, String)>>,
    /// Why a device could not be registered, by UUID.
    refused: Mutex<HashMap<String, Fault>>,
    /// Why no XID can be received at all.
    failed: Mutex<Option<Fault>>,
    stop: AtomicBool,
}

/// How long one wait lasts: the longest that the thread outlives its session.
const WAIT: Duration = Duration::from_millis(500);
/// Pause before the set is looked at again while it has no device.
const EMPTY_PAUSE: Duration = Duration::from_millis(50);

impl Listener {
    /// Starts the thread; devices are added by [`Listener::register`].
    pub fn start(library: &Library, log: XidLog) -> Arc<Self> {
        let set = EventSet::new(library).map(Arc::new);
        let failed = Mutex::new(set.as_ref().err().copied());
        let listener = Arc::new(Self {
            library: library.clone(),
            set: Mutex::new(set),
            log,
            registered: Mutex::default(),
            refused: Mutex::default(),
            failed,
            stop: AtomicBool::new(false),
        });
        let shared = Arc::clone(&listener);
        let spawned = thread::Builder::new()
            .name("nvml-events".into())
            .stack_size(128 * 1024)
            .spawn(move || shared.listen());
        if let Err(error) = spawned {
            tracing::warn!(%error, "no thread for XID events: they are not exported");
        }
        listener
    }

    fn listen(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let Ok(set) = lock(&self.set).clone() else { return };
            // Waiting on a set without devices fails.
            if lock(&self.registered).is_empty() {
                thread::sleep(EMPTY_PAUSE);
                continue;
            }
            let started = Instant::now();
            match set.wait(WAIT) {
                Ok(event) => {
                    *lock(&self.failed) = None;
                    if let Some(event) = event {
                        self.record(&event);
                    }
                }
                Err(fault) => {
                    let recovered = LOSSES.loses_device(&fault) && self.leave_out_lost().is_ok();
                    *lock(&self.failed) = (!recovered).then_some(fault);
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
                self.log.record((uuid, event.instance), xid::code(event.code));
            }
            Err(fault) => tracing::warn!(%fault, xid = event.code, "XID of a device without a UUID"),
        }
    }

    /// Waits on a new set from now on, without the devices that are lost: with one of them in it, waiting
    /// only returns that a device is lost, and events of the others are not received.
    fn leave_out_lost(&self) -> Measured<()> {
        let mut registered = lock(&self.registered);
        let set = Arc::new(EventSet::new(&self.library)?);
        registered.retain(|_, (gpu, uuid)| match gpu.uuid().and_then(|_| set.register(gpu)) {
            Ok(()) => true,
            Err(fault) => {
                lock(&self.refused).insert(uuid.clone(), fault);
                false
            }
        });
        *lock(&self.set) = Ok(set);
        Ok(())
    }

    /// Adds a device, unless it was added before.
    pub fn register(&self, gpu: &Gpu, uuid: &str) {
        let mut registered = lock(&self.registered);
        let Ok(set) = lock(&self.set).clone() else { return };
        if registered.contains_key(&gpu.token()) {
            return;
        }
        match set.register(gpu) {
            Ok(()) => {
                lock(&self.refused).remove(uuid);
                registered.insert(gpu.token(), (gpu.clone(), uuid.to_owned()));
            }
            Err(fault) => {
                lock(&self.refused).insert(uuid.to_owned(), fault);
            }
        }
    }

    /// Ends the thread after its current wait.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// The XIDs of a device or of a GPU instance on it.
    ///
    /// # Errors
    /// Why none can be received.
    pub fn history(&self, uuid: &str, instance: Option<u32>) -> Measured<XidHistory> {
        if let Some(fault) = *lock(&self.failed) {
            return Err(fault);
        }
        if let Some(fault) = lock(&self.refused).get(uuid) {
            return Err(*fault);
        }
        Ok(self.log.history(&(uuid.to_owned(), instance)).unwrap_or_default())
    }
}

/// Plain data is behind every lock here: a panic elsewhere leaves nothing half-written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
