//! What a process and those that it started hold of the machine, from /proc.

use std::{fs, io, ops::AddAssign};

use anyhow::{Context, Result};

/// Threads, descriptors and memory of a process and its descendants, together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Processes.
    pub processes: u64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors.
    pub descriptors: u64,
    /// Resident memory that no file backs (`RssAnon`), bytes.
    pub anonymous_bytes: u64,
    /// Resident memory of mapped files (`RssFile`), bytes.
    pub file_bytes: u64,
}

impl Footprint {
    /// Of the process `id` and of all that it started, directly or not. One that ends meanwhile does not count.
    ///
    /// # Errors
    /// When the process itself has ended.
    pub fn of(id: u32) -> Result<Self> {
        let (mut sum, mut children) = measure(id).with_context(|| format!("/proc/{id}"))?;
        while let Some(child) = children.pop() {
            if let Ok((own, further)) = measure(child) {
                sum += own;
                children.extend(further);
            }
        }
        Ok(sum)
    }

    /// Resident memory, bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.anonymous_bytes + self.file_bytes
    }
}

impl AddAssign for Footprint {
    fn add_assign(&mut self, other: Self) {
        self.processes += other.processes;
        self.threads += other.threads;
        self.descriptors += other.descriptors;
        self.anonymous_bytes += other.anonymous_bytes;
        self.file_bytes += other.file_bytes;
    }
}

/// One process, and its children.
fn measure(id: u32) -> io::Result<(Footprint, Vec<u32>)> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    // A process that has ended and was not waited for has no memory.
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{id}/task"))? {
        // A thread may end between the two.
        let text = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        children.extend(text.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
    }
    let own = Footprint {
        processes: 1,
        threads: field("Threads"),
        descriptors: fs::read_dir(format!("/proc/{id}/fd"))?.count() as u64,
        anonymous_bytes: field("RssAnon") << 10,
        file_bytes: field("RssFile") << 10,
    };
    Ok((own, children))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::Footprint;
    use crate::{Process, eventually};

    #[test]
    fn descendants_count_and_one_that_ended_does_not() {
        let own = Footprint::of(std::process::id()).unwrap();
        assert!(own.threads >= 1 && own.descriptors >= 3 && own.anonymous_bytes > 0 && own.file_bytes > 0);
        let mut command = Command::new("sh");
        let mut shell = Process::spawn("sh", command.args(["-c", "sh -c 'sleep 60; true' & wait"])).unwrap();
        shell.quiet();
        eventually("a shell, its shell and that one's program", || {
            let all = Footprint::of(shell.id())?;
            anyhow::ensure!(all.processes == 3 && all.threads == 3, "{all:?}");
            Ok(())
        })
        .unwrap();
    }
}
