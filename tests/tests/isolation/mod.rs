//! Vendors' libraries in processes of their own: what a library does there costs its series for seconds, and
//! nothing else.

#![expect(clippy::float_cmp, reason = "flags and counts are printed and parsed exactly")]

mod rude;

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};
use e2e::{Exporter, Node, Samples, eventually, process, wait::Final};
use sim::{
    Control,
    control::{Event, EventKind, Fault, Xid},
};

/// A C API: its machine, flags beside `--isolate`, source, and calls.
struct Api {
    machine: &'static str,
    flags: &'static [&'static str],
    source: &'static str,
    init: &'static str,
    count: &'static str,
    sample: &'static str,
}

const APIS: [Api; 3] = [
    Api {
        machine: "h100-sxm-8",
        flags: &["--isolate", "on"],
        source: "nvidia",
        init: "nvmlInit_v2",
        count: "nvmlDeviceGetCount_v2",
        sample: "nvmlDeviceGetPowerUsage",
    },
    Api {
        machine: "gaudi3-8",
        flags: &["--isolate", "on"],
        source: "gaudi",
        init: "hlml_init",
        count: "hlml_device_get_count",
        sample: "hlml_device_get_power_usage",
    },
    // As it is without a flag.
    Api {
        machine: "battlematrix-8",
        flags: &["--xpu.backend", "level-zero"],
        source: "xpu",
        init: "zesInit",
        count: "zesDeviceGet",
        sample: "zesPowerGetEnergyCounter",
    },
];

impl Api {
    fn node(&self) -> Result<Node> {
        Ok(Node::new(self.machine)?.only(self.source))
    }

    fn source(&self) -> [(&'static str, &'static str); 1] {
        [("source", self.source)]
    }

    /// Waits until the source is up and its eight devices are.
    fn whole(&self, exporter: &Exporter) -> Result<()> {
        exporter.until(&format!("{}: everything is there", self.source), |samples| {
            ensure!(samples.value("accelscope_source_up", &self.source())? == 1.0, "down");
            ensure!(samples.sum("accel_device_up", &[]) == 8.0, "{}", samples.sum("accel_device_up", &[]));
            Ok(())
        })
    }
}

fn one_fault(fault: Fault) -> Control {
    Control { fault: vec![fault], ..Control::default() }
}

/// The processes that a process has started and not waited for, with their states.
fn children(parent: u32) -> Vec<(u32, char)> {
    let stat = |pid: u32| -> Option<(u32, char)> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?.chars().next()?;
        (fields.next()?.parse::<u32>().ok()? == parent).then_some((pid, state))
    };
    let processes = fs::read_dir("/proc").expect("mounted").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(stat).collect()
}

/// The one helper of an exporter.
fn helper(exporter: &Exporter) -> Result<u32> {
    match children(exporter.process.id())[..] {
        [(pid, state)] if state != 'Z' => Ok(pid),
        ref other => bail!("{other:?}"),
    }
}

/// What is known of a series when it is not compared by value: its name and labels.
fn series_of(samples: &Samples, device: &str) -> BTreeSet<String> {
    let own = samples.samples.iter().filter(|sample| sample.label("device") == device);
    own.map(|sample| sample.series.clone()).collect()
}

#[test]
fn a_library_that_ends_its_process_costs_its_own_series_for_seconds() -> Result<()> {
    for api in APIS {
        let node = api.node()?;
        let mut exporter = node.start(api.flags)?;
        api.whole(&exporter)?;
        for (fault, code, words) in [
            (Fault::crash(), "library_crashed", "SIGSEGV"),
            (Fault::abort(), "library_crashed", "SIGABRT"),
            (Fault::exit(), "library_exited", "with code 0"),
        ] {
            let first = helper(&exporter)?;
            node.control(&one_fault(fault.device(3).call(api.sample)))?;
            eventually(&format!("{}: {code} is the reason", api.source), || {
                let samples = exporter.scrape()?;
                let counted = samples.sum("accelscope_source_faults_total", &[("code", code)]);
                ensure!(counted > 0.0, "not counted");
                ensure!(samples.value("accelscope_source_up", &api.source())? == 0.0, "up");
                let page = exporter.get("/")?.ok()?.text()?.to_owned();
                ensure!(page.contains(code) || page.contains(words), "{page}");
                Ok(())
            })?;
            let log = exporter.process.log();
            ensure!(log.contains(words) && log.contains("source is down"), "{words}: {log}");
            node.control(&Control::default())?;
            api.whole(&exporter)?;
            ensure!(helper(&exporter)? != first, "a new process");
        }
        exporter.process.ensure_running()?;
        exporter.ends_in_order()?;
    }
    Ok(())
}

#[test]
fn what_was_counted_goes_on_in_the_next_process() -> Result<()> {
    // The first of NVIDIA's other events in place of an XID.
    let event = |id, code| {
        let (xid, event) = if code == 0 {
            (vec![], vec![Event { id, device: 3, kind: EventKind::FatalPoison, at: None, every: None }])
        } else {
            (vec![Xid { id, device: 3, code, ..Xid::default() }], vec![])
        };
        Control { xid, event, ..Control::default() }
    };
    // 8 is not watched, so its series begins with its first event; 2 is the bit of a critical error.
    for (api, code, label) in
        [(&APIS[0], 8, "8"), (&APIS[0], 79, "79"), (&APIS[0], 0, "fatal_poison"), (&APIS[1], 2, "critical")]
    {
        let node = api.node()?;
        let exporter = node.start(api.flags)?;
        api.whole(&exporter)?;
        let own = [("code", label)];
        let errors = |samples: &Samples| samples.sum("accel_errors_total", &own);
        for (id, so_many) in [(1, 1.0), (2, 2.0), (3, 3.0)] {
            node.control(&event(id, code))?;
            let before = exporter.until(&format!("{}: {so_many} of {label}", api.source), |samples| {
                ensure!(errors(samples) == so_many, "{}", errors(samples));
                Ok(samples.clone())
            })?;
            node.control(&Control::default())?;
            let first = helper(&exporter)?;
            process::send_signal("KILL", first)?;
            eventually("another helper is there", || {
                ensure!(helper(&exporter)? != first);
                Ok(())
            })?;
            api.whole(&exporter)?;
            let after = exporter.settled()?;
            ensure!(errors(&after) == so_many, "{} after {so_many}", errors(&after));
            let time = |samples: &Samples| samples.sum("accel_error_last_timestamp_seconds", &own);
            ensure!(time(&after) == time(&before), "{} after {}", time(&after), time(&before));
        }
    }
    Ok(())
}

#[test]
fn a_library_that_fails_while_it_is_opened_is_named_with_what_it_did() -> Result<()> {
    for api in APIS {
        for (fault, words) in [
            (Fault::crash(), "the library crashed (SIGSEGV) while it was opened"),
            (Fault::exit(), "the library ended the process with code 0 while it was opened"),
        ] {
            let node = api.node()?;
            node.control(&one_fault(fault.call(api.init)))?;
            let exporter = node.launch(api.flags)?;
            eventually(&format!("{}: {words}", api.source), || {
                let page = exporter.get("/")?.ok()?.text()?.to_owned();
                ensure!(page.contains(words), "{page}");
                Ok(())
            })?;
            let down = exporter.scrape()?.value("accelscope_source_up", &api.source())?;
            ensure!(down == 0.0 && exporter.process.log().contains(words), "{}", exporter.process.log());
            let probe = node.run("probe", api.flags)?;
            ensure!(probe.stdout.contains(words), "{probe:?}");
            node.control(&Control::default())?;
            api.whole(&exporter)?;
        }
    }
    Ok(())
}

#[test]
fn a_library_in_which_nothing_returns_is_started_again() -> Result<()> {
    for api in APIS {
        let node = api.node()?;
        let exporter = node.start(api.flags)?;
        api.whole(&exporter)?;
        let first = helper(&exporter)?;
        node.control(&Control {
            fault: vec![Fault::hang(), Fault::hang().call(api.count)],
            ..Control::default()
        })?;
        exporter.until(&format!("{}: the hang is the reason", api.source), |samples| {
            ensure!(samples.sum("accelscope_source_faults_total", &[("code", "library_hung")]) > 0.0);
            ensure!(samples.value("accelscope_source_up", &api.source())? == 0.0);
            Ok(())
        })?;
        node.control(&Control::default())?;
        api.whole(&exporter)?;
        ensure!(helper(&exporter)? != first, "a new process");
        ensure!(exporter.scrape()?.value("accelscope_stuck_threads", &api.source())? == 0.0);
    }
    Ok(())
}

#[test]
fn the_kernels_values_stay_while_level_zero_is_gone() -> Result<()> {
    let bandwidth = "accel_memory_bandwidth_active_ratio";
    let node = Node::new("battlematrix-8")?.only("xpu");
    let exporter = node.start(&[])?;
    let both = exporter.until("both backends are read", |samples| {
        ensure!(samples.all(bandwidth, &[]).count() == 8);
        ensure!(samples.all("accel_power_watts", &[]).count() == 8);
        Ok(samples.clone())
    })?;
    for (fault, code) in [
        (Fault::crash().call("zesMemoryGetBandwidth"), "library_crashed"),
        (Fault::exit().call("zesDeviceGet"), "library_exited"),
    ] {
        node.control(&one_fault(fault))?;
        let mut gone = 0;
        eventually(&format!("Level Zero is gone: {code}"), || {
            let samples = exporter.scrape()?;
            let up = samples.sum("accel_device_up", &[]);
            let watts = samples.all("accel_power_watts", &[]).count();
            let source = samples.value("accelscope_source_up", &[("source", "xpu")])?;
            if (up, watts, source) != (8.0, 8, 1.0) {
                return Err(Final(format!("{up} devices up, {watts} powers, source {source}")).into());
            }
            gone += usize::from(!samples.has(bandwidth, &[]));
            ensure!(gone > 20, "gone in {gone} scrapes");
            ensure!(samples.sum("accelscope_source_faults_total", &[("code", code)]) > 0.0);
            Ok(())
        })?;
        eventually("the page says why", || {
            let page = exporter.get("/")?.ok()?.text()?.to_owned();
            ensure!(page.contains("without Level Zero: ") && page.contains("library"), "{page}");
            Ok(())
        })?;
        node.control(&Control::default())?;
        exporter.until("Level Zero is back", |samples| {
            let (now, before) = (series_of(samples, "0000:03:00.0"), series_of(&both, "0000:03:00.0"));
            ensure!(now.is_superset(&before), "{:?}", before.difference(&now).collect::<Vec<_>>());
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_helper_ends_with_its_exporter_and_leaves_nothing() -> Result<()> {
    for api in APIS {
        // Asked to end, with a library that hangs.
        let node = api.node()?;
        let exporter = node.start(api.flags)?;
        api.whole(&exporter)?;
        let first = helper(&exporter)?;
        node.control(&one_fault(Fault::hang()))?;
        exporter.until("no device is read", |samples| {
            ensure!(samples.sum("accel_device_up", &[]) == 0.0);
            Ok(())
        })?;
        exporter.ends_in_order()?;
        has_ended(first)?;
        node.control(&Control::default())?;

        // Killed.
        let mut exporter = node.start(api.flags)?;
        api.whole(&exporter)?;
        let second = helper(&exporter)?;
        exporter.process.signal("KILL")?;
        exporter.process.wait()?;
        has_ended(second)?;

        // The helper is asked to end, as by a service manager that asks every process of a service: it
        // reads on. Killed, it is started again, and no zombie is left.
        let exporter = node.start(api.flags)?;
        api.whole(&exporter)?;
        let third = helper(&exporter)?;
        process::send_signal("TERM", third)?;
        let rounds =
            |samples: &Samples| samples.value("accelscope_sample_duration_seconds_count", &api.source());
        let before = rounds(&exporter.scrape()?)?;
        exporter.until("three more rounds are read", |samples| {
            ensure!(rounds(samples)? >= before + 24.0);
            Ok(())
        })?;
        ensure!(helper(&exporter)? == third, "it ended");
        process::send_signal("KILL", third)?;
        eventually("another helper is there", || {
            ensure!(helper(&exporter)? != third);
            Ok(())
        })?;
        api.whole(&exporter)?;
    }
    Ok(())
}

fn has_ended(pid: u32) -> Result<()> {
    eventually("the helper has ended", || {
        ensure!(!Path::new(&format!("/proc/{pid}")).exists(), "{pid} is there");
        Ok(())
    })
}

#[test]
fn what_is_isolated_is_what_the_flag_says() -> Result<()> {
    for (machine, source, flags, helpers) in [
        ("h100-sxm-8", "nvidia", &[][..], 0),
        ("h100-sxm-8", "nvidia", &["--isolate", "on"], 1),
        ("battlematrix-8", "xpu", &[], 1),
        ("battlematrix-8", "xpu", &["--isolate", "off"], 0),
        ("battlematrix-8", "xpu", &["--isolate", "on", "--xpu.backend", "kernel"], 0),
        ("xeon6-amx", "amx", &["--isolate", "on"], 0),
    ] {
        let node = Node::new(machine)?.only(source);
        let exporter = node.start(flags)?;
        exporter.settled()?;
        let children = children(exporter.process.id());
        ensure!(children.len() == helpers, "{machine} {flags:?}: {children:?}");
    }
    Ok(())
}

#[test]
fn a_helper_has_no_file_of_the_exporter() -> Result<()> {
    let node = Node::new("h100-sxm-8")?;
    let exporter = node.start(&["--isolate", "on"])?;
    exporter.settled()?;
    let pid = helper(&exporter)?;
    let own = exporter.address.port();
    let listening = fs::read_to_string(format!("/proc/{pid}/net/tcp")).context("sockets")?;
    let place = format!(":{own:04X} ");
    let inode = listening.lines().find(|line| line.contains(&place) && line.contains(" 0A "));
    let inode = inode.and_then(|line| line.split_whitespace().nth(9)).context("the exporter listens")?;
    let opened = fs::read_dir(format!("/proc/{pid}/fd"))?.flatten();
    let opened: Vec<_> = opened.filter_map(|fd| fs::read_link(fd.path()).ok()).collect();
    ensure!(opened.len() > 2 && opened[0] == Path::new("/dev/null"), "{opened:?}");
    ensure!(!opened.iter().any(|file| file.to_string_lossy().contains(inode)), "{opened:?}");
    Ok(())
}

#[test]
fn the_hidden_commands_are_refused_to_people() -> Result<()> {
    let node = Node::new("h100-sxm-8")?;
    let program = node.accelscope("probe", &[])?.get_program().to_owned();
    for hidden in [&["isolated-source", "nvidia"][..], &["isolated-trial", "/lib/libc.so.6"]] {
        let finished = process::run(Command::new(&program).args(hidden))?;
        ensure!(finished.code == Some(1) && finished.stderr.lines().count() == 1, "{finished:?}");
    }
    Ok(())
}
