//! Bodies of scrapes, each encoded at most once per change of what it contains.

use std::{
    cell::RefCell,
    io::Write,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use exposition::{Format, Options, encode};
use flate2::{Compression, write::GzEncoder};
use naming::VendorFilter;

use crate::{
    sampling::state::{NodeState, SourceState},
    self_metrics::{HttpCounts, SelfMetrics},
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
}

/// Encodes the state of the sources, and keeps each body while nothing changes.
pub struct BodyCache {
    node: Arc<NodeState>,
    vocabularies: Vocabularies,
    http: Rc<HttpCounts>,
    self_metrics: SelfMetrics,
    cache: RefCell<Vec<Cached>>,
}

struct Cached {
    format: Format,
    gzip: bool,
    generation: u64,
    built: Instant,
    body: Bytes,
}

impl BodyCache {
    /// An empty cache of bodies of this node.
    pub fn new(
        node: Arc<NodeState>,
        vocabularies: Vocabularies,
        http: Rc<HttpCounts>,
        self_metrics: SelfMetrics,
    ) -> Self {
        Self { node, vocabularies, http, self_metrics, cache: RefCell::default() }
    }

    /// All sources. Ages and the exporter's own counts change without a change of state, so a body
    /// is kept for a second at most, and never longer than an interval.
    pub fn whole(&self, format: Format, gzip: bool) -> Bytes {
        let generation = self.node.generation.now();
        let longest = self.node.timing.interval.min(Duration::from_secs(1));
        let mut cache = self.cache.borrow_mut();
        cache.retain(|cached| cached.generation == generation && cached.built.elapsed() < longest);
        let cached = |gzip| cache.iter().find(|cached| (cached.format, cached.gzip) == (format, gzip));
        if let Some(cached) = cached(gzip) {
            return cached.body.clone();
        }
        let built = Instant::now();
        let plain = match cached(false) {
            Some(cached) => cached.body.clone(),
            None => self.encode(format, &self.node.sources.iter().collect::<Vec<_>>()),
        };
        let body = if gzip { compress(&plain) } else { plain };
        cache.push(Cached { format, gzip, generation, built, body: body.clone() });
        body
    }

    /// Some sources only. Rarely requested, so not kept.
    pub fn filtered(&self, format: Format, gzip: bool, sources: &[&Arc<SourceState>]) -> Bytes {
        let plain = self.encode(format, sources);
        if gzip { compress(&plain) } else { plain }
    }

    fn encode(&self, format: Format, sources: &[&Arc<SourceState>]) -> Bytes {
        let snapshots: Vec<_> = sources.iter().flat_map(|source| source.snapshots()).collect();
        let own = self.self_metrics.read(&self.node, sources, &self.http);
        let subjects = snapshots.iter().flat_map(|snapshot| &snapshot.subjects).chain(&own);
        let Vocabularies { unified, vendor, filters } = &self.vocabularies;
        encode(format, subjects, &Options { unified: *unified, vendor: *vendor, filters }).into()
    }
}

fn compress(plain: &[u8]) -> Bytes {
    // Expositions are so repetitive that the fastest level compresses nearly as well as the best.
    let mut gzip = GzEncoder::new(Vec::with_capacity(plain.len() / 8), Compression::fast());
    gzip.write_all(plain).and_then(|()| gzip.finish()).expect("a vector takes everything").into()
}
