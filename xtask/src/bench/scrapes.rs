//! `cargo xtask bench scrapes`: what a scrape costs, ours beside other exporters', in one run on one machine.
//!
//! All that read NVML read the same simulated `h100-sxm-8`; Prometheus' own node exporter stands for what
//! the field takes as cheap. Everything is on loopback and bounded in count and time.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{
    Artefacts, Node, Process,
    artefacts::python_env,
    http::{Client, Request, Response},
    process::free_address,
    wait::CEILING,
};

use super::Extent;
use crate::{
    setup,
    shell::{build, on_path, read},
    test::RELEASE_BYTES_MAX,
};

const MACHINE: &str = "h100-sxm-8";

impl Extent {
    fn idle(self) -> Duration {
        Duration::from_secs(if self == Self::Whole { 30 } else { 10 })
    }

    fn load(self) -> Duration {
        Duration::from_secs(if self == Self::Whole { 10 } else { 3 })
    }
}

/// Back-to-back scrapes of one batch; batches are repeated until they have used enough CPU to be counted in
/// ticks of 10 ms.
const BATCH: usize = 1000;
const BATCHES_MAX: usize = 20;
const CPU_SECONDS_ENOUGH: f64 = 0.5;

/// Connections under load.
const CONNECTIONS: &str = "16";

/// An exporter to measure.
struct Subject {
    name: &'static str,
    command: Command,
    address: SocketAddr,
    /// What a good scrape contains: a name that is there only once devices were read.
    marker: &'static str,
}

/// What was measured.
struct Figures {
    name: &'static str,
    first_scrape_ms: f64,
    idle_ms_per_second: f64,
    resident_before: u64,
    resident_after: u64,
    cpu_seconds_per_1000: f64,
    median_ms: f64,
    p99_ms: f64,
    bytes: usize,
    bytes_gzip: Option<usize>,
    series: usize,
    loaded_per_second: f64,
    loaded_p99: String,
}

/// Measures every exporter that is there, one after the other, and prints the table and the aims.
pub fn run(extent: Extent) -> Result<()> {
    setup::run()?;
    build(&["--release"])?;
    let artefacts = Artefacts::release()?;
    let binary_bytes = fs::metadata(artefacts.binary("accelscope")?)?.len();
    let node = Node::with(artefacts, MACHINE)?;
    let mut all = Vec::new();
    for subject in subjects(&node)? {
        println!("bench: {}", subject.name);
        all.push(measure(subject, extent)?);
    }
    print_table(&all);
    print_aims(&all, binary_bytes)
}

fn subjects(node: &Node) -> Result<Vec<Subject>> {
    let on_machine = |mut command: Command| {
        command.env("LD_LIBRARY_PATH", node.dir());
        command
    };
    let mut subjects = Vec::new();

    let address = free_address()?;
    let command = node.accelscope("serve", &["--web.listen-address", &address.to_string()])?;
    subjects.push(Subject { name: "accelscope", command, address, marker: "DCGM_FI_DEV_POWER_USAGE{" });

    let address = free_address()?;
    let mut command = Command::new("prometheus-node-exporter");
    command.arg(format!("--web.listen-address={address}"));
    subjects.push(Subject { name: "node_exporter", command, address, marker: "node_cpu_seconds_total{" });

    let address = free_address()?;
    let mut command = on_machine(node.command(python_env()?.join("bin/nvitop-exporter")));
    command.args(["--bind-address", &address.ip().to_string(), "--port", &address.port().to_string()]);
    subjects.push(Subject { name: "nvitop-exporter", command, address, marker: "gpu_power_usage_W{" });

    if on_path("all-smi") {
        // It asks a program whether there is a GPU at all before it opens the library; and it binds
        // 0.0.0.0, whatever address is asked for.
        let bin = node.dir().join("bin");
        fs::create_dir(&bin)?;
        fs::write(bin.join("nvidia-smi"), "#!/bin/sh\necho 'GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-0)'\n")?;
        fs::set_permissions(bin.join("nvidia-smi"), fs::Permissions::from_mode(0o755))?;
        let path = std::env::var("PATH")?;
        let address = free_address()?;
        let mut command = on_machine(node.command("all-smi"));
        command.env("PATH", format!("{}:{path}", bin.display()));
        command.args(["api", "--port", &address.port().to_string()]);
        subjects.push(Subject { name: "all-smi", command, address, marker: "all_smi_gpu_utilization{" });
    }
    Ok(subjects)
}

fn measure(mut subject: Subject, extent: Extent) -> Result<Figures> {
    let start = Instant::now();
    let mut process = Process::spawn(subject.name, &mut subject.command)?;
    process.quiet();
    let first_scrape_ms = loop {
        process.ensure_running()?;
        if scrape(subject.address)
            .is_ok_and(|body| body.text().is_ok_and(|text| text.contains(subject.marker)))
        {
            break start.elapsed().as_secs_f64() * 1e3;
        }
        ensure!(start.elapsed() < CEILING, "{}: no scrape with {}", subject.name, subject.marker);
        thread::sleep(Duration::from_millis(2));
    };

    // Start-up work is over after a few intervals.
    thread::sleep(Duration::from_secs(3));
    let resident_before = process.resident_bytes()?;
    let (cpu, clock) = (process.cpu_seconds_of_threads()?, Instant::now());
    thread::sleep(extent.idle());
    let idle_ms_per_second = (process.cpu_seconds_of_threads()? - cpu) * 1e3 / clock.elapsed().as_secs_f64();

    let mut latencies = Vec::new();
    let cpu = process.cpu_seconds()?;
    let mut client = Client::connect(subject.address)?;
    for _ in 0..BATCHES_MAX {
        for _ in 0..BATCH {
            let clock = Instant::now();
            let response = client.send(Request::get("/metrics"))?.ok()?;
            latencies.push(clock.elapsed());
            if !response.keep_alive {
                client = Client::connect(subject.address)?;
            }
        }
        if process.cpu_seconds()? - cpu >= CPU_SECONDS_ENOUGH {
            break;
        }
    }
    let cpu_seconds_per_1000 = (process.cpu_seconds()? - cpu) * 1e3 / latencies.len() as f64;
    let resident_after = process.resident_bytes()?;
    latencies.sort();
    let percentile = |p: usize| latencies[latencies.len() * p / 100].as_secs_f64() * 1e3;

    let plain = scrape(subject.address)?;
    let gzip = Request::get("/metrics").with(&[("Accept-Encoding", "gzip")]);
    let gzip = Client::connect(subject.address)?.send(gzip)?.ok()?;
    let (loaded_per_second, loaded_p99) = load(subject.address, extent)?;
    Ok(Figures {
        name: subject.name,
        first_scrape_ms,
        idle_ms_per_second,
        resident_before,
        resident_after,
        cpu_seconds_per_1000,
        median_ms: percentile(50),
        p99_ms: percentile(99),
        bytes: plain.body.len(),
        bytes_gzip: (gzip.header("content-encoding") == Some("gzip")).then_some(gzip.body.len()),
        series: plain.text()?.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count(),
        loaded_per_second,
        loaded_p99,
    })
}

fn scrape(address: SocketAddr) -> Result<Response> {
    Client::connect(address)?.send(Request::get("/metrics"))?.ok()
}

/// Requests per second and the 99th percentile that wrk sees over several connections.
fn load(address: SocketAddr, extent: Extent) -> Result<(f64, String)> {
    let report = read(
        Command::new("wrk")
            .args(["--threads", "1", "--connections", CONNECTIONS, "--latency"])
            .args(["--duration", &format!("{}s", extent.load().as_secs())])
            .arg(format!("http://{address}/metrics")),
    )?;
    let after = |label: &str| {
        report
            .lines()
            .find_map(|line| line.trim().strip_prefix(label))
            .map(str::trim)
            .with_context(|| format!("wrk printed no {label}:\n{report}"))
    };
    Ok((after("Requests/sec:")?.parse()?, after("99%")?.to_owned()))
}

/// A row of the table: what it is called, how a figure is printed, and the number for the ratio.
type Row = (&'static str, fn(&Figures) -> String, fn(&Figures) -> f64);

const ROWS: [Row; 10] = [
    ("first good scrape, ms", |f| format!("{:.0}", f.first_scrape_ms), |f| f.first_scrape_ms),
    ("idle CPU, ms/s", |f| format!("{:.2}", f.idle_ms_per_second), |f| f.idle_ms_per_second),
    ("RSS idle, MiB", |f| mebibytes(f.resident_before), |f| f.resident_before as f64),
    ("RSS after scrapes, MiB", |f| mebibytes(f.resident_after), |f| f.resident_after as f64),
    ("CPU s per 1,000 scrapes", |f| format!("{:.3}", f.cpu_seconds_per_1000), |f| f.cpu_seconds_per_1000),
    ("median latency, ms", |f| format!("{:.3}", f.median_ms), |f| f.median_ms),
    ("p99 latency, ms", |f| format!("{:.3}", f.p99_ms), |f| f.p99_ms),
    ("bytes", |f| f.bytes.to_string(), |f| f.bytes as f64),
    (
        "bytes, gzip",
        |f| f.bytes_gzip.map_or("none".into(), |b| b.to_string()),
        |f| f.bytes_gzip.unwrap_or(f.bytes) as f64,
    ),
    ("series", |f| f.series.to_string(), |f| f.series as f64),
];

fn print_table(all: &[Figures]) {
    let row = |name: &str, cells: Vec<String>| {
        print!("{name:<26}");
        for cell in cells {
            print!("{cell:>26}");
        }
        println!();
    };
    println!(
        "\nin parentheses: how many times ours. The simulated library runs inside those that read NVML, so\n\
         their idle CPU and memory include it\n"
    );
    row(MACHINE, all.iter().map(|figures| figures.name.to_owned()).collect());
    for (name, print, number) in ROWS {
        let ours = number(&all[0]);
        let cell = |(index, figures)| match index {
            0 => print(figures),
            _ => format!("{} ({:.1}x)", print(figures), number(figures) / ours),
        };
        row(name, all.iter().enumerate().map(cell).collect());
    }
    row(
        &format!("{CONNECTIONS} connections, req/s"),
        all.iter().map(|figures| format!("{:.0}", figures.loaded_per_second)).collect(),
    );
    row(
        &format!("{CONNECTIONS} connections, p99"),
        all.iter().map(|figures| figures.loaded_p99.clone()).collect(),
    );
}

fn print_aims(all: &[Figures], binary_bytes: u64) -> Result<()> {
    let ours = &all[0];
    let node_exporter = all.iter().find(|figures| figures.name == "node_exporter").context("it ran")?;
    let mebibyte = f64::from(1 << 20);
    let aims = [
        ("RSS, MiB", ours.resident_after as f64 / mebibyte, 10.0),
        ("CPU s per 1,000 scrapes", ours.cpu_seconds_per_1000, 0.10),
        ("median latency, ms", ours.median_ms, node_exporter.median_ms / 10.0),
        ("idle CPU, ms/s", ours.idle_ms_per_second, 2.0),
        ("first good scrape, ms", ours.first_scrape_ms, 300.0),
        ("binary, MiB", binary_bytes as f64 / mebibyte, RELEASE_BYTES_MAX as f64 / mebibyte),
    ];
    println!("\n{:<26}{:>12}{:>12}", "aim", "at most", "reached");
    for (name, reached, aim) in aims {
        let verdict = if reached <= aim { "" } else { "   missed" };
        println!("{name:<26}{aim:>12.3}{reached:>12.3}{verdict}");
    }
    Ok(())
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}
