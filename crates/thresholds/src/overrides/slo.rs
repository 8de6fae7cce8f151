//! Changes to service classes.

use document::{DocumentError, Node, Value};

use super::{DurationNode as _, covers, pattern, unknown};
use crate::{
    catalogue::{Catalogue, Window},
    model::{Severity, SloClass},
    number::{Duration, decimal},
    slo,
};

/// Changes service classes, or adds one.
pub(super) fn change(catalogue: &mut Catalogue, node: &Node) -> Result<(), DocumentError> {
    for (class_name, key, settings) in node.table("slo")? {
        match class_name {
            "period" => {
                catalogue.period = settings.duration("slo.period")?;
                if catalogue.period < Duration(86_400) {
                    return settings.error("slo.period is a day or more");
                }
                continue;
            }
            "windows" => {
                windows(catalogue, settings)?;
                continue;
            }
            _ => {}
        }
        if !matches!(settings.value, Value::Map(_) | Value::Nothing) {
            return key.error(format!(
                "slo.{class_name} is a class and so a table; beside classes there are `period`, a duration, and `windows`, a list"
            ));
        }
        let known = catalogue.classes.iter().position(|class| class.name == class_name);
        let at = match known {
            Some(at) => at,
            None => added(catalogue, class_name, key)?,
        };
        for (name, key, value) in settings.table(class_name)? {
            match name {
                "ttft" | "itl" => {
                    let seconds = value.number(name)?;
                    if seconds < 0.001 {
                        return value.error(format!("slo.{class_name}.{name} is in seconds, 0.001 or more"));
                    }
                    let class = &mut catalogue.classes[at];
                    *(if name == "ttft" { &mut class.ttft } else { &mut class.itl }) = seconds;
                }
                "models" if class_name == SloClass::DEFAULT => {
                    return key
                        .error("slo.default serves all models that no other class names; name none here");
                }
                "models" => models(catalogue, at, value)?,
                "min_requests" => catalogue.classes[at].min_requests = value.number(name)?,
                "queue" => catalogue.classes[at].queue = value.number(name)?,
                "objectives" => {
                    for (sli, key, share) in value.table("objectives")? {
                        let number = share.number(sli)?;
                        let objectives = &mut catalogue.classes[at].objectives;
                        let Some(objective) = objectives.get_mut(sli) else {
                            return unknown(key, sli, "objectives", objectives.keys().map(String::as_str));
                        };
                        if number <= 0.0 || number >= 1.0 {
                            return share.error("an objective is a share above 0 and below 1");
                        }
                        *objective = number;
                        let class = &catalogue.classes[at];
                        if slo::windows(catalogue, class, sli).next().is_none() {
                            return share.error(format!(
                                "at an objective of {} no burn could be seen",
                                decimal(number)
                            ));
                        }
                    }
                }
                _ => {
                    return unknown(
                        key,
                        name,
                        &format!("slo.{class_name}"),
                        ["ttft", "itl", "models", "objectives", "min_requests", "queue"].into_iter(),
                    );
                }
            }
        }
    }
    Ok(())
}

fn models(catalogue: &mut Catalogue, at: usize, node: &Node) -> Result<(), DocumentError> {
    let Value::List(items) = &node.value else { return node.error("models is a list of texts") };
    let mut models = Vec::new();
    for item in items {
        let model = pattern(item, item.text("a model")?)?;
        let taken =
            catalogue.classes.iter().enumerate().find(|(i, class)| {
                *i != at && class.models.iter().any(|m| covers(m, model) || covers(model, m))
            });
        if let Some((_, other)) = taken {
            return item.error(format!(
                "model `{model}` is in class {} already, or a pattern of one matches the other; a model has one class",
                other.name
            ));
        }
        models.push(model.to_owned());
    }
    catalogue.classes[at].models = models;
    Ok(())
}

/// Other burn-rate windows, in the place of all of the catalogue's.
fn windows(catalogue: &mut Catalogue, node: &Node) -> Result<(), DocumentError> {
    let Value::List(items) = &node.value else { return node.error("slo.windows is a list of tables") };
    let mut windows: Vec<Window> = Vec::new();
    for item in items {
        let (mut factor, mut long, mut short) = (None, None, None);
        let (mut hold, mut severity) = (Duration(0), Severity::Ticket);
        for (name, key, value) in item.table("slo.windows")? {
            match name {
                "factor" => factor = Some(value.number(name)?).filter(|factor| *factor > 0.0),
                "long" => long = Some(value.duration(name)?),
                "short" => short = Some(value.duration(name)?),
                "for" => hold = value.duration(name)?,
                "severity" => severity = super::alerts::severity(catalogue, value)?,
                _ => {
                    let known = ["factor", "long", "short", "for", "severity"];
                    return unknown(key, name, "slo.windows", known.into_iter());
                }
            }
        }
        let (Some(factor), Some(long), Some(short)) = (factor, long, short) else {
            return item.error("a window has a `factor` above 0, a `long` and a `short` duration");
        };
        if short < Duration(300) || long <= short || long > catalogue.period {
            return item.error(format!(
                "the short window is 5m or more, the long one longer, and at most the period of {}",
                catalogue.period
            ));
        }
        if windows.iter().any(|other| other.long == long) {
            return item.error(format!("there is a window of {long} already"));
        }
        windows.push(Window { factor, long, short, hold, severity });
    }
    if windows.is_empty() {
        return node.error(
            "slo.windows has no window; to switch burn rates off: [alerts.LlmSloBudgetBurn] enabled = false",
        );
    }
    catalogue.windows = windows;
    Ok(())
}

/// A class of the operator's own: as the default one, until it says otherwise.
fn added(catalogue: &mut Catalogue, name: &str, key: &Node) -> Result<usize, DocumentError> {
    let is_plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if name.is_empty() || !is_plain {
        return key.error(format!("`{name}` is no class: lower-case letters, digits and _"));
    }
    let default = catalogue.classes.iter().position(|class| class.name == SloClass::DEFAULT);
    let default = default.map_or_else(|| key.error("no default class"), Ok)?;
    let class = SloClass { name: name.to_owned(), models: Vec::new(), ..catalogue.classes[default].clone() };
    catalogue.classes.insert(default, class);
    Ok(default)
}
