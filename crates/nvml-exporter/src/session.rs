//! The source: opening NVML and listing its devices.

use std::{path::PathBuf, sync::Arc};

use naming::Family;
use reading::{Backend, Found, Lost, Session, Source, Unavailable};
use source::{Known, KnownDevices};

use crate::{
    identity::{DcgmLabelOptions, Inventory},
    listener::Listener,
    raw::{Gpu, LOSSES, Library},
    sampler::GpuSampler,
    xid::{self, XidLog},
};

/// NVML on this node.
pub struct NvmlSource {
    library: Option<PathBuf>,
    labels: DcgmLabelOptions,
    log: XidLog,
}

impl NvmlSource {
    /// A source that opens `library`, or searches for it.
    pub fn new(library: Option<PathBuf>, labels: DcgmLabelOptions) -> Self {
        Self { library, labels, log: XidLog::new(xid::WINDOW) }
    }
}

impl Source for NvmlSource {
    fn family(&self) -> Family {
        Family::Nvidia
    }

    fn connect(&mut self) -> Result<Box<dyn Session>, Unavailable> {
        let library = Library::open(self.library.as_ref())?;
        let listener = Listener::start(&library, self.log.clone());
        let labels = self.labels.clone();
        Ok(Box::new(NvmlSession { library, labels, listener, known: KnownDevices::default() }))
    }
}

struct NvmlSession {
    library: Library,
    labels: DcgmLabelOptions,
    listener: Arc<Listener>,
    known: KnownDevices<Inventory>,
}

impl NvmlSession {
    fn device(&mut self, index: u32) -> Result<Option<Found>, Lost> {
        let asked = Gpu::by_index(&self.library, index).and_then(|gpu| gpu.uuid().map(|uuid| (gpu, uuid)));
        let (labels, listener) = (&self.labels, &self.listener);
        self.known.listed(index, asked, &LOSSES, |known, (gpu, uuid)| {
            let is_still = |known: &Known<Inventory>| known.mark == uuid && known.facts.is_complete();
            let known = known.get_or_read(index, is_still, || {
                let inventory = Inventory::read(&gpu, index, uuid.clone());
                let identity = inventory.identity(labels);
                Known { mark: uuid.clone(), key: uuid.clone(), identity, facts: inventory }
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
        let devices: Result<Vec<_>, _> = (0..count).map(|index| self.device(index)).collect();
        Ok(devices?.into_iter().flatten().collect())
    }
}

impl Drop for NvmlSession {
    fn drop(&mut self) {
        self.listener.stop();
    }
}
