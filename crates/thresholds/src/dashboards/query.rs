//! Queries of panels: expanded with Grafana's variables, narrowed to the worst, and named by place.

use std::collections::BTreeMap;

use naming::Family;

use super::{
    PanelBuilder,
    spec::{PanelSpec, View},
};
use crate::{
    catalogue::{BANDS, words},
    engines,
    expr::{self, Context},
    model::{Severity, Signal, SloClass},
    plan::STATE,
    vocabulary::Vocabulary,
};

/// Labels that are made for legends out of two of the series' own: the first, or the second where that one says nothing.
const MADE: [(&str, [&str; 2], &str); 3] = [
    // A node by its name, or by its address where targets have no label `node`.
    ("place", ["node", "instance"], "(.+);.*|;(.+?)(?::[0-9]+)?"),
    ("replica", ["pod", "instance"], "(.+);.*|;(.+)"),
    // TGI names no model, and TensorRT-LLM calls one without a name so.
    ("service", ["model", "job"], "(?:undefined)?;(.+)|(.*);.*"),
];

/// A query whose series have those labels that a legend or columns name.
pub(super) fn named(query: &str, texts: &[&str]) -> String {
    // Only the outermost function decides on the order.
    let (start, inner, end) = match query.strip_prefix("sort_desc(").and_then(|rest| rest.strip_suffix(')')) {
        Some(inner) => ("sort_desc(", inner, ")"),
        None => ("", query, ""),
    };
    let mut query = inner.to_owned();
    for (label, [first, second], pattern) in MADE {
        if texts.iter().any(|text| *text == label || text.contains(&format!("{{{{{label}}}}}"))) {
            let joined = format!("label_join({query}, \"{label}\", \";\", \"{first}\", \"{second}\")");
            query = format!("label_replace({joined}, \"{label}\", \"$1$2\", \"{label}\", \"{pattern}\")");
        }
    }
    format!("{start}{query}{end}")
}

/// Alerts, the most severe first; a severity of the user's own comes last.
fn by_severity(query: &str) -> String {
    let rank = |(rank, severity): (usize, &Severity)| {
        format!("label_replace(vector({}), \"severity\", \"{}\", \"\", \"\")", rank + 2, severity.name())
    };
    let ranks: Vec<_> = Severity::ALL.iter().rev().enumerate().map(rank).collect();
    format!("sort_desc(({query}) * on (severity) group_left () ({}) or {query})", ranks.join(" or "))
}

impl PanelBuilder<'_> {
    /// The queries of a panel that is about no signal, each with its legend.
    pub(super) fn queries(&self, spec: &PanelSpec) -> Result<Vec<(String, String)>, String> {
        if spec.view == View::Numbers {
            let number = |number: &super::spec::Number| (number.query.clone(), number.name.clone());
            let can_fill =
                |(query, _): &(String, String)| self.family.is_none_or(|family| self.has_all(query, family));
            return Ok(spec.number.iter().map(number).filter(can_fill).collect());
        }
        let query = spec.query.as_ref().ok_or("has neither signal nor query")?;
        let legend = spec.legend.clone().unwrap_or_default();
        let mut queries = match spec.view {
            View::Alerts => vec![(by_severity(query), legend)],
            View::Quantiles => [(0.5, "p50"), (0.95, "p95"), (0.99, "p99")]
                .map(|(quantile, name)| {
                    (
                        format!("histogram_quantile({quantile}, sum by (model, job, le) ({query})) >= 0"),
                        format!("{{{{service}}}} {name}"),
                    )
                })
                .into(),
            _ => vec![(query.clone(), legend)],
        };
        queries.extend(self.further(spec));
        Ok(queries)
    }

    /// Further queries of a panel, those that can have data here.
    pub(super) fn further(&self, spec: &PanelSpec) -> Vec<(String, String)> {
        let can_fill =
            |(query, _): &&(String, String)| self.family.is_none_or(|family| self.has_all(query, family));
        spec.more.iter().filter(can_fill).cloned().collect()
    }

    /// Whether a family has a signal.
    pub(super) fn has(signal: &Signal, family: Family) -> bool {
        let text = signal.exprs.get(family.name()).or(signal.expr.get(Vocabulary::Unified));
        signal.families.is_empty()
            || signal.families.contains(&family)
                && text.is_some_and(|text| expr::missing_source(text, family).is_none())
    }

    /// Whether a family has every metric and signal that a query reads.
    pub(super) fn has_all(&self, query: &str, family: Family) -> bool {
        let signals = expr::references(query).filter_map(|id| self.catalogue.signal(id));
        expr::missing_source(query, family).is_none()
            && signals.into_iter().all(|signal| Self::has(signal, family))
    }

    /// The query of a signal here: recorded where it is, while its gate holds, and of a fleet its worst.
    pub(super) fn query(&self, signal: &Signal) -> String {
        let whose = if signal.families.is_empty() { "&models" } else { "&devices" };
        let name = match (&signal.record, signal.expr.get(Vocabulary::Unified)) {
            (None, Some(expr)) => expr.clone(),
            _ => format!("@{}", signal.id),
        };
        let value = match name.strip_suffix('}') {
            Some(name) => format!("{name},{whose}}}"),
            None => format!("{name}{{{whose}}}"),
        };
        let is_low = signal.bounds.keys().any(|band| BANDS[..2].contains(&band.as_str()));
        let (worst, over_time) =
            if is_low { ("bottomk", "min_over_time") } else { ("topk", "max_over_time") };
        // What judges nothing is shown at any time.
        let gate = signal.gate.get(Vocabulary::Unified).filter(|_| !signal.explains);
        let gated = gate.map(|_| {
            format!("({value} and on (instance, device) {STATE}{{signal=\"{}\",{whose}}})", signal.id)
        });
        // The same series at every moment: the worst of the time shown, at its end. What the gate leaves out must not take
        // the place of the worst.
        match (gated, self.board.worst) {
            (Some(gated), Some(count)) => {
                format!("{gated} and {worst}({count}, {over_time}({gated}[&range:1m] @ end()))")
            }
            (Some(gated), None) => gated,
            (None, Some(count)) => {
                format!("{value} and {worst}({count}, {over_time}({value}[&range] @ end()))")
            }
            (None, None) => value,
        }
    }

    /// PromQL with Grafana's variables.
    pub(super) fn expand(&self, text: &str, class: Option<&SloClass>) -> Result<String, String> {
        let mut own = self.board.matchers.clone();
        if let Some((models, class)) = own.get_mut("models").zip(class) {
            let of_class = self.catalogue.models(class);
            *models = [models.as_str(), &of_class]
                .into_iter()
                .filter(|m| !m.is_empty())
                .collect::<Vec<_>>()
                .join(",");
        }
        let explaining = self.catalogue.signals.iter().filter(|signal| signal.explains);
        let explaining: Vec<_> = explaining.map(|signal| signal.id.as_str()).collect();
        own.extend(
            [
                ("window", "$__rate_interval"),
                ("range", "$__range"),
                ("state", STATE),
                ("explaining", &explaining.join("|")),
                ("family", self.family.map_or("", Family::name)),
            ]
            .map(|(word, text)| (word.to_owned(), text.to_owned())),
        );
        let mut all = words(self.catalogue, None, &BTreeMap::new(), &BTreeMap::new());
        all.extend(own.clone());
        let context = Context {
            catalogue: self.catalogue,
            family: None,
            origin: "",
            words: all,
            generations: false,
            patient: false,
        };
        let mut text = context.expand(&self.bounded(&self.of_engines(text)?))?;
        // Inside of braces nothing was expanded; a matcher may name another.
        for _ in 0..2 {
            for (word, matchers) in &own {
                text = text.replace(&format!("&{word}"), matchers);
            }
        }
        Ok(text)
    }

    /// Puts the bound of a signal in the place of each `&signal.bound`.
    fn bounded(&self, text: &str) -> String {
        let bounds = self.catalogue.signals.iter().flat_map(|signal| {
            signal.bounds.iter().map(|(name, bound)| (format!("&{}.{name}", signal.id), bound))
        });
        bounds.fold(text.to_owned(), |text, (word, bound)| text.replace(&word, &bound.to_string()))
    }

    /// Puts what engines print in the place of each `%name`.
    fn of_engines(&self, text: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            let (name, tail) = after.split_at(end);
            let of_signal = || self.catalogue.signal(name)?.engines.as_ref();
            let engines = self.spec.engines.get(name).or_else(of_signal);
            let engines = engines.ok_or_else(|| format!("`%{name}` is printed by no engine"))?;
            // Matchers of models are about the label that all engines are given here.
            let read =
                engines::selected(&self.catalogue.engines, engines, "&replicas").replace("[5m]", "[&window]");
            // Engines have the label `model` only here.
            let chosen = "and on (cluster, namespace, instance, model) @requests_running_count{&models}";
            out.extend([before, "(", &read, " ", chosen, ")"]);
            rest = tail;
        }
        Ok(out + rest)
    }
}
