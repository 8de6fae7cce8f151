//! The load of a card by its clients, from the fdinfo of every open DRM file.
//!
//! The sum over clients is the engine's load only if every process is visible. With some of them hidden the
//! sum would be too low, so there is none.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Instant,
};

use kernel::{File, open_files::OpenFiles};
use reading::{Fault, FaultCode, Measured};
use source::Share;

use super::fdinfo::{Client, FDINFO, engine, parse};

/// Most that the text of one client can hold; it has a few KiB.
const FDINFO_MAX: usize = 64 * 1024;

/// What the clients of one card do together in one round.
#[derive(Clone, Debug)]
pub struct ClientLoad {
    /// Busy share of each engine.
    pub engines: Vec<(&'static str, Measured<f64>)>,
    /// Host memory resident for clients, bytes.
    pub shared_bytes: Measured<u64>,
    /// Processes that have the card open.
    pub processes: Measured<u64>,
    /// What each of them has and did; empty where not all are visible.
    pub by_process: Vec<ProcessLoad>,
}

/// What one process has of a card, and did there since it is followed.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessLoad {
    /// Its id.
    pub pid: u32,
    /// The card's memory that it has in bytes, or the host's on a card without its own.
    pub memory_bytes: Option<u64>,
    /// Seconds in which each engine worked for it.
    pub busy_seconds: Vec<(&'static str, f64)>,
}

impl ClientLoad {
    /// No number, for one reason.
    pub fn absent(engines: &[&'static str], fault: Fault) -> Self {
        let engines = engines.iter().map(|engine| (*engine, Err(fault))).collect();
        Self { engines, shared_bytes: Err(fault), processes: Err(fault), by_process: Vec::new() }
    }
}

/// The clients of one card, from round to round.
#[derive(Debug)]
pub struct Clients {
    address: String,
    nodes: Measured<Vec<u64>>,
    started: Instant,
    /// Whether the clients of the last round are known: only then is an engine that no client used idle.
    has_previous: bool,
    shares: HashMap<(u64, String), Share>,
    /// When each client was last read.
    read: HashMap<u64, Instant>,
    /// Seconds in which an engine worked for a process.
    busy: BTreeMap<(u32, &'static str), f64>,
}

impl Clients {
    /// The clients of the card at a PCI address, which have one of its nodes open: their device numbers.
    pub fn new(address: &str, nodes: Measured<Vec<u64>>) -> Self {
        let started = Instant::now();
        Self {
            address: address.to_owned(),
            nodes,
            started,
            has_previous: false,
            shares: HashMap::new(),
            read: HashMap::new(),
            busy: BTreeMap::new(),
        }
    }

    /// Whether they have the same nodes open.
    pub fn has_nodes_of(&self, other: &Self) -> bool {
        self.nodes == other.nodes
    }

    /// Reads every client. `engines` are those that the card has.
    pub fn read(&mut self, open: &OpenFiles, engines: &[&'static str], now: Instant) -> ClientLoad {
        let begun = Instant::now();
        let walk = open.walked(now);
        let nodes = self.nodes.as_deref();
        let mut complete = walk.complete.and(nodes.map(drop).map_err(|fault| *fault));
        let mut seen = HashSet::new();
        let mut processes = HashSet::new();
        let mut clients = Vec::new();
        for file in walk.on(nodes.unwrap_or_default()) {
            let text = File::called(file.fdinfo.clone(), FDINFO).bytes(FDINFO_MAX);
            match text.map(|text| parse(&String::from_utf8_lossy(&text))) {
                Ok(Some(client)) => {
                    if client.address == self.address {
                        processes.insert(file.process);
                        if seen.insert(client.id) {
                            // The walk and the texts before this one took their time.
                            clients.push((now + begun.elapsed(), file.process, client));
                        }
                    }
                }
                // A client that is gone is not part of the load. One that cannot be read is, so the load is
                // unknown.
                _ if file.is_closed() => {}
                Ok(None) => complete = Err(Fault::new(FDINFO, FaultCode::NoClient)),
                Err(fault) => complete = Err(fault),
            }
        }
        if let Err(fault) = complete {
            self.has_previous = false;
            self.shares.clear();
            self.read.clear();
            return ClientLoad::absent(engines, fault);
        }
        let shared = clients
            .iter()
            .map(|(_, _, client)| client.shared_bytes.ok_or(Fault::new(FDINFO, FaultCode::NoResidentMemory)));
        let shared_bytes = shared.sum();
        let engines = self.shares(&clients, engines);
        self.busy.retain(|(pid, _), _| processes.contains(pid));
        ClientLoad {
            shared_bytes,
            processes: Ok(processes.len() as u64),
            engines,
            by_process: self.by_process(&clients),
        }
    }

    /// What each process has and did. A client belongs to the process in which it was found first.
    fn by_process(&self, clients: &[(Instant, u32, Client)]) -> Vec<ProcessLoad> {
        let mut memory: BTreeMap<u32, Option<u64>> = BTreeMap::new();
        for (_, pid, client) in clients {
            let sum = memory.entry(*pid).or_default();
            let own = client.local_bytes.or(client.shared_bytes);
            *sum = own.map(|own| own.saturating_add(sum.unwrap_or(0))).or(*sum);
        }
        let busy = |wanted: u32| {
            let of_process = self.busy.range((wanted, "")..).take_while(|((pid, _), _)| *pid == wanted);
            of_process.map(|((_, engine), seconds)| (*engine, *seconds)).collect()
        };
        let all = memory.into_iter();
        all.map(|(pid, memory_bytes)| ProcessLoad { pid, memory_bytes, busy_seconds: busy(pid) }).collect()
    }

    fn shares(
        &mut self,
        clients: &[(Instant, u32, Client)],
        engines: &[&'static str],
    ) -> Vec<(&'static str, Measured<f64>)> {
        // Kernels before Linux 6.11 (xe) or 5.19 (i915) and virtual functions list clients without their
        // engine time.
        if clients.iter().any(|(_, _, client)| client.engines.is_empty()) {
            self.has_previous = false;
            self.shares.clear();
            self.read.clear();
            return engines
                .iter()
                .map(|engine| (*engine, Err(Fault::new(FDINFO, FaultCode::NoEngineTime))))
                .collect();
        }
        let first = Fault::new(FDINFO, FaultCode::FirstReading);
        let has_previous = std::mem::replace(&mut self.has_previous, true);
        let mut old = std::mem::take(&mut self.shares);
        let initial = |engine: &&'static str| (*engine, if has_previous { Ok(0.0) } else { Err(first) });
        let mut sums: Vec<_> = engines.iter().map(initial).collect();
        let before = std::mem::take(&mut self.read);
        for (at, pid, client) in clients {
            self.read.insert(client.id, *at);
            let elapsed = at.saturating_duration_since(self.started).as_nanos();
            let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
            for usage in &client.engines {
                let key = (client.id, usage.class.clone());
                let mut share = old.remove(&key).unwrap_or_default();
                let whole = usage.total.unwrap_or(elapsed).saturating_mul(usage.capacity);
                let share_now = share.of_lagging(FDINFO, *at, (usage.busy, whole));
                self.shares.insert(key, share);
                let engine = engine(&usage.class);
                if let (Ok(share), Some(before)) = (share_now, before.get(&client.id)) {
                    let seconds = at.saturating_duration_since(*before).as_secs_f64();
                    *self.busy.entry((*pid, engine)).or_default() += share.clamp(0.0, 1.0) * seconds;
                }
                let position = sums.iter().position(|(name, _)| *name == engine).unwrap_or_else(|| {
                    sums.push((engine, Ok(0.0)));
                    sums.len() - 1
                });
                let sum = &mut sums[position].1;
                *sum = match (*sum, share_now) {
                    // What a new client did before it was found may be older than this round: not counted.
                    (Ok(sum), Err(fault)) if has_previous && fault.code == FaultCode::FirstReading => Ok(sum),
                    (Ok(sum), Ok(more)) => Ok((sum + more).min(1.0)),
                    (Err(fault), _) | (_, Err(fault)) => Err(fault),
                };
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests;
