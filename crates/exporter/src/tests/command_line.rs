//! Flags, variables, mistakes, and the commands that print.

use std::{ffi::OsString, fs, os::unix::fs::symlink, path::Path, time::Duration};

use naming::{Family, FaultCode, METRICS};
use reading::Source;
use source::{Opened, Parts, SourceSpec, UsageError};

use super::fake::{FakeSource, Machine};
use crate::commands::{
    cli::{self, Parsed},
    fields,
    flags::{Command, ServeFlags},
    probe,
    reference::{flags, manual, metrics},
    values::{ListenAddress, listen_address},
};

pub const SPEC: SourceSpec = SourceSpec {
    family: Family::Nvidia,
    about: "Fake devices",
    args: |command| command.arg(clap::Arg::new("library.fake").long("library.fake").value_name("PATH")),
    open: |matches, _| match matches.get_one::<String>("library.fake") {
        Some(path) => Err(UsageError(format!("{path}: no such file; leave --library.fake out"))),
        None => Ok(Opened { parts: Parts::Kernel(boxed(Machine::with(&["gpu0", "gpu1"]))), filters: vec![] }),
    },
};

pub fn parse(args: &[&str]) -> Result<Parsed, String> {
    let args: Vec<OsString> = ["fake-exporter"].iter().chain(args).map(OsString::from).collect();
    cli::parse(&cli::command("fake-exporter", "Fakes", &[SPEC]), &args).map_err(|error| error.to_string())
}

pub fn serve_flags(args: &[&str]) -> ServeFlags {
    let Ok(Parsed::Run(command, ..)) = parse(args) else { panic!("{args:?}") };
    let Command::Serve(flags) = *command else { panic!("{args:?}") };
    flags
}

pub fn mistake(args: &[&str]) -> String {
    parse(args).err().unwrap_or_else(|| panic!("{args:?} was taken"))
}

#[test]
fn serve_is_the_command_when_none_is_given() {
    for args in [&["--interval", "250ms"][..], &["serve", "--interval=250ms"]] {
        let flags = serve_flags(args);
        assert_eq!(flags.sampling.interval, Duration::from_millis(250));
        assert_eq!(flags.web.max_requests, 40);
        let all = ListenAddress::Tcp { host: String::new(), port: 9477 };
        assert_eq!(flags.web.listen_addresses, [all]);
    }
}

#[test]
fn lists_are_repeated_or_separated_by_commas() {
    let args = ["--web.listen-address", ":1,[::1]:2", "--web.listen-address", "unix:/run/x"];
    let flags = serve_flags(&args);
    let addresses = flags.web.listen_addresses.iter();
    assert_eq!(addresses.map(ToString::to_string).collect::<Vec<_>>(), [":1", "[::1]:2", "unix:/run/x"]);
}

#[test]
fn every_mistake_is_one_line_that_names_the_place_and_how_to_write_it() {
    for (args, place, how) in [
        (&["--interval", "5h"][..], "--interval: \"5h\"", "write 100ms to 5m"),
        (&["--interval", "99ms"], "--interval: \"99ms\"", "write 100ms to 5m"),
        (&["--interval", "soon"], "--interval: \"soon\"", "write 250ms, 1s or 5m"),
        (&["--interval"], "--interval", "needs a value"),
        (&["--intervall", "1s"], "--intervall", "did you mean --interval?"),
        (&["--nothing-like-it"], "--nothing-like-it", "--help"),
        (&["probee"], "probee", "probe"),
        (&["--interval", "1s", "probe"], "flags", "after"),
        (&["probe", "--interval", "1s"], "--interval", "--help"),
        (&["generate"], "command", "--help"),
        (&["--source", "voodoo"], "--source: \"voodoo\"", "auto, nvidia"),
        (&["--names", "unified,mine"], "--names: \"mine\"", "unified, vendor"),
        (&["--log.level", "loud"], "--log.level: \"loud\"", "error, warn, info, debug"),
        (&["--web.listen-address", "9477"], "--web.listen-address: \"9477\"", "write :9477"),
        (&["--web.listen-address", ":99999"], "--web.listen-address: \":99999\"", "0 to 65535"),
        (&["--web.listen-address", "::1:9477"], "--web.listen-address: \"::1:9477\"", "brackets"),
        (&["--web.listen-address", "unix:"], "--web.listen-address: \"unix:\"", "/run/accelscope.sock"),
        (&["--web.telemetry-path", "metrics"], "--web.telemetry-path: \"metrics\"", "write /metrics"),
        (&["--web.telemetry-path", "/-/ready"], "--web.telemetry-path: \"/-/ready\"", "write /metrics"),
        (&["--web.max-requests", "0"], "--web.max-requests: \"0\"", "1.."),
        (&["--web.idle-timeout", "0s"], "--web.idle-timeout: \"0s\"", "write 1ms to 1h"),
        (&["--web.idle-timeout", "61m"], "--web.idle-timeout: \"61m\"", "write 1ms to 1h"),
        (
            &["--web.header-timeout", "580000000000y"],
            "--web.header-timeout: \"580000000000y\"",
            "write 1ms to 1h",
        ),
        (&["--interval", "1s", "--interval", "2s"], "--interval", "cannot be used multiple times"),
    ] {
        let text = mistake(args);
        assert!(text.contains(place) && text.contains(how) && !text.contains('\n'), "{args:?}: {text}");
    }
}

#[test]
fn a_source_brings_its_flags_under_its_heading_and_their_variables() {
    let Ok(Parsed::Print(help)) = parse(&["--help"]) else { panic!("no help") };
    let flags = help.split_once("Fake devices:").expect("a heading").1;
    assert!(flags.contains("--library.fake <PATH>"), "{help}");
    assert!(help.contains("Exit codes:"));
    let command = cli::command("fake-exporter", "Fakes", &[SPEC]);
    let variables = [
        "ACCELSCOPE_LIBRARY_FAKE",
        "ACCELSCOPE_WEB_LISTEN_ADDRESS",
        "ACCELSCOPE_JSON",
        "ACCELSCOPE_PORT",
        "ACCELSCOPE_PORT_9477_TCP_ADDR",
        "ACCELSCOPE_SERVICE_HOST",
        "ACCELSCOPE_SERVICE_PORT_METRICS",
        "HOME",
        "ACCELSCOPE_INTERVALL",
        "ACCELSCOPE_PORTAL",
    ];
    let unknown = cli::unknown_variables(&command, variables.into_iter().map(OsString::from));
    assert_eq!(unknown, ["ACCELSCOPE_INTERVALL", "ACCELSCOPE_PORTAL"]);
}

#[test]
fn commands_are_well_formed() {
    cli::command("fake-exporter", "Fakes", &[SPEC]).debug_assert();
}

#[test]
fn listen_addresses_are_read_as_they_are_written() {
    for text in [":9477", "0.0.0.0:9477", "localhost:0", "[::1]:9477", "unix:/run/accelscope.sock"] {
        assert_eq!(listen_address(text).expect(text).to_string(), text);
    }
}

fn boxed(machine: Machine) -> Box<dyn Source> {
    Box::new(FakeSource(machine))
}

#[test]
fn probe_shows_values_and_reasons() {
    let opened = |machine: &Machine| vec![boxed(machine.clone())];
    let machine = Machine::with(&["gpu0", "gpu1"]);
    machine.set("sample gpu1", super::fake::Act::Fail);
    let report = probe::run(opened(&machine), Path::new("/nowhere"));
    assert!(!report.found_nothing());
    assert_eq!(machine.calls("sample gpu0"), 2, "rates need two points");
    assert_eq!(machine.sessions(), 0, "the driver was let go");
    let table = report.table();
    assert!(table.contains("nvidia: libfake.so.1, 1.0\n"), "{table}");
    let line = |start: &str| table.lines().find(|line| line.trim_start().starts_with(start)).expect(start);
    assert!(line("accel_power_watts ").ends_with(" 350"));
    assert!(line("accel_temperature_celsius ").ends_with(" 54 {sensor=gpu}"));
    assert!(line("accel_fan_speed_ratio ").ends_with(" unsupported: fake_fan (FAKE_NOT_SUPPORTED)"));
    assert!(line("accel_clock_hertz ").ends_with(" not reported"));
    assert!(line("failed:").ends_with(" fake_call (FAKE_BROKEN)"), "gpu1 says why");
    let last = report.unreadable().expect("gpu1 cannot be read");
    assert_eq!(last, "cannot be read: nvidia: 1 of 2 devices (gpu1: failed: fake_call (FAKE_BROKEN))");
    let json: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
    let device = &json["sources"][0]["devices"][0];
    assert_eq!(device["labels"]["uuid"], "uuid-gpu0");
    let metrics = device["metrics"].as_array().expect("a list");
    let power = metrics.iter().find(|metric| metric["metric"] == "accel_power_watts").expect("power");
    assert_eq!(power["series"][0]["value"], 350.0);
    let fan = metrics.iter().find(|metric| metric["metric"] == "accel_fan_speed_ratio").expect("the fan");
    assert_eq!(fan["absent"][0]["kind"], "unsupported");
    assert!(fan["absent"][0]["what_to_do"].is_null() && report.advice().is_empty(), "a code of the vendor");
    assert_eq!(json["sources"][0]["devices"][1]["unavailable"]["code"], "FAKE_BROKEN");
}

#[test]
fn probe_says_what_to_do_about_each_code_of_ours_once() {
    let machine = Machine::with(&["gpu0", "gpu1"]);
    machine.set("sample gpu0", super::fake::Act::Panic);
    machine.set("sample gpu1", super::fake::Act::Panic);
    let report = probe::run(vec![boxed(machine)], Path::new("/nowhere"));
    let (code, meaning, what_to_do) =
        (FaultCode::Panic.name(), FaultCode::Panic.meaning(), FaultCode::Panic.what_to_do());
    assert_eq!(report.advice(), format!("\n{code}: {meaning}\n  What to do: {what_to_do}\n"));
    let json: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
    assert_eq!(json["sources"][0]["devices"][1]["unavailable"]["what_to_do"], what_to_do);
}

#[test]
fn probe_of_an_empty_node_says_why() {
    let machine = Machine::default();
    machine.set("connect", super::fake::Act::Fail);
    let report = probe::run(vec![boxed(machine)], Path::new("/nowhere"));
    assert!(report.found_nothing());
    assert_eq!(report.table(), "nvidia: libfake.so.1: not found; install it\n");
    assert_eq!(report.unreadable(), None, "nothing is missing");
    let machine = Machine::default();
    machine.set("devices", super::fake::Act::Fail);
    let report = probe::run(vec![boxed(machine)], Path::new("/nowhere"));
    assert!(!report.found_nothing(), "nobody knows");
    let last = report.unreadable().expect("a driver that lists nothing");
    assert_eq!(last, "cannot be read: nvidia: fake_call: failed (FAKE_BROKEN)");
    let report = probe::run(vec![boxed(Machine::default())], Path::new("/nowhere"));
    assert!(report.found_nothing() && report.unreadable().is_none());
    assert_eq!(report.table(), "nvidia: libfake.so.1, 1.0\nnvidia: no device is listed\n");
}

#[test]
fn probe_counts_what_is_on_the_bus_and_not_listed() {
    let sysfs = tempfile::tempdir().expect("a folder");
    for address in ["0000:19:00.0", "0000:3b:00.0", "0000:4c:00.0"] {
        let function = sysfs.path().join("bus/pci/devices").join(address);
        fs::create_dir_all(&function).expect("a folder");
        fs::write(function.join("vendor"), "0x10de\n").expect("a file");
        fs::write(function.join("class"), "0x030200\n").expect("a file");
    }
    let opened = |machine: &Machine| vec![boxed(machine.clone())];
    let machine = Machine::with(&["gpu0", "gpu1"]);
    machine.set("sample gpu1", super::fake::Act::Fail);
    let report = probe::run(opened(&machine), sysfs.path());
    assert_eq!(
        report.unreadable().expect("two of three"),
        "cannot be read: nvidia: 2 of 3 devices (gpu1: failed: fake_call (FAKE_BROKEN), \
         1 on the PCI bus not listed by the driver)"
    );
    let json: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
    assert_eq!(json["sources"][0]["expected"], 3);
    machine.place("gpu0", "0000:19:00.0");
    machine.place("gpu1", "0000:3b:00.0");
    let report = probe::run(opened(&machine), sysfs.path());
    let last = report.unreadable().expect("two of three");
    assert!(last.ends_with("(FAKE_BROKEN), not listed by the driver: 0000:4c:00.0)"), "{last}");
    machine.set("connect", super::fake::Act::Fail);
    let report = probe::run(opened(&machine), sysfs.path());
    assert!(!report.found_nothing(), "the bus shows three");
    let last = report.unreadable().expect("none of three");
    assert_eq!(last, "cannot be read: nvidia: 3 of 3 devices (libfake.so.1: not found; install it)");
}

#[test]
fn probe_says_what_is_the_matter_with_a_function_that_is_not_listed() {
    let machine = tempfile::tempdir().expect("a folder");
    let (sysfs, dev) = (machine.path().join("sys"), machine.path().join("dev"));
    let function = |address: &str| sysfs.join("bus/pci/devices").join(address);
    for address in ["0000:19:00.0", "0000:3b:00.0", "0000:4c:00.0"] {
        fs::create_dir_all(function(address)).expect("a folder");
        fs::write(function(address).join("vendor"), "0x10de\n").expect("a file");
        fs::write(function(address).join("class"), "0x030200\n").expect("a file");
    }
    symlink("../../drivers/vfio-pci", function("0000:3b:00.0").join("driver")).expect("linked");
    symlink("../../drivers/nvidia", function("0000:4c:00.0").join("driver")).expect("linked");
    let probe = || probe::run(vec![boxed(Machine::default())], &sysfs);
    let table = probe().table();
    for line in [
        "  0000:19:00.0  not listed: no driver has bound it: nvidia is not loaded\n",
        "    read the kernel log about it: dmesg | grep 0000:19:00.0\n",
        "  0000:4c:00.0  not listed: nvidia drives it, and does not list it\n",
        "  not counted: 0000:3b:00.0 (bound to vfio-pci)\n",
    ] {
        assert!(table.contains(line), "{line} is not in\n{table}");
    }
    fs::create_dir_all(sysfs.join("bus/pci/drivers/nvidia")).expect("a folder");
    fs::create_dir_all(&dev).expect("a folder");
    let log = "3,2,200,-;nvidia 0000:19:00.0: probe with driver nvidia failed with error -1\n";
    fs::write(dev.join("kmsg"), log).expect("a file");
    let table = probe().table();
    for part in
        ["nvidia is loaded, and either refused it", "nvidia 0000:19:00.0: probe with driver nvidia failed"]
    {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
    let json: serde_json::Value = serde_json::from_str(&probe().json()).expect("JSON");
    let functions = &json["sources"][0]["functions"];
    assert_eq!((&functions[1]["driver"], &functions[1]["counted"]), (&"vfio-pci".into(), &false.into()));
    assert_eq!(json["sources"][0]["expected"], 2);
}

#[test]
fn fields_and_the_metrics_page_have_every_name() {
    let (table, page) = (fields::table(), metrics::page());
    let json: serde_json::Value = serde_json::from_str(&fields::json()).expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(METRICS.len()));
    for metric in METRICS {
        for name in metric.name.into_iter().chain(metric.vendor_names().map(|row| row.name)) {
            assert!(table.contains(name), "{name} is not in the table");
            assert!(page.contains(&format!("`{name}`")), "{name} is not in the page");
        }
    }
    assert!(page.starts_with("<!-- Generated by "));
}

#[test]
fn the_flags_page_and_the_manual_have_every_flag_of_the_program_and_its_sources() {
    let program = cli::command("fake-exporter", "Fakes", &[SPEC]);
    let page = flags::page(&program);
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `--interval ")).collect();
    assert_eq!(
        rows,
        [
            "| `--interval DURATION` | `ACCELSCOPE_INTERVAL` | `1s` | Time between two samples of a device, 100ms to 5m. |"
        ]
    );
    assert!(
        page.contains("### Fake devices\n")
            && page.contains("| `--library.fake PATH` | `ACCELSCOPE_LIBRARY_FAKE` |")
    );
    assert!(
        page.contains("It also takes the flags under: Settings, Sources, Workloads, Log, Fake devices.\n"),
        "{page}"
    );
    let manual = manual::pages(&program);
    let serve =
        manual.iter().find(|(path, _)| path == "share/man/man1/fake-exporter-serve.1").expect("a page");
    let completions = manual::completions(&program, &[]);
    assert_eq!(completions.len(), manual::SHELLS.len());
    for flag in program.get_arguments().filter_map(clap::Arg::get_long) {
        assert!(page.contains(&format!("`--{flag}")), "{flag} is not on the page");
        assert!(serve.1.replace("\\-", "-").contains(&format!("--{flag}")), "{flag} is not in the manual");
        for (path, text) in &completions {
            assert!(text.contains(flag), "{flag} is not in {path}");
        }
    }
}

#[test]
fn a_stale_page_is_reported_with_its_first_wrong_line() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().to_str().expect("text").to_owned();
    let generate = |more: &[&str]| {
        let args = [&["fake-exporter", "generate", "metrics", "-o", &path], more].concat();
        let args: Vec<_> = args.into_iter().map(OsString::from).collect();
        crate::run("fake-exporter", "Fakes", &[SPEC], &args).map_err(|failure| match failure {
            crate::Failure::Run(text) => text,
            crate::Failure::Usage(error) => panic!("{error}"),
        })
    };
    assert!(generate(&["--check"]).is_err_and(|text| text.contains("line 1 has nothing")));
    generate(&[]).expect("written");
    generate(&["--check"]).expect("fresh");
    let file = dir.path().join("docs/metrics.md");
    let stale = fs::read_to_string(&file).expect("text").replacen("# Metrics", "# Old", 1);
    fs::write(&file, stale).expect("written");
    let text = generate(&["--check"]).expect_err("stale");
    assert!(
        text.ends_with("docs/metrics.md is stale: line 3 has \"# Old\" and should have \"# Metrics\""),
        "{text}"
    );
}
