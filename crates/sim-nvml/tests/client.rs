//! The library as a client sees it: opened at run time by `nvml-wrapper`, which knows nothing of the
//! simulation. Each test runs in a process of its own, because the machine is chosen by the environment and
//! a driver has one state per process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enum_wrappers::device::{Clock, EccCounter, MemoryError, TemperatureSensor};
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::enums::gpm::GpmMetricId;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::gpm::gpm_metrics_get;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::{Device, Nvml};
use sim::control::{
    Control, DriverState, Ecc, Event, EventKind, Fault, Garbage, Mig, Rows, Scope, Severity, Xid,
};

const CHILD: &str = "SIM_NVML_TEST_CHILD";
/// The library looks at its control file every 50 ms, and a waiting call every 200 ms.
const SETTLE: Duration = Duration::from_millis(260);
const POWER_CALL: &str = "nvmlDeviceGetPowerUsage";

type Outcome = Result<(), NvmlError>;

fn library() -> PathBuf {
    let program = std::env::current_exe().expect("a program has a path");
    program.with_file_name("libnvidia_ml.so")
}

/// Runs `body` once per machine, each time in a process of its own and with the path of a control file that
/// does not exist yet. The body learns the machine's name.
fn on(test: &str, machines: &[&str], body: impl FnOnce(&str, &Path) -> Outcome) {
    if let Some(control) = std::env::var_os(CHILD) {
        let machine = std::env::var("ACCELSIM_MACHINE").expect("the parent sets it");
        body(&machine, Path::new(&control)).expect("the library returns");
        return;
    }
    for machine in machines {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let control = folder.path().join("control.toml");
        let output = Command::new(std::env::current_exe().expect("a program has a path"))
            .args([test, "--exact", "--nocapture"])
            .env(CHILD, &control)
            .env("ACCELSIM_MACHINE", machine)
            .env("ACCELSIM_CONTROL", &control)
            .env("ACCELSIM_WORKLOAD", "decode")
            .output()
            .expect("the test starts itself");
        let read = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = read(&output.stdout) + &read(&output.stderr);
        assert!(output.status.success(), "{machine}: {said}");
        assert!(said.contains("1 passed"), "{test} is not the name of this test");
    }
}

fn init() -> Result<Nvml, NvmlError> {
    Nvml::builder().lib_path(library().as_os_str()).init()
}

fn set(path: &Path, control: &Control) {
    control.write(path).expect("the control file is written");
    std::thread::sleep(SETTLE);
}

fn set_fault(path: &Path, fault: Fault) {
    set(path, &Control { fault: vec![fault], ..Control::default() });
}

fn whole_number(value: &SampleValue) -> u64 {
    match value {
        SampleValue::U32(number) => (*number).into(),
        SampleValue::U64(number) => *number,
        other => panic!("{other:?} is not a whole number"),
    }
}

fn field(device: &Device<'_>, id: u32) -> Result<u64, NvmlError> {
    let values = device.field_values_for(&[FieldId(id)])?;
    let sample = values.into_iter().next().expect("one value for one field")?;
    sample.value.map(|value| whole_number(&value))
}

#[test]
fn every_part_reads_as_itself() {
    const TEST: &str = "every_part_reads_as_itself";
    on(TEST, &["h100-sxm-8", "h100-sxm-4", "a100-8", "t4-1"], |machine, _| {
        let nvml = init()?;
        let count = machine.rsplit('-').next().and_then(|count| count.parse().ok());
        assert_eq!(Some(nvml.device_count()?), count);
        for index in 0..nvml.device_count()? {
            let device = nvml.device_by_index(index)?;
            let memory = device.memory_info()?;
            assert_eq!(memory.total, memory.used + memory.free + memory.reserved);
            assert!(device.power_usage()? <= device.enforced_power_limit()? && device.power_usage()? > 5_000);
            assert!((20..95).contains(&device.temperature(TemperatureSensor::Gpu)?));
            assert!(device.clock_info(Clock::SM)? <= device.max_clock_info(Clock::SM)?);
            assert!((50..=100).contains(&device.utilization_rates()?.gpu), "the workload is busy");
            assert!(device.total_energy_consumption()? > 0);
            assert!(matches!(device.fan_speed(0), Err(NvmlError::NotSupported)));
            let by_uuid = nvml.device_by_uuid(device.uuid()?)?;
            let by_address = nvml.device_by_pci_bus_id(device.pci_info()?.bus_id)?;
            for found in [by_uuid, by_address] {
                assert_eq!(found.index()?, index);
            }
        }
        let device = nvml.device_by_index(0)?;
        let hopper = machine.starts_with("h100");
        let turing = machine.starts_with("t4");
        assert_eq!(device.gpm_support()?, hopper);
        assert_eq!(device.gpm_sample().is_ok(), hopper);
        assert_eq!(field(&device, 82).is_ok(), !turing, "memory temperature");
        assert_eq!(field(&device, 142).is_ok(), !turing, "row remapping");
        assert_eq!(field(&device, 29).is_ok(), turing, "page retirement");
        assert_eq!(field(&device, 38).is_ok(), machine.starts_with("a100"), "NVLink errors before Hopper");
        assert_eq!(field(&device, 230).is_ok(), hopper, "recovery action");
        assert_eq!(device.link_wrapper_for(0).is_active().is_ok(), !turing);
        assert_eq!(device.mig_mode().is_ok(), !turing);
        nvml.shutdown()
    });
}

#[test]
fn clock_event_times_are_where_the_driver_puts_them() {
    const TEST: &str = "clock_event_times_are_where_the_driver_puts_them";
    on(TEST, &["h100-sxm-4", "h100-mig"], |machine, _| {
        let nvml = init()?;
        let device = nvml.device_by_index(1)?;
        // The wrapper knows the numbering by the driver's version, and translates 251 to 269 itself.
        for id in 251..=253 {
            assert!(field(&device, id).is_ok(), "{machine}: {id}");
        }
        Ok(())
    });
}

#[test]
fn gpm_metrics_are_means_between_two_samples() {
    on("gpm_metrics_are_means_between_two_samples", &["h100-sxm-8"], |_, _| {
        let nvml = init()?;
        let device = nvml.device_by_index(3)?;
        let first = device.gpm_sample()?;
        std::thread::sleep(Duration::from_millis(120));
        let second = device.gpm_sample()?;
        let ids = [GpmMetricId::SmUtil, GpmMetricId::AnyTensorUtil, GpmMetricId::DramBwUtil];
        let metrics = gpm_metrics_get(&nvml, &first, &second, &ids)?;
        for metric in metrics {
            let metric = metric?;
            assert!(metric.value > 5.0 && metric.value <= 100.0, "{metric:?}");
            assert_eq!(metric.metric_info.unit, "%");
        }
        let other = nvml.device_by_index(4)?.gpm_sample()?;
        assert!(gpm_metrics_get(&nvml, &first, &other, &ids).is_err(), "samples of two devices");
        Ok(())
    });
}

#[test]
fn instances_come_go_and_are_measured() {
    on("instances_come_go_and_are_measured", &["h100-mig"], |_, control| {
        let nvml = init()?;
        let device = nvml.device_by_index(0)?;
        assert!(matches!(device.utilization_rates(), Err(NvmlError::NotSupported)));
        let first = device.mig_device_by_index(0)?;
        assert!(first.mig_is_mig_device_handle()? && !device.mig_is_mig_device_handle()?);
        assert_eq!(first.name()?, "NVIDIA H100 80GB HBM3 MIG 3g.40gb");
        assert_eq!(first.attributes()?.multiprocessor_count, 60);
        assert_eq!(first.mig_parent_device()?.uuid()?, device.uuid()?);
        assert!(matches!(first.power_usage(), Err(NvmlError::NotSupported)));
        assert!(device.gpm_mig_sample(1).is_ok());
        assert!(matches!(device.mig_device_by_index(4), Err(NvmlError::NotFound)));

        let instances = vec!["2g.20gb".to_owned(), "3g.40gb:0".to_owned()];
        let mig = vec![Mig { device: 0, enabled: true, instances }];
        set(control, &Control { mig, ..Control::default() });
        assert!(matches!(first.name(), Err(NvmlError::InvalidArg)), "the instance is gone");
        assert_eq!(device.mig_device_by_index(0)?.name()?, "NVIDIA H100 80GB HBM3 MIG 2g.20gb");
        assert!(matches!(device.gpm_mig_sample(1), Err(NvmlError::NoData)), "no compute instance");

        set(control, &Control { mig: vec![Mig { device: 0, ..Mig::default() }], ..Control::default() });
        assert!(matches!(device.mig_device_by_index(0), Err(NvmlError::NotFound)));
        assert!(device.utilization_rates().is_ok(), "whole again");
        Ok(())
    });
}

#[test]
fn faults_hit_the_calls_and_devices_they_name() {
    on("faults_hit_the_calls_and_devices_they_name", &["h100-sxm-8"], |_, control| {
        let nvml = init()?;
        let (one, two) = (nvml.device_by_index(1)?, nvml.device_by_index(2)?);

        set_fault(control, Fault::error(999).device(2).call(POWER_CALL));
        assert!(matches!(two.power_usage(), Err(NvmlError::Unknown)));
        assert!(one.power_usage().is_ok() && two.total_energy_consumption().is_ok());

        set_fault(control, Fault::lost().device(2));
        assert!(matches!(two.power_usage(), Err(NvmlError::GpuLost)));
        assert!(matches!(nvml.device_by_index(2), Err(NvmlError::GpuLost)));
        assert!(one.power_usage().is_ok() && nvml.device_count()? == 8);

        set_fault(control, Fault::slow(120.0).device(2).call("nvmlDeviceGetPower*"));
        let begin = Instant::now();
        two.power_usage()?;
        assert!(begin.elapsed() >= Duration::from_millis(120));
        let begin = Instant::now();
        one.power_usage()?;
        assert!(begin.elapsed() < Duration::from_millis(100));

        set_fault(control, Fault::garbage(Garbage::Blank).device(2));
        assert_eq!(two.power_usage()?, u32::MAX);
        assert_eq!(two.total_energy_consumption()?, 0x7fff_ffff_ffff_fff0);
        set_fault(control, Fault::garbage(Garbage::Hot).device(2));
        assert_eq!(two.temperature(TemperatureSensor::Gpu)?, 255);
        set_fault(control, Fault::garbage(Garbage::Nan).device(2));
        let (first, second) = (two.gpm_sample()?, two.gpm_sample()?);
        let metrics = gpm_metrics_get(&nvml, &first, &second, &[GpmMetricId::SmUtil])?;
        assert!(metrics.into_iter().all(|metric| metric.is_ok_and(|metric| metric.value.is_nan())));

        set_fault(control, Fault::error(999).call("nvmlDeviceGetCount_v2"));
        assert!(matches!(nvml.device_count(), Err(NvmlError::Unknown)));
        set(control, &Control::default());
        assert!(two.power_usage().is_ok_and(|milliwatts| milliwatts < 701_000));
        Ok(())
    });
}

#[test]
fn a_call_that_hangs_hangs_alone_and_comes_back() {
    on("a_call_that_hangs_hangs_alone_and_comes_back", &["h100-sxm-8"], |_, control| {
        let nvml = init()?;
        set_fault(control, Fault::hang().device(2).call(POWER_CALL));
        std::thread::scope(|scope| {
            let begin = Instant::now();
            let stuck = scope.spawn(|| nvml.device_by_index(2)?.power_usage());
            std::thread::sleep(Duration::from_millis(400));
            assert!(!stuck.is_finished());
            let begin_other = Instant::now();
            assert!(nvml.device_by_index(1)?.power_usage().is_ok());
            assert!(nvml.device_by_index(2)?.total_energy_consumption().is_ok());
            assert!(begin_other.elapsed() < Duration::from_millis(200));
            assert!(!stuck.is_finished(), "it hangs until the fault is gone");
            set(control, &Control::default());
            assert!(stuck.join().expect("it does not panic").is_ok());
            assert!(begin.elapsed() < Duration::from_secs(5));
            Outcome::Ok(())
        })
    });
}

#[test]
fn events_are_delivered_once_and_old_ones_never() {
    on("events_are_delivered_once_and_old_ones_never", &["h100-sxm-4"], |_, control| {
        let old = Xid { id: 1, device: 0, code: 31, ..Xid::default() };
        set(control, &Control { xid: vec![old.clone()], ..Control::default() });
        let nvml = init()?;
        let (mut events, mut late) = (nvml.create_event_set()?, nvml.create_event_set()?);
        for index in 0..4 {
            events = nvml
                .device_by_index(index)?
                .register_events(EventTypes::CRITICAL_XID_ERROR, events)
                .map_err(|error| error.error)?;
        }
        assert!(
            matches!(events.wait(300), Err(NvmlError::Timeout)),
            "what was there before is not delivered"
        );

        let new = Xid { id: 2, device: 3, code: 79, ..Xid::default() };
        let ecc = vec![Ecc { device: 1, severity: Severity::Uncorrectable, scope: Scope::Dram, count: 1 }];
        set(control, &Control { xid: vec![old, new], ecc, ..Control::default() });
        let event = events.wait(1000)?;
        assert_eq!(event.device.index()?, 3);
        assert!(event.event_type.contains(EventTypes::CRITICAL_XID_ERROR));
        assert!(
            matches!(events.wait(300), Err(NvmlError::Timeout)),
            "once, and nothing that was not asked for"
        );

        late = nvml
            .device_by_index(3)?
            .register_events(EventTypes::CRITICAL_XID_ERROR, late)
            .map_err(|error| error.error)?;
        assert!(matches!(late.wait(300), Err(NvmlError::Timeout)), "a set made later");
        events.release_events()?;
        late.release_events()
    });
}

#[test]
fn a_device_announces_the_types_that_its_driver_knows() {
    // Types of newer headers, which the wrapper does not name.
    const STORM: u64 = 0x200;
    const UNAVAILABLE: u64 = 0x4000;
    let machines = ["h100-sxm-4", "a100-8", "t4-1"];
    on("a_device_announces_the_types_that_its_driver_knows", &machines, |machine, control| {
        let nvml = init()?;
        let device = nvml.device_by_index(0)?;
        let newer = EventTypes::from_bits_retain(STORM | UNAVAILABLE);
        let types = device.supported_event_types()?;
        assert!(types.contains(EventTypes::SINGLE_BIT_ECC_ERROR | EventTypes::CRITICAL_XID_ERROR));
        assert_eq!(types.contains(EventTypes::MIG_CONFIG_CHANGE), machine != "t4-1");
        assert!(!types.contains(EventTypes::CLOCK_CHANGE), "of Kepler only");
        let wanted = newer | EventTypes::MIG_CONFIG_CHANGE;
        let registered = device.register_events(wanted, nvml.create_event_set()?);
        if machine != "h100-sxm-4" {
            let refused = registered.expect_err("driver 550 does not know them").error;
            assert!(matches!(refused, NvmlError::NotSupported), "{refused}");
            return Ok(());
        }
        let set = registered.map_err(|error| error.error)?;
        let event = |id, kind| Event { id, device: 0, kind, at: None, every: None };
        let kinds = [EventKind::PState, EventKind::MigConfig, EventKind::GpuUnavailable];
        let event = (1..).zip(kinds).map(|(id, kind)| event(id, kind)).collect();
        self::set(control, &Control { event, ..Control::default() });
        let announced = [set.wait(1000)?, set.wait(1000)?].map(|event| event.event_type);
        // The wrapper leaves out the bits that it does not know.
        assert_eq!(announced, [EventTypes::MIG_CONFIG_CHANGE, EventTypes::empty()]);
        assert!(matches!(set.wait(300), Err(NvmlError::Timeout)), "once, and nothing that was not asked for");
        set.release_events()
    });
}

#[test]
fn errors_and_rows_show_what_the_control_file_adds() {
    on("errors_and_rows_show_what_the_control_file_adds", &["h100-sxm-4", "t4-1"], |machine, control| {
        let nvml = init()?;
        let device = nvml.device_by_index(0)?;
        let uncorrected = || device.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Aggregate);
        assert_eq!(uncorrected()?, 0);
        let rows = Rows { device: 0, correctable: 2, uncorrectable: 1, pending: true, failure: false };
        let ecc = vec![Ecc { device: 0, severity: Severity::Uncorrectable, scope: Scope::Sram, count: 3 }];
        set(control, &Control { ecc, rows: vec![rows], ..Control::default() });
        assert_eq!(uncorrected()?, 3);
        let fields = if machine == "t4-1" { [29, 30, 31] } else { [142, 143, 144] };
        let read = fields.map(|id| field(&device, id).expect("it is supported"));
        assert_eq!(read, [2, 1, 1]);
        Ok(())
    });
}

#[test]
fn a_device_off_the_bus_is_neither_counted_nor_found() {
    on("a_device_off_the_bus_is_neither_counted_nor_found", &["h100-sxm-8"], |_, control| {
        let nvml = init()?;
        let gone = nvml.device_by_index(3)?;
        let last = nvml.device_by_index(7)?;
        set(control, &Control { hidden: vec![3], ..Control::default() });
        assert_eq!(nvml.device_count()?, 7);
        assert!(matches!(gone.power_usage(), Err(NvmlError::GpuLost)));
        assert_eq!(last.index()?, 6, "the others move up");
        assert!(matches!(nvml.device_by_index(7), Err(NvmlError::InvalidArg)));
        set(control, &Control::default());
        assert!(nvml.device_count()? == 8 && gone.power_usage().is_ok(), "back again");
        Ok(())
    });
}

#[test]
fn a_driver_that_goes_takes_every_handle_with_it() {
    on("a_driver_that_goes_takes_every_handle_with_it", &["h100-sxm-4"], |_, control| {
        let nvml = init()?;
        let device = nvml.device_by_index(0)?;
        let before = device.total_energy_consumption()?;
        set(control, &Control { driver: Some(DriverState::Unloaded), ..Control::default() });
        assert!(matches!(device.power_usage(), Err(NvmlError::Uninitialized)));
        assert!(matches!(nvml.device_count(), Err(NvmlError::Uninitialized)));
        assert!(matches!(init(), Err(NvmlError::DriverNotLoaded)));

        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let reloaded = Control {
            driver_epoch: Some(1),
            driver_loaded_at: Some(now.as_secs_f64()),
            ..Control::default()
        };
        set(control, &reloaded);
        assert!(matches!(device.power_usage(), Err(NvmlError::Uninitialized)), "until the next init");
        let again = init()?;
        assert!(matches!(device.power_usage(), Err(NvmlError::InvalidArg)), "a handle of the old driver");
        let after = again.device_by_index(0)?.total_energy_consumption()?;
        assert!(after < 1_000_000 && before > 1_000_000_000, "energy restarts: {before} then {after} mJ");
        Ok(())
    });
}

#[test]
fn an_old_driver_lacks_symbols() {
    on("an_old_driver_lacks_symbols", &["a100-8"], |_, control| {
        let old = control.with_file_name("old.so");
        sim::library::strip_symbols(&library(), &old, &["nvmlDeviceGetMemoryInfo_v2", "nvmlGpmSampleGet"])
            .expect("the copy is written");
        let nvml = Nvml::builder().lib_path(old.as_os_str()).init()?;
        let device = nvml.device_by_index(0)?;
        assert!(matches!(device.memory_info(), Err(NvmlError::FailedToLoadSymbol(_))));
        assert!(device.power_usage().is_ok());
        assert!(sim::library::strip_symbols(&library(), &old, &["nvmlNoSuchCall"]).is_err());
        Ok(())
    });
}

#[test]
fn an_unknown_machine_is_an_unknown_error() {
    on("an_unknown_machine_is_an_unknown_error", &["cray-1"], |_, _| {
        assert!(matches!(init(), Err(NvmlError::Unknown)));
        Ok(())
    });
}
