//! The container of the chart under runc, with simulated devices: what it serves, what it may do, and what it needs.

mod capabilities;

use std::{
    collections::BTreeSet,
    env, fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    Artefacts, Exporter, Kubelet, Node, Samples,
    chart::{self, Helm},
    container::{self, Container, PROGRAM, Root},
    eventually,
    http::{self, Request},
    process,
    skip::{is_root, skipped},
};
use serde_json::{Value, json};

/// Why a machine may be unable to run these tests.
const ROOT_ONLY: &str = "only root may run a container with runc";

/// Machines that together have every family, and the sources of each.
const MACHINES: [(&str, &str); 5] = [
    ("h100-sxm-8", "nvidia"),
    ("gaudi3-8", "gaudi"),
    ("battlematrix-8", "xpu"),
    ("nuc-lunar-lake", "xpu, npu"),
    ("xeon6-amx", "amx"),
];

/// Files that only root may read on real machines, where these have them.
const ROOTS_OWN: [&str; 3] =
    ["class/powercap/intel-rapl-tpmi:0/energy_uj", "class/intel_pmt/telem1/telem", "kernel/debug"];

fn root() -> Result<Root> {
    container::root(&Artefacts::beside_this_program()?.binary("accelscope")?)
}

/// Render nodes are opened for reading and writing. A read-only mount permits that for a device, and not for the plain
/// files that these are.
fn render_nodes(node: &Node) -> PathBuf {
    node.sysfs().join("dev")
}

/// The pod of a release on a simulated machine, and where it serves. No kubelet is asked that this machine may have.
fn pod(node: &Node, sources: &str, privileges: &str) -> Result<(Value, SocketAddr)> {
    pod_with(node, sources, privileges, &json!({"enabled": false}))
}

/// The same with these values of `workloads`.
fn pod_with(node: &Node, sources: &str, privileges: &str, workloads: &Value) -> Result<(Value, SocketAddr)> {
    let address = process::free_address()?;
    // Flags, variables and the machine's folder, through the chart's own values.
    let serve = node.accelscope("serve", &[])?;
    let words: Vec<_> = serve.get_args().skip(1).map(|word| word.to_string_lossy()).collect();
    let pairs = words.chunks(2).map(|pair| pair.join("="));
    let args: Vec<_> = pairs.filter(|pair| !pair.starts_with("--source=")).collect();
    let env = serve.get_envs().filter(|(name, _)| *name != "PATH" && *name != "NODE_NAME");
    let env: Vec<_> = env
        .map(|(name, value)| json!({"name": name.to_string_lossy(), "value": value.unwrap_or_default().to_string_lossy()}))
        .collect();
    fs::set_permissions(node.dir(), fs::Permissions::from_mode(0o755))?;
    let mut volumes = vec![json!({"name": "machine", "hostPath": {"path": node.dir()}})];
    let mut mounts = vec![json!({"name": "machine", "mountPath": node.dir(), "readOnly": true})];
    let nodes = render_nodes(node);
    if nodes.exists() {
        volumes.push(json!({"name": "nodes", "hostPath": {"path": nodes}}));
        mounts.push(json!({"name": "nodes", "mountPath": nodes}));
    }
    let values = json!({
        "sources": sources.split(", ").collect::<Vec<_>>(),
        "privileges": privileges, "port": address.port(), "extraArgs": args, "extraEnv": env,
        "extraVolumes": volumes, "extraVolumeMounts": mounts, "workloads": workloads,
    });
    let objects = Helm::newest()?.objects("accelscope", &values.to_string())?;
    Ok((chart::one(&objects, "DaemonSet")?["spec"]["template"]["spec"].clone(), address))
}

/// Names and labels of the devices' series.
fn of_devices(samples: &Samples) -> BTreeSet<String> {
    let own = samples.samples.iter().filter(|sample| !sample.label("device").is_empty());
    own.map(|sample| sample.series.clone()).collect()
}

fn scrape(address: SocketAddr) -> Result<Samples> {
    Samples::parse(http::send(address, Request::get("/metrics"))?.ok()?.text()?)
}

/// A field of `/proc/PID/status`.
fn status(id: u32, field: &str) -> Result<String> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    Ok(value.with_context(|| format!("no {field}"))?.trim().to_owned())
}

/// The status of each probe that the pod declares.
fn probes(pod: &Value, address: SocketAddr) -> Result<()> {
    for kind in ["livenessProbe", "readinessProbe"] {
        let get = &pod["containers"][0][kind]["httpGet"];
        ensure!(
            get["port"] == "metrics" && pod["containers"][0]["ports"][0]["containerPort"] == address.port()
        );
        let path = get["path"].as_str().context("a path")?;
        http::send(address, Request::get(path))?.ok().context(kind)?;
    }
    Ok(())
}

fn check(root: &Root, machine: &str, sources: &str) -> Result<()> {
    let node = Node::new(machine)?.frozen();
    // What is outside reads everything: this test is run by root. Neither asks who holds the devices.
    let outside: Exporter = node.start(&["--workloads", "off"])?;
    for path in ROOTS_OWN.map(|path| node.sysfs().join(path)).iter().filter(|path| path.exists()) {
        fs::set_permissions(path, fs::Permissions::from_mode(if path.is_dir() { 0o700 } else { 0o400 }))?;
    }
    let (pod, address) = pod(&node, sources, "metrics")?;
    let mut container = Container::start(root.path(), &pod)?;
    eventually(&format!("{machine}: the container costs no series"), || {
        container.ensure_running()?;
        let (inside, outside) = (of_devices(&scrape(address)?), of_devices(&outside.scrape()?));
        let other: Vec<_> = inside.symmetric_difference(&outside).collect();
        ensure!(inside.len() > 20 && other.is_empty(), "{} and {other:?}\n{}", inside.len(), container.log());
        Ok(())
    })?;
    probes(&pod, address)?;
    let probe = container.exec(&[PROGRAM, "fields"])?.success()?;
    ensure!(probe.contains("accel_power_watts"), "{probe}");

    let id = container.id()?;
    // The program of a test is not optimized, and larger.
    if env::var_os(container::IMAGE_ROOT).is_some() {
        let kibibytes: u64 = status(id, "VmRSS")?.trim_end_matches(" kB").parse()?;
        let requested = container::bytes(&pod["containers"][0]["resources"]["requests"]["memory"])?;
        ensure!(
            kibibytes << 10 < requested,
            "{machine}: {kibibytes} KiB, and {requested} bytes are requested"
        );
    }
    let security = &pod["containers"][0]["securityContext"];
    let user = security["runAsUser"].to_string();
    ensure!(status(id, "Uid")?.split_whitespace().all(|own| own == user), "{}", status(id, "Uid")?);
    ensure!(status(id, "NoNewPrivs")? == "1" && status(id, "Seccomp")? == "2");
    let granted = security["capabilities"]["add"].as_array().map_or(0, Vec::len);
    for set in ["CapBnd", "CapEff"] {
        let set = u64::from_str_radix(&status(id, set)?, 16)?;
        ensure!(set.count_ones() as usize == granted, "{machine}: {set:x}");
    }
    let mounts = fs::read_to_string(format!("/proc/{id}/mountinfo"))?;
    let writable: Vec<_> = mounts
        .lines()
        .filter_map(|line| {
            let fields: Vec<_> = line.split(' ').collect();
            let (at, options) = (*fields.get(4)?, *fields.get(5)?);
            let simulated = Path::new(at) == render_nodes(&node);
            let own = simulated || at == "/dev" || at.starts_with("/dev/") || at.starts_with("/proc");
            (!own && !options.starts_with("ro")).then_some(at.to_owned())
        })
        .collect();
    ensure!(writable.is_empty(), "{writable:?} can be written");
    container.ends_in_order()
}

#[test]
fn with_the_preset_metrics_it_reads_every_family_as_root_outside_does() -> Result<()> {
    if !is_root() {
        return skipped(ROOT_ONLY);
    }
    let root = root()?;
    let before = listing(root.path())?;
    for (machine, sources) in MACHINES {
        check(&root, machine, sources).context(machine)?;
    }
    // runc makes the places of mounts; the program makes nothing.
    let made: Vec<_> = listing(root.path())?.difference(&before).cloned().collect();
    let places = ["/dev", "/proc", "/sys", "/host", "/tmp", "/var"];
    let unexpected: Vec<_> =
        made.iter().filter(|path| !places.iter().any(|place| path.starts_with(place))).collect();
    ensure!(unexpected.is_empty(), "{unexpected:?}");
    Ok(())
}

#[test]
fn it_asks_the_kubelet_over_the_mounted_folder_also_after_its_restart() -> Result<()> {
    if !is_root() {
        return skipped(ROOT_ONLY);
    }
    let node = Node::new("h100-sxm-4")?.frozen();
    let mut kubelet = Kubelet::start(&json!({"pods": []}))?;
    let workloads = json!({"enabled": true, "kubeletFolder": kubelet.dir()});
    let (pod, address) = pod_with(&node, "nvidia", "metrics", &workloads)?;
    let root = root()?;
    let mut container = Container::start(root.path(), &pod)?;
    let uuid = eventually("devices are read", || {
        container.ensure_running()?;
        let samples = scrape(address)?;
        let up = samples.all("accel_device_up", &[("device", "gpu1")]).next().context("no device")?;
        Ok(up.label("uuid").to_owned())
    })?;
    for name in ["first", "after-the-restart"] {
        let devices = json!([{"resource": "nvidia.com/gpu", "ids": [uuid]}]);
        let containers = json!([{"name": "main", "devices": devices}]);
        kubelet.set(&json!({"pods": [{"namespace": "team", "name": name, "containers": containers}]}))?;
        eventually("the pod is known", || {
            let samples = scrape(address)?;
            let holder = [("pod", name), ("namespace", "team"), ("device", "gpu1")];
            ensure!(samples.all("accel_workload_info", &holder).count() == 1, "{}", container.log());
            Ok(())
        })?;
        kubelet.restart()?;
    }
    let id = container.id()?;
    ensure!(status(id, "CapEff")?.trim_matches('0').is_empty() && status(id, "Uid")?.starts_with('0'));
    Ok(())
}

/// Every path below a folder.
fn listing(folder: &Path) -> Result<BTreeSet<String>> {
    let found = process::run(std::process::Command::new("find").arg(folder).args(["-printf", "/%P\n"]))?;
    Ok(found.success()?.lines().map(str::to_owned).collect())
}

#[test]
fn every_preset_serves_and_none_says_what_is_refused() -> Result<()> {
    if !is_root() {
        return skipped(ROOT_ONLY);
    }
    let node = Node::new("xeon6-amx")?.frozen();
    node.accelscope("probe", &[])?;
    let energy = node.sysfs().join(ROOTS_OWN[0]);
    fs::set_permissions(&energy, fs::Permissions::from_mode(0o400))?;
    let root = root()?;
    for (privileges, readable) in [("none", false), ("metrics", true), ("full", true)] {
        let (pod, address) = pod(&node, "amx", privileges)?;
        let mut container = Container::start(root.path(), &pod)?;
        eventually("devices are read", || {
            container.ensure_running()?;
            let samples = scrape(address)?;
            ensure!(samples.sum("accel_device_up", &[]) > 0.0);
            let refused = samples.sum("accelscope_source_faults_total", &[("code", "EACCES")]);
            let energy = samples.all("accel_energy_joules_total", &[("device", "socket0")]).count();
            ensure!(
                (energy > 0) == readable && (refused > 0.0) != readable,
                "{privileges}: {energy}, {refused}"
            );
            Ok(())
        })?;
    }
    Ok(())
}
