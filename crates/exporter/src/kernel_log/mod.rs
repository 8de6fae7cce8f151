//! Errors of devices in the kernel log, beside those that their drivers announce: a library may be closed, hung or older
//! than the error, and some errors are in the log alone.
//!
//! What both report is counted once. The driver's count and the log's begin with the exporter, and each may have missed some,
//! so the larger of the two is shown: see [`with_errors`](crate::sampling::device). What was in the log before the exporter
//! started has a time and no count, as the counters of an exporter that has just started are 0.

mod messages;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    ops::RangeInclusive,
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use kernel::log::{Log, Next, Record};
use naming::{
    Count, Flag, Label, Seconds,
    catalogue::{
        KERNEL_LOG_ERROR_LAST, KERNEL_LOG_ERRORS, KERNEL_LOG_RECORDS, KERNEL_LOG_RECORDS_LOST, KERNEL_LOG_UP,
    },
};
use reading::{Batch, LabelValue, Labels};
use rustix::time::{ClockId, clock_gettime};
use source::{Backoff, LINE_PERIOD, Throttle, lock};
use tracing::{info, warn};

use self::messages::{AER, Message};
use crate::sampling::state::NodeState;

/// How often the log is read.
const PERIOD: Duration = Duration::from_secs(1);

/// Messages that are taken each time, so that a flood costs no more than a few milliseconds: the kernel overwrites the
/// rest, which is counted.
const RECORDS_MAX: u32 = 2000;

/// Messages that are taken as those from before, so that a log that always has more does not keep sampling from starting: a
/// large log has some ten thousand.
const RECORDS_BEFORE: u32 = 200_000;

/// How long an error waits before it counts: its driver may announce it too, for a partition of the device perhaps.
const SETTLE: Duration = Duration::from_secs(5);

/// Messages of one kind and code in different words within this time are one error.
const ONE_ERROR_SECONDS: f64 = 10.0;

/// Devices and codes that are remembered: a server has fewer, and a log that somebody else writes must not fill memory.
const DEVICES_MAX: usize = 512;
const CODES_MAX: usize = 64;

/// Pauses between attempts to open a log that cannot be read.
const RETRY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(1);

/// The errors of a device by kind and code.
pub type Errors = Vec<(&'static str, LabelValue, Error)>;

/// What the log has of one code of a device.
#[derive(Clone, Debug, Default)]
pub struct Error {
    /// How many since the exporter started.
    pub count: u64,
    /// Unix time of the last, in seconds.
    pub last: f64,
    /// When the current error was first reported, by the record's own time, and in which words.
    current: Option<(f64, Vec<u8>)>,
    /// How many wait, by when they were read.
    waiting: VecDeque<(Instant, u64)>,
}

/// What was read. Cheap to clone: every clone is the same.
#[derive(Clone, Debug, Default)]
pub struct KernelLog(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    devices: BTreeMap<String, Errors>,
    is_followed: bool,
    is_up: bool,
    records: u64,
    lost: u64,
}

impl KernelLog {
    /// The errors of the device at an address, if there are any.
    pub fn of(&self, address: &str) -> Option<Errors> {
        lock(&self.0).devices.get(address).cloned()
    }

    /// Its metrics: of the log itself, and of errors whose device is none of `node`'s.
    pub fn read(&self, node: &NodeState, batch: &mut Batch) {
        if !lock(&self.0).is_followed {
            return;
        }
        // Before the lock: a device that shows its errors holds its own lock while it asks for them.
        let own: BTreeSet<_> = node.devices().filter_map(|device| device.address()).collect();
        let state = lock(&self.0);
        batch.put(KERNEL_LOG_UP, Labels::NONE, Ok(Flag(state.is_up)));
        batch.put(KERNEL_LOG_RECORDS, Labels::NONE, Ok(Count(state.records)));
        batch.put(KERNEL_LOG_RECORDS_LOST, Labels::NONE, Ok(Count(state.lost)));
        let others = state.devices.iter().filter(|(address, _)| !own.contains(*address));
        for (address, errors) in others {
            for (kind, code, error) in errors.iter().filter(|(kind, ..)| *kind != AER) {
                let mut values = vec![(Label::Address, address.clone())];
                let error_labels = Labels::one(Label::Kind, *kind).with(Label::Code, *code);
                error_labels.for_each(|label, value| values.push((label, value.to_owned())));
                let labels = Labels::Shared(values.into());
                batch.put(KERNEL_LOG_ERRORS, labels.clone(), Ok(Count(error.count)));
                batch.put(KERNEL_LOG_ERROR_LAST, labels, Ok(Seconds(error.last)));
            }
        }
    }

    /// Notes what a message says of a device, at a Unix time. Of what was `before` the exporter, only that time.
    fn note(&self, address: String, message: &Message, unix: f64, before: bool, now: Instant) {
        let mut state = lock(&self.0);
        if state.devices.len() >= DEVICES_MAX && !state.devices.contains_key(&address) {
            return;
        }
        let errors = state.devices.entry(address).or_default();
        let known = errors.iter().position(|(kind, code, _)| (*kind, *code) == (message.kind, message.code));
        let place = known.unwrap_or(errors.len());
        if known.is_none() {
            if errors.len() >= CODES_MAX {
                return;
            }
            errors.push((message.kind, message.code, Error::default()));
        }
        let error = &mut errors[place].2;
        if error.is_one_with(message.wording, unix) {
            return;
        }
        error.last = error.last.max(unix);
        if !before {
            match error.waiting.back_mut() {
                Some((since, count)) if *since == now => *count += 1,
                _ => error.waiting.push_back((now, 1)),
            }
        }
    }

    /// Counts what has waited for long enough, and returns the addresses of devices of which something has changed since.
    fn settle(&self, now: Instant) -> Vec<String> {
        let mut state = lock(&self.0);
        let mut changed = Vec::new();
        for (address, errors) in &mut state.devices {
            let mut settled = 0;
            for (_, _, error) in errors {
                let is_due =
                    |error: &Error| error.waiting.front().is_some_and(|(since, _)| now - *since >= SETTLE);
                while is_due(error) {
                    let count = error.waiting.pop_front().map_or(0, |(_, count)| count);
                    error.count += count;
                    settled += count;
                }
            }
            if settled > 0 {
                changed.push(address.clone());
            }
        }
        changed
    }

    /// Follows the log at a path on a thread of its own, after what it has now was read.
    ///
    /// # Errors
    /// A thread cannot be started. That the log cannot be read is logged, and it is tried again.
    pub fn follow(&self, path: PathBuf, sysfs: PathBuf, node: &Arc<NodeState>) -> io::Result<()> {
        lock(&self.0).is_followed = true;
        let mut follower = Follower::new(self.clone(), path, sysfs);
        let first = follower.open();
        if first {
            follower.take(true, RECORDS_BEFORE);
        }
        let node = Arc::clone(node);
        thread::Builder::new()
            .name("kernel-log".into())
            .stack_size(128 * 1024)
            .spawn(move || follower.run(&node, first))
            .map(drop)
    }
}

impl Error {
    /// So many, the last at a Unix time.
    #[cfg(test)]
    pub fn of(count: u64, last: f64) -> Self {
        Self { count, last, ..Self::default() }
    }

    /// Whether a message in these words only repeats, in other words, the error that was reported last.
    fn is_one_with(&mut self, wording: u8, unix: f64) -> bool {
        match &mut self.current {
            Some((since, wordings))
                if (unix - *since).abs() < ONE_ERROR_SECONDS && !wordings.contains(&wording) =>
            {
                wordings.push(wording);
                true
            }
            current => {
                *current = Some((unix, vec![wording]));
                false
            }
        }
    }
}

/// Reads the log.
struct Follower {
    log: Option<Log>,
    shared: KernelLog,
    path: PathBuf,
    sysfs: PathBuf,
    lines: Throttle<(String, &'static str, LabelValue)>,
}

impl Follower {
    fn new(shared: KernelLog, path: PathBuf, sysfs: PathBuf) -> Self {
        Self { log: None, shared, path, sysfs, lines: Throttle::new(LINE_PERIOD) }
    }

    fn run(mut self, node: &NodeState, mut was_open: bool) {
        let (mut backoff, mut since) = (Backoff::default(), Instant::now());
        loop {
            if self.log.is_none() {
                thread::sleep(backoff.failed(&RETRY, Instant::now(), since.elapsed()));
                since = Instant::now();
                // What was written while it could not be read has been missed as before the start.
                if self.open() && !std::mem::replace(&mut was_open, true) {
                    self.take(true, RECORDS_BEFORE);
                }
                continue;
            }
            let changed = self.shared.settle(Instant::now());
            let changed: BTreeSet<_> = changed.into_iter().chain(self.take(false, RECORDS_MAX)).collect();
            if !changed.is_empty() {
                node.reported(&changed);
            }
            thread::sleep(PERIOD);
        }
    }

    /// Opens the log and returns whether it is open.
    fn open(&mut self) -> bool {
        let opened = Log::open(&self.path);
        let was_up = std::mem::replace(&mut lock(&self.shared.0).is_up, opened.is_ok());
        match &opened {
            Ok(_) if !was_up => info!(path = %self.path.display(), "the kernel log is read"),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                warn!(path = %self.path.display(), "the kernel log cannot be read: it needs root or CAP_SYSLOG");
            }
            Err(error) => warn!(path = %self.path.display(), %error, "the kernel log cannot be read"),
            Ok(_) => {}
        }
        self.log = opened.ok();
        self.log.is_some()
    }

    /// Reads up to so many messages, and returns the addresses of the devices that they are about.
    fn take(&mut self, before: bool, most: u32) -> Vec<String> {
        let (now, mut changed) = (Instant::now(), Vec::new());
        let (mut records, mut missed) = (0, 0);
        for _ in 0..most {
            let Some(log) = &mut self.log else { break };
            match log.read() {
                Ok(Next::Record(record)) => {
                    records += 1;
                    let Some(message) = messages::read(&record) else { continue };
                    let Some(address) = self.address(&record) else { continue };
                    let unix = unix_time(record.microseconds);
                    let lines = self.lines.admit((address.clone(), message.kind, message.code), now);
                    if let Some(count) = lines.filter(|_| !before) {
                        warn!(address, count, text = record.text, "an error in the kernel log");
                    }
                    self.shared.note(address.clone(), &message, unix, before, now);
                    changed.push(address);
                }
                Ok(Next::Lost(count)) => missed += count,
                Ok(Next::End) => break,
                Err(error) => {
                    warn!(path = %self.path.display(), %error, "the kernel log can no longer be read");
                    self.log = None;
                    lock(&self.shared.0).is_up = false;
                }
            }
        }
        let mut state = lock(&self.shared.0);
        state.records += records;
        state.lost += missed;
        changed
    }

    /// Where the device of a message is: in its text, or behind the name that the kernel gives its subject.
    fn address(&self, record: &Record) -> Option<String> {
        if let Some(address) = messages::address(&record.text) {
            return Some(address);
        }
        let subject = record.device.as_deref()?;
        if let Some(address) = subject.strip_prefix("+pci:") {
            return messages::address(address);
        }
        let node = self.sysfs.join("dev/char").join(subject.strip_prefix('c')?).join("device");
        messages::address(node.read_link().ok()?.file_name()?.to_str()?)
    }
}

/// The time of a record as Unix time. The log counts as the monotonic clock does.
fn unix_time(microseconds: u64) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let monotonic = clock_gettime(ClockId::Monotonic);
    let since_boot = monotonic.tv_sec as f64 + monotonic.tv_nsec as f64 / 1e9;
    now - (since_boot - microseconds as f64 / 1e6).max(0.0)
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use naming::Family;

    use super::*;
    use crate::{commands::choice::Chosen, tests::fake::timing};

    const AT: &str = "0000:3b:00.0";

    /// A log with a follower that has read what was there at first.
    fn follower(first: &str) -> (tempfile::TempDir, Follower) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kmsg");
        fs::write(&path, first).expect("written");
        let mut follower = Follower::new(KernelLog::default(), path, folder.path().to_owned());
        assert!(follower.open());
        follower.take(true, u32::MAX);
        (folder, follower)
    }

    fn add(folder: &tempfile::TempDir, text: &str) {
        let path = folder.path().join("kmsg");
        let mut file = fs::OpenOptions::new().append(true).open(path).expect("opened");
        file.write_all(text.as_bytes()).expect("written");
    }

    fn counts(follower: &Follower, address: &str) -> Vec<(&'static str, LabelValue, u64)> {
        let errors = follower.shared.of(address).unwrap_or_default();
        errors.into_iter().map(|(kind, code, error)| (kind, code, error.count)).collect()
    }

    fn settled() -> Instant {
        Instant::now() + SETTLE
    }

    fn xid(sequence: u64, seconds: u64, code: u32) -> String {
        format!("3,{sequence},{},-;NVRM: Xid (PCI:0000:3b:00): {code}, pid=1, x\n", seconds * 1_000_000)
    }

    #[test]
    fn what_was_there_before_has_a_time_and_what_follows_counts() {
        let (folder, mut follower) = follower(&(xid(1, 100, 79) + &xid(2, 200, 31)));
        assert_eq!(
            counts(&follower, AT),
            [("xid", LabelValue::Number(79), 0), ("xid", LabelValue::Number(31), 0)]
        );
        let last = |follower: &Follower| follower.shared.of(AT).expect("errors")[0].2.last;
        let first = last(&follower);
        assert!((unix_time(100_000_000) - first).abs() < 1.0);
        add(&folder, &(xid(3, 400, 79) + &xid(4, 401, 79)));
        assert_eq!(follower.take(false, RECORDS_MAX), [AT, AT]);
        assert!((last(&follower) - first - 301.0).abs() < 1.0);
        assert!(follower.shared.settle(Instant::now()).is_empty(), "its driver may announce them too");
        assert_eq!(follower.shared.settle(settled()), [AT]);
        assert_eq!(counts(&follower, AT)[0].2, 2);
        assert!(follower.shared.settle(settled()).is_empty(), "nothing has changed since");
    }

    #[test]
    fn one_error_in_several_wordings_counts_once_and_a_repeat_counts() {
        let (folder, mut follower) = follower("");
        let gone = |sequence, seconds| {
            format!("3,{sequence},{seconds}000000,-;NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus.\n")
        };
        add(&folder, &(gone(1, 100) + &xid(2, 101, 79) + &xid(3, 300, 79) + &gone(4, 300) + &gone(5, 500)));
        follower.take(false, RECORDS_MAX);
        follower.shared.settle(settled());
        assert_eq!(counts(&follower, AT), [("xid", LabelValue::Number(79), 3)]);
    }

    #[test]
    fn a_device_is_found_by_what_the_kernel_names_as_its_subject() {
        let (folder, mut follower) = follower("");
        let node = folder.path().join("dev/char/234:0");
        fs::create_dir_all(&node).expect("a folder");
        std::os::unix::fs::symlink("../../../devices/pci0000:16/0000:19:00.0", node.join("device"))
            .expect("a link");
        let text = ";habanalabs hl0: Going to RESET device!\n SUBSYSTEM=habanalabs\n DEVICE=";
        add(&folder, &format!("3,1,1,-{text}c234:0\n3,2,2,-{text}c234:9\n3,3,3,-{text}+pci:0000:1a:00.0\n"));
        assert_eq!(follower.take(false, RECORDS_MAX), ["0000:19:00.0", "0000:1a:00.0"]);
    }

    #[test]
    fn a_flood_is_taken_in_parts_and_what_is_overwritten_is_counted() {
        let (folder, mut follower) = follower("");
        let flood = (1..=5000)
            .fold(String::new(), |flood, sequence| flood + &format!("6,{sequence},1,-;usb 1-1: x\n"));
        add(&folder, &(flood + &xid(9001, 1, 79)));
        assert!(follower.take(false, RECORDS_MAX).is_empty());
        assert!(follower.take(false, RECORDS_MAX).is_empty());
        assert_eq!(follower.take(false, RECORDS_MAX), [AT]);
        let state = lock(&follower.shared.0);
        assert_eq!((state.records, state.lost), (5001, 4000));
    }

    #[test]
    fn a_log_that_somebody_else_writes_fills_no_memory() {
        let (folder, mut follower) = follower("");
        for code in 0..1000 {
            add(&folder, &xid(code + 1, 1, u32::try_from(code).expect("small")));
            let address = format!("NVRM: Xid (PCI:{code:04x}:3b:00): 79, x");
            add(&folder, &format!("3,{},1,-;{address}\n", 100_000 + code));
        }
        follower.take(false, u32::MAX);
        assert!(lock(&follower.shared.0).devices.len() <= DEVICES_MAX);
        assert!(follower.shared.of(AT).is_some_and(|errors| errors.len() <= CODES_MAX));
    }

    #[test]
    fn errors_of_devices_that_no_source_lists_are_the_exporters_own() {
        let (folder, mut follower) = follower("");
        let node = NodeState::new([Family::Nvidia], false, timing(), &Chosen::all([]));
        let read = |follower: &Follower| {
            let mut batch = Batch::default();
            batch.begin_exporter();
            follower.shared.read(&node, &mut batch);
            batch.finish().remove(0)
        };
        assert!(read(&follower).readings().is_empty(), "nobody asked for it");
        lock(&follower.shared.0).is_followed = true;
        add(&folder, "4,1,1,-;nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32\n");
        add(&folder, "4,2,1,-;nvme 0000:06:00.0: PCIe Bus Error: severity=Uncorrectable (Fatal), type=x\n");
        follower.take(false, RECORDS_MAX);
        follower.shared.settle(settled());
        let subject = read(&follower);
        let [error] = subject.of(KERNEL_LOG_ERRORS.id) else { panic!("{subject:?}") };
        let labels = error.labels.texts();
        assert_eq!(
            (&*labels["address"], &*labels["kind"], &*labels["code"]),
            ("0000:05:00.0", "sxid", "12028")
        );
        assert_eq!(error.value, naming::Value::Int(1));
    }

    #[test]
    fn a_scrape_and_a_device_that_shows_its_errors_do_not_wait_for_each_other() {
        let node = NodeState::new([Family::Nvidia], false, timing(), &Chosen::all([]));
        lock(&node.kernel_log.0).is_followed = true;
        let identity = Arc::new(reading::Identity::new(Family::Nvidia, "gpu0"));
        let open = Box::new(|| Err(reading::Fault::new("open", reading::FaultCode::Unavailable)));
        let found = reading::Found { key: "gpu0".to_owned(), address: Some(AT.to_owned()), identity, open };
        let device = node.sources[0].device(&found);
        thread::scope(|scope| {
            scope.spawn(|| (0..20_000).for_each(|_| device.reported()));
            for _ in 0..20_000 {
                let mut batch = Batch::default();
                batch.begin_exporter();
                node.kernel_log.read(&node, &mut batch);
            }
        });
    }
}
