//! When a board is not read: one that runtime power management has suspended is not woken, and an idle one is left
//! alone for long enough that it can be suspended.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use kernel::{File, pci::Function};
use reading::Measured;
use source::{IdleBackoff, lock};

/// How long NVIDIA's driver watches a board before it lets the kernel suspend it: two checks, five seconds apart,
/// and 200 ms in which what was queued ends (open-gpu-kernel-modules, `dynamic-power.c`). The kernel's own delay
/// is not used.
const DRIVERS_DELAY: Duration = Duration::from_millis(10_200);

/// The boards that are not called now, by key. Their session does not call them either: it lists what it knows.
#[derive(Clone, Debug, Default)]
pub struct Resting(Arc<Mutex<HashSet<String>>>);

impl Resting {
    /// Whether the board is not called now.
    pub fn contains(&self, key: &str) -> bool {
        lock(&self.0).contains(key)
    }

    fn set(&self, key: &str, is_resting: bool) {
        let mut keys = lock(&self.0);
        if is_resting {
            keys.insert(key.to_owned());
        } else {
            keys.remove(key);
        }
    }
}

/// Roots of the host's file systems.
#[derive(Clone, Debug)]
pub struct Roots {
    /// sysfs.
    pub sysfs: PathBuf,
    /// procfs.
    pub procfs: PathBuf,
}

/// What may be done with a board now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It is read.
    Read,
    /// It is idle and left alone.
    LeaveAlone,
    /// It sleeps.
    Asleep,
}

/// The power state of one board, and whether it is read.
pub struct RuntimePower {
    function: Function,
    /// The driver's own word on the board's runtime power management.
    status: File,
    key: String,
    resting: Resting,
    backoff: IdleBackoff,
}

impl RuntimePower {
    /// Of the board at a PCI address, as sysfs writes it.
    pub fn new(roots: &Roots, address: &str, key: &str, resting: Resting) -> Self {
        Self {
            function: Function::at(&roots.sysfs, address),
            status: File::new(&roots.procfs.join("driver/nvidia/gpus").join(address), "power"),
            key: key.to_owned(),
            resting,
            backoff: IdleBackoff::default(),
        }
    }

    /// Whether the board sleeps, as the kernel reports it, and what may be done with it. A board whose power
    /// state cannot be read is read.
    pub fn access(&mut self, now: Instant) -> (Measured<bool>, Access) {
        let asleep = self.function.is_asleep();
        let access = if asleep == Ok(true) {
            self.backoff.suspended();
            Access::Asleep
        } else if self.backoff.may_read(now) {
            Access::Read
        } else {
            Access::LeaveAlone
        };
        self.resting.set(&self.key, access != Access::Read);
        (asleep, access)
    }

    /// A round was read, in which the board did nothing since the last one, or something.
    pub fn round_read(&mut self, now: Instant, is_idle: bool) {
        if is_idle {
            let delay = self.function.autosuspend_delay(Some(DRIVERS_DELAY));
            self.backoff.round_read(now, delay.filter(|_| self.driver_suspends()), is_idle);
        }
    }

    /// Whether the driver suspends the board at all: most do not, whatever the kernel is allowed to do
    /// (NVIDIA's README, chapter "PCI-Express Runtime D3 (RTD3) Power Management"). Drivers without the file are
    /// assumed to.
    fn driver_suspends(&self) -> bool {
        let status = self.status.text();
        let line = status.as_deref().ok().and_then(|text| {
            text.lines().find_map(|line| line.strip_prefix("Runtime D3 status:").map(str::trim))
        });
        line.is_none_or(|status| status.starts_with("Enabled"))
    }
}

impl Drop for RuntimePower {
    fn drop(&mut self) {
        self.resting.set(&self.key, false);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::Path,
        time::{Duration, Instant},
    };

    use super::{Access, DRIVERS_DELAY, Resting, Roots, RuntimePower};

    const ADDRESS: &str = "0000:1a:00.0";

    fn put(root: &Path, name: &str, text: &str) {
        let path = root.join("bus/pci/devices").join(ADDRESS).join("power").join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(path, format!("{text}\n")).expect("written");
    }

    fn power(root: &Path, resting: &Resting) -> RuntimePower {
        let roots = Roots { sysfs: root.to_owned(), procfs: root.join("proc") };
        RuntimePower::new(&roots, ADDRESS, "GPU-1", resting.clone())
    }

    #[test]
    fn a_suspended_board_rests_and_one_that_resumes_does_not() {
        let root = tempfile::tempdir().expect("a folder");
        let resting = Resting::default();
        let mut board = power(root.path(), &resting);
        let now = Instant::now();
        assert_eq!(board.access(now).1, Access::Read, "nothing is known of its power");
        for (status, access) in [("suspended", Access::Asleep), ("active", Access::Read)] {
            put(root.path(), "runtime_status", status);
            assert_eq!(board.access(now), (Ok(access == Access::Asleep), access));
            assert_eq!(resting.contains("GPU-1"), access == Access::Asleep);
        }
        put(root.path(), "runtime_status", "suspended");
        assert_eq!(board.access(now).1, Access::Asleep);
        drop(board);
        assert!(!resting.contains("GPU-1"), "nobody watches it any more");
    }

    #[test]
    fn an_idle_board_is_left_alone_where_it_can_be_suspended() {
        let root = tempfile::tempdir().expect("a folder");
        let proc = root.path().join("proc/driver/nvidia/gpus").join(ADDRESS);
        fs::create_dir_all(&proc).expect("created");
        put(root.path(), "runtime_status", "active");
        let now = Instant::now();
        let later = now + DRIVERS_DELAY;
        for (control, status, is_idle, access) in [
            ("auto", None, true, Access::LeaveAlone),
            ("auto", Some("Enabled (fine-grained)"), true, Access::LeaveAlone),
            ("auto", Some("Enabled (fine-grained)"), false, Access::Read),
            ("auto", Some("Disabled by default"), true, Access::Read),
            ("auto", Some("Not supported"), true, Access::Read),
            ("on", Some("Enabled (fine-grained)"), true, Access::Read),
        ] {
            put(root.path(), "control", control);
            match status {
                Some(status) => fs::write(
                    proc.join("power"),
                    format!("Runtime D3 status:          {status}\nVideo Memory:               Active\n"),
                )
                .expect("written"),
                None => assert!(!proc.join("power").exists()),
            }
            let resting = Resting::default();
            let mut board = power(root.path(), &resting);
            board.round_read(now, is_idle);
            assert_eq!(board.access(later).1, access, "{control} {status:?} {is_idle}");
            assert_eq!(resting.contains("GPU-1"), access != Access::Read);
            assert_eq!(board.access(later + Duration::from_secs(2)).1, Access::Read, "it did not suspend");
        }
    }

    #[test]
    fn the_kernels_delay_counts_where_the_driver_leaves_it_to_the_kernel() {
        let root = tempfile::tempdir().expect("a folder");
        for (name, text) in
            [("runtime_status", "active"), ("control", "auto"), ("autosuspend_delay_ms", "500")]
        {
            put(root.path(), name, text);
        }
        let mut board = power(root.path(), &Resting::default());
        let now = Instant::now();
        board.round_read(now, true);
        assert_eq!(board.access(now + Duration::from_millis(1900)).1, Access::LeaveAlone);
        assert_eq!(board.access(now + Duration::from_millis(2100)).1, Access::Read);
    }
}
