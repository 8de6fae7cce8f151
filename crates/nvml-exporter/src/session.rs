//! The source: opening NVML and listing its devices.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use naming::Family;
use reading::{Backend, Fault, Found, Identity, Lost, Session, Source, Unavailable};

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
    /// What was last found at each index; facts and labels are asked once per board.
    known: HashMap<u32, Known>,
}

#[derive(Clone)]
struct Known {
    uuid: String,
    facts: Facts,
    identity: Arc<Identity>,
}

impl NvmlSession {
    fn found(&mut self, index: u32) -> Result<Option<Found>, Lost> {
        let gpu = Gpu::by_index(&self.library, index);
        match gpu.and_then(|gpu| gpu.uuid().map(|uuid| (gpu, uuid))) {
            Ok((gpu, uuid)) => Ok(Some(self.named(index, gpu, uuid))),
            Err(fault) if raw::means_session_lost(&fault) => Err(Lost::Session(fault)),
            Err(fault) if raw::means_device_lost(&fault) => Ok(None),
            // A failed call says nothing about the board: one that has a worker keeps it.
            Err(fault) => Ok(self.known.get(&index).map(|known| Found {
                key: known.uuid.clone(),
                identity: Arc::clone(&known.identity),
                open: Box::new(move || Err(fault)),
            })),
        }
    }

    fn named(&mut self, index: u32, gpu: Gpu, uuid: String) -> Found {
        let known = match self.known.get(&index) {
            Some(known) if known.uuid == uuid && known.facts.are_told() => known.clone(),
            _ => {
                let facts = Facts::read(&gpu, index, uuid.clone());
                let identity = facts.identity(&self.naming);
                let known = Known { uuid, facts, identity };
                self.known.insert(index, known.clone());
                known
            }
        };
        let Known { uuid, facts, identity } = known;
        self.listener.register(&gpu, &uuid);
        let (naming, listener) = (self.naming.clone(), Arc::clone(&self.listener));
        Found {
            key: uuid.clone(),
            identity: Arc::clone(&identity),
            open: Box::new(move || {
                Ok(Box::new(GpuSampler::open(gpu, uuid, facts, naming, identity, listener)))
            }),
        }
    }
}

impl Session for NvmlSession {
    fn backend(&self) -> &Backend {
        self.library.backend()
    }

    fn devices(&mut self) -> Result<Vec<Found>, Lost> {
        let count = self.library.device_count().map_err(lost)?;
        let found: Result<Vec<_>, _> = (0..count).map(|index| self.found(index)).collect();
        Ok(found?.into_iter().flatten().collect())
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
