//! Worked examples as promtool tests: series that move through good and bad values, and what must come of it.

use std::collections::BTreeMap;

use naming::{Family, Id, METRICS, Metric, Scope};

use crate::{
    catalogue::{BANDS, Catalogue, escape},
    expr::Context,
    model::{Alert, Bound, EngineKind, EngineSource, Engines, Example, Signal, SloClass, TestSeries},
    number::{Duration, at, decimal, linear},
    output::{
        AlertCheck, ExpectedAlert, ExpectedSample, ExprCheck, InputSeries, Labels, Rule, TestGroup, label_set,
    },
    plan::{LITERAL_BRACES, STATE, state_of},
};

/// Where examples are made.
pub(crate) struct Prover<'a> {
    pub catalogue: &'a Catalogue,
    pub family: Option<Family>,
    pub dcgm: bool,
}

/// An alert as it stands in a rule file.
pub(crate) struct Subject<'a> {
    pub alert: &'a Alert,
    pub bounds: &'a BTreeMap<String, Bound>,
    pub class: Option<&'a SloClass>,
    pub rule: &'a Rule,
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

    /// Proofs of an alert: not early, not below, in time, with its labels and texts, and gone again.
    pub fn alert(&self, subject: &Subject<'_>) -> Result<Vec<TestGroup>, String> {
        let alert = subject.alert;
        let mut groups = Vec::new();
        let own = if alert.test.series.is_empty() { None } else { Some(&alert.test) };
        let through = self.through(subject);
        for example in own.or(through.as_ref()).into_iter().chain(&alert.also) {
            for variant in self.variants(example) {
                groups.extend(self.example(subject, example, &variant)?);
            }
        }
        // The value itself as input: exact at the bound, whatever windows lie before it.
        if own.is_none()
            && let Some(id) = first_reference(&alert.expr)
        {
            let series = TestSeries {
                series: format!("@{id}"),
                value: Some("<v>".to_owned()),
                ..TestSeries::default()
            };
            let step = self.catalogue.signal(id).and_then(|signal| signal.test.step);
            let example =
                Example { series: vec![series.clone()], dcgm: vec![series], step, ..Example::default() };
            groups.extend(self.example(subject, &example, "")?);
        }
        let mut empty = self.group(format!("{}without any data", self.place()), Vec::new());
        empty.alert_rule_test.push(self.expect(&alert.name, alert.hold.0.div_ceil(self.tick()) + 60, None));
        groups.push(empty);
        Ok(groups)
    }

    /// The raw series of the signal that an alert reads.
    fn through(&self, subject: &Subject<'_>) -> Option<Example> {
        let signal = self.catalogue.signal(first_reference(&subject.alert.expr)?)?;
        let mut example = signal.test.clone();
        example.values.clear();
        if let Some(engines) = &signal.engines {
            let source = engines.sources.first()?;
            example.labels.insert("model".to_owned(), self.model(subject.class));
            if engines.kind == EngineKind::Histogram {
                // Its buckets are made for one value; the recorded series does the rest.
                return None;
            }
            example.series = engine_series(engines, source, 0.0, &self.model(subject.class));
            example.settle = Duration(if engines.kind == EngineKind::Rate { 300 } else { 0 });
        }
        Some(example)
    }

    fn variants(&self, example: &Example) -> Vec<String> {
        let place = match (self.dcgm, self.family) {
            (true, _) => "dcgm",
            (false, Some(family)) => family.name(),
            (false, None) => "",
        };
        example.variants.get(place).cloned().unwrap_or_else(|| vec![String::new()])
    }

    fn example(
        &self,
        subject: &Subject<'_>,
        example: &Example,
        variant: &str,
    ) -> Result<Option<TestGroup>, String> {
        let Subject { alert, bounds, class, rule } = subject;
        let filled = |series: &[TestSeries]| -> Vec<TestSeries> {
            let fill = |text: &String| text.replace("<variant>", variant);
            series
                .iter()
                .map(|series| TestSeries {
                    series: fill(&series.series),
                    value: series.value.as_ref().map(fill),
                    rate: series.rate.as_ref().map(fill),
                    step: series.step.as_ref().map(fill),
                    ..*series
                })
                .collect()
        };
        let series = filled(match (self.dcgm, example.dcgm.is_empty(), alert.recorded_only) {
            (true, false, _) => &example.dcgm,
            // The raw series of this cause have no name there.
            (true, true, false) => return Ok(None),
            _ => &example.series,
        });
        // Some causes exist in one vocabulary alone.
        if series.is_empty() {
            return Ok(None);
        }
        let tick = self.tick();
        let ticks = |duration: Duration| self.catalogue.scaled(duration).0.div_ceil(tick);
        let (settle, hold) = (ticks(example.settle), alert.hold.0.div_ceil(tick));
        let linger = ticks(example.linger.unwrap_or(example.settle));
        // Each stretch is as long as what it shows, and a little longer.
        let (quiet_for, bad_for, after_for) =
            (settle + ticks(example.lead) + 10, settle + hold + 10, linger + 10);

        let limit = bounds.get("limit");
        let step = example.step.unwrap_or(alert.unit.step());
        let (quiet, firing) = match (example.quiet, example.firing, limit) {
            (Some(quiet), Some(firing), _) => (quiet, firing),
            (_, _, Some(bound)) => around(bound, step),
            _ => (1.0, 0.0),
        };
        let moves = series.iter().any(|series| series.rate.is_some() || series.step.is_some());
        let exact = limit.filter(|_| settle == 0 && !moves && example.quiet.is_none() && !example.absence);

        let bad = if example.absence { None } else { Some(firing) };
        let mut values = vec![Some(quiet), bad, Some(quiet)];
        values.extend(exact.map(|bound| Some(bound.number())));
        values.push(if example.absence { Some(quiet) } else { None });
        let lengths = [quiet_for, bad_for, after_for].into_iter();
        let lengths = lengths.chain(exact.map(|_| bad_for)).chain([after_for]);
        let phases: Vec<_> =
            values.into_iter().zip(lengths).map(|(value, ticks)| Phase { value, ticks }).collect();

        let model = self.model(*class);
        let context = self.context(bounds, &alert.params);
        let mut inputs = self.inputs(&context, &series, &phases, &model)?;
        if self.family.is_some() && !example.absence {
            let strangers = self.strangers(&inputs);
            inputs.extend(Self::seen_twice(&inputs, &phases));
            inputs.extend(strangers);
        }
        let vendor = self.dcgm && !alert.recorded_only;
        let decoys = if vendor { &example.decoys_dcgm } else { &example.decoys };
        inputs.extend(self.decoys(&context, decoys, &phases, &model)?);

        let mut labels = self.result_labels(&context, example, &series, &model, vendor)?;
        for (name, text) in &rule.labels {
            labels.insert(name.clone(), text.replace(LITERAL_BRACES, "{{"));
        }
        let shown = |v: f64| match (&example.shown, self.dcgm, &example.shown_dcgm) {
            (_, true, Some(text)) | (Some(text), _, _) => alert.unit.show(text.parse().unwrap_or(v)),
            _ => alert.unit.show(v),
        };
        let fired = |v: f64| -> Result<ExpectedAlert, String> {
            let render = |(name, text): (&String, &String)| {
                render(text, &labels, alert.unit.template(), &shown(v)).map(|text| (name.clone(), text))
            };
            let exp_annotations = rule.annotations.iter().map(render).collect::<Result<_, _>>()?;
            Ok(ExpectedAlert { exp_labels: labels.clone(), exp_annotations })
        };
        let place = self.place();
        let mut group = self.group(format!("{place}{} {variant}", alert.name).trim().to_owned(), inputs);
        let mut expect = |at: u64, alerts| group.alert_rule_test.push(self.expect(&alert.name, at, alerts));
        expect(quiet_for - 1, None);
        if hold > 0 {
            expect(quiet_for + hold - 1, None);
        }
        expect(quiet_for + settle + hold, Some(fired(firing)?));
        expect(quiet_for + bad_for + linger + 1, None);
        if let Some(bound) = exact {
            let alerts = if bound.op.inclusive() { Some(fired(bound.number())?) } else { None };
            expect(quiet_for + bad_for + after_for + bad_for - 1, alerts);
        }
        expect(phases.iter().map(|phase| phase.ticks).sum::<u64>() - 1, None);
        Ok(Some(group))
    }

    pub fn expect(&self, name: &str, ticks: u64, alert: Option<ExpectedAlert>) -> AlertCheck {
        AlertCheck {
            eval_time: self.time(ticks),
            alertname: name.to_owned(),
            exp_alerts: alert.into_iter().collect(),
        }
    }

    /// Input series with the labels of what they come from.
    pub fn inputs(
        &self,
        context: &Context<'_>,
        series: &[TestSeries],
        phases: &[Phase],
        model: &str,
    ) -> Result<Vec<InputSeries>, String> {
        let context = context.of_series();
        series
            .iter()
            .map(|series| {
                let selector = context.expand(&series.series)?;
                let identity = self.identity(&series.series, &selector, model);
                Ok(InputSeries {
                    series: with_labels(&selector, &identity),
                    values: self.values(series, phases),
                })
            })
            .collect()
    }

    /// Series that are the same all the time.
    fn decoys(
        &self,
        context: &Context<'_>,
        decoys: &[TestSeries],
        phases: &[Phase],
        model: &str,
    ) -> Result<Vec<InputSeries>, String> {
        let all = Phase { value: Some(0.0), ticks: phases.iter().map(|phase| phase.ticks).sum() };
        self.inputs(context, decoys, &[all], model)
    }

    /// The same series from a device of another family, and recordings out of the other file of this family:
    /// neither is any business of these rules.
    fn strangers(&self, inputs: &[InputSeries]) -> Vec<InputSeries> {
        let Some(family) = self.family else { return Vec::new() };
        let own = format!("family=\"{family}\"");
        let elsewhere = |input: &InputSeries, from: &str, to: &str| InputSeries {
            series: input
                .series
                .replace(from, to)
                .replace(&format!("device=\"{}\"", device(family)), "device=\"other0\""),
            values: input.values.clone(),
        };
        let mut strangers = Vec::new();
        for input in inputs.iter().filter(|input| input.series.contains(&own)) {
            strangers.push(elsewhere(input, &own, "family=\"other\""));
            if family == Family::Nvidia && input.series.starts_with("accel:") {
                let twin = format!("{own},gpu=\"0\"");
                strangers.push(if self.dcgm {
                    elsewhere(input, "gpu=\"0\",", "")
                } else {
                    elsewhere(input, &own, &twin)
                });
            }
        }
        strangers
    }

    /// Over dcgm-exporter's names: the same series from a second device that is seen in the unified schema as well,
    /// and so is left to the other file; and a device of another family that shares this one's UUID by accident.
    fn seen_twice(inputs: &[InputSeries], phases: &[Phase]) -> Vec<InputSeries> {
        let mut twice: Vec<_> = inputs
            .iter()
            .filter(|input| input.series.starts_with("DCGM_"))
            .map(|input| InputSeries {
                series: [("gpu=\"0\"", "gpu=\"1\""), ("GPU-0", "GPU-1"), ("nvidia0", "nvidia1")]
                    .iter()
                    .fold(input.series.clone(), |series, (from, to)| series.replace(from, to)),
                values: input.values.clone(),
            })
            .collect();
        let ticks: u64 = phases.iter().map(|phase| phase.ticks).sum();
        let up = |family: &str, uuid: &str| InputSeries {
            series: format!(
                "{}{{device=\"{family}0\",family=\"{family}\",instance=\"node-1:9477\",job=\"accelscope\",uuid=\"{uuid}\"}}",
                Id::of_handle("DEVICE_UP").and_then(|id| id.metric().name).unwrap_or_default()
            ),
            values: format!("1+0x{}", ticks - 1),
        };
        if !twice.is_empty() {
            twice.extend([up("nvidia", "GPU-1"), up("other", "GPU-0")]);
        }
        twice
    }

    /// Sample values in promtool's notation.
    fn values(&self, series: &TestSeries, phases: &[Phase]) -> String {
        let mut tokens = Vec::new();
        let mut counter = 0.0;
        let mut alive = false;
        let form = |text: &Option<String>| text.as_ref().map(|text| text.trim_matches(['<', '>']).to_owned());
        let (value, rate, step) = (form(&series.value), form(&series.rate), form(&series.step));
        for (index, Phase { value: v, ticks }) in phases.iter().enumerate() {
            let more = ticks - 1;
            let Some(v) = v.filter(|_| index >= series.late) else {
                tokens.push(if alive { format!("stale _x{more}") } else { format!("_x{ticks}") });
                alive = false;
                continue;
            };
            if let Some(form) = &rate {
                let growth = linear(form, v) * self.tick() as f64;
                tokens.push(format!("{}+{}x{more}", decimal(counter + growth), decimal(growth)));
                counter += growth * *ticks as f64;
            } else if let Some(form) = &step {
                counter = linear(form, v).max(counter);
                tokens.push(format!("{}+0x{more}", decimal(counter)));
            } else if let Some(from) = series.from {
                tokens.push(format!("{}+0x{more}", u8::from(v >= from)));
            } else {
                let value = value.as_ref().map_or(f64::NAN, |form| linear(form, v));
                tokens.push(format!("{}+0x{more}", decimal(value)));
            }
            alive = true;
        }
        tokens.join(" ")
    }

    /// Labels by which a series is told from others of its kind.
    fn identity(&self, template: &str, selector: &str, model: &str) -> Labels {
        let node = ("node", "node-1");
        let exporter = [("instance", "node-1:9477"), ("job", "accelscope"), node];
        let engine = [
            ("instance", "engine-0:8000"),
            ("job", "engine"),
            ("namespace", "inference"),
            ("pod", "engine-0"),
            node,
        ];
        let name = selector.split('{').next().unwrap_or(selector);
        let mut labels = BTreeMap::new();
        let mut add = |pairs: &[(&str, &str)]| {
            labels.extend(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        };
        let of_device = |metric: &&Metric| metric.scope == Scope::Device && metric.name == Some(name);
        let is_device = name.starts_with("accel:") || METRICS.iter().any(|metric| of_device(&metric));
        if name.starts_with("node:") {
            add(&[node]);
        } else if ["llm:slo_", "llm:cost", "cluster:"].iter().any(|prefix| name.starts_with(prefix)) {
            // These say all their labels themselves.
        } else if name.starts_with("llm:") {
            add(&engine);
            add(&[("model", model)]);
        } else if self.dcgm && (is_device || template.starts_with("$DCGM")) {
            add(&[
                ("instance", "node-1:9400"),
                ("job", "dcgm-exporter"),
                node,
                ("gpu", "0"),
                ("UUID", "GPU-0"),
                ("pci_bus_id", "00000000:04:00.0"),
                ("device", "nvidia0"),
                ("modelName", "NVIDIA H100 80GB HBM3"),
                ("Hostname", "node-1"),
            ]);
            if is_device {
                add(&[("device", "gpu0"), ("uuid", "GPU-0"), ("family", "nvidia")]);
            }
        } else if template.starts_with("$DEVICES") || name == "up" || template.starts_with("$SNAPSHOT") {
            add(&exporter);
        } else if is_device {
            add(&exporter);
            // `$DEVICE_UP:npu` is another family's device.
            let family = self.family.filter(|family| selector.contains(&format!("family=\"{family}\"")));
            add(&[("device", family.map_or("other0", device)), ("uuid", "UUID-0")]);
        } else {
            add(&engine);
        }
        labels
    }

    /// Labels of what comes out, before those that the rule sets.
    fn result_labels(
        &self,
        context: &Context<'_>,
        example: &Example,
        series: &[TestSeries],
        model: &str,
        vendor: bool,
    ) -> Result<Labels, String> {
        let first = series.first().ok_or("a test has no series")?;
        let selector = context.of_series().expand(&first.series)?;
        let mut labels = self.identity(&first.series, &selector, model);
        if self.dcgm && first.series.starts_with("$DCGM") {
            labels.insert("device".to_owned(), "gpu0".to_owned());
            labels.insert("uuid".to_owned(), "GPU-0".to_owned());
        }
        if let Some(family) = self.family {
            labels.insert("family".to_owned(), family.name().to_owned());
        }
        let (drop, more) = if vendor {
            (&example.drop_dcgm, &example.labels_dcgm)
        } else {
            (&example.drop, &example.labels)
        };
        for name in drop {
            labels.remove(name);
        }
        for (name, text) in more {
            let word =
                text.strip_prefix('&').filter(|_| name == "signal").and_then(|word| context.words.get(word));
            labels.insert(name.clone(), word.unwrap_or(text).clone());
        }
        // Labels that the series spell out themselves and that are not aggregated away.
        if selector.contains("namespace=\"inference\"") {
            labels.insert("namespace".to_owned(), "inference".to_owned());
            labels.entry("model".to_owned()).or_insert_with(|| model.to_owned());
        }
        Ok(labels)
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

/// The series by which an engine shows a value `v`.
fn engine_series(engines: &Engines, source: &EngineSource, v: f64, model: &str) -> Vec<TestSeries> {
    // A matcher of several values is no label; such a source spells one of them among its labels.
    let select = if source.select.contains("=~") { "" } else { source.select.as_str() };
    let labels: Vec<_> = [select, source.labels.as_str()].into_iter().filter(|l| !l.is_empty()).collect();
    let labels = labels.join(",").replace("\"m\"", &format!("\"{}\"", escape(model)));
    let series = |name: &str, more: &str| {
        let all: Vec<_> = [labels.as_str(), more].into_iter().filter(|l| !l.is_empty()).collect();
        format!("{name}{{{}}}", all.join(","))
    };
    let of = |series: String, value: Option<&str>, rate: Option<&str>| TestSeries {
        series,
        value: value.map(str::to_owned),
        rate: rate.map(str::to_owned),
        ..TestSeries::default()
    };
    match engines.kind {
        EngineKind::Gauge => {
            let mut all = vec![of(series(&source.metric, ""), Some("<v>"), None)];
            // What the matchers leave out is there too.
            if let Some((label, _)) = source.select.split_once('=') {
                all.push(of(
                    format!("{}{{{label}=\"other\",{}}}", source.metric, source.labels),
                    Some("<1000000>"),
                    None,
                ));
            }
            all
        }
        EngineKind::Rate => {
            let mut all = vec![of(series(&source.metric, ""), None, Some("<v>"))];
            // A second series that differs by the kept label alone must not stand in the way.
            if let (Some(_), Some((_, value))) = (&source.set, source.select.split_once("=~"))
                && let Some((first, second)) = value.trim_matches('"').split_once('|')
            {
                let second = second.split('|').next().unwrap_or(second);
                let other = all[0].series.replace(&format!("\"{first}\""), &format!("\"{second}\""));
                all.push(of(other, None, Some("<0>")));
            }
            all
        }
        EngineKind::Histogram => {
            // All observations fall between two bounds, so that the percentile is v by interpolation.
            let scale = if source.milliseconds { 1000.0 } else { 1.0 };
            let bucket = |le: &str, rate: &str| {
                of(series(&format!("{}_bucket", source.metric), &format!("le=\"{le}\"")), None, Some(rate))
            };
            vec![
                bucket(&at("<0.81v>", v * scale), "<0>"),
                bucket(&at("<1.01v>", v * scale), "<1>"),
                bucket("+Inf", "<1>"),
            ]
        }
    }
}

/// Labels of an engine signal's result.
fn engine_labels(engines: &Engines, source: &EngineSource, model: &str) -> Labels {
    let mut labels: Labels = [
        ("instance", "engine-0:8000"),
        ("job", "engine"),
        ("namespace", "inference"),
        ("pod", "engine-0"),
        ("node", "node-1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    if source.labels.contains("model") {
        labels.insert("model".to_owned(), model.to_owned());
    }
    if let Some(keep) = &engines.keep {
        labels.insert(keep.clone(), source.set.clone().unwrap_or_else(|| "stop".to_owned()));
    }
    labels
}

/// The short name of a family's first device.
fn device(family: Family) -> &'static str {
    match family {
        Family::Nvidia => "gpu0",
        Family::Gaudi => "hpu0",
        Family::Xpu => "card0",
        Family::Npu => "npu0",
        Family::Amx => "socket0",
    }
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

/// Adds labels that a selector does not spell itself.
fn with_labels(selector: &str, identity: &Labels) -> String {
    let (name, inside) = selector.split_once('{').unwrap_or((selector, "}"));
    let inside = inside.trim_end_matches('}');
    let mut pairs: Vec<String> = Vec::new();
    if !inside.is_empty() {
        pairs.push(inside.to_owned());
    }
    let spelt =
        |label: &str| inside.split(',').any(|pair| pair.trim_start().starts_with(&format!("{label}=")));
    let more = identity.iter().filter(|(label, _)| !spelt(label));
    pairs.extend(more.map(|(label, value)| format!("{label}=\"{}\"", escape(value))));
    format!("{name}{{{}}}", pairs.join(","))
}

/// What Prometheus makes of an annotation's template.
fn render(template: &str, labels: &Labels, value: &str, shown: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find("{{") {
        let (before, action) = rest.split_at(at);
        out.push_str(before);
        rest = if let Some(tail) = action.strip_prefix(value) {
            out.push_str(shown);
            tail
        } else if let Some(tail) = action.strip_prefix(LITERAL_BRACES) {
            out.push_str("{{");
            tail
        } else {
            let label = action.strip_prefix("{{ $labels.").and_then(|tail| tail.split_once(" }}"));
            let (name, tail) = label.ok_or_else(|| format!("an unknown template: {action}"))?;
            out.push_str(
                labels.get(name).ok_or_else(|| format!("no label `{name}` in what fires: {labels:?}"))?,
            );
            tail
        };
    }
    Ok(out + rest)
}
