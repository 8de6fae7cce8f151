//! A card as the kernel tells of it: sysfs, hwmon, fdinfo, the render node, and RAPL for what an integrated
//! GPU draws. Values are in the kernel's units and words.
//!
//! Everything but [`Card::is_asleep`] and [`Card::autosuspend`] may wake a sleeping card.

mod clients;
mod gt;
mod pmu;
mod sensors;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use kernel::{
    File,
    pci::{Function, Link, Power},
    powercap::Zone,
};
use reading::{Absence, Fault, FaultCode};

pub use clients::{Load, OpenFiles};
pub use gt::GtRound;
pub use sensors::SensorsRound;

use crate::{
    Got,
    rates::Rate,
    raw::drm::{self, Driver, VideoMemory},
};
use clients::{Clients, Node};
use gt::{Gt, numbered};
use pmu::Pmu;
use sensors::Sensors;

/// What the link between a card's switch and its GPU says of itself; no card of Intel's has so narrow a slot.
const INSIDE: Link = Link { generation: 1, width: 1 };

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

/// A card that xe or i915 drives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Its PCI function.
    pub function: Function,
    /// `card1`.
    pub name: String,
    /// Its driver.
    pub driver: Driver,
}

impl Card {
    /// The cards of the machine, by PCI address.
    pub fn all(sysfs: &Path) -> Vec<Self> {
        let driven = [Driver::Xe, Driver::I915].into_iter().flat_map(|driver| {
            Function::driven_by(sysfs, driver.name()).into_iter().map(move |function| (driver, function))
        });
        let mut cards: Vec<_> = driven
            .filter_map(|(driver, function)| {
                let (number, _) = numbered(&function.folder.join("drm"), "card").next()?;
                Some(Self { name: format!("card{number}"), function, driver })
            })
            .collect();
        cards.sort_by(|a, b| a.function.address.cmp(&b.function.address));
        cards
    }

    /// Whether the GPU shares die and memory with the CPU: Intel's are always this function.
    pub fn is_integrated(&self) -> bool {
        self.function.address == "0000:00:02.0"
    }

    /// Whether the card is suspended or about to be. Wakes nothing.
    ///
    /// # Errors
    /// A kernel without runtime power management, where nothing sleeps, is no error. Anything else is.
    pub fn is_asleep(&self) -> Got<bool> {
        match self.function.power() {
            Ok(power) => Ok(matches!(power, Power::Suspended | Power::Changing)),
            Err(fault) if fault.code == "ENOENT" && self.function.folder.exists() => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// After how much idleness the card suspends; `None` when it never does. Wakes nothing.
    pub fn autosuspend(&self) -> Option<Duration> {
        let folder = &self.function.folder;
        let control = File::new(folder, "power/control").text().ok()?;
        let delay = File::new(folder, "power/autosuspend_delay_ms").number::<i64>().ok()?;
        (control == "auto").then(|| u64::try_from(delay).ok().map(Duration::from_millis)).flatten()
    }

    /// The function whose PCIe link is the slot's. Discrete cards have a switch of their own in front of the GPU,
    /// whose link to the GPU is inside the package and says 2.5 GT/s x1 whatever the slot does: the switch's
    /// upstream port counts, two functions above the GPU. Intel's own driver reads it there on every discrete part
    /// (compute-runtime, `LinuxPciImp::getPciLinkSpeed` where `isUpstreamPortConnected`: DG1, DG2, PVC, BMG, CRI),
    /// and so does nvtop (pull request 344, with the bus of an A770).
    ///
    /// # Errors
    /// `Unsupported` where the switch is not to be seen, as in a virtual machine that was given the GPU alone.
    fn slot(&self) -> Got<Function> {
        let upstream = || {
            let gpu = self.function.folder.canonicalize().ok()?;
            // root port / upstream port / downstream port / GPU
            let (upstream, root) = (gpu.ancestors().nth(2)?, gpu.ancestors().nth(3)?);
            let is_function = |folder: &Path| folder.join("vendor").exists();
            let of_intel = File::new(upstream, "vendor").hex() == Ok(0x8086);
            let bridge = File::new(upstream, "class").hex().is_ok_and(|class| class >> 8 == 0x0604);
            let address = upstream.file_name()?.to_str()?.to_owned();
            (of_intel && bridge && is_function(root))
                .then(|| Function { address, folder: upstream.to_owned() })
        };
        let inside = Fault::new("max_link_speed", FaultCode::InsideTheCard);
        match upstream() {
            Some(port) => Ok(port),
            None if self.function.link_max() == Ok(INSIDE) => Err(inside),
            None => Ok(self.function.clone()),
        }
    }

    fn folder(&self) -> PathBuf {
        self.function.folder.join("drm").join(&self.name)
    }
}

/// A card that is awake, with the files that it has.
#[derive(Debug)]
pub struct Awake {
    card: Card,
    slot: Got<Function>,
    gts: Vec<Gt>,
    sensors: Sensors,
    engines: Vec<&'static str>,
    node: Option<PathBuf>,
    clients: Clients,
    open: Arc<OpenFiles>,
    /// Where engine events may keep the card awake.
    pmu: Option<Pmu>,
}

/// One reading of a card.
#[derive(Debug)]
pub struct Round {
    /// Its GTs.
    pub gts: Vec<GtRound>,
    /// Its clients.
    pub load: Load,
    /// Its own memory.
    pub memory: Got<VideoMemory>,
    /// Its hwmon chip; on an integrated GPU, RAPL's zone instead.
    pub sensors: SensorsRound,
    /// Its PCIe link.
    pub link: Got<Link>,
    /// The best that the link can be.
    pub link_max: Got<Link>,
}

impl Round {
    /// Whether the card did nothing since the last round, as far as its GTs tell.
    pub fn is_idle(&self) -> bool {
        let idle = |gt: &GtRound| gt.awake.is_ok_and(|awake| awake < 0.01);
        !self.gts.is_empty() && self.gts.iter().all(idle)
    }
}

impl Awake {
    /// Finds the card's files; it must be awake.
    pub fn open(card: &Card, roots: &Roots, open: &Arc<OpenFiles>, hold_awake: bool) -> Self {
        let device = &card.function.folder;
        let gts = match card.driver {
            Driver::Xe => Gt::of_xe(device),
            Driver::I915 => Gt::of_i915(&card.folder()),
        };
        let render = numbered(&device.join("drm"), "renderD").next();
        let node = render.map(|(number, _)| format!("renderD{number}"));
        let nodes = std::iter::once(card.name.clone()).chain(node.clone());
        let nodes = nodes.map(|name| Node { number: number(&device.join("drm").join(&name)), name });
        Self {
            gts,
            sensors: Sensors::of_card(device, card.driver.name()),
            engines: engines(card),
            node: node.map(|node| roots.dev.join("dri").join(node)),
            clients: Clients::new(&card.function.address, nodes.collect()),
            open: Arc::clone(open),
            pmu: hold_awake.then(|| Pmu::of(&roots.sysfs, card)).flatten(),
            slot: card.slot(),
            card: card.clone(),
        }
    }

    /// Reads everything once. `rapl` tells what an integrated GPU draws.
    pub fn read(&mut self, rapl: Option<&mut Rapl>) -> Round {
        let gts = self.gts.iter_mut().map(Gt::read).collect();
        let mut sensors = self.sensors.read();
        if let Some(rapl) = rapl {
            (sensors.energy_uj, sensors.power_uw) = rapl.read();
        }
        let no_node = Fault::returned(Absence::Unsupported, "render_node", "ENOENT");
        let memory = match &self.node {
            // What an integrated GPU calls its memory is the host's.
            _ if self.card.is_integrated() => Err(Fault::new("render_node", FaultCode::Integrated)),
            Some(node) => drm::video_memory(self.card.driver, node),
            None => Err(no_node),
        };
        let load = self.load();
        let slot =
            |link: fn(&Function) -> Got<Link>| self.slot.as_ref().map_err(|fault| *fault).and_then(link);
        let (link, link_max) = (slot(Function::link), slot(Function::link_max));
        Round { gts, load, memory, sensors, link, link_max }
    }

    /// By the clients, where all of them can be seen; else, where that is wanted, by the engines' own counters.
    fn load(&mut self) -> Load {
        let mut load = self.clients.read(&self.open, &self.engines, Instant::now());
        let unseen = load
            .engines
            .iter()
            .any(|(_, got)| got.is_err_and(|fault: Fault| fault.absence == Absence::Unsupported));
        if let Some(pmu) = self.pmu.as_ref().filter(|_| unseen || load.engines.is_empty()) {
            match pmu.engines(self.gts.len() as u64) {
                Ok(shares) => {
                    load.engines = shares.into_iter().map(|(name, share)| (name, Ok(share))).collect();
                }
                Err(fault) => load.engines.iter_mut().for_each(|(_, got)| *got = Err(fault)),
            }
        }
        load
    }
}

/// The integrated GPU's part of its package, by RAPL. It outlives the GPU's sleep: its counter wraps, and is only
/// monotonic as far as one reader has followed it.
#[derive(Debug)]
pub struct Rapl {
    zone: Zone,
    rate: Rate,
}

impl Rapl {
    /// The zone of an integrated GPU; discrete ones have none. Wakes nothing.
    pub fn of(card: &Card, roots: &Roots) -> Option<Self> {
        let uncore = |zone: Zone| zone.parts.into_iter().find(|part| part.name == "uncore");
        let zone =
            card.is_integrated().then(|| Zone::packages(&roots.sysfs).into_iter().find_map(uncore))??;
        Some(Self { zone, rate: Rate::default() })
    }

    /// Forgets when it was last read: the mean over a sleep is no power of now.
    pub fn slept(&mut self) {
        self.rate = Rate::default();
    }

    /// Energy and power, which only root may read: they tell what the CPU computes.
    fn read(&mut self) -> (Got<u64>, Got<f64>) {
        let privileged = |fault: Fault| match fault.code.name() {
            "EACCES" | "EPERM" => Fault::new(fault.call, FaultCode::NeedsCapDacReadSearch),
            _ => fault,
        };
        let energy = self.zone.energy_microjoules().map_err(privileged);
        let power = self.rate.per_second("energy_uj", Instant::now(), energy);
        let still = Fault::new("energy_uj", FaultCode::CounterStands);
        (energy, power.and_then(|power| if power > 0.0 { Ok(power) } else { Err(still) }))
    }
}

/// The engines that a card has, in our words, each once.
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
    let mut engines: Vec<_> = classes.iter().map(|class| clients::engine(class)).collect();
    engines.sort_unstable();
    engines.dedup();
    engines
}

/// The kernel's number for a node of the drm class, from its folder's `dev`: `226:128`.
fn number(folder: &Path) -> Option<u64> {
    let parse = |text: &str| {
        let (major, minor) = text.split_once(':')?;
        Some(libc::makedev(major.parse().ok()?, minor.parse().ok()?))
    };
    File::new(folder, "dev").parse(parse).ok()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use kernel::pci::{Function, Link};

    use super::{Card, Driver};

    fn function(folder: &Path, vendor: &str, class: &str, speed: &str, width: u32) {
        fs::create_dir_all(folder).expect("created");
        let (speed, width) = (format!("{speed} GT/s PCIe"), width.to_string());
        for (name, text) in [
            ("vendor", vendor),
            ("class", class),
            ("current_link_speed", &speed),
            ("current_link_width", &width),
            ("max_link_speed", &speed),
            ("max_link_width", &width),
        ] {
            fs::write(folder.join(name), format!("{text}\n")).expect("written");
        }
    }

    #[test]
    fn the_link_is_the_slots_and_not_the_one_inside_the_card() {
        let slots = Link { generation: 5, width: 8 };
        for (vendor, inside, expected) in [
            ("0x8086", ("2.5", 1), Ok(slots)),
            // A switch of the board belongs to no card: then the card's own is hidden, or it has none.
            ("0x10b5", ("2.5", 1), Err("inside_the_card")),
            ("0x10b5", ("16.0", 4), Ok(Link { generation: 4, width: 4 })),
        ] {
            let sysfs = tempfile::tempdir().expect("a folder");
            let root = sysfs.path().join("devices/pci0000:00/0000:00:01.0");
            let upstream = root.join("0000:01:00.0");
            let gpu = upstream.join("0000:02:01.0/0000:03:00.0");
            function(&root, "0x8086", "0x060400", "32.0", 16);
            function(&upstream, vendor, "0x060400", "32.0", 8);
            function(&gpu, "0x8086", "0x030000", inside.0, inside.1);
            let devices = sysfs.path().join("bus/pci/devices");
            fs::create_dir_all(&devices).expect("created");
            symlink(&gpu, devices.join("0000:03:00.0")).expect("linked");
            let function = Function::at(sysfs.path(), "0000:03:00.0");
            let card = Card { function, name: "card1".to_owned(), driver: Driver::Xe };
            let link = card.slot().and_then(|slot| slot.link());
            assert_eq!(link.map_err(|fault| fault.code.name()), expected, "{vendor} {inside:?}");
        }
    }
}
