//! Who holds a device, on the page at `/` and in its JSON.

use anyhow::{Context, Result, ensure};
use e2e::{Exporter, Grouped, Kubelet, Node, eventually, live::look};
use serde_json::{Value, json};
use sim::{Control, control::Processes};

use super::{pod, start, until_holders, uuid};

fn read(exporter: &Exporter) -> Result<Value> {
    Ok(serde_json::from_str(exporter.get("/api/v1/node")?.ok()?.text()?)?)
}

fn holders(exporter: &Exporter, device: &str) -> Result<Vec<Value>> {
    let node = read(exporter)?;
    let devices = node["devices"].as_array().context("devices")?;
    let device = devices.iter().find(|known| known["device"] == device).context("the device")?;
    Ok(device.get("holders").and_then(Value::as_array).cloned().unwrap_or_default())
}

#[test]
fn the_tile_of_a_device_names_its_holders_and_the_page_says_when_they_are_not_known() -> Result<()> {
    let node = Node::new("h100-sxm-4")?;
    let unit = Grouped::start("ollama.service")?;
    let process = vec![Processes { device: 2, pids: vec![unit.id()] }];
    node.control(&Control { process, ..Control::default() })?;
    let mut kubelet = Kubelet::start(&json!({"pods": []}))?;
    let exporter = start(&node, &kubelet, &[])?;
    let gpu = uuid(&exporter.settled()?, "gpu1", "")?;
    // A name that would be markup, of five that share a GPU.
    let names = ["größe-<b>x</b>", "b", "c", "d", "e"];
    let share = |number| format!("{gpu}::{number}");
    let pods: Vec<_> = (0..5)
        .map(|number| pod(names[number], "nvidia.com/gpu.shared", &[&share(number)]))
        .chain([pod("whole", "nvidia.com/gpu", &["3"])])
        .collect();
    kubelet.set(&json!({"pods": pods}))?;
    let lines: Vec<_> =
        names.iter().enumerate().map(|(number, name)| format!("{name} : gpu1 {number}")).collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).chain(["whole : gpu3", ": gpu2"]).collect();
    until_holders(&exporter, "all hold", &lines)?;

    let shared = holders(&exporter, "gpu1")?;
    ensure!(shared.len() == 5 && shared.iter().all(|one| one["namespace"] == "team"), "{shared:?}");
    let whole = holders(&exporter, "gpu3")?;
    let expected =
        json!([{"workload_kind": "pod", "namespace": "team", "pod": "whole", "container": "main"}]);
    ensure!(json!(whole) == expected, "{whole:?}");
    eventually("the unit's memory", || {
        let unit = holders(&exporter, "gpu2")?;
        ensure!(unit[0]["job"] == "ollama.service" && unit[0]["memory_used_bytes"].is_u64(), "{unit:?}");
        Ok(())
    })?;
    ensure!(holders(&exporter, "gpu0")?.is_empty());
    ensure!(read(&exporter)?["workloads"] == json!([{"interface": "pod_resources", "up": true}]));

    let steps = [
        json!({ "wait": ".tile[aria-label^=gpu1] ul:nth-of-type(2) li:nth-child(4)" }),
        json!({ "report": "held" }),
        json!({ "size": [360, 740] }),
        json!({ "report": "narrow" }),
    ];
    let seen = look(&exporter.url("/"), true, &steps)?;
    let tile = |report: &str, name: &str| -> Result<String> {
        let tiles = seen["reports"][report]["tiles"].as_array().context("tiles")?;
        let tile = tiles.iter().find(|tile| tile["name"] == name).context("the tile")?;
        Ok(tile["text"].as_str().context("a text")?.to_owned())
    };
    let text = tile("held", "gpu1")?;
    for part in ["Held by", "pod team/b main, share 1", "and 2 more"] {
        ensure!(text.contains(part), "{part}: {text}");
    }
    ensure!(tile("held", "gpu2")?.contains("unit ollama.service, "), "{}", tile("held", "gpu2")?);
    ensure!(!tile("held", "gpu0")?.contains("Held by"), "{}", tile("held", "gpu0")?);
    for report in ["held", "narrow"] {
        let report = &seen["reports"][report];
        ensure!(report["overflow"] == 0 && report["cut_off"] == json!([]), "{report}");
    }
    ensure!(seen["console"] == json!([]), "{}", seen["console"]);

    // Without its script, in the table.
    let page = exporter.get("/")?.ok()?.text()?.to_owned();
    ensure!(page.contains("pod team/b main share 1; ") && page.contains("; 2 more</td>"), "{page}");
    ensure!(!page.contains("<b>"), "{page}");

    kubelet.kill();
    eventually("no pod is shown", || {
        ensure!(holders(&exporter, "gpu1")?.is_empty());
        ensure!(read(&exporter)?["workloads"][0]["up"] == false);
        Ok(())
    })?;
    let steps = [json!({ "wait": ".tile" }), json!({ "report": "unknown" })];
    let seen = look(&exporter.url("/"), true, &steps)?;
    let summary = seen["reports"]["unknown"]["summary"].as_str().context("a summary")?;
    ensure!(summary.contains("holders may not be known: pod resources is down"), "{summary}");
    Ok(())
}
