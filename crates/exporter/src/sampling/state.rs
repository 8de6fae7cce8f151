//! What supervisors, workers, the watchdog and the HTTP server share: the state of every source.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, Once, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc::Sender,
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use naming::{
    Distribution, Family, Label, Value,
    catalogue::{ENGINE_BUSY, MEMORY_USED},
};
use reading::{Backend, Fault, FaultCode, Found, Identity, Labels, Reading, Subject, Wanted};
use source::lock;
use tracing::{info, warn};
use workloads::Present;

use crate::{
    commands::choice::Chosen,
    kernel_log::KernelLog,
    sampling::call::DriverCall,
    sampling::detached::{Cause, Detachments},
    sampling::device::{Device, Snapshot, Status},
    sampling::standby::Standbys,
    sampling::supervisor::Event,
    sampling::timing::{KEEP, Timing},
};

/// Upper bounds of `accelscope_sample_duration_seconds`: a healthy sample takes milliseconds, and the
/// deadline is at least 2 s.
const DURATION_BOUNDS: &[f64] = &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];

/// Devices that are gone and still reported, per source; a server has room for fewer.
const GONE_MAX: usize = 64;

/// The supervisor's call that opens a source.
pub const CONNECT: &str = "connect";

/// How many devices are listed while no driver can be asked: none, if there is hardware that one should list.
fn unlisted(expected: Option<usize>) -> Option<usize> {
    expected.filter(|expected| *expected > 0).map(|_| 0)
}

/// The number of changes of what a scrape prints, shared by all that change it.
#[derive(Clone, Debug, Default)]
pub struct Generation(Arc<AtomicU64>);

impl Generation {
    /// Notes a change.
    pub fn bump(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    /// The number of changes so far.
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

fn present(identity: &Arc<Identity>) -> Present {
    let identity = Arc::clone(identity);
    Present { identity, memory_used: None, busy_seconds: Vec::new(), clients: Vec::new() }
}

/// Notes what the device itself says of its use.
fn note_use(device: &mut Present, subject: &Subject) {
    if let [Reading { value: Value::Int(bytes), .. }] = subject.of(MEMORY_USED.id) {
        device.memory_used = Some(*bytes);
    }
    for reading in subject.of(ENGINE_BUSY.id) {
        if let Some(engine) = reading.labels.word(Label::Engine) {
            device.busy_seconds.push((engine, reading.value.as_f64()));
        }
    }
}

/// The state of every source.
#[derive(Debug)]
pub struct NodeState {
    /// In the order of the command line.
    pub sources: Vec<Arc<SourceState>>,
    /// Bumped by all of them.
    pub generation: Generation,
    /// Intervals and deadlines of this run.
    pub timing: Timing,
    /// What the kernel log says of devices, where it is read.
    pub kernel_log: KernelLog,
    absent_reported: Once,
}

impl NodeState {
    /// The initial state; with `auto` no family was requested by name.
    pub fn new(
        families: impl IntoIterator<Item = Family>,
        auto: bool,
        timing: Timing,
        chosen: &Chosen,
    ) -> Self {
        let (generation, kernel_log) = (Generation::default(), KernelLog::default());
        let source = |family| {
            let (generation, wanted) = (generation.clone(), chosen.of(family));
            Arc::new(SourceState::new(family, auto, generation, timing.clone(), wanted, kernel_log.clone()))
        };
        let sources = families.into_iter().map(source).collect();
        Self { sources, generation, timing, kernel_log, absent_reported: Once::new() }
    }

    /// The name of the simulated machine, when any source runs on one.
    pub fn simulated(&self) -> Option<String> {
        self.sources.iter().find_map(|source| source.connection().backend.as_ref()?.simulated.clone())
    }

    /// Every device that was seen, except for those that are gone for long.
    pub fn devices(&self) -> impl Iterator<Item = Arc<Device>> {
        self.sources.iter().flat_map(|source| source.devices().to_vec())
    }

    /// The kernel log has something new about the devices at these addresses.
    pub fn reported(&self, addresses: &BTreeSet<String>) {
        let is_meant =
            |device: &Arc<Device>| device.address().is_some_and(|address| addresses.contains(&address));
        self.devices().filter(is_meant).for_each(|device| device.reported());
    }

    /// Every device that is exported, each followed by its partitions.
    pub fn present(&self) -> Vec<Present> {
        let snapshots = self.sources.iter().flat_map(|source| source.snapshots());
        let mut all: Vec<Present> = Vec::new();
        for snapshot in snapshots {
            all.push(present(&snapshot.identity));
            let first = all.len() - 1;
            for subject in &snapshot.subjects {
                let Some(identity) = subject.identity() else { continue };
                let known = all[first..].iter().position(|known| known.identity.is_same(identity));
                let index = first
                    + known.unwrap_or_else(|| {
                        all.push(present(identity));
                        all.len() - 1 - first
                    });
                note_use(&mut all[index], subject);
            }
            for client in &snapshot.clients {
                let of = all[first..].iter_mut().find(|known| known.identity.is_same(&client.identity));
                if let Some(of) = of {
                    of.clients.push(client.clone());
                }
            }
        }
        all
    }

    /// Withdraws what hangs or is too old.
    pub fn check(&self, now: Instant) {
        self.sources.iter().for_each(|source| source.check(now));
        if !self.absent_reported.is_completed() {
            self.report_absent();
        }
    }

    /// Whether a thread is in a driver's call.
    pub fn in_call(&self) -> bool {
        let in_call = |source: &Arc<SourceState>| {
            lock(&source.connection).1.is_running()
                || source.devices.load().iter().any(|device| device.is_in_call())
        };
        self.sources.iter().any(in_call)
    }

    /// Logs in one line which families are not on this machine, once each has been looked for.
    fn report_absent(&self) {
        let connections: Vec<_> =
            self.sources.iter().map(|source| (source.family, source.connection())).collect();
        if connections.iter().any(|(_, connection)| connection.status == ConnectionStatus::Starting) {
            return;
        }
        let absent = connections.iter().filter(|(_, connection)| connection.absent).filter_map(
            |(family, connection)| {
                let ConnectionStatus::Down(reason) = &connection.status else { return None };
                // What follows is the advice; nothing needs to be done.
                Some(format!("{family} ({})", reason.split(';').next().unwrap_or_default()))
            },
        );
        let absent: Vec<_> = absent.collect();
        self.absent_reported.call_once(|| {
            if !absent.is_empty() {
                info!("not on this machine: {}", absent.join(", "));
            }
        });
    }
}

/// State of a source's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionStatus {
    /// The first attempt has not ended.
    Starting,
    /// Connected.
    Up,
    /// Not connected, and why.
    Down(String),
}

/// A source's connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Whether it works.
    pub status: ConnectionStatus,
    /// The backend, while connected.
    pub backend: Option<Backend>,
    /// Devices that the driver listed last, while that is known; by the rule of [`crate::sampling::bus`].
    pub found: Option<usize>,
    /// Devices on the PCI bus by the same rule, where there is a bus.
    pub expected: Option<usize>,
    /// Down because no such device has been on this machine, and none was requested.
    pub absent: bool,
}

/// Counts since the process started.
#[derive(Debug)]
pub struct SourceCounts {
    /// Attempts to connect.
    pub connects: u64,
    /// Faults with their labels, which are built once.
    pub faults: BTreeMap<Fault, (Labels, u64)>,
    /// Times of samples.
    pub durations: Distribution,
}

/// One source.
#[derive(Debug)]
pub struct SourceState {
    /// Its family; the name of the source.
    pub family: Family,
    /// Which of its metrics are exported.
    pub wanted: Wanted,
    auto: bool,
    generation: Generation,
    timing: Timing,
    kernel_log: KernelLog,
    connection: Mutex<(Connection, DriverCall)>,
    devices: ArcSwap<Vec<Arc<Device>>>,
    counts: Mutex<SourceCounts>,
    /// What reads beside rounds that take long.
    pub standbys: Standbys,
    /// Devices that the exporter has let go of.
    pub detached: Detachments,
    /// To its supervisor, once that runs.
    pub events: OnceLock<Sender<Event>>,
}

impl SourceState {
    fn new(
        family: Family,
        auto: bool,
        generation: Generation,
        timing: Timing,
        wanted: Wanted,
        kernel_log: KernelLog,
    ) -> Self {
        let status = ConnectionStatus::Starting;
        let connection = Connection { status, backend: None, found: None, expected: None, absent: false };
        let durations = Distribution::new(DURATION_BOUNDS);
        Self {
            family,
            wanted,
            auto,
            generation,
            timing,
            kernel_log,
            connection: Mutex::new((connection, DriverCall::default())),
            devices: ArcSwap::default(),
            standbys: Standbys::default(),
            detached: Detachments::default(),
            events: OnceLock::new(),
            counts: Mutex::new(SourceCounts { connects: 0, faults: BTreeMap::new(), durations }),
        }
    }

    /// The current connection.
    pub fn connection(&self) -> Connection {
        lock(&self.connection).0.clone()
    }

    /// The counts. The guard must be held briefly, since workers need it too.
    pub fn counts(&self) -> MutexGuard<'_, SourceCounts> {
        lock(&self.counts)
    }

    /// Every device that was seen, except for those that are gone for long.
    pub fn devices(&self) -> Arc<Vec<Arc<Device>>> {
        self.devices.load_full()
    }

    /// What to print of each device.
    pub fn snapshots(&self) -> Vec<Arc<Snapshot>> {
        self.shown().into_iter().map(|(_, snapshot)| snapshot).collect()
    }

    /// Each device with what to print of it. A device that is gone is left out when another has the same labels,
    /// since one series would appear twice.
    pub fn shown(&self) -> Vec<(Arc<Device>, Arc<Snapshot>)> {
        let devices = self.devices.load();
        let mut all: Vec<_> = devices.iter().map(|device| (Arc::clone(device), device.snapshot())).collect();
        all.sort_by_key(|(_, snapshot)| snapshot.status == Status::Gone);
        let mut shown: Vec<(_, Arc<Snapshot>)> = Vec::with_capacity(all.len());
        for (device, snapshot) in all {
            if !shown.iter().any(|(_, other)| other.identity.is_same(&snapshot.identity)) {
                shown.push((device, snapshot));
            }
        }
        shown
    }

    /// Whether the supervisor is in a call past its deadline: its driver does not respond.
    pub fn is_late(&self) -> bool {
        lock(&self.connection).1.is_late()
    }

    /// Threads in a call past its deadline.
    pub fn stuck_threads(&self) -> usize {
        usize::from(self.is_late()) + self.devices.load().iter().filter(|device| device.is_stuck()).count()
    }

    /// The supervisor enters a driver call.
    pub fn begin(&self, call: &'static str, now: Instant) {
        lock(&self.connection).1.begin(call, now);
    }

    /// The call returned.
    pub fn end(&self) {
        lock(&self.connection).1.end();
    }

    /// The connection works. `found` is how many devices it lists, `expected` how many the bus shows.
    pub fn up(&self, backend: &Backend, found: Option<usize>, expected: Option<usize>) {
        let found = found.map(|found| found + self.detached.count());
        let (status, backend) = (ConnectionStatus::Up, Some(backend.clone()));
        let connection = Connection { status, backend, found, expected, absent: false };
        self.set_connection(&mut lock(&self.connection).0, connection);
    }

    /// How many devices the bus shows, before anything is known of their driver.
    pub fn expect(&self, expected: Option<usize>) {
        let mut locked = lock(&self.connection);
        if locked.0.expected != expected {
            locked.0.expected = expected;
            self.generation.bump();
        }
    }

    /// Nothing can be sampled, for this reason; `absent` where the machine shows no such device. Where no
    /// driver was asked, `found` is unknown, or 0 if there is hardware that one should list.
    pub fn down(&self, reason: String, found: Option<usize>, expected: Option<usize>, absent: bool) {
        let mut locked = lock(&self.connection);
        let connection = &mut locked.0;
        let found = found.or(unlisted(expected)).map(|found| found + self.detached.count());
        let absent =
            absent && self.auto && (connection.absent || connection.status == ConnectionStatus::Starting);
        let new =
            Connection { status: ConnectionStatus::Down(reason), backend: None, found, expected, absent };
        self.set_connection(connection, new);
    }

    fn set_connection(&self, connection: &mut Connection, new: Connection) {
        let source = self.family.name();
        // An absent family is logged once by the node, and gets warnings from the moment when its hardware
        // appears.
        if !new.absent && (connection.absent || connection.status != new.status) {
            match (&new.status, &new.backend) {
                (ConnectionStatus::Down(reason), _) => {
                    warn!(source, reason, "source is down and will be tried again");
                }
                (_, Some(Backend { library, version, simulated: Some(machine) })) => {
                    warn!(source, library, version, machine, "source is up, on a SIMULATED machine");
                }
                (_, Some(Backend { library, version, .. })) => {
                    info!(source, library, version, "source is up");
                }
                (_, None) => {}
            }
        }
        if new.status == ConnectionStatus::Up
            && (connection.found, connection.expected) != (new.found, new.expected)
        {
            if let Some(found) = new.found {
                info!(source, found, expected = new.expected, "devices listed");
            } else {
                warn!(source, "devices cannot be listed; known devices are still sampled");
            }
        }
        *connection = new;
        self.generation.bump();
    }

    /// The device that was found, created when its key is new.
    pub fn device(&self, found: &Found) -> Arc<Device> {
        let devices = self.devices.load_full();
        if let Some(device) = devices.iter().find(|device| device.key == found.key) {
            device.moved(found.address.as_ref());
            return Arc::clone(device);
        }
        let device = Arc::new(Device::new(
            found,
            self.generation.clone(),
            self.wanted.clone(),
            self.kernel_log.clone(),
        ));
        // Only the supervisor adds devices, so nothing is lost between load and store.
        self.devices.store(Arc::new(devices.iter().chain([&device]).map(Arc::clone).collect()));
        device
    }

    /// Forgets devices that are gone: for a day, or since another board has their address, or too many.
    pub fn forget(&self, now: Instant) {
        let devices = self.devices.load_full();
        let mut gone: Vec<_> =
            devices.iter().filter_map(|device| Some((device.gone_since()?, device))).collect();
        if gone.is_empty() {
            return;
        }
        gone.sort_by_key(|(since, _)| Reverse(*since));
        let is_replaced = |device: &Device| {
            let address = device.address();
            // A device whose worker is just closing it counts as present for a moment, and is no other board.
            let others =
                devices.iter().filter(|other| other.key != device.key && other.gone_since().is_none());
            address.is_some() && others.map(|other| other.address()).any(|other| other == address)
        };
        let is_forgotten = |(place, (since, device)): &(usize, (Instant, &Arc<Device>))| {
            *place >= GONE_MAX || now.saturating_duration_since(*since) > KEEP || is_replaced(device)
        };
        let forgotten: Vec<_> =
            gone.into_iter().enumerate().filter(is_forgotten).map(|(_, (_, device))| &device.key).collect();
        if forgotten.is_empty() {
            return;
        }
        // As in `device`: only the supervisor changes the list.
        let kept = devices.iter().filter(|device| !forgotten.contains(&&device.key));
        self.devices.store(Arc::new(kept.map(Arc::clone).collect()));
        self.generation.bump();
    }

    /// Lets go of a device; its supervisor closes it.
    pub fn detach(&self, device: &Device, cause: Cause) {
        if self.detached.add(&device.key, device.address(), cause, Instant::now()) {
            device.give_up(Status::Detached);
            self.tell(Event::Detached);
        }
    }

    /// Lets a detached device be read again. Returns whether it was detached.
    pub fn attach(&self, device: &Device) -> bool {
        let was_detached = self.detached.remove(&device.key);
        if was_detached {
            device.attached();
            self.tell(Event::Attached);
        }
        was_detached
    }

    fn tell(&self, event: Event) {
        if let Some(events) = self.events.get() {
            // At the end of the process the supervisor may be gone.
            let _ = events.send(event);
        }
    }

    /// Counts faults.
    pub fn count(&self, faults: &[Fault]) {
        if faults.is_empty() {
            return;
        }
        let mut counts = self.counts();
        for fault in faults {
            counts.faults.entry(*fault).or_insert_with(|| (self.fault_labels(*fault), 0)).1 += 1;
        }
    }

    fn fault_labels(&self, fault: Fault) -> Labels {
        let Fault { absence, call, code } = fault;
        let values = [
            (Label::Source, self.family.name()),
            (Label::Kind, absence.name()),
            (Label::Call, call),
            (Label::Code, code.name()),
        ];
        Labels::Shared(values.map(|(label, value)| (label, value.to_owned())).into())
    }

    /// Counts a sample's duration.
    pub fn observe(&self, duration: Duration) {
        self.counts().durations.observe(duration.as_secs_f64());
    }

    fn check(self: &Arc<Self>, now: Instant) {
        let mut locked = lock(&self.connection);
        let (connection, call) = &mut *locked;
        if let Some(call) = call.overdue(now, self.timing.deadline) {
            let reason = format!(
                "{call} timed out after {:?}; it rejoins when the driver answers",
                self.timing.deadline
            );
            let new = Connection {
                status: ConnectionStatus::Down(reason),
                // A list that does not come says nothing; a driver that cannot be reached lists nothing.
                found: unlisted(connection.expected)
                    .filter(|_| call == CONNECT)
                    .map(|found| found + self.detached.count()),
                absent: false,
                ..connection.clone()
            };
            self.set_connection(connection, new);
            self.count(&[Fault::new(call, FaultCode::Deadline)]);
        }
        let is_stuck = call.is_late();
        drop(locked);
        for device in self.devices.load().iter() {
            if let Some(fault) = device.check(now, &self.timing, is_stuck) {
                self.count(&[fault]);
            }
        }
        self.standbys.check(self, now, &self.timing);
    }
}
