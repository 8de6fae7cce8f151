//! The source: finding the cards that the kernel drives, and opening Level Zero beside it.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use clap::ValueEnum;
use kernel::{File, open_files::OpenFiles};
use naming::{Family, FaultCode};
use reading::{Backend, Fault, Found, Lost, Prior, Session, Source, Unavailable};
use source::{library, lock};

use crate::{
    drm::{Card, FDINFO, Roots},
    identity::CardInfo,
    level_zero::{self, BackgroundOpen, ListedGpus, SharedSource},
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
    /// Open DRM files of all processes.
    pub open: Arc<OpenFiles>,
    /// The cards that the kernel drives, with what it says of them, as of the last list.
    pub cards: Mutex<Vec<(Card, CardInfo)>>,
    /// What Level Zero lists.
    pub gpus: ListedGpus,
}

/// Intel GPUs on this node.
pub struct XpuSource {
    roots: Roots,
    level_zero: SharedSource,
    is_given: bool,
    choice: BackendChoice,
    hold_awake: bool,
    detached: BTreeSet<String>,
}

impl XpuSource {
    /// A source that reads below `roots`, and Level Zero through `level_zero`. `is_given` says whether the
    /// user named the loader.
    pub fn new(
        roots: Roots,
        level_zero: Box<dyn Source>,
        is_given: bool,
        choice: BackendChoice,
        hold_awake: bool,
    ) -> Self {
        Self {
            roots,
            level_zero: Arc::new(Mutex::new(level_zero)),
            is_given,
            choice,
            hold_awake,
            detached: BTreeSet::new(),
        }
    }
}

impl Source for XpuSource {
    fn family(&self) -> Family {
        Family::Xpu
    }

    fn leave_alone(&mut self, detached: &BTreeSet<String>) {
        self.detached.clone_from(detached);
    }

    fn connect(&mut self) -> Result<Box<dyn Session>, Unavailable> {
        let may_open = self.is_given || is_root();
        let cards = Card::all(&self.roots.sysfs);
        let why_closed = match self.choice {
            BackendChoice::Kernel => FaultCode::NeedsXpuBackend,
            BackendChoice::Auto if !may_open => FaultCode::NeedsRoot,
            BackendChoice::Auto | BackendChoice::LevelZero => FaultCode::NotOpen,
        };
        let mut session = XpuSession {
            shared: Arc::new(Shared {
                roots: self.roots.clone(),
                choice: self.choice,
                hold_awake: self.hold_awake,
                open: Arc::new(OpenFiles::new(&self.roots.procfs, FDINFO)),
                cards: Mutex::default(),
                gpus: ListedGpus::none(Fault::new("level_zero", why_closed)),
            }),
            level_zero: None,
            may_open,
            opening: BackgroundOpen::new(Arc::clone(&self.level_zero)),
            had_cards: !cards.is_empty(),
            models: Models::below(self.roots.sysfs.parent().unwrap_or(Path::new("/"))),
            backend: Backend::default(),
            detached: self.detached.clone(),
        };
        if self.choice == BackendChoice::LevelZero || cards.is_empty() {
            let no_card = "no Intel GPU is bound to xe or i915";
            let may_have_one = || library::may_be_needed(Family::Xpu, &DRIVERS, &self.roots.sysfs);
            if self.choice == BackendChoice::Kernel || !self.is_given && cards.is_empty() && !may_have_one() {
                return Err(Unavailable(format!("{no_card}; load the driver, or mount the host's /sys")));
            }
            if let Some(address) = self.detached.first() {
                let why = format!(
                    "{address} is detached, and Level Zero opens every GPU; attach it, or read the \
                                   others by the kernel's driver"
                );
                return Err(Unavailable(why));
            }
            let opened = level_zero::open(&self.level_zero);
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
    /// Level Zero, and since when it is open.
    level_zero: Option<(Box<dyn Session>, Instant)>,
    /// Whether to open Level Zero beside the kernel: for root, or where the user names the library.
    may_open: bool,
    opening: BackgroundOpen,
    /// Whether the kernel drove a card when the session began.
    had_cards: bool,
    models: Models,
    backend: Backend,
    /// GPUs that must not be opened.
    detached: BTreeSet<String>,
}

impl XpuSession {
    /// Whether to open Level Zero beside the kernel now. Its driver wakes and opens every GPU when it starts, so it is
    /// not opened while one sleeps, or is detached and has its driver.
    fn wants_library(&self, cards: &[Card]) -> bool {
        self.shared.choice == BackendChoice::Auto
            && self.level_zero.is_none()
            && self.may_open
            && self.opening.is_due()
            && !cards.iter().any(|card| {
                self.detached.contains(&card.function.address) || card.function.is_asleep().unwrap_or(true)
            })
    }

    /// Takes a Level Zero that was opened meanwhile, waiting for it up to `timeout`. After a failure the
    /// session goes on with the kernel alone, and `probe` names what is missing.
    fn adopt_opened(&mut self, timeout: Duration) {
        if let Some(opened) = self.opening.wait(timeout) {
            self.adopt(opened);
        }
    }

    fn adopt(&mut self, (session, found): (Box<dyn Session>, Vec<Found>)) {
        self.shared.gpus.open(found);
        self.level_zero = Some((session, Instant::now()));
    }

    /// Goes on with the kernel alone, and opens Level Zero again later.
    fn lose_level_zero(&mut self, why: Fault) {
        self.shared.gpus.close(why);
        if let Some((_, since)) = self.level_zero.take() {
            self.opening.failed(Unavailable(why.to_string()), since.elapsed());
        }
    }

    /// Brings Level Zero's list up to date, opens it where it is not open, and closes one that was lost.
    fn attend_level_zero(&mut self, cards: &[Card]) -> Result<(), Lost> {
        if let Some(why) = self.shared.gpus.why_closed() {
            self.lose_level_zero(why);
        }
        if self.wants_library(cards) {
            self.opening.start();
        }
        self.adopt_opened(Duration::ZERO);
        let is_one_asleep = || cards.iter().any(|card| card.function.is_asleep().unwrap_or(false));
        let Some((session, _)) = self.level_zero.as_mut().filter(|_| !is_one_asleep()) else { return Ok(()) };
        match session.devices(&Prior::default()) {
            Ok(found) => self.shared.gpus.update(found),
            Err(lost) if cards.is_empty() || !self.shared.choice.reads_kernel() => return Err(lost),
            // The kernel lists them too.
            Err(Lost::Device(_)) => {}
            Err(Lost::Session(why)) => self.lose_level_zero(why),
        }
        Ok(())
    }

    /// Updates what people read about the backends.
    fn describe(&mut self, cards: &[Card]) {
        let sysfs = &self.shared.roots.sysfs;
        let mut libraries = Vec::new();
        if self.shared.choice.reads_kernel() && !cards.is_empty() {
            libraries.push(sysfs.display().to_string());
        }
        let mut versions = vec![format!("kernel {}", self.kernel_release())];
        let mut marked = None;
        if let Some((session, _)) = &self.level_zero {
            let Backend { library, version, simulated } = session.backend();
            libraries.push(library.clone());
            let but = if self.shared.gpus.is_empty() { ", which lists no GPU" } else { "" };
            versions.push(format!("{version}{but}"));
            marked.clone_from(simulated);
        } else if let Some(why) = &self.opening.failure {
            versions.push(format!("without Level Zero: {why}"));
        }
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
        if let Some(facts) = self.shared.gpus.facts(&info.address) {
            info.add(&facts);
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

    fn devices(&mut self, prior: &Prior) -> Result<Vec<Found>, Lost> {
        self.detached.clone_from(&prior.detached);
        let cards = Card::all(&self.shared.roots.sysfs);
        let changed = |code| Err(Lost::Session(Fault::new("bus/pci/drivers", code)));
        if self.had_cards && cards.is_empty() && !has_driver(&self.shared.roots.sysfs) {
            return changed(FaultCode::DriverUnloaded);
        }
        // Samplers were opened without the kernel's files, and go on without them.
        if !self.had_cards && !cards.is_empty() {
            return changed(FaultCode::DriverAppeared);
        }
        self.attend_level_zero(&cards)?;
        self.describe(&cards);
        // Where sysfs never showed a card, Level Zero lists them. A card that sysfs no longer shows is gone.
        if !self.had_cards {
            let found = |address| self.found(None, CardInfo { address, ..CardInfo::default() });
            return Ok(self.shared.gpus.addresses().into_iter().map(found).collect());
        }
        let release = self.kernel_release();
        let models = cards.iter().map(|card| card.function.device());
        let models: Vec<_> = models
            .map(|device| device.map(|device| self.models.name(device).to_owned()).unwrap_or_default())
            .collect();
        let cards = cards.into_iter().zip(models).map(|(card, model)| {
            let info = CardInfo {
                address: card.function.address.clone(),
                card: card.name.clone(),
                render_node: card.render_node.clone().unwrap_or_default(),
                resource_name: card.function.resource_name().unwrap_or_default(),
                model,
                driver: format!("{} {release}", card.driver.name()).trim().to_owned(),
                ..CardInfo::default()
            };
            (card, info)
        });
        let cards: Vec<_> = cards.collect();
        lock(&self.shared.cards).clone_from(&cards);
        Ok(cards.into_iter().map(|(card, info)| self.found(Some(card), info)).collect())
    }

    fn let_go(&mut self) -> bool {
        self.adopt_opened(OPENING);
        self.shared.gpus.close(Fault::new("level_zero", FaultCode::NotOpen));
        self.level_zero.take().is_none_or(|(mut session, _)| session.let_go())
    }
}

/// The kernel's drivers of Intel GPUs.
const DRIVERS: [&str; 2] = ["xe", "i915"];

/// Whether one of the drivers is loaded, with or without a card.
fn has_driver(sysfs: &Path) -> bool {
    DRIVERS.iter().any(|driver| sysfs.join("bus/pci/drivers").join(driver).exists())
}

/// Whether this process may ask the driver for everything.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
