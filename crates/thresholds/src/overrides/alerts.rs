//! Changes to alerts.

use super::{labels, texts, unknown};
use crate::{
    catalogue::Catalogue,
    document::{DocumentError, Node},
    model::{Limit, Severity, Unit},
    number::decimal,
    plan::literal,
    slo,
};

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
        let alert = &mut catalogue.alerts[at];
        for (name, key, value) in settings.table(alert_name)? {
            match name {
                "labels" => {
                    alert
                        .labels
                        .extend(labels(value)?.into_iter().map(|(name, text)| (name, literal(&text))));
                }
                "severity" if slo::is_template(alert) => {
                    let severity = severity(value)?;
                    catalogue.windows.iter_mut().for_each(|window| window.severity = severity);
                }
                "sli" if slo::is_template(alert) => {
                    let mut chosen = Vec::new();
                    for (item, name) in texts(value, "a service level")? {
                        let Some(sli) = slo::SLIS.into_iter().find(|sli| *sli == name) else {
                            return unknown(item, name, "sli", slo::SLIS.into_iter());
                        };
                        chosen.push(sli);
                    }
                    catalogue.slis = chosen;
                }
                // The durations of this one are those of its windows.
                _ if slo::is_template(alert) && name != "enabled" => {
                    let known = ["enabled", "labels", "severity", "sli"].into_iter();
                    return unknown(key, name, &format!("alerts.{alert_name}"), known);
                }
                "keep_firing_for" => alert.keep = Some(value.duration(name)?).filter(|keep| keep.0 > 0),
                "for" => alert.hold = value.duration("for")?,
                "enabled" => alert.off = !value.flag("enabled")?,
                "severity" if !alert.level.is_empty() => {
                    return key.error(format!("{alert_name} has the severities of its codes; route on them"));
                }
                "severity" => alert.severity = severity(value)?,
                _ if alert.bounds.contains_key(name) => {
                    let number = value.number(name)?;
                    if alert.unit == Unit::Ratio && name == "limit" && alert.slo.is_none() && number > 1.0 {
                        return value.error(format!(
                            "alerts.{alert_name}.{name} is a share from 0 to 1, not {}",
                            decimal(number)
                        ));
                    }
                    if let Some(bound) = alert.bounds.get_mut(name) {
                        bound.limit = Limit::Number(number);
                    }
                }
                _ => {
                    let known = ["for", "keep_firing_for", "enabled", "severity", "labels"]
                        .into_iter()
                        .chain(alert.bounds.keys().map(String::as_str));
                    return unknown(key, name, &format!("alerts.{alert_name}"), known);
                }
            }
        }
    }
    Ok(())
}

fn severity(node: &Node) -> Result<Severity, DocumentError> {
    let word = node.text("severity")?;
    let found = Severity::ALL.into_iter().find(|severity| severity.name() == word);
    found.map_or_else(|| unknown(node, word, "severity", Severity::ALL.into_iter().map(Severity::name)), Ok)
}
