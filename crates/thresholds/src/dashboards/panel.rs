//! Each kind of panel with the settings that all of its kind share.

use std::collections::BTreeMap;

use super::{
    model::{
        ByNames, Cell, Color, Custom, DataLink, DataSource, Field, FieldConfig, GridPos, HideFrom, Legend,
        Mapping, Matcher, Mode, Options, Override, Panel, Property, Reduce, Target, TextSizes, Thresholds,
        Tooltip, Transformation,
    },
    paint,
};

/// The data source that is chosen on top of each dashboard.
pub(super) const SOURCE: DataSource = DataSource { kind: "prometheus", uid: "${datasource}" };

/// Each line has a colour of its own: coloured by thresholds, all that are red look alike.
const LINES: Color = Color { mode: "palette-classic", fixed_color: None };

/// What its mappings do not colour is grey. By thresholds, a timeline prints "< 1" for the word of a state, and what has no
/// thresholds gets Grafana's default ones.
const WORDS: Color = Color { mode: "fixed", fixed_color: Some(paint::GREY) };

const NEUTRAL: Color = Color { mode: "fixed", fixed_color: Some(paint::BLUE) };

const JUDGED: Color = Color { mode: "thresholds", fixed_color: None };

/// A range of more points than this is asked for in fewer.
const TIMELINE_POINTS: u32 = 240;

/// What a panel of any kind is made of.
#[derive(Default)]
pub(super) struct Content {
    pub title: String,
    pub description: String,
    /// Queries, each with its legend.
    pub queries: Vec<(String, String)>,
    pub unit: String,
    pub thresholds: Option<Thresholds>,
    /// A ratio whose axis reaches 100%.
    pub whole: bool,
    /// The least is the worst.
    pub low: bool,
    /// Values that are words.
    pub words: Option<Mapping>,
    pub links: Vec<DataLink>,
    /// What is different for single series or columns, by name.
    pub own: BTreeMap<String, Vec<Property>>,
    /// Columns of a table: field, title.
    pub columns: Vec<(String, String)>,
    /// Said where there is no series.
    pub none: String,
}

/// Lines over time, the worst in the first row of the legend. Where there are bands, they are drawn dashed.
pub(super) fn series(content: Content) -> Panel {
    // A value that is bad when low is summed up by its least.
    let low =
        content.low || content.thresholds.as_ref().is_some_and(|t| t.steps[0].color != paint::STATES[0].1);
    let (extreme, title) = if low { ("min", "Min") } else { ("max", "Max") };
    // A dashed line on the axis would lie on healthy zeros.
    let drawn = content.thresholds.as_ref().is_some_and(|t| {
        t.steps.iter().filter_map(|step| step.value).all(|value| value.abs() > f64::MIN_POSITIVE)
    });
    let custom = Custom::Series {
        axis_soft_min: 0,
        axis_soft_max: soft_max(&content),
        draw_style: "line",
        fill_opacity: 0,
        gradient_mode: "none",
        line_width: 2,
        show_points: "auto",
        span_nulls: false,
        thresholds_style: Mode { mode: if drawn { "dashed" } else { "off" } },
    };
    let options = Options::Series {
        legend: Legend {
            calcs: vec!["lastNotNull", extreme],
            display_mode: "table",
            placement: "bottom",
            shown: true,
            sort_by: Some(title),
            sort_desc: Some(!low),
        },
        tooltip: Tooltip { mode: "multi", sort: "desc" },
    };
    let mut panel = panel("timeseries", content, LINES, custom, options);
    // A series that counts a state has its colour.
    for (word, color) in paint::STATES {
        if panel.targets.iter().any(|target| target.legend_format == word) {
            let color = Color { mode: "fixed", fixed_color: Some(color) };
            panel.field_config.overrides.push(by_name(word, vec![Property::Color(color)]));
        }
    }
    panel
}

/// What the axis reaches at least: of lines at 0 alone, Grafana would draw one to 100, which is 10,000%.
fn soft_max(content: &Content) -> Option<f64> {
    match content.unit.as_str() {
        "percentunit" if !content.whole => Some(0.01),
        "percentunit" | "short" | "cps" | "reqps" => Some(1.0),
        _ => None,
    }
}

/// A tile per series, as of now, filled with the colour of its state.
pub(super) fn tiles(content: Content) -> Panel {
    let text = TextSizes { title_size: 12, value_size: 14 };
    let mut panel = panel("stat", content, WORDS, Custom::Tiles {}, stat("background_solid", text));
    now(&mut panel, "time_series");
    panel
}

/// A number per series, as of now.
pub(super) fn numbers(content: Content) -> Panel {
    let text = TextSizes { title_size: 14, value_size: 26 };
    let mut panel = panel("stat", content, NEUTRAL, Custom::Tiles {}, stat("value", text));
    now(&mut panel, "time_series");
    panel
}

/// What colours a number when it is above 0.
pub(super) fn alarm(state: &str) -> Vec<Property> {
    paint::alarm(state)
        .map_or_else(Vec::new, |steps| vec![Property::Color(JUDGED), Property::Thresholds(steps)])
}

fn stat(color_mode: &'static str, text: TextSizes) -> Options {
    Options::Tiles {
        color_mode,
        graph_mode: "none",
        justify_mode: "auto",
        orientation: "auto",
        percent_change_color_mode: "standard",
        reduce_options: Reduce { calcs: vec!["lastNotNull"], fields: "", values: false },
        show_percent_change: false,
        text,
        text_mode: "value_and_name",
        wide_layout: false,
    }
}

/// A lane per series, filled with the colours of its states over time.
pub(super) fn timeline(content: Content) -> Panel {
    let custom = Custom::Timeline { fill_opacity: 90, line_width: 0 };
    let options = Options::Timeline {
        align_value: "left",
        legend: Legend {
            calcs: vec![],
            display_mode: "list",
            placement: "bottom",
            shown: true,
            sort_by: None,
            sort_desc: None,
        },
        merge_values: true,
        row_height: 0.9,
        show_value: "auto",
        tooltip: Tooltip { mode: "single", sort: "none" },
    };
    let mut panel = panel("state-timeline", content, WORDS, custom, options);
    panel.max_data_points = Some(TIMELINE_POINTS);
    panel
}

/// A row per series, as of now, with some of its labels as columns.
pub(super) fn table(content: Content) -> Panel {
    let columns = content.columns.clone();
    let custom =
        Custom::Table { align: "auto", cell_options: Cell { kind: "auto", mode: None }, inspect: false };
    let options = Options::Table { cell_height: "sm", frame_index: 0, show_header: true };
    let mut panel = panel("table", content, WORDS, custom, options);
    // An empty label is no missing value.
    panel.field_config.defaults.mappings.clear();
    now(&mut panel, "table");
    let fields: Vec<_> = columns.iter().map(|(field, _)| field.clone()).collect();
    panel.transformations = vec![
        Transformation::FilterFieldsByName { include: ByNames { columns: fields.clone() } },
        Transformation::Organize {
            index_by_name: fields.into_iter().zip(0..).collect(),
            rename_by_name: columns.into_iter().filter(|(_, title)| !title.is_empty()).collect(),
        },
    ];
    panel
}

/// Colours a column by its words.
pub(super) fn painted(words: Mapping) -> Vec<Property> {
    vec![
        Property::Cell(Cell { kind: "color-background", mode: Some("basic") }),
        Property::Mappings(vec![words]),
    ]
}

/// A column that only links read.
pub(super) fn hidden() -> Vec<Property> {
    vec![Property::Hide(HideFrom { viz: true, legend: false, tooltip: false })]
}

fn by_name(name: &str, properties: Vec<Property>) -> Override {
    Override { matcher: Matcher { id: "byName", options: name.to_owned() }, properties }
}

/// Asks for one moment instead of a range.
fn now(panel: &mut Panel, format: &'static str) {
    for target in &mut panel.targets {
        (target.instant, target.range, target.format) = (true, false, format);
    }
}

fn panel(kind: &'static str, content: Content, color: Color, custom: Custom, options: Options) -> Panel {
    let target = |(index, (expr, legend)): (usize, (String, String))| Target {
        ref_id: char::from(b'A' + u8::try_from(index).unwrap_or(25)).to_string(),
        datasource: SOURCE,
        editor_mode: "code",
        expr,
        format: "time_series",
        instant: false,
        range: true,
        legend_format: legend,
    };
    Panel {
        id: 0,
        kind,
        title: content.title,
        description: content.description,
        grid_pos: GridPos::default(),
        datasource: SOURCE,
        max_data_points: None,
        targets: content.queries.into_iter().enumerate().map(target).collect(),
        field_config: FieldConfig {
            defaults: Field {
                color,
                custom,
                links: content.links,
                mappings: std::iter::once(paint::absence()).chain(content.words).collect(),
                no_value: content.none,
                thresholds: content.thresholds,
                unit: content.unit,
            },
            overrides: content.own.into_iter().map(|(name, properties)| by_name(&name, properties)).collect(),
        },
        options,
        transformations: Vec::new(),
    }
}
