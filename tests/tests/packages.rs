//! The packages that `cargo xtask packages` has built: what is in them, that they are installed, run and removed in
//! chroots, and that both have the same files.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    Node, Samples,
    chroot::Chroot,
    eventually,
    http::{self, Request},
    packages::Packages,
    process::{self, Process},
    skip::{is_root, skipped},
};
use serde_json::Value;

/// Debian releases: the newest that is supported, and one with an older C library whose /lib is no link everywhere.
const RELEASES: [&str; 2] = ["bookworm", "bullseye"];

/// Files that a package without them would be of little use, as the rpm has them.
const WANTED: [&str; 10] = [
    "/etc/accelscope/accelscope.toml",
    "/usr/bin/accelscope",
    "/usr/lib/systemd/system/accelscope.service",
    "/usr/share/accelscope/alerts/nvidia.yaml",
    "/usr/share/accelscope/dashboards/node.json",
    "/usr/share/accelscope/systemd/xeon.conf",
    "/usr/share/bash-completion/completions/accelscope",
    "/usr/share/doc/accelscope/LICENSE-MIT",
    "/usr/share/doc/accelscope/accelscope.cdx.json",
    "/usr/share/man/man1/accelscope.1.gz",
];

fn output(program: &str, arguments: &[&str], path: &Path) -> Result<String> {
    process::run(Command::new(program).args(arguments).arg(path))?.success()
}

/// Files of the deb, with the folders that Debian calls otherwise as the rpm has them.
fn of_deb(deb: &Path) -> Result<BTreeSet<String>> {
    let list = output("dpkg-deb", &["--contents"], deb)?;
    let paths =
        list.lines().filter(|line| !line.starts_with('d')).filter_map(|line| line.split(" ./").nth(1));
    let as_rpm = |path: &str| {
        let path = format!("/{path}");
        let path = path.replace("/vendor-completions/", "/site-functions/");
        if path.starts_with("/lib/") { format!("/usr{path}") } else { path }
    };
    Ok(paths.map(as_rpm).filter(|path| !path.ends_with("/copyright")).collect())
}

#[test]
#[ignore = "needs the packages; run `cargo xtask packages`"]
fn both_have_the_same_files_and_nobody_may_change_them() -> Result<()> {
    let packages = Packages::given().context("packages; run `cargo xtask packages`")?;
    let deb = of_deb(&packages.deb)?;
    let list =
        output("rpm", &["-qp", "--queryformat", "[%{FILEMODES:perms} %{FILENAMES}\n]"], &packages.rpm)?;
    let rpm = list.lines().filter(|line| !line.starts_with('d')).filter_map(|line| line.split_once(' '));
    let rpm: BTreeSet<_> = rpm.map(|(_, path)| path.to_owned()).collect();
    ensure!(deb == rpm, "{:?}", deb.symmetric_difference(&rpm).collect::<Vec<_>>());
    for path in WANTED {
        ensure!(deb.contains(path), "{path} is not in the packages");
    }
    let contents = output("dpkg-deb", &["--contents"], &packages.deb)?;
    let wrong = contents.lines().find(|line| !line.contains(" root/root ") || line.as_bytes()[8] == b'w');
    ensure!(wrong.is_none(), "{wrong:?}");
    let needs = output("rpm", &["-qp", "--requires"], &packages.rpm)?;
    let minors =
        needs.split("GLIBC_2.").skip(1).map_while(|rest| rest.split([')', '.']).next()?.parse::<u32>().ok());
    let newest = minors.max().context("it needs a C library")?;
    ensure!(newest <= 28, "the program needs glibc 2.{newest}");
    Ok(())
}

/// Runs the installed program on a simulated machine until it serves its devices.
fn serves(chroot: &Chroot) -> Result<()> {
    let node = Node::new("xeon6-amx")?.frozen();
    let address = process::free_address()?;
    let serve = node.accelscope("serve", &["--web.listen-address", &address.to_string()])?;
    // The machine's folder at the same place in the chroot.
    let inside = chroot.path().join(node.dir().strip_prefix("/")?);
    fs::create_dir_all(&inside)?;
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "sh",
        "-c",
        "mount --bind \"$1\" \"$2\" && shift 2 && exec chroot \"$@\"",
        "enter",
    ]);
    command.arg(node.dir()).arg(&inside).arg(chroot.path()).arg("/usr/bin/accelscope").args(serve.get_args());
    for (name, value) in serve.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let mut running = Process::spawn("accelscope", &mut command)?;
    eventually("devices are read", || {
        running.ensure_running()?;
        let samples = Samples::parse(http::send(address, Request::get("/metrics"))?.ok()?.text()?)?;
        ensure!(samples.sum("accel_device_up", &[]) > 0.0);
        Ok(())
    })?;
    running.signal("TERM")?;
    ensure!(running.wait()?.success(), "{}", running.log());
    running.quiet();
    fs::remove_dir(inside)?;
    Ok(())
}

#[test]
#[ignore = "needs the packages; run `cargo xtask packages`"]
fn the_deb_is_installed_runs_and_is_removed_without_a_trace() -> Result<()> {
    if !is_root() {
        return skipped("only root may enter a chroot");
    }
    let packages = Packages::given().context("packages; run `cargo xtask packages`")?;
    for release in RELEASES {
        let chroot = Chroot::copy(release)?;
        let before = chroot.listing()?;
        fs::copy(&packages.deb, chroot.path().join("accelscope.deb"))?;
        chroot.run(&["dpkg", "--install", "/accelscope.deb"])?;
        let unit = chroot.path().join("etc/systemd/system/multi-user.target.wants/accelscope.service");
        ensure!(unit.is_symlink(), "{release}: the service is not enabled");
        ensure!(chroot.run(&["accelscope", "--version"])?.contains(env!("CARGO_PKG_VERSION")));
        serves(&chroot).context(release)?;
        // Settings survive a removal, and nothing survives a purge.
        chroot.run(&["dpkg", "--remove", "accelscope"])?;
        ensure!(
            chroot.path().join("etc/accelscope/accelscope.toml").exists(),
            "{release}: a removal took the settings"
        );
        chroot.run(&["dpkg", "--purge", "accelscope"])?;
        fs::remove_file(chroot.path().join("accelscope.deb"))?;
        let after = chroot.listing()?;
        let left: Vec<_> = after.iter().filter(|path| !before.contains(path)).collect();
        ensure!(left.is_empty(), "{release}: {left:?} are left");
    }
    Ok(())
}

#[test]
#[ignore = "needs the packages; run `cargo xtask packages`"]
fn the_rpm_is_installed_and_removed_without_a_trace() -> Result<()> {
    if !is_root() {
        return skipped("only root may install a package below another root");
    }
    let packages = Packages::given().context("packages; run `cargo xtask packages`")?;
    // Debian's system has no database of rpm, so what the package needs of other packages is not resolved.
    let chroot = Chroot::copy("bookworm")?;
    let rpm = |arguments: &[&str]| {
        let mut command = Command::new("rpm");
        command.arg("--root").arg(chroot.path()).args(arguments);
        command
    };
    process::run(&mut rpm(&["--initdb"]))?.success()?;
    let before = chroot.listing()?;
    process::run(rpm(&["--install", "--nodeps"]).arg(&packages.rpm))?.success()?;
    serves(&chroot)?;
    process::run(&mut rpm(&["--erase", "accelscope"]))?.success()?;
    let after = chroot.listing()?;
    let left: Vec<_> = after.iter().filter(|path| !before.contains(path) && !path.contains("/rpm")).collect();
    ensure!(left.is_empty(), "{left:?} are left");
    Ok(())
}

#[test]
#[ignore = "needs the packages; run `cargo xtask packages`"]
fn the_bill_lists_what_the_program_contains() -> Result<()> {
    let packages = Packages::given().context("packages; run `cargo xtask packages`")?;
    let folder = tempfile::tempdir()?;
    process::run(Command::new("dpkg-deb").arg("-x").arg(&packages.deb).arg(folder.path()))?.success()?;
    let documents = folder.path().join("usr/share/doc/accelscope");
    let bill: Value = serde_json::from_str(&fs::read_to_string(documents.join("accelscope.cdx.json"))?)?;
    ensure!(bill["bomFormat"] == "CycloneDX" && bill["specVersion"] == "1.5");
    let licences = fs::read_to_string(documents.join("THIRD-PARTY-LICENCES"))?;
    for component in bill["components"].as_array().context("components")? {
        let name = component["name"].as_str().context("a name")?;
        // Those of the registry have a checksum and a licence of their own.
        if !component["hashes"].is_null() {
            let named = format!("{name} {}", component["version"].as_str().context("a version")?);
            ensure!(
                licences.contains(&named),
                "{named} is in the bill and its licence is not in the package"
            );
        }
    }
    Ok(())
}
