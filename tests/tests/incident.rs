//! Incident mode: the real binary on simulated machines, over HTTP, and the real promtool and Prometheus over its
//! samples.

#![expect(clippy::float_cmp, reason = "flags and counts are printed and parsed exactly")]

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, ensure};
use e2e::{
    Exporter, Node, Process, encoded, eventually,
    http::{self, Request},
    process,
};
use serde_json::{Value, json};

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn post(address: SocketAddr, body: &str, headers: &[(&str, &str)]) -> Result<http::Response> {
    http::post(address, "/-/incident", headers, body)
}

fn status(exporter: &Exporter, body: &str, headers: &[(&str, &str)]) -> Result<u16> {
    Ok(post(exporter.address, body, headers)?.status)
}

/// A notification of Alertmanager about one alert.
fn alert(status: &str, started: &str, labels: &Value) -> String {
    let alert = json!({
        "status": status, "labels": labels, "annotations": {}, "startsAt": started,
        "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": labels["device"],
    });
    json!({ "version": "4", "status": status, "receiver": "incident", "alerts": [alert] }).to_string()
}

fn active(exporter: &Exporter) -> Result<f64> {
    exporter.scrape()?.value("accelscope_incident_active", &[])
}

#[test]
fn an_alert_switches_its_device_and_its_end_ends_it() -> Result<()> {
    let node = Node::new("h100-sxm-4")?.named("sick").workload("prefill");
    let exporter = node.start(&["--incident.enable"])?;
    exporter.settled()?;
    ensure!(active(&exporter)? == 0.0);
    let labels = |device: &str, node: &str| json!({ "alertname": "GpuXidErrorDetected", "family": "nvidia", "device": device, "node": node });
    for (body, result) in [
        (alert("firing", "1", &labels("gpu1", "other")), "other_node"),
        (alert("firing", "1", &labels("gpu9", "sick")), "unknown_device"),
    ] {
        ensure!(status(&exporter, &body, &[JSON])? == 200);
        let samples = exporter.scrape()?;
        ensure!(samples.value("accelscope_incident_alerts_total", &[("result", result)])? == 1.0, "{result}");
        ensure!(samples.value("accelscope_incident_active", &[])? == 0.0, "{result}");
    }
    let firing = alert("firing", "1", &labels("gpu1", "sick.example"));
    ensure!(status(&exporter, &firing, &[JSON])? == 200);
    exporter.until("the chosen device has fine samples, and no other", |samples| {
        ensure!(samples.value("accelscope_incident_active", &[])? == 1.0);
        let reason = [("trigger", "GpuXidErrorDetected")];
        ensure!(samples.value("accelscope_incident_reason_info", &reason)? == 1.0);
        ensure!(samples.value("accelscope_incident_until_timestamp_seconds", &[])? > 1e9);
        let of = [("device", "gpu1")];
        let [max, min, mean] =
            ["max", "min", "mean"].map(|word| samples.value(&format!("accel_power_watts_{word}"), &of));
        let (max, min, mean) = (max?, min?, mean?);
        ensure!(min <= mean && mean <= max && min > 0.0, "{min} {mean} {max}");
        ensure!(samples.all("accel_engine_active_ratio_max", &of).count() > 3);
        ensure!(samples.all("accel_power_watts_max", &[]).count() == 1);
        ensure!(samples.all("accel_device_up", &[]).all(|up| up.value == 1.0));
        Ok(())
    })?;
    ensure!(status(&exporter, &alert("resolved", "1", &labels("gpu1", "sick")), &[JSON])? == 200);
    ensure!(active(&exporter)? == 0.0);
    ensure!(exporter.scrape()?.all("accel_power_watts_max", &[]).next().is_none());
    // A copy of what is over starts nothing; the alert that fires again does.
    ensure!(status(&exporter, &firing, &[JSON])? == 200 && active(&exporter)? == 0.0);
    ensure!(
        status(&exporter, &firing.replace("\"1\"", "\"2\""), &[JSON])? == 200 && active(&exporter)? == 1.0
    );
    Ok(())
}

#[test]
fn it_is_never_longer_than_its_maximum_and_ends_by_itself() -> Result<()> {
    let node = Node::new("h100-sxm-4")?;
    let exporter = node.start(&["--incident.enable", "--incident.max=2s"])?;
    exporter.settled()?;
    ensure!(status(&exporter, "{\"for\":\"10h\",\"devices\":[\"gpu0\"]}", &[JSON])? == 200);
    ensure!(active(&exporter)? == 1.0);
    exporter.until("it is over", |samples| {
        ensure!(samples.value("accelscope_incident_active", &[])? == 0.0);
        Ok(())
    })?;
    ensure!(status(&exporter, "{\"for\":\"10h\"}", &[JSON])? == 200 && active(&exporter)? == 1.0);
    ensure!(exporter.scrape()?.value("accelscope_incident_devices", &[])? == 4.0, "all of them");
    ensure!(status(&exporter, "{\"for\":\"0s\"}", &[JSON])? == 200 && active(&exporter)? == 0.0);
    Ok(())
}

#[test]
fn bad_calls_get_a_clear_status_and_change_nothing() -> Result<()> {
    let node = Node::new("h100-sxm-4")?;
    let off = node.start(&[])?;
    ensure!(status(&off, "{\"for\":\"1m\"}", &[JSON])? == 404);
    ensure!(off.get("/debug/samples")?.status == 404);
    let folder = tempfile::tempdir()?;
    let token = folder.path().join("token");
    fs::write(&token, "secret-1\n")?;
    let flag = format!("--incident.token-file={}", token.display());
    let exporter = node.start(&["--incident.enable", &flag])?;
    exporter.settled()?;
    let right = ("Authorization", "Bearer secret-1");
    let by_hand = "{\"for\":\"1m\"}";
    for (wanted, body, headers) in [
        (401, by_hand, &[JSON][..]),
        (401, by_hand, &[JSON, ("Authorization", "Bearer secret-2")]),
        (401, by_hand, &[JSON, ("Authorization", "Bearer ")]),
        (400, by_hand, &[right]),
        (400, "{", &[JSON, right]),
        (400, "[]", &[JSON, right]),
        (400, "{\"for\":\"soon\"}", &[JSON, right]),
        (400, "{\"for\":\"1m\",\"device\":\"gpu0\"}", &[JSON, right]),
        (400, "{\"version\":\"3\",\"alerts\":[]}", &[JSON, right]),
        (400, "{\"version\":\"4\",\"alerts\":[{}]}", &[JSON, right]),
        (400, &"[".repeat(1 << 17), &[JSON, right]),
        (400, "", &[JSON, right]),
        (404, "{\"for\":\"1m\",\"devices\":[\"gpu7\"]}", &[JSON, right]),
    ] {
        let response = post(exporter.address, body, headers)?;
        ensure!(response.status == wanted, "{body}: {}", response.status);
        ensure!(response.text()?.lines().count() == 1, "{}", response.text()?);
    }
    let large = "x".repeat(10 << 20);
    ensure!(status(&exporter, &large, &[JSON, right])? == 413);
    let get = exporter.get("/-/incident")?;
    ensure!(get.status == 405 && get.header("allow") == Some("POST"));
    ensure!(active(&exporter)? == 0.0);
    let mut refused = false;
    for _ in 0..200 {
        refused |= status(&exporter, "{", &[JSON, right])? == 429;
    }
    ensure!(refused, "no limit");
    exporter.scrape()?.value("accel_device_up", &[("device", "gpu0")])?;
    for query in ["since=soon", "format=xml", "devices=gpu0"] {
        ensure!(exporter.get(&format!("/debug/samples?{query}"))?.status == 400, "{query}");
    }
    for query in ["device=gpu9", "metric=accel_watts"] {
        ensure!(exporter.get(&format!("/debug/samples?{query}"))?.status == 404, "{query}");
    }
    let head = exporter.send(Request { method: "HEAD", ..Request::get("/debug/samples") })?;
    ensure!(head.status == 200 && head.header("content-type") == Some("application/x-ndjson"), "{head:?}");
    Ok(())
}

#[test]
fn of_many_alerts_as_many_are_kept_as_there_is_room_for() -> Result<()> {
    let exporter = Node::new("h100-sxm-4")?;
    let exporter = exporter.start(&["--incident.enable"])?;
    exporter.settled()?;
    let long = "long ".repeat(1000);
    let alerts: Vec<_> = (0..2000)
        .map(|number| {
            let name = if number == 0 { &long } else { "GpuHbmNearOom" };
            json!({ "status": "firing", "labels": { "alertname": name, "number": number.to_string() } })
        })
        .collect();
    let body = json!({ "version": "4", "alerts": alerts }).to_string();
    // Those that are known are extended, and no copy takes room.
    for times in [1.0, 2.0] {
        ensure!(status(&exporter, &body, &[JSON])? == 200);
        let samples = exporter.scrape()?;
        for (result, count) in [("chosen", 1024.0), ("over_limit", 976.0), ("replayed", 0.0)] {
            let counted = samples.value("accelscope_incident_alerts_total", &[("result", result)])?;
            ensure!(counted == times * count, "{result}: {counted}");
        }
        let names: Vec<_> = samples.all("accelscope_incident_reason_info", &[]).collect();
        ensure!(names.len() == 2 && names.iter().all(|name| name.label("trigger").len() <= 128));
    }
    Ok(())
}

#[test]
fn a_restart_ends_it_and_an_alert_that_goes_on_starts_it_again() -> Result<()> {
    let node = Node::new("h100-sxm-4")?.workload("prefill");
    let labels = json!({ "alertname": "GpuHbmNearOom", "device": "gpu2" });
    let firing = alert("firing", "1", &labels);
    for _ in 0..2 {
        let exporter = node.start(&["--incident.enable"])?;
        let samples = exporter.settled()?;
        ensure!(samples.value("accelscope_incident_active", &[])? == 0.0);
        ensure!(samples.value("accelscope_incident_devices", &[])? == 0.0);
        ensure!(!samples.has("accelscope_incident_until_timestamp_seconds", &[]));
        ensure!(samples.all("accel_power_watts_max", &[]).next().is_none());
        ensure!(exporter.get("/debug/samples")?.ok()?.body.is_empty());
        // As Alertmanager repeats it.
        ensure!(status(&exporter, &firing, &[JSON])? == 200);
        exporter.until("the device has fine samples", |samples| {
            ensure!(samples.has("accel_power_watts_max", &[("device", "gpu2")]));
            Ok(())
        })?;
        exporter.ends_in_order()?;
    }
    Ok(())
}

/// Makes the clock of the node's exporter leap by as many seconds as its file `leap` says, once that exists; the
/// monotonic clock goes on. Returns the file.
fn with_a_clock_that_leaps(node: Node) -> Result<(Node, PathBuf)> {
    let [source, library, leap] = ["leap.c", "leap.so", "leap"].map(|name| node.dir().join(name));
    let text = format!(
        "#define _GNU_SOURCE\n#include <stdio.h>\n#include <sys/syscall.h>\n#include <time.h>\n#include <unistd.h>\n\
         int clock_gettime(clockid_t clock, struct timespec *now) {{\n\
         long seconds = 0;\n\
         FILE *leap = clock == CLOCK_REALTIME ? fopen(\"{}\", \"r\") : 0;\n\
         if (leap) {{ if (fscanf(leap, \"%ld\", &seconds) != 1) seconds = 0; fclose(leap); }}\n\
         int code = syscall(SYS_clock_gettime, clock, now);\n\
         now->tv_sec += seconds;\n\
         return code;\n}}\n",
        leap.display()
    );
    fs::write(&source, text)?;
    let mut cc = Command::new("cc");
    process::run(cc.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source))?.success()?;
    Ok((node.variable("LD_PRELOAD", &library.display().to_string()), leap))
}

#[test]
fn a_clock_that_leaps_moves_neither_its_samples_nor_its_end() -> Result<()> {
    let (node, leap) = with_a_clock_that_leaps(Node::new("h100-sxm-4")?.workload("prefill"))?;
    let exporter = node.start(&["--incident.enable", "--incident.interval=100ms"])?;
    exporter.settled()?;
    ensure!(status(&exporter, "{\"for\":\"10m\",\"devices\":[\"gpu0\"]}", &[JSON])? == 200);
    let times = |query: &str| -> Result<Vec<f64>> {
        let path = format!("/debug/samples?metric=accel_power_watts{query}");
        let lines = exporter.get(&path)?.ok()?;
        let lines = lines.text()?.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        Ok(lines.iter().filter_map(|line| line["time"].as_f64()).collect())
    };
    for seconds in [0, 3600, -3600] {
        fs::write(&leap, seconds.to_string())?;
        let before = times("")?.len();
        eventually("further samples", || {
            ensure!(times("")?.len() > before + 20);
            Ok(())
        })?;
        let (all, recent, newest) = (times("")?, times("&since=10m")?, times("&since=0s")?);
        let widest = all.windows(2).map(|two| two[1] - two[0]).fold(0.0, f64::max);
        ensure!(all.is_sorted() && widest < 60.0, "{seconds} s: {widest}");
        ensure!(recent.len() >= all.len() && newest.len() <= 1, "{seconds} s: {recent:?} {newest:?}");
        // It is on for ten minutes, and says when it ends on the clock as it is now.
        let samples = exporter.scrape()?;
        ensure!(samples.value("accelscope_incident_active", &[])? == 1.0, "{seconds}");
        let until = samples.value("accelscope_incident_until_timestamp_seconds", &[])?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() + f64::from(seconds);
        ensure!((0.0..=601.0).contains(&(until - now)), "{seconds} s: {until} {now}");
    }
    // With the clock an hour back, it ends when its second is over.
    ensure!(status(&exporter, "{\"for\":\"1s\"}", &[JSON])? == 200);
    exporter.until("it is over", |samples| {
        ensure!(samples.value("accelscope_incident_active", &[])? == 0.0);
        Ok(())
    })
}

#[test]
fn a_library_in_a_process_of_its_own_has_the_same_fine_samples() -> Result<()> {
    let node = Node::new("h100-sxm-4")?.workload("prefill");
    let names = |isolate: &str| -> Result<BTreeSet<String>> {
        let exporter = node.start(&["--incident.enable", "--isolate", isolate])?;
        exporter.settled()?;
        ensure!(status(&exporter, "{\"for\":\"10m\",\"devices\":[\"gpu0\"]}", &[JSON])? == 200);
        eventually("samples of engines and links", || {
            let response = exporter.get("/debug/samples")?.ok()?;
            let lines = response.text()?.lines().map(serde_json::from_str);
            let lines = lines.collect::<Result<Vec<Value>, _>>()?;
            let of = |line: &Value| line["metric"].as_str().unwrap_or_default().to_owned();
            let names: BTreeSet<_> = lines.iter().map(of).collect();
            for name in ["accel_engine_active_ratio", "accel_link_receive_bytes_total", "accel_power_watts"] {
                let times = lines
                    .iter()
                    .filter(|line| line["metric"] == name)
                    .filter_map(|line| line["time"].as_f64());
                let mut times: Vec<_> = times.collect();
                times.sort_by(f64::total_cmp);
                times.dedup();
                ensure!(times.len() > 8, "{name}: {}", times.len());
            }
            Ok(names)
        })
    };
    let (within, apart) = (names("off")?, names("on")?);
    ensure!(within == apart && within.len() > 8, "{within:?} {apart:?}");
    Ok(())
}

#[test]
fn prometheus_can_query_blocks_of_the_samples() -> Result<()> {
    let node = Node::new("h100-sxm-4")?.workload("prefill");
    let exporter = node.start(&["--incident.enable", "--incident.interval=100ms"])?;
    exporter.settled()?;
    ensure!(status(&exporter, "{\"for\":\"10m\",\"devices\":[\"gpu0\",\"gpu1\"]}", &[JSON])? == 200);
    let lines = eventually("some samples", || {
        let response = exporter.get("/debug/samples?device=gpu0&metric=accel_power_watts&since=5m")?.ok()?;
        let lines: Vec<Value> =
            response.text()?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        ensure!(lines.len() > 20, "{}", lines.len());
        Ok(lines)
    })?;
    let times: Vec<_> = lines.iter().filter_map(|line| line["time"].as_f64()).collect();
    ensure!(times.is_sorted() && lines.iter().all(|line| line["labels"]["device"] == "gpu0"), "{lines:?}");
    let text = exporter.get("/debug/samples?format=openmetrics")?.ok()?.text()?.to_owned();
    ensure!(text.ends_with("# EOF\n") && text.contains("device=\"gpu1\""), "{text}");

    let folder = tempfile::tempdir()?;
    let file = folder.path().join("samples.om");
    fs::write(&file, &text)?;
    let blocks = folder.path().join("blocks");
    let mut promtool = Command::new("promtool");
    promtool.args(["tsdb", "create-blocks-from", "openmetrics"]).arg(&file).arg(&blocks);
    process::run(&mut promtool)?.success()?;
    let (config, address) = (folder.path().join("prometheus.yml"), process::free_address()?);
    fs::write(&config, "{}")?;
    let mut prometheus = Command::new("prometheus");
    prometheus
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", blocks.display()))
        .arg(format!("--web.listen-address={address}"));
    let mut prometheus = Process::spawn("prometheus", &mut prometheus)?;
    prometheus.quiet();
    eventually("Prometheus is ready", || http::send(address, Request::get("/-/ready"))?.ok())?;
    for (query, least) in [
        ("count_over_time(accel_power_watts{device=\"gpu0\"}[10m])", 20.0),
        ("count(count_over_time(accel_engine_active_ratio[10m]))", 6.0),
        ("count(increase(accel_link_receive_bytes_total{device=\"gpu1\"}[10m]))", 1.0),
    ] {
        let path = format!("/api/v1/query?query={}", encoded(query)?);
        let found: Value = serde_json::from_slice(&http::send(address, Request::get(&path))?.ok()?.body)?;
        let found = &found["data"]["result"][0]["value"][1];
        let found: f64 = found.as_str().unwrap_or("0").parse()?;
        ensure!(found >= least, "{query}: {found}");
    }
    Ok(())
}

#[test]
fn a_file_without_a_token_is_refused_at_the_start() -> Result<()> {
    let node = Node::new("h100-sxm-4")?;
    let token = node.dir().join("token");
    fs::write(&token, "\n")?;
    for mode in ["incident", "detach"] {
        let flags = [format!("--{mode}.enable"), format!("--{mode}.token-file={}", token.display())];
        let refused = node.run("serve", &[&flags[0], &flags[1]])?;
        ensure!(refused.code == Some(2), "{refused:?}");
        let (lines, flag) = (refused.stderr.lines().count(), format!("--{mode}.token-file"));
        ensure!(lines == 1 && refused.stderr.contains(&flag), "{}", refused.stderr);
    }
    Ok(())
}

#[test]
fn a_page_of_another_site_cannot_switch_it_on() -> Result<()> {
    let node = Node::new("h100-sxm-4")?;
    let exporter = node.start(&["--incident.enable"])?;
    exporter.settled()?;
    let foreign = [JSON, ("Origin", "http://other.example")];
    ensure!(status(&exporter, "{\"for\":\"1m\"}", &foreign)? == 403);
    ensure!(active(&exporter)? == 0.0);
    Ok(())
}

#[test]
fn an_alert_reaches_its_node_through_any_other() -> Result<()> {
    let (near, far) = (Node::new("h100-sxm-4")?.named("near"), Node::new("h100-sxm-4")?.named("far"));
    let addresses = [process::free_address()?, process::free_address()?];
    let token = near.dir().join("token");
    fs::write(&token, "secret\n")?;
    let token = format!("--incident.token-file={}", token.display());
    // As the addresses of a headless service: its own among them, and one behind which nobody listens.
    let gone = process::free_address()?;
    let peers = format!("--incident.peers={},{},{gone}", addresses[0], addresses[1]);
    let [first, second] = addresses.map(|address| format!("--web.listen-address={address}"));
    let near = near.start(&["--incident.enable", &token, &peers, &first])?;
    let far = far.start(&["--incident.enable", &token, &peers, &second])?;
    near.settled()?;
    far.settled()?;
    let headers = [JSON, ("Authorization", "Bearer secret")];
    let labels = json!({"alertname": "GpuHbmNearOom", "device": "gpu1", "node": "far"});
    ensure!(status(&near, &alert("firing", "2026-11-01T00:00:00Z", &labels), &headers)? == 200);
    far.until("the alert came", |samples| {
        ensure!(samples.value("accelscope_incident_active", &[])? == 1.0);
        Ok(())
    })?;
    let forwards = |exporter: &Exporter, result| {
        exporter.scrape()?.value("accelscope_incident_forwards_total", &[("result", result)])
    };
    eventually("each peer was called once", || {
        let (sent, failed) = (forwards(&near, "sent")?, forwards(&near, "failed")?);
        ensure!(sent == 2.0 && failed == 1.0, "{sent} sent, {failed} failed");
        Ok(())
    })?;
    ensure!(active(&near)? == 0.0, "it is another node's");
    ensure!(forwards(&far, "sent")? == 0.0, "what was sent on is not sent on again");
    // One of its own is nobody else's.
    let own = json!({"alertname": "GpuHbmNearOom", "device": "gpu0", "node": "near"});
    ensure!(status(&near, &alert("firing", "2026-11-01T00:00:00Z", &own), &headers)? == 200);
    ensure!(active(&near)? == 1.0 && forwards(&near, "sent")? == 2.0);
    Ok(())
}
