//! What only an Intel GPU has: the table `[device.xpu]` of a machine.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::hold;

/// What only an Intel GPU has.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Xpu {
    /// `xe` or `i915`.
    pub kernel_driver: String,
    /// Whether it shares the host's memory and has no sensors of its own.
    pub integrated: bool,
    /// Engines of each class, as the kernel calls the classes: rcs, ccs, bcs, vcs, vecs.
    pub engines: BTreeMap<String, u32>,
    /// Highest clock of the media GT; absent where the media engines belong to the graphics GT.
    pub media_max_megahertz: Option<u32>,
    /// Number of the first card in the drm class; render nodes count from 128 on.
    pub first_card: u32,
    /// What the memory can move, read and written together.
    pub memory_gigabytes_per_second: f64,
    /// Files of the hwmon chip, as the kernel of the machine shows them.
    #[serde(default)]
    pub hwmon: Vec<HwmonFile>,
    /// Channels of memory that have a sensor of their own, from `temp6` on.
    #[serde(default)]
    pub memory_channel_sensors: u32,
    /// Highest speed of a fan.
    #[serde(default)]
    pub fan_max_rpm: u32,
    /// Whether it counts errors by category (data-centre parts do, Battlemage does not).
    #[serde(default)]
    pub ras: bool,
    /// Fabric ports (Xe Link); 0 on all but data-centre parts.
    #[serde(default)]
    pub fabric_ports: u32,
    /// Tiles, each with its own GT; absent is one.
    #[serde(default = "one")]
    pub tiles: u32,
    /// `on`: never suspended; `auto`: suspended when idle.
    pub runtime_power: String,
    /// After how much idleness it would be.
    pub autosuspend_delay_ms: u32,
}

fn one() -> u32 {
    1
}

/// A file of a hwmon chip: `power1_cap: 190000000`, or `energy1_input: {card_energy}` where it is measured.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct HwmonFile {
    /// Its name.
    pub name: String,
    /// Its content.
    pub shows: Shown,
}

/// What a hwmon file shows.
#[derive(Clone, Debug)]
pub enum Shown {
    /// Always this text.
    Text(String),
    /// What a sensor measures.
    Measured(Sensor),
}

/// What a sensor of a card measures, in the unit of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sensor {
    /// Energy of the card, µJ.
    CardEnergy,
    /// Energy of its package, µJ.
    PackageEnergy,
    /// Temperature of the package, m°C.
    PackageTemperature,
    /// Temperature of the memory, m°C.
    MemoryTemperature,
    /// Speed of a fan, revolutions per minute.
    Fan,
}

impl TryFrom<String> for HwmonFile {
    type Error = String;

    fn try_from(line: String) -> Result<Self, String> {
        let (name, shows) = line.split_once(": ").ok_or_else(|| format!("{line:?}: not `file: content`"))?;
        let shows = match shows.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            None => Shown::Text(shows.to_owned()),
            Some("card_energy") => Shown::Measured(Sensor::CardEnergy),
            Some("package_energy") => Shown::Measured(Sensor::PackageEnergy),
            Some("package_temperature") => Shown::Measured(Sensor::PackageTemperature),
            Some("memory_temperature") => Shown::Measured(Sensor::MemoryTemperature),
            Some("fan") => Shown::Measured(Sensor::Fan),
            Some(_) => return Err(format!("{line:?}: no such sensor")),
        };
        Ok(Self { name: name.to_owned(), shows })
    }
}

impl Xpu {
    /// A limit that its hwmon chip shows of the card, else of its package, W: `max`, `cap` or `crit`.
    pub fn power_limit(&self, which: &str) -> Option<f64> {
        let names = [1, 2].map(|channel| format!("power{channel}_{which}"));
        let number = |name: &String| {
            let file = self.hwmon.iter().find(|file| file.name == *name)?;
            let Shown::Text(microwatts) = &file.shows else { return None };
            microwatts.parse::<f64>().ok()
        };
        names.iter().find_map(number).map(|microwatts| microwatts / 1e6)
    }

    /// Fans that its hwmon chip shows.
    pub fn fans(&self) -> usize {
        let is_fan = |file: &&HwmonFile| file.name.starts_with("fan") && file.name.ends_with("_input");
        self.hwmon.iter().filter(is_fan).count()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let engines = self.engines.values().all(|count| (1..=64).contains(count));
        hold(&[
            (
                ["xe", "i915"].contains(&self.kernel_driver.as_str()),
                "device.xpu: kernel_driver must be xe or i915",
            ),
            (
                ["on", "auto"].contains(&self.runtime_power.as_str()),
                "device.xpu: runtime_power must be on or auto",
            ),
            ((1..=4).contains(&self.tiles), "device.xpu: 1 to 4 tiles"),
            (self.fabric_ports <= 16, "device.xpu: at most 16 fabric_ports"),
            (self.memory_channel_sensors <= 16, "device.xpu: at most 16 memory_channel_sensors"),
            (!self.integrated || self.hwmon.is_empty(), "device.xpu: an integrated GPU has no hwmon chip"),
            (engines, "device.xpu.engines: 1 to 64 of each class"),
            (
                self.memory_gigabytes_per_second > 0.0,
                "device.xpu: memory_gigabytes_per_second must be above 0",
            ),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::{HwmonFile, Sensor, Shown};

    #[test]
    fn a_hwmon_file_is_a_name_and_a_text_or_a_sensor() {
        let parse = |line: &str| HwmonFile::try_from(line.to_owned());
        let cap = parse("power1_cap: 190000000").expect("a constant");
        assert!(matches!(cap.shows, Shown::Text(text) if cap.name == "power1_cap" && text == "190000000"));
        let energy = parse("energy2_input: {package_energy}").expect("a sensor");
        assert!(matches!(energy.shows, Shown::Measured(Sensor::PackageEnergy)));
        for line in ["power1_cap", "energy1_input: {joules}"] {
            assert!(parse(line).expect_err(line).contains(line));
        }
    }
}
