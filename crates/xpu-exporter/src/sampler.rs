//! One GPU, round after round: whether it may be read, which backends are asked, and the order of a round.

use std::{sync::Arc, time::Instant};

use naming::{FaultCode, Flag, catalogue as m};
use reading::{Batch, Fault, Labels, Lost, Sampler};

use crate::{
    choose::{Chooser, add},
    drm::{Awake, Card, Rapl},
    identity::Facts,
    level_zero::{self, Sysman},
    map::{self, Names},
    rest::Rest,
    session::Shared,
};

/// A GPU and what its last rounds left behind.
pub struct GpuSampler {
    shared: Arc<Shared>,
    /// As the kernel sees it; `None` when only Level Zero lists it.
    card: Option<Card>,
    facts: Facts,
    names: Names,
    info: (String, Labels),
    awake: Option<Awake>,
    rapl: Option<Rapl>,
    sysman: Option<Sysman>,
    /// Whether its clocks stood when Level Zero was asked last.
    stood: bool,
    rest: Rest,
    chooser: Chooser,
}

impl GpuSampler {
    /// Prepares the labels; the device is not touched before it is known to be awake.
    pub fn new(shared: Arc<Shared>, card: Option<Card>, facts: Facts) -> Self {
        let names = Names { card: facts.identity(None), tiles: Vec::new() };
        Self {
            shared,
            card,
            info: (String::new(), facts.info("")),
            facts,
            names,
            awake: None,
            rapl: None,
            sysman: None,
            stood: false,
            rest: Rest::default(),
            chooser: Chooser::default(),
        }
    }

    /// What can be told without waking the card.
    fn about(&self, asleep: Option<bool>, batch: &mut Batch) {
        batch.begin(&self.names.card);
        batch.put(m::DEVICE_INFO, self.info.1.clone(), Ok(Flag(true)));
        if let Some(asleep) = asleep {
            batch.put(m::DEVICE_ASLEEP, Labels::NONE, Ok(Flag(asleep)));
        }
    }

    /// Gives each tile its labels, once it is known how many there are. A card with one tile is its tile.
    fn name_tiles(&mut self, tiles: u32) {
        if self.names.tiles.is_empty() && tiles > 1 {
            self.names.tiles = (0..tiles).map(|tile| self.facts.identity(Some(tile))).collect();
        }
    }

    /// Reads the kernel's files; answers whether the card did nothing since the last round.
    fn read_kernel(&mut self, card: &Card) -> (Batch, bool) {
        let Shared { roots, open, hold_awake, .. } = &*self.shared;
        let hold_awake = *hold_awake;
        let awake = self.awake.get_or_insert_with(|| Awake::open(card, roots, open, hold_awake));
        if self.rapl.is_none() {
            self.rapl = Rapl::of(card, roots);
        }
        let round = awake.read(self.rapl.as_mut());
        self.name_tiles(round.gts.iter().map(|gt| gt.tile + 1).max().unwrap_or(0));
        let mut batch = Batch::default();
        map::drm::put(&self.names, &round, &mut batch);
        (batch, round.is_idle())
    }

    /// Reads through Level Zero; answers whether the card's clocks stand.
    fn read_level_zero(&mut self) -> Result<(Batch, bool), Lost> {
        let mut batch = Batch::default();
        if self.sysman.is_none() {
            let gpu = self.shared.gpu(&self.facts.address);
            self.name_tiles(gpu.as_ref().map_or(0, |gpu| gpu.tiles));
            self.sysman = gpu.map(|gpu| Sysman::open(&gpu, self.shared.hold_awake));
        }
        let Some(sysman) = &mut self.sysman else {
            let integrated = self.card.as_ref().is_some_and(Card::is_integrated);
            map::level_zero::put_unopened(&self.names, integrated, self.shared.why_closed, &mut batch);
            return Ok((batch, false));
        };
        match sysman.read() {
            Ok(round) => {
                map::level_zero::put(&self.names, &round, &mut batch);
                Ok((batch, round.is_idle()))
            }
            Err(fault) if level_zero::means_session_lost(&fault) => Err(Lost::Session(fault)),
            Err(fault) => Err(Lost::Device(fault)),
        }
    }

    /// Says in the info metric who tells what, when that has changed.
    fn remember_sources(&mut self) {
        let mut facts = self.facts.clone();
        // Level Zero knows what the kernel does not.
        if let Some(gpu) = self.shared.gpu(&facts.address) {
            (facts.model, facts.serial, facts.board) = (gpu.name, gpu.serial, gpu.board);
        }
        let sources = self.chooser.sources();
        if facts != self.facts || sources != self.info.0 {
            self.info = (sources.clone(), facts.info(&sources));
            self.facts = facts;
        }
    }
}

impl Sampler for GpuSampler {
    fn sample(&mut self, batch: &mut Batch) -> Result<(), Lost> {
        let card = self.card.clone();
        if let Some(card) = &card {
            if card.is_asleep().map_err(Lost::Device)? {
                self.rest.slept();
                // A sleeping GT counts no idle time: rates begin anew when it is awake.
                self.awake = None;
                if let Some(rapl) = &mut self.rapl {
                    rapl.slept();
                }
                self.about(Some(true), batch);
                return Ok(());
            }
            if !self.rest.may_read(Instant::now()) {
                self.about(Some(false), batch);
                let resting = Fault::new("power/runtime_status", FaultCode::LeftAlone);
                batch.put(m::UTILIZATION, Labels::NONE, Err(resting));
                return Ok(());
            }
        }
        let asked = card.as_ref().filter(|_| self.shared.choice.kernel());
        let (kernel, did_nothing) = asked.map(|card| self.read_kernel(card)).unzip();
        let (level_zero, stands) = self.read_level_zero()?;
        // A clock is read at an instant: once is chance.
        let stood = std::mem::replace(&mut self.stood, stands);
        if let Some(card) = &card {
            let delay = card.autosuspend().filter(|_| !self.shared.hold_awake);
            self.rest.read(Instant::now(), delay, did_nothing.unwrap_or(stands && stood));
        }
        let mut read = Batch::default();
        self.chooser.merge(kernel.unwrap_or_default(), level_zero, &mut read);
        self.remember_sources();
        self.about(card.is_some().then_some(false), batch);
        batch.absences.append(&mut read.absences);
        for group in read.groups {
            add(batch, group);
        }
        Ok(())
    }
}
