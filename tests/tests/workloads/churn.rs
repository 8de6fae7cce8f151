//! Pods come, end, move, share devices and take instances that were cut anew, on the devices of three vendors, as a real
//! Prometheus sees it: a busy node's half an hour in a minute.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use e2e::{Exporter, Grouped, Kubelet, Node, Prometheus, Samples, ScrapeJob, encoded, eventually};
use serde_json::{Value, json};
use sim::{
    Control,
    control::{Mig, Processes},
};

use super::{
    fact,
    many::{group, uid},
    pod, start, uuid,
};

/// Lists of the kubelet, the last of which has only begun: by then the two before it have been exported.
const LISTS: usize = 3;

/// Every series about devices but those of their holders, those that a busy machine may add for a while, and those of
/// instances, which end when a GPU is cut anew.
const SERIES: &str = r#"{__name__=~"(accel_|DCGM_|habana|xe_).+",partition="",GPU_I_ID="",
    __name__!~"accel_workload_.+|accel_slow_readings_age_seconds|accel_device_health_reason"}"#;

/// How the first GPU is cut, in turn.
const LAYOUTS: [&[&str]; 2] = [&["3g.40gb", "2g.20gb", "1g.10gb", "1g.10gb"], &["4g.40gb", "3g.40gb"]];

const JOIN: &str = "on (instance, family, device, partition)";

/// A node with its kubelet and exporter.
struct Site {
    job: &'static str,
    resource: &'static str,
    node: Node,
    kubelet: Kubelet,
    exporter: Exporter,
}

impl Site {
    fn new(machine: &str, job: &'static str, resource: &'static str) -> Result<Self> {
        let node = Node::new(machine)?.only(job).workload("decode");
        let kubelet = Kubelet::start(&json!({"pods": [], "pod_info": true}))?;
        let exporter = start(&node, &kubelet, &[])?;
        exporter.settled()?;
        Ok(Self { job, resource, node, kubelet, exporter })
    }

    /// Every device's name, and the id under which the vendor's device plugin hands it out.
    fn ids(&self, fact_of_id: &str) -> Result<Vec<Id>> {
        let samples = self.exporter.scrape()?;
        let devices =
            samples.all("accel_device_up", &[]).filter(|sample| sample.label("partition").is_empty());
        devices
            .map(|up| up.label("device"))
            .map(|device| Ok(Id { id: fact(&samples, device, fact_of_id)?, holds: device.to_owned() }))
            .collect()
    }
}

/// An id that a device plugin hands out, and the device, with its partition or share, that it stands for.
#[derive(Clone, Debug)]
struct Id {
    id: String,
    holds: String,
}

impl Id {
    fn share(&self, mark: &str, number: usize) -> Self {
        Self { id: format!("{}{mark}{number}", self.id), holds: format!("{} {number}", self.holds) }
    }
}

/// The nodes, and the Prometheus that scrapes them.
struct Cluster {
    sites: [Site; 3],
    prometheus: Prometheus,
    /// Pods so far.
    pods: usize,
    steps: u64,
    /// Of the pods on the first node that work on their GPU.
    processes: Vec<Grouped>,
    layout: usize,
}

impl Cluster {
    fn nvidia(&self) -> &Site {
        &self.sites[0]
    }

    /// New pods take the place of all that there were: on each node one for each id, which works if it has a GPU of
    /// NVIDIA. Two polls of the kubelets later, Prometheus has who holds what, and every sum is right.
    fn step(&mut self, what: &str, given: &[Vec<Id>; 3]) -> Result<()> {
        self.steps += 1;
        let (mut processes, mut expected) = (Vec::new(), BTreeSet::new());
        let mut working: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        let mut scenarios = Vec::new();
        for (site, ids) in self.sites.iter().zip(given) {
            let mut pods = Vec::new();
            for Id { id, holds } in ids {
                self.pods += 1;
                let mut new = pod(&format!("pod-{}", self.pods), site.resource, &[id]);
                new["uid"] = json!(uid(self.pods));
                pods.push(new);
                expected.insert(format!("{} pod-{} {holds}", site.job, self.pods));
                if site.job == "nvidia" {
                    let process = group(&uid(self.pods), self.pods)?;
                    working.entry(usize::from(holds.starts_with("gpu1"))).or_default().push(process.id());
                    processes.push(process);
                }
            }
            scenarios.push(json!({"pods": pods, "pod_info": true, "mark": self.steps}));
        }
        let process = working.into_iter().map(|(device, pids)| Processes { device, pids }).collect();
        self.control(process)?;
        self.processes = processes;
        for (site, scenario) in self.sites.iter().zip(&scenarios) {
            site.kubelet.set(scenario)?;
        }
        for site in &self.sites {
            eventually(&format!("{what}: {} is polled twice", site.job), || {
                let lists = site.kubelet.lists(self.steps);
                ensure!(lists >= LISTS, "{lists} lists");
                Ok(())
            })?;
        }
        self.scraped(what)?;
        let found = self.holders()?;
        ensure!(found == expected, "{what}: {found:?} instead of {expected:?}");
        self.sums(what, &expected)
    }

    fn control(&self, process: Vec<Processes>) -> Result<()> {
        let instances = LAYOUTS[self.layout].iter().map(ToString::to_string).collect();
        let mig = vec![Mig { device: 0, enabled: true, instances }];
        self.nvidia().node.control(&Control { mig, process, ..Control::default() })
    }

    /// Waits for a scrape of each exporter that begins from now on.
    fn scraped(&self, what: &str) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        eventually(&format!("{what}: each exporter is scraped"), || {
            let last = self.prometheus.value("min(timestamp(up) and on () (count(up) == 3))")?;
            // Prometheus moves times by some milliseconds.
            ensure!(last > now + 0.02, "at {last} and not after {now}");
            Ok(())
        })
    }

    /// `job pod device partition share` of each holder.
    fn holders(&self) -> Result<BTreeSet<String>> {
        let line = |(labels, _): (Value, f64)| {
            let label = |name: &str| labels[name].as_str().unwrap_or("").to_owned();
            let words = ["job", "pod", "device", "partition", "share"].map(label).join(" ");
            words.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        Ok(self.prometheus.query("accel_workload_info == 1")?.into_iter().map(line).collect())
    }

    fn sums(&self, what: &str, held: &BTreeSet<String>) -> Result<()> {
        // What holders have of a device, and the rest, is what the device has.
        let by_holder = "sum by (instance, family, device, partition) (accel_workload_memory_used_bytes)";
        let differences = self.prometheus.query(&format!("{by_holder} - {JOIN} accel_memory_used_bytes"))?;
        let wrong: Vec<_> = differences.iter().filter(|(_, bytes)| *bytes != 0.0).collect();
        ensure!(wrong.is_empty(), "{what}: holders and devices differ: {wrong:?}");
        let used = self.prometheus.query("accel_workload_memory_used_bytes{pod!=\"\"} > 0")?;
        let pods: BTreeSet<_> = used.iter().filter_map(|(labels, _)| labels["pod"].as_str()).collect();
        ensure!(pods.len() == self.processes.len(), "{what}: memory of {pods:?}");

        // A device is divided among its holders: summed by pod, it is what it was.
        let memory = "accel_memory_used_bytes";
        let holders = "count by (instance, family, device, partition) (accel_workload_info)";
        let by_pod = format!(
            "sum by (job, namespace, pod) ({memory} * {JOIN} group_right () accel_workload_info \
             / {JOIN} group_left () {holders})"
        );
        let by_device = format!("sum by (job) ({memory} and {JOIN} accel_workload_info)");
        let parts = self.prometheus.query(&format!("sum by (job) ({by_pod}) / {by_device}"))?;
        let jobs: BTreeSet<_> = held.iter().filter_map(|line| line.split(' ').next()).collect();
        ensure!(parts.len() == jobs.len(), "{what}: {parts:?}");
        ensure!(parts.iter().all(|(_, part)| (part - 1.0).abs() < 1e-9), "{what}: {parts:?}");
        Ok(())
    }

    /// The first GPU is cut otherwise. Returns the first of its instances, once Prometheus has them.
    fn cut(&mut self) -> Result<Id> {
        self.layout = (self.layout + 1) % LAYOUTS.len();
        self.control(Vec::new())?;
        self.processes.clear();
        let count = LAYOUTS[self.layout].len();
        let samples = self.nvidia().exporter.until("the GPU is cut", |samples| {
            let found = instances(samples);
            ensure!(found.len() == count, "{found:?}");
            Ok(samples.clone())
        })?;
        Self::instance(&samples)
    }

    fn instance(samples: &Samples) -> Result<Id> {
        // Processes are put on instances in the order of the driver, which is that of the profiles.
        let all = instances(samples);
        let first = all.first().context("no instance")?;
        Ok(Id { id: uuid(samples, "gpu0", first)?, holds: format!("gpu0 {first}") })
    }

    /// Labels of each series about devices, as text.
    fn series(&self) -> Result<BTreeSet<String>> {
        Ok(self.prometheus.query(SERIES)?.into_iter().map(|(labels, _)| labels.to_string()).collect())
    }
}

/// The partitions of the first GPU.
fn instances(samples: &Samples) -> BTreeSet<String> {
    let all = samples.all("accel_device_info", &[("device", "gpu0")]);
    all.map(|info| info.label("partition").to_owned()).filter(|name| !name.is_empty()).collect()
}

#[test]
fn prometheus_sees_half_an_hour_of_churn_and_no_series_of_a_device_changes() -> Result<()> {
    let sites = [
        Site::new("h100-mig", "nvidia", "nvidia.com/gpu")?,
        Site::new("gaudi3-8", "gaudi", "habana.ai/gaudi")?,
        Site::new("battlematrix-8", "xpu", "gpu.intel.com/xe")?,
    ];
    let gpus = sites[0].ids("uuid")?;
    let (hpus, cards) = (sites[1].ids("serial")?, sites[2].ids("card")?);
    let jobs = sites.each_ref().map(|site| ScrapeJob::new(site.job, site.exporter.address));
    let prometheus = Prometheus::start(&jobs, &[])?;
    let mut cluster = Cluster { sites, prometheus, pods: 0, steps: 0, processes: Vec::new(), layout: 0 };
    cluster.step("before the first pod", &[vec![], vec![], vec![]])?;
    let before = cluster.series()?;
    ensure!(before.len() > 1500, "{} series", before.len());
    let begun = Instant::now();

    let whole = &gpus[1];
    let mut instance = Cluster::instance(&cluster.nvidia().exporter.scrape()?)?;
    for round in 0..LAYOUTS.len() {
        let card = |place: usize, share| cards[place % cards.len()].share("-", share);
        let one = |place: usize| vec![hpus[place].clone()];
        let both = || vec![whole.clone(), instance.clone()];
        cluster.step("pods start", &[both(), one(round), vec![card(round, 0)]])?;
        cluster.step("they start again", &[both(), one(round), vec![card(round, 0)]])?;
        let moved = [vec![instance.clone()], one(round + 4), vec![card(round + 4, 0)]];
        cluster.step("they move to other devices", &moved)?;
        let slices = (0..4).map(|share| whole.share("::", share)).collect();
        let shared = [slices, hpus.clone(), vec![card(round, 0), card(round, 1), card(round + 1, 0)]];
        cluster.step("devices are sliced", &shared)?;
        for site in &mut cluster.sites {
            site.kubelet.restart()?;
        }
        instance = cluster.cut()?;
        cluster.step("the GPU is cut anew", &[vec![instance.clone()], one(round), vec![]])?;
    }
    cluster.step("all have ended", &[vec![], vec![], vec![]])?;
    let after = cluster.series()?;
    let differ: Vec<_> = before.symmetric_difference(&after).collect();
    ensure!(differ.is_empty(), "before or after, and not both: {differ:#?}");
    always_there(&cluster.prometheus, begun, &before)
}

/// Checks that Prometheus has no other series since, and these all the time.
fn always_there(prometheus: &Prometheus, since: Instant, series: &BTreeSet<String>) -> Result<()> {
    let samples = |selector: &str| -> Result<Vec<(Value, usize)>> {
        let query = encoded(&format!("{selector}[{}s]", since.elapsed().as_secs()))?;
        let mut found = prometheus.api(&format!("query?query={query}"))?;
        let Value::Array(matrix) = found["result"].take() else { return Ok(Vec::new()) };
        let count = |mut one: Value| Some((one["metric"].take(), one["values"].as_array()?.len()));
        Ok(matrix.into_iter().filter_map(count).collect())
    };
    let job = |labels: &Value| labels["job"].as_str().unwrap_or_default().to_owned();
    let scrapes: BTreeMap<_, _> =
        samples("up")?.into_iter().map(|(labels, count)| (job(&labels), count)).collect();
    ensure!(scrapes.len() == 3 && scrapes.values().all(|count| *count > 20), "{scrapes:?}");
    ensure!(prometheus.value("min(min_over_time(up[5m]))")? == 1.0, "a scrape failed:\n{}", prometheus.log());
    for (labels, count) in &samples(SERIES)? {
        ensure!(series.contains(&labels.to_string()), "this series was not there before: {labels}");
        // A reading that is late on a busy machine is absent, which is a gap and no change.
        let scrapes = scrapes[&job(labels)];
        ensure!(*count * 10 >= scrapes * 9, "in {count} of {scrapes} scrapes: {labels}");
    }
    Ok(())
}
