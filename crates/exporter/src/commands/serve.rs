//! The `serve` command: sampling threads on one side, one HTTP thread on the other, from start to stop.

use std::{
    path::PathBuf,
    rc::Rc,
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use exposition::Format;
use reading::Source;
use rustix::process::Resource;
use sd_notify::NotifyState;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use thresholds::Judge;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::{JoinSet, LocalSet},
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tracing::{info, warn};
use workloads::Room;

use crate::{
    commands::choice::Chosen,
    commands::log,
    health::{self, Verdicts, socket},
    http::authority::Authority,
    http::body::{BodyCache, Selection, Vocabularies, What},
    http::connection::{self, Timeouts},
    http::connections::{Connections, Limits},
    http::listen::{BoundSocket, Listener},
    http::live::Live,
    http::routes::Routes,
    http::web_config::{guard::Guard, watch::Watched},
    incident::{Incident, Settings as IncidentSettings},
    sampling::state::NodeState,
    sampling::supervisor,
    sampling::timing::Timing,
    self_metrics::host::Host,
    self_metrics::reload::Reload,
    self_metrics::{HttpCounts, SelfMetrics},
};

/// The longest that stopping may take for responses in flight, well below the grace period of an
/// orchestrator.
const LONGEST_STOP: Duration = Duration::from_millis(1500);

/// Between two looks whether an incident is over.
const INCIDENT_PERIOD: Duration = Duration::from_secs(1);

/// When the process ends after a signal, whatever it waits for: a little longer than [`LONGEST_STOP`].
const LAST_RESORT: Duration = Duration::from_millis(1800);

/// Settings of the HTTP side.
#[derive(Clone)]
pub struct Web {
    /// Path of the metrics.
    pub telemetry_path: String,
    /// Caps of the server.
    pub limits: Limits,
    /// Timeouts of each connection.
    pub timeouts: Timeouts,
    /// The web configuration, where there is one.
    pub config: Option<Arc<Watched>>,
    /// Whether the paths of health checks are protected like all others.
    pub protects_health: bool,
}

/// Everything that `serve` needs.
pub struct Serve {
    /// The program's name.
    pub name: &'static str,
    /// The node's name.
    pub node_name: String,
    /// What to sample.
    pub sources: Vec<Box<dyn Source>>,
    /// Whether the user named none of them, so that a missing one is normal.
    pub auto: bool,
    /// How often to sample, and the time limits that follow from that.
    pub timing: Timing,
    /// Root of sysfs.
    pub sysfs: PathBuf,
    /// How to find out who holds a device; `None` where nobody is asked.
    pub workloads: Option<workloads::Settings>,
    /// The host, where its metrics are to be exported.
    pub host: Option<Host>,
    /// Which metric names to export.
    pub vocabularies: Arc<ArcSwap<Vocabularies>>,
    /// What of each family is exported.
    pub metrics: Chosen,
    /// Where to listen.
    pub listeners: Vec<BoundSocket>,
    /// Where verdicts are read, if anywhere.
    pub health: Option<BoundSocket>,
    /// Settings of the HTTP side.
    pub web: Web,
    /// Incident mode, where it may be switched on.
    pub incident: Option<(Authority, IncidentSettings)>,
    /// How the file of settings was read, where there is one.
    pub settings: Option<Arc<Reload>>,
    /// Who may detach devices, where that is possible.
    pub detach: Option<Authority>,
    /// The kernel log, if it is to be read.
    pub kernel_log: Option<PathBuf>,
}

impl Serve {
    /// Serves until `stop` resolves, and finishes the responses in flight. Threads that call drivers go on
    /// until the process ends.
    ///
    /// # Errors
    /// A thread, the runtime or a listener could not be started.
    pub fn run<F: Future<Output = ()>>(self, stop: impl FnOnce() -> F) -> Result<(), String> {
        let families = self.sources.iter().map(|source| source.family());
        let node = Arc::new(NodeState::new(families, self.auto, self.timing.clone(), &self.metrics));
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| format!("cannot start the runtime: {error}"))?;
        let counts = Rc::new(HttpCounts::default());
        let limits = Limits {
            connections: self.web.limits.connections.min((descriptors() / 2).max(1)),
            ..self.web.limits
        };
        let connections = Rc::new(Connections::new(limits, self.web.timeouts, Rc::clone(&counts)));
        let guard = Rc::new(Guard::new(self.web.config, self.web.protects_health));
        let mut self_metrics = SelfMetrics::new(self.host, Rc::clone(&guard), self.settings);
        let start_room = |settings: workloads::Settings| {
            let node = Arc::clone(&node);
            Room::start(&settings, Box::new(move || node.present()))
        };
        let room = self.workloads.map(start_room).transpose();
        let room = room.map_err(|error| format!("cannot start a thread: {error}"))?;
        if let Some(room) = &room {
            self_metrics = self_metrics.with_workloads(Arc::clone(room));
        }
        let judge = Rc::new(Judge::builtin());
        let verdicts = Rc::new(Verdicts::new(Arc::clone(&node), Rc::clone(&judge)));
        let incident = self
            .incident
            .map(|(authority, settings)| Rc::new(Incident::new(authority, settings, Arc::clone(&node))));
        self_metrics = self_metrics.with_incident(incident.clone());
        let bodies =
            BodyCache::new(Arc::clone(&node), self.vocabularies, counts, self_metrics, Rc::clone(&verdicts));
        let telemetry_path = self.web.telemetry_path;
        let live =
            Live::new(self.name, self.node_name.clone(), Arc::clone(&node), judge, Rc::clone(&verdicts))
                .with_workloads(room);
        let health = (verdicts, self.health, self.node_name);
        let node_of_routes = Arc::clone(&node);
        let detach = self.detach;
        let routes = Routes {
            node: node_of_routes,
            bodies,
            live,
            telemetry_path,
            connections,
            guard,
            incident,
            detach,
        };
        let (sources, timing, sysfs) = (self.sources, self.timing, self.sysfs);
        let kernel_log = self.kernel_log;
        let start_sampling = || {
            // Before the drivers are, so that what comes later is known to have been announced to both.
            if let Some(path) = kernel_log {
                let following = node.kernel_log.follow(path, sysfs.clone(), &node);
                following.map_err(|error| format!("cannot start a thread: {error}"))?;
            }
            sources.into_iter().zip(&node.sources).try_for_each(|(source, node)| {
                supervisor::spawn(source, Arc::clone(node), timing.clone(), &sysfs)
                    .map_err(|error| format!("cannot start a thread: {error}"))
            })
        };
        let result = LocalSet::new()
            .block_on(&runtime, serve(Rc::new(routes), self.listeners, health, start_sampling, stop));
        // To wait for its blocking threads, of which it has none, needs the loader's lock: see `serve`.
        runtime.shutdown_background();
        result
    }
}

/// How many files this process may have open.
fn descriptors() -> u32 {
    let limit = rustix::process::getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(u32::MAX)
}

async fn serve<F: Future<Output = ()>>(
    routes: Rc<Routes>,
    listeners: Vec<BoundSocket>,
    (verdicts, health, node_name): (Rc<Verdicts>, Option<BoundSocket>, String),
    start_sampling: impl FnOnce() -> Result<(), String>,
    stop: impl FnOnce() -> F,
) -> Result<(), String> {
    // Before readiness is announced: a signal that arrives at once must find its handler.
    let stop = stop();
    let (close, closing) = watch::channel(false);
    let mut accepting = JoinSet::new();
    for socket in listeners {
        let listener = Listener::new(socket).map_err(|error| format!("cannot listen: {error}"))?;
        info!(address = listener.address(), "listening");
        accepting.spawn_local(accept(Rc::clone(&routes), listener, closing.clone()));
    }
    if let Some(socket) = health {
        let serving = socket::serve(socket, Rc::clone(&verdicts), node_name);
        accepting.spawn_local(async {
            if let Err(error) = serving.await {
                warn!(%error, "the health socket cannot be served");
                std::future::pending::<()>().await;
            }
        });
    }
    // A library that hangs while it is loaded or unloaded holds the loader's lock, and a thread waits for
    // that lock when it first uses a thread-local value. So this thread encodes and serves once before any library
    // is opened.
    let sources = Selection::of(&routes.node, |_| true);
    routes.bodies.get(What { format: Format::Text, gzip: true, sources });
    connection::warm_up().await;
    // For the same reason the threads of the log and of passwords must have started.
    routes.guard.start().await.map_err(|error| format!("cannot start a thread: {error}"))?;
    log::flush();
    start_sampling()?;
    notify(NotifyState::Ready);
    tokio::select! {
        () = stop => {}
        () = look_for_hung_calls(&routes.node) => {}
        () = watch_over(&verdicts, routes.incident.as_deref()) => {}
        // An exporter that no longer accepts is ended, for its supervisor to start it again.
        Some(ended) = accepting.join_next() => {
            let why = ended.err().map_or_else(String::new, |error| format!(": {error}"));
            return Err(format!("a listener ended{why}"));
        }
    }
    info!("stopping");
    notify(NotifyState::Stopping);
    let until = Instant::now() + LONGEST_STOP;
    // Receivers end with their connections, at the latest with the runtime.
    let _ = close.send(true);
    while routes.connections.counts().connections.get() > 0 && Instant::now() < until {
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn accept(routes: Rc<Routes>, listener: Listener, mut closing: watch::Receiver<bool>) {
    let mut out_of_descriptors = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closing.wait_for(|closing| *closing) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                out_of_descriptors = false;
                let Some(place) = routes.connections.admit(peer) else { continue };
                let (routes, closing) = (Rc::clone(&routes), closing.clone());
                place.serve(|place| connection::serve(stream, peer, place, routes, closing));
            }
            Err(error) => {
                // The descriptor of a connection that only waits is free for the new one once its task has
                // ended.
                let pause = if routes.connections.close_one() {
                    Duration::from_millis(1)
                } else {
                    if !std::mem::replace(&mut out_of_descriptors, true) {
                        warn!(address = listener.address(), %error, "cannot accept connections");
                    }
                    Duration::from_millis(100)
                };
                sleep(pause).await;
            }
        }
    }
}

/// Looks for hung calls and old snapshots, on the one thread that needs no lock of the loader for it: a library that hangs
/// while it is opened holds that, and another thread would wait for it at its first line of the log. Never returns.
async fn look_for_hung_calls(node: &NodeState) {
    loop {
        node.check(std::time::Instant::now());
        sleep(if node.in_call() { node.timing.watch() } else { node.timing.budget() }).await;
    }
}

/// Judges devices, ends incidents, and reports to systemd that this thread is alive. Never returns.
async fn watch_over(verdicts: &Verdicts, incident: Option<&Incident>) {
    let systemd = sd_notify::watchdog_enabled();
    let period = if incident.is_some() { INCIDENT_PERIOD } else { health::PERIOD };
    let period = systemd.map_or(period, |allowed| period.min(allowed / 3));
    // A watchdog of less than a moment cannot be fed in time, but is no reason to end.
    let mut ticks = interval(period.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = std::time::Instant::now();
        verdicts.judge(now);
        if let Some(incident) = incident {
            incident.check(now, incident.is_on());
        }
        if systemd.is_some() {
            notify(NotifyState::Watchdog);
        }
    }
}

/// Resolves on SIGTERM or SIGINT. The process then has to end in time, so a thread of its own, which needs
/// nothing that a vendor's library can hold, ends it where it does not end by itself.
pub fn signals() -> impl Future<Output = ()> {
    if let Ok(mut signals) = Signals::new([SIGTERM, SIGINT]) {
        let started = Arc::new(Barrier::new(2));
        let at_start = Arc::clone(&started);
        let end = move || {
            at_start.wait();
            signals.forever().next();
            thread::sleep(LAST_RESORT);
            signal_hook::low_level::exit(0)
        };
        // Without this thread the process still ends in order.
        if thread::Builder::new().name("end".to_owned()).spawn(end).is_ok() {
            // A thread cannot start while a library holds the loader's lock.
            started.wait();
        }
    }
    let handlers = signal(SignalKind::terminate()).and_then(|t| Ok((t, signal(SignalKind::interrupt())?)));
    async move {
        // Without handlers the kernel's default ends the process on both.
        let Ok((mut terminate, mut interrupt)) = handlers else { return std::future::pending().await };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

fn notify(state: NotifyState) {
    // Without systemd there is nobody to notify.
    let _ = sd_notify::notify(&[state]);
}
