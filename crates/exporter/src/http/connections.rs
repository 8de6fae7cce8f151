//! Every open connection, and which of them is closed when there are too many.
//!
//! A client that sends nothing or reads nothing must not lock others out. So a new client is served, and a
//! connection that keeps the server waiting is closed for it. Only where there is none is the new client
//! refused.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashSet},
    net::IpAddr,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use tokio::task::AbortHandle;

use crate::{
    http::{
        body,
        connection::{ConnectionState, Timeouts, WaitsFor},
        listen::Peer,
    },
    self_metrics::HttpCounts,
};

/// Time after which a client that has taken nothing more of its response counts as stalled, and its
/// connection may be closed for the next scrape.
const STALLED: Duration = Duration::from_millis(500);

/// Caps of the server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Responses that are being sent.
    pub responses: u32,
    /// Open connections.
    pub connections: u32,
}

/// The open connections of every listener.
pub struct Connections {
    limits: Limits,
    timeouts: Timeouts,
    counts: Rc<HttpCounts>,
    open: RefCell<BTreeMap<u64, Open>>,
    last: Cell<u64>,
}

struct Open {
    network: Option<IpAddr>,
    state: Rc<ConnectionState>,
    task: Option<AbortHandle>,
}

/// The place of one connection; free again when this is dropped.
pub struct Place {
    connections: Rc<Connections>,
    number: u64,
    /// Where the connection reports what it does.
    pub state: Rc<ConnectionState>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.remove(self.number);
    }
}

impl Connections {
    /// No connection yet.
    pub fn new(limits: Limits, timeouts: Timeouts, counts: Rc<HttpCounts>) -> Self {
        Self { limits, timeouts, counts, open: RefCell::default(), last: Cell::default() }
    }

    /// What is counted.
    pub fn counts(&self) -> &Rc<HttpCounts> {
        &self.counts
    }

    /// The connections that one network may have open: a quarter of all.
    fn of_one_network(&self) -> u32 {
        (self.limits.connections / 4).max(1)
    }

    /// A place for a connection that was just accepted; `None` at a cap, where no other connection only
    /// waits.
    pub fn admit(self: &Rc<Self>, peer: Peer) -> Option<Place> {
        let network = peer.network();
        let of_network = |open: &Open| network.is_some() && open.network == network;
        let count = self.open.borrow().values().filter(|open| of_network(open)).count();
        let room = (count < self.of_one_network() as usize || self.close_waiting(of_network))
            && (self.counts.connections.get() < self.limits.connections || self.close_one());
        if !room {
            self.counts.refused.set(self.counts.refused.get() + 1);
            return None;
        }
        let number = self.last.get() + 1;
        self.last.set(number);
        let state = Rc::new(ConnectionState::new(self.timeouts, Rc::clone(&self.counts)));
        self.open.borrow_mut().insert(number, Open { network, state: Rc::clone(&state), task: None });
        self.counts.connections.set(self.counts.connections.get() + 1);
        Some(Place { connections: Rc::clone(self), number, state })
    }

    /// Closes a connection that waits for its client: the oldest without a whole request head, else the one
    /// that has been idle for longest. Returns whether there was one.
    pub fn close_one(&self) -> bool {
        self.close_waiting(|_| true)
    }

    fn close_waiting(&self, among: impl Fn(&Open) -> bool) -> bool {
        self.close_first(|open| match open.state.waits_for() {
            WaitsFor::Head(since) if among(open) => Some((false, since)),
            WaitsFor::Request(since) if among(open) => Some((true, since)),
            _ => None,
        })
    }

    /// Whether the response that is being made may be sent. At the cap, the connection whose client has taken
    /// nothing for longest is closed, if that client has stalled.
    pub fn room_for_response(&self) -> bool {
        self.counts.in_flight.get() <= self.limits.responses
            || self.close_first(|open| match open.state.waits_for() {
                WaitsFor::Reader { taken, .. } if taken.elapsed() > STALLED => Some(taken),
                _ => None,
            })
    }

    /// Notes that `body` is being sent on the connection of `state`. Clients that read slowly keep old bodies
    /// in memory, so past the budget the connections with the oldest responses are closed.
    pub fn sends(&self, state: &ConnectionState, body: &Bytes) {
        state.sends(body);
        let budget = body::budget(body.len());
        let total = || {
            let mut seen = HashSet::new();
            let open = self.open.borrow();
            let bodies = open.values().filter_map(|open| match open.state.waits_for() {
                WaitsFor::Reader { body: (place, length), .. } => seen.insert(place).then_some(length),
                _ => None,
            });
            bodies.sum::<usize>()
        };
        let newest = body.as_ptr() as usize;
        while total() > budget
            && self.close_first(|open| match open.state.waits_for() {
                WaitsFor::Reader { begun, body: (place, 1..), .. } if place != newest => Some(begun),
                _ => None,
            })
        {}
    }

    /// Closes the connection with the smallest rank, if any has one.
    fn close_first<R: Ord>(&self, rank: impl Fn(&Open) -> Option<R>) -> bool {
        let open = self.open.borrow();
        let ranked = open.iter().filter_map(|(number, open)| Some((rank(open)?, *number)));
        let first = ranked.min().map(|(_, number)| number);
        drop(open);
        let Some(number) = first else { return false };
        self.counts.refused.set(self.counts.refused.get() + 1);
        if let Some(task) = self.remove(number).and_then(|open| open.task) {
            task.abort();
        }
        true
    }

    fn remove(&self, number: u64) -> Option<Open> {
        let removed = self.open.borrow_mut().remove(&number)?;
        removed.state.close();
        self.counts.connections.set(self.counts.connections.get() - 1);
        Some(removed)
    }
}

impl Place {
    /// Serves the connection in a task of its own, which ends early when the connection is closed for
    /// another.
    pub fn serve<F: Future<Output = ()> + 'static>(self, serve: impl FnOnce(Self) -> F) {
        let (connections, number) = (Rc::clone(&self.connections), self.number);
        let task = tokio::task::spawn_local(serve(self));
        if let Some(open) = connections.open.borrow_mut().get_mut(&number) {
            open.task = Some(task.abort_handle());
        }
    }
}
