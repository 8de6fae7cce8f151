//! The shape of `catalogue/dashboards.toml`: which panels stand on which dashboard.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::model::Engines;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spec {
    pub variables: BTreeMap<String, VariableSpec>,
    /// Alerts of signals that they do not read by name.
    pub runbooks: BTreeMap<String, String>,
    /// Signals on tiles: a name that has room there.
    pub names: BTreeMap<String, String>,
    /// What engines print that no rule reads: `%name` in queries is the sum by engine.
    pub engines: BTreeMap<String, Engines>,
    /// What every dashboard of a fleet begins with.
    pub opening: Vec<PanelSpec>,
    pub dashboard: Vec<Board>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VariableSpec {
    /// The variable's name where it is not the key: the same name asks differently on different dashboards.
    pub name: Option<String>,
    pub label: String,
    /// `label_values` or `query_result` over recorded series.
    pub query: String,
    #[serde(default)]
    pub regex: String,
    /// Several can be chosen, all of them at first.
    #[serde(default)]
    pub many: bool,
    /// What "All" means; without it, the list of all.
    pub all: Option<String>,
}

/// One dashboard, or one for each family.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Board {
    pub id: String,
    pub title: String,
    pub about: String,
    pub variables: Vec<String>,
    /// Matchers by what is selected: `&devices` and `&models` in queries.
    #[serde(rename = "where")]
    pub matchers: BTreeMap<String, String>,
    /// Legends of series of devices and of models.
    pub legend: BTreeMap<String, String>,
    /// The alerts that are marked on lines over time.
    pub marks: String,
    /// Begins as all fleets do.
    #[serde(default)]
    pub fleet: bool,
    /// The families whose tiles lead here.
    #[serde(default)]
    pub home: Vec<String>,
    /// One dashboard for each family, with those panels that the family can fill.
    #[serde(default)]
    pub per_family: bool,
    /// Panels of a signal show this many series, the worst of the time shown.
    pub worst: Option<u32>,
    pub panel: Vec<PanelSpec>,
}

/// One panel, or several alike.
#[expect(clippy::struct_excessive_bools, reason = "keys of a data file, independent of each other")]
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PanelSpec {
    /// Begins a row with this title.
    pub section: Option<String>,
    /// The row is closed until it is asked for.
    pub collapsed: bool,
    /// On the dashboards of these families alone; empty for all that can fill it.
    pub families: Vec<String>,
    pub view: View,
    /// Title, description, unit, query and bands are those of this signal.
    pub signal: Option<String>,
    pub title: Option<String>,
    pub about: Option<String>,
    pub query: Option<String>,
    pub legend: Option<String>,
    /// Further queries, each with its legend.
    pub more: Vec<(String, String)>,
    /// Single numbers.
    pub number: Vec<Number>,
    /// Grafana's id of the unit.
    pub unit: Option<String>,
    /// A ratio whose axis reaches 100%.
    pub whole: bool,
    /// The least is the worst.
    pub low: bool,
    pub width: Option<u32>,
    pub height: Option<u32>,
    /// The dashboard to which values lead.
    pub link: Option<Link>,
    /// Values that are words: value, word, colour.
    pub values: Vec<(String, String, String)>,
    /// Columns of a table, in order: label, title. One without a title is hidden, for links to read.
    pub columns: Vec<(String, String)>,
    /// Said where there is no series; without it that data is missing.
    pub none: Option<String>,
    /// Only with prices.
    pub priced: bool,
}

/// One number, as of now.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Number {
    pub name: String,
    pub query: String,
    pub unit: Option<String>,
    /// The state that any number above 0 means.
    pub means: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum View {
    /// Lines over time.
    #[default]
    Series,
    /// Tiles of states, as of now.
    Tiles,
    /// Single numbers, as of now.
    Numbers,
    /// States over time.
    Timeline,
    /// Rows, as of now.
    Table,
    /// Firing alerts, the most severe first.
    Alerts,
    /// The 50th, 95th and 99th percentile of a histogram by model.
    Quantiles,
    /// One panel of lines for each promise of each class in use.
    Promises,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Link {
    Device,
    Node,
    Engine,
    /// All engines of a model.
    Model,
}
