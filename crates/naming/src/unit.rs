//! Quantities: the types that keep a vendor's milliwatts out of a metric in watts.

use std::sync::Arc;

/// A base unit as Prometheus spells it in a metric's suffix and in OpenMetrics `# UNIT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A plain number: counts, states, versions.
    None,
    /// A fraction from 0 to 1.
    Ratio,
    /// Bytes.
    Bytes,
    /// Bytes per second, for capacities only; traffic is a counter of bytes.
    BytesPerSecond,
    /// Degrees Celsius.
    Celsius,
    /// Watts.
    Watts,
    /// Joules.
    Joules,
    /// Hertz.
    Hertz,
    /// Seconds.
    Seconds,
}

impl Unit {
    /// The suffix of a metric's name, without the leading underscore; empty for [`Unit::None`].
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Ratio => "ratio",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "bytes_per_second",
            Self::Celsius => "celsius",
            Self::Watts => "watts",
            Self::Joules => "joules",
            Self::Hertz => "hertz",
            Self::Seconds => "seconds",
        }
    }
}

impl Unit {
    /// More than any single part has, of quantities that are levels and not counts. A number past it is of another
    /// unit, or none.
    pub const fn most(self) -> f64 {
        match self {
            Self::Celsius => 200.0,
            Self::Watts => 5e3,
            Self::Hertz => 20e9,
            // All links of a part together.
            Self::BytesPerSecond => 1e14,
            Self::None | Self::Ratio | Self::Bytes | Self::Joules | Self::Seconds => f64::INFINITY,
        }
    }
}

/// The number that a series carries.
///
/// Integers stay integers up to 2^64, so byte and event counters are printed exactly.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A measured quantity.
    Float(f64),
    /// A count, exact.
    Int(u64),
    /// A histogram with classic buckets.
    Histogram(Arc<Distribution>),
}

impl Value {
    /// The value as a float; of a histogram, its sum.
    pub fn as_f64(&self) -> f64 {
        match self {
            Self::Float(v) => *v,
            Self::Int(v) => *v as f64,
            Self::Histogram(h) => h.sum,
        }
    }
}

/// A histogram at one instant: classic cumulative buckets are derived when it is printed.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// Upper bounds, ascending, without `+Inf`.
    pub bounds: &'static [f64],
    /// Observations per bucket (not cumulative); one more entry than `bounds`, the last for `+Inf`.
    pub counts: Vec<u64>,
    /// Sum of all observations, in the metric's unit.
    pub sum: f64,
}

impl Distribution {
    /// An empty histogram over `bounds`.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    /// Adds one observation.
    pub fn observe(&mut self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket] += 1;
        self.sum += value;
    }
}

/// A value with its unit in the type. [`crate::MetricOf`] accepts exactly one such type.
pub trait Quantity {
    /// The base unit that this type stands for.
    const UNIT: Unit;
    /// The bare number, at the last step before it becomes a sample.
    fn value(self) -> Value;
}

macro_rules! quantities {
    ($($(#[$doc:meta])* $name:ident($inner:ty) = $unit:ident, $variant:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
        pub struct $name(pub $inner);

        impl Quantity for $name {
            const UNIT: Unit = Unit::$unit;
            fn value(self) -> Value {
                Value::$variant(self.0.into())
            }
        }
    )*};
}

quantities! {
    /// A fraction from 0 to 1.
    Ratio(f64) = Ratio, Float;
    /// Bytes.
    Bytes(u64) = Bytes, Int;
    /// Bytes per second.
    BytesPerSecond(f64) = BytesPerSecond, Float;
    /// Degrees Celsius.
    Celsius(f64) = Celsius, Float;
    /// Watts.
    Watts(f64) = Watts, Float;
    /// Joules.
    Joules(f64) = Joules, Float;
    /// Hertz.
    Hertz(f64) = Hertz, Float;
    /// Seconds.
    Seconds(f64) = Seconds, Float;
    /// A number of things, or a code.
    Count(u64) = None, Int;
    /// Yes (1) or no (0).
    Flag(bool) = None, Int;
}

impl Quantity for Distribution {
    const UNIT: Unit = Unit::Seconds;
    fn value(self) -> Value {
        Value::Histogram(Arc::new(self))
    }
}

impl Ratio {
    /// From whole or fractional percent.
    pub fn from_percent(percent: f64) -> Self {
        Self(percent / 100.0)
    }
}

impl Watts {
    /// From milliwatts.
    pub fn from_milli(milliwatts: u64) -> Self {
        Self(milliwatts as f64 / 1e3)
    }
}

impl Joules {
    /// From millijoules.
    pub fn from_milli(millijoules: u64) -> Self {
        Self(millijoules as f64 / 1e3)
    }
}

impl Hertz {
    /// From megahertz.
    pub fn from_mega(megahertz: u64) -> Self {
        Self(megahertz as f64 * 1e6)
    }
}

impl Seconds {
    /// From nanoseconds.
    pub fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds as f64 / 1e9)
    }
}

impl Bytes {
    /// From kibibytes; saturates instead of wrapping, a counter that large is garbage anyway.
    pub fn from_kibi(kibibytes: u64) -> Self {
        Self(kibibytes.saturating_mul(1024))
    }
}
