//! The machine's PCI bus as a sysfs tree, for programs that count the devices a node should have.

use std::path::Path;

use crate::profile::Profile;

/// PCI class of an accelerator without a display: a 3D controller.
const CLASS_3D_CONTROLLER: u32 = 0x03_0200;
/// A bridge that every host has, so that a reader must tell accelerators from the rest.
const HOST_BRIDGE: (&str, u32, u32, u32) = ("0000:00:00.0", 0x8086, 0x09a2, 0x06_0000);

/// Writes `bus/pci/devices/<address>/{vendor,device,subsystem_vendor,subsystem_device,class,numa_node}` below
/// `root`, for all devices of the machine but the `hidden` ones.
pub fn write(profile: &Profile, hidden: &[usize], root: &Path) -> std::io::Result<()> {
    let devices = root.join("bus/pci/devices");
    let put = |address: &str, files: &[(&str, String)]| {
        let folder = devices.join(address);
        std::fs::create_dir_all(&folder)?;
        files.iter().try_for_each(|(name, text)| std::fs::write(folder.join(name), format!("{text}\n")))
    };
    let (address, vendor, device, class) = HOST_BRIDGE;
    put(address, &identity(vendor, device, class))?;
    let facts = &profile.device;
    for (index, address) in facts.pci_addresses.iter().enumerate() {
        if hidden.contains(&index) {
            continue;
        }
        let [vendor, subsystem_vendor] = [facts.pci_device_id, facts.pci_subsystem_id].map(|id| id & 0xffff);
        let mut files = identity(vendor, facts.pci_device_id >> 16, CLASS_3D_CONTROLLER).to_vec();
        files.push(("subsystem_vendor", format!("{subsystem_vendor:#06x}")));
        files.push(("subsystem_device", format!("{:#06x}", facts.pci_subsystem_id >> 16)));
        files.push(("numa_node", facts.numa_nodes[index].to_string()));
        put(&address.to_lowercase(), &files)?;
    }
    Ok(())
}

fn identity(vendor: u32, device: u32, class: u32) -> [(&'static str, String); 3] {
    [
        ("vendor", format!("{vendor:#06x}")),
        ("device", format!("{device:#06x}")),
        ("class", format!("{class:#08x}")),
    ]
}

#[cfg(test)]
mod tests {
    use super::write;
    use crate::profile::Profile;

    #[test]
    fn the_bus_shows_what_is_not_hidden() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let profile = Profile::open("h100-sxm-8").expect("built in");
        write(&profile, &[3], root.path()).expect("the tree is written");
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
