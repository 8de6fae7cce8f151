//! Groups of events on many CPUs: opened and closed as CPUs come and go, read, and scaled where the kernel
//! multiplexed them.

use std::{collections::BTreeMap, io};

use kernel::{
    perf::{self, CALL, Counts},
    pmu::Event,
};
use reading::{Ceiling, Fault, FaultCode, Measured};
use rustix::io::Errno;

use crate::perf::{Group, Shared};

/// The same events in one group on each of some CPUs.
pub struct Groups {
    perf: Shared,
    events: Vec<Event>,
    /// What each of them counts at most in a second.
    ceiling: Ceiling,
    open: BTreeMap<u32, Open>,
}

struct Open {
    group: Box<dyn Group>,
    /// The last reading.
    last: Counts,
}

/// A CPU, and what each event counted on it since the last reading, scaled to the whole time.
pub type Increment = (u32, Vec<f64>);

/// What the groups counted since the last reading.
#[derive(Debug, PartialEq)]
pub struct Increments {
    /// By CPU.
    pub by_cpu: Vec<Increment>,
    /// Whether every CPU that is online is among them; an error is why one is not.
    pub complete: Measured<()>,
}

impl Groups {
    /// Groups of `events`, the first of which leads, on no CPU yet.
    pub fn new(perf: Shared, events: Vec<Event>, ceiling: Ceiling) -> Self {
        Self { perf, events, ceiling, open: BTreeMap::new() }
    }

    /// Opens groups on new CPUs and closes those of CPUs that are not in the list. Afterwards every CPU has
    /// its group or none has: a mean over some CPUs would look like one over all.
    ///
    /// # Errors
    /// The first group that cannot be opened, unless its CPU has just gone offline.
    pub fn update(&mut self, cpus: &[u32]) -> Measured<()> {
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

    /// Reads every group. A CPU that went offline has no increment and counts nothing. Nor has one whose group
    /// was not on the hardware since the last reading, or counted more than the ceiling: the others are then not
    /// all. The next increment of the former covers both intervals.
    ///
    /// A group that no longer counts is closed, and [`Self::update`] opens it again if its CPU is online: the
    /// kernel ends the events of a CPU that goes offline, even if it is back before the next round, as after
    /// a suspend.
    ///
    /// # Errors
    /// When no CPU has an increment.
    pub fn read(&mut self) -> Measured<Increments> {
        let mut none = Fault::new(CALL, FaultCode::NoCpu);
        let mut complete = Ok(());
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
            match interval(&open.last, &counts, self.ceiling) {
                Interval::Counted(values) => {
                    increments.push((*cpu, values));
                    open.last = counts;
                }
                Interval::NotRunning => complete = Err(not_running),
                Interval::TooMuch => {
                    complete = Err(Fault::new(CALL, FaultCode::RoseTooFast));
                    ended.push(*cpu);
                }
                Interval::Ended => {
                    none = not_running;
                    ended.push(*cpu);
                }
            }
        }
        for cpu in ended {
            self.open.remove(&cpu);
        }
        if increments.is_empty() {
            return Err(complete.err().unwrap_or(none));
        }
        Ok(Increments { by_cpu: increments, complete })
    }
}

/// A group between two readings.
enum Interval {
    /// What each event counted, scaled by the share of time in which it was counted.
    Counted(Vec<f64>),
    /// It was not on the hardware.
    NotRunning,
    /// An event counted more than it can.
    TooMuch,
    /// Its time stands still, or it has lost events.
    Ended,
}

fn interval(before: &Counts, after: &Counts, ceiling: Ceiling) -> Interval {
    let enabled = after.enabled.saturating_sub(before.enabled);
    if enabled == 0 || before.values.len() != after.values.len() {
        return Interval::Ended;
    }
    let running = after.running.saturating_sub(before.running);
    if running == 0 {
        return Interval::NotRunning;
    }
    let each = before.values.iter().zip(&after.values);
    let counted = each.map(|(before, after)| ceiling.rise(*before, *after, running));
    let scaled = |raw: u64| raw as f64 * enabled as f64 / running as f64;
    counted.map(|raw| raw.map(scaled)).collect::<Option<_>>().map_or(Interval::TooMuch, Interval::Counted)
}

#[cfg(test)]
#[path = "groups_tests.rs"]
mod tests;
