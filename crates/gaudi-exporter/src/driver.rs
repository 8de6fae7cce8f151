//! The habanalabs driver's files, which are there with or without HLML
//! (Documentation/ABI/testing/sysfs-driver-habanalabs).
//!
//! Newer drivers list devices as `class/accel/accel<n>`, with the attributes in the PCI function's folder;
//! older ones as `class/habanalabs/hl<n>`, with the attributes there. Files that trigger a reset are never
//! opened.

use std::path::{Path, PathBuf};

use kernel::{File, entries, open_files::device_number, pci::Function};
use naming::Family;
use reading::{Absence, Fault, FaultCode, Measured};

use crate::sensors::Sensors;

/// A device that the driver lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// N of `accel<N>` or `hl<N>`.
    pub minor: u32,
    /// `class/accel/accel<N>` or `class/habanalabs/hl<N>`.
    entry: PathBuf,
    /// Where its attributes are.
    folder: PathBuf,
    /// Its PCI function.
    pub function: Function,
}

/// Why nothing comes from the driver's files where the driver lists no such device.
pub const NO_NODE: Fault = Fault::returned(Absence::Unsupported, "class/accel", "ENOENT");

/// Whether the kernel module is loaded.
pub fn is_loaded(sysfs: &Path) -> bool {
    sysfs.join("module/habanalabs").exists()
}

/// Version of the driver.
pub fn driver_version(sysfs: &Path) -> Measured<String> {
    File::new(&sysfs.join("module/habanalabs"), "version").text()
}

/// The devices that the driver lists now, by number.
pub fn nodes(sysfs: &Path) -> Vec<Node> {
    let of_class = |class: &str, prefix: &str, attributes: &str| -> Vec<Node> {
        let class = sysfs.join(class);
        let numbered = entries(&class).into_iter().filter_map(|name| {
            let minor = name.strip_prefix(prefix)?.parse().ok()?;
            Node::open(sysfs, minor, class.join(name), attributes)
        });
        numbered.collect()
    };
    let mut newer = of_class("class/accel", "accel", "device");
    for node in &mut newer {
        // The same folder by a name that stays: after a reload the number may be another card's.
        node.folder.clone_from(&node.function.folder);
    }
    if newer.is_empty() { of_class("class/habanalabs", "hl", "") } else { newer }
}

impl Node {
    /// `None` for a device of another driver: NPUs are in the class, too.
    fn open(sysfs: &Path, minor: u32, entry: PathBuf, attributes: &str) -> Option<Self> {
        let folder = entry.join(attributes);
        let address = File::new(&folder, "pci_addr").text().ok()?;
        let function = Function::at(sysfs, &address);
        let vendor = Family::Gaudi.pci().map(|pci| pci.vendor.into());
        (function.vendor().ok() == vendor).then_some(Self { minor, entry, folder, function })
    }

    /// The kernel's name of the node: `accel5`.
    pub fn name(&self) -> String {
        self.entry.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The device number of the node that a process opens to work on the device; who only looks at it opens
    /// `accel_controlD<n>` or `hl_controlD<n>`.
    pub fn device_number(&self) -> Option<u64> {
        device_number(&self.entry).ok()
    }

    /// Whether the driver still lists the device under this number.
    ///
    /// # Errors
    /// `unbound` when it does not: it was unbound, or has another number now.
    pub fn check(&self) -> Measured<()> {
        if self.entry.exists() { Ok(()) } else { Err(Fault::new("class/accel", FaultCode::Unbound)) }
    }

    /// A text of the driver, such as a version.
    pub fn text(&self, name: &'static str) -> Option<String> {
        File::new(&self.folder, name).text().ok()
    }
}

/// The files of one device that are read every round.
#[derive(Clone, Debug)]
pub struct DriverFiles {
    status: File,
    resets: [File; 2],
    clocks: [File; 2],
    limit: File,
    function: Function,
    /// Temperatures and power.
    pub sensors: Sensors,
}

impl DriverFiles {
    /// Those of a node; labels of sensors from the driver or the `configuration` of lm-sensors.
    pub fn open(node: &Node, configuration: &Path) -> Self {
        let at = |name| File::new(&node.folder, name);
        Self {
            status: at("status"),
            resets: [at("hard_reset_cnt"), at("soft_reset_cnt")],
            clocks: [at("clk_cur_freq_mhz"), at("clk_max_freq_mhz")],
            limit: at("max_power"),
            function: node.function.clone(),
            sensors: Sensors::find(&[&node.folder, &node.function.folder], configuration),
        }
    }

    /// Takes the sensors that are found by now, where there are more than are known: those of a driver that is being
    /// loaded come one after another.
    pub fn look_again(&mut self, node: &Node, configuration: &Path) {
        let Self { sensors, .. } = Self::open(node, configuration);
        if sensors.count() > self.sensors.count() {
            self.sensors = sensors;
        }
    }

    /// Whether the device works.
    ///
    /// # Errors
    /// A failure that names the device's state, when the driver reports another: nothing else that is read
    /// then is valid.
    pub fn check_status(&self) -> Measured<()> {
        // The driver's words, without their capitals.
        const STATES: [(&str, FaultCode); 5] = [
            ("in reset", FaultCode::InReset),
            ("disabled", FaultCode::SwitchedOff),
            ("needs reset", FaultCode::NeedsReset),
            ("in device creation", FaultCode::InCreation),
            ("in reset after device release", FaultCode::InResetAfterRelease),
        ];
        let Ok(state) = self.status.text() else { return Ok(()) };
        let state = state.to_ascii_lowercase();
        if state == "operational" {
            return Ok(());
        }
        let known = STATES.iter().find(|(word, _)| *word == state);
        Err(Fault::new("status", known.map_or(FaultCode::UnknownStatus, |(_, code)| *code)))
    }

    /// Resets since the driver was loaded: hard ones, and soft ones.
    pub fn resets(&self) -> [Measured<u64>; 2] {
        self.resets.each_ref().map(File::number)
    }

    /// Clock now and at most, MHz.
    pub fn megahertz(&self) -> [Measured<u32>; 2] {
        self.clocks.each_ref().map(File::number)
    }

    /// Power limit in force, mW.
    pub fn limit_milliwatts(&self) -> Measured<u32> {
        self.limit.number()
    }

    /// What of each board is mandatory where there is no library: one of these at least is read, or the board
    /// is not up.
    pub fn mandatory(&self) -> [Option<Fault>; 4] {
        let (clock, resets) = (self.clocks[0].number::<u32>(), self.resets[0].number::<u64>());
        let die = self.sensors.millidegrees()[0];
        [self.sensors.microwatts().err(), die.err(), clock.err(), resets.err()]
    }

    /// The PCI function, for its link.
    pub fn function(&self) -> &Function {
        &self.function
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn put(folder: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(folder).expect("created");
        for (name, text) in files {
            fs::write(folder.join(name), format!("{text}\n")).expect("written");
        }
    }

    #[test]
    fn devices_of_newer_and_older_drivers_are_listed_and_others_are_not() {
        let sysfs = tempfile::tempdir().expect("a folder");
        let devices = sysfs.path().join("bus/pci/devices");
        let class = sysfs.path().join("class/accel");
        for (address, vendor) in
            [("0000:00:0b.0", "0x8086"), ("0000:19:00.0", "0x1da3"), ("0000:1a:00.0", "0x1da3")]
        {
            put(&devices.join(address), &[("vendor", vendor), ("pci_addr", address)]);
        }
        for (name, address) in
            [("accel0", "0000:00:0b.0"), ("accel2", "0000:19:00.0"), ("accel10", "0000:1a:00.0")]
        {
            fs::create_dir_all(class.join(name)).expect("created");
            symlink(devices.join(address), class.join(name).join("device")).expect("linked");
        }
        fs::create_dir(class.join("accel_controlD2")).expect("created");
        let minors = |sysfs: &Path| nodes(sysfs).iter().map(|node| node.minor).collect::<Vec<_>>();
        assert_eq!(minors(sysfs.path()), [2, 10]);
        assert_eq!(nodes(sysfs.path())[0].folder, devices.join("0000:19:00.0"), "not by its number");
        fs::remove_dir_all(&class).expect("removed");
        let old = sysfs.path().join("class/habanalabs");
        put(&old.join("hl3"), &[("pci_addr", "0000:1A:00.0"), ("uboot_ver", "2023.1")]);
        put(&old.join("hl_controlD3"), &[("pci_addr", "0000:1a:00.0")]);
        assert_eq!(minors(sysfs.path()), [3]);
        let node = &nodes(sysfs.path())[0];
        assert_eq!(node.text("uboot_ver").as_deref(), Some("2023.1"));
        assert_eq!(node.function.address, "0000:1a:00.0");
        assert!(!is_loaded(sysfs.path()));
    }

    impl Node {
        /// One with all its files in one folder.
        pub fn of(folder: &Path, function: Function) -> Self {
            Self { minor: 0, entry: folder.to_owned(), folder: folder.to_owned(), function }
        }
    }

    #[test]
    fn only_an_operational_device_is_read() {
        let sysfs = tempfile::tempdir().expect("a folder");
        let folder = sysfs.path().to_owned();
        let function = Function::at(sysfs.path(), "0000:19:00.0");
        let node = Node::of(&folder, function);
        let files = DriverFiles::open(&node, Path::new("none"));
        assert_eq!(files.check_status(), Ok(()), "an older driver has no such file");
        for (text, code) in [
            ("Operational", None),
            ("operational", None),
            ("In reset", Some("in_reset")),
            ("In reset after device release", Some("in_reset_after_release")),
            ("Malfunction", Some("unknown_status")),
        ] {
            put(&folder, &[("status", text)]);
            assert_eq!(files.check_status().err().map(|fault| fault.code.name()), code, "{text}");
        }
        put(&folder, &[("hard_reset_cnt", "2"), ("clk_cur_freq_mhz", "1650"), ("max_power", "850000")]);
        assert_eq!(files.resets()[0], Ok(2));
        assert_eq!(files.resets()[1].map_err(|fault| fault.code.name()), Err("ENOENT"));
        assert_eq!((files.megahertz()[0], files.limit_milliwatts()), (Ok(1650), Ok(850_000)));
    }
}
