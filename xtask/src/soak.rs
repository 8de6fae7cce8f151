//! `cargo xtask soak`: memory, threads and descriptors over hours of faults and clients of every kind.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::{
    Artefacts,
    soak::{self, Plan, Report, Sample},
};

use crate::shell::{Build, build};

/// Without `--hours`.
const HOURS: f64 = 2.0;

/// Between two samples.
const PERIOD: Duration = Duration::from_mins(1);

/// Soaks for `--hours N`; prints a line for each sample, and a table; fails when something grows.
pub fn run(options: &[&str]) -> Result<()> {
    // Labels and arithmetic are checked in the debug build.
    let (mut hours, mut seed, mut how, mut wanted) = (HOURS, 1, Build::Debug, "");
    let mut words = options.iter();
    while let Some(word) = words.next() {
        let mut number = || words.next().with_context(|| format!("soak: {word} takes a number"));
        match *word {
            "--hours" => hours = number()?.parse().context("--hours")?,
            "--seed" => seed = number()?.parse().context("--seed")?,
            "--release" => how = Build::Release,
            "--only" => wanted = words.next().context("--only takes a part of a source's name")?,
            _ => bail!(
                "soak: unknown option `{word}`; it takes --hours N, --seed N, --only TEXT and --release"
            ),
        }
    }
    let duration = Duration::try_from_secs_f64(hours * 3600.0).with_context(|| format!("--hours {hours}"))?;
    build(how)?;
    let artefacts = match how {
        Build::Debug => Artefacts::beside_this_program()?,
        Build::Release => Artefacts::release()?,
    };
    let report = soak::run(&artefacts, Plan { wanted, duration, period: PERIOD, seed }, |sample| {
        eprintln!("{:>7.1} min{}", sample.at.as_secs_f64() / 60.0, line(sample));
    })?;
    print_table(&report);
    let broken = report.broken();
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    Ok(())
}

fn line(sample: &Sample) -> String {
    let all = sample.held.iter().map(|(source, held)| {
        format!(
            " | {source}: {} and {} MiB, {} threads, {} descriptors",
            mebibytes(held.anonymous_bytes),
            mebibytes(held.file_bytes),
            held.threads,
            held.descriptors
        )
    });
    all.collect()
}

fn print_table(report: &Report) {
    let (first, last) = (&report.samples[0], &report.samples[report.samples.len() - 1]);
    println!(
        "{:.2} hours, {} faults, {} scrapes of which {} failed and the slowest took {:.0} ms, {} hostile connections\n",
        last.at.as_secs_f64() / 3600.0,
        report.faults,
        report.traffic.scrapes,
        report.traffic.failed.len(),
        report.traffic.slowest.as_secs_f64() * 1e3,
        report.traffic.attacks
    );
    println!(
        "| source | anonymous RSS, MiB | growth, KiB an hour | RSS of files, MiB | threads | descriptors |"
    );
    println!("|{}", "---|".repeat(6));
    for (index, ((source, first), (_, last))) in first.held.iter().zip(&last.held).enumerate() {
        println!(
            "| {source} | {} to {} | {} | {} to {} | {} to {} | {} to {} |",
            mebibytes(first.anonymous_bytes),
            mebibytes(last.anonymous_bytes),
            report.growth(index).map_or("–".to_owned(), |bytes| format!("{:.0}", bytes / 1024.0)),
            mebibytes(first.file_bytes),
            mebibytes(last.file_bytes),
            first.threads,
            last.threads,
            first.descriptors,
            last.descriptors
        );
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}
