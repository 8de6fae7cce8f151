//! Events of the memory controllers of a socket: column accesses, each of one cache line.

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
pub struct MemoryEvents {
    perf: Shared,
    sysfs: PathBuf,
    /// The PMUs that were listed when `controllers` was made.
    listed: Vec<String>,
    controllers: Vec<Controller>,
    total: Accesses,
}

struct Controller {
    pmu: Pmu,
    groups: Groups,
    /// How many events of the group count reads, one per sub-channel; they come first.
    reads: usize,
}

impl MemoryEvents {
    /// No controller is looked up yet.
    pub fn new(perf: &Shared, sysfs: &Path) -> Self {
        Self {
            perf: perf.clone(),
            sysfs: sysfs.to_owned(),
            listed: Vec::new(),
            controllers: Vec::new(),
            total: Accesses::default(),
        }
    }

    /// Looks up the controllers if others are listed than before: their driver is a module, which may be
    /// loaded after the exporter has started.
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

    /// Reads the open events.
    ///
    /// # Errors
    /// When a controller cannot be read, since the traffic of the others would look like all of it.
    pub fn read(&mut self) -> Measured<Accesses> {
        if self.controllers.is_empty() {
            return Err(Fault::new(CALL, FaultCode::NoUncoreImc));
        }
        let mut failed = None;
        for controller in &mut self.controllers {
            match controller.groups.read() {
                // Even if another controller fails: these increments are not read again.
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

    /// Looks up the controllers, and opens events of each on the CPU of this socket that its PMU names.
    ///
    /// # Errors
    /// Those of [`Groups::update`].
    pub fn update(&mut self, socket: &[u32]) -> Measured<()> {
        self.find();
        for controller in &mut self.controllers {
            let mut cpus = controller.pmu.cpus()?;
            cpus.retain(|cpu| socket.contains(cpu));
            controller.groups.update(&cpus)?;
        }
        Ok(())
    }
}
