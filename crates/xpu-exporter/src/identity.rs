//! Labels: who a card or a tile is.
//!
//! A card is called by its number in the drm class. There is no `uuid` label: the kernel knows none, and labels
//! that depend on who may open Level Zero would make two series of one.

use std::sync::Arc;

use naming::{Family, Label};
use reading::{Identity, Labels};

/// PCI device ids and what Intel sells them as, for nodes without Level Zero, which knows the name. Ids and cards are
/// those of compute-runtime's `devices_base.inl`.
const MODELS: &[(u64, &str)] = &[
    (0xe209, "Intel Arc B580"),
    (0xe20b, "Intel Arc B580"),
    (0xe20c, "Intel Arc B570"),
    (0xe211, "Intel Arc Pro B60"),
    (0xe212, "Intel Arc Pro B50"),
    (0xe222, "Intel Arc Pro B65"),
    (0xe223, "Intel Arc Pro B70"),
    (0x7d40, "Intel Graphics (Meteor Lake)"),
    (0x7d45, "Intel Graphics (Meteor Lake)"),
    (0x7d55, "Intel Graphics (Meteor Lake)"),
    (0x7dd5, "Intel Graphics (Meteor Lake)"),
    (0x7d41, "Intel Graphics (Arrow Lake)"),
    (0x7d51, "Intel Graphics (Arrow Lake)"),
    (0x7d67, "Intel Graphics (Arrow Lake)"),
    (0x7dd1, "Intel Graphics (Arrow Lake)"),
    (0x6420, "Intel Graphics (Lunar Lake)"),
    (0x64a0, "Intel Graphics (Lunar Lake)"),
    (0xb080, "Intel Graphics (Panther Lake)"),
    (0xb081, "Intel Graphics (Panther Lake)"),
    (0xb082, "Intel Graphics (Panther Lake)"),
    (0xb083, "Intel Graphics (Panther Lake)"),
    (0xb084, "Intel Graphics (Panther Lake)"),
    (0xb085, "Intel Graphics (Panther Lake)"),
    (0xb086, "Intel Graphics (Panther Lake)"),
    (0xb087, "Intel Graphics (Panther Lake)"),
    (0xb08f, "Intel Graphics (Panther Lake)"),
];

/// The name of a PCI device id; the id itself when it is not in the table.
pub fn model(device: u64) -> String {
    let known = MODELS.iter().find(|(id, _)| *id == device);
    known.map_or_else(|| format!("Intel 0x{device:04x}"), |(_, name)| (*name).to_owned())
}

/// What does not change while a card is plugged in. Empty text is a fact that nobody tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `card1`.
    pub device: String,
    /// Marketing name.
    pub model: String,
    /// `0000:03:00.0`.
    pub address: String,
    /// Serial number.
    pub serial: String,
    /// Board part number.
    pub board: String,
    /// Kernel driver and the kernel's release.
    pub driver: String,
}

impl Facts {
    /// Labels of the series of the card, or of one of its tiles.
    pub fn identity(&self, tile: Option<u32>) -> Arc<Identity> {
        let mut vendor = vec![("device", self.device.clone()), ("pci_bus_id", self.address.clone())];
        if let Some(tile) = tile {
            vendor.push(("tile", tile.to_string()));
        }
        let partition = tile.map(|tile| format!("tile{tile}"));
        Arc::new(Identity { partition, vendor, ..Identity::new(Family::Xpu, &*self.device) })
    }

    /// Labels of `accel_device_info`; `sources` says who tells what.
    pub fn info(&self, sources: &str) -> Labels {
        let facts = [
            (Label::Vendor, "Intel"),
            (Label::Model, &self.model),
            (Label::PciBusId, &self.address),
            (Label::Serial, &self.serial),
            (Label::BoardPartNumber, &self.board),
            (Label::DriverVersion, &self.driver),
            (Label::SignalSources, sources),
        ];
        let known = facts.into_iter().filter(|(_, value)| !value.is_empty());
        Labels::Shared(known.map(|(label, value)| (label, value.to_owned())).collect())
    }
}
