//! The machine's PCI bus as sysfs shows it, for programs that count the devices a node should have.

use crate::kernel::Files;
use crate::live::Moment;
use crate::profile::{Profile, pci_numbers};

/// A bridge that every host has, so that a reader must distinguish accelerators from other devices.
const HOST_BRIDGE: (&str, u32, u32, u32) = ("0000:00:00.0", 0x8086, 0x09a2, 0x06_0000);

/// Class of a PCI bridge.
const BRIDGE: u32 = 0x06_0400;

/// PCIe speeds by generation, GT/s.
const SPEEDS: [&str; 7] = ["2.5", "2.5", "5.0", "8.0", "16.0", "32.0", "64.0"];

const LINK_FILES: [&str; 4] =
    ["current_link_speed", "max_link_speed", "current_link_width", "max_link_width"];

/// The files `bus/pci/devices/<address>/{vendor,device,subsystem_vendor,subsystem_device,class,numa_node}`,
/// of all devices of the machine but the `hidden` ones.
pub fn files(profile: &Profile, hidden: &[usize]) -> Files {
    let mut files = Files::default();
    let (address, vendor, device, class) = HOST_BRIDGE;
    identify(&mut files, &folder(address), vendor, device, class);
    let facts = &profile.device;
    for (index, address) in facts.pci_addresses.iter().enumerate() {
        if hidden.contains(&index) {
            continue;
        }
        let address = address.to_lowercase();
        let [vendor, subsystem_vendor] = [facts.pci_device_id, facts.pci_subsystem_id].map(|id| id & 0xffff);
        let folder = place(profile, &address);
        if let Some(switch) = Switch::of(profile, &address) {
            switch.show(profile, &address, &mut files);
        }
        identify(&mut files, &folder, vendor, facts.pci_device_id >> 16, facts.pci_class);
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

/// Where the kernel lists a function, below the root.
pub fn folder(address: &str) -> String {
    format!("bus/pci/devices/{address}")
}

/// Where the files of one of the machine's devices are: where the bus lists it, or behind the switch of its
/// card, to which the bus then has a link.
pub fn place(profile: &Profile, address: &str) -> String {
    match Switch::of(profile, address) {
        None => folder(address),
        Some(Switch { downstream, .. }) => format!("{downstream}/{address}"),
    }
}

/// Where the files of the slot of a card with a switch are, that is of its upstream port.
pub fn slot(profile: &Profile, address: &str) -> Option<String> {
    Switch::of(profile, address).map(|switch| switch.upstream)
}

/// The switch between the slot and the GPU that discrete Intel cards have. The GPU's own link is inside the
/// card, and the slot's is that of the upstream port.
struct Switch {
    /// The folders of the root port, of the upstream port and of the downstream port.
    root: String,
    upstream: String,
    downstream: String,
}

impl Switch {
    /// `None` for other devices, and for a card of which a guest sees the GPU alone, which is on bus 0.
    fn of(profile: &Profile, address: &str) -> Option<Self> {
        let discrete = profile.device.xpu.as_ref().is_some_and(|xpu| !xpu.integrated);
        let (domain, bus, _) = pci_numbers(address).filter(|(_, bus, _)| discrete && *bus >= 3)?;
        let root = format!("devices/pci{domain:04x}:{:02x}/{domain:04x}:{:02x}:01.0", bus - 3, bus - 3);
        let upstream = format!("{root}/{domain:04x}:{:02x}:00.0", bus - 2);
        let downstream = format!("{upstream}/{domain:04x}:{:02x}:01.0", bus - 1);
        Some(Self { root, upstream, downstream })
    }

    fn show(&self, profile: &Profile, address: &str, files: &mut Files) {
        let vendor = profile.device.pci_device_id & 0xffff;
        for (port, device) in [(&self.root, 0x352a), (&self.upstream, 0x4fa1), (&self.downstream, 0x4fa4)] {
            identify(files, port, vendor, device, BRIDGE);
            let name = port.rsplit('/').next().unwrap_or_default();
            files.link(folder(name), format!("../../../{port}"));
        }
        files.link(folder(address), format!("../../../{}/{address}", self.downstream));
    }
}

/// The files that every function has.
pub fn identify(files: &mut Files, folder: &str, vendor: u32, device: u32, class: u32) {
    files.put(format!("{folder}/vendor"), format_args!("{vendor:#06x}"));
    files.put(format!("{folder}/device"), format_args!("{device:#06x}"));
    files.put(format!("{folder}/class"), format_args!("{class:#08x}"));
}

/// The files of the link of a PCIe function, by name.
pub fn link(generation: u32, width: u32) -> [(&'static str, String); 4] {
    let speed = format!("{} GT/s PCIe", SPEEDS.get(generation as usize).unwrap_or(&SPEEDS[0]));
    let [current_speed, max_speed, current_width, max_width] = LINK_FILES;
    let width = width.to_string();
    [(current_speed, speed.clone()), (max_speed, speed), (current_width, width.clone()), (max_width, width)]
}

/// What the kernel shows of the link of a function that is a part of the SoC and has none.
pub fn no_link() -> [(&'static str, String); 4] {
    let mut files = LINK_FILES.map(|name| (name, "Unknown".to_owned()));
    (files[2].1, files[3].1) = ("0".to_owned(), "255".to_owned());
    files
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

    #[test]
    fn an_arc_card_is_behind_its_own_switch() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let profile = Profile::open("arc-b580").expect("built in");
        let mut tree = Tree::new(root.path()).expect("a root");
        tree.show(files(&profile, &[])).expect("the tree is written");
        let gpu = root.path().join("bus/pci/devices").join(&profile.device.pci_addresses[0]);
        let gpu = gpu.canonicalize().expect("a link to the device");
        let upstream = gpu.ancestors().nth(2).expect("two ports above");
        let read = |name| std::fs::read_to_string(upstream.join(name)).expect("read");
        assert_eq!((read("class"), read("vendor")), ("0x060400\n".to_owned(), "0x8086\n".to_owned()));
        tree.show(files(&profile, &[0])).expect("the tree is written");
        assert!(!gpu.exists());
    }
}
