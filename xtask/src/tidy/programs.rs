//! Laws over programs that are built: what they are linked with, and what they say of the machine that built them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::tree::Tree;
use crate::shell::{builder_paths, read};

/// All that a binary may be linked with; a vendor's library is opened at run time.
const LINKED: [&str; 5] =
    ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"];

/// Checks what the programs of this workspace in `profile_dir` are linked with.
pub fn linked_libraries(profile_dir: &Path) -> Result<()> {
    for program in shipped(profile_dir)? {
        let dynamic = read(Command::new("readelf").arg("--dynamic").arg(&program))?;
        for line in dynamic.lines().filter(|line| line.contains("(NEEDED)")) {
            let library = line.split(['[', ']']).nth(1).context("readelf names the library in brackets")?;
            ensure!(LINKED.contains(&library), "{} is linked with {library}", program.display());
        }
    }
    Ok(())
}

/// Checks that no program of this workspace in `profile_dir` contains a path of this machine.
pub fn no_builder_paths(profile_dir: &Path) -> Result<()> {
    let paths = builder_paths()?;
    for program in shipped(profile_dir)? {
        let bytes = fs::read(&program)?;
        if let Some(path) = paths.iter().find(|path| contains(&bytes, path)) {
            anyhow::bail!("{} contains the path {path}", program.display());
        }
    }
    Ok(())
}

/// Whether a path, or one below it, stands in a binary.
fn contains(bytes: &[u8], path: &str) -> bool {
    String::from_utf8_lossy(bytes).contains(&format!("{path}/"))
}

/// The programs in `profile_dir` that are given away: the commands of the repository are not.
fn shipped(profile_dir: &Path) -> Result<Vec<PathBuf>> {
    let tree = Tree::read()?;
    let shipped =
        tree.own().filter(|(package, _)| package.name != "xtask").flat_map(|(_, own)| &own.programs);
    let built: Vec<_> = shipped.map(|name| profile_dir.join(name)).filter(|path| path.exists()).collect();
    ensure!(!built.is_empty(), "no program in {}", profile_dir.display());
    Ok(built)
}

#[cfg(test)]
mod tests {
    use super::contains;

    #[test]
    fn a_path_is_found_between_bytes_that_are_no_text() {
        assert!(contains(b"\x00\xff/home/me/src/lib.rs\xfe", "/home/me"));
        assert!(!contains(b"\x00\xff/home/men/src/lib.rs", "/home/me"));
    }
}
