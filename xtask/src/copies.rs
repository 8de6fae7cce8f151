//! The files of the chart that lie elsewhere in the repository too: Helm reads no file outside of a chart.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use e2e::artefacts::repository;

/// A folder, and that of the chart with the same files.
const COPIES: [(&str, &str); 2] =
    [("alerts/operator", "helm/accelscope/files/rules"), ("dashboards", "helm/accelscope/files/dashboards")];

/// Writes the copies anew.
pub fn write() -> Result<()> {
    for (from, to) in COPIES {
        let to = repository().join(to);
        if to.exists() {
            fs::remove_dir_all(&to)?;
        }
        fs::create_dir_all(&to)?;
        for (name, text) in files(&repository().join(from))? {
            fs::write(to.join(name), text)?;
        }
    }
    Ok(())
}

/// Fails where a copy is not what it is a copy of.
pub fn check() -> Result<()> {
    for (from, to) in COPIES {
        let (original, copy) = (files(&repository().join(from))?, files(&repository().join(to))?);
        let differs = |name: &&String| original.get(*name) != copy.get(*name);
        let stale = original.keys().chain(copy.keys()).find(differs);
        ensure!(
            stale.is_none(),
            "{to}/{} is stale; run `cargo xtask generate`",
            stale.map_or("", |name| name)
        );
    }
    Ok(())
}

/// Names and contents of the files of a folder.
fn files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry?;
        Ok((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?))
    };
    entries.map(file).collect()
}
