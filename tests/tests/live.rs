//! The page at `/` and its JSON: the real binary on simulated machines, over HTTP and in a real browser.

use anyhow::{Context, Result, ensure};
use e2e::{Node, eventually, http::Request, live::look};
use serde_json::{Value, json};
use sim::{
    Control,
    control::{Heat, Memory, Xid},
};
use thresholds::State;

fn node(exporter: &e2e::Exporter) -> Result<Value> {
    Ok(serde_json::from_str(exporter.get("/api/v1/node")?.ok()?.text()?)?)
}

fn device<'n>(node: &'n Value, name: &str) -> Result<&'n Value> {
    let devices = node["devices"].as_array().context("devices")?;
    devices.iter().find(|device| device["device"] == name).with_context(|| format!("{name} in {node}"))
}

/// A tile of a report.
fn tile<'r>(report: &'r Value, name: &str) -> Result<&'r Value> {
    let tiles = report["tiles"].as_array().context("tiles")?;
    tiles.iter().find(|tile| tile["name"] == name).with_context(|| format!("{name} in {report}"))
}

/// A colour of the catalogue as browsers compute it.
fn computed(state: State) -> String {
    let part = |at: usize| u8::from_str_radix(&state.color()[at..at + 2], 16).expect("#RRGGBB");
    format!("rgb({}, {}, {})", part(1), part(3), part(5))
}

/// A device that overheats, one whose memory fills, and one that reports an error.
fn trouble() -> Control {
    Control {
        heat: vec![Heat { device: 1, celsius: 60.0 }],
        memory: vec![Memory { device: 2, fill: 0.97 }],
        xid: vec![Xid { id: 1, device: 3, code: 48, ..Xid::default() }],
        ..Control::default()
    }
}

#[test]
fn the_json_of_every_kind_of_machine_agrees_with_the_metrics() -> Result<()> {
    for machine in ["h100-mig", "gaudi3-8", "battlematrix-8", "nuc-lunar-lake", "xeon6-amx"] {
        let lab = Node::new(machine)?.frozen().workload("decode");
        let exporter = lab.start(&[])?;
        let samples = exporter.settled()?;
        let read = node(&exporter)?;
        ensure!(read["simulated"] == machine && read["node"] == "node-under-test", "{read}");
        let devices = read["devices"].as_array().context("devices")?;
        let up = samples.all("accel_device_up", &[]).filter(|sample| sample.label("partition").is_empty());
        ensure!(devices.len() == up.count() && !devices.is_empty(), "{machine}: {} tiles", devices.len());
        for device in devices {
            let name = device["device"].as_str().context("a name")?;
            // Engines fill the memory to the amber band.
            let is_fine = device["state"] == "OK" || device["state"] == "WARN";
            ensure!(device["status"] == "up" && is_fine, "{machine}: {device}");
            ensure!(device["info"].as_object().is_some_and(|info| !info.is_empty()), "{device}");
            let of = [("device", name), ("partition", "")];
            for (member, metric) in
                [("memory_total_bytes", "accel_memory_total_bytes"), ("power_watts", "accel_power_watts")]
            {
                let metric = samples.all(metric, &of).next().map(|sample| sample.value);
                let shown = device.get(member).and_then(Value::as_f64);
                let agree = match (metric, shown) {
                    (Some(metric), Some(shown)) => (metric - shown).abs() <= 0.01 * metric.abs() + 0.1,
                    (metric, shown) => metric.is_none() == shown.is_none(),
                };
                ensure!(agree, "{machine} {name} {member}: {metric:?} {shown:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_fault_is_in_the_json_with_the_state_of_the_rules() -> Result<()> {
    let lab = Node::new("h100-sxm-4")?.workload("prefill");
    let exporter = lab.start(&[])?;
    lab.control(&trouble())?;
    eventually("each fault is in the JSON", || {
        let read = node(&exporter)?;
        for (name, signal) in [("gpu1", "temperature"), ("gpu2", "memory_used"), ("gpu3", "device_errors")] {
            let device = device(&read, name)?;
            let findings = device["findings"].as_array().with_context(|| format!("{device}"))?;
            let found = findings.iter().find(|finding| finding["signal"] == signal);
            ensure!(
                found.is_some_and(|found| found["state"] == "CRIT") && device["state"] == "CRIT",
                "{device}"
            );
        }
        let error = &device(&read, "gpu3")?["errors"][0];
        ensure!(error["code"] == "48" && error["meaning"] == "Double Bit ECC Error", "{error}");
        ensure!(device(&read, "gpu0")?["state"] == "OK" && read["state"] == "CRIT", "{read}");
        Ok(())
    })?;
    let gzip = exporter.send(Request::get("/api/v1/node").with(&[("accept-encoding", "gzip")]))?.ok()?;
    ensure!(gzip.header("content-encoding") == Some("gzip") && gzip.body.starts_with(&[0x1f, 0x8b]));
    exporter.ends_in_order()
}

#[test]
fn tiles_change_when_a_fault_is_injected() -> Result<()> {
    let lab = Node::new("h100-sxm-4")?.workload("prefill");
    lab.control(&Control::default())?;
    let exporter = lab.start(&[])?;
    exporter.settled()?;
    let next = lab.dir().join("next.toml");
    trouble().write(&next)?;
    let tab = json!({ "press": "Tab" });
    let mut steps = vec![json!({ "wait": ".tile.ok[aria-label^=gpu3]" }), json!({ "report": "before" })];
    // Four links of the head, then the details of each tile.
    steps.extend(std::iter::repeat_n(tab, 5));
    steps.extend([
        json!({ "press": "Enter" }),
        json!({ "report": "opened" }),
        json!({ "rename": [next, lab.control_file()] }),
        json!({ "wait": ".tile.crit[aria-label^=gpu1]" }),
        json!({ "wait": ".tile.crit[aria-label^=gpu2]" }),
        json!({ "wait": ".tile.crit[aria-label^=gpu3] li strong" }),
        json!({ "report": "after" }),
    ]);
    let seen = look(&exporter.url("/"), true, &steps)?;
    let (before, opened, after) =
        (&seen["reports"]["before"], &seen["reports"]["opened"], &seen["reports"]["after"]);
    ensure!(before["summary"] == "4 devices, 4 OK", "{before}");
    for (report, name, state) in [
        (before, "gpu1", State::Ok),
        (after, "gpu0", State::Ok),
        (after, "gpu1", State::Crit),
        (after, "gpu2", State::Crit),
        (after, "gpu3", State::Crit),
    ] {
        let tile = tile(report, name)?;
        let color = computed(state);
        ensure!(tile["word"] == state.word() && tile["color"] == color && tile["border"] == color, "{tile}");
        ensure!(tile["sparks"] == 4, "{tile}");
    }
    for (name, text) in [
        ("gpu1", "Throttling: by heat or hardware"),
        ("gpu2", "Device memory used"),
        ("gpu3", "Double Bit ECC Error"),
        ("gpu3", "Health failed: critical error (xid 48)"),
    ] {
        let tile = tile(after, name)?;
        ensure!(tile["text"].as_str().is_some_and(|shown| shown.contains(text)), "{text}: {tile}");
    }
    // What a person has opened and where the keyboard is stay through renewals.
    for report in [opened, after] {
        ensure!(tile(report, "gpu0")?["open"] == true && report["focus"] == "Details of gpu0", "{report}");
    }
    let aria = after["aria"].as_str().context("a tree")?;
    for part in [
        "heading \"node-under-test\" [level=1]",
        "status: 4 devices, 1 OK; gpu1 CRIT, gpu2 CRIT, gpu3 CRIT",
        "main \"Devices\"",
        "article \"gpu1: CRIT\"",
        "heading \"gpu1\" [level=2]",
        "img \"Temperature over five minutes: ",
        "region \"Sources\"",
    ] {
        ensure!(aria.contains(part), "{part}: {aria}");
    }
    ensure!(seen["console"] == json!([]), "{}", seen["console"]);
    let own = exporter.url("/");
    let requests = seen["requests"].as_array().context("requests")?;
    let is_own = |url: &Value| url.as_str().is_some_and(|url| url.starts_with(&own) || url == "data:,");
    ensure!(requests.iter().all(is_own), "{requests:?}");
    Ok(())
}

#[test]
fn the_page_fits_every_screen_in_both_schemes_and_works_without_its_script() -> Result<()> {
    let lab = Node::new("h100-sxm-8")?.workload("prefill");
    lab.control(&trouble())?;
    let exporter = lab.start(&[])?;
    eventually("the fault is seen", || {
        ensure!(device(&node(&exporter)?, "gpu2")?["state"] == "CRIT");
        Ok(())
    })?;
    let sizes = [(360, 740), (768, 1024), (1440, 900), (3840, 2160)];
    let mut steps = vec![json!({ "wait": ".tile" })];
    for scheme in ["light", "dark"] {
        steps.push(json!({ "scheme": scheme }));
        for (width, height) in sizes {
            steps.push(json!({ "size": [width, height] }));
            steps.push(json!({ "report": format!("{scheme} {width}") }));
        }
    }
    let seen = look(&exporter.url("/"), true, &steps)?;
    let reports = seen["reports"].as_object().context("reports")?;
    ensure!(reports.len() == 2 * sizes.len());
    for (name, report) in reports {
        ensure!(report["overflow"] == 0 && report["cut_off"] == json!([]), "{name}: {report}");
        ensure!(report["faint"] == json!([]), "{name}: {}", report["faint"]);
    }
    ensure!(reports["light 360"]["columns"] == 1 && reports["light 1440"]["columns"].as_u64() >= Some(3));

    let steps = [json!({ "size": [360, 740] }), json!({ "report": "plain" })];
    let plain = look(&exporter.url("/"), false, &steps)?;
    let report = &plain["reports"]["plain"];
    let badges = report["badges"].as_array().context("badges")?;
    let crit = json!({ "word": "CRIT", "color": computed(State::Crit) });
    // Those of the devices, and that of the source.
    ensure!(badges.len() == 8 + 1 && badges.contains(&crit), "{badges:?}");
    ensure!(report["overflow"] == 0 && report["faint"] == json!([]), "{report}");
    ensure!(report["aria"].as_str().is_some_and(|aria| aria.contains("columnheader")), "{report}");

    // What is shown of an exporter that is gone says so.
    let steps = [
        json!({ "wait": ".tile" }),
        json!({ "kill": exporter.process.id() }),
        json!({ "wait": "body.stale" }),
        json!({ "report": "gone" }),
    ];
    let gone = look(&exporter.url("/"), true, &steps)?;
    let report = &gone["reports"]["gone"];
    let summary = report["summary"].as_str().context("a summary")?;
    ensure!(summary.starts_with("What is shown is of ") && report["stale"] == true, "{summary}");
    Ok(())
}
