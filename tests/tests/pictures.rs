//! What a person sees on the dashboards: drawn with Grafana's own components in a real browser, over a real Prometheus
//! with the generated rules, on a fleet that is healthy at first and in trouble then. `cargo xtask pictures` draws the
//! same at length.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use e2e::fleet::{Fleet, dashboards};
use serde::Deserialize;
use serde_json::{Value, json};

/// A panel as it is seen.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Panel {
    title: String,
    kind: String,
    /// The text in the place of data.
    nothing: Option<String>,
    /// Texts that do not fit.
    cut_off: Vec<String>,
    /// Links to what their series do not have.
    dead_links: Vec<String>,
    tiles: Vec<Tile>,
    lanes: Vec<Lane>,
    /// Rows of a legend: name and figures.
    legend: Vec<Vec<String>>,
    /// Rows of a table.
    rows: Vec<Vec<String>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Tile {
    name: String,
    value: String,
    color: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Lane {
    name: String,
    spans: Vec<Span>,
}

#[derive(Clone, Debug, Deserialize)]
struct Span {
    text: String,
    color: String,
}

type Seen = BTreeMap<String, Vec<Panel>>;

/// Every word of a state, with its colour: red is what needs somebody, grey is what is not known.
const WORDS: [(&str, &str); 15] = [
    ("OK", GREEN),
    ("UP", GREEN),
    ("up", GREEN),
    ("reports", GREEN),
    ("WARN", "#F2CC0C"),
    ("BLIND", "#F2CC0C"),
    ("CRIT", RED),
    ("DOWN", RED),
    ("down", RED),
    ("silent", RED),
    ("needed", RED),
    ("MISSING", RED),
    ("GONE", GREY),
    ("NO DATA", GREY),
    ("no", "#3D434D"),
];
const GREEN: &str = "#1A9E8F";
const RED: &str = "#C4162A";
const GREY: &str = "#808080";

/// Words of panels that explain.
const EXPLAINING: [(&str, &str); 4] = [
    ("active", "#E69F00"),
    ("neither", "#3D434D"),
    ("memory-bound", "#56B4E9"),
    ("compute-bound", "#CC79A7"),
];

/// Panels that nothing fills here, and why.
const SILENT: [(&str, &str, &str); 1] = [(
    "fleet-intel-server",
    "AMX busy where its service is",
    "no embedding service runs on the simulated Xeon",
)];

/// Panels of devices begin every name with that of the node.
const NODES: [&str; 9] =
    ["gpu-1", "gpu-2", "gpu-3", "mig-1", "gaudi-1", "arc-1", "xeon-1", "branch-17", "branch-42"];

/// What no dashboard may show, in any state of the fleet.
fn wrong(board: &str, panel: &Panel) -> Vec<String> {
    let mut wrong = Vec::new();
    wrong.extend(panel.cut_off.iter().map(|text| format!("`{text}` does not fit")));
    wrong.extend(panel.dead_links.iter().map(|label| format!("a link needs {label}")));
    let word = |text: &str, color: &str| {
        let known = WORDS.iter().chain(&EXPLAINING).find(|(word, _)| *word == text);
        match known {
            None => Some(format!("`{text}` is no word of a state")),
            Some((_, right)) if *right != color => Some(format!("`{text}` is {color}, not {right}")),
            Some(_) => None,
        }
    };
    // Numbers are no states.
    if panel.title != "Right now" {
        wrong.extend(panel.tiles.iter().filter_map(|tile| word(&tile.value, &tile.color)));
    }
    wrong.extend(
        panel.lanes.iter().flat_map(|lane| &lane.spans).filter_map(|span| word(&span.text, &span.color)),
    );
    let names = panel.tiles.iter().map(|tile| &tile.name).chain(panel.lanes.iter().map(|lane| &lane.name));
    let mut names: BTreeSet<&str> = names.map(String::as_str).collect();
    names.extend(panel.legend.iter().filter_map(|row| row.first()).map(String::as_str));
    for name in names {
        wrong.extend((name.is_empty() || name.contains('{')).then(|| format!("`{name}` is no name")));
        let device = ["gpu", "hpu", "card", "socket", "npu"].iter().any(|device| {
            name.split(' ')
                .any(|word| word.strip_prefix(device).is_some_and(|rest| rest.parse::<u8>().is_ok()))
        });
        let is_placed = NODES.iter().any(|node| name.starts_with(node));
        // A page about one node or device has said which.
        wrong.extend(
            (device && board.starts_with("fleet") && !is_placed).then(|| format!("`{name}` is on no node")),
        );
    }
    if panel.nothing.as_deref() == Some("NO DATA")
        && !SILENT.iter().any(|(known, title, _)| board == *known && panel.title == *title)
    {
        wrong.push("has no data".to_owned());
    }
    wrong.iter().map(|what| format!("{board} / {}: {what}", panel.title)).collect()
}

fn read(report: Value) -> Result<Seen> {
    Ok(serde_json::from_value(report)?)
}

/// The panel of a title.
fn panel<'s>(seen: &'s Seen, board: &str, title: &str) -> Result<&'s Panel> {
    let panels = seen.get(board).with_context(|| board.to_owned())?;
    panels
        .iter()
        .find(|panel| panel.title.starts_with(title))
        .with_context(|| format!("{board} has no {title}"))
}

fn tile<'s>(seen: &'s Seen, board: &str, title: &str, name: &str) -> Result<&'s Tile> {
    let panel = panel(seen, board, title)?;
    panel
        .tiles
        .iter()
        .find(|tile| tile.name == name)
        .with_context(|| format!("{board} / {title}: no {name}: {:?}", panel.tiles))
}

/// A row of the alerts has all of these words.
fn fires(seen: &Seen, board: &str, words: &[&str]) -> Result<()> {
    let alerts = panel(seen, board, "Firing alerts")?;
    let has = |row: &Vec<String>| words.iter().all(|word| row.iter().any(|cell| cell == word));
    ensure!(alerts.rows.iter().any(has), "{board}: no alert with {words:?}: {:#?}", alerts.rows);
    // The most severe first.
    let rank = |row: &Vec<String>| {
        ["critical", "warning", "ticket", "info"].iter().position(|severity| row[0] == *severity)
    };
    ensure!(alerts.rows.is_sorted_by_key(rank), "{board}: {:#?}", alerts.rows);
    Ok(())
}

/// The first row of a legend is the culprit's.
fn first(seen: &Seen, board: &str, title: &str, culprit: &str) -> Result<()> {
    let panel = panel(seen, board, title)?;
    let name = &panel.legend.first().with_context(|| format!("{board} / {title} has no legend"))?[0];
    ensure!(
        name.starts_with(culprit),
        "{board} / {title}: {name} is first, not {culprit}: {:?}",
        panel.legend
    );
    Ok(())
}

fn everything_is_right(seen: &Seen) -> Result<()> {
    let wrong: Vec<String> = seen
        .iter()
        .flat_map(|(board, panels)| panels.iter().flat_map(move |panel| wrong(board, panel)))
        .collect();
    ensure!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

const FLEETS: [&str; 3] = ["fleet-nvidia", "fleet-intel-server", "fleet-intel-edge"];

#[test]
fn a_person_sees_what_is_wrong_and_who_is_the_culprit() -> Result<()> {
    let all = dashboards()?;
    let mut fleet = Fleet::start()?;
    fleet.complete()?;
    let fleets = all.iter().filter(|(id, _)| FLEETS.contains(&id.as_str()));
    let healthy =
        read(fleet.draw(&fleets.map(|(id, board)| (id.clone(), board.clone())).collect(), 60, "", None)?)?;
    everything_is_right(&healthy)?;
    calm(&healthy)?;

    fleet.break_things()?;
    fleet.lose()?;
    let mut boards = all;
    boards.insert("broken".to_owned(), broken(&boards["fleet-nvidia"])?);
    let mut seen = read(fleet.draw(&boards, 120, "", None)?)?;
    // A timeline that is coloured by thresholds prints them in the place of words, and the check finds it.
    let broken = seen.remove("broken").context("it was drawn")?;
    let found: Vec<_> = broken.iter().flat_map(|panel| wrong("broken", panel)).collect();
    ensure!(found.iter().any(|what| what.contains("is no word of a state")), "{found:?} {broken:?}");

    everything_is_right(&seen)?;
    silent_panels_are_silent(&seen)?;
    hardware(&seen)?;
    engines(&seen)
}

/// The timeline of a fleet as Grafana colours what says nothing of colours.
fn broken(board: &Value) -> Result<Value> {
    let mut board = board.clone();
    let mut panels = board["panels"].as_array().context("panels")?.clone();
    panels.retain(|panel| panel["type"] == "state-timeline");
    for panel in &mut panels {
        panel["fieldConfig"]["defaults"]["color"] = json!({ "mode": "thresholds" });
    }
    board["panels"] = panels.into();
    Ok(board)
}

/// Fewer than one tile in fifty is not green, and nothing fires.
fn calm(seen: &Seen) -> Result<()> {
    let mut tiles = Vec::new();
    for board in FLEETS {
        let alerts = panel(seen, board, "Firing alerts")?;
        ensure!(alerts.nothing.as_deref() == Some("No alert is firing"), "{board}: {:?}", alerts.rows);
        for panel in seen[board].iter().filter(|panel| panel.kind == "stat" && panel.title != "Right now") {
            tiles.extend(panel.tiles.iter().map(|tile| (board, &panel.title, tile)));
        }
    }
    let other: Vec<_> = tiles.iter().filter(|(_, _, tile)| tile.color != GREEN).collect();
    println!("{} of {} tiles of a healthy fleet are not green", other.len(), tiles.len());
    ensure!(tiles.len() > 60 && other.len() * 50 < tiles.len(), "{other:#?}");
    Ok(())
}

/// What is listed as silent is so.
fn silent_panels_are_silent(seen: &Seen) -> Result<()> {
    for (board, title, why) in SILENT {
        ensure!(panel(seen, board, title)?.nothing.is_some(), "{board} / {title} has data although {why}");
    }
    Ok(())
}

fn hardware(seen: &Seen) -> Result<()> {
    // A dead node is red on its board, and what was on it is grey.
    let nodes = [("fleet-nvidia", "gpu-3", "gpu0"), ("fleet-intel-edge", "branch-42", "0000:00:0b.0")];
    for (board, node, device) in nodes {
        let nodes = panel(seen, board, "Nodes")?;
        ensure!(nodes.tiles[0].name == node && nodes.tiles[0].value == "DOWN", "{:?}", nodes.tiles);
        let gone = tile(seen, board, "Devices", &format!("{node} {device}"))?;
        ensure!(gone.value == "GONE" && gone.color == GREY, "{gone:?}");
        fires(seen, board, &["critical", "ExporterDown", node])?;
        let down = tile(seen, board, "Right now", "nodes down")?;
        ensure!(down.value == "1" && down.color == RED, "{down:?}");
    }
    let dead = tile(seen, "exporter", "Exporters", "gpu-3")?;
    ensure!(dead.value == "DOWN", "{dead:?}");

    // The culprit of each cause.
    fires(seen, "fleet-nvidia", &["critical", "GpuHbmNearOom", "mig-1", "gpu1"])?;
    for board in ["fleet-nvidia", "device-nvidia"] {
        fires(seen, board, &["critical", "GpuXidErrorDetected", "gpu-2", "gpu2", "79"])?;
        fires(seen, board, &["critical", "DeviceLost", "gpu-2", "gpu2"])?;
    }
    fires(seen, "fleet-intel-server", &["critical", "DeviceLost", "gaudi-1", "hpu5"])?;
    for (board, name) in [("fleet-nvidia", "gpu-2 gpu2"), ("fleet-intel-server", "gaudi-1 hpu5")] {
        ensure!(tile(seen, board, "Devices", name)?.value == "CRIT", "{name}");
    }
    first(seen, "fleet-nvidia", "Device memory used", "mig-1 gpu1")?;
    first(seen, "fleet-nvidia", "Die temperature", "gpu-2 gpu1")?;

    // The page of a lost GPU says so, why, and which one to replace.
    let events = panel(seen, "device-nvidia", "Events by code")?;
    ensure!(events.rows.iter().any(|row| row.contains(&"79".to_owned())), "{:?}", events.rows);
    let lost = tile(seen, "device-nvidia", "Right now", "lost")?;
    ensure!(lost.value == "1" && lost.color == RED, "{lost:?}");
    // Who holds it, and what works for nobody.
    let holders = panel(seen, "device-nvidia", "Who holds it")?;
    ensure!(holders.rows.iter().any(|row| row.contains(&"4711".to_owned())), "{:?}", holders.rows);
    let taken = panel(seen, "fleet-nvidia", "At work for nobody")?;
    let is_taken = |row: &Vec<String>| row[1] == "gpu-2" && row[2] == "gpu7";
    ensure!(taken.rows.len() == 1 && taken.rows.iter().all(is_taken), "{:?}", taken.rows);
    let identity = panel(seen, "device-nvidia", "What the device is")?;
    ensure!(
        identity.rows.iter().any(|row| row[1] == "gpu-2" && row[2].contains("H100")),
        "{:?}",
        identity.rows
    );
    Ok(())
}

fn engines(seen: &Seen) -> Result<()> {
    fires(seen, "engine", &["warning", "LlmKvCachePoolNearFull", "full", "gpu-2"])?;
    fires(seen, "engine", &["warning", "LlmTtftP95OutOfSlo", "late", "gpu-2"])?;
    first(seen, "engine", "KV cache pool used", "full")?;
    first(seen, "engine", "First token, 95th", "late")?;
    // From a node to its engines, and from a device to those beside it.
    ensure!(tile(seen, "node", "Engines", "late late-0")?.value != "OK");
    let beside = panel(seen, "device-nvidia", "Engines on this node")?;
    ensure!(beside.rows.iter().any(|row| row.contains(&"full".to_owned())), "{:?}", beside.rows);
    // An engine that names no model is there under the one of its target, or under the name of its job.
    tile(seen, "cluster", "Models", "inference summary")?;
    tile(seen, "cluster", "Models", "inference trtllm")?;
    Ok(())
}
