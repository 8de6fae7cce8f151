//! From the sources' units and names to base units and the catalogue: one line per quantity, nothing else.
//!
//! Past this room no value is in megahertz, microwatts, millidegrees or microseconds.

pub mod drm;
pub mod level_zero;

use std::sync::Arc;

use naming::{Celsius, FaultCode, Hertz, Label};
use reading::{Fault, Identity, Labels};

use crate::Got;

/// The labels of a card and of its tiles.
pub struct Names {
    /// The card's.
    pub card: Arc<Identity>,
    /// Each tile's, on cards that have several.
    pub tiles: Vec<Arc<Identity>>,
}

impl Names {
    /// Whose a value is that was read on `tile`: the card's own when it has only one, or there is no such tile.
    fn of(&self, tile: Option<u32>) -> &Arc<Identity> {
        let place = tile.and_then(|tile| usize::try_from(tile).ok());
        place.and_then(|place| self.tiles.get(place)).unwrap_or(&self.card)
    }
}

/// A temperature that a sensor of a running device can show.
fn plausible(call: &'static str, celsius: f64) -> Got<Celsius> {
    match celsius {
        c if c > 200.0 => Err(Fault::new(call, FaultCode::Over200Celsius)),
        c if c > -60.0 => Ok(Celsius(c)),
        _ => Err(Fault::new(call, FaultCode::Under60BelowZero)),
    }
}

/// A clock that silicon can have.
fn megahertz(call: &'static str, megahertz: f64) -> Got<Hertz> {
    match megahertz {
        mhz if (0.0..=20_000.0).contains(&mhz) => Ok(Hertz(mhz * 1e6)),
        mhz if mhz < 0.0 => Err(Fault::new(call, FaultCode::Unknown)),
        _ => Err(Fault::new(call, FaultCode::Over20Gigahertz)),
    }
}

/// The highest clock of a domain, which is not 0.
fn highest(call: &'static str, mhz: f64) -> Got<Hertz> {
    if mhz == 0.0 { Err(Fault::new(call, FaultCode::Unknown)) } else { megahertz(call, mhz) }
}

fn by(label: Label, value: &'static str) -> Labels {
    Labels::one(label, value)
}

/// The labels of a card's PCIe link, which is its only one.
fn pcie_link() -> Labels {
    Labels::one(Label::Link, 0).with(Label::Kind, "pcie")
}
