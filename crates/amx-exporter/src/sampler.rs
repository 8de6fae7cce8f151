//! One socket, round after round.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use kernel::perf::CALL;
use reading::{Batch, Fault, FaultCode, Identity, Labels, Lost, Measured, Sampler};

use crate::{
    cores::Core,
    cpu::Cpu,
    map,
    memory::Memory,
    perf::Shared,
    rates::{Power, Throttling},
    raw::Files,
    topology,
};

/// When to ask for events again that the kernel has refused.
const RETRY: Duration = Duration::from_secs(10);

/// A socket and what its last rounds left behind.
pub struct SocketSampler {
    sysfs: PathBuf,
    socket: u32,
    topology: topology::Socket,
    identity: Arc<Identity>,
    info: Labels,
    per_core: bool,
    files: Files,
    core: Events<Core>,
    memory: Events<Memory>,
    power: [Power; 2],
    throttling: Throttling,
}

/// What is to be known of a socket to sample it.
pub struct Socket {
    /// Root of sysfs.
    pub sysfs: PathBuf,
    /// The kernel's number of the socket.
    pub number: u32,
    /// Labels of its series.
    pub identity: Arc<Identity>,
    /// Labels of the info metric.
    pub info: Labels,
    /// Whether each core has series of its own.
    pub per_core: bool,
}

/// Events that are open or were refused.
struct Events<T> {
    of: T,
    refused: Option<(Fault, Instant)>,
    opened: bool,
}

impl<T> Events<T> {
    fn new(of: T) -> Self {
        Self { of, refused: None, opened: false }
    }

    /// Reads what the last round left open, then follows CPUs that came and went.
    fn round<R>(
        &mut self,
        now: Instant,
        read: impl FnOnce(&mut T) -> Measured<R>,
        follow: impl FnOnce(&mut T) -> Measured<()>,
    ) -> Measured<R> {
        if let Some((fault, at)) = self.refused
            && now < at + RETRY
        {
            return Err(fault);
        }
        let first = Fault::new(CALL, FaultCode::FirstReading);
        let result = if self.opened { read(&mut self.of) } else { Err(first) };
        match follow(&mut self.of) {
            Ok(()) => {
                (self.opened, self.refused) = (true, None);
                result
            }
            Err(fault) => {
                (self.opened, self.refused) = (false, Some((fault, now)));
                Err(fault)
            }
        }
    }
}

impl SocketSampler {
    /// A sampler that has opened nothing yet.
    pub fn new(socket: Socket, perf: &Shared, cpu: &Cpu) -> Self {
        let Socket { sysfs, number, identity, info, per_core } = socket;
        Self {
            files: Files::new(&sysfs, number),
            core: Events::new(Core::new(perf, cpu, &sysfs)),
            memory: Events::new(Memory::new(perf, &sysfs)),
            power: Default::default(),
            throttling: Throttling::default(),
            sysfs,
            socket: number,
            topology: topology::Socket::default(),
            identity,
            info,
            per_core,
        }
    }

    /// One round at `now`.
    pub fn round(&mut self, now: Instant, batch: &mut Batch) -> Result<(), Lost> {
        self.topology.follow(&self.sysfs, self.socket).map_err(Lost::Device)?;
        let topology::Socket { cpus, dies, .. } = &self.topology;
        if cpus.is_empty() {
            return Err(Lost::Device(Fault::new("cpu/online", FaultCode::Offline)));
        }
        let numbers: Vec<_> = cpus.iter().map(|cpu| cpu.number).collect();
        let counted = self.core.round(now, |core| core.read(cpus), |core| core.follow(cpus));
        let accesses = self.memory.round(now, Memory::read, |memory| memory.follow(&numbers));
        let raw = self.files.read(cpus, dies);
        let [package, memory] = &mut self.power;
        let power_uw = [package.microwatts(now, raw.energy_uj), memory.microwatts(now, raw.memory_energy_uj)];
        let active = self.throttling.active(&raw);
        batch.begin(&self.identity);
        let info = &self.info;
        map::socket(&map::Round { info, raw: &raw, power_uw, active, counted: &counted, accesses }, batch);
        if self.per_core
            && let Ok(counted) = &counted
        {
            map::cores(&counted.amx_by_core, &self.identity, batch);
        }
        Ok(())
    }
}

impl Sampler for SocketSampler {
    fn sample(&mut self, batch: &mut Batch) -> Result<(), Lost> {
        self.round(Instant::now(), batch)
    }
}
