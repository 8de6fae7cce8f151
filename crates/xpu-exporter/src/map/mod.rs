//! From the sources' units and names to base units and the catalogue: one line per quantity, nothing else.
//!
//! Past this room no value is in megahertz, microwatts, millidegrees or microseconds.

pub mod drm;
pub mod level_zero;

use naming::{Celsius, Hertz};
use reading::{Absence, Fault, Identity, Labels};
use std::sync::Arc;

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

fn no_data(call: &'static str, code: &'static str) -> Fault {
    Fault { absence: Absence::NoData, call, code }
}

/// A temperature that a sensor of a running device can show.
fn plausible(call: &'static str, celsius: f64) -> Got<Celsius> {
    match celsius {
        c if c > 200.0 => Err(no_data(call, "over_200_celsius")),
        c if c > -60.0 => Ok(Celsius(c)),
        _ => Err(no_data(call, "under_60_below_zero")),
    }
}

/// A clock that silicon can have.
fn megahertz(call: &'static str, megahertz: f64) -> Got<Hertz> {
    match megahertz {
        mhz if (0.0..=20_000.0).contains(&mhz) => Ok(Hertz(mhz * 1e6)),
        mhz if mhz < 0.0 => Err(no_data(call, "unknown")),
        _ => Err(no_data(call, "over_20_gigahertz")),
    }
}

/// The highest clock of a domain, which is not 0.
fn highest(call: &'static str, mhz: f64) -> Got<Hertz> {
    if mhz == 0.0 { Err(no_data(call, "unknown")) } else { megahertz(call, mhz) }
}

fn by(name: &'static str, value: &'static str) -> Labels {
    Labels::one(name, value)
}
