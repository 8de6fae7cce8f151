//! One GPU, round after round: whether it may be read, from which backends, and in which order.

use std::{sync::Arc, time::Instant};

use naming::{FaultCode, Flag, catalogue as m};
use reading::{Batch, Fault, Labels, Lost, Sampler};
use source::{IdleBackoff, lock};

use crate::{
    choose::{Chooser, add},
    drm::{Card, CardFiles, Rapl},
    identity::CardInfo,
    level_zero::{LATE, SURVIVABILITY, TakenGpu},
    mandatory::Mandatory,
    map::{self, Identities},
    session::Shared,
};

/// A GPU and what is kept of it from round to round.
pub struct GpuSampler {
    shared: Arc<Shared>,
    /// The kernel's view of it; `None` when only Level Zero lists it.
    card: Option<Card>,
    info: CardInfo,
    identities: Identities,
    /// Labels of the info metric, and the text about sources that is among them.
    info_labels: (String, Labels),
    /// Found when the card is awake for the first time, and again after each sleep.
    files: Option<CardFiles>,
    rapl: Option<Rapl>,
    level_zero: Option<TakenGpu>,
    /// Whether its clocks were 0 in the last round of Level Zero.
    clocks_were_stopped: bool,
    backoff: IdleBackoff,
    chooser: Chooser,
}

impl GpuSampler {
    /// Prepares the labels. The device is not touched before it is known to be awake.
    pub fn new(shared: Arc<Shared>, card: Option<Card>, info: CardInfo) -> Self {
        Self {
            shared,
            card,
            identities: Identities { card: info.identity(None), tiles: Vec::new() },
            info_labels: (String::new(), info.labels("")),
            info,
            files: None,
            rapl: None,
            level_zero: None,
            clocks_were_stopped: false,
            backoff: IdleBackoff::default(),
            chooser: Chooser::default(),
        }
    }

    /// Puts what is known without waking the card.
    fn put_info(&self, asleep: Option<bool>, batch: &mut Batch) {
        batch.begin(&self.identities.card);
        batch.put(m::DEVICE_INFO, self.info_labels.1.clone(), Ok(Flag(true)));
        if let Some(asleep) = asleep {
            batch.put(m::DEVICE_ASLEEP, Labels::NONE, Ok(Flag(asleep)));
        }
    }

    /// Gives each tile its identity, once their number is known. A card with one tile has no partitions.
    fn identify_tiles(&mut self, tiles: u32) {
        if self.identities.tiles.is_empty() && tiles > 1 {
            self.identities.tiles = (0..tiles).map(|tile| self.info.identity(Some(tile))).collect();
        }
    }

    /// Reads the kernel's files, and returns whether the card did nothing since the last round.
    fn read_kernel(&mut self, card: &Card) -> (Batch, bool) {
        let Shared { roots, open, hold_awake, .. } = &*self.shared;
        let hold_awake = *hold_awake;
        let files = self.files.get_or_insert_with(|| CardFiles::open(card, roots, open, hold_awake));
        files.look_again(roots, hold_awake);
        match &mut self.rapl {
            Some(rapl) => rapl.look_again(roots),
            None => self.rapl = Rapl::of(card, roots),
        }
        let sample = files.read(self.rapl.as_mut());
        self.identify_tiles(sample.gts.iter().map(|gt| gt.tile + 1).max().unwrap_or(0));
        let mut batch = Batch::default();
        map::drm::put(&self.identities, &sample, &mut batch);
        (batch, sample.is_idle())
    }

    /// Reads through Level Zero, and returns whether every clock is 0, as it is only in a GT's deepest sleep
    /// state.
    /// `has_kernel`: whether the kernel's files have been read too.
    fn read_level_zero(&mut self, has_kernel: bool) -> Result<(Batch, bool), Lost> {
        if self.level_zero.is_none() {
            let tiles = self.shared.gpus.facts(&self.info.address).map_or(0, |facts| facts.tiles);
            self.identify_tiles(tiles);
            match self.shared.gpus.take(&self.info.address) {
                Ok(taken) => self.level_zero = Some(taken),
                Err(why) => return Ok((self.without_level_zero(why), false)),
            }
        }
        let Some(gpu) = &mut self.level_zero else { return Ok((Batch::default(), false)) };
        let read = if has_kernel { gpu.sample_in_time() } else { gpu.sample() };
        let mut batch = match read {
            Ok(batch) => batch,
            // The kernel reads on, where it does.
            Err(Lost::Device(fault)) if has_kernel && fault.code == SURVIVABILITY => {
                let mut batch = Batch::default();
                map::level_zero::put_in_survivability_mode(&self.identities, fault, &mut batch);
                return Ok((batch, false));
            }
            Err(Lost::Device(why)) if has_kernel && LATE == Lost::Device(why) => {
                return Ok((self.without_level_zero(why), false));
            }
            Err(Lost::Session(why)) if has_kernel => {
                self.level_zero = None;
                return Ok((self.without_level_zero(why), false));
            }
            Err(lost) => return Err(lost),
        };
        for group in &mut batch.groups {
            let partition = group.identity.as_ref().and_then(|identity| identity.partition.as_deref());
            group.identity = Some(Arc::clone(self.identities.of_partition(partition)));
        }
        let mut clocks = batch.groups.iter().flat_map(|group| &group.readings);
        let mut clocks = clocks.by_ref().filter(|reading| reading.id == m::CLOCK.id).peekable();
        let is_stopped = clocks.peek().is_some()
            && clocks.all(|clock| clock.value.as_f64() == 0.0)
            && !batch.absences.iter().any(|absent| absent.id == m::CLOCK.id);
        Ok((batch, is_stopped))
    }

    fn without_level_zero(&self, why: Fault) -> Batch {
        let mut batch = Batch::default();
        let integrated = self.card.as_ref().is_some_and(|card| card.integrated);
        map::level_zero::put_unopened(&self.identities, integrated, why, &mut batch);
        batch
    }

    /// Takes what the session knows of the card by now: of one that its driver was just binding when it was listed,
    /// it did not know all.
    fn follow_list(&mut self) {
        let cards = lock(&self.shared.cards);
        let listed = cards.iter().find(|(card, _)| card.function.address == self.info.address);
        let Some((card, info)) = listed else { return };
        if self.card.as_ref().is_some_and(|known| known.name == card.name && known != card) {
            (self.card, self.files) = (Some(card.clone()), None);
        }
        let mut filled = self.info.clone();
        filled.fill(info);
        if filled != self.info {
            self.info_labels.1 = filled.labels(&self.info_labels.0);
            self.info = filled;
        }
    }

    /// Updates the labels of the info metric when their content has changed.
    fn update_info(&mut self) {
        let mut info = self.info.clone();
        if let Some(facts) = self.shared.gpus.facts(&info.address) {
            info.add(&facts);
        }
        let sources = self.chooser.sources();
        if info != self.info || sources != self.info_labels.0 {
            let labels = info.labels(&sources);
            (self.info, self.info_labels) = (info, (sources, labels));
        }
    }
}

impl Sampler for GpuSampler {
    fn sample(&mut self, batch: &mut Batch) -> Result<(), Lost> {
        self.follow_list();
        let card = self.card.clone();
        if let Some(card) = &card {
            card.check().map_err(Lost::Device)?;
            if card.function.is_asleep().map_err(Lost::Device)? {
                self.backoff.suspended();
                // A sleeping GT does not count idle time, so its rates begin anew when it is awake.
                self.files = None;
                if let Some(rapl) = &mut self.rapl {
                    rapl.suspended();
                }
                self.put_info(Some(true), batch);
                return Ok(());
            }
            if !self.backoff.may_read(Instant::now()) {
                self.put_info(Some(false), batch);
                let left_alone = Fault::new("power/runtime_status", FaultCode::LeftAlone);
                batch.put(m::UTILIZATION, Labels::NONE, Err(left_alone));
                return Ok(());
            }
        }
        let kernel_card = card.as_ref().filter(|_| self.shared.choice.reads_kernel());
        let (kernel, did_nothing) = kernel_card.map(|card| self.read_kernel(card)).unzip();
        let (level_zero, stopped) = self.read_level_zero(kernel.is_some())?;
        // A clock is read at one instant, so one reading of 0 may be chance.
        let were_stopped = std::mem::replace(&mut self.clocks_were_stopped, stopped);
        if let Some(card) = &card {
            let delay = card.function.autosuspend_delay(None).filter(|_| !self.shared.hold_awake);
            self.backoff.round_read(Instant::now(), delay, did_nothing.unwrap_or(stopped && were_stopped));
        }
        let mut merged = Batch::default();
        self.chooser.merge(kernel.unwrap_or_default(), level_zero, &mut merged);
        self.update_info();
        self.put_info(card.is_some().then_some(false), batch);
        batch.absences.append(&mut merged.absences);
        batch.clients.append(&mut merged.clients);
        for group in merged.groups {
            add(batch, group);
        }
        Ok(())
    }

    fn mandatory(&self) -> Option<Box<dyn Sampler>> {
        let card = self.card.clone().filter(|_| self.shared.choice.reads_kernel())?;
        let (info, labels) = (self.info.clone(), self.info_labels.1.clone());
        Some(Box::new(Mandatory { card, info, labels }))
    }
}
