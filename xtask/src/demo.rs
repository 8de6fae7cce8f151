//! `cargo xtask demo`: the release build on a fleet of simulated machines, until Ctrl-C.
//!
//! Each machine has its own process, folder and port, as each node of a real fleet has.

use std::{
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
    Artefacts, Node, Process, eventually,
    http::{self, Request},
    process,
};
use signal_hook::consts::{SIGINT, SIGTERM};
use sim::{Profile, kernel::Tree};

use crate::shell::{Build, build};

/// The machines, each with what it is.
const FLEET: &[(&str, &str)] = &[
    ("h100-sxm-8", "server, 8 x H100"),
    ("gaudi3-8", "server, 8 x Gaudi 3"),
    ("battlematrix-8", "rack, 8 x Arc Pro B60"),
    ("xeon6-amx", "server, 2 x Xeon 6 with AMX"),
    ("nuc-lunar-lake", "branch office, NPU and graphics of a Lunar Lake"),
    ("nuc-panther-lake", "branch office, NPU and graphics of a Panther Lake"),
];

/// The port of the first machine; the others follow. One that is in use is replaced by any other.
const FIRST_PORT: u16 = 9477;

/// The most that the processes of a fleet may have in memory together.
const RESIDENT_BYTES_MAX: u64 = 68 << 20;

/// Long enough for each device to be read a few times, so that what is measured has been used.
const SETTLE: Duration = Duration::from_secs(3);

/// A machine with its exporter.
struct Member {
    machine: String,
    address: SocketAddr,
    exporter: Process,
    // After the process, which reads its files.
    node: Node,
}

/// Serves the fleet, or `--machine NAME` alone, for `--seconds N` or until Ctrl-C.
pub fn run(options: &[&str]) -> Result<()> {
    let mut machines: Vec<_> = FLEET.to_vec();
    let mut seconds = u64::MAX;
    for option in options.chunks(2) {
        match option {
            ["--machine", name] => machines = vec![(name, "")],
            ["--seconds", number] => {
                seconds = number.parse().with_context(|| format!("--seconds {number}"))?;
            }
            _ => {
                bail!("demo: unknown option `{}`; it takes --machine NAME and --seconds N", option.join(" "))
            }
        }
    }
    build(Build::Release)?;

    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let artefacts = Artefacts::release()?;
    let mut fleet = (FIRST_PORT..)
        .zip(&machines)
        .map(|(port, (machine, _))| Member::start(&artefacts, machine, port))
        .collect::<Result<Vec<_>>>()?;
    for member in &mut fleet {
        member.until_ready()?;
    }
    println!("\n  SIMULATED machines: no value below comes from hardware\n");
    for (member, (_, about)) in fleet.iter().zip(&machines) {
        println!("  {:<18} http://{}/metrics  {about}", member.machine, member.address);
    }
    println!(
        "\n  Each also has a page of its devices at / and its health at /-/healthy and /-/ready. Faults of a machine: write"
    );
    for member in &fleet {
        println!("    {}", member.node.control_file().display());
    }
    println!("  (see machines/README.md). Ctrl-C ends them all.\n");

    let start = Instant::now();
    let mut measured = false;
    while !stop.load(Ordering::Relaxed) && start.elapsed().as_secs() < seconds {
        fleet.iter_mut().try_for_each(|member| member.exporter.ensure_running())?;
        if !measured && start.elapsed() > SETTLE {
            memory(&fleet)?;
            measured = true;
        }
        thread::sleep(Duration::from_millis(100));
    }
    if !measured {
        memory(&fleet)?;
    }
    // After Ctrl-C in a terminal they have the signal already; a second one does no harm.
    for member in &fleet {
        member.exporter.signal("TERM")?;
    }
    for member in &mut fleet {
        let status = member.exporter.wait()?;
        ensure!(status.success(), "{}: accelscope did not end in order: {status}", member.machine);
    }
    println!("demo ended");
    Ok(())
}

/// What the processes have in memory together.
fn memory(fleet: &[Member]) -> Result<()> {
    let resident = fleet.iter().map(|member| member.exporter.resident_bytes()).sum::<Result<u64>>()?;
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!("  {} processes have {:.1} MiB in memory together", fleet.len(), mebibytes(resident));
    ensure!(
        resident <= RESIDENT_BYTES_MAX,
        "{} processes have {:.1} MiB in memory, more than {:.0}",
        fleet.len(),
        mebibytes(resident),
        mebibytes(RESIDENT_BYTES_MAX)
    );
    Ok(())
}

impl Member {
    fn start(artefacts: &Artefacts, machine: &str, port: u16) -> Result<Self> {
        let node = Node::with(artefacts.clone(), machine)?;
        // A machine of which the kernel alone shows anything has no such profile; its files have its bus,
        // too.
        if let Ok(profile) = Profile::open(machine) {
            Tree::new(&node.sysfs())?.show(sim::bus::files(&profile, &[]))?;
        }
        let address = match TcpListener::bind(("127.0.0.1", port)) {
            Ok(listener) => listener.local_addr()?,
            Err(_) => process::free_address()?,
        };
        let mut serve = node.accelscope("serve", &["--web.listen-address", &address.to_string()])?;
        let mut exporter = Process::spawn(machine, &mut serve)?;
        exporter.quiet();
        Ok(Self { machine: machine.to_owned(), address, exporter, node })
    }

    fn until_ready(&mut self) -> Result<()> {
        eventually(&format!("{} is ready", self.machine), || {
            self.exporter.ensure_running()?;
            http::send(self.address, Request::get("/-/ready"))?.ok()
        })?;
        Ok(())
    }
}
