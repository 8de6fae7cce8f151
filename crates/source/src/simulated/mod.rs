//! How a simulated machine identifies itself, so that its values are never taken for those of hardware.

mod raw;

use std::path::{Path, PathBuf};

use kernel::File;

pub use raw::in_library;

/// A simulated machine whose kernel files are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedMachine {
    /// Name of its profile.
    pub name: String,
    /// Folder with what a real machine has in calls instead of files, such as perf events.
    pub folder: PathBuf,
}

/// The simulated machine that has its kernel files below `sysfs`. It has a folder `accelsim`, which no kernel
/// has.
pub fn in_sysfs(sysfs: &Path) -> Option<SimulatedMachine> {
    let folder = sysfs.join("accelsim");
    let name = File::new(&folder, "machine").text().ok()?;
    Some(SimulatedMachine { name, folder })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_simulated_if_its_files_name_it() {
        let sysfs = tempfile::tempdir().expect("a folder");
        assert_eq!(in_sysfs(sysfs.path()), None);
        let folder = sysfs.path().join("accelsim");
        std::fs::create_dir(&folder).expect("created");
        std::fs::write(folder.join("machine"), "xeon6-amx\n").expect("written");
        assert_eq!(in_sysfs(sysfs.path()), Some(SimulatedMachine { name: "xeon6-amx".to_owned(), folder }));
    }

    #[test]
    fn a_library_of_this_machine_is_not_simulated() {
        let libc = libloading::os::unix::Library::this().into();
        assert_eq!(in_library(&libc), None);
    }
}
