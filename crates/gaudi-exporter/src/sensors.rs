//! Which channel of the board's hwmon chip is the die, the board or the memory.
//!
//! The habanalabs driver does not label its channels; the labels are in a configuration of lm-sensors that
//! the driver's package installs (`/etc/sensors.d/hl_sensors.conf`). HLML's own temperature is the hottest of
//! those whose label begins with "On Chip", found through that file by a call that leaks memory each time, so
//! the same channels are read here.

use std::path::Path;

use kernel::{
    File,
    hwmon::{Attribute, Channel, Chip, Quantity},
};
use reading::{Absence, Fault, FaultCode, Measured};
use source::user_file;

/// How labels begin, by what they are: "On Chip" is what HLML itself looks for, the others are the words of
/// its sensors (`hlml_temperature_sensors_t`).
const PREFIXES: [&[&str]; 3] = [&["On Chip"], &["On Board"], &["HBM", "On HBM"]];

/// The temperature channels of a board: of its die, of the board itself, of its memory.
#[derive(Clone, Debug, Default)]
pub struct Sensors {
    groups: [Vec<File>; 3],
    /// Draw of the whole board, µW.
    power: Option<File>,
}

impl Sensors {
    /// Those of the device whose files are in one of `folders`, with labels from the driver or else from the
    /// `configuration` of lm-sensors.
    pub fn find(folders: &[&Path], configuration: &Path) -> Self {
        let Some(chip) = folders.iter().flat_map(|folder| Chip::of_device(folder)).next() else {
            return Self::default();
        };
        let labels = user_file::read(configuration, user_file::WRITTEN_MAX)
            .map(|text| labels(&text, &chip.name))
            .unwrap_or_default();
        let label = |channel: &Channel| {
            let configured = || labels.iter().rev().find(|(number, _)| *number == channel.number);
            channel.label.clone().or_else(|| configured().map(|(_, label)| label.clone()))
        };
        let channels = chip.channels(Quantity::Temperature);
        let groups = PREFIXES.map(|prefixes| {
            let is_ours = |channel: &&Channel| {
                label(channel).is_some_and(|label| prefixes.iter().any(|prefix| label.starts_with(prefix)))
            };
            channels.iter().filter(is_ours).map(|channel| channel.file(Attribute::Input)).collect()
        });
        let power = chip.channels(Quantity::Power).first().map(|channel| channel.file(Attribute::Input));
        Self { groups, power }
    }

    /// How many channels there are.
    pub fn count(&self) -> usize {
        self.groups.iter().map(Vec::len).sum::<usize>() + usize::from(self.power.is_some())
    }

    /// Which of die, board and memory have a channel.
    pub fn have(&self) -> [bool; 3] {
        self.groups.each_ref().map(|files| !files.is_empty())
    }

    /// The hottest channel of each, m°C.
    pub fn millidegrees(&self) -> [Measured<i64>; 3] {
        self.groups.each_ref().map(|files| {
            let none = Fault::new("temp_input", FaultCode::NoLabel);
            // One channel that cannot be read may be the hottest.
            let all: Vec<i64> = files.iter().map(File::number).collect::<Result<_, _>>()?;
            all.into_iter().max().ok_or(none)
        })
    }

    /// Draw of the board, µW.
    pub fn microwatts(&self) -> Measured<u64> {
        let none = Fault::returned(Absence::Unsupported, "power_input", "ENOENT");
        self.power.as_ref().ok_or(none)?.number()
    }
}

/// Channel and label of the `label temp<n> "..."` statements for a chip; later ones win. A channel that an
/// `ignore` statement names has none.
fn labels(configuration: &str, chip: &str) -> Vec<(u32, String)> {
    // As libsensors names a chip on the PCI bus; the address at the end makes no difference.
    let name = format!("{chip}-pci-0");
    let mut is_ours = false;
    let mut labels = Vec::new();
    let mut ignored = Vec::new();
    for line in configuration.lines() {
        let statement = line.split('#').next().unwrap_or_default().trim();
        let (word, rest) = statement.split_once(char::is_whitespace).unwrap_or((statement, ""));
        let channel = |text: &str| text.trim().strip_prefix("temp").and_then(|number| number.parse().ok());
        match word {
            "chip" => is_ours = rest.split('"').skip(1).step_by(2).any(|pattern| matches(pattern, &name)),
            "label" if is_ours => {
                let mut parts = rest.splitn(3, '"');
                if let (Some(number), Some(label)) = (parts.next().and_then(channel), parts.next()) {
                    labels.push((number, label.to_owned()));
                }
            }
            "ignore" if is_ours => ignored.extend(channel(rest)),
            _ => {}
        }
    }
    labels.retain(|(number, _)| !ignored.contains(number));
    labels
}

/// Whether a name matches a pattern in which `*` matches anything.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => name.strip_prefix(head).is_some_and(|rest| {
            (0..=rest.len()).filter_map(|at| rest.get(at..)).any(|rest| matches(tail, rest))
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const CONFIGURATION: &str = r#"
        chip "HL225-pci-*"
            label temp1 "On Chip A"
        # Another board.
        chip "HL325L-pci-*" "HL328-pci-*"
            label temp1 "On Board"   # near the edge
            label temp2 "On Chip 0"
            label temp3 "On Chip 1"
            label temp5 "HBM 0"
            label in1 "VDD"
            label temp6 "On Chip 2"
            ignore temp6
            label temp7
    "#;

    fn board() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let chip = folder.path().join("hwmon/hwmon3");
        fs::create_dir_all(&chip).expect("created");
        let put = |name: &str, text: &str| fs::write(chip.join(name), format!("{text}\n")).expect("written");
        put("name", "HL325L");
        for (number, millidegrees) in [(1, 41_000), (2, 61_000), (3, 63_500), (5, 70_000), (6, 99_000)] {
            put(&format!("temp{number}_input"), &millidegrees.to_string());
        }
        put("power1_input", "226000000");
        fs::write(folder.path().join("sensors.conf"), CONFIGURATION).expect("written");
        folder
    }

    #[test]
    fn the_hottest_channel_of_each_group_is_read() {
        let board = board();
        let sensors = Sensors::find(&[board.path()], &board.path().join("sensors.conf"));
        assert_eq!(sensors.have(), [true; 3]);
        assert_eq!(sensors.millidegrees(), [Ok(63_500), Ok(41_000), Ok(70_000)]);
        assert_eq!(sensors.microwatts(), Ok(226_000_000));
        fs::write(board.path().join("hwmon/hwmon3/temp2_input"), "broken").expect("written");
        assert_eq!(sensors.millidegrees()[0].map_err(|fault| fault.code.name()), Err("garbage"));
        fs::remove_file(board.path().join("hwmon/hwmon3/temp5_input")).expect("removed");
        assert_eq!(sensors.millidegrees()[2].map_err(|fault| fault.code.name()), Err("ENOENT"));
    }

    #[test]
    fn channels_that_the_driver_registers_later_are_taken_and_none_is_forgotten() {
        let board = board();
        let (chip, aside) = (board.path().join("hwmon"), board.path().join("aside"));
        fs::rename(&chip, &aside).expect("moved");
        let function = kernel::pci::Function::at(board.path(), "0000:19:00.0");
        let node = crate::driver::Node::of(board.path(), function);
        let configuration = board.path().join("sensors.conf");
        let mut files = crate::driver::DriverFiles::open(&node, &configuration);
        assert_eq!(files.sensors.have(), [false; 3]);
        fs::rename(&aside, &chip).expect("moved");
        files.look_again(&node, &configuration);
        assert_eq!((files.sensors.have(), files.sensors.microwatts()), ([true; 3], Ok(226_000_000)));
        fs::write(chip.join("hwmon3/name"), "").expect("written");
        files.look_again(&node, &configuration);
        assert_eq!(files.sensors.have(), [true; 3], "its name cannot be read for the moment");
    }

    #[test]
    fn labels_of_the_driver_come_first_and_without_any_nothing_is_guessed() {
        let board = board();
        let none = Sensors::find(&[board.path()], &board.path().join("no-such-file"));
        assert_eq!(none.have(), [false; 3]);
        assert_eq!(none.millidegrees()[0].map_err(|fault| fault.code.name()), Err("no_label"));
        fs::write(board.path().join("hwmon/hwmon3/temp1_label"), "On Chip\n").expect("written");
        let own = Sensors::find(&[board.path()], &board.path().join("no-such-file"));
        assert_eq!(own.millidegrees()[0], Ok(41_000));
        let nothing = Sensors::find(&[&board.path().join("hwmon")], &board.path().join("sensors.conf"));
        assert_eq!(nothing.microwatts().map_err(|fault| fault.absence), Err(Absence::Unsupported));
    }

    #[test]
    fn configurations_are_read_per_chip() {
        let labels = |chip| labels(CONFIGURATION, chip);
        assert_eq!(labels("HL225"), [(1, "On Chip A".to_owned())]);
        assert_eq!(labels("HL328").len(), 4);
        assert!(labels("HL999").is_empty());
        for (pattern, name, fits) in [
            ("a*c", "abc", true),
            ("a*c", "ab", false),
            ("*", "", true),
            ("a*b*c", "a-b-c", true),
            ("a", "ab", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
