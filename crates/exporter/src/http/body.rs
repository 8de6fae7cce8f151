//! Bodies of scrapes, each encoded at most once per change of what it contains.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    io::Write,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use exposition::{Format, Options, count, encode};
use flate2::{Compression, write::GzEncoder};
use naming::VendorFilter;
use reading::Subject;
use tracing::{info, warn};

use crate::{
    health::Verdicts,
    http::holders,
    sampling::state::{ConnectionStatus, NodeState, SourceState},
    self_metrics::{self, HttpCounts, SelfMetrics},
};

/// Which vocabularies to export.
#[derive(Clone, Debug)]
pub struct Vocabularies {
    /// The unified schema.
    pub unified: bool,
    /// The names of vendors' own exporters.
    pub vendor: bool,
    /// The user's selection among a vendor's names.
    pub filters: Vec<VendorFilter>,
    /// Names that are not printed.
    pub left_out: BTreeSet<&'static str>,
    /// Whether series under vendors' names also name who holds their device.
    pub holders: bool,
    /// The most series of a body.
    pub max_series: Option<u32>,
}

/// What a body contains, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct What {
    /// The format.
    pub format: Format,
    /// Whether it is compressed.
    pub gzip: bool,
    /// The sources.
    pub sources: Selection,
}

/// Some sources of a node: the bit of each one's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection(u64);

impl Selection {
    /// Those for which `selects` holds.
    pub fn of(node: &NodeState, selects: impl Fn(&SourceState) -> bool) -> Self {
        let selected = (0..).zip(&node.sources).filter(|(_, source)| selects(source));
        Self(selected.fold(0, |bits, (place, _)| bits | 1 << place))
    }

    fn sources(self, node: &NodeState) -> Vec<&Arc<SourceState>> {
        let places = (0..).zip(&node.sources);
        places.filter(|(place, _)| self.0 & 1 << place != 0).map(|(_, source)| source).collect()
    }
}

/// The most bytes of bodies that are kept, each body counted once, when the newest has this length. It has
/// room for a large node in each format, and does not grow with the number of clients or of queries.
pub fn budget(newest: usize) -> usize {
    (4 * newest).max(8 << 20)
}

/// Encodes the state of the sources, and keeps each body while nothing changes.
pub struct BodyCache {
    node: Arc<NodeState>,
    vocabularies: Arc<ArcSwap<Vocabularies>>,
    http: Rc<HttpCounts>,
    self_metrics: SelfMetrics,
    verdicts: Rc<Verdicts>,
    cache: RefCell<Vec<Cached>>,
    /// The families that did not fit into the budget.
    refused: RefCell<BTreeSet<&'static str>>,
}

struct Cached {
    what: What,
    vocabularies: Arc<Vocabularies>,
    generation: u64,
    built: Instant,
    body: Bytes,
}

impl BodyCache {
    /// An empty cache of bodies of this node.
    pub fn new(
        node: Arc<NodeState>,
        vocabularies: Arc<ArcSwap<Vocabularies>>,
        http: Rc<HttpCounts>,
        self_metrics: SelfMetrics,
        verdicts: Rc<Verdicts>,
    ) -> Self {
        Self {
            node,
            vocabularies,
            http,
            self_metrics,
            verdicts,
            cache: RefCell::default(),
            refused: RefCell::default(),
        }
    }

    /// The body. Ages and the exporter's own counts change without a change of state, so a body is kept
    /// for a second at most, and never longer than an interval.
    pub fn get(&self, what: What) -> Bytes {
        let generation = self.node.generation.now();
        let longest = self.node.timing.interval.min(Duration::from_secs(1));
        let vocabularies = self.vocabularies.load_full();
        let mut cache = self.cache.borrow_mut();
        cache.retain(|cached| {
            cached.generation == generation
                && Arc::ptr_eq(&cached.vocabularies, &vocabularies)
                && cached.built.elapsed() < longest
        });
        let cached = |what| cache.iter().find(|cached| cached.what == what).map(|cached| cached.body.clone());
        if let Some(body) = cached(what) {
            return body;
        }
        let built = Instant::now();
        let plain = cached(What { gzip: false, ..what })
            .unwrap_or_else(|| self.encode(&vocabularies, what.format, &what.sources.sources(&self.node)));
        let body = if what.gzip { compress(&plain) } else { plain };
        let mut bytes: usize = body.len() + cache.iter().map(|cached| cached.body.len()).sum::<usize>();
        while bytes > budget(body.len()) && !cache.is_empty() {
            bytes -= cache.remove(0).body.len();
        }
        cache.push(Cached { what, vocabularies, generation, built, body: body.clone() });
        body
    }

    fn encode(&self, vocabularies: &Vocabularies, format: Format, sources: &[&Arc<SourceState>]) -> Bytes {
        let snapshots: Vec<_> = sources.iter().flat_map(|source| source.snapshots()).collect();
        let mut own = self.self_metrics.read(&self.node, sources, &self.http);
        let Vocabularies { unified, vendor, filters, left_out, holders, max_series } = vocabularies;
        let mut held = Vec::new();
        if *holders {
            let is_up = |source: &&&Arc<SourceState>| source.connection().status == ConnectionStatus::Up;
            own.extend(holders::own_pod(sources.iter().filter(is_up).map(|source| source.family)));
            held = holders::held(&own);
        }
        let mut options = Options { unified: *unified, vendor: *vendor, filters, left_out, held: &held };
        let verdicts = self.verdicts.read(sources);
        let devices = || snapshots.iter().flat_map(|snapshot| &snapshot.subjects).chain(&verdicts);
        let mut over = BTreeSet::new();
        if let Some(max) = max_series {
            let refused = self.over_budget(*max, devices(), &own, &options, &mut over);
            own.extend(self_metrics::series_refused(refused));
            over.extend(left_out);
            options.left_out = &over;
        }
        encode(format, devices().chain(&own), &options).into()
    }

    /// Adds the families that do not fit into the budget to `over`, and returns how many series they have. The
    /// exporter's own are printed in any case, and leave room for the others.
    fn over_budget<'a>(
        &self,
        max: u32,
        devices: impl Iterator<Item = &'a Subject>,
        own: &[Subject],
        options: &Options<'_>,
        over: &mut BTreeSet<&'static str>,
    ) -> usize {
        let sum = |families: &[(&str, usize)]| families.iter().map(|(_, count)| count).sum::<usize>();
        // One more is the number of those that are refused.
        let mut room = (max as usize).saturating_sub(sum(&count(own, options)) + 1);
        let mut refused = Vec::new();
        for (family, series) in count(devices, options) {
            // After the first that does not fit none is printed: what is there must not change with small numbers.
            if refused.is_empty() && series <= room {
                room -= series;
            } else {
                refused.push((family, series));
            }
        }
        over.extend(refused.iter().map(|(family, _)| *family));
        let mut last = self.refused.borrow_mut();
        if *last != *over {
            last.clone_from(over);
            if let Some((first, _)) = refused.first() {
                warn!(
                    "{} series are more than --max-series {max} allows: {first} and the metrics after it are left out; \
                     choose with --metrics.exclude, or allow more",
                    sum(&refused)
                );
            } else {
                info!("all series are within --max-series again");
            }
        }
        sum(&refused)
    }
}

/// The same, compressed.
pub fn compress(plain: &[u8]) -> Bytes {
    // Expositions are so repetitive that the fastest level compresses nearly as well as the best.
    let mut gzip = GzEncoder::new(Vec::with_capacity(plain.len() / 8), Compression::fast());
    gzip.write_all(plain).and_then(|()| gzip.finish()).expect("a vector takes everything").into()
}
