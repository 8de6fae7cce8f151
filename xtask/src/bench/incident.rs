//! `cargo xtask bench incident`: what incident mode costs an exporter of eight GPUs.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use e2e::{Artefacts, Exporter, Node, http};

use super::Extent;
use crate::shell::{Build, build};

/// Turns without and with it, one after another, so that what else the machine does falls on both.
const TURNS: u32 = 3;

/// How often it is scraped.
const SCRAPE: Duration = Duration::from_secs(15);

/// What it may cost: milliseconds of CPU in a second.
const COST_MAX: f64 = 10.0;

/// Measures eight busy H100 with a scraper, without incident mode and with it on every device.
pub fn run(extent: Extent) -> Result<()> {
    build(Build::Release)?;
    let span = if extent == Extent::Quick { SCRAPE } else { 4 * SCRAPE };
    let node = Node::with(Artefacts::release()?, "h100-sxm-8")?.workload("prefill");
    let exporter = node.start(&["--incident.enable"])?;
    exporter.settled()?;
    let (mut off, mut on) = (0.0, 0.0);
    let (mut resident_off, mut resident_on) = (0, 0);
    for _ in 0..TURNS {
        off += cost(&exporter, span)? / f64::from(TURNS);
        resident_off = exporter.process.resident_bytes()?.max(resident_off);
        switch(exporter.address, "30m")?;
        // What is read for the first time is read twice.
        thread::sleep(Duration::from_secs(1));
        on += cost(&exporter, span)? / f64::from(TURNS);
        resident_on = exporter.process.resident_bytes()?.max(resident_on);
        switch(exporter.address, "0s")?;
    }
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "incident mode on 8 x H100: {:.2} ms of CPU in a second more, {off:.2} without it and {on:.2} with it; RSS {:.1} \
         MiB before, {:.1} MiB with the samples of {} s",
        on - off,
        mebibytes(resident_off),
        mebibytes(resident_on),
        (span * TURNS).as_secs()
    );
    ensure!(on - off < COST_MAX, "more than {COST_MAX} ms in a second");
    Ok(())
}

/// Milliseconds of CPU in a second, with scrapes.
fn cost(exporter: &Exporter, span: Duration) -> Result<f64> {
    let (start, begun) = (exporter.process.cpu_seconds_of_threads()?, Instant::now());
    while begun.elapsed() < span {
        thread::sleep(SCRAPE.min(span.saturating_sub(begun.elapsed())));
        exporter.scrape()?;
    }
    Ok((exporter.process.cpu_seconds_of_threads()? - start) * 1e3 / begun.elapsed().as_secs_f64())
}

/// Switches it on every device for so long.
fn switch(address: SocketAddr, hold: &str) -> Result<()> {
    let json = [("Content-Type", "application/json")];
    http::post(address, "/-/incident", &json, &format!("{{\"for\":\"{hold}\"}}"))?.ok()?;
    Ok(())
}
