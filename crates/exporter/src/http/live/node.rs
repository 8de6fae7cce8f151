//! The JSON of `/api/v1/node`, as docs/live.md describes it. What is absent has no member.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use naming::{
    Family, Id, Label,
    catalogue::{
        CLOCK, CLOCK_MAX, DEVICE_ASLEEP, DEVICE_INFO, ENGINE_ACTIVE, ERROR_LAST, ERRORS, LINK_UP,
        MEMORY_TOTAL, MEMORY_USED, PCIE_GENERATION, PCIE_GENERATION_MAX, PCIE_WIDTH, PCIE_WIDTH_MAX, POWER,
        POWER_LIMIT, TEMPERATURE, TEMPERATURE_LIMIT, THROTTLE_ACTIVE, UTILIZATION,
    },
};
use reading::{Reading, Subject};
use serde::{Serialize, Serializer};
use thresholds::{Facts, HealthReason, Judge, Point, State};

use super::holders::{Holder, Holders, Interface};
use crate::{
    health::{Verdict, report::Why},
    sampling::{
        device::{Device, Snapshot, Status},
        history::STEP,
        state::{ConnectionStatus, NodeState, SourceState},
    },
};

/// The version of the document's shape: a member that is renamed or removed, or changes its meaning, raises it.
const SCHEMA: u32 = 1;

/// The node.
#[derive(Serialize)]
pub struct Node {
    schema: u32,
    pub program: &'static str,
    pub version: &'static str,
    /// Its name.
    #[serde(rename = "node")]
    pub name: String,
    /// The simulated machine behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simulated: Option<String>,
    /// When this was made, as Unix time.
    time_seconds: f64,
    interval_seconds: f64,
    /// Time between two points of a history.
    step_seconds: u64,
    /// The worst of its devices and sources.
    #[serde(serialize_with = "word")]
    pub state: State,
    pub sources: Vec<Source>,
    /// Those that know who holds a device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    workloads: Vec<Interface>,
    pub devices: Vec<Card>,
}

/// A source.
#[derive(Serialize)]
pub struct Source {
    pub family: &'static str,
    /// `up`, `down`, `absent` or `connecting`.
    pub status: &'static str,
    #[serde(serialize_with = "word")]
    pub state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    devices: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    devices_expected: Option<usize>,
}

/// A device: a tile of the page.
#[derive(Serialize)]
pub struct Card {
    pub family: &'static str,
    pub device: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uuid: Option<String>,
    /// `up`, `down`, `gone`, `detached` or `starting`.
    pub status: &'static str,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(serialize_with = "word")]
    pub state: State,
    /// What is not OK.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Whether it can be given work: the word of its verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<&'static str>,
    /// Why not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub health_reasons: Vec<Why>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<f64>,
    /// What it is, by the labels of its info metric.
    pub info: BTreeMap<&'static str, String>,
    /// Who holds it, or a part of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Holder>,
    #[serde(flatten)]
    pub figures: Figures,
    /// Critical events that were counted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Error>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    partitions: Vec<Partition>,
    history: History,
}

/// A signal that is not OK.
#[derive(Serialize)]
pub struct Finding {
    signal: String,
    pub title: String,
    #[serde(serialize_with = "word")]
    pub state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    /// The value with its unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// What is read of a device or partition, in base units.
#[derive(Serialize)]
pub struct Figures {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilization_ratio: Option<f64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub engines: BTreeMap<String, f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used_bytes: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_total_bytes: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_watts: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_limit_watts: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub temperatures: Vec<Temperature>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    clocks: Vec<Clock>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Links>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pcie: BTreeMap<&'static str, f64>,
    /// Reasons that hold the clocks below their maximum.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    throttled_by: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    asleep: bool,
}

/// A sensor, the hottest first but for the die.
#[derive(Serialize)]
pub struct Temperature {
    sensor: String,
    pub celsius: f64,
    /// Where the device slows down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_celsius: Option<f64>,
}

#[derive(Serialize)]
struct Clock {
    domain: String,
    hertz: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_hertz: Option<f64>,
}

/// The links of a kind.
#[derive(Serialize)]
struct Links {
    kind: String,
    up: usize,
    total: usize,
}

#[derive(Serialize)]
struct Error {
    kind: String,
    code: String,
    count: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meaning: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
}

#[derive(Serialize)]
struct Partition {
    #[serde(rename = "partition")]
    name: String,
    info: BTreeMap<&'static str, String>,
    #[serde(flatten)]
    figures: Figures,
}

/// Means of each step of the last five minutes, the oldest first, `null` where there was no reading; a gauge without any
/// has no member.
#[derive(Serialize)]
struct History {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    utilization_ratio: Vec<Option<f64>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    memory_used_bytes: Vec<Option<f64>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    power_watts: Vec<Option<f64>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    temperature_celsius: Vec<Option<f64>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn word<S: Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.word())
}

/// What else is known of a node's devices.
pub struct Judged<'n> {
    pub judge: &'n Judge,
    pub verdicts: &'n [Verdict],
    pub holders: &'n Holders,
}

/// What is known of a device now.
pub struct Known<'s> {
    pub device: &'s Device,
    pub snapshot: &'s Snapshot,
    pub now: Instant,
    /// The same moment as Unix time.
    pub unix: f64,
}

impl Facts for Known<'_> {
    fn family(&self) -> Family {
        self.snapshot.identity.family
    }

    fn now(&self) -> f64 {
        self.unix
    }

    fn series(&self, metric: Id) -> Vec<Point> {
        self.snapshot.whole().flat_map(|subject| series(subject, metric)).collect()
    }

    fn values(&self, metric: Id, wanted: &[(Label, &str)]) -> Vec<f64> {
        let is_wanted =
            |reading: &&Reading| wanted.iter().all(|(label, value)| reading.labels.has(*label, value));
        let readings = self.snapshot.whole().flat_map(|subject| subject.of(metric));
        readings.filter(is_wanted).map(|reading| reading.value.as_f64()).collect()
    }

    fn rise(&self, metric: Id) -> f64 {
        self.device.history(|history| history.rise(metric, self.now))
    }

    fn mean(&self, metric: Id) -> Option<f64> {
        self.device.history(|history| history.mean(metric, self.now))
    }
}

fn series(subject: &Subject, metric: Id) -> Vec<Point> {
    let point = |reading: &Reading| {
        let mut labels = Vec::new();
        reading.labels.for_each(|label, value| labels.push((label, value.to_owned())));
        Point { labels, value: reading.value.as_f64() }
    };
    subject.of(metric).iter().map(point).collect()
}

/// A number without digits that say nothing.
fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

impl Node {
    /// The node as it is now. Paths of libraries and texts of errors are in it only with `details`.
    pub fn of(
        program: &'static str,
        name: &str,
        node: &NodeState,
        judged: &Judged<'_>,
        details: bool,
    ) -> Self {
        let now = Instant::now();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let shown = node.sources.iter().flat_map(|source| source.shown());
        let card = |(device, snapshot): (Arc<Device>, Arc<Snapshot>)| {
            Card::of(&Known { device: &device, snapshot: &snapshot, now, unix }, judged, details)
        };
        let mut devices: Vec<_> = shown.map(card).collect();
        // The drivers' order within a family, also of devices that are gone.
        devices.sort_by(|a, b| (a.family, natural(&a.device)).cmp(&(b.family, natural(&b.device))));
        let sources: Vec<_> = node.sources.iter().map(|source| Source::of(source, details)).collect();
        let states =
            devices.iter().map(|device| device.state).chain(sources.iter().map(|source| source.state));
        Self {
            schema: SCHEMA,
            program,
            version: env!("CARGO_PKG_VERSION"),
            name: name.to_owned(),
            simulated: node.simulated(),
            time_seconds: rounded(unix, 3),
            interval_seconds: node.timing.interval.as_secs_f64(),
            step_seconds: STEP.as_secs(),
            state: states.max().unwrap_or(State::NoData),
            sources,
            workloads: judged.holders.interfaces(),
            devices,
        }
    }
}

/// A name by which gpu10 follows gpu9.
fn natural(name: &str) -> (usize, &str) {
    (name.len(), name)
}

impl Source {
    fn of(source: &SourceState, details: bool) -> Self {
        let connection = source.connection();
        let (status, reason) = match connection.status {
            ConnectionStatus::Starting => ("connecting", None),
            ConnectionStatus::Up => ("up", None),
            ConnectionStatus::Down(reason) if connection.absent => ("absent", Some(reason)),
            ConnectionStatus::Down(reason) => ("down", Some(reason)),
        };
        let backend = connection.backend.filter(|_| details);
        // As the rule of missing devices.
        let is_short =
            connection.found.zip(connection.expected).is_some_and(|(found, expected)| found < expected);
        let state = match status {
            _ if is_short => State::Crit,
            "up" => State::Ok,
            _ => State::NoData,
        };
        Self {
            family: source.family.name(),
            status,
            state,
            library: backend.as_ref().map(|backend| backend.library.clone()),
            version: backend.map(|backend| backend.version),
            reason: reason.filter(|_| details),
            devices: connection.found,
            devices_expected: connection.expected,
        }
    }
}

impl Card {
    fn of(known: &Known<'_>, judged: &Judged<'_>, details: bool) -> Self {
        let Known { device, snapshot, now, .. } = known;
        let Judged { judge, verdicts, holders } = judged;
        let (status, reason) = match snapshot.status {
            Status::Starting => ("starting", None),
            Status::Up => ("up", None),
            Status::Down(fault) => ("down", Some(fault.to_string())),
            Status::Gone => ("gone", None),
            Status::Detached => ("detached", None),
        };
        let verdict = verdicts.iter().find(|verdict| verdict.identity == snapshot.identity);
        let why = |(reason, detail): &(&HealthReason, String)| Why::of(reason, reason.state, detail);
        let found = judge.findings(known);
        let state = found.iter().map(|finding| finding.state).max().unwrap_or(State::NoData);
        let finding = |finding: thresholds::Finding<'_>| Finding {
            signal: finding.signal.to_owned(),
            title: finding.title.to_owned(),
            state: finding.state,
            value: finding.value,
            text: finding.text,
        };
        let means = |gauge, digits| {
            let means = device.history(|history| history.means(gauge, *now));
            let is_known = means.iter().any(Option::is_some);
            let means = means.into_iter().filter(|_| is_known);
            means.map(|mean| mean.map(|mean| rounded(mean.into(), digits))).collect()
        };
        let whole: Vec<_> = snapshot.whole().collect();
        let of_part = |subject: &Subject| {
            let partition = subject.identity()?.partition.clone()?;
            Some(Partition { name: partition, info: info(&[subject]), figures: Figures::of(&[subject]) })
        };
        Self {
            family: snapshot.identity.family.name(),
            device: snapshot.identity.device.clone(),
            uuid: snapshot.identity.uuid.clone(),
            status,
            reason: reason.filter(|_| details),
            state,
            findings: found.into_iter().filter(|found| found.state > State::Ok).map(finding).collect(),
            health: verdict.map(|verdict| verdict.state.word()),
            health_reasons: verdict.iter().flat_map(|verdict| verdict.reasons.iter().map(why)).collect(),
            age_seconds: snapshot.age(*now).map(|age| rounded(age.as_secs_f64(), 1)),
            info: info(&whole),
            holders: holders.of_device(&snapshot.identity),
            figures: Figures::of(&whole),
            errors: errors(known, judge),
            partitions: snapshot.subjects.iter().filter_map(of_part).collect(),
            history: History {
                utilization_ratio: means(UTILIZATION.id, 3),
                memory_used_bytes: means(MEMORY_USED.id, 0),
                power_watts: means(POWER.id, 1),
                temperature_celsius: means(TEMPERATURE.id, 1),
            },
        }
    }
}

fn info(subjects: &[&Subject]) -> BTreeMap<&'static str, String> {
    let mut info = BTreeMap::new();
    for reading in subjects.iter().flat_map(|subject| subject.of(DEVICE_INFO.id)) {
        reading.labels.for_each(|label, value| {
            info.insert(label.name(), value.to_owned());
        });
    }
    info
}

fn errors(known: &Known<'_>, judge: &Judge) -> Vec<Error> {
    let last = known.series(ERROR_LAST.id);
    let error = |point: Point| {
        let (kind, code) = (point.label(Label::Kind)?, point.label(Label::Code)?);
        let (meaning, action) = judge.code(kind, code);
        let last = last.iter().find(|last| last.labels == point.labels).map(|last| rounded(last.value, 3));
        let (meaning, action) = (meaning.map(str::to_owned), action.map(str::to_owned));
        let (kind, code) = (kind.to_owned(), code.to_owned());
        (point.value > 0.0).then_some(Error {
            kind,
            code,
            count: point.value,
            last_seconds: last,
            meaning,
            action,
        })
    };
    let mut errors: Vec<_> = known.series(ERRORS.id).into_iter().filter_map(error).collect();
    // The newest first.
    errors.sort_by(|a, b| b.last_seconds.partial_cmp(&a.last_seconds).unwrap_or(std::cmp::Ordering::Equal));
    errors
}

impl Figures {
    fn of(subjects: &[&Subject]) -> Self {
        let series =
            |id: Id| -> Vec<Point> { subjects.iter().flat_map(|subject| series(subject, id)).collect() };
        let one = |id| series(id).first().map(|point| point.value);
        let by = |id, label: Label, digits| -> Vec<(String, f64)> {
            let value = |point: Point| Some((point.label(label)?.to_owned(), rounded(point.value, digits)));
            series(id).into_iter().filter_map(value).collect()
        };
        let limit = |id, wanted: &[(Label, &str)]| {
            let mut limits = series(id).into_iter();
            let is_meant =
                |point: &Point| wanted.iter().all(|(label, value)| point.label(*label) == Some(value));
            limits.find(is_meant).map(|point| rounded(point.value, 1))
        };
        let mut temperatures: Vec<_> = by(TEMPERATURE.id, Label::Sensor, 1)
            .into_iter()
            .map(|(sensor, celsius)| {
                let slowdown = [(Label::Sensor, &*sensor), (Label::Limit, "slowdown")];
                let limit_celsius = limit(TEMPERATURE_LIMIT.id, &slowdown);
                Temperature { sensor, celsius, limit_celsius }
            })
            .collect();
        temperatures.sort_by(|a, b| {
            (b.sensor == "gpu").cmp(&(a.sensor == "gpu")).then(b.celsius.total_cmp(&a.celsius))
        });
        let maxima = by(CLOCK_MAX.id, Label::Domain, 0);
        let clocks = by(CLOCK.id, Label::Domain, 0).into_iter().map(|(domain, hertz)| {
            let max_hertz = maxima.iter().find(|(known, _)| *known == domain).map(|(_, max)| *max);
            Clock { domain, hertz, max_hertz }
        });
        let mut kinds: BTreeMap<String, Links> = BTreeMap::new();
        for (kind, up) in by(LINK_UP.id, Label::Kind, 0) {
            let links = kinds.entry(kind.clone()).or_insert(Links { kind, up: 0, total: 0 });
            links.up += usize::from(up > 0.0);
            links.total += 1;
        }
        let pcie = [
            ("generation", PCIE_GENERATION.id),
            ("generation_max", PCIE_GENERATION_MAX.id),
            ("width", PCIE_WIDTH.id),
            ("width_max", PCIE_WIDTH_MAX.id),
        ];
        let active = by(THROTTLE_ACTIVE.id, Label::Reason, 0).into_iter().filter(|(_, active)| *active > 0.0);
        Self {
            utilization_ratio: one(UTILIZATION.id).map(|ratio| rounded(ratio, 3)),
            engines: by(ENGINE_ACTIVE.id, Label::Engine, 3).into_iter().collect(),
            memory_used_bytes: one(MEMORY_USED.id),
            memory_total_bytes: one(MEMORY_TOTAL.id),
            power_watts: one(POWER.id).map(|watts| rounded(watts, 1)),
            power_limit_watts: limit(POWER_LIMIT.id, &[(Label::Limit, "enforced")]),
            temperatures,
            clocks: clocks.collect(),
            links: kinds.into_values().collect(),
            pcie: pcie.into_iter().filter_map(|(name, id)| Some((name, one(id)?))).collect(),
            throttled_by: active.map(|(reason, _)| reason).collect(),
            asleep: one(DEVICE_ASLEEP.id) == Some(1.0),
        }
    }
}
