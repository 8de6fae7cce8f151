//! Prometheus' own tool, in each release that is tested.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context, Result, ensure};
use e2e::artefacts::newer_promtool;

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

    fn run(&self, arguments: &[&str], files: &[PathBuf]) -> Result<(bool, String)> {
        let output = Command::new(&self.0).args(arguments).args(files).output();
        let output = output.with_context(|| format!("{self} (package prometheus)"))?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        Ok((output.status.success(), said))
    }

    /// Loads rule files, and fails at what a linter finds.
    pub fn loads(&self, files: &[PathBuf]) -> Result<()> {
        let (loads, said) = self.run(&["check", "rules", "--lint=all", "--lint-fatal"], files)?;
        ensure!(loads, "{self}: {said}");
        Ok(())
    }

    /// Runs tests of rules, and returns those that fail with what was said.
    pub fn failed(&self, files: &[PathBuf]) -> Result<Vec<(PathBuf, String)>> {
        let mut verdicts = self.verdicts(files)?;
        verdicts.retain(|(_, said)| !said.contains("SUCCESS"));
        for (_, said) in &mut verdicts {
            *said = said.chars().take(4000).collect();
        }
        Ok(verdicts)
    }

    /// What is said of each test file. A process per core takes the next few files, until none is left.
    fn verdicts(&self, files: &[PathBuf]) -> Result<Vec<(PathBuf, String)>> {
        let cores = thread::available_parallelism()?.get();
        let batch = files.len().div_ceil(8 * cores).clamp(1, 64);
        let mut batches: Vec<_> = files.chunks(batch).collect();
        batches.reverse();
        let left = std::sync::Mutex::new(batches);
        let next = || left.lock().expect("nobody panics while taking").pop();
        let work = || {
            let mut done = Vec::new();
            while let Some(batch) = next() {
                let (_, said) = self.run(&["test", "rules"], batch)?;
                for file in batch {
                    done.push((file.clone(), self.verdict(file, &said)?));
                }
            }
            Ok(done)
        };
        let all = thread::scope(|scope| {
            let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
            workers.into_iter().map(|worker| worker.join().expect("no panic")).collect::<Result<Vec<_>>>()
        })?;
        Ok(all.concat())
    }

    /// The part of what was said that is about one file.
    fn verdict(&self, file: &Path, said: &str) -> Result<String> {
        let name = file.to_string_lossy();
        let of = |part: &&str| part.lines().next().is_some_and(|line| line.trim() == name);
        match said.split("Unit Testing:").find(of) {
            Some(verdict) if verdict.contains("SUCCESS") || verdict.contains("FAILED") => {
                Ok(verdict.to_owned())
            }
            // promtool 2.42 sometimes crashes on a busy machine, and takes the rest of its batch along.
            _ => self.run(&["test", "rules"], &[file.to_owned()]).map(|(_, said)| said),
        }
    }
}
