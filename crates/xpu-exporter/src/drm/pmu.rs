//! Engine load by the PMUs of xe and i915, where not every process is visible but perf events are permitted.
//!
//! An open engine event keeps the GPU awake, so events are opened, read twice and closed again, and only with
//! `--xpu.hold-awake`.

use std::{io, path::Path, thread, time::Duration};

use kernel::File;
use reading::{Fault, FaultCode, Measured};

use super::Card;
use crate::raw::{drm::Driver, perf::Counter};

const CALL: &str = "perf_event_open";

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
    number: u32,
    driver: Driver,
}

/// An open event: its count, and for how many nanoseconds it was open.
trait Count {
    fn read(&mut self) -> io::Result<(u64, u64)>;
}

impl Count for Counter {
    fn read(&mut self) -> io::Result<(u64, u64)> {
        Self::read(self)
    }
}

/// An engine's events.
struct Engine<C> {
    class: usize,
    busy: C,
    /// The clock in whose ticks `busy` counts, where the driver has one.
    whole: Option<C>,
}

impl EnginePmu {
    /// The card's PMU, if its kernel has one.
    pub fn of(sysfs: &Path, card: &Card) -> Option<Self> {
        let address = card.function.address.replace(':', "_");
        let name = match card.driver {
            Driver::Xe => format!("xe_{address}"),
            Driver::I915 if card.is_integrated() => "i915".to_owned(),
            Driver::I915 => format!("i915_{address}"),
        };
        let folder = sysfs.join("bus/event_source/devices").join(name);
        Some(Self { number: File::new(&folder, "type").number().ok()?, driver: card.driver })
    }

    /// Busy share of each engine over the next [`WINDOW`].
    ///
    /// # Errors
    /// `needs_cap_perfmon`, or the kernel's error.
    pub fn engines(&self, gts: u64) -> Measured<Vec<(&'static str, f64)>> {
        self.count(gts, Counter::open, || thread::sleep(WINDOW))
    }

    fn count<C: Count>(
        &self,
        gts: u64,
        mut open: impl FnMut(u32, u64) -> io::Result<C>,
        wait: impl FnOnce(),
    ) -> Measured<Vec<(&'static str, f64)>> {
        let failed = |error: io::Error| match error.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => Fault::new(CALL, FaultCode::NeedsCapPerfmon),
            _ => kernel::file::fault(CALL, &error),
        };
        // What xe_pmu_event_init and engine_event_init return where there is no such engine. i915 numbers its engines
        // over all GTs.
        let (gts, none) = match self.driver {
            Driver::Xe => (gts.max(1), libc::ENOENT),
            Driver::I915 => (1, libc::ENODEV),
        };
        let mut engines = Vec::new();
        for (gt, class) in (0..gts).flat_map(|gt| (0..CLASSES.len()).map(move |class| (gt, class))) {
            for instance in 0..INSTANCES_MAX {
                let (busy, whole) = self.events(gt, class as u64, instance);
                let busy = match open(self.number, busy) {
                    Ok(busy) => busy,
                    // There is none, or the driver keeps it for itself, as one of xe's copy engines: others may follow.
                    Err(error) if error.raw_os_error() == Some(none) => continue,
                    Err(error) => return Err(failed(error)),
                };
                let whole = whole.map(|whole| open(self.number, whole)).transpose().map_err(failed)?;
                engines.push(Engine { class, busy, whole });
            }
        }
        if engines.is_empty() {
            return Err(Fault::new(CALL, FaultCode::NoEngineEvent));
        }
        let before: Vec<_> =
            engines.iter_mut().map(Engine::read).collect::<Result<_, _>>().map_err(failed)?;
        wait();
        let after: Vec<_> = engines.iter_mut().map(Engine::read).collect::<Result<_, _>>().map_err(failed)?;
        let mut shares: Vec<(&'static str, f64, f64)> = Vec::new();
        for ((engine, before), after) in engines.iter().zip(before).zip(after) {
            let differences = (after.0.checked_sub(before.0), after.1.checked_sub(before.1));
            let (Some(busy), Some(whole @ 1..)) = differences else {
                return Err(Fault::new(CALL, FaultCode::CounterStands));
            };
            let (name, share) = (CLASSES[engine.class], (busy as f64 / whole as f64).min(1.0));
            match shares.iter_mut().find(|(known, ..)| *known == name) {
                Some((_, sum, count)) => (*sum, *count) = (*sum + share, *count + 1.0),
                None => shares.push((name, share, 1.0)),
            }
        }
        Ok(shares.into_iter().map(|(name, sum, count)| (name, sum / count)).collect())
    }

    /// The events of an engine: busy time, and the clock in whose ticks it counts.
    fn events(&self, gt: u64, class: u64, instance: u64) -> (u64, Option<u64>) {
        match self.driver {
            Driver::Xe => {
                let engine = gt << 60 | class << 20 | instance << 12;
                (engine | XE_ACTIVE, Some(engine | XE_TOTAL))
            }
            // Nanoseconds, to be compared with the time for which the event was open.
            Driver::I915 => (class << 12 | instance << 4, None),
        }
    }
}

impl<C: Count> Engine<C> {
    fn read(&mut self) -> io::Result<(u64, u64)> {
        let (busy, enabled) = self.busy.read()?;
        let whole = match &mut self.whole {
            Some(whole) => whole.read()?.0,
            None => enabled,
        };
        Ok((busy, whole))
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, io};

    use super::{Count, Driver, EnginePmu};

    /// An event whose count and time grow by `by` with each read.
    struct Steps {
        by: (u64, u64),
        reads: u64,
    }

    impl Count for Steps {
        fn read(&mut self) -> io::Result<(u64, u64)> {
            self.reads += 1;
            Ok((self.by.0 * self.reads, self.by.1 * self.reads))
        }
    }

    /// What xe returns where there is no such engine.
    fn none() -> io::Error {
        io::Error::from_raw_os_error(libc::ENOENT)
    }

    #[test]
    fn engines_of_a_class_are_averaged_by_their_drivers_clock() {
        let xe = EnginePmu { number: 40, driver: Driver::Xe };
        let waited = Cell::new(0);
        let open = |pmu: u32, config: u64| {
            assert_eq!(pmu, 40);
            // ccs0, ccs1, bcs0 and bcs2 on GT 0, vcs0 on GT 1.
            let by = match config {
                0x0040_0002 => 500,
                0x0040_1002 => 0,
                0x0010_0002 => 125,
                0x0010_2002 => 625,
                0x1000_0000_0020_0002 => 250,
                0x0040_0003 | 0x0040_1003 | 0x0010_0003 | 0x0010_2003 | 0x1000_0000_0020_0003 => 1000,
                _ => return Err(none()),
            };
            Ok(Steps { by: (by, 1), reads: 0 })
        };
        let shares = xe.count(2, open, || waited.set(waited.get() + 1));
        assert_eq!(shares, Ok(vec![("copy", 0.375), ("compute", 0.25), ("media", 0.25)]));
        assert_eq!(waited.get(), 1, "all engines in one window");

        let i915 = EnginePmu { number: 7, driver: Driver::I915 };
        let open = |_, config: u64| match config {
            0x2000 | 0x2010 => Ok(Steps { by: (30, 100), reads: 0 }),
            _ => Err(io::Error::from_raw_os_error(libc::ENODEV)),
        };
        assert_eq!(i915.count(2, open, || ()), Ok(vec![("media", 0.3)]));
    }

    #[test]
    fn what_is_missing_is_named_and_a_clock_that_stands_is_not_idleness() {
        let xe = EnginePmu { number: 40, driver: Driver::Xe };
        let refused = |_, _| -> io::Result<Steps> { Err(io::Error::from_raw_os_error(libc::EACCES)) };
        assert_eq!(xe.count(1, refused, || ()).map_err(|fault| fault.code.name()), Err("needs_cap_perfmon"));
        let still = |_, config: u64| match config {
            0x2 | 0x3 => Ok(Steps { by: (0, 0), reads: 0 }),
            _ => Err(none()),
        };
        assert_eq!(xe.count(1, still, || ()).map_err(|fault| fault.code.name()), Err("counter_stands"));
        let gone = |_, _| -> io::Result<Steps> { Err(io::Error::from_raw_os_error(libc::ENODEV)) };
        assert_eq!(xe.count(1, gone, || ()).map_err(|fault| fault.code.name()), Err("ENODEV"));
        let old = |_, _| -> io::Result<Steps> { Err(none()) };
        assert_eq!(xe.count(1, old, || ()).map_err(|fault| fault.code.name()), Err("no_engine_event"));
    }
}
