//! The program, built against an old C library: vendors' libraries rule out a static one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use e2e::artefacts::{python_env, target_dir};

use crate::{
    release::BYTES_MAX,
    shell::{Build, cargo, read, run},
    tidy,
};

/// The C library of RHEL 8 and Debian 10; Ubuntu 20.04 and everything since has a newer one.
pub const GLIBC: (u32, u32) = (2, 28);

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The linker that knows the symbols of each release of the C library, and cargo's command for it.
const LINKER: [&str; 2] = ["cargo-zigbuild==0.24.0", "ziglang==0.13.0.post1"];

/// Builds the program as it is given away, and checks which C library it needs.
pub fn build() -> Result<PathBuf> {
    let tools = tools()?;
    let (major, minor) = GLIBC;
    let target = format!("{TARGET}.{major}.{minor}");
    run(cargo(["zigbuild", "--locked", "-p", "accelscope", "--bin", "accelscope", "--target", &target])
        .args(Build::Release.options()?)
        .env("PATH", std::env::join_paths([tools.join("bin")].into_iter().chain(paths()))?)
        .env("PYTHONPATH", &tools)
        .env("CARGO_ZIGBUILD_ZIG_PATH", tools.join("ziglang/zig")))?;
    let folder = target_dir()?.join(TARGET).join("release");
    tidy::no_builder_paths(&folder)?;
    let program = folder.join("accelscope");
    let bytes = fs::metadata(&program)?.len();
    ensure!(bytes <= BYTES_MAX, "{} has {bytes} bytes, more than {BYTES_MAX}", program.display());
    let needed = newest_symbol(&program)?;
    ensure!(needed <= GLIBC, "{} needs glibc {}.{}", program.display(), needed.0, needed.1);
    println!("{}: {bytes} bytes, needs glibc {}.{}", program.display(), needed.0, needed.1);
    Ok(program)
}

fn paths() -> Vec<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect()
}

fn tools() -> Result<PathBuf> {
    let folder = target_dir()?.join("tools/zig");
    if !folder.join("ziglang/zig").exists() {
        println!("packages: {} into {}", LINKER.join(", "), folder.display());
        run(Command::new(python_env()?.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
            .arg(&folder)
            .args(LINKER))?;
    }
    Ok(folder)
}

/// The newest release of the C library whose symbols a program needs.
pub fn newest_symbol(program: &Path) -> Result<(u32, u32)> {
    let symbols = read(Command::new("readelf").args(["--wide", "--version-info"]).arg(program))?;
    newest(&symbols).with_context(|| format!("{} needs no symbol of glibc", program.display()))
}

fn newest(symbols: &str) -> Option<(u32, u32)> {
    let versions = symbols.split("GLIBC_").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let mut parts = rest[..end].split('.').map_while(|part| part.parse().ok());
        Some((parts.next()?, parts.next().unwrap_or(0)))
    });
    versions.max()
}

#[cfg(test)]
mod tests {
    use super::newest;

    #[test]
    fn releases_are_compared_as_numbers() {
        let text = "Name: GLIBC_2.9  Flags: none\n Name: GLIBC_2.28 Flags\n Name: GLIBC_2.2.5 Flags: none Version: 3";
        assert_eq!(newest(text), Some((2, 28)));
        assert_eq!(newest("Name: GCC_3.0"), None);
    }
}
