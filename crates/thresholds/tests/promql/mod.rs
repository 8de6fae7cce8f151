//! For the tests that look for what linters look for: everything that there can be, and walking through
//! PromQL.

use std::collections::BTreeSet;

use naming::{METRICS, MetricKind};
use promql_parser::parser::Expr;
use thresholds::Overrides;

/// An override file that makes everything there is.
const EVERYTHING: &str = r#"
runbook_url_prefix = "https://wiki/\"{{ x }}\"/"
[slo.chat]
models = ["llama", "qwen"]
[slo.rag]
models = ["embed\"}, {{ x }} \n ü@$&<v> ${datasource} [[node]]"]
[prices]
nvidia = 2.5
gaudi = 1.5
[labels]
team = "inference \"{{ on call }}\" \n ü"
"#;

/// Those overrides.
pub fn everything() -> Overrides {
    Overrides::parse("everything.toml", EVERYTHING).unwrap()
}

/// Calls `visit` with each node below and at `expr`, and the functions around it.
pub fn walk<'e>(expr: &'e Expr, around: &mut Vec<&'e str>, visit: &mut impl FnMut(&'e Expr, &[&'e str])) {
    visit(expr, around);
    match expr {
        Expr::Aggregate(aggregate) => walk(&aggregate.expr, around, visit),
        Expr::Unary(unary) => walk(&unary.expr, around, visit),
        Expr::Binary(binary) => {
            walk(&binary.lhs, around, visit);
            walk(&binary.rhs, around, visit);
        }
        Expr::Paren(paren) => walk(&paren.expr, around, visit),
        Expr::Subquery(subquery) => walk(&subquery.expr, around, visit),
        Expr::Call(call) => {
            around.push(call.func.name);
            for argument in &call.args.args {
                walk(argument, around, visit);
            }
            around.pop();
        }
        _ => {}
    }
}

/// The name that a selector gives.
pub fn selector_name(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::VectorSelector(selector) => selector.name.as_deref(),
        Expr::MatrixSelector(selector) => selector.vs.name.as_deref(),
        _ => None,
    }
}

/// Counters whose increase is the signal, in either vocabulary.
pub fn counters() -> BTreeSet<&'static str> {
    // These counters are states since the driver was loaded or over the device's life: their level is the
    // signal.
    let levels = ["ECC_ERRORS", "ROWS_REMAPPED", "PAGES_RETIRED", "ERRORS"]
        .map(|handle| naming::Id::of_handle(handle).unwrap().metric());
    METRICS
        .iter()
        .filter(|metric| !levels.iter().any(|level| std::ptr::eq(*level, *metric)))
        .flat_map(|metric| {
            let own = metric.name.filter(|_| metric.kind == MetricKind::Counter);
            own.into_iter()
                .chain(metric.vendor_names().filter(|v| v.kind == MetricKind::Counter).map(|v| v.name))
        })
        .collect()
}
