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

use reading::{Fault, FaultCode, Found, Lost, Notice, Prior, Session, Source};
use source::{Backoff, panic_message};
use tracing::error;

use crate::{
    sampling::bus::{PciBus, User},
    sampling::detached::Cause,
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
    /// A device was detached, and must be closed.
    Detached,
    /// A device was attached again, and may be listed.
    Attached,
    /// The driver announced something about its hold on a device.
    Notice(Notice),
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
    mut source: Box<dyn Source>,
    state: Arc<SourceState>,
    timing: Timing,
    sysfs: &Path,
) -> io::Result<()> {
    let (sender, events) = mpsc::channel();
    let notices = sender.clone();
    source.notify_with(Arc::new(move |notice| {
        // At the end of the process the supervisor may be gone.
        let _ = notices.send(Event::Notice(notice));
    }));
    assert!(state.events.set(sender.clone()).is_ok(), "a source has one supervisor");
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
        is_left_open: false,
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
    /// Whether the last session left something open.
    is_left_open: bool,
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
    /// A device was detached: what the library holds of it is closed with the session alone.
    Detached,
    /// The driver went away.
    Lost(Fault),
}

impl Supervisor {
    fn run(mut self) -> ! {
        let mut backoff = Backoff::default();
        loop {
            self.note_closed();
            let functions = self.functions();
            self.state.expect(self.expected(functions.as_ref()));
            if self.is_all_detached(functions.as_ref()) {
                let expected = self.expected(functions.as_ref());
                self.state.down("every device is detached".to_owned(), Some(0), expected, false);
                self.pause(self.timing.enumerate);
                continue;
            }
            let connected = Instant::now();
            let wait = match self.connect() {
                Ok(session) => match self.attend(session, functions.as_ref()) {
                    End::BusChanged | End::Detached => Duration::ZERO,
                    End::Empty | End::Lost(_) => {
                        backoff.failed(&self.timing.waits(), Instant::now(), connected.elapsed())
                    }
                },
                Err(reason) => {
                    let expected = self.expected(functions.as_ref());
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
        source.leave_alone(&self.state.detached.addresses());
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
                Ok(Event::DeviceLost | Event::Attached) => (due, needed) = (due.min(now), true),
                Ok(Event::Detached) if self.state.detached.must_close() => break End::Detached,
                Ok(Event::Notice(notice)) => {
                    self.notice(notice);
                    (due, needed) = (due.min(now), true);
                }
                Ok(Event::Ended { key, .. }) if self.state.detached.is_open(&key) == Some(true) => {
                    self.workers.remove(&key);
                    // Its thread may have kept the library open, too.
                    break End::Detached;
                }
                Ok(Event::Ended { key, failed }) => {
                    if !self.ended(key, failed) {
                        (due, needed) = (due.min(now), true);
                    }
                }
                Ok(Event::Detached) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("we hold a sender"),
            }
        };
        let functions = self.functions();
        let expected = self.expected(functions.as_ref());
        match end {
            End::Lost(fault) => {
                self.state.down(format!("{fault}; connecting again"), None, expected, false);
                self.withdraw_all(fault);
            }
            End::Empty => {
                let reason = format!("{}: the driver lists no device", session.backend().library);
                self.state.down(reason, Some(0), expected, expected == Some(0));
            }
            End::BusChanged | End::Detached => {}
        }
        self.stop_workers();
        self.recall(&*session);
        self.is_left_open = false;
        if matches!(end, End::Detached) {
            self.is_left_open = call(&self.state, "close", || session.let_go()) != Ok(true);
        }
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
        if self.state.detached.must_close() {
            return Err(End::Detached);
        }
        let functions = self.functions();
        if functions.as_ref() != at_connect {
            return Err(End::BusChanged);
        }
        if list { self.list(session, functions) } else { Ok(()) }
    }

    fn list(&mut self, session: &mut dyn Session, functions: Option<BTreeSet<String>>) -> Result<(), End> {
        let panic = Fault::new("devices", FaultCode::Panic);
        let expected = self.expected(functions.as_ref());
        let remembered = self.state.devices().iter().map(|device| device.remembered()).collect();
        let prior = Prior { remembered, bus: functions, detached: self.state.detached.addresses() };
        let devices = call(&self.state, "devices", || session.devices(&prior));
        let result = devices.unwrap_or(Err(Lost::Session(panic)));
        if let Err(Lost::Device(fault) | Lost::Session(fault)) = result {
            self.state.count(&[fault]);
        }
        // A list of the kernel's files opens nothing, and has them too.
        let attached = |found: &Found| !self.state.detached.has(&found.key);
        match result.map(|found| found.into_iter().filter(attached).collect::<Vec<_>>()) {
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
            if !self.state.detached.has(&device.key) {
                device.give_up(Status::Gone);
            }
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
                Ok(Event::Notice(notice)) => self.notice(notice),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        for retry in self.retries.values_mut() {
            retry.at = None;
        }
        let stuck = Fault::new("sample", FaultCode::Deadline);
        let is_stuck = |device: &&Arc<Device>| {
            self.workers.contains_key(&device.key) && !self.state.detached.has(&device.key)
        };
        for device in self.state.devices().iter().filter(is_stuck) {
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
                    self.note_closed();
                }
                Ok(Event::Notice(notice)) => self.notice(notice),
                Ok(Event::DeviceLost | Event::SessionLost(_)) => {}
                Ok(Event::Detached | Event::Attached) | Err(_) => return,
            }
        }
    }

    /// Notes that no session is open: what still is, is held by a thread that hangs, or by the library.
    fn note_closed(&self) {
        self.state.detached.closed(|key| self.is_left_open || self.workers.contains_key(key));
    }

    /// What the driver announced: it gives a device up, which waits until that is closed, or has taken one.
    fn notice(&self, notice: Notice) {
        let devices = self.state.devices();
        match notice {
            Notice::Unbinding(address) => {
                let is_at =
                    |device: &&Arc<Device>| device.address().is_some_and(|own| own.ends_with(&address));
                if let Some(device) = devices.iter().find(is_at) {
                    self.state.detach(device, Cause::Unbind);
                }
            }
            Notice::Bound(address) => {
                self.attach(self.state.detached.given_up_at(&address));
            }
        }
    }

    fn attach(&self, keys: impl IntoIterator<Item = String>) {
        let devices = self.state.devices();
        for key in keys {
            if let Some(device) = devices.iter().find(|device| device.key == key) {
                self.state.attach(device);
            }
        }
    }

    /// How many devices there should be: those on the bus, and those that are detached, wherever they are now.
    fn expected(&self, functions: Option<&BTreeSet<String>>) -> Option<usize> {
        functions.map(|functions| functions.union(&self.state.detached.addresses()).count())
    }

    /// Whether there is nothing to read, as while a driver is replaced: not even the driver is opened then.
    fn is_all_detached(&self, functions: Option<&BTreeSet<String>>) -> bool {
        let detached = &self.state.detached;
        let addresses = detached.addresses();
        let is_left =
            |device: &Arc<Device>| !detached.has(&device.key) && device.snapshot().status != Status::Gone;
        detached.count() > 0
            && functions.is_none_or(|functions| functions.is_subset(&addresses))
            && !self.state.devices().iter().any(is_left)
    }

    /// Whether a worker is in a call that is not yet late.
    fn in_call(&self) -> bool {
        self.state.devices().iter().any(|device| device.is_in_call() && !device.is_stuck())
    }

    fn stuck(&self) -> bool {
        self.state.devices().iter().any(|device| device.is_stuck())
    }

    /// The functions on the bus that count. Devices that their driver gave up are attached when it has them again.
    fn functions(&mut self) -> Option<BTreeSet<String>> {
        let users = self.pci.as_mut().and_then(PciBus::users)?;
        let is_bound = |user: &User| matches!(user, User::Driver(_));
        let with = |is: &dyn Fn(&User) -> bool| -> BTreeSet<String> {
            users.iter().filter(|(_, user)| is(user)).map(|(address, _)| address.clone()).collect()
        };
        self.attach(self.state.detached.rebound(&with(&is_bound), Instant::now()));
        Some(with(&User::counts))
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
