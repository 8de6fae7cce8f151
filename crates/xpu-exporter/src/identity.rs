//! What identifies a card and its tiles: labels of their series and of the info metric.
//!
//! A card is called by its PCI address, which is the same after each boot; the kernel's numbers of cards and
//! nodes are not, so they are labels of the info metric. There is no `uuid` label: the kernel has none, and a
//! label that is there only for those who may open Level Zero would split one series in two.

use std::sync::Arc;

use naming::{Family, Label};
use reading::{Alias, Identity, Labels};

use crate::level_zero::{Facts, partition};

/// What does not change while a card is plugged in. Empty text is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardInfo {
    /// `0000:03:00.0`.
    pub address: String,
    /// `card1`.
    pub card: String,
    /// `renderD128`.
    pub render_node: String,
    /// `0000-03-00-0-0x56c0`.
    pub resource_name: String,
    /// Marketing name.
    pub model: String,
    /// Serial number.
    pub serial: String,
    /// Board part number.
    pub board: String,
    /// Kernel driver and the kernel's release.
    pub driver: String,
}

impl CardInfo {
    /// Labels of the series of the card, or of one of its tiles.
    pub fn identity(&self, tile: Option<u32>) -> Arc<Identity> {
        let mut vendor = vec![("device", self.address.clone()), ("pci_bus_id", self.address.clone())];
        if let Some(tile) = tile {
            vendor.push(("tile", tile.to_string()));
        }
        // Whoever holds a card holds all of its tiles.
        let aliases = if tile.is_none() { self.aliases() } else { Vec::new() };
        let partition = tile.map(partition);
        Arc::new(Identity { partition, vendor, aliases, ..Identity::new(Family::Xpu, &*self.address) })
    }

    /// What device plugin and DRA driver call it, and its nodes.
    fn aliases(&self) -> Vec<Alias> {
        let known = |text: &&String| !text.is_empty();
        let ids = [&self.card, &self.resource_name].into_iter().filter(known).cloned();
        let nodes = [&self.card, &self.render_node].into_iter().filter(known);
        ids.map(Alias::Id).chain(nodes.map(|node| Alias::Node(format!("/dev/dri/{node}")))).collect()
    }

    /// Takes what was not known when the card was first listed.
    pub fn fill(&mut self, newer: &Self) {
        let Self { address: _, card, render_node, resource_name, model, serial, board, driver } = newer;
        for (known, newer) in [
            (&mut self.card, card),
            (&mut self.render_node, render_node),
            (&mut self.resource_name, resource_name),
            (&mut self.model, model),
            (&mut self.serial, serial),
            (&mut self.board, board),
            (&mut self.driver, driver),
        ] {
            if known.is_empty() {
                known.clone_from(newer);
            }
        }
    }

    /// Adds what Level Zero reports and the kernel does not.
    pub fn add(&mut self, facts: &Facts) {
        self.model.clone_from(&facts.model);
        self.serial.clone_from(&facts.serial);
        self.board.clone_from(&facts.board);
    }

    /// Labels of `accel_device_info`; `sources` names the backends and what they fill.
    pub fn labels(&self, sources: &str) -> Labels {
        let facts = [
            (Label::Vendor, "Intel"),
            (Label::Model, &self.model),
            (Label::PciBusId, &self.address),
            (Label::Card, &self.card),
            (Label::RenderNode, &self.render_node),
            (Label::Serial, &self.serial),
            (Label::BoardPartNumber, &self.board),
            (Label::DriverVersion, &self.driver),
            (Label::SignalSources, sources),
        ];
        let known = facts.into_iter().filter(|(_, value)| !value.is_empty());
        Labels::Shared(known.map(|(label, value)| (label, value.to_owned())).collect())
    }
}
