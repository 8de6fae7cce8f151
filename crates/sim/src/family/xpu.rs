//! An Intel GPU at one moment: what the kernel and Level Zero both report of it, so that they agree.

use drm_sys::{i915, xe};

use crate::cycle::Channel;
use crate::device::Device;
use crate::live::Moment;
use crate::profile::Xpu;

mod tree;

pub use tree::files;

/// Ticks of a GT's clock in a second.
pub const TICKS_PER_SECOND: f64 = 19_200_000.0;
/// How a simulated render node begins; its memory regions follow.
pub const NODE_MAGIC: &[u8] = b"accelsim render node\n";
/// Where Battlemage's energy counter starts again from 0: 2^18 J, in µJ.
pub const ENERGY_WRAP_MICROJOULES: u64 = 262_144_000_000;

/// One GPU at one moment.
#[derive(Clone, Copy)]
pub struct Gpu<'a> {
    /// Everything that any device has.
    pub device: Device<'a>,
    /// The machine that it is in.
    pub machine: &'a str,
    /// What only an Intel GPU has.
    pub facts: &'a Xpu,
    /// Seconds since the driver was loaded.
    pub uptime_seconds: f64,
    /// Whether runtime power management has suspended it.
    pub asleep: bool,
}

/// Why clocks are below their maximum, by the kernel's words for it.
const THROTTLE: [(&str, Channel); 4] = [
    ("pl1", Channel::PowerCap),
    ("pl4", Channel::PowerBrake),
    ("thermal", Channel::SoftwareThermal),
    ("prochot", Channel::HardwareThermal),
];

impl<'a> Gpu<'a> {
    /// The GPU at a place of the machine, hidden or not; `None` when it is no Intel GPU.
    pub fn of(moment: &'a Moment<'_>, index: usize) -> Option<Self> {
        let device = moment.device(index)?;
        let facts = device.facts().xpu.as_ref()?;
        let uptime_seconds = (moment.seconds() - moment.conditions().driver_loaded_at()).max(0.0);
        let machine = &moment.machine().profile().name;
        Some(Self { device, machine, facts, uptime_seconds, asleep: device.standing().asleep })
    }

    /// PCI address.
    pub fn address(&self) -> String {
        self.device.facts().pci_addresses[self.device.index()].to_lowercase()
    }

    /// Seconds for which one engine of a class was busy since the driver was loaded.
    pub fn busy_seconds(&self, class: &str) -> f64 {
        match class {
            "ccs" => self.device.total(Channel::Graphics),
            "rcs" => self.device.total(Channel::Fp32),
            "bcs" => self.device.total(Channel::PcieReceive) / self.device.facts().pcie.bytes_per_second(),
            "vcs" => self.device.total(Channel::Decoder),
            "vecs" => self.device.total(Channel::Jpeg),
            _ => self.device.total(Channel::Occupancy),
        }
    }

    /// Milliseconds for which a GT slept since the driver was loaded: 0 computes, 1 is media.
    pub fn idle_milliseconds(&self, gt: u32) -> u64 {
        let busy = self.device.total(if gt == 0 { Channel::Graphics } else { Channel::Decoder });
        ((self.uptime_seconds - busy).max(0.0) * 1e3) as u64
    }

    /// Clock of a GT, MHz; 0 while it sleeps.
    pub fn clock_megahertz(&self, gt: u32) -> u32 {
        match gt {
            0 if self.device.is_active(Channel::Idle) => 0,
            0 => self.device.level(Channel::SmClock) as u32 / 50 * 50,
            _ if self.device.level(Channel::Decoder) == 0.0 => 0,
            _ => self.clock_max_megahertz(1),
        }
    }

    /// Highest clock of a GT, MHz.
    pub fn clock_max_megahertz(&self, gt: u32) -> u32 {
        if gt == 0 {
            self.device.facts().clocks.core_max_megahertz as u32
        } else {
            self.facts.media_max_megahertz.unwrap_or(self.device.facts().clocks.core_max_megahertz as u32)
        }
    }

    /// Energy since the driver was loaded, µJ.
    pub fn energy_microjoules(&self) -> u64 {
        (self.device.energy_joules() * 1e6) as u64
    }

    /// Of it, that of the package, which is most of it.
    pub fn package_energy_microjoules(&self) -> u64 {
        self.energy_microjoules() / 10 * 9
    }

    /// Temperature of the package and of the memory, °C, in steps of its sensors.
    pub fn celsius(&self) -> (f64, Option<f64>) {
        let memory = self.device.memory_temperature_celsius();
        (self.device.temperature_celsius().round(), memory.map(f64::round))
    }

    /// Speed of a fan, which follows the temperature.
    pub fn fan_rpm(&self) -> u32 {
        let share = ((self.celsius().0 - 30.0) / 60.0).clamp(0.2, 1.0);
        (f64::from(self.facts.fan_max_rpm) * share) as u32
    }

    /// Bytes read from and written to device memory since the driver was loaded.
    pub fn memory_traffic_bytes(&self) -> (u64, u64) {
        let moved = self.device.total(Channel::Dram) * self.facts.memory_gigabytes_per_second * 1e9;
        // Decoding reads weights far more than it writes.
        let read = (moved * 0.85) as u64;
        (read, moved as u64 - read)
    }

    /// What the render node returns for the memory-region query of the kernel's driver: a head with the
    /// count, then the regions.
    pub fn memory_regions(&self) -> Vec<u8> {
        let memory = self.device.memory_bytes();
        let used = memory.used + memory.reserved;
        let is_xe = self.facts.kernel_driver == "xe";
        let layout = if is_xe { xe::LAYOUT } else { i915::LAYOUT };
        let mut regions = vec![(0, 64u64 << 30, 8u64 << 30)];
        if !self.facts.integrated {
            regions.push((layout.video_memory, memory.total, used));
        }
        let mut bytes = vec![0; layout.head];
        bytes[0] = regions.len() as u8;
        for (class, total, used) in regions {
            let mut region = vec![0; layout.region];
            let rest = if is_xe { used } else { total - used };
            region[layout.class..][..2].copy_from_slice(&class.to_le_bytes());
            region[layout.total..][..8].copy_from_slice(&total.to_le_bytes());
            region[layout.rest..][..8].copy_from_slice(&rest.to_le_bytes());
            bytes.extend(region);
        }
        bytes
    }

    /// The words of what holds clocks down now.
    pub fn throttle(&self) -> Vec<&'static str> {
        let active = THROTTLE.iter().filter(|(_, channel)| self.device.is_active(*channel));
        active.map(|(word, _)| *word).collect()
    }
}
