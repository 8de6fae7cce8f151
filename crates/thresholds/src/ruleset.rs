//! Rule sets: the rules of one file that read the metrics of one family in one vocabulary, or of engines or
//! exporters.

use std::collections::BTreeMap;

use naming::{Family, Id};

use crate::{
    Level, Names,
    catalogue::{BANDS, Catalogue, words},
    engines,
    expr::{self, Context},
    model::{Alert, Bound, Signal},
    output::Labels,
    vocabulary::Vocabulary,
};

/// A rule set, and the catalogue that it is made from.
#[derive(Clone, Copy)]
pub(crate) struct RuleSet<'c> {
    pub catalogue: &'c Catalogue,
    /// Name of the rule file; several sets may share one.
    pub file: &'static str,
    pub family: Option<Family>,
    pub vocabulary: Vocabulary,
}

/// The rule sets beside the one of each family's own file.
const FURTHER: [(&str, Option<Family>, Vocabulary); 10] = [
    ("nvidia-dcgm", Some(Family::Nvidia), Vocabulary::Dcgm),
    ("edge", Some(Family::Xpu), Vocabulary::Unified),
    ("engine", None, Vocabulary::Unified),
    ("slo", None, Vocabulary::Unified),
    ("efficiency", None, Vocabulary::Unified),
    ("cost", None, Vocabulary::Unified),
    ("exporter", None, Vocabulary::Unified),
    ("prometheus", None, Vocabulary::Unified),
    ("fleet", None, Vocabulary::Unified),
    ("backends", None, Vocabulary::Unified),
];

/// The rule files that are evaluated over many sites; the others belong to one.
const GLOBAL: [&str; 2] = ["fleet", "backends"];

/// Names of all rule files, in their order; `edge` is there for each of its families.
pub(crate) fn files() -> impl Iterator<Item = &'static str> {
    Family::ALL.into_iter().map(Family::rule_file).chain(FURTHER.iter().map(|(file, ..)| *file))
}

/// Where a rule file is evaluated.
pub(crate) fn level(file: &str) -> Level {
    if GLOBAL.contains(&file) { Level::Global } else { Level::Site }
}

/// Every rule set for these names.
pub(crate) fn all(catalogue: &Catalogue, names: Names) -> impl Iterator<Item = RuleSet<'_>> {
    let own = Family::ALL.map(|family| (family.rule_file(), Some(family), Vocabulary::Unified));
    own.into_iter()
        .chain(FURTHER)
        .map(|(file, family, vocabulary)| RuleSet { catalogue, file, family, vocabulary })
        .filter(move |set| match names {
            Names::Both => true,
            Names::Unified => !set.is_dcgm(),
            Names::Vendor => set.is_dcgm() || set.family.is_none(),
        })
        .filter(|set| set.family.is_none_or(|family| catalogue.families.contains(&family)))
        .filter(|set| !catalogue.left_out.contains(set.file))
}

impl<'c> RuleSet<'c> {
    /// Whether it reads the names of dcgm-exporter.
    pub fn is_dcgm(&self) -> bool {
        self.vocabulary == Vocabulary::Dcgm
    }

    /// The part of group names that is unique to this set.
    pub fn part(&self) -> String {
        match self.family {
            Some(family) if self.file == "edge" => format!("edge-{family}"),
            _ => self.file.to_owned(),
        }
    }

    /// Whether a signal or alert of these families, declared for this file, belongs here.
    fn has(&self, families: &[Family], file: Option<&str>) -> bool {
        let Some(family) = self.family else { return file == Some(self.file) };
        let own = if self.is_dcgm() { family.rule_file() } else { self.file };
        families.contains(&family) && file.unwrap_or(family.rule_file()) == own
    }

    /// The signals of this set, each with the text of its value.
    pub fn signals(&self) -> impl Iterator<Item = (&'c Signal, String)> {
        let here = |signal: &&Signal| self.has(&signal.families, signal.file.as_deref());
        self.catalogue
            .signals
            .iter()
            .filter(here)
            .filter(|signal| self.catalogue.is_paid_for(signal))
            .filter_map(|signal| self.value(signal).map(|text| (signal, text)))
    }

    /// The alerts of this set whose inputs all exist here.
    pub fn alerts(&self) -> impl Iterator<Item = &'c Alert> {
        let here = |alert: &&Alert| {
            let wanted = !alert.off && !self.catalogue.left_out.contains(&alert.group);
            wanted && self.has(&alert.families, alert.file.as_deref()) && self.can_raise(alert)
        };
        self.catalogue.alerts.iter().filter(here)
    }

    /// The text of a signal's value; none when this family or vocabulary lacks a metric that it reads.
    fn value(&self, signal: &Signal) -> Option<String> {
        if let Some(engines) = &signal.engines {
            return Some(engines::expression(&self.catalogue.engines, engines));
        }
        let text = signal.expr.get(self.vocabulary);
        let Some(family) = self.family.filter(|_| !self.is_dcgm()) else { return text.cloned() };
        let text = signal.exprs.get(family.name()).or(text)?;
        expr::missing_source(text, family).is_none().then(|| text.clone())
    }

    /// The text of an alert's condition.
    pub fn condition(&self, alert: &'c Alert) -> Option<&'c str> {
        if let (Vocabulary::Unified, Some(family)) = (self.vocabulary, self.family)
            && let Some(text) = alert.exprs.get(family.name())
        {
            return Some(text);
        }
        let text = if alert.recorded_only {
            alert.expr.or_unified(self.vocabulary)
        } else {
            alert.expr.get(self.vocabulary)
        };
        text.map(String::as_str)
    }

    /// Whether every input of an alert exists in this set.
    fn can_raise(&self, alert: &'c Alert) -> bool {
        let Some(text) = self.condition(alert) else { return false };
        let Some(family) = self.family else { return true };
        let recorded = expr::references(text).all(|id| {
            self.catalogue.signal(id).is_none_or(|signal| {
                let here = signal.families.contains(&family) && self.value(signal).is_some();
                signal.families.is_empty() || here
            })
        });
        recorded && (self.is_dcgm() || expr::missing_source(text, family).is_none())
    }

    /// Labels of a rule of this set: its own, and the family, which dcgm-exporter does not print.
    pub fn labels(&self, own: &Labels) -> Labels {
        let mut labels = own.clone();
        labels.extend(self.family.map(|family| ("family".to_owned(), family.name().to_owned())));
        labels
    }

    /// What texts of this set may refer to.
    pub fn context(
        &self,
        bounds: &BTreeMap<String, Bound>,
        params: &BTreeMap<String, BTreeMap<String, String>>,
    ) -> Context<'c> {
        let mut words = words(self.catalogue, self.family, bounds, params);
        words.extend(self.steady());
        words.extend(self.device_models());
        let origin = self.origin();
        let comma = if origin.is_empty() { "" } else { "," };
        words.insert("origin".to_owned(), format!("{comma}{origin}"));
        Context {
            catalogue: self.catalogue,
            family: self.family,
            origin,
            words,
            generations: true,
            patient: false,
        }
    }

    /// Devices of each model that something refers to, by the labels of their series.
    fn device_models(&self) -> Vec<(String, String)> {
        let family = self.family.map(|family| format!("family=\"{family}\",")).unwrap_or_default();
        let info = Id::of_handle("DEVICE_INFO").and_then(|id| id.metric().name).unwrap_or_default();
        let devices = |pattern: &String| match self.vocabulary {
            Vocabulary::Unified => {
                format!("group by (cluster, instance, device) ({info}{{{family}model=~\"{pattern}\"}})")
            }
            Vocabulary::Dcgm => {
                let name = self.catalogue.dcgm.witness.as_str();
                let newer = self.catalogue.renamed(name).map_or(name, |renamed| &renamed.new);
                let of = |name: &str| format!("{name}{{modelName=~\"{pattern}\"}}");
                format!(
                    "group by (cluster, instance, device) (label_replace({} or {}, \"device\", \"gpu$1\", \"gpu\", \"([0-9]+)\"))",
                    of(name),
                    of(newer)
                )
            }
        };
        let all = self.catalogue.device_models.iter().enumerate();
        all.map(|(place, pattern)| (format!("device_model_{place}"), devices(pattern))).collect()
    }

    /// NVIDIA's recordings come from two files, which may both be loaded: series of dcgm-exporter keep their
    /// label `gpu`, by which each file selects its own recordings.
    fn origin(&self) -> &'static str {
        match (self.family, self.vocabulary) {
            (_, Vocabulary::Dcgm) => "gpu!=\"\"",
            (Some(Family::Nvidia), Vocabulary::Unified) => "gpu=\"\"",
            _ => "",
        }
    }

    /// Signals of this set that do not come and go with the load, and one that shows that the device is
    /// there.
    fn steady(&self) -> Vec<(String, String)> {
        let here = |signal: &&Signal| {
            let banded = BANDS.iter().any(|band| signal.bounds.contains_key(*band));
            let has = self.family.is_some_and(|family| signal.families.contains(&family));
            let unified = Self { vocabulary: Vocabulary::Unified, ..*self };
            let written = !self.is_dcgm() || signal.expr.get(self.vocabulary).is_some();
            has && banded && signal.gate.iter().next().is_none() && written && unified.value(signal).is_some()
        };
        let signals: Vec<_> =
            self.catalogue.signals.iter().filter(here).map(|signal| signal.id.clone()).collect();
        let witness = if self.is_dcgm() { "temperature" } else { "device_up" };
        let steady: Vec<_> = signals.into_iter().filter(|id| id != witness).collect();
        let explaining = self.catalogue.signals.iter().filter(|signal| signal.explains);
        let explaining: Vec<_> = explaining.map(|signal| signal.id.as_str()).collect();
        vec![
            ("explaining".to_owned(), explaining.join("|")),
            ("priced".to_owned(), self.catalogue.prices.keys().next().cloned().unwrap_or_default()),
            ("steady".to_owned(), steady.join("|")),
            ("steady_one".to_owned(), steady.first().cloned().unwrap_or_default()),
            ("witness".to_owned(), witness.to_owned()),
        ]
    }

    /// Gives series of dcgm-exporter the labels of the unified schema, and leaves out devices that the
    /// unified schema shows too: one fault, one alert. After an exporter that prints both vocabularies ends,
    /// a window still holds the samples of both; another exporter on the node takes over at once.
    pub fn normalized(&self, expr: &str) -> Result<String, String> {
        if !self.is_dcgm() {
            return Ok(expr.trim().to_owned());
        }
        let context = self.context(&BTreeMap::new(), &BTreeMap::new());
        let seen = context.expand("last_over_time($DEVICE_UP[2m])")?;
        let of_same_exporter = context.expand("last_over_time($DEVICE_UP[10m])")?;
        Ok(format!(
            "label_replace(label_replace(\n{},\n\"device\", \"gpu$1\", \"gpu\", \"([0-9]+)\"), \"uuid\", \"$1\", \"UUID\", \"(.+)\")\nunless on (uuid) {seen}\nunless on (uuid, instance) {of_same_exporter}",
            expr.trim()
        ))
    }
}
