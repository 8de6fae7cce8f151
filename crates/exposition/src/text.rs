//! The two text formats: one writer, with their differences as data.

use naming::{Distribution, MetricKind, Value};

use crate::{
    encode::Writer,
    number::{bound, push_float, push_integer},
    plan::Heading,
};

/// The differences between the text formats.
pub(crate) struct Dialect {
    /// The family's name in its heading, and its type.
    family: fn(&Heading<'_>) -> (&'static str, &'static str),
    /// Characters that are escaped in HELP.
    help_specials: &'static [u8],
    /// Whether a heading has a UNIT line.
    units: bool,
    /// Appended to a whole number in `le`.
    whole_bound: &'static str,
    /// The last line of the body.
    end: &'static str,
}

/// Prometheus text 0.0.4.
pub(crate) static TEXT: Dialect = Dialect {
    family: |heading| {
        let kind = match heading.kind {
            MetricKind::Gauge | MetricKind::Info | MetricKind::StateSet => "gauge",
            MetricKind::Counter => "counter",
            MetricKind::Histogram => "histogram",
        };
        (heading.name, kind)
    },
    help_specials: b"\\\n",
    units: false,
    whole_bound: "",
    end: "",
};

/// OpenMetrics 1.0.0.
pub(crate) static OPENMETRICS: Dialect = Dialect {
    family: |heading| {
        let stem = |suffix, kind| match heading.name.strip_suffix(suffix) {
            Some(stem) => (stem, kind),
            None => (heading.name, "unknown"),
        };
        match heading.kind {
            MetricKind::Gauge | MetricKind::StateSet => (heading.name, "gauge"),
            MetricKind::Info => stem("_info", "info"),
            MetricKind::Counter => stem("_total", "counter"),
            MetricKind::Histogram => (heading.name, "histogram"),
        }
    },
    help_specials: b"\\\n\"",
    units: true,
    whole_bound: ".0",
    end: "# EOF\n",
};

/// Characters that are escaped in a label value, in both formats.
const LABEL_SPECIALS: &[u8] = b"\\\n\"";

pub(crate) struct Text {
    dialect: &'static Dialect,
    out: Vec<u8>,
}

impl Text {
    pub fn new(dialect: &'static Dialect) -> Self {
        Self { dialect, out: Vec::new() }
    }

    fn push(&mut self, parts: &[&str]) {
        for part in parts {
            self.out.extend_from_slice(part.as_bytes());
        }
    }

    /// Appends the part of a line before its number: the name with `suffix`, and the labels with `le`.
    fn series(&mut self, heading: &Heading<'_>, suffix: &str, labels: &[u8], le: Option<&str>) {
        self.push(&[heading.name, suffix]);
        if !labels.is_empty() || le.is_some() {
            self.out.push(b'{');
            self.out.extend_from_slice(labels);
            if let Some(le) = le {
                self.push(&[if labels.is_empty() { "" } else { "," }, "le=\"", le, "\""]);
            }
            self.out.push(b'}');
        }
        self.out.push(b' ');
    }

    fn histogram(&mut self, heading: &Heading<'_>, labels: &[u8], distribution: &Distribution) {
        let bounds = distribution.bounds.iter().copied().chain([f64::INFINITY]);
        let mut cumulative = 0;
        for (upper, count) in bounds.zip(&distribution.counts) {
            cumulative += count;
            self.series(heading, "_bucket", labels, Some(&bound(upper, self.dialect.whole_bound)));
            push_integer(&mut self.out, cumulative);
            self.out.push(b'\n');
        }
        self.series(heading, "_sum", labels, None);
        push_float(&mut self.out, distribution.sum);
        self.out.push(b'\n');
        self.series(heading, "_count", labels, None);
        push_integer(&mut self.out, cumulative);
        self.out.push(b'\n');
    }
}

impl Writer for Text {
    fn push_label(labels: &mut Vec<u8>, name: &str, value: &str) {
        if !labels.is_empty() {
            labels.push(b',');
        }
        labels.extend_from_slice(name.as_bytes());
        labels.extend_from_slice(b"=\"");
        push_escaped(labels, value, LABEL_SPECIALS);
        labels.push(b'"');
    }

    fn begin(&mut self, heading: &Heading<'_>) {
        let (name, kind) = (self.dialect.family)(heading);
        self.push(&["# HELP ", name, " "]);
        push_escaped(&mut self.out, heading.help, self.dialect.help_specials);
        self.push(&["\n# TYPE ", name, " ", kind, "\n"]);
        // A family without a unit has the line too: a parser that keeps the unit of the family before would else
        // give it to this one (Prometheus 3.5 with `type-and-unit-labels`).
        if self.dialect.units {
            self.push(&["# UNIT ", name, " ", heading.unit, "\n"]);
        }
    }

    fn sample(&mut self, heading: &Heading<'_>, labels: &[u8], value: &Value) {
        match value {
            Value::Histogram(distribution) => return self.histogram(heading, labels, distribution),
            Value::Float(value) => {
                self.series(heading, "", labels, None);
                push_float(&mut self.out, *value);
            }
            Value::Int(value) => {
                self.series(heading, "", labels, None);
                push_integer(&mut self.out, *value);
            }
        }
        self.out.push(b'\n');
    }

    fn end(&mut self) {}

    fn finish(mut self) -> Vec<u8> {
        self.push(&[self.dialect.end]);
        self.out
    }
}

/// Appends `text` with a backslash before each of `specials`, and a line input as `\n`.
fn push_escaped(out: &mut Vec<u8>, text: &str, specials: &[u8]) {
    // Whatever the place, no other character is special; nearly all that is printed are label values without one. These
    // are ASCII, so no byte of a multi-byte character can equal one.
    let is_special = |byte: &u8| matches!(byte, b'\\' | b'\n' | b'"') && specials.contains(byte);
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(is_special) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[b'\\', if rest[at] == b'\n' { b'n' } else { rest[at] }]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}
