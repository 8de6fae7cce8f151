//! An engine's table, read from TOML: families in the order of the exposition, each with where its values
//! come from.
//!
//! ```toml
//! path = "/metrics"
//! dialect = "python"                  # python | python_processes | rust | cpp
//! labels = [["model_name", "$model"]] # of every family that does not say otherwise
//! failures_are_measured = ["0.33"]    # versions in which failed requests are in the histograms
//! families = [
//!   { name = "x:running", help = "...", gauge = "running" },                    # a level, or a number
//!   { name = "x:waiting", by = "reason", gauge = [["capacity", "waiting"]] },   # a series for each value
//!   { name = "x:done", by = "api,method", counter = [["V3,Unary", "stop"]] },   # of several labels, the last may miss
//!   { name = "x:tokens_total", counter = "prompt_tokens+generation_tokens" },   # counts, or "0"
//!   { name = "x:steps", tally = "decode_passes" },                              # counts as a gauge
//!   { name = "x:ttft_seconds", histogram = "ttft", buckets = "ttft" },
//!   { name = "x:old_name", only = ["0.9"], labels = [], gauge = "running" },    # versions; own labels
//! ]
//! [buckets]                           # upper bounds, without +Inf
//! ttft = [0.1, 1, 10]
//! tokens = { mantissas = [1, 2, 5], most = 32768 }
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;

use super::load::{self, Levels, Passes, Request};
use super::totals::Count;

/// How a client library prints.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// Python's `prometheus_client` in one process: `1.0`, labels by name, a gauge `_created` beside every
    /// counter and histogram.
    Python,
    /// The same over several processes: no `_created`, `_sum` before the buckets.
    PythonProcesses,
    /// Rust's `metrics-exporter-prometheus`: `1`, labels as declared, an empty line after each family.
    Rust,
    /// `prometheus-cpp`: `1`, labels by name, `le` last, `_count` and `_sum` before the buckets.
    Cpp,
    /// Ray's agent, which exports what its workers count: as Python, without `_created`.
    Ray,
}

impl Dialect {
    /// Whether a counter or a histogram is absent until something has been counted. The engines that use the
    /// other two create all their series when they start.
    pub fn begins_with_first_event(self) -> bool {
        matches!(self, Self::PythonProcesses | Self::Rust | Self::Ray)
    }
}

/// An engine and its version.
pub struct Table {
    /// Where the metrics are served.
    pub path: String,
    /// How they are printed.
    pub dialect: Dialect,
    /// Whether failed requests are in the histograms.
    pub failures_are_measured: bool,
    /// In the order of the exposition.
    pub families: Vec<Family>,
}

/// A metric family.
#[derive(Clone)]
pub struct Family {
    /// As it is exposed, with `_total` if that is exposed.
    pub name: String,
    /// Empty where the engine prints none.
    pub help: String,
    /// As `# TYPE` prints it.
    pub kind: MetricKind,
    /// All its series.
    pub series: Vec<Series>,
}

/// A family's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// A level.
    Gauge,
    /// Cumulative buckets.
    Histogram,
    /// Quantiles.
    Summary,
}

impl MetricKind {
    /// As `# TYPE` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// A series of a family.
#[derive(Clone)]
pub struct Series {
    /// Name and value of each label; [`MODEL`] stands for the model's name.
    pub labels: Vec<(String, String)>,
    /// Where its value comes from.
    pub value: Value,
}

/// A label's value that stands for the model's name.
pub const MODEL: &str = "$model";

/// Where a value comes from.
#[derive(Clone)]
pub enum Value {
    /// Always this.
    Constant(f64),
    /// A level of this second.
    Level(fn(&Levels) -> f64),
    /// The sum of some counts.
    Counts(Vec<Count>),
    /// A distribution over the buckets below these bounds, in the exposition's unit.
    Histogram(Observed, Unit, Vec<f64>),
    /// Tokens accepted of each draft: quantiles of this second, and the sum and number so far.
    AcceptedPerDraft,
}

/// What a histogram observes.
#[derive(Clone, Copy, Debug)]
pub enum Observed {
    /// Every finished request.
    Request(fn(&Request) -> u64),
    /// Every gap between two tokens, µs.
    Gap,
    /// Every forward pass, or every one that computes prompts (`true`) or decodes (`false`).
    Passes(Option<bool>, fn(&Passes) -> u64),
}

/// What an observation's integer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Microseconds, exposed as seconds.
    Seconds,
    /// Microseconds, exposed as milliseconds.
    Milliseconds,
    /// A number.
    One,
}

impl Unit {
    /// Integers per exposed unit.
    pub fn scale(self) -> f64 {
        match self {
            Self::Seconds => 1e6,
            Self::Milliseconds => 1e3,
            Self::One => 1.0,
        }
    }
}

type Labels = Vec<(String, String)>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableText {
    path: String,
    dialect: Dialect,
    #[serde(default)]
    labels: Labels,
    #[serde(default)]
    failures_are_measured: Vec<String>,
    families: Vec<FamilyText>,
    buckets: BTreeMap<String, Buckets>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FamilyText {
    name: String,
    #[serde(default)]
    help: String,
    #[serde(default)]
    only: Vec<String>,
    labels: Option<Labels>,
    by: Option<String>,
    gauge: Option<Source>,
    counter: Option<Source>,
    tally: Option<Source>,
    histogram: Option<Source>,
    summary: Option<Source>,
    buckets: Option<String>,
    #[serde(default)]
    milliseconds: bool,
    #[serde(default)]
    microseconds: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Source {
    One(String),
    Each(Labels),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Buckets {
    Listed(Vec<f64>),
    /// Mantissas times powers of ten, as far as `most`.
    Mantissas {
        mantissas: Vec<f64>,
        most: f64,
    },
    /// Each `factor` times the one before, the first of them `factor` times `from`.
    Multiplied {
        from: f64,
        factor: f64,
        count: usize,
    },
    /// `from` times every power of `base`.
    Powers {
        from: f64,
        base: f64,
        count: i32,
    },
    /// Multiples of `step`.
    Linear {
        step: f64,
        count: u32,
    },
}

impl Buckets {
    fn bounds(&self) -> Vec<f64> {
        match self {
            Self::Listed(bounds) => bounds.clone(),
            Self::Mantissas { mantissas, most } => (0..12)
                .flat_map(|exponent| mantissas.iter().map(move |mantissa| mantissa * 10f64.powi(exponent)))
                .take_while(|bound| bound <= most)
                .collect(),
            Self::Multiplied { from, factor, count } => {
                std::iter::successors(Some(from * factor), |last| Some(last * factor)).take(*count).collect()
            }
            Self::Powers { from, base, count } => {
                (0..*count).map(|exponent| from * base.powi(exponent)).collect()
            }
            Self::Linear { step, count } => (1..=*count).map(|index| step * f64::from(index)).collect(),
        }
    }
}

impl Table {
    /// Reads a table, without the families that `version` does not have; the error is one line.
    pub fn parse(text: &str, version: &str) -> Result<Self, String> {
        let text: TableText = toml::from_str(text).map_err(|error| crate::profile::one_line(&error))?;
        let mine =
            |family: &&FamilyText| family.only.is_empty() || family.only.iter().any(|only| only == version);
        let families = text.families.iter().filter(mine).map(|family| {
            family.read(&text).map_err(|name| format!("family {}: {name:?} is not known", family.name))
        });
        Ok(Self {
            families: families.collect::<Result<_, _>>()?,
            path: text.path,
            dialect: text.dialect,
            failures_are_measured: text.failures_are_measured.iter().any(|measured| measured == version),
        })
    }
}

impl Table {
    /// The same engine as a worker of Ray: its agent exports the names with underscores and a prefix, adds labels of
    /// its own, and prints each counter a second time as a gauge, without `_total`.
    #[must_use]
    pub fn under_ray(mut self) -> Self {
        let own = RAY_LABELS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.dialect = Dialect::Ray;
        self.families = self
            .families
            .into_iter()
            .flat_map(|mut family| {
                family.name = format!("ray_{}", family.name.replace(':', "_"));
                family.series.iter_mut().for_each(|series| series.labels.extend(own.clone()));
                let twin = (family.kind == MetricKind::Counter).then(|| {
                    let name = family.name.trim_end_matches("_total").to_owned();
                    let help = format!("(DEPRECATED, use {} metric instead) {}", family.name, family.help);
                    Family { name, help, kind: MetricKind::Gauge, ..family.clone() }
                });
                std::iter::once(family).chain(twin)
            })
            .collect();
        self
    }
}

/// Labels that Ray adds to a worker's series.
const RAY_LABELS: [(&str, &str); 5] = [
    ("Component", "core_worker"),
    ("ReplicaId", "k5rbt0gx"),
    ("SessionName", "session_2025-06-01_00-00-00_000000_1"),
    ("Version", "2.48.0"),
    ("WorkerId", "0123456789abcdef0123456789abcdef0123456789abcdef01234567"),
];

impl FamilyText {
    /// The family, or the name that means nothing.
    fn read(&self, table: &TableText) -> Result<Family, String> {
        let sources = [
            (MetricKind::Gauge, &self.gauge),
            (MetricKind::Counter, &self.counter),
            (MetricKind::Gauge, &self.tally),
            (MetricKind::Histogram, &self.histogram),
            (MetricKind::Summary, &self.summary),
        ];
        let mut given = sources.iter().filter_map(|(kind, source)| Some((*kind, source.as_ref()?)));
        let (Some((kind, source)), None) = (given.next(), given.next()) else {
            return Err("gauge, counter, tally, histogram, summary".to_owned());
        };
        let common = self.labels.as_ref().unwrap_or(&table.labels);
        let series = |text: Option<&String>, name: &str| {
            let pairs = self.by.iter().zip(text).flat_map(|(by, text)| by.split(',').zip(text.split(',')));
            let own = pairs.map(|(label, text)| (label.to_owned(), text.to_owned()));
            let labels = common.iter().cloned().chain(own).collect();
            Ok(Series { labels, value: self.value(table, kind, name)? })
        };
        let series = match source {
            Source::One(name) => vec![series(None, name)?],
            Source::Each(names) => {
                names.iter().map(|(text, name)| series(Some(text), name)).collect::<Result<_, String>>()?
            }
        };
        Ok(Family { name: self.name.clone(), help: self.help.clone(), kind, series })
    }

    fn value(&self, table: &TableText, kind: MetricKind, name: &str) -> Result<Value, String> {
        let unknown = || name.to_owned();
        Ok(match kind {
            MetricKind::Gauge if self.tally.is_none() => match name.parse() {
                Ok(number) => Value::Constant(number),
                Err(_) => Value::Level(level(name).ok_or_else(unknown)?),
            },
            MetricKind::Gauge | MetricKind::Counter if name == "0" => Value::Counts(Vec::new()),
            MetricKind::Gauge | MetricKind::Counter => {
                let counts = name.split('+').map(|name| Count::named(name).ok_or_else(unknown));
                Value::Counts(counts.collect::<Result<_, _>>()?)
            }
            MetricKind::Histogram => {
                let (observed, unit) = observed(name).ok_or_else(unknown)?;
                let unit = match () {
                    () if self.milliseconds => Unit::Milliseconds,
                    () if self.microseconds => Unit::One,
                    () => unit,
                };
                let buckets = self.buckets.as_deref().unwrap_or_default();
                let buckets = table.buckets.get(buckets).ok_or_else(|| buckets.to_owned())?;
                Value::Histogram(observed, unit, buckets.bounds())
            }
            MetricKind::Summary if name == "accepted_per_draft" => Value::AcceptedPerDraft,
            MetricKind::Summary => return Err(unknown()),
        })
    }
}

/// A gauge's source by name.
fn level(name: &str) -> Option<fn(&Levels) -> f64> {
    Some(match name {
        "running" => |now| now.running,
        "waiting" => |now| now.waiting,
        "deferred" => |now| now.deferred,
        "waiting_all" => |now| now.waiting + now.deferred,
        "active" => |now| now.running + now.waiting,
        "prefilling" => Levels::prefilling,
        "decoding" => |now| now.running - now.prefilling(),
        "kv" => |now| now.kv,
        "kv_tokens" => Levels::kv_tokens,
        "kv_tokens_free" => |now| load::KV_TOKENS - now.kv_tokens(),
        "kv_blocks" => Levels::kv_blocks,
        "kv_blocks_free" => |now| load::KV_TOKENS / load::KV_BLOCK_TOKENS - now.kv_blocks(),
        "awake" => |now| f64::from(u8::from(now.awake)),
        "asleep" => |now| f64::from(u8::from(!now.awake)),
        "prompt_throughput" => Levels::prompt_throughput,
        "generation_throughput" => Levels::generation_throughput,
        "cached_ratio" => |now| if now.running > 0.0 { load::CACHED_RATIO } else { 0.0 },
        "acceptance_ratio" => Levels::acceptance_ratio,
        "acceptance_length" => |now| 1.0 + now.acceptance.iter().sum::<f64>(),
        // Tokens emitted, of the most that full acceptance would emit.
        "efficiency" => |now| (1.0 + now.acceptance.iter().sum::<f64>()) / (1.0 + load::DRAFT_TOKENS as f64),
        "itl_seconds" => |now| if now.running > 0.0 { now.itl_seconds } else { 0.0 },
        "prefilling_tokens" => |now| (now.prefilling() * now.prompt_tokens).round(),
        "batch_tokens_max" => |now| (now.running * (now.prompt_tokens + now.generation_tokens)).round(),
        "prefilling_ratio" => |now| now.prefilling() / load::RUNNING_MAX,
        "running_ratio" => |now| now.running / load::RUNNING_MAX,
        _ => return None,
    })
}

/// A histogram's source by name.
fn observed(name: &str) -> Option<(Observed, Unit)> {
    use Observed::{Gap, Passes, Request};
    Some(match name {
        "ttft" => (Request(load::Request::ttft), Unit::Seconds),
        "e2e" => (Request(load::Request::e2e), Unit::Seconds),
        "queue" => (Request(|request| request.queue), Unit::Seconds),
        "prefill" => (Request(|request| request.prefill), Unit::Seconds),
        "decode" => (Request(|request| request.decode), Unit::Seconds),
        "inference" => (Request(load::Request::inference), Unit::Seconds),
        "per_token" => (Request(|request| request.per_token), Unit::Seconds),
        "inference_per_token" => {
            (Request(|request| request.inference() / request.generation_tokens), Unit::Seconds)
        }
        "processing" => (Request(load::Request::processing), Unit::Seconds),
        "validation" => (Request(load::Request::validation), Unit::Seconds),
        "validation_and_e2e" => (Request(|request| request.validation() + request.e2e()), Unit::Seconds),
        "itl" => (Gap, Unit::Seconds),
        "prompt_tokens" => (Request(|request| request.prompt_tokens), Unit::One),
        "cached_tokens" => (Request(|request| request.cached_tokens), Unit::One),
        "computed_tokens" => (Request(|request| request.prompt_tokens - request.cached_tokens), Unit::One),
        "generation_tokens" => (Request(|request| request.generation_tokens), Unit::One),
        "max_tokens" => (Request(|request| request.max_tokens), Unit::One),
        "preemptions" => (Request(|request| request.preemptions), Unit::One),
        "choices" => (Request(|_| 1), Unit::One),
        "pass_tokens" => (Passes(None, |passes| passes.tokens), Unit::One),
        "prefill_pass_batch" => (Passes(Some(true), |passes| passes.batch), Unit::One),
        "prefill_pass_tokens" => (Passes(Some(true), |passes| passes.tokens), Unit::One),
        "prefill_pass" => (Passes(Some(true), |passes| passes.duration), Unit::Seconds),
        "decode_pass" => (Passes(Some(false), |passes| passes.duration), Unit::Seconds),
        "prefill_forward" => (Passes(Some(true), load::Passes::forward), Unit::Seconds),
        "decode_forward" => (Passes(Some(false), load::Passes::forward), Unit::Seconds),
        "prefill_detokenize" => (Passes(Some(true), load::Passes::detokenize), Unit::Seconds),
        "decode_detokenize" => (Passes(Some(false), load::Passes::detokenize), Unit::Seconds),
        "prefill_filter" => (Passes(Some(true), load::Passes::filter), Unit::Seconds),
        "decode_filter" => (Passes(Some(false), load::Passes::filter), Unit::Seconds),
        _ => return None,
    })
}
