//! The source: opening HLML, or doing without, and listing devices.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use naming::Family;
use reading::{
    Absence, Backend, Batch, Fault, FaultCode, Found, Identity, LabelValue, Lost, Measured, Prior,
    Remembered, Session, Source, Unavailable, is_distinctive,
};
use source::{Known, KnownDevices, LibraryPath, Listed, Place, lock};

use crate::{
    announced::Announced,
    driver::{self, Node},
    identity::{Inventory, Numbers, PREFIX},
    map,
    raw::{HlmlEventLog, Hpu, LOSSES, Library, Missing},
    sampler::{Card, HpuSampler},
};

/// Gaudis on this node.
pub struct GaudiSource {
    library: LibraryPath,
    state: Arc<SourceState>,
}

/// What remains when the library comes and goes.
pub struct SourceState {
    /// Root of the host's sysfs.
    pub sysfs: PathBuf,
    /// Configuration of lm-sensors.
    pub sensors: PathBuf,
    /// Events that were announced.
    pub log: HlmlEventLog,
    /// The addresses in HLML's order, as of its last whole list: an index opens the card that has it.
    places: Mutex<Vec<Option<String>>>,
}

impl GaudiSource {
    /// A source that opens `library`; kernel files below `sysfs`, labels of hwmon
    /// channels in `sensors`.
    pub fn new(library: LibraryPath, sysfs: PathBuf, sensors: PathBuf) -> Self {
        let log = HlmlEventLog::new(Duration::ZERO);
        let state = SourceState { sysfs, sensors, log, places: Mutex::default() };
        Self { library, state: Arc::new(state) }
    }
}

impl Source for GaudiSource {
    fn family(&self) -> Family {
        Family::Gaudi
    }

    fn connect(&mut self) -> Result<Box<dyn Session>, Unavailable> {
        let state = Arc::clone(&self.state);
        if !driver::is_loaded(&state.sysfs) {
            return Err(Unavailable(format!(
                "no {}/module/habanalabs: the driver is not loaded; load it (modprobe habanalabs)",
                state.sysfs.display()
            )));
        }
        match Library::open(&self.library) {
            Ok(Ok(library)) => Ok(Box::new(HlmlSession { library, state, known: devices() })),
            Ok(Err(refused)) => Err(refused),
            Err(Missing(why)) => {
                let what_to_do = "install Intel's firmware tools, or name the library with --library.hlml";
                if driver::nodes(&state.sysfs).is_empty() {
                    return Err(Unavailable(format!("{why}; {what_to_do}")));
                }
                tracing::warn!("{why}; only the kernel's files are read; {what_to_do}");
                let driver = driver::driver_version(&state.sysfs).unwrap_or_else(|_| "unknown".into());
                let backend = Backend {
                    library: format!("{}/class ({why})", state.sysfs.display()),
                    version: format!("driver {driver}"),
                    simulated: source::simulated::in_sysfs(&state.sysfs).map(|machine| machine.name),
                };
                Ok(Box::new(KernelSession {
                    library: self.library.clone(),
                    state,
                    backend,
                    known: devices(),
                }))
            }
        }
    }
}

fn devices() -> KnownDevices<Card> {
    KnownDevices::new(Family::Gaudi, PREFIX)
}

struct HlmlSession {
    library: Library,
    state: Arc<SourceState>,
    known: KnownDevices<Card>,
}

/// What was announced of a card before this process was started.
fn announced(card: &Remembered) -> impl Iterator<Item = (String, &'static str, u64, f64)> {
    card.announced.iter().filter_map(|events| {
        let LabelValue::Word(code) = events.code else { return None };
        Some((card.key.clone(), code, events.count, events.last))
    })
}

/// A card as HLML lists it: its index, its handle, and what says later whether the handle still is this
/// card's.
type Handle = (u32, Hpu, String);

impl HlmlSession {
    fn listed(&self, index: u32, nodes: &[Node]) -> Measured<Listed<Handle>> {
        let hpu = Hpu::by_index(&self.library, index)?;
        let mark = hpu.mark()?;
        let place = hpu.pci_bus_id();
        let uuid = (place.as_ref() != Ok(&mark) && is_distinctive(&mark)).then(|| mark.clone());
        let address = place.ok().map(|address| kernel::pci::address(&address));
        let node = nodes.iter().find(|node| Some(&node.function.address) == address.as_ref());
        let minor = node.map(|node| node.minor).or_else(|| hpu.minor_number().ok());
        Ok(Listed { handle: (index, hpu, mark), uuid, address, number: minor.unwrap_or(index) })
    }
}

impl Session for HlmlSession {
    fn backend(&self) -> &Backend {
        self.library.backend()
    }

    fn devices(&mut self, prior: &Prior) -> Result<Vec<Found>, Lost> {
        self.state.log.begin_with(prior.remembered.iter().flat_map(announced));
        let count = self.library.device_count().map_err(|fault| LOSSES.of_list(fault))?;
        let nodes = driver::nodes(&self.state.sysfs);
        // What is detached and has no driver is not in HLML's list.
        let is_detached = |address: &Option<String>| {
            address.as_ref().is_some_and(|address| prior.detached.contains(address))
        };
        let is_listed = nodes.iter().any(|node| prior.detached.contains(&node.function.address));
        let mut places = lock(&self.state.places).clone();
        if is_listed && places.len() != count as usize {
            return Err(Lost::Device(Fault::new("hlml_device_get_handle_by_index", FaultCode::LeftAlone)));
        }
        let may_ask = |index: &u32| !is_listed || !places.get(*index as usize).is_some_and(is_detached);
        let asked: Vec<_> = (0..count).filter(may_ask).map(|index| self.listed(index, &nodes)).collect();
        if !is_listed {
            places = asked.iter().map(|asked| asked.as_ref().ok()?.address.clone()).collect();
            *lock(&self.state.places) = places;
        }
        let is_mute: Vec<_> = asked.iter().map(Result::is_err).collect();
        let state = &self.state;
        let found = self.known.list(prior, &LOSSES, asked, |known, listed, place| {
            let Listed { handle: (index, hpu, mark), uuid, address, .. } = listed;
            let address = address.unwrap_or_else(|| mark.clone());
            let node = nodes.iter().find(|node| node.function.address == address);
            // The driver may have given the card another number, or list it only now.
            let is_still = |known: &Known<Card>| {
                known.mark == mark && known.identity.uuid == uuid && known.facts.node.as_ref() == node
            };
            let card = known.get_or_read(&place.key, is_still, || {
                let numbers = Numbers::new(place, index, prior);
                let uuid = uuid.clone().unwrap_or_default();
                let inventory = Inventory::read(numbers, &address, uuid, Some(&hpu), node, &state.sysfs);
                card(mark.clone(), place, &inventory, node.cloned(), state)
            });
            found(card, address, place, Some(hpu), state)
        })?;
        // A card that can no longer be asked has no sampler to take what was announced at that moment.
        for (found, _) in found.iter().zip(is_mute).filter(|(_, is_mute)| *is_mute) {
            if let Some(card) = self.known.get(&found.key) {
                card.facts.announced.take();
            }
        }
        Ok(found)
    }

    fn recall(&self, key: &str, _identity: &Identity, batch: &mut Batch) {
        recall(&self.state, key, batch);
    }

    fn let_go(&mut self) -> bool {
        self.known = devices();
        let until = Instant::now() + CLOSING;
        // Those of samplers in a helper process end on their own.
        while self.library.users() > 1 && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        self.library.users() == 1
    }
}

/// How long to wait for threads to let go of the library.
const CLOSING: Duration = Duration::from_secs(1);

/// Devices by the kernel's files alone.
struct KernelSession {
    library: LibraryPath,
    state: Arc<SourceState>,
    backend: Backend,
    known: KnownDevices<Card>,
}

impl Session for KernelSession {
    fn backend(&self) -> &Backend {
        &self.backend
    }

    fn devices(&mut self, prior: &Prior) -> Result<Vec<Found>, Lost> {
        if Library::is_there(&self.library) {
            return Err(Lost::Session(Fault::new("libhlml", FaultCode::LibraryAppeared)));
        }
        let state = &self.state;
        if !driver::is_loaded(&state.sysfs) {
            return Err(Lost::Session(Fault::returned(Absence::Failed, "module/habanalabs", "ENOENT")));
        }
        let listed = |node: Node| {
            let (address, number) = (Some(node.function.address.clone()), node.minor);
            Ok(Listed { handle: node, uuid: None, address, number })
        };
        let asked = driver::nodes(&state.sysfs).into_iter().map(listed).collect();
        self.known.list(prior, &LOSSES, asked, |_, Listed { handle: node, number, .. }, place| {
            let address = node.function.address.clone();
            let numbers = Numbers::new(place, number, prior);
            let uuid = String::new();
            let inventory = Inventory::read(numbers, &address, uuid, None, Some(&node), &state.sysfs);
            found(card(address.clone(), place, &inventory, Some(node), state), address, place, None, state)
        })
    }

    fn recall(&self, key: &str, _identity: &Identity, batch: &mut Batch) {
        recall(&self.state, key, batch);
    }
}

fn recall(state: &SourceState, key: &str, batch: &mut Batch) {
    if let Some(history) = state.log.history(&key.to_owned()) {
        map::events(&Ok(history), batch);
    }
}

fn card(
    mark: String,
    place: &Place,
    inventory: &Inventory,
    node: Option<Node>,
    state: &SourceState,
) -> Known<Card> {
    let announced = Arc::new(Announced::new(place.key.clone(), state.log.clone()));
    let facts = Card { info: inventory.info(), node, announced };
    Known { mark, key: place.key.clone(), identity: inventory.identity(), facts }
}

fn found(
    card: Known<Card>,
    address: String,
    place: &Place,
    hpu: Option<Hpu>,
    state: &Arc<SourceState>,
) -> Found {
    let state = Arc::clone(state);
    Found {
        key: card.key.clone(),
        address: place.address.clone(),
        identity: Arc::clone(&card.identity),
        open: Box::new(move || Ok(Box::new(HpuSampler::open(card, address, hpu, state)))),
    }
}
