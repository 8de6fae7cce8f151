//! One exporter, measured: from its start through idling and back-to-back scrapes to many connections at
//! once.

use std::{
    net::SocketAddr,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use e2e::{
    Process,
    http::{Client, Request, Response},
    wait::CEILING,
};

use super::Extent;
use crate::shell::read;

impl Extent {
    pub fn idle(self) -> Duration {
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
pub const CONNECTIONS: &str = "16";

/// An exporter to measure.
pub struct Subject {
    pub name: &'static str,
    pub command: Command,
    pub address: SocketAddr,
    /// What a good scrape contains: a name that is there only once devices were read.
    pub marker: &'static str,
}

/// What was measured.
pub struct Figures {
    pub name: &'static str,
    pub first_scrape_ms: f64,
    pub idle_ms_per_second: f64,
    pub resident_before: u64,
    pub resident_after: u64,
    pub cpu_seconds_per_1000: f64,
    pub median_ms: f64,
    pub p99_ms: f64,
    pub bytes: usize,
    pub bytes_gzip: Option<usize>,
    pub series: usize,
    pub loaded_per_second: f64,
    pub loaded_p99: String,
}

/// Starts the exporter, measures it, and ends it.
pub fn measure(mut subject: Subject, extent: Extent) -> Result<Figures> {
    println!("bench: {}", subject.name);
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
    let idle_ms_per_second = idle_ms_per_second(&process, extent.idle())?;

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
    let url = format!("http://{}/metrics", subject.address);
    let (loaded_per_second, loaded_p99) = load(&url, CONNECTIONS, None, extent)?;
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

/// What a process uses of the CPU while something is done: milliseconds in a second.
pub fn cpu_ms_per_second(process: &Process, during: impl FnOnce() -> Result<()>) -> Result<f64> {
    let (before, start) = (process.cpu_seconds_of_threads()?, Instant::now());
    during()?;
    Ok((process.cpu_seconds_of_threads()? - before) * 1e3 / start.elapsed().as_secs_f64())
}

/// The same of a process that is left alone for so long.
pub fn idle_ms_per_second(process: &Process, span: Duration) -> Result<f64> {
    cpu_ms_per_second(process, || {
        thread::sleep(span);
        Ok(())
    })
}

fn scrape(address: SocketAddr) -> Result<Response> {
    Client::connect(address)?.send(Request::get("/metrics"))?.ok()
}

/// Requests per second and the 99th percentile that wrk sees over so many connections, with a header of its own.
pub fn load(url: &str, connections: &str, header: Option<&str>, extent: Extent) -> Result<(f64, String)> {
    let report = read(
        Command::new("wrk")
            .args(["--threads", "1", "--connections", connections, "--latency"])
            .args(["--duration", &format!("{}s", extent.load().as_secs())])
            .args(header.into_iter().flat_map(|header| ["--header", header]))
            .arg(url),
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
