//! Running other programs: always in the repository, always shown when they fail.

use std::{ffi::OsStr, process::Command};

use anyhow::{Context, Result, ensure};
use e2e::artefacts::repository;

/// The cargo that runs this program, in the repository.
pub fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(repository());
    command
}

/// Builds the binary, the simulated libraries and the simulated engine, which cargo does not build for a test
/// by itself.
pub fn build(options: &[&str]) -> Result<()> {
    let libraries = sim::family::libraries().flat_map(|library| ["-p", library.package]);
    run(cargo(["build", "--locked", "-p", "accelscope"]).args(libraries).args(options))?;
    // By itself: the simulated libraries are built on `sim` without its engine.
    run(cargo(["build", "--locked", "-p", "sim", "--bin", "sim-engine"]).args(options))
}

/// Runs a command with this program's own output; fails unless it succeeds.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| line(command))?;
    ensure!(status.success(), "`{}` failed: {status}", line(command));
    Ok(())
}

/// Standard output of a command that must succeed.
pub fn read(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| line(command))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{}` failed: {}: {}", line(command), output.status, errors.trim());
    Ok(String::from_utf8(output.stdout)?)
}

/// Whether a program of this name is on the path.
pub fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}
