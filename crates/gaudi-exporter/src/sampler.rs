//! One Gaudi, round after round: what has to be remembered between two rounds, and the order of a round.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kernel::{Search, pci::Link};
use reading::{Batch, Ceiling, Counter, Fault, FaultCode, Labels, Lost, Measured, Sampler};
use source::{Known, Lane, LaneTimes};

use crate::{
    announced::Announced,
    driver::{self, DriverFiles, Node},
    identity::{Inventory, Numbers, is_complete},
    mandatory::Mandatory,
    map,
    raw::{self, Hpu, LOSSES, Raw, SlowRaw},
    session::SourceState,
};

/// Times of what takes long: PCIe traffic, which the firmware measures for as long as a round may take altogether,
/// and temperatures whose call leaks.
const SLOW: LaneTimes = LaneTimes {
    period: Duration::from_secs(10),
    budget: Duration::from_millis(100),
    age_max: Duration::from_secs(30),
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
    state: Arc<SourceState>,
    card: Known<Card>,
    /// Its PCI address, as sysfs writes it.
    address: String,
    search: Search,
    files: Option<DriverFiles>,
    hlml: Option<HlmlDevice>,
    energy: Counter,
}

/// The card as the library has it.
struct HlmlDevice {
    hpu: Hpu,
    slow: Lane<SlowRaw>,
}

/// Temperatures of die, board and memory that only the library has.
fn wanted(files: Option<&DriverFiles>) -> [bool; 3] {
    files.map_or([true; 3], |files| files.sensors.have().map(|has| !has))
}

fn slow(key: &str, hpu: &Hpu, files: Option<&DriverFiles>) -> Lane<SlowRaw> {
    let (own, wanted) = (hpu.clone(), wanted(files));
    Lane::new(key.to_owned(), "hlml_device_get_pcie_throughput", SLOW, move || raw::read_slow(&own, wanted))
}

impl HpuSampler {
    /// Prepares what is read every round.
    pub fn open(card: Known<Card>, address: String, hpu: Option<Hpu>, state: Arc<SourceState>) -> Self {
        let files = card.facts.node.as_ref().map(|node| DriverFiles::open(node, &state.sensors));
        let hlml = hpu.map(|hpu| {
            card.facts.announced.register(&hpu);
            HlmlDevice { slow: slow(&card.key, &hpu, files.as_ref()), hpu }
        });
        let search = Search::begin(Instant::now());
        Self { state, card, address, search, files, hlml, energy: Counter::of_device() }
    }

    /// Looks for what the driver or the library did not have yet when the card was opened.
    fn look_again(&mut self) {
        let SourceState { sysfs, sensors, .. } = &*self.state;
        let facts = &mut self.card.facts;
        let hpu = self.hlml.as_ref().map(|hlml| &hlml.hpu);
        if facts.node.is_none() {
            let mut nodes = driver::nodes(sysfs).into_iter();
            facts.node = nodes.find(|node| node.function.address == self.address);
        }
        if !is_complete(&facts.info) {
            let (numbers, node) = (Numbers::default(), facts.node.as_ref());
            let inventory = Inventory::read(numbers, &self.address, String::new(), hpu, node, sysfs);
            facts.info = facts.info.filled(&inventory.info());
        }
        let had = wanted(self.files.as_ref());
        match (&facts.node, &mut self.files) {
            (Some(node), Some(files)) => files.look_again(node, sensors),
            (Some(node), files @ None) => *files = Some(DriverFiles::open(node, sensors)),
            (None, _) => {}
        }
        if let Some(hlml) = self.hlml.as_mut().filter(|_| wanted(self.files.as_ref()) != had) {
            hlml.slow = slow(&self.card.key, &hlml.hpu, self.files.as_ref());
        }
    }

    fn check(&self) -> Result<(), Lost> {
        if let Some(node) = &self.card.facts.node {
            node.check().map_err(Lost::Device)?;
        }
        let hpu = self.hlml.as_ref().map(|hlml| &hlml.hpu);
        Mandatory::check(hpu, self.files.as_ref(), &self.card.mark)
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
        if self.search.is_due(Instant::now()) {
            self.look_again();
        }
        let resets = self.resets();
        batch.begin(&self.card.identity);
        let missing = Fault::new("libhlml", FaultCode::LibraryMissing);
        let events = self.hlml.as_ref().ok_or(missing).and_then(|_| self.card.facts.announced.history());
        let slow = self.hlml.as_mut().ok_or(missing).and_then(|hlml| hlml.slow.read());
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
            slow,
            info: &self.card.facts.info,
        };
        map::device(&sample, batch);
        self.check()?;
        if self.resets() != resets {
            return Err(device_lost("hard_reset_cnt", FaultCode::ResetWhileRead));
        }
        Ok(())
    }

    fn mandatory(&self) -> Option<Box<dyn Sampler>> {
        // Without the library all is read from files.
        let hlml = self.hlml.as_ref()?;
        Some(Box::new(Mandatory {
            hpu: hlml.hpu.clone(),
            files: self.files.clone(),
            mark: self.card.mark.clone(),
            identity: Arc::clone(&self.card.identity),
            info: self.card.facts.info.clone(),
        }))
    }
}
