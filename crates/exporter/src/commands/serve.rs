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
    http::body::{Bodies, Names},
    http::connection::{self, Limits, Pace},
    http::listen::{Bound, Listener},
    http::routes::Routes,
    sampling::state::Board,
    sampling::supervisor::{self, Handle},
    sampling::timing::Tempo,
    self_metrics::host::Host,
    self_metrics::{HttpCounts, Own},
};

/// The longest stop: what an orchestrator's grace period leaves plenty of.
const LONGEST_STOP: Duration = Duration::from_millis(1500);

/// Settings of the HTTP side.
#[derive(Clone, Debug)]
pub struct Web {
    /// Path of the metrics.
    pub telemetry_path: String,
    /// Scrapes at a time.
    pub max_requests: u32,
    /// Open connections. 512 is a hundred times what scrapers need, and at some 20 KiB each still bounded.
    pub max_connections: u32,
    /// Time-outs.
    pub limits: Limits,
}

/// Everything that `serve` needs.
pub struct Serve {
    /// The program's name.
    pub name: &'static str,
    /// What to sample.
    pub sources: Vec<Box<dyn Source>>,
    /// Whether that is whatever is there.
    pub auto: bool,
    /// How often.
    pub tempo: Tempo,
    /// Root of sysfs.
    pub sysfs: PathBuf,
    /// The host, where it is to be told of.
    pub host: Option<Host>,
    /// What to print.
    pub names: Names,
    /// Where.
    pub listeners: Vec<Bound>,
    /// How.
    pub web: Web,
}

impl Serve {
    /// Serves until `stop` resolves, then closes everything.
    ///
    /// # Errors
    /// What could not be started.
    pub fn run<F: Future<Output = ()>>(self, stop: impl FnOnce() -> F) -> Result<(), String> {
        let families = self.sources.iter().map(|source| source.family());
        let board = Arc::new(Board::new(families, self.auto, self.tempo.clone()));
        let mut supervisors = Vec::new();
        for (source, board) in self.sources.into_iter().zip(&board.sources) {
            let handle = supervisor::spawn(source, Arc::clone(board), self.tempo.clone(), &self.sysfs)
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
            board: Arc::clone(&board),
            bodies: Bodies::new(Arc::clone(&board), self.names, Rc::clone(&counts), Own::new(self.host)),
            telemetry_path: self.web.telemetry_path.clone(),
            max_requests: self.web.max_requests,
            counts: Rc::clone(&counts),
        });
        let server =
            Server { routes, counts, limits: self.web.limits, max_connections: self.web.max_connections };
        LocalSet::new().block_on(&runtime, server.run(self.listeners, &board, &supervisors, stop))
    }
}

struct Server {
    routes: Rc<Routes>,
    counts: Rc<HttpCounts>,
    limits: Limits,
    max_connections: u32,
}

impl Server {
    async fn run<F: Future<Output = ()>>(
        self,
        listeners: Vec<Bound>,
        board: &Board,
        supervisors: &[Handle],
        stop: impl FnOnce() -> F,
    ) -> Result<(), String> {
        // Before anybody is told that we listen: a signal that comes at once must find its handler.
        let stop = stop();
        let server = Rc::new(self);
        let (close, closing) = watch::channel(false);
        for bound in listeners {
            let listener = Listener::new(bound).map_err(|error| format!("cannot listen: {error}"))?;
            info!(address = listener.address(), "listening");
            tokio::task::spawn_local(Rc::clone(&server).accept(listener, closing.clone()));
        }
        notify(NotifyState::Ready);
        tokio::select! {
            () = stop => {}
            () = watch_over(board) => {}
        }
        info!("stopping");
        notify(NotifyState::Stopping);
        let until = Instant::now() + LONGEST_STOP;
        supervisors.iter().for_each(Handle::stop);
        // The receivers end with their connections, at the latest with the runtime.
        let _ = close.send(true);
        let busy = || server.counts.connections.get() > 0 || !supervisors.iter().all(Handle::is_finished);
        while busy() && Instant::now() < until {
            sleep(Duration::from_millis(5)).await;
        }
        let stuck = supervisors.iter().filter(|supervisor| !supervisor.is_finished()).count();
        if stuck > 0 {
            warn!(stuck, "stopped without waiting any longer for drivers that do not answer");
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
                    let pace = Pace::new(self.limits, Rc::clone(&self.counts));
                    let routes = Rc::clone(&self.routes);
                    tokio::task::spawn_local(connection::serve(stream, pace, routes, closing.clone()));
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

/// Looks for hung calls and old snapshots, and tells systemd that this thread is alive. Never ends.
async fn watch_over(board: &Board) {
    let systemd = sd_notify::watchdog_enabled();
    let period = systemd.map_or(board.tempo.watch(), |allowed| board.tempo.watch().min(allowed / 3));
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        board.check(std::time::Instant::now());
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
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(&[state]);
}
