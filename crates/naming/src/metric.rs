//! The shape of a catalogue entry.

use std::marker::PhantomData;

use crate::{
    Label, Unit, Value,
    catalogue::{HANDLES, METRICS},
};

/// How a series behaves over time. Formats that lack a kind print its nearest (see `exposition`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Goes up and down.
    Gauge,
    /// Only rises, until its origin restarts.
    Counter,
    /// Constant 1; the labels are the content. The name ends in `_info`.
    Info,
    /// One 0/1 series per state, several of which may be 1; the state is a label of its own name.
    StateSet,
    /// Classic buckets.
    Histogram,
}

impl MetricKind {
    /// The word used in documents and in `accelscope fields`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Info => "info",
            Self::StateSet => "stateset",
            Self::Histogram => "histogram",
        }
    }
}

/// What a metric describes, hence which labels every series of it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A device: `family`, `device`, and `uuid`, `partition` where they exist.
    Device,
    /// The exporter process itself: no labels beyond the entry's own.
    Exporter,
}

/// The place of a metric in [`METRICS`]; families are printed in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub(crate) u16);

impl Id {
    /// The entry.
    pub fn metric(self) -> &'static Metric {
        &METRICS[usize::from(self.0)]
    }

    /// The entry whose handle in [`crate::catalogue`] is called so: how data files refer to a metric.
    pub fn of_handle(handle: &str) -> Option<Self> {
        let index = HANDLES.iter().position(|known| *known == handle)?;
        u16::try_from(index).ok().map(Self)
    }

    /// The number by which two processes of this program name the entry.
    pub const fn index(self) -> u16 {
        self.0
    }

    /// The entry of this number, if there is one.
    pub fn of_index(index: u16) -> Option<Self> {
        (usize::from(index) < METRICS.len()).then_some(Self(index))
    }

    /// Every entry's id, in catalogue order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..METRICS.len()).map(|i| Self(u16::try_from(i).expect("the catalogue is small")))
    }
}

/// One entry of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The name in the unified schema; `None` for a quantity that only a vendor's vocabulary has.
    pub name: Option<&'static str>,
    /// MetricKind in the unified schema.
    pub kind: MetricKind,
    /// Base unit.
    pub unit: Unit,
    /// What it describes.
    pub scope: Scope,
    /// Labels that each reading carries, beyond those of its scope.
    pub labels: &'static [Label],
    /// One sentence without its full stop: what is measured.
    pub help: &'static str,
    /// Why an entry has no source. Empty when it has one.
    pub sourceless: &'static str,
    /// The counter of seconds that the exporter integrates from this ratio.
    pub integral: Option<Id>,
    /// More than any part has, where that is less than the unit's.
    pub most: f64,
    /// Whether the last series of a device stay while it cannot be read: what people need to find, explain and
    /// replace it. Everything else would pretend to be a measurement.
    pub outlives_loss: bool,
}

impl Metric {
    /// Whether a value is more than any part has: then it is no measurement, whatever call returned it.
    pub fn is_past_any_part(&self, value: &Value) -> bool {
        self.kind == MetricKind::Gauge && value.as_f64() > self.most.min(self.unit.most())
    }

    /// HELP of the unified family: the sentence with its sources.
    pub fn help_text(&self) -> String {
        let sources: Vec<_> = self.sources().map(|(family, source)| format!("{family}: {source}")).collect();
        if sources.is_empty() {
            return format!("{}.", self.help);
        }
        format!("{} ({}).", self.help, sources.join("; "))
    }
}

/// A catalogue entry together with the type of its quantity: the handle that sources write through.
pub struct MetricOf<Q> {
    /// The entry's id.
    pub id: Id,
    quantity: PhantomData<fn(Q)>,
}

impl<Q> MetricOf<Q> {
    pub(crate) const fn new(index: u16) -> Self {
        Self { id: Id(index), quantity: PhantomData }
    }

    /// The name in the unified schema.
    ///
    /// # Panics
    /// When the entry has only vendor names; a law test keeps such entries out of rules.
    pub fn name(&self) -> &'static str {
        self.id.metric().name.expect("a unified name")
    }
}

impl<Q> Clone for MetricOf<Q> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Q> Copy for MetricOf<Q> {}
