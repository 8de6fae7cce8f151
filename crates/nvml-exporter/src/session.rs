//! The source: opening NVML and listing its devices.

use std::{
    collections::BTreeSet,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use naming::Family;
use reading::{
    Absence, Backend, Batch, Fault, FaultCode, Found, Identity, Lost, Measured, Notify, Prior, Remembered,
    Session, Source, Unavailable, Wanted, is_distinctive,
};
use source::{Known, KnownDevices, LibraryPath, Listed, library};

use crate::{
    announced::Announced,
    identity::{DcgmLabelOptions, Inventory, PREFIX, instance_id},
    listener::Listener,
    map,
    raw::{Gpu, LOSSES, Library},
    resting::{Resting, Roots},
    sampler::GpuSampler,
};

/// NVML on this node.
pub struct NvmlSource {
    library: LibraryPath,
    roots: Roots,
    labels: DcgmLabelOptions,
    log: Announced,
    wanted: Wanted,
    notify: Option<Notify>,
}

impl NvmlSource {
    /// A source that opens `library`; `roots` are the host's. What is not `wanted` is not asked for where a call
    /// reads nothing else.
    pub fn new(library: LibraryPath, roots: Roots, labels: DcgmLabelOptions, wanted: Wanted) -> Self {
        Self { library, roots, labels, log: Announced::new(), wanted, notify: None }
    }
}

impl Source for NvmlSource {
    fn family(&self) -> Family {
        Family::Nvidia
    }

    fn notify_with(&mut self, notify: Notify) {
        self.notify = Some(notify);
    }

    fn connect(&mut self) -> Result<Box<dyn Session>, Unavailable> {
        let sysfs = &self.roots.sysfs;
        if !self.library.is_given() && !library::may_be_needed(Family::Nvidia, &["nvidia"], sysfs) {
            return Err(Unavailable(
                "no NVIDIA GPU on the PCI bus and no module nvidia; where the GPU is on no bus, name the library \
                 with --library.nvml"
                    .to_owned(),
            ));
        }
        let library = Library::open(&self.library, sysfs)?;
        let (log, labels) = (self.log.clone(), self.labels.clone());
        let listener = Listener::start(&library, log.clone(), self.notify.clone());
        let known = KnownDevices::new(Family::Nvidia, PREFIX);
        let (roots, resting) = (self.roots.clone(), Resting::default());
        let wanted = self.wanted.clone();
        Ok(Box::new(NvmlSession { library, labels, listener, log, roots, resting, wanted, known, count: 0 }))
    }
}

struct NvmlSession {
    library: Library,
    labels: DcgmLabelOptions,
    listener: Arc<Listener>,
    log: Announced,
    roots: Roots,
    wanted: Wanted,
    resting: Resting,
    known: KnownDevices<Inventory>,
    /// How many devices were last listed.
    count: u32,
}

/// A board as NVML lists it: its handle, and what says later whether the handle still is this board's.
type Board = (Gpu, String);

/// Whether a mark is a UUID that says anything: it may be a PCI address, and there are boards with zeros for
/// a UUID.
fn is_a_uuid(mark: &str) -> bool {
    mark.strip_prefix("GPU-").is_some_and(is_distinctive)
}

/// What identifies a board, by its index.
fn listed(gpu: Gpu, index: u32) -> Measured<Listed<Board>> {
    let mark = gpu.mark()?;
    let uuid = is_a_uuid(&mark).then(|| mark.clone());
    let address = gpu.pci_bus_id().ok().map(|address| kernel::pci::address(&address));
    Ok(Listed { handle: (gpu, mark), uuid, address, number: index })
}

impl NvmlSession {
    /// Asks for each board of NVML's list.
    fn ask_all(&mut self) -> Result<Vec<Measured<Listed<Board>>>, Lost> {
        let count = self.library.device_count().map_err(|fault| LOSSES.of_list(fault))?;
        let is_unchanged = std::mem::replace(&mut self.count, count) == count;
        let ask = |index: u32| {
            // A board that sleeps, or is left alone so that it can, is still what it was. When their number has
            // changed, a place may be another board's.
            let last = self.known.last_at(index as usize).filter(|_| is_unchanged);
            if last.is_some_and(|key| self.resting.contains(key)) {
                return Err(LEFT_ALONE);
            }
            listed(Gpu::by_index(&self.library, index)?, index)
        };
        Ok((0..count).map(ask).collect())
    }

    /// Asks for the boards at these addresses alone, since an index opens the board that has it, whichever that is
    /// (nvml.h, `nvmlDeviceGetHandleByPciBusId`). One that has no driver is not there.
    fn ask_at(&mut self, addresses: &BTreeSet<String>, prior: &Prior) -> Vec<Measured<Listed<Board>>> {
        self.count = 0;
        let ask = |address: &String| {
            let is_at = |board: &&Remembered| board.address.as_ref() == Some(address);
            let known = prior.remembered.iter().find(is_at);
            if known.is_some_and(|board| self.resting.contains(&board.key)) {
                return Some(Err(LEFT_ALONE));
            }
            match Gpu::by_address(&self.library, address) {
                Err(fault) if fault.absence == Absence::NoData => None,
                gpu => Some(gpu.and_then(|gpu| {
                    let index = gpu.index()?;
                    listed(gpu, index)
                })),
            }
        };
        addresses.iter().filter_map(ask).collect()
    }
}

/// Why a board is not asked.
const LEFT_ALONE: Fault = Fault::new("power/runtime_status", FaultCode::LeftAlone);

/// How long to wait for threads to let go of the library.
const CLOSING: Duration = Duration::from_millis(1200);

impl Session for NvmlSession {
    fn backend(&self) -> &Backend {
        self.library.backend()
    }

    fn devices(&mut self, prior: &Prior) -> Result<Vec<Found>, Lost> {
        self.log.begin_with(&prior.remembered);
        let (asked, bus) = if prior.detached.is_empty() {
            (self.ask_all()?, prior.bus.clone())
        } else {
            let known = || prior.remembered.iter().filter_map(|board| board.address.clone()).collect();
            let mut left = prior.bus.clone().unwrap_or_else(known);
            left.retain(|address| !prior.detached.contains(address));
            (self.ask_at(&left, prior), Some(left))
        };
        let prior = &Prior { bus, ..prior.clone() };
        let (labels, listener) = (&self.labels, &self.listener);
        let (roots, resting, wanted) = (&self.roots, &self.resting, &self.wanted);
        self.known.list(prior, &LOSSES, asked, |known, listed, place| {
            let Listed { handle: (gpu, mark), uuid, address, number: index } = listed;
            let is_still = |known: &Known<Inventory>| {
                known.mark == mark
                    && known.identity.uuid == uuid
                    && known.facts.is_at(address.as_ref())
                    && known.facts.is_complete()
            };
            let known = known.get_or_read(&place.key, is_still, || {
                if uuid.is_none() {
                    let key = &place.key;
                    tracing::warn!(key, "no UUID that only this GPU has; its PCI address identifies it");
                }
                let inventory = Inventory::read(&gpu, index, place.number, uuid.clone().unwrap_or_default());
                let identity = inventory.identity(labels);
                Known { mark: mark.clone(), key: place.key.clone(), identity, facts: inventory }
            });
            listener.register(&gpu, &known.key);
            let (labels, listener) = (labels.clone(), Arc::clone(listener));
            let (roots, resting, wanted) = (roots.clone(), resting.clone(), wanted.clone());
            Found {
                key: known.key.clone(),
                address: place.address.clone(),
                identity: Arc::clone(&known.identity),
                open: Box::new(move || {
                    Ok(Box::new(GpuSampler::open(gpu, known, labels, listener, &roots, resting, wanted)))
                }),
            }
        })
    }

    fn recall(&self, key: &str, identity: &Identity, batch: &mut Batch) {
        let instance = instance_id(identity);
        let history = self.log.history(key, instance);
        if history.is_empty() {
            return;
        }
        let put = if instance.is_some() { map::events::partition } else { map::events::device };
        put(Ok(&history), Instant::now(), batch);
    }

    fn let_go(&mut self) -> bool {
        self.listener.stop();
        self.listener.clear();
        let until = Instant::now() + CLOSING;
        // The thread of events, and those of samplers in a helper process, end on their own. What is left is this
        // session's own and its listener's.
        while Arc::strong_count(&self.listener) > 1 || self.library.users() > 2 {
            if Instant::now() > until {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        true
    }
}

impl Drop for NvmlSession {
    fn drop(&mut self) {
        self.listener.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::is_a_uuid;

    #[test]
    fn zeros_and_addresses_are_no_uuid() {
        assert!(is_a_uuid("GPU-0ff428b2-5743-d371-21a6-c2e0b44ee5a3"));
        for mark in ["GPU-00000000-0000-0000-0000-000000000000", "GPU-", "GPU-AAAAAAAA", "00000000:1A:00.0"] {
            assert!(!is_a_uuid(mark), "{mark}");
        }
    }
}
