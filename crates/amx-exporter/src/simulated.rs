//! CPUID and perf events of a simulated machine. On hardware both are instructions or system calls, which a
//! root folder given by `--path.sysfs` cannot replace.
//!
//! The folder holds `cpuid` (lines of leaf, sub-leaf and four registers, all in hexadecimal) and one file
//! `cpu<N>` per CPU: a first line with the nanoseconds enabled and running, then one line per event with its
//! PMU, config and count. A file that reads `error 13` makes every call about its CPU fail with that errno.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use kernel::{perf::Counts, pmu::Event};
use rustix::io::Errno;

use crate::{
    cpu::Cpu,
    perf::{Group, Perf},
};

/// The processor that `cpuid` describes.
///
/// # Errors
/// When the file cannot be read or is not as documented.
pub fn cpu(folder: &Path) -> io::Result<Cpu> {
    let mut leaves = HashMap::new();
    for line in fs::read_to_string(folder.join("cpuid"))?.lines() {
        let words = line.split_whitespace().map(|word| u32::from_str_radix(word, 16).ok());
        let words: Option<Vec<u32>> = words.collect();
        let Some(&[leaf, subleaf, a, b, c, d]) = words.as_deref() else {
            return Err(malformed(folder, "cpuid"));
        };
        leaves.insert((leaf, subleaf), [a, b, c, d]);
    }
    Ok(Cpu::decode(|leaf, subleaf| leaves.get(&(leaf, subleaf)).copied().unwrap_or_default()))
}

/// The perf events below a folder.
pub struct Counters(pub PathBuf);

/// Events of one CPU.
struct SimulatedGroup {
    folder: PathBuf,
    cpu: u32,
    events: Vec<Event>,
}

impl Perf for Counters {
    fn open(&self, events: &[Event], cpu: u32) -> io::Result<Box<dyn Group>> {
        let group = SimulatedGroup { folder: self.0.clone(), cpu, events: events.to_vec() };
        let (_, counts) = group.file()?;
        if events.iter().any(|event| !counts.contains_key(event)) {
            return Err(Errno::NOENT.into());
        }
        Ok(Box::new(group))
    }
}

impl Group for SimulatedGroup {
    fn read(&mut self) -> io::Result<Counts> {
        // An event whose CPU went offline reads as nothing.
        let ended = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let ([enabled, running], counts) =
            self.file().map_err(|error| match Errno::from_io_error(&error) {
                Some(Errno::NODEV) => ended(),
                _ => error,
            })?;
        let values: Option<_> = self.events.iter().map(|event| counts.get(event).copied()).collect();
        Ok(Counts { enabled, running, values: values.ok_or_else(ended)? })
    }
}

impl SimulatedGroup {
    /// Both times and the counters of the CPU now; a CPU without a file is offline.
    fn file(&self) -> io::Result<([u64; 2], HashMap<Event, u64>)> {
        let name = format!("cpu{}", self.cpu);
        let text = fs::read_to_string(self.folder.join(&name)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Errno::NODEV.into(),
            _ => error,
        })?;
        if let Some(Ok(errno)) = text.trim_end().strip_prefix("error ").map(str::parse) {
            return Err(io::Error::from_raw_os_error(errno));
        }
        parse(&text).ok_or_else(|| malformed(&self.folder, &name))
    }
}

fn parse(text: &str) -> Option<([u64; 2], HashMap<Event, u64>)> {
    let mut lines = text.lines();
    let (enabled, running) = lines.next()?.split_once(' ')?;
    let mut counts = HashMap::new();
    for line in lines {
        let mut words = line.split(' ');
        let event = Event {
            pmu: words.next()?.parse().ok()?,
            config: u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?,
        };
        counts.insert(event, words.next()?.parse().ok()?);
    }
    Some(([enabled.parse().ok()?, running.parse().ok()?], counts))
}

fn malformed(folder: &Path, name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: not as documented", folder.join(name).display()))
}
