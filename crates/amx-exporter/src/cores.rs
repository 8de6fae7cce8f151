//! Events of the cores of a socket: cycles, instructions, and cycles in which AMX is busy.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use kernel::{perf::CALL, pmu::Pmu};
use reading::{Ceiling, Fault, FaultCode, Measured};

use crate::{
    cpu::{Cpu, THREAD_CYCLES},
    groups::{Groups, Increment, Increments},
    perf::Shared,
    topology,
};

/// INST_RETIRED.ANY.
const INSTRUCTIONS: u64 = 0x00c0;

/// No core retires more instructions in a cycle.
const EVENTS_PER_CYCLE_MAX: f64 = 16.0;

/// Sums over cores since their events were opened.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CoreCounters {
    /// Unhalted cycles of threads.
    pub thread_cycles: f64,
    /// Unhalted cycles of cores, where they can be counted.
    pub core_cycles: f64,
    /// Instructions retired.
    pub instructions: f64,
    /// Cycles in which AMX was busy, where it can be counted.
    pub amx_cycles: f64,
}

/// What a round counted.
#[derive(Clone, Debug, PartialEq)]
pub struct CoreReading {
    /// An error is why AMX is not counted.
    pub amx: Measured<()>,
    /// An error is why the cycles of cores are not counted.
    pub cores: Measured<()>,
    /// Sums over all rounds.
    pub totals: CoreCounters,
    /// Busy share of AMX in the socket since the last round.
    pub amx_ratio: Measured<f64>,
    /// The same for each core that was not halted throughout.
    pub amx_by_core: BTreeMap<u32, f64>,
}

/// The events of a socket's cores.
pub struct CoreEvents {
    perf: Shared,
    sysfs: PathBuf,
    /// The events by their numbers.
    configs: Vec<u64>,
    /// None before the kernel lists a PMU of its cores.
    groups: Option<Groups>,
    amx: Measured<()>,
    /// Index in the group of the event that counts the cycles of cores.
    cores: Measured<usize>,
    totals: CoreCounters,
}

/// The kernel lists no PMU of the cores.
const NO_PMU: Fault = Fault::new(CALL, FaultCode::NoCorePmu);

/// Indices of events in the group. AMX, which may be missing, is last.
const THREAD: usize = 0;
const RETIRED: usize = 1;

impl CoreEvents {
    /// The events that this processor has; none is opened yet.
    pub fn new(perf: &Shared, cpu: &Cpu, sysfs: &Path) -> Self {
        let unsupported = |code| Fault::new("CPUID", code);
        let event = cpu.amx_event().map_err(unsupported);
        let mut configs = vec![THREAD_CYCLES, INSTRUCTIONS];
        let cores = cpu.core_event().map_err(unsupported).map(|config| {
            configs.iter().position(|other| *other == config).unwrap_or_else(|| {
                configs.push(config);
                configs.len() - 1
            })
        });
        configs.extend(event.ok());
        Self {
            perf: perf.clone(),
            sysfs: sysfs.to_owned(),
            configs,
            groups: None,
            amx: event.map(|_| ()),
            cores,
            totals: CoreCounters::default(),
        }
    }

    /// Reads the open events.
    ///
    /// # Errors
    /// Those of [`Groups::read`], and why a CPU that is online is missing from its result: what it does is
    /// counted later.
    pub fn read(&mut self, cpus: &[topology::Cpu]) -> Measured<CoreReading> {
        let groups = self.groups.as_mut().ok_or(NO_PMU)?;
        let Increments { by_cpu: increments, complete } = groups.read()?;
        let mut socket = CoreCounters::default();
        let mut cores = BTreeMap::<u32, CoreCounters>::new();
        for increment in &increments {
            let counted = self.totals_of(increment);
            add(&mut socket, &counted);
            if let Some(cpu) = cpus.iter().find(|cpu| cpu.number == increment.0) {
                add(cores.entry(cpu.core).or_default(), &counted);
            }
        }
        add(&mut self.totals, &socket);
        complete?;
        let halted = Fault::new(CALL, FaultCode::NoUnhaltedCycles);
        let amx_by_core = match self.amx {
            Ok(()) => cores.iter().filter_map(|(core, counted)| Some((*core, share(counted)?))).collect(),
            Err(_) => BTreeMap::new(),
        };
        Ok(CoreReading {
            amx: self.amx,
            cores: self.cores.map(|_| ()),
            totals: self.totals,
            amx_ratio: self.amx.and_then(|()| share(&socket).ok_or(halted)),
            amx_by_core,
        })
    }

    /// Opens and closes events as CPUs come and go.
    ///
    /// # Errors
    /// Those of [`Groups::update`].
    pub fn update(&mut self, cpus: &[topology::Cpu]) -> Measured<()> {
        if self.groups.is_none() {
            // Most virtual machines have no PMU, even where AMX is visible; perf_event_open would only return
            // ENOENT.
            let pmu = Pmu::open(&self.sysfs, "cpu").map_err(|_| NO_PMU)?;
            let events = self.configs.iter().map(|config| pmu.event(*config)).collect();
            let ceiling = Ceiling::of_cycles().times(EVENTS_PER_CYCLE_MAX);
            self.groups = Some(Groups::new(self.perf.clone(), events, ceiling));
        }
        let numbers: Vec<_> = cpus.iter().map(|cpu| cpu.number).collect();
        self.groups.as_mut().ok_or(NO_PMU)?.update(&numbers)
    }

    fn totals_of(&self, (_, values): &Increment) -> CoreCounters {
        let thread_cycles = values[THREAD];
        CoreCounters {
            thread_cycles,
            instructions: values[RETIRED],
            core_cycles: self.cores.map_or(0.0, |index| values[index]),
            amx_cycles: if self.amx.is_ok() { values[values.len() - 1] } else { 0.0 },
        }
    }
}

fn add(sum: &mut CoreCounters, other: &CoreCounters) {
    sum.thread_cycles += other.thread_cycles;
    sum.core_cycles += other.core_cycles;
    sum.instructions += other.instructions;
    sum.amx_cycles += other.amx_cycles;
}

/// Intel's `AMX_Busy`: EXE.AMX_BUSY over the core's unhalted cycles. The event is speculative, so the share
/// is limited to 1. A core that was halted throughout has none.
fn share(counted: &CoreCounters) -> Option<f64> {
    (counted.core_cycles > 0.0).then(|| (counted.amx_cycles / counted.core_cycles).min(1.0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::perf::Kernel;

    fn core(cores: usize, amx: Measured<()>) -> CoreEvents {
        let events = CoreEvents::new(&(Arc::new(Kernel) as Shared), &Cpu::default(), Path::new("/none"));
        CoreEvents { amx, cores: Ok(cores), ..events }
    }

    #[test]
    fn busy_over_unhalted() {
        let counted = core(2, Ok(())).totals_of(&(0, vec![5.0e9, 7.0e9, 3.1e9, 1.0e9]));
        assert_eq!(share(&counted).map(|ratio| format!("{ratio:.4}")).as_deref(), Some("0.3226"));
        // Of a core with one thread the thread's cycles are the core's.
        let counted = core(THREAD, Ok(())).totals_of(&(0, vec![2.0e9, 7.0e9, 1.0e9]));
        assert_eq!(share(&counted), Some(0.5));
        assert_eq!(
            share(&CoreCounters { amx_cycles: 3.0, core_cycles: 2.0, ..CoreCounters::default() }),
            Some(1.0)
        );
        assert_eq!(share(&CoreCounters::default()), None, "halted");
    }

    #[test]
    fn siblings_share_their_cores_cycles() {
        // One thread multiplies, the other does anything else: the core is busy half of its cycles.
        let core = core(2, Ok(()));
        let mut sum = CoreCounters::default();
        for values in [vec![2.0e9, 1.0, 1.0e9, 1.0e9], vec![2.0e9, 1.0, 1.0e9, 0.0]] {
            add(&mut sum, &core.totals_of(&(0, values)));
        }
        assert_eq!(share(&sum), Some(0.5));
    }

    #[test]
    fn without_amx_the_rest_is_counted_all_the_same() {
        let none = Fault::new("CPUID", FaultCode::NoAmx);
        let counted = core(THREAD, Err(none)).totals_of(&(0, vec![2.0e9, 4.0e9]));
        assert_eq!((counted.instructions, counted.core_cycles, counted.amx_cycles), (4.0e9, 2.0e9, 0.0));
    }
}
