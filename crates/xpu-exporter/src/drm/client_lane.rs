//! The clients of a card, read beside its rounds: there may be thousands of processes, and the kernel writes the text of
//! each by calling the driver.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use kernel::open_files::OpenFiles;
use source::{Lane, LaneTimes, lock};

use super::{
    clients::{ClientLoad, Clients},
    fdinfo::FDINFO,
};

/// Rounds of an idle machine are as fast as without; a card's other files have values meanwhile.
const TIMES: LaneTimes = LaneTimes {
    period: Duration::ZERO,
    budget: Duration::from_millis(250),
    age_max: Duration::from_secs(10),
};

/// The clients of one card. Whoever reads them holds the lock.
pub struct ClientLane {
    followed: Arc<Mutex<Followed>>,
    lane: Lane<ClientLoad>,
}

struct Followed {
    clients: Clients,
    engines: Vec<&'static str>,
}

impl ClientLane {
    /// These clients of the card at a PCI address, with the engines that it has.
    pub fn new(address: &str, clients: Clients, engines: Vec<&'static str>, open: &Arc<OpenFiles>) -> Self {
        let followed = Arc::new(Mutex::new(Followed { clients, engines }));
        let name = format!("{FDINFO} {address} {}", open.procfs().display());
        let (own, open) = (Arc::clone(&followed), Arc::clone(open));
        let reader = move || {
            let Followed { clients, engines } = &mut *lock(&own);
            clients.read(&open, engines, Instant::now())
        };
        Self { followed, lane: Lane::new(name, FDINFO, TIMES, reader) }
    }

    /// Goes on from the same card's, found earlier, if it has the same nodes, unless that is being read.
    pub fn go_on_from(&mut self, earlier: Self) {
        let is_same = {
            let own = lock(&self.followed);
            let Ok(mut before) = earlier.followed.try_lock() else { return };
            let is_same = own.clients.has_nodes_of(&before.clients);
            if is_same {
                before.engines.clone_from(&own.engines);
            }
            is_same
        };
        if is_same {
            *self = earlier;
        }
    }

    /// Reads the clients, and returns their load with its age where it is not of this round.
    pub fn read(&mut self, engines: &[&'static str]) -> (ClientLoad, Option<Duration>) {
        match self.lane.read() {
            Ok((age, load)) => (ClientLoad::clone(&load), Some(age).filter(|age| *age > TIMES.budget)),
            Err(fault) => (ClientLoad::absent(engines, fault), None),
        }
    }
}

impl fmt::Debug for ClientLane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientLane").finish_non_exhaustive()
    }
}
