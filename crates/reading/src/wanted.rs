//! Which metrics are wanted: what nobody wants need not be read.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use naming::{FaultCode, Id};

use crate::{Fault, Measured};

/// The metrics that are wanted; all of them until it is narrowed. Clones are the same set.
#[derive(Clone, Debug)]
pub struct Wanted(Arc<Choice>);

#[derive(Debug)]
struct Choice {
    /// Of each metric.
    is: Vec<AtomicBool>,
    /// Whether each of them is, which is so on most nodes.
    is_all: AtomicBool,
}

impl Default for Wanted {
    fn default() -> Self {
        let is = Id::all().map(|_| AtomicBool::new(true)).collect();
        Self(Arc::new(Choice { is, is_all: AtomicBool::new(true) }))
    }
}

impl Wanted {
    /// Narrows or widens it to the metrics for which `wanted` holds.
    pub fn set(&self, wanted: impl Fn(Id) -> bool) {
        let mut is_all = true;
        for (id, is) in Id::all().zip(&self.0.is) {
            let wanted = wanted(id);
            is.store(wanted, Ordering::Relaxed);
            is_all &= wanted;
        }
        self.0.is_all.store(is_all, Ordering::Relaxed);
    }

    /// Whether all of them are wanted.
    pub fn is_all(&self) -> bool {
        self.0.is_all.load(Ordering::Relaxed)
    }

    /// Another set: those of `ids` that are wanted now.
    #[must_use]
    pub fn only(&self, ids: &[Id]) -> Self {
        let only = Self::default();
        only.set(|id| ids.contains(&id) && self.has(id));
        only
    }

    /// Whether the metric is wanted, or what the exporter integrates from it.
    pub fn has(&self, id: Id) -> bool {
        let is = |id: Id| self.0.is[usize::from(id.index())].load(Ordering::Relaxed);
        is(id) || id.metric().integral.is_some_and(is)
    }

    /// Whether any of them is wanted.
    pub fn any(&self, ids: &[Id]) -> bool {
        ids.iter().any(|id| self.has(*id))
    }

    /// Makes a call that reads nothing but these, unless nobody wants them.
    pub fn ask<T>(&self, ids: &[Id], call: &'static str, ask: impl FnOnce() -> Measured<T>) -> Measured<T> {
        // Nobody sees the fault: what is not wanted is not reported as absent.
        if self.any(ids) { ask() } else { Err(Fault::new(call, FaultCode::FirstReading)) }
    }
}

#[cfg(test)]
mod tests {
    use naming::catalogue as m;

    use super::Wanted;

    #[test]
    fn a_ratio_is_wanted_for_its_integral_too() {
        let wanted = Wanted::default();
        assert!(wanted.has(m::POWER.id));
        let sum = m::ENGINE_ACTIVE.id.metric().integral.expect("integrated");
        assert!(wanted.is_all());
        wanted.set(|id| id == sum);
        assert!(!wanted.is_all());
        assert!(wanted.clone().has(m::ENGINE_ACTIVE.id) && !wanted.has(m::POWER.id));
        assert!(wanted.any(&[m::POWER.id, m::ENGINE_ACTIVE.id]) && !wanted.any(&[m::POWER.id]));
    }
}
