//! The machine as the kernel shows it: a tree of small files, kept up to date below a root.
//!
//! The files of a moment are a function of machine and time, like everything here; [`Tree`] writes those that
//! changed. Each file is replaced whole, so a reader sees the old text or the new one, as in sysfs.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::conditions::Effect;
use crate::control::Garbage;

/// `EIO`: the file is there and every read of it fails.
const READ_FAILS: u32 = 5;
/// A file whose first byte no process can read: reading it fails with `EIO`, for root too.
const UNREADABLE: &str = "/proc/self/mem";

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    File(Vec<u8>),
    Link(PathBuf),
}

/// The files of one moment, by path below the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files(BTreeMap<String, Content>);

/// The folder below the root that no kernel has. It marks the files as simulated, and holds what a real
/// machine has in system calls instead of files.
pub const SIMULATED: &str = "accelsim";

impl Files {
    /// The files of a simulated machine, which name it.
    pub fn of_machine(name: &str) -> Self {
        let mut files = Self::default();
        files.put(format!("{SIMULATED}/machine"), name);
        files
    }

    /// A text file: the value and a line break, as the kernel writes.
    pub fn put(&mut self, path: impl Into<String>, value: impl Display) {
        self.bytes(path, format!("{value}\n").into_bytes());
    }

    /// A binary file.
    pub fn bytes(&mut self, path: impl Into<String>, content: Vec<u8>) {
        self.0.insert(path.into(), Content::File(content));
    }

    /// A symbolic link; `target` is relative to the link's folder.
    pub fn link(&mut self, path: impl Into<String>, target: impl Into<PathBuf>) {
        self.0.insert(path.into(), Content::Link(target.into()));
    }

    /// Applies faults to the files that they name: `effect` returns what a file of this name meets. An error removes
    /// the file, or with `EIO` makes every read of it fail; garbage makes it empty (`blank`), a hot temperature
    /// (`hot`) or no number (`nan`). Links, and what only a simulated machine has, stay as they are.
    pub fn afflict(&mut self, effect: impl Fn(&str) -> Option<Effect>) {
        self.0.retain(|path, content| {
            let name = path.rsplit('/').next().unwrap_or_default();
            if matches!(content, Content::Link(_)) || path.starts_with(SIMULATED) {
                return true;
            }
            match effect(name) {
                Some(Effect::Error(READ_FAILS)) => *content = Content::Link(UNREADABLE.into()),
                Some(Effect::Error(_)) => return false,
                Some(Effect::Garbage(Garbage::Blank)) => *content = Content::File(Vec::new()),
                Some(Effect::Garbage(Garbage::Hot)) => *content = Content::File(b"255000\n".to_vec()),
                Some(Effect::Garbage(Garbage::Nan)) => {
                    *content = Content::File(b"\x1bnot a number\n".to_vec());
                }
                _ => {}
            }
            true
        });
    }

    /// Adds the files of another part of the machine.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

/// A tree below a root, as it was last written.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    /// Where files are written before they are moved to their place.
    staging: PathBuf,
    written: Files,
}

impl Tree {
    /// An empty tree. Files that lie below `root` already are left alone.
    ///
    /// # Errors
    /// When `root` cannot be created.
    pub fn new(root: &Path) -> io::Result<Self> {
        let staging = root.join(".staging");
        fs::create_dir_all(&staging)?;
        Ok(Self { root: root.to_owned(), staging, written: Files::default() })
    }

    /// Makes the tree show `files`: writes what is new or different, removes what is gone.
    ///
    /// # Errors
    /// The first file that cannot be written; those before it are.
    pub fn show(&mut self, files: Files) -> io::Result<()> {
        for path in self.written.0.keys().filter(|path| !files.0.contains_key(*path)) {
            fs::remove_file(self.root.join(path))?;
        }
        // Folders that are left empty go, as a device's do when it is removed.
        for path in self.written.0.keys().filter(|path| !files.0.contains_key(*path)) {
            let folders = Path::new(path).ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
            for folder in folders {
                if fs::remove_dir(self.root.join(folder)).is_err() {
                    break;
                }
            }
        }
        for (path, content) in &files.0 {
            if self.written.0.get(path) != Some(content) {
                self.write(path, content)?;
            }
        }
        self.written = files;
        Ok(())
    }

    fn write(&self, path: &str, content: &Content) -> io::Result<()> {
        let place = self.root.join(path);
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder)?;
        }
        let staged = self.staging.join("file");
        match content {
            Content::File(bytes) => fs::write(&staged, bytes)?,
            Content::Link(target) => std::os::unix::fs::symlink(target, &staged)?,
        }
        fs::rename(&staged, place)
    }
}

/// Keeps a tree up to date on a thread of its own, until it is dropped.
#[derive(Debug)]
pub struct Updater {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Updater {
    /// Writes the tree once before it returns, then every `period`.
    ///
    /// # Errors
    /// When the first tree cannot be written. Later failures are one line on standard error each.
    pub fn start(
        root: &Path,
        period: Duration,
        mut files: impl FnMut() -> Files + Send + 'static,
    ) -> io::Result<Self> {
        let mut tree = Tree::new(root)?;
        tree.show(files())?;
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = tree.show(files()) {
                    eprintln!("accelsim: {}: {error}", tree.root.display());
                }
            }
        });
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Updater {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was printed there; there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::{Duration, Instant};

    use super::{Files, Tree, Updater};
    use crate::conditions::Effect;
    use crate::control::Garbage;

    #[test]
    fn the_tree_shows_what_it_is_told_and_no_more() {
        let root = tempfile::tempdir().expect("a folder");
        let mut tree = Tree::new(root.path()).expect("created");
        let mut files = Files::default();
        files.put("devices/a/energy", 7);
        files.bytes("devices/a/telem", vec![0, 1]);
        files.put("devices/b/power", "active");
        files.link("class/b", "../devices/b");
        tree.show(files.clone()).expect("written");
        let read = |path: &str| fs::read_to_string(root.path().join(path)).ok();
        assert_eq!(read("devices/a/energy").as_deref(), Some("7\n"));
        assert_eq!(read("class/b/power").as_deref(), Some("active\n"));

        let written =
            fs::metadata(root.path().join("class/b/power")).expect("there").modified().expect("known");
        let mut fewer = Files::default();
        fewer.put("devices/b/power", "active");
        fewer.put("devices/b/busy", 1);
        tree.show(fewer).expect("written");
        assert_eq!(read("devices/b/busy").as_deref(), Some("1\n"));
        assert!(!root.path().join("devices/a").exists() && !root.path().join("class").exists());
        let now =
            fs::metadata(root.path().join("devices/b/power")).expect("there").modified().expect("known");
        assert_eq!(now, written, "what did not change is not written");
    }

    #[test]
    fn a_fault_affects_the_files_that_it_names() {
        let root = tempfile::tempdir().expect("a folder");
        let mut files = Files::of_machine("a");
        for name in ["gone", "failing", "empty", "text", "hot", "whole"] {
            files.put(format!("d/{name}"), 7);
        }
        files.link("d/link", "whole");
        files.afflict(|name| match name {
            "gone" | "machine" | "link" => Some(Effect::Error(2)),
            "failing" => Some(Effect::Error(5)),
            "empty" => Some(Effect::Garbage(Garbage::Blank)),
            "text" => Some(Effect::Garbage(Garbage::Nan)),
            "hot" => Some(Effect::Garbage(Garbage::Hot)),
            _ => None,
        });
        Tree::new(root.path()).expect("created").show(files).expect("written");
        let read = |name: &str| fs::read_to_string(root.path().join(name)).map_err(|e| e.raw_os_error());
        assert_eq!(read("d/gone"), Err(Some(2)));
        assert_eq!(read("d/failing"), Err(Some(5)));
        assert_eq!(read("d/empty").as_deref(), Ok(""));
        assert_eq!(read("d/text").as_deref(), Ok("\u{1b}not a number\n"));
        assert_eq!(read("d/hot").as_deref(), Ok("255000\n"));
        assert_eq!(read("d/link").as_deref(), Ok("7\n"));
        assert_eq!(read("accelsim/machine").as_deref(), Ok("a\n"));
    }

    #[test]
    fn the_updater_goes_on_until_it_is_dropped() {
        let root = tempfile::tempdir().expect("a folder");
        let count = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&count);
        let updater = Updater::start(root.path(), Duration::from_millis(1), move || {
            let mut files = Files::default();
            files.put("count", counted.fetch_add(1, Ordering::Relaxed));
            files
        });
        let updater = updater.expect("written");
        let begin = Instant::now();
        while count.load(Ordering::Relaxed) < 3 {
            assert!(begin.elapsed() < Duration::from_secs(30), "it stands still");
            std::thread::yield_now();
        }
        drop(updater);
        let last = count.load(Ordering::Relaxed);
        assert_eq!(fs::read_to_string(root.path().join("count")).expect("there"), format!("{}\n", last - 1));
    }
}
