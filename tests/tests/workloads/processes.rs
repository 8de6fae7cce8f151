//! Real processes in real control groups that work on simulated devices, and folders of batch systems.

use std::fs;

use anyhow::{Result, ensure};
use e2e::{Exporter, Grouped, Kubelet, Node, Samples};
use serde_json::json;
use sim::{
    Control,
    control::{Mig, Processes},
};

use super::{INFO, pod, start, uuid};

const MEMORY: &str = "accel_workload_memory_used_bytes";
const BUSY: &str = "accel_workload_engine_busy_seconds_total";
const ID: &str = "0123456789ab00000000000000000000000000000000000000000000000000ff";
const UID: &str = "8e2b6f8c-1111-2222-3333-0123456789ab";

fn on(device: usize, pids: &[u32]) -> Processes {
    Processes { device, pids: pids.to_vec() }
}

/// The sum of a metric's series on a device.
fn sum(samples: &Samples, name: &str, labels: &[(&str, &str)]) -> f64 {
    samples.all(name, labels).map(|sample| sample.value).sum()
}

#[test]
fn containers_jobs_and_units_are_found_by_the_groups_of_their_processes() -> Result<()> {
    let node = Node::new("h100-sxm-4")?.workload("decode");
    let container = Grouped::start(&format!("docker/{ID}"))?;
    let job = Grouped::start("slurm/uid_1000/job_4711/step_0")?;
    let unit = Grouped::start("ollama.service")?;
    // Two share a device; another process of the container is on the next, and one that is in no group of ours.
    let process = vec![on(0, &[container.id(), job.id()]), on(1, &[container.id()]), on(2, &[unit.id()])];
    node.control(&Control { process, ..Control::default() })?;
    let exporter = node.start(&[])?;
    let container_labels = [("workload_kind", "container"), ("container", "0123456789ab")];
    let job_labels = [("workload_kind", "slurm"), ("job", "4711"), ("user", "1000")];
    let samples = exporter.until("each has worked", |samples| {
        for (device, labels) in [
            ("gpu0", &container_labels[..]),
            ("gpu0", &job_labels),
            ("gpu1", &container_labels),
            ("gpu2", &[("workload_kind", "unit"), ("job", "ollama.service")]),
        ] {
            let labels = [&[("device", device)], labels].concat();
            ensure!(samples.value(INFO, &labels)? == 1.0);
            ensure!(samples.value(MEMORY, &labels)? > 1e9, "{labels:?}");
            let labels = [&labels[..], &[("engine", "sm")]].concat();
            ensure!(samples.value(BUSY, &labels)? > 0.5, "{labels:?}");
        }
        Ok(samples.clone())
    })?;
    for device in ["gpu0", "gpu1", "gpu2"] {
        let all = sum(&samples, MEMORY, &[("device", device)]);
        let own = samples.value("accel_memory_used_bytes", &[("device", device)])?;
        ensure!(all == own, "{device}: holders and the rest have {all}, the device {own}");
    }
    let halves = [&container_labels[..], &job_labels]
        .map(|labels| sum(&samples, MEMORY, &[&[("device", "gpu0")], labels].concat()));
    ensure!(halves[0] == halves[1], "{halves:?}");
    let pid = container.id().to_string();
    let body = exporter.get("/metrics")?.ok()?.text()?.to_owned();
    let named = body.lines().filter(|line| line.starts_with("accel_workload"));
    ensure!(named.clone().count() > 10 && named.clone().all(|line| !line.contains(&pid)), "by process");

    // The container ends: it holds nothing any more, and what it did stays counted.
    let before = sum(&samples, BUSY, &[&[("device", "gpu0")], &container_labels[..]].concat());
    drop(container);
    node.control(&Control { process: vec![on(0, &[job.id()])], ..Control::default() })?;
    exporter.until("only the job is left", |samples| {
        let of_container = [&[("device", "gpu0")], &container_labels[..]].concat();
        let of_job = [&[("device", "gpu0")], &job_labels[..]].concat();
        ensure!(!samples.has(INFO, &of_container) && samples.has(INFO, &of_job));
        ensure!(!samples.has(MEMORY, &of_container));
        ensure!(sum(samples, BUSY, &of_container) >= before);
        Ok(())
    })
}

#[test]
fn a_pod_on_a_shared_device_is_known_by_its_uid() -> Result<()> {
    let node = Node::new("h100-sxm-4")?.workload("decode");
    let group = format!("kubepods.slice/kubepods-pod{}.slice", UID.replace('-', "_"));
    let process = Grouped::start(&format!("{group}/cri-containerd-{ID}.scope"))?;
    node.control(&Control { process: vec![on(0, &[process.id()])], ..Control::default() })?;
    let mut known = pod("serve-0", "nvidia.com/gpu", &["0"]);
    known["uid"] = json!(UID);
    let kubelet = Kubelet::start(&json!({"pods": [known], "pod_info": true}))?;
    let with_kubelet = start(&node, &kubelet, &[])?;
    let named = [("workload_kind", "pod"), ("pod", "serve-0"), ("container", "main"), ("pod_uid", UID)];
    let until_memory = |exporter: &Exporter, labels: &[(&str, &str)]| {
        exporter.until("the pod has memory", |samples| {
            ensure!(samples.value(MEMORY, labels)? > 0.0);
            ensure!(samples.all(INFO, &[("device", "gpu0")]).count() == 1, "one holder, once");
            Ok(())
        })
    };
    until_memory(&with_kubelet, &named)?;
    // Without the kubelet, the group alone.
    let alone = node.start(&[])?;
    until_memory(
        &alone,
        &[("workload_kind", "pod"), ("container", "0123456789ab"), ("pod_uid", UID), ("pod", "")],
    )
}

#[test]
fn an_instance_has_its_own_processes() -> Result<()> {
    let node = Node::new("h100-mig")?.workload("decode");
    let job = Grouped::start("slurmstepd.scope/job_7/step_0/user/task_0")?;
    let mig = vec![Mig { device: 0, enabled: true, instances: vec!["3g.40gb".to_owned()] }];
    let process = vec![on(0, &[job.id()])];
    node.control(&Control { mig, process, ..Control::default() })?;
    for isolate in ["off", "on"] {
        let exporter = node.start(&["--isolate", isolate])?;
        exporter.until(&format!("the job is on the instance, --isolate {isolate}"), |samples| {
            let labels = [("device", "gpu0"), ("partition", "gi1"), ("workload_kind", "slurm"), ("job", "7")];
            ensure!(samples.value(INFO, &labels)? == 1.0 && samples.value(MEMORY, &labels)? > 0.0);
            ensure!(!samples.has(MEMORY, &[("device", "gpu0"), ("partition", "")]));
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn jobs_are_found_by_the_files_of_their_scripts() -> Result<()> {
    let node = Node::new("h100-mig")?;
    let folder = node.dir().join("jobs");
    fs::create_dir(&folder)?;
    fs::write(folder.join("0.7"), "4711\n")?;
    fs::write(folder.join("1"), r#"{"JOB_ID": "99", "JOB_USER": "ada"}"#)?;
    let path = folder.display().to_string();
    let exporter = node.start(&["--workloads.job-mapping", &path, "--workloads.interval", "1s"])?;
    let samples = exporter.until("both jobs", |samples| {
        ensure!(samples.has(INFO, &[("partition", "gi7"), ("workload_kind", "slurm"), ("job", "4711")]));
        ensure!(samples.has(INFO, &[("device", "gpu1"), ("job", "99"), ("user", "ada")]));
        ensure!(samples.value("accelscope_workloads_up", &[("interface", "job_mapping")])? == 1.0);
        Ok(samples.clone())
    })?;
    ensure!(!uuid(&samples, "gpu1", "")?.is_empty());
    fs::remove_dir_all(&folder)?;
    exporter.until("no jobs, and why", |samples| {
        ensure!(!samples.has(INFO, &[("workload_kind", "slurm")]));
        ensure!(samples.value("accelscope_workloads_up", &[("interface", "job_mapping")])? == 0.0);
        ensure!(samples.has("accelscope_workloads_faults_total", &[("code", "ENOENT")]));
        Ok(())
    })
}
