//! The shape of the catalogue's data files.
//!
//! Texts that are PromQL refer to everything by name: `$MEMORY_USED` is a metric of [`naming`] by its handle,
//! `$DCGM_FI_DEV_FB_USED` one by a vendor's name, `@memory_used` the recorded series of a signal, and `&red`
//! a bound or parameter. Nothing in them spells a metric name of ours, so a rename is found on loading.

use std::{collections::BTreeMap, fmt};

use naming::Family;
use serde::{Deserialize, Deserializer, de};

use crate::{
    number::{Duration, decimal},
    vocabulary::PerVocabulary,
};

mod engines;
mod example;

pub(crate) use engines::{Engine, EngineKind, EngineSource, Engines};
pub(crate) use example::{Example, Step, TestSeries};

/// One number that an operator reads.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signal {
    pub id: String,
    pub title: String,
    pub unit: Unit,
    /// Whether its bands explain a load and need no person, so that they do not count for the state of a
    /// device.
    #[serde(default)]
    pub explains: bool,
    /// Name of the recorded series; without it the value is written out where it is used.
    pub record: Option<String>,
    /// Labels that the recording sets.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Families that have it; empty for signals of engines and of the exporter.
    #[serde(default, deserialize_with = "families")]
    pub families: Vec<Family>,
    /// The rule file, when it is not the family's own.
    pub file: Option<String>,
    /// The value; a vocabulary without a text does not have the signal.
    #[serde(default)]
    pub expr: PerVocabulary<String>,
    /// The value over unified names for families that differ.
    #[serde(default)]
    pub exprs: BTreeMap<String, String>,
    /// How the value is read from inference engines.
    pub engines: Option<Engines>,
    /// Texts that differ by family, for `&name` in expressions.
    #[serde(default)]
    pub params: BTreeMap<String, BTreeMap<String, String>>,
    /// `amber`, `red`, `low_amber` and `low_red` are the bands; other names are auxiliary bounds.
    #[serde(default)]
    pub bounds: BTreeMap<String, Bound>,
    /// Appended to the state: when the bands apply at all.
    #[serde(default)]
    pub gate: PerVocabulary<String>,
    /// Appended to the high red band: what else must hold.
    pub red_when: Option<String>,
    /// The same for the high amber band.
    pub amber_when: Option<String>,
    /// Conditions that are red at any value; those whose metrics a family lacks are left out.
    #[serde(default)]
    pub red_also: PerVocabulary<Vec<String>>,
    /// The bands are fractions of this objective.
    pub slo: Option<Objective>,
    /// Recorded only this often; without it in each round, which is for what pages.
    pub every: Option<Duration>,
    /// Whether a centre needs it from each site.
    #[serde(default)]
    pub federate: bool,
    /// What moves it, in a sentence or two.
    pub why: String,
    /// What to do first, in order.
    #[serde(default)]
    pub first: Vec<String>,
    /// Where the bands come from.
    pub citation: String,
    #[serde(default)]
    pub test: Example,
    /// Bounds that an override gives to a part of its series; the first that matches counts.
    #[serde(skip)]
    pub parts: Vec<(Selector, BTreeMap<String, Bound>)>,
}

/// One alert.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "keys of a data file, independent of each other")]
pub(crate) struct Alert {
    pub name: String,
    pub group: String,
    #[serde(default, deserialize_with = "families")]
    pub families: Vec<Family>,
    pub file: Option<String>,
    /// The condition. One that reads raw metrics needs a text for each vocabulary.
    pub expr: PerVocabulary<String>,
    /// The condition over unified names for families that differ.
    #[serde(default)]
    pub exprs: BTreeMap<String, String>,
    /// Whether it reads recorded series only, so that one text serves every vocabulary.
    #[serde(default)]
    pub recorded_only: bool,
    #[serde(default)]
    pub params: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    pub bounds: BTreeMap<String, Bound>,
    #[serde(rename = "for")]
    pub hold: Duration,
    /// For how long it stays after its condition ended, so that a value at the bound notifies once.
    pub keep: Option<Duration>,
    /// The severity; of an alert with levels, each level's own.
    pub severity: Severity,
    /// Further rules of the same name for parts of the condition.
    #[serde(default)]
    pub level: Vec<Level>,
    pub summary: String,
    pub description: String,
    /// What its description asks Prometheus when it fires, shown at `{asked}`.
    pub ask: Option<Ask>,
    /// The part of its runbook that a firing alert leads to.
    pub anchor: Option<String>,
    /// Whether it always fires, so that its absence says that alerts do not arrive.
    #[serde(default)]
    pub always: bool,
    /// The dashboard that shows it, where it is not that of the device or engine.
    pub board: Option<String>,
    /// The unit of the alert's value, for the description.
    pub unit: Unit,
    pub slo: Option<Objective>,
    /// Evaluated only this often, because it reads so much; without it as its severity says.
    pub every: Option<Duration>,
    #[serde(default)]
    pub test: Example,
    /// Other causes that must fire it too.
    #[serde(default)]
    pub also: Vec<Example>,
    pub runbook: Runbook,
    /// Labels that the rule sets.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Switched off by an override.
    #[serde(skip)]
    pub off: bool,
    /// Parts of its series that an override treats in another way; the first that matches counts.
    #[serde(skip)]
    pub parts: Vec<Part>,
    /// Whether it is such a part, or what parts left: its examples are about the whole.
    #[serde(skip)]
    pub is_part: bool,
}

/// A question to Prometheus in an alert's text: what the alert's own labels and value do not say.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ask {
    /// PromQL; `"<label>"` is the value of the alert's label.
    pub expr: PerVocabulary<String>,
    /// The text before the result.
    pub before: String,
    /// The label of each series that is shown; its value without one.
    pub label: Option<String>,
}

/// Series with these labels, and what is different for them.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub of: Selector,
    /// The alert as it is for them.
    pub alert: Box<Alert>,
}

/// Which series of a signal or alert are meant.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Selector {
    /// Labels of the series, each with the regular expression of its value as PromQL writes it.
    pub labels: Vec<(String, String)>,
    /// Place of the pattern of device models among those of the catalogue.
    pub device_model: Option<usize>,
    /// Families that are meant; all of them when empty.
    pub families: Vec<Family>,
}

impl Selector {
    /// Matchers of labels, without braces.
    pub fn matchers(&self) -> String {
        let matchers: Vec<_> =
            self.labels.iter().map(|(name, value)| format!("{name}=~\"{value}\"")).collect();
        matchers.join(",")
    }

    pub fn covers(&self, family: Option<Family>) -> bool {
        self.families.is_empty() || family.is_some_and(|family| self.families.contains(&family))
    }
}

/// A part of an alert's condition that has a severity of its own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Level {
    pub severity: Severity,
    /// Texts by family, as the alert's `params`; the level exists for these families only.
    pub params: BTreeMap<String, BTreeMap<String, String>>,
}

/// A field of dcgm-exporter that a later generation prints under another name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Renamed {
    pub old: String,
    pub new: String,
    /// What the new unit is multiplied by to be the old one.
    #[serde(skip, default = "one")]
    pub factor: f64,
}

fn one() -> f64 {
    1.0
}

/// The hand-written part of a runbook.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Runbook {
    pub meaning: String,
    pub users: String,
    /// Queries, each with what it shows. They are narrowed to what the alert is about.
    pub confirm: Vec<(PerVocabulary<String>, String)>,
    pub causes: Vec<String>,
    pub actions: Vec<String>,
    /// How a person sees that the cause is gone.
    pub over: String,
    pub replace: String,
    /// What is done on the node, in order, by the ids of [`Procedure`].
    #[serde(default)]
    pub procedures: Vec<String>,
    /// Whether the page lists the codes of every family.
    #[serde(default)]
    pub codes: bool,
}

/// What a person does on a node, with the commands of each family.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Procedure {
    pub id: String,
    pub title: String,
    /// For every family, in Markdown.
    #[serde(default)]
    pub all: String,
    /// For one family, by its name.
    #[serde(flatten)]
    pub families: BTreeMap<String, String>,
}

/// A code of errors, and what to do about it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorCode {
    #[serde(deserialize_with = "family")]
    pub family: Family,
    pub kind: String,
    pub code: String,
    /// Where not all codes of the family have that of its alert.
    #[serde(default)]
    pub severity: Option<Severity>,
    pub meaning: String,
    pub action: String,
}

/// A limit with its comparison, so that its text and its direction cannot part.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bound {
    pub op: Op,
    pub limit: Limit,
}

/// A number, or the bound of a signal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Limit {
    Number(f64),
    Of { signal: String, bound: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Above,
    AtLeast,
    Below,
    AtMost,
}

impl Op {
    const ALL: [(&str, Self); 4] =
        [(">=", Self::AtLeast), (">", Self::Above), ("<=", Self::AtMost), ("<", Self::Below)];

    pub fn text(self) -> &'static str {
        Self::ALL.iter().find(|(_, op)| *op == self).map_or("", |(text, _)| text)
    }

    /// Whether a value must rise to pass the bound.
    pub fn rises(self) -> bool {
        matches!(self, Self::Above | Self::AtLeast)
    }

    pub fn inclusive(self) -> bool {
        matches!(self, Self::AtLeast | Self::AtMost)
    }

    pub fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Above => value > bound,
            Self::AtLeast => value >= bound,
            Self::Below => value < bound,
            Self::AtMost => value <= bound,
        }
    }
}

impl Bound {
    /// The number; references are resolved when the catalogue is finished.
    pub fn number(&self) -> f64 {
        match self.limit {
            Limit::Number(number) => number,
            Limit::Of { .. } => f64::NAN,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.op.text(), decimal(self.number()))
    }
}

impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bad =
            || de::Error::custom(format!("`{text}` is no bound such as `> 0.92` or `> memory_used.red`"));
        let (op, rest) = Op::ALL
            .into_iter()
            .find_map(|(symbol, op)| Some((op, text.strip_prefix(symbol)?.trim())))
            .ok_or_else(bad)?;
        if let Ok(number) = rest.parse() {
            return Ok(Self { op, limit: Limit::Number(number) });
        }
        let (signal, bound) = rest.split_once('.').ok_or_else(bad)?;
        Ok(Self { op, limit: Limit::Of { signal: signal.to_owned(), bound: bound.to_owned() } })
    }
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    Ratio,
    Celsius,
    Seconds,
    Count,
    PerSecond,
    /// Money, in the currency of the prices: dollars where none is named.
    Dollars,
}

impl Unit {
    /// The template that shows a value in an annotation.
    pub fn template(self) -> &'static str {
        match self {
            Self::Ratio => "{{ $value | humanizePercentage }}",
            Self::Celsius => "{{ printf \"%.4g\" $value }} °C",
            Self::Seconds => "{{ printf \"%.4g\" $value }} s",
            Self::PerSecond => "{{ printf \"%.4g\" $value }}/s",
            Self::Count | Self::Dollars => "{{ printf \"%.4g\" $value }}",
        }
    }

    /// What the template prints.
    pub fn show(self, value: f64) -> String {
        let digits = crate::number::four_digits;
        match self {
            Self::Ratio => format!("{}%", digits(value * 100.0)),
            Self::Celsius => format!("{} °C", digits(value)),
            Self::Seconds => format!("{} s", digits(value)),
            Self::PerSecond => format!("{}/s", digits(value)),
            Self::Count | Self::Dollars => digits(value),
        }
    }

    /// A distance from a bound that is small in practice and large enough for a test.
    pub fn step(self) -> f64 {
        match self {
            Self::Ratio | Self::Seconds => 0.001,
            Self::PerSecond => 0.01,
            Self::Celsius | Self::Count | Self::Dollars => 1.0,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Wakes a person.
    Critical,
    /// Pages in office hours.
    Warning,
    /// Explains; goes to a queue.
    Ticket,
    /// Asks for nothing; it is kept beside other alerts.
    Info,
}

impl Severity {
    /// The most urgent first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::Warning, Self::Ticket, Self::Info];

    pub fn most_urgent(self, other: Self) -> Self {
        Self::ALL.into_iter().find(|known| *known == self || *known == other).unwrap_or(self)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Ticket => "ticket",
            Self::Info => "info",
        }
    }
}

/// Which latency an objective is about.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Objective {
    Ttft,
    Itl,
}

/// Latencies promised to a kind of user, at the 95th percentile.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SloClass {
    pub name: String,
    pub ttft: f64,
    pub itl: f64,
    /// Models that are served under it; those of the default class are all the others.
    #[serde(default)]
    pub models: Vec<String>,
    /// Share of requests that keep each promise.
    pub objectives: BTreeMap<String, f64>,
    /// Requests in the short window without which no burn rate alerts.
    pub min_requests: f64,
    /// Requests that may wait before each replica, on average.
    pub queue: f64,
}

impl SloClass {
    pub const DEFAULT: &str = "default";

    pub fn seconds(&self, objective: Objective) -> f64 {
        match objective {
            Objective::Ttft => self.ttft,
            Objective::Itl => self.itl,
        }
    }
}

/// What to do about an XID.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct XidAction {
    pub codes: Vec<u16>,
    /// Whose fault it mostly is.
    pub blame: String,
    /// The immediate action that NVIDIA's catalogue names.
    pub bucket: String,
    /// What the action asks of people.
    pub severity: Severity,
    pub action: String,
}

/// One family by its name.
fn family<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Family, D::Error> {
    let name = String::deserialize(deserializer)?;
    let found = Family::ALL.into_iter().find(|family| family.name() == name);
    found.ok_or_else(|| de::Error::custom(format!("`{name}` is no family")))
}

/// Families by their names; the name `all` alone stands for every one, also those that are added later.
pub(super) fn families<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Family>, D::Error> {
    let family = |name: &String| {
        Family::ALL
            .into_iter()
            .find(|family| family.name() == name)
            .ok_or_else(|| de::Error::custom(format!("`{name}` is no family")))
    };
    let names = Vec::<String>::deserialize(deserializer)?;
    if names == ["all"] {
        return Ok(Family::ALL.to_vec());
    }
    if names.len() == Family::ALL.len() {
        return Err(de::Error::custom("every family is listed; say [\"all\"]"));
    }
    names.iter().map(family).collect()
}

/// A reason for which a device lowers its clocks.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reason {
    pub name: String,
    #[serde(deserialize_with = "families")]
    pub families: Vec<Family>,
    /// Its bit in the mask of dcgm-exporter, where it has one.
    pub bit: Option<u64>,
    /// Whether heat or the hardware's own protection asks for it.
    pub fault: bool,
}

/// What a million tokens of some models are charged at.
#[derive(Clone, Debug)]
pub(crate) struct TokenPrice {
    /// The models, as a regular expression.
    pub models: String,
    pub prompt: f64,
    pub generation: f64,
}
