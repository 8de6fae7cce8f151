//! Each kind of panel with the settings that all of its kind share.

use std::collections::BTreeMap;

use super::{
    model::{
        ByNames, Cell, Color, Custom, DataLink, DataSource, Field, FieldConfig, GridPos, Legend, Mapping,
        Matcher, Mode, Options, Override, Panel, Property, Reduce, Target, Thresholds, Tooltip,
        Transformation,
    },
    paint,
};

/// The data source that is chosen on top of each dashboard.
pub(super) const SOURCE: DataSource = DataSource { kind: "prometheus", uid: "${datasource}" };

/// Green, amber and red judge by the thresholds; what only explains is in shades of blue, which judges
/// nothing.
const JUDGED: Color = Color { mode: "thresholds", fixed_color: None };
const EXPLAINING: Color = Color { mode: "shades", fixed_color: Some(paint::BLUE) };

/// A range of more points than this is asked for in fewer.
const TIMELINE_POINTS: u32 = 240;

/// What a panel of any kind is made of.
pub(super) struct Content {
    pub title: String,
    pub description: String,
    /// Queries, each with its legend.
    pub queries: Vec<(String, String)>,
    pub unit: String,
    pub thresholds: Option<Thresholds>,
    /// Values that are words.
    pub words: Option<Mapping>,
    pub links: Vec<DataLink>,
    /// Links of single series, by name.
    pub links_of: BTreeMap<String, DataLink>,
    /// Columns of a table.
    pub columns: Vec<String>,
}

/// Lines over time. Where there are bands, they colour the lines and are drawn dashed.
pub(super) fn series(content: Content) -> Panel {
    let banded = content.thresholds.is_some();
    // A value that is bad when low is summed up by its least.
    let extreme = match &content.thresholds {
        Some(thresholds) if thresholds.steps[0].color != paint::STATES[0].1 => "min",
        _ => "max",
    };
    let custom = Custom::Series {
        axis_soft_min: 0,
        axis_soft_max: (content.unit == "percentunit").then_some(1),
        draw_style: "line",
        fill_opacity: 0,
        gradient_mode: if banded { "scheme" } else { "none" },
        line_width: 2,
        show_points: "auto",
        span_nulls: false,
        thresholds_style: Mode { mode: if banded { "dashed" } else { "off" } },
    };
    let options = Options::Series {
        legend: Legend {
            calcs: vec!["lastNotNull", extreme],
            display_mode: "table",
            placement: "bottom",
            shown: true,
        },
        tooltip: Tooltip { mode: "multi", sort: "desc" },
    };
    let color = if banded { JUDGED } else { EXPLAINING };
    let mut panel = panel("timeseries", content, color, custom, options);
    // A series that counts a state has its colour.
    for (word, color) in paint::STATES {
        if panel.targets.iter().any(|target| target.legend_format == word) {
            panel.field_config.overrides.push(Override {
                matcher: Matcher { id: "byName", options: word.to_owned() },
                properties: vec![Property::Color(Color { mode: "fixed", fixed_color: Some(color) })],
            });
        }
    }
    panel
}

/// A tile per series, as of now, filled with the colour of its state.
pub(super) fn tiles(content: Content) -> Panel {
    let options = Options::Tiles {
        color_mode: "background_solid",
        graph_mode: "none",
        justify_mode: "auto",
        orientation: "auto",
        percent_change_color_mode: "standard",
        reduce_options: Reduce { calcs: vec!["lastNotNull"], fields: "", values: false },
        show_percent_change: false,
        text_mode: "value_and_name",
        wide_layout: true,
    };
    let mut panel = panel("stat", content, JUDGED, Custom::Tiles {}, options);
    now(&mut panel, "time_series");
    panel
}

/// A lane per series, filled with the colours of its states over time.
pub(super) fn timeline(content: Content) -> Panel {
    let custom = Custom::Timeline { fill_opacity: 90, line_width: 0 };
    let options = Options::Timeline {
        align_value: "left",
        legend: Legend { calcs: vec![], display_mode: "list", placement: "bottom", shown: true },
        merge_values: true,
        row_height: 0.9,
        show_value: "auto",
        tooltip: Tooltip { mode: "single", sort: "none" },
    };
    let mut panel = panel("state-timeline", content, JUDGED, custom, options);
    panel.max_data_points = Some(TIMELINE_POINTS);
    panel
}

/// A row per series, as of now, with some of its labels as columns.
pub(super) fn table(content: Content) -> Panel {
    let columns = content.columns.clone();
    let custom = Custom::Table { align: "auto", cell_options: Cell { kind: "auto" }, inspect: false };
    let options = Options::Table { cell_height: "sm", frame_index: 0, show_header: true };
    let mut panel = panel("table", content, JUDGED, custom, options);
    now(&mut panel, "table");
    let index_by_name = columns.iter().cloned().zip(0..).collect();
    panel.transformations = vec![
        Transformation::FilterFieldsByName { include: ByNames { columns } },
        Transformation::Organize { index_by_name },
    ];
    panel
}

/// Colours a column by its words.
pub(super) fn paint_column(panel: &mut Panel, column: &str, words: Mapping) {
    panel.field_config.overrides.push(Override {
        matcher: Matcher { id: "byName", options: column.to_owned() },
        properties: vec![
            Property::Cell(Cell { kind: "color-background" }),
            Property::Mappings(vec![paint::absence(), words]),
        ],
    });
}

/// Makes each value of a column a link.
pub(super) fn link_column(panel: &mut Panel, column: &str, link: DataLink) {
    panel.field_config.overrides.push(Override {
        matcher: Matcher { id: "byName", options: column.to_owned() },
        properties: vec![Property::Links(vec![link])],
    });
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
    let links_of = content.links_of.into_iter().map(|(name, link)| Override {
        matcher: Matcher { id: "byName", options: name },
        properties: vec![Property::Links(vec![link])],
    });
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
                no_value: paint::NO_VALUE,
                thresholds: content.thresholds,
                unit: content.unit,
            },
            overrides: links_of.collect(),
        },
        options,
        transformations: Vec::new(),
    }
}
