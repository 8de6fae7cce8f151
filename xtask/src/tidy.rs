//! The laws of the house that no compiler checks: one function per law, each answering what breaks it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use e2e::artefacts::repository;
use serde_json::Value;

use crate::shell::{cargo, read};

/// Words that promise work instead of doing it. Spelt in halves, so that this file keeps its own law.
const PROMISES: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK:")];

/// How a metric's name of our own begins; vendors' names are looked up in the catalogue, since some are the
/// names of labels, too.
const METRIC_PREFIXES: [&str; 2] = ["accel_", "accelscope_"];

/// Where metric names may be spelt: the catalogue, simulated vendors, tests, and the bench that reads peers.
const NAMING_ROOMS: [&str; 4] = ["crates/naming/", "crates/sim", "tests/", "xtask/"];

/// Crates that do no I/O, and the paths that would be I/O.
const PURE_CRATES: [&str; 4] =
    ["crates/naming/", "crates/reading/", "crates/exposition/", "crates/thresholds/"];
const IO: [&str; 9] =
    ["fs::", "net::", "env::", "process::", "thread::", "SystemTime::", "Instant::now", "print!", "println!"];

/// Which of our crates a crate may depend on. The arrows point one way.
const ARROWS: &[(&str, &[&str])] = &[
    ("naming", &[]),
    ("reading", &["naming"]),
    ("kernel", &["reading"]),
    ("exposition", &["naming", "reading"]),
    ("thresholds", &["naming"]),
    ("exporter", &["exposition", "naming", "reading", "kernel", "thresholds"]),
    ("nvml-exporter", &["exporter", "naming", "reading", "kernel"]),
    ("hlml-sys", &[]),
    ("gaudi-exporter", &["exporter", "hlml-sys", "naming", "reading", "kernel"]),
    ("level-zero-sys", &[]),
    ("xpu-exporter", &["exporter", "level-zero-sys", "naming", "reading", "kernel"]),
    ("npu-exporter", &["exporter", "naming", "reading", "kernel"]),
    ("amx-exporter", &["exporter", "naming", "reading", "kernel"]),
    (
        "accelscope",
        &["amx-exporter", "exporter", "gaudi-exporter", "npu-exporter", "nvml-exporter", "xpu-exporter"],
    ),
    ("sim", &[]),
    ("sim-abi", &["sim"]),
    ("sim-nvml", &["sim", "sim-abi"]),
    ("sim-hlml", &["hlml-sys", "sim", "sim-abi"]),
    ("sim-level-zero", &["level-zero-sys", "sim", "sim-abi"]),
    ("e2e", &["sim"]),
    ("xtask", &["e2e", "naming", "sim"]),
];

/// Licences of dependencies, as their manifests spell them. All let a binary be given away under ours.
const LICENCES: &[&str] = &[
    "(Apache-2.0 OR MIT) AND BSD-3-Clause",
    "(MIT OR Apache-2.0) AND Unicode-3.0",
    "Apache-2.0",
    "Apache-2.0 / MIT",
    "Apache-2.0 OR BSL-1.0",
    "Apache-2.0 OR MIT",
    "Apache-2.0/MIT",
    "Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT",
    "ISC",
    "MIT",
    "MIT OR Apache-2.0",
    "MIT/Apache-2.0",
    "Unlicense OR MIT",
    "Unlicense/MIT",
    "Zlib",
];

/// Crates that are in the tree in two versions, and why that is borne.
const DUPLICATES: &[(&str, &str)] = &[
    ("syn", "derive macros are between two versions; it is not part of the binary"),
    ("thiserror", "nvml-wrapper is on 1, all else on 2; a few small functions"),
    ("thiserror-impl", "goes with thiserror; it is not part of the binary"),
    ("unicode-width", "promql-parser's grammar is on 0.1; it is not part of the binary"),
];

/// All that a binary may be linked with; a vendor's library is opened at run time.
const LINKED: [&str; 5] =
    ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"];

/// What the laws are about.
struct Tree {
    /// Path from the root and text of every Rust file that is not ignored.
    sources: Vec<(String, String)>,
    /// Every package that is built on this platform, ours and others'.
    packages: Vec<Package>,
}

struct Package {
    name: String,
    version: String,
    licence: String,
    /// Only our own packages have this.
    own: Option<Own>,
}

/// What the laws ask of a package of ours.
struct Own {
    manifest: toml::Table,
    /// Our packages that it depends on, other than for tests.
    dependencies: Vec<String>,
    programs: Vec<String>,
}

/// A law, answering what breaks it.
type Law = fn(&Tree) -> Vec<String>;

const LAWS: [Law; 9] = [
    every_file_says_what_it_is_for,
    no_promises,
    metric_names_live_in_the_catalogue,
    unsafe_lives_in_its_rooms,
    pure_crates_do_no_io,
    every_crate_inherits_the_lints,
    arrows_point_one_way,
    licences_are_allowed,
    no_unargued_duplicates,
];

/// Checks every law; lists all that is broken.
pub fn run() -> Result<()> {
    let tree = Tree::read()?;
    let broken: Vec<_> = LAWS.iter().flat_map(|law| law(&tree)).collect();
    ensure!(broken.is_empty(), "{} broken:\n  {}", broken.len(), broken.join("\n  "));
    println!(
        "{} laws hold over {} files and {} packages",
        LAWS.len(),
        tree.sources.len(),
        tree.packages.len()
    );
    Ok(())
}

impl Tree {
    fn read() -> Result<Self> {
        let listed = read(
            Command::new("git")
                .args(["ls-files", "--cached", "--others", "--exclude-standard", "*.rs"])
                .current_dir(repository()),
        )?;
        // A file may be deleted and not yet committed as such.
        let text = |path: &str| Some((path.to_owned(), fs::read_to_string(repository().join(path)).ok()?));
        let sources: Vec<_> = listed.lines().filter_map(text).collect();
        ensure!(sources.len() > 10, "git lists {} Rust files: is this a clone?", sources.len());

        let version = read(Command::new("rustc").arg("-vV"))?;
        let host =
            version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV has a host")?;
        let flags = ["metadata", "--format-version=1", "--locked", "--filter-platform", host];
        let metadata: Value = serde_json::from_str(&read(&mut cargo(flags))?)?;
        let packages = list(&metadata["packages"])?.iter().map(Package::read).collect::<Result<_>>()?;
        Ok(Self { sources, packages })
    }

    fn own(&self) -> impl Iterator<Item = (&str, &Own)> {
        self.packages.iter().filter_map(|package| Some((package.name.as_str(), package.own.as_ref()?)))
    }
}

impl Package {
    fn read(package: &Value) -> Result<Self> {
        Ok(Self {
            name: text(&package["name"])?,
            version: text(&package["version"])?,
            licence: package["license"].as_str().unwrap_or("none").to_owned(),
            // Only what comes from a registry has a source.
            own: if package["source"].is_null() { Some(Own::read(package)?) } else { None },
        })
    }
}

impl Own {
    fn read(package: &Value) -> Result<Self> {
        let ours = list(&package["dependencies"])?
            .iter()
            .filter(|dependency| dependency["source"].is_null() && dependency["kind"].is_null());
        let programs = list(&package["targets"])?.iter().filter(|target| target["kind"][0] == "bin");
        Ok(Self {
            manifest: fs::read_to_string(text(&package["manifest_path"])?)?.parse()?,
            dependencies: ours.map(|dependency| text(&dependency["name"])).collect::<Result<_>>()?,
            programs: programs.map(|target| text(&target["name"])).collect::<Result<_>>()?,
        })
    }
}

fn list(value: &Value) -> Result<&Vec<Value>> {
    value.as_array().with_context(|| format!("cargo metadata has {value} for a list"))
}

fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().with_context(|| format!("cargo metadata has {value} for a text"))?.to_owned())
}

fn every_file_says_what_it_is_for(tree: &Tree) -> Vec<String> {
    let silent = tree.sources.iter().filter(|(_, text)| !text.starts_with("//!"));
    silent.map(|(path, _)| format!("{path}:1: begins with `//!` and what the file is for")).collect()
}

fn no_promises(tree: &Tree) -> Vec<String> {
    lines(tree, |_| true)
        .filter(|line| PROMISES.iter().any(|word| line.whole.contains(word)))
        .map(|line| format!("{}: do it, or write down as a limit what is not done", line.place()))
        .collect()
}

fn metric_names_live_in_the_catalogue(tree: &Tree) -> Vec<String> {
    let vendors: BTreeSet<_> = naming::vendor_names().map(|row| row.name).collect();
    let names_metric = |string: &str| {
        METRIC_PREFIXES.iter().any(|prefix| string.contains(prefix))
            || words(string).any(|word| vendors.contains(word))
    };
    lines(tree, |path| !NAMING_ROOMS.iter().any(|room| path.starts_with(room)))
        .filter(|line| !line.is_test && line.strings().any(names_metric))
        .map(|line| format!("{}: a metric's name is spelt in crates/naming alone", line.place()))
        .collect()
}

fn unsafe_lives_in_its_rooms(tree: &Tree) -> Vec<String> {
    let is_room = |path: &str| {
        path.ends_with("/raw.rs")
            || path.contains("/raw/")
            || path.split('/').any(|folder| folder.ends_with("-sys") || folder.starts_with("sim-"))
    };
    let keyword = concat!("un", "safe");
    let mut broken: Vec<_> = lines(tree, |path| !is_room(path))
        .filter(|line| line.plain().flat_map(words).any(|word| word == keyword))
        .map(|line| format!("{}: belongs in raw.rs, a -sys crate or a sim- crate", line.place()))
        .collect();
    // A library with such a room cannot forbid it, since `forbid` has no exception; every other root does.
    let with_rooms: BTreeSet<_> =
        tree.sources.iter().filter(|(path, _)| is_room(path)).map(|(path, _)| crate_of(path)).collect();
    let must_forbid = |path: &str| {
        path.ends_with("src/main.rs") || path.ends_with("src/lib.rs") && !with_rooms.contains(crate_of(path))
    };
    let forbids = "#![forbid(unsafe_code)]";
    let lax = tree.sources.iter().filter(|(path, text)| must_forbid(path) && !text.contains(forbids));
    broken.extend(lax.map(|(path, _)| format!("{path}:1: says `{forbids}`")));
    broken
}

fn pure_crates_do_no_io(tree: &Tree) -> Vec<String> {
    lines(tree, |path| PURE_CRATES.iter().any(|room| path.starts_with(room)))
        .filter(|line| !line.is_test && line.plain().any(|code| IO.iter().any(|word| code.contains(word))))
        .map(|line| format!("{}: this crate is pure: pass the value in", line.place()))
        .collect()
}

fn every_crate_inherits_the_lints(tree: &Tree) -> Vec<String> {
    let inherits = |own: &Own| {
        own.manifest.get("lints").and_then(|lints| lints.get("workspace"))
            == Some(&toml::Value::Boolean(true))
    };
    let lax = tree.own().filter(|(_, own)| !inherits(own));
    lax.map(|(name, _)| format!("{name}: its Cargo.toml says `[lints] workspace = true`")).collect()
}

fn arrows_point_one_way(tree: &Tree) -> Vec<String> {
    let mut broken = Vec::new();
    for (name, own) in tree.own() {
        let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
            broken.push(format!("{name}: a new crate; say in xtask/src/tidy.rs what it may depend on"));
            continue;
        };
        let against = own.dependencies.iter().filter(|other| !allowed.contains(&other.as_str()));
        broken.extend(against.map(|other| format!("{name} depends on {other}, against the arrows")));
    }
    broken
}

fn licences_are_allowed(tree: &Tree) -> Vec<String> {
    tree.packages
        .iter()
        .filter(|package| package.own.is_none() && !LICENCES.contains(&package.licence.as_str()))
        .map(|package| format!("{}: licence {} is not on the list", package.name, package.licence))
        .collect()
}

fn no_unargued_duplicates(tree: &Tree) -> Vec<String> {
    let mut versions = BTreeMap::<&str, Vec<&str>>::new();
    for package in &tree.packages {
        versions.entry(&package.name).or_default().push(&package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let argued: BTreeMap<_, _> = DUPLICATES.iter().copied().collect();
    let unargued = versions
        .iter()
        .filter(|(name, _)| !argued.contains_key(*name))
        .map(|(name, versions)| format!("{name} is in the tree as {}", versions.join(" and ")));
    let stale = argued
        .keys()
        .filter(|name| !versions.contains_key(*name))
        .map(|name| format!("{name} is in the tree once; take it off the list in xtask/src/tidy.rs"));
    unargued.chain(stale).collect()
}

/// Checks what the programs of this workspace in `profile_dir` are linked with.
pub fn linked_libraries(profile_dir: &Path) -> Result<()> {
    let tree = Tree::read()?;
    // The commands of the repository are not given away.
    let shipped = tree.own().filter(|(name, _)| *name != "xtask").flat_map(|(_, own)| &own.programs);
    let built: Vec<_> = shipped.map(|name| profile_dir.join(name)).filter(|path| path.exists()).collect();
    ensure!(!built.is_empty(), "no program in {}", profile_dir.display());
    for program in built {
        let dynamic = read(Command::new("readelf").arg("--dynamic").arg(&program))?;
        for line in dynamic.lines().filter(|line| line.contains("(NEEDED)")) {
            let library = line.split(['[', ']']).nth(1).context("readelf names the library in brackets")?;
            ensure!(LINKED.contains(&library), "{} is linked with {library}", program.display());
        }
    }
    Ok(())
}

/// One line of one file.
struct Line<'a> {
    path: &'a str,
    number: usize,
    whole: &'a str,
    /// What stands before a comment. A `//` inside a string cuts it short, which these laws can bear.
    code: &'a str,
    is_test: bool,
}

impl Line<'_> {
    fn place(&self) -> String {
        format!("{}:{}: `{}`", self.path, self.number, self.whole.trim())
    }

    /// The code outside string literals. An escaped quote swaps the two, which these laws can bear.
    fn plain(&self) -> impl Iterator<Item = &str> {
        self.code.split('"').step_by(2)
    }

    /// The string literals.
    fn strings(&self) -> impl Iterator<Item = &str> {
        self.code.split('"').skip(1).step_by(2)
    }
}

/// Identifiers and keywords.
fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// Every line of the files whose path is `wanted`.
fn lines(tree: &Tree, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = Line<'_>> {
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

/// The folder of the crate that a file belongs to.
fn crate_of(path: &str) -> &str {
    path.split("/src/").next().unwrap_or(path)
}
