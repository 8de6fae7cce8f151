//! A card as the kernel reports it: sysfs, hwmon, fdinfo, the render node, and RAPL for the power of an
//! integrated GPU. Values are in the kernel's units.
//!
//! All of it may wake a sleeping card; what does not is in `kernel::pci`.

mod card;
mod client_lane;
mod clients;
mod fdinfo;
mod gt;
mod pmu;
mod rapl;
mod sensors;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use kernel::{
    File, Search,
    file::missing,
    open_files::{OpenFiles, device_number},
    pci::{Function, Link},
};
use reading::{Absence, Fault, FaultCode, Measured};

pub use card::Card;
pub use clients::ClientLoad;
pub use fdinfo::FDINFO;
pub use gt::{Clocks, GtSample};
pub use rapl::Rapl;
pub use sensors::SensorSample;

use crate::raw::drm::{self, Driver, VideoMemory};
use client_lane::ClientLane;
use clients::Clients;
use gt::{Gt, numbered};
use pmu::EnginePmu;
use sensors::Sensors;

/// Where the kernel's files are.
#[derive(Clone, Debug)]
pub struct Roots {
    /// Usually `/sys`.
    pub sysfs: PathBuf,
    /// Usually `/proc`.
    pub procfs: PathBuf,
    /// Usually `/dev`.
    pub dev: PathBuf,
}

/// The files of a card that is awake.
#[derive(Debug)]
pub struct CardFiles {
    card: Card,
    slot: Measured<Function>,
    gts: Vec<Gt>,
    sensors: Sensors,
    engines: Vec<&'static str>,
    render_node: Option<PathBuf>,
    has_nodes: bool,
    clients: ClientLane,
    open: Arc<OpenFiles>,
    /// How many functions of the card are given to guests.
    virtual_functions: File,
    /// Where engine events may keep the card awake.
    pmu: Option<EnginePmu>,
    search: Search,
}

/// What one round reads from a card.
#[derive(Debug)]
pub struct Sample {
    /// Its GTs.
    pub gts: Vec<GtSample>,
    /// Its clients.
    pub load: ClientLoad,
    /// How long ago they were read, where that was not in this round.
    pub load_age: Option<Duration>,
    /// Its own memory.
    pub memory: Measured<VideoMemory>,
    /// Its hwmon chip; on an integrated GPU, RAPL's zone instead.
    pub sensors: SensorSample,
    /// Its PCIe link.
    pub link: Measured<Link>,
    /// The best that the link can be.
    pub link_max: Measured<Link>,
    /// Whether the GPU is a part of the SoC, without sensors of its own.
    pub integrated: bool,
}

impl Sample {
    /// Whether the card did nothing since the last round, as far as its GTs report.
    pub fn is_idle(&self) -> bool {
        let is_idle = |gt: &GtSample| gt.awake.is_ok_and(|awake| awake < 0.01);
        !self.gts.is_empty() && self.gts.iter().all(is_idle)
    }
}

impl CardFiles {
    /// Finds the card's files; it must be awake.
    pub fn open(card: &Card, roots: &Roots, open: &Arc<OpenFiles>, hold_awake: bool) -> Self {
        let device = &card.function.folder;
        let render = numbered(&device.join("drm"), "renderD").next();
        let render = render.map(|(number, _)| format!("renderD{number}"));
        let nodes = std::iter::once(card.name.clone()).chain(render.clone());
        let nodes: Measured<Vec<u64>> =
            nodes.map(|name| device_number(&device.join("drm").join(name))).collect();
        let (address, engines) = (&card.function.address, engines(card));
        Self {
            gts: Gt::of(card),
            sensors: Sensors::of_card(device, card.driver.name()),
            has_nodes: nodes.is_ok(),
            clients: ClientLane::new(address, Clients::new(address, nodes), engines.clone(), open),
            engines,
            render_node: render.map(|name| roots.dev.join("dri").join(name)),
            open: Arc::clone(open),
            virtual_functions: File::new(device, "sriov_numvfs"),
            pmu: hold_awake.then(|| EnginePmu::of(&roots.sysfs, card)).flatten(),
            slot: card.slot(),
            card: card.clone(),
            search: Search::begin(Instant::now()),
        }
    }

    /// Takes the files that are found by now, where there are more than are known or the driver has registered its
    /// chip again: files of a driver that is being loaded come one after another, and one that cannot be read for the
    /// moment is not gone. What was counted goes on.
    pub fn look_again(&mut self, roots: &Roots, hold_awake: bool) {
        if !self.search.is_due(Instant::now()) {
            return;
        }
        let found = Self::open(&self.card, roots, &self.open, hold_awake);
        let (many, known) = (found.count(), self.count());
        if many > known || many == known && found.sensors.is_other(&self.sensors) {
            let earlier = std::mem::replace(self, found);
            self.gts.iter_mut().for_each(|gt| gt.go_on_from(&earlier.gts));
            self.sensors.go_on_from(earlier.sensors);
            self.clients.go_on_from(earlier.clients);
            self.search = earlier.search;
        }
    }

    /// How many files were found.
    fn count(&self) -> usize {
        let one = [self.slot.is_ok(), self.render_node.is_some(), self.has_nodes, self.pmu.is_some()];
        let gts = self.gts.iter().map(Gt::count).sum::<usize>();
        gts + self.sensors.count() + self.engines.len() + one.into_iter().filter(|is| *is).count()
    }

    /// Reads everything once. `rapl` has energy and power of an integrated GPU.
    pub fn read(&mut self, rapl: Option<&mut Rapl>) -> Sample {
        let gts = self.gts.iter_mut().map(Gt::read).collect();
        let mut sensors = self.sensors.read();
        if self.card.integrated {
            sensors.energy = rapl.map_or(Err(rapl::NO_ZONE), Rapl::read);
        }
        let memory = match &self.render_node {
            // The memory that an integrated GPU's driver reports is the host's.
            _ if self.card.integrated => Err(Fault::new("render_node", FaultCode::Integrated)),
            Some(node) => drm::video_memory(self.card.driver, node),
            None => Err(missing("render_node")),
        };
        let (load, load_age) = self.load();
        let slot =
            |link: fn(&Function) -> Measured<Link>| self.slot.as_ref().map_err(|fault| *fault).and_then(link);
        let (link, link_max) = (slot(Function::link), slot(Function::link_max));
        Sample { gts, load, load_age, memory, sensors, link, link_max, integrated: self.card.integrated }
    }

    /// By the clients, where all of them are visible; else, where that is wanted, by the engines' own
    /// counters. Neither sees what guests do through virtual functions.
    fn load(&mut self) -> (ClientLoad, Option<Duration>) {
        if self.virtual_functions.number::<u32>().is_ok_and(|functions| functions > 0) {
            let hidden = Fault::new(self.virtual_functions.call(), FaultCode::VirtualFunctions);
            return (ClientLoad::absent(&self.engines, hidden), None);
        }
        let (mut load, age) = self.clients.read(&self.engines);
        let unseen = load
            .engines
            .iter()
            .any(|(_, busy)| busy.is_err_and(|fault| fault.absence == Absence::Unsupported));
        if let Some(pmu) = self.pmu.as_ref().filter(|_| unseen || load.engines.is_empty()) {
            match pmu.engines(self.gts.len() as u64) {
                Ok(shares) => {
                    load.engines = shares.into_iter().map(|(name, share)| (name, Ok(share))).collect();
                }
                Err(fault) => load.engines.iter_mut().for_each(|(_, busy)| *busy = Err(fault)),
            }
        }
        (load, age)
    }
}

/// The engines of a card, by the values of the label `engine`, each once.
fn engines(card: &Card) -> Vec<&'static str> {
    let classes: Vec<String> = match card.driver {
        // `tile0/gt0/engines/rcs`
        Driver::Xe => numbered(&card.function.folder, "tile")
            .flat_map(|(_, tile)| numbered(&tile, "gt").collect::<Vec<_>>())
            .flat_map(|(_, gt)| kernel::entries(&gt.join("engines")))
            .collect(),
        // `engine/rcs0`
        Driver::I915 => kernel::entries(&card.folder().join("engine"))
            .iter()
            .map(|name| name.trim_end_matches(|last: char| last.is_ascii_digit()).to_owned())
            .collect(),
    };
    let mut engines: Vec<_> = classes.iter().map(|class| fdinfo::engine(class)).collect();
    engines.sort_unstable();
    engines.dedup();
    engines
}
