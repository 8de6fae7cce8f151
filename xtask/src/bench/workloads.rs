//! `cargo xtask bench workloads`: what it costs to know who holds a device, and to scrape over TLS.
//!
//! Eight H100 are shared by 100 pods. Each pod has a process in a control group of its own, as a container runtime would
//! make it, and the kubelet lists its UID and labels.

use std::{fs, process::Command, thread, time::Duration};

use anyhow::{Result, ensure};
use e2e::{Artefacts, Grouped, Kubelet, Node, Samples, eventually, process, skip::is_root};
use serde_json::{Value, json};
use sim::{Control, control::Processes};

use super::{
    Extent,
    measure::{CONNECTIONS, idle_ms_per_second, load},
    scrapes::mebibytes,
};
use crate::{
    setup,
    shell::{Build, build},
};

const MACHINE: &str = "h100-sxm-8";
const DEVICES: usize = 8;
const PODS: usize = 100;

/// The most that the exporter's memory may be while the pods are known.
const RESIDENT_MAX: u64 = 12 << 20;

/// The pods' labels that are exported.
const LABELS: &str = "app,team";

/// What was measured of one configuration.
struct Figures {
    name: &'static str,
    holders: usize,
    series: usize,
    idle_ms_per_second: f64,
    resident_idle: u64,
    resident_after: u64,
    /// Requests in a second and the 99th percentile: over one connection, over many, and over a new one each time.
    loads: [(f64, String); 3],
}

/// Measures the exporter without workloads, with them, and with them over TLS.
pub fn run(extent: Extent) -> Result<()> {
    ensure!(is_root(), "bench workloads: only root may make control groups");
    setup::run()?;
    build(Build::Release)?;
    let node = Node::with(Artefacts::release()?, MACHINE)?.workload("decode");
    let groups = (0..PODS).map(group).collect::<Result<Vec<_>>>()?;
    let of_device = |device| {
        let pids = groups.iter().skip(device).step_by(DEVICES).map(Grouped::id);
        Processes { device, pids: pids.collect() }
    };
    node.control(&Control { process: (0..DEVICES).map(of_device).collect(), ..Control::default() })?;
    let kubelet = Kubelet::start(&json!({"pods": [], "pod_info": true}))?;
    kubelet.set(&json!({"pods": (0..PODS).map(pod).collect::<Vec<_>>(), "pod_info": true}))?;
    let socket = kubelet.socket().display().to_string();
    let config = web_config(&node)?;
    let off = ["--workloads", "off"];
    let on = ["--kubelet.pod-resources-socket", &socket, "--kubernetes.pod-labels", LABELS];
    let tls = [&on[..], &["--web.config.file", &config]].concat();
    let all = [
        measure(&node, "workloads off", &off, "http", extent)?,
        measure(&node, "workloads on", &on, "http", extent)?,
        measure(&node, "workloads on, TLS", &tls, "https", extent)?,
    ];
    print_table(&all);
    Ok(())
}

/// The UID of a pod.
fn uid(number: usize) -> String {
    format!("8e2b6f8c-1111-2222-3333-{number:012}")
}

/// A pod with a slice of one of the devices, which the plugin names by its index.
fn pod(number: usize) -> Value {
    let slice = format!("{}::{}", number % DEVICES, number / DEVICES);
    let devices = json!([{"resource": "nvidia.com/gpu.shared", "ids": [slice]}]);
    json!({"namespace": "inference", "name": format!("llama-7f9c6d5b8-{number:05}"), "uid": uid(number),
           "labels": {"app": "llama", "team": format!("team-{}", number % 10)},
           "containers": [{"name": "server", "devices": devices}]})
}

/// A process of the pod.
fn group(number: usize) -> Result<Grouped> {
    let slice =
        format!("accelscope-bench/kubepods.slice/kubepods-pod{}.slice", uid(number).replace('-', "_"));
    Grouped::start(&format!("{slice}/cri-containerd-{number:064x}.scope"))
}

/// A web configuration with a certificate that OpenSSL has made.
fn web_config(node: &Node) -> Result<String> {
    let at = |name: &str| node.dir().join(name);
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]);
    openssl.args(["-subj", "/CN=bench", "-keyout", "bench.key", "-out", "bench.pem"]).current_dir(node.dir());
    process::run(&mut openssl)?.success()?;
    fs::write(at("web.yml"), "tls_server_config:\n  cert_file: bench.pem\n  key_file: bench.key\n")?;
    Ok(at("web.yml").display().to_string())
}

fn measure(node: &Node, name: &'static str, flags: &[&str], scheme: &str, extent: Extent) -> Result<Figures> {
    println!("bench: {name}");
    let mut exporter = node.launch(flags)?;
    exporter.process.quiet();
    let url = format!("{scheme}://{}/metrics", exporter.address);
    let expected = if flags.contains(&"off") { 0 } else { PODS };
    let samples = eventually("devices and their holders are read", || {
        exporter.process.ensure_running()?;
        let body = process::run(Command::new("curl").args(["--silent", "--fail", "--insecure", &url]))?;
        let samples = Samples::parse(&body.success()?)?;
        ensure!(samples.sum("accel_device_up", &[]) >= DEVICES as f64);
        let used = samples.all("accel_workload_memory_used_bytes", &[("workload_kind", "pod")]).count();
        ensure!(used == expected, "{used} pods use memory");
        Ok(samples)
    })?;
    // Start-up work is over after a few intervals, and the kubelet is asked every ten seconds.
    thread::sleep(Duration::from_secs(3));
    let idle_ms_per_second = idle_ms_per_second(&exporter.process, extent.idle())?;
    let resident_idle = exporter.process.resident_bytes()?;
    let loads = [
        load(&url, "1", None, extent)?,
        load(&url, CONNECTIONS, None, extent)?,
        load(&url, "1", Some("Connection: close"), extent)?,
    ];
    Ok(Figures {
        name,
        holders: samples.all("accel_workload_info", &[]).count(),
        series: samples.samples.len(),
        idle_ms_per_second,
        resident_idle,
        resident_after: exporter.process.resident_bytes()?,
        loads,
    })
}

fn print_table(all: &[Figures]) {
    let row = |name: &str, cell: &dyn Fn(&Figures) -> String| {
        print!("{name:<34}");
        for figures in all {
            print!("{:>24}", cell(figures));
        }
        println!();
    };
    println!();
    row(&format!("{MACHINE}, {PODS} pods"), &|f| f.name.to_owned());
    row("holders", &|f| f.holders.to_string());
    row("series", &|f| f.series.to_string());
    row("idle CPU, ms/s", &|f| format!("{:.2}", f.idle_ms_per_second));
    row("RSS idle, MiB", &|f| mebibytes(f.resident_idle));
    row("RSS after scrapes, MiB", &|f| mebibytes(f.resident_after));
    let names = ["one connection", &format!("{CONNECTIONS} connections"), "a connection for each scrape"];
    for (index, name) in names.into_iter().enumerate() {
        row(&format!("{name}, req/s"), &|f| format!("{:.0}", f.loads[index].0));
        row("  p99", &|f| f.loads[index].1.clone());
    }
    let with = &all[1];
    let verdict = if with.resident_idle <= RESIDENT_MAX { "" } else { "   missed" };
    println!(
        "\naim: RSS of {} MiB with workloads; {}{verdict}",
        mebibytes(RESIDENT_MAX),
        mebibytes(with.resident_idle)
    );
}
