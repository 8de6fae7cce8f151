//! Which rules a test needs: those that it looks at, and those that they read. promtool parses and evaluates every rule of
//! a file at every minute of each test, so a test over these alone takes a tenth of the time, with the same results.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};
use promql_parser::parser::{VectorSelector, parse};
use serde_json::{Value, json};

use crate::coverage::query::{selectors, takes};

/// The series of alerts that are pending or fire, which Prometheus makes itself.
const ALERTS: [&str; 2] = ["ALERTS", "ALERTS_FOR_STATE"];

/// Where a rule is: its group, and its index there.
pub type Place = (usize, usize);

/// A rule: its place, the names and constant labels of what it makes, and what it reads.
struct Node {
    at: Place,
    names: Vec<String>,
    labels: BTreeMap<String, String>,
    reads: Vec<VectorSelector>,
}

impl Node {
    fn new(at: Place, rule: &Value) -> Result<Self> {
        let mut labels: BTreeMap<String, String> = match &rule["labels"] {
            Value::Null => BTreeMap::new(),
            labels => serde_json::from_value(labels.clone())?,
        };
        // A template is a label with any value.
        labels.retain(|_, value| !value.contains("{{"));
        let names = if let Some(record) = rule["record"].as_str() {
            vec![record.to_owned()]
        } else {
            let alert = rule["alert"].as_str().context("a rule records or alerts")?;
            labels.insert("alertname".to_owned(), alert.to_owned());
            ALERTS.map(str::to_owned).into()
        };
        Ok(Self { at, names, labels, reads: reads(rule["expr"].as_str().context("an expression")?)? })
    }

    /// Whether a selector can take what this rule makes.
    fn feeds(&self, selector: &VectorSelector) -> bool {
        let is_named = match &selector.name {
            Some(name) => self.names.contains(name),
            None => self.names.iter().any(|name| takes(selector, "__name__", name)),
        };
        is_named && self.labels.iter().all(|(label, value)| takes(selector, label, value))
    }
}

/// What an expression selects.
fn reads(expr: &str) -> Result<Vec<VectorSelector>> {
    let parsed = parse(expr).map_err(|error| anyhow!("{expr}: {error}"))?;
    Ok(selectors(&parsed))
}

/// Groups of rules, and what each of them needs.
pub struct Rules {
    groups: Vec<Value>,
    nodes: Vec<Node>,
}

impl Rules {
    /// Of the groups of one file or more.
    pub fn new(groups: Vec<Value>) -> Result<Self> {
        let mut nodes = Vec::new();
        for (g, group) in groups.iter().enumerate() {
            for (r, rule) in group["rules"].as_array().context("a group has rules")?.iter().enumerate() {
                nodes.push(Node::new((g, r), rule)?);
            }
        }
        Ok(Self { groups, nodes })
    }

    /// The groups as they are.
    pub fn groups(&self) -> &[Value] {
        &self.groups
    }

    /// A rule.
    pub fn at(&self, (group, rule): Place) -> &Value {
        &self.groups[group]["rules"][rule]
    }

    /// Places of the rules that an expression reads, directly and through others.
    pub fn behind(&self, expr: &str) -> Result<BTreeSet<Place>> {
        Ok(self.closure(reads(expr)?))
    }

    fn closure(&self, mut open: Vec<VectorSelector>) -> BTreeSet<Place> {
        let mut found = BTreeSet::new();
        while let Some(selector) = open.pop() {
            for node in self.nodes.iter().filter(|node| node.feeds(&selector)) {
                if found.insert(node.at) {
                    open.extend(node.reads.iter().cloned());
                }
            }
        }
        found
    }

    /// Places of the rules that a test looks at, and of those behind them.
    fn of_test(&self, test: &Value) -> Result<BTreeSet<Place>> {
        let checks = |kind: &str| test[kind].as_array().cloned().unwrap_or_default();
        let mut open = Vec::new();
        for check in checks("promql_expr_test") {
            open.extend(reads(check["expr"].as_str().context("a check has an expression")?)?);
        }
        for check in checks("alert_rule_test") {
            let alert = check["alertname"].as_str().context("a check has an alert")?;
            open.extend(reads(&format!("ALERTS{{alertname=\"{alert}\"}}"))?);
        }
        Ok(self.closure(open))
    }
}

/// Groups with some of their rules, in their order; without those that have none.
pub fn only(groups: &[Value], wanted: &BTreeSet<Place>) -> Vec<Value> {
    let kept = groups.iter().enumerate().map(|(g, group)| {
        let rules = group["rules"].as_array().into_iter().flatten().enumerate();
        let rules = rules.filter(|(r, _)| wanted.contains(&(g, *r))).map(|(_, rule)| rule.clone());
        let mut kept = group.clone();
        kept["rules"] = rules.collect();
        kept
    });
    kept.filter(|group| group["rules"].as_array().is_some_and(|rules| !rules.is_empty())).collect()
}

/// Rounds of [`whole`], in minutes: a little less than the five for which a sample counts.
const ROUND: &str = "4m";

/// Test files, each in parts over no more rules than their tests need, written into `folder`.
pub fn narrowed(files: &[PathBuf], folder: &Path) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for file in files {
        let (whole, rules) = read(file)?;
        let rules = Rules::new(rules)?;
        let mut by_need: BTreeMap<BTreeSet<Place>, Vec<Value>> = BTreeMap::new();
        for test in whole["tests"].as_array().context("a test file has tests")? {
            by_need.entry(rules.of_test(test)?).or_default().push(test.clone());
        }
        let stem = file.file_stem().context("a file has a name")?.to_string_lossy();
        for (at, (need, tests)) in by_need.into_iter().enumerate() {
            let mut part = whole.clone();
            part["tests"] = tests.into();
            let rules = only(rules.groups(), &need);
            written.push(write(folder, &format!("{stem}-{at}"), part, &rules)?);
        }
    }
    Ok(written)
}

/// The same with every rule and without what is expected: no rule of a file may fail over any of its data. The tests of
/// a file run at once, each as a cluster of its own, so that rules are evaluated for the longest of them and not for each.
pub fn whole(files: &[PathBuf], folder: &Path) -> Result<Vec<PathBuf>> {
    let seldom = |file: &PathBuf| {
        let (mut whole, rules) = read(file)?;
        whole["evaluation_interval"] = json!(ROUND);
        let mut together: BTreeMap<String, (Vec<Value>, Vec<Value>)> = BTreeMap::new();
        for (at, test) in whole["tests"].as_array().into_iter().flatten().enumerate() {
            let interval = test["interval"].as_str().context("a test has an interval")?;
            let (series, checks) = together.entry(interval.to_owned()).or_default();
            for one in test["input_series"].as_array().into_iter().flatten() {
                let name = in_cluster(one["series"].as_str().context("a series has a name")?, at);
                series.push(json!({ "series": name, "values": one["values"] }));
            }
            let times = ["alert_rule_test", "promql_expr_test"].map(|kind| test[kind].as_array());
            checks.extend(times.into_iter().flatten().flatten().map(|check| {
                json!({
                    "expr": "vector(1)",
                    "eval_time": check["eval_time"],
                    "exp_samples": [{ "labels": "{}", "value": 1 }],
                })
            }));
        }
        let merged = together.into_iter().map(|(interval, (series, checks))| {
            json!({ "interval": interval, "input_series": series, "promql_expr_test": checks })
        });
        whole["tests"] = merged.collect();
        let stem = file.file_stem().context("a file has a name")?.to_string_lossy();
        write(folder, &format!("{stem}-whole"), whole, &rules)
    };
    files.iter().map(seldom).collect()
}

/// A series of the test with this number, in a cluster that no other test has.
fn in_cluster(series: &str, test: usize) -> String {
    if series.contains("cluster=\"") {
        return series.replace("cluster=\"", &format!("cluster=\"{test}-"));
    }
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let comma = if labels.trim_start().starts_with('}') { "" } else { "," };
    format!("{name}{{cluster=\"{test}\"{comma}{labels}")
}

/// A test file, and the groups of the rules that it names.
fn read(file: &Path) -> Result<(Value, Vec<Value>)> {
    let parsed = |file: &Path| -> Result<Value> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        Ok(serde_saphyr::from_str(&text)?)
    };
    let tests = parsed(file)?;
    let mut groups = Vec::new();
    for name in tests["rule_files"].as_array().context("a test names its rules")? {
        let rules = parsed(&file.with_file_name(name.as_str().context("a name")?))?;
        groups.extend(rules["groups"].as_array().context("a rule file has groups")?.iter().cloned());
    }
    Ok((tests, groups))
}

/// Writes a test file and its rules beside it.
fn write(folder: &Path, name: &str, mut tests: Value, groups: &[Value]) -> Result<PathBuf> {
    let rules = format!("{name}-rules.yaml");
    tests["rule_files"] = json!([rules]);
    fs::write(folder.join(rules), json!({ "groups": groups }).to_string())?;
    let path = folder.join(format!("{name}.yaml"));
    fs::write(&path, tests.to_string())?;
    Ok(path)
}
