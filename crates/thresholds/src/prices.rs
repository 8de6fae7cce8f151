//! What prices make of the signals about money.

use crate::{
    catalogue::{Catalogue, DOLLARS},
    model::{Signal, TokenPrice},
    number::decimal,
    vocabulary::PerVocabulary,
};

/// Signals whose expressions follow from the prices.
const NODE_COST: &str = "node_cost";
const TOKEN_CHARGE: &str = "token_charge";

impl Catalogue {
    /// Whether prices say what a signal about money needs; others need none.
    pub fn is_paid_for(&self, signal: &Signal) -> bool {
        match (signal.file.as_deref(), signal.id.as_str()) {
            (Some("cost"), TOKEN_CHARGE) => !self.token_prices.is_empty(),
            (Some("cost"), _) => !self.prices.is_empty() || !self.model_prices.is_empty(),
            _ => true,
        }
    }

    /// Puts the prices into the signals that are about money, and the currency into their names.
    pub fn priced(&mut self) {
        // The worked example of a node's cost is one device of the first family that has a price.
        let example = self.prices.values().next().copied();
        let per_model: Vec<_> = self
            .model_prices
            .iter()
            .map(|(model, price)| {
                let joined = format!("on (cluster, instance, device) &device_model_{model}");
                (joined, decimal(*price))
            })
            .collect();
        for signal in &mut self.signals {
            if signal.id == NODE_COST {
                signal.test.values.extend(example);
                let mut rest = "$DEVICE_UP".to_owned();
                let mut texts = Vec::new();
                for (joined, price) in &per_model {
                    texts.push(format!("  count by (cluster, node) ({rest} and {joined}) * {price}"));
                    rest = format!("{rest} unless {joined}");
                }
                texts.push(format!(
                    "  sum by (cluster, node) (count by (cluster, node, family) ({rest}) * on (family) group_left () accel:price:dollars_per_hour{{family!=\"\"}})"
                ));
                let labelled = texts
                    .iter()
                    .enumerate()
                    .map(|(at, text)| format!("label_replace(\n{text},\n  \"of\", \"{at}\", \"\", \"\")"));
                let text = match texts.as_slice() {
                    [only] => only.trim().to_owned(),
                    _ => format!(
                        "sum by (cluster, node) (\n{}\n)",
                        labelled.collect::<Vec<_>>().join("\nor\n")
                    ),
                };
                signal.expr = PerVocabulary::unified(text);
            }
            if signal.id == TOKEN_CHARGE && !self.token_prices.is_empty() {
                let of = |price: &TokenPrice| {
                    [("prompt", price.prompt), ("generation", price.generation)].map(|(kind, price_of)| {
                        format!(
                            "  llm:tokens:rate5m{{kind=\"{kind}\",model=~\"{}\"}} * {}",
                            price.models,
                            decimal(price_of * 0.0036)
                        )
                    })
                };
                // The first pattern that matches counts, as the first operand of `or` does.
                let texts: Vec<_> = self.token_prices.iter().flat_map(of).collect();
                signal.expr = PerVocabulary::unified(format!(
                    "sum by (cluster, namespace, tenant, model) (\n{}\n)",
                    texts.join("\n  or\n")
                ));
            }
            if self.currency != DOLLARS {
                let texts = signal.record.iter_mut().chain(signal.expr.iter_mut());
                texts.for_each(|text| *text = text.replace(DOLLARS, &self.currency));
            }
        }
    }
}
