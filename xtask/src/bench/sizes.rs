//! `cargo xtask bench sizes`: how large is what is given away.

use std::fs;

use anyhow::Result;
use e2e::skip::is_root;

use super::scrapes::mebibytes;
use crate::{
    release, setup,
    ship::{self, image, packages},
};

/// Builds each artefact, and prints its size beside the largest that it may have.
pub fn run() -> Result<()> {
    setup::tools(&packages::TOOLS)?;
    let program = ship::program(&[])?;
    let packages = packages::assemble(&program)?;
    let bytes = |path| Ok::<_, anyhow::Error>(fs::metadata(path)?.len());
    let row = |name: &str, bytes: u64, most: Option<u64>| {
        let most = most.map(mebibytes).unwrap_or_default();
        println!("{name:<12}{bytes:>12}{:>10}{most:>10}", mebibytes(bytes));
    };
    println!("\n{:<12}{:>12}{:>10}{:>10}", "artefact", "bytes", "MiB", "at most");
    row("program", bytes(&program)?, Some(release::BYTES_MAX));
    row("deb", bytes(&packages.deb)?, None);
    row("rpm", bytes(&packages.rpm)?, None);
    if is_root() {
        row("image", image::size(&program)?, Some(image::BYTES_MAX));
    } else {
        println!("image       left out: only root may build it");
    }
    Ok(())
}
