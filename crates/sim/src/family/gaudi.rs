//! A Gaudi at one moment: what HLML and the driver's files both derive from the machine, and those files.

use crate::Device;
use crate::bus;
use crate::cycle::Channel;
use crate::kernel::{Files, SIMULATED};
use crate::live::Moment;
use crate::profile::Gaudi;

/// The chip's second sensor is this much cooler, °C.
const SECOND_SENSOR_CELSIUS: f64 = 1.5;
/// How much of the chip's heat reaches the board's sensor.
const BOARD_COUPLING: f64 = 0.3;

/// The labels that the driver's package installs for lm-sensors, for the boards of these machines.
const SENSORS: &str = "\
chip \"HL325L-pci-*\"
    label temp1 \"On Board\"
    label temp2 \"On Chip 0\"
    label temp3 \"On Chip 1\"
    label temp4 \"HBM\"
";

/// A Gaudi at one moment.
#[derive(Clone, Copy)]
pub struct Hpu<'a> {
    device: Device<'a>,
    facts: &'a Gaudi,
}

impl<'a> Hpu<'a> {
    /// `None` on a machine of other devices.
    pub fn new(device: Device<'a>) -> Option<Self> {
        Some(Self { device, facts: device.facts().gaudi.as_ref()? })
    }

    /// What every device has.
    pub fn device(&self) -> Device<'a> {
        self.device
    }

    /// What it is.
    pub fn facts(&self) -> &'a Gaudi {
        self.facts
    }

    /// In the vendor's form: wafer and die.
    pub fn uuid(&self) -> String {
        let digits = self.device.uuid().bytes().filter(u8::is_ascii_hexdigit);
        let sum = digits.fold(0u64, |sum, digit| sum.wrapping_mul(31).wrapping_add(digit.into()));
        format!(
            "01P4-HL3090A0-18-U4V{:03}-{:02}-{:02}-{:02}",
            sum % 1000,
            sum / 1000 % 30,
            sum / 30_000 % 30,
            self.device.index()
        )
    }

    /// Serial number of the board.
    pub fn serial(&self) -> String {
        format!("AM{}", self.device.serial())
    }

    /// PCI address as sysfs writes it.
    pub fn address(&self) -> String {
        let (domain, bus, slot) = self.device.pci_numbers();
        format!("{domain:04x}:{bus:02x}:{slot:02x}.0")
    }

    /// Percent of the way from idle power to full power over the last second, as the driver computes it: past
    /// 100 when the board draws more.
    pub fn utilization_percent(&self) -> u32 {
        let idle = self.device.facts().power.idle_watts;
        let share = (self.device.power_mean_watts() - idle) / (self.facts.full_watts - idle);
        (share * 100.0).max(0.0) as u32
    }

    /// Temperatures of the chip's two sensors, m°C.
    pub fn chip_millidegrees(&self) -> [i64; 2] {
        [0.0, SECOND_SENSOR_CELSIUS].map(|less| milli(self.device.temperature_celsius() - less))
    }

    /// Temperature of the board, m°C.
    pub fn board_millidegrees(&self) -> i64 {
        let ambient = self.device.facts().thermal.ambient_celsius;
        milli(ambient + BOARD_COUPLING * (self.device.temperature_celsius() - ambient))
    }

    /// Temperature of the memory, m°C.
    pub fn memory_millidegrees(&self) -> Option<i64> {
        self.device.memory_temperature_celsius().map(milli)
    }

    /// Why the clock is held down.
    pub fn throttle_reasons(&self) -> u64 {
        let power = [Channel::PowerCap, Channel::PowerBrake];
        let heat = [Channel::SoftwareThermal, Channel::HardwareThermal];
        [power, heat].into_iter().enumerate().fold(0, |mask, (bit, channels)| {
            mask | u64::from(channels.into_iter().any(|channel| self.device.is_active(channel))) << bit
        })
    }

    /// Its state, in the words of the driver.
    pub fn status(&self) -> &'static str {
        let standing = self.device.standing();
        match standing.recovery {
            _ if standing.reset.running => "In reset",
            crate::control::RecoveryAction::None => "Operational",
            _ => "Needs reset",
        }
    }
}

fn milli(celsius: f64) -> i64 {
    (celsius * 1e3) as i64
}

/// What the kernel shows of a machine's Gaudis: the PCI bus, and while the driver is loaded its module and
/// its files. Beside them in [`SIMULATED`]: the machine's name, and the labels of its sensors.
pub fn files(moment: &Moment<'_>) -> Files {
    let mut files = bus::marked(moment);
    files.bytes(format!("{SIMULATED}/hl_sensors.conf"), SENSORS.into());
    if moment.driver_epoch().is_none() {
        return files;
    }
    files.put("module/habanalabs/version", &moment.machine().profile().driver.version);
    for hpu in moment.present().filter_map(|index| Hpu::new(moment.device(index)?)) {
        let mut own = Files::default();
        driver_files(&hpu, &mut own);
        let device = hpu.device().index();
        own.afflict(|name| moment.conditions().effect_on_file(name, device, moment.seconds()));
        files.extend(own);
    }
    files
}

fn driver_files(hpu: &Hpu<'_>, files: &mut Files) {
    let (device, facts, address) = (hpu.device(), hpu.facts(), hpu.address());
    let folder = bus::folder(&address);
    let entry = format!("class/accel/accel{}", device.index());
    files.link(format!("{entry}/device"), format!("../../../{folder}"));
    files.put(format!("{entry}/dev"), format_args!("261:{}", device.index()));
    let mut put = |name: &str, value: &dyn std::fmt::Display| files.put(format!("{folder}/{name}"), value);
    put("pci_addr", &address);
    put("status", &hpu.status());
    put("device_type", &facts.device_type);
    put("module_id", &device.module_id().unwrap_or_default());
    put("uboot_ver", &facts.fit_version);
    put("armcp_kernel_ver", &facts.spi_version);
    put("cpld_ver", &facts.cpld_version);
    put("security_enabled", &1);
    put("clk_cur_freq_mhz", &device.sm_clock_megahertz());
    put("clk_max_freq_mhz", &device.facts().clocks.core_max_megahertz);
    put("max_power", &(device.facts().power.limit_watts * 1e3));
    put("hard_reset_cnt", &device.standing().reset.hard);
    put("soft_reset_cnt", &device.standing().reset.soft);
    let pcie = &device.facts().pcie;
    let speed = ["2.5", "5.0", "8.0", "16.0", "32.0", "64.0"].get(pcie.generation.saturating_sub(1) as usize);
    for which in ["current", "max"] {
        put(&format!("{which}_link_speed"), &format!("{} GT/s PCIe", speed.unwrap_or(&"Unknown")));
        put(&format!("{which}_link_width"), &pcie.width);
    }
    let mut sensor = |name: &str, value: &dyn std::fmt::Display| {
        files.put(format!("{folder}/hwmon/hwmon{}/{name}", device.index() + 2), value);
    };
    sensor("name", &"HL325L");
    sensor("power1_input", &((device.power_mean_watts() * 1e6) as u64));
    sensor("temp1_input", &hpu.board_millidegrees());
    let [first, second] = hpu.chip_millidegrees();
    sensor("temp2_input", &first);
    sensor("temp3_input", &second);
    if let Some(memory) = hpu.memory_millidegrees() {
        sensor("temp4_input", &memory);
    }
}

#[cfg(test)]
mod tests {
    use super::{Hpu, files};
    use crate::clock::Clock;
    use crate::control::{Control, DriverState, Reset};
    use crate::kernel::Tree;
    use crate::live::{Live, Options};
    use crate::workload::Workload;

    fn live(control: &Control, workload: Workload, at: f64) -> (tempfile::TempDir, Live) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("control.toml");
        control.write(&path).expect("written");
        let live = Live::open(&Options {
            machine: "gaudi3-8".to_owned(),
            control: Some(path),
            clock: Clock::Fixed(at),
            workload,
            seed: 1,
        });
        (folder, live.expect("built in"))
    }

    #[test]
    fn utilization_follows_power_and_passes_a_hundred() {
        let percent = |workload, at| {
            let (_folder, live) = live(&Control::default(), workload, at);
            let moment = live.now();
            Hpu::new(moment.device(0).expect("there")).expect("a Gaudi").utilization_percent()
        };
        assert_eq!(percent(Workload::Idle, 1.795e9), 0);
        assert!((30..95).contains(&percent(Workload::Decode, 1.795e9)));
        let most = (0..60).map(|second| percent(Workload::Burst, 1.795e9 + f64::from(second))).max();
        assert!((101..110).contains(&most.expect("some")), "{most:?}");
    }

    #[test]
    fn the_drivers_files_come_and_go_with_it() {
        let root = tempfile::tempdir().expect("a folder");
        let mut tree = Tree::new(root.path()).expect("a root");
        let read = |path: &str| std::fs::read_to_string(root.path().join(path)).ok();
        let reset = Reset { device: 1, hard: 2, running: true, ..Reset::default() };
        let loaded = Control { reset: vec![reset], hidden: vec![7], ..Control::default() };
        let (_folder, machine) = live(&loaded, Workload::Decode, 1.795e9);
        tree.show(files(&machine.now())).expect("written");
        assert_eq!(read("class/accel/accel0/device/status").as_deref(), Some("Operational\n"));
        assert_eq!(read("class/accel/accel1/device/status").as_deref(), Some("In reset\n"));
        assert_eq!(read("class/accel/accel1/device/hard_reset_cnt").as_deref(), Some("2\n"));
        assert_eq!(read("class/accel/accel0/device/max_power").as_deref(), Some("850000\n"));
        assert!(read("class/accel/accel0/device/hwmon/hwmon2/temp2_input").is_some());
        assert_eq!(read("class/accel/accel7/device/status"), None);

        let unloaded = Control { driver: Some(DriverState::Unloaded), ..Control::default() };
        let (_folder, machine) = live(&unloaded, Workload::Decode, 1.795e9);
        tree.show(files(&machine.now())).expect("written");
        assert!(!root.path().join("module").exists() && !root.path().join("class").exists());
        assert_eq!(read("bus/pci/devices/0000:33:00.0/vendor").as_deref(), Some("0x1da3\n"));
    }
}
