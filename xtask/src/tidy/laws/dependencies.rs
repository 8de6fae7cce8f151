//! ARCHITECTURE.md's table of crates against the dependencies of our packages.

use std::collections::{BTreeMap, BTreeSet};

use crate::tidy::tree::Tree;

/// How the table begins: its first column names folders, its last what the package there depends on.
const HEAD: &str = "| folder | what it is for | depends on |";

/// A row of the table: a package's folder, and the names that it depends on.
type Row<'a> = (&'a str, Vec<&'a str>);

/// Each of our packages has a row, and depends on those of ours that its row lists, no more and no fewer. Another
/// crate that a row lists is a dependency, too.
pub fn dependencies_are_those_of_the_table(tree: &Tree) -> Vec<String> {
    let rows: BTreeMap<_, _> = match rows(&tree.architecture) {
        Ok(rows) => rows.into_iter().collect(),
        Err(wrong) => return vec![wrong],
    };
    let own: BTreeMap<_, _> = tree.own().map(|(package, own)| (own.folder.as_str(), package)).collect();
    let mut broken = Vec::new();
    for (folder, package) in &own {
        let Some(listed) = rows.get(folder) else {
            broken.push(format!("{folder}: ARCHITECTURE.md has no row for it in its table of crates"));
            continue;
        };
        let actual = package.built_in.iter().filter_map(|id| tree.packages.get(id));
        // The table names a crate by the last part of its folder, whatever its package is called.
        let (ours, others): (Vec<_>, Vec<_>) = actual.partition(|dependency| dependency.own.is_some());
        let ours: BTreeSet<_> =
            ours.iter().filter_map(|dependency| dependency.own.as_ref()?.folder.rsplit('/').next()).collect();
        let others: BTreeSet<_> = others.iter().map(|dependency| dependency.name.as_str()).collect();
        let unlisted = ours.iter().filter(|name| !listed.contains(name));
        broken.extend(unlisted.map(|name| {
            format!("{folder} depends on {name}, which its row in ARCHITECTURE.md does not list")
        }));
        let stale = listed.iter().filter(|name| !ours.contains(*name) && !others.contains(*name));
        broken.extend(stale.map(|name| {
            format!("{folder} does not depend on {name}, which its row in ARCHITECTURE.md lists")
        }));
    }
    let gone = rows.keys().filter(|folder| folder.starts_with("crates/") && !own.contains_key(*folder));
    broken.extend(
        gone.map(|folder| format!("{folder}: ARCHITECTURE.md has a row for it, and it is no package")),
    );
    broken
}

/// The rows of the table, one for each folder; a row without dependencies says `–`, one that is no package nothing.
fn rows(architecture: &str) -> Result<Vec<Row<'_>>, String> {
    let missing = || format!("ARCHITECTURE.md: no table that begins with `{HEAD}`");
    let mut lines = architecture.lines().skip_while(|line| *line != HEAD);
    lines.next().ok_or_else(missing)?;
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    let rows = rows.map(|line| {
        let columns: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [folders, _, dependencies] = columns[..] else {
            return Err(format!(
                "ARCHITECTURE.md: a row with {} columns instead of 3: {line}",
                columns.len()
            ));
        };
        let dependencies: Vec<_> =
            dependencies.split(", ").filter(|name| !name.is_empty() && *name != "–").collect();
        let folders = folders.split(", ").map(|folder| folder.trim_matches('`').trim_end_matches('/'));
        Ok(folders.map(|folder| (folder, dependencies.clone())).collect::<Vec<_>>())
    });
    Ok(rows.collect::<Result<Vec<_>, _>>()?.concat())
}

#[cfg(test)]
mod tests {
    use super::dependencies_are_those_of_the_table;
    use crate::tidy::tree::Tree;

    const TABLE: &str = "\
Before.

| folder | what it is for | depends on |
|---|---|---|
| `crates/naming` | names | – |
| `crates/reading` | readings | naming |
| `alerts/`, `docs/` | generated | |

| `crates/after` | another table | everything |
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
            (
                "",
                "",
                &[("naming", &["reading"]), PACKAGES[1]],
                "crates/naming depends on reading, which its row",
            ),
            (
                "",
                "",
                &[PACKAGES[0], ("reading", &[])],
                "crates/reading does not depend on naming, which its row",
            ),
            (
                "",
                "",
                &[PACKAGES[0], PACKAGES[1], ("new", &[])],
                "crates/new: ARCHITECTURE.md has no row for it",
            ),
            (
                "",
                "",
                &PACKAGES[..1],
                "crates/reading: ARCHITECTURE.md has a row for it, and it is no package",
            ),
            (
                "| names |",
                "|",
                &PACKAGES,
                "ARCHITECTURE.md: a row with 2 columns instead of 3: | `crates/naming`",
            ),
            ("| folder |", "| place |", &PACKAGES, "ARCHITECTURE.md: no table that begins with"),
        ];
        for (from, to, packages, expected) in cases {
            let found = broken(&TABLE.replace(from, to), packages);
            assert!(found.len() == 1 && found[0].starts_with(expected), "{expected}: {found:?}");
        }
    }
}
