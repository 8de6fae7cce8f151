//! `cargo xtask demo`: the release build on a fleet of simulated machines, with inference engines and a Prometheus with
//! the generated rules, until Ctrl-C.
//!
//! Each machine has its own process, folder and port, as each node of a real fleet has.

mod page;
mod scenario;

use std::{
    iter,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use e2e::{
    Artefacts, Node, Process, Prometheus, ScrapeJob, SimEngine, eventually, fleet,
    http::{self, Request},
    process,
};
use signal_hook::consts::{SIGINT, SIGTERM};
use sim::Profile;
use tempfile::TempDir;

use self::page::Row;
use crate::{
    setup,
    shell::{Build, build},
};

/// A machine of the fleet.
#[derive(Clone, Copy)]
struct Machine<'a> {
    name: &'a str,
    about: &'static str,
    workload: &'static str,
    /// The kind and model of the inference engine on it.
    engine: Option<(&'static str, &'static str)>,
}

const FLEET: &[Machine<'static>] = &[
    Machine { name: "h100-sxm-8", about: "server, 8 x H100", workload: "prefill", engine: None },
    Machine {
        name: "gaudi3-8",
        about: "server, 8 x Gaudi 3",
        workload: "prefill",
        engine: Some(("vllm", "chat")),
    },
    Machine {
        name: "battlematrix-8",
        about: "rack, 8 x Arc Pro B60",
        workload: "prefill",
        engine: Some(("vllm-0.10", "code")),
    },
    Machine {
        name: "xeon6-amx",
        about: "server, 2 x Xeon 6 with AMX",
        workload: "prefill",
        engine: Some(("tei", "embeddings")),
    },
    Machine {
        name: "nuc-lunar-lake",
        about: "branch office, NPU and graphics of a Lunar Lake",
        workload: "idle",
        engine: Some(("ovms", "assistant")),
    },
    Machine {
        name: "nuc-panther-lake",
        about: "branch office, NPU and graphics of a Panther Lake",
        workload: "idle",
        engine: None,
    },
];

/// The port of the first machine; the others follow, and the one before it has the index page. One that is in use is
/// replaced by any other.
const FIRST_PORT: u16 = 9477;

/// The most that the processes of a fleet may have in memory together.
const RESIDENT_BYTES_MAX: u64 = 80 << 20;

/// Long enough for each device to be read a few times, so that what is measured has been used.
const SETTLE: Duration = Duration::from_secs(3);

/// A machine with its exporter.
struct Member<'a> {
    machine: Machine<'a>,
    address: SocketAddr,
    exporter: Process,
    engine: Option<SimEngine>,
    // After the processes, which read its files.
    node: Node,
}

/// Prometheus, and the rules that it reads.
struct Server {
    prometheus: Prometheus,
    _rules: TempDir,
}

/// Whether somebody wants the demo to end.
struct Stop(Arc<AtomicBool>);

impl Stop {
    fn at_signals() -> Result<Self> {
        let stop = Arc::default();
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        Ok(Self(stop))
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sleeps for this time, or until it is set.
    fn sleep(&self, time: Duration) {
        let start = Instant::now();
        while !self.is_set() && start.elapsed() < time {
            thread::sleep(Duration::from_millis(100).min(time));
        }
    }
}

/// What the command line says.
struct Options<'a> {
    machines: Vec<Machine<'a>>,
    seconds: u64,
    scenario: bool,
    speed: Option<f64>,
}

impl<'a> Options<'a> {
    fn parse(words: &[&'a str]) -> Result<Self> {
        let mut options = Self { machines: FLEET.to_vec(), seconds: u64::MAX, scenario: false, speed: None };
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("demo: {word} needs a value"));
            match word {
                "--machine" => {
                    let name = value()?;
                    let known = FLEET.iter().find(|machine| machine.name == name).copied();
                    let other = Machine { name, about: "", workload: "mixed", engine: None };
                    options.machines = vec![known.unwrap_or(other)];
                }
                "--seconds" => {
                    let number = value()?;
                    options.seconds = number.parse().with_context(|| format!("--seconds {number}"))?;
                }
                "--scenario" => options.scenario = true,
                "--speed" => {
                    let number = value()?;
                    let speed = number.parse().with_context(|| format!("--speed {number}"))?;
                    ensure!((1.0..=1e6).contains(&speed), "--speed {number}: it is 1 to 1000000");
                    options.speed = Some(speed);
                }
                _ => bail!(
                    "demo: unknown option `{word}`; it takes --machine NAME, --seconds N, --scenario and \
                     --speed N"
                ),
            }
        }
        let has_stage = options.machines.iter().any(|machine| machine.name == scenario::MACHINE);
        ensure!(!options.scenario || has_stage, "demo: the scenario plays on {}", scenario::MACHINE);
        ensure!(options.scenario || options.speed.is_none(), "demo: --speed is of --scenario");
        Ok(options)
    }
}

/// Serves the fleet as the command line says.
pub fn run(words: &[&str]) -> Result<()> {
    let options = Options::parse(words)?;
    let tools = setup::tools(&[("prometheus", &["prometheus"])]);
    if options.scenario {
        tools.as_ref().map_err(|error| anyhow::anyhow!("demo: the scenario needs Prometheus: {error:#}"))?;
    }
    build(Build::Release)?;

    let stop = Stop::at_signals()?;
    let artefacts = Artefacts::release()?;
    let mut fleet = (FIRST_PORT..)
        .zip(&options.machines)
        .map(|(port, machine)| Member::start(&artefacts, *machine, port))
        .collect::<Result<Vec<_>>>()?;
    for member in &mut fleet {
        member.until_ready()?;
    }
    let server = match tools {
        Ok(()) => Some(Server::start(&artefacts, &fleet)?),
        Err(error) => {
            println!("demo: the machines are served without Prometheus: {error:#}");
            None
        }
    };
    let index = bind(FIRST_PORT - 1)?;
    let address = index.local_addr()?;
    page::serve(index, page::html(&sections(&fleet, server.as_ref())));
    introduce(&fleet, server.as_ref(), address);

    stop.sleep(SETTLE);
    memory(&fleet)?;
    if let (true, Some(server)) = (options.scenario, &server) {
        let member = fleet.iter().find(|member| member.machine.name == scenario::MACHINE);
        let Member { node, address, .. } = member.context(scenario::MACHINE)?;
        let played = scenario::play(node, *address, &server.prometheus, options.speed.unwrap_or(1.0), &stop);
        // After Ctrl-C nothing more can be seen.
        if !stop.is_set() {
            played?;
        }
    }
    let start = Instant::now();
    while !stop.is_set() && start.elapsed().as_secs() < options.seconds {
        fleet.iter_mut().try_for_each(|member| member.exporter.ensure_running())?;
        stop.sleep(Duration::from_millis(100));
    }
    end(fleet)
}

/// Ends the exporters; fails unless they end in order.
fn end(mut fleet: Vec<Member<'_>>) -> Result<()> {
    // After Ctrl-C in a terminal they have the signal already; a second one does no harm.
    for member in &fleet {
        member.exporter.signal("TERM")?;
    }
    for member in &mut fleet {
        let status = member.exporter.wait()?;
        ensure!(status.success(), "{}: accelscope did not end in order: {status}", member.machine.name);
    }
    println!("demo ended");
    Ok(())
}

/// Says on the terminal what there is.
fn introduce(fleet: &[Member<'_>], server: Option<&Server>, index: SocketAddr) {
    println!("\n  SIMULATED machines: no value below comes from hardware\n");
    println!("  {:<18} http://{index}/  links to all of this", "start here");
    for Member { machine, address, .. } in fleet {
        println!("  {:<18} http://{address}/  {}", machine.name, machine.about);
    }
    for (engine, (kind, model), machine) in engines(fleet) {
        println!("  {:<18} http://{}/metrics  serves {model} on {machine}", kind, engine.address);
    }
    if let Some(Server { prometheus, .. }) = server {
        println!("  {:<18} http://{}/alerts", "Prometheus", prometheus.address());
    }
    println!("\n  Each machine also has /metrics, /-/healthy and /-/ready. Faults of a machine: write");
    for member in fleet {
        println!("    {}", member.node.control_file().display());
    }
    println!("  (see machines/README.md). Ctrl-C ends them all.\n");
}

/// The index page's links.
fn sections<'a>(fleet: &'a [Member<'_>], server: Option<&Server>) -> [(&'static str, Vec<Row<'a>>); 3] {
    let nodes = fleet.iter().map(|Member { machine, address, .. }| Row {
        name: machine.name,
        about: machine.about,
        address: *address,
        links: &[("/", "page of the node"), ("/metrics", "metrics"), ("/api/v1/node", "JSON")],
    });
    let models = engines(fleet).map(|(engine, (kind, model), _)| Row {
        name: kind,
        about: model,
        address: engine.address,
        links: &[("/metrics", "metrics")],
    });
    let prometheus = server.map(|server| Row {
        name: "Prometheus",
        about: "with the generated rules, minutes shortened to seconds",
        address: server.prometheus.address(),
        links: &[
            ("/alerts", "alerts"),
            ("/targets", "targets"),
            ("/graph?g0.expr=accel:device_state:max&g0.tab=1", "state of each device"),
            ("/graph?g0.expr=accel_power_watts&g0.tab=0&g0.range_input=5m", "power"),
        ],
    });
    [
        ("Nodes", nodes.collect()),
        ("Inference engines", models.collect()),
        ("Prometheus", prometheus.into_iter().collect()),
    ]
}

/// The engines, each with its kind and model and the name of its machine.
fn engines<'a>(
    fleet: &'a [Member<'_>],
) -> impl Iterator<Item = (&'a SimEngine, (&'static str, &'static str), &'a str)> {
    fleet
        .iter()
        .filter_map(|Member { machine, engine, .. }| Some((engine.as_ref()?, machine.engine?, machine.name)))
}

/// What the exporters have in memory together.
fn memory(fleet: &[Member<'_>]) -> Result<()> {
    let resident = fleet.iter().map(|member| member.exporter.resident_bytes()).sum::<Result<u64>>()?;
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!("  {} exporters have {:.1} MiB in memory together", fleet.len(), mebibytes(resident));
    ensure!(
        resident <= RESIDENT_BYTES_MAX,
        "{} exporters have {:.1} MiB in memory, more than {:.0}",
        fleet.len(),
        mebibytes(resident),
        mebibytes(RESIDENT_BYTES_MAX)
    );
    Ok(())
}

/// Listens on this port, or on another where it is in use.
fn bind(port: u16) -> Result<TcpListener> {
    let local = |port| TcpListener::bind(("127.0.0.1", port));
    Ok(local(port).or_else(|_| local(0))?)
}

impl<'a> Member<'a> {
    fn start(artefacts: &Artefacts, machine: Machine<'a>, port: u16) -> Result<Self> {
        let mut node =
            Node::with(artefacts.clone(), machine.name)?.named(machine.name).workload(machine.workload);
        // A machine of which the kernel alone shows anything has no such profile; its files have its bus,
        // too.
        if Profile::open(machine.name).is_ok() {
            node = node.with_bus()?;
        }
        let address = match TcpListener::bind(("127.0.0.1", port)) {
            Ok(listener) => listener.local_addr()?,
            Err(_) => process::free_address()?,
        };
        let flags = ["--web.listen-address", &address.to_string(), "--incident.enable"];
        let mut exporter = Process::spawn(machine.name, &mut node.accelscope("serve", &flags)?)?;
        exporter.quiet();
        let engine = |(kind, model)| {
            let mut engine = SimEngine::with(artefacts, kind, model, machine.workload, &node.control_file())?;
            engine.process.quiet();
            Ok::<_, anyhow::Error>(engine)
        };
        let engine = machine.engine.map(engine).transpose()?;
        Ok(Self { machine, address, exporter, engine, node })
    }

    fn until_ready(&mut self) -> Result<()> {
        eventually(&format!("{} is ready", self.machine.name), || {
            self.exporter.ensure_running()?;
            http::send(self.address, Request::get("/-/ready"))?.ok()
        })?;
        Ok(())
    }

    /// Prometheus' targets on this machine.
    fn jobs(&self) -> impl Iterator<Item = ScrapeJob> {
        let engine = self.engine.as_ref().zip(self.machine.engine).map(|(engine, (kind, model))| {
            ScrapeJob::new(kind, engine.address)
                .label("namespace", "inference")
                .label("pod", format!("{model}-0"))
        });
        iter::once(ScrapeJob::new("accelscope", self.address))
            .chain(engine)
            .map(|job| job.label("cluster", "demo").label("node", self.machine.name))
    }
}

impl Server {
    fn start(artefacts: &Artefacts, fleet: &[Member<'_>]) -> Result<Self> {
        let rules = fleet::rules(artefacts)?;
        let jobs: Vec<_> = fleet.iter().flat_map(Member::jobs).collect();
        let mut prometheus = Prometheus::with_rules(&jobs, &fleet::alerting(&rules), &[])?;
        prometheus.process.quiet();
        Ok(Self { prometheus, _rules: rules })
    }
}

#[cfg(test)]
mod tests {
    use super::{FLEET, Options};

    #[test]
    fn options_are_read_in_any_order_and_wrong_ones_refused() {
        let options = Options::parse(&["--scenario", "--seconds", "1", "--speed", "60"]).unwrap();
        assert!(options.scenario && options.seconds == 1 && options.machines.len() == FLEET.len());
        let one = Options::parse(&["--machine", "t4-1"]).unwrap();
        assert_eq!((one.machines.len(), one.machines[0].name), (1, "t4-1"));
        for wrong in [
            &["--seconds"][..],
            &["--seconds", "x"],
            &["--speed", "60"],
            &["--scenario", "--speed", "0"],
            &["--scenario", "--machine", "t4-1"],
            &["--fast"],
        ] {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
