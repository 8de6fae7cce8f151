//! Storms: one cause with many alerts, through a real Prometheus and a real Alertmanager with the configuration of
//! `examples/alertmanager`, in which only URLs and times are changed. What people get is counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, thread,
};

use anyhow::{Context, Result, ensure};
use e2e::{Alertmanager, Message, Prometheus, Webhook, artefacts::repository, eventually_within};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    fleet::Fleet,
    lab::{Pace, SCRAPES, at_a_pace, judged, rules},
};

/// Nodes of the site, the one whose driver is reloaded, and those of one rack.
const NODES: usize = 8;
const RELOADED: usize = 0;
const RACK: std::ops::Range<usize> = 2..6;

/// What both are worth at the site: receiver, alert, and alerts in its one notification.
const SITE: [(&str, &str, usize); 2] = [("pager", "DeviceLost", 8), ("pager", "NodeDown", 4)];

/// Evaluations after which an alert fires in a group of any interval: it is seen, and its `for` has passed.
const TURNS: f64 = 2.0;

/// Rounds that Alertmanager waits for the other alerts of a group.
const GROUP_WAIT: u64 = 4;

/// Rounds for which a sample counts at the centre: federated samples keep their time, so that a silent site is one whose
/// newest sample is too old. As the five minutes of Prometheus, this is longer than the slowest group's interval.
const LOOK_BACK: u64 = 8;

/// Notifications of each receiver: the alert, and how many of it are in one.
type Came = BTreeMap<String, Vec<(String, usize)>>;

/// A site and the centre that federates it.
struct Storm {
    pace: Pace,
    fleet: Fleet,
    site: Prometheus,
    centre: Prometheus,
    _alertmanager: Alertmanager,
    webhook: Webhook,
    _folders: [TempDir; 2],
}

impl Storm {
    fn start(pace: Pace) -> Result<Self> {
        let rules = rules(pace, &["--names", "unified"])?;
        let folder = tempfile::tempdir()?;
        let fleet = Fleet::start(folder.path(), NODES)?;
        let webhook = Webhook::start()?;
        let alertmanager = Alertmanager::with_config(&example(pace, &webhook)?)?;
        let seconds = |rounds: u64| format!("{}s", rounds * pace.round);
        let server = |files: &str, scrape: Value| {
            json!({
                "global": {
                    "scrape_interval": seconds(1), "scrape_timeout": seconds(1), "evaluation_interval": seconds(1),
                },
                "rule_files": [rules.path().join(files)],
                "alerting": { "alertmanagers": [{ "static_configs": [{ "targets": [alertmanager.address.to_string()] }] }] },
                "scrape_configs": [scrape],
            })
        };
        let discovered =
            json!({ "job_name": "discovered", "file_sd_configs": [{ "files": [fleet.targets] }] });
        let mut site = Prometheus::with_config(&server("alerts/*.yaml", discovered), &[])?;
        site.process.quiet();
        // As generated, but for the target and the pace.
        let federate = fs::read_to_string(repository().join("examples/federation/federate.yaml"))?;
        let federate: Value = serde_saphyr::from_str(&federate)?;
        let mut sites = federate["scrape_configs"][0].clone();
        sites["static_configs"][0]["targets"] = json!([site.address().to_string()]);
        sites["scrape_interval"] = json!(seconds(1));
        let look_back = format!("--query.lookback-delta={}", seconds(LOOK_BACK));
        let mut centre = Prometheus::with_config(&server("alerts/global/*.yaml", sites), &[&look_back])?;
        centre.process.quiet();
        Ok(Self {
            pace,
            fleet,
            site,
            centre,
            _alertmanager: alertmanager,
            webhook,
            _folders: [rules, folder],
        })
    }

    /// Waits until both servers have seen the whole fleet for longer than every shortened window.
    fn settled(&self) -> Result<()> {
        self.known("")?;
        eventually_within(self.pace.ceiling(), "the centre knows the fleet", || {
            let devices = self.centre.value("sum(cluster:accel_devices_up:sum)")?;
            ensure!(devices >= (8 * NODES) as f64, "{devices} devices");
            Ok(())
        })
    }

    /// Waits until all targets with these labels were scraped a few times.
    fn known(&self, labels: &str) -> Result<()> {
        eventually_within(self.pace.ceiling(), "every target is scraped", || {
            let up = self.site.value(&format!("count(sum_over_time(up{{{labels}}}[10m]) >= {SCRAPES})"))?;
            ensure!(up >= (2 * NODES) as f64, "{up} targets");
            Ok(())
        })
    }

    /// Waits until everything that follows from what happened so far would have come: each group of rules whose alerts can
    /// fire here has had its turns at both servers that run, and Alertmanager has waited for what belongs to a group.
    fn everything_came(&self) -> Result<()> {
        for server in [&self.site, &self.centre] {
            // The scenario may have ended it.
            let Ok(rules) = server.api("rules?type=alert") else { continue };
            let quick = self.quick(&rules)?;
            let mut before = turns(server)?;
            before.retain(|group, _| quick.contains(group));
            ensure!(!before.is_empty(), "no group of {quick:?} was evaluated");
            eventually_within(self.pace.ceiling(), "every group of rules has its turns", || {
                let now = turns(server)?;
                let late = before
                    .iter()
                    .find(|(group, count)| now.get(*group).is_none_or(|now| *now < *count + TURNS));
                ensure!(late.is_none(), "{late:?} of {now:?}");
                Ok(())
            })?;
        }
        thread::sleep(self.pace.rounds(GROUP_WAIT) + self.pace.aftermath());
        Ok(())
    }

    /// Groups with an alert whose `for` was shortened, as the server's own metrics call them.
    fn quick(&self, rules: &Value) -> Result<BTreeSet<String>> {
        let fires =
            |rule: &Value| rule["duration"].as_f64().is_some_and(|hold| hold <= self.pace.hold_max() as f64);
        let groups = rules["groups"].as_array().context("groups")?.iter();
        let quick = groups.filter(|group| group["rules"].as_array().into_iter().flatten().any(fires));
        let name = |group: &Value| Some(format!("{};{}", group["file"].as_str()?, group["name"].as_str()?));
        Ok(quick.filter_map(name).collect())
    }

    /// What came so far: for each receiver its notifications, as alert and number of alerts in it.
    fn came(&self) -> Came {
        let mut came = Came::new();
        for Message { receiver, alerts } in self.webhook.messages() {
            let firing: Vec<_> = alerts.iter().filter(|alert| !alert.resolved).collect();
            if let Some(first) = firing.first() {
                came.entry(receiver).or_default().push((first.label("alertname").to_owned(), firing.len()));
            }
        }
        for notifications in came.values_mut() {
            notifications.sort();
        }
        came
    }

    /// Waits for these notifications, and then for all others that would have come with them: there are none.
    fn brings(&self, what: &str, expected: &[(&str, &str, usize)]) -> Result<()> {
        let mut wanted = Came::new();
        for (receiver, alert, alerts) in expected {
            wanted.entry((*receiver).to_owned()).or_default().push(((*alert).to_owned(), *alerts));
        }
        eventually_within(self.pace.ceiling(), what, || {
            let came = self.came();
            ensure!(came == wanted, "{came:?}");
            Ok(())
        })?;
        self.everything_came()?;
        let came = self.came();
        ensure!(came == wanted, "{what}: {came:?}");
        Ok(())
    }
}

/// How often each group of rules was evaluated.
fn turns(server: &Prometheus) -> Result<BTreeMap<String, f64>> {
    let own = server.own_metrics()?;
    let groups = own.all("prometheus_rule_group_iterations_total", &[]);
    Ok(groups.map(|sample| (sample.label("rule_group").to_owned(), sample.value)).collect())
}

/// The example with the webhook in the place of each URL, and times that fit the pace.
fn example(pace: Pace, webhook: &Webhook) -> Result<Value> {
    let text = fs::read_to_string(repository().join("examples/alertmanager/alertmanager.yaml"))?;
    let mut config: Value = serde_saphyr::from_str(&text)?;
    for receiver in config["receivers"].as_array_mut().context("receivers")? {
        if receiver["name"] == "incident" {
            // Exporters, which are no people.
            receiver["webhook_configs"] = json!([]);
        }
        for hook in receiver["webhook_configs"].as_array_mut().into_iter().flatten() {
            hook["url"] = json!(format!("http://{}/", webhook.address()));
        }
    }
    quicken(&mut config["route"], pace);
    Ok(config)
}

/// Waits become rounds; notifications are not repeated, and come at every hour.
fn quicken(route: &mut Value, pace: Pace) {
    let Some(route) = route.as_object_mut() else { return };
    for (name, rounds) in [("group_wait", GROUP_WAIT), ("group_interval", GROUP_WAIT)] {
        if route.contains_key(name) || name == "group_wait" {
            route.insert(name.to_owned(), json!(format!("{}s", rounds * pace.round)));
        }
    }
    route.insert("repeat_interval".to_owned(), json!("1h"));
    route.remove("active_time_intervals");
    route.remove("mute_time_intervals");
    for child in route.get_mut("routes").and_then(Value::as_array_mut).into_iter().flatten() {
        quicken(child, pace);
    }
}

#[test]
fn one_cause_is_one_notification() -> Result<()> {
    at_a_pace(storms)
}

fn storms(pace: Pace) -> Result<()> {
    let storm = Storm::start(pace)?;
    let rack: Vec<_> = RACK.map(|node| format!("node-{node}")).collect();
    let healthy = format!("node!~\"{}\"", rack.join("|"));
    let at_the_site = || {
        storm.settled()?;
        // Every pod gets another name and address, twice.
        for rollout in 1..=2 {
            storm.fleet.deployed(rollout)?;
            storm.known(&format!("instance=~\"10[.]{rollout}[.].+\""))?;
        }
        // What would come of it later is found with what the storms bring.
        let came = storm.came();
        ensure!(came.is_empty(), "a healthy fleet and its pod churn: {came:?}");
        storm.fleet.reloads_driver(RELOADED);
        RACK.for_each(|node| storm.fleet.loses_power(node));
        storm.brings("a driver reload and a rack without power", &SITE)
    };
    judged(&storm.site, &healthy, at_the_site())?;

    // The site itself: nothing is known of its rack any more either.
    storm.site.process.signal("KILL")?;
    let silent = storm.brings("a silent site", &[&SITE[..], &[("pager", "SiteSilent", 1)]].concat());
    judged(&storm.centre, "job=\"none\"", silent)?;
    println!(
        "notifications: pod churn of {NODES} nodes 0, driver reload of 8 devices 1, a rack of {} nodes 1, a silent site 1",
        RACK.len()
    );
    Ok(())
}
