//! The hwmon chip of a discrete card: energy, power limits, temperatures and fans, in hwmon's units.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use kernel::{
    File,
    file::missing,
    hwmon::{Attribute, Channel, Chip, Quantity},
};
use reading::{Ceiling, Counted, Counter, Fault, FaultCode, Measured};

/// Labels of xe's temperature channels, and the values of the label `sensor`. i915 has one sensor, without a
/// label.
const SENSORS: [(&str, &str); 20] = [
    ("pkg", "gpu"),
    ("vram", "memory"),
    ("mctrl", "memory_controller"),
    ("pcie", "pcie"),
    ("vram_ch_0", "memory_channel_0"),
    ("vram_ch_1", "memory_channel_1"),
    ("vram_ch_2", "memory_channel_2"),
    ("vram_ch_3", "memory_channel_3"),
    ("vram_ch_4", "memory_channel_4"),
    ("vram_ch_5", "memory_channel_5"),
    ("vram_ch_6", "memory_channel_6"),
    ("vram_ch_7", "memory_channel_7"),
    ("vram_ch_8", "memory_channel_8"),
    ("vram_ch_9", "memory_channel_9"),
    ("vram_ch_10", "memory_channel_10"),
    ("vram_ch_11", "memory_channel_11"),
    ("vram_ch_12", "memory_channel_12"),
    ("vram_ch_13", "memory_channel_13"),
    ("vram_ch_14", "memory_channel_14"),
    ("vram_ch_15", "memory_channel_15"),
];

/// The limits of a temperature, by the values of the label `limit`.
const TEMPERATURE_LIMITS: [(&str, Attribute); 3] =
    [("operating", Attribute::Max), ("slowdown", Attribute::Critical), ("shutdown", Attribute::Emergency)];

/// The limits of power, by the values of the label `limit`, and the files that may hold them, the first that
/// is not 0 first. Channel 1 is the card, 2 its package. Battlemage has no sustained limit (`max`), or one of
/// 0, and is held at its cap; its peak can be known for the package alone (nvtop, issues 347 and 493).
const POWER_LIMITS: [(&str, &[(u32, Attribute)]); 4] = [
    ("enforced", &[(1, Attribute::Max), (1, Attribute::Cap), (2, Attribute::Max), (2, Attribute::Cap)]),
    ("default", &[(1, Attribute::RatedMax), (2, Attribute::RatedMax)]),
    ("burst", &[(1, Attribute::Cap), (2, Attribute::Cap)]),
    ("peak", &[(1, Attribute::Critical), (2, Attribute::Critical)]),
];

/// The files of one temperature sensor.
#[derive(Debug)]
struct Temperature {
    sensor: &'static str,
    input: File,
    limits: Vec<(&'static str, File)>,
}

/// The files of one chip.
#[derive(Debug, Default)]
pub struct Sensors {
    /// Its folder, which has another number each time that the driver registers it.
    folder: PathBuf,
    energy: Vec<(File, Counter)>,
    /// Each power limit with the files that may hold it; at least one.
    limits: Vec<(&'static str, Vec<File>)>,
    temperatures: Vec<Temperature>,
    fans: Vec<File>,
}

/// What one round reads from a chip.
#[derive(Debug)]
pub struct SensorSample {
    /// Energy of the card, or of its package where the card has no counter, µJ. The driver sums it in 64
    /// bits, so it does not wrap.
    pub energy: Measured<Counted>,
    /// Power limits, µW.
    pub limits_uw: Vec<(&'static str, Measured<u64>)>,
    /// Temperatures, m°C.
    pub temperatures_mc: Vec<(&'static str, Measured<i64>)>,
    /// Their limits, m°C.
    pub temperature_limits_mc: Vec<(&'static str, &'static str, Measured<i64>)>,
    /// Fans, revolutions per minute.
    pub fans_rpm: Vec<Measured<u64>>,
}

impl Sensors {
    /// The chip that the card's driver registered; empty on an integrated GPU.
    pub fn of_card(device: &Path, driver: &str) -> Self {
        let Some(chip) = Chip::of_device(device).into_iter().find(|chip| chip.name == driver) else {
            return Self::default();
        };
        let energy = chip.channels(Quantity::Energy);
        let limits = POWER_LIMITS.into_iter().map(|(limit, places)| {
            let places = places.iter();
            let files = places.map(|(number, which)| chip.channel(Quantity::Power, *number).file(*which));
            (limit, files.filter(File::exists).collect::<Vec<_>>())
        });
        let counters = energy.iter().map(|channel| channel.file(Attribute::Input));
        Self {
            energy: counters.map(|file| (file, Counter::of_device())).collect(),
            limits: limits.filter(|(_, files)| !files.is_empty()).collect(),
            temperatures: chip.channels(Quantity::Temperature).iter().filter_map(temperature).collect(),
            fans: chip.channels(Quantity::Fan).iter().map(|channel| channel.file(Attribute::Input)).collect(),
            folder: chip.folder,
        }
    }

    /// How many files it has; of counters of energy one is used.
    pub fn count(&self) -> usize {
        let limits = self.limits.iter().map(|(_, files)| files.len()).sum::<usize>();
        let temperatures = self.temperatures.iter().map(|one| 1 + one.limits.len()).sum::<usize>();
        usize::from(!self.energy.is_empty()) + limits + temperatures + self.fans.len()
    }

    /// Whether the driver has registered it again.
    pub fn is_other(&self, earlier: &Self) -> bool {
        self.folder != earlier.folder
    }

    /// Goes on with the counter of the same chip, found earlier.
    pub fn go_on_from(&mut self, earlier: Self) {
        if !self.is_other(&earlier) && !earlier.energy.is_empty() {
            self.energy = earlier.energy;
        }
    }

    /// Reads it; wakes a sleeping card.
    pub fn read(&mut self) -> SensorSample {
        let limits_uw: Vec<_> =
            self.limits.iter().map(|(limit, files)| (*limit, power_limit(limit, files))).collect();
        SensorSample {
            energy: self.energy(&limits_uw),
            limits_uw,
            temperatures_mc: self
                .temperatures
                .iter()
                .map(|temperature| (temperature.sensor, temperature.input.number()))
                .collect(),
            temperature_limits_mc: self
                .temperatures
                .iter()
                .flat_map(|temperature| {
                    let limits = temperature.limits.iter();
                    limits.map(|(limit, file)| (temperature.sensor, *limit, file.number()))
                })
                .collect(),
            fans_rpm: self.fans.iter().map(File::number).collect(),
        }
    }

    /// By the first counter that has a value, and from then on by that one alone: the kernel reports 0 where it
    /// cannot read the card's, and the package's energy is another quantity.
    fn energy(&mut self, limits_uw: &[(&'static str, Measured<u64>)]) -> Measured<Counted> {
        let none = missing("energy_input");
        let highest = limits_uw.iter().filter_map(|(_, limit)| limit.ok()).max();
        let watts = highest.ok_or(none).map(|microwatts| microwatts as f64 * 1e-6);
        let mut counted = Err(none);
        for (position, (file, counter)) in self.energy.iter_mut().enumerate() {
            let zero = Fault::new(file.call(), FaultCode::Zero);
            let energy = file.number().and_then(|energy| if energy == 0 { Err(zero) } else { Ok(energy) });
            let ceiling = Ceiling::of_energy(watts).times(1e6);
            counted = counter.add(file.call(), Instant::now(), energy, ceiling);
            if energy.is_ok() {
                self.energy.swap(0, position);
                self.energy.truncate(1);
                break;
            }
        }
        counted
    }
}

fn temperature(channel: &Channel) -> Option<Temperature> {
    let sensor = match channel.label.as_deref() {
        None => "gpu",
        Some(label) => SENSORS.iter().find(|(known, _)| *known == label)?.1,
    };
    let limits = TEMPERATURE_LIMITS.into_iter().map(|(limit, which)| (limit, channel.file(which)));
    Some(Temperature {
        sensor,
        input: channel.file(Attribute::Input),
        limits: limits.filter(|(_, file)| file.exists()).collect(),
    })
}

/// The first limit that is not switched off, which is 0. One that cannot be read may be the one in force, so no
/// other takes its place. A default of 0 is one that the driver does not know.
fn power_limit(limit: &str, files: &[File]) -> Measured<u64> {
    for file in files {
        match file.number()? {
            0 => {}
            micro => return Ok(micro),
        }
    }
    let none = if limit == "default" { FaultCode::Zero } else { FaultCode::Disabled };
    Err(Fault::new(files.first().map_or("power_max", File::call), none))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{SensorSample, Sensors};

    #[test]
    fn a_card_whose_counter_reads_zero_has_its_packages_energy() {
        let device = tempfile::tempdir().expect("a folder");
        let chip = device.path().join("hwmon/hwmon4");
        fs::create_dir_all(&chip).expect("created");
        let put = |name: &str, text: &str| fs::write(chip.join(name), format!("{text}\n")).expect("written");
        put("name", "xe");
        put("energy1_input", "0");
        put("energy2_input", "5000000");
        put("power2_max", "0");
        put("power2_cap", "250000000");
        put("temp2_input", "61000");
        put("temp2_label", "pkg");
        put("temp2_crit", "100000");
        put("temp9_input", "1");
        put("temp9_label", "hair");
        put("fan1_input", "1830");
        let mut sensors = Sensors::of_card(device.path(), "xe");
        let sample = sensors.read();
        let energy = |sample: &SensorSample| {
            let counted = sample.energy.map_err(|fault| fault.code.name())?;
            Ok((counted.total, counted.power().map_err(|fault| fault.code.name())))
        };
        assert_eq!(energy(&sample), Err("first_reading"), "it may be a glitch");
        let code = |(limit, got): &(&'static str, super::Measured<u64>)| {
            (*limit, got.map_err(|fault| fault.code.name()))
        };
        let limits: Vec<_> = sample.limits_uw.iter().map(code).collect();
        assert_eq!(limits, [("enforced", Ok(250_000_000)), ("burst", Ok(250_000_000))]);
        assert_eq!(sample.temperatures_mc, [("gpu", Ok(61_000))]);
        assert_eq!(sample.temperature_limits_mc, [("gpu", "slowdown", Ok(100_000))]);
        assert_eq!(sample.fans_rpm, [Ok(1830)]);
        assert_eq!(energy(&sensors.read()), Ok((5_000_000, Err("counter_stands"))));
        put("energy1_input", "7000000");
        let sample = sensors.read();
        assert_eq!(
            energy(&sample),
            Ok((5_000_000, Err("counter_stands"))),
            "the other counter would be a jump"
        );
        put("energy2_input", "5000000000000");
        assert_eq!(energy(&sensors.read()), Err("rose_too_fast"));
        // A file that vanishes costs its own value only.
        fs::remove_file(chip.join("temp2_input")).expect("removed");
        put("energy2_input", "");
        let sample = sensors.read();
        assert_eq!(sample.temperatures_mc[0].1.map_err(|fault| fault.code.name()), Err("ENOENT"));
        assert_eq!(energy(&sample), Err("empty"));
        assert_eq!(sample.fans_rpm, [Ok(1830)]);
        assert!(Sensors::of_card(device.path(), "i915").read().energy.is_err());
    }

    /// The power limits of a chip with these files, watts, or why there are none.
    fn limits(files: &[(&str, &str)]) -> Vec<(&'static str, Result<u64, &'static str>)> {
        let device = tempfile::tempdir().expect("a folder");
        let chip = device.path().join("hwmon/hwmon4");
        fs::create_dir_all(&chip).expect("created");
        for (name, text) in [("name", "xe")].iter().chain(files) {
            fs::write(chip.join(name), format!("{text}\n")).expect("written");
        }
        let sample = Sensors::of_card(device.path(), "xe").read();
        let watts = |micro: u64| micro / 1_000_000;
        let limits = sample.limits_uw.into_iter();
        limits.map(|(limit, got)| (limit, got.map(watts).map_err(|fault| fault.code.name()))).collect()
    }

    #[test]
    fn each_power_limit_is_the_first_that_is_in_force() {
        let (off, cap, crit) = (("power1_max", "0"), ("power1_cap", "200000000"), "320000000");
        assert_eq!(limits(&[off, ("power2_crit", crit)]), [("enforced", Err("disabled")), ("peak", Ok(320))]);
        assert_eq!(limits(&[off, cap]), [("enforced", Ok(200)), ("burst", Ok(200))]);
        assert_eq!(limits(&[off, ("power2_max", crit)]), [("enforced", Ok(320))], "the package's");
        assert_eq!(limits(&[("power1_max", "150000000"), cap])[0], ("enforced", Ok(150)));
        assert_eq!(limits(&[("power1_max", "x"), cap])[0], ("enforced", Err("garbage")));
        assert_eq!(limits(&[("power1_rated_max", "0"), ("power2_rated_max", crit)]), [("default", Ok(320))]);
        assert_eq!(limits(&[("power1_rated_max", "0")]), [("default", Err("zero"))], "as an A380 has it");
    }
}
