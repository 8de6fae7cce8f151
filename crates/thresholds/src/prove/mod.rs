//! Worked examples as promtool tests: series that move through good and bad values, and what must come of it.

use std::collections::BTreeMap;

use naming::Family;

use crate::{
    catalogue::{BANDS, Catalogue},
    model::{Bound, EngineKind, Example, Signal, SloClass},
    number::Duration,
    output::{AlertCheck, ExpectedSample, ExprCheck, InputSeries, Labels, TestGroup, label_set},
    plan::{STATE, state_of},
};

mod alert;
mod series;

pub(crate) use alert::Subject;
use series::{engine_labels, engine_series};

/// Where examples are made.
pub(crate) struct Prover<'a> {
    pub catalogue: &'a Catalogue,
    pub family: Option<Family>,
    pub dcgm: bool,
}

/// A stretch of time in which the value stays; without one the series are gone.
#[derive(Clone, Copy)]
pub(crate) struct Phase {
    pub value: Option<f64>,
    pub ticks: u64,
}

/// Seconds between two samples and two evaluations: what divides every duration in use, a minute at most.
pub(crate) fn tick(catalogue: &Catalogue) -> u64 {
    let holds = catalogue.alerts.iter().map(|alert| alert.hold.0);
    // A window holds several samples.
    holds.chain([catalogue.rate_window.0 / 5]).fold(60, |a, b| gcd(b, a)).max(1)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Prover<'_> {
    fn tick(&self) -> u64 {
        tick(self.catalogue)
    }

    fn group(&self, name: String, series: Vec<InputSeries>) -> TestGroup {
        TestGroup {
            name,
            interval: Duration(self.tick()).to_string(),
            input_series: series,
            ..TestGroup::default()
        }
    }

    fn time(&self, ticks: u64) -> String {
        Duration(ticks * self.tick()).to_string()
    }

    /// The place, for the names of tests.
    fn place(&self) -> String {
        match (self.family, self.dcgm) {
            (_, true) => "dcgm-exporter names: ".to_owned(),
            (Some(family), _) => format!("{family}: "),
            (None, _) => String::new(),
        }
    }

    /// Worked examples of a signal: its value at each edge of its bands, and the state there.
    pub fn signal(
        &self,
        signal: &Signal,
        bounds: &BTreeMap<String, Bound>,
        class: Option<&SloClass>,
    ) -> Result<Vec<TestGroup>, String> {
        let test = &signal.test;
        let model = self.model(class);
        let Some(engines) = &signal.engines else {
            let series = if self.dcgm { &test.dcgm } else { &test.series };
            let moves = series.iter().any(|series| series.rate.is_some());
            let points = points(test, signal, bounds, test.settle.0 == 0 && !moves);
            let phases: Vec<_> = points
                .iter()
                .map(|v| Phase {
                    value: Some(*v),
                    ticks: self.catalogue.scaled(test.settle).0.div_ceil(self.tick()) + 6,
                })
                .collect();
            let context = self.context(bounds, &signal.params);
            let mut inputs = self.inputs(&context, series, &phases, &model)?;
            let decoys = if self.dcgm { &test.decoys_dcgm } else { &test.decoys };
            inputs.extend(self.decoys(&context, decoys, &phases, &model)?);
            inputs.extend(Self::seen_twice(&inputs, &phases));
            let labels = self.result_labels(&context, test, series, &model, self.dcgm)?;
            let mut group = self.group(format!("{}{}", self.place(), signal.title), inputs);
            self.check(&mut group, signal, bounds, class, &labels, &phases)?;
            return Ok(vec![group]);
        };
        let points = points(test, signal, bounds, false);
        let mut groups = Vec::new();
        for (index, source) in engines.sources.iter().enumerate() {
            // An engine that names no model can only be in the default class.
            if class.is_some_and(|class| !class.models.is_empty()) && !source.labels.contains("model") {
                continue;
            }
            let labels = engine_labels(engines, source, &model);
            // A histogram's bounds are labels, so each value takes its own series.
            let runs: Vec<&[f64]> = match (engines.kind, index) {
                (EngineKind::Histogram, 0) => points.chunks(1).collect(),
                (_, 0) => vec![&points],
                _ => points.chunks(1).take(1).collect(),
            };
            for run in runs {
                let phases: Vec<_> = run
                    .iter()
                    .map(|v| Phase {
                        value: Some(*v),
                        ticks: self.catalogue.rate_window.0.div_ceil(self.tick()) + 6,
                    })
                    .collect();
                let series = engine_series(engines, source, run[0], &model);
                let context = self.context(bounds, &signal.params);
                let inputs = self.inputs(&context, &series, &phases, &model)?;
                let name = format!("{} of {} ({})", signal.title, source.engine, source.versions);
                let mut group = self.group(name, inputs);
                self.check(&mut group, signal, bounds, class, &labels, &phases)?;
                groups.push(group);
            }
        }
        Ok(groups)
    }

    /// At the end of each phase, the recorded value and the state.
    fn check(
        &self,
        group: &mut TestGroup,
        signal: &Signal,
        bounds: &BTreeMap<String, Bound>,
        class: Option<&SloClass>,
        labels: &Labels,
        phases: &[Phase],
    ) -> Result<(), String> {
        let mut end = 0;
        let banded = BANDS.iter().any(|band| bounds.contains_key(*band));
        for phase in phases {
            end += phase.ticks;
            let Some(v) = phase.value else { continue };
            if signal.record.is_some() {
                let mut own = signal.test.labels.clone();
                own.retain(|name, _| !signal.labels.contains_key(name));
                let own = if own.is_empty() { String::new() } else { matchers(&own) };
                let recorded =
                    self.context(bounds, &signal.params).expand(&format!("@{}{own}", signal.id))?;
                let mut labels = labels.clone();
                labels.extend(signal.labels.clone());
                group.promql_expr_test.push(ExprCheck {
                    // A recording is a float: four digits are told apart, not the last bit.
                    expr: format!("round({recorded}, 0.0001)"),
                    eval_time: self.time(end - 1),
                    exp_samples: vec![ExpectedSample {
                        labels: label_set(&labels),
                        value: (v * 1e4).round() / 1e4,
                    }],
                });
            }
            if banded {
                let mut labels = labels.clone();
                labels.insert("signal".to_owned(), signal.id.clone());
                labels.extend(class.map(|class| ("slo_class".to_owned(), class.name.clone())));
                group.promql_expr_test.push(ExprCheck {
                    expr: format!("{STATE}{{signal=\"{}\"}}", signal.id),
                    eval_time: self.time(end - 1),
                    exp_samples: vec![ExpectedSample {
                        labels: format!("{STATE}{}", label_set(&labels)),
                        value: state_of(bounds, v).into(),
                    }],
                });
            }
        }
        Ok(())
    }

    /// A model of the class.
    pub fn model(&self, class: Option<&SloClass>) -> String {
        if let Some(model) = class.and_then(|class| class.models.first()) {
            return model.clone();
        }
        let taken =
            |name: &str| self.catalogue.classes.iter().any(|class| class.models.iter().any(|m| m == name));
        let mut name = "m".to_owned();
        while taken(&name) {
            name.push('m');
        }
        name
    }
}

/// Puts proofs into one group that do not disturb each other, since each group evaluates every rule of its file:
/// those without any data, and, where every series names what it belongs to, those that keep the same times.
pub(crate) fn together(groups: Vec<TestGroup>, are_named: bool) -> Vec<TestGroup> {
    let times = |group: &TestGroup| -> Vec<(String, String)> {
        group.alert_rule_test.iter().map(|check| (check.alertname.clone(), check.eval_time.clone())).collect()
    };
    let mut merged: Vec<TestGroup> = Vec::new();
    for group in groups {
        if group.alert_rule_test.is_empty() {
            merged.push(group);
        } else if group.input_series.is_empty() {
            match merged
                .iter_mut()
                .find(|other| other.input_series.is_empty() && other.interval == group.interval)
            {
                Some(other) => {
                    let new = |check: &AlertCheck| {
                        !times(other).contains(&(check.alertname.clone(), check.eval_time.clone()))
                    };
                    let new: Vec<_> = group.alert_rule_test.into_iter().filter(new).collect();
                    other.alert_rule_test.extend(new);
                }
                None => merged.push(group),
            }
        } else {
            match merged.iter_mut().find(|other| are_named && times(other) == times(&group)) {
                Some(other) => {
                    other.input_series.extend(group.input_series);
                    for (into, from) in other.alert_rule_test.iter_mut().zip(group.alert_rule_test) {
                        into.exp_alerts.extend(from.exp_alerts);
                    }
                }
                None => merged.push(group),
            }
        }
    }
    merged
}

/// A value that is fine and one that is not, each as close to the bound as a test can tell.
fn around(bound: &Bound, step: f64) -> (f64, f64) {
    let number = bound.number();
    let (below, above) = ((number - step).max(0.0).min(number), number + step);
    if bound.op.rises() { (below, above) } else { (above, below) }
}

/// Values on both sides of every edge, and the edges themselves where arithmetic is exact.
fn points(test: &Example, signal: &Signal, bounds: &BTreeMap<String, Bound>, exact: bool) -> Vec<f64> {
    if !test.values.is_empty() {
        return test.values.clone();
    }
    let step = test.step.unwrap_or(signal.unit.step());
    let mut points = Vec::new();
    for bound in BANDS.iter().filter_map(|band| bounds.get(*band)) {
        let (quiet, bad) = around(bound, step);
        points.extend([quiet, bad]);
        points.extend(exact.then_some(bound.number()));
    }
    points.sort_by(f64::total_cmp);
    points.dedup();
    points
}

/// Labels as matchers of a selector.
fn matchers(labels: &Labels) -> String {
    label_set(labels).replace(", ", ",")
}

/// The first `@signal` of an expression.
pub(crate) fn first_reference(expr: &str) -> Option<&str> {
    let tail = expr.split('@').nth(1)?;
    let end = tail.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(tail.len());
    Some(&tail[..end])
}
