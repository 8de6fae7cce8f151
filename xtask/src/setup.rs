//! Installs the programs that the tests and measurements run beside ours: Debian packages through `apt-get`, the newest
//! `promtool` into `target/tools/prometheus`, Python packages into `target/tools/venv` and, where several releases are needed, beside it, npm packages
//! into `target/tools/npm`, Helm into `target/tools/helm`. Does nothing, quickly, when all is there.

mod helm;

use std::{
    env, fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use e2e::artefacts::{
    PYHLML, drm_headers, level_zero_headers, level_zero_loader, newer_promtool, pyhlml, python_env,
    repository, target_dir,
};

use crate::shell::{self, on_path};

/// A program, and the Debian packages that may hold it: the first that does is installed.
type Tool = (&'static str, &'static [&'static str]);

/// What the tests need.
const TOOLS: [Tool; 17] = [
    ("cc", &["build-essential"]),
    ("readelf", &["binutils"]),
    ("python3", &["python3"]),
    ("prometheus", &["prometheus"]),
    // Part of `prometheus` up to Debian 12, a package of its own later.
    ("promtool", &["prometheus", "promtool"]),
    ("prometheus-alertmanager", &["prometheus-alertmanager"]),
    ("prometheus-node-exporter", &["prometheus-node-exporter"]),
    ("wrk", &["wrk"]),
    // Clients of TLS that are not ours.
    ("curl", &["curl"]),
    ("openssl", &["openssl"]),
    ("strace", &["strace"]),
    // The manager of services, in namespaces of its own.
    ("systemd-analyze", &["systemd"]),
    ("unshare", &["util-linux"]),
    ("setpriv", &["util-linux"]),
    ("chromium", &["chromium"]),
    // Runs the container of the chart.
    ("runc", &["runc"]),
    ("capsh", &["libcap2-bin"]),
];

/// Whether a file is there.
type IsThere = fn() -> bool;

/// A file that no program is named after, and the Debian package that has it.
const FILES: &[(IsThere, &str)] = &[
    (|| level_zero_loader().is_ok(), "libze1"),
    (|| level_zero_headers().is_ok(), "libze-dev"),
    (|| drm_headers().is_ok(), "libdrm-dev"),
    // The seccomp profile that container runtimes have by default.
    (|| Path::new(e2e::container::SECCOMP).exists(), "golang-github-containers-common"),
];

/// Keys of Debian's archive.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Asked before a package starts a service; exit code 101 forbids it.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs what is missing.
pub fn run() -> Result<()> {
    let mut apt = Apt::default();
    programs(&mut apt, &TOOLS)?;
    for &(is_there, package) in FILES {
        if !is_there() {
            apt.install(package, package)?;
        }
        ensure!(is_there(), "{package} is installed and its files are not where Debian puts them");
    }
    python_packages(&mut apt)?;
    several_releases()?;
    newest_promtool()?;
    helm::install()?;
    npm_packages()
}

/// Installs the missing ones of these programs, for a command that needs more than the tests do.
pub fn tools(wanted: &[Tool]) -> Result<()> {
    programs(&mut Apt::default(), wanted)
}

fn programs(apt: &mut Apt, wanted: &[Tool]) -> Result<()> {
    for (program, packages) in wanted {
        for package in *packages {
            if !on_path(program) {
                apt.install(program, package)?;
            }
        }
        if !on_path(program) {
            bail!("{program} is still not on the path after installing {}", packages.join(", "));
        }
    }
    Ok(())
}

/// `apt-get`, with the package lists brought up to date once.
#[derive(Default)]
struct Apt {
    updated: bool,
}

impl Apt {
    fn install(&mut self, program: &str, package: &str) -> Result<()> {
        let is_root = fs::metadata("/proc/self")?.uid() == 0;
        if !is_root || !on_path("apt-get") {
            bail!(
                "{program} is missing; install it with `apt-get install {package}`, or your system's own way"
            );
        }
        println!("setup: installing Debian package {package}, for {program}");
        if !self.updated {
            shell::run(apt_get().args(["-q", "update"]))?;
            self.updated = true;
        }
        without_services(|| {
            shell::run(apt_get().args(["-q", "-y", "--no-install-recommends", "install", package]))
        })
    }
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Test tools are programs here, not services of this machine: `prometheus` must not take port 9090.
fn without_services(install: impl FnOnce() -> Result<()>) -> Result<()> {
    if Path::new(POLICY).exists() {
        return install();
    }
    fs::write(POLICY, "#!/bin/sh\nexit 101\n").context(POLICY)?;
    fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)).context(POLICY)?;
    let installed = install();
    fs::remove_file(POLICY).context(POLICY)?;
    installed
}

fn python_packages(apt: &mut Apt) -> Result<()> {
    let wanted = repository().join("tests/clients/requirements.txt");
    let venv = target_dir()?.join("tools/venv");
    let stamp = venv.join("installed");
    // The programs of an environment name its interpreter by its path: a moved checkout needs a new one.
    let complete = format!("{}\n{}", venv.display(), fs::read_to_string(&wanted)?);
    if fs::read_to_string(&stamp).is_ok_and(|done| done == complete) {
        return Ok(());
    }
    println!("setup: Python packages of {} into {}", wanted.display(), venv.display());
    let create = || shell::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
    if create().is_err() {
        // Debian's python3 comes without ensurepip.
        apt.install("python3 -m venv", "python3-venv")?;
        create()?;
    }
    shell::run(
        Command::new(venv.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(&wanted),
    )?;
    fs::write(&stamp, complete).context("the stamp of the Python packages")
}

/// Prometheus' own tool of Debian's newest branch, unpacked and not installed. The archive is the one that this machine
/// gets its packages from.
fn newest_promtool() -> Result<()> {
    if newer_promtool().is_ok() {
        return Ok(());
    }
    let folder = target_dir()?.join("tools/prometheus");
    println!("setup: promtool of Debian's unstable branch into {}", folder.display());
    let format =
        ["indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages", "Label: Debian"];
    let targets = shell::read(apt_get().args(format))?;
    let archive = targets.lines().find_map(|line| line.strip_prefix("Debian "));
    let archive = archive
        .context("apt knows no archive of Debian; unpack a `promtool` of its unstable branch there")?;
    let work = tempfile::tempdir()?;
    fs::create_dir_all(work.path().join("lists/partial"))?;
    let sources = work.path().join("sources.list");
    fs::write(&sources, format!("deb [signed-by={KEYRING}] {archive} unstable main\n"))?;
    let own = |action: &[&str]| {
        let mut command = apt_get();
        command
            .arg("-q")
            .args(["-o".to_owned(), format!("Dir::Etc::SourceList={}", sources.display())])
            .args(["-o", "Dir::Etc::SourceParts=/dev/null"])
            .args(["-o".to_owned(), format!("Dir::State::Lists={}/lists", work.path().display())])
            .args(["-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none"])
            .args(action)
            .current_dir(work.path());
        shell::run(&mut command)
    };
    own(&["update"])?;
    // A package of its own since Debian 13.
    own(&["download", "promtool"]).or_else(|_| own(&["download", "prometheus"]))?;
    let package = fs::read_dir(work.path())?.flatten().map(|entry| entry.path());
    let package =
        package.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "deb"));
    fs::create_dir_all(&folder)?;
    shell::run(
        Command::new("dpkg-deb")
            .arg("-x")
            .arg(package.context("apt-get downloaded no package")?)
            .arg(&folder),
    )?;
    newer_promtool().map(|_| ())
}

/// Node itself is one of the Python packages.
fn npm_packages() -> Result<()> {
    let wanted = repository().join("tests/dashboards/package.json");
    let tools = target_dir()?.join("tools");
    let (folder, stamp) = (tools.join("npm"), tools.join("npm/installed.json"));
    if fs::read(&stamp).is_ok_and(|done| fs::read(&wanted).is_ok_and(|wanted| wanted == done)) {
        return Ok(());
    }
    println!("setup: npm packages of {} into {}", wanted.display(), folder.display());
    fs::create_dir_all(&folder)?;
    fs::copy(&wanted, folder.join("package.json"))?;
    // None of their scripts is run. The bundler's program is an optional package: one for each machine.
    let flags = ["--omit=dev", "--omit=peer", "--ignore-scripts", "--no-package-lock"];
    let quiet = ["--no-audit", "--no-fund", "--loglevel=error"];
    let bin = tools.join("venv/bin");
    let path = env::join_paths(
        [bin.clone()].into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())),
    )?;
    shell::run(
        Command::new(bin.join("npm"))
            .arg("install")
            .args(flags)
            .args(quiet)
            .current_dir(&folder)
            .env("PATH", path),
    )?;
    fs::copy(&wanted, &stamp)?;
    Ok(())
}

/// Packages of which several releases are needed at once, each in a folder of its own.
fn several_releases() -> Result<()> {
    for release in PYHLML {
        if pyhlml(release).is_ok() {
            continue;
        }
        let folder = target_dir()?.join("tools/pyhlml").join(release);
        println!("setup: habana-pyhlml {release} into {}", folder.display());
        shell::run(
            Command::new(python_env()?.join("bin/python"))
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"])
                .arg("--target")
                .arg(&folder)
                .arg(format!("habana-pyhlml=={release}")),
        )?;
    }
    Ok(())
}
