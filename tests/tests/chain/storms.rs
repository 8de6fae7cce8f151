//! Storms: one cause with many alerts, through a real Prometheus and a real Alertmanager with the configuration of
//! `examples/alertmanager`, in which only URLs and times are changed. What people get is counted.

use std::{collections::BTreeMap, fs, thread};

use anyhow::{Context, Result, ensure};
use e2e::{Alertmanager, Message, Prometheus, Webhook, artefacts::repository, eventually_within};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    fleet::Fleet,
    lab::{Pace, at_a_pace, judged, rules},
};

/// Nodes of the site, and those of one rack.
const NODES: usize = 8;
const RACK: std::ops::Range<usize> = 2..6;

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
        let mut centre = Prometheus::with_config(&server("alerts/global/*.yaml", sites), &[])?;
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
        eventually_within(self.pace.ceiling(), "the fleet is known to site and centre", || {
            let up = self.site.value("count(sum_over_time(up[10m]) >= 8)")?;
            let devices = self.centre.value("sum(max_over_time(cluster:accel_devices_up:sum[10m]))")?;
            ensure!(
                up >= (2 * NODES) as f64 && devices >= (8 * NODES) as f64,
                "{up} targets, {devices} devices"
            );
            Ok(())
        })
    }

    /// Waits until nothing new has come for long enough that everything would have, and returns what came since
    /// `before`: for each receiver its notifications, as alert and number of alerts in it.
    fn came(&self, before: usize) -> Came {
        let firing = || self.webhook.messages().len();
        let mut seen = firing();
        loop {
            // Longer than the longest `for`, the slowest group and the wait of a group of alerts together.
            thread::sleep(self.pace.aftermath() * 5);
            let now = firing();
            if now == seen {
                break;
            }
            seen = now;
        }
        let mut came = Came::new();
        for Message { receiver, alerts } in self.webhook.messages().into_iter().skip(before) {
            let firing: Vec<_> = alerts.iter().filter(|alert| !alert.resolved).collect();
            if let Some(first) = firing.first() {
                came.entry(receiver).or_default().push((first.label("alertname").to_owned(), firing.len()));
            }
        }
        came
    }

    /// Makes something happen, and returns what came of it.
    fn after(&self, cause: impl FnOnce() -> Result<()>) -> Result<Came> {
        let before = self.webhook.messages().len();
        cause()?;
        Ok(self.came(before))
    }
}

/// The example with the webhook in the place of each URL, and times that fit the pace.
fn example(pace: Pace, webhook: &Webhook) -> Result<Value> {
    let text = fs::read_to_string(repository().join("examples/alertmanager/alertmanager.yaml"))?;
    let mut config: Value = serde_saphyr::from_str(&text)?;
    for receiver in config["receivers"].as_array_mut().context("receivers")? {
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
    for (name, rounds) in [("group_wait", 4), ("group_interval", 4)] {
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

fn notifications(of: &[(&str, &str, usize)]) -> Came {
    let mut all = Came::new();
    for (receiver, alert, alerts) in of {
        all.entry((*receiver).to_owned()).or_default().push(((*alert).to_owned(), *alerts));
    }
    all
}

#[test]
#[ignore = "the centre does not receive the site's recordings in this set-up yet; run it with --run-ignored all"]
fn one_cause_is_one_notification() -> Result<()> {
    at_a_pace(storms)
}

fn storms(pace: Pace) -> Result<()> {
    let storm = Storm::start(pace)?;
    let rack: Vec<_> = RACK.map(|node| format!("node-{node}")).collect();
    let healthy = format!("node!~\"{}\"", rack.join("|"));
    let all = || {
        storm.settled()?;
        let calm = storm.came(0);
        ensure!(calm.is_empty(), "a healthy fleet: {calm:?}");

        // Every pod gets another name and address, twice.
        let churn = storm.after(|| {
            storm.fleet.deployed(1).and_then(|()| {
                thread::sleep(storm.pace.aftermath());
                storm.fleet.deployed(2)
            })
        })?;
        ensure!(churn.is_empty(), "pod churn: {churn:?}");

        let reload = storm.after(|| {
            storm.fleet.reloads_driver(0);
            Ok(())
        })?;
        ensure!(reload == notifications(&[("pager", "DeviceLost", 8)]), "driver reload: {reload:?}");
        storm.fleet.wakes(0);

        let rack = storm.after(|| {
            RACK.for_each(|node| storm.fleet.loses_power(node));
            Ok(())
        })?;
        ensure!(rack == notifications(&[("pager", "NodeDown", RACK.len())]), "rack without power: {rack:?}");
        Ok(())
    };
    judged(&storm.site, &healthy, all())?;

    // The site itself: nothing is known of its rack any more either.
    let silent = storm.after(|| storm.site.process.signal("KILL"));
    let expected = notifications(&[("pager", "SiteSilent", 1)]);
    judged(
        &storm.centre,
        "job=\"none\"",
        silent.and_then(|silent| {
            ensure!(silent == expected, "silent site: {silent:?}");
            Ok(())
        }),
    )?;
    println!(
        "notifications: pod churn of {NODES} nodes 0, driver reload of 8 devices 1, a rack of {} nodes 1, a silent site 1",
        RACK.len()
    );
    Ok(())
}
