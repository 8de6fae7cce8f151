//! Intel's own Python client, four releases of it, runs unmodified on the simulated library of its release,
//! and agrees with the real binary: what we export is what HLML says, in other units. And each release's own
//! definitions of HLML's structs are those that we read and write by.
//!
//! The machine's clock is frozen, so that processes that read one after the other read the same.

#![expect(clippy::float_cmp, reason = "whole numbers and flags are told exactly")]

use std::fs;

use anyhow::{Context, Result, ensure};
use e2e::{
    Node, Samples,
    artefacts::{PYHLML, pyhlml, python_env, repository},
    client::{self, CORRECTED, CORRECTED_EVER, Row, UNCORRECTABLE},
    process,
};
use hlml_sys::Generation;
use serde_json::Value;
use sim::{
    Control,
    control::{Ecc, Link, Rows, Scope, Severity},
};

const MEGAHERTZ: f64 = 1e6;
const PERCENT: f64 = 1e-2;
const MILLI: f64 = 1e-3;

/// What pyhlml reads of a device: a path into what `pyhlml_dump.py` prints.
const DEVICE: &[Row] = &[
    ("/utilization", PERCENT, "accel_utilization_ratio", &[]),
    ("/utilization", 1.0, "habanalabs_utilization", &[]),
    ("/utilization", 1.0, "habana_hpu_utilization", &[]),
    ("/memory/total", 1.0, "accel_memory_total_bytes", &[]),
    ("/memory/used", 1.0, "accel_memory_used_bytes", &[]),
    ("/memory/free", 1.0, "accel_memory_free_bytes", &[]),
    ("/memory/used", 1.0, "habanalabs_memory_used_bytes", &[]),
    ("/memory/used", 1.0, "habana_hbm_used", &[]),
    ("/temperature/on_aip", 1.0, "accel_temperature_celsius", &[("sensor", "gpu")]),
    ("/temperature/on_board", 1.0, "accel_temperature_celsius", &[("sensor", "board")]),
    ("/temperature/hbm", 1.0, "accel_temperature_celsius", &[("sensor", "memory")]),
    ("/temperature/on_aip", 1.0, "habanalabs_temperature_onchip", &[]),
    ("/temperature/on_board", 1.0, "habanalabs_temperature_onboard", &[]),
    (
        "/thresholds/shutdown",
        1.0,
        "accel_temperature_limit_celsius",
        &[("sensor", "gpu"), ("limit", "shutdown")],
    ),
    (
        "/thresholds/slowdown",
        1.0,
        "accel_temperature_limit_celsius",
        &[("sensor", "gpu"), ("limit", "slowdown")],
    ),
    (
        "/thresholds/gpu_max",
        1.0,
        "accel_temperature_limit_celsius",
        &[("sensor", "gpu"), ("limit", "operating")],
    ),
    ("/thresholds/mem_max", 1.0, "accel_temperature_limit_celsius", &[("sensor", "memory")]),
    ("/thresholds/mem_max", 1.0, "habanalabs_temperature_threshold_memory", &[]),
    ("/power", MILLI, "accel_power_watts", &[]),
    ("/power", 1.0, "habanalabs_power_mW", &[]),
    ("/power_limit", MILLI, "accel_power_limit_watts", &[("limit", "enforced")]),
    ("/power_default", MILLI, "accel_power_limit_watts", &[("limit", "default")]),
    ("/power_default", 1.0, "habanalabs_power_default_limit_mW", &[]),
    ("/power_range/0", MILLI, "accel_power_limit_watts", &[("limit", "min")]),
    ("/power_range/1", MILLI, "accel_power_limit_watts", &[("limit", "max")]),
    ("/energy", MILLI, "accel_energy_joules_total", &[]),
    ("/energy", 1.0, "habanalabs_energy", &[]),
    ("/clock", MEGAHERTZ, "accel_clock_hertz", &[("domain", "soc")]),
    ("/clock", 1.0, "habanalabs_clock_soc_mhz", &[]),
    ("/clock_max", MEGAHERTZ, "accel_clock_max_hertz", &[("domain", "soc")]),
    ("/performance_state", 1.0, "accel_performance_state", &[]),
    ("/ecc_mode/current", 1.0, "accel_ecc_enabled", &[]),
    ("/ecc_mode/current", 1.0, "habanalabs_ecc_feature_mode", &[]),
    ("/ecc/corrected_volatile", 1.0, "accel_ecc_errors_total", CORRECTED),
    ("/ecc/corrected_aggregate", 1.0, "accel_ecc_errors_total", CORRECTED_EVER),
    ("/ecc/uncorrected_volatile", 1.0, "accel_ecc_errors_total", UNCORRECTABLE),
    ("/sram/uncorrected_volatile", 1.0, "accel_sram_ecc_errors_total", UNCORRECTABLE),
    ("/rows/0", 1.0, "accel_memory_rows_remapped_total", &[("cause", "correctable")]),
    ("/rows/1", 1.0, "accel_memory_rows_remapped_total", &[("cause", "uncorrectable")]),
    ("/rows/0", 1.0, "habanalabs_pending_rows_with_single_bit_ecc_errors", &[]),
    ("/rows/1", 1.0, "habanalabs_pending_rows_with_double_bit_ecc_errors", &[]),
    ("/rows_pending", 1.0, "accel_memory_row_remap_pending", &[]),
    ("/rows_pending", 1.0, "habanalabs_pending_rows_state", &[]),
    ("/pcie/0", 1.0, "habanalabs_pcie_tx", &[]),
    ("/pcie/1", 1.0, "habanalabs_pcie_rx", &[]),
    ("/pcie/0", 1.0, "habanalabs_pcie_transmit_throughput", &[]),
    ("/replays", 1.0, "accel_pcie_replays_total", &[]),
    ("/replays", 1.0, "habanalabs_pcie_replay_count", &[]),
];

/// Calls that an older release of pyhlml does not have, so nothing is compared.
const NEWER: [&str; 3] = ["/power_limit", "/power_range/0", "/power_range/1"];

/// A machine with something of everything, whose library is of a release.
fn node(release: &str, seconds: u64, workload: &str) -> Result<(Node, tempfile::TempDir)> {
    let folder = tempfile::tempdir()?;
    let machine = folder.path().join("machine.toml");
    let version = release.rsplit_once('.').context("four numbers")?.0;
    fs::write(&machine, format!("extends = \"gaudi3-8\"\n[device.gaudi]\nhlml_version = \"{version}\"\n"))?;
    let node = Node::new(machine.to_str().context("UTF-8")?)?.frozen_at(seconds).workload(workload);
    node.control(&Control {
        ecc: vec![Ecc { device: 1, severity: Severity::Uncorrectable, scope: Scope::Sram, count: 2 }],
        rows: vec![Rows { device: 2, correctable: 3, uncorrectable: 1, pending: true, failure: false }],
        link: vec![Link { device: 3, link: 22, down: true, ..Link::default() }],
        ..Control::default()
    })?;
    Ok((node, folder))
}

fn dump(node: &Node, release: &str) -> Result<Value> {
    let mut command = node.command(python_env()?.join("bin/python"));
    command.env("PYTHONPATH", pyhlml(release)?).arg(repository().join("tests/clients/pyhlml_dump.py"));
    Ok(serde_json::from_str(&process::run(command.arg(node.library()))?.success()?)?)
}

fn compare(about: &str, theirs: &Value, ours: &Samples, index: &str) -> Result<usize> {
    let mut capped = theirs.clone();
    // Derived from power, it passes 100 when power passes its limit.
    capped["utilization"] = theirs["utilization"].as_u64().context("utilization")?.min(100).into();
    let device = format!("hpu{index}");
    let labels: [&[_]; 2] = [&[("device", device.as_str())], &[("id", index)]];
    let compared = client::compare(about, DEVICE, &capped, ours, labels, &NEWER)?;
    let throttle = theirs["throttle"].as_u64().context("throttle reasons")?;
    for (bit, reason) in [(1, "power"), (2, "thermal")] {
        let labels = [("device", &*device), ("reason", reason)];
        let active = ours.value("accel_throttle_active", &labels)?;
        ensure!((active == 1.0) == (throttle & bit != 0), "{about}: {throttle}, {reason} {active}");
    }
    let ports = theirs["ports"].as_object().context("ports")?;
    ensure!(ports.len() == 24, "{about}: {} ports", ports.len());
    for (port, state) in ports {
        let kind = if state["external"] == 1 { "external" } else { "internal" };
        let up = f64::from(u8::from(state["up"] == true));
        let unified = [("device", &*device), ("link", port), ("kind", &format!("roce_{kind}"))];
        ensure!(ours.value("accel_link_up", &unified)? == up, "{about}: port {port}");
        let vendor = [("id", index), ("port", port), ("port_type", kind)];
        ensure!(ours.value("habanalabs_nic_port_status", &vendor)? == up, "{about}: port {port}");
    }
    Ok(compared)
}

fn agrees(release: &str, seconds: u64, workload: &str) -> Result<()> {
    let (node, _folder) = node(release, seconds, workload)?;
    let ours = node.start(&[])?.settled()?;
    let theirs = dump(&node, release)?;
    ensure!(release.starts_with(theirs["hlml"].as_str().context("a version")?));
    let devices = theirs["devices"].as_array().context("devices")?;
    ensure!(devices.len() == 8 && ours.sum("accel_device_up", &[]) == 8.0);
    for (index, theirs) in devices.iter().enumerate() {
        let about = format!("{release} {workload} hpu{index}");
        let compared = compare(&about, theirs, &ours, &index.to_string())?;
        ensure!(compared >= DEVICE.len() - NEWER.len(), "{about}: only {compared} values compared");
        let device = format!("hpu{index}");
        let subject = [("device", device.as_str())];
        let info = ours.all("accel_device_info", &subject).next().context("identity")?;
        for (path, label) in [
            ("/name", "model"),
            ("/uuid", "uuid"),
            ("/serial", "serial"),
            ("/module", "module_id"),
            ("/fit", "fit_version"),
            ("/spi", "firmware_version"),
            ("/cpld", "cpld_version"),
            ("/pcb/pcb_ver", "pcb_version"),
            ("/pcb/pcb_assembly_ver", "pcb_assembly_version"),
        ] {
            let said = theirs.pointer(path).with_context(|| format!("{about}: {path}"))?;
            let said = said.as_str().map_or_else(|| said.to_string(), str::to_owned);
            ensure!(said == info.label(label), "{about}: {path} is {said}: {}", info.series);
        }
        let address = theirs["pci"]["bus_id"].as_str().context("an address")?;
        ensure!(address.ends_with(info.label("pci_bus_id")), "{about}: {address}: {}", info.series);
        ensure!(theirs["pci"]["caps"]["link_speed"] == "32 GT/s");
        let id = index.to_string();
        let speed = ours.value("habanalabs_pci_link_speed", &[("id", &id)])?;
        ensure!(speed == 32.0, "{about}: {speed}");
        ensure!(ours.value("accel_pcie_link_width", &[("device", &device)])? == 16.0);
    }
    Ok(())
}

#[test]
fn the_newest_release_agrees() -> Result<()> {
    agrees(PYHLML[0], e2e::INSTANT, "decode")?;
    // Over its power limit at one time, too hot at another.
    agrees(PYHLML[0], e2e::INSTANT + 30, "burst")?;
    agrees(PYHLML[0], e2e::INSTANT + 200, "hot")
}

#[test]
fn older_releases_agree() -> Result<()> {
    PYHLML[1..].iter().try_for_each(|release| agrees(release, e2e::INSTANT, "mixed"))
}

#[test]
fn structs_are_those_of_each_release() -> Result<()> {
    for release in PYHLML {
        let (node, _folder) = node(release, e2e::INSTANT, "idle")?;
        let theirs = dump(&node, release)?;
        let generation = Generation::of_version(release).context("a release")?;
        for layout in generation.layouts() {
            let defined = &theirs["layouts"][layout.name];
            ensure!(defined["size"] == layout.size, "{release} {}: {} bytes", layout.name, defined["size"]);
            let members: Vec<(String, usize, usize)> = serde_json::from_value(defined["members"].clone())?;
            let ours: Vec<_> =
                layout.members.iter().map(|(name, at, size)| ((*name).to_owned(), *at, *size)).collect();
            ensure!(members == ours, "{release} {}: {members:?}, ours {ours:?}", layout.name);
        }
    }
    Ok(())
}
