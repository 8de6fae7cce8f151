//! Expressions over the metrics of inference engines: every engine, release and spelling of a name at once.

use crate::{
    expr::patient,
    model::{Engine, EngineKind, EngineSource, Engines},
    number::decimal,
};

/// Labels that identify an engine's series; labels that some versions add are aggregated away.
pub(crate) const ENGINE_LABELS: &str = "cluster, namespace, tenant, node, pod, job, instance, model";

/// Labels in which series repeat each other: the replicas of a Prometheus pair, and ranks that report the
/// same queue.
const REPEATED: &str = "replica, prometheus_replica, tp_rank, pp_rank, moe_ep_rank";

/// Every spelling of a source's name: the engine's own, those of releases and wrappers, and of a counter that has
/// no `_total` the one that OpenTelemetry's exporters give it. Each with its prefix.
fn spellings<'a>(
    table: &'a [Engine],
    source: &'a EngineSource,
    kind: EngineKind,
) -> impl Iterator<Item = (&'a str, String)> {
    let known = table.iter().find_map(|engine| Some((source.metric.strip_prefix(&engine.prefix)?, engine)));
    let (name, prefixes) = known.map_or((source.metric.as_str(), vec![""]), |(name, engine)| {
        (name, std::iter::once(&engine.prefix).chain(&engine.spellings).map(String::as_str).collect())
    });
    let counts = kind == EngineKind::Rate && !name.ends_with("_total") && !name.ends_with("_sum");
    let names = [Some(name.to_owned()), counts.then(|| format!("{name}_total"))];
    prefixes.into_iter().flat_map(move |prefix| {
        names.clone().into_iter().flatten().map(move |name| (prefix, format!("{prefix}{name}")))
    })
}

/// Readings of one source under each spelling of its name. `or` joins them, since a regular expression over
/// names fails on versions that print a series under two of them.
fn readings(
    table: &[Engine],
    source: &EngineSource,
    kind: EngineKind,
    reading: impl Fn(&str, &str) -> String,
) -> Vec<String> {
    spellings(table, source, kind).map(|(prefix, metric)| reading(prefix, &metric)).collect()
}

/// Sums or maxima of readings by engine, and by the labels in `by` too.
pub(crate) fn aggregated(aggregate: &str, by: &str, readings: &[String]) -> String {
    format!(
        "{aggregate} by ({ENGINE_LABELS}{by}) (label_replace(\n  max without ({REPEATED}) (\n    {}\n  ),\n  \"model\", \"$1\", \"model_name\", \"(.+)\"))",
        readings.join("\n    or "),
    )
}

/// The version-tolerant expression of an engine signal.
pub(crate) fn expression(table: &[Engine], engines: &Engines) -> String {
    let keep = engines.keep.as_ref().map_or_else(String::new, |keep| format!(", {keep}"));
    let of = |milliseconds: bool| -> Vec<String> {
        let whole = |source: &&EngineSource| source.milliseconds == milliseconds && source.plus.is_none();
        let sources = engines.sources.iter().filter(whole);
        sources
            .flat_map(|source| {
                readings(table, source, engines.kind, |prefix, metric| {
                    reading(source, engines, prefix, metric)
                })
            })
            .collect()
    };
    if engines.kind != EngineKind::Histogram {
        return aggregated(&engines.aggregate, &keep, &of(false));
    }
    let quantile = |readings: Vec<String>| {
        let inner = aggregated(&engines.aggregate, &format!("{keep}, le"), &readings);
        (!readings.is_empty()).then(|| format!("histogram_quantile(0.95, {inner})"))
    };
    let milliseconds = quantile(of(true)).map(|inner| format!("{inner} / 1000"));
    // Two parts, each with its own percentile: together no less than that of their sum, as far as they go together.
    let parts = engines.sources.iter().filter_map(|source| {
        let first =
            readings(table, source, engines.kind, |prefix, metric| reading(source, engines, prefix, metric));
        let second = vec![format!("rate({}[5m])", source.plus.as_ref()?)];
        Some(format!("{} + {}", quantile(first)?, quantile(second)?))
    });
    // Without requests the quantile is NaN: no value, not a bad one.
    let both: Vec<_> = quantile(of(false)).into_iter().chain(milliseconds).chain(parts).collect();
    format!("(\n  {}\n) >= 0", both.join("\nor\n  "))
}

/// What an engine signal reads of the replicas that `matchers` select, by engine; of a histogram, by bucket too.
pub(crate) fn selected(table: &[Engine], engines: &Engines, matchers: &str) -> String {
    let own = |source: &EngineSource| {
        let select = [source.select.as_str(), matchers].into_iter().filter(|m| !m.is_empty());
        EngineSource { select: select.collect::<Vec<_>>().join(","), ..source.clone() }
    };
    let readings: Vec<_> = engines
        .sources
        .iter()
        .filter(|source| !source.milliseconds && source.plus.is_none())
        .map(own)
        .flat_map(|source| {
            readings(table, &source, engines.kind, |prefix, metric| reading(&source, engines, prefix, metric))
        })
        .collect();
    let by = if engines.kind == EngineKind::Histogram { ", le" } else { "" };
    aggregated(&engines.aggregate, by, &readings)
}

fn reading(source: &EngineSource, engines: &Engines, prefix: &str, metric: &str) -> String {
    let select = if source.select.is_empty() { String::new() } else { format!("{{{}}}", source.select) };
    let latest = patient(&format!("{metric}{select}"));
    let value = match engines.kind {
        EngineKind::Gauge if !source.numbers.is_empty() => {
            let numbers = source.numbers.iter().map(|label| number(&latest, label));
            format!("{} >= 0", numbers.collect::<Vec<_>>().join(" * "))
        }
        EngineKind::Gauge => format!("{latest}{}", times(source, prefix, metric)),
        EngineKind::Rate => format!("rate({metric}{select}[5m])"),
        EngineKind::Histogram => format!("rate({metric}_bucket{select}[5m])"),
    };
    let value = match &source.model {
        Some(label) => format!("label_replace({value}, \"model\", \"$1\", \"{label}\", \"(.+)\")"),
        None => value,
    };
    let Some(keep) = &engines.keep else { return value };
    match (&source.rename, &source.set) {
        // Of these engines an abort is the client's: its connection ended.
        (Some(label), _) => format!(
            "label_replace(label_replace({value}, \"{keep}\", \"$1\", \"{label}\", \"(.+)\"), \"{keep}\", \"cancelled\", \"{label}\", \"abort\")"
        ),
        // Series of the engine that differ in a label of this name are summed here.
        (None, Some(fixed)) => {
            let sum = |value: &str| format!("sum without ({keep}, is_streaming) ({value})");
            let own = sum(&value);
            // A counter of all endings, less one that counts some of them apart.
            let own = source.minus.as_ref().map_or_else(
                || own.clone(),
                |minus| {
                    let part = sum(&format!("rate({prefix}{minus}[5m])"));
                    format!("({own} - ({part} or {own} * 0))")
                },
            );
            format!("label_replace({own}, \"{keep}\", \"{fixed}\", \"\", \"\")")
        }
        (None, None) => value,
    }
}

/// The number in a label of an info series: the only bound of a histogram of one observation is its largest value. Where
/// the label holds none, the result is none.
fn number(info: &str, label: &str) -> String {
    format!(
        "histogram_quantile(1, label_replace({info}, \"le\", \"$1\", \"{label}\", \"(.+)\") or label_replace({info}, \"le\", \"+Inf\", \"\", \"\"))"
    )
}

/// The gauge by which a source is multiplied, spelt as the source is here.
fn times(source: &EngineSource, prefix: &str, metric: &str) -> String {
    let Some(times) = &source.times else { return String::new() };
    let own =
        metric.strip_prefix(prefix).and_then(|name| source.metric.strip_suffix(name)).unwrap_or_default();
    let on =
        source.select.split_once('=').map(|(label, _)| format!("ignoring ({label}) ")).unwrap_or_default();
    format!(" * {on}{}", patient(&format!("{prefix}{}", times.strip_prefix(own).unwrap_or(times))))
}

/// How many bounds of known layouts on each side of a promise are looked for: an operator may have changed
/// the layout.
const NEAREST: usize = 3;

/// Requests per second by engine, and those slower than `bound` seconds: the buckets beside the bound,
/// interpolated in the engine's own layout.
pub(crate) fn late(table: &[Engine], engines: &Engines, bound: f64) -> (String, String) {
    let mut known: Vec<f64> = engines.layouts.values().flatten().copied().collect();
    known.sort_by(f64::total_cmp);
    known.dedup();
    let (mut all, mut late) = (Vec::new(), Vec::new());
    for source in &engines.sources {
        let scale = if source.milliseconds { 1000.0 } else { 1.0 };
        let Some(layout) = source.layout.as_ref().and_then(|layout| engines.layouts.get(layout)) else {
            continue;
        };
        let scaled =
            |bounds: Vec<f64>| -> Vec<String> { bounds.iter().map(|le| le_text(le * scale)).collect() };
        let below = known.iter().rev().filter(|le| **le <= bound).take(NEAREST).copied();
        let above = known.iter().filter(|le| **le >= bound).take(NEAREST).copied();
        let (below, mut above) = (scaled(below.collect()), scaled(above.collect()));
        above.push("\\\\+Inf".to_owned());
        let share = share_below(layout, bound);
        all.extend(readings(table, source, engines.kind, |_, metric| {
            format!("rate({metric}_bucket{{le=\"+Inf\"}}[5m])")
        }));
        late.extend(readings(table, source, engines.kind, |_, metric| {
            let rate = |le: &[String]| format!("rate({metric}_bucket{{le=~\"{}\"}}[5m])", le.join("|"));
            let count = format!("max without (le) (rate({metric}_bucket{{le=\"+Inf\"}}[5m]))");
            let high = format!("min without (le) ({})", rate(&above));
            let low = if below.is_empty() {
                format!("{high} * 0")
            } else {
                format!("(max without (le) ({}) or {high} * 0)", rate(&below))
            };
            format!("({count} - {low} * {} - {high} * {})", decimal(1.0 - share), decimal(share))
        }));
    }
    (aggregated("sum", "", &all), aggregated("sum", "", &late))
}

/// How far `bound` lies between its neighbours in a layout: 0 at the lower one.
fn share_below(layout: &[f64], bound: f64) -> f64 {
    let low = layout.iter().copied().filter(|le| *le <= bound).fold(0.0, f64::max);
    let high = layout.iter().copied().filter(|le| *le >= bound).fold(f64::INFINITY, f64::min);
    let share = (bound - low) / (high - low);
    if share.is_finite() { share } else { 0.0 }
}

/// A bound as engines print it in the label `le`, as a regular expression: whole numbers as `1` or `1.0`, by
/// client and by Prometheus version, and powers of a fraction with all their digits.
fn le_text(le: f64) -> String {
    let text = decimal(le);
    match text.split_once('.') {
        None => format!("{text}(\\\\.0)?"),
        Some((whole, digits)) if digits.len() > 6 => format!("{whole}\\\\.{}.*", &digits[..6]),
        Some((whole, digits)) => format!("{whole}\\\\.{digits}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{le_text, share_below, spellings};
    use crate::{
        catalogue::Catalogue,
        model::{EngineKind, EngineSource},
    };

    #[test]
    fn a_promise_between_two_bounds_is_interpolated_and_one_at_a_bound_is_exact() {
        let layout = [0.5, 1.0, 2.5];
        assert!((share_below(&layout, 1.5) - 1.0 / 3.0).abs() < 1e-12);
        assert!(share_below(&layout, 1.0).abs() < 1e-12 && share_below(&layout, 9.0).abs() < 1e-12);
        assert!((share_below(&layout, 0.25) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn bounds_match_every_client() {
        assert_eq!(le_text(1.0), "1(\\\\.0)?");
        assert_eq!(le_text(0.025), "0\\\\.025");
        assert_eq!(le_text(0.065_684_083_557_128_9), "0\\\\.065684.*");
    }

    #[test]
    fn wrappers_spell_names_in_their_own_ways() {
        let catalogue = Catalogue::builtin().unwrap();
        let spelt = |metric: &str, kind| {
            let source = EngineSource { metric: metric.to_owned(), ..EngineSource::default() };
            spellings(&catalogue.engines, &source, kind).map(|(_, name)| name).collect::<Vec<_>>()
        };
        assert_eq!(
            spelt("sglang:token_usage", EngineKind::Gauge),
            ["sglang:token_usage", "sglang_token_usage", "ray_sglang_token_usage"]
        );
        assert_eq!(spelt("tgi_queue_size", EngineKind::Gauge), ["tgi_queue_size"]);
        assert_eq!(
            spelt("tgi_request_success", EngineKind::Rate),
            ["tgi_request_success", "tgi_request_success_total"]
        );
        assert!(
            spelt("vllm:prompt_tokens_total", EngineKind::Rate)
                .contains(&"ray_vllm_prompt_tokens_total".to_owned())
        );
    }
}
