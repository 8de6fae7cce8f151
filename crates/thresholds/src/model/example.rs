//! Worked examples, from which tests are generated.

use std::collections::BTreeMap;

use naming::Family;
use serde::Deserialize;

use super::{Severity, families};
use crate::{number::Duration, vocabulary::PerVocabulary};

/// Worked examples: series that make a value `v`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Example {
    #[serde(default)]
    pub series: PerVocabulary<Vec<TestSeries>>,
    /// Series that are bad for another reason and must not be taken for this one.
    #[serde(default)]
    pub decoys: PerVocabulary<Vec<TestSeries>>,
    /// The longest window, after which the value is what the series say.
    #[serde(default)]
    pub settle: Duration,
    /// How long an event stays in the longest window; as `settle` when absent.
    pub linger: Option<Duration>,
    /// The smallest distance from a bound that a test uses; by unit when absent.
    pub step: Option<f64>,
    /// Values for a signal that has no bands.
    #[serde(default)]
    pub values: Vec<f64>,
    /// Values of a signal whose bands need more than the value, in turn, each with the state that it has then.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// For alerts without a bound: a value that is fine, and one that fires.
    pub quiet: Option<f64>,
    pub firing: Option<f64>,
    /// For alerts with a bound: the same two by their distance from it, positive above.
    pub distances: Option<[f64; 2]>,
    /// What the alert's value reads in its description, when it is not `v`.
    #[serde(default)]
    pub shown: PerVocabulary<String>,
    /// What the question of the alert's description returns; nothing when empty.
    #[serde(default)]
    pub asked: PerVocabulary<String>,
    /// Input labels that the result does not have.
    #[serde(default)]
    pub drop: PerVocabulary<Vec<String>>,
    /// Further labels of the result.
    #[serde(default)]
    pub labels: PerVocabulary<BTreeMap<String, String>>,
    /// Values put for `<variant>` in the series, by family: each must fire.
    #[serde(default)]
    pub variants: BTreeMap<String, Vec<String>>,
    /// Whether all of them are tried in one test, as devices do not get in each other's way; else in turn.
    #[serde(default)]
    pub at_once: bool,
    /// Families that the example is about; all of them when empty.
    #[serde(default, deserialize_with = "families")]
    pub families: Vec<Family>,
    /// The level that the example is about, where the alert has several.
    pub severity: Option<Severity>,
    /// Whether the alert must not fire: a healthy state that looks like its cause.
    #[serde(default)]
    pub silent: bool,
    /// The alert fires because series are gone.
    #[serde(default)]
    pub absence: bool,
    /// For how long a look-back needs the series to have been there before; of a silent example, what happens in
    /// that time is not looked at.
    #[serde(default)]
    pub lead: Duration,
}

/// A value, and the state to which it leads.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// The band from whose bound the value is `by` away; without one, `by` is the value.
    pub from: Option<String>,
    pub by: f64,
    pub state: u8,
}

/// One input series; exactly one of the four ways to move is given.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestSeries {
    pub series: String,
    /// A gauge with this value.
    pub value: Option<String>,
    /// A counter that grows by this much each second.
    pub rate: Option<String>,
    /// A counter that has this value from the first bad moment on.
    pub step: Option<String>,
    /// A flag: 1 while the value is at least this, else 0.
    pub from: Option<f64>,
    /// In how many of the first stretches of time the series does not exist yet.
    #[serde(default)]
    pub late: usize,
    /// Whether it ends with the first round of the first bad period, as on a device that is lost then.
    #[serde(default)]
    pub brief: bool,
    /// What its values are multiplied by, where the name has another unit.
    #[serde(skip)]
    pub scale: Option<f64>,
}
