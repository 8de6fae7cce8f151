//! `cargo xtask image`: the container image, by buildah. Where no registry can be reached, it is built on what debootstrap
//! makes of Debian's packages.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

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
pub const BYTES_MAX: u64 = 40 << 20;

/// Builds it, checks its size and contents, and runs the tests of the container in it.
pub fn run_all(options: &[&str]) -> Result<()> {
    ensure!(is_root(), "image: only root may build an image and run it");
    let tag = build(&super::program(options)?)?;
    let bytes = in_working_container(&tag, check)?;
    println!(
        "{tag}: {} bytes, {:.1} MiB; `buildah push {tag} oci-archive:FILE` writes it",
        bytes,
        bytes as f64 / f64::from(1 << 20)
    );
    Ok(())
}

/// The size of the image with a program, uncompressed.
pub fn size(program: &Path) -> Result<u64> {
    in_working_container(&build(program)?, |container| bytes_below(&mounted(container)?))
}

/// Builds the image with a program; returns its tag.
fn build(program: &Path) -> Result<String> {
    setup::tools(&TOOLS)?;
    let context = folder()?.join("image");
    if context.exists() {
        fs::remove_dir_all(&context)?;
    }
    fs::create_dir_all(&context)?;
    stage::write(Kind::Image, program, &context)?;
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
    Ok(tag)
}

/// Makes a working container of an image for one use of it.
fn in_working_container<T>(tag: &str, use_it: impl FnOnce(&str) -> Result<T>) -> Result<T> {
    let container = read(buildah().args(["from", "--pull-never", tag]))?;
    let used = use_it(container.trim());
    run(buildah().arg("rm").arg(container.trim()))?;
    used
}

/// Where the files of a working container are.
fn mounted(container: &str) -> Result<PathBuf> {
    Ok(read(buildah().args(["mount", container]))?.trim().into())
}

fn bytes_below(root: &Path) -> Result<u64> {
    let bytes = read(Command::new("du").args(["--summarize", "--bytes"]).arg(root))?;
    Ok(bytes.split_whitespace().next().context("du prints a size")?.parse()?)
}

/// Checks the image that a working container was made from; returns its size.
fn check(container: &str) -> Result<u64> {
    let root = mounted(container)?;
    let bytes = bytes_below(&root)?;
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
        .env(IMAGE_ROOT, &root)
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
