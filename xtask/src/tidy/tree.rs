//! What the laws read: the Rust files, ARCHITECTURE.md, and the packages as cargo resolves them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use e2e::artefacts::repository;
use serde_json::Value;

use crate::shell::{cargo, read};

/// What the laws are about.
pub struct Tree {
    /// Path from the root and text of every Rust file that is not ignored.
    pub sources: Vec<(String, String)>,
    /// The same of every manifest.
    pub manifests: Vec<(String, String)>,
    /// Text of ARCHITECTURE.md.
    pub architecture: String,
    /// Every package that is built on this platform, ours and others', by cargo's id.
    pub packages: BTreeMap<String, Package>,
}

/// A package.
pub struct Package {
    /// Cargo's id.
    pub id: String,
    /// Its name, which two versions may share.
    pub name: String,
    pub version: String,
    /// As an expression of SPDX.
    pub license: String,
    /// Where its files are.
    pub folder: PathBuf,
    /// Ids of the packages that are built into it: neither for its tests nor for its build.
    pub built_in: Vec<String>,
    /// Only our own packages have this.
    pub own: Option<OwnPackage>,
}

/// What the laws ask of a package of ours.
pub struct OwnPackage {
    pub manifest: toml::Table,
    pub programs: Vec<String>,
}

impl Tree {
    /// Reads all of it.
    pub fn read() -> Result<Self> {
        let sources = files("*.rs")?;
        ensure!(sources.len() > 10, "git lists {} Rust files: is this a clone?", sources.len());
        let manifests = files("*Cargo.toml")?;
        let architecture = fs::read_to_string(repository().join("ARCHITECTURE.md"))?;

        let version = read(Command::new("rustc").arg("-vV"))?;
        let host =
            version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV has a host")?;
        let flags = ["metadata", "--format-version=1", "--locked", "--filter-platform", host];
        let metadata: Value = serde_json::from_str(&read(&mut cargo(flags))?)?;
        let mut built_in = list(&metadata["resolve"]["nodes"])?
            .iter()
            .map(|node| Ok((string(&node["id"])?, built_in(node)?)))
            .collect::<Result<BTreeMap<_, _>>>()?;
        let packages = list(&metadata["packages"])?
            .iter()
            .map(|package| {
                let id = string(&package["id"])?;
                let built_in = built_in.remove(&id).unwrap_or_default();
                Ok((id.clone(), Package::read(package, id, built_in)?))
            })
            .collect::<Result<_>>()?;
        Ok(Self { sources, manifests, architecture, packages })
    }

    /// Our own packages.
    pub fn own(&self) -> impl Iterator<Item = (&Package, &OwnPackage)> {
        self.packages.values().filter_map(|package| Some((package, package.own.as_ref()?)))
    }

    /// Packages of ours, for tests of laws: names, and the names of what is built into each.
    #[cfg(test)]
    pub fn of_packages(dependencies: &[(&str, &[&str])]) -> Self {
        let package = |(name, built_in): &(&str, &[&str])| {
            let package = Package {
                id: (*name).to_owned(),
                name: (*name).to_owned(),
                version: String::new(),
                license: String::new(),
                folder: PathBuf::new(),
                built_in: built_in.iter().map(|name| (*name).to_owned()).collect(),
                own: Some(OwnPackage { manifest: toml::Table::new(), programs: Vec::new() }),
            };
            ((*name).to_owned(), package)
        };
        let packages = dependencies.iter().map(package).collect();
        Self { sources: Vec::new(), manifests: Vec::new(), architecture: String::new(), packages }
    }
}

/// Path from the root and text of the files of a pattern that are not ignored.
fn files(pattern: &str) -> Result<Vec<(String, String)>> {
    let listed = read(
        Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard", pattern])
            .current_dir(repository()),
    )?;
    // A file may be deleted and not yet committed as such.
    let text = |path: &str| Some((path.to_owned(), fs::read_to_string(repository().join(path)).ok()?));
    Ok(listed.lines().filter_map(text).collect())
}

/// The dependencies of a node of cargo's graph that have the kind `null`: those of the package itself.
fn built_in(node: &Value) -> Result<Vec<String>> {
    list(&node["deps"])?
        .iter()
        .filter(|dependency| {
            dependency["dep_kinds"]
                .as_array()
                .is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
        })
        .map(|dependency| string(&dependency["pkg"]))
        .collect()
}

impl Package {
    fn read(package: &Value, id: String, built_in: Vec<String>) -> Result<Self> {
        Ok(Self {
            id,
            name: string(&package["name"])?,
            version: string(&package["version"])?,
            // Older packages list two with a slash.
            license: package["license"].as_str().unwrap_or_default().replace('/', " OR "),
            folder: Path::new(&string(&package["manifest_path"])?).parent().context("a folder")?.to_owned(),
            built_in,
            // Only what comes from a registry has a source.
            own: if package["source"].is_null() { Some(OwnPackage::read(package)?) } else { None },
        })
    }
}

impl OwnPackage {
    fn read(package: &Value) -> Result<Self> {
        let programs = list(&package["targets"])?.iter().filter(|target| target["kind"][0] == "bin");
        Ok(Self {
            manifest: fs::read_to_string(string(&package["manifest_path"])?)?.parse()?,
            programs: programs.map(|target| string(&target["name"])).collect::<Result<_>>()?,
        })
    }
}

fn list(value: &Value) -> Result<&Vec<Value>> {
    value.as_array().with_context(|| format!("cargo metadata has {value} for a list"))
}

fn string(value: &Value) -> Result<String> {
    Ok(value.as_str().with_context(|| format!("cargo metadata has {value} for a text"))?.to_owned())
}

/// One line of one file.
pub struct Line<'a> {
    pub path: &'a str,
    number: usize,
    pub whole: &'a str,
    /// What stands before a comment. A `//` inside a string cuts it short, which these laws can bear.
    pub code: &'a str,
    pub is_test: bool,
}

impl Line<'_> {
    /// Where it is, and what it says.
    pub fn place(&self) -> String {
        format!("{}:{}: `{}`", self.path, self.number, self.whole.trim())
    }

    /// The comment, with its slashes.
    pub fn comment(&self) -> &str {
        &self.whole[self.code.len()..]
    }

    /// The code outside string literals. An escaped quote swaps the two, which these laws can bear.
    pub fn plain(&self) -> impl Iterator<Item = &str> {
        self.code.split('"').step_by(2)
    }

    /// The string literals.
    pub fn strings(&self) -> impl Iterator<Item = &str> {
        self.code.split('"').skip(1).step_by(2)
    }
}

/// Identifiers and keywords.
pub fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// Every line of the files whose path is `wanted`.
pub fn lines(tree: &Tree, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = Line<'_>> {
    tree.sources.iter().filter(move |(path, _)| wanted(path)).flat_map(|(path, text)| {
        // Unit tests close a file, or have one of their own.
        let own_file = path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("/laws.rs");
        let tests_from = if own_file { 0 } else { text.find("#[cfg(test)]").unwrap_or(text.len()) };
        let tests_from = text[..tests_from].lines().count();
        text.lines().enumerate().map(move |(index, whole)| Line {
            path,
            number: index + 1,
            whole,
            code: whole.split("//").next().unwrap_or(whole),
            is_test: index >= tests_from,
        })
    })
}
