//! PromQL: the selectors of an expression, and the expression without its conditions.

use anyhow::{Result, anyhow};
use promql_parser::parser::{BinModifier, Expr, VectorSelector, parse};

/// An expression as parsed, with comparisons that keep every series and without what `unless` takes away: it is
/// empty only if series are missing.
#[derive(Debug)]
pub struct Query {
    /// As written.
    pub text: String,
    /// Without conditions.
    pub unconditional: String,
    /// What it selects, but for what `unless` takes away.
    pub selectors: Vec<VectorSelector>,
}

impl Query {
    /// Parses it.
    pub fn new(text: &str) -> Result<Self> {
        let mut expr = parse(text).map_err(|error| anyhow!("{text}: {error}"))?;
        relax(&mut expr);
        let selectors = selectors(&expr).iter().map(now).collect();
        Ok(Self { text: text.to_owned(), unconditional: expr.to_string(), selectors })
    }
}

fn relax(expr: &mut Expr) {
    match expr {
        Expr::Aggregate(aggregate) => relax(&mut aggregate.expr),
        Expr::Unary(unary) => relax(&mut unary.expr),
        Expr::Paren(paren) => relax(&mut paren.expr),
        Expr::Subquery(subquery) => relax(&mut subquery.expr),
        Expr::Call(call) => call.args.args.iter_mut().for_each(|argument| relax(argument)),
        Expr::Binary(binary) if binary.op.to_string() == "unless" => {
            let mut kept = (*binary.lhs).clone();
            relax(&mut kept);
            *expr = kept;
        }
        Expr::Binary(binary) => {
            relax(&mut binary.lhs);
            relax(&mut binary.rhs);
            if binary.op.is_comparison_operator() {
                let modifier = binary.modifier.take().unwrap_or_default();
                binary.modifier = Some(BinModifier::with_return_bool(modifier, true));
            }
        }
        _ => {}
    }
}

/// Every selector in an expression.
pub fn selectors(expr: &Expr) -> Vec<VectorSelector> {
    let mut found = Vec::new();
    select(expr, &mut found);
    found
}

fn select(expr: &Expr, selectors: &mut Vec<VectorSelector>) {
    match expr {
        Expr::Aggregate(aggregate) => select(&aggregate.expr, selectors),
        Expr::Unary(unary) => select(&unary.expr, selectors),
        Expr::Paren(paren) => select(&paren.expr, selectors),
        Expr::Subquery(subquery) => select(&subquery.expr, selectors),
        Expr::Call(call) => call.args.args.iter().for_each(|argument| select(argument, selectors)),
        Expr::Binary(binary) => {
            select(&binary.lhs, selectors);
            select(&binary.rhs, selectors);
        }
        Expr::VectorSelector(selector) => selectors.push(selector.clone()),
        Expr::MatrixSelector(selector) => selectors.push(selector.vs.clone()),
        _ => {}
    }
}

/// A selector of the present, at any site: whether a scrape adds the label `node` says nothing of the machine.
fn now(selector: &VectorSelector) -> VectorSelector {
    let mut now = VectorSelector { offset: None, at: None, ..selector.clone() };
    now.matchers.matchers.retain(|matcher| matcher.name != "node");
    now
}

/// Whether a selector takes series whose label `name` has the value `value`.
pub fn takes(selector: &VectorSelector, name: &str, value: &str) -> bool {
    let mut of_label = selector.matchers.matchers.iter().filter(|matcher| matcher.name == name);
    of_label.all(|matcher| matcher.is_match(value))
}
