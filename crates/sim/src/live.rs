//! A machine with its clock and its control file, as the simulated libraries hold it.
//!
//! Calls come by the hundred per second and must cost tens of nanoseconds, so the file is looked at no more
//! than every 50 ms, by whichever call comes first, and what it says is swapped in whole: readers take no
//! lock.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};

use crate::clock::Clock;
use crate::conditions::{Conditions, Effect};
use crate::control::ControlFile;
use crate::device::Device;
use crate::machine::Machine;
use crate::profile::{self, Profile};
use crate::workload::Workload;

/// How often the control file is looked at, at most.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How often a hanging call looks whether its fault is gone.
const HANG_LOOK_INTERVAL: Duration = Duration::from_millis(60);

/// What machine to open, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Name of a built-in profile, or a path.
    pub machine: String,
    /// The control file; `None` for a machine without faults.
    pub control: Option<PathBuf>,
    /// The machine's clock.
    pub clock: Clock,
    /// The load of the devices.
    pub workload: Workload,
    /// Identities and small variations follow from it.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            machine: "h100-sxm-8".to_owned(),
            control: None,
            clock: Clock::Wall,
            workload: Workload::Mixed,
            seed: 1,
        }
    }
}

/// A machine that cannot be opened; the message is one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The profile.
    #[error(transparent)]
    Profile(#[from] profile::Error),
    /// A variable of the environment.
    #[error("{variable}: {reason}")]
    Variable {
        /// Its name.
        variable: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl Options {
    /// Reads `ACCELSIM_MACHINE`, `ACCELSIM_CONTROL`, `ACCELSIM_CLOCK`, `ACCELSIM_WORKLOAD` and
    /// `ACCELSIM_SEED`; one that is unset or empty keeps its default.
    pub fn from_env() -> Result<Self, Error> {
        fn read<T>(
            variable: &'static str,
            default: T,
            parse: impl Fn(&str) -> Result<T, String>,
        ) -> Result<T, Error> {
            match std::env::var(variable) {
                Ok(text) if !text.is_empty() => {
                    parse(&text).map_err(|reason| Error::Variable { variable, reason })
                }
                _ => Ok(default),
            }
        }
        let default = Self::default();
        Ok(Self {
            machine: read("ACCELSIM_MACHINE", default.machine, |text| Ok(text.to_owned()))?,
            control: read("ACCELSIM_CONTROL", None, |text| Ok(Some(PathBuf::from(text))))?,
            clock: read("ACCELSIM_CLOCK", default.clock, str::parse)?,
            workload: read("ACCELSIM_WORKLOAD", default.workload, str::parse)?,
            seed: read("ACCELSIM_SEED", default.seed, |text| {
                text.parse().map_err(|_| format!("seed {text:?}: a whole number"))
            })?,
        })
    }
}

/// An open machine.
pub struct Live {
    machine: Machine,
    clock: Clock,
    file: Option<Followed>,
    conditions: ArcSwap<Conditions>,
    /// How often the driver was seen to go.
    unloads: AtomicU32,
}

struct Followed {
    file: ControlFile,
    opened: Instant,
    /// Nanoseconds after `opened` at which the next look is due.
    look_due: AtomicU64,
    /// Held from reading to storing: a thread that was stopped in between would bring back what was before.
    turn: Mutex<()>,
}

/// One moment of an open machine: everything read through it is of the same time.
pub struct Moment<'a> {
    live: &'a Live,
    conditions: Guard<Arc<Conditions>>,
    now: f64,
}

impl Live {
    /// Opens the machine and reads its control file for the first time.
    pub fn open(options: &Options) -> Result<Self, Error> {
        let profile = Profile::open(&options.machine)?;
        let conditions = Conditions::new(&profile, &profile.control)
            .map_err(|reason| profile::Error::Invalid { name: profile.name.clone(), reason })?;
        let live = Self {
            machine: Machine::new(profile, options.workload, options.seed),
            clock: options.clock,
            file: options.control.clone().map(|path| Followed {
                file: ControlFile::new(path),
                opened: Instant::now(),
                look_due: AtomicU64::new(0),
                turn: Mutex::new(()),
            }),
            conditions: ArcSwap::from_pointee(conditions),
            unloads: AtomicU32::new(0),
        };
        live.look();
        Ok(live)
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Whether anything outside can change the machine; if not, there is nothing to wait for.
    pub fn is_disturbed(&self) -> bool {
        let control = &self.machine.profile.control;
        self.file.is_some() || !control.xid.is_empty() || !control.event.is_empty()
    }

    /// Now.
    pub fn now(&self) -> Moment<'_> {
        self.look();
        Moment { live: self, conditions: self.conditions.load(), now: self.clock.now() }
    }

    /// Reads the control file again if it is time to look and it has changed.
    fn look(&self) {
        let Some(file) = &self.file else { return };
        let nanoseconds = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let now = nanoseconds(file.opened.elapsed());
        let due = file.look_due.load(Ordering::Relaxed);
        let next = now + nanoseconds(LOOK_INTERVAL);
        let mine = now >= due
            && file.look_due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !mine {
            return;
        }
        let _turn = file.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(conditions) = file.read_if_changed(&self.machine.profile) {
            let went = conditions.driver_epoch().is_none() && self.conditions.load().driver_epoch().is_some();
            self.unloads.fetch_add(u32::from(went), Ordering::Relaxed);
            self.conditions.store(Arc::new(conditions));
        }
    }
}

impl Followed {
    /// The new conditions, or `None` when the file is as it was or cannot be used.
    fn read_if_changed(&self, profile: &Profile) -> Option<Conditions> {
        let control = self.file.read_if_changed()?;
        let conditions =
            control.and_then(|control| Conditions::new(profile, &profile.control.overlaid(&control)));
        conditions
            .map_err(|reason| {
                let path = self.file.path().display();
                eprintln!("accelsim: {path}: {reason}; the last good one stays in force");
            })
            .ok()
    }
}

impl<'a> Moment<'a> {
    /// The time, unix seconds.
    pub fn seconds(&self) -> f64 {
        self.now
    }

    /// The machine.
    pub fn machine(&self) -> &'a Machine {
        &self.live.machine
    }

    /// What the control tables say.
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// What the control file says about a call. One that it makes slow, or hangs, is over when this returns.
    pub fn meet(&self, call: &str, device: Option<usize>) -> Option<Effect> {
        let effect = self.conditions.effect(call, device, self.now);
        match effect {
            Some(Effect::Slow(time) | Effect::Hang(Some(time))) => sleep(time),
            Some(Effect::Hang(None)) => {
                // Nothing is locked here: a hanging call hangs itself alone.
                let hangs = || {
                    let moment = self.live.now();
                    moment.conditions.effect(call, device, moment.now) == effect
                };
                while hangs() {
                    sleep(HANG_LOOK_INTERVAL);
                }
            }
            Some(Effect::Error(_) | Effect::Lost | Effect::Garbage(_) | Effect::End(_)) | None => {}
        }
        effect
    }

    /// Which load of the driver this is, or `None` while none is loaded. A driver that went and came is
    /// another one, whether or not the control file gives it another number.
    pub fn driver_epoch(&self) -> Option<u32> {
        let unloads = self.live.unloads.load(Ordering::Relaxed);
        self.conditions.driver_epoch().map(|epoch| epoch.wrapping_add(unloads))
    }

    /// A device by its place in the profile, hidden or not.
    pub fn device(&self, index: usize) -> Option<Device<'_>> {
        Device::new(&self.live.machine, &self.conditions, index, self.now)
    }

    /// Places of the devices that are on the bus, in order.
    pub fn present(&self) -> impl Iterator<Item = usize> + '_ {
        let count = self.live.machine.profile.device_count();
        (0..count).filter(|index| self.conditions.device(*index).is_some_and(|device| !device.hidden))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::{LOOK_INTERVAL, Live, Options};
    use crate::clock::Clock;
    use crate::conditions::Effect;
    use crate::control::{Control, DriverState, Fault};

    fn open(control: &Path) -> Live {
        Live::open(&Options {
            control: Some(control.to_owned()),
            clock: Clock::Fixed(1.76e9),
            ..Options::default()
        })
        .expect("the machine opens")
    }

    fn settle() {
        std::thread::sleep(LOOK_INTERVAL + Duration::from_millis(10));
    }

    fn effect(live: &Live) -> Option<Effect> {
        live.now().conditions().effect("nvmlDeviceGetName", Some(0), 1.76e9)
    }

    #[test]
    fn the_control_file_is_followed_and_a_broken_one_is_not() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("control.toml");
        let live = open(&path);
        assert_eq!(effect(&live), None, "a missing file is no fault");

        let faulty = |code| Control { fault: vec![Fault::error(code)], ..Control::default() };
        faulty(999).write(&path).expect("written");
        settle();
        assert_eq!(effect(&live), Some(Effect::Error(999)));

        std::fs::write(&path, "[[fault]]\nkind = \"sulk\"\n").expect("written");
        settle();
        assert_eq!(effect(&live), Some(Effect::Error(999)), "the last good one stays");

        faulty(3).write(&path).expect("written");
        settle();
        assert_eq!(effect(&live), Some(Effect::Error(3)));

        std::fs::remove_file(&path).expect("removed");
        settle();
        assert_eq!(effect(&live), None);
    }

    #[test]
    fn a_thread_that_reads_slowly_does_not_bring_back_what_was_before() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("control.toml");
        let live = open(&path);
        // So many faults take longer to read than it takes until another thread looks.
        let many = (0..20_000).map(|code| Fault::error(code).call("nvmlDeviceGetName"));
        Control { fault: many.collect(), ..Control::default() }.write(&path).expect("written");
        settle();
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| effect(&live));
            settle();
            std::fs::remove_file(&path).expect("removed");
            settle();
            effect(&live);
            slow.join().expect("no panic");
        });
        settle();
        assert_eq!(effect(&live), None, "the file was removed before the last look");
    }

    #[test]
    fn a_driver_that_went_and_came_is_another_one() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("control.toml");
        let live = open(&path);
        let first = live.now().driver_epoch().expect("loaded");
        Control { driver: Some(DriverState::Unloaded), ..Control::default() }.write(&path).expect("written");
        settle();
        assert_eq!(live.now().driver_epoch(), None);
        std::fs::remove_file(&path).expect("removed");
        settle();
        let second = live.now().driver_epoch().expect("loaded again");
        assert_ne!(first, second);
        Control { driver_epoch: Some(7), ..Control::default() }.write(&path).expect("written");
        settle();
        assert_ne!(live.now().driver_epoch(), Some(second), "reloaded between two looks");
    }

    #[test]
    fn two_processes_that_open_the_same_machine_agree() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("control.toml");
        Control { hidden: vec![3], ..Control::default() }.write(&path).expect("written");
        let (one, two) = (open(&path), open(&path));
        assert_eq!(one.now().present().collect::<Vec<_>>(), [0, 1, 2, 4, 5, 6, 7]);
        for index in 0..8 {
            let power = |live: &Live| live.now().device(index).expect("it is there").power_watts().to_bits();
            assert_eq!(power(&one), power(&two));
        }
    }

    #[test]
    fn a_wrong_machine_is_named() {
        let options = Options { machine: "cray-1".to_owned(), ..Options::default() };
        let error = Live::open(&options).err().expect("no such machine").to_string();
        assert!(error.contains("cray-1") && error.contains("h100-sxm-8"), "{error}");
    }
}
