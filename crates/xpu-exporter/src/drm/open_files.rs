//! Which processes have a GPU open: the open files of the DRM class, found by a walk over every process.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use kernel::{File, entries};
use reading::{Fault, FaultCode, Measured};

use super::fdinfo::FDINFO;

/// Shortest and longest time between two walks. A new client is found that much later.
const WALK_INTERVAL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(1));
/// After how many times its own duration a walk is repeated: with fifty thousand open files it takes a
/// quarter of a second, and should cost at most a hundredth of a core.
const WALK_PERIOD_FACTOR: u32 = 100;

/// The open DRM files of the machine, found by one walk for all its cards.
#[derive(Debug)]
pub struct OpenFiles {
    procfs: PathBuf,
    last: Mutex<Option<Walk>>,
}

#[derive(Debug)]
struct Walk {
    /// When the next walk is due.
    next: Instant,
    complete: Measured<()>,
    files: Vec<OpenFile>,
}

/// One open DRM file.
#[derive(Clone, Debug)]
pub struct OpenFile {
    /// The process that has it open.
    pub process: u32,
    /// The device number of its node. A name can be given to any file, and a container can have the node under
    /// another one.
    node: u64,
    /// `fd/<n>` of its process.
    link: PathBuf,
    /// What the link leads to.
    target: PathBuf,
    /// Its text in procfs.
    pub fdinfo: PathBuf,
}

impl OpenFile {
    /// The open file behind an entry of a process's `fd` folder, if it is a device and may be one of the DRM
    /// class.
    fn behind(process: u32, folder: &Path, link: &fs::DirEntry) -> Option<Self> {
        let (name, link) = (link.file_name(), link.path());
        let target = fs::read_link(&link).ok()?;
        // Spares the others a call each.
        target.parent().filter(|parent| parent.ends_with("dri"))?;
        // The kernel returns the open file's own, whatever its path leads to for this process.
        let node = fs::metadata(&link).ok().filter(|node| node.file_type().is_char_device())?.rdev();
        Some(Self { process, node, link, target, fdinfo: folder.join(FDINFO).join(name) })
    }

    /// Whether it was closed since it was found, or its process has ended.
    pub fn is_closed(&self) -> bool {
        match fs::read_link(&self.link) {
            Ok(target) => target != self.target,
            Err(error) => error.kind() != ErrorKind::PermissionDenied,
        }
    }
}

/// The time from the beginning of one walk to that of the next, by how long it took.
fn period(walk: Duration) -> Duration {
    (walk * WALK_PERIOD_FACTOR).clamp(WALK_INTERVAL.0, WALK_INTERVAL.1)
}

impl OpenFiles {
    /// The files of the processes below `procfs`.
    pub fn new(procfs: &Path) -> Self {
        Self { procfs: procfs.to_owned(), last: Mutex::new(None) }
    }

    /// The open files of the nodes with these device numbers, and whether every process is visible.
    pub fn on(&self, nodes: &[u64], now: Instant) -> (Measured<()>, Vec<OpenFile>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_none_or(|walk| now >= walk.next) {
            let begun = Instant::now();
            let (complete, files) = self.walk();
            *last = Some(Walk { next: now + period(begun.elapsed()), complete, files });
        }
        let walk = last.as_ref().expect("walked above");
        let on_nodes = walk.files.iter().filter(|file| nodes.contains(&file.node));
        (walk.complete, on_nodes.cloned().collect())
    }

    fn walk(&self) -> (Measured<()>, Vec<OpenFile>) {
        let mut files = Vec::new();
        if let Err(fault) = shows_the_host(&self.procfs, FDINFO) {
            return (Err(fault), files);
        }
        // Level Zero's driver, in this process or in one that it started, has the nodes open too, and is not
        // a client.
        let own = fs::read_link(self.procfs.join("self")).ok();
        let own = own.and_then(|own| own.to_str()?.parse::<u32>().ok());
        let mut complete = Ok(());
        for process in entries(&self.procfs).iter().filter_map(|name| name.parse::<u32>().ok()) {
            if own == Some(process) {
                continue;
            }
            let folder = self.procfs.join(process.to_string());
            match fs::read_dir(folder.join("fd")) {
                Ok(open) => {
                    let open = open.flatten().filter_map(|link| OpenFile::behind(process, &folder, &link));
                    let mut open = open.peekable();
                    if open.peek().is_some() && (own.is_none() || parent(&folder) != own) {
                        files.extend(open);
                    }
                }
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    complete = Err(Fault::new(FDINFO, FaultCode::NeedsPtrace));
                }
                // The process ended meanwhile.
                Err(_) => {}
            }
        }
        (complete, files)
    }
}

/// Whether the processes below `procfs` are all of the host's.
///
/// # Errors
/// The reason why they are not, as a fault of `call`.
pub fn shows_the_host(procfs: &Path, call: &'static str) -> Measured<()> {
    // The kernel's own thread kthreadd is process 2 in the host's PID namespace and in no other.
    match File::new(procfs, "2/comm").text().as_deref() {
        Ok("kthreadd") => Ok(()),
        _ => Err(Fault::new(call, FaultCode::NeedsHostPidNamespace)),
    }
}

/// The process that started the one with this folder (proc_pid_stat(5), ppid).
fn parent(folder: &Path) -> Option<u32> {
    let stat = File::new(folder, "stat").text().ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Duration, parent, period};

    #[test]
    fn a_process_has_a_parent() {
        assert_eq!(parent("/proc/self".as_ref()), Some(std::os::unix::process::parent_id()));
    }

    #[test]
    fn the_longer_a_walk_takes_the_rarer_it_is() {
        let millis = Duration::from_millis;
        for (walk, next) in [(0, 5_000), (50, 5_000), (260, 26_000), (3_600_000, 60_000)] {
            assert_eq!(period(millis(walk)), millis(next), "{walk} ms");
        }
    }
}
