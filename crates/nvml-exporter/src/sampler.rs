//! One GPU, round after round: what has to be remembered between two rounds, and the order of a round.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use naming::{Flag, Id, catalogue as m};
use reading::{
    Absence, Batch, Ceiling, Fault, FaultCode, Identity, Labels, Lost, Measured, Sampler, Wanted,
    plausible_count,
};
use source::Known;

use crate::{
    ceilings::Ceilings,
    clients::{self, Clients},
    identity::{DcgmLabelOptions, Inventory},
    listener::Listener,
    mandatory::Mandatory,
    map,
    rates::{ClockEvents, Counters, GpmTotals},
    raw::{self, FieldValues, Gpm, GpmMetric, GpmMetrics, Gpu, Instance, LOSSES, Rare, Raw, fields},
    resting::{Access, Resting, Roots, RuntimePower},
};

/// NVML knows no board with more NVLinks (nvml.h, `NVML_NVLINK_MAX_LINKS`).
const LINKS_MAX: u32 = 36;

/// NVML has counters for no more links to a CPU (nvml.h, `NVML_GPM_METRIC_C2C_LINK*`).
const C2C_LINKS_MAX: u32 = 14;

/// What GPM's samples are taken for.
const OF_GPM: &[Id] = &[
    m::ENGINE_ACTIVE.id,
    m::ENGINE_CYCLES.id,
    m::SM_CYCLES.id,
    m::SM_OCCUPANCY.id,
    m::CONTEXT_SWITCH_ACTIVE.id,
    m::CONTEXT_SWITCHES.id,
    m::MEMORY_BANDWIDTH_ACTIVE.id,
    m::CACHE_HIT.id,
    m::PCIE_RATE.id,
    m::NVLINK_RATE.id,
    m::LINK_RECEIVE.id,
    m::LINK_TRANSMIT.id,
];

/// What the processes on a board are listed for.
const OF_PROCESSES: &[Id] = &[m::WORKLOAD_INFO.id, m::WORKLOAD_MEMORY_USED.id, m::WORKLOAD_ENGINE_BUSY.id];

/// How often what changes rarely is read.
const RARE_PERIOD: Duration = Duration::from_secs(15);

/// A GPU and what is kept from one round to the next.
pub struct GpuSampler {
    gpu: Gpu,
    /// What events are recorded under.
    key: String,
    mark: String,
    inventory: Inventory,
    labels: DcgmLabelOptions,
    roots: Roots,
    identity: Arc<Identity>,
    info: Labels,
    listener: Arc<Listener>,
    power: RuntimePower,
    /// Whether NVML counts the processes of the whole machine.
    sees_processes: Measured<()>,
    clients: Clients,
    fields: FieldValues,
    links: Measured<u32>,
    c2c_links: Measured<u32>,
    rare: Rare,
    /// When that was read, and what it adds to each round.
    rare_part: Option<(Instant, Batch)>,
    context_switches: Option<u64>,
    gpm: Measured<Gpm>,
    gpm_totals: GpmTotals,
    partitions: Vec<Partition>,
    counters: Counters,
    clock_events: ClockEvents,
    wanted: Wanted,
}

/// A MIG instance and its GPM buffers.
struct Partition {
    instance: Instance,
    identity: Arc<Identity>,
    info: Labels,
    gpm: Measured<Gpm>,
    gpm_totals: GpmTotals,
}

impl GpuSampler {
    /// Prepares to read what the board has. It is not called before it is known to be awake.
    pub fn open(
        gpu: Gpu,
        known: Known<Inventory>,
        labels: DcgmLabelOptions,
        listener: Arc<Listener>,
        roots: &Roots,
        resting: Resting,
        wanted: Wanted,
    ) -> Self {
        let Known { mark, key, identity, facts: inventory } = known;
        let not_asked = |call| Fault::new(call, FaultCode::FirstReading);
        Self {
            fields: FieldValues::every_round(&gpu, 0),
            rare: Rare::new(&gpu, 0, 0),
            rare_part: None,
            context_switches: None,
            info: inventory.info(None),
            gpm: Err(not_asked("nvmlGpmQueryDeviceSupport")),
            gpm_totals: GpmTotals::default(),
            links: Err(not_asked(fields::NVML_FI_DEV_NVLINK_LINK_COUNT.name())),
            c2c_links: Err(not_asked(fields::NVML_FI_DEV_C2C_LINK_COUNT.name())),
            power: RuntimePower::new(roots, &inventory.address(), &key, resting),
            sees_processes: sees_processes(&gpu, roots),
            clients: Clients::default(),
            gpu,
            key,
            mark,
            inventory,
            labels,
            roots: roots.clone(),
            identity,
            listener,
            wanted,
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
        if [self.links, self.c2c_links].iter().any(|links| links.is_err_and(|fault| has_failed(&fault))) {
            [self.links, self.c2c_links] = link_counts(&self.gpu);
            let (links, c2c_links) = (self.links.unwrap_or(0), self.c2c_links.unwrap_or(0));
            self.fields = FieldValues::every_round(&self.gpu, links);
            self.rare = Rare::new(&self.gpu, links, c2c_links);
            self.rare_part = None;
        }
        retry_failed_gpm(&mut self.gpm, &self.gpu);
    }

    /// Reports a board that is not read: what is known without a call.
    fn put_unread(&mut self, access: Access, batch: &mut Batch) {
        map::unread(&self.info, self.listener.history(&self.key, None).as_ref(), Instant::now(), batch);
        if access == Access::LeaveAlone {
            let left_alone = Fault::new("power/runtime_status", FaultCode::LeftAlone);
            batch.put(naming::catalogue::UTILIZATION, Labels::NONE, Err(left_alone));
        }
        // Rates over the pause would be of other times than the values beside them.
        self.counters.restart();
        self.rare_part = None;
        if let Ok(gpm) = &mut self.gpm {
            gpm.restart();
        }
        for gpm in self.partitions.iter_mut().flat_map(|partition| &mut partition.gpm) {
            gpm.restart();
        }
    }

    /// Lists the GPU instances, and lets the events of those that are gone be the device's.
    fn list_instances(&self, mig_enabled: Measured<bool>) -> (Vec<Instance>, Vec<Fault>) {
        let mut faults = Vec::new();
        let instances = if mig_enabled == Ok(true) { self.gpu.instances(&mut faults) } else { Vec::new() };
        // A list that cannot be read says nothing about what has gone.
        if faults.is_empty() && mig_enabled.is_ok() {
            let ids = instances.iter().map(|instance| instance.id).collect();
            self.listener.set_instances(&self.key, &ids);
        }
        (instances, faults)
    }

    fn sample_partitions(
        &mut self,
        (instances, faults): (Vec<Instance>, Vec<Fault>),
        now: Instant,
        pcie: Ceiling,
        batch: &mut Batch,
    ) {
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
                    identity: self.inventory.instance_identity(
                        &self.labels,
                        &self.gpu,
                        &instance,
                        &self.roots.procfs,
                    ),
                    info: self.inventory.info(Some(&instance.profile)),
                    gpm: open_gpm(&self.gpu),
                    gpm_totals: GpmTotals::default(),
                    instance,
                },
            };
            batch.begin(&partition.identity);
            let id = Some(partition.instance.id);
            retry_failed_gpm(&mut partition.gpm, &self.gpu);
            let mut gpm = read_gpm(&mut partition.gpm, &self.gpu, id, &self.wanted);
            partition.gpm_totals.follow(&mut gpm, now, pcie);
            let sample = map::PartitionSample {
                memory: raw::memory(&partition.instance.gpu),
                gpm: &gpm,
                info: &partition.info,
                announced: self.listener.history(&self.key, id),
                now,
            };
            map::partition(&sample, batch);
            if self.sees_processes.is_ok() && self.wanted.any(OF_PROCESSES) {
                clients::put_instance(&partition.instance.gpu, batch);
            }
            self.partitions.push(partition);
        }
    }
}

impl Sampler for GpuSampler {
    fn sample(&mut self, batch: &mut Batch) -> Result<(), Lost> {
        let (asleep, access) = self.power.access(Instant::now());
        batch.begin(&self.identity);
        batch.put(naming::catalogue::DEVICE_ASLEEP, Labels::NONE, asleep.map(Flag));
        if access != Access::Read {
            self.put_unread(access, batch);
            return Ok(());
        }
        self.check_identity()?;
        self.retry_failed();
        let mut raw = raw::read(&self.gpu, self.links.unwrap_or(0), &self.wanted);
        let lost = |raw: &Raw| LOSSES.of_mandatory(&mandatory(raw)).map_or(Ok(()), Err);
        lost(&raw)?;
        raw.compute_processes = self.sees_processes.and(raw.compute_processes);
        self.fields.read(&self.gpu);
        let mut gpm = read_gpm(&mut self.gpm, &self.gpu, None, &self.wanted);
        let ceilings = Ceilings::new(&raw, &self.fields);
        ceilings.apply(&mut raw);
        // What cannot be is not read.
        lost(&raw)?;
        ceilings.apply_to_gpm(&mut gpm);
        let now = Instant::now();
        self.gpm_totals.follow(&mut gpm, now, ceilings.pcie);
        // Before the device's events are read, or those of an instance that is gone would be nowhere in this round.
        let instances = self.list_instances(raw.mig_enabled);
        let (rare_read, rare_part) = match &mut self.rare_part {
            Some((read, part)) if now.duration_since(*read) < RARE_PERIOD => (*read, &*part),
            old => {
                // Of what is read once in a while, this is always wanted, but for rounds that read a part.
                let part = if self.wanted.has(m::SLOW_READINGS_AGE.id) {
                    self.rare.read(&self.gpu);
                    map::rare(&self.rare, &self.fields, self.links, self.c2c_links, &self.identity)
                } else {
                    Batch::default()
                };
                (now, &old.insert((now, part)).1)
            }
        };
        let context_switches = gpm.get(GpmMetric::ContextSwitches);
        if let Ok(count) = context_switches {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, bounded")]
            let sum = self.context_switches.unwrap_or(0).saturating_add(count.round() as u64);
            self.context_switches = Some(sum);
        }
        if let Ok(mask) = raw.clocks_event_reasons {
            self.clock_events.record(now, mask);
        }
        let sample = map::DeviceSample {
            raw: &raw,
            links: self.links,
            fields: &self.fields,
            rare: &self.rare,
            rare_age: now.duration_since(rare_read),
            context_switches: self.context_switches.map_or_else(|| context_switches.map(|_| 0), Ok),
            power_instant_mw: ceilings.instant_power(&self.fields),
            gpm: &gpm,
            counts: self.counters.advance(&raw, &self.fields, &gpm, &ceilings),
            clock_events: &self.clock_events,
            info: &self.info,
            announced: self.listener.history(&self.key, None),
            now,
        };
        map::device(&sample, batch);
        batch.append(rare_part);
        // Those of a GPU that is cut are on its instances.
        let is_wanted = raw.mig_enabled != Ok(true) && self.wanted.any(OF_PROCESSES);
        if let Some(about) = raw.compute_processes.ok().filter(|_| is_wanted) {
            self.clients.put_device(&self.gpu, about, now, batch);
        }
        if !self.inventory.has_uuid() {
            let unknown = Fault::new("nvmlDeviceGetUUID", FaultCode::UuidNotUnique);
            batch.put(naming::catalogue::DEVICE_INFO, Labels::NONE, Err(unknown));
        }
        self.sample_partitions(instances, now, ceilings.pcie, batch);
        self.power.round_read(Instant::now(), is_idle(&raw));
        self.check_identity()
    }

    fn fine(&self, wanted: &Wanted) -> Option<Box<dyn Sampler>> {
        let known = Known {
            mark: self.mark.clone(),
            key: self.key.clone(),
            identity: Arc::clone(&self.identity),
            facts: self.inventory.clone(),
        };
        let (labels, listener) = (self.labels.clone(), Arc::clone(&self.listener));
        // Whether the board rests is for the whole rounds to say.
        let resting = Resting::default();
        let fine =
            Self::open(self.gpu.clone(), known, labels, listener, &self.roots, resting, wanted.clone());
        let no_processes = Err(Fault::new("nvmlDeviceGetComputeRunningProcesses_v3", FaultCode::NotAsked));
        Some(Box::new(Self { sees_processes: no_processes, ..fine }))
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

/// Whether NVML counts the processes of the whole machine: in a container it counts those of the container's PID
/// namespace. A simulated library's processes are in none.
fn sees_processes(gpu: &Gpu, roots: &Roots) -> Measured<()> {
    if gpu.library().backend().simulated.is_some() {
        return Ok(());
    }
    kernel::processes::in_host_namespace(&roots.procfs, "nvmlDeviceGetComputeRunningProcesses_v3")
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

/// Whether the board did nothing since the last round: no kernel ran, and no engine that it has coded video. A
/// board that does not report it is not idle.
fn is_idle(raw: &Raw) -> bool {
    let is_at_rest = |percent: Measured<u32>| match percent {
        Ok(percent) => percent == 0,
        Err(fault) => !has_failed(&fault),
    };
    raw.utilization_percent == Ok((0, 0))
        && [raw.encoder_percent, raw.decoder_percent].into_iter().all(is_at_rest)
}

/// How many NVLinks and links to its CPU the board has.
fn link_counts(gpu: &Gpu) -> [Measured<u32>; 2] {
    let mut at_open = FieldValues::at_open(gpu);
    at_open.read(gpu);
    let kinds = [
        (fields::NVML_FI_DEV_NVLINK_LINK_COUNT, LINKS_MAX),
        (fields::NVML_FI_DEV_C2C_LINK_COUNT, C2C_LINKS_MAX),
    ];
    kinds.map(|(field, max)| {
        let links = u32::try_from(at_open.unsigned(field)?).unwrap_or(u32::MAX);
        plausible_count(field.name(), links, max)
    })
}

fn open_gpm(gpu: &Gpu) -> Measured<Gpm> {
    Gpm::supported(gpu).and_then(|()| Gpm::new(gpu.library()))
}

fn retry_failed_gpm(gpm: &mut Measured<Gpm>, gpu: &Gpu) {
    if gpm.as_ref().is_err_and(has_failed) {
        *gpm = open_gpm(gpu);
    }
}

fn read_gpm(gpm: &mut Measured<Gpm>, gpu: &Gpu, instance: Option<u32>, wanted: &Wanted) -> GpmMetrics {
    match gpm {
        Ok(gpm) if wanted.any(OF_GPM) => gpm.read(gpu, instance),
        Ok(gpm) => {
            gpm.restart();
            GpmMetrics::absent(Fault::new("nvmlGpmSampleGet", FaultCode::FirstReading))
        }
        Err(fault) => GpmMetrics::absent(*fault),
    }
}

fn has_failed(fault: &Fault) -> bool {
    fault.absence != Absence::Unsupported
}
