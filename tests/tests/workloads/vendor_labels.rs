//! `--kubernetes.vendor-labels`: who holds a device, on its series under the vendors' names.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result, ensure};
use e2e::{Exporter, Kubelet, Node, Sample, Samples};
use serde_json::{Value, json};

use super::{device_series, fact, pod, start, until_holders, uuid};

const FLAG: &str = "--kubernetes.vendor-labels";
const UTILIZATION: &str = "DCGM_FI_DEV_GPU_UTIL";

/// The labels by which dcgm-exporter names a holder.
const HOLDER: [&str; 5] = ["container", "hpc_job", "namespace", "pod", "vgpu"];

/// `label=value ...` of the holder in each series of this name that has these labels.
fn named<const N: usize>(
    samples: &Samples,
    name: &str,
    labels: &[(&str, &str)],
    of: [&str; N],
) -> BTreeSet<String> {
    let holder = |sample: &Sample| {
        let known = of.iter().filter_map(|label| Some(format!("{label}={}", sample.labels.get(*label)?)));
        known.collect::<Vec<_>>().join(" ")
    };
    samples.all(name, labels).map(holder).collect()
}

fn all<const N: usize>(texts: [&str; N]) -> BTreeSet<String> {
    texts.map(str::to_owned).into()
}

/// The series under vendors' names, as they are printed but for the labels of a holder.
fn without_holders(samples: &Samples, of: &[&str]) -> BTreeSet<String> {
    let of_vendor =
        |sample: &&Sample| sample.name.starts_with("DCGM_") || sample.name.starts_with("habanalabs_");
    let bare = |sample: &Sample| {
        let labels = sample.labels.iter().filter(|(label, _)| !of.contains(&label.as_str()));
        let labels: Vec<_> = labels.map(|(label, value)| format!("{label}={value:?}")).collect();
        format!("{}{{{}}}", sample.name, labels.join(","))
    };
    samples.samples.iter().filter(of_vendor).map(bare).collect()
}

fn unified(samples: &Samples) -> BTreeSet<String> {
    let mut series = device_series(samples);
    series.retain(|series| series.starts_with("accel_"));
    series
}

#[test]
fn without_the_flag_no_series_names_a_holder() -> Result<()> {
    let node = Node::new("h100-sxm-4")?.frozen();
    let kubelet = Kubelet::start(&json!({"pods": []}))?;
    let exporter = start(&node, &kubelet, &[])?;
    let before = device_series(&exporter.settled()?);
    let gpu = uuid(&exporter.scrape()?, "gpu1", "")?;
    kubelet.set(&json!({"pods": [pod("web", "nvidia.com/gpu", &[&gpu])]}))?;
    let held = until_holders(&exporter, "the pod holds its device", &["web : gpu1"])?;
    ensure!(device_series(&held) == before, "a pod changed a series of a device");
    ensure!(before.iter().filter(|series| series.starts_with("DCGM_")).count() > 100);
    Ok(())
}

#[test]
fn gpus_instances_shares_and_jobs_name_their_holders_as_dcgm_exporter_does() -> Result<()> {
    let node = Node::new("h100-mig")?;
    let jobs = node.dir().join("jobs");
    fs::create_dir(&jobs)?;
    let mut kubelet = Kubelet::start(&json!({"pods": []}))?;
    let folder = jobs.display().to_string();
    let exporter = start(&node, &kubelet, &[FLAG, "--workloads.job-mapping", &folder])?;
    let free = exporter.settled()?;
    let [gpu, instance] = [uuid(&free, "gpu1", "")?, uuid(&free, "gpu0", "gi1")?];
    ensure!(named(&free, UTILIZATION, &[], HOLDER) == all([""]), "nobody holds a device");

    let ids = [format!("{gpu}::0"), format!("{gpu}::1")];
    let pods = json!([
        pod("größe-日本", "nvidia.com/gpu.shared", &[&ids[0]]),
        pod("b", "nvidia.com/gpu.shared", &[&ids[1]]),
        pod("part", "nvidia.com/mig-3g.40gb", &[&instance]),
    ]);
    kubelet.set(&json!({"pods": pods}))?;
    let held =
        until_holders(&exporter, "all hold", &["größe-日本 : gpu1 0", "b : gpu1 1", "part : gpu0 gi1"])?;
    let shared = all([
        "container=main namespace=team pod=größe-日本 vgpu=0",
        "container=main namespace=team pod=b vgpu=1",
    ]);
    for name in [UTILIZATION, "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_XID_ERRORS"] {
        ensure!(named(&held, name, &[("gpu", "1")], HOLDER) == shared, "{name}");
    }
    // The pod has the instance, and not the GPU around it.
    let of_instance = [("gpu", "0"), ("GPU_I_ID", "1")];
    let of_part = all(["container=main namespace=team pod=part"]);
    ensure!(named(&held, "DCGM_FI_DEV_FB_USED", &of_instance, HOLDER) == of_part);
    let around = [("gpu", "0"), ("GPU_I_ID", "")];
    ensure!(named(&held, "DCGM_FI_DEV_POWER_USAGE", &around, HOLDER) == all([""]));
    // Nothing else changes.
    ensure!(without_holders(&held, &HOLDER) == without_holders(&free, &HOLDER));
    ensure!(unified(&held) == unified(&free), "the unified names have changed");

    fs::write(jobs.join("0.1"), "4711\n4712\n")?;
    exporter.until("each job of the pod's instance", |samples| {
        let found = named(samples, "DCGM_FI_DEV_FB_USED", &of_instance, HOLDER);
        let jobs =
            ["4711", "4712"].map(|job| format!("container=main hpc_job={job} namespace=team pod=part"));
        ensure!(found == jobs.into(), "{found:?}");
        Ok(())
    })?;
    fs::remove_file(jobs.join("0.1"))?;

    kubelet.kill();
    let gone = exporter.until("no holder, and why", |samples| {
        ensure!(named(samples, UTILIZATION, &[("gpu", "1")], HOLDER) == all([""]));
        ensure!(named(samples, "DCGM_FI_DEV_FB_USED", &of_instance, HOLDER) == all([""]));
        let labels = [("interface", "pod_resources"), ("code", "ECONNREFUSED")];
        ensure!(samples.value("accelscope_workloads_faults_total", &labels)? >= 1.0);
        Ok(samples.clone())
    })?;
    ensure!(without_holders(&gone, &[]) == without_holders(&free, &[]), "the series are those of before");
    Ok(())
}

/// The labels by which Intel's exporter names a holder.
const GAUDI: [&str; 2] = ["pod_name", "pod_namespace"];

fn gaudi(node: &Node, flags: &[&str]) -> Result<(Kubelet, Exporter)> {
    let kubelet = Kubelet::start(&json!({"pods": []}))?;
    let exporter = start(node, &kubelet, flags)?;
    let serial = fact(&exporter.settled()?, "hpu3", "serial")?;
    let mut train = pod("train-0", "habana.ai/gaudi", &[&serial]);
    // That exporter knows no containers.
    let mut sidecar = train["containers"][0].clone();
    sidecar["name"] = json!("sidecar");
    train["containers"].as_array_mut().context("containers")?.push(sidecar);
    kubelet.set(&json!({"pods": [train]}))?;
    Ok((kubelet, exporter))
}

#[test]
fn gaudis_name_their_pod_as_intels_exporter_does() -> Result<()> {
    let node = Node::new("gaudi3-8")?
        .variable("KUBERNETES_SERVICE_PORT", "443")
        .variable("KUBE_POD_NAME", "accelscope-x7")
        .variable("KUBE_NAMESPACE", "monitoring")
        .variable("KUBE_NODE", "node1")
        .variable("HOSTNAME", "accelscope-x7");
    let (_kubelet, exporter) = gaudi(&node, &[FLAG])?;
    let samples = exporter.until("the pod is named", |samples| {
        let found = named(samples, "habanalabs_utilization", &[("id", "3")], GAUDI);
        ensure!(found == all(["pod_name=train-0 pod_namespace=team"]), "{found:?}");
        Ok(samples.clone())
    })?;
    let found = named(&samples, "habanalabs_nic_port_status", &[("id", "3"), ("port", "0")], GAUDI);
    ensure!(found == all(["pod_name=train-0 pod_namespace=team"]), "{found:?}");
    ensure!(named(&samples, "habanalabs_utilization", &[("id", "4")], GAUDI) == all([""]));
    let info: Vec<_> = samples.all("habanalabs_kube_info", &[]).map(|sample| &sample.series).collect();
    let expected = "habanalabs_kube_info{podName=\"accelscope-x7\",namespace=\"monitoring\",node=\"node1\",\
                    hostname=\"accelscope-x7\"}";
    ensure!(info == [expected], "{info:?}");
    Ok(())
}

#[test]
fn the_exporters_own_pod_is_named_where_it_has_one_and_the_flag_asks() -> Result<()> {
    let in_a_pod =
        Node::new("gaudi3-8")?.variable("KUBERNETES_SERVICE_PORT", "443").variable("HOSTNAME", "x");
    let nvidia = Node::new("t4-1")?.variable("KUBERNETES_SERVICE_PORT", "443").variable("HOSTNAME", "x");
    let alone = Node::new("gaudi3-8")?.variable("HOSTNAME", "x");
    for (node, flags, why) in [
        (&in_a_pod, &[][..], "the flag is off"),
        (&nvidia, &[FLAG], "its vendor has no such metric"),
        (&alone, &[FLAG], "it runs outside of Kubernetes"),
    ] {
        let exporter = node.start(flags)?;
        ensure!(!exporter.settled()?.has("habanalabs_kube_info", &[]), "{why}");
    }
    Ok(())
}

#[test]
fn a_flag_without_effect_is_refused() -> Result<()> {
    let node = Node::new("t4-1")?;
    let cases: [(&[&str], &str); 2] = [
        (&[FLAG, "--workloads", "off"], "without --workloads auto"),
        (&[FLAG, "--names", "unified"], "without --names vendor"),
    ];
    for (flags, words) in cases {
        let finished = node.run("serve", flags)?;
        ensure!(finished.code == Some(2) && finished.stderr.contains(words), "{finished:?}");
        ensure!(finished.stderr.trim().lines().count() == 1, "{}", finished.stderr);
    }
    Ok(())
}

#[test]
fn the_flag_is_read_again() -> Result<()> {
    let node = Node::new("t4-1")?;
    let kubelet = Kubelet::start(&json!({"pods": [pod("web", "nvidia.com/gpu", &["0"])]}))?;
    let file = node.dir().join("settings.toml");
    fs::write(&file, "")?;
    let exporter = start(&node, &kubelet, &["--config.file", &file.display().to_string()])?;
    until_holders(&exporter, "the pod holds its device", &["web : gpu0"])?;
    ensure!(named(&exporter.scrape()?, UTILIZATION, &[], HOLDER) == all([""]));
    for (set, expected) in
        [(Value::Bool(true), "container=main namespace=team pod=web"), (Value::Bool(false), "")]
    {
        fs::write(&file, format!("\"kubernetes.vendor-labels\" = {set}\n"))?;
        exporter.process.signal("HUP")?;
        exporter.until("the settings hold", |samples| {
            ensure!(named(samples, UTILIZATION, &[], HOLDER) == all([expected]));
            Ok(())
        })?;
    }
    Ok(())
}
