//! What is mandatory of a card, read beside a round that takes long.

use std::sync::Arc;

use reading::{Batch, Fault, FaultCode, Identity, Labels, Lost, Sampler};

use crate::{
    driver::DriverFiles,
    map,
    raw::{self, Hpu, LOSSES},
};

/// A card by its mandatory calls.
pub struct Mandatory {
    /// The card as the library has it.
    pub hpu: Hpu,
    /// The driver's files, where it lists the card.
    pub files: Option<DriverFiles>,
    /// What the handle must still be.
    pub mark: String,
    /// Labels of its series.
    pub identity: Arc<Identity>,
    /// Labels of the info metric.
    pub info: Labels,
}

impl Mandatory {
    /// Checks that the card works, and that the handle still is the silicon that the labels name.
    ///
    /// # Errors
    /// When it does not or is not.
    pub fn check(hpu: Option<&Hpu>, files: Option<&DriverFiles>, mark: &str) -> Result<(), Lost> {
        if let Some(files) = files {
            files.check_status().map_err(Lost::Device)?;
        }
        match hpu.map(Hpu::mark) {
            Some(Ok(read)) if read != mark => {
                Err(Lost::Device(Fault::new("hlml_device_get_uuid", FaultCode::IdentityChanged)))
            }
            Some(Err(fault)) => Err(LOSSES.of_list(fault)),
            _ => Ok(()),
        }
    }
}

impl Sampler for Mandatory {
    fn sample(&mut self, batch: &mut Batch) -> Result<(), Lost> {
        Self::check(Some(&self.hpu), self.files.as_ref(), &self.mark)?;
        let raw = raw::read_mandatory(&self.hpu);
        if let Some(lost) = LOSSES.of_mandatory(&raw.mandatory()) {
            return Err(lost);
        }
        batch.begin(&self.identity);
        map::mandatory(&raw, &self.info, batch);
        Ok(())
    }
}
