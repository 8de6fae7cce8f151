//! One NPU, round after round.

use std::{sync::Arc, time::Instant};

use reading::{Batch, Fault, FaultCode, Identity, Labels, Lost, Sampler};

use crate::{
    map,
    rates::{Busy, Totals},
    raw::Files,
};

/// An NPU and what its last rounds left behind.
pub struct NpuSampler {
    files: Files,
    identity: Arc<Identity>,
    info: Labels,
    busy: Busy,
    totals: Totals,
}

impl NpuSampler {
    /// A sampler that has seen nothing yet.
    pub fn new(files: Files, identity: Arc<Identity>, info: Labels) -> Self {
        Self { files, identity, info, busy: Busy::default(), totals: Totals::default() }
    }

    /// One round at `now`.
    pub fn round(&mut self, now: Instant, batch: &mut Batch) -> Result<(), Lost> {
        self.check_bound()?;
        batch.begin(&self.identity);
        let raw = self.files.read(now);
        let busy = self.busy.ratio(now, || self.files.busy_us());
        let sums = self.totals.add(now, raw.telemetry);
        map::device(&map::Round { info: &self.info, raw: &raw, busy, sums }, batch);
        // A driver that went meanwhile took its files with it, which is no property of the NPU.
        self.check_bound()
    }

    fn check_bound(&self) -> Result<(), Lost> {
        if self.files.is_bound() {
            return Ok(());
        }
        Err(Lost::Device(Fault::new("driver", FaultCode::Unbound)))
    }
}

impl Sampler for NpuSampler {
    fn sample(&mut self, batch: &mut Batch) -> Result<(), Lost> {
        self.round(Instant::now(), batch)
    }
}
