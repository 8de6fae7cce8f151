//! The rules of every file, each with the checks that prove it.

use std::collections::BTreeMap;

use naming::Family;

use crate::{
    Names,
    catalogue::{BANDS, Catalogue, words},
    expr::{self, Context},
    model::{Alert, Bound, Severity, Signal, SloClass},
    number::{Duration, decimal},
    output::{Group, Labels, Rule, RuleFile, TestGroup},
    prove::{Prover, Subject, together},
};

/// Name of the recorded states.
pub(crate) const STATE: &str = "accel:signal_state";

/// How often states are recorded, and alerts evaluated that wake nobody: a fleet has many times as many of them as of
/// what pages.
const SELDOM: Duration = Duration(60);

/// A rule file with its tests.
pub(crate) struct Planned {
    pub name: String,
    pub rules: RuleFile,
    pub tests: Vec<TestGroup>,
}

/// Files whose rules read raw metrics of one family, in one vocabulary.
struct Place {
    file: &'static str,
    family: Option<Family>,
    dcgm: bool,
}

const PLACES: [Place; 12] = [
    Place { file: "nvidia", family: Some(Family::Nvidia), dcgm: false },
    Place { file: "nvidia-dcgm", family: Some(Family::Nvidia), dcgm: true },
    Place { file: "gaudi", family: Some(Family::Gaudi), dcgm: false },
    Place { file: "xpu", family: Some(Family::Xpu), dcgm: false },
    Place { file: "edge", family: Some(Family::Npu), dcgm: false },
    Place { file: "edge", family: Some(Family::Xpu), dcgm: false },
    Place { file: "xeon", family: Some(Family::Amx), dcgm: false },
    Place { file: "engine", family: None, dcgm: false },
    Place { file: "slo", family: None, dcgm: false },
    Place { file: "efficiency", family: None, dcgm: false },
    Place { file: "cost", family: None, dcgm: false },
    Place { file: "exporter", family: None, dcgm: false },
];

impl Place {
    /// Whether something declared so belongs here.
    fn has(&self, families: &[Family], file: Option<&str>) -> bool {
        match self.family {
            Some(family) => families.contains(&family) && file.unwrap_or(home(family)) == self.home(),
            None => file == Some(self.file),
        }
    }

    fn home(&self) -> &'static str {
        if self.dcgm { "nvidia" } else { self.file }
    }
}

/// The file of a family's own rules.
fn home(family: Family) -> &'static str {
    match family {
        Family::Nvidia => "nvidia",
        Family::Gaudi => "gaudi",
        Family::Xpu => "xpu",
        Family::Npu => "edge",
        Family::Amx => "xeon",
    }
}

/// Builds every file for these vocabularies.
pub(crate) fn build(catalogue: &Catalogue, names: Names) -> Result<Vec<Planned>, String> {
    let mut files: Vec<Planned> = Vec::new();
    for place in &PLACES {
        let wanted = match names {
            Names::Both => true,
            Names::Unified => !place.dcgm,
            Names::Vendor => place.dcgm || place.family.is_none(),
        };
        if !wanted || (place.file == "cost" && catalogue.prices.is_empty()) {
            continue;
        }
        let prover = Prover { catalogue, family: place.family, dcgm: place.dcgm };
        let mut builder = Builder {
            prover,
            recordings: BTreeMap::new(),
            states: Vec::new(),
            alerts: BTreeMap::new(),
            tests: Vec::new(),
        };
        builder.fill(place)?;
        if place.file == "cost" {
            builder.prices();
        }
        let groups = builder.groups(place);
        builder.tests = together(builder.tests, place.file == "slo");
        match files.iter_mut().find(|file| file.name == place.file) {
            Some(file) => {
                file.rules.groups.extend(groups);
                file.tests.extend(builder.tests);
            }
            None => files.push(Planned {
                name: place.file.to_owned(),
                rules: RuleFile { groups },
                tests: builder.tests,
            }),
        }
    }
    files.retain(|file| !file.rules.groups.is_empty());
    Ok(files)
}

struct Builder<'a> {
    prover: Prover<'a>,
    /// By the interval of their own that some have.
    recordings: BTreeMap<Option<Duration>, Vec<Rule>>,
    /// And what is made of them.
    states: Vec<Rule>,
    /// By group and interval.
    alerts: BTreeMap<(String, Option<Duration>), Vec<Rule>>,
    tests: Vec<TestGroup>,
}

impl Builder<'_> {
    fn fill(&mut self, place: &Place) -> Result<(), String> {
        let catalogue = self.prover.catalogue;
        for signal in
            catalogue.signals.iter().filter(|signal| place.has(&signal.families, signal.file.as_deref()))
        {
            if let Some(template) = self.template(signal) {
                self.signal(signal, &template).map_err(|error| format!("{}: {error}", signal.id))?;
            }
        }
        for alert in catalogue.alerts.iter().filter(|alert| place.has(&alert.families, alert.file.as_deref()))
        {
            if !alert.off && self.is_possible(alert) {
                self.alert(alert).map_err(|error| format!("{}: {error}", alert.name))?;
            }
        }
        Ok(())
    }

    /// The text of a signal's value here; nothing when this family or vocabulary cannot tell it.
    fn template(&self, signal: &Signal) -> Option<String> {
        if self.prover.dcgm {
            return signal.dcgm.clone();
        }
        if let Some(engines) = &signal.engines {
            return Some(expr::engines(engines));
        }
        let Some(family) = self.prover.family else { return Some(signal.expr.clone()) };
        let text = signal.exprs.get(family.name()).unwrap_or(&signal.expr);
        expr::missing_source(text, family).is_none().then(|| text.clone())
    }

    /// Whether all that an alert reads exists here.
    fn is_possible(&self, alert: &Alert) -> bool {
        let catalogue = self.prover.catalogue;
        let Some(family) = self.prover.family else { return true };
        let text = alert.dcgm.as_ref().filter(|_| self.prover.dcgm).unwrap_or(&alert.expr);
        let recorded = text.split('@').skip(1).all(|tail| {
            let end = tail.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(tail.len());
            catalogue
                .signal(&tail[..end])
                .is_none_or(|signal| signal.families.is_empty() || self.template(signal).is_some())
        });
        let raw = if self.prover.dcgm {
            alert.recorded_only || alert.dcgm.is_some()
        } else {
            expr::missing_source(&alert.expr, family).is_none()
        };
        recorded && raw
    }

    fn signal(&mut self, signal: &Signal, template: &str) -> Result<(), String> {
        let context = self.prover.context(&signal.bounds, &signal.params);
        let expr = self
            .prover
            .wrap(&context.expand(template)?, signal.record.is_some() && template.contains('$'))?;
        let value =
            if signal.record.is_some() { context.expand(&format!("@{}", signal.id))? } else { expr.clone() };
        if let Some(record) = &signal.record {
            let labels = self.labels(&signal.labels);
            let rule = Rule { record: Some(record.clone()), expr, labels, ..Rule::default() };
            if rule.expr.contains(STATE) {
                self.states.push(rule);
            } else {
                self.recordings.entry(signal.every).or_default().push(rule);
            }
        }
        let classes: Vec<Option<&SloClass>> = match signal.slo {
            Some(_) => self.prover.catalogue.classes_in_use().map(Some).collect(),
            None => vec![None],
        };
        for class in classes {
            let scaled = scaled(
                &signal.bounds,
                signal.slo.zip(class).map(|(objective, class)| class.seconds(objective)),
            );
            if BANDS.iter().any(|band| signal.bounds.contains_key(*band)) {
                let matcher = class.map(|class| self.prover.catalogue.models(class)).unwrap_or_default();
                let value = if matcher.is_empty() { value.clone() } else { format!("{value}{{{matcher}}}") };
                let mut labels = self.labels(&[("signal".to_owned(), signal.id.clone())].into());
                labels.extend(class.map(|class| ("slo_class".to_owned(), class.name.clone())));
                let expr = self.state(signal, &scaled, &value)?;
                self.states.push(Rule { record: Some(STATE.to_owned()), expr, labels, ..Rule::default() });
            }
            self.tests.extend(self.prover.signal(signal, &scaled, class)?);
        }
        Ok(())
    }

    /// 2 where a red band holds, else 1 where an amber one does, else 0; absent where the value is.
    fn state(
        &self,
        signal: &Signal,
        bounds: &BTreeMap<String, Bound>,
        value: &str,
    ) -> Result<String, String> {
        let context = self.prover.context(bounds, &signal.params);
        let dcgm = self.prover.dcgm;
        let pick = |unified: &Option<String>, vendor: &Option<String>| match (dcgm, vendor) {
            (true, Some(text)) => Some(text.clone()),
            _ => unified.clone(),
        };
        let band = |name: &str| bounds.get(name).map(|bound| format!("{value} {bound}"));
        let mut red: Vec<_> = band("low_red").into_iter().collect();
        if let Some(high) = band("red") {
            red.push(match pick(&signal.red_when, &signal.red_when_dcgm) {
                Some(when) => format!("({high} {})", context.expand(&when)?),
                None => high,
            });
        }
        let also = if dcgm { &signal.red_also_dcgm } else { &signal.red_also };
        for text in also {
            if dcgm || self.prover.family.is_none_or(|family| expr::missing_source(text, family).is_none()) {
                red.push(self.prover.wrap(&context.expand(text)?, true)?);
            }
        }
        let amber: Vec<_> = ["low_amber", "amber"].iter().filter_map(|name| band(name)).collect();
        let level = |conditions: Vec<String>, level: u8| {
            (!conditions.is_empty()).then(|| format!("({}) * 0 + {level}", conditions.join(" or ")))
        };
        let mut parts: Vec<_> = level(red, 2).into_iter().chain(level(amber, 1)).collect();
        parts.push(format!("{value} * 0"));
        let state = parts.join("\nor\n");
        Ok(match pick(&signal.gate, &signal.gate_dcgm) {
            Some(gate) => format!("(\n{state}\n)\n{}", context.expand(&gate)?.trim()),
            None => state,
        })
    }

    fn alert(&mut self, alert: &Alert) -> Result<(), String> {
        let template = match (&alert.dcgm, self.prover.dcgm) {
            (Some(text), true) => text,
            _ => &alert.expr,
        };
        let classes: Vec<Option<&SloClass>> = match alert.slo {
            Some(_) => self.prover.catalogue.classes_in_use().map(Some).collect(),
            None => vec![None],
        };
        for class in classes {
            let bounds = scaled(
                &alert.bounds,
                alert.slo.zip(class).map(|(objective, class)| class.seconds(objective)),
            );
            let mut context = self.prover.context(&bounds, &alert.params);
            if let Some(class) = class {
                let models = self.prover.catalogue.models(class);
                let with_model = if models.is_empty() { String::new() } else { models };
                context.words.insert("models".to_owned(), with_model);
            }
            let text = template.replace(
                "{&models}",
                &match context.words.get("models") {
                    Some(models) if !models.is_empty() => format!("{{{models}}}"),
                    _ => String::new(),
                },
            );
            let raw = self.prover.dcgm && alert.dcgm.is_some();
            let expr = self.prover.wrap(&context.expand(&text)?, raw)?;
            let mut labels = self.labels(&alert.labels);
            labels.insert("severity".to_owned(), alert.severity.name().to_owned());
            labels.extend(class.map(|class| ("slo_class".to_owned(), class.name.clone())));
            labels.extend(
                self.prover.catalogue.labels.iter().map(|(name, value)| (name.clone(), literal(value))),
            );
            let annotations = annotations(self.prover.catalogue, alert, &bounds);
            let rule = Rule {
                alert: Some(alert.name.clone()),
                expr,
                hold: (alert.hold.0 > 0).then(|| alert.hold.to_string()),
                labels,
                annotations,
                ..Rule::default()
            };
            let subject = Subject { alert, bounds: &bounds, class, rule: &rule };
            self.tests.extend(self.prover.alert(&subject)?);
            let every = alert.every.or((alert.severity == Severity::Ticket).then_some(SELDOM));
            self.alerts.entry((alert.group.clone(), every)).or_default().push(rule);
        }
        Ok(())
    }

    /// Labels of a rule here: its own, and the family that dcgm-exporter does not tell.
    fn labels(&self, own: &Labels) -> Labels {
        let mut labels = own.clone();
        labels.extend(self.prover.family.map(|family| ("family".to_owned(), family.name().to_owned())));
        labels
    }

    fn prices(&mut self) {
        let prices = self.prover.catalogue.prices.iter().map(|(family, price)| Rule {
            record: Some("accel:price:dollars_per_hour".to_owned()),
            expr: format!("vector({})", decimal(*price)),
            labels: [("family".to_owned(), family.clone())].into(),
            ..Rule::default()
        });
        self.recordings.entry(None).or_default().splice(0..0, prices.collect::<Vec<_>>());
    }

    /// Recordings before states before alerts, so that what is evaluated together sees its own values.
    fn groups(&mut self, place: &Place) -> Vec<Group> {
        let part = match place.family {
            Some(family) if place.file == "edge" => format!("edge-{family}"),
            _ => place.file.to_owned(),
        };
        let catalogue = self.prover.catalogue;
        let mut groups = Vec::new();
        let mut add = |name: String, every: Option<Duration>, mut rules: Vec<Rule>| {
            if !rules.is_empty() {
                for rule in &mut rules {
                    rule.expr = catalogue.windowed(&rule.expr);
                }
                let suffix = every.map(|every| format!("-{every}")).unwrap_or_default();
                let interval = every.map(|every| catalogue.paced(every)).or(catalogue.scrape_interval);
                let interval = interval.map(|interval| interval.to_string());
                groups.push(Group { name: name + &suffix, interval, rules });
            }
        };
        // States in one group with most of what they are made of, so that they are of the same moment.
        self.recordings.entry(Some(SELDOM)).or_default().append(&mut self.states);
        for (every, rules) in std::mem::take(&mut self.recordings).into_iter().rev() {
            add(format!("accelscope-{part}-signals"), every, rules);
        }
        for ((group, every), rules) in std::mem::take(&mut self.alerts) {
            add(format!("{group}-{part}"), every, rules);
        }
        groups
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

/// Two braces in a template of Go.
pub(crate) const LITERAL_BRACES: &str = "{{ \"{{\" }}";

/// A text that Go's templates print as it is.
fn literal(text: &str) -> String {
    text.replace("{{", LITERAL_BRACES)
}

/// Summary, description and links, as templates.
fn annotations(catalogue: &Catalogue, alert: &Alert, bounds: &BTreeMap<String, Bound>) -> Labels {
    let fill = |text: &str| {
        fill(text, |word| match word {
            "value" => alert.unit.template().to_owned(),
            "for" => alert.hold.to_string(),
            "window" => catalogue.rate_window.to_string(),
            _ => match bounds.get(if word == "bound" { "limit" } else { word }) {
                Some(bound) => alert.unit.show(bound.number()),
                None => format!("{{{{ $labels.{word} }}}}"),
            },
        })
    };
    let board = fill(match alert.file.as_deref() {
        Some("slo") => "accelscope-cluster?var-model={model}",
        Some("engine") => "accelscope-engine?var-instance={instance}",
        _ => "accelscope-device?var-instance={instance}",
    });
    [
        ("summary", fill(&alert.summary)),
        ("description", fill(&alert.description)),
        ("runbook_url", format!("{}{}.md", literal(&catalogue.runbook_prefix), alert.name)),
        ("dashboard", format!("{}{board}", literal(&catalogue.dashboard_prefix))),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into()
}

/// Replaces each `{word}`.
pub(crate) fn fill(text: &str, word: impl Fn(&str) -> String) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, tail)) = after.split_once('}') else { break };
        out.push_str(before);
        out.push_str(&word(name));
        rest = tail;
    }
    out + rest
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

impl Prover<'_> {
    /// What texts of this place may refer to.
    pub fn context(
        &self,
        bounds: &BTreeMap<String, Bound>,
        params: &BTreeMap<String, BTreeMap<String, String>>,
    ) -> Context<'_> {
        let mut words = words(self.catalogue, self.family, bounds, params);
        words.extend(self.steady());
        let origin = self.origin();
        let comma = if origin.is_empty() { "" } else { "," };
        words.insert("origin".to_owned(), format!("{comma}{origin}"));
        Context { catalogue: self.catalogue, family: self.family, origin, words }
    }

    /// NVIDIA's recordings come out of two files, which may both be loaded: series of dcgm-exporter keep the label
    /// of its own by which each file knows its recordings.
    fn origin(&self) -> &'static str {
        match (self.family, self.dcgm) {
            (_, true) => "gpu!=\"\"",
            (Some(Family::Nvidia), false) => "gpu=\"\"",
            _ => "",
        }
    }

    /// Signals of this place that do not come and go with the load, and one that tells that the device is there.
    fn steady(&self) -> Vec<(String, String)> {
        let here = |signal: &&Signal| {
            let has = self.family.is_some_and(|family| {
                let text = signal.exprs.get(family.name()).unwrap_or(&signal.expr);
                signal.families.contains(&family) && expr::missing_source(text, family).is_none()
            });
            let banded = BANDS.iter().any(|band| signal.bounds.contains_key(*band));
            has && banded && signal.gate.is_none() && (!self.dcgm || signal.dcgm.is_some())
        };
        let signals: Vec<_> =
            self.catalogue.signals.iter().filter(here).map(|signal| signal.id.clone()).collect();
        let witness = if self.dcgm { "temperature" } else { "device_up" };
        vec![
            ("priced".to_owned(), self.catalogue.prices.keys().next().cloned().unwrap_or_default()),
            (
                "steady".to_owned(),
                signals.iter().filter(|id| *id != witness).cloned().collect::<Vec<_>>().join("|"),
            ),
            ("steady_one".to_owned(), signals.iter().find(|id| *id != witness).cloned().unwrap_or_default()),
            ("witness".to_owned(), witness.to_owned()),
        ]
    }

    /// Gives series of dcgm-exporter the labels of the unified schema, and leaves out devices that are seen in the
    /// unified schema too: one fault, one alert. Also those seen there lately: of an exporter that has just ended, a
    /// window still holds the samples of both.
    pub fn wrap(&self, expr: &str, raw: bool) -> Result<String, String> {
        if !(self.dcgm && raw) {
            return Ok(expr.trim().to_owned());
        }
        let seen =
            self.context(&BTreeMap::new(), &BTreeMap::new()).expand("last_over_time($DEVICE_UP[10m])")?;
        Ok(format!(
            "label_replace(label_replace(\n{},\n\"device\", \"gpu$1\", \"gpu\", \"(.+)\"), \"uuid\", \"$1\", \"UUID\", \"(.+)\")\nunless on (uuid) {seen}",
            expr.trim()
        ))
    }
}
