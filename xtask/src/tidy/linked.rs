//! What built programs are linked with.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::tree::Tree;
use crate::shell::read;

/// All that a binary may be linked with; a vendor's library is opened at run time.
const LINKED: [&str; 5] =
    ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"];

/// Checks what the programs of this workspace in `profile_dir` are linked with.
pub fn linked_libraries(profile_dir: &Path) -> Result<()> {
    let tree = Tree::read()?;
    // The commands of the repository are not given away.
    let shipped =
        tree.own().filter(|(package, _)| package.name != "xtask").flat_map(|(_, own)| &own.programs);
    let built: Vec<_> = shipped.map(|name| profile_dir.join(name)).filter(|path| path.exists()).collect();
    ensure!(!built.is_empty(), "no program in {}", profile_dir.display());
    for program in built {
        let dynamic = read(Command::new("readelf").arg("--dynamic").arg(&program))?;
        for line in dynamic.lines().filter(|line| line.contains("(NEEDED)")) {
            let library = line.split(['[', ']']).nth(1).context("readelf names the library in brackets")?;
            ensure!(LINKED.contains(&library), "{} is linked with {library}", program.display());
        }
    }
    Ok(())
}
