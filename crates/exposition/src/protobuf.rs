//! Prometheus protobuf: `MetricFamily` messages, each preceded by its length, with the field numbers of
//! `io/prometheus/client/metrics.proto`.

use naming::{Distribution, MetricKind, Value};
use prost::Message;

use crate::{encode::Writer, plan::Heading};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct MetricFamily {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub help: Option<String>,
    #[prost(enumeration = "MetricType", optional, tag = "3")]
    pub r#type: Option<i32>,
    /// Encoded [`Metric`]s. Bytes and a message have the same wire format, so a subject's labels can be
    /// encoded once and copied before each of its values.
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub metric: Vec<Vec<u8>>,
    #[prost(string, optional, tag = "5")]
    pub unit: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum MetricType {
    Counter = 0,
    Gauge = 1,
    Histogram = 4,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Metric {
    #[prost(message, repeated, tag = "1")]
    pub label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    pub gauge: Option<Number>,
    #[prost(message, optional, tag = "3")]
    pub counter: Option<Number>,
    #[prost(message, optional, tag = "7")]
    pub histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct LabelPair {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(string, optional, tag = "2")]
    pub value: Option<String>,
}

/// `Gauge` and `Counter`, which have the same fields as far as they are used here.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Number {
    #[prost(double, optional, tag = "1")]
    pub value: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Histogram {
    #[prost(uint64, optional, tag = "1")]
    pub sample_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    pub sample_sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    pub bucket: Vec<Bucket>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Bucket {
    #[prost(uint64, optional, tag = "1")]
    pub cumulative_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    pub upper_bound: Option<f64>,
}

impl Histogram {
    fn new(distribution: &Distribution) -> Self {
        let bounds = distribution.bounds.iter().copied().chain([f64::INFINITY]);
        let mut cumulative = 0;
        let bucket = bounds
            .zip(&distribution.counts)
            .map(|(upper, count)| {
                cumulative += count;
                Bucket { cumulative_count: Some(cumulative), upper_bound: Some(upper) }
            })
            .collect();
        Self { sample_count: Some(cumulative), sample_sum: Some(distribution.sum), bucket }
    }
}

/// Collects one family at a time, because its length precedes it.
#[derive(Default)]
pub(crate) struct Protobuf {
    family: MetricFamily,
    out: Vec<u8>,
}

impl Writer for Protobuf {
    fn push_label(labels: &mut Vec<u8>, name: &str, value: &str) {
        let pair = LabelPair { name: Some(name.into()), value: Some(value.into()) };
        Metric { label: vec![pair], ..Metric::default() }.encode(labels).expect("a Vec grows");
    }

    fn begin(&mut self, heading: &Heading<'_>) {
        let kind = match heading.kind {
            MetricKind::Gauge | MetricKind::Info | MetricKind::StateSet => MetricType::Gauge,
            MetricKind::Counter => MetricType::Counter,
            MetricKind::Histogram => MetricType::Histogram,
        };
        self.family.name = Some(heading.name.into());
        self.family.help = Some(heading.help.into());
        self.family.r#type = Some(kind.into());
        self.family.unit = (!heading.unit.is_empty()).then(|| heading.unit.into());
    }

    fn sample(&mut self, heading: &Heading<'_>, labels: &[u8], value: &Value) {
        let number = Some(Number { value: Some(value.as_f64()) });
        let value = match (value, heading.kind) {
            (Value::Histogram(distribution), _) => {
                Metric { histogram: Some(Histogram::new(distribution)), ..Metric::default() }
            }
            (_, MetricKind::Counter) => Metric { counter: number, ..Metric::default() },
            _ => Metric { gauge: number, ..Metric::default() },
        };
        let mut metric = Vec::with_capacity(labels.len() + value.encoded_len());
        metric.extend_from_slice(labels);
        value.encode(&mut metric).expect("a Vec grows");
        self.family.metric.push(metric);
    }

    fn end(&mut self) {
        self.family.encode_length_delimited(&mut self.out).expect("a Vec grows");
        self.family.metric.clear();
    }

    fn finish(self) -> Vec<u8> {
        self.out
    }
}
