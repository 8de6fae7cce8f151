//! Sends notifications on to the exporters of other nodes: Alertmanager knows a few addresses, and a DaemonSet has many,
//! which change.

use std::{
    cell::Cell,
    collections::BTreeSet,
    io,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Request, Uri,
    client::conn::http1,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpStream, lookup_host},
    task::{JoinSet, spawn_local},
    time::timeout,
};
use tracing::warn;

use super::web::PATH;

/// A notification that has it was sent on, and is not sent on again.
pub const FORWARDED: HeaderName = HeaderName::from_static("accelscope-forwarded");

/// How long a name may take to be resolved, and a peer to respond.
const PATIENCE: Duration = Duration::from_secs(5);

/// Peers that are called at the same time.
const AT_ONCE: usize = 16;

/// Notifications that are sent on at the same time; one more is not sent on.
const UNDER_WAY: usize = 4;

/// Between two warnings.
const QUIET: Duration = Duration::from_mins(1);

/// The exporters of other nodes.
#[derive(Debug)]
pub struct Peers {
    /// `HOST:PORT` each; a host may have many addresses.
    names: Vec<String>,
    sent: Cell<u64>,
    failed: Cell<u64>,
    under_way: Cell<usize>,
    warned: Cell<Option<Instant>>,
}

impl Peers {
    /// Those of these names, with a port each.
    pub fn new(names: Vec<String>) -> Rc<Self> {
        let (sent, failed, under_way) = Default::default();
        Rc::new(Self { names, sent, failed, under_way, warned: Cell::default() })
    }

    /// How many calls of peers were successful, and how many were not.
    pub fn counts(&self) -> (u64, u64) {
        (self.sent.get(), self.failed.get())
    }

    /// Sends a notification on in the background, with what its sender was let in by.
    pub fn forward(self: &Rc<Self>, headers: &HeaderMap, body: Bytes) {
        if headers.contains_key(FORWARDED) {
            return;
        }
        if self.under_way.get() >= UNDER_WAY {
            self.fail("too many notifications at a time");
            return;
        }
        self.under_way.set(self.under_way.get() + 1);
        let (peers, authorization) = (Rc::clone(self), headers.get(AUTHORIZATION).cloned());
        spawn_local(async move {
            peers.send(authorization, body).await;
            peers.under_way.set(peers.under_way.get() - 1);
        });
    }

    async fn send(&self, authorization: Option<HeaderValue>, body: Bytes) {
        let mut addresses = BTreeSet::new();
        for name in &self.names {
            match in_time(lookup_host(name)).await {
                Ok(found) => addresses.extend(found),
                Err(error) => self.fail(&format!("{name}: {error}")),
            }
        }
        let mut calls = JoinSet::new();
        loop {
            while calls.len() < AT_ONCE
                && let Some(address) = addresses.pop_first()
            {
                let (authorization, body) = (authorization.clone(), body.clone());
                calls.spawn_local(async move {
                    let called = in_time(post(address, authorization, body)).await;
                    called.map_err(|error| format!("{address}: {error}"))
                });
            }
            let Some(called) = calls.join_next().await else { return };
            match called.expect("a call does not panic") {
                Ok(()) => self.sent.set(self.sent.get() + 1),
                Err(why) => self.fail(&why),
            }
        }
    }

    /// A peer may be gone at any time, so this is worth a line now and then.
    fn fail(&self, why: &str) {
        self.failed.set(self.failed.get() + 1);
        let now = Instant::now();
        if self.warned.get().is_none_or(|last| now.saturating_duration_since(last) >= QUIET) {
            self.warned.set(Some(now));
            warn!(why, "an alert was not sent on to a peer of --incident.peers");
        }
    }
}

async fn in_time<T>(what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, what).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Posts a notification to one peer.
async fn post(address: SocketAddr, authorization: Option<HeaderValue>, body: Bytes) -> io::Result<()> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Aborted with the response read, or the patience at its end.
    let mut connections = JoinSet::new();
    connections.spawn_local(connection);
    let mut request = Request::post(Uri::from_static(PATH))
        .header(HOST, address.to_string())
        .header(CONTENT_TYPE, "application/json")
        .header(FORWARDED, "1");
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    let request = request.body(Full::new(body)).map_err(io::Error::other)?;
    let status = sender.send_request(request).await.map_err(io::Error::other)?.status();
    if status.is_success() { Ok(()) } else { Err(io::Error::other(format!("status {status}"))) }
}
