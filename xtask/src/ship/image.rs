//! `cargo xtask image`: the container image, by buildah. Where no registry can be reached, it is built on what debootstrap
//! makes of Debian's packages.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use e2e::{
    artefacts::{repository, target_dir},
    container::IMAGE_ROOT,
    skip::is_root,
};

use super::{
    folder,
    stage::{self, Kind},
};
use crate::{
    setup,
    shell::{cargo, read, run},
};

const TOOLS: [(&str, &[&str]); 3] =
    [("buildah", &["buildah"]), ("debootstrap", &["debootstrap"]), ("runc", &["runc"])];

/// The name of the image.
const IMAGE: &str = "localhost/accelscope";

/// The stage in which the libraries are collected: Debian's release, and the image that is made of it.
const RELEASE: &str = "bookworm";

/// The image has at most this many bytes, uncompressed.
const BYTES_MAX: u64 = 40 << 20;

/// Builds it, checks its size, and runs the tests of the container in it.
pub fn run_all(options: &[&str]) -> Result<()> {
    ensure!(is_root(), "image: only root may build an image and run it");
    setup::tools(&TOOLS)?;
    let context = folder()?.join("image");
    if context.exists() {
        fs::remove_dir_all(&context)?;
    }
    fs::create_dir_all(&context)?;
    stage::write(Kind::Image, &super::program(options)?, &context)?;
    let tag = format!("{IMAGE}:{}", env!("CARGO_PKG_VERSION"));
    let file = repository().join("packaging/image/Containerfile");
    run(buildah()
        .args(["bud", "--isolation=chroot", "--pull-never", "--tag", &tag, "--build-arg"])
        .arg(format!("BUILD={}", base()?))
        .arg("--label")
        .arg(format!("org.opencontainers.image.version={}", env!("CARGO_PKG_VERSION")))
        .arg("--file")
        .arg(file)
        .arg(&context))?;
    let container = read(buildah().args(["from", "--pull-never", &tag]))?;
    let checked = check(container.trim());
    run(buildah().arg("rm").arg(container.trim()))?;
    let bytes = checked?;
    println!(
        "{tag}: {:.1} MiB; `buildah push {tag} oci-archive:FILE` writes it",
        bytes as f64 / f64::from(1 << 20)
    );
    Ok(())
}

/// Checks the image that a working container was made from; returns its size.
fn check(container: &str) -> Result<u64> {
    let root = read(buildah().args(["mount", container]))?;
    let root = Path::new(root.trim());
    let bytes = read(Command::new("du").args(["--summarize", "--bytes"]).arg(root))?;
    let bytes = bytes.split_whitespace().next().context("du prints a size")?.parse()?;
    ensure!(bytes <= BYTES_MAX, "the image has {bytes} bytes, more than {BYTES_MAX}");
    for name in ["bin/sh", "usr/bin/sh", "bin/busybox"] {
        ensure!(!root.join(name).exists(), "the image has a shell, {name}");
    }
    let config = read(buildah().args([
        "inspect",
        "--format",
        "{{.OCIv1.Config.User}} {{.OCIv1.Config.Entrypoint}}",
        container,
    ]))?;
    ensure!(config.trim() == format!("65534:65534 [{}]", stage::PROGRAM), "{config}");
    run(cargo(["test", "--locked", "-p", "e2e", "container::", "--", "--nocapture"])
        .env(IMAGE_ROOT, root)
        .env("CI", "true"))?;
    Ok(bytes)
}

/// Tools of the project keep what they store below the target folder, and need no service.
fn buildah() -> Command {
    let mut command = Command::new("buildah");
    let storage = target_dir().map(|target| target.join("tools/buildah")).unwrap_or_default();
    command.arg("--root").arg(storage.join("root")).arg("--runroot").arg(storage.join("run"));
    command.args(["--storage-driver", "vfs", "--registries-conf", "/dev/null"]);
    command
}

/// The image for the stage of the libraries.
fn base() -> Result<String> {
    let name = format!("localhost/debian-{RELEASE}");
    if buildah().args(["inspect", "--type", "image", &name]).output()?.status.success() {
        return Ok(name);
    }
    let root = e2e::chroot::bootstrap(RELEASE)?;
    let container = read(buildah().args(["from", "scratch"]))?;
    let container = container.trim();
    let filled = run(buildah().args(["add", "--quiet", container]).arg(&root).arg("/"))
        .and_then(|()| run(buildah().args(["commit", "--quiet", container, &name])));
    run(buildah().args(["rm", container]))?;
    if filled.is_err() {
        bail!("no image of Debian {RELEASE} could be made of {}", root.display());
    }
    Ok(name)
}
