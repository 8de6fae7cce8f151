//! `cargo xtask bench scrapes`: what a scrape costs, ours beside other exporters', in one run on one machine.
//!
//! All that read NVML read the same simulated `h100-sxm-8`; Prometheus' own node exporter stands for what
//! the field takes as cheap, also beside our exporter on machines of other vendors, where no other exporter
//! runs on what is simulated. Everything is on loopback and bounded in count and time.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use anyhow::{Context, Result};
use e2e::{Artefacts, Node, artefacts::python_env, process::free_address};

use super::{
    Extent,
    measure::{CONNECTIONS, Figures, Subject, measure},
};
use crate::{
    release, setup,
    shell::{Build, build, on_path},
};

const MACHINE: &str = "h100-sxm-8";

/// The exporter whose cost the field takes as cheap.
const PEER: &str = "node_exporter";

/// Another build of accelscope, which runs beside this one.
const OLD: &str = "old build";

/// Machines of other vendors, and the exporter there: column, machine, flags.
const MACHINES: [(&str, &str, &[&str]); 5] = [
    ("gaudi3-8", "gaudi3-8", &[]),
    ("battlematrix-8, kernel", "battlematrix-8", &["--xpu.backend", "kernel"]),
    ("the same, all sources", "battlematrix-8", &["--xpu.backend", "auto"]),
    ("nuc-lunar-lake", "nuc-lunar-lake", &[]),
    ("xeon6-amx", "xeon6-amx", &[]),
];

/// What every machine shows once its devices were read.
const MARKER: &str = "accel_energy_joules_total{";

/// Measures every exporter that is there, one after the other, and prints the tables and the aims. `old` is the path of
/// another build of accelscope, which is measured on the same machines.
pub fn run(extent: Extent, old: Option<&Path>) -> Result<()> {
    setup::run()?;
    build(Build::Release)?;
    let artefacts = Artefacts::release()?;
    let binary_bytes = fs::metadata(artefacts.binary("accelscope")?)?.len();

    let node = Node::with(artefacts.clone(), MACHINE)?;
    let mut exporters =
        subjects(&node)?.into_iter().map(|subject| measure(subject, extent)).collect::<Result<Vec<_>>>()?;
    let old_on = |node: &Node, flags| {
        old.map(|program| measure(accelscope(node, OLD, Some(program), flags)?, extent)).transpose()
    };
    if let Some(figures) = old_on(&node, &[])? {
        exporters.insert(1, figures);
    }
    drop(node);
    let machines = MACHINES
        .iter()
        .map(|(column, machine, flags)| {
            let node = Node::with(artefacts.clone(), machine)?;
            Ok((measure(accelscope(&node, column, None, flags)?, extent)?, old_on(&node, flags)?))
        })
        .collect::<Result<Vec<_>>>()?;

    println!(
        "\nSimulated libraries run inside those that read them, so their idle CPU and memory include them.\n\
         In parentheses: how many times what the first column has.\n"
    );
    print_table(MACHINE, &exporters.iter().collect::<Vec<_>>());
    print_aims(&exporters, binary_bytes)?;
    if let Some(old) = old {
        println!("{:<26}{:>12} bytes, {:.2} x", OLD, fs::metadata(old)?.len(), {
            binary_bytes as f64 / fs::metadata(old)?.len() as f64
        });
    }
    println!();
    let peer = exporters.iter().find(|figures| figures.name == PEER).context("it ran")?;
    let ours = machines.iter().map(|(figures, _)| figures);
    print_table("accelscope on", &[peer].into_iter().chain(ours).collect::<Vec<_>>());
    for (figures, old) in &machines {
        if let Some(old) = old {
            println!();
            print_table(figures.name, &[old, figures]);
        }
    }
    Ok(())
}

/// Accelscope, this build or the program at `other`, on a simulated machine.
fn accelscope(node: &Node, name: &'static str, other: Option<&Path>, flags: &[&str]) -> Result<Subject> {
    let address = free_address()?;
    let mut command = node.accelscope("serve", &["--web.listen-address", &address.to_string()])?;
    command.args(flags);
    if let Some(program) = other {
        let mut same = node.command(program);
        same.args(command.get_args())
            .envs(command.get_envs().filter_map(|(name, value)| value.map(|value| (name, value))));
        command = same;
    }
    Ok(Subject { name, command, address, marker: MARKER })
}

fn subjects(node: &Node) -> Result<Vec<Subject>> {
    let on_machine = |mut command: Command| {
        command.env("LD_LIBRARY_PATH", node.dir());
        command
    };
    let mut subjects = vec![accelscope(node, "accelscope", None, &[])?];

    let address = free_address()?;
    let mut command = Command::new("prometheus-node-exporter");
    command.arg(format!("--web.listen-address={address}"));
    subjects.push(Subject { name: PEER, command, address, marker: "node_cpu_seconds_total{" });

    let address = free_address()?;
    let mut command = on_machine(node.command(python_env()?.join("bin/nvitop-exporter")));
    command.args(["--bind-address", &address.ip().to_string(), "--port", &address.port().to_string()]);
    subjects.push(Subject { name: "nvitop-exporter", command, address, marker: "gpu_power_usage_W{" });

    if on_path("all-smi") {
        // It asks a program whether there is a GPU at all before it opens the library; and it binds
        // 0.0.0.0, whatever address is asked for.
        let bin = node.dir().join("bin");
        fs::create_dir(&bin)?;
        fs::write(bin.join("nvidia-smi"), "#!/bin/sh\necho 'GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-0)'\n")?;
        fs::set_permissions(bin.join("nvidia-smi"), fs::Permissions::from_mode(0o755))?;
        let path = std::env::var("PATH")?;
        let address = free_address()?;
        let mut command = on_machine(node.command("all-smi"));
        command.env("PATH", format!("{}:{path}", bin.display()));
        command.args(["api", "--port", &address.port().to_string()]);
        subjects.push(Subject { name: "all-smi", command, address, marker: "all_smi_gpu_utilization{" });
    }
    Ok(subjects)
}

/// A row of the table: what it is called, how a figure is printed, and the number for the ratio.
type Row = (&'static str, fn(&Figures) -> String, fn(&Figures) -> f64);

const ROWS: [Row; 10] = [
    ("first good scrape, ms", |f| format!("{:.0}", f.first_scrape_ms), |f| f.first_scrape_ms),
    ("idle CPU, ms/s", |f| format!("{:.2}", f.idle_ms_per_second), |f| f.idle_ms_per_second),
    ("RSS idle, MiB", |f| mebibytes(f.resident_before), |f| f.resident_before as f64),
    ("RSS after scrapes, MiB", |f| mebibytes(f.resident_after), |f| f.resident_after as f64),
    ("CPU s per 1,000 scrapes", |f| format!("{:.3}", f.cpu_seconds_per_1000), |f| f.cpu_seconds_per_1000),
    ("median latency, ms", |f| format!("{:.3}", f.median_ms), |f| f.median_ms),
    ("p99 latency, ms", |f| format!("{:.3}", f.p99_ms), |f| f.p99_ms),
    ("bytes", |f| f.bytes.to_string(), |f| f.bytes as f64),
    (
        "bytes, gzip",
        |f| f.bytes_gzip.map_or("none".into(), |b| b.to_string()),
        |f| f.bytes_gzip.unwrap_or(f.bytes) as f64,
    ),
    ("series", |f| f.series.to_string(), |f| f.series as f64),
];

/// A column for each; beside every figure but the first column's, its ratio to that.
fn print_table(title: &str, columns: &[&Figures]) {
    let row = |name: &str, cells: Vec<String>| {
        print!("{name:<26}");
        for cell in cells {
            print!("{cell:>26}");
        }
        println!();
    };
    row(title, columns.iter().map(|figures| figures.name.to_owned()).collect());
    for (name, print, number) in ROWS {
        let first = number(columns[0]);
        let cell = |(index, figures): (usize, &&Figures)| match ratio(number(figures), first) {
            Some(ratio) if index > 0 => format!("{} ({ratio})", print(figures)),
            _ => print(figures),
        };
        row(name, columns.iter().enumerate().map(cell).collect());
    }
    let per_second = |figures: &&Figures| format!("{:.0}", figures.loaded_per_second);
    row(&format!("{CONNECTIONS} connections, req/s"), columns.iter().map(per_second).collect());
    let p99 = |figures: &&Figures| figures.loaded_p99.clone();
    row(&format!("{CONNECTIONS} connections, p99"), columns.iter().map(p99).collect());
}

/// A ratio that can be read whether it is far above or far below one; none to a figure too small to be seen.
fn ratio(number: f64, first: f64) -> Option<String> {
    match number / first {
        ratio if !ratio.is_normal() => None,
        ratio if ratio < 0.1 => Some(format!("1/{:.0}", 1.0 / ratio)),
        ratio => Some(format!("{ratio:.1}x")),
    }
}

fn print_aims(all: &[Figures], binary_bytes: u64) -> Result<()> {
    let ours = &all[0];
    let peer = all.iter().find(|figures| figures.name == PEER).context("it ran")?;
    let mebibyte = f64::from(1 << 20);
    let aims = [
        ("RSS, MiB", ours.resident_after as f64 / mebibyte, 10.0),
        ("CPU s per 1,000 scrapes", ours.cpu_seconds_per_1000, 0.10),
        ("median latency, ms", ours.median_ms, peer.median_ms / 10.0),
        ("idle CPU, ms/s", ours.idle_ms_per_second, 2.0),
        ("first good scrape, ms", ours.first_scrape_ms, 300.0),
        ("binary, MiB", binary_bytes as f64 / mebibyte, release::BYTES_MAX as f64 / mebibyte),
    ];
    println!("\n{:<26}{:>12}{:>12}", "aim", "at most", "reached");
    for (name, reached, aim) in aims {
        let verdict = if reached <= aim { "" } else { "   missed" };
        println!("{name:<26}{aim:>12.3}{reached:>12.3}{verdict}");
    }
    Ok(())
}

/// Bytes as mebibytes, with one decimal place.
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}
