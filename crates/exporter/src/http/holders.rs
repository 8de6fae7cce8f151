//! `--kubernetes.vendor-labels`: who holds a device, as vendors' own exporters write it on the series of that device.
//!
//! It follows from the series of `accel_workload_info`, so it comes and goes with them.

use std::{collections::BTreeSet, env, sync::Arc};

use exposition::Held as Printed;
use naming::{Family, Label, Value};
use reading::{Identity, Labels, Reading, Subject};
use workloads::Held;

/// The variable that containers have in Kubernetes.
const IN_KUBERNETES: &str = "KUBERNETES_SERVICE_PORT";

/// What a vendor's exporter says of one holder.
type Named = Vec<(&'static str, String)>;

/// The holders of each device, of those that its vendor's exporter names. Where both pods and jobs hold it, each pair of
/// them is one, as in that exporter.
pub fn held(subjects: &[Subject]) -> Vec<Printed> {
    let of_device = |subject: &Subject| {
        let identity = subject.identity()?;
        // A pod without a name is none for it, and neither is a unit of systemd a job.
        let pods = named(subject, identity.family, "pod", Label::Pod);
        let jobs = named(subject, identity.family, "slurm", Label::Job);
        let holders: Vec<_> = if pods.is_empty() || jobs.is_empty() {
            pods.into_iter().chain(jobs).collect()
        } else {
            pods.iter().flat_map(|pod| jobs.iter().map(|job| [&pod[..], job].concat())).collect()
        };
        (!holders.is_empty()).then(|| Printed { identity: Arc::clone(identity), holders })
    };
    subjects.iter().filter_map(of_device).collect()
}

/// The holders of this kind whose `name` is known, each once: the vendor's exporter may not distinguish two.
fn named(subject: &Subject, family: Family, kind: &str, name: Label) -> BTreeSet<Named> {
    let of_holder = |holder: Held<'_>| {
        let is_named = holder.text(name).is_some() && holder.text(Label::WorkloadKind) == Some(kind);
        let labels = family.holder_names().labels.iter().filter(|_| is_named);
        let text = |label| Some(holder.text(label)?.to_owned());
        let named: Named = labels.filter_map(|(label, printed)| Some((*printed, text(*label)?))).collect();
        (!named.is_empty()).then_some(named)
    };
    Held::of(subject).filter_map(of_holder).collect()
}

/// What the exporters of these families' vendors print of the pod that they run in; nothing outside of Kubernetes.
pub fn own_pod(families: impl Iterator<Item = Family>) -> Vec<Subject> {
    let in_kubernetes = env::var_os(IN_KUBERNETES).is_some();
    let of_family = |family: Family| {
        let (id, labels) = family.holder_names().own_pod.filter(|_| in_kubernetes)?;
        let known = labels.iter().filter_map(|(label, variable)| Some((*label, env::var(variable).ok()?)));
        let vendor = known.filter(|(_, value)| !value.is_empty()).collect();
        let identity = Arc::new(Identity { vendor, ..Identity::new(family, "") });
        let (labels, value) = (Labels::NONE, Value::Int(1));
        let reading = Reading { id, labels, value, begins_with_sampler: false };
        Some(Subject::new(Some(identity), vec![reading]))
    };
    families.filter_map(of_family).collect()
}

#[cfg(test)]
mod tests {
    use naming::{Flag, catalogue::WORKLOAD_INFO};
    use reading::Batch;

    use super::*;

    fn device(family: Family, holders: &[&[(Label, &str)]]) -> Subject {
        let mut batch = Batch::default();
        batch.begin(&Arc::new(Identity::new(family, "d0")));
        for holder in holders {
            let labels = holder.iter().map(|(label, value)| (*label, (*value).to_owned()));
            batch.put(WORKLOAD_INFO, Labels::Shared(labels.collect()), Ok(Flag(true)));
        }
        batch.finish().remove(0)
    }

    /// `label=value ...` of each holder.
    fn shown(family: Family, holders: &[&[(Label, &str)]]) -> Vec<String> {
        let show = |holder: Named| {
            holder.iter().map(|(label, value)| format!("{label}={value}")).collect::<Vec<_>>().join(" ")
        };
        held(&[device(family, holders)]).into_iter().flat_map(|held| held.holders).map(show).collect()
    }

    const POD: (Label, &str) = (Label::WorkloadKind, "pod");
    const JOB: (Label, &str) = (Label::WorkloadKind, "slurm");

    fn container(name: &'static str) -> [(Label, &'static str); 5] {
        let uid = (Label::PodUid, "u-1");
        [POD, (Label::Namespace, "team"), (Label::Pod, "web-0"), (Label::Container, name), uid]
    }

    #[test]
    fn each_vendor_has_its_own_labels() {
        let two: [&[_]; 2] = [&container("a"), &container("b")];
        assert_eq!(
            shown(Family::Nvidia, &two),
            ["container=a namespace=team pod=web-0", "container=b namespace=team pod=web-0"]
        );
        // Intel's exporter knows no containers, and a series must not appear twice.
        assert_eq!(shown(Family::Gaudi, &two), ["pod_name=web-0 pod_namespace=team"]);
        assert!(shown(Family::Xpu, &two).is_empty(), "a vendor without an exporter of its own");
    }

    #[test]
    fn jobs_are_named_beside_pods_and_nothing_else_is() {
        let share = [&container("a")[..], &[(Label::Share, "3")]].concat();
        let jobs: [&[_]; 2] = [&[JOB, (Label::Job, "1")], &[JOB, (Label::Job, "2"), (Label::User, "ada")]];
        assert_eq!(shown(Family::Nvidia, &jobs), ["hpc_job=1", "hpc_job=2"]);
        let both: [&[_]; 3] = [&share, jobs[0], jobs[1]];
        let pod = "container=a namespace=team pod=web-0 vgpu=3";
        assert_eq!(shown(Family::Nvidia, &both), [format!("{pod} hpc_job=1"), format!("{pod} hpc_job=2")]);
        let unit: &[_] = &[(Label::WorkloadKind, "unit"), (Label::Job, "ollama.service")];
        let nameless: &[_] = &[POD, (Label::Container, "0123"), (Label::PodUid, "u-1")];
        assert!(shown(Family::Nvidia, &[unit, nameless]).is_empty());
        assert!(shown(Family::Gaudi, &jobs).is_empty());
    }
}
