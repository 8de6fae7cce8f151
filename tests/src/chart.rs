//! The Helm chart, as real releases of Helm render it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    artefacts::{self, HELM, repository},
    process::{self, Finished},
};

/// Where the chart is.
pub fn folder() -> PathBuf {
    repository().join("helm/accelscope")
}

/// A release of Helm without the settings and plugins of whoever runs the tests.
pub struct Helm {
    /// Its version.
    pub version: &'static str,
    program: PathBuf,
    home: TempDir,
}

impl Helm {
    /// Every release that the chart is tested with, newest first.
    pub fn releases() -> Result<Vec<Self>> {
        HELM.into_iter().map(|(version, _)| Self::release(version)).collect()
    }

    /// The newest release.
    pub fn newest() -> Result<Self> {
        Self::release(HELM[0].0)
    }

    fn release(version: &'static str) -> Result<Self> {
        Ok(Self { version, program: artefacts::helm(version)?, home: tempfile::tempdir()? })
    }

    /// Runs it.
    pub fn run(&self, arguments: &[&str]) -> Result<Finished> {
        let mut helm = Command::new(&self.program);
        process::run(helm.env_clear().env("HOME", self.home.path()).args(arguments))
    }

    /// Renders the chart as a release of this name; the values are YAML.
    pub fn template(&self, release: &str, values: &str) -> Result<Finished> {
        let path = self.values(values)?;
        let (chart, values) = (folder(), path.to_str().context("a path in UTF-8")?.to_owned());
        let chart = chart.to_str().context("a path in UTF-8")?;
        self.run(&["template", release, chart, "--namespace", "monitoring", "--values", &values])
    }

    /// The rendered objects.
    pub fn objects(&self, release: &str, values: &str) -> Result<Vec<Value>> {
        objects(&self.template(release, values)?.success()?)
    }

    /// A file with these values.
    pub fn values(&self, text: &str) -> Result<PathBuf> {
        let path = self.home.path().join("values.yaml");
        fs::write(&path, text)?;
        Ok(path)
    }
}

/// The objects of a stream of YAML.
pub fn objects(stream: &str) -> Result<Vec<Value>> {
    let all: Vec<Value> = serde_saphyr::from_multiple(stream)?;
    Ok(all.into_iter().filter(|object| !object.is_null()).collect())
}

/// The only object of a kind.
pub fn one<'a>(objects: &'a [Value], kind: &str) -> Result<&'a Value> {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let only = found.next().with_context(|| format!("no {kind}"))?;
    anyhow::ensure!(found.next().is_none(), "more than one {kind}");
    Ok(only)
}

/// The file of a values case.
pub fn case(name: &str) -> Result<String> {
    let path = repository().join("tests/cases/chart").join(name).with_extension("yaml");
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// Names of the values cases.
pub fn cases() -> Result<Vec<String>> {
    let mut names = fs::read_dir(repository().join("tests/cases/chart"))?
        .map(|entry| {
            let path = entry?.path();
            Ok(path.file_stem().and_then(|stem| stem.to_str()).context("a name in UTF-8")?.to_owned())
        })
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// The name of an object.
pub fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// Where the golden manifest of a case is.
pub fn golden(name: &str) -> PathBuf {
    Path::new("tests/golden/chart").join(name).with_extension("yaml")
}
