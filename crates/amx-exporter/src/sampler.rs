//! The sampler of one socket.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use kernel::perf::CALL;
use reading::{Batch, Fault, FaultCode, Identity, Lost, Measured, Sampler};
use source::Info;

use crate::{
    cores::CoreEvents, cpu::Cpu, mandatory::Mandatory, map, memory::MemoryEvents, perf::Shared,
    raw::SocketFiles, throttling::Throttling, topology::Topology,
};

/// How long after the kernel refused events they are opened again.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// A socket and the state that rates need.
pub struct SocketSampler {
    config: SocketConfig,
    topology: Topology,
    files: SocketFiles,
    core: Retry<CoreEvents>,
    memory: Retry<MemoryEvents>,
    throttling: Throttling,
}

/// Which socket is sampled, and how.
pub struct SocketConfig {
    /// Root of sysfs.
    pub sysfs: PathBuf,
    /// The kernel's number of the socket.
    pub number: u32,
    /// Labels of its series.
    pub identity: Arc<Identity>,
    /// Whether the processor hides the AMX units that its model has, where the model is known.
    pub amx_missing: Measured<bool>,
    /// Labels of the info metric.
    pub info: Info,
    /// Whether each core has its own series.
    pub per_core: bool,
}

/// Events that the kernel may refuse to open.
struct Retry<T> {
    events: T,
    refused: Option<(Fault, Instant)>,
    opened: bool,
}

impl<T> Retry<T> {
    fn new(events: T) -> Self {
        Self { events, refused: None, opened: false }
    }

    /// Reads the events that are open, then opens and closes some as CPUs come and go. After a refusal
    /// neither is done for a while.
    fn round<R>(
        &mut self,
        now: Instant,
        read: impl FnOnce(&mut T) -> Measured<R>,
        update: impl FnOnce(&mut T) -> Measured<()>,
    ) -> Measured<R> {
        if let Some((fault, at)) = self.refused
            && now < at + RETRY_AFTER
        {
            return Err(fault);
        }
        let first = Fault::new(CALL, FaultCode::FirstReading);
        let result = if self.opened { read(&mut self.events) } else { Err(first) };
        match update(&mut self.events) {
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
    pub fn new(config: SocketConfig, perf: &Shared, cpu: &Cpu) -> Self {
        Self {
            topology: Topology::default(),
            files: SocketFiles::new(&config.sysfs, config.number),
            core: Retry::new(CoreEvents::new(perf, cpu, &config.sysfs)),
            memory: Retry::new(MemoryEvents::new(perf, &config.sysfs)),
            throttling: Throttling::default(),
            config,
        }
    }

    /// Reads the socket at `now`.
    ///
    /// # Errors
    /// `Failed` `offline` when all CPUs of the socket are, and when the kernel does not list its CPUs.
    pub fn round(&mut self, now: Instant, batch: &mut Batch) -> Result<(), Lost> {
        self.topology.update(&self.config.sysfs, self.config.number).map_err(Lost::Device)?;
        let Topology { cpus, dies, .. } = &self.topology;
        if cpus.is_empty() {
            return Err(Lost::Device(Fault::new("cpu/online", FaultCode::Offline)));
        }
        let numbers: Vec<_> = cpus.iter().map(|cpu| cpu.number).collect();
        let cores = self.core.round(now, |core| core.read(cpus), |core| core.update(cpus));
        let accesses = self.memory.round(now, MemoryEvents::read, |memory| memory.update(&numbers));
        let raw = self.files.read(now, cpus, dies);
        self.config.info.renew(now);
        let sample = map::Sample {
            info: self.config.info.labels(),
            amx_missing: self.config.amx_missing,
            throttled: self.throttling.update(&raw),
            raw: &raw,
            cores: cores.as_ref().map_err(|fault| *fault),
            accesses,
        };
        batch.begin(&self.config.identity);
        map::socket(&sample, batch);
        if self.config.per_core
            && let Ok(reading) = &cores
        {
            map::cores(&reading.amx_by_core, &self.config.identity, batch);
        }
        Ok(())
    }
}

impl Sampler for SocketSampler {
    fn sample(&mut self, batch: &mut Batch) -> Result<(), Lost> {
        self.round(Instant::now(), batch)
    }

    fn mandatory(&self) -> Option<Box<dyn Sampler>> {
        let SocketConfig { sysfs, number, identity, info, .. } = &self.config;
        Some(Box::new(Mandatory {
            sysfs: sysfs.clone(),
            number: *number,
            identity: Arc::clone(identity),
            info: info.labels().clone(),
        }))
    }
}
