//! From the backends' units and names to base units and the catalogue, one line per quantity.
//!
//! Above this module no value is in megahertz, microwatts, millidegrees or microseconds.

pub mod drm;
pub mod level_zero;

use std::sync::Arc;

use naming::{FaultCode, Hertz, Label};
use reading::{Fault, Identity, Labels, Measured};

/// The identities of a card and of its tiles.
pub struct Identities {
    /// The card's.
    pub card: Arc<Identity>,
    /// Each tile's, on cards that have several.
    pub tiles: Vec<Arc<Identity>>,
}

impl Identities {
    /// The identity for a value of `tile`: the card's when it has only one tile, or there is no such tile.
    fn of(&self, tile: Option<u32>) -> &Arc<Identity> {
        let index = tile.and_then(|tile| usize::try_from(tile).ok());
        index.and_then(|index| self.tiles.get(index)).unwrap_or(&self.card)
    }

    /// The identity for a value that has this `partition` label elsewhere.
    pub fn of_partition(&self, partition: Option<&str>) -> &Arc<Identity> {
        let is_it = |tile: &&Arc<Identity>| partition.is_some() && tile.partition.as_deref() == partition;
        self.tiles.iter().find(is_it).unwrap_or(&self.card)
    }
}

/// A clock in the range that a chip can have.
fn megahertz(call: &'static str, megahertz: f64) -> Measured<Hertz> {
    match megahertz {
        mhz if (0.0..=20_000.0).contains(&mhz) => Ok(Hertz(mhz * 1e6)),
        mhz if mhz < 0.0 => Err(Fault::new(call, FaultCode::Unknown)),
        _ => Err(Fault::new(call, FaultCode::Over20Gigahertz)),
    }
}

/// The highest clock of a domain; 0 is unknown.
fn highest(call: &'static str, mhz: f64) -> Measured<Hertz> {
    if mhz == 0.0 { Err(Fault::new(call, FaultCode::Unknown)) } else { megahertz(call, mhz) }
}

/// The labels of a card's PCIe link, which is its only one.
fn pcie_link() -> Labels {
    Labels::one(Label::Link, 0).with(Label::Kind, "pcie")
}
