//! Laws over manifests and over the packages that cargo resolves.

use std::collections::BTreeMap;

use crate::tidy::tree::{OwnPackage, Package, Tree};

/// What a vendor library does without: the HTTP server, its runtime, and the rules.
const NOT_FOR_VENDORS: [&str; 3] = ["hyper", "tokio", "thresholds"];

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

/// The workspace decides the lints.
pub fn every_crate_inherits_the_lints(tree: &Tree) -> Vec<String> {
    let inherits = |own: &OwnPackage| {
        own.manifest.get("lints").and_then(|lints| lints.get("workspace"))
            == Some(&toml::Value::Boolean(true))
    };
    let lax = tree.own().filter(|(_, own)| !inherits(own));
    lax.map(|(package, _)| format!("{}: its Cargo.toml says `[lints] workspace = true`", package.name))
        .collect()
}

/// The libraries of the vendors depend on nothing of [`NOT_FOR_VENDORS`], not even through others.
pub fn vendor_libraries_serve_no_http(tree: &Tree) -> Vec<String> {
    let vendors = tree.own().filter(|(package, _)| package.name.ends_with("-exporter"));
    vendors
        .flat_map(|(package, _)| NOT_FOR_VENDORS.iter().filter_map(|name| path_to(tree, package, name)))
        .map(|path| {
            format!("{}: a vendor library brings no HTTP server, runtime or rules", path.join(" -> "))
        })
        .collect()
}

/// The names from a package to the dependency `name`, along dependencies that are built into it.
fn path_to<'a>(tree: &'a Tree, from: &'a Package, name: &str) -> Option<Vec<&'a str>> {
    let mut came_from = BTreeMap::from([(from.id.as_str(), None)]);
    let mut open = vec![from];
    while let Some(package) = open.pop() {
        if package.name == name {
            let steps = std::iter::successors(Some(package), |step| came_from[step.id.as_str()]);
            let mut path: Vec<_> = steps.map(|step| step.name.as_str()).collect();
            path.reverse();
            return Some(path);
        }
        for next in package.built_in.iter().filter_map(|id| tree.packages.get(id)) {
            came_from.entry(&next.id).or_insert_with(|| {
                open.push(next);
                Some(package)
            });
        }
    }
    None
}

/// Licences of dependencies are on the list.
pub fn licences_are_allowed(tree: &Tree) -> Vec<String> {
    tree.packages
        .values()
        .filter(|package| package.own.is_none() && !LICENCES.contains(&package.licence.as_str()))
        .map(|package| format!("{}: licence {} is not on the list", package.name, package.licence))
        .collect()
}

/// Two versions of a crate have a reason.
pub fn no_unargued_duplicates(tree: &Tree) -> Vec<String> {
    let mut versions = BTreeMap::<&str, Vec<&str>>::new();
    for package in tree.packages.values() {
        versions.entry(&package.name).or_default().push(&package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let argued: BTreeMap<_, _> = DUPLICATES.iter().copied().collect();
    let unargued = versions
        .iter()
        .filter(|(name, _)| !argued.contains_key(*name))
        .map(|(name, versions)| format!("{name} is in the tree as {}", versions.join(" and ")));
    let stale = argued.keys().filter(|name| !versions.contains_key(*name)).map(|name| {
        format!("{name} is in the tree once; take it off the list in xtask/src/tidy/laws/packages.rs")
    });
    unargued.chain(stale).collect()
}

#[cfg(test)]
mod tests {
    use super::vendor_libraries_serve_no_http;
    use crate::tidy::tree::Tree;

    fn broken(dependencies: &[(&str, &[&str])]) -> Vec<String> {
        vendor_libraries_serve_no_http(&Tree::of_packages(dependencies))
    }

    #[test]
    fn a_vendor_library_that_reaches_the_http_server_is_named_with_its_way_there() {
        let good = [("npu-exporter", &["source"][..]), ("source", &["reading"]), ("reading", &[])];
        assert_eq!(broken(&good), Vec::<String>::new());
        let bad = [
            ("npu-exporter", &["source"][..]),
            ("source", &["exporter"]),
            ("exporter", &["hyper"]),
            ("hyper", &[]),
        ];
        assert_eq!(
            broken(&bad),
            [
                "npu-exporter -> source -> exporter -> hyper: a vendor library brings no HTTP server, runtime or rules"
            ]
        );
        // The exporter itself, and the agent, may.
        assert_eq!(broken(&bad[2..]), Vec::<String>::new());
    }
}
