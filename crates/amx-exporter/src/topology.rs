//! Which CPUs there are, and in which socket and core each lies (Documentation/ABI/stable/sysfs-devices-system-cpu).

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use kernel::File;
use reading::{Absence, Fault, Measured};

/// One online CPU of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Number.
    pub number: u32,
    /// Its core, unique within the socket.
    pub core: u32,
}

impl Cpu {
    /// The die that it lies on.
    const fn die(self) -> u32 {
        self.core >> DIE_SHIFT
    }
}

/// Where the die stands in the name of a core.
const DIE_SHIFT: u32 = 16;

/// Folder of a CPU.
pub fn folder(sysfs: &Path, cpu: u32) -> PathBuf {
    sysfs.join(format!("devices/system/cpu/cpu{cpu}"))
}

/// The CPUs that are online.
pub fn online(sysfs: &Path) -> Measured<Vec<u32>> {
    File::called(sysfs.join("devices/system/cpu/online"), "cpu/online").list()
}

/// The CPUs of one socket, looked up anew only when other CPUs are online than before: a large machine has
/// hundreds, with three files each.
#[derive(Debug, Default)]
pub struct Socket {
    online: Vec<u32>,
    /// Its CPUs that are online; none when the last one went.
    pub cpus: Vec<Cpu>,
    /// The dies of all sockets that have a CPU online, each by its socket and its own number, in order.
    pub dies: Vec<(u32, u32)>,
}

impl Socket {
    /// Looks where the CPUs of socket `number` lie.
    ///
    /// # Errors
    /// When the kernel does not say where a CPU lies that is there.
    pub fn follow(&mut self, sysfs: &Path, number: u32) -> Measured<()> {
        let online = online(sysfs)?;
        if online != self.online {
            let mut sockets = places(sysfs, &online)?;
            let dies = sockets.iter().flat_map(|(socket, cpus)| cpus.iter().map(|cpu| (*socket, cpu.die())));
            self.dies = dies.collect::<BTreeSet<_>>().into_iter().collect();
            self.cpus = sockets.remove(&number).unwrap_or_default();
            self.online = online;
        }
        Ok(())
    }
}

/// The online CPUs of each socket.
pub fn sockets(sysfs: &Path) -> Result<BTreeMap<u32, Vec<Cpu>>, Fault> {
    places(sysfs, &online(sysfs)?)
}

/// Where each CPU lies. One that goes offline meanwhile is left out; any other failure is one, since a socket
/// without some of its CPUs would pass for the whole.
fn places(sysfs: &Path, online: &[u32]) -> Result<BTreeMap<u32, Vec<Cpu>>, Fault> {
    let mut sockets = BTreeMap::<u32, Vec<Cpu>>::new();
    for number in online.iter().copied() {
        let topology = folder(sysfs, number).join("topology");
        let read = |name| match File::new(&topology, name).number::<u32>() {
            Err(fault) if fault.absence == Absence::Failed && fault.code != "ENODEV" => Err(fault),
            known => Ok(known.ok()),
        };
        // A die's cores count from 0 on some parts, so the die belongs to the core's name.
        let (socket, die, core) = (read("physical_package_id")?, read("die_id")?, read("core_id")?);
        if let (Some(socket), Some(core)) = (socket, core) {
            let core = die.unwrap_or(0) << DIE_SHIFT | core & ((1 << DIE_SHIFT) - 1);
            sockets.entry(socket).or_default().push(Cpu { number, core });
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_that_went_is_left_out_and_one_that_cannot_be_read_costs_all() {
        let sysfs = tempfile::tempdir().expect("a folder");
        let put = |cpu: u32, name: &str, text: &str| {
            let topology = folder(sysfs.path(), cpu).join("topology");
            std::fs::create_dir_all(&topology).expect("created");
            std::fs::write(topology.join(name), text).expect("written");
        };
        for cpu in 0..3 {
            put(cpu, "physical_package_id", "0");
            put(cpu, "die_id", &(cpu % 2).to_string());
            put(cpu, "core_id", "0");
        }
        std::fs::write(sysfs.path().join("devices/system/cpu/online"), "0-3").expect("written");
        let mut socket = Socket::default();
        assert_eq!(socket.follow(sysfs.path(), 0), Ok(()));
        assert_eq!(socket.cpus.iter().map(|cpu| cpu.number).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(socket.dies, [(0, 0), (0, 1)]);
        std::fs::create_dir_all(folder(sysfs.path(), 3).join("topology/core_id")).expect("created");
        assert_eq!(sockets(sysfs.path()).map_err(|fault| fault.code.name()), Err("EISDIR"));
    }

    #[test]
    fn this_machine_has_a_socket() {
        let sockets = sockets("/sys".as_ref()).expect("every Linux has this");
        let cpus: usize = sockets.values().map(Vec::len).sum();
        assert_eq!(cpus, online("/sys".as_ref()).expect("listed").len());
    }
}
