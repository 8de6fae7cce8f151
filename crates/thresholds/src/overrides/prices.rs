//! Prices of devices and of tokens.

use naming::Family;

use document::{DocumentError, Node, Value};

use super::{covers, label_name, pattern, unknown};
use crate::{
    catalogue::{Catalogue, escape, glob},
    model::TokenPrice,
};

/// Changes prices.
pub(super) fn change(catalogue: &mut Catalogue, node: &Node) -> Result<(), DocumentError> {
    for (name, key, value) in node.table("prices")? {
        match name {
            "currency" => {
                let word = value.text(name)?.to_ascii_lowercase();
                label_name(value, &word)?;
                catalogue.currency = word;
            }
            "device_models" => models(catalogue, value)?,
            "tokens" => tokens(catalogue, value)?,
            family if Family::ALL.iter().any(|known| known.name() == family) => {
                catalogue.prices.insert(family.to_owned(), value.number("a price per device and hour")?);
            }
            _ => {
                let known = Family::ALL.iter().map(|family| family.name());
                return unknown(key, name, "prices", known.chain(["currency", "device_models", "tokens"]));
            }
        }
    }
    Ok(())
}

/// Prices of devices by the name of their model; the first pattern that matches counts.
fn models(catalogue: &mut Catalogue, node: &Node) -> Result<(), DocumentError> {
    let mut seen: Vec<&str> = Vec::new();
    catalogue.model_prices.clear();
    for (name, key, value) in node.table("prices.device_models")? {
        let name = pattern(key, name)?;
        reached(key, &seen, name)?;
        seen.push(name);
        let price = value.number("a price per device and hour")?;
        let model = catalogue.device_model(escape(&glob(name)));
        catalogue.model_prices.push((model, price));
    }
    Ok(())
}

/// What a million tokens of a model are charged at.
fn tokens(catalogue: &mut Catalogue, node: &Node) -> Result<(), DocumentError> {
    let Value::List(items) = &node.value else { return node.error("prices.tokens is a list of tables") };
    let (mut prices, mut seen) = (Vec::new(), Vec::new());
    for item in items {
        let mut price = TokenPrice { models: ".*".to_owned(), prompt: 0.0, generation: 0.0 };
        let mut model = "*";
        for (name, key, value) in item.table("prices.tokens")? {
            match name {
                "model" => model = pattern(value, value.text(name)?)?,
                "prompt" => price.prompt = value.number("a price per million tokens")?,
                "generation" => price.generation = value.number("a price per million tokens")?,
                _ => {
                    return unknown(
                        key,
                        name,
                        "prices.tokens",
                        ["model", "prompt", "generation"].into_iter(),
                    );
                }
            }
        }
        reached(item, &seen, model)?;
        seen.push(model);
        price.models = escape(&glob(model));
        prices.push(price);
    }
    catalogue.token_prices = prices;
    Ok(())
}

fn reached(node: &Node, seen: &[&str], name: &str) -> Result<(), DocumentError> {
    match seen.iter().find(|earlier| covers(earlier, name)) {
        Some(earlier) => {
            node.error(format!("`{earlier}` before takes all that `{name}` would match; put it after"))
        }
        None => Ok(()),
    }
}
