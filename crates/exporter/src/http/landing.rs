//! The page at `/`: the program, its sources and devices, and where the metrics are.

use std::fmt::Write;

use crate::{
    sampling::device::Status,
    sampling::state::{ConnectionStatus, NodeState, SourceState},
};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse}td,th{text-align:left;padding:.2rem 1rem .2rem 0;vertical-align:top}\
.simulated{background:#b00020;color:#fff;padding:.5rem 1rem;font-weight:bold}";

/// The page.
pub fn page(name: &str, node: &NodeState, telemetry_path: &str) -> String {
    let banner = node.simulated().map_or_else(String::new, |machine| {
        format!(
            "<p class=\"simulated\">SIMULATED machine {}: no number here is a measurement.</p>\n",
            escape(&machine)
        )
    });
    let sources: String = node.sources.iter().map(|source| row(source)).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{name}</title>\
         <style>{STYLE}</style></head>\n<body>\n<h1>{name} {version}</h1>\n{banner}\
         <p><a href=\"{path}\">Metrics</a> · <a href=\"/-/healthy\">Healthy</a> · <a href=\"/-/ready\">Ready</a></p>\n\
         <table>\n<tr><th>Source</th><th>Library</th><th>Version</th><th>Devices</th></tr>\n{sources}</table>\n\
         </body></html>\n",
        version = env!("CARGO_PKG_VERSION"),
        path = escape(telemetry_path),
    )
}

fn row(source: &SourceState) -> String {
    let connection = source.connection();
    let (library, version) = match (&connection.status, &connection.backend) {
        (ConnectionStatus::Down(reason), _) => (reason.clone(), String::new()),
        (_, Some(backend)) => (backend.library.clone(), backend.version.clone()),
        (_, None) => ("connecting".to_owned(), String::new()),
    };
    let snapshots = source.snapshots();
    let up = snapshots.iter().filter(|snapshot| snapshot.status == Status::Up).count();
    let mut devices = format!("{up} up");
    for snapshot in snapshots.iter().filter(|snapshot| snapshot.status != Status::Up) {
        let state = match snapshot.status {
            Status::Down(fault) => fault.to_string(),
            Status::Gone => "gone".to_owned(),
            Status::Starting | Status::Up => "starting".to_owned(),
        };
        write!(devices, "<br>{}: {}", escape(snapshot.name()), escape(&state))
            .expect("a string takes everything");
    }
    format!(
        "<tr><td>{}</td><td>{}</td><td>{}</td><td>{devices}</td></tr>\n",
        source.family,
        escape(&library),
        escape(&version)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
