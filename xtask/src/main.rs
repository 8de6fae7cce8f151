//! The repository's own commands: `cargo xtask` and `demo`, `pictures`, `test`, `tidy`, `setup`, `release`, `generate`,
//! `bless`, `bench`, `faults` or `soak`.
//!
//! Everything that CI does is here, so that it can be done at a desk with the same words.

#![forbid(unsafe_code)]

mod bench;
mod copies;
mod demo;
mod faults;
mod pictures;
mod release;
mod setup;
mod shell;
mod ship;
mod soak;
mod test;
mod tidy;

use std::{
    collections::BTreeSet,
    env, fs,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Result, bail};
use e2e::{Artefacts, artefacts::repository};

use shell::{Build, build, cargo, run};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  demo [--machine NAME] [--seconds N] [--scenario [--speed FACTOR]]
                                       serve a fleet of simulated machines, or one, with inference engines, Prometheus and
                                       an index page, until Ctrl-C or for N seconds; --scenario plays an incident of two
                                       minutes first and fails where Prometheus does not see it; FACTOR divides the
                                       pauses between its steps
  pictures [--seconds N]               draw every dashboard over a simulated fleet, healthy and in trouble, into docs/pictures;
                                       then serve the fleet's Prometheus for N seconds
  test [--quick]                       everything that CI runs; --quick leaves out what needs other tools
  tidy                                 check the laws of the house that no compiler checks
  setup                                install the test tools that are missing
  release                              build the programs as they are given away, and check them
  packages [--program FILE]            build deb and rpm for old C libraries, or of a program that is built, and try
                                       them in chroots; as root
  image [--program FILE]               build the container image, and run the tests of the container in it; as root
  generate [--check]                   write the pages of docs/ that are generated, alerts/, dashboards/, examples/federation/ and the
                                       chart's copies; --check only compares
  bless                                write the golden files of the end-to-end tests anew, and what follows
  bench [scrapes [--old PROGRAM]|workloads|page|incident|kernel-log|rules|sizes] [--quick]
                                       measure scrapes beside other exporters (and another build of accelscope), holders of
                                       devices and TLS (as root), the page of a node, incident mode, a flooded kernel
                                       log, rules at fleet size, and the artefacts
  faults [--only TEXT] [--dwell SECONDS] [--json]
                                       every source with every fault that it can have, and what each costs
  soak [--hours N] [--seed N] [--only TEXT] [--release]
                                       memory, threads and descriptors under faults and clients of every kind";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match dispatch(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(words: &[&str]) -> Result<()> {
    match words {
        ["demo", options @ ..] => demo::run(options),
        ["pictures", options @ ..] => pictures::run(options),
        ["test"] => test::run(test::Extent::Whole),
        ["test", "--quick"] => test::run(test::Extent::Quick),
        ["tidy"] => tidy::run(),
        ["setup"] => setup::run(),
        ["release"] => release::run(),
        ["packages", options @ ..] => ship::packages::run_all(options),
        ["image", options @ ..] => ship::image::run_all(options),
        ["faults", options @ ..] => faults::run(options),
        ["soak", options @ ..] => soak::run(options),
        ["generate"] => generate(&[]),
        ["generate", "--check"] => generate(&["--check"]),
        ["bless"] => bless(),
        ["bench", part @ ..] => bench(part),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("unknown command `{}`\n{USAGE}", words.join(" ")),
    }
}

fn bench(words: &[&str]) -> Result<()> {
    let extent = if words.contains(&"--quick") { bench::Extent::Quick } else { bench::Extent::Whole };
    let part: Vec<&str> = words.iter().copied().filter(|word| *word != "--quick").collect();
    match *part {
        [] => {
            bench::scrapes::run(extent, None)?;
            bench::workloads::run(extent)?;
            bench::page::run(extent)?;
            bench::incident::run(extent)?;
            bench::kernel_log::run(extent)?;
            bench::rules::run(extent)?;
            bench::sizes::run()
        }
        ["scrapes"] => bench::scrapes::run(extent, None),
        ["scrapes", "--old", program] => {
            bench::scrapes::run(extent, Some(&Path::new(program).canonicalize()?))
        }
        ["workloads"] => bench::workloads::run(extent),
        ["page"] => bench::page::run(extent),
        ["incident"] => bench::incident::run(extent),
        ["kernel-log"] => bench::kernel_log::run(extent),
        ["sizes"] => bench::sizes::run(),
        ["rules"] => bench::rules::run(extent),
        _ => bail!(
            "bench: unknown part `{}`; it takes scrapes (with --old PROGRAM), workloads, page, incident, kernel-log, rules or sizes, and --quick",
            part.join(" ")
        ),
    }
}

/// Everything that is generated, by the binary that carries the catalogue.
fn generate(options: &[&str]) -> Result<()> {
    build(Build::Debug)?;
    let accelscope = Artefacts::beside_this_program()?.binary("accelscope")?;
    // The simulated machines stand for real ones in the numbers of series.
    let golden = fs::read_dir(repository().join("tests/golden"))?
        .map(|entry| Ok(Path::new("tests/golden").join(entry?.file_name())))
        .collect::<Result<BTreeSet<_>>>()?;
    let metrics: Vec<&str> = ["metrics", "--exposition"]
        .into_iter()
        .chain(
            golden.iter().filter(|path| path.extension() == Some("prom".as_ref())).filter_map(|p| p.to_str()),
        )
        .collect();
    let kinds: [&[&str]; 9] = [
        &metrics,
        &["flags"],
        &["faults"],
        &["rules"],
        &["rules", "--format", "operator"],
        &["tests"],
        &["runbooks"],
        &["dashboards"],
        &["federation"],
    ];
    kinds.iter().try_for_each(|kind| {
        let mut generate = Command::new(&accelscope);
        run(generate.arg("generate").args(*kind).args(["-o", "."]).args(options).current_dir(repository()))
    })?;
    if options.is_empty() { copies::write() } else { copies::check() }
}

fn bless() -> Result<()> {
    build(Build::Debug)?;
    run(cargo(["test", "-p", "e2e", "--", "golden::", "system_calls"]).env("BLESS", "1"))?;
    // The numbers of series are counted in them.
    generate(&[])?;
    // What is empty on a machine follows from the rules and dashboards; verdicts take minutes.
    run(cargo(["test", "-p", "e2e", "--", "coverage::", "health::table"]).env("BLESS", "1"))
}
