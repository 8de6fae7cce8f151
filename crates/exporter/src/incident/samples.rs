//! The fine samples as text: JSON, one sample a line, or OpenMetrics with timestamps.

use std::fmt::Write as _;

use naming::{Id, MetricKind};
use serde_json::{Map, json};

use crate::sampling::fine::Series;

/// The longest response.
pub const BYTES_MAX: usize = 32 << 20;

fn labels(series: &Series) -> Vec<(&'static str, String)> {
    let mut all: Vec<_> = series.identity.labels().map(|(name, value)| (name, value.to_owned())).collect();
    series.labels.for_each(|label, value| all.push((label.name(), value.to_string())));
    all
}

/// One JSON object a line, series after series.
///
/// # Errors
/// When it is longer than [`BYTES_MAX`].
pub fn json_lines(all: &[Series]) -> Result<String, ()> {
    let mut out = String::new();
    for series in all {
        let labels: Map<_, _> =
            labels(series).into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let name = series.id.metric().name;
        for (time, value) in &series.samples {
            let line =
                json!({ "time": *time as f64 / 1e3, "metric": name, "labels": labels, "value": value });
            writeln!(out, "{line}").map_err(|_| ())?;
        }
        if out.len() > BYTES_MAX {
            return Err(());
        }
    }
    Ok(out)
}

/// OpenMetrics, each family once, in catalogue order.
///
/// # Errors
/// As [`json_lines`].
pub fn openmetrics(all: &mut [Series]) -> Result<String, ()> {
    let mut out = String::new();
    all.sort_by_key(|series| series.id);
    let mut last: Option<Id> = None;
    for series in all {
        let metric = series.id.metric();
        let name = metric.name.unwrap_or_default();
        if last.replace(series.id) != Some(series.id) {
            let (family, kind) = match metric.kind {
                MetricKind::Counter => (name.trim_end_matches("_total"), "counter"),
                _ => (name, "gauge"),
            };
            writeln!(out, "# HELP {family} {}.\n# TYPE {family} {kind}", metric.help).map_err(|_| ())?;
        }
        let escape = |text: String| text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"");
        let labels = labels(series).into_iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value)));
        let labels = labels.collect::<Vec<_>>().join(",");
        for (time, value) in &series.samples {
            writeln!(out, "{name}{{{labels}}} {value} {}.{:03}", time / 1000, time % 1000).map_err(|_| ())?;
        }
        if out.len() > BYTES_MAX {
            return Err(());
        }
    }
    out.push_str("# EOF\n");
    Ok(out)
}
