//! Laws over manifests and over the packages that cargo resolves. Licences, duplicates and origins of dependencies are in
//! `deny.toml`.

use std::collections::BTreeMap;

use crate::tidy::tree::{OwnPackage, Package, Tree};

/// What a vendor library does without: the HTTP server, its runtime, and the rules.
const NOT_FOR_VENDORS: [&str; 3] = ["hyper", "tokio", "thresholds"];

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
