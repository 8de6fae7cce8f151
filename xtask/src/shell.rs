//! Running other programs: always in the repository, always shown when they fail.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use e2e::artefacts::repository;

/// The cargo that runs this program, in the repository.
pub fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(repository());
    command
}

/// How to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// For tests.
    Debug,
    /// As it is given away: optimized, and without the paths of this machine.
    Release,
}

/// Builds the binary, the simulated libraries and the simulated engine, which cargo does not build for a test
/// by itself.
pub fn build(how: Build) -> Result<()> {
    let libraries = sim::family::libraries().flat_map(|library| ["-p", library.package]);
    let options = how.options()?;
    run(cargo(["build", "--locked", "-p", "accelscope"]).args(libraries).args(&options))?;
    // By itself: the simulated libraries are built on `sim` without its engine.
    run(cargo(["build", "--locked", "-p", "sim", "--bin", "sim-engine"]).args(&options))
}

impl Build {
    /// Options of cargo.
    pub fn options(self) -> Result<Vec<String>> {
        if self == Self::Debug {
            return Ok(Vec::new());
        }
        // What `trim-paths` of a profile will do once it is stable. A manifest cannot name these paths, which
        // differ from machine to machine.
        let flags = builder_paths()?.into_iter().zip(["/accelscope", "/cargo", "/rust"]);
        let flags: Vec<_> = flags.map(|(from, to)| format!("--remap-path-prefix={from}={to}")).collect();
        Ok(vec!["--release".to_owned(), "--config".to_owned(), format!("build.rustflags={flags:?}")])
    }
}

/// What a compiler may write into a program: the paths of the checkout, of cargo's sources and of the toolchain.
pub fn builder_paths() -> Result<[String; 3]> {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cargo");
    let cargo_home = env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from);
    let toolchain = read(Command::new("rustc").args(["--print", "sysroot"]))?;
    let path =
        |path: &Path| -> Result<String> { Ok(path.to_str().context("a path that is not UTF-8")?.to_owned()) };
    Ok([path(repository())?, path(&cargo_home)?, toolchain.trim().to_owned()])
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
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}
