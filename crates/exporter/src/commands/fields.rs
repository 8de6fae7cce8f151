//! The `fields` command: the catalogue as a table for people and as JSON for machines.

use std::{collections::BTreeMap, fmt::Write};

use naming::{METRICS, Metric, Scope};
use serde::Serialize;

#[derive(Serialize)]
struct Field {
    /// `null` for a quantity that only vendors' vocabularies have.
    name: Option<&'static str>,
    kind: &'static str,
    unit: &'static str,
    scope: &'static str,
    labels: Vec<&'static str>,
    help: String,
    /// By family, the call or file.
    sources: BTreeMap<&'static str, &'static str>,
    /// Why there is no source, or nothing.
    sourceless: &'static str,
    /// The counter that integrates this ratio.
    integral: Option<&'static str>,
    vendor: Vec<NameOfVendor>,
}

#[derive(Serialize)]
struct NameOfVendor {
    name: &'static str,
    family: &'static str,
    kind: &'static str,
    unit: &'static str,
    /// The readings that get this name, by their labels.
    when: BTreeMap<&'static str, &'static str>,
    help: &'static str,
}

fn field(metric: &Metric) -> Field {
    Field {
        name: metric.name,
        kind: metric.kind.name(),
        unit: metric.unit.suffix(),
        scope: match metric.scope {
            Scope::Device => "device",
            Scope::Exporter => "exporter",
        },
        labels: metric.labels.iter().map(|label| label.name()).collect(),
        help: metric.help_text(),
        sources: metric.sources().map(|(family, source)| (family.name(), source)).collect(),
        sourceless: metric.sourceless,
        integral: metric.integral.and_then(|id| id.metric().name),
        vendor: metric
            .vendor_names()
            .map(|vendor| NameOfVendor {
                name: vendor.name,
                family: vendor.family.name(),
                kind: vendor.kind.name(),
                unit: vendor.unit.symbol(),
                when: vendor.when.iter().map(|(label, value)| (label.name(), *value)).collect(),
                help: vendor.help,
            })
            .collect(),
    }
}

/// For machines: a list of all entries.
pub fn json() -> String {
    let fields: Vec<_> = METRICS.iter().map(field).collect();
    let mut text = serde_json::to_string_pretty(&fields).expect("no map has keys other than strings");
    text.push('\n');
    text
}

/// For people: a line per entry, and below it a line per vendor name.
pub fn table() -> String {
    let rows = METRICS.iter().flat_map(|metric| {
        let sources: Vec<_> = metric.sources().map(|(family, _)| family.name()).collect();
        let unified = metric.name.map(|name| {
            [name.to_owned(), metric.kind.name().into(), metric.unit.suffix().into(), sources.join(",")]
        });
        let vendor = metric.vendor_names().map(|vendor| {
            let when: Vec<_> = vendor.when.iter().map(|(label, value)| format!("{label}={value}")).collect();
            let when = if when.is_empty() { String::new() } else { format!(" {{{}}}", when.join(",")) };
            let name = format!("  {}{when}", vendor.name);
            [name, vendor.kind.name().into(), vendor.unit.symbol().into(), vendor.family.name().into()]
        });
        unified.into_iter().chain(vendor)
    });
    let heading = ["NAME", "KIND", "UNIT", "SOURCES"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(heading).chain(rows).collect();
    let widths =
        [0, 1, 2].map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    rows.iter().fold(String::new(), |mut text, [name, kind, unit, sources]| {
        let line = format!("{name:0$}  {kind:1$}  {unit:2$}  {sources}", widths[0], widths[1], widths[2]);
        writeln!(text, "{}", line.trim_end()).expect("a string takes everything");
        text
    })
}
