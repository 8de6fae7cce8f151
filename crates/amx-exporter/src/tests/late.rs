//! Files that come late, or cannot be read at first.

use std::{
    fs,
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

use reading::Absence;

use super::{Tree, absence, round, value};

#[test]
fn what_could_not_be_read_at_first_is_read_later() {
    let tree = Tree::new();
    let pmu = "bus/event_source/devices/cpu/type";
    tree.put(pmu, "");
    tree.rapl("constraint_1_name", "");
    tree.rapl("intel-rapl:0:0/max_energy_range_uj", "");
    let fastest = |text: &str| tree.put("devices/system/cpu/cpu2/cpufreq/cpuinfo_max_freq", text);
    fastest("");
    let mut sampler = tree.sampler(false);
    let start = Instant::now();
    let batch = round(&mut sampler, start);
    assert_eq!(absence(&batch, "accel_cycles_total"), Some((Absence::Unsupported, "no_core_pmu")));
    assert_eq!(absence(&batch, "accel_memory_energy_joules_total"), Some((Absence::NoData, "out_of_range")));
    assert_eq!(value(&batch, "accel_power_limit_watts", "short_term"), None);
    assert_eq!(value(&batch, "accel_clock_max_hertz", "core"), Some(3.6e9));
    tree.put(pmu, "4");
    tree.rapl("constraint_1_name", "short_term");
    tree.rapl("intel-rapl:0:0/max_energy_range_uj", "65712999613");
    fastest("3800000");
    tree.rapl("energy_uj", "149149");
    // Events are opened again ten seconds after they were refused.
    round(&mut sampler, start + Duration::from_secs(10));
    for cpu in 0..8 {
        tree.count(cpu, 1000, 1000, [7; 4]);
    }
    let batch = round(&mut sampler, start + Duration::from_secs(11));
    for (name, labels, expected) in [
        ("accel_cycles_total", "thread", 28.0),
        ("accel_memory_energy_joules_total", "", 0.0),
        ("accel_power_limit_watts", "short_term", 420.0),
        ("accel_clock_max_hertz", "core", 3.8e9),
        ("accel_energy_joules_total", "", 0.15),
    ] {
        assert_eq!(value(&batch, name, labels), Some(expected), "{name} {labels}");
    }
}

#[test]
fn zones_that_come_later_are_no_energy_of_now() {
    let tree = Tree::new();
    tree.rapl("name", "package-0-die-0");
    tree.two_dies();
    tree.online(&[0, 1, 4, 5, 6, 7]);
    let mut sampler = tree.sampler(false);
    let start = Instant::now();
    let mut next = 0;
    let mut energy = |tree: &Tree, microjoules: &str| {
        tree.rapl("energy_uj", microjoules);
        next += 1;
        let batch = round(&mut sampler, start + Duration::from_secs(next));
        (value(&batch, "accel_energy_joules_total", ""), value(&batch, "accel_power_watts", ""))
    };
    assert_eq!(energy(&tree, "1000000"), (Some(0.0), None));
    assert_eq!(energy(&tree, "3000000"), (Some(2.0), Some(2.0)));
    // The other die's CPUs come online, and with them its zone, whose counter has run before.
    tree.online(&[0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(energy(&tree, "3500000"), (None, None), "one die is not the package");
    for (name, text) in
        [("name", "package-0-die-1"), ("energy_uj", "900000000"), ("max_energy_range_uj", "262143328850")]
    {
        tree.put(&format!("class/powercap/intel-rapl:1/{name}"), text);
    }
    assert_eq!(energy(&tree, "4000000"), (Some(3.0), None), "what the other counted before is not of now");
    tree.put("class/powercap/intel-rapl:1/energy_uj", "905000000");
    assert_eq!(energy(&tree, "5000000"), (Some(9.0), Some(6.0)));
    // It goes offline again: what it counted stays counted.
    tree.online(&[0, 1, 4, 5, 6, 7]);
    fs::remove_dir_all(tree.0.path().join("class/powercap/intel-rapl:1")).expect("removed");
    assert_eq!(energy(&tree, "6000000"), (Some(10.0), Some(1.0)));
}

#[test]
fn memory_controllers_that_their_driver_numbers_anew_are_counted_again() {
    let tree = Tree::new();
    let mut sampler = tree.sampler(false);
    let start = Instant::now();
    let mut read = |second: u64, count: u64, numbers: [u32; 2]| {
        for cpu in 0..8 {
            tree.count(cpu, second * 1000, second * 1000, [count; 4]);
            let file = tree.0.path().join(format!("accelsim/perf/cpu{cpu}"));
            let text = fs::read_to_string(&file).expect("readable");
            let [first, second] = numbers.map(|number| format!("\n{number} "));
            fs::write(file, text.replace("\n20 ", &first).replace("\n21 ", &second)).expect("written");
        }
        for (controller, number) in numbers.iter().enumerate() {
            let pmu = format!("bus/event_source/devices/uncore_imc_{controller}");
            tree.put(&format!("{pmu}/type"), &number.to_string());
        }
        let batch = round(&mut sampler, start + Duration::from_secs(second));
        value(&batch, "accel_memory_read_bytes_total", "")
            .ok_or(absence(&batch, "accel_memory_read_bytes_total").map(|absence| absence.1))
    };
    assert_eq!(read(0, 0, [20, 21]), Err(Some("first_reading")));
    assert_eq!(read(1, 100, [20, 21]), Ok(400.0 * 64.0));
    // The module was loaded again between two rounds: its PMUs have the same names.
    assert_eq!(read(2, 0, [30, 31]), Err(Some("ENOENT")));
    assert_eq!(read(12, 100, [30, 31]), Err(Some("first_reading")));
    assert_eq!(read(13, 200, [30, 31]), Ok(800.0 * 64.0));
    // Only one of them.
    assert_eq!(read(14, 300, [30, 41]), Err(Some("ENOENT")));
    read(24, 400, [30, 41]).expect_err("opened again");
    assert_eq!(read(25, 500, [30, 41]), Ok((800.0 + 200.0 + 400.0 + 200.0) * 64.0));
}

#[test]
fn a_sensor_whose_number_becomes_another_chips_is_found_again() {
    let tree = Tree::new();
    let root = tree.0.path();
    let class = root.join("class/hwmon");
    // As the kernel has it: the class links to folders of devices.
    let place = |device: &str, name: &str, celsius: &str, number: u32| {
        let folder = format!("devices/{device}/hwmon/hwmon{number}");
        tree.put(&format!("{folder}/name"), name);
        tree.put(&format!("{folder}/temp1_label"), "Package id 0");
        tree.put(&format!("{folder}/temp1_input"), celsius);
        symlink(root.join(folder), class.join(format!("hwmon{number}"))).expect("linked");
    };
    fs::remove_dir_all(class.join("hwmon0")).expect("removed");
    place("platform/coretemp.0", "coretemp", "61000", 0);
    let mut sampler = tree.sampler(false);
    let start = Instant::now();
    let mut temperature = |second| {
        let batch = round(&mut sampler, start + Duration::from_secs(second));
        value(&batch, "accel_temperature_celsius", "package")
    };
    assert_eq!(temperature(0), Some(61.0));
    // The module is loaded again, and a disk took its number meanwhile.
    fs::remove_file(class.join("hwmon0")).expect("removed");
    fs::remove_dir_all(root.join("devices/platform/coretemp.0")).expect("removed");
    place("pci0000:00/nvme0", "nvme", "35000", 0);
    place("platform/coretemp.0", "coretemp", "62000", 2);
    assert_eq!(temperature(1), None, "looked up again in the next round");
    assert_eq!(temperature(2), Some(62.0));
}
