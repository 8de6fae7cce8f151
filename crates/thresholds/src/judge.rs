//! The state of one device by what its node knows: the bands of the signals, without Prometheus.
//!
//! A signal's bands, title and unit are those of the catalogue, so what is shown at a node has the word and the colour
//! that rules and dashboards give it. Only how its value is made of readings is written a second time, in [`MEASURES`];
//! a test gives both the same examples.

mod health;

use std::collections::{BTreeMap, BTreeSet};

pub use health::{Health, HealthReason, Presence, REASONS, Watched, actions};
use naming::{
    Family, Id, Label,
    catalogue::{
        DEVICE_UP, ECC_ERRORS, ERROR_LAST, ERRORS, LINK_ERRORS, MEMORY_TOTAL, MEMORY_USED, PAGES_RETIRED,
        PCIE_REPLAYS, RECOVERY_ACTION, ROWS_REMAPPED, TEMPERATURE, TEMPERATURE_LIMIT, THROTTLE_ACTIVE,
        UTILIZATION,
    },
};

use crate::{
    catalogue::{DeviceFiles, RATE_WINDOW},
    model::{Reason, Severity, Signal},
    plan,
    vocabulary::Vocabulary,
};

/// The time over which a node counts what a signal counts over time, in seconds.
pub const WINDOW_SECONDS: u64 = RATE_WINDOW.0;

/// For how long a code after which a device must be reset stays open, as the rule has it.
const CRITICAL_SECONDS: f64 = 86_400.0;

/// A state, from best to worst but for the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Nothing is judged, or nothing is known.
    NoData,
    /// Inside every band.
    Ok,
    /// Something is in an amber band.
    Warn,
    /// Something is in a red band.
    Crit,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::NoData, Self::Ok, Self::Warn, Self::Crit];

    /// The word that people read.
    pub const fn word(self) -> &'static str {
        self.shown().0
    }

    /// The colour, as `#RRGGBB`: green, amber and red that keep apart under every common colour blindness, and grey.
    pub const fn color(self) -> &'static str {
        self.shown().1
    }

    /// Word and colour.
    pub(crate) const fn shown(self) -> (&'static str, &'static str) {
        match self {
            Self::NoData => ("NO DATA", "#808080"),
            Self::Ok => ("OK", "#1A9E8F"),
            Self::Warn => ("WARN", "#F2CC0C"),
            Self::Crit => ("CRIT", "#C4162A"),
        }
    }
}

/// One series of a device's metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its own labels, in the order of its catalogue entry.
    pub labels: Vec<(Label, String)>,
    /// Its value, in the metric's base unit.
    pub value: f64,
}

impl Point {
    /// The value of a label.
    pub fn label(&self, wanted: Label) -> Option<&str> {
        self.labels.iter().find(|(label, _)| *label == wanted).map(|(_, value)| value.as_str())
    }
}

/// What a node knows of one device at one moment.
pub trait Facts {
    /// Its family.
    fn family(&self) -> Family;
    /// The moment, as Unix time in seconds.
    fn now(&self) -> f64;
    /// The series of a metric; none where it is absent.
    fn series(&self, metric: Id) -> Vec<Point>;
    /// The values alone of those series of a metric that have these values of labels. A device has hundreds of series,
    /// and to copy the labels of each costs more than all else that is judged.
    fn values(&self, metric: Id, wanted: &[(Label, &str)]) -> Vec<f64>;
    /// By how much a counter rose in the last [`WINDOW_SECONDS`], summed over its series.
    fn rise(&self, metric: Id) -> f64;
    /// The mean of a gauge over the last [`WINDOW_SECONDS`]; `None` until they are over.
    fn mean(&self, metric: Id) -> Option<f64>;
}

/// A signal of a device with its value and state.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding<'j> {
    /// The signal's id in the catalogue.
    pub signal: &'j str,
    /// Its title.
    pub title: &'j str,
    /// Its value, in the signal's unit; absent where a condition beside it is red.
    pub value: Option<f64>,
    /// The value with its unit, for people.
    pub text: Option<String>,
    /// By its bands.
    pub state: State,
}

/// The bands of every signal that a node can judge by itself, and what error codes mean.
#[derive(Debug)]
pub struct Judge {
    signals: Vec<(Signal, Measure)>,
    reasons: Vec<Reason>,
    /// Kinds and codes of NVIDIA's errors after which the device or its node must be reset.
    critical: BTreeSet<(String, String)>,
    /// XIDs that ask nothing of the device: those of an application, and those that ask for nothing.
    harmless: BTreeSet<String>,
    /// Names of the families in which critical ones stay open for a day.
    stay_open: BTreeSet<String>,
    /// What to do, by kind and code; the meaning too, of codes that are not XIDs.
    codes: BTreeMap<(String, String), (String, String)>,
}

/// Makes the value of a signal of a device's facts; `None` where it is absent.
type Measure = fn(&Judge, &Signal, &dyn Facts) -> Option<f64>;

/// Each signal that a node can judge, by its id, and how.
const MEASURES: [(&str, Measure); 11] = [
    ("device_up", |_, _, facts| highest(facts.values(DEVICE_UP.id, &[]))),
    ("device_errors", Judge::events),
    ("ecc_uncorrectable", |_, _, facts| {
        sum(facts.values(ECC_ERRORS.id, &[(Label::Severity, "uncorrectable"), (Label::Scope, "volatile")]))
    }),
    ("rows_remapped", |_, signal, facts| {
        let rows = facts.values(ROWS_REMAPPED.id, &[(Label::Cause, "uncorrectable")]);
        let pages = || facts.values(PAGES_RETIRED.id, &[(Label::Cause, "double_bit")]);
        sum(if rows.is_empty() && reads(signal, facts, "$PAGES_RETIRED") { pages() } else { rows })
    }),
    ("memory_used", |_, _, facts| {
        let total = highest(facts.values(MEMORY_TOTAL.id, &[])).filter(|total| *total > 0.0)?;
        Some(highest(facts.values(MEMORY_USED.id, &[]))? / total)
    }),
    ("temperature", |_, _, facts| highest(facts.values(TEMPERATURE.id, &[(Label::Sensor, "gpu")]))),
    ("temperature_headroom", |_, _, facts| headroom(facts, |sensor| sensor != MEMORY, &["slowdown"])),
    ("memory_temperature_headroom", |_, _, facts| {
        headroom(facts, |sensor| sensor == MEMORY, &["operating", "slowdown"])
    }),
    ("throttle", Judge::throttle),
    ("link_errors", |_, signal, facts| {
        let counters = [(LINK_ERRORS.id, "$LINK_ERRORS"), (PCIE_REPLAYS.id, "$PCIE_REPLAYS")];
        let read = counters.into_iter().filter(|(_, handle)| reads(signal, facts, handle));
        let there: Vec<_> = read.map(|(id, _)| id).filter(|id| !facts.values(*id, &[]).is_empty()).collect();
        let rise: f64 = there.iter().map(|id| facts.rise(*id)).sum();
        (!there.is_empty()).then_some(rise / WINDOW_SECONDS as f64)
    }),
    ("npu_busy", |_, _, facts| facts.mean(UTILIZATION.id)),
];

/// The sensor whose limits are another signal's.
const MEMORY: &str = "memory";

impl Judge {
    /// The bands that are compiled in.
    ///
    /// # Panics
    /// When the catalogue breaks its own laws, which its tests exclude.
    pub fn builtin() -> Self {
        let files = DeviceFiles::read().expect("the catalogue keeps its laws");
        let measured = |signal: Signal| {
            let (_, measure) = MEASURES.into_iter().find(|(id, _)| *id == signal.id)?;
            Some((signal, measure))
        };
        let (mut critical, mut harmless) = (BTreeSet::new(), BTreeSet::new());
        let mut codes = BTreeMap::new();
        for event in files.events {
            if event.severity == Some(Severity::Critical) {
                critical.insert((event.kind.clone(), event.code.clone()));
            }
            codes.insert((event.kind, event.code), (event.meaning, named(&event.action)));
        }
        for xid in files.xids {
            for code in xid.codes {
                let meaning = naming::xid_text(u64::from(code)).to_owned();
                codes.insert((XID.to_owned(), code.to_string()), (meaning, named(&xid.action)));
                if xid.severity == Severity::Critical {
                    critical.insert((XID.to_owned(), code.to_string()));
                } else if xid.severity == Severity::Info || xid.bucket == RESTART_APP {
                    harmless.insert(code.to_string());
                }
            }
        }
        let stay_open =
            files.signals.iter().filter(|signal| signal.id == "error_events").flat_map(|signal| {
                signal
                    .exprs
                    .iter()
                    .filter(|(_, text)| text.contains("&code_critical"))
                    .map(|(family, _)| family.clone())
            });
        let stay_open = stay_open.collect();
        let signals = files.signals.into_iter().filter_map(measured).collect();
        Self { signals, reasons: files.reasons, critical, harmless, stay_open, codes }
    }

    /// Every signal that a device has, in the order of the catalogue. Those that only explain a load are left out: they
    /// do not count for its state.
    pub fn findings<'j>(&'j self, facts: &dyn Facts) -> Vec<Finding<'j>> {
        let of_family = |judged: &&(Signal, Measure)| judged.0.families.contains(&facts.family());
        let finding = |(signal, measure): &'j (Signal, Measure)| {
            let (value, also) = (measure(self, signal, facts), is_red_also(signal, facts));
            let state = match value.map(|value| plan::state_of(&signal.bounds, value)) {
                _ if also => State::Crit,
                None => return None,
                Some(0) => State::Ok,
                Some(1) => State::Warn,
                Some(_) => State::Crit,
            };
            let (title, text) = shown(signal, value);
            Some(Finding { signal: &signal.id, title, value, text, state })
        };
        self.signals.iter().filter(of_family).filter_map(finding).collect()
    }

    /// What a code of a critical event means, and what it asks of people, where that is known.
    pub fn code(&self, kind: &str, code: &str) -> (Option<&str>, Option<&str>) {
        if let Some((meaning, action)) = self.codes.get(&(kind.to_owned(), code.to_owned())) {
            return (Some(meaning), Some(action));
        }
        let number = code.parse().ok().filter(|_| kind == XID);
        (number.map(naming::xid_text), None)
    }

    /// Whether the device or its node must be reset after one of NVIDIA's errors.
    fn is_critical(&self, kind: &str, code: &str) -> bool {
        self.critical.contains(&(kind.to_owned(), code.to_owned()))
    }

    /// The events that are new or open, of those that are `known` by their times.
    fn open<'p>(&self, known: &'p [Point], facts: &dyn Facts) -> Vec<&'p Point> {
        let now = facts.now();
        let is_settled = highest(facts.values(RECOVERY_ACTION.id, &[(Label::Action, "none")]))
            .is_some_and(|none| none > 0.0);
        let waits = !is_settled && self.stay_open.contains(facts.family().name());
        let is_open = |event: &&Point| {
            let age = now - event.value;
            let is_critical = || {
                let (kind, code) = (event.label(Label::Kind), event.label(Label::Code));
                kind.zip(code).is_some_and(|(kind, code)| self.is_critical(kind, code))
            };
            age.abs() < WINDOW_SECONDS as f64 || waits && age < CRITICAL_SECONDS && is_critical()
        };
        known.iter().filter(is_open).collect()
    }

    /// Codes that are new or open.
    fn events(&self, _: &Signal, facts: &dyn Facts) -> Option<f64> {
        let known = facts.series(ERROR_LAST.id);
        let open = self.open(&known, facts).len();
        if open == 0 && facts.values(ERRORS.id, &[]).is_empty() && known.is_empty() {
            return None;
        }
        let rose = usize::from(facts.rise(ERRORS.id) > 0.0);
        Some(open.max(rose) as f64)
    }

    /// 0 not throttled, 1 by choice, 2 by heat or hardware.
    fn throttle(&self, signal: &Signal, facts: &dyn Facts) -> Option<f64> {
        let reasons = facts.series(THROTTLE_ACTIVE.id);
        let family = facts.family();
        let by_choice = signal.params.get(family.name()).and_then(|params| params.get("amber_reasons"));
        let level = |reason: &str| {
            let is_fault = |known: &&Reason| known.name == reason && known.families.contains(&family);
            if self.reasons.iter().find(is_fault).is_some_and(|known| known.fault) {
                2.0
            } else if by_choice.is_some_and(|words| words.split('|').any(|word| word == reason)) {
                1.0
            } else {
                0.0
            }
        };
        let active =
            |point: &Point| point.label(Label::Reason).filter(|_| point.value > 0.0).map_or(0.0, level);
        reasons.iter().map(active).reduce(f64::max)
    }
}

/// Title and value for people. A title with a legend of levels, `Throttling: 0 none, 1 by choice`, is read as it says.
fn shown(signal: &Signal, value: Option<f64>) -> (&str, Option<String>) {
    let text = value.map(|value| signal.unit.show(value));
    let Some((title, legend)) = signal.title.split_once(": ") else { return (&signal.title, text) };
    let level = text.and_then(|level| {
        let mut levels = legend.split(", ").filter_map(|entry| entry.split_once(' '));
        levels.find(|(number, _)| *number == level).map(|(_, word)| word.to_owned())
    });
    (title, level)
}

/// The kind of NVIDIA's errors, whose codes are numbers with a text.
const XID: &str = "xid";

/// NVIDIA's word for errors of which the application is restarted, since the device is fine.
const RESTART_APP: &str = "RESTART_APP";

/// An action, which is Markdown, as plain text with the names of the metrics that it refers to.
fn named(action: &str) -> String {
    let mut parts = action.split('$');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
        let (handle, rest) = part.split_at(end);
        let name = Id::of_handle(handle).and_then(|id| id.metric().name);
        out.extend([name.unwrap_or(handle), rest]);
    }
    out.replace('`', "")
}

/// Whether the rule for the device's family refers to a name.
fn reads(signal: &Signal, facts: &dyn Facts, name: &str) -> bool {
    let own = signal.exprs.get(facts.family().name());
    let mut parts =
        own.or(signal.expr.get(Vocabulary::Unified)).map_or("", String::as_str).split(name).skip(1);
    parts.any(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
}

/// Whether one of the conditions holds that are red at any value.
fn is_red_also(signal: &Signal, facts: &dyn Facts) -> bool {
    let conditions = signal.red_also.get(Vocabulary::Unified).into_iter().flatten();
    let mut flags =
        conditions.flat_map(|text| crate::expr::names(text)).filter_map(|(name, _)| Id::of_handle(name));
    flags.any(|flag| highest(facts.values(flag, &[])) == Some(1.0))
}

fn highest(values: Vec<f64>) -> Option<f64> {
    values.into_iter().reduce(f64::max)
}

fn sum(values: Vec<f64>) -> Option<f64> {
    values.into_iter().reduce(|sum, value| sum + value)
}

/// The fewest degrees that a sensor is below one of these limits of its own.
fn headroom(facts: &dyn Facts, is_meant: impl Fn(&str) -> bool, limits: &[&str]) -> Option<f64> {
    let sensors = facts.series(TEMPERATURE.id);
    let below = |limit: Point| {
        let name = limit.label(Label::Sensor).filter(|name| is_meant(name))?;
        limit.label(Label::Limit).filter(|kind| limits.contains(kind))?;
        let sensor = sensors.iter().find(|sensor| sensor.label(Label::Sensor) == Some(name))?;
        Some(limit.value - sensor.value)
    };
    facts.series(TEMPERATURE_LIMIT.id).into_iter().filter_map(below).reduce(f64::min)
}

#[cfg(test)]
mod tests;
