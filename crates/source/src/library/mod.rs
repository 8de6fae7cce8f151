//! A vendor's library before it is opened: where it is found, whether it may be opened, and whether it opens
//! at all.
//!
//! Opening a library runs its code, in a process that may be root's. So a library that is searched for must
//! lie where only root can put one; one that the administrator names is opened from anywhere, with a warning.

mod cache;
mod raw;

use std::{
    env, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use naming::Family;

use crate::{lock, spec::TryLibrary, user_file};

/// The dynamic loader's own folders, on the distributions that vendors support.
const FOLDERS: [&str; 6] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib64",
];

/// The loader's list of what is in its folders and in those that the system adds.
const CACHE: &str = "/etc/ld.so.cache";

/// The most bytes of that list.
const CACHE_MAX: u64 = 16 << 20;

/// How long a library that failed its trial is not tried again. One that hangs takes half of it.
const TRIAL_PAUSE: Duration = Duration::from_mins(1);

/// A vendor's library: the one that a flag names, or names and paths to look for.
#[derive(Clone, Debug)]
pub struct LibraryPath {
    flag: &'static str,
    given: Option<PathBuf>,
    search: &'static [&'static str],
    try_library: Option<TryLibrary>,
    /// The library that failed its last trial.
    failed: Arc<Mutex<Option<FailedTrial>>>,
}

/// A trial that failed, which is not repeated for a while.
#[derive(Debug)]
struct FailedTrial {
    path: PathBuf,
    at: Instant,
    why: String,
}

impl LibraryPath {
    /// The library that `flag` names as `given`, or else the first of `search` that opens: paths, and names
    /// that are looked for where the dynamic loader does. With `try_library`, it is opened by that first.
    pub fn new(
        flag: &'static str,
        given: Option<PathBuf>,
        search: &'static [&'static str],
        try_library: Option<TryLibrary>,
    ) -> Self {
        Self { flag, given, search, try_library, failed: Arc::default() }
    }

    /// Whether the user names it.
    pub fn is_given(&self) -> bool {
        self.given.is_some()
    }

    /// The path of a library that may be opened, and that could be opened where that was tried.
    ///
    /// # Errors
    /// What is wrong with the first that is there, or with the first, in one line that begins with its name.
    pub fn find(&self) -> Result<PathBuf, String> {
        if let Some(given) = &self.given {
            let place = given.display();
            let path = locate(given).ok_or_else(|| format!("{place}: no such file"))?;
            is_regular(&path)?;
            if is_root()
                && let Err(why) = is_roots_alone(&path)
            {
                tracing::warn!("{why}, and is loaded as root since {} names it", self.flag);
            }
            return self.opens(path);
        }
        // The first place is the one that people expect, but a library that is refused says more.
        let (mut missing, mut refused) = (None, None);
        for candidate in self.search {
            let Some(path) = locate(Path::new(candidate)) else {
                missing.get_or_insert_with(|| format!("{candidate}: not found"));
                continue;
            };
            match self.may_open(&path).and_then(|path| self.opens(path)) {
                Ok(path) => return Ok(path),
                Err(why) => drop(refused.get_or_insert(why)),
            }
        }
        Err(refused.or(missing).unwrap_or_default())
    }

    /// The file itself, without links that could be changed after the check.
    fn may_open(&self, path: &Path) -> Result<PathBuf, String> {
        let path = fs::canonicalize(path).map_err(|error| format!("{}: {error}", path.display()))?;
        is_regular(&path)?;
        if is_root() {
            is_roots_alone(&path)
                .map_err(|why| format!("{why}, and is not loaded as root; {} loads it anyway", self.flag))?;
        }
        Ok(path)
    }

    fn opens(&self, path: PathBuf) -> Result<PathBuf, String> {
        let Some(try_library) = self.try_library else { return Ok(path) };
        let mut failed = lock(&self.failed);
        if let Some(FailedTrial { why, .. }) =
            failed.as_ref().filter(|failed| failed.path == path && failed.at.elapsed() < TRIAL_PAUSE)
        {
            return Err(why.clone());
        }
        let tried = try_library(&path).map_err(|why| {
            // The loader's own messages begin with the path.
            if why.starts_with(&*path.to_string_lossy()) { why } else { format!("{}: {why}", path.display()) }
        });
        *failed = tried.err().map(|why| FailedTrial { path: path.clone(), at: Instant::now(), why });
        failed.as_ref().map_or(Ok(path), |failed| Err(failed.why.clone()))
    }
}

/// Whether this machine may have devices of a family: the bus shows one, or one of `modules` is loaded. A
/// machine that shows no bus is not known to have none.
pub fn may_be_needed(family: Family, modules: &[&str], sysfs: &Path) -> bool {
    let Ok(functions) = fs::read_dir(sysfs.join("bus/pci/devices")) else { return true };
    let is_one = |folder: &Path| {
        let number = |file| kernel::File::new(folder, file).hex().ok();
        let vendor_and_class = number("vendor").zip(number("class"));
        family.pci().zip(vendor_and_class).is_some_and(|(wanted, (vendor, class))| {
            vendor == u64::from(wanted.vendor)
                && wanted.classes.iter().any(|known| class >> 8 == u64::from(*known))
        })
    };
    modules.iter().any(|module| sysfs.join("module").join(module).exists())
        || functions.filter_map(Result::ok).any(|function| is_one(&function.path()))
}

/// Opens a library and leaves it open: what [`TryLibrary`] does in the process that it starts.
///
/// # Errors
/// The dynamic loader's message.
pub fn open(path: &Path) -> Result<(), String> {
    raw::open(path)
}

/// A file by its path; by its name, where the dynamic loader would find it.
fn locate(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return name.exists().then(|| name.to_owned());
    }
    let listed = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let listed: Vec<_> = env::split_paths(&listed).filter(|folder| folder.is_absolute()).collect();
    let in_folder = |folder: PathBuf| Some(folder.join(name)).filter(|path| path.exists());
    let from_cache = || {
        let cache = user_file::bytes(Path::new(CACHE), CACHE_MAX).ok()?;
        cache::paths(&cache, name.to_str()?).into_iter().map(PathBuf::from).find(|path| path.exists())
    };
    listed
        .into_iter()
        .find_map(in_folder)
        .or_else(from_cache)
        .or_else(|| FOLDERS.iter().map(PathBuf::from).find_map(in_folder))
}

/// Opening a pipe waits for ever, and that of a device may have effects.
fn is_regular(path: &Path) -> Result<(), String> {
    let place = path.display();
    let metadata = fs::metadata(path).map_err(|error| format!("{place}: {error}"))?;
    if metadata.is_file() { Ok(()) } else { Err(format!("{place}: not a regular file")) }
}

/// Whether nobody but root can change the file or replace it: it and each folder above it.
fn is_roots_alone(path: &Path) -> Result<(), String> {
    let whole = fs::canonicalize(path).map_err(|error| format!("{}: {error}", path.display()))?;
    for place in whole.ancestors() {
        let metadata = fs::metadata(place).map_err(|error| format!("{}: {error}", place.display()))?;
        if let Some(why) = others_may_write(&metadata) {
            return Err(format!("{}: {} {why}", path.display(), place.display()));
        }
    }
    Ok(())
}

fn others_may_write(metadata: &fs::Metadata) -> Option<String> {
    let (mode, owner, group) = (metadata.mode(), metadata.uid(), metadata.gid());
    if owner != 0 {
        Some(format!("belongs to user {owner}"))
    } else if mode & 0o002 != 0 {
        Some("can be written by everybody".to_owned())
    } else if mode & 0o020 != 0 && group != 0 {
        Some(format!("can be written by group {group}"))
    } else {
        None
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, process::Command};

    use super::*;

    #[test]
    fn the_c_library_is_found_by_its_name_and_is_roots_alone() {
        let path = locate(Path::new("libc.so.6")).expect("every program has it open");
        assert!(is_regular(&path).is_ok(), "{}", path.display());
        assert_eq!(is_roots_alone(&path), Ok(()));
        assert_eq!(locate(Path::new("libaccelscope-of-nobody.so.1")), None);
    }

    #[test]
    fn what_others_may_write_is_named_with_who_may() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("lib.so");
        fs::write(&file, "").expect("written");
        let refusal = |mode: u32| {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("set");
            others_may_write(&fs::metadata(&file).expect("there"))
        };
        if is_root() {
            assert_eq!(refusal(0o755), None);
            assert_eq!(refusal(0o775), None, "the group is root's");
            assert_eq!(refusal(0o757).as_deref(), Some("can be written by everybody"));
        } else {
            assert!(refusal(0o755).is_some_and(|why| why.starts_with("belongs to user")));
        }
        // The folder above a temporary one is everybody's.
        let why = is_roots_alone(&file).expect_err("/tmp");
        assert!(why.starts_with(&*file.to_string_lossy()), "{why}");
    }

    #[test]
    fn a_trial_that_failed_is_not_repeated_at_once() {
        static TRIALS: Mutex<u32> = Mutex::new(0);
        let trial: TryLibrary = |_| {
            *lock(&TRIALS) += 1;
            Err("the library crashed (SIGSEGV)".to_owned())
        };
        let given = locate(Path::new("libc.so.6")).expect("there");
        let library = LibraryPath::new("--library.x", Some(given.clone()), &[], Some(trial));
        for _ in 0..3 {
            let why = library.find().expect_err("it crashes");
            assert_eq!(why, format!("{}: the library crashed (SIGSEGV)", given.display()));
        }
        assert_eq!(*lock(&TRIALS), 1);
    }

    #[test]
    fn a_refused_library_says_more_than_a_missing_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe: &'static str = folder.path().join("pipe.so").to_string_lossy().into_owned().leak();
        assert!(Command::new("mkfifo").arg(pipe).status().expect("coreutils").success());
        let search: &'static [&'static str] = vec!["libnothing.so.1", pipe, "/nowhere/libx.so"].leak();
        let library = LibraryPath::new("--library.x", None, search, None);
        assert!(library.find().expect_err("none opens").ends_with("pipe.so: not a regular file"));
        let library = LibraryPath::new("--library.x", None, &["libnothing.so.1", "/nowhere/libx.so"], None);
        assert_eq!(library.find(), Err("libnothing.so.1: not found".to_owned()));
    }

    #[test]
    fn a_machine_shows_what_it_may_have() {
        let sysfs = tempfile::tempdir().expect("a folder");
        let needed = || may_be_needed(Family::Nvidia, &["nvidia"], sysfs.path());
        assert!(needed(), "no bus is not an empty bus");
        let function = sysfs.path().join("bus/pci/devices/0000:19:00.0");
        fs::create_dir_all(&function).expect("created");
        let show = |vendor: &str, class: &str| {
            fs::write(function.join("vendor"), vendor).expect("written");
            fs::write(function.join("class"), class).expect("written");
        };
        show("0x8086\n", "0x030200\n");
        assert!(!needed());
        show("0x10de\n", "0x068000\n");
        assert!(!needed(), "a switch");
        show("0x10de\n", "0x030200\n");
        assert!(needed());
        show("0x8086\n", "0x030200\n");
        fs::create_dir_all(sysfs.path().join("module/nvidia")).expect("created");
        assert!(needed());
    }
}
