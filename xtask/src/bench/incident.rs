//! `cargo xtask bench incident`: what incident mode costs an exporter of eight GPUs.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use e2e::{Artefacts, Exporter, Node, http};

use super::{Extent, measure::cpu_ms_per_second, scrapes::mebibytes};
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
    println!(
        "incident mode on 8 x H100: {:.2} ms of CPU in a second more, {off:.2} without it and {on:.2} with it; RSS {} \
         MiB before, {} MiB with the samples of {} s",
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
    cpu_ms_per_second(&exporter.process, || {
        let begun = Instant::now();
        while begun.elapsed() < span {
            thread::sleep(SCRAPE.min(span.saturating_sub(begun.elapsed())));
            exporter.scrape()?;
        }
        Ok(())
    })
}

/// Switches it on every device for so long.
fn switch(address: SocketAddr, hold: &str) -> Result<()> {
    let json = [("Content-Type", "application/json")];
    http::post(address, "/-/incident", &json, &format!("{{\"for\":\"{hold}\"}}"))?.ok()?;
    Ok(())
}
