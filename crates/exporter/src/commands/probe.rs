//! The `probe` command: what is on this node, which library reported it, and every metric or why it is
//! missing.
//!
//! Each device is sampled twice, since rates need two points. The JSON is, with fields only ever added:
//!
//! ```text
//! {"sources": [{
//!     "source": "nvidia", "library": "...", "version": "...", "simulated": null | "machine",
//!     "unavailable": null | "reason", "expected": null | devices on the PCI bus,
//!     "functions": [{"address": "0000:19:00.0", "driver": null | "nvidia", "counted": true, "listed": false,
//!                    "why": null | "...", "kernel_log": null | "..."}],
//!     "devices": [{
//!         "key": "...", "address": null | "0000:19:00.0", "labels": {"family": "...", "device": "...", ...}, "info": {"model": "...", ...},
//!         "unavailable": null | {"kind": "...", "call": "...", "code": "...", ...},
//!         "metrics": [{
//!             "metric": "accel_power_watts", "unit": "watts",
//!             "series": [{"labels": {...}, "value": 412.5}],
//!             "absent": [{"labels": {...}, "kind": "...", "call": "...", "code": "...",
//!                         "meaning": null | "...", "what_to_do": null | "..."}]
//! }]}]}],
//! "workloads": null | {
//!     "interfaces": [{"interface": "pod_resources", "path": "...", "unavailable": null | {"kind": "...", ...}}],
//!     "holders": [{"family": "...", "device": "...", "workload_kind": "pod", "pod": "...", ...}],
//!     "unresolved": {"nvidia": ids that no device has}
//! }}
//! ```
//!
//! A metric with neither series nor absences was not reported: the device has nothing of that kind.

mod functions;
mod workloads;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use naming::{Errno, Family, Id, ReturnedCode, Scope, Value, catalogue::DEVICE_INFO};
use reading::{Absence, Backend, Batch, Code, Fault, FaultCode, Found, Identity, Lost, Prior, Source};
use serde::Serialize;

use ::workloads::{Present, Settings};

use self::{functions::FunctionReport, workloads::WorkloadsReport};
use crate::sampling::{
    bus::PciBus,
    worker::{Open, STACK_BYTES},
};

/// How long opening a library may take: a driver without persistence mode needs seconds for each device.
const CONNECT_DEADLINE: Duration = Duration::from_secs(30);
/// How long listing the devices, or two samples of one, may take.
const DEVICE_DEADLINE: Duration = Duration::from_secs(10);
/// Between the two samples of a device.
const BETWEEN_SAMPLES: Duration = Duration::from_millis(150);

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    sources: Vec<SourceReport>,
    /// `None` where nobody is asked.
    workloads: Option<WorkloadsReport>,
}

#[derive(Debug, Default, Serialize)]
struct SourceReport {
    source: &'static str,
    library: String,
    version: String,
    simulated: Option<String>,
    unavailable: Option<String>,
    /// Unavailable because a call failed, not because there is no library or interface.
    #[serde(skip)]
    failed: bool,
    expected: Option<usize>,
    functions: Vec<FunctionReport>,
    devices: Vec<DeviceReport>,
}

#[derive(Debug, Serialize)]
struct DeviceReport {
    /// The device, then its partitions.
    #[serde(skip)]
    present: Vec<Present>,
    key: String,
    address: Option<String>,
    labels: BTreeMap<&'static str, String>,
    info: BTreeMap<&'static str, String>,
    unavailable: Option<Reason>,
    metrics: Vec<MetricReport>,
}

#[derive(Debug, Serialize)]
struct MetricReport {
    metric: &'static str,
    unit: &'static str,
    series: Vec<Series>,
    absent: Vec<Missing>,
}

#[derive(Debug, Serialize)]
struct Series {
    labels: BTreeMap<&'static str, String>,
    value: Number,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Number {
    Int(u64),
    Float(f64),
}

#[derive(Debug, Serialize)]
struct Missing {
    labels: BTreeMap<&'static str, String>,
    #[serde(flatten)]
    reason: Reason,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Reason {
    kind: &'static str,
    call: &'static str,
    code: &'static str,
    /// `None` for a code of the vendor that costs one value.
    meaning: Option<&'static str>,
    what_to_do: Option<&'static str>,
}

impl From<Fault> for Reason {
    fn from(fault: Fault) -> Self {
        let known = match fault.code {
            Code::Known(code) => Some((code.meaning(), code.what_to_do())),
            Code::Returned(name) => Errno::named(name)
                .map(|errno| (errno.meaning, errno.what_to_do))
                .or_else(|| ReturnedCode::of(name).map(|row| (row.meaning, row.what_to_do))),
        };
        let (meaning, what_to_do) = known.unzip();
        Self { kind: fault.absence.name(), call: fault.call, code: fault.code.name(), meaning, what_to_do }
    }
}

/// Looks at every source once, and at the bus below `sysfs`.
pub fn run(sources: Vec<Box<dyn Source>>, sysfs: &Path) -> Report {
    Report { sources: sources.into_iter().map(|one| source(one, sysfs)).collect(), workloads: None }
}

fn source(source: Box<dyn Source>, sysfs: &Path) -> SourceReport {
    let family = source.family();
    let users = family.pci().and_then(|wanted| PciBus::new(sysfs, wanted).users());
    let counted = users.as_ref().map(|users| {
        let counted = users.iter().filter(|(_, user)| user.counts());
        counted.map(|(address, _)| address.clone()).collect::<BTreeSet<_>>()
    });
    let expected = counted.as_ref().map(BTreeSet::len);
    let prior = Prior { bus: counted, ..Prior::default() };
    let report = look(source, prior);
    let listed: Vec<_> = report.devices.iter().filter_map(|device| device.address.as_deref()).collect();
    let functions = functions::reports(users.unwrap_or_default(), family, &listed, sysfs);
    SourceReport { expected, functions, ..report }
}

fn look(mut source: Box<dyn Source>, prior: Prior) -> SourceReport {
    let family = source.family();
    let none = SourceReport { source: family.name(), ..SourceReport::default() };
    let connecting = in_thread(move || source.connect());
    let mut session = match wait(&connecting, "connect", Instant::now() + CONNECT_DEADLINE) {
        Ok(Ok(session)) => session,
        Ok(Err(unavailable)) => return SourceReport { unavailable: Some(unavailable.to_string()), ..none },
        Err(fault) => return none.without_devices(fault),
    };
    let Backend { library, version, simulated } = session.backend().clone();
    let known = SourceReport { library, version, simulated, ..none };
    let listing = in_thread(move || {
        let found = session.devices(&prior).map_err(fault_of);
        (session, found)
    });
    let (session, found) = match wait(&listing, "devices", Instant::now() + DEVICE_DEADLINE) {
        Ok((session, Ok(found))) => (session, found),
        Ok((_, Err(fault))) | Err(fault) => {
            return known.without_devices(fault);
        }
    };
    let sampling: Vec<_> = found
        .into_iter()
        .map(|Found { key, address, identity, open }| {
            (key, address, identity, in_thread(move || sample(open)))
        })
        .collect();
    let until = Instant::now() + DEVICE_DEADLINE;
    let devices = sampling
        .into_iter()
        .map(|(key, address, identity, sampled)| {
            let sampled = wait(&sampled, "sample", until).unwrap_or_else(Err);
            DeviceReport { address, ..device(family, key, &identity, sampled) }
        })
        .collect();
    // Closing the driver may hang as well; nothing depends on it any more.
    let _ = wait(&in_thread(move || drop(session)), "close", Instant::now() + DEVICE_DEADLINE);
    SourceReport { devices, ..known }
}

fn sample(open: Open) -> Result<Batch, Fault> {
    let mut sampler = open()?;
    sampler.sample(&mut Batch::default()).map_err(fault_of)?;
    thread::sleep(BETWEEN_SAMPLES);
    let mut batch = Batch::default();
    sampler.sample(&mut batch).map_err(fault_of)?;
    Ok(batch)
}

fn fault_of(lost: Lost) -> Fault {
    let (Lost::Device(fault) | Lost::Session(fault)) = lost;
    fault
}

/// Runs driver calls on a thread that can be abandoned.
fn in_thread<T: Send + 'static>(calls: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (sender, receiver) = mpsc::channel();
    // Without a thread, as after a panic, the sender is dropped and the wait ends at once. A late result
    // may have no receiver any more.
    let _ = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        let _ = sender.send(calls());
    });
    receiver
}

fn wait<T>(result: &Receiver<T>, call: &'static str, until: Instant) -> Result<T, Fault> {
    result.recv_timeout(until.saturating_duration_since(Instant::now())).map_err(|error| match error {
        RecvTimeoutError::Timeout => Fault::new(call, FaultCode::Deadline),
        RecvTimeoutError::Disconnected => Fault::new(call, FaultCode::Panic),
    })
}

fn device(
    family: Family,
    key: String,
    of_device: &Arc<Identity>,
    sampled: Result<Batch, Fault>,
) -> DeviceReport {
    let identity: BTreeMap<_, _> = of_device.labels().map(|(name, value)| (name, value.to_owned())).collect();
    let (batch, unavailable) = match sampled {
        Ok(batch) => (batch, None),
        Err(fault) => (Batch::default(), Some(fault.into())),
    };
    let info = batch.groups.iter().flat_map(|group| &group.readings);
    let info = info.clone().find(|reading| reading.id == DEVICE_INFO.id).map(|reading| &reading.labels);
    let reported = |id: Id| {
        let metric = id.metric();
        let mut series = Vec::new();
        for group in &batch.groups {
            for reading in group.readings.iter().filter(|reading| reading.id == id) {
                let mut labels = reading.labels.texts();
                // What distinguishes a partition from its device.
                let own = group.identity.iter().flat_map(|identity| identity.labels());
                let own = own.filter(|(name, value)| identity.get(name).is_none_or(|of| of != value));
                labels.extend(own.map(|(name, value)| (name, value.to_owned())));
                series.push(Series { labels, value: number(&reading.value) });
            }
        }
        let absent = batch.absences.iter().filter(|absent| absent.id == id);
        let absent =
            absent.map(|absent| Missing { labels: absent.labels.texts(), reason: absent.fault.into() });
        // A quantity that the unified schema does not have is listed under the vendor's name.
        let vendor = || metric.vendor_names().find(|row| row.family == family).map(|row| row.name);
        let name = metric.name.or_else(vendor);
        MetricReport {
            metric: name.unwrap_or_default(),
            unit: metric.unit.suffix(),
            series,
            absent: absent.collect(),
        }
    };
    let of_family = |id: &Id| {
        let metric = id.metric();
        metric.scope == Scope::Device && metric.source(family).is_some()
    };
    let parts = batch.groups.iter().filter_map(|group| group.identity.as_ref());
    let parts = parts.filter(|part| !part.is_same(of_device));
    let present = |identity: &Arc<Identity>| {
        let clients =
            batch.clients.iter().filter(|client| client.identity.is_same(identity)).cloned().collect();
        Present { identity: Arc::clone(identity), memory_used: None, busy_seconds: Vec::new(), clients }
    };
    DeviceReport {
        present: std::iter::once(of_device).chain(parts).map(present).collect(),
        key,
        address: None,
        info: info.map(reading::Labels::texts).unwrap_or_default(),
        metrics: if unavailable.is_some() {
            Vec::new()
        } else {
            Id::all().filter(of_family).map(reported).collect()
        },
        labels: identity,
        unavailable,
    }
}

fn number(value: &Value) -> Number {
    match value {
        Value::Int(value) => Number::Int(*value),
        value => Number::Float(value.as_f64()),
    }
}

impl Report {
    /// Asks who holds the devices.
    ///
    /// # Errors
    /// One line, when the process has no resources for that.
    pub fn ask_who_holds(&mut self, settings: &Settings) -> Result<(), String> {
        let devices = self.sources.iter().flat_map(|source| &source.devices);
        let devices: Vec<_> = devices.flat_map(|device| device.present.iter().cloned()).collect();
        self.workloads = Some(WorkloadsReport::ask(settings, &devices)?);
        Ok(())
    }

    /// Whether there is no device on this node, as far as its sources could be asked and its bus shows.
    pub fn found_nothing(&self) -> bool {
        self.sources.iter().all(|source| source.devices.is_empty() && source.unreadable().is_none())
    }

    /// What is there but cannot be read, in one line; the last one for people.
    pub fn unreadable(&self) -> Option<String> {
        let all: Vec<_> = self.sources.iter().filter_map(SourceReport::unreadable).collect();
        (!all.is_empty()).then(|| format!("cannot be read: {}", all.join("; ")))
    }

    /// For machines.
    pub fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("no map has keys other than strings");
        text.push('\n');
        text
    }

    /// For people.
    pub fn table(&self) -> String {
        let sources = self.sources.iter().flat_map(SourceReport::lines);
        let lines: Vec<_> = sources.chain(self.workloads.iter().flat_map(WorkloadsReport::lines)).collect();
        lines.join("\n") + "\n"
    }

    /// For people, below the table: the meaning of each of its codes, and what to do about it.
    pub fn advice(&self) -> String {
        let devices = self.sources.iter().flat_map(|source| &source.devices);
        let reasons = devices.flat_map(|device| {
            let absent = device.metrics.iter().filter_map(|metric| metric.absent.first());
            device.unavailable.iter().chain(absent.map(|missing| &missing.reason))
        });
        let of_workloads = self.workloads.iter().flat_map(WorkloadsReport::reasons);
        let advice: BTreeMap<_, _> = reasons
            .chain(of_workloads)
            .filter_map(|reason| Some((reason.code, (reason.meaning?, reason.what_to_do?))))
            .collect();
        advice.iter().fold(String::new(), |mut text, (code, (meaning, what_to_do))| {
            let heading = if text.is_empty() { "\n" } else { "" };
            text.extend([heading, code, ": ", meaning, "\n  What to do: ", what_to_do, "\n"]);
            text
        })
    }
}

impl SourceReport {
    fn without_devices(self, fault: Fault) -> Self {
        let failed = fault.absence != Absence::Unsupported;
        Self { unavailable: Some(fault.to_string()), failed, ..self }
    }

    fn unreadable(&self) -> Option<String> {
        let name = self.source;
        let listed = self.devices.len();
        let missing: Vec<_> = self.functions.iter().filter(|function| function.is_missing()).collect();
        match &self.unavailable {
            Some(reason) if self.failed => return Some(format!("{name}: {reason}")),
            Some(reason) if !missing.is_empty() => {
                let count = missing.len();
                return Some(format!("{name}: {count} of {count} devices ({reason})"));
            }
            _ => {}
        }
        let faults = self.devices.iter().filter_map(|device| {
            let Reason { kind, call, code, .. } = device.unavailable.as_ref()?;
            Some(format!("{}: {kind}: {call} ({code})", device.field("device")))
        });
        let mut faults: Vec<_> = faults.collect();
        let mut count = faults.len();
        // Devices that do not say where they are may be some of these functions.
        let unplaced = self.devices.iter().filter(|device| device.address.is_none()).count();
        if let Some(unlisted) = missing.len().checked_sub(unplaced).filter(|unlisted| *unlisted > 0) {
            count += unlisted;
            let addresses: Vec<_> = missing.iter().map(|function| function.address.as_str()).collect();
            faults.push(match unplaced {
                0 => format!("not listed by the driver: {}", addresses.join(", ")),
                _ => format!("{unlisted} on the PCI bus not listed by the driver"),
            });
        }
        let all = self.expected.unwrap_or(listed).max(listed);
        (count > 0).then(|| format!("{name}: {count} of {all} devices ({})", faults.join(", ")))
    }

    fn lines(&self) -> Vec<String> {
        let name = self.source;
        let mut lines = Vec::new();
        if !self.library.is_empty() {
            lines.push(format!("{name}: {}, {}", self.library, self.version));
        }
        if let Some(machine) = &self.simulated {
            lines.push(format!("  SIMULATED machine {machine}: no number here is a measurement"));
        }
        match &self.unavailable {
            Some(reason) => lines.push(format!("{name}: {reason}")),
            None if self.devices.is_empty() => lines.push(format!("{name}: no device is listed")),
            None => {}
        }
        lines.extend(self.functions.iter().flat_map(FunctionReport::lines));
        lines.extend(functions::not_counted(&self.functions));
        for device in &self.devices {
            lines.push(String::new());
            lines.extend(device.lines());
        }
        lines
    }
}

impl DeviceReport {
    fn field(&self, name: &str) -> &str {
        self.info.get(name).or_else(|| self.labels.get(name)).map_or("", String::as_str)
    }

    fn lines(&self) -> Vec<String> {
        let [device, model, uuid] = ["device", "model", "uuid"].map(|name| self.field(name));
        let address = self.address.as_deref().filter(|address| *address != device).unwrap_or_default();
        let title = [device, model, uuid, address].into_iter().filter(|part| !part.is_empty());
        let title: Vec<_> = title.collect();
        let mut lines = vec![format!("  {}", title.join("  "))];
        if let Some(Reason { kind, call, code, .. }) = &self.unavailable {
            lines.push(format!("    {kind}: {call} ({code})"));
        }
        let widest = self.metrics.iter().map(|metric| metric.metric.len()).max().unwrap_or(0);
        for metric in &self.metrics {
            lines.push(format!("    {:widest$}  {}", metric.metric, metric.summary()));
        }
        lines
    }
}

impl MetricReport {
    /// The value, one of several, and the reason where one is absent.
    fn summary(&self) -> String {
        let braces = |labels: &BTreeMap<&str, String>| {
            let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            if labels.is_empty() { String::new() } else { format!(" {{{}}}", labels.join(",")) }
        };
        let value = |series: &Series| match &series.value {
            Number::Int(value) => value.to_string(),
            Number::Float(value) => value.to_string(),
        };
        let series = match &*self.series {
            [] => String::new(),
            [one] if self.metric == DEVICE_INFO.name() => value(one),
            [one] => format!("{}{}", value(one), braces(&one.labels)),
            [first, rest @ ..] => {
                format!("{}{}  and {} more series", value(first), braces(&first.labels), rest.len())
            }
        };
        match self.absent.first() {
            None if series.is_empty() => "not reported".to_owned(),
            None => series,
            Some(Missing { labels, reason: Reason { kind, call, code, .. } }) => {
                let without =
                    if series.is_empty() { series } else { format!("{series}  without{}: ", braces(labels)) };
                format!("{without}{kind}: {call} ({code})")
            }
        }
    }
}
