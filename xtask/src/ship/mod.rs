//! What is given away: `cargo xtask packages` and `cargo xtask image`.
//!
//! | module | part |
//! |---|---|
//! | [`program`](mod@program) | the program for old C libraries |
//! | [`stage`] | the files as they are installed, for each kind of artefact |
//! | [`bill`] | the bill of materials and the licences of what the program contains |
//! | [`packages`] | deb and rpm |
//! | [`image`] | the container image |

mod bill;
pub mod image;
pub mod packages;
mod program;
mod stage;

use std::{fs, path::PathBuf};

use anyhow::{Result, bail};
use e2e::artefacts::target_dir;

/// The folder of the artefacts.
fn folder() -> Result<PathBuf> {
    let folder = target_dir()?.join("ship");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The program to pack: the one that the options name, or one that is built for old C libraries.
pub fn program(options: &[&str]) -> Result<PathBuf> {
    match options {
        [] => program::build(),
        ["--program", path] => Ok(fs::canonicalize(path)?),
        _ => bail!("unknown options `{}`; it takes --program FILE", options.join(" ")),
    }
}
