//! The page at `/` and the JSON behind it: the node at a glance, without Prometheus.
//!
//! The page is a table where there is no JavaScript. With it, `live.js` asks for `/api/v1/node` every two seconds and
//! draws a tile for each device. Style and script are files of their own, so that the policy allows nothing inline.

mod holders;
mod node;
mod page;

pub use node::Known;

use std::{
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use thresholds::{Judge, State};
use workloads::Room;

use self::holders::Holders;
use crate::{health::Verdicts, http::body::compress, sampling::state::NodeState};

/// Path of the JSON.
pub const API: &str = "/api/v1/node";

/// Paths of the page's own files.
pub const STYLE: &str = "/live.css";
pub const SCRIPT: &str = "/live.js";

/// What the page may load: its own files and the JSON.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                          img-src data:; base-uri 'none'; form-action 'none'";

/// The script.
pub const SCRIPT_TEXT: &str = include_str!("live.js");

/// What the page shows of one node, kept while nothing changes.
pub struct Live {
    /// The program's name.
    program: &'static str,
    /// The node's name.
    node_name: String,
    node: Arc<NodeState>,
    /// Who holds a device, where anybody is asked.
    workloads: Option<Arc<Room>>,
    judge: Rc<Judge>,
    verdicts: Rc<Verdicts>,
    /// Without details and with them.
    cache: RefCell<[Option<Cached>; 2]>,
}

struct Cached {
    generation: u64,
    built: Instant,
    plain: Bytes,
    gzip: Option<Bytes>,
}

impl Live {
    /// Of a node of this name.
    pub fn new(
        program: &'static str,
        node_name: String,
        node: Arc<NodeState>,
        judge: Rc<Judge>,
        verdicts: Rc<Verdicts>,
    ) -> Self {
        Self { program, node_name, node, workloads: None, judge, verdicts, cache: RefCell::default() }
    }

    /// Also shows who holds a device.
    #[must_use]
    pub fn with_workloads(self, workloads: Option<Arc<Room>>) -> Self {
        Self { workloads, ..self }
    }

    /// The JSON. Paths of libraries and texts of errors are in it only with `details`. As the bodies of scrapes, it is
    /// kept while nothing changes, for a second at most and never longer than an interval.
    pub fn json(&self, details: bool, gzip: bool) -> Bytes {
        let generation = self.node.generation.now();
        let longest = self.node.timing.interval.min(Duration::from_secs(1));
        let mut cache = self.cache.borrow_mut();
        let kept = &mut cache[usize::from(details)];
        let is_new = |cached: &Cached| cached.generation == generation && cached.built.elapsed() < longest;
        if !kept.as_ref().is_some_and(is_new) {
            let built = Instant::now();
            let mut plain =
                serde_json::to_vec(&self.view(details)).expect("numbers, texts and maps of texts");
            plain.push(b'\n');
            *kept = Some(Cached { generation, built, plain: plain.into(), gzip: None });
        }
        let Some(cached) = kept else { return Bytes::new() };
        if gzip {
            cached.gzip.get_or_insert_with(|| compress(&cached.plain)).clone()
        } else {
            cached.plain.clone()
        }
    }

    /// The page, with the same details.
    pub fn page(&self, telemetry_path: &str, details: bool) -> String {
        page::page(&self.view(details), telemetry_path)
    }

    fn view(&self, details: bool) -> node::Node {
        let holders = Holders::of(self.workloads.as_deref());
        let judged =
            node::Judged { judge: &self.judge, verdicts: &self.verdicts.newest(), holders: &holders };
        node::Node::of(self.program, &self.node_name, &self.node, &judged, details)
    }
}

/// The style, with the colour of each state: the dashboards'.
pub fn style() -> String {
    let states =
        State::ALL.map(|state| format!(".{} {{ --state: {}; }}\n", class(state.word()), state.color()));
    include_str!("live.css").to_owned() + &states.concat()
}

/// The class of what is in a state, by the state's word.
fn class(word: &str) -> String {
    word.to_ascii_lowercase().replace(' ', "-")
}
