//! The files as they are installed, below a folder that stands for the root of the system.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use e2e::artefacts::repository;

use super::bill;
use crate::{shell::run, tidy::tree::Tree};

/// Where the program is installed by hand, as the unit has it.
const BY_HAND: &str = "/usr/local/bin/accelscope";

/// Where an artefact has the program.
pub const PROGRAM: &str = "/usr/bin/accelscope";

/// A kind of artefact, by what differs between their files.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Debian's package.
    Deb,
    /// Fedora's.
    Rpm,
    /// The image: the program and its documents.
    Image,
}

impl Kind {
    fn units(self) -> &'static str {
        // Debian 11 still looks in the first one.
        if self == Self::Deb { "lib/systemd/system" } else { "usr/lib/systemd/system" }
    }

    fn zsh(self) -> &'static str {
        if self == Self::Deb { "vendor-completions" } else { "site-functions" }
    }
}

/// Files that are installed as they are, and folders of such files with the end of their names.
const DOCUMENTS: [&str; 7] = [
    "README.md",
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "docs/deployment.md",
    "docs/privileges.md",
    "docs/flags.md",
];

/// Writes all files of a kind below a folder that is empty.
pub fn write(kind: Kind, program: &Path, root: &Path) -> Result<()> {
    let stage = Stage { root };
    stage.copy(program, PROGRAM, 0o755)?;
    let documents = "usr/share/doc/accelscope";
    for name in DOCUMENTS {
        let from = repository().join(name);
        let name = from.file_name().and_then(|name| name.to_str()).context("a name")?;
        stage.copy(&from, &format!("{documents}/{name}"), 0o644)?;
    }
    let tree = Tree::read()?;
    stage.text(&format!("{documents}/accelscope.cdx.json"), &bill::bill(&tree)?)?;
    stage.text(&format!("{documents}/THIRD-PARTY-LICENCES"), &bill::licences(&tree)?)?;
    if kind == Kind::Image {
        return Ok(());
    }
    stage.unit(kind)?;
    for (what, below) in [("man", "usr"), ("completions", "usr"), ("config", "")] {
        run(Command::new(program).args(["generate", what, "--output"]).arg(root.join(below)))?;
    }
    for page in fs::read_dir(root.join("usr/share/man/man1"))? {
        run(Command::new("gzip").args(["--best", "--no-name"]).arg(page?.path()))?;
    }
    let zsh = root.join("usr/share/zsh");
    if !zsh.join(kind.zsh()).exists() {
        fs::rename(zsh.join("site-functions"), zsh.join(kind.zsh()))?;
    }
    stage.all("alerts", "yaml", "usr/share/accelscope/alerts")?;
    stage.all("alerts/global", "yaml", "usr/share/accelscope/alerts/global")?;
    stage.all("dashboards", "json", "usr/share/accelscope/dashboards")
}

struct Stage<'a> {
    root: &'a Path,
}

impl Stage<'_> {
    fn place(&self, to: &str) -> Result<PathBuf> {
        let path = self.root.join(to.trim_start_matches('/'));
        fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
        Ok(path)
    }

    fn text(&self, to: &str, text: &str) -> Result<()> {
        let path = self.place(to)?;
        fs::write(&path, text)?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o644))?)
    }

    fn copy(&self, from: &Path, to: &str, mode: u32) -> Result<()> {
        let path = self.place(to)?;
        fs::copy(from, &path).with_context(|| from.display().to_string())?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
    }

    fn all(&self, from: &str, end: &str, to: &str) -> Result<()> {
        for entry in fs::read_dir(repository().join(from))? {
            let path = entry?.path();
            if path.extension().is_some_and(|own| own == end) {
                let name = path.file_name().and_then(|name| name.to_str()).context("a name")?;
                self.copy(&path, &format!("{to}/{name}"), 0o644)?;
            }
        }
        Ok(())
    }

    /// The unit, and its drop-ins as examples.
    fn unit(&self, kind: Kind) -> Result<()> {
        let folder = repository().join("packaging/systemd");
        let unit = fs::read_to_string(folder.join("accelscope.service"))?;
        ensure!(unit.contains(BY_HAND), "the unit does not start {BY_HAND}");
        self.text(&format!("{}/accelscope.service", kind.units()), &unit.replace(BY_HAND, PROGRAM))?;
        self.all("packaging/systemd", "conf", "usr/share/accelscope/systemd")
    }
}
