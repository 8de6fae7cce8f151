//! The source: finding the cards that the kernel drives, and opening Level Zero beside it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use kernel::File;
use naming::{Family, FaultCode};
use reading::{Backend, Fault, Found, Lost, Session, Source, Unavailable};

use crate::{
    drm::{Card, OpenFiles, Roots},
    identity::{self, Facts},
    level_zero::{self, Gpu, Library},
    sampler::GpuSampler,
};

/// How often a Level Zero that could not be opened is tried again beside a kernel that answers.
const RETRY: Duration = Duration::from_mins(1);

/// How long a session waits for Level Zero beside a kernel that answers; one that takes longer is taken when it is
/// there.
const OPENING: Duration = Duration::from_secs(5);

/// An initialised Level Zero and its GPUs.
type Opened = Result<(Library, Vec<Gpu>), Unavailable>;

/// Which backends are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// The kernel first, Level Zero for what it does not tell.
    Auto,
    /// The kernel alone.
    Kernel,
    /// Level Zero alone; the kernel only says whether a GPU sleeps.
    LevelZero,
}

impl Choice {
    /// Whether the kernel's files are read.
    pub fn kernel(self) -> bool {
        self != Self::LevelZero
    }
}

/// What the session and its samplers share.
pub struct Shared {
    /// Where the kernel's files are.
    pub roots: Roots,
    /// Which backends are asked.
    pub choice: Choice,
    /// Whether engine counters may keep a GPU awake.
    pub hold_awake: bool,
    /// What Level Zero needs, where it is not open.
    pub why_closed: FaultCode,
    /// Open DRM files of all processes.
    pub open: Arc<OpenFiles>,
    gpus: Mutex<Vec<Gpu>>,
}

impl Shared {
    /// The GPU at a PCI address, if Level Zero is open and lists it.
    pub fn gpu(&self, address: &str) -> Option<Gpu> {
        self.gpus().iter().find(|gpu| gpu.address == address).cloned()
    }

    fn gpus(&self) -> MutexGuard<'_, Vec<Gpu>> {
        self.gpus.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Intel GPUs on this node.
pub struct XpuSource {
    roots: Roots,
    library: Option<PathBuf>,
    choice: Choice,
    hold_awake: bool,
}

impl XpuSource {
    /// A source that reads below `roots` and opens `library`, or the loader on the search path.
    pub fn new(roots: Roots, library: Option<PathBuf>, choice: Choice, hold_awake: bool) -> Self {
        Self { roots, library, choice, hold_awake }
    }
}

impl Source for XpuSource {
    fn family(&self) -> Family {
        Family::Xpu
    }

    fn connect(&mut self) -> Result<Box<dyn Session>, Unavailable> {
        let shared = Arc::new(Shared {
            roots: self.roots.clone(),
            choice: self.choice,
            hold_awake: self.hold_awake,
            why_closed: match self.choice {
                Choice::Kernel => FaultCode::NeedsXpuBackend,
                Choice::Auto if self.library.is_none() && !is_root() => FaultCode::NeedsRoot,
                Choice::Auto | Choice::LevelZero => FaultCode::NotOpen,
            },
            open: Arc::new(OpenFiles::new(&self.roots.procfs)),
            gpus: Mutex::default(),
        });
        let cards = Card::all(&self.roots.sysfs);
        let mut session = XpuSession {
            shared,
            path: self.library.clone(),
            library: None,
            opening: None,
            failed: None,
            tried: None,
            had_cards: !cards.is_empty(),
            backend: Backend::default(),
        };
        if self.choice == Choice::LevelZero || cards.is_empty() {
            let no_card = "no Intel GPU is bound to xe or i915";
            if self.choice == Choice::Kernel {
                return Err(Unavailable(format!("{no_card}; load the driver, or mount the host's /sys")));
            }
            let opened = open_library(self.library.as_ref());
            session.adopt(opened).map_err(|why| {
                if cards.is_empty() { Unavailable(format!("{no_card}, and {why}")) } else { why }
            })?;
        } else if session.wants_library(&cards) {
            session.begin_opening();
            session.try_opened(OPENING);
        }
        session.describe(&cards);
        Ok(Box::new(session))
    }
}

struct XpuSession {
    shared: Arc<Shared>,
    path: Option<PathBuf>,
    library: Option<Library>,
    /// A Level Zero that is being opened.
    opening: Option<Receiver<Opened>>,
    /// Why the last one could not be.
    failed: Option<Unavailable>,
    tried: Option<Instant>,
    /// Whether the kernel drove a card when the session began.
    had_cards: bool,
    backend: Backend,
}

impl XpuSession {
    /// Whether to open Level Zero beside the kernel now. Its driver wakes every GPU when it starts, so a sleeping
    /// one is waited for.
    fn wants_library(&self, cards: &[Card]) -> bool {
        self.shared.choice == Choice::Auto
            && self.library.is_none()
            && self.opening.is_none()
            && (self.path.is_some() || is_root())
            && self.tried.is_none_or(|tried| tried.elapsed() >= RETRY)
            && !cards.iter().any(|card| card.is_asleep().unwrap_or(true))
    }

    /// Opens Level Zero on a thread of its own: its driver may hang where the kernel's files do not.
    fn begin_opening(&mut self) {
        self.tried = Some(Instant::now());
        let (sender, opening) = mpsc::channel();
        let path = self.path.clone();
        // Without a thread the sender is dropped, which is a failure like another; a session that has ended meanwhile
        // wants no answer.
        let _ = thread::Builder::new().spawn(move || {
            let _ = sender.send(open_library(path.as_ref()));
        });
        self.opening = Some(opening);
    }

    /// Takes a Level Zero that has been opened meanwhile, waiting for it up to `patience`. The kernel tells enough
    /// to go on without; `probe` names what is missing. Answers whether something has changed.
    fn try_opened(&mut self, patience: Duration) -> bool {
        let Some(opening) = &self.opening else { return false };
        match opening.recv_timeout(patience) {
            Err(RecvTimeoutError::Timeout) => false,
            Ok(opened) => {
                self.opening = None;
                self.failed = self.adopt(opened).err();
                true
            }
            Err(RecvTimeoutError::Disconnected) => {
                self.opening = None;
                false
            }
        }
    }

    fn adopt(&mut self, opened: Opened) -> Result<(), Unavailable> {
        self.tried = Some(Instant::now());
        let (library, gpus) = opened?;
        *self.shared.gpus() = gpus;
        self.library = Some(library);
        Ok(())
    }

    /// What answers, for people.
    fn describe(&mut self, cards: &[Card]) {
        let sysfs = &self.shared.roots.sysfs;
        let mut libraries = Vec::new();
        if self.shared.choice.kernel() && !cards.is_empty() {
            libraries.push(sysfs.display().to_string());
        }
        let mut versions = vec![format!("kernel {}", self.kernel_release())];
        if let Some(library) = &self.library {
            libraries.push(library.path.clone());
            versions.push(format!("Level Zero by {}", library.way()));
        } else if let Some(why) = &self.failed {
            versions.push(format!("without Level Zero: {why}"));
        }
        let marked = self.shared.gpus().iter().find_map(|gpu| gpu.simulated.clone());
        self.backend = Backend {
            library: libraries.join(" and "),
            version: versions.join(", "),
            // A simulated tree says so in a file that no kernel has.
            simulated: marked.or_else(|| File::new(sysfs, "accelsim_machine").text().ok()),
        };
    }

    fn kernel_release(&self) -> String {
        File::new(&self.shared.roots.procfs, "sys/kernel/osrelease").text().unwrap_or_default()
    }

    fn found(&self, card: Option<Card>, facts: Facts) -> Found {
        let shared = Arc::clone(&self.shared);
        Found {
            key: facts.address.clone(),
            identity: facts.identity(None),
            open: Box::new(move || Ok(Box::new(GpuSampler::new(shared, card, facts)))),
        }
    }
}

impl Session for XpuSession {
    fn backend(&self) -> &Backend {
        &self.backend
    }

    fn devices(&mut self) -> Result<Vec<Found>, Lost> {
        let sysfs = self.shared.roots.sysfs.clone();
        let cards = Card::all(&sysfs);
        if self.had_cards && cards.is_empty() && !has_driver(&sysfs) {
            let gone = Fault::new("bus/pci/drivers", FaultCode::DriverUnloaded);
            return Err(Lost::Session(gone));
        }
        if self.wants_library(&cards) {
            self.begin_opening();
        }
        if self.try_opened(Duration::ZERO) {
            self.describe(&cards);
        }
        if let Some(library) = &self.library
            && !cards.iter().any(|card| card.is_asleep().unwrap_or(false))
        {
            let known = self.shared.gpus().clone();
            match library.gpus(&known) {
                Ok(gpus) => *self.shared.gpus() = gpus,
                Err(fault) if level_zero::means_session_lost(&fault) => return Err(Lost::Session(fault)),
                // The kernel lists them too.
                Err(_) if !cards.is_empty() => {}
                Err(fault) => return Err(Lost::Device(fault)),
            }
        }
        let release = self.kernel_release();
        let gpus = self.shared.gpus().clone();
        let with_level_zero = |facts: Facts| match gpus.iter().find(|gpu| gpu.address == facts.address) {
            Some(gpu) => Facts {
                model: gpu.name.clone(),
                serial: gpu.serial.clone(),
                board: gpu.board.clone(),
                ..facts
            },
            None => facts,
        };
        let mut found: Vec<_> = cards
            .iter()
            .map(|card| {
                let facts = Facts {
                    device: card.name.clone(),
                    model: card.function.device().map(identity::model).unwrap_or_default(),
                    address: card.function.address.clone(),
                    driver: format!("{} {release}", card.driver.name()).trim().to_owned(),
                    ..Facts::default()
                };
                self.found(Some(card.clone()), with_level_zero(facts))
            })
            .collect();
        // Where sysfs shows no card, Level Zero's order names them. A card that it does not show any more is gone.
        if cards.is_empty() && !self.had_cards {
            found.extend(gpus.iter().map(|gpu| {
                let facts = Facts {
                    device: format!("gpu{}", gpu.index),
                    address: gpu.address.clone(),
                    ..Facts::default()
                };
                self.found(None, with_level_zero(facts))
            }));
        }
        Ok(found)
    }
}

/// Opens the loader at `path`, or the one on the search path, and lists its GPUs.
fn open_library(path: Option<&PathBuf>) -> Opened {
    let library = Library::open(path)?;
    let refused = |fault| Unavailable(format!("{}: {fault}; run accelscope as root", library.path));
    let gpus = library.gpus(&[]).map_err(refused)?;
    Ok((library, gpus))
}

/// Whether one of the drivers is loaded, with or without a card.
fn has_driver(sysfs: &Path) -> bool {
    ["xe", "i915"].iter().any(|driver| sysfs.join("bus/pci/drivers").join(driver).exists())
}

/// Whether this process may do everything, in this user namespace.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
