//! Changes to alerts.

use document::{DocumentError, Node};

use super::{DurationNode as _, labels, selector, texts, unknown};
use crate::{
    catalogue::Catalogue,
    model::{Alert, Limit, Part, Severity, Unit},
    number::decimal,
    slo,
    texts::literal,
};

/// What every alert has beside its bounds.
const SETTINGS: [&str; 5] = ["for", "keep_firing_for", "enabled", "severity", "labels"];

/// The alert whose reasons can be chosen.
const THROTTLE: &str = "GpuThermalOrPowerThrottle";

/// Changes alerts.
pub(super) fn change(catalogue: &mut Catalogue, node: &Node) -> Result<(), DocumentError> {
    for (alert_name, key, settings) in node.table("alerts")? {
        let Some(at) = catalogue.alerts.iter().position(|alert| alert.name == alert_name) else {
            return unknown(
                key,
                alert_name,
                "alerts",
                catalogue.alerts.iter().map(|alert| alert.name.as_str()),
            );
        };
        for (name, key, value) in settings.table(alert_name)? {
            let place = format!("alerts.{alert_name}");
            if !slo::is_template(&catalogue.alerts[at]) {
                match name {
                    "where" => parts(catalogue, at, &place, value)?,
                    "reasons" if alert_name == THROTTLE => reasons(catalogue, value)?,
                    "severity" if catalogue.alerts[at].level.is_empty() => {
                        catalogue.alerts[at].severity = severity(catalogue, value)?;
                    }
                    _ => set(&mut catalogue.alerts[at], &place, (name, key, value), &["where"])?,
                }
                continue;
            }
            // The durations of this one are those of its windows.
            match name {
                "enabled" | "labels" => set(&mut catalogue.alerts[at], &place, (name, key, value), &[])?,
                "severity" => {
                    let severity = severity(catalogue, value)?;
                    catalogue.windows.iter_mut().for_each(|window| window.severity = severity);
                }
                "sli" => {
                    let mut chosen = Vec::new();
                    for (item, name) in texts(value, "a service level")? {
                        let Some(sli) = slo::SLIS.into_iter().find(|sli| *sli == name) else {
                            return unknown(item, name, "sli", slo::SLIS.into_iter());
                        };
                        chosen.push(sli);
                    }
                    catalogue.slis = chosen;
                }
                _ => {
                    return unknown(key, name, &place, ["enabled", "labels", "severity", "sli"].into_iter());
                }
            }
        }
    }
    Ok(())
}

/// Changes one setting of an alert; `others` are further keys that are known there.
fn set(
    alert: &mut Alert,
    place: &str,
    (name, key, value): (&str, &Node, &Node),
    others: &[&str],
) -> Result<(), DocumentError> {
    match name {
        "labels" => {
            alert.labels.extend(labels(value)?.into_iter().map(|(name, text)| (name, literal(&text))));
        }
        "keep_firing_for" => alert.keep = Some(value.duration(name)?).filter(|keep| keep.0 > 0),
        "for" => alert.hold = value.duration("for")?,
        "enabled" => alert.off = !value.flag("enabled")?,
        "severity" if !alert.level.is_empty() => {
            return key.error(format!("{} has the severities of its codes; route on them", alert.name));
        }
        _ if alert.bounds.contains_key(name) => {
            let number = value.number(name)?;
            if alert.unit == Unit::Ratio && name == "limit" && alert.slo.is_none() && number > 1.0 {
                return value
                    .error(format!("{place}.{name} is a share from 0 to 1, not {}", decimal(number)));
            }
            if let Some(bound) = alert.bounds.get_mut(name) {
                bound.limit = Limit::Number(number);
            }
        }
        _ => {
            let known = SETTINGS.iter().chain(others);
            let known = known.copied().chain(alert.bounds.keys().map(String::as_str));
            return unknown(key, name, place, known);
        }
    }
    Ok(())
}

/// What is different for series with some labels: a list of tables of labels and settings.
fn parts(catalogue: &mut Catalogue, at: usize, place: &str, node: &Node) -> Result<(), DocumentError> {
    let place = format!("{place}.where");
    let alert = catalogue.alerts[at].clone();
    let known = match alert.file.as_deref() {
        Some("engine") => selector::OF_ENGINES,
        _ if alert.summary.contains("{device}") => selector::OF_DEVICES,
        _ => selector::OF_TARGETS,
    };
    let is_setting = |name: &str| SETTINGS.contains(&name) || alert.bounds.contains_key(name);
    let mut parts = Vec::new();
    for (of, chosen, settings) in
        selector::entries(catalogue, &place, node, known, is_setting, &alert.families)?
    {
        let mut part = Alert { parts: Vec::new(), ..alert.clone() };
        for (name, key, value) in settings {
            if name == "severity" && part.level.is_empty() {
                part.severity = severity(catalogue, value)?;
            } else {
                set(&mut part, &place, (name, key, value), known)?;
            }
        }
        // Rules of one name differ in their labels; and people see which bound was passed.
        part.labels.insert("where".to_owned(), literal(&chosen));
        parts.push(Part { of, alert: Box::new(part) });
    }
    catalogue.alerts[at].parts = parts;
    Ok(())
}

/// The reasons to throttle that count as a fault.
fn reasons(catalogue: &mut Catalogue, node: &Node) -> Result<(), DocumentError> {
    let mut known: Vec<String> = catalogue.throttle_reasons().into_iter().collect();
    known.sort_unstable();
    let mut chosen = Vec::new();
    for (item, reason) in texts(node, "a reason")? {
        if !known.iter().any(|known| known == reason) {
            return unknown(item, reason, "reasons", known.iter().map(String::as_str));
        }
        chosen.push(reason);
    }
    catalogue.throttle_by(&chosen);
    if catalogue.fault_bits().is_empty() {
        return node.error(format!(
            "over dcgm-exporter's names none of these can be seen; one of {} is needed",
            catalogue
                .reasons
                .iter()
                .filter(|reason| reason.bit.is_some())
                .map(|r| r.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        ));
    }
    Ok(())
}

pub(super) fn severity(catalogue: &Catalogue, node: &Node) -> Result<Severity, DocumentError> {
    let word = node.text("severity")?;
    let found = Severity::ALL.into_iter().find(|severity| catalogue.severity(*severity) == word);
    found.map_or_else(
        || {
            let known = Severity::ALL.into_iter().map(|severity| catalogue.severity(severity));
            unknown(node, word, "severity (other words for them: [severities])", known)
        },
        Ok,
    )
}
