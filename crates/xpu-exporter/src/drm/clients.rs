//! Who uses a GPU and how much, from the fdinfo of every open DRM file
//! (Documentation/gpu/drm-usage-stats.rst).
//!
//! The sum over clients is the engine's load only if every process can be seen; half a view would be a number
//! that is too low, so it is none at all.

use std::{
    collections::{HashMap, HashSet},
    fs,
    io::ErrorKind,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use kernel::{File, entries};
use reading::{Fault, FaultCode};

use crate::{Got, rates::Share};

/// Every file of every process is walked this often: so much later is a new client found.
const WALK_INTERVAL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(1));
/// With fifty thousand open files a walk takes a quarter of a second. The next one begins so many times later, so that
/// a large machine, too, spends about a hundredth of a core on it.
const WALK_REST: u32 = 100;
/// The text of one client is a few KiB.
const FDINFO_MAX: usize = 64 * 1024;

const FDINFO: &str = "fdinfo";

/// Engine classes as xe and i915 call them, and as we do.
const CLASSES: [(&str, &str); 10] = [
    ("rcs", "render"),
    ("bcs", "copy"),
    ("vcs", "media"),
    ("vecs", "enhance"),
    ("ccs", "compute"),
    ("render", "render"),
    ("copy", "copy"),
    ("video", "media"),
    ("video-enhance", "enhance"),
    ("compute", "compute"),
];

/// Our word for a driver's engine class; `other` for one that came after this was written.
pub fn engine(class: &str) -> &'static str {
    CLASSES.iter().find(|(theirs, _)| *theirs == class).map_or("other", |(_, ours)| ours)
}

/// The open DRM files of the machine, walked for all its cards together.
#[derive(Debug)]
pub struct OpenFiles {
    procfs: PathBuf,
    last: Mutex<Option<Walk>>,
}

#[derive(Debug)]
struct Walk {
    /// When the next one is due.
    next: Instant,
    whole: Got<()>,
    files: Vec<OpenFile>,
}

/// A device node of the DRM class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `renderD128`, `card1`.
    pub name: String,
    /// The kernel's number for it, where it is known: a container may have the node under another name.
    pub number: Option<u64>,
}

impl Node {
    fn is(&self, other: &Self) -> bool {
        match (self.number, other.number) {
            (Some(one), Some(other)) => one == other,
            _ => self.name == other.name,
        }
    }
}

/// One open DRM file.
#[derive(Clone, Debug)]
struct OpenFile {
    process: u32,
    node: Node,
    /// `fd/<n>` of its process, and where that leads.
    link: PathBuf,
    target: PathBuf,
    fdinfo: PathBuf,
}

impl OpenFile {
    /// The open file behind an entry of a process's `fd` folder, if it is one of the DRM class.
    fn behind(process: u32, folder: &Path, link: &fs::DirEntry) -> Option<Self> {
        let (name, link) = (link.file_name(), link.path());
        let target = fs::read_link(&link).ok()?;
        let is_drm = target.parent().is_some_and(|parent| parent.ends_with("dri"));
        let node = target.file_name().filter(|_| is_drm)?.to_str()?.to_owned();
        let number = fs::metadata(&link).ok().filter(|node| node.file_type().is_char_device());
        let node = Node { name: node, number: number.map(|node| node.rdev()) };
        Some(Self { process, node, link, target, fdinfo: folder.join(FDINFO).join(name) })
    }

    /// Whether it has been closed since it was found, or its process has ended.
    fn is_closed(&self) -> bool {
        match fs::read_link(&self.link) {
            Ok(target) => target != self.target,
            Err(error) => error.kind() != ErrorKind::PermissionDenied,
        }
    }
}

/// From the beginning of one walk to that of the next, by how long it took.
fn pause(walk: Duration) -> Duration {
    (walk * WALK_REST).clamp(WALK_INTERVAL.0, WALK_INTERVAL.1)
}

impl OpenFiles {
    /// Those below `procfs`.
    pub fn new(procfs: &Path) -> Self {
        Self { procfs: procfs.to_owned(), last: Mutex::new(None) }
    }

    /// The files that are open on one of `nodes`, and whether every process was seen.
    fn on(&self, nodes: &[Node], now: Instant) -> (Got<()>, Vec<OpenFile>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_none_or(|walk| now >= walk.next) {
            let begun = Instant::now();
            let (whole, files) = self.walk();
            *last = Some(Walk { next: now + pause(begun.elapsed()), whole, files });
        }
        let walk = last.as_ref().expect("walked above");
        let on_nodes = walk.files.iter().filter(|file| nodes.iter().any(|node| node.is(&file.node)));
        (walk.whole, on_nodes.cloned().collect())
    }

    fn walk(&self) -> (Got<()>, Vec<OpenFile>) {
        let mut files = Vec::new();
        // The kernel's own first thread is process 2, and is in no other pid namespace than the machine's.
        if File::new(&self.procfs, "2/comm").text().as_deref() != Ok("kthreadd") {
            return (Err(Fault::new(FDINFO, FaultCode::NeedsHostPidNamespace)), files);
        }
        // Level Zero's driver, in this process, keeps nodes open too.
        let own = fs::read_link(self.procfs.join("self")).ok();
        let own = own.and_then(|own| own.to_str()?.parse::<u32>().ok());
        let mut whole = Ok(());
        for process in entries(&self.procfs).iter().filter_map(|name| name.parse::<u32>().ok()) {
            if own == Some(process) {
                continue;
            }
            let folder = self.procfs.join(process.to_string());
            match fs::read_dir(folder.join("fd")) {
                Ok(open) => {
                    files.extend(open.flatten().filter_map(|link| OpenFile::behind(process, &folder, &link)));
                }
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    whole = Err(Fault::new(FDINFO, FaultCode::NeedsPtrace));
                }
                // It ended meanwhile.
                Err(_) => {}
            }
        }
        (whole, files)
    }
}

/// What one client says of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// PCI address of the GPU.
    pub address: String,
    /// The driver's number for the client; several open files may be of one.
    pub id: u64,
    /// Engine classes that it has used, as the driver calls them.
    pub engines: Vec<Usage>,
    /// Host memory resident for it, bytes, where the driver tells.
    pub shared_bytes: Option<u64>,
}

/// A client's use of an engine class.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// `rcs`, `video`, ...
    pub class: String,
    /// Ticks (xe) or nanoseconds (i915) for which it was busy with the client's work.
    pub busy: u64,
    /// Ticks that passed on the same clock, on xe.
    pub total: Option<u64>,
    /// Engines of the class.
    pub capacity: u64,
}

/// What the lines of one engine class say.
#[derive(Default)]
struct Lines {
    cycles: Option<u64>,
    total: Option<u64>,
    nanoseconds: Option<u64>,
    capacity: Option<u64>,
}

impl Lines {
    /// Busy time and the time that passed; `None` when one is there without the other.
    fn times(&self) -> Option<(u64, Option<u64>)> {
        match (self.cycles, self.total, self.nanoseconds) {
            (Some(busy), Some(total), _) => Some((busy, Some(total))),
            (None, None, Some(busy)) => Some((busy, None)),
            _ => None,
        }
    }
}

/// Reads the text of one client; `None` when it is not of a DRM driver, cut short, or no number where one belongs:
/// what is left out would be load that nobody sees.
pub fn parse(text: &str) -> Option<Client> {
    let mut client = Client::default();
    let (mut address, mut id) = (None, None);
    let mut classes: HashMap<&str, Lines> = HashMap::new();
    let mut resident = Vec::new();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        let number = || value.parse::<u64>().ok();
        if let Some(class) = key.strip_prefix("drm-cycles-") {
            classes.entry(class).or_default().cycles = Some(number()?);
        } else if let Some(class) = key.strip_prefix("drm-total-cycles-") {
            classes.entry(class).or_default().total = Some(number()?);
        } else if let Some(class) = key.strip_prefix("drm-engine-capacity-") {
            classes.entry(class).or_default().capacity = Some(number()?);
        } else if let Some(class) = key.strip_prefix("drm-engine-") {
            let nanoseconds = value.strip_suffix("ns").and_then(|number| number.trim().parse().ok());
            classes.entry(class).or_default().nanoseconds = Some(nanoseconds?);
        } else if let Some(region) = key.strip_prefix("drm-resident-") {
            if region.starts_with("system") || region == "gtt" {
                resident.push(bytes(value)?);
            }
        } else if key == "drm-pdev" {
            address = Some(value.to_owned());
        } else if key == "drm-client-id" {
            id = number();
        }
    }
    client.address = address?;
    client.id = id?;
    client.shared_bytes = resident.into_iter().reduce(|sum: u64, bytes| sum.saturating_add(bytes));
    for (class, lines) in classes {
        let (busy, total) = lines.times()?;
        let capacity = lines.capacity.unwrap_or(1).max(1);
        client.engines.push(Usage { class: class.to_owned(), busy, total, capacity });
    }
    client.engines.sort_by(|a, b| a.class.cmp(&b.class));
    Some(client)
}

/// `0`, `192 KiB`, `16 MiB`.
fn bytes(value: &str) -> Option<u64> {
    let (number, unit) = value.split_once(' ').unwrap_or((value, ""));
    let factor = match unit.trim() {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// What the clients of one card do together.
#[derive(Debug)]
pub struct Load {
    /// Busy share of each engine.
    pub engines: Vec<(&'static str, Got<f64>)>,
    /// Host memory resident for clients, bytes.
    pub shared_bytes: Got<u64>,
    /// Processes that have the card open.
    pub processes: Got<u64>,
}

/// The clients of one card, round after round.
#[derive(Debug)]
pub struct Clients {
    address: String,
    nodes: Vec<Node>,
    started: Instant,
    /// Whether a round has gone before: only then a client's silence says that it did nothing.
    known: bool,
    shares: HashMap<(u64, String), Share>,
}

impl Clients {
    /// The clients of the card at a PCI address, who have one of `nodes` open.
    pub fn new(address: &str, nodes: Vec<Node>) -> Self {
        let started = Instant::now();
        Self { address: address.to_owned(), nodes, started, known: false, shares: HashMap::new() }
    }

    /// Reads every client. `engines` are those that the card has.
    pub fn read(&mut self, open: &OpenFiles, engines: &[&'static str], now: Instant) -> Load {
        let (mut whole, files) = open.on(&self.nodes, now);
        let mut seen = HashSet::new();
        let mut processes = HashSet::new();
        let mut clients = Vec::new();
        for file in files {
            let text = File::called(file.fdinfo.clone(), FDINFO).bytes(FDINFO_MAX);
            match text.map(|text| parse(&String::from_utf8_lossy(&text))) {
                Ok(Some(client)) => {
                    if client.address == self.address {
                        processes.insert(file.process);
                        if seen.insert(client.id) {
                            clients.push(client);
                        }
                    }
                }
                // A client that is gone is no part of the load; one that does not tell its part is.
                _ if file.is_closed() => {}
                Ok(None) => whole = Err(Fault::new(FDINFO, FaultCode::NoClient)),
                Err(fault) => whole = Err(fault),
            }
        }
        if let Err(fault) = whole {
            self.known = false;
            self.shares.clear();
            let engines = engines.iter().map(|engine| (*engine, Err(fault))).collect();
            return Load { engines, shared_bytes: Err(fault), processes: Err(fault) };
        }
        let shared = clients
            .iter()
            .map(|client| client.shared_bytes.ok_or(Fault::new(FDINFO, FaultCode::NoResidentMemory)));
        Load {
            shared_bytes: shared.sum(),
            processes: Ok(processes.len() as u64),
            engines: self.shares(&clients, engines, now),
        }
    }

    fn shares(
        &mut self,
        clients: &[Client],
        engines: &[&'static str],
        now: Instant,
    ) -> Vec<(&'static str, Got<f64>)> {
        // Kernels before Linux 6.11 (xe) or 5.19 (i915) and virtual functions tell who is there and not what they do.
        if clients.iter().any(|client| client.engines.is_empty()) {
            self.known = false;
            self.shares.clear();
            return engines
                .iter()
                .map(|engine| (*engine, Err(Fault::new(FDINFO, FaultCode::NoEngineTime))))
                .collect();
        }
        let first = Fault::new(FDINFO, FaultCode::FirstReading);
        let known = std::mem::replace(&mut self.known, true);
        let mut old = std::mem::take(&mut self.shares);
        let nothing = |engine: &&'static str| (*engine, if known { Ok(0.0) } else { Err(first) });
        let mut sums: Vec<_> = engines.iter().map(nothing).collect();
        let elapsed = now.saturating_duration_since(self.started).as_nanos();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        for client in clients {
            for usage in &client.engines {
                let key = (client.id, usage.class.clone());
                let mut share = old.remove(&key).unwrap_or_default();
                let whole = usage.total.unwrap_or(elapsed).saturating_mul(usage.capacity);
                let share_now = share.of_lagging(FDINFO, (usage.busy, whole));
                self.shares.insert(key, share);
                let engine = engine(&usage.class);
                let place = sums.iter().position(|(name, _)| *name == engine).unwrap_or_else(|| {
                    sums.push((engine, Ok(0.0)));
                    sums.len() - 1
                });
                let sum = &mut sums[place].1;
                *sum = match (*sum, share_now) {
                    // What a new client did before it was found is nobody's: it counts from now on.
                    (Ok(sum), Err(fault)) if known && fault.code == FaultCode::FirstReading => Ok(sum),
                    (Ok(sum), Ok(more)) => Ok((sum + more).min(1.0)),
                    (Err(fault), _) | (_, Err(fault)) => Err(fault),
                };
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests;
