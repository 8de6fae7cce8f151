//! Which expressions are not empty on a machine: its series go through promtool, with the rule files.

use std::{collections::BTreeSet, fs, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use e2e::Samples;
use serde_json::{Value, json};

use super::shown;

/// Minutes before the evaluation: more than any range of the rules but those of days.
const MINUTES: u32 = 20;

/// Labels that a scrape adds.
const SCRAPED: [(&str, &str); 4] =
    [("cluster", "lab"), ("node", "node"), ("job", "accelscope"), ("instance", "node:9400")];

/// The series of two scrapes in promtool's notation: counters rise on as they rose between the two. On a machine
/// with other work a round may miss a value, so those of either scrape count.
pub fn series(first: &Samples, second: &Samples, between: Duration) -> Vec<Value> {
    let before = |series: &str| first.samples.iter().find(|sample| sample.series == series);
    let known: BTreeSet<_> = second.samples.iter().map(|sample| &sample.series).collect();
    let only_before = first.samples.iter().filter(|sample| !known.contains(&sample.series));
    let finite = second.samples.iter().chain(only_before).filter(|sample| sample.value.is_finite());
    let mut all: Vec<_> = finite
        .map(|sample| {
            let family = second.families.get(&sample.name);
            let counts = family.is_some_and(|family| family.kind == "counter");
            let rise =
                before(&sample.series).filter(|_| counts).map_or(0.0, |before| sample.value - before.value);
            let per_minute = (rise / between.as_secs_f64() * 60.0).max(0.0);
            let mut labels = sample.labels.clone();
            for (name, value) in SCRAPED {
                labels.entry(name.to_owned()).or_insert_with(|| value.to_owned());
            }
            let labels: Vec<_> =
                labels.iter().map(|(name, value)| format!("{name}={}", json!(value))).collect();
            let values = format!("{}+{per_minute}x{MINUTES}", sample.value);
            json!({"series": format!("{}{{{}}}", sample.name, labels.join(",")), "values": values})
        })
        .collect();
    let labels = SCRAPED.map(|(name, value)| format!("{name}=\"{value}\"")).join(",");
    all.push(json!({"series": format!("up{{{labels}}}"), "values": format!("1x{MINUTES}")}));
    all
}

/// Those of the expressions that have a result at the end of the series.
pub fn with_results<'e>(series: &[Value], exprs: &BTreeSet<&'e str>) -> Result<BTreeSet<&'e str>> {
    let eval_time = format!("{MINUTES}m");
    let tests: Vec<_> =
        exprs.iter().map(|expr| json!({"expr": expr, "eval_time": eval_time, "exp_samples": []})).collect();
    let file = json!({
        "rule_files": shown::rule_files(),
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": tests}],
    });
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("coverage.yaml");
    // JSON is YAML.
    fs::write(&path, file.to_string())?;
    // promtool 2.42 sometimes crashes on a busy machine.
    let run = || -> Result<String> {
        let output =
            Command::new("promtool").args(["test", "rules"]).arg(&path).output().context("promtool")?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let finished = |said: &String| said.contains("SUCCESS") || said.contains("FAILED");
    let mut said = run()?;
    if !finished(&said) {
        said = run()?;
    }
    ensure!(finished(&said), "{said}");
    // An unexpected result is reported with its expression, as an error is.
    let mut found = BTreeSet::new();
    for expr in exprs {
        let Some((_, report)) = said.split_once(&format!("expr: {}, time: {eval_time},", json!(expr))) else {
            continue;
        };
        let report = report.split("expr: \"").next().unwrap_or_default();
        ensure!(report.contains("got:"), "{expr}:{report}");
        found.insert(*expr);
    }
    let reported = said.matches("expr: \"").count();
    ensure!(
        reported == found.len(),
        "promtool reports {reported} expressions, of which {} are known",
        found.len()
    );
    Ok(found)
}
