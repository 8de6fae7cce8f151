//! Event groups, one per CPU: opened, followed through hot-plug, read, and scaled where the kernel
//! multiplexed them.

use std::collections::BTreeMap;

use reading::{Fault, FaultCode};
use rustix::io::Errno;

use crate::perf::{self, CALL, Counts, Descriptor, Event, Shared};

/// The same events in one group on each of some CPUs.
pub struct Groups {
    perf: Shared,
    events: Vec<Event>,
    open: BTreeMap<u32, Group>,
}

struct Group {
    /// Leader first.
    descriptors: Vec<Descriptor>,
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
    pub fn follow(&mut self, cpus: &[u32]) -> Result<(), Fault> {
        let gone: Vec<u32> = self.open.keys().copied().filter(|cpu| !cpus.contains(cpu)).collect();
        for cpu in gone {
            self.close(cpu);
        }
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
                    self.close_all();
                    return Err(perf::fault(&error));
                }
            }
        }
        Ok(())
    }

    fn open_on(&self, cpu: u32) -> std::io::Result<Group> {
        let mut descriptors = Vec::with_capacity(self.events.len());
        let mut opened = || {
            for event in &self.events {
                descriptors.push(self.perf.open(*event, cpu, descriptors.first().copied())?);
            }
            self.perf.enable(descriptors[0])?;
            self.perf.read(descriptors[0])
        };
        match opened() {
            Ok(last) => Ok(Group { descriptors, last }),
            Err(error) => {
                descriptors.into_iter().rev().for_each(|event| self.perf.close(event));
                Err(error)
            }
        }
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
    pub fn read(&mut self) -> Result<Vec<Increment>, Fault> {
        let mut none = Fault::new(CALL, FaultCode::NoCpu);
        let not_running = Fault::new(CALL, FaultCode::NotRunning);
        let mut increments = Vec::with_capacity(self.open.len());
        let mut ended = Vec::new();
        for (cpu, group) in &mut self.open {
            let counts = match self.perf.read(group.descriptors[0]) {
                Ok(counts) => counts,
                Err(error) => {
                    none = perf::fault(&error);
                    ended.push(*cpu);
                    continue;
                }
            };
            match step(&group.last, &counts) {
                Step::Counted(values) => {
                    increments.push((*cpu, values));
                    group.last = counts;
                }
                Step::Waited => none = not_running,
                Step::Ended => {
                    none = not_running;
                    ended.push(*cpu);
                }
            }
        }
        for cpu in ended {
            self.close(cpu);
        }
        if increments.is_empty() { Err(none) } else { Ok(increments) }
    }

    fn close(&mut self, cpu: u32) {
        if let Some(group) = self.open.remove(&cpu) {
            // Members before their leader, which would otherwise become leaders of their own.
            group.descriptors.into_iter().rev().for_each(|event| self.perf.close(event));
        }
    }

    fn close_all(&mut self) {
        while let Some(cpu) = self.open.keys().next().copied() {
            self.close(cpu);
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.close_all();
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
