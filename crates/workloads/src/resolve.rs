//! Which device an id stands for, and the series of those who hold it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use naming::{Family, Flag, Label, catalogue::WORKLOAD_INFO, catalogue::WORKLOAD_POD_LABEL};
use reading::{Alias, Batch, Identity, Labels, Subject};

use crate::{accounts::Holder, cdi::Specs, kubelet::Listed, pod_info::PodInfo, pod_resources::Allocation};

/// What stands between an id and the number of a share of it: time slices and MPS of device plugins, and virtual
/// GPUs.
const SHARE_MARKS: [&str; 3] = ["::", "/vgpu", "-"];

/// The devices of this node and their partitions, by what they are called.
pub struct Devices<'a> {
    all: &'a [Arc<Identity>],
    ids: HashMap<(Family, &'a str), usize>,
    nodes: HashMap<&'a str, usize>,
}

impl<'a> Devices<'a> {
    /// The devices, each before its partitions.
    pub fn new(all: &'a [Arc<Identity>]) -> Self {
        let (mut ids, mut nodes) = (HashMap::new(), HashMap::new());
        for (index, identity) in all.iter().enumerate() {
            let family = identity.family;
            let mut add = |id: &'a str| _ = ids.entry((family, id)).or_insert(index);
            identity.uuid.iter().for_each(|uuid| add(uuid));
            for alias in &identity.aliases {
                match alias {
                    Alias::Id(id) => add(id),
                    Alias::Node(path) => _ = nodes.entry(path.as_str()).or_insert(index),
                    Alias::Opened(_) => {}
                }
            }
        }
        Self { all, ids, nodes }
    }

    /// The device that an id stands for, and the number of the share that it names.
    fn by_id<'id>(&self, family: Family, id: &'id str) -> Option<(usize, Option<&'id str>)> {
        if let Some(index) = self.ids.get(&(family, id)) {
            return Some((*index, None));
        }
        SHARE_MARKS.iter().find_map(|mark| {
            let (device, share) = id.rsplit_once(mark)?;
            let is_number = !share.is_empty() && share.bytes().all(|byte| byte.is_ascii_digit());
            let index = self.ids.get(&(family, device)).filter(|_| is_number)?;
            Some((*index, Some(share)))
        })
    }

    /// The device of any family that is called so.
    pub fn of_any_family(&self, id: &str) -> Option<usize> {
        Family::ALL.into_iter().find_map(|family| self.ids.get(&(family, id)).copied())
    }

    /// The device to which these nodes belong: the partition, where one of them is a partition's.
    fn by_nodes<'n>(&self, family: Family, nodes: impl Iterator<Item = &'n String>) -> Option<usize> {
        let found = nodes.filter_map(|node| self.nodes.get(node.as_str()).copied());
        let found = found.filter(|index| self.all[*index].family == family);
        found.max_by_key(|index| self.all[*index].partition.is_some())
    }
}

/// Who holds what.
#[derive(Debug, Default)]
pub struct Resolved {
    /// For each device that is held, its holders.
    pub holders: Vec<Subject>,
    /// Labels of pods that hold a device.
    pub pod_labels: Vec<Subject>,
    /// For each device that one container alone was given: namespace, pod and container.
    pub sole: HashMap<usize, [String; 3]>,
    /// Ids that no device has, of the families whose devices were given to pods.
    pub unresolved: BTreeMap<Family, u64>,
}

/// Finds the device of each allocation, and adds the `others` that hold a device, by its place among these.
pub fn resolve(
    Listed { allocations, pods }: &Listed,
    others: Vec<(usize, Holder)>,
    devices: &[Arc<Identity>],
    specs: &mut Specs,
) -> Resolved {
    let known = Devices::new(devices);
    let by_id: Vec<_> = allocations.iter().map(|one| known.by_id(one.family, &one.id)).collect();
    let unknown = allocations.iter().zip(&by_id).filter(|(_, found)| found.is_none());
    specs.refresh(unknown.flat_map(|(one, _)| &one.cdi).map(String::as_str));

    let mut resolved = Resolved::default();
    // Sorted and without repetitions: a series must not appear twice, whatever the kubelet lists.
    let mut held: BTreeMap<usize, BTreeSet<Holder>> = BTreeMap::new();
    let mut containers: HashMap<usize, BTreeSet<[&String; 3]>> = HashMap::new();
    let mut labels = BTreeSet::new();
    for (one, by_id) in allocations.iter().zip(by_id) {
        let unresolved = resolved.unresolved.entry(one.family).or_default();
        let nodes = || one.cdi.iter().flat_map(|name| specs.nodes(name));
        let found = by_id.or_else(|| Some((known.by_nodes(one.family, nodes())?, None)));
        let Some((index, share)) = found else {
            *unresolved += 1;
            continue;
        };
        let pod = pods.get(&(one.namespace.clone(), one.pod.clone()));
        held.entry(index).or_default().insert(holder(one, share, pod));
        containers.entry(index).or_default().insert([&one.namespace, &one.pod, &one.container]);
        labels.extend(pod.into_iter().flat_map(|pod| pod_labels(one, pod)));
    }
    let sole = containers.into_iter().filter(|(_, containers)| containers.len() == 1);
    let sole =
        sole.flat_map(|(index, only)| only.into_iter().map(move |only| (index, only.map(Clone::clone))));
    resolved.sole = sole.collect();
    for (index, holder) in others {
        held.entry(index).or_default().insert(holder);
    }
    let subject = |(index, holders): (usize, BTreeSet<Vec<_>>)| {
        let mut batch = Batch { capacity: holders.len(), ..Batch::default() };
        batch.begin(&devices[index]);
        for labels in holders {
            batch.put(WORKLOAD_INFO, Labels::Shared(labels.into()), Ok(Flag(true)));
        }
        batch.finish()
    };
    resolved.holders = held.into_iter().flat_map(subject).collect();
    let mut batch = Batch::default();
    batch.begin_exporter();
    for labels in labels {
        batch.put(WORKLOAD_POD_LABEL, Labels::Shared(labels.into()), Ok(Flag(true)));
    }
    resolved.pod_labels = batch.finish();
    resolved
}

/// The labels of a holder. What is not known is left out.
fn holder(one: &Allocation, share: Option<&str>, pod: Option<&PodInfo>) -> Holder {
    let share = one.share.as_deref().or(share);
    let all = [
        (Label::WorkloadKind, Some("pod")),
        (Label::Namespace, Some(one.namespace.as_str())),
        (Label::Pod, Some(&one.pod)),
        (Label::Container, Some(&one.container)),
        (Label::PodUid, pod.map(|pod| pod.uid.as_str())),
        (Label::Share, share),
    ];
    let known = all.into_iter().filter_map(|(label, value)| Some((label, value?.to_owned())));
    known.filter(|(_, value)| !value.is_empty()).collect()
}

/// The labels of the series for each label of a pod.
fn pod_labels(one: &Allocation, pod: &PodInfo) -> impl Iterator<Item = Vec<(Label, String)>> {
    pod.labels.iter().map(|(label, value)| {
        vec![
            (Label::Namespace, one.namespace.clone()),
            (Label::Pod, one.pod.clone()),
            (Label::PodUid, pod.uid.clone()),
            (Label::Label, label.clone()),
            (Label::Value, value.clone()),
        ]
    })
}

#[cfg(test)]
mod tests;
