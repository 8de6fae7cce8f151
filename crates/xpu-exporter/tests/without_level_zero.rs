//! Level Zero comes and goes beside the kernel's files, which are read on.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use naming::{Family, Id, Ratio, catalogue as m};
use reading::{
    Backend, Batch, Fault, FaultCode, Found, Identity, Labels, Lost, Prior, Sampler, Session, Source,
    Unavailable,
};
use sim::{Live, Options, clock::Clock, kernel::Tree};
use xpu_exporter::{BackendChoice, Roots, XpuSource};

const GONE: Fault = Fault::new("sample", FaultCode::LibraryCrashed);

/// A Level Zero whose process can end, or hang. It lists the first card of the machine, and has one value.
#[derive(Clone, Default)]
struct LevelZero(Arc<AtomicBool>, Arc<Mutex<()>>);

impl LevelZero {
    fn check(&self) -> Result<(), Lost> {
        if self.0.load(Ordering::Relaxed) { Err(Lost::Session(GONE)) } else { Ok(()) }
    }
}

impl Source for LevelZero {
    fn family(&self) -> Family {
        Family::Xpu
    }

    fn connect(&mut self) -> Result<Box<dyn Session>, Unavailable> {
        self.check().map_err(|_| Unavailable("the library crashed while it was opened".to_owned()))?;
        let backend = Backend { version: "Level Zero by nobody".to_owned(), ..Backend::default() };
        Ok(Box::new(Opened(self.clone(), backend)))
    }
}

struct Opened(LevelZero, Backend);

impl Session for Opened {
    fn backend(&self) -> &Backend {
        &self.1
    }

    fn devices(&mut self, _: &Prior) -> Result<Vec<Found>, Lost> {
        self.0.check()?;
        let (key, library) = ("0000:03:00.0".to_owned(), self.0.clone());
        let identity = Arc::new(Identity::new(Family::Xpu, &*key));
        let address = Some(key.clone());
        Ok(vec![Found { key, address, identity, open: Box::new(|| Ok(Box::new(library))) }])
    }
}

impl Sampler for LevelZero {
    fn sample(&mut self, batch: &mut Batch) -> Result<(), Lost> {
        drop(self.1.lock());
        self.check()?;
        batch.begin(&Arc::new(Identity::new(Family::Xpu, "0000:03:00.0")));
        batch.put(m::MEMORY_BANDWIDTH_ACTIVE, Labels::NONE, Ok(Ratio(0.5)));
        Ok(())
    }
}

fn session(root: &Path, level_zero: &LevelZero) -> (Live, Tree, Box<dyn Session>) {
    let options =
        Options { machine: "battlematrix-8".to_owned(), clock: Clock::Fixed(1.795e9), ..Options::default() };
    let live = Live::open(&options).expect("the machine opens");
    let sysfs = root.join("sys");
    let mut tree = Tree::new(&sysfs).expect("a root");
    tree.show(sim::family::xpu::files(&live.now())).expect("written");
    let roots = Roots { procfs: sysfs.join("proc"), dev: sysfs.join("dev"), sysfs };
    let mut source = XpuSource::new(roots, Box::new(level_zero.clone()), true, BackendChoice::Auto, false);
    let session = source.connect().expect("there are cards");
    (live, tree, session)
}

fn sample(sampler: &mut dyn Sampler) -> Batch {
    let mut batch = Batch::default();
    sampler.sample(&mut batch).expect("the kernel lists it");
    batch
}

fn has(batch: &Batch, id: Id) -> bool {
    batch.groups.iter().flat_map(|group| &group.readings).any(|reading| reading.id == id)
}

fn reason(batch: &Batch, id: Id) -> Option<&'static str> {
    batch.absences.iter().find(|absent| absent.id == id).map(|absent| absent.fault.code.name())
}

#[test]
fn the_kernels_values_stay_while_level_zero_is_gone() {
    let (root, level_zero) = (tempfile::tempdir().expect("a folder"), LevelZero::default());
    let (_live, _tree, mut session) = session(root.path(), &level_zero);
    let bandwidth = m::MEMORY_BANDWIDTH_ACTIVE.id;
    let first = session.devices(&Prior::default()).expect("listed").swap_remove(0);
    let mut sampler = (first.open)().expect("opened");
    assert!(session.backend().version.ends_with("Level Zero by nobody"), "{:?}", session.backend());
    assert!(has(&sample(&mut *sampler), bandwidth));

    level_zero.0.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let batch = sample(&mut *sampler);
        assert!(has(&batch, m::CLOCK.id) && has(&batch, m::POWER_LIMIT.id));
        assert_eq!(reason(&batch, bandwidth), Some("library_crashed"));
    }
    assert_eq!(session.devices(&Prior::default()).expect("listed").len(), 8);
    let version = &session.backend().version;
    assert!(version.contains("without Level Zero: sample: failed (library_crashed)"), "{version}");

    level_zero.0.store(false, Ordering::Relaxed);
    // A second after the loss it is opened again, and the device, which was open all the time, is read whole.
    while !has(&sample(&mut *sampler), bandwidth) {
        thread::sleep(Duration::from_millis(50));
        session.devices(&Prior::default()).expect("listed");
    }
    assert!(session.backend().version.ends_with("Level Zero by nobody"));
}

#[test]
fn the_kernels_values_stay_while_level_zero_hangs() {
    let (root, level_zero) = (tempfile::tempdir().expect("a folder"), LevelZero::default());
    let (_live, _tree, mut session) = session(root.path(), &level_zero);
    let bandwidth = m::MEMORY_BANDWIDTH_ACTIVE.id;
    let first = session.devices(&Prior::default()).expect("listed").swap_remove(0);
    let mut sampler = (first.open)().expect("opened");
    assert!(has(&sample(&mut *sampler), bandwidth));
    let hanging = level_zero.1.lock().expect("no panic");
    for _ in 0..3 {
        let batch = sample(&mut *sampler);
        assert!(has(&batch, m::CLOCK.id) && has(&batch, m::POWER_LIMIT.id));
        assert_eq!(reason(&batch, bandwidth), Some("deadline"));
    }
    // Until its values are too old.
    thread::sleep(Duration::from_secs(2));
    drop(hanging);
    // Those of the call that hung are dropped, if the next one is not asked for by then; its own are not.
    let rounds = (0..2).map(|_| has(&sample(&mut *sampler), bandwidth)).collect::<Vec<_>>();
    assert!(rounds[1], "{rounds:?}");
}

#[test]
fn a_level_zero_that_cannot_be_opened_is_described() {
    let (root, level_zero) = (tempfile::tempdir().expect("a folder"), LevelZero::default());
    level_zero.0.store(true, Ordering::Relaxed);
    let (_live, _tree, mut session) = session(root.path(), &level_zero);
    assert_eq!(session.devices(&Prior::default()).expect("listed").len(), 8);
    let version = &session.backend().version;
    assert!(version.contains("without Level Zero: the library crashed while it was opened"), "{version}");
}
