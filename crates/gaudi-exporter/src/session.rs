//! The source: opening HLML, or doing without, and listing devices.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use naming::Family;
use reading::{Absence, Backend, Fault, FaultCode, Found, Lost, Session, Source, Unavailable};

use crate::{
    driver::{self, Node},
    events::Log,
    identity::Facts,
    raw::{self, Hpu, Library, Missing},
    sampler::{Card, HpuSampler},
    slow::SlowLanes,
};

/// Gaudis on this node.
pub struct GaudiSource {
    library: Option<PathBuf>,
    place: Arc<Place>,
}

/// What stays when the library comes and goes.
pub struct Place {
    /// Root of the host's sysfs.
    pub sysfs: PathBuf,
    /// Configuration of lm-sensors.
    pub sensors: PathBuf,
    /// What was heard.
    pub log: Log,
    /// What is read slowly.
    pub slow: SlowLanes,
}

impl GaudiSource {
    /// A source that opens `library`, or searches for it; kernel files below `sysfs`, labels of hwmon channels
    /// in `sensors`.
    pub fn new(library: Option<PathBuf>, sysfs: PathBuf, sensors: PathBuf) -> Self {
        let place = Place { sysfs, sensors, log: Log::default(), slow: SlowLanes::default() };
        Self { library, place: Arc::new(place) }
    }
}

impl Source for GaudiSource {
    fn family(&self) -> Family {
        Family::Gaudi
    }

    fn connect(&mut self) -> Result<Box<dyn Session>, Unavailable> {
        let place = Arc::clone(&self.place);
        if !driver::is_loaded(&place.sysfs) {
            return Err(Unavailable(format!(
                "no {}/module/habanalabs: the driver is not loaded; load it (modprobe habanalabs)",
                place.sysfs.display()
            )));
        }
        match Library::open(self.library.as_ref()) {
            Ok(Ok(library)) => Ok(Box::new(HlmlSession { library, place, known: HashMap::new() })),
            Ok(Err(refused)) => Err(refused),
            Err(Missing(why)) => {
                let mend = "install Intel's firmware tools, or name the library with --library.hlml";
                if driver::nodes(&place.sysfs).is_empty() {
                    return Err(Unavailable(format!("{why}; {mend}")));
                }
                tracing::warn!("{why}; the kernel's files give what they can; {mend}");
                let driver = driver::driver_version(&place.sysfs).unwrap_or_else(|_| "unknown".into());
                let backend = Backend {
                    library: format!("{}/class ({why})", place.sysfs.display()),
                    version: format!("driver {driver}"),
                    simulated: kernel::simulated(&place.sysfs).map(|machine| machine.name),
                };
                Ok(Box::new(KernelSession { library: self.library.clone(), place, backend }))
            }
        }
    }
}

struct HlmlSession {
    library: Library,
    place: Arc<Place>,
    /// What was last found at each index; facts and labels are asked once per card.
    known: HashMap<u32, Known>,
}

#[derive(Clone)]
struct Known {
    mark: String,
    card: Card,
}

impl HlmlSession {
    fn found(&mut self, index: u32, nodes: &[Node]) -> Result<Option<Found>, Lost> {
        let hpu = Hpu::by_index(&self.library, index);
        match hpu.and_then(|hpu| hpu.mark().map(|mark| (hpu, mark))) {
            Ok((hpu, mark)) => Ok(Some(self.named(index, hpu, mark, nodes))),
            Err(fault) if raw::means_session_lost(&fault) => Err(Lost::Session(fault)),
            Err(fault) if raw::means_device_lost(&fault) => Ok(None),
            // A failed call says nothing about the card: one that has a worker keeps it.
            Err(fault) => Ok(self.known.get(&index).map(|Known { card, .. }| Found {
                key: card.key.clone(),
                identity: Arc::clone(&card.identity),
                open: Box::new(move || Err(fault)),
            })),
        }
    }

    fn named(&mut self, index: u32, hpu: Hpu, mark: String, nodes: &[Node]) -> Found {
        let node_of = |address: &str| nodes.iter().find(|node| node.function.address == address);
        // The driver may have numbered the card anew, or list it only now.
        let is_still =
            |known: &&Known| known.mark == mark && known.card.node.as_ref() == node_of(&known.card.key);
        let known = if let Some(known) = self.known.get(&index).filter(is_still) {
            known.clone()
        } else {
            let address = hpu.pci_bus_id().map(|address| kernel::pci::address(&address));
            let address = address.unwrap_or_else(|_| mark.clone());
            let node = node_of(&address);
            let facts = Facts::read(index, &address, Some(&hpu), node, &self.place.sysfs);
            let known = Known { mark, card: Card::new(address, &facts, node.cloned()) };
            self.known.insert(index, known.clone());
            known
        };
        let Known { mark, card } = known;
        found(card, Some((hpu, mark)), &self.place)
    }
}

impl Session for HlmlSession {
    fn backend(&self) -> &Backend {
        self.library.backend()
    }

    fn devices(&mut self) -> Result<Vec<Found>, Lost> {
        let count = self.library.device_count().map_err(lost)?;
        let nodes = driver::nodes(&self.place.sysfs);
        let found: Result<Vec<_>, _> = (0..count).map(|index| self.found(index, &nodes)).collect();
        Ok(found?.into_iter().flatten().collect())
    }
}

/// Devices by the kernel's files alone.
struct KernelSession {
    library: Option<PathBuf>,
    place: Arc<Place>,
    backend: Backend,
}

impl Session for KernelSession {
    fn backend(&self) -> &Backend {
        &self.backend
    }

    fn devices(&mut self) -> Result<Vec<Found>, Lost> {
        if Library::is_there(self.library.as_ref()) {
            let fault = Fault::new("libhlml", FaultCode::LibraryAppeared);
            return Err(Lost::Session(fault));
        }
        let sysfs = &self.place.sysfs;
        if !driver::is_loaded(sysfs) {
            let fault = Fault::returned(Absence::Failed, "module/habanalabs", "ENOENT");
            return Err(Lost::Session(fault));
        }
        let nodes = driver::nodes(sysfs).into_iter();
        Ok(nodes
            .map(|node| {
                let address = node.function.address.clone();
                let facts = Facts::read(node.minor, &address, None, Some(&node), sysfs);
                found(Card::new(address, &facts, Some(node)), None, &self.place)
            })
            .collect())
    }
}

fn found(card: Card, hlml: Option<(Hpu, String)>, place: &Arc<Place>) -> Found {
    let place = Arc::clone(place);
    Found {
        key: card.key.clone(),
        identity: Arc::clone(&card.identity),
        open: Box::new(move || Ok(Box::new(HpuSampler::open(card, hlml, &place)))),
    }
}

/// An enumeration that fails without the driver being gone costs no running device.
fn lost(fault: Fault) -> Lost {
    if raw::means_session_lost(&fault) { Lost::Session(fault) } else { Lost::Device(fault) }
}
