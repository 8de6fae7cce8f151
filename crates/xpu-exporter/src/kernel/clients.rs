//! Who uses a GPU and how much, from the fdinfo of every open DRM file
//! (Documentation/gpu/drm-usage-stats.rst).
//!
//! The sum over clients is the engine's load only if every process can be seen; half a view would be a number
//! that is too low, so it is none at all.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use reading::{Absence, Fault};
use sysfs::{File, entries};

use crate::{Got, rates::Share};

/// Walking every file of every process costs milliseconds; a new client is found this much later at most.
const WALK_INTERVAL: Duration = Duration::from_secs(5);
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
    at: Instant,
    whole: Got<()>,
    files: Vec<OpenFile>,
}

/// One open DRM file.
#[derive(Clone, Debug)]
struct OpenFile {
    process: u32,
    /// `renderD128`, `card1`.
    node: String,
    fdinfo: PathBuf,
}

impl OpenFiles {
    /// Those below `procfs`.
    pub fn new(procfs: &Path) -> Self {
        Self { procfs: procfs.to_owned(), last: Mutex::new(None) }
    }

    /// The files that are open on one of `nodes`, and whether every process was seen.
    fn on(&self, nodes: &[String], now: Instant) -> (Got<()>, Vec<OpenFile>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_none_or(|walk| now.saturating_duration_since(walk.at) >= WALK_INTERVAL) {
            let (whole, files) = self.walk();
            *last = Some(Walk { at: now, whole, files });
        }
        let walk = last.as_ref().expect("walked above");
        (walk.whole, walk.files.iter().filter(|file| nodes.contains(&file.node)).cloned().collect())
    }

    fn walk(&self) -> (Got<()>, Vec<OpenFile>) {
        let unseen = |code| Fault { absence: Absence::Unsupported, call: FDINFO, code };
        let mut files = Vec::new();
        // The kernel's own first thread is process 2, and is in no other pid namespace than the machine's.
        if File::new(&self.procfs, "2/comm").text().as_deref() != Ok("kthreadd") {
            return (Err(unseen("needs_host_pid_namespace")), files);
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
                Ok(open) => files.extend(open.flatten().filter_map(|open| {
                    let target = fs::read_link(open.path()).ok()?;
                    let is_drm = target.parent().is_some_and(|parent| parent.ends_with("dri"));
                    let node = target.file_name().filter(|_| is_drm)?.to_str()?.to_owned();
                    Some(OpenFile { process, node, fdinfo: folder.join(FDINFO).join(open.file_name()) })
                })),
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                    whole = Err(unseen("needs_cap_sys_ptrace_and_dac_read_search"));
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

/// Reads the text of one client; `None` when it is not of a DRM driver, or cut short before its identity.
pub fn parse(text: &str) -> Option<Client> {
    let mut client = Client::default();
    let (mut address, mut id) = (None, None);
    let mut usages: HashMap<&str, (Option<u64>, Option<u64>, u64)> = HashMap::new();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        if let Some(class) = key.strip_prefix("drm-cycles-") {
            usages.entry(class).or_insert((None, None, 1)).0 = value.parse().ok();
        } else if let Some(class) = key.strip_prefix("drm-total-cycles-") {
            usages.entry(class).or_insert((None, None, 1)).1 = value.parse().ok();
        } else if let Some(class) = key.strip_prefix("drm-engine-capacity-") {
            let capacity = value.parse().ok().filter(|capacity| *capacity > 0);
            usages.entry(class).or_insert((None, None, 1)).2 = capacity.unwrap_or(1);
        } else if let Some(class) = key.strip_prefix("drm-engine-") {
            let nanoseconds = value.strip_suffix("ns").and_then(|number| number.trim().parse().ok());
            usages.entry(class).or_insert((None, None, 1)).0 = nanoseconds;
        } else if let Some(region) = key.strip_prefix("drm-resident-") {
            if region.starts_with("system") || region == "gtt" {
                let sum = bytes(value).map(|bytes| client.shared_bytes.unwrap_or(0).saturating_add(bytes));
                client.shared_bytes = sum.or(client.shared_bytes);
            }
        } else if key == "drm-pdev" {
            address = Some(value.to_owned());
        } else if key == "drm-client-id" {
            id = value.parse().ok();
        }
    }
    client.address = address?;
    client.id = id?;
    client.engines = usages
        .into_iter()
        .filter_map(|(class, (busy, total, capacity))| {
            Some(Usage { class: class.to_owned(), busy: busy?, total, capacity })
        })
        .collect();
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
    nodes: Vec<String>,
    started: Instant,
    /// Whether a round has gone before: only then a client's silence says that it did nothing.
    known: bool,
    shares: HashMap<(u64, String), Share>,
}

impl Clients {
    /// The clients of the card at a PCI address, who have one of `nodes` open.
    pub fn new(address: &str, nodes: Vec<String>) -> Self {
        let started = Instant::now();
        Self { address: address.to_owned(), nodes, started, known: false, shares: HashMap::new() }
    }

    /// Reads every client. `engines` are those that the card has.
    pub fn read(&mut self, open: &OpenFiles, engines: &[&'static str], now: Instant) -> Load {
        let (whole, files) = open.on(&self.nodes, now);
        let mut seen = HashSet::new();
        let mut processes = HashSet::new();
        let mut clients = Vec::new();
        let mut whole = whole;
        for file in files {
            let text = match File::called(file.fdinfo, FDINFO).bytes(FDINFO_MAX) {
                Ok(text) => text,
                Err(fault) => {
                    // A client that is gone is no part of the load; one that may not be read is.
                    whole = if fault.code == "EACCES" { Err(fault) } else { whole };
                    continue;
                }
            };
            let client = parse(&String::from_utf8_lossy(&text));
            if let Some(client) = client.filter(|client| client.address == self.address) {
                processes.insert(file.process);
                if seen.insert(client.id) {
                    clients.push(client);
                }
            }
        }
        if let Err(fault) = whole {
            self.known = false;
            self.shares.clear();
            let engines = engines.iter().map(|engine| (*engine, Err(fault))).collect();
            return Load { engines, shared_bytes: Err(fault), processes: Err(fault) };
        }
        let untold = Fault { absence: Absence::Unsupported, call: FDINFO, code: "no_resident_memory" };
        let shared = clients.iter().map(|client| client.shared_bytes.ok_or(untold));
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
        let first = Fault { absence: Absence::NoData, call: FDINFO, code: "first_reading" };
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
                let share_now = share.of(FDINFO, Ok((usage.busy, whole)));
                self.shares.insert(key, share);
                let engine = engine(&usage.class);
                let place = sums.iter().position(|(name, _)| *name == engine).unwrap_or_else(|| {
                    sums.push((engine, Ok(0.0)));
                    sums.len() - 1
                });
                let sum = &mut sums[place].1;
                *sum = match (*sum, share_now) {
                    // What a new client did before it was found is nobody's: it counts from now on.
                    (Ok(sum), Err(fault)) if known && fault.code == "first_reading" => Ok(sum),
                    (Ok(sum), Ok(more)) => Ok((sum + more).min(1.0)),
                    (Err(fault), _) | (_, Err(fault)) => Err(fault),
                };
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::symlink,
        path::Path,
        time::{Duration, Instant},
    };

    use super::{Clients, OpenFiles, Usage, parse};

    const XE: &str = "pos:\t0\nflags:\t02100002\ndrm-driver:\txe\ndrm-client-id:\t3\n\
        drm-pdev:\t0000:03:00.0\ndrm-total-system:\t0\ndrm-resident-system:\t8 KiB\n\
        drm-resident-gtt:\t192 KiB\ndrm-resident-vram0:\t23992 KiB\n\
        drm-cycles-ccs:\t2800\ndrm-total-cycles-ccs:\t7600\ndrm-engine-capacity-ccs:\t4\n\
        drm-cycles-rcs:\t100\ndrm-total-cycles-rcs:\t7600\n";

    #[test]
    fn both_drivers_are_read_and_a_cut_text_is_not() {
        let client = parse(XE).expect("whole");
        assert_eq!((client.id, client.address.as_str()), (3, "0000:03:00.0"));
        assert_eq!(client.shared_bytes, Some(200 << 10));
        let ccs = Usage { class: "ccs".into(), busy: 2800, total: Some(7600), capacity: 4 };
        assert_eq!(client.engines[0], ccs);
        let i915 = parse(
            "drm-pdev: 0000:00:02.0\ndrm-client-id: 7\ndrm-engine-video-enhance: 12345 ns\n\
             drm-engine-capacity-video: 2\ndrm-resident-system0: 4 MiB\ndrm-resident-local0: 4 MiB\n",
        );
        let i915 = i915.expect("whole");
        let usage = Usage { class: "video-enhance".into(), busy: 12_345, total: None, capacity: 1 };
        assert_eq!((i915.engines, i915.shared_bytes), (vec![usage], Some(4 << 20)));
        for text in ["", "drm-pdev: 0000:03:00.0", "drm-client-id: x\ndrm-pdev: y", "\u{fffd}\u{fffd}:"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        let odd = parse("drm-pdev: a\ndrm-client-id: 1\ndrm-cycles-rcs: many\ndrm-engine-capacity-rcs: 0");
        assert_eq!(odd.expect("it has an identity").engines, []);
    }

    fn client(procfs: &Path, process: u32, id: u32, ccs: u64, total: u64) {
        let folder = procfs.join(process.to_string());
        fs::create_dir_all(folder.join("fd")).expect("created");
        fs::create_dir_all(folder.join("fdinfo")).expect("created");
        let _ = fs::remove_file(folder.join("fd/9"));
        symlink("/dev/dri/renderD128", folder.join("fd/9")).expect("linked");
        let text = format!(
            "drm-pdev: 0000:03:00.0\ndrm-client-id: {id}\ndrm-resident-gtt: 1 KiB\n\
             drm-cycles-ccs: {ccs}\ndrm-total-cycles-ccs: {total}\ndrm-cycles-npu: 1\ndrm-total-cycles-npu: {total}\n"
        );
        fs::write(folder.join("fdinfo/9"), text).expect("written");
    }

    #[test]
    fn a_card_is_as_busy_as_its_clients_together() {
        let procfs = tempfile::tempdir().expect("a folder");
        let procfs = procfs.path();
        let open = OpenFiles::new(procfs);
        let mut clients = Clients::new("0000:03:00.0", vec!["renderD128".into()]);
        let start = Instant::now();
        let mut read = |seconds| {
            let load = clients.read(&open, &["render", "compute"], start + Duration::from_secs(seconds));
            let engines = load.engines.into_iter().map(|(name, got)| (name, got.map_err(|fault| fault.code)));
            (engines.collect::<Vec<_>>(), load.shared_bytes.map_err(|fault| fault.code), load.processes.ok())
        };
        let unseen = Err("needs_host_pid_namespace");
        let nothing = vec![("render", unseen), ("compute", unseen)];
        assert_eq!(read(0), (nothing, Err("needs_host_pid_namespace"), None));

        fs::create_dir_all(procfs.join("2")).expect("created");
        fs::write(procfs.join("2/comm"), "kthreadd\n").expect("written");
        client(procfs, 41, 1, 1000, 10_000);
        client(procfs, 42, 2, 0, 10_000);
        client(procfs, 45, 3, 0, 10_000);
        symlink("45", procfs.join("self")).expect("linked");
        // A second file of the same client counts once; the exporter itself does not.
        client(procfs, 43, 2, 0, 10_000);
        let first = Err("first_reading");
        let engines = vec![("render", first), ("compute", first), ("other", first)];
        assert_eq!(read(10), (engines, Ok(2 << 10), Some(3)));

        client(procfs, 41, 1, 1500, 11_000);
        client(procfs, 42, 2, 250, 11_000);
        client(procfs, 43, 2, 250, 11_000);
        assert_eq!(read(11).0, [("render", Ok(0.0)), ("compute", Ok(0.75)), ("other", Ok(0.0))]);
        // One ends, one comes, and the counter of the third goes back.
        fs::remove_dir_all(procfs.join("41")).expect("removed");
        client(procfs, 44, 9, 77, 12_000);
        client(procfs, 42, 2, 100, 12_000);
        assert_eq!(read(20).0[1], ("compute", Err("counter_fell")));
        client(procfs, 44, 9, 177, 13_000);
        client(procfs, 42, 2, 200, 13_000);
        client(procfs, 43, 2, 200, 13_000);
        assert_eq!(read(21).0[1], ("compute", Ok(0.2)));
    }
}
