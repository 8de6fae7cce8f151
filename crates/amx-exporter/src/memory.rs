//! Events of the memory controllers of a socket: column accesses, each of one cache line.

use std::path::{Path, PathBuf};

use kernel::{perf::CALL, pmu::Pmu};
use reading::{Ceiling, Fault, FaultCode, Measured};

use crate::{groups::Groups, perf::Shared};

/// Column accesses since the events were opened.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Accesses {
    /// Reads.
    pub reads: f64,
    /// Writes.
    pub writes: f64,
}

/// A column access moves one cache line.
pub const BYTES_PER_ACCESS: f64 = 64.0;

/// The kernel lists no memory controllers that count.
const NONE: Fault = Fault::new(CALL, FaultCode::NoUncoreImc);

/// The memory controllers of a socket.
pub struct MemoryEvents {
    perf: Shared,
    sysfs: PathBuf,
    /// The PMUs that were listed when `controllers` was made; none after a refusal.
    listed: Vec<String>,
    controllers: Vec<Controller>,
    /// Why there are none.
    missing: Fault,
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
            missing: NONE,
            total: Accesses::default(),
        }
    }

    /// Looks up the controllers if others are listed than before, or if one was refused: their driver is a module,
    /// which may be loaded after the exporter has started, and numbers its PMUs anew when it is loaded again.
    /// Those that are still the same go on.
    fn find(&mut self) {
        let listed = Pmu::numbered(&self.sysfs, "uncore_imc_");
        if listed == self.listed {
            return;
        }
        let mut known = std::mem::take(&mut self.controllers);
        let controllers = listed.iter().map(|name| {
            let found = self.controller(name)?;
            let same = known.iter().position(|known| known.pmu == found.pmu);
            Ok(same.map_or(found, |same| known.swap_remove(same)))
        });
        // One that cannot be looked up is looked up again: the traffic of the others is not all of it.
        match controllers.collect() {
            Ok(found) => (self.controllers, self.listed) = (found, listed),
            Err(fault) => (self.controllers, self.listed, self.missing) = (Vec::new(), Vec::new(), fault),
        }
    }

    fn controller(&self, name: &str) -> Measured<Controller> {
        let pmu = Pmu::open(&self.sysfs, name)?;
        let mut events = pmu.named_events("cas_count_read")?;
        let reads = events.len();
        events.extend(pmu.named_events("cas_count_write")?);
        if reads == 0 || events.len() == reads {
            return Err(NONE);
        }
        // An access moves a cache line.
        let ceiling = Ceiling::of_memory(Err(NONE)).times(1.0 / BYTES_PER_ACCESS);
        Ok(Controller { groups: Groups::new(self.perf.clone(), events, ceiling), pmu, reads })
    }

    /// Reads the open events.
    ///
    /// # Errors
    /// When a controller cannot be read, since the traffic of the others would look like all of it.
    pub fn read(&mut self) -> Measured<Accesses> {
        if self.controllers.is_empty() {
            return Err(self.missing);
        }
        let mut failed = None;
        for controller in &mut self.controllers {
            match controller.groups.read() {
                // Even if another controller fails: these increments are not read again.
                Ok(increments) => {
                    for (_, values) in increments.by_cpu {
                        let (reads, writes) = values.split_at(controller.reads);
                        self.total.reads += reads.iter().sum::<f64>();
                        self.total.writes += writes.iter().sum::<f64>();
                    }
                    failed = increments.complete.err().or(failed);
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
        self.open(socket).inspect_err(|_| self.listed.clear())
    }

    fn open(&mut self, socket: &[u32]) -> Measured<()> {
        for controller in &mut self.controllers {
            let mut cpus = controller.pmu.cpus()?;
            cpus.retain(|cpu| socket.contains(cpu));
            // The kernel lists a CPU of each socket, unless it does not show all of them.
            if cpus.is_empty() {
                return Err(Fault::new("cpumask", FaultCode::NoCpu));
            }
            controller.groups.update(&cpus)?;
        }
        Ok(())
    }
}
