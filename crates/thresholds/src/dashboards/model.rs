//! Grafana's Classic dashboard model, as much of it as is used here. The types of `@grafana/schema` are the
//! reference; a test compares what comes out with them.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// The version of the model. Grafana migrates it to newer ones on loading.
pub(super) const SCHEMA_VERSION: u32 = 42;

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Dashboard {
    pub uid: String,
    pub title: String,
    pub description: String,
    pub tags: Vec<&'static str>,
    pub editable: bool,
    /// 1 shares the crosshair between panels.
    pub graph_tooltip: u8,
    pub schema_version: u32,
    pub refresh: &'static str,
    pub time: Span,
    pub timezone: &'static str,
    pub links: Vec<DashboardLink>,
    pub annotations: Annotations,
    pub templating: Templating,
    pub panels: Vec<Item>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Span {
    pub from: &'static str,
    pub to: &'static str,
}

/// A menu of the dashboards with these tags.
#[expect(clippy::struct_excessive_bools, reason = "Grafana's own switches")]
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DashboardLink {
    pub title: &'static str,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub tags: Vec<&'static str>,
    pub as_dropdown: bool,
    pub icon: &'static str,
    pub include_vars: bool,
    pub keep_time: bool,
    pub target_blank: bool,
    pub tooltip: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Annotations {
    pub list: Vec<Annotation>,
}

/// Marks on lines over time: where a series of Prometheus has a value.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Annotation {
    pub name: &'static str,
    pub datasource: DataSource,
    pub enable: bool,
    pub icon_color: &'static str,
    pub expr: String,
    /// Two marks closer than this are one.
    pub step: &'static str,
    pub title_format: &'static str,
    pub text_format: &'static str,
    pub tag_keys: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Templating {
    pub list: Vec<Variable>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Variable {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub name: String,
    pub label: String,
    pub query: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datasource: Option<DataSource>,
    /// 1 asks when the dashboard is loaded, 2 when the time range changes too.
    pub refresh: u8,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub regex: String,
    /// 1 sorts by name.
    pub sort: u8,
    pub multi: bool,
    pub include_all: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all_value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<Choice>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Choice {
    pub text: Vec<&'static str>,
    pub value: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct DataSource {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub uid: &'static str,
}

/// What stands on a dashboard.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Item {
    Row(Row),
    Panel(Box<Panel>),
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub id: u32,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub title: String,
    pub grid_pos: GridPos,
    /// Whether its panels are hidden, and ask nothing, until it is opened.
    pub collapsed: bool,
    pub panels: Vec<Panel>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Panel {
    pub id: u32,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub title: String,
    pub description: String,
    pub grid_pos: GridPos,
    pub datasource: DataSource,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_data_points: Option<u32>,
    pub targets: Vec<Target>,
    pub field_config: FieldConfig,
    pub options: Options,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub transformations: Vec<Transformation>,
}

/// A place on the grid of 24 columns.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct GridPos {
    pub x: u32,
    pub y: u32,
    pub w: u32,
    pub h: u32,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Target {
    pub ref_id: String,
    pub datasource: DataSource,
    pub editor_mode: &'static str,
    pub expr: String,
    pub format: &'static str,
    pub instant: bool,
    pub range: bool,
    pub legend_format: String,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct FieldConfig {
    pub defaults: Field,
    pub overrides: Vec<Override>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Field {
    pub color: Color,
    pub custom: Custom,
    pub links: Vec<DataLink>,
    pub mappings: Vec<Mapping>,
    pub no_value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<Thresholds>,
    pub unit: String,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Color {
    pub mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixed_color: Option<&'static str>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DataLink {
    pub title: String,
    pub url: String,
    pub target_blank: bool,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", content = "options", rename_all = "lowercase")]
pub(super) enum Mapping {
    Value(BTreeMap<String, MappingResult>),
    Special(Special),
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Special {
    #[serde(rename = "match")]
    pub of: &'static str,
    pub result: MappingResult,
}

/// How a value is shown: always as a word, too.
#[derive(Clone, Debug, Serialize)]
pub(super) struct MappingResult {
    pub text: String,
    pub color: String,
    pub index: usize,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Thresholds {
    pub mode: &'static str,
    pub steps: Vec<Step>,
}

/// A colour from this value on, up to the next step's; the first has no value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Step {
    pub color: &'static str,
    #[serde(serialize_with = "plain")]
    pub value: Option<f64>,
}

/// Whole numbers without a fraction.
#[expect(clippy::ref_option, reason = "the signature that serde asks for")]
fn plain<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        None => serializer.serialize_none(),
        Some(number) if number.fract() == 0.0 && number.abs() < 1e15 =>
        {
            #[expect(clippy::cast_possible_truncation, reason = "a whole number of few digits")]
            serializer.serialize_i64(*number as i64)
        }
        Some(number) => serializer.serialize_f64(*number),
    }
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Override {
    pub matcher: Matcher,
    pub properties: Vec<Property>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Matcher {
    pub id: &'static str,
    pub options: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "id", content = "value")]
pub(super) enum Property {
    #[serde(rename = "color")]
    Color(Color),
    #[serde(rename = "links")]
    Links(Vec<DataLink>),
    #[serde(rename = "mappings")]
    Mappings(Vec<Mapping>),
    #[serde(rename = "displayName")]
    DisplayName(String),
    #[serde(rename = "unit")]
    Unit(String),
    #[serde(rename = "noValue")]
    NoValue(&'static str),
    #[serde(rename = "thresholds")]
    Thresholds(Thresholds),
    #[serde(rename = "custom.cellOptions")]
    Cell(Cell),
    /// Of a column, in pixels.
    #[serde(rename = "custom.width")]
    Width(u32),
    #[serde(rename = "custom.hideFrom")]
    Hide(HideFrom),
}

/// Where a field is not shown.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct HideFrom {
    pub viz: bool,
    pub legend: bool,
    pub tooltip: bool,
}

/// What a kind of panel draws its fields with.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Custom {
    Tiles {},
    #[serde(rename_all = "camelCase")]
    Timeline {
        fill_opacity: u8,
        line_width: u8,
    },
    #[serde(rename_all = "camelCase")]
    Series {
        axis_soft_min: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        axis_soft_max: Option<f64>,
        draw_style: &'static str,
        fill_opacity: u8,
        gradient_mode: &'static str,
        line_width: u8,
        show_points: &'static str,
        span_nulls: bool,
        thresholds_style: Mode,
    },
    #[serde(rename_all = "camelCase")]
    Table {
        align: &'static str,
        cell_options: Cell,
        inspect: bool,
    },
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Mode {
    pub mode: &'static str,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Cell {
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Without it, a coloured cell has a gradient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<&'static str>,
}

/// What a kind of panel is drawn with.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Options {
    #[serde(rename_all = "camelCase")]
    Tiles {
        color_mode: &'static str,
        graph_mode: &'static str,
        justify_mode: &'static str,
        orientation: &'static str,
        percent_change_color_mode: &'static str,
        reduce_options: Reduce,
        show_percent_change: bool,
        text: TextSizes,
        text_mode: &'static str,
        wide_layout: bool,
    },
    #[serde(rename_all = "camelCase")]
    Timeline {
        align_value: &'static str,
        legend: Legend,
        merge_values: bool,
        row_height: f64,
        show_value: &'static str,
        tooltip: Tooltip,
    },
    Series {
        legend: Legend,
        tooltip: Tooltip,
    },
    #[serde(rename_all = "camelCase")]
    Table {
        cell_height: &'static str,
        frame_index: u8,
        show_header: bool,
    },
}

/// Font sizes. Without them the longest name on any tile decides for all.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TextSizes {
    pub title_size: u8,
    pub value_size: u8,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Reduce {
    pub calcs: Vec<&'static str>,
    pub fields: &'static str,
    pub values: bool,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Legend {
    pub calcs: Vec<&'static str>,
    pub display_mode: &'static str,
    pub placement: &'static str,
    #[serde(rename = "showLegend")]
    pub shown: bool,
    /// The title of the figure by which rows are sorted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort_by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort_desc: Option<bool>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Tooltip {
    pub mode: &'static str,
    pub sort: &'static str,
}

/// A change to a table before it is drawn.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "id", content = "options", rename_all = "camelCase")]
pub(super) enum Transformation {
    /// Leaves out all other columns.
    FilterFieldsByName { include: ByNames },
    /// Puts columns in order.
    #[serde(rename_all = "camelCase")]
    Organize { index_by_name: BTreeMap<String, usize>, rename_by_name: BTreeMap<String, String> },
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct ByNames {
    #[serde(rename = "names")]
    pub columns: Vec<String>,
}
