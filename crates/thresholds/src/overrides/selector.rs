//! Which series of a signal or alert an override means: the labels of one entry of `where`.

use naming::Family;

use document::{DocumentError, Node, Value};

use super::{covers, pattern, texts, unknown};
use crate::{
    catalogue::{Catalogue, escape, glob},
    model::Selector,
};

/// Labels of the series of engines.
pub(super) const OF_ENGINES: &[&str] =
    &["cluster", "namespace", "tenant", "node", "pod", "job", "instance", "model"];

/// Labels of series of whole targets.
pub(super) const OF_TARGETS: &[&str] = &["cluster", "node", "job", "instance"];

/// Labels of the series of devices, and what is known of a device beside them.
pub(super) const OF_DEVICES: &[&str] =
    &["cluster", "node", "job", "instance", "device", "uuid", "device_model", "family"];

/// An entry of `where`: what it selects, the same in words, and its other keys.
pub(super) type Entry<'n> = (Selector, String, Vec<(&'n str, &'n Node, &'n Node)>);

/// The entries of `where`.
pub(super) fn entries<'n>(
    catalogue: &mut Catalogue,
    place: &str,
    node: &'n Node,
    known: &[&str],
    is_setting: impl Fn(&str) -> bool,
    families: &[Family],
) -> Result<Vec<Entry<'n>>, DocumentError> {
    let Value::List(items) = &node.value else { return node.error(format!("{place} is a list of tables")) };
    let mut entries = Vec::new();
    let mut before: Vec<Vec<(&str, Vec<&str>)>> = Vec::new();
    for item in items {
        let (mut selector, mut words, mut rest) = (Selector::default(), Vec::new(), Vec::new());
        for (name, key, value) in item.table(place)? {
            if is_setting(name) {
                rest.push((name, key, value));
                continue;
            }
            if !known.contains(&name) {
                return unknown(key, name, place, known.iter().copied());
            }
            let mut all = Vec::new();
            for (item, text) in texts(value, name)? {
                all.push(pattern(item, text)?);
            }
            let regex = all.iter().map(|text| escape(&glob(text))).collect::<Vec<_>>().join("|");
            match name {
                "family" => selector.families = of_family(value, &all, families)?,
                "device_model" => selector.device_model = Some(catalogue.device_model(regex)),
                _ => selector.labels.push((name.to_owned(), regex)),
            }
            words.push((name, all));
        }
        if words.is_empty() {
            return item.error(format!("{place} names no label; one of {}", known.join(", ")));
        }
        // The first that matches counts.
        let reached_by = |earlier: &Vec<(&str, Vec<&str>)>| {
            earlier.iter().all(|(name, patterns)| {
                let own = words.iter().find(|(own, _)| own == name);
                own.is_some_and(|(_, own)| own.iter().all(|own| patterns.iter().any(|p| covers(p, own))))
            })
        };
        if let Some(at) = before.iter().position(reached_by) {
            return item.error(format!(
                "entry {} of {place} takes all that this one would match; put it after",
                at + 1
            ));
        }
        let chosen: Vec<_> = words.iter().map(|(name, all)| format!("{name}={}", all.join("|"))).collect();
        before.push(words);
        entries.push((selector, chosen.join(","), rest));
    }
    Ok(entries)
}

fn of_family(node: &Node, names: &[&str], families: &[Family]) -> Result<Vec<Family>, DocumentError> {
    let matching = |family: &&Family| names.iter().any(|name| covers(name, family.name()));
    let found: Vec<Family> = families.iter().filter(matching).copied().collect();
    if found.is_empty() {
        return unknown(
            node,
            names.first().unwrap_or(&""),
            "its families",
            families.iter().map(|f| f.name()),
        );
    }
    Ok(found)
}
