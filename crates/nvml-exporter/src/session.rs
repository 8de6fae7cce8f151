//! The source: opening NVML and listing its devices.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use naming::Family;
use reading::{Backend, BusMatch, Fault, Found, Identity, Lost, Session, Source, Unavailable};

use crate::{
    identity::{Facts, Naming},
    listener::Listener,
    raw::{self, Gpu, Library},
    sampler::GpuSampler,
    xid::Log,
};

/// NVML on this node.
pub struct NvmlSource {
    library: Option<PathBuf>,
    naming: Naming,
    log: Log,
}

impl NvmlSource {
    /// A source that opens `library`, or searches for it.
    pub fn new(library: Option<PathBuf>, naming: Naming) -> Self {
        Self { library, naming, log: Log::default() }
    }
}

impl Source for NvmlSource {
    fn family(&self) -> Family {
        Family::Nvidia
    }

    fn bus(&self) -> Option<BusMatch> {
        // VGA and 3D controllers of vendor NVIDIA; the boards' audio and USB functions are other classes.
        Some(BusMatch { vendor: 0x10de, classes: &[0x0300, 0x0302] })
    }

    fn connect(&mut self) -> Result<Box<dyn Session>, Unavailable> {
        let library = Library::open(self.library.as_ref())?;
        let listener = Listener::start(&library, self.log.clone());
        Ok(Box::new(NvmlSession { library, naming: self.naming.clone(), listener, known: HashMap::new() }))
    }
}

struct NvmlSession {
    library: Library,
    naming: Naming,
    listener: Arc<Listener>,
    /// Facts and labels by UUID and index, asked once.
    known: HashMap<(String, u32), (Facts, Arc<Identity>)>,
}

impl Session for NvmlSession {
    fn backend(&self) -> &Backend {
        self.library.backend()
    }

    fn devices(&mut self) -> Result<Vec<Found>, Lost> {
        let count = self.library.device_count().map_err(lost)?;
        let mut found = Vec::new();
        for index in 0..count {
            // A device that cannot be named now is not listed; its worker, if it has one, says why.
            let gpu = Gpu::by_index(&self.library, index);
            let (gpu, uuid) = match gpu.and_then(|gpu| gpu.uuid().map(|uuid| (gpu, uuid))) {
                Ok(named) => named,
                Err(fault) if raw::means_session_lost(&fault) => return Err(Lost::Session(fault)),
                Err(fault) => {
                    tracing::debug!(index, %fault, "device cannot be listed");
                    continue;
                }
            };
            let (facts, identity) = self
                .known
                .entry((uuid.clone(), index))
                .or_insert_with(|| {
                    let facts = Facts::read(&gpu, index, uuid.clone());
                    let identity = facts.identity(&self.naming);
                    (facts, identity)
                })
                .clone();
            self.listener.register(&gpu, &uuid);
            let (naming, listener) = (self.naming.clone(), Arc::clone(&self.listener));
            found.push(Found {
                key: uuid.clone(),
                identity: Arc::clone(&identity),
                open: Box::new(move || {
                    Ok(Box::new(GpuSampler::open(gpu, uuid, facts, naming, identity, listener)))
                }),
            });
        }
        Ok(found)
    }
}

impl Drop for NvmlSession {
    fn drop(&mut self) {
        self.listener.stop();
    }
}

/// An enumeration that fails without the driver being gone costs no running device.
fn lost(fault: Fault) -> Lost {
    if raw::means_session_lost(&fault) { Lost::Session(fault) } else { Lost::Device(fault) }
}
