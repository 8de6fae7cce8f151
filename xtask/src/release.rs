//! `cargo xtask release`: the programs as they are given away.

use std::fs;

use anyhow::{Result, ensure};
use e2e::artefacts::{Artefacts, target_dir};

use crate::{
    shell::{Build, build},
    tidy,
};

/// The stripped release binary is at most this large.
pub const BYTES_MAX: u64 = 9 << 20;

/// Builds them and checks their size, what they are linked with, and that they contain no path of this machine.
pub fn run() -> Result<()> {
    build(Build::Release)?;
    let folder = target_dir()?.join("release");
    tidy::linked_libraries(&folder)?;
    tidy::no_builder_paths(&folder)?;
    let binary = Artefacts::release()?.binary("accelscope")?;
    let bytes = fs::metadata(&binary)?.len();
    ensure!(bytes <= BYTES_MAX, "accelscope is {bytes} bytes, more than {BYTES_MAX}");
    println!("{}: {:.2} MiB", binary.display(), bytes as f64 / f64::from(1 << 20));
    Ok(())
}
