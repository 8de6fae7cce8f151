//! The whole exposition of each machine at one instant, in both vocabularies, as committed in `golden/`.
//!
//! `cargo xtask bless` writes the files anew; the review of their difference is the test's other half.
//! Every series is there with its labels, in its place. Of the values, those that depend on the process and
//! not on the machine are replaced by `_`: see [`MASKED`].

use std::{env, fmt::Write as _, fs};

use anyhow::{Context, Result, ensure};
use e2e::{Node, artefacts::repository, eventually, http::Request};

/// How names begin whose values are not the machine's.
const MASKED: [&str; 8] = [
    // The process, its clients and its own work.
    "process_",
    "accelscope_http_",
    "accelscope_sample_duration_seconds",
    "accelscope_snapshot_age_seconds",
    // Unix time at which the exporter heard of an event.
    "accel_error_last_timestamp_seconds",
    // Samples in which a clock event was seen, so the number of samples so far.
    "DCGM_EXP_CLOCK_EVENTS_COUNT",
    // Calls without a value, of which some are repeated with every round.
    "accelscope_source_faults_total",
    // Real time since a slow reading.
    "accel_slow_readings_age_seconds",
];

/// One series per status code that was returned, which depends on when the test asked first.
const LEFT_OUT: &str = "accelscope_http_requests_total{";

/// Integrals over the exporter's own run time.
const MASKED_SUFFIX: &str = "_busy_seconds_total";

fn mask(body: &str) -> String {
    let mut masked = String::new();
    for line in body.lines().filter(|line| !line.starts_with(LEFT_OUT)) {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let is_masked = MASKED.iter().any(|prefix| name.starts_with(prefix)) || name.ends_with(MASKED_SUFFIX);
        let line = match line.rsplit_once(' ') {
            Some((series, _)) if is_masked && !line.starts_with('#') => format!("{series} _"),
            _ => line.to_owned(),
        };
        // A release is no change of the exposition.
        let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
        writeln!(masked, "{}", line.replace(&version, "version=\"_\"")).expect("a String takes all");
    }
    masked
}

/// The lines that only one of two texts has, in order.
fn difference(before: &str, after: &str) -> String {
    let only = |here: &str, there: &str, sign: char| {
        let there: std::collections::HashSet<_> = there.lines().collect();
        here.lines()
            .filter(|line| !there.contains(line))
            .map(|line| format!("{sign} {line}\n"))
            .collect::<Vec<_>>()
    };
    let mut lines = only(before, after, '-');
    lines.extend(only(after, before, '+'));
    let more = lines.len().saturating_sub(60);
    lines.truncate(60);
    if more > 0 {
        lines.push(format!("and {more} more\n"));
    }
    lines.concat()
}

/// Flags of the machine's sources, so that it does not matter who runs the test and which loader is installed.
/// Shares and rates are not in such a file: on a clock that stands, their counters do too.
fn flags(node: &Node) -> &'static [&'static str] {
    if node.has("xpu") { &["--xpu.backend", "kernel"] } else { &[] }
}

fn check(machine: &str, file: &str, accept: &str) -> Result<()> {
    let node = Node::new(machine)?;
    if node.has("amx") {
        return check_running(&node, file);
    }
    let node = node.frozen();
    let exporter = node.start(flags(&node))?;
    exporter.settled()?;
    let response = exporter.send(Request::get("/metrics").with(&[("Accept", accept)]))?.ok()?;
    compare(file, mask(response.text()?))
}

/// How the names begin whose values do not move on a running machine.
const STEADY: [&str; 6] = [
    "accel_device",
    "accel_temperature_limit",
    "accel_power_limit",
    "accel_clock_max",
    "accelscope_source_up",
    "accelscope_build",
];

/// The same of a machine that runs: a perf event that no time has passed for has no value at all.
fn check_running(node: &Node, file: &str) -> Result<()> {
    let exporter = node.start(&[])?;
    exporter.until("perf events are read", |samples| {
        ensure!(samples.has("accel_instructions_total", &[]) && samples.has("accel_power_watts", &[]));
        Ok(())
    })?;
    exporter.settled()?;
    // Files that were not brought up to date within a second, on a machine with other work, cost a round.
    eventually("the exposition is the golden one", || {
        let body = mask(exporter.get("/metrics")?.ok()?.text()?);
        let still = |line: &str| line.starts_with('#') || STEADY.iter().any(|name| line.starts_with(name));
        // Which counters had not moved between two readings is a matter of luck.
        let lines = body.lines().filter(|line| !line.starts_with("accelscope_source_faults_total{"));
        let lines = lines.map(|line| match line.rsplit_once(' ') {
            Some((series, _)) if !still(line) => format!("{series} _\n"),
            _ => format!("{line}\n"),
        });
        compare(file, lines.collect())
    })
}

fn compare(file: &str, now: String) -> Result<()> {
    let path = repository().join("tests/golden").join(file);
    if env::var_os("BLESS").is_some() {
        return fs::write(&path, now).with_context(|| path.display().to_string());
    }
    let golden =
        fs::read_to_string(&path).with_context(|| format!("{}; run `cargo xtask bless`", path.display()))?;
    ensure!(
        golden == now,
        "{file} has changed; if it should, run `cargo xtask bless`:\n{}",
        difference(&golden, &now)
    );
    Ok(())
}

macro_rules! in_text_format {
    ($($test:ident = $machine:literal;)*) => {$(
        #[test]
        fn $test() -> Result<()> {
            check($machine, concat!($machine, ".prom"), "text/plain;version=0.0.4")
        }
    )*};
}

sim::built_in!(in_text_format);

const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0";

#[test]
fn h100_sxm_4_open_metrics() -> Result<()> {
    check("h100-sxm-4", "h100-sxm-4.openmetrics", OPENMETRICS)
}

#[test]
fn gaudi3_8_open_metrics() -> Result<()> {
    check("gaudi3-8", "gaudi3-8.openmetrics", OPENMETRICS)
}
