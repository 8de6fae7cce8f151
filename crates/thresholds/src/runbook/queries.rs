//! Queries of a runbook, narrowed to what its alert is about.

use std::fmt::Write as _;

use naming::Scope;

use crate::{
    expr::{Context, Name, resolve},
    model::{Alert, Signal},
    vocabulary::Vocabulary,
};

/// Words of the texts that stand for a label of the alert.
pub(super) const LABELS: [(&str, &str); 6] = [
    ("instance", "$instance"),
    ("device", "$device"),
    ("gpu", "$gpu"),
    ("model", "$model"),
    ("region", "$region"),
    ("capability", "$capability"),
];

/// How to read these rows; empty where they are the same for every alert of the name.
pub(super) fn variables(rows: &str) -> String {
    let used: Vec<_> = LABELS.iter().filter(|(_, variable)| rows.contains(variable)).collect();
    let named = |(_, variable): &&(&str, &str)| format!("`{variable}`");
    let Some((last, before)) = used.split_last() else { return String::new() };
    let before: Vec<_> = before.iter().map(named).collect();
    let and = if before.is_empty() { "" } else { " and " };
    let by = if used.len() > 1 { "labels" } else { "label" };
    format!("Replace {}{and}{} by the {by} of the alert.\n\n", before.join(", "), named(last))
}

/// The rows of the table: a query, and what it shows.
pub(super) fn rows(context: &Context<'_>, alert: &Alert) -> Result<String, String> {
    let mut out = String::new();
    for (query, shows) in &alert.runbook.confirm {
        for (vocabulary, suffix) in [(Vocabulary::Unified, ""), (Vocabulary::Dcgm, ", over dcgm-exporter")] {
            let Some(text) = query.get(vocabulary) else { continue };
            let text = context.expand(&narrowed(context, alert, text))?;
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
            writeln!(out, "| `{text}` | {shows}{suffix} |").map_err(|e| e.to_string())?;
        }
    }
    Ok(out)
}

/// Adds a matcher for each label of the alert that the series have.
fn narrowed(context: &Context<'_>, alert: &Alert, text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['$', '@']) {
        let end = rest[at + 1..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (name, after) = rest.split_at(end.map_or(rest.len(), |end| at + 1 + end));
        let matchers: Vec<_> = labels(context, &name[at..])
            .iter()
            .filter(|label| about(alert, label))
            .map(|label| format!("{label}=\"&{label}\""))
            .collect();
        out.push_str(name);
        rest = match (matchers.is_empty(), after.strip_prefix('{')) {
            (true, _) => after,
            (false, Some(inside)) => {
                out.extend(["{", &matchers.join(","), ","]);
                inside
            }
            (false, None) => {
                out.extend(["{", &matchers.join(","), "}"]);
                after
            }
        };
    }
    out + rest
}

/// Whether the alert names such a label, so that whoever reads the page has a value for it.
fn about(alert: &Alert, label: &str) -> bool {
    let words: &[&str] = match label {
        // What is about one device or replica has the address too, or the query would show the whole fleet.
        "instance" => &["{instance}", "{device}", "{replica}"],
        // Over dcgm-exporter the label `device` is made of `gpu`, and both are there.
        "device" | "gpu" => &["{device}"],
        _ => &["{model}"],
    };
    words.iter().any(|word| alert.summary.contains(word) || alert.description.contains(word))
}

/// Labels that series of `$NAME` or `@signal` have, of those that an alert may be about.
fn labels(context: &Context<'_>, reference: &str) -> &'static [&'static str] {
    let (sigil, name) = reference.split_at(1);
    if sigil == "@" {
        return context.catalogue.signal(name).map_or(&[], recorded);
    }
    match resolve(name, &context.catalogue.dcgm.fields) {
        Ok(Name::Vendor(_)) => &["instance", "gpu"],
        Ok(Name::Unified(metric)) if metric.scope == Scope::Device => &["instance", "device"],
        Ok(Name::Unified(_)) => &["instance"],
        Err(_) => &[],
    }
}

fn recorded(signal: &Signal) -> &'static [&'static str] {
    let dropped = |label: &str| {
        let drop = signal.test.drop.get(Vocabulary::Unified);
        drop.is_some_and(|labels| labels.iter().any(|known| known == label))
    };
    let of_devices = !signal.families.is_empty();
    match (of_devices, dropped("device"), dropped("instance")) {
        (true, false, false) => &["instance", "device"],
        (true, true, false) => &["instance"],
        (false, _, false) if signal.engines.is_some() => &["instance", "model"],
        _ => &[],
    }
}
