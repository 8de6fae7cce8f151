//! `--metrics.include` and `--metrics.exclude`: which of all names are exported, by patterns.

use std::{collections::BTreeSet, iter};

use document::nearest;
use naming::{
    Family, Id, METRICS, Scope,
    catalogue::{WORKLOAD_ENGINE_BUSY, WORKLOAD_INFO, WORKLOAD_MEMORY_USED},
    vendor_names,
};
use reading::Wanted;
use source::UsageError;
use wildmatch::WildMatch;

use super::flags::ChoiceFlags;
use crate::http::body::Vocabularies;

/// Every name that can be left out: unified ones and vendors'. The exporter's own report why others are missing.
fn names() -> BTreeSet<&'static str> {
    let unified =
        METRICS.iter().filter(|metric| metric.scope == Scope::Device).filter_map(|metric| metric.name);
    unified.chain(vendor_names().map(|row| row.name)).collect()
}

/// The names that the patterns leave out.
///
/// # Errors
/// A pattern that no name matches.
pub fn left_out(flags: &ChoiceFlags) -> Result<BTreeSet<&'static str>, UsageError> {
    let names = names();
    let patterns = |flag: &str, patterns: &[String]| {
        let pattern = |text: &String| {
            let pattern = WildMatch::new(text);
            if names.iter().any(|name| pattern.matches(name)) {
                return Ok(pattern);
            }
            if METRICS.iter().filter_map(|metric| metric.name).any(|name| pattern.matches(name)) {
                return Err(UsageError(format!(
                    "--{flag}: {text:?} is a metric of the exporter itself; those are always exported"
                )));
            }
            let near = nearest(text, names.iter().copied(), 2).join(" or ");
            Err(UsageError(format!(
                "--{flag}: no metric is called {text:?}; did you mean {near}? `accelscope fields` lists all, and * \
                 stands for any text"
            )))
        };
        patterns.iter().map(pattern).collect::<Result<Vec<_>, _>>()
    };
    let include = patterns("metrics.include", &flags.include)?;
    let exclude = patterns("metrics.exclude", &flags.exclude)?;
    let any = |patterns: &[WildMatch], name: &str| patterns.iter().any(|pattern| pattern.matches(name));
    let is_chosen = |name: &str| (include.is_empty() || any(&include, name)) && !any(&exclude, name);
    Ok(names.iter().copied().filter(|name| !is_chosen(name)).collect())
}

/// What of each family is exported.
#[derive(Clone, Debug)]
pub struct Chosen {
    families: Vec<(Family, Wanted)>,
    /// Whether anybody asks who holds a device.
    holders: bool,
}

/// What is made of the processes on devices, and of nothing that a device itself reports.
const OF_HOLDERS: [Id; 3] = [WORKLOAD_INFO.id, WORKLOAD_MEMORY_USED.id, WORKLOAD_ENGINE_BUSY.id];

impl Chosen {
    /// Everything of these families.
    pub fn all(families: impl IntoIterator<Item = Family>) -> Self {
        let families = families.into_iter().map(|family| (family, Wanted::default())).collect();
        Self { families, holders: true }
    }

    /// The same, and where nobody asks who holds a device, without what holders are known by.
    #[must_use]
    pub fn with_holders(self, holders: bool) -> Self {
        Self { holders, ..self }
    }

    /// What is exported of one family; everything of one that is not among them.
    pub fn of(&self, family: Family) -> Wanted {
        let found = self.families.iter().find(|(known, _)| *known == family);
        found.map(|(_, wanted)| wanted.clone()).unwrap_or_default()
    }

    /// Chooses what the names are made of.
    pub fn set(&self, vocabularies: &Vocabularies) {
        for (family, wanted) in &self.families {
            let has_use = |id| self.holders || !OF_HOLDERS.contains(&id);
            wanted.set(|id| has_use(id) && is_wanted(id, *family, vocabularies));
        }
    }
}

/// Whether a name that is exported of this family is made of this metric.
fn is_wanted(id: Id, family: Family, vocabularies: &Vocabularies) -> bool {
    let Vocabularies { unified, vendor, filters, left_out, .. } = vocabularies;
    let metric = id.metric();
    if metric.scope == Scope::Exporter || left_out.is_empty() {
        return true;
    }
    let of_vendor = metric.vendor_names().filter(|row| {
        let mut filters = filters.iter().filter(|filter| filter.vocabulary == row.vocabulary);
        let is_kept = filters.next().is_none_or(|filter| filter.get(row.name).is_some());
        *vendor && row.family == family && is_kept
    });
    let unified = metric.name.filter(|_| *unified);
    iter::chain(unified, of_vendor.map(|row| row.name)).any(|name| !left_out.contains(name))
}
