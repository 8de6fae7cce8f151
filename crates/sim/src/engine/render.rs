//! A table and a state in, text 0.0.4 out, in the dialect of the engine's client library.

use std::fmt::Write as _;

use super::Options;
use super::load::Levels;
use super::table::{Dialect, Family, MODEL, MetricKind, Series, Table, Value};
use super::totals::{Count, Histogram, Totals};

/// The quantiles that a summary reports.
const QUANTILES: [f64; 7] = [0.0, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0];

/// A bucket's or a quantile's label, which some clients put last.
type Extra<'a> = Option<(&'static str, &'a str)>;

struct Renderer<'a> {
    table: &'a Table,
    options: &'a Options,
    out: String,
}

/// The exposition.
pub fn exposition(table: &Table, options: &Options, levels: &Levels, totals: &Totals) -> String {
    let mut renderer = Renderer { table, options, out: String::new() };
    let mut histograms = totals.histograms().iter();
    for family in &table.families {
        let mut is_headed = false;
        for series in &family.series {
            // Totals have the order of the same table.
            let histogram = matches!(series.value, Value::Histogram(..)).then(|| histograms.next()).flatten();
            let is_begun = match &series.value {
                Value::Counts(counts) => {
                    let is_level = family.kind == MetricKind::Gauge && table.dialect != Dialect::Ray;
                    is_level || totals.sum_of(counts) > 0
                }
                Value::Histogram(..) => histogram.is_some_and(|histogram| histogram.count() > 0),
                Value::AcceptedPerDraft => totals.sum_of(&[Count::Drafts]) > 0,
                Value::Constant(_) | Value::Level(_) => true,
            };
            if !is_begun && table.dialect.begins_with_first_event() {
                continue;
            }
            if !is_headed {
                renderer.head(&family.name, &family.help, family.kind);
                is_headed = true;
            }
            match &series.value {
                Value::Constant(number) => renderer.line(family, series, "", None, *number),
                Value::Level(level) => renderer.line(family, series, "", None, level(levels)),
                Value::Counts(counts) => {
                    renderer.line(family, series, "", None, totals.sum_of(counts) as f64);
                }
                Value::Histogram(_, _, bounds) => {
                    if let Some(histogram) = histogram {
                        renderer.histogram(family, series, bounds, histogram);
                    }
                }
                Value::AcceptedPerDraft => renderer.accepted(family, series, levels, totals),
            }
        }
        if table.dialect == Dialect::Python
            && matches!(family.kind, MetricKind::Counter | MetricKind::Histogram)
        {
            renderer.created(family);
        }
        if table.dialect == Dialect::Rust && is_headed {
            renderer.out.push('\n');
        }
    }
    renderer.out
}

impl Renderer<'_> {
    fn head(&mut self, name: &str, help: &str, kind: MetricKind) {
        if !help.is_empty() {
            writeln!(self.out, "# HELP {name} {help}").expect("a string takes all");
        }
        writeln!(self.out, "# TYPE {name} {}", kind.name()).expect("a string takes all");
    }

    fn histogram(&mut self, family: &Family, series: &Series, bounds: &[f64], histogram: &Histogram) {
        let (count, sum) = (("_count", histogram.count() as f64), ("_sum", histogram.sum()));
        let (head, tail): (&[_], &[_]) = match self.table.dialect {
            Dialect::Python | Dialect::Ray => (&[], &[count, sum]),
            Dialect::PythonProcesses => (&[sum], &[count]),
            Dialect::Rust => (&[], &[sum, count]),
            Dialect::Cpp => (&[count, sum], &[]),
        };
        for (suffix, value) in head {
            self.line(family, series, suffix, None, *value);
        }
        let bounds = bounds.iter().copied().chain([f64::INFINITY]);
        for (bound, cumulative) in bounds.zip(histogram.cumulative()) {
            let bound = self.number(bound);
            let extra = Some(("le", bound.as_str()));
            self.line(family, series, "_bucket", extra, cumulative as f64);
        }
        for (suffix, value) in tail {
            self.line(family, series, suffix, None, *value);
        }
    }

    fn accepted(&mut self, family: &Family, series: &Series, levels: &Levels, totals: &Totals) {
        for quantile in QUANTILES {
            let text = self.number(quantile);
            let extra = Some(("quantile", text.as_str()));
            self.line(family, series, "", extra, levels.accepted_quantile(quantile));
        }
        let accepted = totals.sum_of(&[Count::Accepted0, Count::Accepted1, Count::Accepted2]);
        self.line(family, series, "_sum", None, accepted as f64);
        self.line(family, series, "_count", None, totals.sum_of(&[Count::Drafts]) as f64);
    }

    /// When each series began, as a family of its own.
    fn created(&mut self, family: &Family) {
        let stem = match family.kind {
            MetricKind::Counter => family.name.strip_suffix("_total").unwrap_or(&family.name),
            _ => family.name.as_str(),
        };
        let name = format!("{stem}_created");
        self.head(&name, &family.help, MetricKind::Gauge);
        for series in &family.series {
            self.sample(&name, series, None, self.options.started as f64);
        }
    }

    fn line(&mut self, family: &Family, series: &Series, suffix: &str, extra: Extra<'_>, value: f64) {
        self.sample(&format!("{}{suffix}", family.name), series, extra, value);
    }

    fn sample(&mut self, name: &str, series: &Series, extra: Extra<'_>, value: f64) {
        let model = self.options.model.as_str();
        let labels = series.labels.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let mut labels: Vec<(&str, &str)> =
            labels.map(|(name, text)| (name, if text == MODEL { model } else { text })).collect();
        match self.table.dialect {
            Dialect::Python | Dialect::PythonProcesses | Dialect::Ray => {
                labels.extend(extra);
                labels.sort_unstable();
            }
            Dialect::Cpp => {
                labels.sort_unstable();
                labels.extend(extra);
            }
            Dialect::Rust => labels.extend(extra),
        }
        self.out.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let open = if index == 0 { '{' } else { ',' };
            write!(self.out, "{open}{label}=\"{text}\"").expect("a string takes all");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let value = self.number(value);
        writeln!(self.out, "{close} {value}").expect("a string takes all");
    }

    /// A number as the client writes it.
    fn number(&self, value: f64) -> String {
        match self.table.dialect {
            _ if value.is_infinite() => "+Inf".to_owned(),
            Dialect::Rust | Dialect::Cpp => format!("{value}"),
            Dialect::Python | Dialect::PythonProcesses | Dialect::Ray => python(value),
        }
    }
}

/// Python's shortest form; from 1e6 on in the client's imitation of Go, down to its two-digit exponent.
fn python(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-4 {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once("e-").expect("a small number has a negative exponent");
        return format!("{mantissa}e-{exponent:0>2}");
    }
    let text = format!("{value:?}");
    match text.split_once('.') {
        Some((whole, part)) if whole.len() > 6 && value > 0.0 => {
            let digits = format!("{}.{}{part}", &whole[..1], &whole[1..]);
            format!("{}e+0{}", digits.trim_end_matches(['0', '.']), whole.len() - 1)
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::python;

    #[test]
    fn numbers_are_written_as_the_python_client_writes_them() {
        for (value, text) in [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (0.35, "0.35"),
            (0.00005, "5e-05"),
            (999_999.5, "999999.5"),
            (1_000_000.0, "1e+06"),
            (12_345_678.0, "1.2345678e+07"),
            (12_345_678_901.0, "1.2345678901e+010"),
        ] {
            assert_eq!(python(value), text);
        }
    }
}
