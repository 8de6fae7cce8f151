//! What is shown to people: the recordings and alerts of the rule files, and the panels of the dashboards.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context, Result};
use e2e::artefacts::repository;
use serde::Deserialize;
use serde_json::Value;

use super::query::Query;

/// Rule files about devices and the exporter. The others are about inference engines, Prometheus itself, and
/// machines that run dcgm-exporter.
const RULES: [&str; 6] = ["edge", "exporter", "gaudi", "nvidia", "xeon", "xpu"];

/// What Grafana writes for its own variables, in a range of fifteen minutes.
const WORDS: [(&str, &str); 3] = [("__range", "15m"), ("__rate_interval", "5m"), ("__interval", "1m")];

/// A recording or alert.
pub struct Rule {
    /// What it records; `None` for an alert.
    pub record: Option<String>,
    /// As documents call it.
    pub title: String,
    /// Its own labels.
    pub labels: BTreeMap<String, String>,
    /// Its expression.
    pub query: Query,
}

/// One query of a panel.
pub struct Panel {
    /// Dashboard and panel.
    pub title: String,
    /// The dashboard's variables are filled from these; one that is empty hides the dashboard.
    pub needs: Vec<String>,
    /// Its expression.
    pub query: Query,
}

/// All of them.
pub struct Shown {
    /// Of the rule files.
    pub rules: Vec<Rule>,
    /// Of the dashboards.
    pub panels: Vec<Panel>,
}

#[derive(Deserialize)]
struct RuleFile {
    groups: Vec<RuleGroup>,
}

#[derive(Deserialize)]
struct RuleGroup {
    rules: Vec<RuleEntry>,
}

#[derive(Deserialize)]
struct RuleEntry {
    record: Option<String>,
    alert: Option<String>,
    expr: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// The rule files.
pub fn rule_files() -> Vec<PathBuf> {
    RULES.iter().map(|name| repository().join(format!("alerts/{name}.yaml"))).collect()
}

impl Shown {
    /// Reads `alerts/` and `dashboards/`.
    pub fn read() -> Result<Self> {
        let mut rules = Vec::new();
        for path in rule_files() {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let file: RuleFile = serde_saphyr::from_str(&text)?;
            for entry in file.groups.into_iter().flat_map(|group| group.rules) {
                let signal = entry.labels.get("signal").map(|signal| format!("{{{signal}}}"));
                let name = entry.record.as_ref().or(entry.alert.as_ref()).context("a rule has a name")?;
                let title = format!("`{name}{}`", signal.unwrap_or_default());
                let query = Query::new(&entry.expr)?;
                rules.push(Rule { title, record: entry.record, labels: entry.labels, query });
            }
        }
        let mut panels = Vec::new();
        let mut files: Vec<_> = fs::read_dir(repository().join("dashboards"))?.collect::<Result<_, _>>()?;
        files.sort_by_key(fs::DirEntry::path);
        for file in files {
            board(&serde_json::from_str(&fs::read_to_string(file.path())?)?, &mut panels)?;
        }
        Ok(Self { rules, panels })
    }
}

/// Adds the panels of one dashboard.
fn board(board: &Value, panels: &mut Vec<Panel>) -> Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut words: Vec<_> = WORDS.map(|(word, value)| (word.to_owned(), value.to_owned())).into();
    let mut needs = Vec::new();
    for variable in board["templating"]["list"].as_array().context("variables")? {
        if variable["type"] != "query" {
            continue;
        }
        let query = variable["query"]["query"].as_str().or(variable["query"].as_str()).unwrap_or_default();
        let query = expand(query, &words);
        let inside = query.split_once('(').and_then(|(_, inside)| inside.strip_suffix(')'));
        let inside = inside.with_context(|| query.clone())?;
        let label_values = query.starts_with("label_values(").then(|| inside.rsplit_once(',')).flatten();
        needs.push(label_values.map_or(inside, |(expr, _)| expr).to_owned());
        // The values of a variable are those of the machine, but for families that its query leaves out.
        let families = inside.split_once("family=~\"").and_then(|(_, rest)| rest.split_once('"'));
        let values = families.filter(|_| variable["name"] == "family").map_or(".*", |(families, _)| families);
        words.push((text(&variable["name"]), values.to_owned()));
    }
    let mut left: Vec<&Value> = board["panels"].as_array().context("panels")?.iter().rev().collect();
    while let Some(panel) = left.pop() {
        left.extend(panel["panels"].as_array().into_iter().flatten().rev());
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = Query::new(&expand(&text(&target["expr"]), &words))?;
            let dashboard = text(&board["title"]).replace("accelscope: ", "");
            let title = format!("{dashboard}: {}", text(&panel["title"]));
            panels.push(Panel { title, needs: needs.clone(), query });
        }
    }
    Ok(())
}

/// Fills variables in, the longest names first: a name may begin with another.
fn expand(expr: &str, words: &[(String, String)]) -> String {
    let mut words: Vec<_> = words.iter().collect();
    words.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
    words.into_iter().fold(expr.to_owned(), |expr, (word, value)| {
        expr.replace(&format!("${{{word}}}"), value).replace(&format!("${word}"), value)
    })
}
