//! One Gaudi, round after round: what has to be remembered between two rounds, and the order of a round.

use std::{sync::Arc, time::Instant};

use kernel::pci::Link;
use reading::{Batch, Ceiling, Counter, Fault, FaultCode, Labels, Lost, Measured, Sampler};
use source::Known;

use crate::{
    announced::Announced,
    driver::{self, DriverFiles, Node},
    map,
    raw::{self, Hpu, LOSSES, Raw},
    session::SourceState,
    slow::SlowReader,
};

/// What is kept of a card beside its identity.
#[derive(Clone)]
pub struct Card {
    /// Labels of the info metric.
    pub info: Labels,
    /// Where the driver lists it.
    pub node: Option<Node>,
    /// What the library announces of it.
    pub announced: Arc<Announced>,
}

/// A card and what is kept from one round to the next.
pub struct HpuSampler {
    card: Known<Card>,
    files: Option<DriverFiles>,
    hlml: Option<HlmlDevice>,
    energy: Counter,
}

/// The card as the library has it.
struct HlmlDevice {
    hpu: Hpu,
    slow: Arc<SlowReader>,
    /// Temperatures of die, board and memory that only the library has.
    wanted: [bool; 3],
}

impl HpuSampler {
    /// Prepares what is read every round, and reads what is slow for the first time.
    pub fn open(card: Known<Card>, hpu: Option<Hpu>, state: &SourceState) -> Self {
        let files = card.facts.node.as_ref().map(|node| DriverFiles::open(node, &state.sensors));
        let wanted = files.as_ref().map_or([true; 3], |files| files.sensors.have().map(|has| !has));
        let hlml = hpu.map(|hpu| {
            let slow = state.slow.of(&card.key);
            slow.read(&hpu, wanted);
            card.facts.announced.register(&hpu);
            HlmlDevice { hpu, slow, wanted }
        });
        Self { card, files, hlml, energy: Counter::of_device() }
    }

    /// Checks that the card works, and that the handle still is the silicon that the labels name.
    fn check(&self) -> Result<(), Lost> {
        if let Some(files) = &self.files {
            files.check_status().map_err(Lost::Device)?;
        }
        let Some(hlml) = &self.hlml else { return Ok(()) };
        match hlml.hpu.mark() {
            Ok(mark) if mark == self.card.mark => Ok(()),
            Ok(_) => Err(device_lost("hlml_device_get_uuid", FaultCode::IdentityChanged)),
            Err(fault) => Err(LOSSES.of_list(fault)),
        }
    }

    /// Resets so far. The count before a round must be that after it: else some values are from before the
    /// reset.
    fn resets(&self) -> Option<[Measured<u64>; 2]> {
        self.files.as_ref().map(DriverFiles::resets)
    }

    fn link(&self) -> Measured<Link> {
        let link = self.files.as_ref().map_or(Err(driver::NO_NODE), |files| files.function().link());
        // Without the driver's files the library has it as text.
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
        self.check()?;
        let resets = self.resets();
        batch.begin(&self.card.identity);
        let missing = Fault::new("libhlml", FaultCode::LibraryMissing);
        let events = self.hlml.as_ref().ok_or(missing).and_then(|_| self.card.facts.announced.history());
        let hlml = self.hlml.as_ref().ok_or(missing);
        let mut raw = hlml.map_or_else(Raw::absent, |hlml| raw::read(&hlml.hpu));
        let lost = match (hlml, &self.files) {
            (Err(_), Some(files)) => LOSSES.of_mandatory(&files.mandatory()),
            _ => LOSSES.of_mandatory(&raw.mandatory()),
        };
        if let Some(lost) = lost {
            return Err(lost);
        }
        let [_, default, _, highest] = raw.limits_mw;
        let watts = highest.or(default).map(|milliwatts| f64::from(milliwatts) / 1e3);
        raw.energy_mj = self.energy.total(
            "hlml_device_get_total_energy_consumption",
            raw.energy_read_at,
            raw.energy_mj,
            Ceiling::of_energy(watts).times(1e3),
        );
        let sample = map::DeviceSample {
            raw: &raw,
            files: self.files.as_ref(),
            link: self.link(),
            resets,
            events,
            slow: hlml.and_then(|hlml| {
                hlml.slow.refresh(&hlml.hpu, hlml.wanted);
                hlml.slow.newest(Instant::now())
            }),
            info: &self.card.facts.info,
        };
        map::device(&sample, batch);
        self.check()?;
        if self.resets() != resets {
            return Err(device_lost("hard_reset_cnt", FaultCode::ResetWhileRead));
        }
        Ok(())
    }
}
