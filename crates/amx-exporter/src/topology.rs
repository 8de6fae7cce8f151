//! Which CPUs there are, and in which socket and core each lies (Documentation/ABI/stable/sysfs-devices-system-cpu).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use reading::Fault;
use sysfs::File;

/// Most CPUs that Linux can be built for (`NR_CPUS` on x86-64); a longer list is garbage.
const CPUS_MAX: u32 = 8192;

/// One online CPU of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// Number.
    pub number: u32,
    /// Its core, unique within the socket.
    pub core: u32,
}

/// Folder of a CPU.
pub fn folder(sysfs: &Path, cpu: u32) -> PathBuf {
    sysfs.join(format!("devices/system/cpu/cpu{cpu}"))
}

/// The CPUs that are online.
pub fn online(sysfs: &Path) -> Result<Vec<u32>, Fault> {
    File::called(sysfs.join("devices/system/cpu/online"), "cpu/online").parse(parse_list)
}

/// The CPUs of one socket, looked up anew only when other CPUs are online than before: a large machine has
/// hundreds, with three files each.
#[derive(Debug, Default)]
pub struct Socket {
    online: Vec<u32>,
    cpus: Vec<Cpu>,
}

impl Socket {
    /// The online CPUs of socket `number`; none when the last one went.
    pub fn cpus(&mut self, sysfs: &Path, number: u32) -> Result<&[Cpu], Fault> {
        let online = online(sysfs)?;
        if online != self.online {
            self.cpus = places(sysfs, &online).remove(&number).unwrap_or_default();
            self.online = online;
        }
        Ok(&self.cpus)
    }
}

/// The online CPUs of each socket.
pub fn sockets(sysfs: &Path) -> Result<BTreeMap<u32, Vec<Cpu>>, Fault> {
    Ok(places(sysfs, &online(sysfs)?))
}

/// Where each CPU lies. One that goes offline meanwhile is left out.
fn places(sysfs: &Path, online: &[u32]) -> BTreeMap<u32, Vec<Cpu>> {
    let mut sockets = BTreeMap::<u32, Vec<Cpu>>::new();
    for number in online.iter().copied() {
        let topology = folder(sysfs, number).join("topology");
        let read = |name| File::new(&topology, name).number::<u32>();
        // A die's cores count from 0 on some parts, so the die belongs to the core's name.
        let core = read("core_id").map(|core| read("die_id").unwrap_or(0) << 16 | core & 0xffff);
        if let (Ok(socket), Ok(core)) = (read("physical_package_id"), core) {
            sockets.entry(socket).or_default().push(Cpu { number, core });
        }
    }
    sockets
}

/// Whether two threads share a core anywhere. A kernel that cannot say has none that do.
pub fn has_threads(sysfs: &Path) -> bool {
    File::called(sysfs.join("devices/system/cpu/smt/active"), "smt/active").number() == Ok(1u32)
}

/// Numbers of a list such as `0-3,8`; `None` when it is no such list.
pub fn parse_list(text: &str) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if last < first || last >= CPUS_MAX {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_the_kernels() {
        assert_eq!(parse_list("0-3,8,10-11"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
        assert_eq!(parse_list("0"), Some(vec![0]));
        for bad in ["", "3-1", "a", "0-", "0-99999999", "0,,1"] {
            assert_eq!(parse_list(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn this_machine_has_a_socket() {
        let sockets = sockets("/sys".as_ref()).expect("every Linux has this");
        let cpus: usize = sockets.values().map(Vec::len).sum();
        assert_eq!(cpus, online("/sys".as_ref()).expect("listed").len());
    }
}
