//! The thread that waits for events.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use reading::{Fault, FaultCode, Measured, Notify};

use source::{LINE_PERIOD, Throttle, lock};

use crate::{
    announced::{Announced, History},
    raw::{Event, EventSet, Gpu, LOSSES, Library, Purpose, SystemEvents, event_codes},
    xid,
};

/// Receives events on a thread of its own, since waiting for them blocks.
pub struct Listener {
    library: Library,
    /// What is waited on; another one once a device in it is lost.
    set: Mutex<Measured<Arc<EventSet>>>,
    log: Announced,
    /// The devices in the set with their keys, by handle: a device that is lost no longer says who it is, and
    /// that is when its most important event comes.
    registered: Mutex<HashMap<usize, (Gpu, String)>>,
    /// Why a device could not be registered, by its key.
    refused: Mutex<HashMap<String, Fault>>,
    /// The GPU instances of each device, by its key.
    instances: Mutex<HashMap<String, BTreeSet<u32>>>,
    /// Why no event can be received at all.
    failed: Mutex<Option<Fault>>,
    /// Takes what is announced about GPUs that the driver gives up or takes.
    notify: Option<Notify>,
    stop: AtomicBool,
}

/// Time between two log lines about the same XID of the same device.
/// How long one wait lasts: the longest that the thread outlives its session.
const WAIT: Duration = Duration::from_millis(500);
/// Pause before the set is looked at again while it has no device.
const EMPTY_PAUSE: Duration = Duration::from_millis(50);
/// Events that are taken one after another before the thread pauses, so that a driver that always returns at
/// once does not keep a CPU busy. The driver keeps what waits.
const EVENTS_PER_WAIT: u32 = 512;

impl Listener {
    /// Starts the thread; devices are added by [`Listener::register`].
    pub fn start(library: &Library, log: Announced, notify: Option<Notify>) -> Arc<Self> {
        let set = EventSet::new(library).map(Arc::new);
        let failed = Mutex::new(set.as_ref().err().copied());
        let listener = Arc::new(Self {
            library: library.clone(),
            set: Mutex::new(set),
            log,
            registered: Mutex::default(),
            refused: Mutex::default(),
            instances: Mutex::default(),
            failed,
            notify,
            stop: AtomicBool::new(false),
        });
        let shared = Arc::clone(&listener);
        let spawned = thread::Builder::new()
            .name("nvml-events".into())
            .stack_size(128 * 1024)
            .spawn(move || shared.listen());
        if let Err(error) = spawned {
            tracing::warn!(%error, "no thread for events: XIDs are not exported");
        }
        listener
    }

    fn listen(&self) {
        let (mut began, mut taken) = (Instant::now(), 0);
        let mut lines = Throttle::new(LINE_PERIOD);
        let system = self
            .notify
            .as_ref()
            .and_then(|notify| Some((SystemEvents::register(&self.library).ok()?, notify)));
        while !self.stop.load(Ordering::Relaxed) {
            if let Some((events, notify)) = system.as_ref().filter(|_| taken == 0) {
                events.take().into_iter().for_each(|notice| notify(notice));
            }
            let Ok(set) = lock(&self.set).clone() else { return };
            // Waiting on a set without devices fails.
            if lock(&self.registered).is_empty() {
                thread::sleep(EMPTY_PAUSE);
                continue;
            }
            match set.wait(WAIT) {
                Ok(event) => {
                    *lock(&self.failed) = None;
                    if let Some(event) = event {
                        self.record(&event, &mut lines);
                        taken += 1;
                        if taken < EVENTS_PER_WAIT {
                            continue;
                        }
                    }
                }
                Err(fault) => {
                    let recovered = LOSSES.loses_device(&fault) && self.leave_out_lost().is_ok();
                    *lock(&self.failed) = (!recovered).then_some(fault);
                }
            }
            // A call that returns at once, whatever it returns, must not spin.
            thread::sleep(WAIT.saturating_sub(began.elapsed()));
            (began, taken) = (Instant::now(), 0);
        }
    }

    fn record(&self, event: &Event, lines: &mut Throttle<(String, Purpose, u64)>) {
        let known = lock(&self.registered).get(&event.gpu.token()).map(|(_, key)| key.clone());
        let key = match known.map_or_else(|| event.gpu.mark(), Ok) {
            Ok(key) => key,
            Err(fault) => {
                tracing::warn!(%fault, xid = event.xid, "event of a device that cannot be identified");
                return;
            }
        };
        let instance = event.instance;
        for purpose in event.purposes() {
            let line = lines.admit((key.clone(), purpose, event.xid), Instant::now());
            match (purpose, line) {
                (Purpose::Xid, Some(count)) => tracing::warn!(key, xid = event.xid, instance, count, "XID"),
                (Purpose::Counted(code), Some(count)) => tracing::warn!(key, code, count, "critical event"),
                (Purpose::Logged(text), Some(count)) => tracing::info!(key, count, "{text}"),
                (Purpose::Left, _) | (_, None) => {}
            }
            match purpose {
                Purpose::Xid => self.record_xid(&key, event),
                Purpose::Counted(code) => self.log.errors.record(key.clone(), code),
                Purpose::Logged(_) | Purpose::Left => {}
            }
        }
    }

    fn record_xid(&self, key: &str, event: &Event) {
        // An instance that is not there, as where MIG is off, is no key that is ever read.
        let partition =
            event.instance.filter(|id| lock(&self.instances).get(key).is_some_and(|ids| ids.contains(id)));
        self.log.xids.record((key.to_owned(), partition), xid::code(event.xid));
    }

    /// Says which GPU instances a device has now. The events of one that is gone are the device's from then
    /// on.
    pub fn set_instances(&self, key: &str, ids: &BTreeSet<u32>) {
        let mut instances = lock(&self.instances);
        instances.insert(key.to_owned(), ids.clone());
        let is_gone = |(of, instance): &(String, Option<u32>)| {
            of == key && instance.is_some_and(|id| !ids.contains(&id))
        };
        self.log.xids.merge(is_gone, &(key.to_owned(), None));
    }

    /// Waits on a new set from now on, without the devices that are lost: with one of them in it, waiting
    /// only returns that a device is lost, and events of the others are not received.
    fn leave_out_lost(&self) -> Measured<()> {
        let mut registered = lock(&self.registered);
        let set = Arc::new(EventSet::new(&self.library)?);
        registered.retain(|_, (gpu, key)| match gpu.mark().and_then(|_| set.register(gpu)) {
            Ok(_) => true,
            Err(fault) => {
                lock(&self.refused).insert(key.clone(), fault);
                false
            }
        });
        *lock(&self.set) = Ok(set);
        Ok(())
    }

    /// Adds a device, unless it was added before.
    pub fn register(&self, gpu: &Gpu, key: &str) {
        let mut registered = lock(&self.registered);
        let Ok(set) = lock(&self.set).clone() else { return };
        if registered.contains_key(&gpu.token()) {
            return;
        }
        match set.register(gpu) {
            Ok(types) => {
                self.log.errors.watch(key.to_owned(), event_codes(types));
                lock(&self.refused).remove(key);
                registered.insert(gpu.token(), (gpu.clone(), key.to_owned()));
            }
            Err(fault) => {
                lock(&self.refused).insert(key.to_owned(), fault);
            }
        }
    }

    /// Gives up what it holds of the library, for a listener that is stopped.
    pub fn clear(&self) {
        *lock(&self.set) = Err(Fault::new("nvmlEventSetWait_v2", FaultCode::Unavailable));
        lock(&self.registered).clear();
    }

    /// Ends the thread after its current wait.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// What was announced of a device or of a GPU instance on it.
    ///
    /// # Errors
    /// Why none can be received.
    pub fn history(&self, key: &str, instance: Option<u32>) -> Measured<History> {
        if let Some(fault) = *lock(&self.failed) {
            return Err(fault);
        }
        if let Some(fault) = lock(&self.refused).get(key) {
            return Err(*fault);
        }
        Ok(self.log.history(key, instance))
    }
}
