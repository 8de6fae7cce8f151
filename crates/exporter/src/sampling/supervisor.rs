//! The thread that keeps one source: connects it, lists its devices, gives each a worker, and starts over
//! when the session is lost or the bus has changed.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    convert::Infallible,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use reading::{Fault, FaultCode, Found, Lost, Prior, Session, Source};
use source::{Backoff, panic_message};
use tracing::error;

use crate::{
    sampling::bus::PciBus,
    sampling::device::{Device, Status},
    sampling::state::{CONNECT, SourceState},
    sampling::timing::Timing,
    sampling::worker::{STACK_BYTES, Worker},
};

/// How long to wait for running samples to end before checking again.
const MOMENT: Duration = Duration::from_millis(10);

/// What a supervisor is notified of.
#[derive(Debug)]
pub enum Event {
    /// A worker has lost its device: the list of devices may have changed.
    DeviceLost,
    /// A worker found that the driver went away under every device.
    SessionLost(Fault),
    /// A worker's thread ends.
    Ended {
        /// Of its device.
        key: String,
        /// How long it had read the device, if it was not asked to end.
        failed: Option<Duration>,
    },
}

/// Starts the supervisor of a source. It runs to the end of the process, which does not wait for it: closing
/// is left to the kernel, because a vendor's library may hang or crash when it is closed.
///
/// # Errors
/// When no thread can be started.
pub fn spawn(
    source: Box<dyn Source>,
    state: Arc<SourceState>,
    timing: Timing,
    sysfs: &Path,
) -> io::Result<()> {
    let (sender, events) = mpsc::channel();
    let supervisor = Supervisor {
        pci: state.family.pci().map(|wanted| PciBus::new(sysfs, wanted)),
        source,
        state,
        timing,
        events,
        sender,
        workers: HashMap::new(),
        retries: HashMap::new(),
        serial: 0,
    };
    let name = format!("source-{}", supervisor.state.family);
    thread::Builder::new().name(name).stack_size(STACK_BYTES).spawn(move || supervisor.run()).map(drop)
}

struct Supervisor {
    source: Box<dyn Source>,
    pci: Option<PciBus>,
    state: Arc<SourceState>,
    timing: Timing,
    events: Receiver<Event>,
    sender: Sender<Event>,
    /// One entry per thread that exists, also when it was asked to stop and is stuck: as long as the entry is
    /// here, its device gets no second thread. Closing the channel is the request to stop.
    workers: HashMap<String, Option<Sender<Infallible>>>,
    retries: HashMap<String, Retry>,
    serial: u64,
}

/// When to open a device again.
#[derive(Default)]
struct Retry {
    backoff: Backoff,
    at: Option<Instant>,
}

impl Retry {
    /// Schedules the next attempt after a failure that followed `healthy` time of service.
    fn later(&mut self, timing: &Timing, healthy: Duration) {
        let now = Instant::now();
        self.at = Some(now + self.backoff.failed(&timing.waits(), now, healthy));
    }
}

/// How a session ended.
enum End {
    /// The bus shows other devices than at connect; the driver lists them only to a new session.
    BusChanged,
    /// The driver lists no device. The session is closed: a driver may list only what was there at connect.
    Empty,
    /// The driver went away.
    Lost(Fault),
}

impl Supervisor {
    fn run(mut self) -> ! {
        let mut backoff = Backoff::default();
        loop {
            let functions = self.functions();
            self.state.expect(functions.as_ref().map(BTreeSet::len));
            let connected = Instant::now();
            let wait = match self.connect() {
                Ok(session) => match self.attend(session, functions.as_ref()) {
                    End::BusChanged => Duration::ZERO,
                    End::Empty | End::Lost(_) => {
                        backoff.failed(&self.timing.waits(), Instant::now(), connected.elapsed())
                    }
                },
                Err(reason) => {
                    let expected = functions.map(|functions| functions.len());
                    let absent = self.pci.is_none() || expected == Some(0);
                    self.state.down(reason, None, expected, absent);
                    let fault = Fault::new("connect", FaultCode::Unavailable);
                    self.withdraw_all(fault);
                    backoff.failed(&self.timing.waits(), Instant::now(), Duration::ZERO)
                }
            };
            self.pause(wait);
        }
    }

    fn connect(&mut self) -> Result<Box<dyn Session>, String> {
        self.state.counts().connects += 1;
        let source = &mut self.source;
        match call(&self.state, CONNECT, || source.connect()) {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(unavailable)) => Err(unavailable.to_string()),
            Err(defect) => Err(defect),
        }
    }

    /// Serves a session until it ends, and closes it.
    fn attend(&mut self, mut session: Box<dyn Session>, at_connect: Option<&BTreeSet<String>>) -> End {
        let mut due = Instant::now();
        // Whether the list is needed: for a new session, or because a device was lost.
        let mut needed = true;
        let end = loop {
            let now = Instant::now();
            let retry = self.retries.values().filter_map(|retry| retry.at).min();
            if retry.is_some_and(|at| at <= now) {
                (due, needed) = (due.min(now), true);
            }
            let wake = if now < due {
                retry.map_or(due, |at| at.min(due))
            } else if self.in_call() && now < due + self.timing.deadline {
                // Between samples no call has to wait, and a hang that began shows before the list is
                // requested.
                now + MOMENT
            } else {
                // A driver that hangs for one device may also hang when it lists all of them.
                let list = needed || !self.stuck();
                let enumerated = self.enumerate(&mut *session, at_connect, list);
                self.recall(&*session);
                if let Err(end) = enumerated {
                    break end;
                }
                (due, needed) = (Instant::now() + self.timing.enumerate, false);
                continue;
            };
            match self.events.recv_timeout(wake.saturating_duration_since(now)) {
                Ok(Event::SessionLost(fault)) => break End::Lost(fault),
                Ok(Event::DeviceLost) => (due, needed) = (due.min(now), true),
                Ok(Event::Ended { key, failed }) => {
                    if !self.ended(key, failed) {
                        (due, needed) = (due.min(now), true);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("we hold a sender"),
            }
        };
        let expected = self.functions().map(|functions| functions.len());
        match end {
            End::Lost(fault) => {
                self.state.down(format!("{fault}; connecting again"), None, expected, false);
                self.withdraw_all(fault);
            }
            End::Empty => {
                let reason = format!("{}: the driver lists no device", session.backend().library);
                self.state.down(reason, Some(0), expected, expected == Some(0));
            }
            End::BusChanged => {}
        }
        self.stop_workers();
        self.recall(&*session);
        let _ = call(&self.state, "close", || drop(session));
        end
    }

    /// Renews what is known of the devices that are lost.
    fn recall(&self, session: &dyn Session) {
        for device in self.state.devices().iter() {
            let put = |identity: &_, batch: &mut _| session.recall(&device.key, identity, batch);
            let _ = call(&self.state, "recall", || device.recall(put));
        }
    }

    /// Compares the bus with its state at connect, and the driver's list with the workers.
    fn enumerate(
        &mut self,
        session: &mut dyn Session,
        at_connect: Option<&BTreeSet<String>>,
        list: bool,
    ) -> Result<(), End> {
        let functions = self.functions();
        if functions.as_ref() != at_connect {
            return Err(End::BusChanged);
        }
        if list { self.list(session, functions) } else { Ok(()) }
    }

    fn list(&mut self, session: &mut dyn Session, functions: Option<BTreeSet<String>>) -> Result<(), End> {
        let panic = Fault::new("devices", FaultCode::Panic);
        let expected = functions.as_ref().map(BTreeSet::len);
        let remembered = self.state.devices().iter().map(|device| device.remembered()).collect();
        let prior = Prior { remembered, bus: functions };
        let devices = call(&self.state, "devices", || session.devices(&prior));
        let result = devices.unwrap_or(Err(Lost::Session(panic)));
        if let Err(Lost::Device(fault) | Lost::Session(fault)) = result {
            self.state.count(&[fault]);
        }
        match result {
            Ok(found) if found.is_empty() => {
                self.reconcile(found);
                return Err(End::Empty);
            }
            Ok(found) => {
                let counted = self.pci.as_ref().map_or(found.len(), |bus| bus.count(&found));
                self.state.up(session.backend(), Some(counted), expected);
                self.reconcile(found);
            }
            // Devices with a worker need no list; those that wait for one go on waiting.
            Err(Lost::Device(_)) => {
                self.state.up(session.backend(), None, expected);
                let now = Instant::now();
                for retry in self.retries.values_mut().filter(|retry| retry.at.is_some_and(|at| at <= now)) {
                    retry.later(&self.timing, Duration::ZERO);
                }
            }
            Err(Lost::Session(fault)) => return Err(End::Lost(fault)),
        }
        Ok(())
    }

    /// Starts, restarts and stops workers, so that each device of the list has one and no other has.
    fn reconcile(&mut self, found: Vec<Found>) {
        let now = Instant::now();
        let mut listed = HashSet::new();
        for found in found {
            if !listed.insert(found.key.clone()) {
                self.state.count(&[Fault::new("devices", FaultCode::DuplicateKey)]);
                continue;
            }
            let device = self.state.device(&found);
            let Found { key, identity, open, .. } = found;
            if let Some(worker) = self.workers.get_mut(&key) {
                // Same silicon under a new name: its worker is stopped, and its end leads back here.
                if device.snapshot().identity != identity {
                    *worker = None;
                }
                continue;
            }
            let retry = self.retries.entry(key.clone()).or_default();
            if retry.at.is_some_and(|at| at > now) {
                continue;
            }
            retry.at = None;
            self.serial += 1;
            device.assign(self.serial, &identity);
            let (stop, stopped) = mpsc::channel();
            let worker = Worker {
                device: Arc::clone(&device),
                source: Arc::clone(&self.state),
                serial: self.serial,
                timing: self.timing.clone(),
                stop: stopped,
                events: self.sender.clone(),
            };
            let name = device.snapshot().name().to_owned();
            let thread = thread::Builder::new().name(name).stack_size(STACK_BYTES);
            match thread.spawn(move || worker.run(open)) {
                Ok(_) => {
                    self.workers.insert(key, Some(stop));
                }
                Err(_) => self.no_thread(&device, self.serial),
            }
        }
        for device in self.state.devices().iter().filter(|device| !listed.contains(&device.key)) {
            self.retries.remove(&device.key);
            if let Some(worker) = self.workers.get_mut(&device.key) {
                *worker = None;
            }
            device.give_up(Status::Gone);
        }
        self.state.forget(now);
    }

    fn no_thread(&mut self, device: &Device, serial: u64) {
        let fault = Fault::new("open", FaultCode::NoThread);
        self.state.count(&[fault]);
        device.fail(serial, fault);
        self.ended(device.key.clone(), Some(Duration::ZERO));
    }

    /// A worker's thread has ended. Returns whether there is nothing to do now, because its device waits for
    /// its next attempt.
    fn ended(&mut self, key: String, failed: Option<Duration>) -> bool {
        self.workers.remove(&key);
        let Some(healthy) = failed else { return false };
        self.retries.entry(key).or_default().later(&self.timing, healthy);
        true
    }

    /// Asks all workers to stop, waits for them, since a driver that is still in use lists no new devices,
    /// and gives up those that are stuck. What is printed of the others stays until a new worker publishes or
    /// it is too old.
    fn stop_workers(&mut self) {
        let until = Instant::now() + self.timing.deadline;
        for device in self.state.devices().iter() {
            device.revoke();
        }
        self.workers.values_mut().for_each(|stop| *stop = None);
        while !self.workers.is_empty() {
            match self.events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Event::Ended { key, .. }) => {
                    self.workers.remove(&key);
                }
                Ok(Event::DeviceLost | Event::SessionLost(_)) => {}
                Err(_) => break,
            }
        }
        for retry in self.retries.values_mut() {
            retry.at = None;
        }
        let stuck = Fault::new("sample", FaultCode::Deadline);
        for device in self.state.devices().iter().filter(|device| self.workers.contains_key(&device.key)) {
            device.give_up(Status::Down(stuck));
        }
    }

    /// Withdraws every device that is not down for a reason of its own.
    fn withdraw_all(&self, fault: Fault) {
        for device in self.state.devices().iter() {
            if matches!(device.snapshot().status, Status::Up | Status::Starting) {
                device.give_up(Status::Down(fault));
            }
        }
    }

    /// Waits between two attempts.
    fn pause(&mut self, wait: Duration) {
        let until = Instant::now() + wait;
        loop {
            match self.events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Event::Ended { key, .. }) => {
                    self.workers.remove(&key);
                }
                Ok(Event::DeviceLost | Event::SessionLost(_)) => {}
                Err(_) => return,
            }
        }
    }

    /// Whether a worker is in a call that is not yet late.
    fn in_call(&self) -> bool {
        self.state.devices().iter().any(|device| device.is_in_call() && !device.is_stuck())
    }

    fn stuck(&self) -> bool {
        self.state.devices().iter().any(|device| device.is_stuck())
    }

    fn functions(&mut self) -> Option<BTreeSet<String>> {
        self.pci.as_mut().and_then(PciBus::functions)
    }
}

/// Calls a driver under the watchdog's supervision.
///
/// # Errors
/// The message of a panic, which is logged.
fn call<T>(state: &SourceState, name: &'static str, driver: impl FnOnce() -> T) -> Result<T, String> {
    state.begin(name, Instant::now());
    let result = catch_unwind(AssertUnwindSafe(driver));
    state.end();
    result.map_err(|panic| {
        let (source, why) = (state.family.name(), panic_message(&*panic));
        error!(source, call = name, why, "a defect ended the call");
        format!("{name} failed by a defect of this program: {why}")
    })
}
