//! `cargo xtask bench page`: what browsers that show the page of a node cost its exporter.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use e2e::{
    Artefacts, Node,
    http::{Client, Request},
};

use super::{
    Extent,
    measure::{cpu_ms_per_second, idle_ms_per_second},
};
use crate::shell::{Build, build};

/// Browsers with the page in sight, and how often each asks, as `live.js` does.
const BROWSERS: u32 = 100;
const PERIOD: Duration = Duration::from_secs(2);

/// What they may cost: milliseconds of CPU in a second.
const COST_MAX: f64 = 10.0;

const HEADERS: [(&str, &str); 1] = [("accept-encoding", "gzip, deflate, br, zstd")];

/// Measures eight H100 without clients, and with the browsers.
pub fn run(extent: Extent) -> Result<()> {
    build(Build::Release)?;
    let span = Duration::from_secs(if extent == Extent::Quick { 20 } else { 60 });
    let node = Node::with(Artefacts::release()?, "h100-sxm-8")?;
    let mut exporter = node.start(&[])?;
    exporter.process.quiet();
    exporter.settled()?;
    let idle = idle_ms_per_second(&exporter.process, span)?;
    let before = exporter.process.resident_bytes()?;

    let mut browsers =
        (0..BROWSERS).map(|_| Client::connect(exporter.address)).collect::<Result<Vec<_>>>()?;
    let ask = Request::get("/api/v1/node").with(&HEADERS);
    // The catalogue is read at the first one.
    let bytes = browsers[0].send(ask)?.ok()?.body.len();
    let begun = Instant::now();
    let mut requests = 0_u32;
    let with_browsers = cpu_ms_per_second(&exporter.process, || {
        while begun.elapsed() < span {
            for browser in &mut browsers {
                browser.send(ask)?.ok()?;
                requests += 1;
                thread::sleep((PERIOD * requests / BROWSERS).saturating_sub(begun.elapsed()));
            }
        }
        Ok(())
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let cost = with_browsers - idle;
    let grown = exporter.process.resident_bytes()?.saturating_sub(before) as f64 / 1024.0;
    println!(
        "{BROWSERS} browsers, {:.0} requests a second of {bytes} bytes: {cost:.2} ms of CPU in a second beside \
         {idle:.2} without them; {grown:.0} KiB more memory",
        f64::from(requests) / seconds
    );
    ensure!(cost < COST_MAX, "more than {COST_MAX} ms in a second");
    Ok(())
}
