//! A source whose calls return a value, fail, panic or hang as the test chooses.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    rc::Rc,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use exposition::{Format, Options, encode};
use naming::{
    Bytes, Count, Family, Flag, Label, Ratio, Watts,
    catalogue::{
        DEVICE_INFO, ENGINE_ACTIVE, ERRORS, FAN_SPEED, LINK_RECEIVE, POWER, TEMPERATURE, XID_WINDOW,
        XID_WINDOW_EMPTY,
    },
};
use reading::{
    Absence, Backend, Batch, Fault, Found, Identity, Labels, Lost, Prior, Sampler, Session, Source,
    Unavailable,
};

use crate::{
    commands::choice::Chosen,
    http::web_config::guard::Guard,
    sampling::state::NodeState,
    sampling::supervisor,
    sampling::timing::Timing,
    self_metrics::{HttpCounts, SelfMetrics},
};

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Succeed,
    Fail,
    LoseSession,
    Panic,
    /// Until the test chooses another act; then that.
    Hang,
}

pub const BROKEN: Fault = Fault::returned(Absence::Failed, "fake_call", "FAKE_BROKEN");
pub const MISSING: Fault = Fault::returned(Absence::Unsupported, "fake_fan", "FAKE_NOT_SUPPORTED");

/// What the test sets and sees.
#[derive(Debug, Default)]
struct State {
    acts: BTreeMap<String, Act>,
    devices: Vec<&'static str>,
    /// Names of devices, where they are not their keys.
    renamed: BTreeMap<&'static str, &'static str>,
    /// Places of devices on the bus, where they have one.
    addresses: BTreeMap<&'static str, &'static str>,
    calls: BTreeMap<String, u64>,
    /// Threads now, and at most ever, in calls for a device.
    threads: BTreeMap<String, (usize, usize)>,
    sessions: i32,
    links: u32,
    /// Events that the driver announced, by device.
    events: BTreeMap<String, u64>,
}

/// The machine behind the source.
#[derive(Clone, Debug, Default)]
pub struct Machine(Arc<(Mutex<State>, Condvar)>);

impl Machine {
    pub fn with(devices: &[&'static str]) -> Self {
        let machine = Self::default();
        machine.state().devices = devices.to_vec();
        machine
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// From now on `call` (`connect`, `devices`, `open gpu0`, `sample gpu0`) does `act`.
    pub fn set(&self, call: &str, act: Act) {
        self.state().acts.insert(call.to_owned(), act);
        self.0.1.notify_all();
    }

    pub fn plug(&self, devices: &[&'static str]) {
        self.state().devices = devices.to_vec();
    }

    pub fn devices(&self) -> Vec<&'static str> {
        self.state().devices.clone()
    }

    pub fn rename(&self, key: &'static str, name: &'static str) {
        self.state().renamed.insert(key, name);
    }

    pub fn place(&self, key: &'static str, address: &'static str) {
        self.state().addresses.insert(key, address);
    }

    /// Links per device, to make bodies large.
    pub fn links(&self, links: u32) {
        self.state().links = links;
    }

    /// The driver announces an event of a device.
    pub fn announce(&self, key: &str) {
        *self.state().events.entry(key.to_owned()).or_default() += 1;
    }

    /// Puts the events of a device.
    fn put_events(&self, key: &str, batch: &mut Batch) {
        let count = self.state().events.get(key).copied().unwrap_or(0);
        let code = Labels::one(Label::Kind, "xid").with(Label::Code, 79);
        batch.put(ERRORS, code, Ok(Count(count)));
        let window = Labels::one(Label::WindowSizeInMs, 300_000);
        match count {
            0 => batch.put(XID_WINDOW_EMPTY, window, Ok(Count(0))),
            _ => batch.put(XID_WINDOW, window.with(Label::Xid, 79), Ok(Count(count))),
        }
    }

    pub fn calls(&self, call: &str) -> u64 {
        self.state().calls.get(call).copied().unwrap_or(0)
    }

    /// The most threads that ever were in calls for this device at the same time.
    pub fn most_threads(&self, device: &str) -> usize {
        self.state().threads.get(device).map_or(0, |(_, most)| *most)
    }

    pub fn sessions(&self) -> i32 {
        self.state().sessions
    }

    /// What the call does, once it does not hang any more.
    fn act(&self, call: &str) -> Act {
        let mut state = self.state();
        *state.calls.entry(call.to_owned()).or_default() += 1;
        let act = |state: &State| state.acts.get(call).copied().unwrap_or(Act::Succeed);
        while act(&state) == Act::Hang {
            state = self.0.1.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        let act = act(&state);
        drop(state);
        assert!(act != Act::Panic, "the test wants a panic in {call}");
        act
    }

    fn enter(&self, device: &str) -> Inside {
        let mut state = self.state();
        let (now, most) = state.threads.entry(device.to_owned()).or_default();
        *now += 1;
        *most = (*most).max(*now);
        Inside(self.clone(), device.to_owned())
    }
}

/// A thread in a call for a device.
struct Inside(Machine, String);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.state().threads.get_mut(&self.1).expect("entered").0 -= 1;
    }
}

pub struct FakeSource(pub Machine);

impl Source for FakeSource {
    fn family(&self) -> Family {
        Family::Nvidia
    }

    fn connect(&mut self) -> Result<Box<dyn Session>, Unavailable> {
        if self.0.act("connect") != Act::Succeed {
            return Err(Unavailable("libfake.so.1: not found; install it".to_owned()));
        }
        self.0.state().sessions += 1;
        let backend = Backend { library: "libfake.so.1".into(), version: "1.0".into(), simulated: None };
        Ok(Box::new(FakeSession { machine: self.0.clone(), backend }))
    }
}

struct FakeSession {
    machine: Machine,
    backend: Backend,
}

impl Session for FakeSession {
    fn backend(&self) -> &Backend {
        &self.backend
    }

    fn devices(&mut self, _prior: &Prior) -> Result<Vec<Found>, Lost> {
        match self.machine.act("devices") {
            Act::Succeed => {}
            Act::LoseSession => return Err(Lost::Session(BROKEN)),
            _ => return Err(Lost::Device(BROKEN)),
        }
        let state = self.machine.state();
        let found = state.devices.iter().map(|key| {
            let name = state.renamed.get(key).unwrap_or(key);
            let machine = self.machine.clone();
            let identity = Arc::new(Identity {
                uuid: Some(format!("uuid-{key}")),
                vendor: vec![("gpu", (*name).to_owned())],
                ..Identity::new(Family::Nvidia, *name)
            });
            let address = state.addresses.get(key).map(|address| (*address).to_owned());
            let key = (*key).to_owned();
            Found {
                key: key.clone(),
                address,
                identity: Arc::clone(&identity),
                open: Box::new(move || open(machine, key, identity)),
            }
        });
        Ok(found.collect())
    }

    fn recall(&self, key: &str, _identity: &Identity, batch: &mut Batch) {
        self.machine.put_events(key, batch);
    }
}

impl Drop for FakeSession {
    fn drop(&mut self) {
        self.machine.state().sessions -= 1;
    }
}

fn open(machine: Machine, key: String, identity: Arc<Identity>) -> Result<Box<dyn Sampler>, Fault> {
    let inside = machine.enter(&key);
    match machine.act(&format!("open {key}")) {
        Act::Succeed => {
            drop(inside);
            Ok(Box::new(FakeSampler { machine, key, identity }))
        }
        _ => Err(BROKEN),
    }
}

struct FakeSampler {
    machine: Machine,
    key: String,
    identity: Arc<Identity>,
}

impl Sampler for FakeSampler {
    fn sample(&mut self, batch: &mut Batch) -> Result<(), Lost> {
        let _inside = self.machine.enter(&self.key);
        match self.machine.act(&format!("sample {}", self.key)) {
            Act::Succeed => {}
            Act::LoseSession => return Err(Lost::Session(BROKEN)),
            _ => return Err(Lost::Device(BROKEN)),
        }
        batch.begin(&self.identity);
        batch.put(DEVICE_INFO, Labels::Shared([(Label::Serial, "15".to_owned())].into()), Ok(Flag(true)));
        self.machine.put_events(&self.key, batch);
        // A call of its own, so that one reading alone can fail.
        let power = match self.machine.act(&format!("power {}", self.key)) {
            Act::Succeed => Ok(Watts(350.0)),
            _ => Err(BROKEN),
        };
        batch.put(POWER, Labels::NONE, power);
        batch.put(TEMPERATURE, Labels::one(Label::Sensor, "gpu"), Ok(naming::Celsius(54.0)));
        batch.put(ENGINE_ACTIVE, Labels::one(Label::Engine, "sm"), Ok(Ratio(1.0)));
        for label in ["a", "b"] {
            batch.put(FAN_SPEED, Labels::one(Label::Fan, label), Err(MISSING));
        }
        for link in 0..self.machine.state().links {
            batch.put(
                LINK_RECEIVE,
                Labels::one(Label::Link, link).with(Label::Kind, "nvlink"),
                Ok(Bytes(u64::from(link))),
            );
        }
        Ok(())
    }

    fn mandatory(&self) -> Option<Box<dyn Sampler>> {
        let (machine, key) = (self.machine.clone(), self.key.clone());
        // A device of which a part can be read by itself is one for which the test says so.
        machine.state().acts.get(&format!("mandatory {key}"))?;
        Some(Box::new(FakeMandatory { machine, key, identity: Arc::clone(&self.identity) }))
    }
}

/// A part of a fake device.
struct FakeMandatory {
    machine: Machine,
    key: String,
    identity: Arc<Identity>,
}

impl Sampler for FakeMandatory {
    fn sample(&mut self, batch: &mut Batch) -> Result<(), Lost> {
        match self.machine.act(&format!("mandatory {}", self.key)) {
            Act::Succeed => {}
            _ => return Err(Lost::Device(BROKEN)),
        }
        batch.begin(&self.identity);
        batch.put(POWER, Labels::NONE, Ok(Watts(99.0)));
        // A device may be put in pieces.
        batch.begin(&self.identity);
        batch.put(TEMPERATURE, Labels::one(Label::Sensor, "gpu"), Err(BROKEN));
        Ok(())
    }
}

/// Times short enough for a test and long enough for a busy machine.
pub fn timing() -> Timing {
    Timing {
        epoch: Instant::now(),
        interval: Duration::from_millis(20),
        second_sample: Duration::from_millis(5),
        fine: None,
        // A busy machine may be away from a thread for this long; past it, a healthy device is down.
        deadline: Duration::from_secs(1),
        enumerate: Duration::from_millis(50),
        first_retry: Duration::from_millis(10),
        last_retry: Duration::from_millis(40),
    }
}

/// A supervised fake source, without HTTP.
pub struct Rig {
    pub node: NodeState,
    pub machine: Machine,
    sysfs: tempfile::TempDir,
}

impl Rig {
    pub fn new(machine: Machine) -> Self {
        let node = NodeState::new([Family::Nvidia], false, timing(), &Chosen::all([]));
        let sysfs = tempfile::tempdir().expect("a folder");
        let source = Box::new(FakeSource(machine.clone()));
        supervisor::spawn(source, Arc::clone(&node.sources[0]), timing(), sysfs.path()).expect("a thread");
        Self { node, machine, sysfs }
    }

    /// Adds a PCI function of the source's vendor.
    pub fn plug_pci(&self, address: &str) -> PathBuf {
        let dir = self.sysfs.path().join("bus/pci/devices").join(address);
        let write = |file: &str, text: &str| fs::write(Path::new(&dir).join(file), text).expect("a file");
        fs::create_dir_all(&dir).expect("a folder");
        write("class", "0x030200\n");
        write("vendor", "0x10de\n");
        dir
    }

    /// What a scrape would show, one line per series of the unified schema.
    pub fn scrape(&self) -> String {
        self.encoded(&Options {
            unified: true,
            vendor: false,
            filters: &[],
            left_out: &BTreeSet::new(),
            held: &[],
        })
    }

    fn encoded(&self, options: &Options<'_>) -> String {
        self.node.check(Instant::now());
        let sources: Vec<_> = self.node.sources.iter().collect();
        let own = SelfMetrics::new(None, Rc::new(Guard::new(None, false)), None).read(
            &self.node,
            &sources,
            &HttpCounts::default(),
        );
        let snapshots = self.node.sources[0].snapshots();
        let subjects = snapshots.iter().flat_map(|snapshot| &snapshot.subjects).chain(&own);
        let body = String::from_utf8(encode(Format::Text, subjects, options)).expect("text");
        body.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
    }

    /// The names of the series of a device, sorted, each once.
    pub fn names(&self, device: &str) -> Vec<String> {
        let device = format!("device=\"{device}\"");
        let scrape = self.scrape();
        let lines = scrape.lines().filter(|line| line.contains(&device));
        let names = lines.filter_map(|line| line.split('{').next()).map(str::to_owned);
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The series of a vendor's name of the GPU with this label.
    pub fn vendor_lines(&self, name: &str, gpu: &str) -> Vec<String> {
        let (name, gpu) = (format!("{name}{{"), format!("gpu=\"gpu{gpu}\""));
        let body = self.encoded(&Options {
            unified: false,
            vendor: true,
            filters: &[],
            left_out: &BTreeSet::new(),
            held: &[],
        });
        let lines = body.lines().filter(|line| line.starts_with(&name) && line.contains(&gpu));
        lines.map(str::to_owned).collect()
    }

    /// The value of the one series whose line contains all of `parts`.
    pub fn value(&self, parts: &[&str]) -> Option<f64> {
        let scrape = self.scrape();
        let mut lines = scrape.lines().filter(|line| parts.iter().all(|part| line.contains(part)));
        let value = lines.next()?.rsplit(' ').next()?.parse().expect("a number");
        assert_eq!(lines.next(), None, "{parts:?} names several series");
        Some(value)
    }

    /// `accel_device_up` of a device.
    pub fn up(&self, device: &str) -> Option<f64> {
        self.value(&["accel_device_up{", &format!("device=\"{device}\"")])
    }

    pub fn power(&self, device: &str) -> Option<f64> {
        self.value(&["accel_power_watts{", &format!("device=\"{device}\"")])
    }

    pub fn faults(&self, parts: &[&str]) -> Option<f64> {
        self.value(&[&["accelscope_source_faults_total"], parts].concat())
    }

    /// Waits until `what` holds.
    pub fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        eventually(what, || holds(self), || self.scrape());
    }
}

/// Waits, far longer than it should take, until `holds`.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool, state: impl FnOnce() -> String) {
    let until = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < until, "never: {what}\n{}", state());
        thread::sleep(Duration::from_millis(2));
    }
}
