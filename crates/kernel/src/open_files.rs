//! Which processes have a device open: the open device nodes of the machine, found by a walk over every process.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use reading::{Fault, FaultCode, Measured};
use rustix::{
    fs::{AtFlags, CWD, FileType, StatxFlags, makedev, statx},
    time::{ClockId, clock_gettime},
};

use crate::{
    file::{self, File},
    processes,
};

/// Shortest and longest time between two walks. A new client is found that much later.
const WALK_INTERVAL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(1));
/// After how many times its own CPU time a walk is repeated: with fifty thousand open files it takes a quarter of a
/// second, and should cost at most a hundredth of a core. How long it took by the clock says what else the machine
/// did.
const WALK_PERIOD_FACTOR: u32 = 100;

/// The device number of a node, from its folder's `dev`: `226:128`.
///
/// # Errors
/// That of the file.
pub fn device_number(folder: &Path) -> Measured<u64> {
    let parse = |text: &str| {
        let (major, minor) = text.split_once(':')?;
        Some(makedev(major.parse().ok()?, minor.parse().ok()?))
    };
    File::new(folder, "dev").parse(parse)
}

/// The device number of the character device behind a path; `None` for any other file. A file of a server that
/// does not respond is reported as it was last known, which the standard library cannot ask for.
fn character_device(path: &Path) -> io::Result<Option<u64>> {
    let status = statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE)?;
    let is_character_device = FileType::from_raw_mode(status.stx_mode.into()) == FileType::CharacterDevice;
    Ok(is_character_device.then(|| makedev(status.stx_rdev_major, status.stx_rdev_minor)))
}

/// The open device nodes of the machine, found by one walk for all its devices.
#[derive(Debug)]
pub struct OpenFiles {
    procfs: PathBuf,
    /// What faults are named after.
    call: &'static str,
    last: Mutex<Option<Arc<Walk>>>,
}

/// What one walk found.
#[derive(Debug)]
pub struct Walk {
    /// When the next walk is due.
    next: Instant,
    /// Whether every process was visible.
    pub complete: Measured<()>,
    files: Vec<OpenFile>,
}

impl Walk {
    /// The open files of the nodes with these device numbers.
    pub fn on(&self, nodes: &[u64]) -> impl Iterator<Item = &OpenFile> {
        self.files.iter().filter(|file| nodes.contains(&file.node))
    }
}

/// One open device node.
#[derive(Debug)]
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
    /// The open file behind an entry of a process's `fd` folder, if it is a device. A container can have the
    /// node under any name.
    ///
    /// # Errors
    /// When that cannot be known.
    fn behind(process: u32, folder: &Path, link: &fs::DirEntry) -> io::Result<Option<Self>> {
        let (name, link) = (link.file_name(), link.path());
        fs::read_link(&link).and_then(|target| {
            // Sockets and pipes have no path. What a server of files says is not waited for.
            if !target.as_os_str().as_bytes().contains(&b'/') {
                return Ok(None);
            }
            let node = character_device(&link)?;
            Ok(node.map(|node| Self {
                process,
                node,
                link,
                target,
                fdinfo: folder.join("fdinfo").join(name),
            }))
        })
    }

    /// Whether it was closed since it was found, or its process has ended.
    pub fn is_closed(&self) -> bool {
        match fs::read_link(&self.link) {
            Ok(target) => target != self.target,
            Err(error) => processes::is_gone(&error),
        }
    }
}

/// The CPU time of this thread so far.
fn cpu_time() -> Duration {
    // The kernel has this clock for every thread, and it does not run backwards.
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// The time from the beginning of one walk to that of the next, by the CPU time that it took.
fn period(walk: Duration) -> Duration {
    (walk * WALK_PERIOD_FACTOR).clamp(WALK_INTERVAL.0, WALK_INTERVAL.1)
}

impl OpenFiles {
    /// The files of the processes below `procfs`; `call` is named in faults.
    pub fn new(procfs: &Path, call: &'static str) -> Self {
        Self { procfs: procfs.to_owned(), call, last: Mutex::new(None) }
    }

    /// Where the processes are.
    pub fn procfs(&self) -> &Path {
        &self.procfs
    }

    /// The last walk, or a new one where that is due. It is shared: the files of many clients, copied in each round
    /// of each card, would scatter over the heap.
    pub fn walked(&self, now: Instant) -> Arc<Walk> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(walk) = last.as_ref().filter(|walk| now < walk.next) {
            return Arc::clone(walk);
        }
        let begun = cpu_time();
        let mut files = Vec::new();
        let complete = self.walk(&mut files);
        let next = now + period(cpu_time().saturating_sub(begun));
        Arc::clone(last.insert(Arc::new(Walk { next, complete, files })))
    }

    /// What an error about a process means for what is known of its files: nothing is missing of one that has
    /// ended meanwhile.
    fn hidden<T: Default>(&self, error: &io::Error) -> Measured<T> {
        match error.kind() {
            _ if processes::is_gone(error) => Ok(T::default()),
            ErrorKind::PermissionDenied => Err(Fault::new(self.call, FaultCode::NeedsPtrace)),
            _ => Err(file::fault(self.call, error)),
        }
    }

    /// Finds the open devices of every process. What is found is not all of it if that fails.
    fn walk(&self, files: &mut Vec<OpenFile>) -> Measured<()> {
        processes::all_listed(&self.procfs, self.call)?;
        // A vendor's library, in this process or in one that it started, has the nodes open too, and is not a client.
        let own = fs::read_link(self.procfs.join("self")).ok();
        let own = own.and_then(|own| own.to_str()?.parse::<u32>().ok());
        let listed = fs::read_dir(&self.procfs).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        for entry in listed.map_err(|error| file::fault(self.call, &error))? {
            let process = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let Some(process) = process.filter(|process| own != Some(*process)) else { continue };
            let folder = entry.path();
            let open = fs::read_dir(folder.join("fd")).and_then(Iterator::collect::<io::Result<Vec<_>>>);
            let mut devices = Vec::new();
            for link in open.or_else(|error| self.hidden(&error))? {
                let found = OpenFile::behind(process, &folder, &link);
                devices.extend(found.or_else(|error| self.hidden(&error))?);
            }
            if !devices.is_empty() && (own.is_none() || parent(&folder) != own) {
                files.append(&mut devices);
            }
        }
        Ok(())
    }
}

/// The process that started the one with this folder (proc_pid_stat(5), ppid).
fn parent(folder: &Path) -> Option<u32> {
    let stat = File::new(folder, "stat").text().ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn devices_have_a_number_and_other_files_have_none() {
        assert_eq!(character_device("/dev/null".as_ref()).expect("there"), Some(makedev(1, 3)));
        assert_eq!(character_device("/proc/self/stat".as_ref()).expect("there"), None);
        assert_eq!(character_device("/nowhere".as_ref()).expect_err("not there").kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_process_has_a_parent() {
        assert_eq!(parent("/proc/self".as_ref()), Some(std::os::unix::process::parent_id()));
    }

    #[test]
    fn waiting_costs_no_cpu_time() {
        let until = cpu_time() + Duration::from_millis(100);
        thread::sleep(Duration::from_millis(200));
        assert!(cpu_time() < until);
        while cpu_time() < until {}
    }

    #[test]
    fn the_longer_a_walk_takes_the_rarer_it_is() {
        let millis = Duration::from_millis;
        for (walk, next) in [(0, 5_000), (50, 5_000), (260, 26_000), (3_600_000, 60_000)] {
            assert_eq!(period(millis(walk)), millis(next), "{walk} ms");
        }
    }
}
