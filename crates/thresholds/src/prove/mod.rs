//! promtool tests from worked examples: series that move through good and bad values, and the expected
//! results.

use std::collections::BTreeMap;

use crate::{
    Level,
    catalogue::{BANDS, Catalogue},
    model::{Bound, EngineKind, Example, Signal, Step, TestSeries},
    number::Duration,
    output::{AlertCheck, ExpectedSample, ExprCheck, InputSeries, Labels, TestFile, TestGroup, label_set},
    plan::{PlannedFile, PlannedSignal, STATE, state_of},
    ruleset::RuleSet,
};

mod alert;
mod series;

pub(crate) use alert::{example_value, first_reference};
use series::{engine_labels, engine_series};

/// The tests of a planned rule file.
pub(crate) fn test_file(catalogue: &Catalogue, file: &PlannedFile<'_>) -> Result<TestFile, String> {
    let mut tests = Vec::new();
    for planned in &file.sets {
        let prover = Prover { set: planned.set, tick: tick(catalogue, file) };
        let mut groups = Vec::new();
        for signal in &planned.signals {
            groups.extend(prover.signal(signal)?);
        }
        for alert in &planned.alerts {
            groups.extend(prover.alert(alert)?);
        }
        tests.extend(together(groups, file.name == "slo"));
    }
    Ok(TestFile {
        rule_files: vec![format!("../{}.yaml", file.name)],
        evaluation_interval: Duration(tick(catalogue, file)).to_string(),
        group_eval_order: file.rules.groups.iter().map(|group| group.name.clone()).collect(),
        tests,
    })
}

/// Makes the proofs of one rule set.
struct Prover<'c> {
    set: RuleSet<'c>,
    /// Seconds between two samples and two evaluations.
    tick: u64,
}

/// A stretch of time in which the value stays; without one the series are gone.
#[derive(Clone, Copy)]
struct Phase {
    value: Option<f64>,
    ticks: u64,
    /// The state at its end, where the value alone does not decide.
    state: Option<u8>,
}

/// Seconds between two samples and two evaluations: what divides every duration in the file. A minute at most at a site,
/// and three at a centre, whose alerts look back for days.
fn tick(catalogue: &Catalogue, file: &PlannedFile<'_>) -> u64 {
    let holds = file.sets.iter().flat_map(|set| &set.alerts).map(|planned| planned.alert.hold.0);
    match file.level {
        // A window holds several samples.
        Level::Site => holds.chain([catalogue.rate_window.0 / 5]).fold(60, |a, b| gcd(b, a)),
        Level::Global => holds.fold(180, |a, b| gcd(b, a)),
    }
    .max(1)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Prover<'_> {
    fn tick(&self) -> u64 {
        self.tick
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

    /// What the names of tests begin with.
    fn prefix(&self) -> String {
        match (self.set.family, self.set.is_dcgm()) {
            (_, true) => "dcgm-exporter names: ".to_owned(),
            (Some(family), _) => format!("{family}: "),
            (None, _) => String::new(),
        }
    }

    /// Worked examples of a signal: its value at each edge of its bands, and the state there.
    fn signal(&self, planned: &PlannedSignal<'_>) -> Result<Vec<TestGroup>, String> {
        let PlannedSignal { signal, bounds, class } = planned;
        let test = &signal.test;
        let model = self.set.catalogue.example_model(*class);
        let Some(engines) = &signal.engines else {
            let vocabulary = self.set.vocabulary;
            let series = test.series.get(vocabulary).map(Vec::as_slice).unwrap_or_default();
            let mut groups: Vec<_> = self.signal_of(planned, series, "")?.into_iter().collect();
            if let Some(newer) = self.newer(series) {
                groups.extend(self.signal_of(planned, &newer, "of 4.9: ")?);
            }
            return Ok(groups);
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
                        ticks: self.set.catalogue.rate_window.0.div_ceil(self.tick()) + 6,
                        state: None,
                    })
                    .collect();
                let series = engine_series(engines, source, run[0], &model);
                let context = self.set.context(bounds, &signal.params);
                let inputs = self.inputs(&context, &series, &phases, &model)?;
                let name = format!("{} of {} ({})", signal.title, source.engine, source.versions);
                let mut group = self.group(name, inputs);
                self.check(&mut group, planned, &labels, &phases)?;
                groups.push(group);
            }
        }
        Ok(groups)
    }

    /// The example of a signal with these series.
    fn signal_of(
        &self,
        planned: &PlannedSignal<'_>,
        series: &[TestSeries],
        generation: &str,
    ) -> Result<Option<TestGroup>, String> {
        let PlannedSignal { signal, bounds, class } = planned;
        let (test, vocabulary) = (&signal.test, self.set.vocabulary);
        let model = self.set.catalogue.example_model(*class);
        let moves = series.iter().any(|series| series.rate.is_some());
        let points = points(test, signal, bounds, test.settle.0 == 0 && !moves);
        // Prices of device models alone have no example.
        if points.is_empty() {
            return Ok(None);
        }
        let ticks = self.set.catalogue.scaled(test.settle).0.div_ceil(self.tick()) + 6;
        // A window and a little more: after two steps, a look-back of three windows holds only them.
        let window = self.set.catalogue.rate_window.0.div_ceil(self.tick()) + 6;
        let step = |step: &Step| {
            let from = step.from.as_ref().and_then(|band| bounds.get(band)).map_or(0.0, Bound::number);
            Phase { value: Some(from + step.by), ticks: window, state: Some(step.state) }
        };
        let phases: Vec<_> = if test.steps.is_empty() {
            points.iter().map(|v| Phase { value: Some(*v), ticks, state: None }).collect()
        } else {
            test.steps.iter().map(step).collect()
        };
        let context = self.set.context(bounds, &signal.params);
        let mut inputs = self.inputs(&context, series, &phases, &model)?;
        let decoys = test.decoys.get(vocabulary).map(Vec::as_slice).unwrap_or_default();
        inputs.extend(self.decoys(&context, decoys, &phases, &model)?);
        inputs.extend(self.left_out(&inputs, &phases, None));
        let labels = self.result_labels(&context, test, series, &model, vocabulary)?;
        let mut group = self.group(format!("{}{generation}{}", self.prefix(), signal.title), inputs);
        self.check(&mut group, planned, &labels, &phases)?;
        Ok(Some(group))
    }

    /// At the end of each phase, the recorded value and the state.
    fn check(
        &self,
        group: &mut TestGroup,
        planned: &PlannedSignal<'_>,
        labels: &Labels,
        phases: &[Phase],
    ) -> Result<(), String> {
        let PlannedSignal { signal, bounds, class } = planned;
        let mut end = 0;
        // The example may be one of a part that has other bounds.
        let banded = signal.parts.is_empty() && BANDS.iter().any(|band| bounds.contains_key(*band));
        for phase in phases {
            end += phase.ticks;
            let Some(v) = phase.value else { continue };
            if signal.record.is_some() {
                let mut own = signal.test.labels.get(self.set.vocabulary).cloned().unwrap_or_default();
                // Of a device, whatever else is recorded must not be there; classes of service have no such series.
                own.retain(|name, _| signal.families.is_empty() && !signal.labels.contains_key(name));
                let own = if own.is_empty() { String::new() } else { matchers(&own) };
                let recorded =
                    self.set.context(bounds, &signal.params).expand(&format!("@{}{own}", signal.id))?;
                let mut labels = labels.clone();
                labels.extend(signal.labels.clone());
                group.promql_expr_test.push(ExprCheck {
                    // A recording is a float: it is compared to four digits, not to the last bit.
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
                        value: phase.state.unwrap_or_else(|| state_of(bounds, v)).into(),
                    }],
                });
            }
        }
        Ok(())
    }
}

/// Puts proofs into one group that do not disturb each other, since each group evaluates every rule of its
/// file: those without any data, and, where every series names what it belongs to, those that keep the same
/// times.
fn together(groups: Vec<TestGroup>, are_named: bool) -> Vec<TestGroup> {
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

/// A value that is fine and one that is not, each close to the bound.
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
