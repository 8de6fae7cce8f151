//! The bill of materials in CycloneDX's format, and the licences of what is linked into the program, both from the
//! packages as cargo resolves them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use e2e::artefacts::repository;
use serde_json::{Value, json};

use crate::tidy::tree::{Package, Tree};

/// The package of the program.
const PROGRAM: &str = "accelscope";

/// How the files of a licence are called.
const LICENCE_FILES: [&str; 5] = ["licen", "copying", "notice", "unlicense", "copyright"];

/// The packages that are linked into the program, the program's own first.
fn linked(tree: &Tree) -> Result<Vec<&Package>> {
    let program = tree.packages.values().find(|package| package.name == PROGRAM).context("the program")?;
    let (mut found, mut open) = (vec![program], vec![program]);
    while let Some(package) = open.pop() {
        for id in &package.built_in {
            let next = tree.packages.get(id).context("a package of the graph")?;
            if !found.iter().any(|known| known.id == next.id) {
                found.push(next);
                open.push(next);
            }
        }
    }
    ensure!(found.len() > 20, "{} packages", found.len());
    found[1..].sort_by_key(|package| (&package.name, &package.version));
    Ok(found)
}

/// `pkg:cargo/NAME@VERSION`.
fn reference(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

/// The bill of materials.
pub fn bill(tree: &Tree) -> Result<String> {
    let linked = linked(tree)?;
    let lock: toml::Table = fs::read_to_string(repository().join("Cargo.lock"))?.parse()?;
    let locked = lock["package"].as_array().context("Cargo.lock has packages")?;
    let checksums: BTreeMap<_, _> = locked
        .iter()
        .filter_map(|entry| {
            Some(((entry["name"].as_str()?, entry["version"].as_str()?), entry.get("checksum")?.as_str()?))
        })
        .collect();
    let component = |package: &&Package, kind: &str| {
        let mut component = json!({
            "type": kind, "bom-ref": reference(package), "name": package.name, "version": package.version,
            "purl": reference(package), "licenses": [{"expression": package.license}],
        });
        if let Some(checksum) = checksums.get(&(package.name.as_str(), package.version.as_str())) {
            component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
        }
        component
    };
    let depends = |package: &&Package| {
        let on = package.built_in.iter().filter_map(|id| tree.packages.get(id)).map(reference);
        json!({"ref": reference(package), "dependsOn": on.collect::<BTreeSet<_>>()})
    };
    let bill: Value = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(&linked[0], "application")},
        "components": linked[1..].iter().map(|package| component(package, "library")).collect::<Vec<_>>(),
        "dependencies": linked.iter().map(depends).collect::<Vec<_>>(),
    });
    Ok(serde_json::to_string_pretty(&bill)? + "\n")
}

/// The licences of the packages of others, each text once.
pub fn licences(tree: &Tree) -> Result<String> {
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut page = "accelscope contains these packages, under these licences:\n\n".to_owned();
    for package in linked(tree)?.into_iter().filter(|package| package.own.is_none()) {
        let named = format!("{} {}", package.name, package.version);
        writeln!(page, "{named}: {}", package.license)?;
        for entry in fs::read_dir(&package.folder)? {
            let path = entry?.path();
            if path.is_file() && is_licence(&path) {
                let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                texts.entry(text.trim().to_owned()).or_default().insert(named.clone());
            }
        }
    }
    for (text, packages) in texts {
        let packages = packages.into_iter().collect::<Vec<_>>().join(", ");
        write!(page, "\n{}\n{packages}\n\n{text}\n", "-".repeat(80))?;
    }
    Ok(page)
}

fn is_licence(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    LICENCE_FILES.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::{bill, licences, linked};
    use crate::tidy::tree::Tree;

    #[test]
    fn the_bill_names_what_is_linked_and_nothing_else() {
        let tree = Tree::read().expect("the packages");
        let names: Vec<_> =
            linked(&tree).expect("a program").iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names[0], "accelscope");
        // A test tool, and a macro that runs in the compiler only.
        for (name, is_linked) in
            [("hyper", true), ("nvml-exporter", true), ("proptest", false), ("e2e", false)]
        {
            assert_eq!(names.contains(&name), is_linked, "{name}");
        }
        let bill: serde_json::Value = serde_json::from_str(&bill(&tree).expect("a bill")).expect("JSON");
        let components = bill["components"].as_array().expect("components");
        assert_eq!(components.len() + 1, names.len());
        for component in components {
            assert!(
                component["licenses"][0]["expression"].as_str().is_some_and(|text| !text.is_empty()),
                "{component}"
            );
        }
        let licences = licences(&tree).expect("texts");
        assert!(licences.contains("hyper 1.") && licences.contains("Permission is hereby granted"));
    }
}
