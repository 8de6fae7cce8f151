//! Expands the catalogue's texts to PromQL: looks names up, fills in families and bounds.

use std::collections::BTreeMap;

use naming::{Family, Id, Metric, Scope};

use crate::{catalogue::Catalogue, model::Renamed, vocabulary::Vocabulary};

/// In which rule file a text is expanded.
pub(crate) struct Context<'a> {
    pub catalogue: &'a Catalogue,
    pub family: Option<Family>,
    /// Matcher of the family's recorded series that come out of the same rule file, where two files have
    /// some.
    pub origin: &'static str,
    /// What `&name` stands for.
    pub words: BTreeMap<String, String>,
    /// Whether fields of dcgm-exporter are read under the names of every generation.
    pub generations: bool,
    /// Whether a value counts for a while after the last scrape that worked, or each failed one would end what has to
    /// hold for a time.
    pub patient: bool,
}

/// The last value that a selector had within that time.
pub(crate) fn patient(selector: &str) -> String {
    format!("last_over_time({selector}[2m])")
}

/// What a `$name` refers to.
pub(crate) enum Name<'a> {
    Unified(&'static Metric),
    Vendor(&'a str),
}

/// Looks a `$name` up: a handle of the naming catalogue, a vendor's name that one of its entries has, or a field of
/// dcgm-exporter that accelscope has no value for.
pub(crate) fn resolve<'a>(name: &'a str, fields: &[String]) -> Result<Name<'a>, String> {
    if let Some(id) = Id::of_handle(name) {
        return match id.metric().name {
            Some(_) => Ok(Name::Unified(id.metric())),
            None => Err(format!("`${name}` has no unified name")),
        };
    }
    if naming::vendor_names().any(|row| row.name == name) || fields.iter().any(|field| field == name) {
        return Ok(Name::Vendor(name));
    }
    Err(format!("`${name}` is no metric of the naming catalogue"))
}

impl Context<'_> {
    /// The same for the names of series, which have labels where selectors have matchers.
    pub fn of_series(&self) -> Self {
        Self { origin: "", words: self.words.clone(), generations: false, patient: false, ..*self }
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
            let in_both = signal.expr.get(Vocabulary::Unified).is_some() || !signal.exprs.is_empty();
            matchers.extend((!self.origin.is_empty() && !dropped && in_both).then(|| self.origin.to_owned()));
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
        // A histogram is read by its buckets.
        let (handle, suffix) = name.strip_suffix("_bucket").map_or((name, ""), |handle| (handle, "_bucket"));
        let selector = match resolve(handle, &self.catalogue.dcgm.fields)? {
            Name::Vendor(name) => match self.catalogue.renamed(name).filter(|_| self.generations) {
                Some(renamed) => return self.either(out, renamed, after),
                None => (name.to_owned(), self.stock(after)),
            },
            Name::Unified(metric) => {
                let has_family =
                    metric.scope == Scope::Device || metric.labels.contains(&naming::Label::Family);
                let matcher = family.filter(|_| has_family).map(|family| format!("family=\"{family}\""));
                (format!("{}{suffix}", metric.name.unwrap_or_default()), matcher.into_iter().collect())
            }
        };
        let start = out.len();
        let rest = self.selector(out, selector, after);
        if self.patient && !rest.starts_with('[') && !rest.starts_with(" offset ") {
            let selector = out.split_off(start);
            out.push_str(&patient(&selector));
        }
        Ok(rest)
    }

    /// Matchers that leave out what accelscope prints under dcgm-exporter's names, so that it costs nothing; none where
    /// the text names the job itself, or is read by people, who know the instance.
    fn stock(&self, after: &str) -> Vec<String> {
        let inside = after
            .strip_prefix('{')
            .and_then(|braces| braces.split_once('}'))
            .map_or("", |(inside, _)| inside);
        if !self.generations || self.family.is_none() || inside.contains("job") {
            return Vec::new();
        }
        vec![format!("job!~\"{}\"", self.catalogue.own_jobs())]
    }

    /// Matchers with their words filled in; words that are not known stay as they are.
    fn filled(&self, matchers: &str) -> String {
        let mut out = String::new();
        let mut rest = matchers;
        while let Some((before, after)) = rest.split_once('&') {
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            out.push_str(before);
            match self.words.get(&after[..end]) {
                Some(word) => out.push_str(word),
                None => out.extend(["&", &after[..end]]),
            }
            rest = &after[end..];
        }
        out + rest
    }

    /// Prints a field of dcgm-exporter under its old or its new name. Over a window, the function around it
    /// is applied to each, since only selectors have windows.
    fn either<'t>(&self, out: &mut String, renamed: &Renamed, after: &'t str) -> Result<&'t str, String> {
        let (mut old, mut new) = (String::new(), String::new());
        let mut rest = self.selector(&mut old, (renamed.old.clone(), self.stock(after)), after);
        self.selector(&mut new, (renamed.new.clone(), self.stock(after)), after);
        if rest.starts_with('[') {
            let (window, tail) = rest.split_once(')').ok_or("a window ends its function")?;
            let name = out.trim_end_matches('(');
            let start = name.rfind(|c: char| !c.is_ascii_lowercase() && c != '_').map_or(0, |at| at + 1);
            let function = out.split_off(start);
            (old, new) = (format!("{function}{old}{window})"), format!("{function}{new}{window})"));
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix(" offset ") {
            let end = tail.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(tail.len());
            let offset = &rest[..rest.len() - tail.len() + end];
            (old, new) = (old + offset, new + offset);
            rest = &tail[end..];
        } else if self.patient {
            (old, new) = (patient(&old), patient(&new));
        }
        if (renamed.factor - 1.0).abs() > f64::EPSILON {
            new = format!("{new} * {}", renamed.factor);
        }
        out.extend(["(", &old, " or ", &new, ")"]);
        Ok(rest)
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
            let inside = self.filled(inside);
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
        let Ok(Name::Unified(metric)) = resolve(name, &[]) else { return None };
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
