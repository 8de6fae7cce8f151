//! Proofs of an alert: each is a stretch of time that is fine, one that is not, and what came of both.

use std::collections::BTreeMap;

use super::{Phase, Prover, around, first_reference, series::engine_series};
use crate::{
    model::{Alert, Bound, EngineKind, Example, SloClass, TestSeries},
    number::Duration,
    output::{AlertCheck, ExpectedAlert, Labels, Rule, TestGroup},
    plan::LITERAL_BRACES,
};

/// An alert as it stands in a rule file.
pub(crate) struct Subject<'a> {
    pub alert: &'a Alert,
    pub bounds: &'a BTreeMap<String, Bound>,
    pub class: Option<&'a SloClass>,
    pub rule: &'a Rule,
}

impl Prover<'_> {
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
        // Neither at once, when rules are loaded in the middle of things, nor later.
        expect(1, None);
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

    fn expect(&self, name: &str, ticks: u64, alert: Option<ExpectedAlert>) -> AlertCheck {
        AlertCheck {
            eval_time: self.time(ticks),
            alertname: name.to_owned(),
            exp_alerts: alert.into_iter().collect(),
        }
    }
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
