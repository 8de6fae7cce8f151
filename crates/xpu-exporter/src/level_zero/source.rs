//! Level Zero as a source of its own, which may run in another process than the kernel's files are read in.
//!
//! Its devices have the facts about a GPU as labels of their identity: see [`Facts`].

use std::sync::Arc;

use naming::{Family, Label};
use reading::{
    Backend, Batch, Found, Identity, Lost, Measured, Prior, Sampler, Session, Source, Unavailable,
};
use source::LibraryPath;

use super::{
    LOSSES, Sysman,
    library::{Gpu, Library},
};
use crate::map::{self, Identities};

/// The loader on the dynamic loader's path.
pub const SEARCH: &[&str] = &["libze_loader.so.1"];

/// The number of tiles, among the labels that are facts.
const TILES: &str = "tiles";

/// Level Zero on this node.
pub struct LevelZeroSource {
    library: LibraryPath,
    options: Options,
}

/// What is read of a GPU beside what is always read.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether engine counters are opened, which keeps the GPU awake.
    pub engines: bool,
    /// Why processes are not counted, for which the driver walks over all that there are.
    pub processes: Measured<()>,
}

impl LevelZeroSource {
    /// A source that opens `library`.
    pub fn new(library: LibraryPath, options: Options) -> Self {
        Self { library, options }
    }
}

impl Source for LevelZeroSource {
    fn family(&self) -> Family {
        Family::Xpu
    }

    fn connect(&mut self) -> Result<Box<dyn Session>, Unavailable> {
        let (library, gpus) = Library::open(&self.library)?;
        let backend = Backend {
            library: library.path.clone(),
            version: format!("Level Zero by {}", library.init_function()),
            simulated: None,
        };
        let mut session = LevelZeroSession { library, gpus: Vec::new(), options: self.options, backend };
        session.adopt(gpus);
        Ok(Box::new(session))
    }
}

struct LevelZeroSession {
    library: Library,
    gpus: Vec<Gpu>,
    options: Options,
    backend: Backend,
}

impl LevelZeroSession {
    fn adopt(&mut self, gpus: Vec<Gpu>) {
        self.backend.simulated = gpus.iter().find_map(|gpu| gpu.simulated.clone());
        self.gpus = gpus;
    }
}

impl Session for LevelZeroSession {
    fn backend(&self) -> &Backend {
        &self.backend
    }

    fn devices(&mut self, _prior: &Prior) -> Result<Vec<Found>, Lost> {
        let gpus = self.library.gpus(&self.gpus).map_err(|fault| LOSSES.of_list(fault))?;
        self.adopt(gpus);
        let options = self.options;
        let found = self.gpus.iter().cloned().map(|gpu| Found {
            key: gpu.address.clone(),
            address: Some(gpu.address.clone()),
            identity: Facts::of(&gpu).identity(&gpu),
            open: Box::new(move || Ok(Box::new(LevelZeroSampler::new(&gpu, options)))),
        });
        Ok(found.collect())
    }

    fn let_go(&mut self) -> bool {
        // No function of Level Zero closes what its driver has opened.
        false
    }
}

struct LevelZeroSampler {
    sysman: Sysman,
    identities: Identities,
}

impl LevelZeroSampler {
    fn new(gpu: &Gpu, options: Options) -> Self {
        let card = Facts::of(gpu).identity(gpu);
        let tile = |tile| Arc::new(Identity { partition: Some(partition(tile)), ..(*card).clone() });
        let tiles = if gpu.tiles > 1 { (0..gpu.tiles).map(tile).collect() } else { Vec::new() };
        Self { sysman: Sysman::new(gpu, options), identities: Identities { card, tiles } }
    }
}

impl Sampler for LevelZeroSampler {
    fn sample(&mut self, batch: &mut Batch) -> Result<(), Lost> {
        let sample = self.sysman.read()?;
        map::level_zero::put(&self.identities, &sample, batch);
        Ok(())
    }
}

/// The `partition` label of a tile.
pub fn partition(tile: u32) -> String {
    format!("tile{tile}")
}

/// What Level Zero says of a GPU beside its address. Empty text is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Product name.
    pub model: String,
    /// Serial number.
    pub serial: String,
    /// Board number.
    pub board: String,
    /// How many tiles it has; 0 for a GPU that is not divided into tiles.
    pub tiles: u32,
}

impl Facts {
    fn of(gpu: &Gpu) -> Self {
        Self {
            model: gpu.name.clone(),
            serial: gpu.serial.clone(),
            board: gpu.board.clone(),
            tiles: gpu.tiles,
        }
    }

    /// An identity with these facts as labels.
    fn identity(self, gpu: &Gpu) -> Arc<Identity> {
        let vendor = vec![
            (Label::Model.name(), self.model),
            (Label::Serial.name(), self.serial),
            (Label::BoardPartNumber.name(), self.board),
            (TILES, self.tiles.to_string()),
        ];
        Arc::new(Identity { vendor, ..Identity::new(Family::Xpu, &*gpu.address) })
    }

    /// The facts in an identity's labels.
    pub fn in_labels_of(identity: &Identity) -> Self {
        let text = |name| {
            let fact = identity.vendor.iter().find(|(known, _)| *known == name);
            fact.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        Self {
            model: text(Label::Model.name()),
            serial: text(Label::Serial.name()),
            board: text(Label::BoardPartNumber.name()),
            tiles: text(TILES).parse().unwrap_or(0),
        }
    }
}
