//! Many that hold devices: hundreds of containers on a node, two pods on one share, and pods on a device that is lost.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use e2e::{Grouped, Kubelet, Node};
use serde_json::{Value, json};
use sim::{
    Control,
    control::{Fault, Processes},
};

use super::{INFO, pod, start, until_holders, uuid};

const MEMORY: &str = "accel_workload_memory_used_bytes";
const DEVICES: usize = 4;
const CONTAINERS: usize = 500;

/// Where the process of a pod's container is.
pub(super) fn group(uid: &str, container: usize) -> Result<Grouped> {
    let slice = format!("kubepods.slice/kubepods-pod{}.slice", uid.replace('-', "_"));
    Grouped::start(&format!("{slice}/cri-containerd-{container:064x}.scope"))
}

pub(super) fn uid(number: usize) -> String {
    format!("8e2b6f8c-1111-2222-4444-{number:012}")
}

/// The pod with this number, its UID, and a slice of a device.
fn slice(number: usize, id: &str) -> Value {
    let mut sliced = pod(&format!("pod-{number}"), "nvidia.com/gpu.shared", &[id]);
    sliced["uid"] = json!(uid(number));
    sliced
}

#[test]
fn five_hundred_containers_each_have_their_part_of_a_device() -> Result<()> {
    let node = Node::new("h100-sxm-4")?.workload("decode");
    let groups = (0..CONTAINERS).map(|number| group(&uid(number), number)).collect::<Result<Vec<_>>>()?;
    let process = (0..DEVICES).map(|device| {
        let own = groups.iter().skip(device).step_by(DEVICES);
        Processes { device, pids: own.map(Grouped::id).collect() }
    });
    node.control(&Control { process: process.collect(), ..Control::default() })?;
    let pods = (0..CONTAINERS).map(|n| slice(n, &format!("{}::{}", n % DEVICES, n / DEVICES)));
    let kubelet = Kubelet::start(&json!({"pods": pods.collect::<Vec<_>>(), "pod_info": true}))?;
    let exporter = start(&node, &kubelet, &[])?;
    let samples = exporter.until("each has memory", |samples| {
        let used = samples.all(MEMORY, &[("workload_kind", "pod")]).count();
        ensure!(used == CONTAINERS, "{used} have memory");
        Ok(samples.clone())
    })?;
    let held: BTreeSet<_> = samples.all(INFO, &[]).map(|sample| sample.label("pod")).collect();
    ensure!(held.len() == CONTAINERS && samples.all(INFO, &[]).count() == CONTAINERS, "{}", held.len());
    for device in ["gpu0", "gpu1", "gpu2", "gpu3"] {
        let all = samples.sum(MEMORY, &[("device", device)]);
        let own = samples.value("accel_memory_used_bytes", &[("device", device)])?;
        ensure!(all == own, "{device}: holders and the rest have {all}, the device {own}");
    }
    // All but one end. Nothing is left of them but what they did.
    let mut groups = groups;
    groups.truncate(1);
    node.control(&Control {
        process: vec![Processes { device: 0, pids: vec![groups[0].id()] }],
        ..Control::default()
    })?;
    kubelet.set(&json!({"pods": [slice(0, "0::0")], "pod_info": true}))?;
    exporter.until("one is left", |samples| {
        ensure!(samples.all(INFO, &[]).count() == 1);
        ensure!(samples.all(MEMORY, &[("workload_kind", "pod")]).count() == 1);
        Ok(())
    })
}

#[test]
fn two_pods_on_one_share_are_two_holders_and_memory_is_of_one_of_them() -> Result<()> {
    let node = Node::new("h100-sxm-4")?.workload("decode");
    let process = group(&uid(500), 500)?;
    let on = Processes { device: 0, pids: vec![process.id()] };
    node.control(&Control { process: vec![on], ..Control::default() })?;
    // As the list of a kubelet has it while one of them ends, and of one that has a mistake: a share, given twice.
    let both = [slice(500, "0::1"), slice(501, "0::1"), slice(501, "0::1")];
    let kubelet = Kubelet::start(&json!({"pods": both, "pod_info": true}))?;
    let exporter = start(&node, &kubelet, &[])?;
    until_holders(&exporter, "both hold it, each once", &["pod-500 : gpu0 1", "pod-501 : gpu0 1"])?;
    exporter.until("its memory", |samples| {
        ensure!(samples.value(MEMORY, &[("pod", "pod-500"), ("namespace", "team")])? > 0.0);
        ensure!(!samples.has(MEMORY, &[("pod", "pod-501")]), "a pod without a process has memory");
        let own = samples.value("accel_memory_used_bytes", &[("device", "gpu0")])?;
        ensure!(samples.sum(MEMORY, &[("device", "gpu0")]) == own);
        ensure!(samples.value("accelscope_workloads_unresolved_ids", &[("family", "nvidia")])? == 0.0);
        Ok(())
    })
}

#[test]
fn a_pod_that_takes_a_lost_device_is_its_holder() -> Result<()> {
    let node = Node::new("h100-sxm-4")?;
    let kubelet = Kubelet::start(&json!({"pods": []}))?;
    let exporter = start(&node, &kubelet, &[])?;
    let gpu = uuid(&exporter.settled()?, "gpu1", "")?;
    node.control(&Control { fault: vec![Fault::lost().device(1)], ..Control::default() })?;
    exporter.until("the device is lost", |samples| {
        ensure!(samples.value("accel_device_up", &[("device", "gpu1")])? == 0.0);
        Ok(())
    })?;
    // By UUID, by share and by minor number: a device plugin may not have seen the loss yet.
    let pods = [
        pod("late", "nvidia.com/gpu", &[&gpu]),
        pod("shared", "nvidia.com/gpu", &[&format!("{gpu}::3")]),
        pod("by-minor", "nvidia.com/gpu", &["nvidia1"]),
        pod("well", "nvidia.com/gpu", &["nvidia2"]),
    ];
    kubelet.set(&json!({"pods": pods}))?;
    let expected = ["late : gpu1", "shared : gpu1 3", "by-minor : gpu1", "well : gpu2"];
    let samples = until_holders(&exporter, "all hold", &expected)?;
    ensure!(samples.value("accel_device_up", &[("device", "gpu1")])? == 0.0);
    ensure!(samples.has(INFO, &[("pod", "late"), ("uuid", &gpu)]));
    node.control(&Control::default())?;
    let samples = exporter.until("the device is back", |samples| {
        ensure!(samples.value("accel_device_up", &[("device", "gpu1")])? == 1.0);
        Ok(samples.clone())
    })?;
    ensure!(samples.has(INFO, &[("pod", "late"), ("uuid", &gpu)]), "its holder is lost");
    Ok(())
}
