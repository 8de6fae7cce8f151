//! Prometheus with generated rules, Alertmanager and webhook, and what is asked of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use e2e::{
    Alerting, Alertmanager, Artefacts, Notification, Prometheus, ScrapeJob, Webhook, artefacts::repository,
    eventually, process,
};
use tempfile::TempDir;

/// A label's value that is there, whatever it is.
pub const ANY: &str = "*";

/// Seconds between two scrapes and two evaluations: what the override file says, and enough for a busy
/// machine.
const INTERVAL: u64 = 2;

/// The same for alerts that wake nobody: a minute is shortened as rounds are.
const SELDOM: u64 = 8;

/// The longest `for` of the override file.
const HOLD_MAX: f64 = 4.0;

/// How long a fleet is watched before anything is wrong: longer than every shortened `for` and window
/// together.
const BASELINE: Duration = Duration::from_secs(16);

/// How long after the last expected alert others are waited for.
const AFTERMATH: Duration = Duration::from_secs(6);

/// Scrapes of each target before the baseline begins.
const SCRAPES: f64 = 4.0;

/// Alerts whose time the override file leaves alone, and why is said there; burn rates have windows of their
/// own.
const UNSHORTENED: [&str; 11] = [
    "DeviceMissing",
    "DeviceResetting",
    "EdgeNodeSilent",
    "EngineStalled",
    "ExporterGone",
    "FieldNotExported",
    "LinkDown",
    "LinkErrors",
    "LlmSloBudgetBurn",
    "MetricsMissingAfterUpgrade",
    "StreamingTruncations",
];

/// An alert that must reach the webhook once, with exactly these labels.
pub struct Expected {
    alert: &'static str,
    cause: &'static str,
    labels: BTreeMap<&'static str, &'static str>,
}

impl Expected {
    pub fn new(alert: &'static str, cause: &'static str, labels: Vec<(&'static str, &'static str)>) -> Self {
        let labels = labels.into_iter().chain([("alertname", alert)]).collect();
        Self { alert, cause, labels }
    }

    fn is(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels.len() == labels.len()
            && self.labels.iter().all(|(name, wanted)| {
                labels
                    .get(*name)
                    .is_some_and(|value| value == wanted || (*wanted == ANY && !value.is_empty()))
            })
    }
}

/// An alert that may follow from the same cause.
pub struct Consequence {
    pub alert: &'static str,
    pub label: (&'static str, &'static str),
    pub why: &'static str,
}

/// The servers of one run.
pub struct Chain {
    pub prometheus: Prometheus,
    _alertmanager: Alertmanager,
    webhook: Webhook,
    _rules: TempDir,
}

impl Chain {
    /// Starts them on `jobs`, with the rules that the binary generates for `names`.
    pub fn start(names: &str, jobs: &[ScrapeJob]) -> Result<Self> {
        let rules = tempfile::tempdir()?;
        let accelscope = Artefacts::beside_this_program()?.binary("accelscope")?;
        let overrides = repository().join("tests/tests/chain/overrides.toml");
        let mut generate = std::process::Command::new(accelscope);
        generate.args(["generate", "rules", "--names", names, "-o"]).arg(rules.path());
        process::run(generate.arg("--overrides").arg(overrides))?.success()?;
        let webhook = Webhook::start()?;
        let alertmanager = Alertmanager::start(&webhook)?;
        let alerting = Alerting {
            interval: INTERVAL,
            rules: vec![rules.path().join("alerts/*.yaml")],
            alertmanager: Some(alertmanager.address),
        };
        let mut prometheus = Prometheus::with_rules(jobs, &alerting, &[])?;
        prometheus.process.quiet();
        Ok(Self { prometheus, _alertmanager: alertmanager, webhook, _rules: rules })
    }

    /// Waits until every target is scraped, and looks whether every rule is as quick as the override file
    /// says.
    pub fn settled(&self, targets: usize) -> Result<()> {
        eventually("every target is scraped", || {
            let up = self.prometheus.value(&format!("count(sum_over_time(up[1m]) >= {SCRAPES})"))?;
            ensure!(up >= targets as f64, "{up} of {targets} targets");
            Ok(())
        })?;
        let rules = self.prometheus.api("rules?type=alert")?;
        for group in rules["groups"].as_array().context("groups")? {
            for rule in group["rules"].as_array().context("rules")? {
                let name = rule["name"].as_str().unwrap_or_default();
                if UNSHORTENED.contains(&name) {
                    continue;
                }
                ensure!(
                    group["interval"].as_f64().is_some_and(|seconds| seconds <= SELDOM as f64),
                    "{name} is evaluated every {} s",
                    group["interval"]
                );
                ensure!(
                    rule["duration"].as_f64().is_some_and(|hold| hold <= HOLD_MAX),
                    "{name} holds for {} s",
                    rule["duration"]
                );
            }
        }
        Ok(())
    }

    /// Watches a fleet in which nothing is wrong: no alert at any moment since the beginning.
    pub fn quiet(&self) -> Result<()> {
        thread::sleep(BASELINE);
        self.rules_work()?;
        let raised = self.raised()?;
        ensure!(raised.is_empty(), "a healthy fleet raised {raised:#?}");
        let received = self.webhook.received();
        ensure!(received.is_empty(), "a healthy fleet sent {received:#?}");
        let rounds = self.prometheus.value("max(count_over_time(accel:signal_state[10m]))")?;
        println!("healthy: {rounds} evaluations of every rule, no alert");
        Ok(())
    }

    /// Every alert that ever fired here, by its labels.
    fn raised(&self) -> Result<BTreeSet<BTreeMap<String, String>>> {
        let fired = self.prometheus.query("max_over_time(ALERTS{alertstate=\"firing\"}[15m])")?;
        fired
            .into_iter()
            .map(|(labels, _)| {
                let mut labels: BTreeMap<String, String> = serde_json::from_value(labels)?;
                labels.retain(|name, _| !["__name__", "alertstate"].contains(&name.as_str()));
                Ok(labels)
            })
            .collect()
    }

    /// No rule fails, each has been evaluated, and Prometheus stored all that they made.
    fn rules_work(&self) -> Result<()> {
        let rules = self.prometheus.api("rules")?;
        for group in rules["groups"].as_array().context("groups")? {
            for rule in group["rules"].as_array().context("rules")? {
                ensure!(rule["health"] == "ok", "{rule:#}");
            }
        }
        let log = self.prometheus.log();
        let complaints: Vec<_> = log
            .lines()
            .filter(|line| line.contains("rule_manager") || line.contains("component=\"rule manager\""))
            .filter(|line| line.contains("level=warn") || line.contains("level=error"))
            .collect();
        ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
        Ok(())
    }

    /// Waits for each alert at the webhook, and prints when it came after its cause.
    pub fn delivers(&self, expected: &[Expected], cause: Instant) -> Result<()> {
        let mut table = Vec::new();
        for expected in expected {
            let came = eventually(&format!("{} comes", expected.alert), || {
                let received = self.webhook.received();
                let fits = |note: &&Notification| !note.resolved && expected.is(&note.labels);
                received.iter().find(fits).cloned().ok_or_else(|| {
                    let of_name = received.iter().filter(|note| note.label("alertname") == expected.alert);
                    anyhow!("not with {:?}, but: {:#?}", expected.labels, of_name.collect::<Vec<_>>())
                })
            })?;
            let page = came.annotations["runbook_url"].split('#').next().unwrap_or_default();
            ensure!(page.ends_with(&format!("{}.md", expected.alert)));
            ensure!(
                came.annotations.values().all(|text| !text.contains("<no value>")),
                "{:?}",
                came.annotations
            );
            table.push((came.at.duration_since(cause).as_secs_f64(), expected, came));
        }
        println!("{:<26}{:<22}{:>8}  labels", "alert", "cause", "seconds");
        for (seconds, expected, came) in table {
            let mut labels: Vec<_> =
                came.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            labels.retain(|label| !label.starts_with("alertname="));
            println!("{:<26}{:<22}{seconds:>8.1}  {}", expected.alert, expected.cause, labels.join(" "));
        }
        Ok(())
    }

    /// Waits until the webhook has heard that these are over.
    pub fn resolves(&self, alerts: &[&str]) -> Result<()> {
        alerts.iter().try_for_each(|alert| {
            eventually(&format!("{alert} is over"), || {
                let received = self.webhook.received();
                let over = received.iter().any(|note| note.resolved && note.label("alertname") == *alert);
                if over { Ok(()) } else { bail!("not yet") }
            })
        })
    }

    /// What was raised at any time is expected or a consequence, came once, and never from the healthy nodes.
    pub fn nothing_else(
        &self,
        expected: &[Expected],
        consequences: &[Consequence],
        healthy: &[&str],
    ) -> Result<()> {
        thread::sleep(AFTERMATH);
        self.rules_work()?;
        let allowed = |labels: &BTreeMap<String, String>| {
            let follows = |consequence: &&Consequence| {
                let (name, value) = consequence.label;
                labels["alertname"] == consequence.alert
                    && labels.get(name).is_some_and(|found| found == value)
            };
            expected.iter().any(|expected| expected.is(labels)) || consequences.iter().any(|c| follows(&c))
        };
        let raised = self.raised()?;
        let node = |labels: &BTreeMap<String, String>| labels.get("node").cloned().unwrap_or_default();
        let (healthy, sick): (Vec<_>, Vec<_>) =
            raised.iter().partition(|labels| healthy.contains(&node(labels).as_str()));
        ensure!(healthy.is_empty(), "healthy nodes raised {healthy:#?}");
        let others: Vec<_> = sick.into_iter().filter(|labels| !allowed(labels)).collect();
        ensure!(others.is_empty(), "raised for no cause of the scenario: {others:#?}");
        let received = self.webhook.received();
        for note in &received {
            ensure!(allowed(&note.labels), "sent for no cause of the scenario: {note:?}");
        }
        for expected in expected {
            let came = received.iter().filter(|note| !note.resolved && expected.is(&note.labels)).count();
            ensure!(came == 1, "{} came {came} times", expected.alert);
        }
        for Consequence { alert, label: (name, value), why } in consequences {
            println!("also allowed: {alert}{{{name}={value}}}: {why}");
        }
        Ok(())
    }
}
