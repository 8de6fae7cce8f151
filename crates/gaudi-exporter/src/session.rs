//! The source: opening HLML, or doing without, and listing devices.

use std::{path::PathBuf, sync::Arc, time::Duration};

use naming::Family;
use reading::{Absence, Backend, Fault, FaultCode, Found, Lost, Session, Source, Unavailable};
use source::{Known, KnownDevices};

use crate::{
    driver::{self, Node},
    identity::Inventory,
    raw::{HlmlEventLog, Hpu, LOSSES, Library, Missing},
    sampler::{Card, HpuSampler},
};

/// Gaudis on this node.
pub struct GaudiSource {
    library: Option<PathBuf>,
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
}

impl GaudiSource {
    /// A source that opens `library`, or searches for it; kernel files below `sysfs`, labels of hwmon
    /// channels in `sensors`.
    pub fn new(library: Option<PathBuf>, sysfs: PathBuf, sensors: PathBuf) -> Self {
        let log = HlmlEventLog::new(Duration::ZERO);
        let state = SourceState { sysfs, sensors, log };
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
        match Library::open(self.library.as_ref()) {
            Ok(Ok(library)) => Ok(Box::new(HlmlSession { library, state, known: KnownDevices::default() })),
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
                Ok(Box::new(KernelSession { library: self.library.clone(), state, backend }))
            }
        }
    }
}

struct HlmlSession {
    library: Library,
    state: Arc<SourceState>,
    known: KnownDevices<Card>,
}

impl HlmlSession {
    fn device(&mut self, index: u32, nodes: &[Node]) -> Result<Option<Found>, Lost> {
        let asked = Hpu::by_index(&self.library, index).and_then(|hpu| hpu.mark().map(|mark| (hpu, mark)));
        let node_at = |address: &str| nodes.iter().find(|node| node.function.address == address);
        let state = &self.state;
        self.known.listed(index, asked, &LOSSES, |known, (hpu, mark)| {
            // The driver may have given the card another number, or list it only now.
            let is_still =
                |known: &Known<Card>| known.mark == mark && known.facts.node.as_ref() == node_at(&known.key);
            let card = known.get_or_read(index, is_still, || {
                let address = hpu.pci_bus_id().map(|address| kernel::pci::address(&address));
                let address = address.unwrap_or_else(|_| mark.clone());
                let node = node_at(&address);
                let inventory = Inventory::read(index, &address, Some(&hpu), node, &state.sysfs);
                card(mark.clone(), address, &inventory, node.cloned())
            });
            found(card, Some(hpu), state)
        })
    }
}

impl Session for HlmlSession {
    fn backend(&self) -> &Backend {
        self.library.backend()
    }

    fn devices(&mut self) -> Result<Vec<Found>, Lost> {
        let count = self.library.device_count().map_err(|fault| LOSSES.of_list(fault))?;
        let nodes = driver::nodes(&self.state.sysfs);
        let devices: Result<Vec<_>, _> = (0..count).map(|index| self.device(index, &nodes)).collect();
        Ok(devices?.into_iter().flatten().collect())
    }
}

/// Devices by the kernel's files alone.
struct KernelSession {
    library: Option<PathBuf>,
    state: Arc<SourceState>,
    backend: Backend,
}

impl Session for KernelSession {
    fn backend(&self) -> &Backend {
        &self.backend
    }

    fn devices(&mut self) -> Result<Vec<Found>, Lost> {
        if Library::is_there(self.library.as_ref()) {
            return Err(Lost::Session(Fault::new("libhlml", FaultCode::LibraryAppeared)));
        }
        let sysfs = &self.state.sysfs;
        if !driver::is_loaded(sysfs) {
            return Err(Lost::Session(Fault::returned(Absence::Failed, "module/habanalabs", "ENOENT")));
        }
        let device = |node: Node| {
            let address = node.function.address.clone();
            let inventory = Inventory::read(node.minor, &address, None, Some(&node), sysfs);
            found(card(address.clone(), address, &inventory, Some(node)), None, &self.state)
        };
        Ok(driver::nodes(sysfs).into_iter().map(device).collect())
    }
}

/// A card's key is its PCI address, which is the same with and without a library.
fn card(mark: String, address: String, inventory: &Inventory, node: Option<Node>) -> Known<Card> {
    let facts = Card { info: inventory.info(), node };
    Known { mark, key: address, identity: inventory.identity(), facts }
}

fn found(card: Known<Card>, hpu: Option<Hpu>, state: &Arc<SourceState>) -> Found {
    let state = Arc::clone(state);
    Found {
        key: card.key.clone(),
        identity: Arc::clone(&card.identity),
        open: Box::new(move || Ok(Box::new(HpuSampler::open(card, hpu, &state)))),
    }
}
