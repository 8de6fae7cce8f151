//! One graphics technology block (GT) of a card: its clock, idle time and throttle reasons in the sysfs files
//! of xe and i915.

use std::{path::Path, time::Instant};

use kernel::{File, entries};
use reading::{Ceiling, Counter, Measured};

use super::Card;
use crate::raw::drm::Driver;

/// Throttle reasons of all parts; their files are `reason_<word>` (xe) and `throttle_reason_<word>` (i915).
/// Those from `soc_thermal` on are Crescent Island's.
const REASONS: [&str; 21] = [
    "pl1",
    "pl2",
    "pl4",
    "thermal",
    "prochot",
    "ratl",
    "vr_thermalert",
    "vr_tdc",
    "soc_thermal",
    "mem_thermal",
    "vr_thermal",
    "iccmax",
    "pwrbrk",
    "soc_avg_thermal",
    "fastvmode",
    "psys_pl1",
    "psys_pl2",
    "p0_freq",
    "psys_crit",
    "psys_pl4",
    "vr_tempalert",
];

/// Idle times are added up from a register of 32 bits in the driver, and written as 32 bits by i915.
const IDLE_WRAPS: [u64; 1] = [1 << 32];

/// A reason that is newer than the table.
const OTHER: &str = "other";

/// The files of one GT.
#[derive(Debug)]
pub struct Gt {
    /// Its tile.
    pub tile: u32,
    /// `graphics` or `video`.
    pub domain: &'static str,
    actual: File,
    max: File,
    idle: File,
    idle_ms: Counter,
    /// The file that names all active reasons at once (Linux 7).
    reasons: Option<File>,
    reason_files: Vec<(&'static str, File)>,
}

/// What one round reads from a GT.
#[derive(Debug)]
pub struct GtSample {
    /// Its tile.
    pub tile: u32,
    /// `graphics` or `video`.
    pub domain: &'static str,
    /// Clock, MHz; 0 while the GT is in its sleep state.
    pub actual_mhz: Measured<u64>,
    /// Highest clock of the part (RP0), MHz.
    pub max_mhz: Measured<u64>,
    /// Share of the time since the last round in which the GT was not in its sleep state.
    pub awake: Measured<f64>,
    /// Each reason that the part reports, and whether it is active.
    pub reasons: Measured<Vec<(&'static str, bool)>>,
}

/// The clock of one GT.
#[derive(Debug)]
pub struct Clock {
    /// Its tile.
    pub tile: u32,
    /// `graphics` or `video`.
    pub domain: &'static str,
    /// MHz; 0 while the GT is in its sleep state.
    pub megahertz: Measured<u64>,
}

/// The GTs of a card, for their clocks alone.
#[derive(Debug)]
pub struct Clocks(Vec<Gt>);

impl Clocks {
    /// Those of a card that is awake.
    pub fn of(card: &Card) -> Self {
        Self(Gt::of(card))
    }

    /// Reads them.
    pub fn read(&self) -> Vec<Clock> {
        let clock = |gt: &Gt| Clock { tile: gt.tile, domain: gt.domain, megahertz: gt.actual.number() };
        self.0.iter().map(clock).collect()
    }
}

impl Gt {
    /// The GTs of a card.
    pub fn of(card: &Card) -> Vec<Self> {
        match card.driver {
            Driver::Xe => Self::of_xe(&card.function.folder),
            Driver::I915 => Self::of_i915(&card.folder()),
        }
    }

    /// The GTs of a card that xe drives; `device` is its PCI folder.
    pub fn of_xe(device: &Path) -> Vec<Self> {
        let mut found = Vec::new();
        for (tile, folder) in numbered(device, "tile") {
            for (position, (_, gt)) in numbered(&folder, "gt").enumerate() {
                // `gt0-rc` renders and computes. `gt1-mc`, on parts that have it, is for media.
                let name = File::new(&gt, "gtidle/name").text();
                let is_media = name.map_or(position > 0, |name| name.ends_with("-mc"));
                let frequency = gt.join("freq0");
                let throttle = frequency.join("throttle");
                let reasons = File::new(&throttle, "reasons");
                found.push(Self {
                    tile,
                    domain: if is_media { "video" } else { "graphics" },
                    actual: File::new(&frequency, "act_freq"),
                    max: File::new(&frequency, "rp0_freq"),
                    idle: File::new(&gt, "gtidle/idle_residency_ms"),
                    idle_ms: Counter::from_zero(IDLE_WRAPS.to_vec()),
                    reasons: reasons.exists().then_some(reasons),
                    reason_files: reason_files(&throttle, "reason_"),
                });
            }
        }
        found
    }

    /// The GTs of a card that i915 drives; `card` is its folder in the drm class.
    pub fn of_i915(card: &Path) -> Vec<Self> {
        let gt = |number, folder: &Path, actual, max, idle| Self {
            tile: 0,
            domain: if number == 0 { "graphics" } else { "video" },
            actual: File::new(folder, actual),
            max: File::new(folder, max),
            idle: File::new(folder, idle),
            idle_ms: Counter::from_zero(IDLE_WRAPS.to_vec()),
            reasons: None,
            reason_files: reason_files(folder, "throttle_reason_"),
        };
        let found: Vec<_> = numbered(&card.join("gt"), "gt")
            .map(|(number, folder)| {
                gt(number, &folder, "rps_act_freq_mhz", "rps_RP0_freq_mhz", "rc6_residency_ms")
            })
            .collect();
        if found.is_empty() {
            // Before Linux 5.18 the files are the card's own.
            return vec![gt(0, card, "gt_act_freq_mhz", "gt_RP0_freq_mhz", "power/rc6_residency_ms")];
        }
        found
    }

    /// How many files it has.
    pub fn count(&self) -> usize {
        let fixed = [&self.actual, &self.max, &self.idle].into_iter().chain(&self.reasons);
        fixed.filter(|file| file.exists()).count() + self.reason_files.len()
    }

    /// Goes on with the counters of the same GT, found earlier.
    pub fn go_on_from(&mut self, earlier: &[Self]) {
        if let Some(same) = earlier.iter().find(|gt| gt.idle == self.idle) {
            self.idle_ms.clone_from(&same.idle_ms);
        }
    }

    /// Reads it; wakes a sleeping card.
    pub fn read(&mut self) -> GtSample {
        let (call, idle) = (self.idle.call(), self.idle.number());
        let idle = self.idle_ms.add(call, Instant::now(), idle, Ceiling::of_time().times(1e3));
        let idle = idle.and_then(|idle| idle.per_second());
        GtSample {
            tile: self.tile,
            domain: self.domain,
            actual_mhz: self.actual.number(),
            max_mhz: self.max.number(),
            awake: idle.map(|idle_ms| (1.0 - idle_ms / 1000.0).clamp(0.0, 1.0)),
            reasons: self.read_reasons(),
        }
    }

    fn read_reasons(&self) -> Measured<Vec<(&'static str, bool)>> {
        let Some(reasons) = &self.reasons else {
            let flags = self.reason_files.iter().map(|(reason, file)| Ok((*reason, flag(file)?)));
            return flags.collect();
        };
        let is_word = |word: &str| word.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
        let text = reasons.parse(|text| text.split_whitespace().all(is_word).then(|| text.to_owned()))?;
        let active: Vec<&str> = text.split_whitespace().filter(|word| *word != "none").collect();
        let mut all: Vec<_> =
            self.reason_files.iter().map(|(reason, _)| (*reason, active.contains(reason))).collect();
        for word in active {
            let word = REASONS.into_iter().find(|known| *known == word).unwrap_or(OTHER);
            if !all.iter().any(|(reason, _)| *reason == word) {
                all.push((word, true));
            }
        }
        Ok(all)
    }
}

fn flag(file: &File) -> Measured<bool> {
    file.parse(|text| match text {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    })
}

/// The reasons for which a folder has a file.
fn reason_files(folder: &Path, prefix: &str) -> Vec<(&'static str, File)> {
    let file = |reason| (reason, File::called(folder.join(format!("{prefix}{reason}")), "throttle_reason"));
    REASONS.into_iter().map(file).filter(|(_, file)| file.exists()).collect()
}

/// The folders `<prefix><number>` of a folder.
pub fn numbered(folder: &Path, prefix: &str) -> impl Iterator<Item = (u32, std::path::PathBuf)> {
    entries(folder)
        .into_iter()
        .filter_map(move |name| Some((name.strip_prefix(prefix)?.parse().ok()?, folder.join(&name))))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::Gt;

    fn put(folder: &Path, name: &str, text: &str) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(path, format!("{text}\n")).expect("written");
    }

    #[test]
    fn reasons_are_one_flag_each_in_both_forms_of_the_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let xe = folder.path().join("tile0/gt0");
        for (name, text) in [
            ("gtidle/name", "gt0-rc"),
            ("freq0/act_freq", "2400"),
            ("freq0/throttle/reason_pl1", "1"),
            ("freq0/throttle/reason_thermal", "0"),
        ] {
            put(&xe, name, text);
        }
        let read = |folder: &Path| {
            let mut gts = Gt::of_xe(folder);
            assert_eq!((gts.len(), gts[0].domain), (1, "graphics"));
            gts[0].read().reasons.map_err(|fault| (fault.call, fault.code.name()))
        };
        assert_eq!(read(folder.path()), Ok(vec![("pl1", true), ("thermal", false)]));
        put(&xe, "freq0/throttle/reasons", "thermal weather prochot");
        let expected = vec![("pl1", false), ("thermal", true), ("other", true), ("prochot", true)];
        assert_eq!(read(folder.path()), Ok(expected));
        put(&xe, "freq0/throttle/reasons", "none");
        assert_eq!(read(folder.path()), Ok(vec![("pl1", false), ("thermal", false)]));
        put(&xe, "freq0/throttle/reasons", "pl1 \u{1b}[0m");
        assert_eq!(read(folder.path()), Err(("reasons", "garbage")));
        put(&xe, "freq0/throttle/reasons", "");
        assert_eq!(read(folder.path()), Err(("reasons", "empty")));
    }

    #[test]
    fn a_gt_without_a_name_is_identified_by_its_position() {
        let folder = tempfile::tempdir().expect("a folder");
        for (gt, name) in
            [("tile0/gt0", ""), ("tile0/gt1", ""), ("tile1/gt2", "gt2-rc"), ("tile1/gt3", "gt3-mc")]
        {
            put(folder.path(), &format!("{gt}/gtidle/name"), name);
        }
        let domains: Vec<_> = Gt::of_xe(folder.path()).iter().map(|gt| (gt.tile, gt.domain)).collect();
        assert_eq!(domains, [(0, "graphics"), (0, "video"), (1, "graphics"), (1, "video")]);
    }

    #[test]
    fn i915_has_its_files_in_two_places() {
        let folder = tempfile::tempdir().expect("a folder");
        put(folder.path(), "gt_act_freq_mhz", "300");
        put(folder.path(), "gt_RP0_freq_mhz", "2100");
        let mut old = Gt::of_i915(folder.path());
        let sample = old[0].read();
        assert_eq!((sample.actual_mhz, sample.max_mhz), (Ok(300), Ok(2100)));
        put(folder.path(), "gt/gt0/rps_act_freq_mhz", "350");
        put(folder.path(), "gt/gt0/throttle_reason_pl1", "2");
        put(folder.path(), "gt/gt1/rps_act_freq_mhz", "0");
        let mut new = Gt::of_i915(folder.path());
        assert_eq!((new.len(), new[1].domain, new[1].read().actual_mhz), (2, "video", Ok(0)));
        let sample = new[0].read();
        assert_eq!(sample.actual_mhz, Ok(350));
        assert_eq!(sample.reasons.map_err(|fault| fault.code.name()), Err("garbage"));
    }
}
