//! Prometheus' own tool, in each release that is tested.

use std::{
    fmt,
    path::PathBuf,
    process::{Command, Output},
    sync::Mutex,
    thread,
};

use anyhow::{Context, Result, ensure};
use e2e::artefacts::newer_promtool;

/// Runs tests of rules.
const TEST: &[&str] = &["test", "rules"];

/// Of how many failures the text is shown.
const EXPLAINED: usize = 3;

/// One release of the tool.
pub struct Promtool(PathBuf);

impl fmt::Display for Promtool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.display())
    }
}

impl Promtool {
    /// The one of this Debian.
    pub fn debian() -> Self {
        Self("promtool".into())
    }

    /// Every release: the one of this Debian, and the newest.
    pub fn all() -> Result<Vec<Self>> {
        Ok(vec![Self::debian(), Self(newer_promtool()?)])
    }

    fn run(&self, arguments: &[&str], files: &[PathBuf]) -> Result<Output> {
        // It makes a database for each test and throws it away: half of its time is the collector's otherwise.
        let output = Command::new(&self.0).args(arguments).args(files).env("GOGC", "800").output();
        output.with_context(|| format!("{self} (package prometheus)"))
    }

    /// Loads rule files, and fails at what a linter finds.
    pub fn loads(&self, files: &[PathBuf]) -> Result<()> {
        let output = self.run(&["check", "rules", "--lint=all", "--lint-fatal"], files)?;
        ensure!(output.status.success(), "{self}: {}", said(&output));
        Ok(())
    }

    /// Runs tests of rules, and returns those that fail, the first of them with what was said.
    pub fn failed(&self, files: &[PathBuf]) -> Result<Vec<(PathBuf, String)>> {
        let passed = self.passed(files)?;
        let failed = files.iter().zip(passed).filter(|(_, passed)| !passed).enumerate();
        let explained = |(at, (file, _)): (usize, (&PathBuf, bool))| {
            let text = if at < EXPLAINED {
                said(&self.run(TEST, std::slice::from_ref(file))?)
            } else {
                String::new()
            };
            Ok((file.clone(), text.chars().take(4000).collect()))
        };
        failed.map(explained).collect()
    }

    /// Whether each test file passes. A process per core takes the next few files, until none is left.
    pub fn passed(&self, files: &[PathBuf]) -> Result<Vec<bool>> {
        let cores = thread::available_parallelism()?.get();
        let batch = files.len().div_ceil(8 * cores).clamp(1, 64);
        let mut batches: Vec<_> = files.chunks(batch).enumerate().collect();
        batches.reverse();
        let left = Mutex::new(batches);
        let next = || left.lock().expect("nobody panics while taking").pop();
        let work = || {
            let mut done = Vec::new();
            while let Some((at, batch)) = next() {
                done.push((at, self.together(batch)?));
            }
            Ok(done)
        };
        let mut all = thread::scope(|scope| {
            let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
            workers.into_iter().map(|worker| worker.join().expect("no panic")).collect::<Result<Vec<_>>>()
        })?
        .concat();
        all.sort_by_key(|(at, _)| *at);
        Ok(all.into_iter().flat_map(|(_, passed)| passed).collect())
    }

    /// Whether each file of a batch passes, in one process where its output says so.
    fn together(&self, files: &[PathBuf]) -> Result<Vec<bool>> {
        let output = self.run(TEST, files)?;
        if output.status.success() {
            return Ok(vec![true; files.len()]);
        }
        // 2.42 names each file before its verdict, 3.5 does not; and 2.42 sometimes crashes on a busy machine.
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let parts: Vec<&str> = text.split("Unit Testing:").skip(1).collect();
        match (files, output.status.code()) {
            (_, Some(1)) if parts.len() == files.len() => {
                Ok(parts.iter().map(|part| part.contains("SUCCESS")).collect())
            }
            ([_], Some(1)) => Ok(vec![false]),
            ([_], _) => {
                let again = self.run(TEST, files)?;
                ensure!(
                    matches!(again.status.code(), Some(0 | 1)),
                    "{self} ends with {}: {}",
                    again.status,
                    said(&again)
                );
                Ok(vec![again.status.success()])
            }
            _ => files.iter().map(|file| Ok(self.together(std::slice::from_ref(file))?[0])).collect(),
        }
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}
