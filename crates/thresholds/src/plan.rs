//! The rules of every file. A plan holds each rule with what it was made from; tests are generated from it
//! afterwards.

use std::collections::BTreeMap;

use crate::{
    Level, Names,
    catalogue::{BANDS, Catalogue},
    expr::{self, Context},
    model::{Alert, Bound, Severity, Signal, SloClass},
    number::{Duration, decimal},
    output::{Group, Rule, RuleFile},
    ruleset::{self, RuleSet},
    slo,
    texts::{self, literal},
};

/// Name of the recorded states.
pub(crate) const STATE: &str = "accel:signal_state";

/// How often states are recorded, and alerts evaluated that wake nobody: a fleet has many times as many of
/// them as of what pages.
const SELDOM: Duration = Duration(60);

/// A rule file, and the rule sets in it.
pub(crate) struct PlannedFile<'c> {
    pub name: &'static str,
    pub level: Level,
    pub rules: RuleFile,
    pub sets: Vec<PlannedSet<'c>>,
}

/// What the rules of a set were made from, in the order of the catalogue.
pub(crate) struct PlannedSet<'c> {
    pub set: RuleSet<'c>,
    pub signals: Vec<PlannedSignal<'c>>,
    pub alerts: Vec<PlannedAlert<'c>>,
}

/// A signal, for one service class where its bands depend on one.
pub(crate) struct PlannedSignal<'c> {
    pub signal: &'c Signal,
    pub bounds: BTreeMap<String, Bound>,
    pub class: Option<&'c SloClass>,
}

/// An alert, for one service class where its bound depends on one.
pub(crate) struct PlannedAlert<'c> {
    pub alert: &'c Alert,
    pub bounds: BTreeMap<String, Bound>,
    pub class: Option<&'c SloClass>,
    pub rule: Rule,
}

/// Plans every file for these names.
pub(crate) fn build(catalogue: &Catalogue, names: Names) -> Result<Vec<PlannedFile<'_>>, String> {
    let mut files: Vec<PlannedFile<'_>> = Vec::new();
    for set in ruleset::all(catalogue, names) {
        let mut builder = Builder { set, recordings: BTreeMap::new(), states: Vec::new() };
        let (signals, alerts) = builder.fill()?;
        let groups = builder.groups(&alerts);
        let planned = PlannedSet { set, signals, alerts };
        match files.iter_mut().find(|file| file.name == set.file) {
            Some(file) => {
                file.rules.groups.extend(groups);
                file.sets.push(planned);
            }
            None => {
                files.push(PlannedFile {
                    name: set.file,
                    level: ruleset::level(set.file),
                    rules: RuleFile { groups },
                    sets: vec![planned],
                });
            }
        }
    }
    files.retain(|file| !file.rules.groups.is_empty());
    Ok(files)
}

/// Collects the recordings of a rule set.
struct Builder<'c> {
    set: RuleSet<'c>,
    /// By the interval of their own that some have.
    recordings: BTreeMap<Option<Duration>, Vec<Rule>>,
    /// The states that are derived from them.
    states: Vec<Rule>,
}

impl<'c> Builder<'c> {
    fn fill(&mut self) -> Result<(Vec<PlannedSignal<'c>>, Vec<PlannedAlert<'c>>), String> {
        match self.set.file {
            "cost" => self.prices(),
            "fleet" => self.objectives(),
            _ => {}
        }
        let mut signals = Vec::new();
        let set = self.set;
        for (signal, value) in set.signals() {
            let planned = self.signal(signal, &value).map_err(|error| format!("{}: {error}", signal.id))?;
            signals.extend(planned);
        }
        let mut alerts = Vec::new();
        for alert in set.alerts() {
            for class in self.classes(alert.slo.is_some()) {
                let planned = self.alert(alert, class).map_err(|error| format!("{}: {error}", alert.name))?;
                alerts.push(planned);
            }
        }
        Ok((signals, alerts))
    }

    /// The classes for which something is made, or none where it depends on no objective.
    fn classes(&self, by_objective: bool) -> Vec<Option<&'c SloClass>> {
        if by_objective { self.set.catalogue.classes_in_use().map(Some).collect() } else { vec![None] }
    }

    fn signal(&mut self, signal: &'c Signal, value: &str) -> Result<Vec<PlannedSignal<'c>>, String> {
        let context = self.set.context(&signal.bounds, &signal.params);
        let mut expr = context.expand(value)?.trim().to_owned();
        if signal.record.is_some() && value.contains('$') {
            expr = self.set.normalized(&expr)?;
        }
        let value =
            if signal.record.is_some() { context.expand(&format!("@{}", signal.id))? } else { expr.clone() };
        if let Some(record) = &signal.record {
            let labels = self.set.labels(&signal.labels);
            let rule = Rule { record: Some(record.clone()), expr, labels, ..Rule::default() };
            if rule.expr.contains(STATE) {
                self.states.push(rule);
            } else {
                self.recordings.entry(signal.every).or_default().push(rule);
            }
        }
        let mut planned = Vec::new();
        for class in self.classes(signal.slo.is_some()) {
            let factor = signal.slo.zip(class).map(|(objective, class)| class.seconds(objective));
            let bounds = scaled(&signal.bounds, factor);
            if BANDS.iter().any(|band| signal.bounds.contains_key(*band)) {
                let models = class.map(|class| self.set.catalogue.models(class)).unwrap_or_default();
                let value = narrowed(&value, &models);
                let mut labels = self.set.labels(&[("signal".to_owned(), signal.id.clone())].into());
                labels.extend(class.map(|class| ("slo_class".to_owned(), class.name.clone())));
                let expr = self.states_of(signal, &bounds, &value)?;
                self.states.push(Rule { record: Some(STATE.to_owned()), expr, labels, ..Rule::default() });
            }
            planned.push(PlannedSignal { signal, bounds, class });
        }
        Ok(planned)
    }

    /// The states of a signal: of each part by its own bounds, and of what the parts leave by the signal's.
    fn states_of(
        &self,
        signal: &Signal,
        bounds: &BTreeMap<String, Bound>,
        value: &str,
    ) -> Result<String, String> {
        let context = self.set.context(bounds, &signal.params);
        let mut states = Vec::new();
        let mut taken = String::new();
        for (of, bounds) in signal.parts.iter().filter(|(of, _)| of.covers(self.set.family)) {
            let own = narrowed(value, &of.matchers());
            let own = match of.device_model {
                Some(place) => context
                    .expand(&format!("({own} and on (cluster, instance, device) &device_model_{place})"))?,
                None => own,
            };
            states.push(self.state(signal, bounds, &format!("({own}{taken})"))?);
            taken.push_str(" unless ");
            taken.push_str(&own);
            if of.is_whole() {
                return Ok(states.join("\nor\n"));
            }
        }
        let rest = if taken.is_empty() { value.to_owned() } else { format!("({value}{taken})") };
        states.push(self.state(signal, bounds, &rest)?);
        Ok(states.join("\nor\n"))
    }

    /// 2 where a red band holds, else 1 where an amber one does, else 0; absent where the value is.
    fn state(
        &self,
        signal: &Signal,
        bounds: &BTreeMap<String, Bound>,
        value: &str,
    ) -> Result<String, String> {
        let RuleSet { vocabulary, family, .. } = self.set;
        let context = self.set.context(bounds, &signal.params);
        let band = |name: &str| bounds.get(name).map(|bound| format!("{value} {bound}"));
        let high = |name: &str, when: &Option<String>| -> Result<Option<String>, String> {
            let (Some(high), Some(when)) = (band(name), when) else { return Ok(band(name)) };
            Ok(Some(format!("({high} {})", context.expand(when.trim())?)))
        };
        let mut red: Vec<_> = band("low_red").into_iter().chain(high("red", &signal.red_when)?).collect();
        for text in signal.red_also.get(vocabulary).into_iter().flatten() {
            let exists = |family| expr::missing_source(text, family).is_none();
            if self.set.is_dcgm() || family.is_none_or(exists) {
                let condition = self.set.normalized(&context.expand(text)?)?;
                // Recorded values have the family, raw series of dcgm-exporter do not: without it one device
                // is two.
                red.push(match family.filter(|_| self.set.is_dcgm()) {
                    Some(family) => {
                        format!("label_replace({condition}, \"family\", \"{family}\", \"\", \"\")")
                    }
                    None => condition,
                });
            }
        }
        let amber = band("low_amber").into_iter().chain(high("amber", &signal.amber_when)?).collect();
        let level = |conditions: Vec<String>, level: u8| {
            (!conditions.is_empty()).then(|| format!("({}) * 0 + {level}", conditions.join(" or ")))
        };
        let mut parts: Vec<_> = level(red, 2).into_iter().chain(level(amber, 1)).collect();
        parts.push(format!("{value} * 0"));
        let state = parts.join("\nor\n");
        Ok(match signal.gate.or_unified(vocabulary) {
            Some(gate) => format!("(\n{state}\n)\n{}", context.expand(gate)?.trim()),
            None => state,
        })
    }

    fn alert(&self, alert: &'c Alert, class: Option<&'c SloClass>) -> Result<PlannedAlert<'c>, String> {
        let catalogue = self.set.catalogue;
        let factor = alert.slo.zip(class).map(|(objective, class)| class.seconds(objective));
        let bounds = scaled(&alert.bounds, factor);
        let models = class.map(|class| catalogue.models(class)).filter(|models| !models.is_empty());
        let models = models.map(|models| format!("{{{models}}}")).unwrap_or_default();
        let text = self.set.condition(alert).ok_or("has no condition here")?.replace("{&models}", &models);
        let context = Context { patient: true, ..self.set.context(&bounds, &alert.params) };
        let mut expr = context.expand(&text)?.trim().to_owned();
        if !alert.recorded_only {
            expr = self.set.normalized(&expr)?;
        }
        let mut labels = self.set.labels(&alert.labels);
        labels.extend(texts::action(self.set, alert));
        labels.insert("severity".to_owned(), literal(catalogue.severity(alert.severity)));
        labels.extend(class.map(|class| ("slo_class".to_owned(), class.name.clone())));
        labels.extend(catalogue.labels.iter().map(|(name, value)| (name.clone(), literal(value))));
        let rule = Rule {
            alert: Some(alert.name.clone()),
            expr,
            hold: (alert.hold.0 > 0).then(|| alert.hold.to_string()),
            keep: alert.keep.map(|keep| keep.to_string()),
            labels,
            annotations: texts::annotations(self.set, alert, &bounds)?,
            ..Rule::default()
        };
        Ok(PlannedAlert { alert, bounds, class, rule })
    }

    fn prices(&mut self) {
        let catalogue = self.set.catalogue;
        let price = |label: &str, value: &str, price: f64| Rule {
            record: Some(format!("accel:price:{}_per_hour", catalogue.currency)),
            expr: format!("vector({})", decimal(price)),
            labels: [(label.to_owned(), value.to_owned())].into(),
            ..Rule::default()
        };
        let families = catalogue.prices.iter().map(|(family, of)| price("family", family, *of));
        let models = catalogue.model_prices.iter();
        let models = models.map(|(model, of)| price("device_model", &catalogue.device_models[*model], *of));
        let prices: Vec<_> = families.chain(models).collect();
        self.recordings.entry(None).or_default().extend(prices);
    }

    /// Shares of requests that keep each promise, as series.
    fn objectives(&mut self) {
        let of = |class: &SloClass| {
            slo::SLIS.map(|sli| Rule {
                record: Some("fleet:llm_slo_objective:ratio".to_owned()),
                expr: format!("vector({})", decimal(slo::objective(class, sli))),
                labels: [("sli", sli), ("slo_class", &class.name)]
                    .map(|(k, v)| (k.to_owned(), v.to_owned()))
                    .into(),
                ..Rule::default()
            })
        };
        let objectives = self.set.catalogue.classes_in_use().flat_map(of).collect();
        self.recordings.insert(Some(Duration(120)), objectives);
    }

    /// Recordings before states before alerts, so that what is evaluated together sees its own values.
    fn groups(self, alerts: &[PlannedAlert<'_>]) -> Vec<Group> {
        let Self { set, mut recordings, mut states } = self;
        let mut groups = Vec::new();
        let mut add = |name: String, every: Option<Duration>, mut rules: Vec<Rule>| {
            if !rules.is_empty() {
                for rule in &mut rules {
                    rule.expr = set.catalogue.windowed(&rule.expr);
                }
                let suffix = every.map(|every| format!("-{every}")).unwrap_or_default();
                let interval =
                    every.map(|every| set.catalogue.paced(every)).or(set.catalogue.scrape_interval);
                let interval = interval.map(|interval| interval.to_string());
                groups.push(Group { name: name + &suffix, interval, rules });
            }
        };
        // States in one group with most of what they are made of, so that they are of the same moment.
        recordings.entry(Some(SELDOM)).or_default().append(&mut states);
        for (every, rules) in recordings.into_iter().rev() {
            add(format!("accelscope-{}-signals", set.part()), every, rules);
        }
        let mut by_group: BTreeMap<(&str, Option<Duration>), Vec<Rule>> = BTreeMap::new();
        for PlannedAlert { alert, rule, .. } in alerts {
            let wakes = matches!(alert.severity, Severity::Critical | Severity::Warning);
            let every = alert.every.or((!wakes).then_some(SELDOM));
            by_group.entry((&alert.group, every)).or_default().push(rule.clone());
        }
        for ((group, every), rules) in by_group {
            add(format!("{group}-{}", set.part()), every, rules);
        }
        groups
    }
}

/// A selector with further matchers.
fn narrowed(selector: &str, matchers: &str) -> String {
    match selector.strip_suffix('}') {
        _ if matchers.is_empty() => selector.to_owned(),
        Some(open) => format!("{open},{matchers}}}"),
        None => format!("{selector}{{{matchers}}}"),
    }
}

/// Bounds that are fractions of an objective, as numbers.
pub(crate) fn scaled(bounds: &BTreeMap<String, Bound>, by: Option<f64>) -> BTreeMap<String, Bound> {
    let Some(factor) = by else { return bounds.clone() };
    let scale = |bound: &Bound| Bound {
        op: bound.op,
        limit: crate::model::Limit::Number(decimal(bound.number() * factor).parse().unwrap_or(f64::NAN)),
    };
    bounds.iter().map(|(name, bound)| (name.clone(), scale(bound))).collect()
}

/// The worst state that a value has, without gates.
pub(crate) fn state_of(bounds: &BTreeMap<String, Bound>, value: f64) -> u8 {
    let holds = |name: &str| bounds.get(name).is_some_and(|bound| bound.op.holds(value, bound.number()));
    match (holds("low_red") || holds("red"), holds("low_amber") || holds("amber")) {
        (true, _) => 2,
        (false, true) => 1,
        (false, false) => 0,
    }
}
