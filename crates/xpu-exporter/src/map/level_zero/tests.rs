//! What Intel's driver returns, case by case.

use std::sync::Arc;

use level_zero_sys::{DeviceState, FrequencyState, PortState, PowerLimit};
use naming::Family;
use reading::Identity;

use super::*;
use crate::level_zero::{FrequencySample, TemperatureSample};

const NONE: Fault = Fault::new("test", FaultCode::None);

/// A device that has nothing.
fn nothing() -> Sample {
    Sample {
        engines: Err(NONE),
        processes: Err(NONE),
        frequencies: Vec::new(),
        memories: Err(NONE),
        energy: Err(NONE),
        limits: Err(NONE),
        limit_range: Err(NONE),
        temperatures: Vec::new(),
        fans: Vec::new(),
        ras: Vec::new(),
        ports: Vec::new(),
        pcie_bytes: [Err(NONE); 2],
        pcie_replays: Err(NONE),
        pcie_speeds: [Err(NONE); 2],
        ecc: Err(NONE),
        reset: Ok(DeviceState::default().reset),
        missing: crate::level_zero::Missing::default(),
    }
}

fn clock(kind: u32, max_mhz: f64, state: FrequencyState) -> FrequencySample {
    FrequencySample { tile: None, kind, max_mhz, state: Ok(state), throttled_us: Err(NONE) }
}

fn sensor(kind: u32, celsius: f64, max_celsius: f64) -> TemperatureSample {
    TemperatureSample { tile: None, kind, celsius: Ok(celsius), max_celsius }
}

/// The series of a sample except the recovery action's, as `name{labels} value`, and the codes of what is
/// absent.
fn series(sample: &Sample) -> (Vec<String>, Vec<&'static str>) {
    let tile = |tile: u32| {
        Arc::new(Identity {
            partition: Some(format!("tile{tile}")),
            ..Identity::new(Family::Xpu, "0000:03:00.0")
        })
    };
    let identities = Identities {
        card: Arc::new(Identity::new(Family::Xpu, "0000:03:00.0")),
        tiles: vec![tile(0), tile(1)],
    };
    let mut batch = Batch::default();
    put(&identities, sample, &mut batch);
    let mut all = Vec::new();
    for group in batch.groups {
        for reading in group.readings.iter().filter(|reading| reading.id != m::RECOVERY_ACTION.id) {
            let partition = group.identity.as_ref().and_then(|identity| identity.partition.clone());
            let mut labels: Vec<_> = partition.into_iter().collect();
            reading.labels.for_each(|_, value| labels.push(value.to_owned()));
            let name = reading.id.metric().name.expect("a unified name");
            all.push(format!("{name}{{{}}} {}", labels.join(","), reading.value.as_f64()));
        }
    }
    (
        all,
        batch
            .absences
            .iter()
            .map(|absent| absent.fault)
            .filter(|fault| fault.code != NONE.code)
            .map(|fault| fault.code.name())
            .collect(),
    )
}

#[test]
fn what_is_newer_than_the_tables_keeps_its_number() {
    let engine = |kind, busy| EngineSample { tile: None, kind, busy: Ok(busy) };
    let state = FrequencyState { actual: 1000.0, throttle: 1 << 12, ..FrequencyState::default() };
    let sample = Sample {
        engines: Ok(vec![engine(77, 0.5), engine(v::ENGINE_COPY, 0.25), engine(v::ENGINE_ALL, 1.0)]),
        frequencies: vec![clock(9, -1.0, state)],
        temperatures: vec![
            sensor(42, 50.0, -1.0),
            sensor(8, 60.0, 0.0),
            sensor(8, 70.0, -1.0),
            sensor(3, 9.0, 95.0),
        ],
        ..nothing()
    };
    let (series, absent) = series(&sample);
    for expected in [
        "accel_utilization_ratio{} 0.5",
        "accel_engine_active_ratio{77} 0.5",
        "accel_engine_active_ratio{copy} 0.25",
        "accel_clock_hertz{9} 1000000000",
        "accel_throttle_active{4096} 1",
        "accel_throttle_active{pl1} 0",
        "accel_temperature_celsius{42} 50",
        "accel_temperature_celsius{voltage_regulator} 70",
    ] {
        assert!(series.iter().any(|one| one == expected), "{expected} in {series:?}");
    }
    let heat = series.iter().filter(|one| one.starts_with("accel_temperature"));
    assert_eq!(heat.count(), 2, "each series once, and the lowest of several is not exported: {series:?}");
    assert!(!series.iter().any(|one| one.starts_with("accel_clock_max")), "-1 is unknown: {series:?}");
    assert_eq!(absent, ["unknown"]);
}

#[test]
fn limits_are_in_watts_and_0_is_no_limit_and_no_clock() {
    let limit = |level, unit, limit| PowerLimit { level, unit, limit, ..PowerLimit::default() };
    let state = FrequencyState { actual: 0.0, ..FrequencyState::default() };
    let sample = Sample {
        limits: Ok(vec![
            limit(v::LEVEL_SUSTAINED, v::LIMIT_POWER, 190_000),
            limit(v::LEVEL_BURST, v::LIMIT_POWER, 0),
            limit(v::LEVEL_PEAK, v::LIMIT_POWER, -1),
            // The peak limit of a server's card is a current.
            limit(v::LEVEL_PEAK, 1, 300_000),
        ]),
        // The driver reports 0 where it does not know the highest clock.
        frequencies: vec![clock(v::CLOCK_GPU, 0.0, state)],
        ..nothing()
    };
    let (series, absent) = series(&sample);
    let named = |name: &str| series.iter().filter(|one| one.starts_with(name)).cloned().collect::<Vec<_>>();
    assert_eq!(named("accel_power_limit_watts"), ["accel_power_limit_watts{enforced} 190"]);
    assert_eq!(named("accel_clock"), ["accel_clock_hertz{graphics} 0"], "a clock that is stopped");
    assert_eq!(absent, ["disabled", "unknown", "unknown"]);
}

#[test]
fn what_newer_drivers_report_is_exported() {
    let throttled = |kind, micro| FrequencySample {
        throttled_us: Ok(micro),
        ..clock(kind, 2400.0, FrequencyState { actual: 1000.0, ..FrequencyState::default() })
    };
    let sample = Sample {
        processes: Ok(3),
        // The clock of another domain is not the GPU's.
        frequencies: vec![throttled(v::CLOCK_MEMORY, 9_000_000), throttled(v::CLOCK_GPU, 2_500_000)],
        temperatures: vec![
            sensor(v::SENSOR_GPU, 60.0, 100.0),
            sensor(v::SENSOR_GPU, 61.0, 95.0),
            sensor(v::SENSOR_MEMORY, 70.0, 1000.0),
        ],
        ..nothing()
    };
    let (series, absent) = series(&sample);
    let named = |name: &str| series.iter().filter(|one| one.starts_with(name)).cloned().collect::<Vec<_>>();
    assert_eq!(named("accel_compute_processes"), ["accel_compute_processes{} 3"]);
    assert_eq!(named("accel_throttle_seconds"), ["accel_throttle_seconds_total{any} 2.5"]);
    let limit = "accel_temperature_limit_celsius";
    assert_eq!(named(limit), [format!("{limit}{{gpu,max}} 95")], "the one that is reached first");
    assert!(absent.contains(&"over_200_celsius"), "{absent:?}");
}

#[test]
fn the_range_of_the_limit_is_what_the_driver_knows_of_it() {
    let range = PowerRange { default: 200_000, min: -1, max: 0 };
    let (series, _) = series(&Sample { limit_range: Ok(range), ..nothing() });
    let limits: Vec<_> = series.iter().filter(|one| one.starts_with("accel_power_limit")).collect();
    assert_eq!(limits, ["accel_power_limit_watts{default} 200"]);
}

#[test]
fn a_card_without_a_sustained_limit_is_held_at_its_cap() {
    let limit = |level, limit| PowerLimit { level, unit: v::LIMIT_POWER, limit, ..PowerLimit::default() };
    let enforced = |limits: &[PowerLimit]| {
        let (series, _) = series(&Sample { limits: Ok(limits.to_vec()), ..nothing() });
        series.into_iter().filter(|one| one.contains("{enforced}")).collect::<Vec<_>>()
    };
    let (cap, peak) = (limit(v::LEVEL_BURST, 200_000), limit(v::LEVEL_PEAK, 400_000));
    let at_the_cap = ["accel_power_limit_watts{enforced} 200"];
    assert_eq!(enforced(&[cap, peak]), at_the_cap);
    assert_eq!(enforced(&[limit(v::LEVEL_SUSTAINED, 0), cap]), at_the_cap);
    assert_eq!(
        enforced(&[limit(v::LEVEL_SUSTAINED, 190_000), cap]),
        ["accel_power_limit_watts{enforced} 190"]
    );
    let unknown = enforced(&[limit(v::LEVEL_SUSTAINED, -1), cap]);
    assert!(unknown.is_empty(), "what is unknown may be the limit in force: {unknown:?}");
}

#[test]
fn a_port_is_up_or_down_or_unknown() {
    let port = |number, status| PortSample {
        tile: None,
        number,
        state: Ok(PortState { status, ..PortState::default() }),
        moved: [Err(NONE); 2],
        errors: Err(NONE),
    };
    let ports = [v::PORT_HEALTHY, v::PORT_DEGRADED, v::PORT_FAILED, v::PORT_DISABLED, 0];
    let ports = (0..).zip(ports).map(|(number, status)| port(number, status)).collect();
    let (series, absent) = series(&Sample { ports, ..nothing() });
    let up = |number, up| format!("accel_link_up{{{number},xelink}} {up}");
    assert_eq!(series, [up(0, 1), up(1, 1), up(2, 0), up(3, 0)]);
    // The speed of each, and the status of the last.
    assert_eq!(absent, ["unknown"; 6]);
}

#[test]
fn memory_is_per_tile_and_all_of_it_free_is_a_missing_capability() {
    let module = |tile, free| MemorySample {
        tile,
        physical_bytes: 100,
        state: Ok(MemoryState { free, size: 90, ..MemoryState::default() }),
        moved: [Err(NONE); 2],
        active: Err(NONE),
    };
    let sample = Sample {
        memories: Ok(vec![module(Some(0), 80), module(Some(0), 70), module(Some(1), 90)]),
        ..nothing()
    };
    let (series, absent) = series(&sample);
    assert_eq!(
        series,
        [
            "accel_memory_total_bytes{tile0} 200",
            "accel_memory_used_bytes{tile0} 30",
            "accel_memory_free_bytes{tile0} 150",
            "accel_memory_total_bytes{tile1} 100",
        ]
    );
    assert_eq!(absent, ["needs_cap_perfmon", "needs_cap_perfmon"]);
    let unknown = MemorySample { physical_bytes: 0, state: Ok(MemoryState::default()), ..module(None, 0) };
    let (series, _) = self::series(&Sample { memories: Ok(vec![unknown]), ..nothing() });
    assert_eq!(series, [""; 0], "a size of 0 is unknown");
}
