//! What HTTP clients ask for and get: formats, compression, methods, filters, pages.

#![expect(clippy::float_cmp, reason = "flags and counts are printed and parsed exactly")]

use std::io::Read as _;

use anyhow::{Context, Result, ensure};
use e2e::{
    Exporter, Node, Samples,
    http::{Request, Response},
};

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// `Accept` headers as they are really sent, and the content type that must come back.
const CLIENTS: [(&str, Option<&str>, &str); 8] = [
    (
        "Prometheus 2.42",
        Some(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        ),
        OPEN_METRICS,
    ),
    (
        "Prometheus 2.42 with native histograms",
        Some(
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
             application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        ),
        PROTOBUF,
    ),
    (
        "Prometheus 3.5",
        Some(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        ),
        "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
    ),
    ("VictoriaMetrics", Some("text/plain;version=0.0.4;q=1,*/*;q=0.1"), TEXT),
    ("a browser", Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), TEXT),
    ("curl", Some("*/*"), TEXT),
    ("nothing that exists", Some("application/json"), TEXT),
    ("no header", None, TEXT),
];

fn exporter() -> Result<(Node, Exporter)> {
    let node = Node::new("h100-sxm-4")?.frozen();
    let exporter = node.start(&[])?;
    exporter.settled()?;
    Ok((node, exporter))
}

fn get(exporter: &Exporter, path: &str, headers: &[(&str, &str)]) -> Result<Response> {
    exporter.send(Request::get(path).with(headers))
}

fn unpacked(response: &Response) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(response.body.as_slice()).read_to_end(&mut plain)?;
    Ok(plain)
}

#[test]
fn every_client_gets_the_format_it_likes_best() -> Result<()> {
    let (_node, exporter) = exporter()?;
    for (client, accept, expected) in CLIENTS {
        let headers: Vec<_> = accept.iter().map(|accept| ("Accept", *accept)).collect();
        let response = get(&exporter, "/metrics", &headers)?.ok()?;
        ensure!(response.header("content-type") == Some(expected), "{client}: {:?}", response.headers);
        match expected {
            TEXT => ensure!(Samples::parse(response.text()?)?.sum("accel_device_up", &[]) == 4.0, "{client}"),
            PROTOBUF => ensure!(response.body.len() > 10_000, "{client}: {} bytes", response.body.len()),
            _ => ensure!(response.text()?.ends_with("\n# EOF\n"), "{client}"),
        }
    }
    Ok(())
}

#[test]
fn gzip_is_given_to_those_who_ask() -> Result<()> {
    let (_node, exporter) = exporter()?;
    for (asked, packed) in
        [("gzip", true), ("deflate, gzip;q=0.5", true), ("gzip;q=0", false), ("identity", false)]
    {
        let response = get(&exporter, "/metrics", &[("Accept-Encoding", asked)])?.ok()?;
        ensure!(
            (response.header("content-encoding") == Some("gzip")) == packed,
            "{asked}: {:?}",
            response.headers
        );
        ensure!(
            response.header("vary").is_some_and(|vary| vary.to_lowercase().contains("accept-encoding")),
            "{asked}: a cache must be told: {:?}",
            response.headers
        );
        let plain = if packed { unpacked(&response)? } else { response.body };
        let samples = Samples::parse(std::str::from_utf8(&plain)?)?;
        ensure!(samples.sum("accel_device_up", &[]) == 4.0, "{asked}");
    }
    Ok(())
}

#[test]
fn head_is_get_without_a_body() -> Result<()> {
    let (_node, exporter) = exporter()?;
    for path in ["/metrics", "/", "/-/healthy", "/-/ready"] {
        let head = exporter.send(Request { method: "HEAD", ..Request::get(path) })?.ok()?;
        let get = exporter.get(path)?.ok()?;
        ensure!(head.body.is_empty());
        ensure!(head.header("content-type") == get.header("content-type"), "{path}: {:?}", head.headers);
        let length: usize = head.header("content-length").context("a length")?.parse()?;
        // The count of requests grows by a digit now and then.
        ensure!(length.abs_diff(get.body.len()) < 100, "{path}: {length} against {}", get.body.len());
    }
    Ok(())
}

#[test]
fn other_methods_and_paths_are_refused() -> Result<()> {
    let (_node, exporter) = exporter()?;
    for (method, path, status) in [
        ("POST", "/metrics", 405),
        ("DELETE", "/metrics", 405),
        ("GET", "/nothing", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/-/quit", 404),
    ] {
        let response = exporter.send(Request { method, ..Request::get(path) })?;
        ensure!(response.status == status, "{method} {path}: {}", response.status);
    }
    Ok(())
}

#[test]
fn filters_choose_among_sources() -> Result<()> {
    let (_node, exporter) = exporter()?;
    let devices = |path: &str| -> Result<f64> {
        Ok(Samples::parse(get(&exporter, path, &[])?.ok()?.text()?)?.sum("accel_device_up", &[]))
    };
    assert_eq!(devices("/metrics?collect[]=nvidia")?, 4.0);
    assert_eq!(devices("/metrics?collect%5B%5D=nvidia")?, 4.0);
    assert_eq!(devices("/metrics?exclude[]=nvidia")?, 0.0);
    for bad in ["/metrics?collect[]=nvidia&exclude[]=nvidia", "/metrics?collect[]=nvidai"] {
        let response = exporter.get(bad)?;
        ensure!(response.status == 400, "{bad}: {}", response.status);
        ensure!(response.text()?.trim().lines().count() == 1, "{bad}: {}", response.text()?);
    }
    Ok(())
}

#[test]
fn the_first_page_and_the_build_say_that_the_machine_is_simulated() -> Result<()> {
    let (_node, exporter) = exporter()?;
    let page = exporter.get("/")?.ok()?;
    ensure!(
        page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")),
        "{:?}",
        page.headers
    );
    let html = page.text()?;
    ensure!(html.contains("href=\"metrics\"") && html.to_lowercase().contains("simulated"), "{html}");
    let samples = exporter.scrape()?;
    ensure!(
        samples.has("accelscope_build_info", &[("simulated", "h100-sxm-4")]),
        "the build does not say so"
    );
    Ok(())
}

#[test]
fn one_vocabulary_alone_can_be_chosen() -> Result<()> {
    let node = Node::new("h100-sxm-4")?.frozen();
    for (names, unified, vendor) in
        [("unified", true, false), ("vendor", false, true), ("unified,vendor", true, true)]
    {
        let exporter = node.launch(&["--names", names])?;
        exporter.until(names, |samples| {
            ensure!(samples.has("accel_power_watts", &[]) == unified, "unified");
            ensure!(samples.has("DCGM_FI_DEV_POWER_USAGE", &[]) == vendor, "vendor");
            Ok(())
        })?;
    }
    Ok(())
}
