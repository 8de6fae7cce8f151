//! One Gaudi, round after round: what has to be remembered between two rounds, and the order of a round.

use std::{sync::Arc, time::Instant};

use kernel::pci::Link;
use reading::{Absence, Batch, Fault, FaultCode, Identity, Labels, Lost, Sampler};

use crate::{
    driver::{Kernel, Node},
    events::Log,
    identity::Facts,
    map,
    raw::{self, Events, Got, Hpu, Raw},
    session::Place,
    slow::SlowLane,
};

/// A card as it was found.
#[derive(Clone)]
pub struct Card {
    /// What tells it from others across enumerations, with and without a library: its PCI address.
    pub key: String,
    /// Labels of its series.
    pub identity: Arc<Identity>,
    info: Labels,
    /// Where the driver lists it.
    pub node: Option<Node>,
}

impl Card {
    /// With what was found out about it.
    pub fn new(address: String, facts: &Facts, node: Option<Node>) -> Self {
        Self { key: address, identity: facts.identity(), info: facts.info(), node }
    }
}

/// A card and what its last rounds left behind.
pub struct HpuSampler {
    card: Card,
    kernel: Option<Kernel>,
    hlml: Option<Hlml>,
}

/// The side of the library.
struct Hlml {
    hpu: Hpu,
    /// What the handle must still answer.
    mark: String,
    events: Got<Events>,
    log: Log,
    slow: Arc<SlowLane>,
    /// Temperatures of die, board and memory that only the library has.
    wanted: [bool; 3],
}

impl HpuSampler {
    /// Prepares what is read every round, and reads what is slow for the first time.
    pub fn open(card: Card, hlml: Option<(Hpu, String)>, place: &Place) -> Self {
        let kernel = card.node.as_ref().map(|node| Kernel::open(node, &place.sensors));
        let wanted = kernel.as_ref().map_or([true; 3], |kernel| kernel.sensors.have().map(|has| !has));
        let hlml = hlml.map(|(hpu, mark)| {
            let slow = place.slow.of(&card.key);
            slow.read(&hpu, wanted);
            Hlml { events: Events::listen(&hpu), log: place.log.clone(), slow, hpu, mark, wanted }
        });
        Self { card, kernel, hlml }
    }

    /// Answers whether the card works, and the handle still is the silicon that the labels name.
    fn check(&self) -> Result<(), Lost> {
        if let Some(kernel) = &self.kernel {
            kernel.check_status().map_err(Lost::Device)?;
        }
        let Some(hlml) = &self.hlml else { return Ok(()) };
        match hlml.hpu.mark() {
            Ok(mark) if mark == hlml.mark => Ok(()),
            Ok(_) => Err(device_lost("hlml_device_get_uuid", FaultCode::IdentityChanged)),
            Err(fault) if raw::means_session_lost(&fault) => Err(Lost::Session(fault)),
            Err(fault) => Err(Lost::Device(fault)),
        }
    }

    /// Resets so far. The one before a round must be the one after it, or its values are of two lives.
    fn resets(&self) -> Option<[Result<u64, Fault>; 2]> {
        self.kernel.as_ref().map(Kernel::resets)
    }

    fn link(&self) -> Got<Link> {
        let no_node = Fault::returned(Absence::Unsupported, "class/accel", "ENOENT");
        let link = self.kernel.as_ref().map_or(Err(no_node), |kernel| kernel.function().link());
        // Where the driver's files cannot be seen, the library says it in words.
        link.or_else(|fault| {
            let (speed, width) = self.hlml.as_ref().ok_or(fault)?.hpu.pci_link()?;
            Link::parse(&speed, &width).ok_or(Fault::new("hlml_device_get_pci_info", FaultCode::Garbage))
        })
    }
}

const fn device_lost(call: &'static str, code: FaultCode) -> Lost {
    Lost::Device(Fault::new(call, code))
}

impl Sampler for HpuSampler {
    fn sample(&mut self, batch: &mut Batch) -> Result<(), Lost> {
        let no_library = Fault::new("libhlml", FaultCode::LibraryMissing);
        self.check()?;
        let resets = self.resets();
        batch.begin(&self.card.identity);
        let raw = self.hlml.as_ref().map_or_else(|| Raw::absent(no_library), |hlml| raw::read(&hlml.hpu));
        if let Some(lost) = lost(&raw) {
            return Err(lost);
        }
        let heard = self.hlml.as_ref().map_or(Err(no_library), |hlml| {
            let masks = hlml.events.as_ref().map_err(|fault| *fault)?.look()?;
            hlml.log.record(&self.card.key, &masks);
            Ok(hlml.log.heard(&self.card.key))
        });
        let slow = self.hlml.as_ref().map_or(Err(no_library), |hlml| {
            hlml.slow.refresh(&hlml.hpu, hlml.wanted);
            hlml.slow.newest(Instant::now())
        });
        map::device(
            &map::Round {
                raw: &raw,
                kernel: self.kernel.as_ref(),
                link: self.link(),
                resets,
                slow,
                heard,
                info: &self.card.info,
            },
            batch,
        );
        self.check()?;
        if self.resets() != resets {
            return Err(device_lost("hard_reset_cnt", FaultCode::ResetWhileRead));
        }
        Ok(())
    }
}

/// Whether a call that every board answers says that board or driver is gone; the UUID may be answered from
/// HLML's own memory.
fn lost(raw: &Raw) -> Option<Lost> {
    raw.vital_faults().find_map(|fault| {
        if raw::means_session_lost(&fault) {
            Some(Lost::Session(fault))
        } else {
            raw::means_device_lost(&fault).then_some(Lost::Device(fault))
        }
    })
}
