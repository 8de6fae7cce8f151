//! `cargo xtask bench rules`: what all rules cost a real Prometheus, at fleets of 100 and 1,000 nodes.
//!
//! Every node is a target of its own. One server answers for all of them with what a real exporter and a simulated
//! vLLM say at that moment, in the unified schema, reduced to the series that some rule reads, and with UUIDs of the
//! node's own. All rule files are loaded. Nothing is measured before every window of five minutes is full.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, RwLock},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{
    Exporter, Node, Prometheus, SimEngine, artefacts::repository, http, http::Request, process::free_address,
};
use serde_json::{Value, json};

use super::Extent;
use crate::{setup, shell::build};

const MACHINE: &str = "h100-sxm-8";
const DEVICES: u64 = 8;

/// Fleets; growth is told between the first and the last.
const FLEETS: [u64; 2] = [100, 1000];

/// Seconds between two scrapes of a target and two rounds of the rules: what the README recommends.
const INTERVAL: u64 = 15;

/// The longest window of the rules that is filled; longer ones are of days, and hold what there is.
const WINDOW: Duration = Duration::from_mins(5);

/// Rounds that are looked at, once windows are full.
const ROUNDS: usize = 5;

/// A round at the largest fleet takes at most so long.
const ROUND_SECONDS_MAX: f64 = 3.0;

/// What was measured at one fleet.
struct Figures {
    nodes: u64,
    series: f64,
    recorded: f64,
    resident: u64,
    cpu_ratio: f64,
    /// Rounds that a group left out since the server's start: a sign of a machine with other work.
    missed: f64,
    /// Sum over all groups, by round.
    rounds: Vec<f64>,
    /// Seconds of each rule in the last round.
    rules: Vec<(f64, String)>,
}

impl Figures {
    fn median(&self) -> f64 {
        let mut rounds = self.rounds.clone();
        rounds.sort_by(f64::total_cmp);
        rounds[rounds.len() / 2]
    }
}

/// Measures every fleet, one after the other, and prints the table and the aim.
pub fn run(extent: Extent) -> Result<()> {
    setup::run()?;
    // Prometheus is measured here: what feeds it may be slow.
    build(&[])?;
    let source = Source::start()?;
    let fleets = if extent == Extent::Whole { &FLEETS[..] } else { &FLEETS[..1] };
    let all = fleets.iter().map(|nodes| measure(&source, *nodes)).collect::<Result<Vec<_>>>()?;
    print_table(&all);
    Ok(())
}

/// A machine and an engine that run, and the server that says for every node what they said last.
struct Source {
    address: SocketAddr,
    per_node: usize,
    // In this order they end.
    _exporter: Exporter,
    _engine: SimEngine,
    _node: Node,
}

impl Source {
    fn start() -> Result<Self> {
        let read = names()?;
        let node = Node::new(MACHINE)?.workload("prefill").with_bus()?;
        let mut exporter = node.start(&["--names", "unified"])?;
        exporter.process.quiet();
        exporter.settled()?;
        let engine = SimEngine::start("vllm", "llama", "prefill", &node.control_file())?;
        let addresses = [exporter.address, engine.address];
        let fetch = move || -> Result<String> {
            let [exporter, engine] = addresses.map(|address| http::send(address, Request::get("/metrics")));
            let (exporter, engine) = (exporter?.ok()?, engine?.ok()?);
            let lines = exporter.text()?.lines().chain(engine.text()?.lines());
            let read = lines.filter(|line| {
                let name = line.split(['{', ' ']).next().unwrap_or_default();
                !line.starts_with('#') && read.contains(name)
            });
            Ok(read.flat_map(|line| [line, "\n"]).collect())
        };
        let first = fetch()?;
        let per_node = first.lines().count();
        let body = Arc::new(RwLock::new(first));
        let newest = Arc::clone(&body);
        thread::spawn(move || {
            loop {
                thread::sleep(Duration::from_secs(1));
                // A machine that is late keeps its last word for another second.
                if let Ok(text) = fetch() {
                    *newest.write().expect("nobody panics while writing") = text;
                }
            }
        });
        let listener = TcpListener::bind(free_address()?)?;
        let address = listener.local_addr()?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let body = Arc::clone(&body);
                // A target keeps its connection; what goes wrong on one shows as a target that is down.
                thread::spawn(move || {
                    let _ = answer(&stream, &body);
                });
            }
        });
        Ok(Self { address, per_node, _exporter: exporter, _engine: engine, _node: node })
    }
}

/// Answers the scrapes of one connection; the path is the node's number.
fn answer(mut stream: &TcpStream, body: &RwLock<String>) -> Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(request) = lines.next() {
        let node = request?.split(' ').nth(1).context("no path")?.trim_start_matches('/').to_owned();
        while !lines.next().context("a request ends with an empty line")??.is_empty() {}
        let text =
            body.read().expect("nobody panics while writing").replace("\"GPU-", &format!("\"GPU-{node}-"));
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n",
            text.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(text.as_bytes())?;
    }
    Ok(())
}

/// Every word of the rules' expressions: the names of series are among them.
fn names() -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(repository().join("alerts"))? {
        let path = entry?.path();
        if path.is_file() {
            let text = fs::read_to_string(&path)?;
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
            names.extend(words.map(str::to_owned));
        }
    }
    Ok(names)
}

fn measure(source: &Source, nodes: u64) -> Result<Figures> {
    println!("bench: {nodes} nodes, {} series each", source.per_node);
    let targets: Vec<Value> = (0..nodes)
        .map(|node| {
            json!({
                "targets": [source.address.to_string()],
                "labels": {
                    "__metrics_path__": format!("/{node}"),
                    "instance": format!("node-{node}:9477"),
                    "node": format!("node-{node}"),
                    "cluster": "lab",
                    "namespace": "inference",
                    "pod": format!("llama-{node}"),
                },
            })
        })
        .collect();
    let interval = format!("{INTERVAL}s");
    let config = json!({
        "global": { "scrape_interval": interval, "evaluation_interval": interval },
        "rule_files": [repository().join("alerts/*.yaml")],
        "scrape_configs": [{ "job_name": "accelscope", "static_configs": targets }],
    });
    let mut prometheus = Prometheus::with_config(&config, &[])?;
    prometheus.process.quiet();
    let start = Instant::now();
    // Two more scrapes than the window holds.
    thread::sleep(WINDOW + Duration::from_secs(2 * INTERVAL));
    // On a machine with other work a scrape may be late; a hole of one scrape costs a rate nothing.
    let full = prometheus.value("count(sum_over_time(up[5m]) >= 18)")?;
    ensure!(full >= nodes as f64, "only {full} of {nodes} targets answered for five minutes");
    let (cpu, clock) = (prometheus.process.cpu_seconds()?, Instant::now());
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        thread::sleep(Duration::from_secs(INTERVAL));
        rounds.push(prometheus.own_metrics()?.sum("prometheus_rule_group_last_duration_seconds", &[]));
    }
    let cpu_ratio = (prometheus.process.cpu_seconds()? - cpu) / clock.elapsed().as_secs_f64();
    let own = prometheus.own_metrics()?;
    let failed = own.sum("prometheus_rule_evaluation_failures_total", &[]);
    ensure!(failed < 1.0, "{failed} evaluations failed");
    let states = prometheus.value("count(accel:signal_state{signal=\"temperature\"})")?;
    ensure!(states >= (nodes * DEVICES) as f64, "{states} devices have a state");
    println!("bench: {:.0} s", start.elapsed().as_secs_f64());
    Ok(Figures {
        nodes,
        series: own.value("prometheus_tsdb_head_series", &[])?,
        recorded: prometheus.value("count({__name__=~\"accel:.+|llm:.+|node:.+|cluster:.+|ALERTS.*\"})")?,
        resident: prometheus.process.resident_bytes()?,
        cpu_ratio,
        missed: own.sum("prometheus_rule_group_iterations_missed_total", &[]),
        rounds,
        rules: by_rule(&prometheus)?,
    })
}

/// Seconds that each rule's newest evaluation took, the dearest first.
fn by_rule(prometheus: &Prometheus) -> Result<Vec<(f64, String)>> {
    let answer = prometheus.api("rules")?;
    let groups = answer["groups"].as_array().context("groups")?;
    let mut rules: Vec<_> = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().into_iter().flatten().map(move |rule| (group, rule)))
        .map(|(group, rule)| {
            let [group, rule_name] = [group, rule].map(|of| of["name"].as_str().unwrap_or_default());
            let signal = rule["labels"]["signal"].as_str().unwrap_or_default();
            (rule["evaluationTime"].as_f64().unwrap_or_default(), format!("{group}: {rule_name} {signal}"))
        })
        .collect();
    rules.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(rules)
}

fn print_table(all: &[Figures]) {
    let row = |name: &str, cell: &dyn Fn(&Figures) -> String| {
        print!("{name:<44}");
        for figures in all {
            print!("{:>14}", cell(figures));
        }
        println!();
    };
    println!();
    row("nodes of eight GPUs", &|f| f.nodes.to_string());
    row("series", &|f| format!("{:.0}", f.series));
    row("of them recorded", &|f| format!("{:.0}", f.recorded));
    row("one round of all rules, s (median)", &|f| format!("{:.3}", f.median()));
    row("  least and most of the rounds", &|f| {
        let (least, most) = f.rounds.iter().fold((f64::MAX, 0.0_f64), |(a, b), s| (a.min(*s), b.max(*s)));
        format!("{least:.2}..{most:.2}")
    });
    row("  per 1,000 nodes", &|f| format!("{:.3}", f.median() * 1e3 / f.nodes as f64));
    row("  rounds left out by some group", &|f| format!("{:.0}", f.missed));
    row("RSS of Prometheus, MiB", &|f| format!("{:.0}", f.resident as f64 / f64::from(1 << 20)));
    row("CPU with scrapes, cores", &|f| format!("{:.2}", f.cpu_ratio));
    let (Some(first), Some(last)) = (all.first(), all.last()) else { return };
    println!("\ndearest of {} rules at {} nodes, s", last.rules.len(), last.nodes);
    for (seconds, rule) in last.rules.iter().take(12) {
        println!("{seconds:>8.3}  {rule}");
    }
    if last.nodes > first.nodes {
        let growth = (last.median() / first.median()).ln() / (last.nodes as f64 / first.nodes as f64).ln();
        println!("\ncost grows with the number of nodes to the power of {growth:.2}");
    }
    let verdict = if last.median() <= ROUND_SECONDS_MAX { "" } else { "   missed" };
    println!("aim at {} nodes: {ROUND_SECONDS_MAX} s a round; {:.3} s{verdict}", last.nodes, last.median());
}
