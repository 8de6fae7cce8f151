//! An Intel NPU as the kernel shows it: the files that the driver `intel_vpu` has in the machine's release of
//! Linux, the PMT region of its SoC, and what else lies there. The machine's file names who described it.

use serde::Deserialize;

use crate::bus;
use crate::cycle::Channel;
use crate::kernel::Files;
use crate::live::Options;
use crate::part::{Part, Physics};
use crate::profile;

/// Processing accelerator.
const CLASS: u32 = 0x12_0000;
const VENDOR: u32 = 0x8086;
/// Memory that the driver itself keeps.
const MEMORY_OF_DRIVER: u64 = 64 << 20;

/// The table `[npu]` of a machine file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NpuProfile {
    /// PCI address.
    pub address: String,
    /// PCI device id.
    pub device: u32,
    /// Firmware, as debugfs shows it.
    pub firmware: String,
    /// Memory of the models that are loaded, MiB.
    pub model_mib: u64,
    /// Memory traffic under full load, 10^9 bytes per second.
    pub gigabytes_per_second: f64,
    /// The PMT region.
    pub telemetry: Telemetry,
    /// Power, heat, clocks.
    pub physics: Physics,
}

/// Where the NPU's registers lie in the PMT region of its SoC, in bytes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// GUID of the region.
    pub guid: u32,
    /// Length of the region.
    pub size: usize,
    /// Energy, 2^-14 J.
    pub energy: usize,
    /// Temperature in bits 40 to 47.
    pub temperatures: usize,
    /// Frequency ratio in the lowest byte.
    pub workpoint: usize,
    /// Memory traffic, kB.
    pub memory_traffic: usize,
    /// MHz of one step of the ratio, as a fraction.
    pub ratio_megahertz: (u32, u32),
}

/// The NPU of a machine.
pub struct Npu(Part<NpuProfile>);

impl Npu {
    /// Opens the NPU of a machine; `None` when it has none.
    ///
    /// # Errors
    /// When there is no such machine, or its table is not one of an NPU.
    pub fn open(options: &Options) -> Result<Option<Self>, profile::Error> {
        Ok(Part::open(options, "npu", |facts: &NpuProfile| &facts.physics)?.map(Self))
    }

    /// The kernel's files now.
    pub fn files(&mut self) -> Files {
        let now = self.0.now();
        let (part, facts) = (&self.0, &self.0.facts);
        let mut files = Files::of_machine(&part.machine);
        self.telemetry(now, &mut files);
        files.put("bus/pci/drivers/intel_vpu/bind", "");
        if part.control().hidden.contains(&0) {
            return files;
        }
        let folder = bus::folder(&facts.address);
        bus::identify(&mut files, &folder, VENDOR, facts.device, CLASS);
        for (name, value) in bus::no_link() {
            files.put(format!("{folder}/{name}"), value);
        }
        // Reading the configuration space of a function that sleeps wakes it.
        files.bytes(format!("{folder}/config"), vec![0; 64]);
        if part.is_driven() {
            self.driver(now, &folder, &mut files);
        }
        part.afflict(&mut files, now);
        files
    }

    fn asleep(&self, now: f64) -> bool {
        self.0.level(Channel::Idle, now) > 0.5
    }

    fn clock_megahertz(&self, now: f64) -> u32 {
        if self.asleep(now) { 0 } else { self.0.level(Channel::SmClock, now).round() as u32 }
    }

    /// What the driver adds while it has the device.
    fn driver(&self, now: f64, folder: &str, files: &mut Files) {
        let (part, facts) = (&self.0, &self.0.facts);
        files.link(format!("{folder}/driver"), "../../drivers/intel_vpu");
        files.link(
            format!("bus/pci/drivers/intel_vpu/{}", facts.address),
            format!("../../devices/{}", facts.address),
        );
        files.put(format!("{folder}/accel/accel0/dev"), "261:0");
        files.link("class/accel/accel0", format!("../../{folder}/accel/accel0"));
        let (major, minor) = part.release;
        files.put("module/intel_vpu/version", format_args!("1.0.0 {major}.{minor}.0"));

        let uptime = now - part.driven_since();
        let suspended = part.since_driven(Channel::Idle, now);
        let milliseconds = |seconds: f64| (seconds * 1e3) as u64;
        let mut put = |name: &str, value: String| files.put(format!("{folder}/{name}"), value);
        put("power/runtime_status", if self.asleep(now) { "suspended" } else { "active" }.to_owned());
        put("power_state", if self.asleep(now) { "D3hot" } else { "D0" }.to_owned());
        put("power/runtime_active_time", milliseconds(uptime - suspended).to_string());
        put("power/runtime_suspended_time", milliseconds(suspended).to_string());
        let busy = (part.since_driven(Channel::Graphics, now) * 1e6) as u64;
        let clocks = &facts.physics.clocks;
        let (current, lowest, highest) =
            (self.clock_megahertz(now), clocks.core_idle_megahertz as u32, clocks.core_max_megahertz as u32);
        if part.release >= (6, 11) {
            put("npu_busy_time_us", busy.to_string());
            put("sched_mode", "HW".to_owned());
        }
        if part.release >= (6, 15) {
            let models = facts.model_mib as f64 * part.level(Channel::MemoryFill, now);
            put("npu_memory_utilization", (MEMORY_OF_DRIVER + ((models as u64) << 20)).to_string());
        }
        if part.release >= (6, 16) {
            put("npu_max_frequency_mhz", highest.to_string());
            put("npu_current_frequency_mhz", current.to_string());
        }
        if part.release >= (7, 2) {
            put("freq/hw_min_freq", lowest.to_string());
            put("freq/hw_efficient_freq", (u32::midpoint(lowest, highest)).to_string());
            put("freq/hw_max_freq", highest.to_string());
            put("freq/current_freq", current.to_string());
        }
        let debug = format!("kernel/debug/accel/{}", facts.address);
        files.put(format!("{debug}/reset_counter"), 0);
        files.put(format!("{debug}/engine_reset_counter"), 0);
        files.put(format!("{debug}/fw_version"), &facts.firmware);
    }

    /// The SoC's PMT regions: one of something else, and the one with the NPU's registers.
    fn telemetry(&self, now: f64, files: &mut Files) {
        let (
            part,
            Telemetry { guid, size, energy, temperatures, workpoint, memory_traffic, ratio_megahertz },
        ) = (&self.0, &self.0.facts.telemetry);
        let mut bytes = vec![0; *size];
        let mut word =
            |offset: usize, value: u64| bytes[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
        let joules = part.since_boot(Channel::Power, now);
        word(*energy, ((joules * 16384.0) as u64) & u64::from(u32::MAX));
        word(*temperatures, (part.level(Channel::GpuTemperature, now).round() as u64) << 40);
        let (step, divisor) = ratio_megahertz;
        word(*workpoint, u64::from(self.clock_megahertz(now) * divisor / step) & 0xff | 0x02_0000);
        let kilobytes = part.since_boot(Channel::Dram, now) * part.facts.gigabytes_per_second * 1e6;
        word(*memory_traffic, kilobytes as u64 & u64::from(u32::MAX));
        let other = ("class/intel_pmt/telem0", 0x0a0b_0c0d, vec![0; 64]);
        for (folder, guid, content) in [other, ("class/intel_pmt/telem1", *guid, bytes)] {
            files.put(format!("{folder}/guid"), format_args!("{guid:#x}"));
            files.put(format!("{folder}/size"), content.len());
            files.put(format!("{folder}/offset"), 0);
            files.bytes(format!("{folder}/telem"), content);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Npu;
    use crate::clock::Clock;
    use crate::kernel::Tree;
    use crate::live::Options;
    use crate::workload::Workload;

    const MACHINES: [&str; 3] = ["nuc-arrow-lake", "nuc-lunar-lake", "nuc-panther-lake"];

    fn shown(machine: &str, workload: Workload, seconds: f64) -> tempfile::TempDir {
        let options = Options {
            machine: machine.to_owned(),
            clock: Clock::Fixed(seconds),
            workload,
            ..Options::default()
        };
        let root = tempfile::tempdir().expect("a folder");
        let mut npu = Npu::open(&options).expect("it opens").expect("it has an NPU");
        Tree::new(root.path()).expect("a root").show(npu.files()).expect("written");
        root
    }

    fn number(root: &tempfile::TempDir, name: &str) -> u64 {
        let path = root.path().join("bus/pci/devices/0000:00:0b.0").join(name);
        fs::read_to_string(path).expect(name).trim().parse().expect(name)
    }

    #[test]
    fn counters_move_with_the_load_and_not_without() {
        for machine in MACHINES {
            let [before, after] =
                [1.79e9, 1.79e9 + 60.0].map(|second| shown(machine, Workload::Decode, second));
            let busy = number(&after, "npu_busy_time_us") - number(&before, "npu_busy_time_us");
            assert!((50_000_000..=60_000_000).contains(&busy), "{machine}: {busy}");
            let [before, after] =
                [1.79e9, 1.79e9 + 60.0].map(|second| shown(machine, Workload::Idle, second));
            assert_eq!(number(&before, "npu_busy_time_us"), number(&after, "npu_busy_time_us"));
            let asleep = number(&after, "power/runtime_suspended_time")
                - number(&before, "power/runtime_suspended_time");
            assert!((59_990..=60_010).contains(&asleep), "{machine}: {asleep}");
        }
    }

    #[test]
    fn files_appear_with_the_kernel_that_brought_them() {
        let has = |machine, name| {
            let root = shown(machine, Workload::Mixed, 1.79e9);
            root.path().join("bus/pci/devices/0000:00:0b.0").join(name).exists()
        };
        for (machine, busy, memory, frequency, folder) in [
            ("nuc-meteor-lake", false, false, false, false),
            ("nuc-arrow-lake", true, false, false, false),
            ("nuc-lunar-lake", true, true, true, false),
            ("nuc-panther-lake", true, true, true, true),
        ] {
            assert_eq!(has(machine, "npu_busy_time_us"), busy, "{machine}");
            assert_eq!(has(machine, "npu_memory_utilization"), memory, "{machine}");
            assert_eq!(has(machine, "npu_current_frequency_mhz"), frequency, "{machine}");
            assert_eq!(has(machine, "freq/current_freq"), folder, "{machine}");
        }
        let gpus = Options { machine: "h100-sxm-8".to_owned(), ..Options::default() };
        assert!(Npu::open(&gpus).expect("it opens").is_none());
    }
}
