//! The sampler of one NPU.

use std::{sync::Arc, time::Instant};

use reading::{Batch, Fault, FaultCode, Identity, Labels, Lost, Sampler};
use source::Info;

use crate::{
    map,
    rates::{BusyShare, RegisterSums},
    raw::Files,
};

/// An NPU and the state that rates need.
pub struct NpuSampler {
    files: Files,
    identity: Arc<Identity>,
    info: Info,
    busy: BusyShare,
    sums: RegisterSums,
}

impl NpuSampler {
    /// A sampler that has read nothing yet.
    pub fn new(files: Files, identity: Arc<Identity>, info: Info) -> Self {
        Self { files, identity, info, busy: BusyShare::default(), sums: RegisterSums::default() }
    }

    /// Reads the NPU at `now`.
    ///
    /// # Errors
    /// `Failed` `unbound` when it is no longer bound to its driver.
    pub fn round(&mut self, now: Instant, batch: &mut Batch) -> Result<(), Lost> {
        check_bound(&self.files)?;
        batch.begin(&self.identity);
        self.info.renew(now);
        let raw = self.files.read(now);
        let busy = self.busy.ratio(now, || self.files.busy_us());
        let sums = self.sums.add(now, raw.telemetry);
        map::device(&map::Sample { info: self.info.labels(), raw: &raw, busy, sums }, batch);
        // If the driver was unbound meanwhile, its files are missing for that reason only.
        check_bound(&self.files)
    }
}

impl Sampler for NpuSampler {
    fn sample(&mut self, batch: &mut Batch) -> Result<(), Lost> {
        self.round(Instant::now(), batch)
    }

    fn mandatory(&self) -> Option<Box<dyn Sampler>> {
        let (files, identity) = (self.files.clone(), Arc::clone(&self.identity));
        Some(Box::new(Mandatory { files, identity, info: self.info.labels().clone() }))
    }
}

/// What is mandatory of an NPU, read beside a round that takes long: whether it sleeps, which no firmware delays.
struct Mandatory {
    files: Files,
    identity: Arc<Identity>,
    info: Labels,
}

impl Sampler for Mandatory {
    fn sample(&mut self, batch: &mut Batch) -> Result<(), Lost> {
        check_bound(&self.files)?;
        batch.begin(&self.identity);
        map::mandatory(&self.info, self.files.is_asleep(), batch);
        Ok(())
    }
}

fn check_bound(files: &Files) -> Result<(), Lost> {
    if files.is_bound() {
        return Ok(());
    }
    Err(Lost::Device(Fault::new("driver", FaultCode::Unbound)))
}
