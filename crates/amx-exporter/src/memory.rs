//! What a socket's memory controllers count: column accesses, each of one cache line.

use std::path::{Path, PathBuf};

use kernel::{perf::CALL, pmu::Pmu};
use reading::{Fault, FaultCode, Measured};

use crate::{groups::Groups, perf::Shared};

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
    perf: Shared,
    sysfs: PathBuf,
    /// The names by which the controllers were found.
    listed: Vec<String>,
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
    /// None that is known yet.
    pub fn new(perf: &Shared, sysfs: &Path) -> Self {
        Self {
            perf: perf.clone(),
            sysfs: sysfs.to_owned(),
            listed: Vec::new(),
            controllers: Vec::new(),
            total: Accesses::default(),
        }
    }

    /// The controllers that the kernel lists. Their driver is a module, which may come later than the exporter
    /// and lists them one by one.
    fn find(&mut self) {
        let listed = Pmu::numbered(&self.sysfs, "uncore_imc_");
        if listed == self.listed {
            return;
        }
        let pmus = listed.iter().filter_map(|name| Pmu::open(&self.sysfs, name).ok());
        let controllers = pmus.filter_map(|pmu| {
            let (mut events, writes) =
                (pmu.named_events("cas_count_read"), pmu.named_events("cas_count_write"));
            let reads = events.len();
            events.extend(writes);
            (reads > 0 && events.len() > reads).then(|| Controller {
                groups: Groups::new(self.perf.clone(), events),
                pmu,
                reads,
            })
        });
        self.controllers = controllers.collect();
        self.listed = listed;
    }

    /// Reads what is open.
    ///
    /// # Errors
    /// When a controller cannot be read: traffic of the others would look like all of it.
    pub fn read(&mut self) -> Measured<Accesses> {
        if self.controllers.is_empty() {
            return Err(Fault::new(CALL, FaultCode::NoUncoreImc));
        }
        let mut failed = None;
        for controller in &mut self.controllers {
            match controller.groups.read() {
                // Also beside one that fails: what was counted is counted once.
                Ok(increments) => {
                    for (_, values) in increments {
                        let (reads, writes) = values.split_at(controller.reads);
                        self.total.reads += reads.iter().sum::<f64>();
                        self.total.writes += writes.iter().sum::<f64>();
                    }
                }
                Err(fault) => failed = Some(fault),
            }
        }
        failed.map_or(Ok(self.total), Err)
    }

    /// Finds the controllers, and opens events on the socket's CPU that each names.
    pub fn follow(&mut self, socket: &[u32]) -> Measured<()> {
        self.find();
        for controller in &mut self.controllers {
            let mut cpus = controller.pmu.cpus()?;
            cpus.retain(|cpu| socket.contains(cpu));
            controller.groups.follow(&cpus)?;
        }
        Ok(())
    }
}
