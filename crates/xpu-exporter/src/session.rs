//! The source: finding the cards that the kernel drives, and opening Level Zero beside it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use clap::ValueEnum;
use kernel::File;
use naming::{Family, FaultCode};
use reading::{Backend, Fault, Found, Lost, Prior, Session, Source, Unavailable};

use crate::{
    drm::{Card, OpenFiles, Roots},
    identity::CardInfo,
    level_zero::{BackgroundOpen, Gpu, LOSSES, Library},
    models::Models,
    sampler::GpuSampler,
};

/// How long a session waits for Level Zero beside a kernel whose files are readable. One that takes longer is
/// used once it is open.
const OPENING: Duration = Duration::from_secs(5);

/// Which backends are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackendChoice {
    /// The kernel first, Level Zero for what it does not report.
    Auto,
    /// The kernel alone.
    Kernel,
    /// Level Zero alone; the kernel only reports whether a GPU sleeps.
    LevelZero,
}

impl BackendChoice {
    /// Whether the kernel's files are read.
    pub fn reads_kernel(self) -> bool {
        self != Self::LevelZero
    }
}

/// What the session and its samplers share.
pub struct Shared {
    /// Where the kernel's files are.
    pub roots: Roots,
    /// Which backends are read.
    pub choice: BackendChoice,
    /// Whether engine counters may keep a GPU awake.
    pub hold_awake: bool,
    why_closed: FaultCode,
    /// Open DRM files of all processes.
    pub open: Arc<OpenFiles>,
    /// What Level Zero lists; `None` while it is not open.
    gpus: Mutex<Option<Vec<Gpu>>>,
}

impl Shared {
    /// The GPU at a PCI address, if Level Zero is open and lists it.
    pub fn gpu(&self, address: &str) -> Option<Gpu> {
        self.gpus().iter().flatten().find(|gpu| gpu.address == address).cloned()
    }

    /// Why Level Zero has no values of a GPU: what it needs where it is not open.
    pub fn why_absent(&self) -> FaultCode {
        if self.gpus().is_some() { FaultCode::NotListed } else { self.why_closed }
    }

    fn gpus(&self) -> MutexGuard<'_, Option<Vec<Gpu>>> {
        self.gpus.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Intel GPUs on this node.
pub struct XpuSource {
    roots: Roots,
    library: Option<PathBuf>,
    choice: BackendChoice,
    hold_awake: bool,
}

impl XpuSource {
    /// A source that reads below `roots` and opens `library`, or the loader on the search path.
    pub fn new(roots: Roots, library: Option<PathBuf>, choice: BackendChoice, hold_awake: bool) -> Self {
        Self { roots, library, choice, hold_awake }
    }
}

impl Source for XpuSource {
    fn family(&self) -> Family {
        Family::Xpu
    }

    fn connect(&mut self) -> Result<Box<dyn Session>, Unavailable> {
        let may_open = self.library.is_some() || is_root();
        let cards = Card::all(&self.roots.sysfs);
        let mut session = XpuSession {
            shared: Arc::new(Shared {
                roots: self.roots.clone(),
                choice: self.choice,
                hold_awake: self.hold_awake,
                why_closed: match self.choice {
                    BackendChoice::Kernel => FaultCode::NeedsXpuBackend,
                    BackendChoice::Auto if !may_open => FaultCode::NeedsRoot,
                    BackendChoice::Auto | BackendChoice::LevelZero => FaultCode::NotOpen,
                },
                open: Arc::new(OpenFiles::new(&self.roots.procfs)),
                gpus: Mutex::default(),
            }),
            library: None,
            may_open,
            opening: BackgroundOpen::new(self.library.clone()),
            had_cards: !cards.is_empty(),
            models: Models::below(self.roots.sysfs.parent().unwrap_or(Path::new("/"))),
            backend: Backend::default(),
        };
        if self.choice == BackendChoice::LevelZero || cards.is_empty() {
            let no_card = "no Intel GPU is bound to xe or i915";
            if self.choice == BackendChoice::Kernel {
                return Err(Unavailable(format!("{no_card}; load the driver, or mount the host's /sys")));
            }
            let opened = Library::open(self.library.as_deref());
            session.adopt(opened.map_err(|why| {
                if cards.is_empty() { Unavailable(format!("{no_card}, and {why}")) } else { why }
            })?);
        } else if session.wants_library(&cards) {
            session.opening.start();
            session.adopt_opened(OPENING);
        }
        session.describe(&cards);
        Ok(Box::new(session))
    }
}

struct XpuSession {
    shared: Arc<Shared>,
    library: Option<Library>,
    /// Whether to open Level Zero beside the kernel: for root, or where the user names the library.
    may_open: bool,
    opening: BackgroundOpen,
    /// Whether the kernel drove a card when the session began.
    had_cards: bool,
    models: Models,
    backend: Backend,
}

impl XpuSession {
    /// Whether to open Level Zero beside the kernel now. Its driver wakes every GPU when it starts, so it is
    /// not opened while one sleeps.
    fn wants_library(&self, cards: &[Card]) -> bool {
        self.shared.choice == BackendChoice::Auto
            && self.library.is_none()
            && self.may_open
            && self.opening.is_due()
            && !cards.iter().any(|card| card.function.is_asleep().unwrap_or(true))
    }

    /// Takes a Level Zero that was opened meanwhile, waiting for it up to `timeout`, and returns whether the
    /// attempt has ended. After a failure the session goes on with the kernel alone, and `probe` names what
    /// is missing.
    fn adopt_opened(&mut self, timeout: Duration) -> bool {
        let Some(opened) = self.opening.wait(timeout) else { return false };
        if let Ok(opened) = opened {
            self.adopt(opened);
        }
        true
    }

    fn adopt(&mut self, (library, gpus): (Library, Vec<Gpu>)) {
        *self.shared.gpus() = Some(gpus);
        self.library = Some(library);
    }

    /// Updates what people read about the backends.
    fn describe(&mut self, cards: &[Card]) {
        let sysfs = &self.shared.roots.sysfs;
        let mut libraries = Vec::new();
        if self.shared.choice.reads_kernel() && !cards.is_empty() {
            libraries.push(sysfs.display().to_string());
        }
        let mut versions = vec![format!("kernel {}", self.kernel_release())];
        if let Some(library) = &self.library {
            libraries.push(library.path.clone());
            let lists_none = self.shared.gpus().iter().flatten().next().is_none();
            let but = if lists_none { ", which lists no GPU" } else { "" };
            versions.push(format!("Level Zero by {}{but}", library.init_function()));
        } else if let Some(why) = &self.opening.failure {
            versions.push(format!("without Level Zero: {why}"));
        }
        let marked = self.shared.gpus().iter().flatten().find_map(|gpu| gpu.simulated.clone());
        self.backend = Backend {
            library: libraries.join(" and "),
            version: versions.join(", "),
            simulated: marked.or_else(|| source::simulated::in_sysfs(sysfs).map(|machine| machine.name)),
        };
    }

    fn kernel_release(&self) -> String {
        File::new(&self.shared.roots.procfs, "sys/kernel/osrelease").text().unwrap_or_default()
    }

    /// A listed GPU, with what Level Zero knows of it.
    fn found(&self, card: Option<Card>, mut info: CardInfo) -> Found {
        if let Some(gpu) = self.shared.gpu(&info.address) {
            info.add(&gpu);
        }
        let shared = Arc::clone(&self.shared);
        Found {
            key: info.address.clone(),
            address: Some(info.address.clone()),
            identity: info.identity(None),
            open: Box::new(move || Ok(Box::new(GpuSampler::new(shared, card, info)))),
        }
    }
}

impl Session for XpuSession {
    fn backend(&self) -> &Backend {
        &self.backend
    }

    fn devices(&mut self, _prior: &Prior) -> Result<Vec<Found>, Lost> {
        let cards = Card::all(&self.shared.roots.sysfs);
        let changed = |code| Err(Lost::Session(Fault::new("bus/pci/drivers", code)));
        if self.had_cards && cards.is_empty() && !has_driver(&self.shared.roots.sysfs) {
            return changed(FaultCode::DriverUnloaded);
        }
        // Samplers were opened without the kernel's files, and go on without them.
        if !self.had_cards && !cards.is_empty() {
            return changed(FaultCode::DriverAppeared);
        }
        if self.wants_library(&cards) {
            self.opening.start();
        }
        if self.adopt_opened(Duration::ZERO) {
            self.describe(&cards);
        }
        if let Some(library) = &self.library
            && !cards.iter().any(|card| card.function.is_asleep().unwrap_or(false))
        {
            let known = self.shared.gpus().clone().unwrap_or_default();
            match library.gpus(&known) {
                Ok(gpus) => {
                    let has_changed = known.is_empty() != gpus.is_empty();
                    *self.shared.gpus() = Some(gpus);
                    if has_changed {
                        self.describe(&cards);
                    }
                }
                // The kernel lists them too.
                Err(fault) if !cards.is_empty() && !LOSSES.loses_session(&fault) => {}
                Err(fault) => return Err(LOSSES.of_list(fault)),
            }
        }
        // Where sysfs never showed a card, Level Zero lists them. A card that sysfs no longer shows is gone.
        if !self.had_cards {
            let gpus = self.shared.gpus().clone().unwrap_or_default();
            return Ok(gpus
                .into_iter()
                .map(|gpu| self.found(None, CardInfo { address: gpu.address, ..CardInfo::default() }))
                .collect());
        }
        let release = self.kernel_release();
        let models = cards.iter().map(|card| card.function.device());
        let models: Vec<_> = models
            .map(|device| device.map(|device| self.models.name(device).to_owned()).unwrap_or_default())
            .collect();
        let found = cards.into_iter().zip(models).map(|(card, model)| {
            let info = CardInfo {
                address: card.function.address.clone(),
                card: card.name.clone(),
                render_node: card.render_node.clone().unwrap_or_default(),
                model,
                driver: format!("{} {release}", card.driver.name()).trim().to_owned(),
                ..CardInfo::default()
            };
            self.found(Some(card), info)
        });
        Ok(found.collect())
    }
}

/// Whether one of the drivers is loaded, with or without a card.
fn has_driver(sysfs: &Path) -> bool {
    ["xe", "i915"].iter().any(|driver| sysfs.join("bus/pci/drivers").join(driver).exists())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
