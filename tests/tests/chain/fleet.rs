//! A fleet of many nodes out of one: what a real exporter prints of a machine, served for each node with UUIDs of its
//! own, and changed as a scenario says. Prometheus finds its targets in a file, as a service discovery would write it.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use anyhow::{Context, Result};
use e2e::{Node, process::free_address};
use serde_json::json;

/// The machine that every node is.
const MACHINE: &str = "h100-sxm-8";

/// What an engine without a request says.
const ENGINE: &str = "vllm:num_requests_running{model_name=\"m\",engine=\"0\"} 0\nvllm:num_requests_waiting{model_name=\"m\",\
                      engine=\"0\"} 0\nvllm:kv_cache_usage_perc{model_name=\"m\",engine=\"0\"} 0.1\n";

/// What each path returns; one that is not there is a target that does not respond.
type Bodies = Arc<Mutex<BTreeMap<String, String>>>;

/// The nodes and their targets.
pub struct Fleet {
    address: SocketAddr,
    bodies: Bodies,
    /// The file of targets.
    pub targets: PathBuf,
    nodes: usize,
    exporter: String,
}

impl Fleet {
    /// Nodes that are well, each with an exporter and an engine; the list of targets is written into `folder`.
    pub fn start(folder: &Path, nodes: usize) -> Result<Self> {
        let machine = Node::new(MACHINE)?.workload("idle").with_bus()?;
        let mut exporter = machine.start(&["--names", "unified"])?;
        exporter.process.quiet();
        exporter.settled()?;
        let response = exporter.get("/metrics")?.ok()?;
        let read = response.text()?.lines().filter(|line| line.starts_with("accel_"));
        let exporter = read.flat_map(|line| [line, "\n"]).collect();
        let listener = TcpListener::bind(free_address()?)?;
        let bodies = Bodies::default();
        let fleet = Self {
            address: listener.local_addr()?,
            bodies: Arc::clone(&bodies),
            targets: folder.join("targets.json"),
            nodes,
            exporter,
        };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let bodies = Arc::clone(&bodies);
                // What goes wrong on a connection shows as a failed scrape.
                thread::spawn(move || {
                    let _ = serve(&stream, &bodies);
                });
            }
        });
        for node in 0..nodes {
            fleet.wakes(node);
        }
        fleet.deployed(0)?;
        Ok(fleet)
    }

    fn set(&self, path: String, body: Option<String>) {
        let mut bodies = self.bodies.lock().expect("nobody panics while writing");
        match body {
            Some(body) => bodies.insert(path, body),
            None => bodies.remove(&path),
        };
    }

    fn body(&self, node: usize) -> String {
        self.exporter.replace("\"GPU-", &format!("\"GPU-{node}-"))
    }

    /// A node whose targets respond, and whose devices are well.
    pub fn wakes(&self, node: usize) {
        self.set(format!("/{node}/exporter"), Some(self.body(node)));
        self.set(format!("/{node}/engine"), Some(ENGINE.to_owned()));
    }

    /// A node without power.
    pub fn loses_power(&self, node: usize) {
        self.set(format!("/{node}/exporter"), None);
        self.set(format!("/{node}/engine"), None);
    }

    /// A node whose driver is reloaded: its devices are listed and do not respond.
    pub fn reloads_driver(&self, node: usize) {
        let body = self.body(node);
        let lines = body.lines().filter_map(|line| match line.split_once("} ") {
            Some((series, _)) if line.starts_with("accel_device_up{") => Some(format!("{series}}} 0\n")),
            _ if line.starts_with("accel_device_info{") || line.starts_with("accel_devices") => {
                Some(format!("{line}\n"))
            }
            _ => None,
        });
        self.set(format!("/{node}/exporter"), Some(lines.collect()));
    }

    /// Writes the targets as after this many roll-outs: each gives every pod another name and address.
    pub fn deployed(&self, rollout: usize) -> Result<()> {
        let target = |node: usize, job: &str, path: &str| {
            json!({
                "targets": [self.address.to_string()],
                "labels": {
                    "__metrics_path__": format!("/{node}/{path}"),
                    "job": job,
                    "cluster": "site",
                    "node": format!("node-{node}"),
                    "namespace": "inference",
                    "pod": format!("{path}-{node}-{rollout}"),
                    "instance": format!("10.{rollout}.0.{node}:9477"),
                },
            })
        };
        let exporters = (0..self.nodes).map(|node| target(node, "accelscope", "exporter"));
        // An engine of its own address, as pods have.
        let engines = (0..self.nodes).map(|node| {
            let mut engine = target(node, "vllm", "engine");
            engine["labels"]["instance"] = json!(format!("10.{rollout}.1.{node}:8000"));
            engine
        });
        let all: Vec<_> = exporters.chain(engines).collect();
        // In one step, as Prometheus may read at any moment.
        let new = self.targets.with_extension("new");
        fs::write(&new, json!(all).to_string())?;
        fs::rename(&new, &self.targets).context("the file of targets")
    }
}

/// Serves the scrapes of one connection.
fn serve(mut stream: &TcpStream, bodies: &Bodies) -> Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(request) = lines.next() {
        let request = request?;
        let path = request.split(' ').nth(1).context("no path")?;
        while !lines.next().context("a request ends with an empty line")??.is_empty() {}
        // A target that does not respond closes the connection.
        let body = bodies.lock().expect("nobody panics while reading").get(path).cloned();
        let body = body.context("no such target")?;
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
    }
    Ok(())
}
