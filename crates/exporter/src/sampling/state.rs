//! What supervisors, workers, the watchdog and the HTTP server share: the state of every source.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use naming::{Distribution, Family, Label};
use reading::{Backend, Fault, FaultCode, Identity, Labels};
use tracing::{info, warn};

use crate::{
    sampling::call::Call,
    sampling::device::{Device, Snapshot, Status},
    sampling::timing::Tempo,
};

/// Upper bounds of `accelscope_sample_duration_seconds`: a healthy sample takes milliseconds, and the
/// deadline is at least 2 s.
const DURATION_BOUNDS: &[f64] = &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];

/// Counts changes of what a scrape would print.
#[derive(Clone, Debug, Default)]
pub struct Generation(Arc<AtomicU64>);

impl Generation {
    /// Something changed.
    pub fn bump(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    /// The number of changes so far.
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// Every source.
#[derive(Debug)]
pub struct Board {
    /// In the order of the command line.
    pub sources: Vec<Arc<SourceBoard>>,
    /// Bumped by all of them.
    pub generation: Generation,
    /// The times of this run.
    pub tempo: Tempo,
    absent_told: Once,
}

impl Board {
    /// A board for these families; with `auto` nobody asked for any of them by name.
    pub fn new(families: impl IntoIterator<Item = Family>, auto: bool, tempo: Tempo) -> Self {
        let generation = Generation::default();
        let source = |family| Arc::new(SourceBoard::new(family, auto, generation.clone(), tempo.clone()));
        let sources = families.into_iter().map(source).collect();
        Self { sources, generation, tempo, absent_told: Once::new() }
    }

    /// The name of the simulated machine, when any source runs on one.
    pub fn simulated(&self) -> Option<String> {
        self.sources.iter().find_map(|source| source.link().backend.as_ref()?.simulated.clone())
    }

    /// Looks for hung calls and old snapshots.
    pub fn check(&self, now: Instant) {
        self.sources.iter().for_each(|source| source.check(now));
        if !self.absent_told.is_completed() {
            self.tell_absent();
        }
    }

    /// Says in one line which families are not on this machine, once each has been looked for.
    fn tell_absent(&self) {
        let links: Vec<_> = self.sources.iter().map(|source| (source.family, source.link())).collect();
        if links.iter().any(|(_, link)| link.status == LinkStatus::Starting) {
            return;
        }
        let absent = links.iter().filter(|(_, link)| link.absent).filter_map(|(family, link)| {
            let LinkStatus::Down(reason) = &link.status else { return None };
            // The mend follows; there is nothing to mend.
            Some(format!("{family} ({})", reason.split(';').next().unwrap_or_default()))
        });
        let absent: Vec<_> = absent.collect();
        self.absent_told.call_once(|| {
            if !absent.is_empty() {
                info!("not on this machine: {}", absent.join(", "));
            }
        });
    }
}

/// State of a source's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkStatus {
    /// The first attempt has not ended.
    Starting,
    /// Connected and answering.
    Up,
    /// Not, and why.
    Down(String),
}

/// A source's connection.
#[derive(Clone, Debug)]
pub struct Link {
    /// Whether it answers.
    pub status: LinkStatus,
    /// What answered, while connected.
    pub backend: Option<Backend>,
    /// Devices that the driver listed last, while that is known.
    pub found: Option<usize>,
    /// Devices on the PCI bus, where there is one.
    pub expected: Option<usize>,
    /// Down because no such device has ever been on this machine, and nobody asked for one.
    absent: bool,
}

/// Counts since the process started.
#[derive(Debug)]
pub struct Tally {
    /// Attempts to connect.
    pub connects: u64,
    /// Faults, with their labels, which are made once.
    pub faults: BTreeMap<Fault, (Labels, u64)>,
    /// Times of samples.
    pub durations: Distribution,
}

/// One source.
#[derive(Debug)]
pub struct SourceBoard {
    /// Its family; the name of the source.
    pub family: Family,
    auto: bool,
    generation: Generation,
    tempo: Tempo,
    link: Mutex<(Link, Call)>,
    devices: ArcSwap<Vec<Arc<Device>>>,
    tally: Mutex<Tally>,
}

impl SourceBoard {
    fn new(family: Family, auto: bool, generation: Generation, tempo: Tempo) -> Self {
        let status = LinkStatus::Starting;
        let link = Link { status, backend: None, found: None, expected: None, absent: false };
        let durations = Distribution::new(DURATION_BOUNDS);
        Self {
            family,
            auto,
            generation,
            tempo,
            link: Mutex::new((link, Call::default())),
            devices: ArcSwap::default(),
            tally: Mutex::new(Tally { connects: 0, faults: BTreeMap::new(), durations }),
        }
    }

    /// The connection now.
    pub fn link(&self) -> Link {
        lock(&self.link).0.clone()
    }

    /// The counts; hold them briefly, workers need them too.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.tally)
    }

    /// Every device ever seen.
    pub fn devices(&self) -> Arc<Vec<Arc<Device>>> {
        self.devices.load_full()
    }

    /// What to print of each device. A device that is gone is left out when its place was taken: another
    /// device with the very same labels would make two series of one.
    pub fn snapshots(&self) -> Vec<Arc<Snapshot>> {
        let devices = self.devices.load();
        let mut snapshots: Vec<_> = devices.iter().map(|device| device.snapshot()).collect();
        snapshots.sort_by_key(|snapshot| snapshot.status == Status::Gone);
        let mut taken: Vec<Arc<Snapshot>> = Vec::with_capacity(snapshots.len());
        for snapshot in snapshots {
            if !taken.iter().any(|other| other.identity.is_same(&snapshot.identity)) {
                taken.push(snapshot);
            }
        }
        taken
    }

    /// Threads in a call past its deadline.
    pub fn stuck_threads(&self) -> usize {
        let supervisor = lock(&self.link).1.is_late();
        usize::from(supervisor) + self.devices.load().iter().filter(|device| device.is_stuck()).count()
    }

    /// The supervisor enters a driver call.
    pub fn begin(&self, call: &'static str, now: Instant) {
        lock(&self.link).1.begin(call, now);
    }

    /// The call returned.
    pub fn end(&self) {
        lock(&self.link).1.end();
    }

    /// A connection answers. `found` is how many devices it lists, `expected` how many the bus shows.
    pub fn up(&self, backend: &Backend, found: Option<usize>, expected: Option<usize>) {
        let (status, backend) = (LinkStatus::Up, Some(backend.clone()));
        let link = Link { status, backend, found, expected, absent: false };
        self.set_link(&mut lock(&self.link).0, link);
    }

    /// There is nothing to sample, for this reason; `absent` where the machine shows no such device.
    pub fn down(&self, reason: String, found: Option<usize>, expected: Option<usize>, absent: bool) {
        let mut locked = lock(&self.link);
        let link = &mut locked.0;
        let absent = absent && self.auto && (link.absent || link.status == LinkStatus::Starting);
        let new = Link { status: LinkStatus::Down(reason), backend: None, found, expected, absent };
        self.set_link(link, new);
    }

    fn set_link(&self, link: &mut Link, new: Link) {
        let source = self.family.name();
        // One that is absent is told of by the board, and warned of from when its hardware comes.
        if !new.absent && (link.absent || link.status != new.status) {
            match (&new.status, &new.backend) {
                (LinkStatus::Down(reason), _) => {
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
        if new.status == LinkStatus::Up && (link.found, link.expected) != (new.found, new.expected) {
            if let Some(found) = new.found {
                info!(source, found, expected = new.expected, "devices listed");
            } else {
                warn!(source, "devices cannot be listed; those that are known go on");
            }
        }
        *link = new;
        self.generation.bump();
    }

    /// The device of this key, made when it is new.
    pub fn device(&self, key: &str, identity: &Arc<Identity>) -> Arc<Device> {
        let devices = self.devices.load_full();
        if let Some(device) = devices.iter().find(|device| device.key == key) {
            return Arc::clone(device);
        }
        let device = Arc::new(Device::new(key.to_owned(), Arc::clone(identity), self.generation.clone()));
        // Only the supervisor adds devices, so nothing is lost between load and store.
        self.devices.store(Arc::new(devices.iter().chain([&device]).map(Arc::clone).collect()));
        device
    }

    /// Counts faults.
    pub fn count(&self, faults: &[Fault]) {
        if faults.is_empty() {
            return;
        }
        let mut tally = self.tally();
        for fault in faults {
            tally.faults.entry(*fault).or_insert_with(|| (self.fault_labels(*fault), 0)).1 += 1;
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
        self.tally().durations.observe(duration.as_secs_f64());
    }

    fn check(&self, now: Instant) {
        let mut locked = lock(&self.link);
        let (link, call) = &mut *locked;
        if let Some(call) = call.overdue(now, self.tempo.deadline) {
            let reason = format!(
                "{call} timed out after {:?}; it rejoins when the driver answers",
                self.tempo.deadline
            );
            let new = Link { status: LinkStatus::Down(reason), found: None, absent: false, ..link.clone() };
            self.set_link(link, new);
            self.count(&[Fault::new(call, FaultCode::Deadline)]);
        }
        drop(locked);
        for device in self.devices.load().iter() {
            if let Some(fault) = device.check(now, &self.tempo) {
                self.count(&[fault]);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is changed in single steps: whole even after a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
