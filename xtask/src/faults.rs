//! `cargo xtask faults`: the fault matrix, as a table in Markdown or as JSON.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use e2e::{
    Artefacts, Footprint,
    matrix::{self, End, Outcome, Row},
};
use serde_json::{Value, json};

use crate::shell::{Build, build};

/// How long a look at a fault takes, unless `--dwell` says otherwise.
const DWELL: Duration = Duration::from_secs(6);

/// Columns of the table.
const HEAD: [&str; 10] = [
    "source",
    "fault",
    "stale",
    "zero",
    "slowest scrape, ms",
    "threads",
    "descriptors",
    "RSS before, MiB",
    "RSS after, MiB",
    "back after, s",
];

/// Measures the rows that `--only TEXT` selects, or all; fails when one breaks a law.
pub fn run(options: &[&str]) -> Result<()> {
    let (mut only, mut as_json, mut dwell) = (None, false, DWELL);
    let mut words = options.iter();
    while let Some(word) = words.next() {
        match *word {
            "--json" => as_json = true,
            "--only" => only = Some(*words.next().context("--only takes a part of `source: fault`")?),
            "--dwell" => {
                let seconds = words.next().context("--dwell takes seconds")?;
                dwell = Duration::try_from_secs_f64(seconds.parse()?).context("--dwell")?;
            }
            _ => bail!("faults: unknown option `{word}`; it takes --only TEXT, --dwell SECONDS and --json"),
        }
    }
    // Labels and arithmetic are checked in this build.
    build(Build::Debug)?;
    let wanted =
        |source: &str, fault: &str| only.is_none_or(|text| format!("{source}: {fault}").contains(text));
    if !as_json {
        println!("| {} |\n|{}", HEAD.join(" | "), "---|".repeat(HEAD.len()));
    }
    let start = Instant::now();
    let rows = matrix::run(&Artefacts::beside_this_program()?, dwell, wanted, |row| {
        let broken = row.broken();
        let verdict = if broken.is_empty() { "ok".to_owned() } else { broken.join("; ") };
        eprintln!("{:>5.0} s  {}: {}: {verdict}", start.elapsed().as_secs_f64(), row.source, row.fault);
        // In the order in which they end: the sources are measured at the same time.
        if !as_json {
            println!("| {} |", cells(row).join(" | "));
        }
    })?;
    ensure!(!rows.is_empty(), "no row is called {}", only.unwrap_or_default());
    if as_json {
        println!("{:#}", rows.iter().map(object).collect::<Value>());
    }
    let broken = rows.iter().filter(|row| !row.broken().is_empty()).count();
    ensure!(broken == 0, "{broken} of {} rows break a law", rows.len());
    Ok(())
}

fn cells(row: &Row) -> Vec<String> {
    let mut cells = vec![row.source.to_owned(), row.fault.clone()];
    match &row.outcome {
        Err(error) => cells.push(format!("{error:#}")),
        Ok(Outcome { stale, zero, slowest, before, after, end, .. }) => cells.extend([
            stale.len().to_string(),
            zero.len().to_string(),
            format!("{:.0}", slowest.as_secs_f64() * 1e3),
            change(before.threads, after.threads),
            change(before.descriptors, after.descriptors),
            mebibytes(before),
            mebibytes(after),
            match end {
                End::Returned(time) => format!("{:.1}", time.as_secs_f64()),
                End::Missing(_) => "not".to_owned(),
                End::WithTheProcess => "–".to_owned(),
            },
        ]),
    }
    cells
}

fn change(before: u64, after: u64) -> String {
    if before == after { before.to_string() } else { format!("{before}, {after}") }
}

fn mebibytes(footprint: &Footprint) -> String {
    format!("{:.1}", footprint.resident_bytes() as f64 / f64::from(1 << 20))
}

fn object(row: &Row) -> Value {
    let mut object = json!({ "source": row.source, "fault": row.fault, "broken": row.broken() });
    if let Ok(Outcome { stale, zero, fallen, slowest, before, after, end }) = &row.outcome {
        let held = |footprint: &Footprint| {
            json!({
                "processes": footprint.processes,
                "threads": footprint.threads,
                "descriptors": footprint.descriptors,
                "anonymous_bytes": footprint.anonymous_bytes,
                "file_bytes": footprint.file_bytes,
            })
        };
        object["stale"] = json!(stale);
        object["zero"] = json!(zero);
        object["fallen"] = json!(fallen);
        object["slowest_scrape_seconds"] = json!(slowest.as_secs_f64());
        object["before"] = held(before);
        object["after"] = held(after);
        if let End::Returned(time) = end {
            object["returned_after_seconds"] = json!(time.as_secs_f64());
        }
    }
    object
}
