//! Expands the catalogue's texts to PromQL: looks names up, fills in families and bounds.

use std::collections::BTreeMap;

use naming::{Family, Id, Metric, Scope, VendorName};

use crate::{
    catalogue::Catalogue,
    model::{EngineKind, EngineSource, Engines},
    vocabulary::Vocabulary,
};

/// Labels that identify an engine's series; labels that some versions add are aggregated away.
pub(crate) const ENGINE_LABELS: &str = "cluster, namespace, node, pod, job, instance, model";

/// In which rule file a text is expanded.
pub(crate) struct Context<'a> {
    pub catalogue: &'a Catalogue,
    pub family: Option<Family>,
    /// Matcher of the family's recorded series that come out of the same rule file, where two files have
    /// some.
    pub origin: &'static str,
    /// What `&name` stands for.
    pub words: BTreeMap<String, String>,
}

/// What a `$name` refers to.
pub(crate) enum Name {
    Unified(&'static Metric),
    Vendor(&'static VendorName),
}

/// Looks a `$name` up: a handle of the naming catalogue, or a vendor's name that one of its entries has.
pub(crate) fn resolve(name: &str) -> Result<Name, String> {
    if let Some(id) = Id::of_handle(name) {
        return match id.metric().name {
            Some(_) => Ok(Name::Unified(id.metric())),
            None => Err(format!("`${name}` has no unified name")),
        };
    }
    let vendor = naming::vendor_names().find(|row| row.name == name);
    vendor.map(Name::Vendor).ok_or_else(|| format!("`${name}` is no metric of the naming catalogue"))
}

impl Context<'_> {
    /// The same for the names of series, which have labels where selectors have matchers.
    pub fn of_series(&self) -> Self {
        Self { origin: "", words: self.words.clone(), ..*self }
    }

    /// Expands every reference of `text`.
    pub fn expand(&self, text: &str) -> Result<String, String> {
        let mut out = String::with_capacity(text.len() * 2);
        let mut rest = text;
        while let Some(at) = rest.find(['$', '@', '&']) {
            let (before, sigil) = rest.split_at(at);
            out.push_str(before);
            let tail = &sigil[1..];
            let end = tail.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(tail.len());
            let (name, after) = tail.split_at(end);
            // A number is a group of label_replace: "$1".
            if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
                out.push_str(&sigil[..=end]);
                rest = after;
                continue;
            }
            rest = match &sigil[..1] {
                "&" => {
                    let word = self.words.get(name).ok_or_else(|| format!("`&{name}` stands for nothing"))?;
                    out.push_str(word);
                    after
                }
                "@" => self.selector(&mut out, self.recorded(name)?, after),
                _ => self.metric(&mut out, name, after)?,
            };
        }
        Ok(out + rest)
    }

    /// Name and matchers of a signal's recorded series.
    fn recorded(&self, id: &str) -> Result<(String, Vec<String>), String> {
        let signal = self.catalogue.signal(id).ok_or_else(|| format!("`@{id}` is no signal"))?;
        let record = signal.record.clone().ok_or_else(|| format!("`@{id}` is not recorded"))?;
        let mut matchers: Vec<_> =
            signal.labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        if let (false, Some(family)) = (signal.families.is_empty(), self.family) {
            matchers.push(format!("family=\"{family}\""));
            // A recording that aggregates the label away is one for both files.
            let dropped = signal
                .test
                .drop
                .get(Vocabulary::Dcgm)
                .is_some_and(|drop| drop.iter().any(|label| label == "gpu"));
            matchers.extend((!self.origin.is_empty() && !dropped).then(|| self.origin.to_owned()));
        }
        Ok((record, matchers))
    }

    fn metric<'t>(&self, out: &mut String, name: &str, after: &'t str) -> Result<&'t str, String> {
        // `$NAME:npu` names another family's series.
        let other = Family::ALL.into_iter().find_map(|family| {
            let rest = after.strip_prefix(':')?.strip_prefix(family.name())?;
            Some((family, rest))
        });
        let (family, after) = other.map_or((self.family, after), |(family, rest)| (Some(family), rest));
        let selector = match resolve(name)? {
            Name::Vendor(vendor) => (vendor.name.to_owned(), Vec::new()),
            Name::Unified(metric) => {
                let has_family =
                    metric.scope == Scope::Device || metric.labels.contains(&naming::Label::Family);
                let matcher = family.filter(|_| has_family).map(|family| format!("family=\"{family}\""));
                (metric.name.unwrap_or_default().to_owned(), matcher.into_iter().collect())
            }
        };
        Ok(self.selector(out, selector, after))
    }

    /// Prints a selector, with the matchers that follow it in the text merged in.
    fn selector<'t>(
        &self,
        out: &mut String,
        (name, mut matchers): (String, Vec<String>),
        after: &'t str,
    ) -> &'t str {
        let mut rest = after;
        if let Some(braces) = after.strip_prefix('{')
            && let Some((inside, tail)) = braces.split_once('}')
        {
            let mut inside = inside.to_owned();
            for (word, text) in &self.words {
                inside = inside.replace(&format!("&{word}\""), &format!("{text}\""));
            }
            if !inside.is_empty() {
                matchers.push(inside);
            }
            rest = tail;
        }
        out.push_str(&name);
        if !matchers.is_empty() {
            out.extend(["{", &matchers.join(","), "}"]);
        }
        rest
    }
}

/// Whether every unified metric in `text` is read from some source of `family`.
///
/// A family gets a signal as soon as the naming catalogue names a source for each metric in it.
pub(crate) fn missing_source(text: &str, family: Family) -> Option<&'static str> {
    names(text).find_map(|(name, explicit)| {
        let Ok(Name::Unified(metric)) = resolve(name) else { return None };
        if metric.scope != Scope::Device || explicit {
            return None;
        }
        // A counter that the exporter integrates has the sources of its ratio.
        let origin = naming::METRICS
            .iter()
            .find(|origin| origin.integral.is_some_and(|id| id.metric().name == metric.name))
            .unwrap_or(metric);
        let known = origin.source(family).is_some() || origin.sources().next().is_none();
        (!known).then_some(origin.name.unwrap_or_default())
    })
}

/// Every `$name` in a text, and whether it names its own family.
pub(crate) fn names(text: &str) -> impl Iterator<Item = (&str, bool)> {
    text.split('$').skip(1).filter_map(|tail| {
        let end = tail.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(tail.len());
        let starts = tail.starts_with(|c: char| c.is_ascii_uppercase());
        starts.then(|| (&tail[..end], tail[end..].starts_with(':')))
    })
}

/// Every `@signal` in a text.
pub(crate) fn references(text: &str) -> impl Iterator<Item = &str> {
    text.split('@').skip(1).map(|tail| {
        let end = tail.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(tail.len());
        &tail[..end]
    })
}

/// The version-tolerant expression of an engine signal.
pub(crate) fn engines(engines: &Engines) -> String {
    let labels =
        engines.keep.as_ref().map_or(ENGINE_LABELS.to_owned(), |keep| format!("{ENGINE_LABELS}, {keep}"));
    let joined = |milliseconds: bool| {
        let sources: Vec<_> = engines
            .sources
            .iter()
            .filter(|source| source.milliseconds == milliseconds)
            .map(|source| reading(source, engines))
            .collect();
        (!sources.is_empty()).then(|| sources.join("\n    or "))
    };
    let aggregated = |by: &str, inner: &str| {
        format!(
            "{} by ({by}) (label_replace(\n    {inner},\n  \"model\", \"$1\", \"model_name\", \"(.+)\"))",
            engines.aggregate
        )
    };
    if engines.kind != EngineKind::Histogram {
        return aggregated(&labels, &joined(false).unwrap_or_default());
    }
    let quantile =
        |inner: &str| format!("histogram_quantile(0.95, {})", aggregated(&format!("{labels}, le"), inner));
    let seconds = joined(false).map(|inner| quantile(&inner));
    let milliseconds = joined(true).map(|inner| format!("{} / 1000", quantile(&inner)));
    // Without requests the quantile is NaN: no value, not a bad one.
    let both: Vec<_> = seconds.into_iter().chain(milliseconds).collect();
    format!("(\n  {}\n) >= 0", both.join("\nor\n  "))
}

fn reading(source: &EngineSource, engines: &Engines) -> String {
    let select = if source.select.is_empty() { String::new() } else { format!("{{{}}}", source.select) };
    let value = match engines.kind {
        EngineKind::Gauge => format!("{}{select}", source.metric),
        EngineKind::Rate => format!("rate({}{select}[5m])", source.metric),
        EngineKind::Histogram => format!("rate({}_bucket{select}[5m])", source.metric),
    };
    let Some(keep) = &engines.keep else { return value };
    match (&source.rename, &source.set) {
        (Some(label), _) => format!("label_replace({value}, \"{keep}\", \"$1\", \"{label}\", \"(.+)\")"),
        // Series of the engine that differ in a label of this name are summed here.
        (None, Some(fixed)) => {
            format!("label_replace(sum without ({keep}) ({value}), \"{keep}\", \"{fixed}\", \"\", \"\")")
        }
        (None, None) => value,
    }
}
