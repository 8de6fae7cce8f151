//! What a socket's memory controllers count: column accesses, each of one cache line.

use crate::{
    groups::Groups,
    perf::{CALL, Shared},
    pmu::Pmu,
    raw::Got,
};
use reading::{Absence, Fault};

/// Column accesses since the events were opened.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Accesses {
    /// Reads.
    pub reads: f64,
    /// Writes.
    pub writes: f64,
}

/// The memory controllers of a socket.
pub struct Memory {
    controllers: Vec<Controller>,
    total: Accesses,
}

struct Controller {
    pmu: Pmu,
    groups: Groups,
    /// How many of the group's events count reads; they come first. Sub-channels have one each.
    reads: usize,
}

impl Memory {
    /// The controllers that the kernel lists; nothing is opened yet.
    pub fn new(perf: &Shared, sysfs: &std::path::Path) -> Self {
        let controllers = Pmu::memory_controllers(sysfs).into_iter().filter_map(|pmu| {
            let (mut events, writes) = (pmu.events("cas_count_read"), pmu.events("cas_count_write"));
            let reads = events.len();
            events.extend(writes);
            (reads > 0 && events.len() > reads).then(|| Controller {
                groups: Groups::new(perf.clone(), events),
                pmu,
                reads,
            })
        });
        Self { controllers: controllers.collect(), total: Accesses::default() }
    }

    /// Reads what is open.
    ///
    /// # Errors
    /// When a controller cannot be read: traffic of the others would look like all of it.
    pub fn read(&mut self) -> Got<Accesses> {
        if self.controllers.is_empty() {
            return Err(Fault { absence: Absence::Unsupported, call: CALL, code: "no_uncore_imc" });
        }
        let mut round = Accesses::default();
        for controller in &mut self.controllers {
            for (_, values) in controller.groups.read()? {
                let (reads, writes) = values.split_at(controller.reads);
                round.reads += reads.iter().sum::<f64>();
                round.writes += writes.iter().sum::<f64>();
            }
        }
        self.total.reads += round.reads;
        self.total.writes += round.writes;
        Ok(self.total)
    }

    /// Opens events on the socket's CPU that each controller names.
    pub fn follow(&mut self, socket: &[u32]) -> Got<()> {
        for controller in &mut self.controllers {
            let mut cpus = controller.pmu.cpus()?;
            cpus.retain(|cpu| socket.contains(cpu));
            controller.groups.follow(&cpus)?;
        }
        Ok(())
    }
}
