//! Incident mode: an alert or a person makes chosen devices be sampled more often for a while.
//!
//! All times are of the monotonic clock. The mode ends when its last cause does, and at the latest after
//! [`Settings::max`]; a restart ends it.

mod peers;
mod request;
mod samples;
pub mod web;

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use naming::{Count, Flag, Label, Seconds, catalogue as m};
use reading::{Batch, Identity, Labels};
use tracing::{info, warn};

use self::peers::Peers;
use crate::{http::authority::Authority, http::web_config::rate::Bucket, sampling::state::NodeState};

/// The most causes at a time, and alerts that are remembered as over.
const CAUSES: usize = 1024;

/// What became of an alert; the values of the label `result`.
const RESULTS: [&str; 6] = ["chosen", "resolved", "replayed", "other_node", "unknown_device", "over_limit"];

/// The name of a call by hand among the causes.
const BY_HAND: &str = "request";

/// For how long it may be on, and where.
pub struct Settings {
    /// The longest time.
    pub max: Duration,
    /// The name by which alerts call this node.
    pub node_name: String,
    /// Exporters of other nodes, as `HOST:PORT`.
    pub peers: Vec<String>,
}

/// The mode, on the thread of HTTP.
pub struct Incident {
    /// Who may switch it.
    pub authority: Authority,
    settings: Settings,
    peers: Option<Rc<Peers>>,
    node: Arc<NodeState>,
    bucket: Bucket,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// Since when it is on.
    begun: Option<Instant>,
    causes: Vec<Cause>,
    /// Alerts that are over, by key and start: one that comes again is a copy.
    over: VecDeque<(u64, u64)>,
    results: BTreeMap<&'static str, u64>,
}

/// Why it is on.
struct Cause {
    /// The digest of what identifies the alert, which may be long.
    key: u64,
    /// The digest of the alert's beginning, as its sender writes it.
    started: u64,
    name: String,
    until: Instant,
    choice: Choice,
}

/// Which devices: those that have all of these labels, or one of these names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Choice {
    family: Option<String>,
    device: Option<String>,
    uuid: Option<String>,
    names: Vec<String>,
}

impl Choice {
    fn has(&self, identity: &Identity) -> bool {
        let is = |wanted: &Option<String>, value: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == value)
        };
        let is_named = |name: &String| *name == identity.device || Some(name) == identity.uuid.as_ref();
        is(&self.family, Some(identity.family.name()))
            && is(&self.device, Some(&identity.device))
            && is(&self.uuid, identity.uuid.as_deref())
            && (self.names.is_empty() || self.names.iter().any(is_named))
    }
}

impl Incident {
    /// It is off.
    pub fn new(authority: Authority, mut settings: Settings, node: Arc<NodeState>) -> Self {
        let names = std::mem::take(&mut settings.peers);
        let peers = (!names.is_empty()).then(|| Peers::new(names));
        Self { authority, settings, peers, node, bucket: Bucket::default(), state: RefCell::default() }
    }

    fn identities(&self) -> Vec<Arc<Identity>> {
        let devices = self.node.devices();
        devices.map(|device| Arc::clone(&device.snapshot().identity)).collect()
    }

    /// Adds a cause or extends it, and returns what became of it.
    fn begin(
        &self,
        now: Instant,
        key: u64,
        started: u64,
        name: String,
        hold: Duration,
        choice: Choice,
    ) -> &'static str {
        let mut state = self.state.borrow_mut();
        if state.over.iter().any(|(over, at)| *over == key && *at == started) {
            return "replayed";
        }
        let known = state.causes.iter().position(|cause| cause.key == key);
        if known.is_none() && state.causes.len() >= CAUSES {
            return "over_limit";
        }
        let begun = *state.begun.get_or_insert(now);
        let until = (now + hold).min(begun + self.settings.max);
        let cause = Cause { key, started, name, until, choice };
        match known {
            Some(known) => state.causes[known] = cause,
            None => state.causes.push(cause),
        }
        "chosen"
    }

    /// Ends a cause, or every one.
    fn end(&self, key: Option<u64>) {
        let mut state = self.state.borrow_mut();
        let is_over = |cause: &mut Cause| key.is_none_or(|key| cause.key == key);
        let ended: Vec<_> = state.causes.extract_if(.., is_over).collect();
        remember(&mut state, ended);
    }

    /// Ends what is over, and makes the devices' workers follow.
    pub fn check(&self, now: Instant, was_on: bool) {
        let mut state = self.state.borrow_mut();
        let ended: Vec<_> = state.causes.extract_if(.., |cause| cause.until <= now).collect();
        remember(&mut state, ended);
        let is_on = !state.causes.is_empty();
        if !is_on {
            state.begun = None;
        }
        for device in self.node.devices() {
            let identity = Arc::clone(&device.snapshot().identity);
            let is_chosen = state.causes.iter().any(|cause| cause.choice.has(&identity));
            device.fine.set(is_chosen, now);
        }
        if is_on != was_on {
            self.node.generation.bump();
            let names = triggers(&state).join(", ");
            if is_on {
                warn!(reason = names, max = ?self.settings.max, "incident mode is on");
            } else {
                info!("incident mode is off");
            }
        }
    }

    /// Whether it is on.
    pub fn is_on(&self) -> bool {
        !self.state.borrow().causes.is_empty()
    }

    /// When it ends by itself, as seconds since 1970 on the clock of this moment.
    fn until(&self, now: Instant) -> Option<f64> {
        let last = self.state.borrow().causes.iter().map(|cause| cause.until).max()?;
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).ok()? + last.saturating_duration_since(now);
        Some(wall.as_secs_f64().round())
    }

    /// Names of the devices that are sampled more often.
    fn devices(&self) -> Vec<String> {
        let state = self.state.borrow();
        let identities = self.identities();
        let is_chosen =
            |identity: &&Arc<Identity>| state.causes.iter().any(|cause| cause.choice.has(identity));
        identities.iter().filter(is_chosen).map(|identity| identity.device.clone()).collect()
    }

    /// Its metrics.
    pub fn read(&self, batch: &mut Batch) {
        let active = self.is_on();
        batch.put(m::INCIDENT_ACTIVE, Labels::NONE, Ok(Flag(active)));
        for name in triggers(&self.state.borrow()) {
            batch.put(m::INCIDENT_REASON, Labels::Shared([(Label::Trigger, name)].into()), Ok(Flag(true)));
        }
        if let Some(until) = self.until(Instant::now()) {
            batch.put(m::INCIDENT_UNTIL, Labels::NONE, Ok(Seconds(until)));
        }
        batch.put(m::INCIDENT_DEVICES, Labels::NONE, Ok(Count(self.devices().len() as u64)));
        for result in RESULTS {
            let count = self.state.borrow().results.get(result).copied().unwrap_or(0);
            batch.put(m::INCIDENT_ALERTS, Labels::one(Label::Result, result), Ok(Count(count)));
        }
        if let Some(peers) = &self.peers {
            let (sent, failed) = peers.counts();
            for (result, count) in [("sent", sent), ("failed", failed)] {
                batch.put(m::INCIDENT_FORWARDS, Labels::one(Label::Result, result), Ok(Count(count)));
            }
        }
    }
}

/// A number in place of a text of any length.
fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn triggers(state: &State) -> Vec<String> {
    let mut names: Vec<_> = state.causes.iter().map(|cause| cause.name.clone()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn remember(state: &mut State, ended: Vec<Cause>) {
    let alerts = ended.into_iter().filter(|cause| cause.key != digest(BY_HAND));
    state.over.extend(alerts.map(|cause| (cause.key, cause.started)));
    let many = state.over.len().saturating_sub(CAUSES);
    state.over.drain(..many);
}
