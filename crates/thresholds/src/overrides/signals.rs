//! Changes to the bands of signals, of all their series or of a part of them.

use std::collections::BTreeMap;

use document::{DocumentError, Node};

use super::{selector, unknown};
use crate::{
    catalogue::{BANDS, Catalogue},
    model::{Bound, Limit, Signal, Unit},
    number::decimal,
};

/// Changes signals.
pub(super) fn change(catalogue: &mut Catalogue, node: &Node) -> Result<(), DocumentError> {
    for (id, key, settings) in node.table("signals")? {
        let Some(at) = catalogue.signals.iter().position(|signal| signal.id == id) else {
            return unknown(key, id, "signals", catalogue.signals.iter().map(|signal| signal.id.as_str()));
        };
        let place = format!("signals.{id}");
        let settings = settings.table(id)?;
        let is_where = |name: &str| name == "where";
        let signal = &mut catalogue.signals[at];
        let mut bounds = signal.bounds.clone();
        for (name, key, value) in settings.iter().filter(|(name, ..)| !is_where(name)) {
            set(signal, &mut bounds, &place, (name, key, value))?;
        }
        in_order(key, &place, &bounds)?;
        signal.bounds = bounds;
        for (_, _, value) in settings.iter().filter(|(name, ..)| is_where(name)) {
            parts(catalogue, at, &place, value)?;
        }
    }
    Ok(())
}

fn set(
    signal: &Signal,
    bounds: &mut BTreeMap<String, Bound>,
    place: &str,
    (name, key, value): (&str, &Node, &Node),
) -> Result<(), DocumentError> {
    let Some(bound) = bounds.get_mut(name) else {
        return unknown(key, name, place, signal.bounds.keys().map(String::as_str).chain(["where"]));
    };
    let number = value.number(name)?;
    if signal.unit == Unit::Ratio && number > 1.0 {
        return value.error(format!("{place}.{name} is a share from 0 to 1, not {}", decimal(number)));
    }
    bound.limit = Limit::Number(number);
    Ok(())
}

fn in_order(key: &Node, place: &str, bounds: &BTreeMap<String, Bound>) -> Result<(), DocumentError> {
    let bands: Vec<_> = BANDS.iter().filter_map(|band| Some((band, bounds.get(*band)?.number()))).collect();
    match bands.windows(2).find(|pair| pair[0].1 >= pair[1].1) {
        Some(&[(low, a), (high, b)]) => key.error(format!(
            "{place}: {low} {} is not below {high} {}; the order is low_red < low_amber < amber < red",
            decimal(a),
            decimal(b)
        )),
        _ => Ok(()),
    }
}

fn parts(catalogue: &mut Catalogue, at: usize, place: &str, node: &Node) -> Result<(), DocumentError> {
    let place = format!("{place}.where");
    let signal = catalogue.signals[at].clone();
    if signal.slo.is_some() {
        return node.error(format!(
            "the bands of {} are those of its class of service: slo.CLASS.models",
            signal.id
        ));
    }
    let known = match (signal.families.is_empty(), signal.file.as_deref()) {
        (false, _) => selector::OF_DEVICES,
        (true, Some("engine")) => selector::OF_ENGINES,
        (true, _) => selector::OF_TARGETS,
    };
    let mut parts = Vec::new();
    let is_setting = |name: &str| signal.bounds.contains_key(name);
    for (of, _, settings) in selector::entries(catalogue, &place, node, known, is_setting, &signal.families)?
    {
        let mut bounds = signal.bounds.clone();
        for setting in settings {
            set(&signal, &mut bounds, &place, setting)?;
        }
        in_order(node, &place, &bounds)?;
        parts.push((of, bounds));
    }
    catalogue.signals[at].parts = parts;
    Ok(())
}
