//! Every query of every panel, against the Prometheus of the run: it returns data, or it is listed with the
//! reason.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use e2e::{Prometheus, artefacts::repository, encoded};
use serde_json::Value;

/// Queries that this fleet has no data for: dashboard, panel (`*` for all that are not listed), reason.
const SILENT: [(&str, &str, &str); 6] = [
    ("accelscope-fleet-intel-server", "*", "no Gaudi, Arc or Xeon in this fleet"),
    ("accelscope-fleet-intel-edge", "*", "no NPU in this fleet"),
    (
        "accelscope-device",
        "Degrees below the slowdown limit",
        "NVIDIA's bands are absolute: no such recording",
    ),
    ("accelscope-device", "Cycles in which AMX works", "no Xeon in this fleet"),
    ("accelscope-device", "Integrated GPU busy", "no integrated GPU in this fleet"),
    ("accelscope-device", "NPU busy", "no NPU in this fleet"),
];

/// Panels that have data or not by when a run begins, and why.
const SELDOM: [(&str, &str); 1] = [(
    "Matrix units busy, prefill",
    "shown while nine tokens in ten are of prompts, which the load is not always",
)];

/// How far back panels look here, in seconds: the run itself.
const RANGE: u64 = 60;

/// One query of a panel.
struct Query {
    dashboard: String,
    panel: String,
    expr: String,
    instant: bool,
}

/// Asks every query, prints what is listed, and fails on any that is silent and not listed, or listed and not
/// silent.
pub fn answer(prometheus: &Prometheus) -> Result<()> {
    let queries = queries(prometheus)?;
    ensure!(queries.len() > 50, "only {} queries", queries.len());
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    let mut silent = BTreeMap::<_, usize>::new();
    for query in &queries {
        let listed = SILENT
            .iter()
            .position(|(dashboard, panel, _)| *dashboard == query.dashboard && *panel == query.panel)
            .or_else(|| {
                SILENT.iter().position(|(dashboard, panel, _)| *dashboard == query.dashboard && *panel == "*")
            });
        let has_data = ask(prometheus, query)?;
        match (listed, has_data) {
            (None, _) if SELDOM.iter().any(|(panel, _)| *panel == query.panel) => {}
            (None, true) => {}
            (Some(at), false) => {
                used.insert(at);
                *silent.entry(SILENT[at]).or_default() += 1;
            }
            (None, false) => {
                wrong.push(format!("no data: {} / {}: {}", query.dashboard, query.panel, query.expr));
            }
            (Some(_), true) => {
                wrong.push(format!("data although listed: {} / {}", query.dashboard, query.panel));
            }
        }
    }
    ensure!(wrong.is_empty(), "{} of {} queries:\n{}", wrong.len(), queries.len(), wrong.join("\n"));
    for (at, entry) in SILENT.iter().enumerate() {
        ensure!(used.contains(&at), "{entry:?} is listed and no such query exists");
    }
    let without: usize = silent.values().sum();
    println!("dashboards: {} queries, {} with data", queries.len(), queries.len() - without);
    for ((dashboard, panel, reason), count) in silent {
        println!("  {count} without: {dashboard} / {panel}: {reason}");
    }
    for (panel, reason) in SELDOM {
        println!("  with or without: {panel}: {reason}");
    }
    Ok(())
}

fn ask(prometheus: &Prometheus, query: &Query) -> Result<bool> {
    let expr = encoded(&query.expr)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let path = if query.instant {
        format!("query?query={expr}")
    } else {
        format!("query_range?query={expr}&start={}&end={now}&step=5", now - RANGE)
    };
    let answer = prometheus.api(&path).with_context(|| format!("{} / {}", query.dashboard, query.panel))?;
    Ok(answer["result"].as_array().is_some_and(|series| !series.is_empty()))
}

/// What `All` of a variable stands for, as Grafana expands it: a text of its own, or every value that there
/// is.
fn all(prometheus: &Prometheus, variable: &Value, expand: &dyn Fn(&str) -> String) -> Result<String> {
    let query = variable["query"]["query"].as_str().or(variable["query"].as_str()).unwrap_or_default();
    if let Some(text) = variable["allValue"].as_str().filter(|text| !text.is_empty()) {
        return Ok(text.to_owned());
    }
    let (function, inside) = query.trim_end_matches(')').split_once('(').unwrap_or_default();
    // The variable is called as the label, and the other function lists whole series.
    let name = variable["name"].as_str().unwrap_or_default();
    let (expr, label) = match function {
        "label_values" => inside.rsplit_once(',').context(query.to_owned())?,
        _ => (&query[function.len()..], name),
    };
    let series = prometheus.query(&expand(expr))?;
    let values: BTreeSet<&str> =
        series.iter().filter_map(|(labels, _)| labels[label.trim()].as_str()).collect();
    Ok(values.into_iter().collect::<Vec<_>>().join("|"))
}

fn expand(expr: &str, words: &[(String, String)]) -> String {
    // The longest first: a name may begin with another.
    let mut words: Vec<_> = words.iter().collect();
    words.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
    words.into_iter().fold(expr.to_owned(), |expr, (word, value)| {
        expr.replace(&format!("${{{word}}}"), value).replace(&format!("${word}"), value)
    })
}

fn queries(prometheus: &Prometheus) -> Result<Vec<Query>> {
    let mut queries = Vec::new();
    for entry in fs::read_dir(repository().join("dashboards"))? {
        let board: Value = serde_json::from_str(&fs::read_to_string(entry?.path())?)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut words: Vec<(String, String)> =
            [("__range", "1m"), ("__rate_interval", "8s"), ("__interval", "2s")]
                .map(|(word, value)| (word.to_owned(), value.to_owned()))
                .into();
        for variable in board["templating"]["list"].as_array().context("variables")? {
            if variable["type"] == "query" {
                let value = all(prometheus, variable, &|expr| expand(expr, &words))?;
                words.push((text(&variable["name"]), value));
            }
        }
        let mut panels: Vec<&Value> = board["panels"].as_array().context("panels")?.iter().collect();
        while let Some(panel) = panels.pop() {
            panels.extend(panel["panels"].as_array().into_iter().flatten());
            for target in panel["targets"].as_array().into_iter().flatten() {
                queries.push(Query {
                    dashboard: text(&board["uid"]),
                    panel: text(&panel["title"]),
                    expr: expand(&text(&target["expr"]), &words),
                    instant: target["instant"] == true,
                });
            }
        }
    }
    Ok(queries)
}
