//! One GPU, round after round: what has to be remembered between two rounds, and the order of a round.

use std::{sync::Arc, time::Instant};

use reading::{Absence, Batch, Fault, FaultCode, Identity, Labels, Lost, Measured, Sampler, plausible_count};
use source::Known;

use crate::{
    ceilings::Ceilings,
    identity::{DcgmLabelOptions, Inventory},
    listener::Listener,
    mandatory::Mandatory,
    map,
    rates::{ClockEvents, Counters},
    raw::{self, FieldValues, Gpm, GpmMetrics, Gpu, Instance, LOSSES, Raw, fields},
};

/// NVML knows no board with more NVLinks (nvml.h, `NVML_NVLINK_MAX_LINKS`).
const LINKS_MAX: u32 = 36;

/// A GPU and what is kept from one round to the next.
pub struct GpuSampler {
    gpu: Gpu,
    /// What XIDs are recorded under.
    key: String,
    mark: String,
    inventory: Inventory,
    labels: DcgmLabelOptions,
    identity: Arc<Identity>,
    info: Labels,
    listener: Arc<Listener>,
    fields: FieldValues,
    links: Measured<u32>,
    gpm: Measured<Gpm>,
    partitions: Vec<Partition>,
    counters: Counters,
    clock_events: ClockEvents,
}

/// A MIG instance and its GPM buffers.
struct Partition {
    instance: Instance,
    identity: Arc<Identity>,
    info: Labels,
    gpm: Measured<Gpm>,
}

impl GpuSampler {
    /// Prepares to read what the board has.
    pub fn open(
        gpu: Gpu,
        known: Known<Inventory>,
        labels: DcgmLabelOptions,
        listener: Arc<Listener>,
    ) -> Self {
        let Known { mark, key, identity, facts: inventory } = known;
        let links = link_count(&gpu);
        Self {
            fields: FieldValues::every_round(&gpu, links.unwrap_or(0)),
            info: inventory.info(None),
            gpm: open_gpm(&gpu),
            gpu,
            key,
            mark,
            inventory,
            labels,
            identity,
            listener,
            links,
            partitions: Vec::new(),
            counters: Counters::default(),
            clock_events: ClockEvents::default(),
        }
    }

    /// Checks that the handle still is the silicon that the labels name.
    fn check_identity(&self) -> Result<(), Lost> {
        Mandatory::check(&self.gpu, &self.mark)
    }

    /// Looks again for what a board has where the call has failed: else the device would be without it, as
    /// if it had none, for as long as it is sampled.
    fn retry_failed(&mut self) {
        if self.links.is_err_and(|fault| has_failed(&fault)) {
            self.links = link_count(&self.gpu);
            self.fields = FieldValues::every_round(&self.gpu, self.links.unwrap_or(0));
        }
        retry_failed_gpm(&mut self.gpm, &self.gpu);
    }

    fn sample_partitions(&mut self, mig_enabled: Measured<bool>, now: Instant, batch: &mut Batch) {
        let mut faults = Vec::new();
        let instances = if mig_enabled == Ok(true) { self.gpu.instances(&mut faults) } else { Vec::new() };
        // A list that cannot be read says nothing about what has gone.
        if faults.is_empty() && mig_enabled.is_ok() {
            let ids = instances.iter().map(|instance| instance.id).collect();
            self.listener.set_instances(&self.key, &ids);
        }
        for fault in faults {
            batch.put(naming::catalogue::DEVICE_INFO, Labels::NONE, Err(fault));
        }
        let mut old = std::mem::take(&mut self.partitions);
        for instance in instances {
            // The driver makes an instance's UUID of the device's and of ids that the next instance gets
            // again: one of another profile is another instance, and the handle is a new one each time.
            let same = |old: &Instance| (&old.uuid, &old.profile) == (&instance.uuid, &instance.profile);
            let known = old.iter().position(|partition| same(&partition.instance));
            let mut partition = match known {
                Some(index) => Partition { instance, ..old.swap_remove(index) },
                None => Partition {
                    identity: self.inventory.instance_identity(&self.labels, &instance),
                    info: self.inventory.info(Some(&instance.profile)),
                    gpm: open_gpm(&self.gpu),
                    instance,
                },
            };
            batch.begin(&partition.identity);
            let id = Some(partition.instance.id);
            retry_failed_gpm(&mut partition.gpm, &self.gpu);
            let sample = map::PartitionSample {
                memory: raw::memory(&partition.instance.gpu),
                gpm: &read_gpm(&mut partition.gpm, &self.gpu, id),
                info: &partition.info,
                xids: self.listener.history(&self.key, id),
                now,
            };
            map::partition(&sample, batch);
            self.partitions.push(partition);
        }
    }
}

impl Sampler for GpuSampler {
    fn sample(&mut self, batch: &mut Batch) -> Result<(), Lost> {
        self.check_identity()?;
        batch.begin(&self.identity);
        self.retry_failed();
        let mut raw = raw::read(&self.gpu, self.links.unwrap_or(0));
        if let Some(lost) = LOSSES.of_mandatory(&mandatory(&raw)) {
            return Err(lost);
        }
        self.fields.read(&self.gpu);
        let mut gpm = read_gpm(&mut self.gpm, &self.gpu, None);
        let ceilings = Ceilings::new(&raw, &self.fields);
        ceilings.apply(&mut raw);
        ceilings.apply_to_gpm(&mut gpm);
        let now = Instant::now();
        if let Ok(mask) = raw.clocks_event_reasons {
            self.clock_events.record(now, mask);
        }
        let sample = map::DeviceSample {
            raw: &raw,
            links: self.links,
            fields: &self.fields,
            power_instant_mw: ceilings.instant_power(&self.fields),
            gpm: &gpm,
            counts: self.counters.advance(&raw, &self.fields, &gpm, &ceilings),
            clock_events: &self.clock_events,
            info: &self.info,
            xids: self.listener.history(&self.key, None),
            now,
        };
        map::device(&sample, batch);
        if !self.inventory.has_uuid() {
            let unknown = Fault::new("nvmlDeviceGetUUID", FaultCode::UuidNotUnique);
            batch.put(naming::catalogue::DEVICE_INFO, Labels::NONE, Err(unknown));
        }
        self.sample_partitions(raw.mig_enabled, now, batch);
        self.check_identity()
    }

    fn mandatory(&self) -> Option<Box<dyn Sampler>> {
        Some(Box::new(Mandatory {
            gpu: self.gpu.clone(),
            mark: self.mark.clone(),
            identity: Arc::clone(&self.identity),
            info: self.info.clone(),
        }))
    }
}

/// What of each board is mandatory: one of these at least is read, or the board is not up. The identity may
/// come from NVML's own memory.
fn mandatory(raw: &Raw) -> [Option<Fault>; 5] {
    [
        raw.memory.err(),
        raw.temperature_c.err(),
        raw.power_mw.err(),
        raw.utilization_percent.err(),
        raw.clocks_mhz[0].err(),
    ]
}

/// How many NVLinks the board has.
fn link_count(gpu: &Gpu) -> Measured<u32> {
    let mut at_open = FieldValues::at_open(gpu);
    at_open.read(gpu);
    let links = at_open.unsigned(fields::NVML_FI_DEV_NVLINK_LINK_COUNT)?;
    let links = u32::try_from(links).unwrap_or(u32::MAX);
    plausible_count(fields::NVML_FI_DEV_NVLINK_LINK_COUNT.name(), links, LINKS_MAX)
}

fn open_gpm(gpu: &Gpu) -> Measured<Gpm> {
    Gpm::supported(gpu).and_then(|()| Gpm::new(gpu.library()))
}

fn retry_failed_gpm(gpm: &mut Measured<Gpm>, gpu: &Gpu) {
    if gpm.as_ref().is_err_and(has_failed) {
        *gpm = open_gpm(gpu);
    }
}

fn read_gpm(gpm: &mut Measured<Gpm>, gpu: &Gpu, instance: Option<u32>) -> GpmMetrics {
    match gpm {
        Ok(gpm) => gpm.read(gpu, instance),
        Err(fault) => GpmMetrics::absent(*fault),
    }
}

fn has_failed(fault: &Fault) -> bool {
    fault.absence != Absence::Unsupported
}
