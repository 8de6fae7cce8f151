//! Product names of PCI device ids, for nodes without Level Zero, which reports the name.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use kernel::File;

/// Where distributions install the PCI ID database, below the root of the host's files.
const DATABASES: [&str; 2] = ["usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids"];
/// Twice the size of the database in 2026.
const DATABASE_MAX: usize = 4 << 20;
/// What the database says of a GPU that is sold under no name of its own.
const NAMELESS: &str = "Intel Graphics";

/// Ids and cards of compute-runtime's `devices_base.inl`, for which the database is missing, older than the part,
/// or without a name.
const MODELS: &[(u64, &str)] = &[
    (0x56a0, "Intel Arc A770"),
    (0x56a1, "Intel Arc A750"),
    (0x4680, "Intel UHD Graphics 770"),
    (0xe209, "Intel Arc B580"),
    (0xe20b, "Intel Arc B580"),
    (0xe20c, "Intel Arc B570"),
    (0xe211, "Intel Arc Pro B60"),
    (0xe212, "Intel Arc Pro B50"),
    (0xe222, "Intel Arc Pro B65"),
    (0xe223, "Intel Arc Pro B70"),
    (0x7d40, "Intel Graphics (Meteor Lake)"),
    (0x7d45, "Intel Graphics (Meteor Lake)"),
    (0x7d55, "Intel Graphics (Meteor Lake)"),
    (0x7dd5, "Intel Graphics (Meteor Lake)"),
    (0x7d41, "Intel Graphics (Arrow Lake)"),
    (0x7d51, "Intel Graphics (Arrow Lake)"),
    (0x7d67, "Intel Graphics (Arrow Lake)"),
    (0x7dd1, "Intel Graphics (Arrow Lake)"),
    (0x6420, "Intel Graphics (Lunar Lake)"),
    (0x64a0, "Intel Graphics (Lunar Lake)"),
    (0xb080, "Intel Graphics (Panther Lake)"),
    (0xb081, "Intel Graphics (Panther Lake)"),
    (0xb082, "Intel Graphics (Panther Lake)"),
    (0xb083, "Intel Graphics (Panther Lake)"),
    (0xb084, "Intel Graphics (Panther Lake)"),
    (0xb085, "Intel Graphics (Panther Lake)"),
    (0xb086, "Intel Graphics (Panther Lake)"),
    (0xb087, "Intel Graphics (Panther Lake)"),
    (0xb08f, "Intel Graphics (Panther Lake)"),
    (0xb0a0, "Intel Graphics (Panther Lake)"),
];

/// The names of the system's PCI ID database, if it has one, and ours.
#[derive(Debug)]
pub struct Models {
    databases: Vec<PathBuf>,
    /// Those that were looked up: the database is large.
    known: HashMap<u64, String>,
}

impl Models {
    /// The database below a root, usually `/`.
    pub fn below(root: &Path) -> Self {
        let databases = DATABASES.iter().map(|place| root.join(place)).filter(|path| path.is_file());
        Self { databases: databases.collect(), known: HashMap::new() }
    }

    /// The product name of a GPU of Intel's; the id itself where nothing names it.
    pub fn name(&mut self, device: u64) -> &str {
        let databases = &self.databases;
        self.known.entry(device).or_insert_with(|| {
            let of_system = databases.iter().find_map(|path| {
                let text = File::called(path.clone(), "pci.ids").bytes(DATABASE_MAX).ok()?;
                product(&String::from_utf8_lossy(&text), device)
            });
            let ours = || MODELS.iter().find(|(id, _)| *id == device).map(|(_, name)| (*name).to_owned());
            of_system.or_else(ours).unwrap_or_else(|| format!("Intel 0x{device:04x}"))
        })
    }
}

/// The name of an Intel device in the database: `\t56a0  DG2 [Arc A770]` below `8086  Intel Corporation`. The
/// product is in brackets, after the chip.
fn product(database: &str, device: u64) -> Option<String> {
    let vendor = database.lines().skip_while(|line| !line.starts_with("8086 ")).skip(1);
    let mut devices = vendor.take_while(|line| line.starts_with(['\t', '#']));
    let name = devices.find_map(|line| line.strip_prefix(&format!("\t{device:04x} ")))?.trim();
    let name = name.split_once('[').and_then(|(_, rest)| rest.strip_suffix(']')).unwrap_or(name);
    match name {
        NAMELESS => None,
        _ if name.starts_with("Intel ") => Some(name.to_owned()),
        _ => Some(format!("Intel {name}")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Models;

    #[test]
    fn names_are_the_systems_and_ours_where_it_has_none() {
        let root = tempfile::tempdir().expect("a folder");
        let name = |device| Models::below(root.path()).name(device).to_owned();
        let ours = [0x56a0, 0x56a1, 0x4680, 0xb0a0, 0xe211, 0x1234].map(name);
        assert_eq!(
            ours,
            [
                "Intel Arc A770",
                "Intel Arc A750",
                "Intel UHD Graphics 770",
                "Intel Graphics (Panther Lake)",
                "Intel Arc Pro B60",
                "Intel 0x1234"
            ]
        );
        let database = "# a comment\n8085  Another\n\t56a0  Not this\n8086  Intel Corporation\n# more\n\
            \t4680  AlderLake-S GT1\n\t\t1028 0a00  4690 of somebody\n\t56b1  DG2 [Arc Pro A40/A50]\n\
            \t64a0  Lunar Lake [Intel Arc Graphics 130V / 140V]\n\te211  Battlemage G21 [Intel Graphics]\n\
            8087  Another\n\t1234  Not this either\n";
        fs::create_dir_all(root.path().join("usr/share/hwdata")).expect("created");
        fs::write(root.path().join("usr/share/hwdata/pci.ids"), database).expect("written");
        let name = |device| Models::below(root.path()).name(device).to_owned();
        assert_eq!(name(0x4680), "Intel AlderLake-S GT1");
        assert_eq!(name(0x56b1), "Intel Arc Pro A40/A50");
        assert_eq!(name(0x64a0), "Intel Arc Graphics 130V / 140V");
        assert_eq!(name(0xe211), "Intel Arc Pro B60", "the database has no name for it");
        assert_eq!((name(0x56a0), name(0x1234)), ("Intel Arc A770".to_owned(), "Intel 0x1234".to_owned()));
    }
}
