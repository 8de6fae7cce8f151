//! The CPUs that are online, and the socket, die and core of each
//! (Documentation/ABI/stable/sysfs-devices-system-cpu).

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Instant,
};

use kernel::{File, Search, entries};
use reading::{Absence, Measured};

/// One online CPU of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// The kernel's number.
    pub number: u32,
    /// The number of its die and core: cores are numbered from 0 in each die on some parts.
    pub core: u32,
}

impl Cpu {
    /// The die that it is on.
    const fn die(self) -> u32 {
        self.core >> DIE_SHIFT
    }
}

/// Where the number of the die begins in [`Cpu::core`].
const DIE_SHIFT: u32 = 16;

/// The sysfs folder of a CPU.
pub fn folder(sysfs: &Path, cpu: u32) -> PathBuf {
    sysfs.join(format!("devices/system/cpu/cpu{cpu}"))
}

/// The machine's CPUs that are online. A container's lxcfs puts the container's own CPUs in place of the list,
/// while events count on the whole machine: a CPU that is not listed is online too as long as the kernel
/// reports its place, which it does not for one that is offline.
pub fn online(sysfs: &Path) -> Measured<Vec<u32>> {
    let cpus = sysfs.join("devices/system/cpu");
    let listed = File::called(cpus.join("online"), "cpu/online").list()?;
    let mut online: BTreeSet<u32> = listed.into_iter().collect();
    for cpu in entries(&cpus).iter().filter_map(|name| name.strip_prefix("cpu")?.parse().ok()) {
        if !online.contains(&cpu) && folder(sysfs, cpu).join("topology/core_id").exists() {
            online.insert(cpu);
        }
    }
    Ok(online.into_iter().collect())
}

/// The CPUs of one socket. They are looked up only when other CPUs are online than before, since a large
/// machine has hundreds with three files each.
#[derive(Debug, Default)]
pub struct Topology {
    online: Vec<u32>,
    /// While it is not known where one of them is.
    search: Option<Search>,
    /// Its CPUs that are online.
    pub cpus: Vec<Cpu>,
    /// The dies of all sockets with a CPU online, in order: number of the socket, number of the die in it.
    pub dies: Vec<(u32, u32)>,
}

impl Topology {
    /// Looks the CPUs of socket `number` up.
    ///
    /// # Errors
    /// When the kernel does not list the CPUs or does not report where one of them is.
    pub fn update(&mut self, sysfs: &Path, number: u32) -> Measured<()> {
        let online = online(sysfs)?;
        let now = Instant::now();
        let is_due = self.search.as_mut().is_some_and(|search| search.is_due(now));
        if is_due || online != self.online {
            let mut sockets = locate(sysfs, &online)?;
            // The kernel shows a CPU's place a moment after it has put it online.
            let is_whole = sockets.values().map(Vec::len).sum::<usize>() == online.len();
            self.search = if is_whole { None } else { self.search.take().or(Some(Search::begin(now))) };
            let dies = sockets.iter().flat_map(|(socket, cpus)| cpus.iter().map(|cpu| (*socket, cpu.die())));
            self.dies = dies.collect::<BTreeSet<_>>().into_iter().collect();
            self.cpus = sockets.remove(&number).unwrap_or_default();
            self.online = online;
        }
        Ok(())
    }
}

/// The online CPUs of each socket.
pub fn sockets(sysfs: &Path) -> Measured<BTreeMap<u32, Vec<Cpu>>> {
    locate(sysfs, &online(sysfs)?)
}

/// The CPUs by socket. One that goes offline meanwhile is left out. Any other failure is returned, since a
/// socket without some of its CPUs would look complete.
fn locate(sysfs: &Path, online: &[u32]) -> Measured<BTreeMap<u32, Vec<Cpu>>> {
    let mut sockets = BTreeMap::<u32, Vec<Cpu>>::new();
    for number in online.iter().copied() {
        let topology = folder(sysfs, number).join("topology");
        let read = |name| match File::new(&topology, name).number::<u32>() {
            Err(fault) if fault.absence == Absence::Failed && fault.code != "ENODEV" => Err(fault),
            known => Ok(known.ok()),
        };
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
    use std::{thread, time::Duration};

    use super::*;

    #[test]
    fn a_cpu_that_went_offline_is_left_out_and_one_that_cannot_be_read_is_a_fault() {
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
        let mut socket = Topology::default();
        assert_eq!(socket.update(sysfs.path(), 0), Ok(()));
        assert_eq!(socket.cpus.iter().map(|cpu| cpu.number).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(socket.dies, [(0, 0), (0, 1)]);
        for (name, text) in [("physical_package_id", "0"), ("die_id", "2"), ("core_id", "0")] {
            put(3, name, text);
        }
        let begun = Instant::now();
        while socket.cpus.len() < 4 {
            assert!(begun.elapsed() < Duration::from_mins(1), "its place is not seen");
            thread::sleep(Duration::from_millis(50));
            assert_eq!(socket.update(sysfs.path(), 0), Ok(()));
        }
        assert_eq!(socket.dies, [(0, 0), (0, 1), (0, 2)]);
        std::fs::remove_dir_all(folder(sysfs.path(), 3)).expect("removed");
        std::fs::create_dir_all(folder(sysfs.path(), 3).join("topology/core_id")).expect("created");
        assert_eq!(sockets(sysfs.path()).map_err(|fault| fault.code.name()), Err("EISDIR"));
    }

    #[test]
    fn a_list_that_lxcfs_made_hides_no_cpu() {
        let sysfs = tempfile::tempdir().expect("a folder");
        for cpu in 0..16u32 {
            let topology = folder(sysfs.path(), cpu).join("topology");
            std::fs::create_dir_all(&topology).expect("created");
            std::fs::write(topology.join("physical_package_id"), (cpu / 8).to_string()).expect("written");
            std::fs::write(topology.join("core_id"), (cpu % 8).to_string()).expect("written");
        }
        // Offline: its folder stays.
        std::fs::remove_dir_all(folder(sysfs.path(), 7).join("topology")).expect("removed");
        std::fs::create_dir_all(sysfs.path().join("devices/system/cpu/cpufreq")).expect("created");
        for list in ["0-6,8-15", "0", "2,5,9,11"] {
            std::fs::write(sysfs.path().join("devices/system/cpu/online"), list).expect("written");
            let cpus = sockets(sysfs.path()).expect("listed");
            let cpus: Vec<_> = cpus.iter().map(|(socket, cpus)| (*socket, cpus.len())).collect();
            assert_eq!(cpus, [(0, 7), (1, 8)], "{list}");
        }
    }

    #[test]
    fn this_machine_has_a_socket() {
        let sockets = sockets("/sys".as_ref()).expect("every Linux has this");
        let cpus: usize = sockets.values().map(Vec::len).sum();
        assert_eq!(cpus, online("/sys".as_ref()).expect("listed").len());
    }
}
