//! Real processes in real control groups.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};

use crate::eventually;

/// Where a hierarchy that a test may change can be: version 2, beside version 1, and version 1.
const HIERARCHIES: [&str; 3] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/devices"];

/// A process in a control group of its own, which ends with it.
pub struct Grouped {
    process: Child,
    hierarchy: PathBuf,
    folder: PathBuf,
}

impl Grouped {
    /// Starts a process that only waits, in the group at this path below one of the test's own: tests run at the same time,
    /// and a group that two share is empty for neither.
    ///
    /// # Errors
    /// When this process may not make groups, as without root.
    pub fn start(path: &str) -> Result<Self> {
        Self::with_open(path, Stdio::null())
    }

    /// The same with this as its standard input.
    ///
    /// # Errors
    /// As [`Grouped::start`].
    pub fn with_open(path: &str, input: impl Into<Stdio>) -> Result<Self> {
        let hierarchies = HIERARCHIES.map(PathBuf::from);
        let path = Path::new(&format!("accelscope-test-{}", std::process::id())).join(path);
        let made = hierarchies.into_iter().find_map(|hierarchy| {
            let folder = hierarchy.join(&path);
            hierarchy.join("cgroup.procs").exists().then_some(())?;
            fs::create_dir_all(&folder).ok().map(|()| (hierarchy, folder))
        });
        let (hierarchy, folder) = made.context("no hierarchy of control groups can be changed")?;
        // Hundreds of them may run, so none has a pipe and threads that read it.
        let mut sleep = Command::new("sleep");
        sleep.arg("3600").stdin(input).stdout(Stdio::null()).stderr(Stdio::null());
        let grouped = Self { process: sleep.spawn().context("sleep")?, hierarchy, folder };
        fs::write(grouped.folder.join("cgroup.procs"), grouped.id().to_string())
            .with_context(|| format!("{}", grouped.folder.display()))?;
        Ok(grouped)
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Grouped {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        // A group can be removed once the kernel has taken the process out of it; one that others share stays.
        let is_ours = |folder: &&Path| folder.starts_with(&self.hierarchy) && **folder != *self.hierarchy;
        for folder in self.folder.ancestors().take_while(is_ours) {
            let _ = eventually("the group is empty", || {
                let empty = fs::read_to_string(folder.join("cgroup.procs"))?.is_empty();
                empty.then_some(()).context("it is not")
            });
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
}
