//! Who holds each device, for the page: the series of workloads in the shape of docs/live.md.

use std::collections::BTreeMap;

use naming::{
    Label, Value,
    catalogue::{WORKLOAD_INFO, WORKLOAD_MEMORY_USED, WORKLOADS_UP},
};
use reading::{Identity, Labels, Reading, Subject};
use serde::Serialize;
use workloads::Room;

/// What is known of holders now.
pub struct Holders(Vec<Subject>);

/// One that holds a device, a partition of it, or a share.
#[derive(Serialize)]
pub struct Holder {
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<String>,
    /// The labels of `accel_workload_info`.
    #[serde(flatten)]
    labels: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_used_bytes: Option<u64>,
}

/// An interface that knows who holds a device.
#[derive(Serialize)]
pub struct Interface {
    interface: String,
    up: bool,
}

impl Holders {
    /// Those that the room knows; none where nobody is asked.
    pub fn of(room: Option<&Room>) -> Self {
        Self(room.map(|room| room.read(|_| true)).unwrap_or_default())
    }

    /// The holders of a device and of its partitions.
    pub fn of_device(&self, device: &Identity) -> Vec<Holder> {
        let of_subject = |subject: &Subject| {
            let identity = subject.identity()?;
            let is_part = (identity.family, &identity.device) == (device.family, &device.device);
            let holder = |info: &Reading| {
                let labels = texts(&info.labels);
                let memory_used_bytes = self.memory(identity, &labels);
                Holder { partition: identity.partition.clone(), labels, memory_used_bytes }
            };
            is_part.then(|| subject.of(WORKLOAD_INFO.id).iter().map(holder).collect::<Vec<_>>())
        };
        self.0.iter().filter_map(of_subject).flatten().collect()
    }

    /// Memory that the processes of a holder have. Which share they use is not known.
    fn memory(&self, identity: &Identity, holder: &BTreeMap<&'static str, String>) -> Option<u64> {
        let mut wanted = holder.clone();
        wanted.remove(Label::Share.name());
        let own = self.0.iter().filter(|subject| subject.identity().is_some_and(|own| own.is_same(identity)));
        let mut readings = own.flat_map(|subject| subject.of(WORKLOAD_MEMORY_USED.id));
        match readings.find(|reading| texts(&reading.labels) == wanted)?.value {
            Value::Int(bytes) => Some(bytes),
            Value::Float(_) | Value::Histogram(_) => None,
        }
    }

    /// The interfaces of this node, and whether each gave its last list.
    pub fn interfaces(&self) -> Vec<Interface> {
        let up = self.0.iter().flat_map(|subject| subject.of(WORKLOADS_UP.id));
        let interface = |reading: &Reading| {
            let interface = texts(&reading.labels).remove(Label::Interface.name())?;
            Some(Interface { interface, up: reading.value.as_f64() > 0.0 })
        };
        up.filter_map(interface).collect()
    }
}

fn texts(labels: &Labels) -> BTreeMap<&'static str, String> {
    let mut texts = BTreeMap::new();
    labels.for_each(|label, value| _ = texts.insert(label.name(), value.to_owned()));
    texts
}

impl Holder {
    /// What people call it: `pod team/serve-0 vllm share 0`.
    pub fn name(&self) -> String {
        let text = |label: Label| self.labels.get(label.name()).map(String::as_str);
        let pod = text(Label::Pod).map(|pod| match text(Label::Namespace) {
            Some(namespace) => format!("{namespace}/{pod}"),
            None => pod.to_owned(),
        });
        let own = [text(Label::WorkloadKind), pod.as_deref(), text(Label::Job), text(Label::Container)];
        let of = |word: &str, text: Option<&str>| text.map(|text| format!("{word} {text}"));
        let more = [
            of("user", text(Label::User)),
            of("share", text(Label::Share)),
            of("on", self.partition.as_deref()),
        ];
        let own = own.into_iter().flatten().map(str::to_owned);
        own.chain(more.into_iter().flatten()).collect::<Vec<_>>().join(" ")
    }
}
