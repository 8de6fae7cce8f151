//! What proves each alert: healthy states in which it stays silent, incidents in which it fires, and mutants that were
//! noticed. The table is a page of its own, `docs/alert-proofs.md`; `BLESS=1` writes it.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
    fs,
};

use anyhow::{Context, Result, ensure};
use e2e::artefacts::repository;
use serde_json::Value;

use super::{LEVELS, mutants, yaml_files};

/// Where a test's list of living mutants is.
const SURVIVORS: &str = "tests/cases/surviving_mutants.txt";

/// The page.
const PAGE: &str = "docs/alert-proofs.md";

/// What is known of one alert.
#[derive(Default)]
struct Proofs {
    files: BTreeSet<String>,
    /// Generated tests with a healthy period, and cases in which it must be silent.
    healthy: (usize, BTreeSet<String>),
    /// Generated tests with an incident, and cases in which it must fire.
    incident: (usize, BTreeSet<String>),
    killed: mutants::Killed,
}

/// Alerts that need no cause, or whose cause is that something is there.
const ALWAYS: [&str; 2] = ["Watchdog", "FleetWatchdog"];

#[test]
fn every_alert_is_proved_and_no_mutant_of_a_paging_one_survives() -> Result<()> {
    let (living, killed) = mutants::survivors()?;
    let known = fs::read_to_string(repository().join(SURVIVORS))?;
    let known: Vec<_> = known.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    ensure!(living == known, "{} live:\n{}", living.len(), living.join("\n"));

    let mut alerts: BTreeMap<String, Proofs> = BTreeMap::new();
    for (rule, count) in killed {
        let (_, alert) = rule.split_once(' ').context("a file and an alert")?;
        let all = &mut alerts.entry(alert.to_owned()).or_default().killed;
        (all.killed, all.all) = (all.killed + count.killed, all.all + count.all);
    }
    generated(&mut alerts)?;
    cases(&mut alerts)?;
    for (name, proofs) in alerts.iter().filter(|(name, _)| !ALWAYS.contains(&name.as_str())) {
        let [healthy, incident] =
            [&proofs.healthy, &proofs.incident].map(|(tests, cases)| tests + cases.len());
        ensure!(healthy > 0 && incident > 0, "{name}: {healthy} healthy states, {incident} incidents");
    }
    let page = page(&alerts)?;
    let file = repository().join(PAGE);
    if env::var_os("BLESS").is_some() {
        fs::write(&file, &page)?;
    }
    ensure!(
        fs::read_to_string(&file).unwrap_or_default() == page,
        "{PAGE} is stale: BLESS=1 cargo test -p e2e every_alert_is_proved"
    );
    Ok(())
}

/// The tests that are generated with the rules. Each has a healthy period, and most an incident.
fn generated(alerts: &mut BTreeMap<String, Proofs>) -> Result<()> {
    for level in LEVELS {
        for path in yaml_files(&repository().join(level))? {
            let name = path.file_stem().context("a name")?.to_string_lossy().into_owned();
            let rules: Value = serde_saphyr::from_str(&fs::read_to_string(&path)?)?;
            let rules = rules["groups"].as_array().into_iter().flatten();
            let rules = rules.flat_map(|group| group["rules"].as_array().into_iter().flatten());
            for alert in rules.filter_map(|rule| rule["alert"].as_str()) {
                alerts.entry(alert.to_owned()).or_default().files.insert(name.clone());
            }
            let tests = path.with_file_name(format!("tests/{name}_test.yaml"));
            let tests: Value = serde_saphyr::from_str(&fs::read_to_string(tests)?)?;
            for test in tests["tests"].as_array().into_iter().flatten() {
                let mut fires: BTreeMap<&str, bool> = BTreeMap::new();
                for check in test["alert_rule_test"].as_array().into_iter().flatten() {
                    let alert = check["alertname"].as_str().context("a check has an alert")?;
                    let expected = check["exp_alerts"].as_array().is_some_and(|alerts| !alerts.is_empty());
                    *fires.entry(alert).or_default() |= expected;
                }
                // Without data an alert is silent too, but that proves nothing about a healthy fleet.
                let has_data = test["input_series"].as_array().is_some_and(|series| !series.is_empty());
                for (alert, fires) in fires {
                    let proofs = alerts.entry(alert.to_owned()).or_default();
                    proofs.healthy.0 += usize::from(has_data);
                    proofs.incident.0 += usize::from(fires);
                }
            }
        }
    }
    Ok(())
}

/// The cases from the field: those that name an alert, by whether it must be there.
fn cases(alerts: &mut BTreeMap<String, Proofs>) -> Result<()> {
    for path in yaml_files(&repository().join("tests/cases/rules"))? {
        let case = path.file_stem().context("a name")?.to_string_lossy().into_owned();
        let text: Value = serde_saphyr::from_str(&fs::read_to_string(&path)?)?;
        let tests = text["tests"].as_array().into_iter().flatten();
        for check in tests.flat_map(|test| test["promql_expr_test"].as_array().into_iter().flatten()) {
            let expr = check["expr"].as_str().unwrap_or_default();
            let fires = check["exp_samples"].as_array().into_iter().flatten();
            let fires =
                fires.into_iter().any(|sample| sample["value"].as_f64().is_some_and(|value| value > 0.0));
            let named = expr.split("alertname=").skip(1).filter_map(|rest| rest.split('"').nth(1));
            for name in named.flat_map(|names| names.split('|')) {
                if let Some(proofs) = alerts.get_mut(name) {
                    let side = if fires { &mut proofs.incident } else { &mut proofs.healthy };
                    side.1.insert(case.clone());
                }
            }
        }
    }
    Ok(())
}

fn page(alerts: &BTreeMap<String, Proofs>) -> Result<String> {
    let mut page = String::from(
        "<!-- Written by `BLESS=1 cargo test -p e2e every_alert_is_proved`; the same test compares it. -->\n# What proves each \
         alert\n\nEach alert has tests in which a healthy fleet, or one that looks ill, must not raise it, and tests in which \
         its incident must. Tests with a number are generated with the rules (`alerts/tests`, `alerts/global/tests`); those \
         with a name are cases from the field (`tests/cases/rules`). Mutants are changed thresholds, durations, comparisons and \
         matchers of the alerts that page first: a mutant is killed when a generated test fails.\n\n| alert | rule files | \
         silent when healthy | fires in its incident | mutants killed |\n|---|---|---|---|---|\n",
    );
    let side = |(tests, cases): &(usize, BTreeSet<String>)| {
        let tests = (*tests > 0).then(|| format!("{tests} generated"));
        tests.into_iter().chain(cases.iter().cloned()).collect::<Vec<_>>().join(", ")
    };
    for (name, proofs) in alerts {
        let files: Vec<_> = proofs.files.iter().map(String::as_str).collect();
        let mutants = match proofs.killed {
            mutants::Killed { all: 0, .. } => "–".to_owned(),
            mutants::Killed { killed, all } => format!("{killed} of {all}"),
        };
        writeln!(
            page,
            "| {name} | {} | {} | {} | {mutants} |",
            files.join(", "),
            side(&proofs.healthy),
            side(&proofs.incident)
        )?;
    }
    Ok(page)
}
