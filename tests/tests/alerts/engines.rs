//! The rules over what the simulated engines print, scraped every minute: each engine while it works, and under what can
//! happen to it.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result, ensure};
use e2e::artefacts::repository;
use serde_json::json;
use sim::{
    control::Engine as Condition,
    engine::{Engine, Options, Reach, STARTED},
    workload::Workload,
};

use super::{needed, promtool::Promtool};

/// When the scrapes begin, unix seconds; and how many there are, one each minute.
const BEGIN: u64 = 1_760_000_040;
const SCRAPES: u64 = 40;

/// What happens after a quarter of an hour.
const TROUBLE: u64 = BEGIN + 15 * 60;

/// An engine, what happens to it, and what must be true half an hour later: expressions that have a result.
struct Case {
    engine: &'static str,
    workload: Workload,
    trouble: Condition,
    holds: &'static [&'static str],
}

const DOWN: &str = "ALERTS{alertname=\"EngineDown\",alertstate=\"firing\"}";
const STALLED: &str = "ALERTS{alertname=\"EngineStalled\",alertstate=\"firing\"}";
const SILENT: &str = "absent(ALERTS{alertname=~\"Engine(Down|Stalled)\",alertstate=\"firing\"})";
const HALF_REFUSED: &str = "llm:completions:ratio{reason=\"rejected\"} > 0.4 < 0.6";

fn trouble() -> Condition {
    Condition { at: Some(TROUBLE as f64), ..Condition::default() }
}

fn cases() -> Vec<Case> {
    let case = |engine, trouble, holds| Case { engine, workload: Workload::Mixed, trouble, holds };
    let stalled = || Condition { stalled: Some(true), ..trouble() };
    let hung = || Condition { hung: Some(true), ..trouble() };
    let dead = || Condition { dead: Some(true), ..trouble() };
    let full = || Condition { rejection_ratio: Some(0.5), ..trouble() };
    let mut cases = vec![
        case("vllm-ray", stalled(), &[STALLED]),
        case("vllm-ray", full(), &[HALF_REFUSED, SILENT]),
        case("tei", stalled(), &[STALLED]),
        case("tei", full(), &[HALF_REFUSED, SILENT]),
        case("tei-rerank", stalled(), &[STALLED]),
        case("tgi", full(), &[HALF_REFUSED, SILENT]),
        case("ovms", full(), &[HALF_REFUSED, SILENT]),
        case("vllm", full(), &[HALF_REFUSED, SILENT]),
        case("vllm", hung(), &[DOWN]),
        // Who asks whether a graph is ready asks it for nothing.
        Case {
            workload: Workload::Idle,
            ..case("ovms", trouble(), &["llm:embedding_requests:rate5m == 0", SILENT])
        },
        case(
            "ovms-model",
            trouble(),
            &["llm:completions:rate5m{model=\"llama\",reason=\"success\"} > 1", SILENT],
        ),
        case(
            "vllm-ray",
            trouble(),
            &[
                "llm:kv_cache_usage:ratio{model=\"llama\"} > 0.1",
                "llm:itl_seconds:p95{model=\"llama\"} > 0",
                SILENT,
            ],
        ),
    ];
    for engine in ["tei", "tei-rerank", "ovms", "ovms-model"] {
        cases.push(case(engine, trouble(), &["llm:embedding_requests:rate5m > 1", SILENT]));
    }
    for engine in ["tei", "ovms", "ovms-model", "vllm-ray"] {
        cases.push(case(engine, dead(), &[DOWN]));
    }
    cases
}

/// Each series with its value at each scrape, in promtool's notation; a scrape that fails leaves `up` alone.
fn scraped(case: &Case) -> Result<BTreeMap<String, Vec<String>>> {
    let options = Options {
        engine: case.engine.parse().map_err(anyhow::Error::msg)?,
        model: "llama".to_owned(),
        seed: 1,
        workload: case.workload,
        started: STARTED,
    };
    let mut engine = Engine::new(options, std::slice::from_ref(&case.trouble)).map_err(anyhow::Error::msg)?;
    let target = "instance=\"engine-0:8000\",job=\"engine\"";
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for scrape in 0..SCRAPES {
        engine.advance((BEGIN + scrape * 60) as f64);
        let is_up = engine.reach() == Reach::Up;
        let mut add = |series: String, value: &str| {
            let values = all.entry(series).or_default();
            values.resize(usize::try_from(scrape).unwrap_or(0), "_".to_owned());
            values.push(value.to_owned());
        };
        add(format!("up{{{target}}}"), if is_up { "1" } else { "0" });
        let body = if is_up { engine.render() } else { String::new() };
        for line in body.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').context("a series and a value")?;
            let value: f64 = value.parse().with_context(|| line.to_owned())?;
            let series = match series.strip_suffix('}') {
                Some(open) => format!("{open},{target}}}"),
                None => format!("{series}{{{target}}}"),
            };
            add(series, &value.to_string());
        }
    }
    Ok(all)
}

#[test]
fn the_rules_know_every_simulated_engine_in_health_and_in_trouble() -> Result<()> {
    let root = tempfile::tempdir()?;
    fs::copy(repository().join("alerts/engine.yaml"), root.path().join("engine.yaml"))?;
    let mut files = Vec::new();
    for (at, case) in cases().iter().enumerate() {
        let series = scraped(case)?;
        ensure!(series.len() > 5, "{} prints {} series", case.engine, series.len());
        let inputs: Vec<_> = series
            .into_iter()
            .map(|(series, values)| json!({ "series": series, "values": values.join(" ") }))
            .collect();
        let checks = case.holds.iter().map(|expr| {
            let all = [json!({ "labels": "{}", "value": 1 })];
            json!({ "expr": format!("group({expr})"), "eval_time": "38m", "exp_samples": all })
        });
        let checks: Vec<_> = checks.collect();
        let test = json!({
            "rule_files": ["engine.yaml"],
            "evaluation_interval": "1m",
            "tests": [{ "interval": "1m", "input_series": inputs, "promql_expr_test": checks }],
        });
        let file = root.path().join(format!("{}-{at}.yaml", case.engine));
        fs::write(&file, test.to_string())?;
        files.push(file);
    }
    let folder = tempfile::tempdir()?;
    let failed = Promtool::debian().failed(&needed::narrowed(&files, folder.path())?)?;
    ensure!(failed.is_empty(), "{failed:#?}");
    Ok(())
}
