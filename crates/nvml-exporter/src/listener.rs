//! The thread that listens for XIDs.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use reading::Fault;

use crate::{
    raw::{EventSet, Gpu, Library},
    xid::{Heard, Log},
};

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
    /// Starts to listen; devices are added by [`Listener::register`].
    pub fn start(library: &Library, log: Log) -> Arc<Self> {
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
    pub fn register(&self, gpu: &Gpu, uuid: &str) {
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

    /// Ends the thread after its current wait.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// The process-wide log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// What was heard of a device, or why nothing can be.
    pub fn history(&self, uuid: &str, now: Instant) -> Result<Heard, Fault> {
        if let Some(fault) = *lock(&self.broken) {
            return Err(fault);
        }
        if let Some(fault) = lock(&self.deaf).get(uuid) {
            return Err(*fault);
        }
        Ok(Heard { history: self.log.history(uuid, None).unwrap_or_default(), now })
    }
}

/// Plain data behind every lock here: a panic elsewhere leaves nothing half-written.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
