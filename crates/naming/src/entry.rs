//! Constructors that keep the catalogue readable: an entry states only what makes it different.

use crate::{Id, Label, Metric, MetricKind, Scope, Unit};

/// A device metric of the unified schema.
const fn device(kind: MetricKind, name: &'static str, help: &'static str) -> Metric {
    Metric {
        name: Some(name),
        kind,
        unit: Unit::None,
        scope: Scope::Device,
        labels: &[],
        help,
        sourceless: "",
        integral: None,
        most: f64::INFINITY,
        outlives_loss: false,
    }
}

pub(crate) const fn gauge(name: &'static str, help: &'static str) -> Metric {
    device(MetricKind::Gauge, name, help)
}

pub(crate) const fn counter(name: &'static str, help: &'static str) -> Metric {
    device(MetricKind::Counter, name, help)
}

pub(crate) const fn state_set(name: &'static str, help: &'static str) -> Metric {
    device(MetricKind::StateSet, name, help)
}

pub(crate) const fn info(name: &'static str, help: &'static str) -> Metric {
    device(MetricKind::Info, name, help)
}

/// A quantity that only a vendor's vocabulary has; `help` says why the unified schema spells it otherwise.
pub(crate) const fn vendor_only(help: &'static str) -> Metric {
    Metric { name: None, ..device(MetricKind::Gauge, "", help) }
}

/// A metric that the exporter makes itself.
pub(crate) const fn own(
    kind: MetricKind,
    name: &'static str,
    labels: &'static [Label],
    help: &'static str,
) -> Metric {
    Metric {
        scope: Scope::Exporter,
        labels,
        sourceless: "Made by the exporter itself.",
        ..device(kind, name, help)
    }
}

impl Metric {
    pub(crate) const fn labels(mut self, labels: &'static [Label]) -> Self {
        self.labels = labels;
        self
    }

    pub(crate) const fn integral(mut self, id: Id) -> Self {
        self.integral = Some(id);
        self
    }

    pub(crate) const fn at_most(mut self, most: f64) -> Self {
        self.most = most;
        self
    }

    pub(crate) const fn outlives_loss(mut self) -> Self {
        self.outlives_loss = true;
        self
    }

    pub(crate) const fn sourceless(mut self, why: &'static str) -> Self {
        self.sourceless = why;
        self
    }
}
