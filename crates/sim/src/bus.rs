//! The machine's PCI bus as sysfs shows it, for programs that count the devices a node should have.

use crate::kernel::Files;
use crate::live::Moment;
use crate::profile::Profile;

/// A bridge that every host has, so that a reader must distinguish accelerators from other devices.
const HOST_BRIDGE: (&str, u32, u32, u32) = ("0000:00:00.0", 0x8086, 0x09a2, 0x06_0000);

/// The files `bus/pci/devices/<address>/{vendor,device,subsystem_vendor,subsystem_device,class,numa_node}`,
/// of all devices of the machine but the `hidden` ones.
pub fn files(profile: &Profile, hidden: &[usize]) -> Files {
    let mut files = Files::default();
    let (address, vendor, device, class) = HOST_BRIDGE;
    identify(&mut files, address, vendor, device, class);
    let facts = &profile.device;
    for (index, address) in facts.pci_addresses.iter().enumerate() {
        if hidden.contains(&index) {
            continue;
        }
        let address = address.to_lowercase();
        let [vendor, subsystem_vendor] = [facts.pci_device_id, facts.pci_subsystem_id].map(|id| id & 0xffff);
        identify(&mut files, &address, vendor, facts.pci_device_id >> 16, facts.pci_class);
        let folder = folder(&address);
        files.put(format!("{folder}/subsystem_vendor"), format_args!("{subsystem_vendor:#06x}"));
        files
            .put(format!("{folder}/subsystem_device"), format_args!("{:#06x}", facts.pci_subsystem_id >> 16));
        files.put(format!("{folder}/numa_node"), facts.numa_nodes[index]);
    }
    files
}

/// The same at a moment, of the devices that are present, and the name of the simulated machine.
pub fn marked(moment: &Moment<'_>) -> Files {
    let profile = moment.machine().profile();
    let present: Vec<_> = moment.present().collect();
    let hidden: Vec<_> = (0..profile.device_count()).filter(|index| !present.contains(index)).collect();
    let mut all = Files::of_machine(&profile.name);
    all.extend(files(profile, &hidden));
    all
}

/// The files of a function's runtime power management: whether the kernel may suspend it, after how many
/// milliseconds, and whether it has.
pub fn power(files: &mut Files, address: &str, delay_ms: Option<u32>, is_asleep: bool) {
    let folder = folder(address);
    files.put(format!("{folder}/power/control"), if delay_ms.is_some() { "auto" } else { "on" });
    if let Some(delay) = delay_ms {
        files.put(format!("{folder}/power/autosuspend_delay_ms"), delay);
    }
    files.put(format!("{folder}/power/runtime_status"), if is_asleep { "suspended" } else { "active" });
}

/// Where a function's files are, below the root.
pub fn folder(address: &str) -> String {
    format!("bus/pci/devices/{address}")
}

/// The files that every function has.
pub fn identify(files: &mut Files, address: &str, vendor: u32, device: u32, class: u32) {
    let folder = folder(address);
    files.put(format!("{folder}/vendor"), format_args!("{vendor:#06x}"));
    files.put(format!("{folder}/device"), format_args!("{device:#06x}"));
    files.put(format!("{folder}/class"), format_args!("{class:#08x}"));
}

#[cfg(test)]
mod tests {
    use super::files;
    use crate::kernel::Tree;
    use crate::profile::Profile;

    #[test]
    fn the_bus_shows_what_is_not_hidden() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let profile = Profile::open("h100-sxm-8").expect("built in");
        let mut tree = Tree::new(root.path()).expect("a root");
        tree.show(files(&profile, &[3])).expect("the tree is written");
        let devices = root.path().join("bus/pci/devices");
        let classes: Vec<_> = std::fs::read_dir(&devices)
            .expect("listed")
            .map(|entry| {
                std::fs::read_to_string(entry.expect("an entry").path().join("class")).expect("read")
            })
            .collect();
        assert_eq!(classes.len(), 8, "seven devices and the bridge");
        assert_eq!(classes.iter().filter(|class| *class == "0x030200\n").count(), 7);
        assert!(!devices.join("0000:4b:00.0").exists());
        let read = |name| std::fs::read_to_string(devices.join("0000:1a:00.0").join(name)).expect("read");
        assert_eq!((read("vendor"), read("device")), ("0x10de\n".to_owned(), "0x2330\n".to_owned()));
    }
}
