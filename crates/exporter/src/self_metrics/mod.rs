//! The exporter's own metrics.

pub mod host;
pub mod reload;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use naming::{
    Bytes, Count, Flag, Label, Seconds,
    catalogue::{
        BUILD_INFO, DEVICES, DEVICES_EXPECTED, HTTP_CONNECTIONS, HTTP_CONNECTIONS_REFUSED,
        HTTP_HANDSHAKES_FAILED, HTTP_IN_FLIGHT, HTTP_REQUESTS, LOG_LINES_DROPPED, PROCESS_CPU,
        PROCESS_MAX_FDS, PROCESS_OPEN_FDS, PROCESS_RESIDENT, PROCESS_START, PROCESS_THREADS, PROCESS_VIRTUAL,
        SAMPLE_DURATION, SERIES_REFUSED, SNAPSHOT_AGE, SOURCE_CONNECTS, SOURCE_FAULTS, SOURCE_UP,
        STUCK_THREADS,
    },
};
use procfs::process::{LimitValue, Process};
use reading::{Batch, Labels, Subject};

use workloads::Room;

use crate::{
    commands::log,
    http::web_config::guard::Guard,
    incident::Incident,
    sampling::state::{ConnectionStatus, NodeState, SourceState},
    self_metrics::host::Host,
    self_metrics::reload::Reload,
};

/// What the HTTP server counts. It runs on one thread, so cells without atomics are enough.
#[derive(Debug, Default)]
pub struct HttpCounts {
    /// Responses by status code.
    pub responses: RefCell<BTreeMap<u16, u64>>,
    /// Requests whose response the kernel has not yet taken whole.
    pub in_flight: Cell<u32>,
    /// Open connections.
    pub connections: Cell<u32>,
    /// Connections closed because a cap was reached.
    pub refused: Cell<u64>,
    /// Connections that ended before they were secured.
    pub handshakes_failed: Cell<u64>,
}

impl HttpCounts {
    /// Counts a response.
    pub fn count_response(&self, code: u16) {
        *self.responses.borrow_mut().entry(code).or_default() += 1;
    }

    /// Counts a connection that ended before it was secured.
    pub fn handshake_failed(&self) {
        self.handshakes_failed.set(self.handshakes_failed.get() + 1);
    }
}

/// Reads the exporter's own metrics, and keeps what stays the same for the life of the process.
pub struct SelfMetrics {
    process: Option<Process>,
    start: Option<f64>,
    ticks_per_second: f64,
    page_bytes: u64,
    build: RefCell<(Option<String>, Labels)>,
    host: Option<Host>,
    guard: Rc<Guard>,
    settings: Option<Arc<Reload>>,
    workloads: Option<Arc<Room>>,
    incident: Option<Rc<Incident>>,
}

impl SelfMetrics {
    /// Looks this process up; with a `host`, its metrics are read as well.
    pub fn new(host: Option<Host>, guard: Rc<Guard>, settings: Option<Arc<Reload>>) -> Self {
        let process = Process::myself().ok();
        let ticks_per_second = procfs::ticks_per_second() as f64;
        let started = process.as_ref().and_then(|process| process.stat().ok());
        let booted = procfs::boot_time_secs().ok();
        let start = started
            .zip(booted)
            .map(|(stat, booted)| booted as f64 + stat.starttime as f64 / ticks_per_second);
        let build = RefCell::new((None, build_labels(None)));
        Self {
            process,
            start,
            ticks_per_second,
            page_bytes: procfs::page_size(),
            build,
            host,
            guard,
            settings,
            workloads: None,
            incident: None,
        }
    }

    /// Also reads who holds a device.
    #[must_use]
    pub fn with_workloads(self, room: Arc<Room>) -> Self {
        Self { workloads: Some(room), ..self }
    }

    /// Also reads incident mode, where it may be switched on.
    #[must_use]
    pub fn with_incident(self, incident: Option<Rc<Incident>>) -> Self {
        Self { incident, ..self }
    }

    /// The metrics now, and who holds a device; of those that are about a source, only the ones of `sources`.
    pub fn read(&self, node: &NodeState, sources: &[&Arc<SourceState>], http: &HttpCounts) -> Vec<Subject> {
        let mut batch = Batch::default();
        batch.begin_exporter();
        batch.put(BUILD_INFO, self.build_labels(node), Ok(Flag(true)));
        for source in sources {
            read_source(source, &mut batch);
        }
        for (code, count) in &*http.responses.borrow() {
            batch.put(HTTP_REQUESTS, Labels::one(Label::Code, u32::from(*code)), Ok(Count(*count)));
        }
        batch.put(HTTP_IN_FLIGHT, Labels::NONE, Ok(Count(http.in_flight.get().into())));
        batch.put(HTTP_CONNECTIONS, Labels::NONE, Ok(Count(http.connections.get().into())));
        batch.put(HTTP_CONNECTIONS_REFUSED, Labels::NONE, Ok(Count(http.refused.get())));
        if let Some(settings) = &self.settings {
            settings.read("config", &mut batch);
        }
        if let Some(watched) = self.guard.watched() {
            watched.reload.read("web_config", &mut batch);
        }
        if self.guard.config().tls.is_some() {
            batch.put(HTTP_HANDSHAKES_FAILED, Labels::NONE, Ok(Count(http.handshakes_failed.get())));
        }
        batch.put(LOG_LINES_DROPPED, Labels::NONE, Ok(Count(log::dropped())));
        node.kernel_log.read(node, &mut batch);
        self.read_process(&mut batch);
        if let Some(host) = &self.host {
            host.read(&mut batch);
        }
        if let Some(incident) = &self.incident {
            incident.read(&mut batch);
        }
        let mut all = batch.finish();
        if self.incident.is_some() {
            let devices = sources.iter().flat_map(|source| source.devices().to_vec());
            all.extend(devices.flat_map(|device| device.fine.spreads(Instant::now())));
        }
        if let Some(room) = &self.workloads {
            all.extend(room.read(|family| sources.iter().any(|source| source.family == family)));
        }
        all
    }

    /// Labels of the build information; which machine is simulated is known only once a source is connected.
    fn build_labels(&self, node: &NodeState) -> Labels {
        let simulated = node.simulated();
        let mut build = self.build.borrow_mut();
        if build.0 != simulated {
            *build = (simulated.clone(), build_labels(simulated));
        }
        build.1.clone()
    }

    /// Without procfs these are absent, like everything that cannot be read.
    fn read_process(&self, batch: &mut Batch) {
        if let Some(start) = self.start {
            batch.put(PROCESS_START, Labels::NONE, Ok(Seconds(start)));
        }
        let Some(process) = &self.process else { return };
        if let Ok(stat) = process.stat() {
            let cpu = (stat.utime + stat.stime) as f64 / self.ticks_per_second;
            batch.put(PROCESS_CPU, Labels::NONE, Ok(Seconds(cpu)));
            batch.put(PROCESS_RESIDENT, Labels::NONE, Ok(Bytes(stat.rss * self.page_bytes)));
            batch.put(PROCESS_VIRTUAL, Labels::NONE, Ok(Bytes(stat.vsize)));
            batch.put(PROCESS_THREADS, Labels::NONE, Ok(Count(stat.num_threads.unsigned_abs())));
        }
        if let Ok(count) = process.fd_count() {
            batch.put(PROCESS_OPEN_FDS, Labels::NONE, Ok(Count(count as u64)));
        }
        if let Ok(LimitValue::Value(limit)) = process.limits().map(|limits| limits.max_open_files.soft_limit)
        {
            batch.put(PROCESS_MAX_FDS, Labels::NONE, Ok(Count(limit)));
        }
    }
}

/// How many series a body leaves out.
pub fn series_refused(count: usize) -> Vec<Subject> {
    let mut batch = Batch::default();
    batch.begin_exporter();
    batch.put(SERIES_REFUSED, Labels::NONE, Ok(Count(count as u64)));
    batch.finish()
}

fn build_labels(simulated: Option<String>) -> Labels {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let simulated = simulated.unwrap_or_else(|| "none".to_owned());
    Labels::Shared([(Label::Version, version), (Label::Simulated, simulated)].into())
}

fn read_source(source: &SourceState, batch: &mut Batch) {
    let name = source.family.name();
    let (by_source, by_family) = (Labels::one(Label::Source, name), Labels::one(Label::Family, name));
    let connection = source.connection();
    batch.put(SOURCE_UP, by_source.clone(), Ok(Flag(connection.status == ConnectionStatus::Up)));
    if let Some(found) = connection.found {
        batch.put(DEVICES, by_family.clone(), Ok(Count(found as u64)));
    }
    if let Some(expected) = connection.expected {
        batch.put(DEVICES_EXPECTED, by_family, Ok(Count(expected as u64)));
    }
    let now = Instant::now();
    let oldest = source.snapshots().iter().filter_map(|snapshot| snapshot.age(now)).max();
    if let Some(age) = oldest {
        batch.put(SNAPSHOT_AGE, by_source.clone(), Ok(Seconds(age.as_secs_f64())));
    }
    batch.put(STUCK_THREADS, by_source.clone(), Ok(Count(source.stuck_threads() as u64)));
    let counts = source.counts();
    batch.put(SOURCE_CONNECTS, by_source.clone(), Ok(Count(counts.connects)));
    for (labels, count) in counts.faults.values() {
        batch.put(SOURCE_FAULTS, labels.clone(), Ok(Count(*count)));
    }
    batch.put(SAMPLE_DURATION, by_source, Ok(counts.durations.clone()));
}
