//! The committed dashboards before Grafana's own types and its own painting of values.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, Result, ensure};
use e2e::artefacts::{node_tools, repository};
use serde_json::{Value, json};
use thresholds::{Format, Kind, Names, Overrides, band_panels, generate};

/// States, which are words.
const STATES: [f64; 3] = [0.0, 1.0, 2.0];

/// Green, amber and red, and grey for what is not there.
const COLOURS: [&str; 3] = ["#1A9E8F", "#F2CC0C", "#C4162A"];
const GREY: &str = "#808080";

/// Runs one of the programs beside the tests on an input.
fn node(program: &str, input: &Value) -> Result<Value> {
    let (node, tools) = node_tools()?;
    let mut child = Command::new(node)
        .arg(repository().join("tests/dashboards").join(program))
        .arg(tools)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("a pipe to it")?;
    let text = input.to_string();
    let writer = thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Dashboards by path, as committed.
fn committed() -> Result<BTreeMap<String, Value>> {
    let mut dashboards = BTreeMap::new();
    for entry in fs::read_dir(repository().join("dashboards"))? {
        let path = entry?.path();
        let name = path.file_name().context("a file has a name")?.to_string_lossy().into_owned();
        dashboards.insert(format!("dashboards/{name}"), serde_json::from_str(&fs::read_to_string(path)?)?);
    }
    ensure!(dashboards.len() == 12, "{:?}", dashboards.keys());
    Ok(dashboards)
}

/// Dashboards of an override file with everything that the default leaves out, and with signs that break
/// careless writers.
fn overridden() -> Result<BTreeMap<String, Value>> {
    let text = "[slo.chat]\nmodels = ['a\"b}{ü', \"${datasource} [[x]]\\n\"]\n[prices]\nnvidia = 2.5\n";
    let overrides = Overrides::parse("o.toml", text)?;
    generate(Kind::Dashboards, &overrides, Names::Both, Format::Prometheus)
        .into_iter()
        .filter(|(path, _)| path.starts_with("dashboards/"))
        .map(|(path, text)| Ok((format!("overridden {path}"), serde_json::from_str(&text)?)))
        .collect()
}

fn panels(dashboard: &Value) -> Vec<&Value> {
    let items = dashboard["panels"].as_array().into_iter().flatten();
    items
        .flat_map(|item| match item["panels"].as_array() {
            Some(inner) => inner.iter().collect(),
            None if item["type"] == "row" => Vec::new(),
            None => vec![item],
        })
        .collect()
}

/// A change that breaks a dashboard, given its first panel with steps, and what must be said of it.
type Breakage = (&'static str, fn(&mut Value), &'static str);

const BREAKAGES: [Breakage; 9] = [
    ("a misspelt key of a panel", |panel| panel["titel"] = json!("x"), "titel"),
    (
        "a misspelt key of a field",
        |panel| panel["fieldConfig"]["defaults"]["threshold"] = json!({}),
        "threshold",
    ),
    ("a text for a step", |panel| steps(panel)[1]["value"] = json!("0.9"), "must be"),
    (
        "a base step without value",
        |panel| {
            if let Some(step) = steps(panel)[0].as_object_mut() {
                step.remove("value");
            }
        },
        "value",
    ),
    (
        "an unknown mode",
        |panel| panel["fieldConfig"]["defaults"]["color"]["mode"] = json!("threshold"),
        "mode",
    ),
    (
        "a mapping of nothing",
        |panel| panel["fieldConfig"]["defaults"]["mappings"][0]["options"]["match"] = json!("none"),
        "mappings",
    ),
    ("a misspelt option", |panel| panel["options"]["legends"] = json!({}), "legends"),
    (
        "an unknown custom key",
        |panel| panel["fieldConfig"]["defaults"]["custom"]["colour"] = json!("red"),
        "colour",
    ),
    ("a kind of panel that is gone", |panel| panel["type"] = json!("graph"), "graph"),
];

fn steps(panel: &mut Value) -> &mut Value {
    &mut panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
}

#[test]
fn dashboards_are_what_grafanas_types_say_and_broken_ones_are_not() -> Result<()> {
    let mut all = committed()?;
    all.extend(overridden()?);
    let mut broken = BTreeMap::new();
    let good = &all["dashboards/fleet-nvidia.json"];
    let place = good["panels"]
        .as_array()
        .and_then(|panels| {
            panels.iter().position(|panel| {
                panel["type"] == "timeseries" && panel["fieldConfig"]["defaults"]["thresholds"].is_object()
            })
        })
        .context("a panel with steps")?;
    for (what, spoil, said) in BREAKAGES {
        let mut dashboard = good.clone();
        spoil(&mut dashboard["panels"][place]);
        ensure!(dashboard != *good, "{what} changes nothing");
        broken.insert(what.to_owned(), (dashboard, said));
    }
    let mut without = good.clone();
    if let Some(keys) = without.as_object_mut() {
        keys.remove("schemaVersion");
    }
    broken.insert("no version".to_owned(), (without, "schemaVersion"));

    let mut input: BTreeMap<_, _> = all.clone();
    input.extend(broken.iter().map(|(what, (dashboard, _))| (what.clone(), dashboard.clone())));
    let answers = node("schema.mjs", &json!(input))?;
    for path in all.keys() {
        ensure!(answers[path] == json!([]), "{path}: {:#}", answers[path]);
    }
    for (what, (_, said)) in &broken {
        let faults = answers[what].to_string();
        ensure!(answers[what] != json!([]) && faults.contains(said), "{what} is not found: {faults}");
    }
    println!("{} dashboards are valid, {} broken ones are found", all.len(), broken.len());
    Ok(())
}

#[test]
fn grafana_paints_values_as_the_rules_judge_them_and_absence_grey() -> Result<()> {
    let dashboards = committed()?;
    let bands: BTreeMap<_, _> = band_panels(&Overrides::default())
        .into_iter()
        .map(|shown| ((shown.path.clone(), u64::from(shown.panel)), shown))
        .collect();
    let mut asked = Vec::new();
    let mut expected = Vec::new();
    let (mut judged, mut states) = (0, 0);
    for (path, dashboard) in &dashboards {
        // A table has words and links of single columns alone.
        for panel in panels(dashboard).into_iter().filter(|panel| panel["type"] != "table") {
            let id = panel["id"].as_u64().context("a panel has an id")?;
            let mut config = panel["fieldConfig"]["defaults"].clone();
            let mut samples: Vec<(Value, Option<&str>)> =
                vec![(Value::Null, Some(GREY)), (json!("NaN"), Some(GREY))];
            let is_state = config["mappings"][1]["options"]["0"]["text"] == "OK";
            if let Some(shown) = bands.get(&(path.clone(), id)) {
                // Lines have colours of their own, and the edges of bands are drawn beside them.
                config["color"]["mode"] = json!("thresholds");
                let samples_of = shown.samples.iter();
                samples.extend(
                    samples_of.map(|(value, state)| (json!(value), Some(COLOURS[usize::from(*state)]))),
                );
                judged += 1;
            } else if is_state {
                samples
                    .extend(STATES.iter().zip(COLOURS).map(|(value, colour)| (json!(value), Some(colour))));
                states += 1;
            } else {
                // What only explains must not look like a judgement.
                samples.push((json!(1.0), None));
            }
            asked.push(json!({ "config": config, "values": samples.iter().map(|(value, _)| value).collect::<Vec<_>>() }));
            expected.push((format!("{path} panel {id} ({})", panel["title"]), config, samples));
        }
    }
    ensure!(
        judged == bands.len() && judged > 40 && states > 20,
        "{judged} panels with bands of {}, {states} of states",
        bands.len()
    );
    let answers = node("colours.mjs", &json!(asked))?;
    let mut values = 0;
    for ((place, config, samples), answer) in expected.iter().zip(answers.as_array().context("a list")?) {
        ensure!(answer["unit"] == json!(true), "{place}: Grafana knows no unit {}", config["unit"]);
        let own_words = config["mappings"].as_array().is_some_and(|mappings| mappings.len() > 1);
        for ((value, colour), shown) in samples.iter().zip(answer["shown"].as_array().context("a list")?) {
            values += 1;
            match colour {
                Some(GREY) => ensure!(
                    shown["color"] == GREY && shown["text"] == "NO DATA",
                    "{place}: {value} is shown as {shown}"
                ),
                // A whole value with a word of its own has that word's colour, which is that of its band.
                Some(colour) => {
                    ensure!(shown["color"] == *colour, "{place}: {value} is {shown}, not {colour}");
                }
                None => ensure!(
                    own_words || !COLOURS.iter().any(|colour| shown["color"] == *colour),
                    "{place}: {value} looks like a judgement: {shown}"
                ),
            }
        }
    }
    println!("{values} values in {} panels have the colour of their band", expected.len());
    Ok(())
}
