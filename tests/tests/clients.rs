//! NVIDIA's own Python client and a third party's exporter run unmodified on the simulated library, and
//! agree with the real binary: what we export is what NVML says, in other units.
//!
//! The machine's clock is frozen, so that three processes that read one after the other read the same.

#![expect(clippy::float_cmp, reason = "whole numbers and flags are told exactly")]

use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::{
    INSTANT, Node, Process, Samples,
    artefacts::{python_env, repository},
    client::{CORRECTED, CORRECTED_EVER, Row, agree, compare},
    eventually,
    http::{self, Request},
    process::{self, free_address},
};
use serde_json::Value;
use sim::{
    Control,
    control::{Fabric, Link, PowerProfile, Repair, Repairable},
};

const KIBIBYTE: f64 = 1024.0;
const MEBIBYTE: f64 = 1_048_576.0;
const MEGAHERTZ: f64 = 1e6;
const PERCENT: f64 = 1e-2;
const MILLI: f64 = 1e-3;
const NANO: f64 = 1e-9;

/// What nvidia-ml-py reads of a device: a path into what `pynvml_dump.py` prints.
const DEVICE: &[Row] = &[
    ("/memory/total", 1.0, "accel_memory_total_bytes", &[]),
    ("/memory/used", 1.0, "accel_memory_used_bytes", &[]),
    ("/memory/free", 1.0, "accel_memory_free_bytes", &[]),
    ("/memory/reserved", 1.0, "accel_memory_reserved_bytes", &[]),
    ("/bar1/bar1Total", 1.0, "accel_bar1_memory_total_bytes", &[]),
    ("/bar1/bar1Used", 1.0, "accel_bar1_memory_used_bytes", &[]),
    ("/power/usage", MILLI, "accel_power_watts", &[]),
    ("/power/usage", MILLI, "DCGM_FI_DEV_POWER_USAGE", &[]),
    ("/power/enforced", MILLI, "accel_power_limit_watts", &[("limit", "enforced")]),
    ("/power/limit", MILLI, "accel_power_limit_watts", &[("limit", "requested")]),
    ("/power/default", MILLI, "accel_power_limit_watts", &[("limit", "default")]),
    ("/power/constraints/0", MILLI, "accel_power_limit_watts", &[("limit", "min")]),
    ("/power/constraints/1", MILLI, "accel_power_limit_watts", &[("limit", "max")]),
    ("/power/energy", MILLI, "accel_energy_joules_total", &[]),
    ("/power/energy", 1.0, "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", &[]),
    ("/temperature/gpu", 1.0, "DCGM_FI_DEV_GPU_TEMP", &[]),
    ("/temperature/margin", 1.0, "accel_temperature_margin_celsius", &[]),
    ("/temperature/thresholds/slowdown", 1.0, "accel_temperature_limit_celsius", &[("limit", "slowdown")]),
    ("/temperature/thresholds/shutdown", 1.0, "accel_temperature_limit_celsius", &[("limit", "shutdown")]),
    ("/utilization/gpu", PERCENT, "accel_utilization_ratio", &[]),
    ("/utilization/gpu", 1.0, "DCGM_FI_DEV_GPU_UTIL", &[]),
    ("/utilization/memory", PERCENT, "accel_memory_controller_active_ratio", &[]),
    ("/encoder/0", PERCENT, "accel_engine_active_ratio", &[("engine", "encode")]),
    ("/decoder/0", PERCENT, "accel_engine_active_ratio", &[("engine", "decode")]),
    ("/jpeg/0", PERCENT, "accel_engine_active_ratio", &[("engine", "jpeg")]),
    ("/optical_flow/0", PERCENT, "accel_engine_active_ratio", &[("engine", "optical_flow")]),
    ("/clocks/sm", MEGAHERTZ, "accel_clock_hertz", &[("domain", "sm")]),
    ("/clocks/sm", 1.0, "DCGM_FI_DEV_SM_CLOCK", &[]),
    ("/clocks/memory", MEGAHERTZ, "accel_clock_hertz", &[("domain", "memory")]),
    ("/clocks/graphics", MEGAHERTZ, "accel_clock_hertz", &[("domain", "graphics")]),
    ("/clocks/video", MEGAHERTZ, "accel_clock_hertz", &[("domain", "video")]),
    ("/clocks_max/sm", MEGAHERTZ, "accel_clock_max_hertz", &[("domain", "sm")]),
    ("/clocks_max/memory", MEGAHERTZ, "accel_clock_max_hertz", &[("domain", "memory")]),
    ("/performance_state", 1.0, "accel_performance_state", &[]),
    ("/event_reasons", 1.0, "DCGM_FI_DEV_CLOCKS_EVENT_REASONS", &[]),
    ("/pcie/generation", 1.0, "accel_pcie_link_generation", &[]),
    ("/pcie/width_max", 1.0, "accel_pcie_link_width_max", &[]),
    ("/pcie/replays", 1.0, "accel_pcie_replays_total", &[]),
    ("/ecc_mode/0", 1.0, "accel_ecc_enabled", &[]),
    ("/mig_mode/0", 1.0, "accel_mig_enabled", &[]),
    ("/ecc/corrected_volatile", 1.0, "accel_ecc_errors_total", CORRECTED),
    ("/ecc/corrected_aggregate", 1.0, "accel_ecc_errors_total", CORRECTED_EVER),
    ("/ecc/uncorrected_volatile", 1.0, "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", &[]),
    ("/ecc/uncorrected_aggregate", 1.0, "DCGM_FI_DEV_ECC_DBE_AGG_TOTAL", &[]),
    ("/row_histogram/max", 1.0, "accel_memory_row_remap_banks", &[("availability", "max")]),
    ("/links/3/active", 1.0, "accel_link_up", &[("link", "3"), ("kind", "nvlink")]),
    ("/repair/0", 1.0, "accel_repair_pending", &[("kind", "memory_channel")]),
    ("/repair/1", 1.0, "accel_repair_pending", &[("kind", "tpc")]),
    ("/unrepairable", 1.0, "accel_memory_unrepairable", &[]),
    ("/sram_locations", 1.0, "accel_sram_uncorrectable_locations", &[]),
    // Field values, by number.
    ("/fields/29", 1.0, "accel_memory_pages_retired_total", &[("cause", "single_bit")]),
    ("/fields/74", NANO, "accel_throttle_seconds_total", &[("reason", "sw_power_cap")]),
    ("/fields/75", NANO, "accel_throttle_seconds_total", &[("reason", "thermal")]),
    ("/fields/75", 1.0, "DCGM_FI_DEV_THERMAL_VIOLATION", &[]),
    ("/fields/82", 1.0, "accel_temperature_celsius", &[("sensor", "memory")]),
    ("/fields/142", 1.0, "accel_memory_rows_remapped_total", &[("cause", "correctable")]),
    ("/fields/143", 1.0, "accel_memory_rows_remapped_total", &[("cause", "uncorrectable")]),
    ("/fields/144", 1.0, "accel_memory_row_remap_pending", &[]),
    ("/fields/173", 1.0, "accel_pcie_errors_total", &[("error", "correctable")]),
    ("/fields/176", 1.0, "accel_pcie_errors_total", &[("error", "bad_tlp")]),
    ("/fields/177", 1.0, "accel_pcie_errors_total", &[("error", "nak_sent")]),
    ("/fields/180", 1.0, "accel_pcie_errors_total", &[("error", "fatal")]),
    ("/fields/186", MILLI, "accel_power_instant_watts", &[]),
    ("/fields/193", 1.0, "accel_temperature_margin_limit_celsius", &[("limit", "shutdown")]),
    ("/fields/194", 1.0, "accel_temperature_margin_limit_celsius", &[("limit", "slowdown")]),
    ("/fields/195", 1.0, "accel_temperature_margin_limit_celsius", &[("limit", "memory_operating")]),
    ("/fields/196", 1.0, "accel_temperature_margin_limit_celsius", &[("limit", "operating")]),
    ("/fields/301", 1.0, "accel_memory_rows_remapped_inactive", &[("cause", "correctable")]),
    ("/fields/197", 1.0, "accel_link_transmit_bytes_total", &[("kind", "pcie")]),
    ("/fields/198", 1.0, "accel_link_receive_bytes_total", &[("kind", "pcie")]),
    (
        "/links/3/fields/138:3",
        KIBIBYTE,
        "accel_link_transmit_bytes_total",
        &[("link", "3"), ("kind", "nvlink")],
    ),
    (
        "/links/3/fields/139:3",
        KIBIBYTE,
        "accel_link_receive_bytes_total",
        &[("link", "3"), ("kind", "nvlink")],
    ),
];

/// What nvidia-ml-py reads of a device from Blackwell on.
const BLACKWELL: &[Row] = &[
    ("/links/3/fields/221:3", 1.0, "accel_link_symbol_errors_total", &[("link", "3"), ("kind", "nvlink")]),
    (
        "/links/3/fields/211:3",
        1.0,
        "accel_link_errors_total",
        &[("link", "3"), ("kind", "nvlink"), ("error", "local_integrity")],
    ),
    (
        "/links/3/fields/214:3",
        1.0,
        "accel_link_errors_total",
        &[("link", "3"), ("kind", "nvlink"), ("error", "link_recovery_failed")],
    ),
    (
        "/links/3/fields/215:3",
        1.0,
        "accel_link_errors_total",
        &[("link", "3"), ("kind", "nvlink"), ("error", "link_recovery")],
    ),
    ("/links/3/fields/289:3", 1.0, "accel_link_raw_errors_total", &[("link", "3"), ("lane", "0")]),
    ("/links/3/fields/290:3", 1.0, "accel_link_raw_errors_total", &[("link", "3"), ("lane", "1")]),
    ("/links/3/fields/294:3", 1.0, "accel_link_transmit_blocks_total", &[("link", "3")]),
    ("/links/3/fields/295:3", 1.0, "accel_link_retransmit_blocks_total", &[("link", "3")]),
    ("/links/4/fields/296:4", 1e6, "accel_link_data_bandwidth_bytes_per_second", &[("link", "4")]),
    ("/fields/308", 1.0, "accel_temperature_celsius", &[("sensor", "gpu")]),
    ("/gpm/248", 1.0, "accel_sm_cycles_total", &[]),
    ("/gpm/248", 1.0, "DCGM_FI_PROF_SM_CYCLES_ELAPSED_TOTAL", &[]),
    ("/gpm/249", 1.0, "accel_engine_active_cycles_total", &[("engine", "sm")]),
    ("/gpm/250", 1.0, "accel_engine_active_cycles_total", &[("engine", "tensor")]),
    ("/gpm/251", 1.0, "accel_engine_active_cycles_total", &[("engine", "tensor_dmma")]),
    ("/gpm/252", 1.0, "accel_engine_active_cycles_total", &[("engine", "tensor_hmma")]),
    ("/gpm/253", 1.0, "accel_engine_active_cycles_total", &[("engine", "tensor_imma")]),
    ("/gpm/254", 1.0, "accel_engine_active_cycles_total", &[("engine", "tensor_dfma")]),
    ("/gpm/257", 1.0, "accel_engine_active_cycles_total", &[("engine", "int")]),
    ("/gpm/258", 1.0, "accel_engine_active_cycles_total", &[("engine", "fp64")]),
    ("/gpm/259", 1.0, "accel_engine_active_cycles_total", &[("engine", "fp32")]),
    ("/gpm/260", 1.0, "accel_engine_active_cycles_total", &[("engine", "fp16")]),
    ("/gpm/260", 1.0, "DCGM_FI_PROF_FP16_CYCLES_ACTIVE_TOTAL", &[]),
    ("/gpm/160", PERCENT, "accel_cache_hit_ratio", &[("cache", "host")]),
    ("/gpm/162", PERCENT, "accel_cache_hit_ratio", &[("cache", "peer")]),
    ("/gpm/164", PERCENT, "accel_cache_hit_ratio", &[("cache", "dram")]),
    ("/gpm/174", PERCENT, "accel_context_switch_active_ratio", &[]),
];

/// What nvidia-ml-py reads of a device or an instance by GPM, by number of the metric.
const GPM: &[Row] = &[
    ("/gpm/1", PERCENT, "accel_engine_active_ratio", &[("engine", "graphics")]),
    ("/gpm/2", PERCENT, "accel_engine_active_ratio", &[("engine", "sm")]),
    ("/gpm/2", PERCENT, "DCGM_FI_PROF_SM_ACTIVE", &[]),
    ("/gpm/3", PERCENT, "accel_sm_occupancy_ratio", &[]),
    ("/gpm/4", PERCENT, "accel_engine_active_ratio", &[("engine", "int")]),
    ("/gpm/5", PERCENT, "accel_engine_active_ratio", &[("engine", "tensor")]),
    ("/gpm/5", PERCENT, "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", &[]),
    ("/gpm/7", PERCENT, "accel_engine_active_ratio", &[("engine", "tensor_hmma")]),
    ("/gpm/10", PERCENT, "accel_memory_bandwidth_active_ratio", &[]),
    ("/gpm/10", PERCENT, "DCGM_FI_PROF_DRAM_ACTIVE", &[]),
    ("/gpm/11", PERCENT, "accel_engine_active_ratio", &[("engine", "fp64")]),
    ("/gpm/12", PERCENT, "accel_engine_active_ratio", &[("engine", "fp32")]),
    ("/gpm/13", PERCENT, "accel_engine_active_ratio", &[("engine", "fp16")]),
    ("/gpm/20", MEBIBYTE, "DCGM_FI_PROF_PCIE_TX_BYTES", &[]),
    ("/gpm/21", MEBIBYTE, "DCGM_FI_PROF_PCIE_RX_BYTES", &[]),
    ("/gpm/61", MEBIBYTE, "DCGM_FI_PROF_NVLINK_TX_BYTES", &[]),
    ("/gpm/60", MEBIBYTE, "DCGM_FI_PROF_NVLINK_RX_BYTES", &[]),
];

/// What nvidia-ml-py reads of an instance.
const INSTANCE: &[Row] = &[
    ("/memory/total", 1.0, "accel_memory_total_bytes", &[]),
    ("/memory/used", 1.0, "accel_memory_used_bytes", &[]),
    ("/memory/used", 1.0 / MEBIBYTE, "DCGM_FI_DEV_FB_USED", &[]),
];

/// Bits of NVML's mask of clock event reasons, and our words for them.
const REASONS: [(u64, &str); 8] = [
    (0x01, "idle"),
    (0x02, "app_clocks"),
    (0x04, "sw_power_cap"),
    (0x08, "hw_slowdown"),
    (0x10, "sync_boost"),
    (0x20, "sw_thermal"),
    (0x40, "hw_thermal"),
    (0x80, "hw_power_brake"),
];

/// Gauges of nvitop-exporter.
const NVITOP: &[Row] = &[
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

fn dump(node: &Node) -> Result<Value> {
    let mut command = node.command(python_env()?.join("bin/python"));
    command.env("LD_LIBRARY_PATH", node.dir());
    let printed = process::run(command.arg(repository().join("tests/clients/pynvml_dump.py")))?.success()?;
    Ok(serde_json::from_str(&printed)?)
}

fn text<'a>(value: &'a Value, path: &str) -> Result<&'a str> {
    value.pointer(path).and_then(Value::as_str).with_context(|| format!("no {path} in {value}"))
}

/// Compares every device of a machine; returns all reasons that any of them gave for its clocks.
fn pynvml_agrees(machine: &str, workload: &str, seconds: u64) -> Result<u64> {
    let mut reasons = 0;
    let node = Node::new(machine)?.frozen_at(seconds).workload(workload);
    let ours = node.start(&[])?.settled()?;
    let dump = dump(&node)?;
    let devices = dump["devices"].as_array().context("devices")?;
    ensure!(ours.sum("accel_device_up", &[]) == devices.len() as f64);
    for (index, theirs) in devices.iter().enumerate() {
        let about = format!("{machine} {workload} gpu{index}");
        let (device, gpu) = (format!("gpu{index}"), index.to_string());
        let unified = [("device", device.as_str()), ("partition", "")];
        let vendor = [("gpu", gpu.as_str()), ("GPU_I_ID", "")];
        let compared = compare(&about, DEVICE, theirs, &ours, [&unified, &vendor], &[])?
            + compare(&about, GPM, theirs, &ours, [&unified, &vendor], &[])?;
        ensure!(compared > 30, "{about}: only {compared} values compared");

        let info = ours.all("accel_device_info", &unified).next().context("identity")?;
        for (path, label) in [
            ("/name", "model"),
            ("/uuid", "uuid"),
            ("/serial", "serial"),
            ("/vbios", "firmware_version"),
            ("/board_part_number", "board_part_number"),
        ] {
            ensure!(
                theirs.pointer(path).and_then(Value::as_str).unwrap_or_default() == info.label(label),
                "{about}: {path}"
            );
        }
        ensure!(text(&dump, "/driver")? == info.label("driver_version"));
        ensure!(
            text(theirs, "/pci/busId")?.to_lowercase().ends_with(info.label("pci_bus_id")),
            "{}",
            info.series
        );

        let mask = theirs["event_reasons"].as_u64().context("reasons")?;
        reasons |= mask;
        for (bit, reason) in REASONS {
            let labels = [&unified[..], &[("reason", reason)]].concat();
            for sample in ours.all("accel_throttle_active", &labels) {
                ensure!((sample.value == 1.0) == (mask & bit != 0), "{about}: {mask:#x}, {}", sample.series);
            }
        }

        let instances = theirs["instances"].as_array().map_or(&[][..], Vec::as_slice);
        for theirs in instances {
            let id = theirs["gpu_instance"].as_u64().context("an instance has an id")?;
            let (partition, id) = (format!("gi{id}"), id.to_string());
            let about = format!("{about} {partition}");
            let unified = [("device", device.as_str()), ("partition", partition.as_str())];
            let vendor = [("gpu", gpu.as_str()), ("GPU_I_ID", id.as_str())];
            compare(&about, INSTANCE, theirs, &ours, [&unified, &vendor], &[])?;
            let compared = compare(&about, GPM, theirs, &ours, [&unified, &vendor], &[])?;
            ensure!(compared > 10, "{about}: only {compared} GPM values compared");
        }
    }
    Ok(reasons)
}

#[test]
fn pynvml_agrees_on_h100() -> Result<()> {
    pynvml_agrees("h100-sxm-8", "decode", INSTANT)?;
    // Too hot for its clocks at one time, too much power at another.
    let mut reasons = 0;
    for seconds in [INSTANT, INSTANT + 200] {
        reasons |= pynvml_agrees("h100-sxm-4", "hot", seconds)?;
    }
    ensure!(reasons.count_ones() >= 2, "a hot machine gives several reasons: {reasons:#x}");
    Ok(())
}

#[test]
fn pynvml_agrees_on_instances() -> Result<()> {
    pynvml_agrees("h100-mig", "prefill", INSTANT)?;
    Ok(())
}

#[test]
fn pynvml_agrees_on_newer_parts() -> Result<()> {
    pynvml_agrees("b200-8", "decode", INSTANT)?;
    let node = Node::new("b200-8")?.frozen().workload("decode");
    node.control(&Control {
        link: vec![Link { device: 1, link: 3, down: true, recoveries: 4, crc_errors: 9, ..Link::default() }],
        fabric: vec![Fabric { device: 1, status: 23, clique: 7, ..Fabric::default() }],
        repair: vec![Repair {
            device: 1,
            pending: vec![Repairable::Tpc],
            unrepairable: true,
            sram_locations: 5,
            ..Repair::default()
        }],
        power_profile: vec![PowerProfile { device: 1, requested: vec![6, 1], enforced: vec![6] }],
        ..Control::default()
    })?;
    let ours = node.start(&[])?.settled()?;
    let dump = dump(&node)?;
    let theirs = &dump["devices"][1];
    let unified = [("device", "gpu1"), ("partition", "")];
    let rows = [DEVICE, BLACKWELL].concat();
    let compared = compare("b200-8 gpu1", &rows, theirs, &ours, [&unified, &[("gpu", "1")]], &[])?;
    ensure!(compared > 60, "only {compared} values compared");

    let number = |path: &str| theirs.pointer(path).and_then(Value::as_u64).with_context(|| path.to_owned());
    // The fabric, by the newest call and by the one before.
    let info = ours.all("accel_fabric_info", &unified).next().context("the fabric")?;
    for path in ["/fabric_v4/cliques/0/id", "/fabric/cliqueId"] {
        ensure!(number(path)?.to_string() == info.label("clique_id"), "{path}");
    }
    ensure!(number("/fabric_v4/status")? == 23 && number("/fabric/status")? == 23);
    ensure!(info.label("registration_status") == "NVML_ERROR_INSUFFICIENT_RESOURCES", "{}", info.series);
    let platform = ours.all("accel_platform_info", &unified).next().context("the platform")?;
    for (path, label) in [
        ("/platform/slotNumber", "slot"),
        ("/platform/trayIndex", "tray"),
        ("/platform/moduleId", "module_id"),
    ] {
        ensure!(number(path)?.to_string() == platform.label(label), "{path}: {}", platform.series);
    }
    for (profile, bit) in [("llm_inference", 6), ("max_q", 1), ("max_p", 0)] {
        for (mask, metric) in [
            ("/power_profiles/requestedProfilesMask/mask/0", "accel_power_profile_requested"),
            ("/power_profiles/enforcedProfilesMask/mask/0", "accel_power_profile_enforced"),
        ] {
            let set = number(mask)? >> bit & 1;
            let value = ours.value(metric, &[unified[0], ("profile", profile)])?;
            ensure!(value == set as f64, "{metric} {profile}: {value} and {set}");
        }
    }
    for (bin, field) in [("0", 235), ("15", 250)] {
        let of_link = |link: u64| number(&format!("/links/{link}/fields/{field}:{link}"));
        let sum = (0..18).map(of_link).sum::<Result<u64>>()?;
        let value = ours.value("accel_link_fec_corrected_total", &[unified[0], ("bin", bin)])?;
        ensure!(value == sum as f64, "bin {bin}: {value} and {sum}");
    }
    for (field, metric, lane) in [
        (220, "accel_link_bit_error_ratio", &[][..]),
        (291, "accel_link_raw_bit_error_ratio", &[("lane", "0")]),
        (292, "accel_link_raw_bit_error_ratio", &[("lane", "1")]),
        (293, "accel_link_raw_bit_error_ratio", &[("lane", "all")]),
    ] {
        let packed = number(&format!("/links/3/fields/{field}:3"))?;
        let ratio = (packed >> 8 & 0xf) as f64 * 10f64.powi(-i32::try_from(packed & 0xff)?);
        let value = ours.value(metric, &[&[unified[0], ("link", "3"), ("kind", "nvlink")], lane].concat())?;
        ensure!((value - ratio).abs() < ratio * 1e-9, "{field}: {value} and {ratio}");
    }
    Ok(())
}

#[test]
fn pynvml_agrees_on_older_parts() -> Result<()> {
    pynvml_agrees("a100-8", "mixed", INSTANT)?;
    pynvml_agrees("t4-1", "idle", INSTANT)?;
    Ok(())
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
            // It fills its gauges one by one while it already serves.
            for (name, ..) in NVITOP {
                let devices = samples.all(name, &[]).count();
                ensure!(devices == 8, "{name} of {devices} devices");
            }
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
                    agree(value, own, metric),
                    "{workload} {device}: {name} says {value}, {metric}{labels:?} {own}"
                );
            }
        }
    }
    Ok(())
}
