//! A real Prometheus scrapes the real binary, in each of the three formats, and understands the same.

#![expect(clippy::float_cmp, reason = "flags and counts are printed and parsed exactly")]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use e2e::{
    Exporter, Node, Prometheus, ScrapeJob,
    artefacts::{python_env, repository},
    eventually,
    http::Request,
    process, relay,
};
use serde_json::Value;

const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0";

/// Scrapes after which a duplicate or a sample out of order would have shown.
const SCRAPES: usize = 5;

/// Counters of trouble that Prometheus keeps of its scrapes and its storage.
const TROUBLE: [&str; 7] = [
    "prometheus_target_scrapes_sample_duplicate_timestamp_total",
    "prometheus_target_scrapes_sample_out_of_bounds_total",
    "prometheus_target_scrapes_sample_out_of_order_total",
    "prometheus_target_scrapes_exceeded_sample_limit_total",
    "prometheus_target_scrapes_exceeded_body_size_limit_total",
    "prometheus_tsdb_out_of_order_samples_total",
    "prometheus_tsdb_out_of_bound_samples_total",
];

/// What moves on a machine whose clock stands still.
const MOVING: &str = ".+_busy_seconds_total|accel_slow_readings_age_seconds";

/// Machines of every kind.
const MACHINES: [&str; 8] =
    ["h100-sxm-8", "h100-mig", "a100-8", "t4-1", "gaudi3-8", "battlematrix-8", "nuc-lunar-lake", "xeon6-amx"];

/// A server that scrapes each target until it has done so several times, every time with success.
fn scraped(jobs: &[ScrapeJob], flags: &[&str]) -> Result<Prometheus> {
    let server = Prometheus::start(jobs, flags)?;
    for job in jobs {
        let up = format!("{{job=\"{}\"}}[5m]", job.name);
        eventually(&format!("{} is scraped", job.name), || {
            let scrapes = server.value(&format!("count_over_time(up{up})"))?;
            ensure!(scrapes >= SCRAPES as f64, "{scrapes} scrapes");
            Ok(())
        })?;
        ensure!(server.value(&format!("min_over_time(up{up})"))? == 1.0, "{}:\n{}", job.name, server.log());
    }
    Ok(server)
}

fn no_trouble(server: &Prometheus) -> Result<()> {
    let own = server.own_metrics()?;
    for name in TROUBLE {
        ensure!(own.families.contains_key(name), "Prometheus has no {name} any more");
        ensure!(own.sum(name, &[]) == 0.0, "{name} is {}:\n{}", own.sum(name, &[]), server.log());
    }
    let log = server.log();
    let complaints: Vec<_> =
        log.lines().filter(|line| line.contains("level=warn") || line.contains("level=error")).collect();
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    Ok(())
}

/// Every series of a job with its value, without what distinguishes jobs and what moves on a frozen machine.
fn series(server: &Prometheus, job: &str) -> Result<BTreeMap<String, f64>> {
    let query = format!(
        "{{job=\"{job}\", __name__=~\"accel_.+|accelscope_source_up|DCGM_.+|habana.+\", __name__!~\"{MOVING}\"}}"
    );
    let strip = |(mut labels, value): (Value, f64)| {
        let map = labels.as_object_mut().context("labels are an object")?;
        map.remove("job");
        map.remove("instance");
        Ok((labels.to_string(), value))
    };
    server.query(&query)?.into_iter().map(strip).collect()
}

#[test]
fn three_formats_of_nvidia_are_scraped_without_loss_and_mean_the_same() -> Result<()> {
    three_formats("h100-sxm-8", &["DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE"])
}

#[test]
fn three_formats_of_gaudi_are_scraped_without_loss_and_mean_the_same() -> Result<()> {
    three_formats("gaudi3-8", &["habanalabs_power_mW", "habana_hpu_utilization"])
}

/// `vendor`: metrics of its own vocabulary that each of the eight devices has once.
fn three_formats(machine: &str, vendor: &[&str]) -> Result<()> {
    let node = Node::new(machine)?.frozen();
    let exporter = node.start(&[])?;
    exporter.settled()?;
    let direct = exporter.address;
    let text = relay(direct, "text/plain;version=0.0.4")?;
    let plain = scraped(&[ScrapeJob::new("openmetrics", direct), ScrapeJob::new("text", text)], &[])?;
    let protobuf = scraped(&[ScrapeJob::new("protobuf", direct)], &["--enable-feature=native-histograms"])?;
    no_trouble(&plain)?;
    no_trouble(&protobuf)?;

    let by_text = series(&plain, "text")?;
    let by_open_metrics = series(&plain, "openmetrics")?;
    let by_protobuf = series(&protobuf, "protobuf")?;
    ensure!(by_text.len() > 1000, "{} series", by_text.len());
    for (format, other) in [("OpenMetrics", &by_open_metrics), ("protobuf", &by_protobuf)] {
        let names = |map: &BTreeMap<String, f64>| map.keys().cloned().collect::<BTreeSet<_>>();
        let differ: Vec<_> = names(&by_text).symmetric_difference(&names(other)).cloned().collect();
        ensure!(differ.is_empty(), "only in text or only in {format}: {differ:#?}");
        for (series, value) in &by_text {
            ensure!(
                value.to_bits() == other[series].to_bits(),
                "{series}: {value} in text, {} in {format}",
                other[series]
            );
        }
    }

    // No sample was dropped on the way, and both vocabularies can be asked for.
    for server in [&plain, &protobuf] {
        let lost = "scrape_samples_scraped - scrape_samples_post_metric_relabeling";
        ensure!(server.query(lost)?.iter().all(|(_, lost)| *lost == 0.0));
        for metric in ["accel_power_watts", "accel_device_info"].iter().chain(vendor) {
            let query = format!("count by (job) ({metric})");
            let answers = server.query(&query)?;
            ensure!(
                !answers.is_empty() && answers.iter().all(|(_, count)| *count == 8.0),
                "{query}: {answers:?}"
            );
        }
        let quantile = "histogram_quantile(0.5, rate(accelscope_sample_duration_seconds_bucket[1m]))";
        let answers = server.query(quantile)?;
        ensure!(!answers.is_empty() && answers.iter().all(|(_, seconds)| *seconds > 0.0), "{answers:?}");
    }
    metadata_agrees(&node, &plain, &protobuf)
}

#[test]
fn intel_gpus_are_scraped_without_loss_in_every_format() -> Result<()> {
    let node = Node::new("battlematrix-8")?.frozen();
    let exporter = node.start(&[])?;
    exporter.settled()?;
    let text = relay(exporter.address, "text/plain;version=0.0.4")?;
    let jobs = [ScrapeJob::new("openmetrics", exporter.address), ScrapeJob::new("text", text)];
    let plain = scraped(&jobs, &[])?;
    no_trouble(&plain)?;
    let (by_text, by_open_metrics) = (series(&plain, "text")?, series(&plain, "openmetrics")?);
    ensure!(by_text.len() > 300 && by_text == by_open_metrics, "{} series", by_text.len());
    for query in ["count by (job) (accel_memory_used_bytes)", "count by (job) (xe_memory_used)"] {
        let answers = plain.query(query)?;
        ensure!(answers.len() == 2 && answers.iter().all(|(_, count)| *count == 8.0), "{query}: {answers:?}");
    }
    Ok(())
}

/// What a scrape's metadata must say of a family: its name there, type and unit.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Metadata {
    family: String,
    kind: String,
    unit: String,
}

fn of_job(server: &Prometheus, job: &str) -> Result<BTreeMap<String, Metadata>> {
    let target = format!("{{job=\"{job}\"}}").replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
    let all = server.api(&format!("targets/metadata?match_target={target}"))?;
    let text =
        |entry: &Value, key: &str| Ok::<_, anyhow::Error>(entry[key].as_str().context("a text")?.to_owned());
    all.as_array()
        .context("a list")?
        .iter()
        .map(|entry| {
            let metadata = Metadata {
                family: text(entry, "metric")?,
                kind: text(entry, "type")?,
                unit: text(entry, "unit")?,
            };
            Ok((metadata.family.clone(), metadata))
        })
        .collect()
}

/// Types and units that Prometheus stored are those of `accelscope fields`.
fn metadata_agrees(node: &Node, plain: &Prometheus, protobuf: &Prometheus) -> Result<()> {
    let program = node.accelscope("serve", &[])?.get_program().to_owned();
    let fields = process::run(node.command(program).args(["fields", "--json"]))?.success()?;
    let fields: Value = serde_json::from_str(&fields)?;
    let catalogue = catalogue(&fields)?;
    let jobs = [(plain, "text"), (plain, "openmetrics"), (protobuf, "protobuf")];
    for (server, job) in jobs {
        let stored = of_job(server, job)?;
        ensure!(stored.len() > 80, "{job}: {} families", stored.len());
        for (family, found) in &stored {
            let name = catalogue_name(&catalogue, family)
                .with_context(|| format!("{job}: {family} is not listed"))?;
            let expected = catalogue[&name].in_format(job, family);
            ensure!(*found == expected, "{job}: {found:?}, expected {expected:?}");
        }
    }
    Ok(())
}

/// Kind and unit of a name, as `accelscope fields --json` says.
struct Field {
    kind: String,
    unit: String,
    is_unified: bool,
}

impl Field {
    /// What a format that lacks a kind makes of it.
    fn in_format(&self, job: &str, family: &str) -> Metadata {
        let open_metrics = job == "openmetrics";
        let kind = match self.kind.as_str() {
            "info" | "stateset" if !open_metrics => "gauge",
            // A state set of the unified schema lists states under a label of its own name; OpenMetrics asks
            // for the family's name there.
            "stateset" => "gauge",
            // A vendor's counter keeps its name, which OpenMetrics allows no counter.
            "counter" if open_metrics && !self.is_unified => "unknown",
            kind => kind,
        };
        // Only OpenMetrics has units, and only where the name ends in one.
        let unit = if open_metrics && self.is_unified { self.unit.as_str() } else { "" };
        Metadata { family: family.to_owned(), kind: kind.to_owned(), unit: unit.to_owned() }
    }
}

fn catalogue(fields: &Value) -> Result<BTreeMap<String, Field>> {
    let mut all = BTreeMap::new();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    for field in fields.as_array().context("a list")? {
        if let Some(name) = field["name"].as_str() {
            let entry = Field { kind: text(field, "kind"), unit: text(field, "unit"), is_unified: true };
            all.insert(name.to_owned(), entry);
        }
        for vendor in field["vendor"].as_array().into_iter().flatten() {
            let entry = Field { kind: text(vendor, "kind"), unit: String::new(), is_unified: false };
            all.insert(text(vendor, "name"), entry);
        }
    }
    Ok(all)
}

/// OpenMetrics names a counter's and an info's family without the suffix of its samples.
fn catalogue_name(catalogue: &BTreeMap<String, Field>, family: &str) -> Option<String> {
    ["", "_total", "_info"]
        .iter()
        .map(|suffix| format!("{family}{suffix}"))
        .find(|name| catalogue.contains_key(name))
}

fn piped(mut command: Command, body: &[u8]) -> Result<(Option<i32>, String)> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("spawn")?;
    child.stdin.take().context("piped")?.write_all(body)?;
    let output = child.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
}

/// One of each kind, and each with labels or metrics that the others have not.
fn machines() -> impl Iterator<Item = Result<(&'static str, Exporter, Node)>> {
    MACHINES.into_iter().map(|machine| {
        let node = Node::new(machine)?.frozen();
        let exporter = node.start(&["--names", "unified"])?;
        exporter.settled()?;
        Ok((machine, exporter, node))
    })
}

#[test]
fn promtool_has_nothing_to_say_of_the_unified_schema() -> Result<()> {
    for machine in machines() {
        let (machine, exporter, _node) = machine?;
        let body = exporter.get("/metrics")?.ok()?.body;
        let mut promtool = Command::new("promtool");
        promtool.args(["check", "metrics"]);
        let (code, said) = piped(promtool, &body)?;
        ensure!(code == Some(0) && said.trim().is_empty(), "{machine}: exit {code:?}\n{said}");
    }
    Ok(())
}

#[test]
fn the_reference_parser_takes_our_open_metrics() -> Result<()> {
    let python = python_env()?.join("bin/python");
    let script = repository().join("tests/clients/openmetrics_check.py");
    for machine in MACHINES {
        let node = Node::new(machine)?.frozen();
        let exporter = node.start(&[])?;
        exporter.settled()?;
        let response = exporter.send(Request::get("/metrics").with(&[("Accept", OPEN_METRICS)]))?.ok()?;
        let mut command = Command::new(&python);
        command.arg(&script);
        let (code, said) = piped(command, &response.body)?;
        ensure!(code == Some(0), "{machine}: {said}");
        let counts: Vec<usize> = said.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        ensure!(counts[0] > 30 && counts[1] > 45, "{machine}: {said}");
    }
    Ok(())
}
