//! The repository's own commands: `cargo xtask` and `demo`, `test`, `tidy`, `setup`, `generate`, `bless` or `bench`.
//!
//! Everything that CI does is here, so that it can be done at a desk with the same words.

#![forbid(unsafe_code)]

mod bench;
mod demo;
mod setup;
mod shell;
mod test;
mod tidy;

use std::{
    env,
    process::{Command, ExitCode},
};

use anyhow::{Result, bail};
use e2e::{Artefacts, artefacts::repository};

use shell::{build, cargo, run};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  demo [--machine NAME] [--seconds N]  serve a fleet of simulated machines, or one, until Ctrl-C or N seconds
  test [--quick]                       everything that CI runs; --quick leaves out what needs other tools
  tidy                                 check the laws of the house that no compiler checks
  setup                                install the test tools that are missing
  generate [--check]                   write docs/metrics.md, alerts/ and docs/runbooks/; --check only compares
  bless                                write the golden files of the end-to-end tests anew
  bench [--quick]                      measure beside other exporters on the same simulated machine";

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
        ["test"] => test::run(test::Extent::Whole),
        ["test", "--quick"] => test::run(test::Extent::Quick),
        ["tidy"] => tidy::run(),
        ["setup"] => setup::run(),
        ["generate"] => generate(&[]),
        ["generate", "--check"] => generate(&["--check"]),
        ["bless"] => bless(),
        ["bench"] => bench::run(bench::Extent::Whole),
        ["bench", "--quick"] => bench::run(bench::Extent::Quick),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("unknown command `{}`\n{USAGE}", words.join(" ")),
    }
}

/// Everything that is generated, by the binary that carries the catalogue.
fn generate(options: &[&str]) -> Result<()> {
    build(&[])?;
    let accelscope = Artefacts::beside_this_program()?.binary("accelscope")?;
    let kinds: [&[&str]; 5] =
        [&["metrics"], &["rules"], &["rules", "--format", "operator"], &["tests"], &["runbooks"]];
    kinds.iter().try_for_each(|kind| {
        let mut generate = Command::new(&accelscope);
        run(generate.arg("generate").args(*kind).args(["-o", "."]).args(options).current_dir(repository()))
    })
}

fn bless() -> Result<()> {
    build(&[])?;
    run(cargo(["test", "-p", "e2e", "--test", "golden"]).env("BLESS", "1"))
}
