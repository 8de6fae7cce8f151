//! Counters and histogram cells, as integers that only grow.

use serde::Deserialize;
use serde::de::IntoDeserializer as _;
use serde::de::value::StrDeserializer;

use super::load::{Finish, Passes, Request};
use super::table::{Observed, Table, Unit, Value};

/// What is counted.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
#[repr(usize)]
pub enum Count {
    /// Requests that stopped by themselves; this and the following in the order of [`Finish`].
    Stop,
    /// Requests that ended at their token limit.
    Length,
    /// Requests whose client went away.
    Abort,
    /// Requests that failed.
    Error,
    /// Requests that were refused because the engine was full.
    Rejected,
    /// Questions whether the model is ready.
    Probes,
    /// Preemptions.
    Preemptions,
    /// Tokens of prompts.
    PromptTokens,
    /// Of these, found in the prefix cache.
    CachedTokens,
    /// Of the prompt tokens, computed.
    ComputedTokens,
    /// Generated tokens.
    GenerationTokens,
    /// Times that tokens were drafted.
    Drafts,
    /// Tokens drafted.
    DraftTokens,
    /// Drafts whose first token was accepted.
    #[serde(rename = "accepted_0")]
    Accepted0,
    /// Drafts whose second token was accepted.
    #[serde(rename = "accepted_1")]
    Accepted1,
    /// Drafts whose third token was accepted.
    #[serde(rename = "accepted_2")]
    Accepted2,
    /// Forward passes with prompts.
    PrefillPasses,
    /// Forward passes that add a token to each request.
    DecodePasses,
    /// Time in the queue, all requests, µs; as the following.
    QueueMicros,
    /// Time of reading prompts: a microsecond for each token.
    InputMicros,
    /// Time of computing prompts.
    PrefillMicros,
    /// Time from first to last token.
    DecodeMicros,
    /// Time of sending generated tokens: a microsecond for each.
    OutputMicros,
}

impl Count {
    const COUNT: usize = Self::OutputMicros as usize + 1;

    /// By the name that tables use.
    pub fn named(name: &str) -> Option<Self> {
        let name: StrDeserializer<'_, serde::de::value::Error> = name.into_deserializer();
        Self::deserialize(name).ok()
    }

    fn of(finish: Finish) -> Self {
        match finish {
            Finish::Stop => Self::Stop,
            Finish::Length => Self::Length,
            Finish::Abort => Self::Abort,
            Finish::Error => Self::Error,
        }
    }
}

/// One histogram series.
#[derive(Clone, Debug)]
pub struct Histogram {
    observed: Observed,
    unit: Unit,
    /// Upper bounds, in the unit's integer.
    bounds: Vec<f64>,
    /// How many observations lie in each bucket alone; one more than bounds.
    cells: Vec<u64>,
    sum: u64,
}

impl Histogram {
    fn new(observed: Observed, unit: Unit, bounds: &[f64]) -> Self {
        let bounds: Vec<f64> = bounds.iter().map(|bound| bound * unit.scale()).collect();
        Self { observed, unit, cells: vec![0; bounds.len() + 1], bounds, sum: 0 }
    }

    fn observe(&mut self, value: u64, count: u64) {
        let cell = self.bounds.partition_point(|bound| *bound < value as f64);
        self.cells[cell] += count;
        self.sum += value * count;
    }

    /// Observations at or below each bound, the last for no bound.
    pub fn cumulative(&self) -> impl Iterator<Item = u64> {
        self.cells.iter().scan(0, |sum, cell| {
            *sum += cell;
            Some(*sum)
        })
    }

    /// Number of all observations.
    pub fn count(&self) -> u64 {
        self.cells.iter().sum()
    }

    /// Sum of all observations, in the exposition's unit.
    pub fn sum(&self) -> f64 {
        self.sum as f64 / self.unit.scale()
    }
}

/// All that an engine has counted.
#[derive(Clone, Debug)]
pub struct Totals {
    counts: [u64; Count::COUNT],
    /// In the order of the table's histogram series.
    histograms: Vec<Histogram>,
    failures_are_measured: bool,
}

impl Totals {
    /// Nothing yet.
    pub fn new(table: &Table) -> Self {
        let values = table.families.iter().flat_map(|family| &family.series).map(|series| &series.value);
        let histograms = values.filter_map(|value| match value {
            Value::Histogram(observed, unit, bounds) => Some(Histogram::new(*observed, *unit, bounds)),
            _ => None,
        });
        Self {
            counts: [0; Count::COUNT],
            histograms: histograms.collect(),
            failures_are_measured: table.failures_are_measured,
        }
    }

    /// Adds `times` times what `other` has counted over the same table.
    pub fn add(&mut self, other: &Self, times: u64) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count * times;
        }
        for (histogram, more) in self.histograms.iter_mut().zip(&other.histograms) {
            for (sum, count) in histogram.cells.iter_mut().zip(&more.cells) {
                *sum += count * times;
            }
            histogram.sum += more.sum * times;
        }
    }

    /// Counts.
    pub fn count(&mut self, count: Count, times: u64) {
        self.counts[count as usize] += times;
    }

    /// The sum of some counts.
    pub fn sum_of(&self, counts: &[Count]) -> u64 {
        counts.iter().map(|count| self.counts[*count as usize]).sum()
    }

    /// Histogram series in the table's order.
    pub fn histograms(&self) -> &[Histogram] {
        &self.histograms
    }

    /// Counts and measures a finished request.
    pub fn observe_request(&mut self, request: &Request) {
        self.count(Count::of(request.finish), 1);
        for (count, amount) in [
            (Count::PromptTokens, request.prompt_tokens),
            (Count::CachedTokens, request.cached_tokens),
            (Count::ComputedTokens, request.prompt_tokens - request.cached_tokens),
            (Count::GenerationTokens, request.generation_tokens),
            (Count::QueueMicros, request.queue),
            (Count::InputMicros, request.prompt_tokens),
            (Count::OutputMicros, request.generation_tokens),
            (Count::PrefillMicros, request.prefill),
            (Count::DecodeMicros, request.decode),
        ] {
            self.count(count, amount);
        }
        if request.finish == Finish::Error && !self.failures_are_measured {
            return;
        }
        for histogram in &mut self.histograms {
            if let Observed::Request(value) = histogram.observed {
                histogram.observe(value(request), 1);
            }
        }
    }

    /// Measures gaps between tokens, µs each.
    pub fn observe_gaps(&mut self, micros: u64, count: u64) {
        for histogram in &mut self.histograms {
            if matches!(histogram.observed, Observed::Gap) {
                histogram.observe(micros, count);
            }
        }
    }

    /// Counts and measures forward passes.
    pub fn observe_passes(&mut self, passes: &Passes) {
        let count = if passes.prefill { Count::PrefillPasses } else { Count::DecodePasses };
        self.count(count, passes.count);
        for histogram in &mut self.histograms {
            if let Observed::Passes(prefill, value) = histogram.observed
                && prefill.is_none_or(|prefill| prefill == passes.prefill)
            {
                histogram.observe(value(passes), passes.count);
            }
        }
    }
}
