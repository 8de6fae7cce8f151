//! ARCHITECTURE.md's list of the files that a new vendor changes, against the files that name a vendor.

use naming::Family;

use crate::tidy::tree::{Line, Tree, lines, words};

/// The heading of the section with the list. Each numbered item begins with the path of an existing file.
const HEADING: &str = "## To add a vendor";

/// More would mean that the vendors are not behind one seam.
const FILES_MAX: usize = 7;

/// Where every vendor may be named: names that their own exporters gave the metrics, and this law.
const OPEN: [&str; 2] = ["crates/naming/src/vocabularies/", "xtask/src/tidy/laws/vendors.rs"];

/// Where one family is named because of what it alone has, which a new vendor need not have.
const SPECIAL: [(&str, Family); 4] = [
    // A second rule file, in dcgm-exporter's names, and the tests of both.
    ("crates/thresholds/src/ruleset.rs", Family::Nvidia),
    ("crates/thresholds/src/prove/series.rs", Family::Nvidia),
    // Rules for the integrated GPU of an edge node.
    ("crates/thresholds/src/ruleset.rs", Family::Xpu),
    // The example of alerts that are about no family.
    ("crates/thresholds/src/runbook.rs", Family::Nvidia),
];

/// A vendor is named in its own files, in the listed ones, and where [`OPEN`] and [`SPECIAL`] say so.
pub fn vendors_are_named_in_the_listed_files(tree: &Tree) -> Vec<String> {
    let listed: Vec<_> = listed(&tree.architecture).collect();
    let mut broken = Vec::new();
    if listed.is_empty() || listed.len() > FILES_MAX {
        let count = listed.len();
        broken.push(format!("ARCHITECTURE.md: {count} files under `{HEADING}` instead of 1 to {FILES_MAX}"));
    }
    let exists =
        |path: &str| path == "ARCHITECTURE.md" || texts(tree).any(|(known, _)| known.as_str() == path);
    let missing = listed.iter().filter(|path| !exists(path));
    broken.extend(missing.map(|path| format!("ARCHITECTURE.md: {path} under `{HEADING}` does not exist")));

    let crates: Vec<_> = crates(tree).collect();
    let is_own = |path: &str| {
        path.trim_end_matches(".rs")
            .split('/')
            .any(|part| crates.contains(&part) || Family::ALL.iter().any(|family| family.name() == part))
    };
    let is_open = |path: &str| listed.contains(&path) || OPEN.iter().any(|open| path.starts_with(open));
    let is_closed = |path: &str| !is_open(path) && !is_own(path);
    let mut blame = |place: String, vendor: &str| {
        broken.push(format!("{place}: names {vendor}; ARCHITECTURE.md lists the files that may"));
    };
    for line in lines(tree, is_closed).filter(|line| !line.is_test) {
        let families = Family::ALL.into_iter().filter(|family| names_family(&line, *family));
        for family in families.filter(|family| !SPECIAL.contains(&(line.path, *family))) {
            blame(line.place(), family.name());
        }
        for name in crates.iter().filter(|name| names_crate(line.code, name)) {
            blame(line.place(), name);
        }
    }
    for (path, text) in tree.manifests.iter().filter(|(path, _)| is_closed(path)) {
        for name in crates.iter().filter(|name| names_crate(text, name)) {
            blame(path.clone(), name);
        }
    }
    broken
}

/// The paths at the beginning of the section's numbered items.
fn listed(architecture: &str) -> impl Iterator<Item = &str> {
    let section = architecture.lines().skip_while(|line| *line != HEADING).skip(1);
    section.take_while(|line| !line.starts_with("## ")).filter_map(|line| {
        let (number, item) = line.split_once(". `")?;
        number.parse::<u8>().ok()?;
        item.split('`').next()
    })
}

/// The texts that the list may name.
fn texts(tree: &Tree) -> impl Iterator<Item = &(String, String)> {
    tree.sources.iter().chain(&tree.manifests)
}

/// The libraries of the vendors.
fn crates(tree: &Tree) -> impl Iterator<Item = &str> {
    tree.own().map(|(package, _)| package.name.as_str()).filter(|name| name.ends_with("-exporter"))
}

/// Whether a line names the family's variant, or has a string that is its name.
fn names_family(line: &Line<'_>, family: Family) -> bool {
    let variant = format!("{family:?}");
    let variants = line.plain().filter(|code| code.contains("Family::"));
    variants.flat_map(words).any(|word| word == variant) || line.strings().any(|text| text == family.name())
}

/// Whether a text names the crate, as cargo or as Rust spells it.
fn names_crate(text: &str, name: &str) -> bool {
    let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-');
    words.any(|word| word == name || word == name.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::vendors_are_named_in_the_listed_files;
    use crate::tidy::tree::Tree;

    const LIST: &str = "\
## To add a vendor

1. `crates/accelscope/src/main.rs`: its `SPEC`.
2. `crates/accelscope/Cargo.toml`: the dependency.

## To add something else

1. `crates/other.rs`: something else.
";

    fn broken(list: &str, sources: &[(&str, &str)], manifests: &[(&str, &str)]) -> Vec<String> {
        let owned = |texts: &[(&str, &str)]| -> Vec<(String, String)> {
            texts.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
        };
        let listed = [("crates/accelscope/src/main.rs", "&[npu_exporter::SPEC]")];
        let tree = Tree {
            architecture: list.to_owned(),
            sources: owned(&[&listed, sources].concat()),
            manifests: owned(&[&[("crates/accelscope/Cargo.toml", "npu-exporter = {}")], manifests].concat()),
            ..Tree::of_packages(&[("npu-exporter", &[])])
        };
        vendors_are_named_in_the_listed_files(&tree)
    }

    #[test]
    fn own_files_tests_and_what_only_one_vendor_has_break_nothing() {
        let sources = [
            ("crates/npu-exporter/src/session.rs", "family: Family::Npu,"),
            ("crates/naming/src/family/npu.rs", "name: \"npu\","),
            ("crates/accelscope/src/bin/npu-exporter.rs", "&[npu_exporter::SPEC]"),
            ("crates/thresholds/src/ruleset.rs", "(\"edge\", Some(Family::Xpu)),"),
            ("crates/exporter/src/lib.rs", "Family::ALL // Family::Npu\n#[cfg(test)]\nFamily::Npu"),
        ];
        assert_eq!(broken(LIST, &sources, &[]), Vec::<String>::new());
    }

    #[test]
    fn a_vendor_that_is_named_elsewhere_is_reported_with_its_place() {
        for (path, text, vendor) in [
            ("crates/thresholds/src/ruleset.rs", "Family::Npu => \"edge\",", "npu"),
            ("crates/thresholds/src/plan.rs", "use naming::Family::{Npu, Xpu};", "npu"),
            ("tests/src/node.rs", "if family == \"npu\" {", "npu"),
            ("crates/exporter/src/lib.rs", "npu_exporter::SPEC", "npu-exporter"),
        ] {
            let found = broken(LIST, &[(path, text)], &[]);
            let expected = format!("{path}:1: `{text}`: names {vendor};");
            assert!(found.iter().any(|line| line.starts_with(&expected)), "{expected} {found:?}");
        }
        let found = broken(LIST, &[], &[("Cargo.toml", "npu-exporter = { path = \"crates/npu-exporter\" }")]);
        assert_eq!(found, ["Cargo.toml: names npu-exporter; ARCHITECTURE.md lists the files that may"]);
    }

    #[test]
    fn a_list_that_is_wrong_is_reported() {
        let long = "1. `crates/accelscope/src/main.rs`\n".repeat(8);
        for (from, to, expected) in [
            ("## To add a vendor", "## To add a supplier", "ARCHITECTURE.md: 0 files under"),
            ("1. `crates/accelscope/src/main.rs`", &long, "ARCHITECTURE.md: 9 files under"),
            ("`crates/accelscope/Cargo.toml`", "`gone.rs`", "ARCHITECTURE.md: gone.rs under"),
        ] {
            let found = broken(&LIST.replace(from, to), &[], &[]);
            assert!(found[0].starts_with(expected), "{expected}: {found:?}");
        }
    }
}
