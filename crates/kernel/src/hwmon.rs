//! Sensors of the hwmon class (Documentation/hwmon/sysfs-interface.rst).

use std::path::{Path, PathBuf};

use crate::file::{File, entries};

/// What a channel measures, which is the prefix of its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// `temp*`: m°C.
    Temperature,
    /// `power*`: µW.
    Power,
    /// `energy*`: µJ.
    Energy,
    /// `fan*`: revolutions per minute.
    Fan,
    /// `in*`: mV. Channels count from 0.
    Voltage,
    /// `curr*`: mA.
    Current,
}

/// A file of a channel, which is the suffix after `temp1_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// `input`: the reading.
    Input,
    /// `max`: upper limit of the operating range, or of power.
    Max,
    /// `crit`: limit at which the device slows down.
    Critical,
    /// `emergency`: limit at which the device shuts down.
    Emergency,
    /// `cap`: power limit that the user has set.
    Cap,
    /// `rated_max`: highest power limit that the part is rated for.
    RatedMax,
}

/// Suffixes of files, and the calls in faults, which leave out the number of the channel so that there are
/// few.
const NAMES: &[(Quantity, Attribute, &str, &str)] = &[
    (Quantity::Temperature, Attribute::Input, "input", "temp_input"),
    (Quantity::Temperature, Attribute::Max, "max", "temp_max"),
    (Quantity::Temperature, Attribute::Critical, "crit", "temp_crit"),
    (Quantity::Temperature, Attribute::Emergency, "emergency", "temp_emergency"),
    (Quantity::Power, Attribute::Input, "input", "power_input"),
    (Quantity::Power, Attribute::Max, "max", "power_max"),
    (Quantity::Power, Attribute::Critical, "crit", "power_crit"),
    (Quantity::Power, Attribute::Cap, "cap", "power_cap"),
    (Quantity::Power, Attribute::RatedMax, "rated_max", "power_rated_max"),
    (Quantity::Energy, Attribute::Input, "input", "energy_input"),
    (Quantity::Fan, Attribute::Input, "input", "fan_input"),
    (Quantity::Fan, Attribute::Max, "max", "fan_max"),
    (Quantity::Voltage, Attribute::Input, "input", "in_input"),
    (Quantity::Current, Attribute::Input, "input", "curr_input"),
    (Quantity::Current, Attribute::Critical, "crit", "curr_crit"),
];

impl Quantity {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Temperature => "temp",
            Self::Power => "power",
            Self::Energy => "energy",
            Self::Fan => "fan",
            Self::Voltage => "in",
            Self::Current => "curr",
        }
    }
}

/// A chip, which is a folder `hwmon<n>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chip {
    /// Its folder.
    pub folder: PathBuf,
    /// The name that its driver gives it: `xe`, `coretemp`.
    pub name: String,
}

impl Chip {
    /// The chips of one device, in `hwmon/` of its folder.
    pub fn of_device(device: &Path) -> Vec<Self> {
        Self::below(&device.join("hwmon"))
    }

    /// All chips of the machine, by their devices' folders: a name in the class becomes another chip's when the driver
    /// is loaded again.
    pub fn all(sysfs: &Path) -> Vec<Self> {
        let chips = Self::below(&sysfs.join("class/hwmon")).into_iter();
        chips.map(|chip| Self { folder: chip.folder.canonicalize().unwrap_or(chip.folder), ..chip }).collect()
    }

    fn below(folder: &Path) -> Vec<Self> {
        let chips = entries(folder).into_iter().filter(|name| name.starts_with("hwmon"));
        chips
            .filter_map(|chip| {
                let folder = folder.join(chip);
                let name = File::new(&folder, "name").text().ok()?;
                Some(Self { folder, name })
            })
            .collect()
    }

    /// The channels that measure `quantity`, in order of their numbers.
    pub fn channels(&self, quantity: Quantity) -> Vec<Channel> {
        let mut channels: Vec<_> = entries(&self.folder)
            .iter()
            .filter_map(|file| {
                let number = file.strip_prefix(quantity.prefix())?.strip_suffix("_input")?.parse().ok()?;
                Some(self.channel(quantity, number))
            })
            .collect();
        channels.sort_by_key(|channel| channel.number);
        channels
    }

    /// A channel by number, for one without `_input`: some chips have only a power limit.
    pub fn channel(&self, quantity: Quantity, number: u32) -> Channel {
        let label = self.folder.join(format!("{}{number}_label", quantity.prefix()));
        let label = File::called(label, "label").text().ok();
        Channel { folder: self.folder.clone(), quantity, number, label }
    }
}

/// One sensor of a chip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    folder: PathBuf,
    quantity: Quantity,
    /// The number in the names of its files.
    pub number: u32,
    /// The label that its driver gives it, if any.
    pub label: Option<String>,
}

impl Channel {
    /// One of its files, which need not exist.
    ///
    /// # Panics
    /// When hwmon has no such attribute of the quantity, which is a programming error.
    pub fn file(&self, attribute: Attribute) -> File {
        let row = NAMES.iter().find(|row| row.0 == self.quantity && row.1 == attribute);
        let (_, _, suffix, call) = row.expect("hwmon defines it");
        File::called(self.folder.join(format!("{}{}_{suffix}", self.quantity.prefix(), self.number)), call)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Attribute, Chip, Quantity};

    #[test]
    fn channels_are_found_with_their_labels_and_gaps() {
        let sysfs = tempfile::tempdir().expect("a folder");
        let chip = sysfs.path().join("class/hwmon/hwmon3");
        fs::create_dir_all(&chip).expect("created");
        for (file, text) in [
            ("name", "xe"),
            ("temp2_input", "61000"),
            ("temp2_label", "pkg"),
            ("temp10_input", "50000"),
            ("temp2_crit", "100000"),
            ("power1_max", "200000000"),
            ("in0_input", "780"),
        ] {
            fs::write(chip.join(file), format!("{text}\n")).expect("written");
        }
        fs::create_dir(sysfs.path().join("class/hwmon/hwmon4")).expect("a chip that is being removed");
        let chips = Chip::all(sysfs.path());
        assert_eq!(chips.iter().map(|chip| chip.name.as_str()).collect::<Vec<_>>(), ["xe"]);
        let temperatures = chips[0].channels(Quantity::Temperature);
        let seen: Vec<_> = temperatures
            .iter()
            .map(|channel| {
                (channel.number, channel.label.as_deref(), channel.file(Attribute::Input).number())
            })
            .collect();
        assert_eq!(seen, [(2, Some("pkg"), Ok(61_000)), (10, None, Ok(50_000))]);
        let limit = temperatures[0].file(Attribute::Critical);
        assert_eq!((limit.call(), limit.number()), ("temp_crit", Ok(100_000)));
        assert_eq!(chips[0].channels(Quantity::Power), []);
        assert_eq!(
            chips[0].channel(Quantity::Power, 1).file(Attribute::Max).number::<u64>(),
            Ok(200_000_000)
        );
        assert_eq!(chips[0].channels(Quantity::Voltage)[0].number, 0);
    }
}
