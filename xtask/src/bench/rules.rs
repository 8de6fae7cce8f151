//! `cargo xtask bench rules`: what all rules cost a real Prometheus, at fleets of 100, 400 and 1,000 nodes.
//!
//! Two servers scrape the same targets at the same time, one of them without rules: the difference of what both processes
//! used of the CPU is what the rules cost.
//!
//! Every node is a target of its own. One server returns for all of them what a real exporter and a simulated
//! vLLM say at that moment, in the unified schema, reduced to the series that some rule reads, and with UUIDs
//! of the node's own. All rule files are loaded. Nothing is measured before every window of five minutes is
//! full. A fleet takes eight minutes; one for which the machine has too little memory or CPU is left out, which the
//! output says.

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
    Exporter, Node, Prometheus, SimEngine, artefacts::repository, eventually, http, http::Request,
    process::free_address,
};
use serde_json::{Value, json};

use super::Extent;
use crate::{
    setup,
    shell::{Build, build},
};

const MACHINE: &str = "h100-sxm-8";
const DEVICES: u64 = 8;

/// Fleets; growth is measured between the first and the last.
const FLEETS: [u64; 3] = [100, 400, 1000];

/// Seconds between two scrapes of a target and two rounds of the rules: what the README recommends.
const INTERVAL: u64 = 15;

/// The longest window of the rules that is filled; longer ones, of a quarter of an hour and of days, hold
/// what there is.
const WINDOW: Duration = Duration::from_mins(5);

/// Rounds that are looked at, once windows are full: two minutes, in which every group has its turn.
const ROUNDS: usize = 8;

/// Scrapes in a window that may be late: a hole of one costs a rate nothing.
const LATE: u64 = 2;

/// How often a fleet that is measured says how far it is.
const PROGRESS: Duration = Duration::from_secs(30);

/// Of the memory that is free, the part that a fleet may take.
const MEMORY_SHARE: f64 = 0.8;

/// Rules that are listed.
const DEAREST: usize = 20;

/// A round at the largest fleet takes at most so many seconds of CPU, on average: what has an interval of its own takes its
/// share.
const ROUND_CPU_MAX: f64 = 3.0;

/// Seconds of CPU that the first rules took of a round at 40 nodes, 320 GPUs, on two cores.
const FIRST_CPU: f64 = 0.57;

/// What was measured at one fleet.
struct Figures {
    nodes: u64,
    series: f64,
    recorded: f64,
    /// Resident bytes with and without rules.
    resident: [u64; 2],
    /// Seconds of CPU in a round, with and without rules.
    cpu: [f64; 2],
    /// Rounds that a group left out since the server's start: a sign of a machine with other work.
    missed: f64,
    /// Seconds of all groups, by round: each with its share of a round.
    rounds: Vec<f64>,
    /// The same for a round into which every group falls.
    fullest: Vec<f64>,
    /// The newest evaluation of each rule.
    rules: Vec<Cost>,
}

/// What a rule's newest evaluation took.
struct Cost {
    seconds: f64,
    /// Rounds from one evaluation to the next.
    every: f64,
    rule: String,
}

impl Cost {
    fn per_round(&self) -> f64 {
        self.seconds / self.every
    }
}

fn median(rounds: &[f64]) -> f64 {
    let mut rounds = rounds.to_owned();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

impl Figures {
    fn median(&self) -> f64 {
        median(&self.rounds)
    }

    /// Seconds of CPU that the rules take of a round.
    fn cpu_of_rules(&self) -> f64 {
        self.cpu[0] - self.cpu[1]
    }

    /// The same for the 40 nodes at which the first rules were measured.
    fn per_320(&self) -> f64 {
        self.cpu_of_rules() * 320.0 / (self.nodes * DEVICES) as f64
    }
}

/// Measures every fleet, one after the other, and prints the table and the aim.
pub fn run(extent: Extent) -> Result<()> {
    setup::run()?;
    // Prometheus is measured here: what feeds it may be slow.
    build(Build::Debug)?;
    let source = Source::start()?;
    let fleets = if extent == Extent::Whole { &FLEETS[..] } else { &FLEETS[..1] };
    let mut all: Vec<Figures> = Vec::new();
    for nodes in fleets {
        // Memory grows with the number of series.
        let of_one = all.last().map(|last| last.resident.iter().sum::<u64>() as f64 / last.nodes as f64);
        let (needs, free) = (of_one.unwrap_or_default() * *nodes as f64, available_bytes()? * MEMORY_SHARE);
        if needs > free {
            let gibibytes = |bytes: f64| bytes / f64::from(1 << 30);
            let (needs, free) = (gibibytes(needs), gibibytes(free));
            println!(
                "bench: {nodes} nodes left out: two servers need {needs:.1} GiB, and {free:.1} may be taken"
            );
            continue;
        }
        match measure(&source, *nodes) {
            Ok(Some(figures)) => all.push(figures),
            Ok(None) => println!("bench: {nodes} nodes left out: this machine does not scrape them in time"),
            // What was measured of smaller fleets is not lost.
            Err(error) => {
                print_table(&all);
                return Err(error.context(format!("{nodes} nodes")));
            }
        }
    }
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

/// Serves the scrapes of one connection; the path is the node's number.
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

/// Memory that programs can take without swapping.
fn available_bytes() -> Result<f64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).context("MemAvailable")?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().context("MemAvailable is no number")?;
    Ok(kibibytes * 1024.0)
}

/// Lets time pass, and says how far a fleet is.
fn wait(what: &str, duration: Duration, start: Instant, servers: [&Prometheus; 2]) -> Result<()> {
    let end = Instant::now() + duration;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        thread::sleep(left.min(PROGRESS));
        let resident = servers.map(|server| server.process.resident_bytes());
        let mebibytes = |bytes: u64| bytes >> 20;
        let [with, without] = resident;
        println!(
            "bench: {:>4.0} s: {what}; RSS with and without rules {} and {} MiB",
            start.elapsed().as_secs_f64(),
            mebibytes(with?),
            mebibytes(without?)
        );
    }
    Ok(())
}

/// Measures a fleet; none where the machine does not scrape every node in time.
fn measure(source: &Source, nodes: u64) -> Result<Option<Figures>> {
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
    let config = |rules: &[&str]| {
        let files: Vec<_> = rules.iter().map(|files| repository().join(files)).collect();
        json!({
            "global": { "scrape_interval": interval, "evaluation_interval": interval },
            "rule_files": files,
            "scrape_configs": [{ "job_name": "accelscope", "static_configs": targets }],
        })
    };
    let mut prometheus = Prometheus::with_config(&config(&["alerts/*.yaml"]), &[])?;
    let mut without = Prometheus::with_config(&config(&[]), &[])?;
    prometheus.process.quiet();
    without.process.quiet();
    let start = Instant::now();
    let servers = [&prometheus, &without];
    // Two more scrapes than the window holds.
    wait("windows fill", WINDOW + Duration::from_secs(2 * INTERVAL), start, servers)?;
    let scrapes = WINDOW.as_secs() / INTERVAL - LATE;
    // A server that works for many nodes may respond late.
    let full = eventually("the server counts its targets", || {
        prometheus.query(&format!("count(sum_over_time(up[5m]) >= {scrapes})"))
    })?;
    let full = full.first().map_or(0.0, |(_, targets)| *targets);
    if full < nodes as f64 {
        println!("bench: {full} of {nodes} targets responded {scrapes} times in five minutes");
        return Ok(None);
    }
    let used =
        || -> Result<[f64; 2]> { Ok([prometheus.process.cpu_seconds()?, without.process.cpu_seconds()?]) };
    let before = used()?;
    let (mut rounds, mut fullest) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        wait(&format!("round {round} of {ROUNDS}"), Duration::from_secs(INTERVAL), start, servers)?;
        let groups = eventually("the server lists its rules", || groups(&prometheus))?;
        rounds.push(groups.iter().map(Cost::per_round).sum());
        fullest.push(groups.iter().map(|group| group.seconds).sum());
    }
    let after = used()?;
    let cpu = [0, 1].map(|server| (after[server] - before[server]) / ROUNDS as f64);
    let own = eventually("the server shows its own metrics", || prometheus.own_metrics())?;
    let failed = own.sum("prometheus_rule_evaluation_failures_total", &[]);
    ensure!(failed < 1.0, "{failed} evaluations failed");
    let states = prometheus.value("count(accel:signal_state{signal=\"temperature\"})")?;
    ensure!(states >= (nodes * DEVICES) as f64, "{states} devices have a state");
    println!("bench: {:.0} s", start.elapsed().as_secs_f64());
    Ok(Some(Figures {
        nodes,
        series: own.value("prometheus_tsdb_head_series", &[])?,
        recorded: prometheus.value("count({__name__=~\"accel:.+|llm:.+|node:.+|cluster:.+|ALERTS.*\"})")?,
        resident: [prometheus.process.resident_bytes()?, without.process.resident_bytes()?],
        cpu,
        missed: own.sum("prometheus_rule_group_iterations_missed_total", &[]),
        rounds,
        fullest,
        rules: by_rule(&prometheus)?,
    }))
}

/// What each group's newest evaluation took.
fn groups(prometheus: &Prometheus) -> Result<Vec<Cost>> {
    let answer = prometheus.api("rules")?;
    answer["groups"]
        .as_array()
        .context("groups")?
        .iter()
        .map(|group| cost(group, group, String::new()))
        .collect()
}

/// What each rule's newest evaluation took, the dearest first.
fn by_rule(prometheus: &Prometheus) -> Result<Vec<Cost>> {
    let answer = prometheus.api("rules")?;
    let mut rules = Vec::new();
    for group in answer["groups"].as_array().context("groups")? {
        for rule in group["rules"].as_array().context("rules")? {
            let [group_name, name] = [group, rule].map(|of| of["name"].as_str().unwrap_or_default());
            let signal = rule["labels"]["signal"].as_str().unwrap_or_default();
            rules.push(cost(group, rule, format!("{group_name}: {name} {signal}"))?);
        }
    }
    rules.sort_by(|a, b| b.per_round().total_cmp(&a.per_round()));
    Ok(rules)
}

/// What the newest evaluation of a group, or of a rule of it, took.
fn cost(group: &Value, of: &Value, rule: String) -> Result<Cost> {
    let interval = group["interval"].as_f64().context("a group has an interval")?;
    let seconds = of["evaluationTime"].as_f64().context("an evaluation takes time")?;
    Ok(Cost { seconds, every: interval / INTERVAL as f64, rule })
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
    row("rules per round, s (median)", &|f| format!("{:.3}", f.median()));
    row("  least and most of the rounds", &|f| {
        let (least, most) = f.rounds.iter().fold((f64::MAX, 0.0_f64), |(a, b), s| (a.min(*s), b.max(*s)));
        format!("{least:.2}..{most:.2}")
    });
    row("  per 1,000 nodes", &|f| format!("{:.3}", f.median() * 1e3 / f.nodes as f64));
    row("  a round with every group, s (median)", &|f| format!("{:.3}", median(&f.fullest)));
    row("  rounds left out by some group", &|f| format!("{:.0}", f.missed));
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    row("RSS with and without rules, MiB", &|f| {
        format!("{:.0} {:.0}", mebibytes(f.resident[0]), mebibytes(f.resident[1]))
    });
    row("CPU with and without rules, s a round", &|f| format!("{:.2} {:.2}", f.cpu[0], f.cpu[1]));
    row("CPU of rules, s a round", &|f| format!("{:.3}", f.cpu_of_rules()));
    row("  per 320 GPUs", &|f| format!("{:.3}", f.per_320()));
    let (Some(first), Some(last)) = (all.first(), all.last()) else { return };
    println!(
        "\ndearest of {} rules at {} nodes: s per round, s when evaluated",
        last.rules.len(),
        last.nodes
    );
    for cost in last.rules.iter().take(DEAREST) {
        println!("{:>8.3} {:>8.3}  {}", cost.per_round(), cost.seconds, cost.rule);
    }
    if last.nodes > first.nodes {
        let growth =
            (last.cpu_of_rules() / first.cpu_of_rules()).ln() / (last.nodes as f64 / first.nodes as f64).ln();
        println!("\ncost grows with the number of nodes to the power of {growth:.2}");
    }
    let cpu = last.cpu_of_rules();
    let verdict = if cpu <= ROUND_CPU_MAX && last.missed < 1.0 { "" } else { "   missed" };
    println!(
        "aim at {} nodes: {ROUND_CPU_MAX} s of CPU a round and no round left out; {cpu:.3} s, {:.0} left out{verdict}",
        last.nodes, last.missed
    );
    let (aim, cpu) = (FIRST_CPU / 5.0, first.per_320());
    let verdict = if cpu <= aim { "" } else { "   missed" };
    println!(
        "aim per 320 GPUs: {aim:.3} s of CPU a round, a fifth of what the first rules took; {cpu:.3} s{verdict}"
    );
}
