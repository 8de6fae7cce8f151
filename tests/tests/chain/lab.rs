//! Prometheus with generated rules, Alertmanager and webhook, and what is asked of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    net::SocketAddr,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use e2e::{
    Alerting, Alertmanager, Artefacts, Notification, Prometheus, ScrapeJob, Webhook, eventually_within,
    process, wait::CEILING,
};
use tempfile::TempDir;

/// A label's value that is there, whatever it is.
pub const ANY: &str = "*";

/// How short minutes become. A machine with other work needs longer rounds than an idle one, and which it is only the
/// samples say: see [`at_a_pace`].
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Seconds between two scrapes and two evaluations.
    pub round: u64,
}

/// Marks a time that is scaled already.
const DONE: char = '\u{1}';

impl Pace {
    /// The override file as it stands, which is written for rounds of two seconds, at this pace.
    pub fn overrides(self, text: &str) -> String {
        let scaled = |text: String, seconds: u64| {
            text.replace(&format!("\"{seconds}s\""), &format!("\"{DONE}{}s\"", seconds * self.round / 2))
        };
        [2, 4, 8].into_iter().fold(text.to_owned(), scaled).replace(DONE, "")
    }

    /// The interval of alerts that wake nobody: a minute is shortened as rounds are.
    fn seldom(self) -> u64 {
        4 * self.round
    }

    /// The longest `for` of the override file.
    pub fn hold_max(self) -> u64 {
        2 * self.round
    }

    /// How long a fleet is watched before anything is wrong: longer than every shortened `for` and window together.
    fn baseline(self) -> Duration {
        self.rounds(8)
    }

    /// How long after the last expected alert others are waited for.
    pub fn aftermath(self) -> Duration {
        self.rounds(3)
    }

    /// As long as so many rounds.
    pub fn rounds(self, rounds: u64) -> Duration {
        Duration::from_secs(rounds * self.round)
    }

    /// The ceiling of a wait that lasts some rounds.
    pub fn ceiling(self) -> Duration {
        CEILING * u32::try_from(self.round.div_ceil(2)).unwrap_or(1)
    }
}

/// The machine did not keep up with a pace: nothing follows from what was seen.
#[derive(Debug)]
struct Starved(String);

impl fmt::Display for Starved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Starved {}

/// Runs a test at the shortest pace that this machine keeps up with. At a pace at which a healthy target missed a scrape,
/// or a group of rules a round, what was seen is not judged.
pub fn at_a_pace(test: impl Fn(Pace) -> Result<()>) -> Result<()> {
    let mut tried = Vec::new();
    for round in [2, 4, 8] {
        match test(Pace { round }) {
            Err(error) if error.is::<Starved>() => {
                println!("rounds of {round} s are too short for this machine now: {error:#}");
                tried.push(format!("{round} s: {error:#}"));
            }
            other => return other,
        }
    }
    bail!("this machine keeps up with no pace:\n{}", tried.join("\n"))
}

/// Scrapes of each target before the baseline begins.
pub const SCRAPES: f64 = 4.0;

/// Alerts whose time the override file leaves alone, and why is said there; burn rates have windows of their
/// own.
const UNSHORTENED: [&str; 12] = [
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
    "VendorNamesAlone",
];

/// The rules that the binary generates at a pace, in a folder of their own.
pub fn rules(pace: Pace, flags: &[&str]) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let accelscope = Artefacts::beside_this_program()?.binary("accelscope")?;
    let overrides = folder.path().join("overrides.toml");
    fs::write(&overrides, pace.overrides(include_str!("overrides.toml")))?;
    let mut generate = Command::new(accelscope);
    generate.args(["generate", "rules"]).args(flags).arg("-o").arg(folder.path());
    process::run(generate.arg("--overrides").arg(overrides))?.success()?;
    Ok(folder)
}

/// What a part of a test says, unless the machine was too slow for it: then nothing. `healthy` are matchers of the
/// targets that responded all the time.
pub fn judged(prometheus: &Prometheus, healthy: &str, part: Result<()>) -> Result<()> {
    let Err(error) = part else { return Ok(()) };
    match starved(prometheus, healthy)? {
        Some(sign) => Err(Starved(format!("{sign}, and then: {error:#}")).into()),
        None => Err(error),
    }
}

/// A sign in a server's samples that the machine did not keep up.
fn starved(prometheus: &Prometheus, healthy: &str) -> Result<Option<String>> {
    let missed = prometheus.query(&format!("min_over_time(up{{{healthy}}}[15m]) == 0"))?;
    if let Some((labels, _)) = missed.first() {
        return Ok(Some(format!("a scrape of {} failed", labels["instance"])));
    }
    let left_out = prometheus.own_metrics()?.sum("prometheus_rule_group_iterations_missed_total", &[]);
    Ok((left_out > 0.0).then(|| format!("{left_out} rounds of rules were left out")))
}

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
    pub pace: Pace,
    pub prometheus: Prometheus,
    _alertmanager: Alertmanager,
    pub webhook: Webhook,
    _rules: TempDir,
}

impl Chain {
    /// Starts them on `jobs`, with the rules that the binary generates for `names`; each alert is a notification, to the
    /// webhook and to the incident mode of these exporters.
    pub fn start(pace: Pace, names: &str, jobs: &[ScrapeJob], incident: &[SocketAddr]) -> Result<Self> {
        let rules = rules(pace, &["--names", names])?;
        let webhook = Webhook::start()?;
        let others: Vec<_> = incident.iter().map(|address| format!("http://{address}/-/incident")).collect();
        let alertmanager = Alertmanager::start(&webhook, &others)?;
        let alerting = Alerting {
            interval: pace.round,
            rules: vec![rules.path().join("alerts/*.yaml")],
            alertmanager: Some(alertmanager.address),
        };
        let mut prometheus = Prometheus::with_rules(jobs, &alerting, &[])?;
        prometheus.process.quiet();
        Ok(Self { pace, prometheus, _alertmanager: alertmanager, webhook, _rules: rules })
    }

    /// As [`judged`].
    pub fn judged(&self, healthy: &str, part: Result<()>) -> Result<()> {
        judged(&self.prometheus, healthy, part)
    }

    /// Waits until every target is scraped, and looks whether every rule is as quick as the override file
    /// says.
    pub fn settled(&self, targets: usize) -> Result<()> {
        eventually_within(self.pace.ceiling(), "every target is scraped", || {
            let up = self.prometheus.value(&format!("count(sum_over_time(up[10m]) >= {SCRAPES})"))?;
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
                    group["interval"].as_f64().is_some_and(|seconds| seconds <= self.pace.seldom() as f64),
                    "{name} is evaluated every {} s",
                    group["interval"]
                );
                ensure!(
                    rule["duration"].as_f64().is_some_and(|hold| hold <= self.pace.hold_max() as f64),
                    "{name} holds for {} s",
                    rule["duration"]
                );
            }
        }
        Ok(())
    }

    /// Watches a fleet in which nothing is wrong: no alert at any moment since the beginning.
    pub fn quiet(&self) -> Result<()> {
        thread::sleep(self.pace.baseline());
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
            let came = eventually_within(self.pace.ceiling(), &format!("{} comes", expected.alert), || {
                let received = self.webhook.received();
                let fits = |note: &&Notification| !note.resolved && expected.is(&note.labels);
                received.iter().find(fits).cloned().ok_or_else(|| {
                    let of_name = received.iter().filter(|note| note.label("alertname") == expected.alert);
                    anyhow!("not with {:?}, but: {:#?}", expected.labels, of_name.collect::<Vec<_>>())
                })
            })?;
            let page = came.annotations["runbook_url"].split('#').next().unwrap_or_default();
            ensure!(page.ends_with(&format!("{}.md", expected.alert)));
            let is_whole = |text: &String| !text.contains("<no value>") && !text.contains("error expanding");
            let texts = &came.annotations;
            ensure!(
                texts.values().all(is_whole) && texts["summary"].contains(came.label("node")),
                "{texts:?}"
            );
            if expected.alert == "GpuThermalOrPowerThrottle" {
                ensure!(texts["description"].contains("Reasons: "), "{texts:?}");
            }
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
            eventually_within(self.pace.ceiling(), &format!("{alert} is over"), || {
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
        thread::sleep(self.pace.aftermath());
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
