//! What machines show that people posted: what they lack has a reason, and what they have is found.

#![expect(clippy::float_cmp, reason = "counts are printed and parsed exactly")]

use std::fs;

use anyhow::{Context, Result, ensure};
use e2e::Node;
use serde_json::Value;

use crate::xpu::metric_of;

const KERNEL: &[&str] = &["--xpu.backend", "kernel"];

/// What a machine lacks, the file or call, and the code.
type Lack = (&'static str, &'static str, &'static str);

/// By machine.
const LACKS: &[(&str, &[Lack])] = &[
    (
        "nuc-lunar-lake",
        &[
            ("accel_temperature_celsius", "temp_input", "integrated"),
            ("accel_temperature_limit_celsius", "temp_crit", "integrated"),
            ("accel_power_limit_watts", "power_cap", "integrated"),
            ("accel_fan_speed_rpm", "fan_input", "integrated"),
            ("accel_pcie_link_generation", "current_link_speed", "integrated"),
            ("accel_link_receive_bytes_total", "level_zero", "integrated"),
            ("accel_errors_total", "level_zero", "needs_xpu_backend"),
        ],
    ),
    (
        "arc-b580-linux-6.16",
        &[
            ("accel_temperature_limit_celsius", "temp_crit", "ENOENT"),
            ("accel_power_limit_watts", "power_cap", "ENOENT"),
            ("accel_fan_speed_ratio", "level_zero", "needs_xpu_backend"),
            ("accel_link_up", "level_zero", "needs_xpu_backend"),
            ("accel_errors_total", "level_zero", "needs_xpu_backend"),
        ],
    ),
    (
        "arc-a770-linux-6.8",
        &[
            ("accel_temperature_celsius", "temp_input", "ENOENT"),
            ("accel_temperature_limit_celsius", "temp_crit", "ENOENT"),
            ("accel_fan_speed_rpm", "fan_input", "ENOENT"),
        ],
    ),
];

#[test]
fn what_a_machine_lacks_has_a_reason_and_an_advice() -> Result<()> {
    for (machine, lacks) in LACKS {
        let report =
            Node::new(machine)?.only("xpu").frozen().run("probe", &[KERNEL, &["--json"]].concat())?;
        let report: Value = serde_json::from_str(&report.stdout)?;
        let device = report["sources"][0]["devices"][0]["labels"]["device"].as_str().context("a device")?;
        for (name, call, code) in *lacks {
            let metric = metric_of(&report, device, name)?;
            let absent = &metric["absent"][0];
            ensure!(absent["call"] == *call && absent["code"] == *code, "{machine}: {metric}");
            ensure!(absent["meaning"].is_string() && absent["what_to_do"].is_string(), "{machine}: {metric}");
        }
    }
    Ok(())
}

#[test]
fn a_card_behind_its_own_switch_has_the_link_of_the_slot() -> Result<()> {
    for (machine, generation, width) in [("arc-a770", 4.0, 16.0), ("arc-b580", 4.0, 8.0)] {
        let node = Node::new(machine)?.only("xpu").frozen();
        let samples = node.start(KERNEL)?.settled()?;
        let gpu = fs::read_dir(node.sysfs().join("bus/pci/drivers"))?
            .flatten()
            .flat_map(|driver| fs::read_dir(driver.path()).into_iter().flatten().flatten())
            .find(|entry| entry.path().join("max_link_width").exists())
            .context("a GPU")?;
        let inside = fs::read_to_string(gpu.path().join("max_link_width"))?;
        ensure!(inside.trim() == "1", "{machine}: the GPU's own link is inside the card: {inside}");
        ensure!(samples.value("accel_pcie_link_generation", &[])? == generation, "{machine}");
        ensure!(samples.value("accel_pcie_link_width_max", &[])? == width, "{machine}");
    }
    Ok(())
}
