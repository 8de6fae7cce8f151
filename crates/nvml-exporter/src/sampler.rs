//! One GPU, round after round: what has to be remembered between two rounds, and the order of a round.

use std::{sync::Arc, time::Instant};

use reading::{Absence, Batch, Fault, FaultCode, Identity, Labels, Lost, Sampler};

use crate::{
    identity::{Facts, Naming},
    listener::Listener,
    map,
    rates::{ClockEvents, Traffic},
    raw::{self, FieldValues, Got, Gpm, GpmMetrics, Gpu, Instance, Raw, fields},
};

/// NVML knows no board with more NVLinks (nvml.h, `NVML_NVLINK_MAX_LINKS`).
const LINKS_MAX: u32 = 36;

/// A GPU and what its last rounds left behind.
pub struct GpuSampler {
    gpu: Gpu,
    uuid: String,
    facts: Facts,
    naming: Naming,
    identity: Arc<Identity>,
    info: Labels,
    listener: Arc<Listener>,
    fields: FieldValues,
    links: Got<u32>,
    gpm: Got<Gpm>,
    partitions: Vec<Partition>,
    traffic: Traffic,
    clock_events: ClockEvents,
}

/// A MIG instance and its GPM buffers.
struct Partition {
    instance: Instance,
    identity: Arc<Identity>,
    info: Labels,
    gpm: Got<Gpm>,
}

impl GpuSampler {
    /// Prepares the batches for what the board has.
    pub fn open(
        gpu: Gpu,
        uuid: String,
        facts: Facts,
        naming: Naming,
        identity: Arc<Identity>,
        listener: Arc<Listener>,
    ) -> Self {
        let links = link_count(&gpu);
        let gpm = open_gpm(&gpu);
        Self {
            fields: FieldValues::every_round(&gpu, links.unwrap_or(0)),
            info: facts.info(None),
            gpu,
            uuid,
            facts,
            naming,
            identity,
            listener,
            links,
            gpm,
            partitions: Vec::new(),
            traffic: Traffic::default(),
            clock_events: ClockEvents::default(),
        }
    }

    /// Answers whether the handle still is the silicon that the labels name.
    fn check_identity(&self) -> Result<(), Lost> {
        match self.gpu.uuid() {
            Ok(uuid) if uuid == self.uuid => Ok(()),
            Ok(_) => Err(Lost::Device(Fault::new("nvmlDeviceGetUUID", FaultCode::IdentityChanged))),
            Err(fault) if raw::means_session_lost(&fault) => Err(Lost::Session(fault)),
            Err(fault) => Err(Lost::Device(fault)),
        }
    }

    /// Asks again what a board has, where the question has failed: else the device would be without it, as
    /// if it had none, for as long as it is sampled.
    fn ask_again(&mut self) {
        if self.links.is_err_and(has_failed) {
            self.links = link_count(&self.gpu);
            self.fields = FieldValues::every_round(&self.gpu, self.links.unwrap_or(0));
        }
        if self.gpm.as_ref().is_err_and(|fault| has_failed(*fault)) {
            self.gpm = open_gpm(&self.gpu);
        }
    }

    fn sample_partitions(&mut self, mig_enabled: bool, now: Instant, batch: &mut Batch) {
        let mut faults = Vec::new();
        let instances = if mig_enabled { self.gpu.instances(&mut faults) } else { Vec::new() };
        for fault in faults {
            batch.put(naming::catalogue::DEVICE_INFO, Labels::NONE, Err(fault));
        }
        let mut old = std::mem::take(&mut self.partitions);
        for instance in instances {
            // The driver makes an instance's UUID of the device's and of ids that the next instance gets again:
            // one of another profile is another instance, and the handle is asked anew each time.
            let same = |old: &Instance| (&old.uuid, &old.profile) == (&instance.uuid, &instance.profile);
            let known = old.iter().position(|partition| same(&partition.instance));
            let mut partition = match known {
                Some(index) => Partition { instance, ..old.swap_remove(index) },
                None => Partition {
                    identity: self.facts.instance_identity(&self.naming, &instance),
                    info: self.facts.info(Some(&instance.profile)),
                    gpm: open_gpm(&self.gpu),
                    instance,
                },
            };
            batch.begin(&partition.identity);
            let id = partition.instance.id;
            if partition.gpm.as_ref().is_err_and(|fault| has_failed(*fault)) {
                partition.gpm = open_gpm(&self.gpu);
            }
            let gpm = match &mut partition.gpm {
                Ok(gpm) => gpm.read(&self.gpu, Some(id)),
                Err(fault) => GpmMetrics::absent(*fault),
            };
            let xids = self.listener.history(&self.uuid, Some(id), now);
            let memory = raw::memory(&partition.instance.gpu);
            map::partition(&partition.info, memory, &gpm, xids, batch);
            self.partitions.push(partition);
        }
    }
}

impl Sampler for GpuSampler {
    fn sample(&mut self, batch: &mut Batch) -> Result<(), Lost> {
        self.check_identity()?;
        batch.begin(&self.identity);
        self.ask_again();
        let raw = raw::read(&self.gpu, self.links.unwrap_or(0));
        if let Some(lost) = lost(&raw) {
            return Err(lost);
        }
        self.fields.read(&self.gpu);
        let gpm = match &mut self.gpm {
            Ok(gpm) => gpm.read(&self.gpu, None),
            Err(fault) => GpmMetrics::absent(*fault),
        };
        let now = Instant::now();
        self.traffic.advance(now, &self.fields, &gpm);
        if let Ok(mask) = raw.clocks_event_reasons {
            self.clock_events.record(now, mask);
        }
        map::device(
            &map::Round {
                raw: &raw,
                links: self.links,
                fields: &self.fields,
                gpm: &gpm,
                traffic: &self.traffic,
                clock_events: &self.clock_events,
                info: &self.info,
                xids: self.listener.history(&self.uuid, None, now),
            },
            batch,
        );
        self.sample_partitions(raw.mig_enabled == Ok(true), now, batch);
        self.check_identity()
    }
}

/// Whether a call that every board answers says that board or driver is gone; the UUID may be answered
/// from NVML's own memory.
fn lost(raw: &Raw) -> Option<Lost> {
    let faults = [raw.temperature_c.err(), raw.power_mw.err(), raw.memory.err()];
    faults.into_iter().flatten().find_map(|fault| {
        if raw::means_session_lost(&fault) {
            Some(Lost::Session(fault))
        } else {
            raw::means_device_lost(&fault).then_some(Lost::Device(fault))
        }
    })
}

/// How many NVLinks the board has.
fn link_count(gpu: &Gpu) -> Got<u32> {
    let mut at_open = FieldValues::at_open(gpu);
    at_open.read(gpu);
    let links = at_open.unsigned(fields::NVML_FI_DEV_NVLINK_LINK_COUNT)?;
    Ok(u32::try_from(links).unwrap_or(u32::MAX).min(LINKS_MAX))
}

fn open_gpm(gpu: &Gpu) -> Got<Gpm> {
    Gpm::supported(gpu).and_then(|()| Gpm::new(gpu.library()))
}

fn has_failed(fault: Fault) -> bool {
    fault.absence != Absence::Unsupported
}
