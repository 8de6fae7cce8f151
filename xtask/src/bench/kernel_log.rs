//! `cargo xtask bench kernel-log`: what reading the kernel log costs while it is flooded.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use e2e::{Artefacts, Node};
use rustix::fs::{CWD, Mode, OFlags, mkfifoat};

use super::{Extent, measure::idle_ms_per_second};
use crate::shell::{Build, build};

/// What it may cost: milliseconds of CPU in a second.
const COST_MAX: f64 = 20.0;

/// Measures one GPU without `--kernel-log`, with a log that is silent, and with one that always has more.
pub fn run(extent: Extent) -> Result<()> {
    build(Build::Release)?;
    let node = Node::with(Artefacts::release()?, "t4-1")?.workload("decode");
    let log = node.dir().join("kmsg");
    mkfifoat(CWD, &log, Mode::RUSR | Mode::WUSR)?;
    let cost = |flags: &[&str]| {
        let exporter = node.start(flags)?;
        exporter.settled()?;
        let cost = idle_ms_per_second(&exporter.process, extent.idle())?;
        let read = exporter.scrape()?.sum("accelscope_kernel_log_records_total", &[]);
        anyhow::Ok((cost, read))
    };
    let flags = ["--kernel-log", log.to_str().context("a path")?];
    let (without, _) = cost(&[])?;
    let (silent, _) = cost(&flags)?;
    let ends = AtomicBool::new(false);
    let (flooded, read) = thread::scope(|scope| {
        scope.spawn(|| flood(&log, &ends));
        let cost = cost(&flags);
        ends.store(true, Ordering::Relaxed);
        cost
    })?;
    println!(
        "kernel log, t4-1: {without:.2} ms of CPU in a second without it, {silent:.2} with one that is silent, {flooded:.2} \
         with one that always has more ({read} messages read)"
    );
    ensure!(read > 1000.0, "the flood was not read");
    ensure!(flooded - without < COST_MAX, "more than {COST_MAX} ms in a second");
    Ok(())
}

/// Writes messages until it is to end; the reader of the pipe decides how fast.
fn flood(log: &Path, ends: &AtomicBool) {
    let (mut sequence, mut pipe) = (0_u64, None);
    while !ends.load(Ordering::Relaxed) {
        let text = if sequence.is_multiple_of(10) {
            "NVRM: Xid (PCI:0000:05:00): 31, pid=1"
        } else {
            "usb 1-1: reset"
        };
        // There is no reader before the exporter runs and after it has ended.
        let opened = pipe.take().map_or_else(|| open(log), Ok);
        let written = opened.and_then(|mut file| {
            let written = file.write_all(format!("6,{sequence},1,-;{text}\n").as_bytes());
            pipe = Some(file);
            written
        });
        match written {
            Ok(()) => sequence += 1,
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn open(log: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().write(true).custom_flags(flags).open(log)
}
