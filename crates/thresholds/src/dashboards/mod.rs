//! Grafana dashboards from the same catalogue: `catalogue/dashboards.toml` lists the panels; queries, units,
//! words and bands are those of the signals.

mod links;
mod model;
mod paint;
mod panel;
mod query;
mod spec;
mod write;

use std::collections::BTreeMap;

use naming::Family;

use crate::{
    catalogue::{BANDS, Catalogue, read},
    model::{Bound, Severity, Signal, SloClass, Unit},
    plan::scaled,
    slo,
    vocabulary::Vocabulary,
};
use model::{Item, Panel, Property};
use panel::Content;
use spec::{Board, PanelSpec, Spec, View};

pub(crate) use write::files;

const SPEC: &str = include_str!("../../catalogue/dashboards.toml");

/// How a panel shows a signal: values at, below and above each edge of its bands, and the state of each.
#[derive(Clone, Debug)]
pub struct BandPanel {
    /// Path of the dashboard, as [`generate`](crate::generate) returns it.
    pub path: String,
    /// Id of the panel on it.
    pub panel: u32,
    /// Id of the signal.
    pub signal: String,
    /// Values, each with its state: 0 green, 1 amber, 2 red.
    pub samples: Vec<(f64, u8)>,
}

/// A panel, and the bands that it shows.
struct BuiltPanel {
    panel: Panel,
    shows: Option<(String, Vec<(f64, u8)>)>,
}

/// Rows of panels: a title where there is one, whether it is closed, and the panels.
type Rows = Vec<(Option<String>, bool, Vec<BuiltPanel>)>;

fn spec() -> Result<Spec, String> {
    read("dashboards.toml", SPEC)
}

/// Makes the panels of one dashboard.
struct PanelBuilder<'a> {
    catalogue: &'a Catalogue,
    spec: &'a Spec,
    board: &'a Board,
    /// The family of a dashboard that each family has.
    family: Option<Family>,
}

impl PanelBuilder<'_> {
    fn rows(&self) -> Result<Rows, String> {
        let mut rows: Rows = vec![(None, false, Vec::new())];
        let opening = self.spec.opening.iter().filter(|_| self.board.fleet);
        for spec in opening.chain(&self.board.panel) {
            if let Some(section) = &spec.section {
                rows.push((Some(section.clone()), spec.collapsed, Vec::new()));
            }
            if !self.can_fill(spec) {
                continue;
            }
            let name = spec.signal.as_ref().or(spec.title.as_ref()).map_or("a panel", String::as_str);
            let made = self.panels(spec).map_err(|error| format!("{} {name}: {error}", self.board.id))?;
            if let Some((_, _, row)) = rows.last_mut() {
                row.extend(made);
            }
        }
        Ok(rows)
    }

    /// Whether there can be data for a panel on this dashboard.
    fn can_fill(&self, spec: &PanelSpec) -> bool {
        if spec.priced && self.catalogue.prices.is_empty() {
            return false;
        }
        let Some(family) = self.family else { return true };
        let meant = spec.families.is_empty() || spec.families.iter().any(|name| name == family.name());
        let signal = spec.signal.as_ref().and_then(|id| self.catalogue.signal(id));
        let text = spec.query.as_deref().unwrap_or_default();
        meant && signal.is_none_or(|signal| Self::has(signal, family)) && self.has_all(text, family)
    }

    fn panels(&self, spec: &PanelSpec) -> Result<Vec<BuiltPanel>, String> {
        if spec.view == View::Promises {
            return self.promises(spec);
        }
        let Some(id) = &spec.signal else { return Ok(vec![self.plain(spec)?]) };
        let signal = self.catalogue.signal(id).ok_or("no such signal")?;
        match signal.slo {
            None => Ok(vec![self.of_signal(spec, signal, None)?]),
            Some(_) => self
                .catalogue
                .classes_in_use()
                .map(|class| self.of_signal(spec, signal, Some(class)))
                .collect(),
        }
    }

    /// A panel that shows no bands: states, numbers, rows, or lines that explain.
    fn plain(&self, spec: &PanelSpec) -> Result<BuiltPanel, String> {
        let mut content = self.content(spec, &self.queries(spec)?, None)?;
        match spec.view {
            View::Tiles | View::Timeline => {
                if spec.values.is_empty() {
                    content.words = Some(paint::state_words());
                }
                content.own = self.signals(spec.query.as_deref().unwrap_or_default())?;
            }
            View::Numbers => {
                for number in &spec.number {
                    let mut own: Vec<_> = number.unit.iter().cloned().map(Property::Unit).collect();
                    own.extend(number.means.as_deref().map_or_else(Vec::new, panel::alarm));
                    if !own.is_empty() {
                        content.own.insert(number.name.clone(), own);
                    }
                }
            }
            _ => {}
        }
        Ok(BuiltPanel { panel: self.finish(spec, content), shows: None })
    }

    /// A signal with its bands; of a latency, in the seconds of one class. What explains has no bands here.
    fn of_signal(
        &self,
        spec: &PanelSpec,
        signal: &Signal,
        class: Option<&SloClass>,
    ) -> Result<BuiltPanel, String> {
        let factor = signal.slo.zip(class).map(|(objective, class)| class.seconds(objective));
        let mut bounds = scaled(&signal.bounds, factor);
        if signal.explains {
            bounds.retain(|name, _| !BANDS.contains(&name.as_str()));
        }
        let mut queries = vec![(self.query(signal), spec.legend.clone().unwrap_or_default())];
        queries.extend(self.further(spec));
        let mut content = self.content(spec, &queries, class)?;
        content.title = spec.title.clone().unwrap_or_else(|| signal.title.clone());
        if let (Some(class), Some(factor)) = (class, factor) {
            content.title = format!("{}, class {} ({})", content.title, class.name, signal.unit.show(factor));
        }
        let conditional = paint::is_conditional(signal);
        let mut parts = vec![spec.about.as_ref().unwrap_or(&signal.why).clone()];
        if let Some(count) = self.board.worst {
            parts.insert(0, format!("The {count} worst of the time shown."));
        }
        if !signal.explains {
            parts.push(paint::bands(&bounds, signal.unit, conditional));
        }
        if let Some(also) = signal.red_also.get(Vocabulary::Unified) {
            let also = also.iter().map(|text| self.expand(text, None));
            let also: Vec<_> = also.collect::<Result<_, _>>()?;
            parts.push(format!("Whatever the value, its state is CRIT too while {}.", also.join(" or ")));
        }
        if signal.gate.get(Vocabulary::Unified).is_some() && !signal.explains {
            parts.push("Shown while its gate holds: under load.".to_owned());
        }
        parts.extend(signal.first.iter().cloned());
        parts.retain(|part| !part.is_empty());
        content.description = parts.join(" ");
        content.unit = spec.unit.clone().unwrap_or_else(|| unit(signal.unit).to_owned());
        content.thresholds = paint::steps(&bounds, conditional);
        content.links.extend(self.runbook(&signal.id));
        let shows = content.thresholds.is_some().then(|| (signal.id.clone(), samples(&bounds, conditional)));
        Ok(BuiltPanel { panel: self.finish(spec, content), shows })
    }

    /// The share of broken promises, with the bound at which the fastest burn alerts.
    fn promises(&self, spec: &PanelSpec) -> Result<Vec<BuiltPanel>, String> {
        let mut made = Vec::new();
        for class in self.catalogue.classes_in_use() {
            for sli in slo::SLIS {
                let fastest = slo::windows(self.catalogue, class, sli).next().ok_or("no burn-rate window")?;
                let bound = slo::burn_limit(class, sli, fastest);
                let limit = Unit::Ratio.show(bound.number());
                let query = spec.query.as_ref().ok_or("has no query")?;
                let query = query
                    .replace("<sli>", sli)
                    .replace("<class>", &class.name)
                    .replace("<long>", &fastest.long.to_string());
                let mut content = self.content(spec, &[(query, String::new())], None)?;
                content.title = format!("{}: {sli}, class {}", content.title, class.name);
                content.description = format!(
                    "{} Red from {limit}: at that pace a month's budget lasts {:.1} days.",
                    content.description,
                    30.0 / fastest.factor
                );
                let bounds = BTreeMap::from([("red".to_owned(), bound)]);
                content.thresholds = paint::steps(&bounds, false);
                content.links.extend(self.runbook_page(slo::BURN));
                let shows = Some((format!("slo_{}_{sli}", class.name), samples(&bounds, false)));
                made.push(BuiltPanel { panel: self.finish(spec, content), shows });
            }
        }
        Ok(made)
    }

    /// Texts and queries of a panel, without bands.
    fn content(
        &self,
        spec: &PanelSpec,
        queries: &[(String, String)],
        class: Option<&SloClass>,
    ) -> Result<Content, String> {
        let legend = |own: &str, query: &str| {
            let whose = if query.contains("&models") { "models" } else { "devices" };
            let own = Some(own.to_owned()).filter(|own| !own.is_empty());
            own.or_else(|| self.board.legend.get(whose).cloned()).unwrap_or_default()
        };
        let is_table = matches!(spec.view, View::Table | View::Alerts);
        let query = |(query, own): &(String, String)| {
            let legend = if is_table { String::new() } else { legend(own, query) };
            let columns = spec.columns.iter().map(|(field, _)| field.as_str());
            let texts: Vec<_> = std::iter::once(legend.as_str()).chain(columns).collect();
            Ok((query::named(&self.expand(query, class)?, &texts), legend.clone()))
        };
        Ok(Content {
            title: spec.title.clone().unwrap_or_default(),
            description: spec.about.clone().unwrap_or_default(),
            queries: queries.iter().map(query).collect::<Result<_, String>>()?,
            unit: spec.unit.clone().unwrap_or_else(|| "none".to_owned()),
            whole: spec.whole,
            low: spec.low,
            words: (!spec.values.is_empty()).then(|| words(spec)),
            links: spec.link.filter(|_| !is_table).map(|link| self.link(link)).into_iter().collect(),
            columns: spec.columns.clone(),
            none: spec.none.clone().unwrap_or_else(|| paint::NO_VALUE.to_owned()),
            ..Content::default()
        })
    }

    fn finish(&self, spec: &PanelSpec, mut content: Content) -> Panel {
        if matches!(spec.view, View::Table | View::Alerts) {
            content.own = self.columns(spec);
        }
        let mut panel = match spec.view {
            View::Series | View::Quantiles | View::Promises => panel::series(content),
            View::Tiles => panel::tiles(content),
            View::Numbers => panel::numbers(content),
            View::Timeline => panel::timeline(content),
            View::Table | View::Alerts => panel::table(content),
        };
        let (width, height) = match spec.view {
            View::Tiles => (24, 4),
            View::Timeline | View::Table => (24, 8),
            View::Alerts => (16, 8),
            View::Numbers => (8, 8),
            // They share the width of their row.
            View::Series | View::Quantiles | View::Promises => (0, 8),
        };
        panel.grid_pos.w = spec.width.unwrap_or(width);
        panel.grid_pos.h = spec.height.unwrap_or(height);
        panel
    }

    /// What is particular to columns of a table, by title: words in colour, and where values lead.
    fn columns(&self, spec: &PanelSpec) -> BTreeMap<String, Vec<Property>> {
        let severities = || {
            let color = |severity| match severity {
                Severity::Critical => paint::STATES[2].1,
                Severity::Warning => paint::STATES[1].1,
                Severity::Ticket | Severity::Info => paint::BLUE,
            };
            let words = Severity::ALL.map(|severity| (severity.name(), severity.name(), color(severity)));
            panel::painted(paint::words(words))
        };
        let mut own = BTreeMap::new();
        for (field, title) in &spec.columns {
            if title.is_empty() {
                own.insert(field.clone(), panel::hidden());
                continue;
            }
            let mut properties = match field.as_str() {
                "severity" => severities(),
                "Value" if !spec.values.is_empty() => panel::painted(words(spec)),
                "alertname" => vec![Property::Links(vec![self.runbook_link("Runbook", "${__value.raw}")])],
                _ => self
                    .column_link(field, spec.link)
                    .map(|link| Property::Links(vec![link]))
                    .into_iter()
                    .collect(),
            };
            let width = WIDTHS.iter().find(|(name, _)| name == field);
            // A time needs the room that a number does not.
            let width = width.filter(|_| field != "Value" || spec.unit.as_deref() != Some("dateTimeAsIso"));
            properties.extend(width.map(|(_, pixels)| Property::Width(*pixels)));
            // A label is a text: with the unit of the values, a code of 79 would be the year 1979.
            if field != "Value" {
                properties.push(Property::Unit("string".to_owned()));
            }
            // An empty label is neither missing data nor the panel's emptiness.
            properties.push(Property::NoValue("–"));
            own.insert(title.clone(), properties);
        }
        own
    }
}

/// Columns that need more or less room than an equal share.
const WIDTHS: [(&str, u32); 17] = [
    ("Value", 90),
    ("severity", 80),
    ("alertname", 230),
    ("place", 100),
    ("device", 115),
    ("code", 60),
    ("kind", 70),
    ("family", 70),
    ("partition", 80),
    ("serial", 130),
    ("board_part_number", 160),
    ("firmware_version", 310),
    ("model", 300),
    ("module_id", 60),
    ("driver_version", 110),
    ("pci_bus_id", 125),
    ("uuid", 370),
];

/// Words and colours of a panel's values.
fn words(spec: &PanelSpec) -> model::Mapping {
    paint::words(
        spec.values.iter().map(|(value, word, color)| (value.as_str(), word.as_str(), color.as_str())),
    )
}

/// Values at each edge, as close to it as numbers go, and further off; each with its state.
fn samples(bounds: &BTreeMap<String, Bound>, conditional: bool) -> Vec<(f64, u8)> {
    let edges = BANDS.iter().filter_map(|band| bounds.get(*band)).map(Bound::number);
    let around = |edge: f64| {
        [edge - edge.abs() / 16.0, edge.next_down(), edge, edge.next_up(), edge + edge.abs() / 16.0]
    };
    edges.flat_map(around).map(|value| (value, paint::state_of(bounds, conditional, value))).collect()
}

/// Grafana's id of a unit.
fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Ratio => "percentunit",
        Unit::Celsius => "celsius",
        Unit::Seconds => "s",
        Unit::Count => "short",
        Unit::PerSecond => "cps",
        Unit::Dollars => "currencyUSD",
    }
}
