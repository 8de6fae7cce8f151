//! `cargo xtask packages`: deb and rpm, by the tools of those systems themselves.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use e2e::{artefacts::repository, packages::Packages};

use super::{
    folder,
    program::{self, GLIBC},
    stage::{self, Kind},
};
use crate::{
    setup,
    shell::{cargo, read, run},
};

/// What builds the packages.
pub const TOOLS: [(&str, &[&str]); 2] = [("dpkg-deb", &["dpkg"]), ("rpmbuild", &["rpm"])];

/// What makes the chroots that they are tried in.
const CHROOTS: [(&str, &[&str]); 1] = [("debootstrap", &["debootstrap"])];

/// Who a user of the package turns to.
const MAINTAINER: &str = "accelscope maintainers <maintainers@accelscope.invalid>";

/// Which Debian package has each library that the program may be linked with. Up to glibc 2.33, threads and the loader
/// are libraries of their own.
const LIBRARIES: [(&str, &str); 7] = [
    ("libc.so.6", "libc6"),
    ("libm.so.6", "libc6"),
    ("libdl.so.2", "libc6"),
    ("libpthread.so.0", "libc6"),
    ("librt.so.1", "libc6"),
    ("ld-linux-x86-64.so.2", "libc6"),
    ("libgcc_s.so.1", "libgcc-s1 | libgcc1"),
];

/// Builds both for old C libraries, and tries them in chroots.
pub fn run_all(options: &[&str]) -> Result<()> {
    setup::tools(&TOOLS)?;
    setup::tools(&CHROOTS)?;
    let packages = assemble(&super::program(options)?)?;
    println!("{}\n{}", size(&packages.deb)?, size(&packages.rpm)?);
    run(cargo(["test", "--locked", "-p", "e2e", "packages::", "--", "--include-ignored", "--nocapture"])
        .env("ACCELSCOPE_DEB", &packages.deb)
        .env("ACCELSCOPE_RPM", &packages.rpm))
}

fn size(path: &Path) -> Result<String> {
    Ok(format!("{}: {:.1} MiB", path.display(), fs::metadata(path)?.len() as f64 / f64::from(1 << 20)))
}

/// Packs a program into both.
pub fn assemble(program: &Path) -> Result<Packages> {
    Ok(Packages { deb: deb(program)?, rpm: rpm(program)? })
}

/// An empty folder for the files of a kind.
fn empty(name: &str) -> Result<PathBuf> {
    let path = folder()?.join(name);
    if path.exists() {
        fs::remove_dir_all(&path)?;
    }
    fs::create_dir_all(&path)?;
    Ok(path)
}

fn deb(program: &Path) -> Result<PathBuf> {
    let root = empty("deb")?;
    stage::write(Kind::Deb, program, &root)?;
    let source = repository().join("packaging/deb");
    // Debian's policy wants the licence under this name.
    fs::copy(source.join("copyright"), root.join("usr/share/doc/accelscope/copyright"))?;
    let kibibytes =
        read(Command::new("du").args(["--summarize", "--apparent-size", "--block-size=1024"]).arg(&root))?;
    let kibibytes = kibibytes.split_whitespace().next().context("du prints a size")?.to_owned();
    let own = root.join("DEBIAN");
    fs::create_dir(&own)?;
    for script in ["postinst", "prerm", "postrm"] {
        fs::copy(source.join(script), own.join(script))?;
        fs::set_permissions(own.join(script), fs::Permissions::from_mode(0o755))?;
    }
    fs::write(own.join("conffiles"), "/etc/accelscope/accelscope.toml\n")?;
    let version = env!("CARGO_PKG_VERSION");
    let control = format!(
        "Package: accelscope\nVersion: {version}\nArchitecture: amd64\nMaintainer: {MAINTAINER}\n\
         Installed-Size: {kibibytes}\nDepends: {}\nSection: net\nPriority: optional\n\
         Homepage: https://github.com/accelscope/accelscope\n\
         Description: Prometheus exporter for accelerators\n {}\n",
        depends(program)?,
        ABOUT.join("\n "),
    );
    fs::write(own.join("control"), control)?;
    let path = folder()?.join(format!("accelscope_{version}_amd64.deb"));
    run(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&root).arg(&path))?;
    Ok(path)
}

/// What the packages say of themselves.
const ABOUT: [&str; 2] = [
    "Exports NVIDIA GPUs, Intel Gaudi, Intel GPUs, Intel NPUs and Xeon sockets with AMX to",
    "Prometheus, in one schema and in the names of the vendors' own exporters.",
];

/// The libraries that the program is linked with, as packages.
fn depends(program: &Path) -> Result<String> {
    let dynamic = read(Command::new("readelf").arg("--dynamic").arg(program))?;
    let mut packages = Vec::new();
    for line in dynamic.lines().filter(|line| line.contains("(NEEDED)")) {
        let library = line.split(['[', ']']).nth(1).context("readelf names the library in brackets")?;
        let Some((_, package)) = LIBRARIES.iter().find(|(name, _)| *name == library) else {
            bail!("no package is known for {library}");
        };
        let (major, minor) = program::newest_symbol(program)?.max(GLIBC);
        let package =
            if *package == "libc6" { format!("libc6 (>= {major}.{minor})") } else { (*package).to_owned() };
        if !packages.contains(&package) {
            packages.push(package);
        }
    }
    ensure!(!packages.is_empty(), "{} is linked with nothing", program.display());
    Ok(packages.join(", "))
}

/// Where the rpm's own folders begin.
const OWN_FOLDERS: [&str; 5] = [
    "/etc/accelscope",
    "/usr/share/accelscope",
    "/usr/share/doc/accelscope",
    "/usr/share/fish",
    "/usr/share/zsh",
];

fn rpm(program: &Path) -> Result<PathBuf> {
    let root = empty("rpm")?;
    stage::write(Kind::Rpm, program, &root)?;
    let files = read(Command::new("find").arg(&root).args(["-mindepth", "1", "-printf", "%y /%P\n"]))?;
    let mut files: Vec<_> = files
        .lines()
        .filter_map(|line| match line.split_once(' ')? {
            // Folders that no package of the base system has.
            ("d", path) => {
                OWN_FOLDERS.iter().any(|own| path.starts_with(own)).then(|| format!("%dir {path}"))
            }
            (_, path) if path.starts_with("/etc/") => Some(format!("%config(noreplace) {path}")),
            (_, path) if path.starts_with("/usr/share/doc/") => Some(format!("%doc {path}")),
            (_, path) => Some(path.to_owned()),
        })
        .collect();
    files.sort();
    let spec = fs::read_to_string(repository().join("packaging/rpm/accelscope.spec"))?;
    let spec = spec
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        .replace("@ABOUT@", &ABOUT.join("\n"))
        .replace("@FILES@", &files.join("\n"));
    let (top, path) = (empty("rpmbuild")?, folder()?);
    fs::write(top.join("accelscope.spec"), spec)?;
    run(Command::new("rpmbuild")
        .args(["-bb", "--quiet", "--target", "x86_64"])
        .arg("--define")
        .arg(format!("_topdir {}", top.display()))
        .arg("--define")
        .arg(format!("_rpmdir {}", path.display()))
        .arg("--define")
        .arg(format!("staged {}", root.display()))
        .arg(top.join("accelscope.spec")))?;
    Ok(path.join(format!("x86_64/accelscope-{}-1.x86_64.rpm", env!("CARGO_PKG_VERSION"))))
}
