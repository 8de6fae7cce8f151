//! ARCHITECTURE.md's table of crates against the dependencies of our packages.

use std::collections::{BTreeMap, BTreeSet};

use crate::tidy::tree::Tree;

/// How the table begins.
const HEAD: &str = "| crate | what it is for | may depend on |";

/// Each of our packages has a row, and depends on those of ours that its row lists, no more and no fewer.
pub fn dependencies_are_those_of_the_table(tree: &Tree) -> Vec<String> {
    let rows = match rows(&tree.architecture) {
        Ok(rows) => rows,
        Err(wrong) => return vec![wrong],
    };
    let own: BTreeMap<_, _> = tree.own().map(|(package, _)| (package.name.as_str(), package)).collect();
    let mut broken = Vec::new();
    for (name, package) in &own {
        let Some(listed) = rows.get(name) else {
            broken.push(format!("{name}: ARCHITECTURE.md has no row for it in its table of crates"));
            continue;
        };
        let dependencies = package.built_in.iter().filter_map(|id| tree.packages.get(id));
        let ours = dependencies.filter(|dependency| dependency.own.is_some());
        let ours: BTreeSet<_> = ours.map(|dependency| dependency.name.as_str()).collect();
        let unlisted = ours.difference(listed).map(|other| {
            format!("{name} depends on {other}, which its row in ARCHITECTURE.md does not list")
        });
        let stale = listed.difference(&ours).map(|other| {
            format!("{name} does not depend on {other}, which its row in ARCHITECTURE.md lists")
        });
        broken.extend(unlisted.chain(stale));
    }
    let gone = rows.keys().filter(|name| !own.contains_key(*name));
    broken.extend(gone.map(|name| format!("{name}: ARCHITECTURE.md has a row for it, and it is no package")));
    broken
}

/// The rows of the table: a package, and the packages that it may depend on; `–` is none.
fn rows(architecture: &str) -> Result<BTreeMap<&str, BTreeSet<&str>>, String> {
    let mut lines = architecture.lines().skip_while(|line| *line != HEAD);
    lines.next().ok_or_else(|| format!("ARCHITECTURE.md: no table that begins with `{HEAD}`"))?;
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|line| {
        let columns: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, _, dependencies] = columns[..] else {
            return Err(format!(
                "ARCHITECTURE.md: a row with {} columns instead of 3: {line}",
                columns.len()
            ));
        };
        Ok((name.trim_matches('`'), dependencies.split(", ").filter(|name| *name != "–").collect()))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::dependencies_are_those_of_the_table;
    use crate::tidy::tree::Tree;

    const TABLE: &str = "\
Before.

| crate | what it is for | may depend on |
|---|---|---|
| `naming` | names | – |
| `reading` | readings | naming |

| `after` | another table | everything |
";
    /// A package's name, and what is built into it.
    type Named = (&'static str, &'static [&'static str]);
    const PACKAGES: [Named; 2] = [("naming", &[]), ("reading", &["naming"])];

    fn broken(table: &str, packages: &[Named]) -> Vec<String> {
        let tree = Tree { architecture: table.to_owned(), ..Tree::of_packages(packages) };
        dependencies_are_those_of_the_table(&tree)
    }

    #[test]
    fn a_table_that_is_right_breaks_nothing() {
        assert_eq!(broken(TABLE, &PACKAGES), Vec::<String>::new());
    }

    #[test]
    fn each_way_of_being_wrong_is_named() {
        let cases: [(&str, &str, &[Named], &str); 6] = [
            ("", "", &[("naming", &["reading"]), PACKAGES[1]], "naming depends on reading, which its row"),
            ("", "", &[PACKAGES[0], ("reading", &[])], "reading does not depend on naming, which its row"),
            ("", "", &[PACKAGES[0], PACKAGES[1], ("new", &[])], "new: ARCHITECTURE.md has no row for it"),
            ("", "", &PACKAGES[..1], "reading: ARCHITECTURE.md has a row for it, and it is no package"),
            ("| names |", "|", &PACKAGES, "ARCHITECTURE.md: a row with 2 columns instead of 3: | `naming`"),
            ("| crate |", "| room |", &PACKAGES, "ARCHITECTURE.md: no table that begins with"),
        ];
        for (from, to, packages, expected) in cases {
            let found = broken(&TABLE.replace(from, to), packages);
            assert!(found.len() == 1 && found[0].starts_with(expected), "{expected}: {found:?}");
        }
    }
}
