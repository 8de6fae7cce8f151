//! The `serve` command: sampling threads on one side, one HTTP thread on the other, from start to stop.

use std::{path::PathBuf, rc::Rc, sync::Arc, time::Duration};

use reading::Source;
use sd_notify::NotifyState;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::LocalSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tracing::{info, warn};

use crate::{
    http::body::{BodyCache, Vocabularies},
    http::connection::{self, ConnectionState, Timeouts},
    http::listen::{BoundSocket, Listener},
    http::routes::Routes,
    sampling::state::NodeState,
    sampling::supervisor::{self, Handle},
    sampling::timing::Timing,
    self_metrics::host::Host,
    self_metrics::{HttpCounts, SelfMetrics},
};

/// The longest that stopping may take, well below the grace period of an orchestrator.
const LONGEST_STOP: Duration = Duration::from_millis(1500);

/// Settings of the HTTP side.
#[derive(Clone, Debug)]
pub struct Web {
    /// Path of the metrics.
    pub telemetry_path: String,
    /// Scrapes served at the same time.
    pub max_requests: u32,
    /// Open connections at the same time; each takes some 20 KiB.
    pub max_connections: u32,
    /// Timeouts of each connection.
    pub timeouts: Timeouts,
}

/// Everything that `serve` needs.
pub struct Serve {
    /// The program's name.
    pub name: &'static str,
    /// What to sample.
    pub sources: Vec<Box<dyn Source>>,
    /// Whether the user named none of them, so that a missing one is normal.
    pub auto: bool,
    /// How often to sample, and the time limits that follow from that.
    pub timing: Timing,
    /// Root of sysfs.
    pub sysfs: PathBuf,
    /// The host, where its metrics are to be exported.
    pub host: Option<Host>,
    /// Which metric names to export.
    pub vocabularies: Vocabularies,
    /// Where to listen.
    pub listeners: Vec<BoundSocket>,
    /// Settings of the HTTP side.
    pub web: Web,
}

impl Serve {
    /// Serves until `stop` resolves, then closes everything.
    ///
    /// # Errors
    /// A thread, the runtime or a listener could not be started.
    pub fn run<F: Future<Output = ()>>(self, stop: impl FnOnce() -> F) -> Result<(), String> {
        let families = self.sources.iter().map(|source| source.family());
        let node = Arc::new(NodeState::new(families, self.auto, self.timing.clone()));
        let mut supervisors = Vec::new();
        for (source, node) in self.sources.into_iter().zip(&node.sources) {
            let handle = supervisor::spawn(source, Arc::clone(node), self.timing.clone(), &self.sysfs)
                .map_err(|error| format!("cannot start a thread: {error}"))?;
            supervisors.push(handle);
        }
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|error| format!("cannot start the runtime: {error}"))?;
        let counts = Rc::new(HttpCounts::default());
        let routes = Rc::new(Routes {
            name: self.name,
            node: Arc::clone(&node),
            bodies: BodyCache::new(
                Arc::clone(&node),
                self.vocabularies,
                Rc::clone(&counts),
                SelfMetrics::new(self.host),
            ),
            telemetry_path: self.web.telemetry_path.clone(),
            max_requests: self.web.max_requests,
            counts: Rc::clone(&counts),
        });
        let server =
            Server { routes, counts, timeouts: self.web.timeouts, max_connections: self.web.max_connections };
        LocalSet::new().block_on(&runtime, server.run(self.listeners, &node, &supervisors, stop))
    }
}

struct Server {
    routes: Rc<Routes>,
    counts: Rc<HttpCounts>,
    timeouts: Timeouts,
    max_connections: u32,
}

impl Server {
    async fn run<F: Future<Output = ()>>(
        self,
        listeners: Vec<BoundSocket>,
        node: &NodeState,
        supervisors: &[Handle],
        stop: impl FnOnce() -> F,
    ) -> Result<(), String> {
        // Before readiness is announced: a signal that arrives at once must find its handler.
        let stop = stop();
        let server = Rc::new(self);
        let (close, closing) = watch::channel(false);
        for socket in listeners {
            let listener = Listener::new(socket).map_err(|error| format!("cannot listen: {error}"))?;
            info!(address = listener.address(), "listening");
            tokio::task::spawn_local(Rc::clone(&server).accept(listener, closing.clone()));
        }
        notify(NotifyState::Ready);
        tokio::select! {
            () = stop => {}
            () = watch_over(node) => {}
        }
        info!("stopping");
        notify(NotifyState::Stopping);
        let until = Instant::now() + LONGEST_STOP;
        supervisors.iter().for_each(Handle::stop);
        // Receivers end with their connections, at the latest with the runtime.
        let _ = close.send(true);
        let busy = || server.counts.connections.get() > 0 || !supervisors.iter().all(Handle::is_finished);
        while busy() && Instant::now() < until {
            sleep(Duration::from_millis(5)).await;
        }
        let stuck = supervisors.iter().filter(|supervisor| !supervisor.is_finished()).count();
        if stuck > 0 {
            warn!(stuck, "stopped without waiting for driver calls that do not return");
        }
        Ok(())
    }

    async fn accept(self: Rc<Self>, listener: Listener, mut closing: watch::Receiver<bool>) {
        let mut out_of_descriptors = false;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = closing.wait_for(|closing| *closing) => return,
            };
            match accepted {
                Ok(_) if self.counts.connections.get() >= self.max_connections => {
                    self.counts.refused.set(self.counts.refused.get() + 1);
                }
                Ok(stream) => {
                    out_of_descriptors = false;
                    let state = ConnectionState::new(self.timeouts, Rc::clone(&self.counts));
                    let routes = Rc::clone(&self.routes);
                    tokio::task::spawn_local(connection::serve(stream, state, routes, closing.clone()));
                }
                Err(error) => {
                    if !std::mem::replace(&mut out_of_descriptors, true) {
                        warn!(address = listener.address(), %error, "cannot accept connections");
                    }
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Looks for hung calls and old snapshots, and reports to systemd that this thread is alive. Never returns.
async fn watch_over(node: &NodeState) {
    let systemd = sd_notify::watchdog_enabled();
    let period = systemd.map_or(node.timing.watch(), |allowed| node.timing.watch().min(allowed / 3));
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        node.check(std::time::Instant::now());
        if systemd.is_some() {
            notify(NotifyState::Watchdog);
        }
    }
}

/// Resolves on SIGTERM or SIGINT.
pub fn signals() -> impl Future<Output = ()> {
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
