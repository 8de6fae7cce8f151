//! A card that is listed while its driver is still registering its files: what comes later is read later, and a file
//! that cannot be read for a while is not forgotten.

mod no_level_zero;
mod shown;

use std::{
    collections::BTreeSet,
    fs, thread,
    time::{Duration, Instant},
};

use reading::{Batch, Prior, Sampler, Session};
use shown::session;

fn first(session: &mut dyn Session) -> Box<dyn Sampler> {
    let mut found = session.devices(&Prior::default()).expect("listed");
    (found.remove(0).open)().expect("opened")
}

/// The series of two rounds.
fn series(sampler: &mut dyn Sampler) -> BTreeSet<String> {
    let mut batch = Batch::default();
    for _ in 0..2 {
        batch = Batch::default();
        sampler.sample(&mut batch).expect("it is there");
    }
    let readings = batch.groups.iter().flat_map(|group| &group.readings);
    readings.map(|reading| format!("{:?} {:?}", reading.id, reading.labels)).collect()
}

/// What a card has that was whole when it was opened, and what one has in the end of which `hidden` was hidden then.
fn compare(machine: &str, hidden: &[&str]) {
    let root = tempfile::tempdir().expect("a folder");
    let mut session = session(root.path(), machine);
    let whole = series(&mut *first(&mut *session));
    let devices = root.path().join("bus/pci/devices");
    let device =
        sim::profile::Profile::open(machine).expect("built in").device.pci_addresses[0].to_lowercase();
    let places: Vec<_> = hidden
        .iter()
        .map(|name| {
            let place = match name.strip_prefix('/') {
                Some(name) => root.path().join(name),
                None => devices.join(&device).join(name),
            };
            let aside = root.path().join(name.replace('/', "-"));
            fs::rename(&place, &aside).expect("it is there");
            (place, aside)
        })
        .collect();
    let mut late = first(&mut *session);
    let before = series(&mut *late);
    assert_ne!(before, whole, "{hidden:?} is not read");
    for (place, aside) in places {
        fs::rename(aside, place).expect("its place is free");
    }
    // As the exporter lists every few seconds.
    let _ = session.devices(&Prior::default()).expect("listed");
    let begun = Instant::now();
    loop {
        let now = series(&mut *late);
        if now == whole {
            return;
        }
        let missing: Vec<_> = whole.difference(&now).collect();
        assert!(begun.elapsed() < Duration::from_mins(1), "{hidden:?}: {missing:?} stay away");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn what_a_driver_registers_after_its_card_is_read() {
    compare("battlematrix-8", &["hwmon"]);
    compare("battlematrix-8", &["tile0"]);
    compare("battlematrix-8", &["drm/renderD128"]);
    compare("battlematrix-8", &["hwmon", "tile0", "drm/renderD128", "device"]);
    compare("arc-a770", &["hwmon"]);
    compare("arc-a770", &["drm/card1/gt"]);
}

#[test]
fn what_another_driver_registers_later_is_read() {
    compare("nuc-lunar-lake", &["/class/powercap/intel-rapl:0/intel-rapl:0:1"]);
    compare("nuc-lunar-lake", &["/class/powercap/intel-rapl:0/intel-rapl:0:1/max_energy_range_uj"]);
    compare("nuc-lunar-lake", &["/class/powercap/intel-rapl:0/name"]);
}
