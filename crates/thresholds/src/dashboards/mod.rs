//! Grafana dashboards from the same catalogue: `catalogue/dashboards.toml` lists the panels; queries, units,
//! words and bands are those of the signals.

mod model;
mod paint;
mod panel;
mod spec;
mod write;

use std::collections::BTreeMap;

use crate::{
    catalogue::{BANDS, Catalogue, words},
    expr::Context,
    model::{Alert, Bound, Signal, SloClass, Unit},
    plan::{STATE, scaled},
    prove::first_reference,
    slo,
    vocabulary::Vocabulary,
};
use model::{DataLink, Item, Panel};
use panel::Content;
use spec::{Board, Link, PanelSpec, Spec, View};

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
    toml::from_str(SPEC).map_err(|error| format!("dashboards.toml: {error}"))
}

/// Makes the panels of one dashboard.
struct PanelBuilder<'a> {
    catalogue: &'a Catalogue,
    spec: &'a Spec,
    board: &'a Board,
}

impl PanelBuilder<'_> {
    fn rows(&self) -> Result<Rows, String> {
        let mut rows: Rows = vec![(None, false, Vec::new())];
        let opening = self.spec.opening.iter().filter(|_| self.board.fleet);
        for spec in opening.chain(&self.board.panel) {
            if let Some(section) = &spec.section {
                rows.push((Some(section.clone()), spec.collapsed, Vec::new()));
            }
            if spec.priced && self.catalogue.prices.is_empty() {
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

    /// A panel that shows no bands: states, or lines that explain.
    fn plain(&self, spec: &PanelSpec) -> Result<BuiltPanel, String> {
        let query = spec.query.as_ref().ok_or("has neither signal nor query")?;
        let mut content = self.content(spec, query, None)?;
        if matches!(spec.view, View::Tiles | View::Timeline) {
            if spec.values.is_empty() {
                content.thresholds = Some(paint::state_steps());
                content.words = Some(paint::state_words());
            }
            content.links_of = self.runbooks_of_signals(query);
        }
        Ok(BuiltPanel { panel: self.finish(spec, content), shows: None })
    }

    /// A signal with its bands; of a latency, in the seconds of one class.
    fn of_signal(
        &self,
        spec: &PanelSpec,
        signal: &Signal,
        class: Option<&SloClass>,
    ) -> Result<BuiltPanel, String> {
        let factor = signal.slo.zip(class).map(|(objective, class)| class.seconds(objective));
        let bounds = scaled(&signal.bounds, factor);
        let query = spec.query.clone().unwrap_or_else(|| self.query(signal));
        let mut content = self.content(spec, &query, class)?;
        content.title = spec.title.clone().unwrap_or_else(|| signal.title.clone());
        if let Some(count) = self.board.worst.filter(|_| spec.query.is_none()) {
            content.title = format!("{}, the {count} worst", content.title);
        }
        if let (Some(class), Some(factor)) = (class, factor) {
            content.title = format!("{}, class {} ({})", content.title, class.name, signal.unit.show(factor));
        }
        let conditional = paint::is_conditional(signal);
        let mut parts = vec![
            spec.about.as_ref().unwrap_or(&signal.why).clone(),
            paint::bands(&bounds, signal.unit, conditional),
        ];
        if let Some(also) = signal.red_also.get(Vocabulary::Unified) {
            let also = also.iter().map(|text| self.expand(text, None));
            let also: Vec<_> = also.collect::<Result<_, _>>()?;
            parts.push(format!("Whatever the value, its state is CRIT too while {}.", also.join(" or ")));
        }
        if signal.gate.get(Vocabulary::Unified).is_some() {
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
                let mut content = self.content(spec, &query, None)?;
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

    /// The query of a signal here: recorded where it is, while its gate holds, and of a fleet its worst.
    fn query(&self, signal: &Signal) -> String {
        let whose = if signal.families.is_empty() { "&models" } else { "&devices" };
        let name = match (&signal.record, signal.expr.get(Vocabulary::Unified)) {
            (None, Some(expr)) => expr.clone(),
            _ => format!("@{}", signal.id),
        };
        let value = match name.strip_suffix('}') {
            Some(name) => format!("{name},{whose}}}"),
            None => format!("{name}{{{whose}}}"),
        };
        let is_low = signal.bounds.keys().any(|band| BANDS[..2].contains(&band.as_str()));
        let (worst, over_time) =
            if is_low { ("bottomk", "min_over_time") } else { ("topk", "max_over_time") };
        let gated = signal.gate.get(Vocabulary::Unified).map(|_| {
            format!("{value} and on (instance, device) {STATE}{{signal=\"{}\",{whose}}}", signal.id)
        });
        match (gated, self.board.worst) {
            // What the gate leaves out must not take the place of the worst.
            (Some(gated), Some(count)) => format!("{worst}({count}, {gated})"),
            (Some(gated), None) => gated,
            (None, Some(count)) => {
                format!("{value} and {worst}({count}, {over_time}({value}[&range] @ end()))")
            }
            (None, None) => value,
        }
    }

    /// Texts and queries of a panel, without bands.
    fn content(&self, spec: &PanelSpec, query: &str, class: Option<&SloClass>) -> Result<Content, String> {
        let legend = |own: Option<&String>, query: &str| {
            let whose = if query.contains("&models") { "models" } else { "devices" };
            own.or_else(|| self.board.legend.get(whose)).cloned().unwrap_or_default()
        };
        let mut queries = vec![(self.expand(query, class)?, legend(spec.legend.as_ref(), query))];
        for (query, legend) in &spec.more {
            queries.push((self.expand(query, class)?, legend.clone()));
        }
        let words =
            spec.values.iter().map(|(value, word, color)| (value.as_str(), word.as_str(), color.as_str()));
        Ok(Content {
            title: spec.title.clone().unwrap_or_default(),
            description: spec.about.clone().unwrap_or_default(),
            queries,
            unit: spec.unit.clone().unwrap_or_else(|| "none".to_owned()),
            thresholds: None,
            words: (!spec.values.is_empty()).then(|| paint::words(words)),
            links: spec
                .link
                .filter(|_| spec.view != View::Table)
                .map(|link| self.link(link, "__field.labels"))
                .into_iter()
                .collect(),
            links_of: BTreeMap::new(),
            columns: spec.columns.clone(),
        })
    }

    fn finish(&self, spec: &PanelSpec, content: Content) -> Panel {
        let mut panel = match spec.view {
            View::Series | View::Promises => panel::series(content),
            View::Tiles => panel::tiles(content),
            View::Timeline => panel::timeline(content),
            View::Table => panel::table(content),
        };
        if spec.columns.iter().any(|column| column == "severity") {
            let words =
                [("critical", paint::STATES[2].1), ("warning", paint::STATES[1].1), ("ticket", paint::BLUE)]
                    .map(|(word, color)| (word, word, color));
            panel::paint_column(&mut panel, "severity", paint::words(words));
        }
        if spec.columns.iter().any(|column| column == "alertname") {
            panel::link_column(&mut panel, "alertname", self.runbook_link("Runbook", "${__value.raw}"));
        }
        // A row of a table has its labels as fields.
        if let Some(link) = spec.link.filter(|_| spec.view == View::Table) {
            panel::link_column(&mut panel, "device", self.link(link, "__data.fields"));
        }
        let (width, height) = match spec.view {
            View::Tiles => (24, 4),
            View::Timeline | View::Table => (24, 8),
            View::Series | View::Promises => (8, 8),
        };
        panel.grid_pos.w = spec.width.unwrap_or(width);
        panel.grid_pos.h = spec.height.unwrap_or(height);
        panel
    }

    /// PromQL with Grafana's variables.
    fn expand(&self, text: &str, class: Option<&SloClass>) -> Result<String, String> {
        let mut own = self.board.matchers.clone();
        if let Some((models, class)) = own.get_mut("models").zip(class) {
            let of_class = self.catalogue.models(class);
            *models = [models.as_str(), &of_class]
                .into_iter()
                .filter(|m| !m.is_empty())
                .collect::<Vec<_>>()
                .join(",");
        }
        own.extend(
            [("window", "$__rate_interval"), ("range", "$__range"), ("state", STATE)]
                .map(|(word, text)| (word.to_owned(), text.to_owned())),
        );
        let mut all = words(self.catalogue, None, &BTreeMap::new(), &BTreeMap::new());
        all.extend(own.clone());
        let context =
            Context { catalogue: self.catalogue, family: None, origin: "", words: all, generations: false };
        let mut text = context.expand(text)?;
        // Inside of braces nothing was expanded.
        for (word, matchers) in &own {
            text = text.replace(&format!("&{word}"), matchers);
        }
        Ok(text)
    }

    /// Where a value leads, which has its labels here.
    fn link(&self, link: Link, labels: &str) -> DataLink {
        let prefix = &self.catalogue.dashboard_prefix;
        let kept = "${datasource:queryparam}&${cluster:queryparam}&${__url_time_range}";
        let label =
            |variable: &str, label: &str| format!("var-{variable}=${{{labels}.{label}:percentencode}}");
        let (title, id, chosen) = match link {
            Link::Device => ("Device", "device", [label("instance", "instance"), label("device", "device")]),
            Link::Engine => (
                "Engines of this model",
                "engine",
                [label("namespace", "namespace"), label("model", "model")],
            ),
        };
        let url = format!("{prefix}accelscope-{id}?{kept}&{}", chosen.join("&"));
        DataLink { title: title.to_owned(), url, target_blank: false }
    }

    /// The page of the alert that is about a signal.
    fn runbook(&self, signal: &str) -> Option<DataLink> {
        let named = self.spec.runbooks.get(signal);
        let reads = |alert: &&Alert| first_reference(alert) == Some(signal);
        let alert = named.or_else(|| self.catalogue.alerts.iter().find(reads).map(|alert| &alert.name))?;
        self.runbook_page(alert)
    }

    /// The page of an alert; none when it is switched off.
    fn runbook_page(&self, alert: &str) -> Option<DataLink> {
        let on = self.catalogue.alerts.iter().any(|known| known.name == alert && !known.off);
        on.then(|| self.runbook_link(&format!("Runbook: {alert}"), alert))
    }

    fn runbook_link(&self, title: &str, page: &str) -> DataLink {
        let url = format!("{}{page}.md", self.catalogue.runbook_prefix);
        DataLink { title: title.to_owned(), url, target_blank: true }
    }

    /// The runbook of each tile, where tiles are signals.
    fn runbooks_of_signals(&self, query: &str) -> BTreeMap<String, DataLink> {
        if !query.contains("by (signal)") {
            return BTreeMap::new();
        }
        let signals = self
            .catalogue
            .signals
            .iter()
            .filter(|signal| signal.bounds.keys().any(|b| BANDS.contains(&b.as_str())));
        signals.filter_map(|signal| Some((signal.id.clone(), self.runbook(&signal.id)?))).collect()
    }
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
