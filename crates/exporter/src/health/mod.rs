//! Whether each device can be given work, by the reasons of [`thresholds`] over the snapshots.
//!
//! Scrapes and the socket show a verdict on the newest snapshots. Some reasons are about time, so the thread of HTTP also
//! judges every few seconds.

mod past;
pub mod report;
pub mod socket;

use std::{
    cell::{Cell, Ref, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use naming::{
    Family, Flag, Id, Label,
    catalogue::{DEVICE_HEALTH, DEVICE_HEALTH_REASON},
};
use reading::{Batch, Code, FaultCode, Identity, Labels, Subject};
use thresholds::{Facts, Health, HealthReason, Judge, Point, Presence, REASONS, Watched};

use self::past::Past;
use crate::{
    http::live::Known,
    sampling::{
        device::{Device, Snapshot, Status},
        state::{NodeState, SourceState},
    },
};

/// Between two judgements that nobody asked for: no reason is about a shorter time.
pub const PERIOD: Duration = Duration::from_secs(5);

/// The verdict on a device.
pub struct Verdict {
    /// Whose it is.
    pub identity: Arc<Identity>,
    /// Where it is on its bus.
    pub address: Option<String>,
    /// By the worst of its reasons.
    pub state: Health,
    /// Each with a detail that may be empty, the worst first.
    pub reasons: Vec<(&'static HealthReason, String)>,
}

/// The verdicts on every device of a node.
pub struct Verdicts {
    node: Arc<NodeState>,
    judge: Rc<Judge>,
    pasts: RefCell<HashMap<(Family, String), Past>>,
    newest: RefCell<Vec<Verdict>>,
    /// When, and of which state of the snapshots.
    judged: Cell<Option<(Instant, u64)>>,
}

/// A device as the judge sees it.
struct Seen<'s> {
    known: Known<'s>,
    past: &'s Past,
}

impl Facts for Seen<'_> {
    fn family(&self) -> Family {
        self.known.family()
    }
    fn now(&self) -> f64 {
        Facts::now(&self.known)
    }
    fn series(&self, metric: Id) -> Vec<Point> {
        self.known.series(metric)
    }
    fn values(&self, metric: Id, wanted: &[(Label, &str)]) -> Vec<f64> {
        self.known.values(metric, wanted)
    }
    fn rise(&self, metric: Id) -> f64 {
        self.known.rise(metric)
    }
    fn mean(&self, metric: Id) -> Option<f64> {
        self.known.mean(metric)
    }
}

impl Watched for Seen<'_> {
    fn presence(&self) -> Presence {
        match self.known.snapshot.status {
            Status::Up => Presence::Up,
            Status::Starting => Presence::Starting,
            Status::Gone => Presence::Gone,
            Status::Detached => Presence::Detached,
            Status::Down(fault) => match fault.code {
                Code::Known(FaultCode::Deadline | FaultCode::LibraryHung) => Presence::Hung,
                Code::Known(FaultCode::Stale) => Presence::Stale,
                _ => Presence::Lost,
            },
        }
    }
    fn counted(&self) -> Vec<(String, String)> {
        self.past.counted(self.known.now)
    }
    fn throttled(&self) -> Vec<(String, f64)> {
        self.past.throttled()
    }
    fn links_lost(&self) -> Vec<(String, f64, f64)> {
        self.past.links_lost()
    }
    fn resets(&self) -> f64 {
        self.past.resets()
    }
}

impl Verdicts {
    /// Of a node that nobody has judged yet.
    pub fn new(node: Arc<NodeState>, judge: Rc<Judge>) -> Self {
        let (pasts, newest, judged) = (RefCell::default(), RefCell::default(), Cell::default());
        Self { node, judge, pasts, newest, judged }
    }

    /// Judges every device, unless that was done within half a period: a scrape judges too.
    pub fn judge(&self, now: Instant) {
        let is_new = |(judged, _): (Instant, u64)| now.saturating_duration_since(judged) < PERIOD / 2;
        if !self.judged.get().is_some_and(is_new) {
            self.judge_all(now);
        }
    }

    /// Judges every device, unless nothing has changed since: what is shown must not differ from the snapshots.
    fn refresh(&self) {
        let generation = self.node.generation.now();
        if self.judged.get().is_none_or(|(_, judged)| judged != generation) {
            self.judge_all(Instant::now());
        }
    }

    fn judge_all(&self, now: Instant) {
        self.judged.set(Some((now, self.node.generation.now())));
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let shown: Vec<_> = self.node.sources.iter().flat_map(|source| source.shown()).collect();
        let mut pasts = self.pasts.borrow_mut();
        pasts.retain(|(family, key), _| {
            shown.iter().any(|(device, snapshot)| *family == snapshot.identity.family && *key == device.key)
        });
        let verdict = |(device, snapshot): &(Arc<Device>, Arc<Snapshot>)| {
            let key = (snapshot.identity.family, device.key.clone());
            let past = pasts.entry(key).or_insert_with(|| Past::new(now));
            past.add(snapshot, now);
            let known = Known { device, snapshot, now, unix };
            let reasons = self.judge.reasons(&Seen { known, past });
            let lasting = past.lasting(reasons, now).into_iter();
            let reasons: Vec<_> = lasting.map(|(place, detail)| (&REASONS[place], detail)).collect();
            Verdict {
                identity: Arc::clone(&snapshot.identity),
                address: device.address(),
                state: reasons.iter().map(|(reason, _)| reason.state).max().unwrap_or(Health::Ok),
                reasons,
            }
        };
        *self.newest.borrow_mut() = shown.iter().map(verdict).collect();
    }

    /// The verdict on each device that is shown.
    pub fn newest(&self) -> Ref<'_, Vec<Verdict>> {
        self.refresh();
        self.newest.borrow()
    }

    /// The series of the devices of these sources.
    pub fn read(&self, sources: &[&Arc<SourceState>]) -> Vec<Subject> {
        let newest = self.newest();
        let is_meant =
            |verdict: &&Verdict| sources.iter().any(|source| source.family == verdict.identity.family);
        let mut batch = Batch::default();
        for verdict in newest.iter().filter(is_meant) {
            batch.begin(&verdict.identity);
            for state in Health::ALL {
                let labels = Labels::one(Label::State, state.word());
                batch.put(DEVICE_HEALTH, labels, Ok(Flag(state == verdict.state)));
            }
            for (reason, _) in &verdict.reasons {
                batch.put(DEVICE_HEALTH_REASON, Labels::one(Label::Reason, reason.name), Ok(Flag(true)));
            }
        }
        batch.finish()
    }

    /// What `accelscope health` shows.
    pub fn report(&self, node_name: &str) -> report::Report {
        report::Report::of(node_name, &self.node, &self.newest())
    }
}
