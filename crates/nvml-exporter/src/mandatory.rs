//! What is mandatory of a board, read beside a round that takes long.

use std::sync::Arc;

use reading::{Batch, Fault, FaultCode, Identity, Labels, Lost, Sampler};

use crate::{
    map,
    raw::{self, Gpu, LOSSES},
};

/// A board by its mandatory calls.
pub struct Mandatory {
    /// Its handle.
    pub gpu: Gpu,
    /// What the handle must still be.
    pub mark: String,
    /// Labels of its series.
    pub identity: Arc<Identity>,
    /// Labels of the info metric.
    pub info: Labels,
}

impl Mandatory {
    /// Checks that the handle still is the silicon that the labels name.
    ///
    /// # Errors
    /// When it is not, or nobody can know.
    pub fn check(gpu: &Gpu, mark: &str) -> Result<(), Lost> {
        match gpu.mark() {
            Ok(read) if read == mark => Ok(()),
            Ok(_) => Err(Lost::Device(Fault::new("nvmlDeviceGetUUID", FaultCode::IdentityChanged))),
            Err(fault) => Err(LOSSES.of_list(fault)),
        }
    }
}

impl Sampler for Mandatory {
    fn sample(&mut self, batch: &mut Batch) -> Result<(), Lost> {
        Self::check(&self.gpu, &self.mark)?;
        let read = raw::mandatory(&self.gpu);
        if let Some(lost) = LOSSES.of_mandatory(&read.faults()) {
            return Err(lost);
        }
        batch.begin(&self.identity);
        map::mandatory(&read, &self.info, batch);
        Ok(())
    }
}
