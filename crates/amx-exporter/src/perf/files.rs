//! Counters from files: how a simulated machine answers CPUID and perf events.
//!
//! Below the root lie `cpuid` (lines of leaf, sub-leaf and four registers, all in
//! hexadecimal) and one file `cpu<N>` per CPU: a first line with the nanoseconds enabled and running, then
//! one line per event with its PMU, config and count. A file that reads `error 13` makes every call about its CPU
//! fail with that error number.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::io::Errno;

use super::{Counts, Descriptor, Event, Perf};
use crate::cpu::Registers;

/// perf events and CPUID below a folder.
pub struct Files {
    root: PathBuf,
    cpuid: HashMap<(u32, u32), Registers>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    /// Groups by the descriptor of their leader: the CPU and the events in order.
    groups: HashMap<Descriptor, (u32, Vec<Event>)>,
    next: i32,
}

/// One `cpu<N>`.
struct CpuFile {
    enabled: u64,
    running: u64,
    counts: HashMap<Event, u64>,
}

impl Files {
    /// Reads what does not change.
    ///
    /// # Errors
    /// When `cpuid` cannot be read or understood.
    pub fn new(root: &Path) -> io::Result<Self> {
        let mut cpuid = HashMap::new();
        for line in fs::read_to_string(root.join("cpuid"))?.lines() {
            let words: Option<Vec<u32>> =
                line.split_whitespace().map(|word| u32::from_str_radix(word, 16).ok()).collect();
            let Some([leaf, subleaf, registers @ ..]) = words.as_deref() else {
                return Err(malformed(root, "cpuid"));
            };
            let registers = Registers::try_from(registers).map_err(|_| malformed(root, "cpuid"))?;
            cpuid.insert((*leaf, *subleaf), registers);
        }
        Ok(Self { root: root.to_owned(), cpuid, open: Mutex::default() })
    }

    fn open_groups(&self) -> MutexGuard<'_, Open> {
        // Changed in single steps, so it is whole even after a panic.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counters of a CPU now; a CPU without a file is offline.
    fn cpu(&self, cpu: u32) -> io::Result<CpuFile> {
        let name = format!("cpu{cpu}");
        let text = fs::read_to_string(self.root.join(&name)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Errno::NODEV.into(),
            _ => error,
        })?;
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        if let Some(Ok(code)) = first.strip_prefix("error ").map(str::parse) {
            return Err(io::Error::from_raw_os_error(code));
        }
        parse(first, lines).ok_or_else(|| malformed(&self.root, &name))
    }
}

fn parse<'a>(times: &str, lines: impl Iterator<Item = &'a str>) -> Option<CpuFile> {
    let (enabled, running) = times.split_once(' ')?;
    let mut counts = HashMap::new();
    for line in lines {
        let mut words = line.split(' ');
        let event = Event {
            pmu: words.next()?.parse().ok()?,
            config: u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?,
        };
        counts.insert(event, words.next()?.parse().ok()?);
    }
    Some(CpuFile { enabled: u64::from_str(enabled).ok()?, running: u64::from_str(running).ok()?, counts })
}

fn malformed(root: &Path, name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: not as documented", root.join(name).display()))
}

impl Perf for Files {
    fn cpuid(&self, leaf: u32, subleaf: u32) -> Registers {
        self.cpuid.get(&(leaf, subleaf)).copied().unwrap_or_default()
    }

    fn open(&self, event: Event, cpu: u32, leader: Option<Descriptor>) -> io::Result<Descriptor> {
        if !self.cpu(cpu)?.counts.contains_key(&event) {
            return Err(Errno::NOENT.into());
        }
        let mut open = self.open_groups();
        open.next += 1;
        let descriptor = Descriptor(open.next);
        let (of, events) = open.groups.entry(leader.unwrap_or(descriptor)).or_insert((cpu, Vec::new()));
        if *of != cpu {
            return Err(Errno::INVAL.into());
        }
        events.push(event);
        Ok(descriptor)
    }

    fn enable(&self, _leader: Descriptor) -> io::Result<()> {
        Ok(())
    }

    fn read(&self, leader: Descriptor) -> io::Result<Counts> {
        let Some((cpu, events)) = self.open_groups().groups.get(&leader).cloned() else {
            return Err(Errno::BADF.into());
        };
        let file = self.cpu(cpu).map_err(|error| match Errno::from_io_error(&error) {
            // An event whose CPU went offline reads as nothing.
            Some(Errno::NODEV) => io::ErrorKind::UnexpectedEof.into(),
            _ => error,
        })?;
        let values = events.iter().map(|event| file.counts.get(event).copied());
        let values: Option<_> = values.collect();
        let values = values.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        Ok(Counts { enabled: file.enabled, running: file.running, values })
    }

    fn close(&self, event: Descriptor) {
        self.open_groups().groups.remove(&event);
    }
}
