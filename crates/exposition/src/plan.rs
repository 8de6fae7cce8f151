//! Which families exist, in which order, and which readings input each: the catalogue indexed by name.
//!
//! One quantity can have several names and one vendor name can come from several quantities, while a name may
//! be announced only once. The grouping is therefore computed once, and an encoder only iterates over it.

use std::{borrow::Cow, sync::LazyLock};

use naming::{Id, Metric, MetricKind, Scope, VendorFilter, VendorName, Vocabulary};

use crate::encode::Options;

/// All samples of one name.
#[derive(Debug)]
pub(crate) struct Family {
    pub name: &'static str,
    /// The vocabulary of the name; `None` for the unified schema.
    pub vocabulary: Option<Vocabulary>,
    /// Whether it is one of the exporter's own metrics. No choice of names leaves these out, because they
    /// report why other series are missing.
    own: bool,
    kind: MetricKind,
    /// The base unit with which the name ends, or an empty string.
    unit: &'static str,
    help: Cow<'static, str>,
    pub inputs: Vec<Input>,
}

/// A catalogue entry whose readings belong to a family, all of them or those of a vendor's row.
#[derive(Debug)]
pub(crate) struct Input {
    pub id: Id,
    pub row: Option<&'static VendorName>,
}

/// What is announced before a family's samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heading<'a> {
    pub name: &'static str,
    pub kind: MetricKind,
    /// The base unit with which the name ends, or an empty string.
    pub unit: &'static str,
    pub help: &'a str,
}

impl Family {
    /// The heading under `options`; `None` when they leave the family out.
    pub fn heading<'a>(&'a self, options: &Options<'a>) -> Option<Heading<'a>> {
        if !self.own && options.left_out.contains(self.name) {
            return None;
        }
        let own = Heading { name: self.name, kind: self.kind, unit: self.unit, help: &self.help };
        let Some(vocabulary) = self.vocabulary else {
            return (options.unified || self.own).then_some(own);
        };
        if !options.vendor {
            return None;
        }
        let of_vocabulary = |filter: &&VendorFilter| filter.vocabulary == vocabulary;
        let Some(filter) = options.filters.iter().find(of_vocabulary) else { return Some(own) };
        filter.get(self.name).map(|entry| Heading { kind: entry.kind, help: &entry.help, ..own })
    }
}

/// Every family of the catalogue.
pub(crate) static FAMILIES: LazyLock<Vec<Family>> =
    LazyLock::new(|| grouped(Id::all().map(|id| (id, id.metric(), id.metric().vendor_names().collect()))));

/// A unified family is at the position of its entry, followed by the entry's vendor names. A name that
/// several rows input is at the position of the first.
pub(crate) fn grouped(
    entries: impl IntoIterator<Item = (Id, &'static Metric, Vec<&'static VendorName>)>,
) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    for (id, metric, rows) in entries {
        if let Some(name) = metric.name {
            let unit = metric.unit.suffix();
            let named = name.strip_suffix("_total").unwrap_or(name).strip_suffix(unit);
            families.push(Family {
                name,
                vocabulary: None,
                own: metric.scope == Scope::Exporter,
                kind: metric.kind,
                unit: if named.is_some_and(|stem| stem.ends_with('_')) { unit } else { "" },
                help: metric.help_text().into(),
                inputs: vec![Input { id, row: None }],
            });
        }
        for row in rows {
            let input = Input { id, row: Some(row) };
            match families.iter_mut().find(|family| family.name == row.name) {
                Some(family) => family.inputs.push(input),
                None => families.push(Family {
                    name: row.name,
                    vocabulary: Some(row.vocabulary),
                    own: false,
                    kind: row.kind,
                    unit: "",
                    help: row.help.into(),
                    inputs: vec![input],
                }),
            }
        }
    }
    families
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn rows_of_one_name_agree() {
        for family in FAMILIES.iter() {
            for row in family.inputs.iter().filter_map(|input| input.row) {
                assert_eq!(
                    (Some(row.vocabulary), row.kind, row.help),
                    (family.vocabulary, family.kind, &*family.help),
                    "{}",
                    family.name
                );
            }
        }
    }

    #[test]
    fn two_rows_of_one_name_never_take_the_same_reading() {
        for family in FAMILIES.iter() {
            for (i, a) in family.inputs.iter().enumerate() {
                for b in &family.inputs[..i] {
                    let (Some(x), Some(y)) = (a.row, b.row) else {
                        panic!("{}: a unified name twice", family.name)
                    };
                    let apart = a.id != b.id
                        || x.family != y.family
                        || x.when.iter().any(|(name, v)| y.when.iter().any(|(n, w)| n == name && v != w));
                    assert!(apart, "{}: two rows for the same reading", family.name);
                }
            }
        }
    }

    #[test]
    fn no_name_is_claimed_twice_in_openmetrics() {
        // OpenMetrics identifies a counter or info family by its stem, so `x` beside `x_total` would be one
        // family with two types.
        let stem = |family: &Family| match family.kind {
            MetricKind::Counter => family.name.strip_suffix("_total").unwrap_or(family.name),
            MetricKind::Info => family.name.strip_suffix("_info").unwrap_or(family.name),
            _ => family.name,
        };
        let mut stems = HashSet::new();
        for family in FAMILIES.iter() {
            assert!(stems.insert(stem(family)), "{}", family.name);
        }
    }
}
