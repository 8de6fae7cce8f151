//! A real Prometheus server that scrapes exporters and evaluates rules, and a relay that makes it ask for one
//! format.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    thread,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    Process, Samples, eventually,
    http::{self, Request},
    process,
};

/// One target. Targets of the same name are one job.
#[derive(Clone, Debug)]
pub struct ScrapeJob {
    /// Value of the `job` label.
    pub name: &'static str,
    /// Where the target listens.
    pub target: SocketAddr,
    /// Path of its metrics.
    pub path: &'static str,
    /// Labels beside `job` and `instance`.
    pub labels: BTreeMap<&'static str, String>,
}

impl ScrapeJob {
    /// A target with its metrics at `/metrics` and no labels of its own.
    pub fn new(name: &'static str, target: SocketAddr) -> Self {
        Self { name, target, path: "/metrics", labels: BTreeMap::new() }
    }

    /// The same with a label.
    #[must_use]
    pub fn label(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.labels.insert(name, value.into());
        self
    }
}

/// What a server is asked to do beside scraping.
#[derive(Clone, Debug)]
pub struct Alerting {
    /// Seconds between two scrapes, which may take as long, and two evaluations.
    pub interval: u64,
    /// Rule files, globs allowed.
    pub rules: Vec<PathBuf>,
    /// Where alerts go.
    pub alertmanager: Option<SocketAddr>,
}

impl Default for Alerting {
    fn default() -> Self {
        Self { interval: 1, rules: Vec::new(), alertmanager: None }
    }
}

/// A running Prometheus.
pub struct Prometheus {
    /// The process.
    pub process: Process,
    address: SocketAddr,
    _dir: TempDir,
}

impl Prometheus {
    /// Starts Debian's Prometheus on `jobs`, with these further flags, and waits until it serves.
    pub fn start(jobs: &[ScrapeJob], flags: &[&str]) -> Result<Self> {
        Self::with_rules(jobs, &Alerting::default(), flags)
    }

    /// The same with rules.
    pub fn with_rules(jobs: &[ScrapeJob], alerting: &Alerting, flags: &[&str]) -> Result<Self> {
        Self::with_config(&config(jobs, alerting), flags)
    }

    /// Starts it on a configuration of the caller's own.
    pub fn with_config(config: &Value, flags: &[&str]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("accelscope-prometheus-").tempdir()?;
        let file = dir.path().join("prometheus.yml");
        // JSON is YAML.
        fs::write(&file, config.to_string())?;
        let address = process::free_address()?;
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(flags);
        let process = Process::spawn("prometheus", &mut command)?;
        let mut server = Self { process, address, _dir: dir };
        eventually("Prometheus is ready", || {
            server.process.ensure_running()?;
            http::send(server.address, Request::get("/-/ready"))?.ok()
        })?;
        Ok(server)
    }

    /// `data` of an API response; `path` is what follows `/api/v1/`, with its query encoded.
    pub fn api(&self, path: &str) -> Result<Value> {
        let response = http::send(self.address, Request::get(&format!("/api/v1/{path}")))?;
        let mut answer: Value = serde_json::from_slice(&response.body).with_context(|| path.to_owned())?;
        ensure!(answer["status"] == "success", "{path}: {answer}");
        Ok(answer["data"].take())
    }

    /// An instant query; its vector as (labels, value).
    pub fn query(&self, expression: &str) -> Result<Vec<(Value, f64)>> {
        let encoded = encoded(expression)?;
        let Value::Array(vector) = self.api(&format!("query?query={encoded}"))?["result"].take() else {
            bail!("{expression}: the result is no vector");
        };
        vector
            .into_iter()
            .map(|mut series| {
                let value = series["value"][1].as_str().context("a value is a string")?.parse()?;
                Ok((series["metric"].take(), value))
            })
            .collect()
    }

    /// The one value of an instant query.
    pub fn value(&self, expression: &str) -> Result<f64> {
        match self.query(expression)?.as_slice() {
            [(_, value)] => Ok(*value),
            other => bail!("{expression}: {} series", other.len()),
        }
    }

    /// The server's own metrics.
    pub fn own_metrics(&self) -> Result<Samples> {
        let response = http::send(self.address, Request::get("/metrics"))?.ok()?;
        Samples::parse(response.text()?)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// An expression as part of a URL.
pub fn encoded(expression: &str) -> Result<String> {
    let mut encoded = String::new();
    for byte in expression.bytes() {
        write!(encoded, "%{byte:02X}")?;
    }
    Ok(encoded)
}

/// The configuration of a laboratory: everything at one interval.
fn config(jobs: &[ScrapeJob], alerting: &Alerting) -> Value {
    let mut by_name: BTreeMap<&str, (&str, Vec<Value>)> = BTreeMap::new();
    for job in jobs {
        let target = json!({ "targets": [job.target.to_string()], "labels": job.labels });
        by_name.entry(job.name).or_insert((job.path, Vec::new())).1.push(target);
    }
    let scrapes: Vec<_> = by_name
        .into_iter()
        .map(|(name, (path, targets))| json!({ "job_name": name, "metrics_path": path, "static_configs": targets }))
        .collect();
    let managers: Vec<_> = alerting
        .alertmanager
        .iter()
        .map(|address| json!({ "static_configs": [{ "targets": [address.to_string()] }] }))
        .collect();
    let interval = format!("{}s", alerting.interval);
    json!({
        "global": { "scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval },
        "rule_files": alerting.rules,
        "alerting": { "alertmanagers": managers },
        "scrape_configs": scrapes,
    })
}

/// Forwards every request to `target` with an `Accept` header of its own, and returns what came back.
///
/// Prometheus 2.42 always prefers OpenMetrics to text; behind this it parses the text format. The relay
/// lives as long as the test process.
pub fn relay(target: SocketAddr, accept: &'static str) -> Result<SocketAddr> {
    let listener = TcpListener::bind(process::free_address()?)?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                // An error here is a closed connection; Prometheus reports it as a failed scrape.
                let _ = forward(&stream, target, accept);
            });
        }
    });
    Ok(address)
}

fn forward(mut stream: &TcpStream, target: SocketAddr, accept: &str) -> Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().context("no request")??;
    let path = request.split(' ').nth(1).context("no path")?;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let response = http::send(target, Request::get(path).with(&[("Accept", accept)]))?;
    let content_type = response.header("content-type").unwrap_or_default();
    write!(
        stream,
        "HTTP/1.1 {} relayed\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        response.status,
        response.body.len()
    )?;
    stream.write_all(&response.body)?;
    Ok(())
}
