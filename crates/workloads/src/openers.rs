//! Processes on devices whose driver lists none: they have the device's node open.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Instant,
};

use kernel::open_files::OpenFiles;
use reading::{Alias, Client};

use crate::{accounts::Present, kubelet::Interface};

/// The folder of procfs that is read of each process, for faults.
const CALL: &str = "fd";

/// The open files of all processes. They are looked at only where a device has such a node.
pub struct Openers {
    /// Whether they can be seen.
    pub interface: Interface,
    procfs: PathBuf,
    open: OpenFiles,
}

impl Openers {
    /// Those of the processes below `procfs`.
    pub fn new(procfs: &Path) -> Self {
        let (interface, open) = (Interface::new("open_files", None), OpenFiles::new(procfs, CALL));
        Self { interface, procfs: procfs.to_owned(), open }
    }

    /// Adds the processes that have a device's node open to its clients. Where some process cannot be seen, none is
    /// added, since it may be the one.
    pub fn add(&mut self, present: &mut [Present], now: Instant) {
        let devices = present.iter_mut().map(|device| (nodes(device), device));
        let devices: Vec<_> = devices.filter(|(nodes, _)| !nodes.is_empty()).collect();
        self.interface.path = (!devices.is_empty()).then(|| self.procfs.clone());
        if devices.is_empty() {
            return;
        }
        let walk = self.open.walked(now);
        if self.interface.note(walk.complete).is_none() {
            return;
        }
        for (nodes, Present { identity, clients, .. }) in devices {
            let open = walk.on(&nodes).filter(|file| !file.is_closed());
            let processes: BTreeSet<_> = open.map(|file| file.process).collect();
            clients.extend(processes.into_iter().map(|pid| Client {
                identity: identity.clone(),
                pid,
                memory_bytes: None,
                busy_seconds: Vec::new(),
            }));
        }
    }
}

/// The device numbers of the nodes that are open while a process works on the device.
fn nodes(device: &Present) -> Vec<u64> {
    let number = |alias: &Alias| match alias {
        Alias::Opened(number) => Some(*number),
        Alias::Id(_) | Alias::Node(_) => None,
    };
    device.identity.aliases.iter().filter_map(number).collect()
}
