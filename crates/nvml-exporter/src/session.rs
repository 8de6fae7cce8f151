//! The source: opening NVML and listing its devices.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use naming::Family;
use reading::{Backend, Found, Lost, Measured, Session, Source, Unavailable};
use source::{Known, KnownDevices, LibraryPath, library};

use crate::{
    identity::{DcgmLabelOptions, Inventory},
    listener::Listener,
    raw::{Gpu, LOSSES, Library},
    sampler::GpuSampler,
    xid::{self, XidLog},
};

/// NVML on this node.
pub struct NvmlSource {
    library: LibraryPath,
    sysfs: PathBuf,
    labels: DcgmLabelOptions,
    log: XidLog,
}

impl NvmlSource {
    /// A source that opens `library`; `sysfs` is the host's.
    pub fn new(library: LibraryPath, sysfs: PathBuf, labels: DcgmLabelOptions) -> Self {
        Self { library, sysfs, labels, log: XidLog::new(xid::WINDOW) }
    }
}

impl Source for NvmlSource {
    fn family(&self) -> Family {
        Family::Nvidia
    }

    fn connect(&mut self) -> Result<Box<dyn Session>, Unavailable> {
        if !self.library.is_given() && !library::may_be_needed(Family::Nvidia, &["nvidia"], &self.sysfs) {
            return Err(Unavailable(
                "no NVIDIA GPU on the PCI bus and no module nvidia; where the GPU is on no bus, name the library \
                 with --library.nvml"
                    .to_owned(),
            ));
        }
        let library = Library::open(&self.library, &self.sysfs)?;
        let listener = Listener::start(&library, self.log.clone());
        let labels = self.labels.clone();
        let (known, shared) = (KnownDevices::default(), HashSet::new());
        Ok(Box::new(NvmlSession { library, labels, listener, known, shared }))
    }
}

struct NvmlSession {
    library: Library,
    labels: DcgmLabelOptions,
    listener: Arc<Listener>,
    known: KnownDevices<Inventory>,
    /// UUIDs that two boards had at once. They stay so, or the key of one would change when the other goes.
    shared: HashSet<String>,
}

/// A board as the driver lists it.
struct Listed {
    gpu: Gpu,
    /// What says later whether the handle still is this board's.
    mark: String,
    key: String,
    /// Empty where it does not distinguish the board.
    uuid: String,
}

/// Whether a mark is a UUID that says anything: it may be a PCI address, and there are boards with zeros for
/// a UUID.
fn is_a_uuid(mark: &str) -> bool {
    mark.strip_prefix("GPU-").is_some_and(|uuid| uuid.bytes().any(|byte| !matches!(byte, b'0' | b'-')))
}

impl Listed {
    /// The key is the UUID, or the PCI address where there is none that only this board has.
    fn new(gpu: Gpu, mark: &str, shared: &HashSet<String>) -> Measured<Self> {
        let uuid = if is_a_uuid(mark) && !shared.contains(mark) { mark } else { "" };
        let key = match uuid {
            "" => kernel::pci::address(&gpu.pci_bus_id()?),
            uuid => uuid.to_owned(),
        };
        Ok(Self { gpu, mark: mark.to_owned(), key, uuid: uuid.to_owned() })
    }
}

impl NvmlSession {
    fn device(&mut self, index: u32, asked: Measured<Listed>) -> Result<Option<Found>, Lost> {
        let (labels, listener) = (&self.labels, &self.listener);
        self.known.listed(index, asked, &LOSSES, |known, Listed { gpu, mark, key, uuid }| {
            let is_still = |known: &Known<Inventory>| {
                known.mark == mark && known.key == key && known.facts.is_complete()
            };
            let known = known.get_or_read(index, is_still, || {
                if uuid.is_empty() {
                    tracing::warn!(
                        index,
                        key,
                        "no UUID that only this GPU has; its PCI address identifies it"
                    );
                }
                let inventory = Inventory::read(&gpu, index, uuid);
                let identity = inventory.identity(labels);
                Known { mark: mark.clone(), key: key.clone(), identity, facts: inventory }
            });
            listener.register(&gpu, &known.key);
            let (labels, listener) = (labels.clone(), Arc::clone(listener));
            Found {
                key: known.key.clone(),
                identity: Arc::clone(&known.identity),
                open: Box::new(move || Ok(Box::new(GpuSampler::open(gpu, known, labels, listener)))),
            }
        })
    }
}

impl Session for NvmlSession {
    fn backend(&self) -> &Backend {
        self.library.backend()
    }

    fn devices(&mut self) -> Result<Vec<Found>, Lost> {
        let count = self.library.device_count().map_err(|fault| LOSSES.of_list(fault))?;
        let marked = |gpu: Gpu| gpu.mark().map(|mark| (gpu, mark));
        let marks: Vec<_> =
            (0..count).map(|index| Gpu::by_index(&self.library, index).and_then(marked)).collect();
        let mut seen = HashSet::new();
        for (_, mark) in marks.iter().flatten() {
            if !seen.insert(mark) {
                self.shared.insert(mark.clone());
            }
        }
        let mut found = Vec::new();
        for (index, asked) in (0..).zip(&marks) {
            let asked = asked.clone().and_then(|(gpu, mark)| Listed::new(gpu, &mark, &self.shared));
            found.extend(self.device(index, asked)?);
        }
        Ok(found)
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
        for mark in ["GPU-00000000-0000-0000-0000-000000000000", "GPU-", "00000000:1A:00.0"] {
            assert!(!is_a_uuid(mark), "{mark}");
        }
    }
}
