//! The page without JavaScript: a table of devices and one of sources. The script draws tiles in place of the first.

use std::fmt::Write;

use thresholds::State;

use super::{
    class,
    node::{Card, Finding, Node, Source},
};
use crate::health::report::Why;

/// Holders of a device in its row.
const HOLDERS_MAX: usize = 3;

/// The page. Links are relative, so that a proxy may serve it below a path of its own.
pub fn page(node: &Node, telemetry_path: &str) -> String {
    let banner = node.simulated.as_ref().map_or_else(String::new, |machine| {
        format!(
            "<p class=\"simulated\">SIMULATED machine {}: no number here is a measurement.</p>\n",
            escape(machine)
        )
    });
    let devices: String = node.devices.iter().map(device).collect();
    let sources: String = node.sources.iter().map(|of| source(of, node)).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{name} · {program}</title><link rel=\"icon\" href=\"data:,\">\
         <link rel=\"stylesheet\" href=\"live.css\"><script src=\"live.js\" defer></script>\
         <noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript></head>\n<body>\n\
         <header><h1>{name}</h1><p>{program} {version} · <a href=\"{metrics}\">Metrics</a> · \
         <a href=\"api/v1/node\">JSON</a> · <a href=\"-/healthy\">Healthy</a> · <a href=\"-/ready\">Ready</a></p></header>\n\
         {banner}<p id=\"summary\" role=\"status\">{state}</p>\n\
         <main id=\"devices\" aria-label=\"Devices\"><table>\n{device_head}{devices}</table></main>\n\
         <section aria-label=\"Sources\"><table id=\"sources\">\n{source_head}{sources}</table></section>\n\
         </body></html>\n",
        device_head = head(&[
            "Device",
            "State",
            "Model",
            "Utilization",
            "Memory",
            "Temperature",
            "Power",
            "Problems",
            "Held by"
        ]),
        source_head = head(&["Source", "State", "Library", "Version", "Devices"]),
        name = escape(&node.name),
        program = node.program,
        version = node.version,
        metrics = escape(telemetry_path.trim_start_matches('/')),
        state = node.state.word(),
    )
}

fn head(titles: &[&str]) -> String {
    let cells = titles.iter().map(|title| format!("<th scope=\"col\">{title}</th>"));
    format!("<tr>{}</tr>\n", cells.collect::<String>())
}

fn device(card: &Card) -> String {
    let figures = &card.figures;
    let percent = |ratio: f64| format!("{:.0} %", ratio * 100.0);
    let of = |value: Option<f64>, limit: Option<f64>, unit: &str, scale: f64| {
        let value = value.map(|value| format!("{:.0}", value / scale))?;
        let limit = limit.map_or_else(String::new, |limit| format!(" of {:.0}", limit / scale));
        Some(format!("{value}{limit} {unit}"))
    };
    let busiest = figures.engines.values().copied().reduce(f64::max);
    let temperature = figures.temperatures.first();
    let cells = [
        Some(card.device.clone()),
        None,
        card.info.get("model").cloned(),
        figures.utilization_ratio.or(busiest).map(percent),
        of(figures.memory_used_bytes, figures.memory_total_bytes, "GiB", (1_u32 << 30).into()),
        temperature.and_then(|hot| of(Some(hot.celsius), hot.limit_celsius, "°C", 1.0)),
        of(figures.power_watts, figures.power_limit_watts, "W", 1.0),
        Some(problems(card)),
        Some(held_by(card)),
    ];
    let mut row = "<tr>".to_owned();
    for (column, cell) in cells.iter().enumerate() {
        let text = escape(cell.as_deref().unwrap_or_default());
        match column {
            0 => write!(row, "<th scope=\"row\">{text}</th>"),
            1 => write!(row, "<td>{}</td>", badge(card.state)),
            _ => write!(row, "<td>{text}</td>"),
        }
        .expect("a string takes everything");
    }
    row + "</tr>\n"
}

/// A state as a word in its colour.
fn badge(state: State) -> String {
    format!("<span class=\"state {}\">{}</span>", class(state.word()), state.word())
}

/// Who holds a device; of many, the first few.
fn held_by(card: &Card) -> String {
    let mut names: Vec<_> = card.holders.iter().take(HOLDERS_MAX).map(|holder| holder.name.clone()).collect();
    if let Some(more) = card.holders.len().checked_sub(HOLDERS_MAX).filter(|more| *more > 0) {
        names.push(format!("{more} more"));
    }
    names.join("; ")
}

/// Why a device is not OK.
fn problems(card: &Card) -> String {
    let lost = (card.status != "up").then(|| match &card.reason {
        Some(reason) => format!("{}: {reason}", card.status),
        None => card.status.to_owned(),
    });
    let finding = |finding: &Finding| match &finding.text {
        Some(text) => format!("{} {}: {text}", finding.state.word(), finding.title),
        None => format!("{} {}", finding.state.word(), finding.title),
    };
    let health = card.health.filter(|_| !card.health_reasons.is_empty()).map(|word| {
        let reasons: Vec<_> = card.health_reasons.iter().map(Why::short).collect();
        format!("health {word}: {}", reasons.join(", "))
    });
    lost.into_iter().chain(health).chain(card.findings.iter().map(finding)).collect::<Vec<_>>().join("; ")
}

fn source(source: &Source, node: &Node) -> String {
    let library = source.library.as_ref().or(source.reason.as_ref());
    let library =
        library.map_or(if source.status == "up" { "connected" } else { source.status }, String::as_str);
    let own = || node.devices.iter().filter(|device| device.family == source.family);
    let up = own().filter(|device| device.status == "up").count();
    let mut devices = format!("{up} up");
    for device in own().filter(|device| device.status != "up") {
        let state = device.reason.as_deref().unwrap_or(device.status);
        write!(devices, "<br>{}: {}", escape(&device.device), escape(state))
            .expect("a string takes everything");
    }
    format!(
        "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{devices}</td></tr>\n",
        source.family,
        badge(source.state),
        escape(library),
        escape(source.version.as_deref().unwrap_or_default())
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
