//! One device at one moment: every quantity that a vendor's library can return, with its unit in its
//! name. All of it is arithmetic on the machine, the conditions and the time; nothing is stored.

mod memory;

pub use memory::{MemoryBytes, Process};

use crate::conditions::{Conditions, DeviceConditions};
use crate::control::{Scope, Severity};
use crate::cycle::Channel;
use crate::hash;
use crate::machine::{Machine, Variation};
use crate::mig::Instance;
use crate::profile::{DeviceProfile, Driver, Nvidia, pci_numbers};

/// NVLink packets carry this much more than their payload.
const NVLINK_PROTOCOL_OVERHEAD: f64 = 1.18;

/// One device of a machine at one moment.
#[derive(Clone, Copy)]
pub struct Device<'a> {
    machine: &'a Machine,
    conditions: &'a Conditions,
    standing: &'a DeviceConditions,
    variation: &'a Variation,
    index: usize,
    now: f64,
}

/// Errors of one NVLink since the driver was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkErrors {
    /// Retransmissions.
    pub replays: u64,
    /// Recoveries.
    pub recoveries: u64,
    /// Check-sum errors.
    pub crc_errors: u64,
}

impl<'a> Device<'a> {
    /// The device at a time (unix seconds); `None` when the machine has no such device.
    pub fn new(machine: &'a Machine, conditions: &'a Conditions, index: usize, now: f64) -> Option<Self> {
        let standing = conditions.device(index)?;
        let variation = machine.variations.get(index)?;
        Some(Self { machine, conditions, standing, variation, index, now })
    }

    /// The same device at another time.
    #[must_use]
    pub fn at(self, now: f64) -> Self {
        Self { now, ..self }
    }

    /// Place of the device in the profile; the control tables call it by this number.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The moment, unix seconds.
    pub fn now_seconds(&self) -> f64 {
        self.now
    }

    /// What the device is.
    pub fn facts(&self) -> &'a DeviceProfile {
        &self.machine.profile.device
    }

    /// What only an NVIDIA device has.
    ///
    /// # Panics
    /// On a device of another vendor, about which only a mistake in this repository can ask: `sim-nvml`
    /// refuses other machines when it opens them.
    pub fn nvidia(&self) -> &'a Nvidia {
        self.facts().nvidia.as_ref().expect("an NVIDIA machine")
    }

    /// The kernel driver.
    pub fn driver(&self) -> &'a Driver {
        &self.machine.profile.driver
    }

    /// What the control tables say about it.
    pub fn standing(&self) -> &'a DeviceConditions {
        self.standing
    }

    /// UUID, without the prefix that a vendor may write before it.
    pub fn uuid(&self) -> &'a str {
        &self.variation.uuid
    }

    /// Serial number.
    pub fn serial(&self) -> String {
        (self.facts().first_serial + self.index as u64).to_string()
    }

    /// PCI domain, bus and device number.
    pub fn pci_numbers(&self) -> (u32, u32, u32) {
        self.facts()
            .pci_addresses
            .get(self.index)
            .and_then(|address| pci_numbers(address))
            .unwrap_or_default()
    }

    /// NUMA node.
    pub fn numa_node(&self) -> u32 {
        self.facts().numa_nodes.get(self.index).copied().unwrap_or_default()
    }

    /// Slot on the baseboard.
    pub fn module_id(&self) -> Option<u32> {
        self.facts().module_ids.get(self.index).copied()
    }

    /// Level of a channel now, in the channel's unit.
    pub fn level(&self, channel: Channel) -> f64 {
        let level = self.machine.cycle.level(channel, self.cycle_second(self.now)) * self.gain(channel);
        match channel {
            Channel::MemoryFill => level.max(self.standing.strain.memory_fill),
            Channel::GpuTemperature | Channel::MemoryTemperature => level + self.standing.strain.heat_celsius,
            // The cycle knows the heat of its load; what the control tables add counts here.
            Channel::SoftwareThermal | Channel::HardwareThermal if self.is_overheated(channel) => 1.0,
            Channel::SmClock if self.is_overheated(Channel::HardwareThermal) => level / 2.0,
            _ => level,
        }
    }

    /// Whether heat that the control tables add takes the device past the limit of a reason to slow down.
    fn is_overheated(&self, reason: Channel) -> bool {
        let thermal = &self.facts().thermal;
        let limit = if reason == Channel::SoftwareThermal {
            thermal.gpu_max_celsius
        } else {
            thermal.slowdown_celsius
        };
        self.standing.strain.heat_celsius > 0.0 && self.temperature_celsius() >= f64::from(limit)
    }

    /// Integral of a channel from the driver's load to now, in the channel's unit times seconds.
    pub fn total(&self, channel: Channel) -> f64 {
        let integral = |at| self.machine.cycle.integral(channel, self.cycle_second(at));
        let total = integral(self.now) - integral(self.conditions.driver_loaded_at());
        (total * self.gain(channel)).max(0.0)
    }

    /// Seconds since the driver was loaded.
    pub fn seconds_since_load(&self) -> f64 {
        (self.now - self.conditions.driver_loaded_at()).max(0.0)
    }

    /// Mean of a channel from `from` (unix seconds) to now; the level now when no time has passed.
    pub fn mean_since(&self, from: f64, channel: Channel) -> f64 {
        let seconds = self.now - from;
        if seconds <= 0.0 {
            return self.level(channel);
        }
        let integral = |at| self.machine.cycle.integral(channel, self.cycle_second(at));
        (integral(self.now) - integral(from)) * self.gain(channel) / seconds
    }

    fn gain(&self, channel: Channel) -> f64 {
        self.variation.gains[channel as usize]
    }

    fn cycle_second(&self, at: f64) -> f64 {
        (at - self.machine.profile.boot).max(0.0) + self.variation.phase_seconds
    }

    /// Power draw at this moment.
    pub fn power_watts(&self) -> f64 {
        self.level(Channel::Power)
    }

    /// Power draw over the last second.
    pub fn power_mean_watts(&self) -> f64 {
        self.at(self.now).mean_since(self.now - 1.0, Channel::Power)
    }

    /// Energy since the driver was loaded.
    pub fn energy_joules(&self) -> f64 {
        self.total(Channel::Power)
    }

    /// GPU temperature.
    pub fn temperature_celsius(&self) -> f64 {
        self.level(Channel::GpuTemperature) + self.variation.inlet_celsius
    }

    /// Memory temperature, where there is a sensor.
    pub fn memory_temperature_celsius(&self) -> Option<f64> {
        self.facts()
            .thermal
            .memory_sensor
            .then(|| self.level(Channel::MemoryTemperature) + self.variation.inlet_celsius)
    }

    /// SM clock, in the hardware's steps of 15 MHz.
    pub fn sm_clock_megahertz(&self) -> u32 {
        (self.level(Channel::SmClock) / 15.0).round() as u32 * 15
    }

    /// Video clock: it follows the SM clock.
    pub fn video_clock_megahertz(&self) -> u32 {
        let clocks = &self.facts().clocks;
        let ratio = self.level(Channel::SmClock) / clocks.core_max_megahertz;
        let floor = clocks.core_idle_megahertz;
        (f64::from(self.nvidia().video_max_megahertz) * ratio).max(floor) as u32 / 15 * 15
    }

    /// Whether a flag channel is up.
    pub fn is_active(&self, channel: Channel) -> bool {
        self.level(channel) >= 0.5
    }

    /// How busy an instance is beside the device as a whole, as a factor on every load.
    pub fn instance_gain(&self, instance: &Instance) -> f64 {
        self.machine.instance_gain(self.index, instance.id)
    }

    /// The instance with this GPU instance id.
    pub fn instance(&self, id: u32) -> Option<&'a Instance> {
        self.standing.instances.iter().find(|instance| instance.id == id)
    }

    /// UUID of a compute instance.
    pub fn instance_uuid(&self, instance: &Instance, compute: u32) -> String {
        self.machine.instance_uuid(self.index, instance.id, compute)
    }

    /// Memory errors since the driver was loaded.
    pub fn ecc_errors_volatile(&self, severity: Severity, scope: Scope) -> u64 {
        let from = self.conditions.driver_loaded_at() - self.machine.profile.boot;
        self.ecc_errors(severity, scope, from)
    }

    /// Memory errors of the device's life.
    pub fn ecc_errors_aggregate(&self, severity: Severity, scope: Scope) -> u64 {
        let before = match (severity, scope) {
            (Severity::Corrected, Scope::Dram) => self.facts().ecc.corrected_before_boot,
            _ => 0,
        };
        self.ecc_errors(severity, scope, 0.0).saturating_add(before)
    }

    fn ecc_errors(&self, severity: Severity, scope: Scope, from_seconds: f64) -> u64 {
        let natural = match (severity, scope) {
            (Severity::Corrected, Scope::Dram) => {
                self.occurrences(self.facts().ecc.corrected_per_day, 0, from_seconds)
            }
            _ => 0,
        };
        natural.saturating_add(self.standing.ecc_errors(severity, scope))
    }

    /// PCIe retransmissions since the driver was loaded.
    pub fn pcie_replays(&self) -> u64 {
        let from = self.conditions.driver_loaded_at() - self.machine.profile.boot;
        self.occurrences(self.facts().pcie.replays_per_day, 1, from)
    }

    /// Bytes over PCIe since the driver was loaded, as far as the counter goes.
    pub fn pcie_bytes(&self, direction: Channel) -> u64 {
        let bits = self.facts().pcie.byte_counter_bits.unwrap_or(64);
        self.total(direction) as u64 & (u64::MAX >> (64 - bits))
    }

    /// Number of events of a kind from a second after boot until now.
    fn occurrences(&self, per_day: f64, kind: u64, from_seconds: f64) -> u64 {
        let salt = self.machine.event_salt(self.index, kind);
        hash::occurrences(per_day, salt, from_seconds, self.now - self.machine.profile.boot)
    }

    /// Whether a link of the device is up.
    pub fn link_is_up(&self, link: u32) -> bool {
        self.standing.links.iter().all(|trouble| trouble.link != link || !trouble.down)
    }

    /// Errors of a link since the driver was loaded.
    pub fn link_errors(&self, link: u32) -> LinkErrors {
        let nvlink = self.facts().nvidia.as_ref().and_then(|nvidia| nvidia.nvlink.as_ref());
        let per_day = nvlink.map_or(0.0, |nvlink| nvlink.replays_per_day);
        let from = self.conditions.driver_loaded_at() - self.machine.profile.boot;
        let natural = self.occurrences(per_day, 16 + u64::from(link), from);
        let start = LinkErrors { replays: natural, ..LinkErrors::default() };
        self.standing.links.iter().filter(|trouble| trouble.link == link).fold(start, |sum, trouble| {
            LinkErrors {
                replays: sum.replays.saturating_add(trouble.replays),
                recoveries: sum.recoveries.saturating_add(trouble.recoveries),
                crc_errors: sum.crc_errors.saturating_add(trouble.crc_errors),
            }
        })
    }

    /// Share of the device's NVLink traffic on one link, 0 to 1.
    pub fn link_share(&self, link: u32) -> f64 {
        self.variation.link_shares.get(link as usize).copied().unwrap_or_default()
    }

    /// Bytes over NVLink since the driver was loaded: payload, or with protocol (`raw`); on one link, or all.
    pub fn link_bytes(&self, direction: Channel, link: Option<u32>, raw: bool) -> f64 {
        let share = link.map_or(1.0, |link| self.link_share(link));
        let overhead = if raw { NVLINK_PROTOCOL_OVERHEAD } else { 1.0 };
        self.total(direction) * share * overhead
    }
}

#[cfg(test)]
mod tests {
    use super::Device;
    use crate::conditions::Conditions;
    use crate::control::{Control, Ecc, Heat, Link, Memory, Scope, Severity};
    use crate::cycle::Channel;
    use crate::machine::Machine;
    use crate::profile::Profile;
    use crate::workload::Workload;

    const NOW: f64 = 1_760_000_123.25;

    fn machine(name: &str) -> Machine {
        Machine::new(Profile::open(name).expect("built in"), Workload::Mixed, 1)
    }

    fn conditions(machine: &Machine, control: &Control) -> Conditions {
        let control = machine.profile().control.overlaid(control);
        Conditions::new(machine.profile(), &control).expect("it fits")
    }

    /// Everything that a device reports, as text: equal text is equal state.
    fn dump(device: &Device<'_>) -> String {
        let levels: Vec<f64> = [Channel::Power, Channel::Tensor, Channel::PcieReceive, Channel::SmClock]
            .iter()
            .flat_map(|channel| [device.level(*channel), device.total(*channel)])
            .collect();
        format!(
            "{} {} {levels:?} {:?} {:?} {:?} {}",
            device.uuid(),
            device.serial(),
            device.memory_bytes(),
            device.link_errors(0),
            device.processes().collect::<Vec<_>>(),
            device.temperature_celsius(),
        )
    }

    #[test]
    fn two_machines_agree_and_two_seeds_do_not() {
        let (one, two) = (machine("h100-mig"), machine("h100-mig"));
        let other = Machine::new(Profile::open("h100-mig").expect("built in"), Workload::Mixed, 2);
        let say = |machine: &Machine, index, now| {
            let conditions = conditions(machine, &Control::default());
            dump(&Device::new(machine, &conditions, index, now).expect("it is there"))
        };
        for index in 0..2 {
            assert_eq!(say(&one, index, NOW), say(&two, index, NOW));
            assert_ne!(say(&one, index, NOW), say(&other, index, NOW));
            assert_ne!(say(&one, index, NOW), say(&one, index, NOW + 1.0));
        }
        assert_ne!(say(&one, 0, NOW), say(&one, 1, NOW));
    }

    #[test]
    fn energy_is_the_integral_of_power() {
        let machine = machine("h100-sxm-8");
        let healthy = conditions(&machine, &Control::default());
        let device = Device::new(&machine, &healthy, 5, NOW).expect("it is there");
        let seconds = 700;
        let sum: f64 = (0..seconds * 10)
            .map(|step| device.at(NOW + (f64::from(step) + 0.5) / 10.0).power_watts() / 10.0)
            .sum();
        let energy = device.at(NOW + f64::from(seconds)).energy_joules() - device.energy_joules();
        assert!((energy - sum).abs() < 1e-3 * sum, "{energy} J and {sum} J");
        let mean = device.at(NOW + f64::from(seconds)).mean_since(NOW, Channel::Power);
        assert!((mean * f64::from(seconds) - energy).abs() < 1.0);
    }

    #[test]
    fn a_driver_reload_restarts_volatile_counters_alone() {
        let machine = machine("h100-sxm-8");
        let ecc = Ecc { device: 0, severity: Severity::Uncorrectable, scope: Scope::Sram, count: 2 };
        let reloaded = Control {
            driver_loaded_at: Some(NOW - 10.0),
            driver_epoch: Some(1),
            ecc: vec![ecc],
            ..Control::default()
        };
        let reloaded = conditions(&machine, &reloaded);
        let device = Device::new(&machine, &reloaded, 0, NOW).expect("it is there");
        assert!(device.energy_joules() < 7_000.0 && device.energy_joules() > 900.0);
        assert_eq!(device.at(NOW - 10.0).energy_joules().to_bits(), 0.0f64.to_bits());
        assert_eq!(device.ecc_errors_volatile(Severity::Corrected, Scope::Dram), 0);
        assert!(device.ecc_errors_aggregate(Severity::Corrected, Scope::Dram) > 0);
        assert_eq!(device.ecc_errors_volatile(Severity::Uncorrectable, Scope::Sram), 2);
        assert_eq!(device.ecc_errors_aggregate(Severity::Uncorrectable, Scope::Sram), 2);
    }

    #[test]
    fn a_narrow_byte_counter_wraps() {
        let mut profile = Profile::open("h100-sxm-8").expect("built in");
        let wide = machine("h100-sxm-8");
        profile.device.pcie.byte_counter_bits = Some(32);
        let narrow = Machine::new(profile, Workload::Mixed, 1);
        let read = |machine: &Machine| {
            let healthy = conditions(machine, &Control::default());
            let device = Device::new(machine, &healthy, 0, NOW).expect("it is there");
            device.pcie_bytes(Channel::PcieReceive)
        };
        assert!(read(&wide) > 1 << 32);
        assert_eq!(read(&narrow), read(&wide) & 0xffff_ffff);
    }

    #[test]
    fn strain_fills_memory_and_heats_past_the_limits() {
        let machine = machine("h100-sxm-8");
        let control = Control {
            memory: vec![Memory { device: 0, fill: 0.97 }],
            heat: vec![Heat { device: 1, celsius: 60.0 }],
            ..Control::default()
        };
        let conditions = conditions(&machine, &control);
        let device = |index| Device::new(&machine, &conditions, index, NOW).expect("it is there");
        let memory = device(0).memory_bytes();
        assert_eq!(memory.total, memory.reserved + memory.used + memory.free);
        assert!(memory.used as f64 > 0.96 * memory.total as f64);
        assert!(device(1).memory_bytes().used < memory.used);
        for reason in [Channel::SoftwareThermal, Channel::HardwareThermal] {
            assert!(device(1).is_active(reason) && !device(0).is_active(reason), "{reason:?}");
        }
        assert!(device(1).sm_clock_megahertz() < device(0).sm_clock_megahertz());
        assert!(device(1).temperature_celsius() > device(0).temperature_celsius() + 40.0);
    }

    #[test]
    fn memory_adds_up_whole_and_cut() {
        let machine = machine("h100-mig");
        let standing = conditions(&machine, &Control::default());
        for index in 0..2 {
            let device = Device::new(&machine, &standing, index, NOW).expect("it is there");
            let memory = device.memory_bytes();
            assert_eq!(memory.total, memory.reserved + memory.used + memory.free);
            assert!(memory.used > 0);
            for instance in &device.standing().instances {
                let part = device.instance_memory_bytes(instance);
                assert_eq!(part.total, part.reserved + part.used + part.free);
                assert!(part.used < memory.used);
            }
            let processes: u64 = device.processes().map(|process| process.memory_bytes).sum();
            assert!(processes <= memory.used && processes > memory.used * 99 / 100);
        }
    }

    #[test]
    fn links_share_the_traffic_and_show_their_trouble() {
        let machine = machine("h100-sxm-8");
        let trouble = Link { device: 1, link: 3, down: true, replays: 40, recoveries: 2, crc_errors: 7 };
        let standing = conditions(&machine, &Control { link: vec![trouble], ..Control::default() });
        let device = Device::new(&machine, &standing, 1, NOW).expect("it is there");
        let all = device.link_bytes(Channel::NvlinkTransmit, None, false);
        let sum: f64 =
            (0..18).map(|link| device.link_bytes(Channel::NvlinkTransmit, Some(link), false)).sum();
        assert!((all - sum).abs() < all * 1e-9);
        assert!(device.link_bytes(Channel::NvlinkTransmit, None, true) > all * 1.1);
        assert!(!device.link_is_up(3) && device.link_is_up(4));
        let errors = device.link_errors(3);
        assert!(errors.replays >= 40 && errors.recoveries == 2 && errors.crc_errors == 7);
    }
}
