//! Why series are missing on a machine: from the exporter's own reasons and the catalogue.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use naming::{Absence, Family, FaultCode, METRICS, Metric, Scope, catalogue::DEVICES_EXPECTED};
use promql_parser::parser::VectorSelector;
use serde_json::Value;

use super::{
    query::{Query, takes},
    shown::{Rule, Shown},
};

/// What is missing, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// Whether another machine of the same family may have it: the exporter gave the reason.
    pub of_machine: bool,
    /// The series.
    pub series: String,
    /// Why.
    pub reason: String,
}

impl Missing {
    fn new(of_machine: bool, series: &str, reason: &str) -> Self {
        Self { of_machine, series: format!("`{series}`"), reason: reason.to_owned() }
    }
}

/// Reasons that pass by themselves, so that they explain nothing that stays empty.
const PASSING: [FaultCode; 3] = [FaultCode::FirstReading, FaultCode::CounterStands, FaultCode::NoTime];

/// Series that a healthy machine does not have: their names, and why.
const QUIET: [(&str, &str); 12] = [
    ("ALERTS", "no alert fires on a healthy machine"),
    ("accel_error_last_timestamp_seconds", "no critical event has happened"),
    ("accelscope_source_faults_total", "every call returned a value"),
    ("accelscope_http_requests_total", "every response is a success"),
    ("accel_host_cpu_seconds_total", HOST),
    ("accel_host_memory_available_bytes", HOST),
    ("scrape_duration_seconds", SCRAPE),
    ("scrape_samples_scraped", SCRAPE),
    ("up", SCRAPE),
    ("accel_workload_info", HOLDER),
    ("accel_workload_memory_used_bytes", HOLDER),
    ("accelscope_workloads_up", HOLDER),
];
const HOLDER: &str =
    "nobody holds the devices: there is neither a kubelet nor a batch system, and no process";
const HOST: &str = "it is exported only with `--host.metrics`";
const SCRAPE: &str = "Prometheus adds it when it scrapes, and this page is made without a scrape";

/// A value that no call returned.
struct Absent {
    family: &'static str,
    labels: BTreeMap<String, String>,
    reason: String,
}

/// What is known of a machine.
pub struct Reasons<'s> {
    shown: &'s Shown,
    families: Vec<Family>,
    /// By metric.
    absent: BTreeMap<String, Vec<Absent>>,
    /// The expressions that have results.
    results: &'s BTreeSet<&'s str>,
}

/// The families of the devices in the JSON of `probe`.
pub fn families(probe: &Value) -> Vec<Family> {
    let has_devices = |name: &str| {
        let mut sources = probe["sources"].as_array().into_iter().flatten();
        sources.any(|source| source["source"] == name && source["devices"] != Value::Array(Vec::new()))
    };
    Family::ALL.into_iter().filter(|family| has_devices(family.name())).collect()
}

impl<'s> Reasons<'s> {
    /// Reads the JSON of `probe`.
    pub fn new(shown: &'s Shown, probe: &Value, results: &'s BTreeSet<&'s str>) -> Result<Self> {
        let families = families(probe);
        let mut absent: BTreeMap<String, Vec<Absent>> = BTreeMap::new();
        for source in probe["sources"].as_array().context("sources")? {
            let family = families.iter().find(|family| source["source"] == family.name());
            let Some(family) = family.map(|family| family.name()) else { continue };
            let devices = source["devices"].as_array().context("devices")?;
            for metric in devices.iter().flat_map(|device| device["metrics"].as_array().into_iter().flatten())
            {
                for one in metric["absent"].as_array().context("absent")? {
                    let word = |key: &str| one[key].as_str().unwrap_or_default();
                    let code = word("code");
                    if PASSING.iter().any(|passing| passing.name() == code) {
                        continue;
                    }
                    let meaning = match word("meaning") {
                        _ if code == FaultCode::NeedsXpuBackend.name() => "Only Level Zero reports it.",
                        "" if word("kind") == Absence::Unsupported.name() => {
                            "This device, driver or mode does not have it."
                        }
                        meaning => meaning,
                    };
                    let name = metric["metric"].as_str().context("a metric")?.to_owned();
                    absent.entry(name).or_default().push(Absent {
                        family,
                        labels: serde_json::from_value(one["labels"].clone())?,
                        reason: format!("`{}`, `{code}`. {meaning}", word("call")),
                    });
                }
            }
        }
        Ok(Self { shown, families, absent, results })
    }

    /// Whether an item with these labels, or a selector, is about a device of the machine.
    pub fn concerns(&self, selectors: &[VectorSelector], labels: &BTreeMap<String, String>) -> bool {
        match labels.get("family") {
            Some(family) => self.families.iter().any(|known| known.name() == family),
            None => selectors.iter().any(|selector| !self.of(selector).is_empty()),
        }
    }

    /// The families of the machine that a selector takes.
    fn of(&self, selector: &VectorSelector) -> Vec<Family> {
        let families = self.families.iter().copied();
        families.filter(|family| takes(selector, "family", family.name())).collect()
    }

    /// Why a query has no result; empty when it has one, or when nothing is known.
    pub fn of_query(&self, query: &Query) -> BTreeSet<Missing> {
        if self.results.contains(&*query.text) {
            return BTreeSet::new();
        }
        if self.results.contains(&*query.unconditional) {
            let reason = "the condition does not hold on a healthy machine";
            return [Missing { series: "its condition".to_owned(), ..Missing::new(false, "", reason) }]
                .into();
        }
        query.selectors.iter().flat_map(|selector| self.of_selector(selector)).collect()
    }

    /// Why a selector has no series; empty when it has some, or when nothing is known.
    pub fn of_selector(&self, selector: &VectorSelector) -> BTreeSet<Missing> {
        let Some(name) = selector.name.as_deref() else { return BTreeSet::new() };
        if self.results.contains(&*selector.to_string()) {
            return BTreeSet::new();
        }
        let one = |reason: &str| BTreeSet::from([Missing::new(false, name, reason)]);
        if let Some((_, reason)) = QUIET.iter().find(|(quiet, _)| *quiet == name) {
            return one(reason);
        }
        let records = |rule: &&Rule| {
            let mut labels = rule.labels.iter().filter(|(label, _)| *label != "family");
            rule.record.as_deref() == Some(name) && labels.all(|(label, value)| takes(selector, label, value))
        };
        let recordings: Vec<_> = self.shown.rules.iter().filter(records).collect();
        if !recordings.is_empty() {
            let of_family = |family: &String| takes(selector, "family", family);
            let taken = |rule: &&&Rule| rule.labels.get("family").is_none_or(of_family);
            let ours = recordings.iter().filter(taken).filter(|rule| self.concerns(&[], &rule.labels));
            let ours: Vec<_> = ours.collect();
            if ours.is_empty() {
                let families: BTreeSet<_> =
                    recordings.iter().filter_map(|rule| rule.labels.get("family")).collect();
                let families: Vec<_> = families.into_iter().map(|family| format!("`{family}`")).collect();
                return one(&format!("it is recorded for {} alone", families.join(", ")));
            }
            return ours.into_iter().flat_map(|rule| self.of_query(&rule.query)).collect();
        }
        if name.contains("llm") {
            return one("it is of an inference engine, and none runs here");
        }
        let reads = |metric: &&Metric| metric.name == Some(name);
        let Some(metric) = METRICS.iter().find(reads) else { return BTreeSet::new() };
        let families = self.of(selector);
        if families.is_empty() {
            return one("the machine has no device of that family");
        }
        if metric.name == Some(DEVICES_EXPECTED.name())
            && families.iter().all(|family| family.pci().is_none())
        {
            return one("sockets are not on the PCI bus");
        }
        if metric.scope == Scope::Exporter {
            return BTreeSet::new();
        }
        families.into_iter().flat_map(|family| self.of_metric(metric, family, selector)).collect()
    }

    fn of_metric(&self, metric: &Metric, family: Family, selector: &VectorSelector) -> BTreeSet<Missing> {
        // The exporter integrates some counters itself.
        let integrates = |ratio: &&Metric| ratio.integral.is_some_and(|id| id.metric().name == metric.name);
        let metric = METRICS.iter().find(integrates).unwrap_or(metric);
        let name = metric.name.unwrap_or_default();
        if metric.source(family).is_none() {
            let reason = format!("no source of the family `{family}` reports it");
            return [Missing::new(false, name, &reason)].into();
        }
        let absent = self.absent.get(name).into_iter().flatten();
        let absent: Vec<_> = absent.filter(|absent| absent.family == family.name()).collect();
        let is_taken = |absent: &&&Absent| {
            let mut labels = absent.labels.iter();
            labels.all(|(label, value)| takes(selector, label, value))
        };
        let own: Vec<_> = absent.iter().filter(is_taken).copied().collect();
        // Where several parts lack the same, the exporter names one of them.
        let named = if own.is_empty() { absent } else { own };
        named.into_iter().map(|absent| Missing::new(true, name, &absent.reason)).collect()
    }
}
