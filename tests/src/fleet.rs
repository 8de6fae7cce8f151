//! A fleet of simulated machines with engines on them, under a real Prometheus with the generated rules: healthy
//! at first, then in trouble.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sim::{
    Control, Profile,
    control::{Engine, Fault, Heat, Memory, Recovery, RecoveryAction, Xid},
};
use tempfile::TempDir;

use crate::{
    Alerting, Artefacts, Exporter, Node, Prometheus, ScrapeJob, SimEngine,
    artefacts::{CHROMIUM, node_tools, repository},
    eventually, live, process,
};

/// Seconds between two scrapes and two evaluations.
const INTERVAL: u64 = 3;

/// Minutes as seconds, in an override file.
const OVERRIDES: &str = "tests/tests/chain/overrides.toml";

/// Its pace, and the one that this many machines need.
const PACE: [(&str, &str); 2] = [
    ("scrape_interval = \"2s\"", "scrape_interval = \"3s\""),
    ("rate_window = \"8s\"", "rate_window = \"12s\""),
];

/// The machines: node, profile, workload. The memory of one that decodes is nearly full by design.
const MACHINES: [(&str, &str, &str); 9] = [
    ("gpu-1", "h100-sxm-8", "decode"),
    ("gpu-2", "h100-sxm-8", "prefill"),
    ("gpu-3", "h100-sxm-4", "prefill"),
    ("mig-1", "h100-mig", "prefill"),
    ("gaudi-1", "gaudi3-8", "prefill"),
    ("arc-1", "battlematrix-8", "prefill"),
    ("xeon-1", "xeon6-amx", "prefill"),
    // A site with reserve: under full load it asks for a second box.
    ("branch-17", "nuc-lunar-lake", "idle"),
    ("branch-42", "nuc-panther-lake", "idle"),
];

/// Devices of all of them.
const DEVICE_COUNT: f64 = 44.0;

/// The engines: node, kind, model.
const ENGINES: [(&str, &str, &str); 8] = [
    ("gpu-1", "vllm", "chat"),
    ("gpu-1", "tgi", "summary"),
    ("gpu-1", "triton", "rank"),
    ("gpu-2", "vllm", "full"),
    ("gpu-2", "sglang", "late"),
    ("gpu-3", "trtllm", "search"),
    ("gaudi-1", "vllm", "draft"),
    ("arc-1", "vllm-0.6", "old"),
];

/// Recordings of the slowest groups.
const SELDOM: [&str; 3] = [
    r#"accel:link_errors:rate15m{family="nvidia"}"#,
    r#"accel:link_errors:rate15m{family="gaudi"}"#,
    "accel:nvlink_bandwidth:ratio5m",
];

/// Nodes whose exporters are killed.
const DEAD: [&str; 2] = ["gpu-3", "branch-42"];

/// The node whose devices are given to jobs, all eight to one, and the device that is taken from it in trouble.
const BATCH: &str = "gpu-2";
const TAKEN: &str = "7";

/// What fires in trouble: alert, and the labels that say where.
const TROUBLE: [(&str, &str); 9] = [
    ("DeviceUnowned", r#"node="gpu-2",device="gpu7""#),
    ("GpuHbmNearOom", r#"node="mig-1",device="gpu1""#),
    ("GpuThermalOrPowerThrottle", r#"node="gpu-2",device="gpu1""#),
    ("GpuXidErrorDetected", r#"node="gpu-2",device="gpu2",code="79""#),
    ("DeviceLost", r#"node="gaudi-1",device="hpu5""#),
    ("ExporterDown", r#"node="gpu-3""#),
    ("ExporterDown", r#"node="branch-42""#),
    ("LlmTtftP95OutOfSlo", r#"model="late""#),
    ("LlmKvCachePoolNearFull", r#"model="full""#),
];

/// The board of each device of which one is looked at: device, node, dashboard.
pub const DEVICES: [(&str, &str, &str); 5] = [
    ("gpu2", "gpu-2", "device-nvidia"),
    ("hpu5", "gaudi-1", "device-gaudi"),
    ("0000:03:00.0", "arc-1", "device-xpu"),
    ("socket0", "xeon-1", "device-amx"),
    ("0000:00:0b.0", "branch-17", "device-npu"),
];

struct Machine {
    name: &'static str,
    exporter: Exporter,
    // After the process, which reads its files.
    node: Node,
}

/// Machines, engines and Prometheus.
pub struct Fleet {
    machines: Vec<Machine>,
    _engines: Vec<SimEngine>,
    /// The server that scrapes all of them.
    pub prometheus: Prometheus,
    /// Files of the batch system.
    batch: TempDir,
    _rules: TempDir,
}

impl Fleet {
    /// Starts everything and waits until each target is scraped and each rule evaluated.
    pub fn start() -> Result<Self> {
        let batch = tempfile::tempdir()?;
        for device in 0..8 {
            fs::write(batch.path().join(device.to_string()), "4711\n")?;
        }
        let mut machines = Vec::new();
        for (seed, (name, profile, workload)) in (1..).zip(MACHINES) {
            let mut node = Node::new(profile)?.named(name).seeded(seed).workload(workload);
            // A machine of which the kernel alone shows anything has its bus in its files.
            if Profile::open(profile).is_ok() {
                node = node.with_bus()?;
            }
            node.control(&Control::default())?;
            let folder = batch.path().display().to_string();
            let mut flags = vec!["--host.metrics"];
            if name == BATCH {
                flags.extend(["--workloads.job-mapping", &folder]);
            }
            let mut exporter = node.launch(&flags)?;
            exporter.process.quiet();
            machines.push(Machine { name, exporter, node });
        }
        let mut jobs: Vec<_> = machines
            .iter()
            .map(|machine| {
                let job = ScrapeJob::new("accelscope", machine.exporter.address);
                job.label("cluster", "lab").label("node", machine.name)
            })
            .collect();
        let mut engines = Vec::new();
        for (node, kind, model) in ENGINES {
            let machine = machines.iter().find(|machine| machine.name == node).context(node)?;
            let engine = SimEngine::start(kind, model, "prefill", &machine.node.control_file())?;
            let mut job = ScrapeJob::new(kind, engine.address)
                .label("cluster", "lab")
                .label("node", node)
                .label("namespace", "inference")
                .label("pod", format!("{model}-0"));
            // Its metrics do not name the model that it serves.
            if kind == "tgi" {
                job = job.label("model", model);
            }
            if kind == "trtllm" {
                job.path = "/prometheus/metrics";
            }
            engines.push(engine);
            jobs.push(job);
        }
        for machine in &mut machines {
            eventually(&format!("{} is ready", machine.name), || {
                machine.exporter.process.ensure_running()?;
                machine.exporter.get("/-/ready")?.ok()
            })?;
        }
        let rules = rules(&Artefacts::beside_this_program()?)?;
        let alerting = alerting(&rules);
        let mut prometheus = Prometheus::with_rules(&jobs, &alerting, &[])?;
        prometheus.process.quiet();
        let fleet = Self { machines, _engines: engines, prometheus, batch, _rules: rules };
        fleet.settled(jobs.len())?;
        Ok(fleet)
    }

    /// Rates need a few readings, and no rule may be left that has not been evaluated.
    fn settled(&self, targets: usize) -> Result<()> {
        eventually("every target is scraped, and every rule evaluated", || {
            let up = self.prometheus.value("count(sum_over_time(up[5m]) >= 8)")?;
            ensure!(up >= targets as f64, "{up} of {targets} targets");
            let rules = self.prometheus.api("rules")?;
            let groups = rules["groups"].as_array().context("groups")?;
            let late = groups
                .iter()
                .flat_map(|group| group["rules"].as_array().into_iter().flatten())
                .find(|rule| rule["health"] != "ok");
            ensure!(late.is_none(), "not evaluated: {late:?}");
            Ok(())
        })
    }

    /// Breaks several things, and waits until each fires its alert.
    pub fn break_things(&mut self) -> Result<()> {
        let sick = sick();
        let lost = Control { fault: vec![Fault::lost().device(5)], ..Control::default() };
        // No engine is known there that would have reserved the memory.
        let full = Control { memory: vec![Memory { device: 1, fill: 0.97 }], ..Control::default() };
        for machine in &mut self.machines {
            match machine.name {
                "gpu-2" => machine.node.control(&sick)?,
                "gaudi-1" => machine.node.control(&lost)?,
                "mig-1" => machine.node.control(&full)?,
                name if DEAD.contains(&name) => {
                    machine.exporter.process.signal("KILL")?;
                    machine.exporter.process.wait()?;
                }
                _ => {}
            }
        }
        fs::remove_file(self.batch.path().join(TAKEN))?;
        for (alert, labels) in TROUBLE {
            self.fires(alert, labels)?;
        }
        Ok(())
    }

    /// Takes the GPU that reported an XID off the bus.
    pub fn lose(&self) -> Result<()> {
        let lost = Control { fault: vec![Fault::lost().device(2)], ..sick() };
        let gpus = self.machines.iter().find(|machine| machine.name == "gpu-2").context("gpu-2")?;
        gpus.node.control(&lost)?;
        self.fires("DeviceLost", r#"node="gpu-2",device="gpu2""#)
    }

    /// Waits until an alert has fired for a second: a drawing is as of the last whole one.
    fn fires(&self, alert: &str, labels: &str) -> Result<()> {
        let query = format!(r#"ALERTS{{alertname="{alert}",alertstate="firing",{labels}}} offset 1s"#);
        eventually(&format!("{alert} fires with {labels}"), || {
            ensure!(!self.prometheus.query(&query)?.is_empty(), "it does not");
            Ok(())
        })
    }

    /// Waits for a moment in which every target was scraped and every device has a state: a busy machine misses some.
    pub fn complete(&self) -> Result<()> {
        eventually("every target is scraped and every device has a state", || {
            let down = self.prometheus.query(
                "up == 0 or last_over_time(accel:device_state:max[5m]) unless accel:device_state:max",
            )?;
            ensure!(down.is_empty(), "{down:?}");
            let devices = self.prometheus.value("count(accel:device_state:max)")?;
            ensure!(devices >= DEVICE_COUNT, "{devices} of {DEVICE_COUNT} devices");
            // The groups of rules that are evaluated most seldom.
            for seldom in SELDOM {
                ensure!(!self.prometheus.query(seldom)?.is_empty(), "{seldom}");
            }
            Ok(())
        })
    }

    /// Draws dashboards as of now; returns what can be seen on each, and writes a picture of each where a folder is given.
    /// `suffix` ends the pictures' names.
    pub fn draw(
        &self,
        boards: &BTreeMap<String, Value>,
        seconds: u64,
        suffix: &str,
        pictures: Option<&Path>,
    ) -> Result<Value> {
        let mut input = Vec::new();
        for (id, board) in boards {
            let device = DEVICES.iter().find(|(_, _, board)| board == id);
            let chosen = match (device, id.as_str()) {
                (Some((device, node, _)), _) => {
                    json!({ "node": node, "device": device, "instance": self.instance(node)? })
                }
                (None, "node") => json!({ "node": "gpu-2" }),
                _ => json!({}),
            };
            input.push(json!({ "name": format!("{id}{suffix}"), "board": board, "chosen": chosen }));
        }
        let input = json!({
            "prometheus": format!("http://{}", self.prometheus.address()),
            "range": seconds,
            "interval": INTERVAL,
            "pictures": pictures,
            "browser": CHROMIUM,
            "boards": input,
        });
        let (node, tools) = node_tools()?;
        let mut command = Command::new(node);
        command.arg(repository().join("tests/dashboards/pictures/draw.mjs")).arg(tools);
        Ok(serde_json::from_str(&process::run_with(&mut command, &input.to_string())?.success()?)?)
    }

    /// Draws the page of a node, once it shows what is wrong there.
    pub fn draw_page(&self, node: &str, picture: &Path) -> Result<()> {
        let machine = self.machines.iter().find(|machine| machine.name == node).context(node.to_owned())?;
        let steps =
            [json!({ "size": [1440, 1000] }), json!({ "wait": ".tile.crit" }), json!({ "picture": picture })];
        live::look(&machine.exporter.url("/"), true, &steps)?;
        Ok(())
    }

    fn instance(&self, node: &str) -> Result<String> {
        let machine = self.machines.iter().find(|machine| machine.name == node).context(node.to_owned())?;
        Ok(machine.exporter.address.to_string())
    }
}

/// The generated rules with minutes as seconds, in a folder of their own.
pub fn rules(artefacts: &Artefacts) -> Result<TempDir> {
    let rules = tempfile::tempdir()?;
    let mut text = fs::read_to_string(repository().join(OVERRIDES)).context(OVERRIDES)?;
    for (known, wanted) in PACE {
        ensure!(text.contains(known), "{OVERRIDES} does not say {known}");
        text = text.replace(known, wanted);
    }
    let overrides = rules.path().join("overrides.toml");
    fs::write(&overrides, text)?;
    let mut generate = Command::new(artefacts.binary("accelscope")?);
    generate.args(["generate", "rules", "--names", "unified", "-o"]).arg(rules.path());
    process::run(generate.arg("--overrides").arg(overrides))?.success()?;
    Ok(rules)
}

/// What a Prometheus on these rules does.
pub fn alerting(rules: &TempDir) -> Alerting {
    Alerting { interval: INTERVAL, rules: vec![rules.path().join("alerts/*.yaml")], alertmanager: None }
}

/// What is wrong with a server and the engines on it.
fn sick() -> Control {
    let engine = |model: &str| Engine { model: Some(model.to_owned()), ..Engine::default() };
    Control {
        heat: vec![Heat { device: 1, celsius: 60.0 }],
        xid: vec![Xid { id: 1, device: 2, code: 79, ..Xid::default() }],
        // The error is open until this was done.
        recovery: vec![Recovery { device: 2, action: RecoveryAction::Reboot }],
        engine: vec![
            Engine { kv_pressure: Some(0.97), ..engine("full") },
            Engine { ttft_seconds: Some(4.0), ..engine("late") },
        ],
        ..Control::default()
    }
}

/// Every committed dashboard by its id.
pub fn dashboards() -> Result<BTreeMap<String, Value>> {
    let mut dashboards = BTreeMap::new();
    for entry in fs::read_dir(repository().join("dashboards"))? {
        let path = entry?.path();
        let id = path.file_stem().context("a file has a name")?.to_string_lossy().into_owned();
        dashboards.insert(id, serde_json::from_str(&fs::read_to_string(&path)?)?);
    }
    Ok(dashboards)
}
