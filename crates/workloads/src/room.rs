//! The thread that asks who holds a device and what holders used, and what it last found.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    path::{Path, PathBuf},
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
use tokio::{
    runtime::{self, Runtime},
    time::sleep,
};
use tracing::{info, warn};

use crate::{
    accounts::{Accounts, Holder, Names, Present},
    cdi::Specs,
    jobs::{self, Job},
    kubelet::{Interface, Kubelet, Listed, Settings},
    openers::Openers,
    resolve::{Devices, Resolved, resolve},
};

/// How often the devices are compared with those of the last list: one that appears has its holders within this.
const LOOK: Duration = Duration::from_secs(1);

/// How much later than after two intervals a list is no longer used: calls of the kubelet have a deadline, so only a
/// thread that the kernel holds up comes this late.
const SLACK: Duration = Duration::from_secs(15);

/// The stack of the thread.
const STACK_BYTES: usize = 256 << 10;

/// The devices of this node and their partitions, each device before its partitions.
pub type ListDevices = Box<dyn Fn() -> Vec<Present> + Send>;

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
    /// Memory and busy time of holders.
    used: Vec<Subject>,
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
        let run = move || kept.keep(&runtime, &settings, &devices);
        thread::Builder::new().name("workloads".to_owned()).stack_size(STACK_BYTES).spawn(run)?;
        Ok(room)
    }

    /// Asks at the interval, for ever.
    fn keep(&self, runtime: &Runtime, settings: &Settings, devices: &ListDevices) {
        let mut asked = Asked::new(settings);
        let (mut listed, mut jobs) = (Listed::default(), Vec::new());
        let (mut identities, mut others) = (Vec::new(), Vec::new());
        let mut accounts = Accounts::new(settings.procfs.clone());
        let mut due = Instant::now();
        loop {
            let now = Instant::now();
            let is_due = now >= due;
            if is_due {
                due = now + settings.interval;
                (listed, jobs) = runtime.block_on(asked.list());
            }
            let mut present = devices();
            asked.openers.add(&mut present, now);
            let sole = lock(&self.state).resolved.sole.clone();
            accounts.advance(&present, &Names { pods: &listed.pods, sole: &sole }, now);
            let before = std::mem::replace(&mut identities, identities_of(&present));
            let found = asked.others(&accounts, &jobs, &present, &identities, now);
            let others_before = std::mem::replace(&mut others, found);
            let used = accounts.subjects(&present);
            let is_new = is_due || identities != before || others != others_before;
            let resolved = is_new.then(|| resolve(&listed, others.clone(), &identities, &mut asked.specs));
            self.publish(used, resolved, is_due.then(|| asked.interfaces()));
            let wait = LOOK.min(due.saturating_duration_since(Instant::now()));
            // A connection is served meanwhile; an event loop without one would only wake up several times.
            if asked.kubelet.is_connected() {
                runtime.block_on(async { sleep(wait).await });
            } else {
                thread::sleep(wait);
            }
        }
    }

    fn publish<'a>(
        &self,
        used: Vec<Subject>,
        resolved: Option<Resolved>,
        interfaces: Option<impl Iterator<Item = &'a Interface>>,
    ) {
        let mut state = lock(&self.state);
        state.used = used;
        if let Some(resolved) = resolved {
            state.resolved = resolved;
        }
        if let Some(interfaces) = interfaces {
            state.note(interfaces);
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
            all.extend(resolved.holders.iter().chain(&state.used).filter(of_families).cloned());
            all.extend(resolved.pod_labels.iter().cloned());
        }
        all.extend(batch.finish());
        all
    }
}

impl State {
    /// Notes how the interfaces fared in a round that has just ended, and logs what has changed.
    fn note<'a>(&mut self, interfaces: impl Iterator<Item = &'a Interface>) {
        self.asked = Some(Instant::now());
        let before = std::mem::take(&mut self.up);
        for Interface { name, path, fault, .. } in interfaces {
            let (name, is_up) = (*name, fault.is_none());
            self.up.push((name, is_up));
            if let Some(fault) = fault {
                self.faults.entry((name, *fault)).or_insert_with(|| (labels(name, *fault), 0)).1 += 1;
            }
            let was = before.iter().find(|(known, _)| *known == name).map(|(_, was_up)| *was_up);
            if was == Some(is_up) {
                continue;
            }
            let path = path.as_deref().unwrap_or(Path::new("")).display();
            match fault {
                None => info!(interface = name, %path, "who holds a device is listed"),
                Some(fault) => warn!(interface = name, %path, %fault, "who holds a device cannot be listed"),
            }
        }
    }
}

/// Who is asked, and what is kept between two rounds.
struct Asked {
    kubelet: Kubelet,
    jobs: Interface,
    openers: Openers,
    specs: Specs,
}

impl Asked {
    fn new(settings: &Settings) -> Self {
        Self {
            kubelet: Kubelet::new(settings),
            jobs: Interface::new("job_mapping", settings.jobs.clone()),
            openers: Openers::new(&settings.procfs),
            specs: Specs::new(settings.cdi.clone()),
        }
    }

    /// The interfaces that this node has.
    fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        let others = [&self.jobs, &self.openers.interface].into_iter();
        self.kubelet.interfaces().chain(others.filter(|interface| interface.path.is_some()))
    }

    /// Asks each once.
    async fn list(&mut self) -> (Listed, Vec<Job>) {
        let listed = self.kubelet.list().await;
        let jobs = self.jobs.path.as_deref().map(jobs::list);
        let jobs = jobs.and_then(|jobs| self.jobs.note(jobs)).unwrap_or_default();
        (listed, jobs)
    }

    /// Holders that the kubelet does not know: jobs by their files, and whatever else has a process on a device. Of pods
    /// the kubelet knows more, and of a job its file.
    fn others(
        &self,
        accounts: &Accounts,
        jobs: &[Job],
        present: &[Present],
        identities: &[Arc<Identity>],
        now: Instant,
    ) -> Vec<(usize, Holder)> {
        // Most nodes have no files of jobs, and this is asked every second.
        let devices = if jobs.is_empty() { Devices::new(&[]) } else { Devices::new(identities) };
        let holder = |job: &Job| {
            let user = job.user.clone().map(|user| (Label::User, user));
            let kind = (Label::WorkloadKind, "slurm".to_owned());
            [Some(kind), Some((Label::Job, job.id.clone())), user].into_iter().flatten().collect()
        };
        let mut all: Vec<(usize, Holder)> =
            jobs.iter().filter_map(|job| Some((devices.of_any_family(&job.device)?, holder(job)))).collect();
        let has_file: HashSet<_> = all.iter().map(|(index, _)| *index).collect();
        let knows_pods = self.kubelet.resources.path.is_some();
        let by_process = accounts.holders(present, now).filter(|(index, holder)| {
            let is = |kind: &str| {
                holder.iter().any(|(label, value)| *label == Label::WorkloadKind && value == kind)
            };
            !(knows_pods && is("pod") || has_file.contains(index) && is("slurm"))
        });
        all.extend(by_process.map(|(index, holder)| (index, holder.clone())));
        all
    }
}

fn identities_of(present: &[Present]) -> Vec<Arc<Identity>> {
    present.iter().map(|device| Arc::clone(&device.identity)).collect()
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

fn runtime() -> io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_io().enable_time().build()
}

/// How an interface of this node fared.
#[derive(Clone, Debug)]
pub struct InterfaceReport {
    /// Its name.
    pub name: &'static str,
    /// Its socket or folder.
    pub path: PathBuf,
    /// Why it gave no list.
    pub fault: Option<Fault>,
}

/// Who holds a device at one moment.
#[derive(Debug, Default)]
pub struct Holders {
    /// The interfaces that this node has; none where there is neither a kubelet nor a folder of jobs.
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
    pub fn ask(settings: &Settings, devices: &[Present]) -> io::Result<Self> {
        let mut asked = Asked::new(settings);
        let (listed, jobs) = runtime()?.block_on(asked.list());
        let now = Instant::now();
        let devices = &mut devices.to_vec();
        asked.openers.add(devices, now);
        let mut accounts = Accounts::new(settings.procfs.clone());
        accounts.advance(devices, &Names { pods: &listed.pods, sole: &HashMap::new() }, now);
        let identities = identities_of(devices);
        let others = asked.others(&accounts, &jobs, devices, &identities, now);
        let resolved = resolve(&listed, others, &identities, &mut asked.specs);
        let report = |interface: &Interface| {
            let (name, fault) = (interface.name, interface.fault);
            Some(InterfaceReport { name, path: interface.path.clone()?, fault })
        };
        let interfaces = asked.interfaces().filter_map(report).collect();
        Ok(Self { interfaces, holders: resolved.holders, unresolved: resolved.unresolved })
    }
}
