//! Tests of an alert: each has a period that is fine, one that is not, and the expected alerts of both.

use std::collections::BTreeMap;

use super::{Phase, Prover, around, series::engine_series};
use crate::{
    expr::references,
    model::{Alert, Bound, EngineKind, Example, TestSeries},
    number::Duration,
    output::{AlertCheck, ExpectedAlert, Labels, Rule, TestGroup},
    plan::PlannedAlert,
    texts::{LITERAL_BRACES, render},
    vocabulary::{PerVocabulary, Vocabulary},
};

/// Idle, application clocks, power cap, sync boost and display clocks in the mask of dcgm-exporter.
const NO_FAULT: u64 = 279;

impl Prover<'_> {
    /// Proofs of an alert: not early, not below, in time, with its labels and texts, and gone again.
    pub fn alert(&self, planned: &PlannedAlert<'_>) -> Result<Vec<TestGroup>, String> {
        let alert = planned.alert;
        if alert.is_part {
            return Ok(Vec::new());
        }
        let mut groups = Vec::new();
        let own = alert.test.series.iter().next().is_some().then_some(&alert.test);
        let through = self.through(planned);
        for example in own.or(through.as_ref()).into_iter().chain(&alert.also) {
            let newer = example.series.get(Vocabulary::Dcgm).and_then(|series| self.newer(series));
            let newer = newer
                .filter(|_| self.set.is_dcgm())
                .map(|series| Example { series: PerVocabulary::same(series), ..example.clone() });
            for example in [example].into_iter().chain(&newer) {
                let variants = self.variants(planned, example);
                let at_once = if example.at_once { variants.len() } else { 1 };
                for variants in variants.chunks(at_once) {
                    groups.extend(self.example(planned, example, variants)?);
                }
            }
        }
        // The recorded value itself as input: exact at the bound, without the windows behind it.
        if own.is_none()
            && let Some(id) = first_reference(alert)
        {
            let series = TestSeries {
                series: format!("@{id}"),
                value: Some("<v>".to_owned()),
                ..TestSeries::default()
            };
            let step = self.set.catalogue.signal(id).and_then(|signal| signal.test.step);
            let example = Example { series: PerVocabulary::same(vec![series]), step, ..Example::default() };
            groups.extend(self.example(planned, &example, &[String::new()])?);
        }
        if alert.always {
            return self.always(planned).map(|group| vec![group]);
        }
        let mut empty = self.group(format!("{}without any data", self.prefix()), Vec::new());
        empty.alert_rule_test.push(self.expect(
            &alert.name,
            alert.hold.0.div_ceil(self.tick()) + 60,
            Vec::new(),
        ));
        groups.push(empty);
        Ok(groups)
    }

    /// An alert that needs no data to fire.
    fn always(&self, planned: &PlannedAlert<'_>) -> Result<TestGroup, String> {
        let PlannedAlert { alert, rule, .. } = planned;
        let literal = |(name, text): (&String, &String)| (name.clone(), text.replace(LITERAL_BRACES, "{{"));
        let exp_labels: Labels = rule.labels.iter().map(literal).collect();
        let render = |(name, text): (&String, &String)| {
            render(text, &exp_labels, (alert.unit.template(), ""), "").map(|text| (name.clone(), text))
        };
        let exp_annotations = rule.annotations.iter().map(render).collect::<Result<_, _>>()?;
        let mut group = self.group(format!("{} always", alert.name), Vec::new());
        group.alert_rule_test.push(self.expect(
            &alert.name,
            1,
            vec![ExpectedAlert { exp_labels, exp_annotations }],
        ));
        Ok(group)
    }

    /// The raw series of the signal that an alert reads.
    fn through(&self, planned: &PlannedAlert<'_>) -> Option<Example> {
        let signal = self.set.catalogue.signal(first_reference(planned.alert)?)?;
        let mut example = signal.test.clone();
        example.values.clear();
        if let Some(engines) = &signal.engines {
            let source = engines.sources.first()?;
            let model = self.set.catalogue.example_model(planned.class);
            let labels = example.labels.get(Vocabulary::Unified).cloned().unwrap_or_default();
            let labels = labels.into_iter().chain([("model".to_owned(), model.clone())]);
            example.labels = PerVocabulary::unified(labels.collect());
            if engines.kind == EngineKind::Histogram {
                // Its buckets are made for one value; the recorded series does the rest.
                return None;
            }
            example.series = engine_series(engines, source, 0.0, &model).into();
            example.settle = Duration(if engines.kind == EngineKind::Rate { 300 } else { 0 });
        }
        Some(example)
    }

    /// What stands for `<variant>` in turn; a word stands for the alternatives of its regular expression.
    fn variants(&self, planned: &PlannedAlert<'_>, example: &Example) -> Vec<String> {
        let name = match (self.set.is_dcgm(), self.set.family) {
            (true, _) => "dcgm",
            (false, Some(family)) => family.name(),
            (false, None) => "",
        };
        let words = self.set.context(&planned.bounds, &planned.alert.params).words;
        let alternatives = |variant: &String| -> Vec<String> {
            let word = variant.strip_prefix('&').and_then(|word| words.get(word)).unwrap_or(variant);
            word.split('|').map(str::to_owned).collect()
        };
        let variants = example.variants.get(name);
        variants.map_or_else(|| vec![String::new()], |all| all.iter().flat_map(alternatives).collect())
    }

    fn example(
        &self,
        planned: &PlannedAlert<'_>,
        example: &Example,
        variants: &[String],
    ) -> Result<Option<TestGroup>, String> {
        let PlannedAlert { alert, bounds, class, rule } = planned;
        // Recorded series serve every vocabulary; raw ones exist in one alone.
        let vocabulary = self.set.vocabulary;
        let are_recorded =
            |series: &&Vec<TestSeries>| series.iter().all(|series| !series.series.contains('$'));
        let recorded = || example.series.get(Vocabulary::Unified).filter(are_recorded);
        let own = example.series.get(vocabulary);
        let series = if alert.recorded_only { own.or_else(recorded) } else { own };
        let Some(series) = series else { return Ok(None) };
        if !example.families.is_empty() && !self.set.family.is_some_and(|own| example.families.contains(&own))
        {
            return Ok(None);
        }
        if example.severity.is_some_and(|severity| severity != alert.severity) {
            return Ok(None);
        }
        let series: Vec<_> = variants
            .iter()
            .flat_map(|variant| series.iter().map(|series| self.filled(series, variant)))
            .collect();
        let tick = self.tick();
        let ticks = |duration: Duration| self.set.catalogue.scaled(duration).0.div_ceil(tick);
        let (settle, hold) = (ticks(example.settle), alert.hold.0.div_ceil(tick));
        let keep = alert.keep.map_or(0, |keep| keep.0.div_ceil(tick));
        let linger = ticks(example.linger.unwrap_or(example.settle)) + keep;
        // Each stretch is as long as what it shows, and a little longer.
        let (quiet_for, bad_for, after_for) =
            (settle + ticks(example.lead) + 10, settle + hold + 10, linger + 10);

        let limit = bounds.get("limit");
        let (quiet, firing) = values(alert, bounds, example);
        let moves = series.iter().any(|series| series.rate.is_some() || series.step.is_some());
        let exact = limit.filter(|_| {
            let placed = example.quiet.is_some() || example.distances.is_some();
            !example.silent && settle == 0 && !moves && !placed && !example.absence
        });

        let bad = if example.absence { None } else { Some(firing) };
        let mut values = vec![Some(quiet), bad, Some(quiet)];
        values.extend(exact.map(|bound| Some(bound.number())));
        values.push(if example.absence { Some(quiet) } else { None });
        let lengths = [quiet_for, bad_for, after_for].into_iter();
        let lengths = lengths.chain(exact.map(|_| bad_for)).chain([after_for]);
        let phases: Vec<_> = values
            .into_iter()
            .zip(lengths)
            .map(|(value, ticks)| Phase { value, ticks, state: None })
            .collect();

        let model = self.set.catalogue.example_model(*class);
        let context = self.set.context(bounds, &alert.params);
        let mut inputs = self.inputs(&context, &series, &phases, &model)?;
        if self.set.family.is_some() && !example.absence {
            let strangers = self.strangers(&inputs);
            inputs.extend(self.left_out(&inputs, &phases, Some((quiet_for + settle + hold, hold))));
            inputs.extend(strangers);
        }
        let vocabulary = if alert.recorded_only { Vocabulary::Unified } else { vocabulary };
        let decoys = example.decoys.get(vocabulary).map(Vec::as_slice).unwrap_or_default();
        inputs.extend(self.decoys(&context, decoys, &phases, &model)?);

        let labels = self.result_labels(&context, example, &series, &model, vocabulary)?;
        let shown = |v: f64| {
            let text = example.shown.or_unified(self.set.vocabulary);
            alert.unit.show(text.and_then(|text| text.parse().ok()).unwrap_or(v))
        };
        let fired = |v: f64| -> Result<Vec<ExpectedAlert>, String> {
            let of = |variant: &String| {
                let exp_labels = labels_of(&labels, rule, variant)?;
                let (asked, value) = (self.asked(example, variant), shown(v));
                let render = |(name, text): (&String, &String)| {
                    render(text, &exp_labels, (alert.unit.template(), &value), &asked)
                        .map(|text| (name.clone(), text))
                };
                let exp_annotations = rule.annotations.iter().map(render).collect::<Result<_, _>>()?;
                Ok(ExpectedAlert { exp_labels, exp_annotations })
            };
            variants.iter().map(of).collect()
        };
        let prefix = self.prefix();
        let mut group =
            self.group(format!("{prefix}{} {}", alert.name, variants.join(" ")).trim().to_owned(), inputs);
        let mut expect = |at: u64, alerts| group.alert_rule_test.push(self.expect(&alert.name, at, alerts));
        // Neither at once, when rules are loaded in the middle of things, nor later.
        if !(example.silent && example.lead.0 > 0) {
            expect(1, Vec::new());
        }
        expect(quiet_for - 1, Vec::new());
        if hold > 0 {
            expect(quiet_for + hold - 1, Vec::new());
        }
        let alerts = if example.silent { Vec::new() } else { fired(firing)? };
        expect(quiet_for + settle + hold, alerts);
        expect(quiet_for + bad_for + linger + 1, Vec::new());
        if let Some(bound) = exact {
            let alerts = if bound.op.inclusive() { fired(bound.number())? } else { Vec::new() };
            expect(quiet_for + bad_for + after_for + bad_for - 1, alerts);
        }
        expect(phases.iter().map(|phase| phase.ticks).sum::<u64>() - 1, Vec::new());
        Ok(Some(group))
    }

    /// What the question of the description returns for a variant: itself, or the reason whose bit it is.
    fn asked(&self, example: &Example, variant: &str) -> String {
        let mut reasons = self.set.catalogue.reasons.iter();
        let of_bit = reasons.find(|reason| reason.bit.is_some_and(|bit| bit.to_string() == variant));
        let text = example.asked.or_unified(self.set.vocabulary).map_or("", String::as_str);
        text.replace("<variant>", variant).replace("<reason>", of_bit.map_or("", |reason| &reason.name))
    }

    /// A series with a variant in the place of its mark.
    fn filled(&self, series: &TestSeries, variant: &str) -> TestSeries {
        let calm = (NO_FAULT & !self.set.catalogue.fault_bits().iter().sum::<u64>()).to_string();
        let fill = |text: &String| text.replace("<variant>", variant).replace("<calm>", &calm);
        TestSeries {
            series: fill(&series.series),
            value: series.value.as_ref().map(fill),
            rate: series.rate.as_ref().map(fill),
            step: series.step.as_ref().map(fill),
            ..*series
        }
    }

    fn expect(&self, name: &str, ticks: u64, exp_alerts: Vec<ExpectedAlert>) -> AlertCheck {
        AlertCheck { eval_time: self.time(ticks), alertname: name.to_owned(), exp_alerts }
    }
}

/// Labels of what fires: those of its series, with a variant in the place of its mark, and those that the rule sets.
fn labels_of(of_series: &Labels, rule: &Rule, variant: &str) -> Result<Labels, String> {
    let of_series: Labels =
        of_series.iter().map(|(name, text)| (name.clone(), text.replace("<variant>", variant))).collect();
    let mut all = of_series.clone();
    for (name, text) in &rule.labels {
        all.insert(name.clone(), render(text, &of_series, ("", ""), "")?);
    }
    // Prometheus drops a label without a value.
    all.retain(|_, value| !value.is_empty());
    Ok(all)
}

/// A value that is fine and one that fires.
fn values(alert: &Alert, bounds: &BTreeMap<String, Bound>, example: &Example) -> (f64, f64) {
    let limit = bounds.get("limit");
    if let (Some(distances), Some(bound)) = (example.distances, limit) {
        let [quiet, firing] = distances.map(|distance| bound.number() + distance);
        return (quiet, firing);
    }
    match (example.quiet, example.firing, limit) {
        (Some(quiet), Some(firing), _) => (quiet, firing),
        (_, _, Some(bound)) => around(bound, example.step.unwrap_or(alert.unit.step())),
        _ => (1.0, 0.0),
    }
}

/// A value at which an alert fires.
pub(crate) fn example_value(alert: &Alert, bounds: &BTreeMap<String, Bound>) -> f64 {
    values(alert, bounds, &alert.test).1
}

/// The first recorded signal that an alert reads.
pub(crate) fn first_reference(alert: &Alert) -> Option<&str> {
    references(alert.expr.get(Vocabulary::Unified)?).next()
}
