//! Engine load by the PMUs of xe and i915, where not every process is visible but perf events are permitted.
//!
//! An open engine event keeps the GPU awake, so events are opened, read twice and closed again, and only with
//! `--xpu.hold-awake`.

use std::{io, path::Path, thread, time::Duration};

use kernel::{
    perf::{self, CALL, Counts, Group},
    pmu::{Event, Pmu},
};
use reading::{Fault, FaultCode, Measured};
use rustix::io::Errno;

use super::Card;
use crate::raw::drm::Driver;

/// How long the events stay open.
const WINDOW: Duration = Duration::from_millis(100);
/// More engines of a class than any GT has.
const INSTANCES_MAX: u64 = 16;

/// Engine classes in the order of both drivers' numbers.
const CLASSES: [&str; 5] = ["render", "copy", "media", "enhance", "compute"];

/// xe's events: ticks of work, and ticks that passed.
const XE_ACTIVE: u64 = 2;
const XE_TOTAL: u64 = 3;

/// The PMU of one card.
#[derive(Debug)]
pub struct EnginePmu {
    pmu: Pmu,
    driver: Driver,
}

impl EnginePmu {
    /// The card's PMU, if its kernel has one.
    pub fn of(sysfs: &Path, card: &Card) -> Option<Self> {
        let address = card.function.address.replace(':', "_");
        let own = format!("{}_{address}", card.driver.name());
        // i915 names the PMU of an integrated GPU without its address; there is at most one.
        let of_integrated = (card.driver == Driver::I915 && card.integrated).then(|| "i915".to_owned());
        let mut names = [Some(own), of_integrated].into_iter().flatten();
        let pmu = names.find_map(|name| Pmu::open(sysfs, &name).ok())?;
        Some(Self { pmu, driver: card.driver })
    }

    /// Busy share of each engine class over the next [`WINDOW`].
    ///
    /// # Errors
    /// `needs_cap_perfmon`, `no_engine_event`, or the kernel's error.
    pub fn engines(&self, gts: u64) -> Measured<Vec<(&'static str, f64)>> {
        // The kernel lets a GPU's events be opened on any CPU, and CPU 0 cannot be taken offline.
        self.count(gts, |events| Group::open(events, 0), Group::read, || thread::sleep(WINDOW))
    }

    fn count<G>(
        &self,
        gts: u64,
        mut open: impl FnMut(&[Event]) -> io::Result<G>,
        mut read: impl FnMut(&mut G) -> io::Result<Counts>,
        wait: impl FnOnce(),
    ) -> Measured<Vec<(&'static str, f64)>> {
        // What xe_pmu_event_init and engine_event_init return where there is no such engine. i915 numbers its
        // engines over all GTs.
        let (gts, none) = match self.driver {
            Driver::Xe => (gts.max(1), Errno::NOENT),
            Driver::I915 => (1, Errno::NODEV),
        };
        let mut engines = Vec::new();
        for (gt, class) in (0..gts).flat_map(|gt| (0..CLASSES.len()).map(move |class| (gt, class))) {
            for instance in 0..INSTANCES_MAX {
                match open(&self.events(gt, class as u64, instance)) {
                    Ok(group) => engines.push((CLASSES[class], group)),
                    // There is none, or the driver keeps it for itself, as one of xe's copy engines: others
                    // may follow.
                    Err(error) if Errno::from_io_error(&error) == Some(none) => {}
                    Err(error) => return Err(fault(&error)),
                }
            }
        }
        if engines.is_empty() {
            return Err(Fault::new(CALL, FaultCode::NoEngineEvent));
        }
        let mut read_all = || {
            let times = engines.iter_mut().map(|(_, group)| Ok(times(&read(group)?)));
            times.collect::<io::Result<Vec<_>>>().map_err(|error| fault(&error))
        };
        let before = read_all()?;
        wait();
        let after = read_all()?;
        let mut shares: Vec<(&'static str, f64, f64)> = Vec::new();
        for (((class, _), before), after) in engines.iter().zip(before).zip(after) {
            let increments = (after.0.checked_sub(before.0), after.1.checked_sub(before.1));
            let (Some(busy), Some(whole @ 1..)) = increments else {
                return Err(Fault::new(CALL, FaultCode::CounterStands));
            };
            let share = (busy as f64 / whole as f64).min(1.0);
            match shares.iter_mut().find(|(known, ..)| known == class) {
                Some((_, sum, count)) => (*sum, *count) = (*sum + share, *count + 1.0),
                None => shares.push((class, share, 1.0)),
            }
        }
        Ok(shares.into_iter().map(|(class, sum, count)| (class, sum / count)).collect())
    }

    /// The events of an engine: its busy time, and with xe the clock in whose ticks it counts.
    fn events(&self, gt: u64, class: u64, instance: u64) -> Vec<Event> {
        let configs = match self.driver {
            Driver::Xe => {
                let engine = gt << 60 | class << 20 | instance << 12;
                vec![engine | XE_ACTIVE, engine | XE_TOTAL]
            }
            Driver::I915 => vec![class << 12 | instance << 4],
        };
        configs.into_iter().map(|config| self.pmu.event(config)).collect()
    }
}

/// Busy time and the time that passed. i915 counts nanoseconds, which compare with the time for which the
/// event was open.
fn times(counts: &Counts) -> (u64, u64) {
    let value = |index: usize| counts.values.get(index).copied();
    (value(0).unwrap_or_default(), value(1).unwrap_or(counts.enabled))
}

fn fault(error: &io::Error) -> Fault {
    match Errno::from_io_error(error) {
        Some(Errno::ACCESS | Errno::PERM) => Fault::new(CALL, FaultCode::NeedsCapPerfmon),
        _ => perf::fault(error),
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, fs};

    use kernel::pci::Function;

    use super::*;

    /// An engine whose counts grow by `by` with each read: busy ticks and all ticks of xe, or busy
    /// nanoseconds of i915 in 100. Without counts the event is in error state.
    struct Steps {
        by: Vec<u64>,
        reads: u64,
    }

    fn read(steps: &mut Steps) -> io::Result<Counts> {
        if steps.by.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        steps.reads += 1;
        let values = steps.by.iter().map(|by| by * steps.reads).collect();
        Ok(Counts { enabled: 100 * steps.reads, running: 0, values })
    }

    /// The PMU that a kernel lists for the card as `name`.
    fn pmu(name: &str, driver: Driver, address: &str, integrated: bool) -> Option<EnginePmu> {
        let sysfs = tempfile::tempdir().expect("a folder");
        let folder = sysfs.path().join("bus/event_source/devices").join(name);
        fs::create_dir_all(&folder).expect("created");
        fs::write(folder.join("type"), "40\n").expect("written");
        let function = Function::at(sysfs.path(), address);
        EnginePmu::of(
            sysfs.path(),
            &Card { function, name: "card1".to_owned(), render_node: None, driver, integrated },
        )
    }

    fn xe() -> EnginePmu {
        pmu("xe_0000_03_00.0", Driver::Xe, "0000:03:00.0", false).expect("listed")
    }

    #[test]
    fn engines_of_a_class_are_averaged_by_their_drivers_clock() {
        let waits = Cell::new(0);
        let open = |events: &[Event]| {
            let [busy, whole] = events else { panic!("xe has a clock for its ticks: {events:?}") };
            assert_eq!((busy.pmu, whole.pmu, whole.config), (40, 40, busy.config | 1));
            // ccs0, ccs1, bcs0 and bcs2 on GT 0, vcs0 on GT 1.
            let by = match busy.config {
                0x0040_0002 => 500,
                0x0040_1002 => 0,
                0x0010_0002 => 125,
                0x0010_2002 => 625,
                0x1000_0000_0020_0002 => 250,
                _ => return Err(Errno::NOENT.into()),
            };
            Ok(Steps { by: vec![by, 1000], reads: 0 })
        };
        let shares = xe().count(2, open, read, || waits.set(waits.get() + 1));
        assert_eq!(shares, Ok(vec![("copy", 0.375), ("compute", 0.25), ("media", 0.25)]));
        assert_eq!(waits.get(), 1, "all engines in one window");

        for (name, address, integrated) in [
            ("i915_0000_03_00.0", "0000:03:00.0", false),
            ("i915_0000_00_02.0", "0000:00:02.0", false),
            ("i915_0000_00_02.0", "0000:00:02.0", true),
            ("i915", "0000:00:18.0", true),
        ] {
            let open = |events: &[Event]| match events {
                [Event { pmu: 40, config: 0x2000 | 0x2010 }] => Ok(Steps { by: vec![30], reads: 0 }),
                _ => Err(Errno::NODEV.into()),
            };
            let pmu = pmu(name, Driver::I915, address, integrated).expect("listed");
            assert_eq!(pmu.count(2, open, read, || ()), Ok(vec![("media", 0.3)]), "{name} at {address}");
        }
        let of_another = pmu("i915", Driver::I915, "0000:03:00.0", false);
        assert!(of_another.is_none(), "the integrated GPU's is not the card's");
    }

    #[test]
    fn what_is_missing_is_named_and_a_clock_that_stands_is_not_idleness() {
        let code = |open: fn(&[Event]) -> io::Result<Steps>| {
            xe().count(1, open, read, || ()).map_err(|fault| fault.code.name())
        };
        assert_eq!(code(|_| Err(Errno::ACCESS.into())), Err("needs_cap_perfmon"));
        assert_eq!(code(|_| Err(Errno::NODEV.into())), Err("ENODEV"));
        assert_eq!(code(|_| Err(Errno::NOENT.into())), Err("no_engine_event"));
        assert_eq!(code(|_| Ok(Steps { by: vec![0, 0], reads: 0 })), Err("counter_stands"));
        assert_eq!(code(|_| Ok(Steps { by: vec![], reads: 0 })), Err("not_scheduled"));
    }
}
