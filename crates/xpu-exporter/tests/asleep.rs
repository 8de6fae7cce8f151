//! A suspended GPU is not woken: the kernel itself (inotify) reports which files were opened.

mod no_level_zero;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use naming::catalogue as m;
use no_level_zero::NoLevelZero;
use reading::{Batch, Prior, Sampler, Source};
use rustix::fs::inotify;
use sim::{Control, Live, Options, clock::Clock, kernel::Tree};
use xpu_exporter::{BackendChoice, Roots, XpuSource};

/// Files that the PCI core serves without access to the device.
const HARMLESS: [&str; 7] =
    ["vendor", "device", "class", "runtime_status", "control", "autosuspend_delay_ms", "dev"];

fn folders(root: &Path) -> Vec<PathBuf> {
    let inside = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    let inside = inside.filter(|path| path.is_dir() && !path.is_symlink());
    std::iter::once(root.to_owned()).chain(inside.flat_map(|folder| folders(&folder))).collect()
}

/// A machine whose first GPU sleeps or not, its tree, and its samplers.
fn samplers(root: &Path, machine: &str, asleep: Vec<usize>) -> (Live, Tree, Vec<Box<dyn Sampler>>) {
    let control = root.join("control.toml");
    Control { asleep, ..Control::default() }.write(&control).expect("written");
    let options = Options {
        machine: machine.to_owned(),
        control: Some(control),
        clock: Clock::Fixed(1.795e9),
        ..Options::default()
    };
    let live = Live::open(&options).expect("the machine opens");
    let sysfs = root.join("sys");
    let mut tree = Tree::new(&sysfs).expect("a root");
    tree.show(sim::family::xpu::files(&live.now())).expect("written");
    let roots = Roots { procfs: sysfs.join("proc"), dev: sysfs.join("dev"), sysfs };
    let mut source = XpuSource::new(roots, Box::new(NoLevelZero), false, BackendChoice::Kernel, false);
    let mut session = source.connect().expect("there are cards");
    let found = session.devices(&Prior::default()).expect("listed");
    let samplers = found.into_iter().map(|found| (found.open)().expect("opened")).collect();
    (live, tree, samplers)
}

/// Lets GPUs fall asleep and wake up.
fn set_asleep(root: &Path, live: &Live, tree: &mut Tree, asleep: Vec<usize>) {
    Control { asleep, ..Control::default() }.write(&root.join("control.toml")).expect("written");
    // The control file is read every 50 ms.
    std::thread::sleep(std::time::Duration::from_millis(60));
    tree.show(sim::family::xpu::files(&live.now())).expect("written");
}

fn sample(sampler: &mut dyn Sampler) -> Batch {
    let mut batch = Batch::default();
    sampler.sample(&mut batch).expect("the device is there");
    batch
}

#[test]
fn a_thousand_rounds_open_no_file_that_wakes() {
    let root = tempfile::tempdir().expect("a folder");
    let (_live, _tree, mut samplers) = samplers(root.path(), "battlematrix-8", vec![0]);
    let function = root.path().join("sys/bus/pci/devices/0000:03:00.0");
    let status = function.join("power/runtime_status");
    let before = fs::metadata(&status).expect("there").modified().expect("known");

    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).expect("inotify");
    for folder in folders(&function) {
        inotify::add_watch(&watch, &folder, inotify::WatchFlags::OPEN).expect("watched");
    }
    let mut opened = BTreeSet::new();
    let drain = |opened: &mut BTreeSet<String>| {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&watch, &mut buffer);
        while let Ok(event) = events.next() {
            opened.extend(event.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    };
    for _ in 0..1000 {
        let batch = sample(&mut *samplers[0]);
        let readings = &batch.groups[0].readings;
        let asleep = readings.iter().find(|reading| reading.id == m::DEVICE_ASLEEP.id);
        assert_eq!(asleep.map(|reading| reading.value.as_f64().to_bits()), Some(1.0f64.to_bits()));
        assert_eq!(readings.len(), 2, "a sleeping device has no other series: {readings:?}");
        drain(&mut opened);
    }
    assert!(opened.contains("runtime_status"), "the watch reports what is opened");
    let waking: Vec<_> = opened.iter().filter(|name| !HARMLESS.contains(&name.as_str())).collect();
    assert!(waking.is_empty(), "opened: {waking:?}");
    assert_eq!(fs::read_to_string(&status).expect("there"), "suspended\n");
    assert_eq!(fs::metadata(&status).expect("there").modified().expect("known"), before);

    // On a card that is awake the same watch reports more: the test can fail.
    inotify::add_watch(
        &watch,
        function.with_file_name("0000:07:00.0").join("tile0/gt0/freq0"),
        inotify::WatchFlags::OPEN,
    )
    .expect("watched");
    sample(&mut *samplers[1]);
    drain(&mut opened);
    assert!(opened.contains("act_freq"), "{opened:?}");
}

#[test]
fn a_card_that_resumes_is_read_and_one_that_falls_asleep_is_not_lost() {
    let root = tempfile::tempdir().expect("a folder");
    let (live, mut tree, mut samplers) = samplers(root.path(), "battlematrix-8", vec![0]);
    let energy = |batch: &Batch| batch.groups[0].readings.iter().any(|reading| reading.id == m::ENERGY.id);
    assert!(!energy(&sample(&mut *samplers[0])));
    set_asleep(root.path(), &live, &mut tree, vec![]);
    assert!(!energy(&sample(&mut *samplers[0])), "one reading of a counter may be a glitch");
    assert!(energy(&sample(&mut *samplers[0])));
    set_asleep(root.path(), &live, &mut tree, vec![0]);
    assert!(!energy(&sample(&mut *samplers[0])));
    fs::remove_dir_all(root.path().join("sys/bus/pci/devices/0000:03:00.0")).expect("unplugged");
    assert!(samplers[0].sample(&mut Batch::default()).is_err());
}

#[test]
fn a_counter_that_wrapped_does_not_fall_after_the_gpu_was_suspended() {
    let root = tempfile::tempdir().expect("a folder");
    let (live, mut tree, mut samplers) = samplers(root.path(), "nuc-lunar-lake", vec![]);
    let joules = |batch: &Batch| {
        let mut readings = batch.groups.iter().flat_map(|group| &group.readings);
        readings.find(|reading| reading.id == m::ENERGY.id).map(|reading| reading.value.as_f64())
    };
    let counter = root.path().join("sys/class/powercap/intel-rapl:0/intel-rapl:0:1/energy_uj");
    // The tree writes what changes, and with a clock that stands this file does not.
    let mut after = |microjoules: u64| {
        fs::write(&counter, format!("{microjoules}\n")).expect("written");
        joules(&sample(&mut *samplers[0]))
    };
    assert_eq!(after(262_143_000_000), Some(0.0));
    // The zone's range is 262143328850 µJ, counted from 0.
    let wrapped = after(671_149).expect("reported");
    assert!((wrapped - 1.0).abs() < 1e-6, "{wrapped}");
    set_asleep(root.path(), &live, &mut tree, vec![0]);
    assert_eq!(joules(&sample(&mut *samplers[0])), None);
    set_asleep(root.path(), &live, &mut tree, vec![]);
    let mut after = |microjoules: u64| {
        fs::write(&counter, format!("{microjoules}\n")).expect("written");
        joules(&sample(&mut *samplers[0]))
    };
    let awake = after(1_671_149).expect("reported");
    assert!((awake - 2.0).abs() < 1e-6, "{awake} after {wrapped}");
}
