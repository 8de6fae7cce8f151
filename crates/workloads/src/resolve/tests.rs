//! Ids of every kind that is handed out, and what must not become a series.

use std::fs;

use super::*;
use crate::pod_info::Pods;

/// A GPU with two MIG instances, a second one, and a card without a UUID.
fn devices() -> Vec<Arc<Identity>> {
    let id = |text: &str| Alias::Id(text.to_owned());
    let node = |text: &str| Alias::Node(text.to_owned());
    let gpu = |number: u32| Identity {
        uuid: Some(format!("GPU-{number}")),
        aliases: vec![
            id(&number.to_string()),
            id(&format!("nvidia{number}")),
            id(&format!("gpu-{number}")),
            node(&format!("/dev/nvidia{number}")),
        ],
        ..Identity::new(Family::Nvidia, format!("gpu{number}"))
    };
    let part = |number: u32| Identity {
        uuid: Some(format!("MIG-{number}")),
        partition: Some(format!("gi{number}")),
        aliases: vec![
            id(&format!("nvidia0/gi{number}")),
            id(&format!("gpu-0-mig-1g10gb-19-{number}")),
            node(&format!("/dev/nvidia-caps/nvidia-cap{number}0")),
        ],
        ..Identity::new(Family::Nvidia, "gpu0")
    };
    let card = Identity {
        aliases: vec![id("card1"), id("0000-03-00-0-0xe211"), node("/dev/dri/card1")],
        ..Identity::new(Family::Xpu, "0000:03:00.0")
    };
    [gpu(0), part(1), part(2), gpu(1), card].map(Arc::new).to_vec()
}

fn one(family: Family, id: &str) -> Allocation {
    Allocation {
        namespace: "team".to_owned(),
        pod: "serve-0".to_owned(),
        container: "vllm".to_owned(),
        family,
        id: id.to_owned(),
        share: None,
        cdi: Vec::new(),
    }
}

/// Device, partition and share of each series.
fn found(resolved: &Resolved) -> Vec<String> {
    let series = |subject: &Subject| {
        let identity = subject.identity().expect("of a device").clone();
        let part = identity.partition.clone().unwrap_or_default();
        let readings = subject.readings().iter().map(move |reading| {
            let mut share = String::new();
            reading.labels.with_value(Label::Share, |value| share = format!("::{value}"));
            format!("{}{}{part}{share}", identity.device, if part.is_empty() { "" } else { "/" })
        });
        readings.collect::<Vec<_>>()
    };
    resolved.holders.iter().flat_map(series).collect()
}

fn listed(allocations: &[Allocation], pods: Pods) -> Listed {
    Listed { allocations: allocations.to_vec(), pods }
}

fn resolved(allocations: &[Allocation]) -> Resolved {
    resolve(&listed(allocations, Pods::new()), Vec::new(), &devices(), &mut Specs::new("/nowhere".into()))
}

#[test]
fn every_form_of_an_id_leads_to_its_device() {
    use Family::{Npu, Nvidia, Xpu};
    let cases = [
        (Nvidia, "GPU-1", "gpu1"),
        (Nvidia, "1", "gpu1"),
        (Nvidia, "GPU-1::3", "gpu1::3"),
        (Nvidia, "1::0", "gpu1::0"),
        (Nvidia, "MIG-2", "gpu0/gi2"),
        (Nvidia, "MIG-2::1", "gpu0/gi2::1"),
        (Nvidia, "nvidia1", "gpu1"),
        (Nvidia, "nvidia1/vgpu2", "gpu1::2"),
        (Nvidia, "nvidia0/gi1", "gpu0/gi1"),
        (Nvidia, "nvidia0/gi1/vgpu0", "gpu0/gi1::0"),
        (Nvidia, "gpu-1", "gpu1"),
        (Nvidia, "gpu-0-mig-1g10gb-19-2", "gpu0/gi2"),
        (Xpu, "card1-0", "0000:03:00.0::0"),
        (Xpu, "0000-03-00-0-0xe211", "0000:03:00.0"),
        // Of nobody here.
        (Nvidia, "gpu-0-mig-1g10gb-19-5", ""),
        (Nvidia, "gpu-vfio-0", ""),
        (Nvidia, "GPU-1::", ""),
        (Nvidia, "GPU-1::x", ""),
        (Nvidia, "GPU-11", ""),
        (Nvidia, "", ""),
        (Xpu, "card10-0", ""),
        (Xpu, "GPU-1", ""),
        (Npu, "accel0-0", ""),
    ];
    for (family, id, expected) in cases {
        let resolved = resolved(&[one(family, id)]);
        let unresolved = u64::from(expected.is_empty());
        let expected: &[&str] = if expected.is_empty() { &[] } else { &[expected] };
        assert_eq!(
            (found(&resolved), resolved.unresolved[&family]),
            (expected.iter().map(ToString::to_string).collect(), unresolved),
            "{id}"
        );
    }
}

#[test]
fn no_series_appears_twice_and_every_holder_has_one() {
    let shared = |pod: &str, id: &str| Allocation { pod: pod.to_owned(), ..one(Family::Nvidia, id) };
    let all = [
        shared("a", "GPU-1::0"),
        shared("b", "GPU-1::1"),
        // Listed twice, and by two of its names.
        shared("a", "GPU-1::0"),
        shared("a", "1::0"),
        // One pod with two shares of one device.
        shared("b", "GPU-1::2"),
        Allocation { share: Some("f00d".to_owned()), ..shared("c", "gpu-1") },
    ];
    assert_eq!(found(&resolved(&all)), ["gpu1::0", "gpu1::1", "gpu1::2", "gpu1::f00d"]);
}

#[test]
fn what_the_id_does_not_say_the_nodes_of_the_claim_do() {
    let root = tempfile::tempdir().expect("a folder");
    let claim = |name: &str, nodes: &[&str]| {
        let nodes: Vec<_> = nodes.iter().map(|node| format!("    - path: {node}")).collect();
        let nodes = nodes.join("\n");
        let text = format!(
            "kind: k8s.gpu.nvidia.com/claim\ndevices:\n- name: {name}\n  containerEdits:\n    deviceNodes:\n{nodes}"
        );
        fs::write(root.path().join(format!("k8s.gpu.nvidia.com-claim_{name}.yaml")), text).expect("written");
        let cdi = vec![format!("k8s.gpu.nvidia.com/claim={name}")];
        Allocation { cdi, ..one(Family::Nvidia, "gpu-0-mig-unknown-1-1") }
    };
    let mut specs = Specs::new(root.path().to_owned());
    let mut found_by = |claim: Allocation| {
        found(&resolve(&listed(&[claim], Pods::new()), Vec::new(), &devices(), &mut specs))
    };
    let of_instance = ["/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-caps/nvidia-cap20"];
    assert_eq!(found_by(claim("c1", &of_instance)), ["gpu0/gi2"]);
    assert_eq!(found_by(claim("c2", &["/dev/nvidiactl", "/dev/nvidia1"])), ["gpu1"]);
    assert_eq!(found_by(claim("c3", &["/dev/nvidiactl"])), Vec::<String>::new());
    assert_eq!(found_by(claim("c4", &["/dev/dri/card1"])), Vec::<String>::new(), "another family's");
}

#[test]
fn labels_are_what_is_known() {
    let pod =
        PodInfo { uid: "u1".to_owned(), labels: [("app".to_owned(), "größe \"x\"\n".to_owned())].into() };
    let pods = [(("team".to_owned(), "serve-0".to_owned()), pod)].into();
    let mut specs = Specs::new("/nowhere".into());
    let labels = |subject: &Subject| {
        let mut all = Vec::new();
        subject.readings()[0].labels.for_each(|label, value| all.push(format!("{label}={value}")));
        all.join(",")
    };
    let all = [one(Family::Nvidia, "GPU-0")];
    let resolved = resolve(&listed(&all, pods), Vec::new(), &devices(), &mut specs);
    assert_eq!(
        labels(&resolved.holders[0]),
        "workload_kind=pod,namespace=team,pod=serve-0,container=vllm,pod_uid=u1"
    );
    assert_eq!(
        labels(&resolved.pod_labels[0]),
        "namespace=team,pod=serve-0,pod_uid=u1,label=app,value=größe \"x\"\n"
    );
    let resolved = resolve(&listed(&all, Pods::new()), Vec::new(), &devices(), &mut specs);
    assert_eq!(labels(&resolved.holders[0]), "workload_kind=pod,namespace=team,pod=serve-0,container=vllm");
}
