//! How signals are read from inference engines.

use std::collections::BTreeMap;

use serde::Deserialize;

/// An inference engine, and how its names are spelt.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Engine {
    /// The word by which an override file names it.
    pub name: String,
    /// What its own names begin with.
    pub prefix: String,
    /// What stands there in other releases and behind wrappers, routers and re-exporters.
    pub spellings: Vec<String>,
}

/// How a signal is read from inference engines.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Engines {
    pub kind: EngineKind,
    /// `sum` or `max` over ranks, workers and renamed labels.
    pub aggregate: String,
    /// A label that is kept in addition to those of the engine.
    pub keep: Option<String>,
    /// Upper bounds of histograms, by the name that sources refer to.
    #[serde(default)]
    pub layouts: BTreeMap<String, Vec<f64>>,
    pub sources: Vec<EngineSource>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EngineKind {
    Gauge,
    /// A counter, read as its rate over five minutes.
    Rate,
    /// A classic histogram, read as its 95th percentile over five minutes.
    Histogram,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EngineSource {
    pub engine: String,
    /// Versions in which it was seen.
    pub versions: String,
    /// As the engine spells it, without `_bucket`.
    pub metric: String,
    /// Matchers of the selector.
    #[serde(default)]
    pub select: String,
    /// Other labels that such series carry, for the worked example.
    #[serde(default)]
    pub labels: String,
    /// Another gauge of the same engine, with its matchers, by which it is multiplied.
    pub times: Option<String>,
    /// Labels that hold numbers: the value is their product. Of an info series, whose own value is 1.
    #[serde(default)]
    pub numbers: Vec<String>,
    /// The label that names the model, where it is neither `model` nor `model_name`.
    pub model: Option<String>,
    /// A source label that becomes the kept one.
    pub rename: Option<String>,
    /// A fixed value of the kept label.
    pub set: Option<String>,
    /// A counter of the same engine, without its prefix, that counts some of these apart.
    pub minus: Option<String>,
    /// A second histogram whose percentile is added: the engine counts two parts of the time apart. A selector, with
    /// `_bucket`.
    pub plus: Option<String>,
    /// The layout of a histogram's bounds.
    pub layout: Option<String>,
    /// The engine prints milliseconds.
    #[serde(default)]
    pub milliseconds: bool,
}
