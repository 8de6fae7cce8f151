//! The example of Alertmanager's configuration before Debian's own tool: it is valid, every alert goes where its severity
//! says, and what inhibits what are alerts and labels that exist.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use e2e::artefacts::repository;
use serde_json::Value;

use super::{LEVELS, yaml_files};

const EXAMPLE: &str = "examples/alertmanager/alertmanager.yaml";

/// Alerts that switch incident mode on, beside what else is done.
const INCIDENT: [&str; 6] = [
    "GpuEccDoubleBit",
    "GpuHbmNearOom",
    "GpuThermalOrPowerThrottle",
    "GpuXidErrorDetected",
    "LlmKvCachePoolNearFull",
    "LlmTtftP95OutOfSlo",
];

fn amtool(arguments: &[&str]) -> Result<String> {
    let output = Command::new("amtool").args(arguments).current_dir(repository()).output();
    let output = output.context("amtool (package prometheus-alertmanager)")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(said)
}

/// Every alert, and its severities.
fn alerts() -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut alerts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for level in LEVELS {
        for path in yaml_files(&repository().join(level))? {
            let rules: Value = serde_saphyr::from_str(&fs::read_to_string(path)?)?;
            let groups = rules["groups"].as_array().into_iter().flatten();
            for rule in groups.flat_map(|group| group["rules"].as_array().into_iter().flatten()) {
                if let (Some(alert), Some(severity)) =
                    (rule["alert"].as_str(), rule["labels"]["severity"].as_str())
                {
                    alerts.entry(alert.to_owned()).or_default().insert(severity.to_owned());
                }
            }
        }
    }
    Ok(alerts)
}

#[test]
fn every_alert_goes_to_the_receiver_of_its_severity() -> Result<()> {
    amtool(&["check-config", EXAMPLE])?;
    // One alert of each kind of route; the others differ in nothing that a route looks at.
    let mut kinds: BTreeMap<(String, bool), String> = BTreeMap::new();
    for (alert, severities) in alerts()? {
        for severity in severities {
            let special = ["Watchdog", "FleetWatchdog", "NodeDown", "ExporterDown", "SiteSilent"];
            let is_special = special.contains(&alert.as_str()) || INCIDENT.contains(&alert.as_str());
            if is_special {
                routed(&alert, &severity)?;
            }
            kinds.entry((severity, is_special)).or_insert_with(|| alert.clone());
        }
    }
    ensure!(kinds.len() >= 5, "{kinds:?}");
    let known = alerts()?;
    ensure!(INCIDENT.iter().all(|alert| known.contains_key(*alert)), "{INCIDENT:?}");
    kinds.iter().try_for_each(|((severity, _), alert)| routed(alert, severity))
}

fn routed(alert: &str, severity: &str) -> Result<()> {
    let config = format!("--config.file={EXAMPLE}");
    let (name, label) = (format!("alertname={alert}"), format!("severity={severity}"));
    let receiver = amtool(&["config", "routes", "test", &config, &name, &label])?;
    let expected = match (alert, severity) {
        ("Watchdog" | "FleetWatchdog", _) => "dead-mans-switch",
        (_, "critical") => "pager",
        (_, "warning") => "team",
        (_, "ticket") => "queue",
        _ => "nobody",
    };
    let before = if INCIDENT.contains(&alert) { "incident," } else { "" };
    ensure!(receiver.trim() == format!("{before}{expected}"), "{alert} at {severity} goes to {receiver}");
    Ok(())
}

#[test]
fn what_inhibits_and_what_is_inhibited_exists() -> Result<()> {
    let alerts = alerts()?;
    let example: Value = serde_saphyr::from_str(&fs::read_to_string(repository().join(EXAMPLE))?)?;
    let rules = example["inhibit_rules"].as_array().context("inhibit_rules")?;
    ensure!(rules.len() > 5, "{} rules", rules.len());
    for rule in rules {
        let matchers = |key: &str| -> Vec<String> {
            let all = rule[key].as_array().into_iter().flatten();
            all.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let (sources, targets) = (matchers("source_matchers"), matchers("target_matchers"));
        for matcher in sources.iter().chain(&targets).filter(|matcher| matcher.starts_with("alertname")) {
            let names = matcher.split('"').nth(1).context("a value")?.split('|');
            let gone: Vec<_> = names.filter(|name| !alerts.contains_key(*name)).collect();
            ensure!(gone.is_empty(), "{matcher} names no alert: {gone:?}");
        }
        // Two alerts that both lack a label count as equal in it: the source must have one of them.
        let equal: Vec<_> =
            rule["equal"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let has = |label: &&str| sources.iter().any(|matcher| *matcher == format!("{label}!=\"\""));
        ensure!(equal.iter().any(has), "{sources:?}: {equal:?} may all be absent");
    }
    Ok(())
}

#[test]
fn the_lists_for_a_centre_are_configurations_that_prometheus_takes() -> Result<()> {
    for file in ["federate", "remote-write"] {
        let path = repository().join(format!("examples/federation/{file}.yaml"));
        let output = Command::new("promtool").args(["check", "config"]).arg(&path).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
