//! `cargo xtask pictures`: every dashboard and the page of a node over a simulated fleet, healthy and in trouble, into docs/pictures.

use std::{fs, thread, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use e2e::{
    artefacts::repository,
    fleet::{Fleet, dashboards},
};

use crate::{
    setup,
    shell::{Build, build},
};

/// How long the fleet is healthy before it is drawn, and how long it is in trouble: enough for lines to have a shape.
const HEALTHY: Duration = Duration::from_mins(3);
const TROUBLED: Duration = Duration::from_secs(40);

/// The time on the pictures, in seconds.
const RANGE: u64 = 300;

/// The most that all pictures may have.
const BYTES_MAX: u64 = 2 << 20;

/// Draws them, and serves the fleet's Prometheus for `--seconds N` after it.
pub fn run(options: &[&str]) -> Result<()> {
    let seconds = match options {
        [] => 0,
        ["--seconds", number] => number.parse().with_context(|| format!("--seconds {number}"))?,
        _ => bail!("pictures: unknown option `{}`; it takes --seconds N", options.join(" ")),
    };
    setup::run()?;
    build(Build::Debug)?;
    let folder = repository().join("docs/pictures");
    let mut fleet = Fleet::start()?;
    println!("the fleet's Prometheus: http://{}", fleet.prometheus.address());
    thread::sleep(HEALTHY);
    let boards = dashboards()?;
    fleet.complete()?;
    fleet.draw(&boards, RANGE, "-healthy", Some(&folder))?;
    fleet.break_things()?;
    fleet.lose()?;
    thread::sleep(TROUBLED);
    fleet.draw(&boards, RANGE, "-incident", Some(&folder))?;
    fleet.draw_page("gpu-2", &folder.join("live.png"))?;
    let mut bytes = 0;
    for entry in fs::read_dir(&folder)? {
        bytes += entry?.metadata()?.len();
    }
    println!("{}: {:.2} MiB", folder.display(), bytes as f64 / f64::from(1 << 20));
    thread::sleep(Duration::from_secs(seconds));
    ensure!(bytes <= BYTES_MAX, "the pictures have {bytes} bytes, more than {BYTES_MAX}");
    Ok(())
}
