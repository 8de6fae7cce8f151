//! The command line: help, probe, fields, generate, and the messages for mistakes.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result, ensure};
use e2e::{Node, artefacts::repository, process};
use serde_json::Value;

#[test]
fn help_lists_every_documented_flag_and_says_that_each_is_a_variable_too() -> Result<()> {
    let node = Node::new("t4-1")?;
    let program = node.accelscope("serve", &[])?.get_program().to_owned();
    let help = process::run(node.command(&program).arg("--help"))?.success()?;
    let page = fs::read_to_string(repository().join("docs/flags.md"))?;
    let (serve, _) = page.split_once("\n## accelscope probe\n").context("a section for each command")?;
    let flags: Vec<_> = serve
        .lines()
        .filter_map(|line| line.strip_prefix("| `--")?.split([' ', '`']).next())
        .map(|flag| format!("--{flag}"))
        .collect();
    ensure!(flags.len() > 20, "{flags:?}");
    let words = ["serve", "probe", "generate", "fields", "Exit codes", "ACCELSCOPE_"];
    for word in words.into_iter().chain(flags.iter().map(String::as_str)) {
        ensure!(help.contains(word), "{word} is not in:\n{help}");
    }
    let version = process::run(node.command(&program).arg("--version"))?.success()?;
    ensure!(version.trim() == format!("accelscope {}", env!("CARGO_PKG_VERSION")), "{version}");
    Ok(())
}

#[test]
fn probe_shows_what_is_there_and_what_is_not() -> Result<()> {
    let node = Node::new("a100-8")?.frozen();
    let table = node.run("probe", &[])?.success()?;
    for word in
        ["NVIDIA A100", "libnvidia-ml.so.1", "accel_power_watts", "accel_sm_occupancy_ratio", "SIMULATED"]
    {
        ensure!(table.contains(word), "{word} is not in:\n{table}");
    }
    let json: Value = serde_json::from_str(&node.run("probe", &["--json"])?.success()?)?;
    let text = json.to_string();
    for word in ["NVIDIA A100", "libnvidia-ml.so.1", "accel_power_watts", "a100-8"] {
        ensure!(text.contains(word), "{word} is not in:\n{text}");
    }

    fs::remove_file(node.library())?;
    for flags in [&[][..], &["--json"]] {
        let nothing = node.run("probe", flags)?;
        ensure!(nothing.code == Some(3) && nothing.stdout.contains("libnvidia-ml.so.1"), "{nothing:?}");
    }
    Ok(())
}

#[test]
fn probe_ends_by_itself_on_a_hung_driver_and_says_so() -> Result<()> {
    let node = Node::new("h100-sxm-4")?;
    let hang = sim::control::Fault::hang().device(2);
    node.control(&sim::Control { fault: vec![hang], ..sim::Control::default() })?;
    let probe = node.run("probe", &[])?;
    ensure!(probe.stdout.contains("timed_out"), "{probe:?}");
    Ok(())
}

#[test]
fn fields_lists_the_whole_catalogue() -> Result<()> {
    let node = Node::new("t4-1")?;
    let fields = |flags: &[&str]| {
        let program = node.accelscope("serve", &[])?.get_program().to_owned();
        process::run(node.command(program).arg("fields").args(flags))?.success()
    };
    let json: Value = serde_json::from_str(&fields(&["--json"])?)?;
    let names: BTreeSet<_> =
        json.as_array().context("a list")?.iter().filter_map(|field| field["name"].as_str()).collect();
    let table = fields(&[])?;
    for name in ["accel_power_watts", "accel_errors_total", "accelscope_build_info"] {
        ensure!(names.contains(name) && table.contains(name), "{name}");
    }
    ensure!(table.contains("DCGM_FI_DEV_POWER_USAGE"), "{table}");

    // Whatever a machine serves is in the list.
    let served = Node::new("h100-mig")?.frozen().start(&[])?.settled()?;
    let listed = json.to_string();
    for family in served.families.keys() {
        ensure!(listed.contains(&format!("\"{family}\"")), "{family} is served and not listed");
    }
    Ok(())
}

#[test]
fn generate_checks_what_is_committed() -> Result<()> {
    let node = Node::new("t4-1")?;
    let program = node.accelscope("serve", &[])?.get_program().to_owned();
    let generate = |dir: &std::path::Path, flags: &[&str]| {
        process::run(node.command(&program).args(["generate", "metrics", "-o"]).arg(dir).args(flags))
    };
    generate(repository(), &["--check"])?.success()?;

    let fresh = node.dir().join("fresh");
    fs::create_dir(&fresh)?;
    let missing = generate(&fresh, &["--check"])?;
    ensure!(missing.code == Some(1) && missing.stderr.trim().lines().count() == 1, "{missing:?}");
    generate(&fresh, &[])?.success()?;
    generate(&fresh, &["--check"])?.success()?;
    let written = fresh.join("docs/metrics.md");
    fs::write(&written, fs::read_to_string(&written)? + "stale\n")?;
    let stale = generate(&fresh, &["--check"])?;
    ensure!(stale.code == Some(1) && stale.stderr.contains("docs/metrics.md"), "{stale:?}");

    // Series by device, node and fleet, counted in what a machine exports.
    let golden = repository().join("tests/golden/h100-sxm-8.prom").display().to_string();
    let series = fs::read_to_string(&golden)?.lines().filter(|line| !line.starts_with('#')).count();
    let printed =
        process::run(node.command(&program).args(["generate", "metrics", "--exposition", &golden]))?
            .success()?;
    ensure!(
        printed.contains("| h100-sxm-8 | nvidia | 8 |")
            && printed.contains(&format!("| {} |", series * 1000)),
        "{printed}"
    );
    let refused = process::run(node.command(&program).args(["generate", "metrics", "--exposition", "none"]))?;
    ensure!(refused.code == Some(2) && refused.stderr.trim().lines().count() == 1, "{refused:?}");
    Ok(())
}

#[test]
fn a_mistake_is_one_line_that_names_it_and_how_to_write_it() -> Result<()> {
    let node = Node::new("t4-1")?;
    let missing = node.dir().join("missing.csv").display().to_string();
    let cases: [(&[&str], &[&str]); 9] = [
        (&["--intervall", "1s"], &["--intervall", "--interval"]),
        (&["--interval", "1"], &["--interval", "\"1\""]),
        (&["--interval", "0s"], &["--interval", "\"0s\""]),
        (&["--names", "unifed"], &["--names", "unifed", "unified"]),
        (&["--web.listen-address", "nowhere"], &["--web.listen-address", "nowhere"]),
        (&["--web.max-requests", "0"], &["--web.max-requests", "0"]),
        (&["--names.host-label", "host"], &["--names.host-label", "Hostname", "off"]),
        (&["--dcgm.collectors", &missing], &["--dcgm.collectors", "missing.csv"]),
        (&["--log.level", "loud"], &["--log.level", "loud", "info"]),
    ];
    for (flags, words) in cases {
        let finished = node.run("serve", flags)?;
        ensure!(finished.code == Some(2), "{flags:?}: {finished:?}");
        ensure!(finished.stderr.trim_end().lines().count() == 1, "{flags:?}: {}", finished.stderr);
        for word in words {
            ensure!(finished.stderr.contains(word), "{flags:?}: no {word} in {}", finished.stderr);
        }
    }

    let program = node.accelscope("serve", &[])?.get_program().to_owned();
    for (variable, value) in [("ACCELSCOPE_INTERVAL", "soon"), ("ACCELSCOPE_WEB_MAX_REQUESTS", "-1")] {
        let finished = process::run(node.command(&program).arg("serve").env(variable, value))?;
        ensure!(finished.code == Some(2), "{variable}: {finished:?}");
        ensure!(finished.stderr.trim_end().lines().count() == 1, "{variable}: {}", finished.stderr);
        ensure!(finished.stderr.contains(variable) && finished.stderr.contains(value), "{}", finished.stderr);
    }
    Ok(())
}

#[test]
fn a_taken_address_is_reported_and_ends_it() -> Result<()> {
    let taken = std::net::TcpListener::bind(process::free_address()?)?;
    let address = taken.local_addr()?.to_string();
    let finished = Node::new("t4-1")?.run("serve", &["--web.listen-address", &address])?;
    ensure!(finished.code == Some(1) && finished.stderr.contains(&address), "{finished:?}");
    Ok(())
}

#[test]
fn a_counters_file_chooses_fields_and_warns_of_unknown_ones() -> Result<()> {
    let node = Node::new("h100-sxm-4")?.frozen();
    let file = node.dir().join("counters.csv");
    fs::write(
        &file,
        "# Format\n\
         DCGM_FI_DEV_POWER_USAGE, gauge, Draw of my board.\n\
         DCGM_FI_DEV_NOT_A_FIELD, gauge, Nothing.\n\
         DCGM_FI_DRIVER_VERSION, label, Driver Version\n\
         DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION, counter, Energy.\n",
    )?;
    let exporter = node.start(&["--dcgm.collectors", &file.display().to_string()])?;
    let samples = exporter.settled()?;
    let vendor: Vec<_> = samples.families.keys().filter(|name| name.starts_with("DCGM_")).collect();
    assert_eq!(vendor, ["DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"]);
    assert_eq!(samples.families["DCGM_FI_DEV_POWER_USAGE"].help, "Draw of my board.");
    let power = samples.all("DCGM_FI_DEV_POWER_USAGE", &[]).next().context("a sample")?;
    assert!(!power.label("DCGM_FI_DRIVER_VERSION").is_empty());
    assert!(samples.has("accel_power_watts", &[]), "the other vocabulary is not touched");
    let log = exporter.process.log();
    let warned: Vec<_> = log.lines().filter(|line| line.contains("DCGM_FI_DEV_NOT_A_FIELD")).collect();
    ensure!(warned.len() == 1 && warned[0].contains('3'), "{log}");
    Ok(())
}

#[test]
fn the_host_label_is_as_asked() -> Result<()> {
    let node = Node::new("t4-1")?.frozen();
    for (choice, label) in [("Hostname", Some("Hostname")), ("hostname", Some("hostname")), ("off", None)] {
        let samples = node.start(&["--names.host-label", choice])?.settled()?;
        let temperature = samples.all("DCGM_FI_DEV_GPU_TEMP", &[]).next().context("a sample")?;
        for name in ["Hostname", "hostname"] {
            let expected = if label == Some(name) { e2e::NODE_NAME } else { "" };
            ensure!(temperature.label(name) == expected, "{choice}: {}", temperature.series);
        }
    }
    Ok(())
}

#[test]
fn it_listens_on_several_addresses_of_every_kind() -> Result<()> {
    let node = Node::new("t4-1")?.frozen();
    let second = process::free_address()?;
    let socket = node.dir().join("exporter.sock");
    let six = std::net::TcpListener::bind("[::1]:0").and_then(|listener| listener.local_addr());
    let mut flags = vec!["--web.listen-address".to_owned(), second.to_string()];
    flags.extend(["--web.listen-address".to_owned(), format!("unix:{}", socket.display())]);
    // A machine may be without IPv6.
    if let Ok(six) = six {
        flags.extend(["--web.listen-address".to_owned(), six.to_string()]);
    }
    let exporter = node.start(&flags.iter().map(String::as_str).collect::<Vec<_>>())?;
    let metrics = e2e::http::Request::get("/metrics");
    e2e::http::send(second, metrics)?.ok()?;
    if let Ok(six) = six {
        e2e::http::send(six, metrics)?.ok()?;
    }
    let mut stream = std::os::unix::net::UnixStream::connect(&socket)?;
    std::io::Write::write_all(&mut stream, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")?;
    e2e::http::read_response(&mut std::io::BufReader::new(stream), false)?.ok()?;
    drop(exporter);
    Ok(())
}
