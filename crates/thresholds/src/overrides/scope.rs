//! What rules are about: scrape jobs, spellings, families, parts to leave out, labels of targets, and the objects of
//! the Prometheus Operator.

use naming::Family;

use document::{DocumentError, Node};

use super::{RESERVED, label_name, pattern, texts, unknown};
use crate::{
    catalogue::{Catalogue, glob},
    model::Severity,
    ruleset,
};

pub(super) fn jobs(catalogue: &mut Catalogue, node: &Node) -> Result<(), DocumentError> {
    for (name, key, value) in node.table("jobs")? {
        if !catalogue.jobs.contains_key(name) {
            return unknown(key, name, "jobs", catalogue.jobs.keys().map(String::as_str));
        }
        let mut patterns = Vec::new();
        for (item, text) in texts(value, name)? {
            patterns.push(glob(pattern(item, text)?));
        }
        if patterns.is_empty() {
            return value.error(format!("jobs.{name} names no job"));
        }
        catalogue.jobs.insert(name.to_owned(), patterns.join("|"));
    }
    Ok(())
}

/// Further prefixes of engines' names, as a re-exporter writes them.
pub(super) fn engines(catalogue: &mut Catalogue, node: &Node) -> Result<(), DocumentError> {
    for (name, key, value) in node.table("engines")? {
        let Some(at) = catalogue.engines.iter().position(|engine| engine.name == name) else {
            return unknown(
                key,
                name,
                "engines",
                catalogue.engines.iter().map(|engine| engine.name.as_str()),
            );
        };
        for (item, prefix) in texts(value, name)? {
            let letters = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
            if !prefix.starts_with(|c: char| c.is_ascii_alphabetic()) || !prefix.chars().all(letters) {
                return item
                    .error(format!("`{prefix}` begins no name of a metric: letters, digits, _ and :"));
            }
            let engine = &mut catalogue.engines[at];
            if prefix != engine.prefix && !engine.spellings.iter().any(|known| known == prefix) {
                engine.spellings.push(prefix.to_owned());
            }
        }
    }
    Ok(())
}

pub(super) fn families(catalogue: &mut Catalogue, node: &Node) -> Result<(), DocumentError> {
    let mut families = Vec::new();
    for (item, name) in texts(node, "a family")? {
        let Some(family) = Family::ALL.into_iter().find(|family| family.name() == name) else {
            return unknown(item, name, "families", Family::ALL.iter().map(|family| family.name()));
        };
        families.push(family);
    }
    catalogue.families = families;
    Ok(())
}

/// Families, rule files and groups of alerts that are not wanted.
pub(super) fn leave_out(catalogue: &mut Catalogue, node: &Node) -> Result<(), DocumentError> {
    for (item, name) in texts(node, "what to leave out")? {
        if let Some(at) = catalogue.families.iter().position(|family| family.name() == name) {
            catalogue.families.remove(at);
            continue;
        }
        let groups = catalogue.alerts.iter().map(|alert| alert.group.clone());
        let others = Family::ALL.iter().map(|family| family.name()).chain(ruleset::files());
        let mut known: Vec<String> = groups.chain(others.map(str::to_owned)).collect();
        known.sort_unstable();
        known.dedup();
        if !known.iter().any(|known| known == name) {
            return unknown(item, name, "leave_out", known.iter().map(String::as_str));
        }
        catalogue.left_out.insert(name.to_owned());
    }
    Ok(())
}

/// The label of targets that says what `own` says here.
pub(super) fn target_label(node: &Node, own: &str) -> Result<String, DocumentError> {
    let name = node.text(own)?;
    label_name(node, name)?;
    if name != own && RESERVED.contains(&name) {
        return node.error(format!(
            "label `{name}` says something else in the rules; name the label that says the {own}"
        ));
    }
    Ok(name.to_owned())
}

/// Other words for severities, as an operator's routing knows them.
pub(super) fn severities(catalogue: &mut Catalogue, node: &Node) -> Result<(), DocumentError> {
    for (name, key, value) in node.table("severities")? {
        let Some(severity) = Severity::ALL.into_iter().find(|severity| severity.name() == name) else {
            return unknown(key, name, "severities", Severity::ALL.into_iter().map(Severity::name));
        };
        let word = value.text(name)?;
        let taken =
            Severity::ALL.into_iter().any(|other| other != severity && catalogue.severity(other) == word);
        if word.is_empty() || taken {
            return value.error(format!("`{word}` is empty or the word for another severity"));
        }
        catalogue.severities.insert(severity.name(), word.to_owned());
    }
    Ok(())
}

/// Metadata of the objects of the Prometheus Operator, by which it finds them.
pub(super) fn operator(catalogue: &mut Catalogue, node: &Node) -> Result<(), DocumentError> {
    for (name, key, value) in node.table("operator")? {
        match name {
            "namespace" => catalogue.operator.namespace = Some(value.text(name)?.to_owned()),
            "labels" | "annotations" => {
                let metadata = &mut catalogue.operator;
                let texts = if name == "labels" { &mut metadata.labels } else { &mut metadata.annotations };
                for (label, key, value) in value.table(name)? {
                    if label.is_empty() || label.contains(char::is_whitespace) {
                        return key.error(format!("`{label}` is no key of {name}"));
                    }
                    texts.insert(label.to_owned(), value.text(label)?.to_owned());
                }
            }
            _ => return unknown(key, name, "operator", ["namespace", "labels", "annotations"].into_iter()),
        }
    }
    Ok(())
}
