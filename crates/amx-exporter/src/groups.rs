//! Event groups, one per CPU: opened, followed through hot-plug, read, and scaled where the kernel
//! multiplexed them.

use std::{collections::BTreeMap, io};

use kernel::{
    perf::{self, CALL, Counts},
    pmu::Event,
};
use reading::{Fault, FaultCode, Measured};
use rustix::io::Errno;

use crate::perf::{Group, Shared};

/// The same events in one group on each of some CPUs.
pub struct Groups {
    perf: Shared,
    events: Vec<Event>,
    open: BTreeMap<u32, Open>,
}

struct Open {
    group: Box<dyn Group>,
    /// As of the last reading.
    last: Counts,
}

/// What one CPU counted since it was last read, scaled to the whole time: one value per event.
pub type Increment = (u32, Vec<f64>);

impl Groups {
    /// Groups of `events`, the first of which leads, on no CPU yet.
    pub fn new(perf: Shared, events: Vec<Event>) -> Self {
        Self { perf, events, open: BTreeMap::new() }
    }

    /// Opens groups on CPUs that came and closes those of CPUs that went. Either every CPU has its group
    /// afterwards or none: a mean over some would look like one over all.
    ///
    /// # Errors
    /// The first refusal. A CPU that went offline between the listing and the opening is none.
    pub fn follow(&mut self, cpus: &[u32]) -> Measured<()> {
        self.open.retain(|cpu, _| cpus.contains(cpu));
        for cpu in cpus {
            if self.open.contains_key(cpu) {
                continue;
            }
            match self.open_on(*cpu) {
                Ok(group) => {
                    self.open.insert(*cpu, group);
                }
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NODEV) => {}
                Err(error) => {
                    self.open.clear();
                    return Err(perf::fault(&error));
                }
            }
        }
        Ok(())
    }

    fn open_on(&self, cpu: u32) -> io::Result<Open> {
        let mut group = self.perf.open(&self.events, cpu)?;
        let last = group.read()?;
        Ok(Open { group, last })
    }

    /// Reads every group. A CPU that has no count since the last reading, because it went offline or because
    /// its group was not on the hardware, has no entry; the latter is made up for by the next one.
    ///
    /// A group that no longer counts is closed, and opened again by [`Self::follow`] if its CPU is there: the
    /// kernel ends the events of a CPU that goes offline, also when it comes back before anybody has looked, as
    /// all but one do in a suspend.
    ///
    /// # Errors
    /// When no CPU has one.
    pub fn read(&mut self) -> Measured<Vec<Increment>> {
        let mut none = Fault::new(CALL, FaultCode::NoCpu);
        let not_running = Fault::new(CALL, FaultCode::NotRunning);
        let mut increments = Vec::with_capacity(self.open.len());
        let mut ended = Vec::new();
        for (cpu, open) in &mut self.open {
            let counts = match open.group.read() {
                Ok(counts) => counts,
                Err(error) => {
                    none = perf::fault(&error);
                    ended.push(*cpu);
                    continue;
                }
            };
            match step(&open.last, &counts) {
                Step::Counted(values) => {
                    increments.push((*cpu, values));
                    open.last = counts;
                }
                Step::Waited => none = not_running,
                Step::Ended => {
                    none = not_running;
                    ended.push(*cpu);
                }
            }
        }
        for cpu in ended {
            self.open.remove(&cpu);
        }
        if increments.is_empty() { Err(none) } else { Ok(increments) }
    }
}

/// What happened to a group between two readings.
enum Step {
    /// What each event counted, scaled by the share of the time in which it was counted.
    Counted(Vec<f64>),
    /// It was never on the hardware.
    Waited,
    /// Its time stands still, or it has lost its members.
    Ended,
}

fn step(before: &Counts, after: &Counts) -> Step {
    let enabled = after.enabled.saturating_sub(before.enabled);
    if enabled == 0 || before.values.len() != after.values.len() {
        return Step::Ended;
    }
    let running = after.running.saturating_sub(before.running);
    if running == 0 {
        return Step::Waited;
    }
    // A counter that steps back, which none should, counts nothing.
    let raw = before.values.iter().zip(&after.values).map(|(before, after)| after.saturating_sub(*before));
    Step::Counted(raw.map(|raw| raw as f64 * enabled as f64 / running as f64).collect())
}

#[cfg(test)]
#[path = "groups_tests.rs"]
mod tests;
