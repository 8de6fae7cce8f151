//! What is mandatory of a card, read beside a round that takes long: whether it sleeps, and its clocks.

use naming::{FaultCode, Flag, catalogue as m};
use reading::{Batch, Fault, Labels, Lost, Sampler};

use crate::{
    drm::{Card, Clocks},
    identity::CardInfo,
    map,
};

/// A card by the kernel's files that no firmware delays.
pub struct Mandatory {
    /// The kernel's view of it.
    pub card: Card,
    /// Its names.
    pub info: CardInfo,
    /// Labels of the info metric.
    pub labels: Labels,
}

impl Sampler for Mandatory {
    fn sample(&mut self, batch: &mut Batch) -> Result<(), Lost> {
        let asleep = self.card.function.is_asleep().map_err(Lost::Device)?;
        batch.begin(&self.info.identity(None));
        batch.put(m::DEVICE_INFO, self.labels.clone(), Ok(Flag(true)));
        batch.put(m::DEVICE_ASLEEP, Labels::NONE, Ok(Flag(asleep)));
        if asleep {
            return Ok(());
        }
        let clocks = Clocks::of(&self.card).read();
        let has_tiles = clocks.iter().any(|clock| clock.tile > 0);
        if let Some(fault) = clocks.iter().map(|clock| clock.megahertz.err()).reduce(Option::and).flatten() {
            return Err(Lost::Device(fault));
        }
        for clock in clocks {
            if has_tiles {
                batch.begin(&self.info.identity(Some(clock.tile)));
            }
            map::drm::clock(clock.domain, clock.megahertz, batch);
        }
        // The driver has let go of the card, and its other files are missing for that reason only.
        if !self.card.function.folder.exists() {
            return Err(Lost::Device(Fault::new("driver", FaultCode::Unbound)));
        }
        Ok(())
    }
}
