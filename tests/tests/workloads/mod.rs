//! Which pod holds which device: the real binary, simulated devices, and a stand-in for the kubelet that shares no code
//! with it.

#![expect(clippy::float_cmp, reason = "whole numbers and flags are told exactly")]

mod churn;
mod faults;
mod live;
mod many;
mod openers;
mod processes;
mod vendor_labels;

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result, ensure};
use e2e::{Exporter, Kubelet, Node, Samples};
use serde_json::{Value, json};
use sim::{Control, control::Fault};

const INFO: &str = "accel_workload_info";

/// A pod with one container `main` that a device plugin gave these devices.
fn pod(name: &str, resource: &str, ids: &[&str]) -> Value {
    let devices = json!([{"resource": resource, "ids": ids}]);
    json!({"namespace": "team", "name": name, "uid": format!("uid-{name}"),
           "containers": [{"name": "main", "devices": devices}]})
}

/// A pod with a claim that a DRA driver filled.
fn claim(name: &str, driver: &str, device: &str) -> Value {
    let claims = json!([{"driver": driver, "device": device}]);
    json!({"namespace": "team", "name": name, "containers": [{"name": "main", "claims": claims}]})
}

fn start(node: &Node, kubelet: &Kubelet, more: &[&str]) -> Result<Exporter> {
    let flags = kubelet.flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
    node.start(&flags)
}

/// `pod: device partition share` of each holder.
fn holders(samples: &Samples) -> BTreeSet<String> {
    let line = |sample: &e2e::Sample| {
        let label = |name| sample.label(name);
        let parts = [label("pod"), ":", label("device"), label("partition"), label("share")];
        parts.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    samples.all(INFO, &[]).map(line).collect()
}

/// Waits until these hold devices, and no others.
fn until_holders(exporter: &Exporter, what: &str, expected: &[&str]) -> Result<Samples> {
    let expected: BTreeSet<_> = expected.iter().map(ToString::to_string).collect();
    exporter.until(what, |samples| {
        let found = holders(samples);
        ensure!(found == expected, "{found:?} instead of {expected:?}");
        Ok(samples.clone())
    })
}

/// The value of a label of `accel_device_info`.
fn fact(samples: &Samples, device: &str, name: &str) -> Result<String> {
    let labels = [("device", device)];
    let value = samples
        .all("accel_device_info", &labels)
        .next()
        .with_context(|| format!("no {device}"))?
        .label(name)
        .to_owned();
    ensure!(!value.is_empty(), "{device} has no {name}");
    Ok(value)
}

fn uuid(samples: &Samples, device: &str, partition: &str) -> Result<String> {
    let labels = [("device", device), ("partition", partition)];
    let info = samples.all("accel_device_info", &labels).next();
    Ok(info.with_context(|| format!("no {device} {partition}"))?.label("uuid").to_owned())
}

#[test]
fn a_gpu_and_its_instances_are_found_by_every_id_that_is_given() -> Result<()> {
    let node = Node::new("h100-mig")?;
    let kubelet = Kubelet::start(&json!({"pods": []}))?;
    // The node of an instance, as the driver shows it to everyone.
    let procfs = node.dir().join("proc");
    let capability = procfs.join("driver/nvidia/capabilities/gpu0/mig/gi3");
    fs::create_dir_all(&capability)?;
    fs::write(capability.join("access"), "DeviceFileMinor: 30\nDeviceFileMode: 292\n")?;
    let cdi = node.dir().join("cdi");
    fs::create_dir(&cdi)?;
    let spec = "cdiVersion: 0.7.0\nkind: k8s.gpu.nvidia.com/claim\ndevices:\n- name: c1-gpu\n  containerEdits:\n    \
                deviceNodes:\n    - path: /dev/nvidia0\n    - path: /dev/nvidia-caps/nvidia-cap30\n";
    fs::write(cdi.join("k8s.gpu.nvidia.com-claim_c1.yaml"), spec)?;
    let roots = [procfs.display().to_string(), cdi.display().to_string()];
    let exporter = start(&node, &kubelet, &["--path.procfs", &roots[0], "--path.cdi", &roots[1]])?;
    let samples = exporter.settled()?;
    let [gpu, instance] = [uuid(&samples, "gpu1", "")?, uuid(&samples, "gpu0", "gi1")?];
    let sliced = [format!("{gpu}::0"), format!("{gpu}::1")];
    let by_node = json!({"namespace": "team", "name": "by-node", "containers": [{"name": "main", "claims": [
        {"driver": "gpu.nvidia.com", "device": "gpu-0-mig-unheard-of-9-9",
         "cdi": ["k8s.gpu.nvidia.com/claim=c1-gpu"]}]}]});
    kubelet.set(&json!({"pods": [
        pod("slice-a", "nvidia.com/gpu.shared", &[&sliced[0]]),
        pod("slice-b", "nvidia.com/gpu.shared", &[&sliced[1]]),
        pod("instance", "nvidia.com/mig-3g.40gb", &[&instance]),
        pod("gke", "nvidia.com/gpu", &["nvidia0/gi7/vgpu1"]),
        claim("claimed", "gpu.nvidia.com", "gpu-1"),
        claim("placed", "gpu.nvidia.com", "gpu-0-mig-1g10gb-19-0"),
        by_node,
        // Of nobody here, and of families that are not served.
        pod("passed-on", "nvidia.com/gpu", &["GPU-of-another-node"]),
        claim("vfio", "gpu.nvidia.com", "gpu-vfio-0"),
        pod("other", "example.com/fpga", &["1"]),
        pod("gaudi", "habana.ai/gaudi", &["AB123"]),
    ]}))?;
    let found = until_holders(
        &exporter,
        "each pod holds its device",
        &[
            "slice-a : gpu1 0",
            "slice-b : gpu1 1",
            "claimed : gpu1",
            "instance : gpu0 gi1",
            "gke : gpu0 gi7 1",
            "placed : gpu0 gi8",
            "by-node : gpu0 gi3",
        ],
    )?;
    ensure!(found.value("accelscope_workloads_unresolved_ids", &[("family", "nvidia")])? == 2.0);
    ensure!(!found.has("accelscope_workloads_unresolved_ids", &[("family", "gaudi")]));
    let labels = [("pod", "slice-a"), ("namespace", "team"), ("container", "main"), ("uuid", &gpu)];
    ensure!(found.value(INFO, &labels)? == 1.0);
    ensure!(found.has(INFO, &[("pod", "instance"), ("workload_kind", "pod"), ("uuid", &instance)]));
    Ok(())
}

#[test]
fn devices_of_three_vendors_are_found_by_address_serial_and_node() -> Result<()> {
    let kubelet = Kubelet::start(&json!({"pods": []}))?;
    let (gaudi, nuc) = (Node::new("gaudi3-8")?, Node::new("nuc-lunar-lake")?);
    let h100 = Node::new("h100-sxm-4")?;
    let [on_h100, on_gaudi, on_nuc] = [&h100, &gaudi, &nuc].map(|node| start(node, &kubelet, &[]));
    let (on_h100, on_gaudi, on_nuc) = (on_h100?, on_gaudi?, on_nuc?);
    let samples = on_gaudi.settled()?;
    let serial = fact(&samples, "hpu3", "serial")?;
    let address = fact(&samples, "hpu5", "pci_bus_id")?;
    let device = fs::read_to_string(gaudi.sysfs().join("bus/pci/devices").join(&address).join("device"))?;
    let hpu = format!("{}-{}", address.replace([':', '.'], "-"), device.trim());
    let samples = on_nuc.settled()?;
    let (gpu, npu) = ("0000:00:02.0", "0000:00:0b.0");
    let card = format!("{}-1", fact(&samples, gpu, "card")?);
    let accel = format!("{}-0", fact(&samples, npu, "accel_node")?);
    kubelet.set(&json!({"pods": [
        pod("h100", "nvidia.com/gpu", &[&uuid(&on_h100.settled()?, "gpu2", "")?]),
        pod("by-serial", "habana.ai/gaudi", &[&serial]),
        claim("by-address", "gaudi.intel.com", &hpu),
        pod("card", "gpu.intel.com/xe", &[&card]),
        claim("gpu-claim", "gpu.intel.com", "0000-00-02-0-0x64a0"),
        pod("npu", "npu.intel.com/accel", &[&accel]),
        claim("npu-claim", "npu.intel.com", "0000-00-0b-0-0x643e"),
        pod("exporter", "gpu.intel.com/xe_monitoring", &["all"]),
    ]}))?;
    until_holders(&on_h100, "NVIDIA", &["h100 : gpu2"])?;
    until_holders(&on_gaudi, "Gaudi", &["by-serial : hpu3", "by-address : hpu5"])?;
    let (card, gpu) = (format!("card : {gpu} 1"), format!("gpu-claim : {gpu}"));
    let (by_node, npu) = (format!("npu : {npu} 0"), format!("npu-claim : {npu}"));
    let samples = until_holders(&on_nuc, "GPU and NPU of Intel", &[&card, &gpu, &by_node, &npu])?;
    ensure!(samples.value("accelscope_workloads_unresolved_ids", &[("family", "xpu")])? == 0.0);
    Ok(())
}

/// Every series that is about a device and not about who holds it.
fn device_series(samples: &Samples) -> BTreeSet<String> {
    let of_device = |sample: &&e2e::Sample| {
        sample.name != INFO && (!sample.label("device").is_empty() || !sample.label("UUID").is_empty())
    };
    samples.samples.iter().filter(of_device).map(|sample| sample.series.clone()).collect()
}

#[test]
fn pods_come_and_go_and_no_series_of_a_device_changes() -> Result<()> {
    let node = Node::new("h100-sxm-4")?;
    let mut kubelet = Kubelet::start(&json!({"pods": []}))?;
    let exporter = start(&node, &kubelet, &[])?;
    let samples = exporter.settled()?;
    let devices = device_series(&samples);
    ensure!(devices.len() > 100, "{} series", devices.len());
    let uuids = ["gpu0", "gpu1"].map(|device| uuid(&samples, device, ""));
    let [first, second] = uuids;
    let [first, second] = [first?, second?];
    let gpu = "nvidia.com/gpu";
    let slices = [format!("{first}::0"), format!("{first}::1")];
    let steps: [(&str, Vec<Value>, &[&str]); 6] = [
        ("a pod starts", vec![pod("a", gpu, &[&first])], &["a : gpu0"]),
        ("it starts again under another name", vec![pod("a2", gpu, &[&first])], &["a2 : gpu0"]),
        ("it is rescheduled to another device", vec![pod("a2", gpu, &[&second])], &["a2 : gpu1"]),
        ("it takes both", vec![pod("a2", gpu, &[&first, &second])], &["a2 : gpu0", "a2 : gpu1"]),
        (
            "the device is sliced",
            vec![pod("b", gpu, &[&slices[0]]), pod("c", gpu, &[&slices[1]])],
            &["b : gpu0 0", "c : gpu0 1"],
        ),
        ("all are gone", vec![], &[]),
    ];
    for (what, pods, expected) in steps {
        kubelet.set(&json!({"pods": pods}))?;
        let samples = until_holders(&exporter, what, expected)?;
        ensure!(device_series(&samples) == devices, "{what}: series of devices changed");
    }
    kubelet.set(&json!({"pods": [pod("d", gpu, &[&second])]}))?;
    until_holders(&exporter, "before the kubelet restarts", &["d : gpu1"])?;
    kubelet.restart()?;
    let samples = until_holders(&exporter, "after the kubelet restarted", &["d : gpu1"])?;
    ensure!(device_series(&samples) == devices, "the restart of the kubelet changed series of devices");
    Ok(())
}

#[test]
fn a_pod_keeps_a_device_that_is_lost_and_follows_a_change_of_instances() -> Result<()> {
    let node = Node::new("h100-mig")?;
    let kubelet = Kubelet::start(&json!({"pods": []}))?;
    let exporter = start(&node, &kubelet, &[])?;
    let samples = exporter.settled()?;
    let [gpu, instance] = [uuid(&samples, "gpu1", "")?, uuid(&samples, "gpu0", "gi1")?];
    let both = [pod("whole", "nvidia.com/gpu", &[&gpu]), pod("part", "nvidia.com/mig-3g.40gb", &[&instance])];
    kubelet.set(&json!({"pods": both}))?;
    until_holders(&exporter, "both hold", &["whole : gpu1", "part : gpu0 gi1"])?;
    let mig = vec![sim::control::Mig { device: 0, enabled: true, instances: vec!["1g.10gb".to_owned()] }];
    node.control(&Control { mig, fault: vec![Fault::lost().device(1)], ..Control::default() })?;
    let samples = until_holders(&exporter, "the instance is gone", &["whole : gpu1"])?;
    ensure!(samples.value("accelscope_workloads_unresolved_ids", &[("family", "nvidia")])? == 1.0);
    exporter.until("the device is lost and still held", |samples| {
        ensure!(samples.value("accel_device_up", &[("device", "gpu1")])? == 0.0);
        ensure!(holders(samples).contains("whole : gpu1"));
        Ok(())
    })?;
    let new = uuid(&exporter.scrape()?, "gpu0", "gi7")?;
    kubelet.set(&json!({"pods": [pod("next", "nvidia.com/mig-1g.10gb", &[&new])]}))?;
    until_holders(&exporter, "the new instance is held", &["next : gpu0 gi7"])?;
    Ok(())
}

#[test]
fn uid_and_wanted_labels_come_from_the_kubelet_and_nothing_else_of_the_pod() -> Result<()> {
    let node = Node::new("t4-1")?;
    let mut wanted = pod("größe-日本", "nvidia.com/gpu", &["0"]);
    wanted["labels"] =
        json!({"app": "llm \"7b\"\n", "team.example.com/cost": "42", "secret": "not for export"});
    let kubelet = Kubelet::start(&json!({"pods": [wanted, pod("elsewhere", "x/y", &[])], "pod_info": true}))?;
    let exporter = start(&node, &kubelet, &["--kubernetes.pod-labels", "app,team.example.com/cost"])?;
    let labels = [("pod", "größe-日本"), ("pod_uid", "uid-größe-日本"), ("namespace", "team")];
    let body = exporter.until("the pod with its UID", |samples| {
        ensure!(samples.has(INFO, &labels), "{:?}", holders(samples));
        Ok(exporter.get("/metrics")?.ok()?.text()?.to_owned())
    })?;
    let samples = Samples::parse(&body)?;
    let known = |label, value| {
        let labels = [&labels[..], &[("label", label), ("value", value)]].concat();
        samples.value("accel_workload_pod_label_info", &labels)
    };
    ensure!(known("app", "llm \"7b\"\n")? == 1.0 && known("team.example.com/cost", "42")? == 1.0);
    ensure!(!body.contains("not for export"));
    ensure!(samples.all("accel_workload_pod_label_info", &[]).count() == 2, "of pods that hold a device");
    ensure!(samples.value("accelscope_workloads_up", &[("interface", "pod_info")])? == 1.0);
    Ok(())
}

#[test]
fn ten_thousand_pods_are_listed() -> Result<()> {
    let node = Node::new("t4-1")?;
    let share = |number: u32| format!("0::{number}");
    let pods: Vec<_> = (0..10_000)
        .map(|number| match number % 100 {
            0 => pod(&format!("gpu-{number}"), "nvidia.com/gpu", &[&share(number)]),
            _ => pod(&format!("web-{number}"), "example.com/nic", &[&share(number)]),
        })
        .collect();
    let kubelet = Kubelet::start(&json!({"pods": pods}))?;
    let exporter = start(&node, &kubelet, &[])?;
    exporter.until("the pods that hold a share", |samples| {
        ensure!(samples.all(INFO, &[("device", "gpu0")]).count() == 100);
        Ok(())
    })
}

#[test]
fn without_a_kubelet_nothing_is_said_and_off_asks_nobody() -> Result<()> {
    let node = Node::new("t4-1")?;
    let kubelet = Kubelet::start(&json!({"pods": [pod("a", "nvidia.com/gpu", &["0"])]}))?;
    let off = start(&node, &kubelet, &["--workloads", "off"])?;
    let alone = node.start(&[])?;
    for exporter in [off, alone] {
        let samples = exporter.settled()?;
        let said = samples.samples.iter().find(|sample| sample.name.contains("workload"));
        ensure!(said.is_none(), "{said:?}");
        ensure!(!exporter.process.log().contains("kubelet"), "{}", exporter.process.log());
    }
    Ok(())
}

#[test]
fn probe_shows_who_holds_what_and_why_that_is_not_known() -> Result<()> {
    let node = Node::new("t4-1")?;
    let mut kubelet = Kubelet::start(&json!({"pods": [pod("a", "nvidia.com/gpu", &["0::2"])]}))?;
    let flags = kubelet.flags();
    let flags = [flags[0].as_str(), flags[1].as_str()];
    let table = node.run("probe", &flags)?.success()?;
    ensure!(table.contains("pod_resources") && table.contains("gpu0  pod team/a main share 2"), "{table}");
    let json: Value =
        serde_json::from_str(&node.run("probe", &[&flags[..], &["--json"]].concat())?.success()?)?;
    let holder = &json["workloads"]["holders"][0];
    ensure!(holder["pod"] == "a" && holder["device"] == "gpu0" && holder["share"] == "2", "{json}");
    kubelet.kill();
    let table = node.run("probe", &flags)?.success()?;
    ensure!(table.contains("ECONNREFUSED") && table.contains("Nothing listens on the socket."), "{table}");
    let off = node.run("probe", &["--workloads", "off"])?.success()?;
    ensure!(!off.contains("workloads"), "{off}");
    let alone = node.run("probe", &[])?.success()?;
    ensure!(alone.contains("workloads: this node has neither a kubelet"), "{alone}");
    Ok(())
}
