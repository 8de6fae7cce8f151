//! Small Debian systems in folders, made by debootstrap from the archive that this machine gets its packages from.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{artefacts::target_dir, process};

/// A minimal system of a release, made once and kept. Only root may make one.
pub fn bootstrap(release: &str) -> Result<PathBuf> {
    let folder = target_dir()?.join("tools/debian");
    let (whole, part) = (folder.join(release), folder.join(format!("{release}.part")));
    if !whole.exists() {
        eprintln!("debootstrap {release} into {}", whole.display());
        fs::create_dir_all(&folder)?;
        if part.exists() {
            fs::remove_dir_all(&part)?;
        }
        let archive = archive()?;
        let mut command = Command::new("debootstrap");
        command.args(["--variant=minbase", release]).arg(&part).arg(archive);
        process::run(&mut command)?.success().with_context(|| format!("debootstrap {release}"))?;
        fs::rename(&part, &whole)?;
    }
    Ok(whole)
}

/// The address of Debian's archive that apt uses.
fn archive() -> Result<String> {
    let mut apt = Command::new("apt-get");
    apt.args(["indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages", "Label: Debian"]);
    let targets = process::run(&mut apt)?.success()?;
    let archive = targets.lines().find_map(|line| line.strip_prefix("Debian "));
    Ok(archive.context("apt knows no archive of Debian")?.to_owned())
}

/// A copy of such a system that a test may change, with `/proc`, removed when dropped.
pub struct Chroot {
    root: tempfile::TempDir,
}

impl Chroot {
    /// Copies the system of a release.
    pub fn copy(release: &str) -> Result<Self> {
        let root = tempfile::Builder::new().prefix("accelscope-chroot-").tempdir()?;
        let from = bootstrap(release)?.join(".");
        process::run(Command::new("cp").arg("-a").arg(from).arg(root.path()))?.success()?;
        Ok(Self { root })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// A command in it, in mount and process namespaces of its own.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .arg(format!("--root={}", self.path().display()))
            .arg(program)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// Runs a command in it; fails unless it succeeds.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        let (program, arguments) = words.split_first().context("a command")?;
        process::run(self.command(program).args(arguments))?.success().with_context(|| words.join(" "))
    }

    /// Every path in it, without those of the kernel and of what changes by itself.
    pub fn listing(&self) -> Result<Vec<String>> {
        let mut find = Command::new("find");
        find.arg(self.path()).args(["-mindepth", "1", "-printf", "/%P\n"]);
        let all = process::run(&mut find)?.success()?;
        let ours = |path: &&str| {
            !["/proc/", "/var/lib/dpkg/", "/var/log/", "/var/cache/"].iter().any(|own| path.starts_with(own))
        };
        let mut all: Vec<_> = all.lines().filter(ours).map(str::to_owned).collect();
        all.sort();
        ensure!(all.len() > 100, "{} has {} paths", self.path().display(), all.len());
        Ok(all)
    }
}
