//! A whole NPU on a tree of files: the golden values of a round, and what each missing or odd file costs.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use kernel::pci::Function;
use naming::{Family, Label, catalogue::DEVICE_INFO};
use reading::{Absence, Batch, Identity, Labels, Lost, Prior, Source as _};
use source::Info;

use crate::{raw::Files, sampler::NpuSampler, session::NpuSource};

const ADDRESS: &str = "0000:00:0b.0";

struct Tree(tempfile::TempDir);

impl Tree {
    /// A Lunar Lake NPU that is awake.
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().expect("a folder"));
        fs::create_dir_all(tree.root().join("bus/pci/drivers/intel_vpu")).expect("created");
        for (name, text) in [
            ("power/runtime_status", "active"),
            ("power/runtime_active_time", "12345"),
            ("power/runtime_suspended_time", "500"),
            ("npu_busy_time_us", "5000000"),
            ("npu_memory_utilization", "536870912"),
            ("npu_current_frequency_mhz", "1400"),
            ("npu_max_frequency_mhz", "1950"),
        ] {
            tree.put(name, text);
        }
        tree.bind();
        tree
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn function(&self) -> PathBuf {
        self.root().join("bus/pci/devices").join(ADDRESS)
    }

    fn bind(&self) {
        symlink("../../drivers/intel_vpu", self.function().join("driver")).expect("linked");
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.function().join(name);
        fs::create_dir_all(path.parent().expect("has one")).expect("created");
        fs::write(path, format!("{text}\n")).expect("written");
    }

    fn put_words(&self, guid: &str, words: &[(usize, u64)]) {
        let folder = self.root().join("class/intel_pmt/telem1");
        fs::create_dir_all(&folder).expect("created");
        let mut bytes = vec![0; 0xd00];
        for (offset, word) in words {
            bytes[*offset..offset + 8].copy_from_slice(&word.to_le_bytes());
        }
        fs::write(folder.join("guid"), format!("{guid}\n")).expect("written");
        fs::write(folder.join("telem"), bytes).expect("written");
    }

    fn sampler(&self) -> NpuSampler {
        let files = Files::new(self.root(), Function::at(self.root(), ADDRESS));
        NpuSampler::new(
            files,
            Arc::new(Identity::new(Family::Npu, "0000:00:0b.0")),
            Info::new(|| Labels::Shared([].into())),
        )
    }
}

fn round(sampler: &mut NpuSampler, at: Instant) -> Batch {
    let mut batch = Batch::default();
    sampler.round(at, &mut batch).expect("the driver has it");
    batch
}

/// The value of the series of this name with this text in its labels.
fn value(batch: &Batch, name: &str, label: &str) -> Option<f64> {
    let mut found = batch.groups[0].readings.iter().filter(|reading| {
        let mut labels = String::new();
        reading.labels.for_each(|_, value| labels.push_str(value));
        reading.id.metric().name == Some(name) && labels.contains(label)
    });
    found.next().map(|reading| reading.value.as_f64())
}

fn absence(batch: &Batch, name: &str) -> Option<(Absence, &'static str)> {
    let absent = batch.absences.iter().find(|absent| absent.id.metric().name == Some(name));
    absent.map(|absent| (absent.fault.absence, absent.fault.code.name()))
}

#[test]
fn a_second_of_a_lunar_lake() {
    let tree = Tree::new();
    let words = |joules: u64, megabytes: u64| {
        [
            (0x5d0, joules << 14 | 1 << 13),
            (0x70, 45 << 40),
            (0x18, 0x02_0028),
            (0xc18, megabytes * 1000 + 750),
        ]
    };
    tree.put_words("0x3072005", &words(5, 128));
    let start = Instant::now();
    let mut sampler = tree.sampler();
    let first = round(&mut sampler, start);
    assert_eq!(absence(&first, "accel_utilization_ratio"), Some((Absence::NoData, "first_reading")));
    assert_eq!(absence(&first, "accel_power_watts"), Some((Absence::NoData, "first_reading")));
    assert_eq!(value(&first, "accel_energy_joules_total", ""), Some(0.0));
    assert_eq!(value(&first, "accel_memory_traffic_bytes_total", ""), Some(0.0));

    tree.put("npu_busy_time_us", "5370000");
    tree.put_words("0x3072005", &words(12, 628));
    let batch = round(&mut sampler, start + Duration::from_secs(1));
    for (name, label, expected) in [
        ("accel_utilization_ratio", "", 0.37),
        ("accel_engine_active_ratio", "npu", 0.37),
        ("accel_memory_used_bytes", "", 536_870_912.0),
        ("accel_memory_traffic_bytes_total", "", 500_000_000.0),
        ("accel_temperature_celsius", "npu", 45.0),
        ("accel_energy_joules_total", "", 7.0),
        ("accel_power_watts", "", 7.0),
        ("accel_clock_hertz", "npu", 1.4e9),
        ("accel_clock_max_hertz", "npu", 1.95e9),
        ("accel_device_asleep", "", 0.0),
        ("accel_runtime_seconds_total", "active", 12.345),
        ("accel_runtime_seconds_total", "suspended", 0.5),
    ] {
        assert_eq!(value(&batch, name, label), Some(expected), "{name}");
    }
    assert_eq!(absence(&batch, "accel_errors_total"), Some((Absence::Unsupported, "ENOENT")));
}

#[test]
fn asleep_is_a_state_and_not_an_absence() {
    let tree = Tree::new();
    let mut sampler = tree.sampler();
    tree.put("power/runtime_status", "suspended");
    tree.put("npu_current_frequency_mhz", "0");
    let start = Instant::now();
    round(&mut sampler, start);
    let batch = round(&mut sampler, start + Duration::from_secs(1));
    assert_eq!(value(&batch, "accel_device_asleep", ""), Some(1.0));
    assert_eq!(value(&batch, "accel_clock_hertz", ""), Some(0.0));
    assert_eq!(value(&batch, "accel_utilization_ratio", ""), Some(0.0));
}

#[test]
fn reading_the_clock_lets_an_awake_npu_fall_asleep() {
    let tree = Tree::new();
    let mut sampler = tree.sampler();
    let start = Instant::now();
    let mut clock = |milliseconds| {
        let batch = round(&mut sampler, start + Duration::from_millis(milliseconds));
        value(&batch, "accel_clock_hertz", "npu")
    };
    assert_eq!(clock(0), Some(1.4e9));
    tree.put("npu_current_frequency_mhz", "1500");
    assert_eq!([clock(100), clock(800), clock(1000)], [Some(1.4e9), Some(1.4e9), Some(1.5e9)]);
    tree.put("power/runtime_status", "suspended");
    tree.put("npu_current_frequency_mhz", "0");
    assert_eq!(clock(1100), Some(0.0), "at once: it is no clock of before");
    tree.put("power/runtime_status", "active");
    tree.put("npu_current_frequency_mhz", "1300");
    assert_eq!(clock(1200), Some(1.3e9));
}

#[test]
fn files_are_optional_one_by_one() {
    let tree = Tree::new();
    for name in ["npu_memory_utilization", "npu_current_frequency_mhz", "npu_max_frequency_mhz"] {
        fs::remove_file(tree.function().join(name)).expect("removed");
    }
    let batch = round(&mut tree.sampler(), Instant::now());
    for name in ["accel_memory_used_bytes", "accel_clock_hertz", "accel_clock_max_hertz"] {
        assert_eq!(absence(&batch, name), Some((Absence::Unsupported, "ENOENT")), "{name}");
    }
    // Newer kernels have the same under another name; older ones have telemetry, with Arrow Lake's own
    // formula.
    tree.put("freq/hw_max_freq", "1950");
    tree.put_words("0x1306a0b3", &[(0x68, 42)]);
    let batch = round(&mut tree.sampler(), Instant::now());
    assert_eq!(value(&batch, "accel_clock_max_hertz", ""), Some(1.95e9));
    assert_eq!(value(&batch, "accel_clock_hertz", ""), Some(1.4e9));
    tree.put("freq/current_freq", "1300");
    let batch = round(&mut tree.sampler(), Instant::now());
    assert_eq!(value(&batch, "accel_clock_hertz", ""), Some(1.3e9));
}

#[test]
fn garbage_costs_its_own_series() {
    let tree = Tree::new();
    tree.put_words("0x3072005", &[(0x70, 255 << 40), (0x5d0, 1 << 14)]);
    tree.put("npu_memory_utilization", "lots");
    tree.put("power/runtime_status", "dreaming");
    let batch = round(&mut tree.sampler(), Instant::now());
    for (name, code) in [
        ("accel_temperature_celsius", "over_200_celsius"),
        ("accel_memory_used_bytes", "garbage"),
        ("accel_device_asleep", "garbage"),
    ] {
        assert_eq!(absence(&batch, name), Some((Absence::NoData, code)), "{name}");
    }
    assert_eq!(value(&batch, "accel_energy_joules_total", ""), Some(0.0));
    assert_eq!(value(&batch, "accel_clock_hertz", ""), Some(1.4e9));
    tree.put("npu_current_frequency_mhz", "fast");
    let batch = round(&mut tree.sampler(), Instant::now());
    assert_eq!(absence(&batch, "accel_clock_hertz"), Some((Absence::NoData, "garbage")), "of one source");
}

#[test]
fn telemetry_may_come_later_and_under_another_number() {
    let tree = Tree::new();
    let mut sampler = tree.sampler();
    let mut heat = || {
        let batch = round(&mut sampler, Instant::now());
        value(&batch, "accel_temperature_celsius", "npu")
            .ok_or(absence(&batch, "accel_temperature_celsius").map(|absence| absence.1))
    };
    assert_eq!(heat(), Err(Some("ENOENT")));
    tree.put_words("0x3072005", &[(0x70, 45 << 40)]);
    assert_eq!(heat(), Ok(45.0), "its driver was loaded after the exporter had started");
    // A reload: the number is now that of a region with another layout.
    let class = tree.root().join("class/intel_pmt");
    fs::rename(class.join("telem1"), class.join("telem4")).expect("moved");
    tree.put_words("0x12345678", &[(0x70, 99 << 40)]);
    assert_eq!(heat(), Ok(45.0));
    fs::remove_dir_all(class.join("telem4")).expect("removed");
    assert_eq!(heat(), Err(Some("unknown_guid")));
}

#[test]
fn resets_are_counted_where_debugfs_may_be_read() {
    let tree = Tree::new();
    let debug = tree.root().join("kernel/debug/accel").join(ADDRESS);
    fs::create_dir_all(&debug).expect("created");
    fs::write(debug.join("reset_counter"), "2\n").expect("written");
    fs::write(debug.join("engine_reset_counter"), "5\n").expect("written");
    let batch = round(&mut tree.sampler(), Instant::now());
    assert_eq!(value(&batch, "accel_errors_total", "device"), Some(2.0));
    assert_eq!(value(&batch, "accel_errors_total", "engine"), Some(5.0));
}

#[test]
fn an_unbound_driver_takes_the_device_with_it() {
    let tree = Tree::new();
    let mut sampler = tree.sampler();
    round(&mut sampler, Instant::now());
    fs::remove_file(tree.function().join("driver")).expect("removed");
    let lost = sampler.round(Instant::now(), &mut Batch::default()).expect_err("nobody drives it");
    assert!(matches!(lost, Lost::Device(fault) if fault.code == "unbound"), "{lost:?}");
}

#[test]
fn what_it_is_can_become_known_later() {
    let tree = Tree::new();
    let bound = tree.root().join("bus/pci/drivers/intel_vpu").join(ADDRESS);
    symlink(tree.function(), bound).expect("linked");
    let mut session = NpuSource { sysfs: tree.root().to_owned() }.connect().expect("the driver is there");
    let found = session.devices(&Prior::default()).expect("listed").remove(0);
    let mut sampler = (found.open)().expect("opened");
    let mut model = || {
        let mut batch = Batch::default();
        sampler.sample(&mut batch).expect("the driver has it");
        let mut model = None;
        let mut infos = batch.groups[0].readings.iter().filter(|reading| reading.id == DEVICE_INFO.id);
        let info = infos.next().expect("what it is");
        info.labels.with_value(Label::Model, |value| model = Some(value.to_owned()));
        model
    };
    assert_eq!(model(), None, "its id cannot be read, and no part has a general name");
    tree.put("device", "0x643e");
    let begun = Instant::now();
    while model().as_deref() != Some("Intel NPU (Lunar Lake)") {
        assert!(begun.elapsed() < Duration::from_mins(1), "it stays unknown");
        thread::sleep(Duration::from_millis(50));
    }
}
