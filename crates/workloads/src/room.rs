//! The thread that asks who holds a device, and what it last found.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use naming::{
    Count, Family, Flag, Label,
    catalogue::{WORKLOADS_FAULTS, WORKLOADS_UNRESOLVED, WORKLOADS_UP},
};
use reading::{Batch, Fault, Identity, Labels, Subject};
use source::lock;
use tokio::{runtime, time::sleep};
use tracing::{info, warn};

use crate::{
    cdi::Specs,
    kubelet::{Interface, Kubelet, Listed, Settings},
    resolve::{Resolved, resolve},
};

/// How often the devices are compared with those of the last list: one that appears has its holders within this.
const LOOK: Duration = Duration::from_secs(1);

/// How much later than after two intervals a list is no longer used: calls of the kubelet have a deadline, so only a
/// thread that the kernel holds up comes this late.
const SLACK: Duration = Duration::from_secs(15);

/// The stack of the thread.
const STACK_BYTES: usize = 256 << 10;

/// The devices of this node and their partitions, each device before its partitions.
pub type ListDevices = Box<dyn Fn() -> Vec<Arc<Identity>> + Send>;

/// What is known of holders; shared with the thread that keeps it up to date.
#[derive(Debug)]
pub struct Room {
    state: Mutex<State>,
    longest: Duration,
}

#[derive(Debug, Default)]
struct State {
    /// When the kubelet was last asked.
    asked: Option<Instant>,
    resolved: Resolved,
    /// Whether each interface of this node gave its last list.
    up: Vec<(&'static str, bool)>,
    faults: BTreeMap<(&'static str, Fault), (Labels, u64)>,
}

impl Room {
    /// Starts the thread, which runs to the end of the process.
    ///
    /// # Errors
    /// When there is no thread or no event loop.
    pub fn start(settings: &Settings, devices: ListDevices) -> io::Result<Arc<Self>> {
        let room = Arc::new(Self { state: Mutex::default(), longest: settings.interval * 2 + SLACK });
        let (kept, settings) = (Arc::clone(&room), settings.clone());
        let runtime = runtime()?;
        let run = move || runtime.block_on(kept.keep(&settings, &devices));
        thread::Builder::new().name("workloads".to_owned()).stack_size(STACK_BYTES).spawn(run)?;
        Ok(room)
    }

    /// Asks at the interval, for ever.
    async fn keep(&self, settings: &Settings, devices: &ListDevices) {
        let (mut kubelet, mut specs) = (Kubelet::new(settings), Specs::new(settings.cdi.clone()));
        let (mut listed, mut before) = (Listed::default(), Vec::new());
        let mut due = Instant::now();
        loop {
            let now = Instant::now();
            let is_due = now >= due;
            if is_due {
                due = now + settings.interval;
                listed = kubelet.list().await;
            }
            let present = devices();
            if is_due || present != before {
                let resolved = resolve(&listed.allocations, &listed.pods, &present, &mut specs);
                let mut state = lock(&self.state);
                state.resolved = resolved;
                if is_due {
                    state.note(&kubelet);
                }
                before = present;
            }
            sleep(LOOK.min(due.saturating_duration_since(Instant::now()))).await;
        }
    }

    /// What to export now: the holders of devices of these families, and what is known of the interfaces.
    pub fn read(&self, families: impl Fn(Family) -> bool) -> Vec<Subject> {
        let state = lock(&self.state);
        let Some(asked) = state.asked else { return Vec::new() };
        let is_fresh = asked.elapsed() <= self.longest;
        let mut batch = Batch::default();
        batch.begin_exporter();
        for (interface, up) in &state.up {
            batch.put(WORKLOADS_UP, Labels::one(Label::Interface, *interface), Ok(Flag(*up && is_fresh)));
        }
        for (labels, count) in state.faults.values() {
            batch.put(WORKLOADS_FAULTS, labels.clone(), Ok(Count(*count)));
        }
        let mut all = Vec::new();
        if is_fresh {
            let resolved = &state.resolved;
            for (family, count) in resolved.unresolved.iter().filter(|(family, _)| families(**family)) {
                batch.put(WORKLOADS_UNRESOLVED, Labels::one(Label::Family, family.name()), Ok(Count(*count)));
            }
            let of_families =
                |subject: &&Subject| subject.identity().is_some_and(|identity| families(identity.family));
            all.extend(resolved.holders.iter().filter(of_families).cloned());
            all.extend(resolved.pod_labels.iter().cloned());
        }
        all.extend(batch.finish());
        all
    }
}

impl State {
    /// Notes how the interfaces fared in a round that has just ended, and logs what has changed.
    fn note(&mut self, kubelet: &Kubelet) {
        self.asked = Some(Instant::now());
        let before = std::mem::take(&mut self.up);
        for Interface { name, socket, fault, .. } in kubelet.interfaces() {
            let (name, is_up) = (*name, fault.is_none());
            self.up.push((name, is_up));
            if let Some(fault) = fault {
                self.faults.entry((name, *fault)).or_insert_with(|| (labels(name, *fault), 0)).1 += 1;
            }
            let was = before.iter().find(|(known, _)| *known == name).map(|(_, was_up)| *was_up);
            if was == Some(is_up) {
                continue;
            }
            let socket = socket.iter().map(|path| path.display()).next();
            let socket = socket.map(tracing::field::display);
            match fault {
                None => info!(interface = name, socket, "the kubelet lists who holds a device"),
                Some(fault) => {
                    warn!(interface = name, socket, %fault, "the kubelet does not list who holds a device");
                }
            }
        }
    }
}

fn labels(interface: &'static str, fault: Fault) -> Labels {
    let values = [
        (Label::Interface, interface),
        (Label::Kind, fault.absence.name()),
        (Label::Call, fault.call),
        (Label::Code, fault.code.name()),
    ];
    Labels::Shared(values.map(|(label, value)| (label, value.to_owned())).into())
}

fn runtime() -> io::Result<runtime::Runtime> {
    runtime::Builder::new_current_thread().enable_io().enable_time().build()
}

/// How an interface of this node fared.
#[derive(Clone, Debug)]
pub struct InterfaceReport {
    /// Its name.
    pub name: &'static str,
    /// Its socket.
    pub socket: PathBuf,
    /// Why it gave no list.
    pub fault: Option<Fault>,
}

/// Who holds a device at one moment.
#[derive(Debug, Default)]
pub struct Holders {
    /// The interfaces that this node has; none where there is no kubelet.
    pub interfaces: Vec<InterfaceReport>,
    /// For each device that is held, its holders.
    pub holders: Vec<Subject>,
    /// Ids that no device has.
    pub unresolved: BTreeMap<Family, u64>,
}

impl Holders {
    /// Asks once who holds which of these devices; each device comes before its partitions.
    ///
    /// # Errors
    /// When there is no event loop.
    pub fn ask(settings: &Settings, devices: &[Arc<Identity>]) -> io::Result<Self> {
        let mut kubelet = Kubelet::new(settings);
        let listed = runtime()?.block_on(kubelet.list());
        let mut specs = Specs::new(settings.cdi.clone());
        let resolved = resolve(&listed.allocations, &listed.pods, devices, &mut specs);
        let report = |interface: &Interface| {
            let (name, fault) = (interface.name, interface.fault);
            Some(InterfaceReport { name, socket: interface.socket.clone()?, fault })
        };
        let interfaces = kubelet.interfaces().filter_map(report).collect();
        Ok(Self { interfaces, holders: resolved.holders, unresolved: resolved.unresolved })
    }
}
