//! Holders as tables, pages and vendors' labels name them, read back from the series of holders.

use std::{collections::BTreeMap, sync::Arc};

use naming::{Label, catalogue::WORKLOAD_INFO};
use reading::{Identity, Subject};

/// Who holds a device, a partition of it, or a share.
#[derive(Clone, Debug)]
pub struct Held<'a> {
    /// The device or partition.
    pub identity: &'a Arc<Identity>,
    /// The labels of `accel_workload_info` but the device's, by name.
    pub labels: BTreeMap<&'static str, String>,
}

impl<'a> Held<'a> {
    /// The holders that a subject has a series for; none of what is no device.
    pub fn of(subject: &'a Subject) -> impl Iterator<Item = Self> {
        let identity = subject.identity().into_iter();
        identity.flat_map(|identity| {
            let series = subject.of(WORKLOAD_INFO.id).iter();
            series.map(move |reading| Self { identity, labels: reading.labels.texts() })
        })
    }

    /// The value of one of its labels.
    pub fn text(&self, label: Label) -> Option<&str> {
        self.labels.get(label.name()).map(String::as_str)
    }

    /// What people call it: `pod team/serve-0 vllm share 0`, `slurm 4711 of ada`.
    pub fn name(&self) -> String {
        let mut name = self.text(Label::WorkloadKind).unwrap_or_default().to_owned();
        for (label, before) in [
            (Label::Namespace, " "),
            (Label::Pod, if self.text(Label::Namespace).is_some() { "/" } else { " " }),
            (Label::Job, " "),
            (Label::Container, " "),
            (Label::User, " of "),
            (Label::Share, " share "),
        ] {
            name.extend(self.text(label).into_iter().flat_map(|text| [before, text]));
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use naming::{Family, Flag};
    use reading::{Batch, Labels};

    use super::*;

    #[test]
    fn a_name_says_what_is_known() {
        let mut batch = Batch::default();
        batch.begin(&Arc::new(Identity::new(Family::Nvidia, "gpu0")));
        let holders: [&[(Label, &str)]; 3] = [
            &[
                (Label::WorkloadKind, "pod"),
                (Label::Namespace, "team"),
                (Label::Pod, "größe-日本"),
                (Label::Container, "main"),
                (Label::Share, "2"),
            ],
            &[(Label::WorkloadKind, "slurm"), (Label::Job, "4711"), (Label::User, "ada")],
            &[(Label::WorkloadKind, "pod"), (Label::Container, "0123"), (Label::PodUid, "u-1")],
        ];
        for holder in holders {
            let labels = holder.iter().map(|(label, value)| (*label, (*value).to_owned()));
            batch.put(WORKLOAD_INFO, Labels::Shared(labels.collect()), Ok(Flag(true)));
        }
        let subjects = batch.finish();
        let names: Vec<_> = subjects.iter().flat_map(Held::of).map(|held| held.name()).collect();
        assert_eq!(names, ["pod team/größe-日本 main share 2", "slurm 4711 of ada", "pod 0123"]);
    }
}
