//! Tests that need what not every machine gives. A skip is printed and counted; under CI it is a failure.

use std::{env, fs, io::Write as _};

use anyhow::{Result, ensure};

use crate::artefacts::target_dir;

/// The file in the target folder in which each skip is a line.
pub const FILE: &str = "skipped.txt";

/// Notes that a test, or a part of one, was not run, and why.
///
/// # Errors
/// Under CI, which must be able to run everything.
pub fn skipped(why: &str) -> Result<()> {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    ensure!(env::var_os("CI").is_none(), "{name} was not run: {why}");
    eprintln!("{name} was not run: {why}");
    let mut file = fs::OpenOptions::new().create(true).append(true).open(target_dir()?.join(FILE))?;
    Ok(file.write_all(format!("{name}: {why}\n").as_bytes())?)
}

/// Whether root runs the test.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
