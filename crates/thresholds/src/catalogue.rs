//! The data files, read and resolved once, with the laws that no type can hold.

use std::collections::{BTreeMap, BTreeSet};

use naming::Family;
use serde::Deserialize;

use crate::{
    model::{
        Alert, Bound, Engine, ErrorCode, Level, Limit, Procedure, Reason, Renamed, Severity, Signal,
        SloClass, TokenPrice, XidAction,
    },
    number::Duration,
    overrides::covers,
};

mod files;

pub(crate) use files::{Dcgm, DeviceFiles, alerts, read};

/// Bands in the order from worst-low to worst-high.
pub(crate) const BANDS: [&str; 4] = ["low_red", "low_amber", "amber", "red"];

/// Everything that rules, tests and runbooks are made of.
#[derive(Clone, Debug)]
pub(crate) struct Catalogue {
    pub signals: Vec<Signal>,
    /// How engines' names are spelt.
    pub engines: Vec<Engine>,
    pub alerts: Vec<Alert>,
    pub classes: Vec<SloClass>,
    pub windows: Vec<Window>,
    pub xids: Vec<XidAction>,
    /// Codes of the other families.
    pub events: Vec<ErrorCode>,
    pub procedures: Vec<Procedure>,
    /// What is known of dcgm-exporter's fields.
    pub dcgm: Dcgm,
    /// Families whose rules are wanted.
    pub families: Vec<Family>,
    /// Service levels that alert.
    pub slis: Vec<&'static str>,
    /// Reasons to throttle.
    pub reasons: Vec<Reason>,
    /// Time over which a budget of broken promises is spent.
    pub period: Duration,
    /// Price of one device for an hour, by family.
    pub prices: BTreeMap<String, f64>,
    /// The same by device model, each by its place among the patterns; the first that matches counts.
    pub model_prices: Vec<(usize, f64)>,
    pub token_prices: Vec<TokenPrice>,
    /// The word for the currency in names of recordings.
    pub currency: String,
    /// Patterns of device models that something refers to, as regular expressions.
    pub device_models: Vec<String>,
    /// Rule files and groups of alerts that are not wanted.
    pub left_out: BTreeSet<String>,
    /// The labels of targets that name the node and the tenant.
    pub node_label: String,
    pub tenant_label: String,
    /// Other words for severities.
    pub severities: BTreeMap<&'static str, String>,
    /// Metadata of the Prometheus Operator's objects.
    pub operator: Operator,
    /// Regular expressions of the scrape jobs.
    pub jobs: BTreeMap<String, String>,
    /// Labels that every alert gets.
    pub labels: BTreeMap<String, String>,
    pub runbook_prefix: String,
    pub dashboard_prefix: String,
    /// Also the evaluation interval of the groups, when given.
    pub scrape_interval: Option<Duration>,
    /// What stands for five minutes in rates and look-backs, and is multiplied for ten and fifteen.
    pub rate_window: Duration,
}

/// Metadata of the objects of the Prometheus Operator, beside their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Operator {
    pub namespace: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// The window in which the catalogue's texts think.
pub(crate) const RATE_WINDOW: Duration = Duration(300);

/// The windows of the catalogue's texts that an override moves; longer ones are parts of days and stay.
const WINDOWS: [Duration; 4] = [Duration(120), RATE_WINDOW, Duration(600), Duration(900)];

/// The period of the catalogue's error budgets.
const PERIOD: Duration = Duration(30 * 86_400);

/// The currency of the catalogue's texts.
pub(crate) const DOLLARS: &str = "dollars";

/// The interval in which the catalogue's texts think: what the README recommends.
const ROUND: Duration = Duration(15);

/// One pair of burn-rate windows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Window {
    pub factor: f64,
    pub long: Duration,
    pub short: Duration,
    pub hold: Duration,
    pub severity: Severity,
}

impl Catalogue {
    /// Puts numbers in the place of bounds that refer to signals, and prices and reasons in the place of their marks.
    pub fn resolve(mut self) -> Result<Self, String> {
        let bits: Vec<_> =
            self.fault_bits().iter().map(|bit| self.dcgm.bit.replace("<bit>", &bit.to_string())).collect();
        let named = self.reasons.iter().filter(|reason| reason.fault).filter_map(|reason| {
            let text = self.dcgm.named_bit.trim().replace("<bit>", &reason.bit?.to_string());
            Some(text.replace("<reason>", &reason.name))
        });
        let named = format!("max by (reason) ({})", named.collect::<Vec<_>>().join(" or "));
        for text in
            self.alerts.iter_mut().filter_map(|alert| alert.ask.as_mut()).flat_map(|ask| ask.expr.iter_mut())
        {
            *text = text.replace("<fault_names>", &named);
        }
        self.priced();
        let signals = self.signals.clone();
        for text in self.signals.iter_mut().flat_map(|signal| signal.expr.iter_mut()) {
            *text = text
                .replace("<fault_bits>", &bits.join("\n  + "))
                .replace("<period>", &self.period.to_string());
        }
        for alert in &mut self.alerts {
            for bound in alert.bounds.values_mut() {
                let Limit::Of { signal, bound: of } = &bound.limit else { continue };
                let found =
                    signals.iter().find(|known| known.id == *signal).and_then(|known| known.bounds.get(of));
                let number =
                    found.ok_or_else(|| format!("{}: `{signal}.{of}` is no bound", alert.name))?.number();
                bound.limit = Limit::Number(number);
            }
        }
        Ok(self)
    }

    /// The word for a severity in the label of alerts.
    pub fn severity(&self, severity: Severity) -> &str {
        self.severities.get(severity.name()).map_or(severity.name(), String::as_str)
    }

    /// The place of a pattern of device models.
    pub fn device_model(&mut self, pattern: String) -> usize {
        let known = self.device_models.iter().position(|known| *known == pattern);
        known.unwrap_or_else(|| {
            self.device_models.push(pattern);
            self.device_models.len() - 1
        })
    }

    /// The reasons to throttle that count as a fault of a device of this family.
    pub fn faults(&self, family: Family) -> Vec<&str> {
        let of = self.reasons.iter().filter(|reason| reason.fault && reason.families.contains(&family));
        of.map(|reason| reason.name.as_str()).collect()
    }

    /// Their bits in the mask of dcgm-exporter.
    pub fn fault_bits(&self) -> Vec<u64> {
        self.reasons.iter().filter(|reason| reason.fault).filter_map(|reason| reason.bit).collect()
    }

    /// Makes an alert of each level of an alert.
    pub fn split_levels(&mut self) {
        for alert in std::mem::take(&mut self.alerts) {
            if alert.level.is_empty() {
                self.alerts.push(alert);
                continue;
            }
            for Level { severity, params } in &alert.level {
                let mut part = Alert { severity: *severity, level: Vec::new(), ..alert.clone() };
                part.families.retain(|family| params.contains_key(family.name()));
                for (family, words) in params {
                    part.params.entry(family.clone()).or_default().extend(words.clone());
                }
                self.alerts.push(part);
            }
        }
    }

    /// The regular expression of the jobs that scrape accelscope, inside quotes.
    pub fn own_jobs(&self) -> String {
        self.jobs.get("accelscope").map_or_else(String::new, |pattern| escape(pattern))
    }

    /// Every reason to throttle that has a name.
    pub fn throttle_reasons(&self) -> BTreeSet<String> {
        self.reasons.iter().map(|reason| reason.name.clone()).collect()
    }

    /// Counts these reasons to throttle as faults, and no others; families that have none of them cannot throttle.
    pub fn throttle_by(&mut self, chosen: &[&str]) {
        for reason in &mut self.reasons {
            reason.fault = chosen.contains(&reason.name.as_str());
        }
        let without: Vec<_> =
            Family::ALL.into_iter().filter(|family| self.faults(*family).is_empty()).collect();
        let reads = |text: &String| text.contains("fault_reasons");
        for signal in self.signals.iter_mut().filter(|signal| signal.expr.iter().any(reads)) {
            signal.families.retain(|family| !without.contains(family));
        }
    }

    /// The XIDs of a severity, as a regular expression.
    fn xids_of(&self, severity: Severity) -> String {
        let mut codes: Vec<u16> = self
            .xids
            .iter()
            .filter(|xid| xid.severity == severity)
            .flat_map(|xid| xid.codes.clone())
            .collect();
        codes.sort_unstable();
        codes.iter().map(u16::to_string).collect::<Vec<_>>().join("|")
    }

    /// The XIDs and other codes of a severity, as a regular expression.
    fn codes_of(&self, severity: Severity) -> String {
        let others = self.events.iter().filter(|event| event.severity == Some(severity));
        let xids = Some(self.xids_of(severity)).filter(|xids| !xids.is_empty());
        xids.into_iter().chain(others.map(|event| event.code.clone())).collect::<Vec<_>>().join("|")
    }

    /// The newer name of a field of dcgm-exporter.
    pub fn renamed(&self, name: &str) -> Option<&Renamed> {
        self.dcgm.renamed.iter().find(|renamed| renamed.old == name)
    }

    /// A window of the catalogue as the override file wants it.
    pub fn scaled(&self, window: Duration) -> Duration {
        if !WINDOWS.contains(&window) {
            return window;
        }
        Duration((window.0 * self.rate_window.0 / RATE_WINDOW.0).max(1))
    }

    /// How often something is evaluated that is asked for `every` so often: shorter rounds make it more
    /// frequent, longer ones never rarer than it says, since what it records can be read for five minutes
    /// only.
    pub fn paced(&self, every: Duration) -> Duration {
        let Some(round) = self.scrape_interval else { return every };
        Duration((every.0 * round.0 / ROUND.0).clamp(round.0, every.0.max(round.0)))
    }

    /// An expression with its windows as the override file wants them. Names of recordings stay: what reads
    /// them need not know.
    pub fn windowed(&self, expr: &str) -> String {
        if self.rate_window == RATE_WINDOW {
            return expr.to_owned();
        }
        // In two steps, so that none is found in the result of another.
        let mut out = expr.to_owned();
        for (at, window) in WINDOWS.iter().enumerate() {
            for form in ["[WINDOW]", "offset WINDOW"] {
                out = out.replace(
                    &form.replace("WINDOW", &window.to_string()),
                    &form.replace("WINDOW", &format!("#{at}#")),
                );
            }
        }
        for (at, window) in WINDOWS.iter().enumerate() {
            out = out.replace(&format!("#{at}#"), &self.scaled(*window).to_string());
        }
        out
    }

    pub fn signal(&self, id: &str) -> Option<&Signal> {
        self.signals.iter().find(|signal| signal.id == id)
    }

    /// The regular expression of the models of a class: a matcher, or nothing when all are meant.
    pub fn models(&self, class: &SloClass) -> String {
        let quoted = |models: Vec<&String>| {
            models.into_iter().map(|model| escape(&glob(model))).collect::<Vec<_>>().join("|")
        };
        if class.name != SloClass::DEFAULT {
            return format!("model=~\"{}\"", quoted(class.models.iter().collect()));
        }
        let others: Vec<_> = self.classes.iter().flat_map(|other| &other.models).collect();
        if others.is_empty() { String::new() } else { format!("model!~\"{}\"", quoted(others)) }
    }

    /// A model of a class, for examples; without a class, one that no class names.
    pub fn example_model(&self, class: Option<&SloClass>) -> String {
        if let Some(model) = class.and_then(|class| class.models.first()) {
            return model.replace('*', "x");
        }
        let taken =
            |name: &str| self.classes.iter().any(|class| class.models.iter().any(|m| covers(m, name)));
        let mut name = "m".to_owned();
        while taken(&name) {
            name.push('m');
        }
        name
    }

    /// Classes that serve some model.
    pub fn classes_in_use(&self) -> impl Iterator<Item = &SloClass> {
        self.classes.iter().filter(|class| class.name == SloClass::DEFAULT || !class.models.is_empty())
    }
}

/// Words for `&name` that every text of a family can use.
pub(crate) fn words(
    catalogue: &Catalogue,
    family: Option<Family>,
    bounds: &BTreeMap<String, Bound>,
    params: &BTreeMap<String, BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let mut words: BTreeMap<_, _> =
        bounds.iter().map(|(name, bound)| (name.clone(), bound.to_string())).collect();
    for severity in Severity::ALL {
        words.insert(format!("xid_{}", severity.name()), catalogue.xids_of(severity));
        words.insert(format!("code_{}", severity.name()), catalogue.codes_of(severity));
    }
    words.insert("window_seconds".to_owned(), catalogue.rate_window.0.to_string());
    words.extend(catalogue.jobs.iter().map(|(job, pattern)| (format!("{job}_job"), escape(pattern))));
    if let Some(family) = family {
        words.insert("family".to_owned(), family.name().to_owned());
        let faults = catalogue.faults(family);
        words.insert("fault_reason".to_owned(), faults.first().copied().unwrap_or_default().to_owned());
        words.insert("fault_reasons".to_owned(), faults.join("|"));
        let bits: Vec<_> = catalogue.fault_bits().iter().map(u64::to_string).collect();
        words.insert("fault_weights".to_owned(), bits.join("|"));
        // A text of a family may name the codes of a severity.
        let codes = |text: &String| {
            let names = ["xid", "code"]
                .into_iter()
                .flat_map(|name| Severity::ALL.map(|severity| format!("{name}_{}", severity.name())));
            names.fold(text.clone(), |text, word| text.replace(&format!("&{word}"), &words[&word]))
        };
        let own: Vec<_> =
            params.get(family.name()).into_iter().flatten().map(|(k, v)| (k.clone(), codes(v))).collect();
        words.extend(own);
    }
    words
}

/// A text inside double quotes of PromQL. Signs that texts of the catalogue are built with are spelt by their
/// code, so that a model's name is never taken for a reference.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' | '"' => out.extend(['\\', c]),
            '{' | '}' | '@' | '$' | '&' | '<' | '>' | ',' => {
                out += format!("\\x{:02x}", u32::from(c)).as_str();
            }
            c if c.is_control() => out += format!("\\u{:04x}", u32::from(c)).as_str(),
            c => out.push(c),
        }
    }
    out
}

/// A name in which `*` stands for any text, as a regular expression.
pub(crate) fn glob(text: &str) -> String {
    text.split('*').map(regex_escape).collect::<Vec<_>>().join(".*")
}

/// A text that a regular expression takes literally.
fn regex_escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
