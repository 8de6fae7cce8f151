//! Memory and busy time of each holder, from what the drivers report of processes.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use kernel::File;
use naming::{
    Bytes, Label, Seconds,
    catalogue::{WORKLOAD_ENGINE_BUSY, WORKLOAD_MEMORY_USED},
};
use reading::{Batch, Client, Identity, Labels, Subject};

use crate::{cgroup::Workload, pod_info::Pods};

/// A holder: its labels, in the order of the catalogue.
pub type Holder = Vec<(Label, String)>;

/// Seconds by engine. There are few engines, and this is listed anew each second.
type Busy = Vec<(&'static str, f64)>;

/// The seconds of an engine.
fn seconds_of(busy: &Busy, engine: &str) -> Option<f64> {
    busy.iter().find(|(known, _)| *known == engine).map(|(_, seconds)| *seconds)
}

/// How long the series of a holder stay after its last process has ended, so that the last increase is scraped.
const GONE: Duration = Duration::from_mins(2);

/// A device or partition as it is exported now.
#[derive(Clone, Debug)]
pub struct Present {
    /// Its labels.
    pub identity: Arc<Identity>,
    /// Memory in use, as the device itself reports it.
    pub memory_used: Option<u64>,
    /// Busy time of each engine, as the device itself reports it; the names are values of the label `engine`.
    pub busy_seconds: Busy,
    /// Processes on it.
    pub clients: Vec<Client>,
}

/// Whose processes these are. A process is looked up once.
#[derive(Debug)]
struct Processes {
    procfs: PathBuf,
    /// By id: when it started, which distinguishes it from a later one of that id, and what it works for.
    known: HashMap<u32, (u64, Option<Workload>)>,
}

impl Processes {
    fn workload(&mut self, pid: u32) -> Option<&Workload> {
        let started = started(&self.procfs, pid)?;
        let known =
            self.known.get(&pid).is_some_and(|(since, workload)| *since == started && workload.is_some());
        if !known {
            // A process may enter its group after it has opened the device, so one without a workload is looked up
            // again.
            self.known.insert(pid, (started, Workload::of_process(&self.procfs, pid)));
        }
        self.known.get(&pid)?.1.as_ref()
    }
}

/// When a process started, in ticks since boot (proc_pid_stat(5), starttime).
fn started(procfs: &Path, pid: u32) -> Option<u64> {
    let stat = File::new(&procfs.join(pid.to_string()), "stat").text().ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// What was used of every device, by holder.
#[derive(Debug)]
pub struct Accounts {
    processes: Processes,
    devices: HashMap<String, Account>,
}

/// What was used of one device.
#[derive(Debug, Default)]
struct Account {
    /// By process, what was last reported.
    last: HashMap<u32, Busy>,
    holders: BTreeMap<Holder, Use>,
    /// Whether the memory of a process was ever reported.
    has_memory: bool,
    /// The device's own busy time when it was first followed.
    base: Option<Busy>,
    /// Busy time that was given to some holder.
    given: BTreeMap<&'static str, f64>,
    /// Busy time that was not; it never falls.
    rest: BTreeMap<&'static str, f64>,
}

/// What one holder used.
#[derive(Debug)]
struct Use {
    memory: Option<u64>,
    busy: BTreeMap<&'static str, f64>,
    seen: Instant,
}

/// What distinguishes a device or partition from every other.
fn key(identity: &Identity) -> String {
    identity.labels().map(|(_, value)| value).collect::<Vec<_>>().join("\n")
}

impl Accounts {
    /// Nothing used yet; processes are looked up below `procfs`.
    pub fn new(procfs: PathBuf) -> Self {
        let processes = Processes { procfs, known: HashMap::new() };
        Self { processes, devices: HashMap::new() }
    }

    /// Adds what was used since the last time.
    pub fn advance(&mut self, present: &[Present], names: &Names<'_>, now: Instant) {
        let mut before = std::mem::take(&mut self.devices);
        for (index, device) in present.iter().enumerate() {
            let key = key(&device.identity);
            let known = before.remove(&key);
            if known.is_none() && device.clients.is_empty() {
                continue;
            }
            let mut account = known.unwrap_or_default();
            account.advance(device, now, |pid| Some(names.holder(index, self.processes.workload(pid)?)));
            self.devices.insert(key, account);
        }
        let is_client =
            |pid: &u32| present.iter().any(|device| device.clients.iter().any(|client| client.pid == *pid));
        self.processes.known.retain(|pid, _| is_client(pid));
    }

    /// The holders of each device that have processes on it now.
    pub fn holders<'a>(
        &'a self,
        present: &'a [Present],
        now: Instant,
    ) -> impl Iterator<Item = (usize, &'a Holder)> {
        present.iter().enumerate().flat_map(move |(index, device)| {
            let key = key(&device.identity);
            let holders = self.devices.get(&key).into_iter().flat_map(|account| &account.holders);
            holders.filter(move |(_, used)| used.seen == now).map(move |(holder, _)| (index, holder))
        })
    }

    /// The series of every device.
    pub fn subjects(&self, present: &[Present]) -> Vec<Subject> {
        let mut batch = Batch::default();
        for device in present {
            let key = key(&device.identity);
            if let Some(account) = self.devices.get(&key) {
                batch.begin(&device.identity);
                account.put(device, &mut batch);
            }
        }
        batch.finish()
    }
}

impl Account {
    fn advance(&mut self, device: &Present, now: Instant, mut holder: impl FnMut(u32) -> Option<Holder>) {
        let base = self.base.get_or_insert_with(|| device.busy_seconds.clone());
        for used in self.holders.values_mut() {
            used.memory = None;
        }
        let mut last = std::mem::take(&mut self.last);
        for Client { pid, memory_bytes, busy_seconds, .. } in &device.clients {
            self.has_memory |= memory_bytes.is_some();
            let before = last.remove(pid);
            let holder = holder(*pid);
            let used = holder.map(|holder| {
                let new = || Use { memory: None, busy: BTreeMap::new(), seen: now };
                let used = self.holders.entry(holder).or_insert_with(new);
                used.seen = now;
                used.memory = memory_bytes.map(|bytes| bytes + used.memory.unwrap_or(0)).or(used.memory);
                used
            });
            if let Some(used) = used {
                for (engine, seconds) in busy_seconds {
                    // The first report of a process is of the time since the driver's list was first read.
                    let known = before.as_ref().and_then(|before| seconds_of(before, engine)).unwrap_or(0.0);
                    let more = (seconds - known).max(0.0);
                    *used.busy.entry(engine).or_default() += more;
                    *self.given.entry(engine).or_default() += more;
                }
            }
            self.last.insert(*pid, busy_seconds.clone());
        }
        self.holders.retain(|_, used| now.saturating_duration_since(used.seen) < GONE);
        for (engine, given) in &self.given {
            let Some(own) = seconds_of(&device.busy_seconds, engine) else { continue };
            let since = seconds_of(base, engine).unwrap_or(0.0);
            let rest = self.rest.entry(engine).or_default();
            *rest = rest.max(own - since - given);
        }
    }

    fn put(&self, device: &Present, batch: &mut Batch) {
        // While nobody is known, the rest is what the device reports anyway.
        if self.holders.is_empty() && self.given.is_empty() {
            return;
        }
        let rest = vec![(Label::WorkloadKind, "unattributed".to_owned())];
        let with_engine = |engine: &str, holder: &Holder| {
            let engine = std::iter::once((Label::Engine, engine.to_owned()));
            Labels::Shared(engine.chain(holder.iter().cloned()).collect())
        };
        for (holder, used) in &self.holders {
            if let Some(memory) = used.memory {
                batch.put(WORKLOAD_MEMORY_USED, Labels::Shared(holder.clone().into()), Ok(Bytes(memory)));
            }
            for (engine, seconds) in &used.busy {
                batch.put(WORKLOAD_ENGINE_BUSY, with_engine(engine, holder), Ok(Seconds(*seconds)));
            }
        }
        if let Some(used) = device.memory_used.filter(|_| self.has_memory) {
            let given: u64 = self.holders.values().filter_map(|used| used.memory).sum();
            let labels = Labels::Shared(rest.clone().into());
            batch.put(WORKLOAD_MEMORY_USED, labels, Ok(Bytes(used.saturating_sub(given))));
        }
        for (engine, seconds) in &self.rest {
            batch.put(WORKLOAD_ENGINE_BUSY, with_engine(engine, &rest), Ok(Seconds(*seconds)));
        }
    }
}

/// Names for what the control group of a process says.
pub struct Names<'a> {
    /// What is known of pods.
    pub pods: &'a Pods,
    /// For a device that one container alone was given, namespace, pod and container.
    pub sole: &'a HashMap<usize, [String; 3]>,
}

impl Names<'_> {
    /// The labels of the holder of a device's process.
    fn holder(&self, device: usize, workload: &Workload) -> Holder {
        let kind = |kind: &str| Some((Label::WorkloadKind, kind.to_owned()));
        let some = |label, text: &Option<String>| text.clone().map(|text| (label, text));
        let text = |label, text: &String| Some((label, text.clone()));
        let labels: Vec<_> = match workload {
            Workload::Pod { uid, container } => {
                let known = self.pods.iter().find(|(_, pod)| pod.uid == *uid);
                let [namespace, pod, name] = match (known, self.sole.get(&device)) {
                    (Some(((namespace, pod), _)), alone) => {
                        // Its name in the pod is known where nothing else was given the device.
                        let alone = alone.filter(|[within, of, _]| (within, of) == (namespace, pod));
                        let name = alone.map(|[.., name]| name.clone()).or_else(|| container.clone());
                        [Some(namespace.clone()), Some(pod.clone()), name]
                    }
                    (None, Some(alone)) => alone.clone().map(Some),
                    (None, None) => [None, None, container.clone()],
                };
                vec![
                    kind("pod"),
                    some(Label::Namespace, &namespace),
                    some(Label::Pod, &pod),
                    some(Label::Container, &name),
                    text(Label::PodUid, uid),
                ]
            }
            Workload::Container { id } => vec![kind("container"), text(Label::Container, id)],
            Workload::Slurm { job, user } => {
                vec![kind("slurm"), text(Label::Job, job), some(Label::User, user)]
            }
            Workload::Unit { name, user } => {
                vec![kind("unit"), text(Label::Job, name), some(Label::User, user)]
            }
        };
        labels.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests;
