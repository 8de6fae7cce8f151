//! Bodies of scrapes, each encoded at most once per change of what it shows.

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
    sampling::state::{Board, SourceBoard},
    self_metrics::{HttpCounts, Own},
};

/// Which names to print.
#[derive(Clone, Debug)]
pub struct Names {
    /// The unified schema.
    pub unified: bool,
    /// Vendors' own.
    pub vendor: bool,
    /// The user's choices among a vendor's names.
    pub filters: Vec<VendorFilter>,
}

/// Encodes what the board shows, and keeps it while nothing changes.
pub struct Bodies {
    board: Arc<Board>,
    names: Names,
    http: Rc<HttpCounts>,
    own: Own,
    cache: RefCell<Vec<Cached>>,
}

struct Cached {
    format: Format,
    gzip: bool,
    generation: u64,
    built: Instant,
    body: Bytes,
}

impl Bodies {
    /// Bodies of this board.
    pub fn new(board: Arc<Board>, names: Names, http: Rc<HttpCounts>, own: Own) -> Self {
        Self { board, names, http, own, cache: RefCell::default() }
    }

    /// The whole board. Ages and the exporter's own counts move without a change of state, so a body
    /// lives for a second at most, and never longer than an interval.
    pub fn whole(&self, format: Format, gzip: bool) -> Bytes {
        let generation = self.board.generation.now();
        let longest = self.board.tempo.interval.min(Duration::from_secs(1));
        let mut cache = self.cache.borrow_mut();
        cache.retain(|cached| cached.generation == generation && cached.built.elapsed() < longest);
        let cached = |gzip| cache.iter().find(|cached| (cached.format, cached.gzip) == (format, gzip));
        if let Some(cached) = cached(gzip) {
            return cached.body.clone();
        }
        let built = Instant::now();
        let plain = match cached(false) {
            Some(cached) => cached.body.clone(),
            None => self.encode(format, &self.board.sources.iter().collect::<Vec<_>>()),
        };
        let body = if gzip { compress(&plain) } else { plain };
        cache.push(Cached { format, gzip, generation, built, body: body.clone() });
        body
    }

    /// Some sources only. Rarely asked for, so not kept.
    pub fn filtered(&self, format: Format, gzip: bool, sources: &[&Arc<SourceBoard>]) -> Bytes {
        let plain = self.encode(format, sources);
        if gzip { compress(&plain) } else { plain }
    }

    fn encode(&self, format: Format, sources: &[&Arc<SourceBoard>]) -> Bytes {
        let snapshots: Vec<_> = sources.iter().flat_map(|source| source.snapshots()).collect();
        let own = self.own.read(&self.board, sources, &self.http);
        let subjects = snapshots.iter().flat_map(|snapshot| &snapshot.subjects).chain(&own.subjects);
        let Names { unified, vendor, filters } = &self.names;
        encode(format, subjects, &Options { unified: *unified, vendor: *vendor, filters }).into()
    }
}

fn compress(plain: &[u8]) -> Bytes {
    // Exposition repeats itself so much that the fastest level comes close to the best.
    let mut gzip = GzEncoder::new(Vec::with_capacity(plain.len() / 8), Compression::fast());
    gzip.write_all(plain).and_then(|()| gzip.finish()).expect("a vector takes everything").into()
}
