//! NVIDIA's own Python client and a third party's exporter run unmodified on the simulated library, and
//! agree with the real binary: what we export is what NVML says, in other units.
//!
//! The machine's clock is frozen, so that three processes that read one after the other read the same.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::{
    Node, Process, Samples,
    artefacts::python_env,
    eventually,
    http::{self, Request},
    process::free_address,
};

const MEBIBYTE: f64 = 1_048_576.0;
const MEGAHERTZ: f64 = 1e6;
const PERCENT: f64 = 0.01;

/// A gauge of nvitop-exporter, the factor to our unit, and ours.
type Row = (&'static str, f64, &'static str, &'static [(&'static str, &'static str)]);

const NVITOP: [Row; 13] = [
    ("gpu_utilization_Percentage", PERCENT, "accel_utilization_ratio", &[]),
    ("gpu_memory_utilization_Percentage", PERCENT, "accel_memory_controller_active_ratio", &[]),
    ("gpu_decoder_utilization_Percentage", PERCENT, "accel_engine_active_ratio", &[("engine", "decode")]),
    ("gpu_memory_total_MiB", MEBIBYTE, "accel_memory_total_bytes", &[]),
    ("gpu_memory_used_MiB", MEBIBYTE, "accel_memory_used_bytes", &[]),
    ("gpu_memory_free_MiB", MEBIBYTE, "accel_memory_free_bytes", &[]),
    ("gpu_clock_sm_MHz", MEGAHERTZ, "accel_clock_hertz", &[("domain", "sm")]),
    ("gpu_clock_memory_MHz", MEGAHERTZ, "accel_clock_hertz", &[("domain", "memory")]),
    ("gpu_clock_graphics_MHz", MEGAHERTZ, "accel_clock_hertz", &[("domain", "graphics")]),
    ("gpu_clock_video_MHz", MEGAHERTZ, "accel_clock_hertz", &[("domain", "video")]),
    ("gpu_power_usage_W", 1.0, "accel_power_watts", &[]),
    ("gpu_power_limit_W", 1.0, "accel_power_limit_watts", &[("limit", "requested")]),
    ("gpu_temperature_C", 1.0, "accel_temperature_celsius", &[("sensor", "gpu")]),
];

/// Equal but for the last bits, which a conversion by a factor that is no power of two may cost.
fn agree(theirs: f64, ours: f64) -> bool {
    (theirs - ours).abs() <= ours.abs() * 1e-12
}

#[test]
fn nvitop_exporter_agrees() -> Result<()> {
    for workload in ["decode", "hot"] {
        let node = Node::new("h100-sxm-8")?.frozen().workload(workload);
        let ours = node.start(&[])?.settled()?;
        let address = free_address()?;
        let mut command: Command = node.command(python_env()?.join("bin/nvitop-exporter"));
        command.env("LD_LIBRARY_PATH", node.dir());
        command.args(["--bind-address", &address.ip().to_string(), "--port", &address.port().to_string()]);
        let mut nvitop = Process::spawn("nvitop-exporter", &mut command)?;
        let theirs = eventually("nvitop-exporter has read every device", || {
            nvitop.ensure_running()?;
            let samples = Samples::parse(http::send(address, Request::get("/metrics"))?.ok()?.text()?)?;
            ensure!(samples.all("gpu_temperature_C", &[]).count() == 8);
            Ok(samples)
        })?;
        for gpu in theirs.all("gpu_temperature_C", &[]) {
            let device = format!("gpu{}", gpu.label("index"));
            let identity = [("device", device.as_str()), ("uuid", gpu.label("uuid"))];
            let info = ours.all("accel_device_info", &identity).next().context(device.clone())?;
            ensure!(info.label("model") == gpu.label("devicename"), "{} and {}", gpu.series, info.series);
            for (name, factor, metric, labels) in NVITOP {
                let value = theirs.value(name, &[("uuid", gpu.label("uuid"))])? * factor;
                let own = ours.value(metric, &[&identity[..], labels].concat())?;
                ensure!(
                    agree(value, own),
                    "{workload} {device}: {name} says {value}, {metric}{labels:?} {own}"
                );
            }
        }
    }
    Ok(())
}
