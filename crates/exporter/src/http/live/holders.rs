//! Who holds each device, for the page: the series of workloads in the shape of docs/live.md.

use std::collections::BTreeMap;

use naming::{
    Label, Value,
    catalogue::{WORKLOAD_MEMORY_USED, WORKLOADS_UP},
};
use reading::{Identity, Reading, Subject};
use serde::Serialize;
use workloads::{Held, Room};

/// What is known of holders now.
pub struct Holders(Vec<Subject>);

/// One that holds a device, a partition of it, or a share.
#[derive(Serialize)]
pub struct Holder {
    /// What people call it.
    #[serde(skip)]
    pub name: String,
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
        let is_part = |held: &Held<'_>| {
            (held.identity.family, &held.identity.device) == (device.family, &device.device)
        };
        let holder = |held: Held<'_>| {
            let (mut name, partition) = (held.name(), held.identity.partition.clone());
            name.extend(partition.iter().flat_map(|partition| [" on ", partition]));
            let memory_used_bytes = self.memory(held.identity, &held.labels);
            Holder { name, partition, labels: held.labels, memory_used_bytes }
        };
        self.0.iter().flat_map(Held::of).filter(is_part).map(holder).collect()
    }

    /// Memory that the processes of a holder have. Which share they use is not known.
    fn memory(&self, identity: &Identity, holder: &BTreeMap<&'static str, String>) -> Option<u64> {
        let mut wanted = holder.clone();
        wanted.remove(Label::Share.name());
        let own = self.0.iter().filter(|subject| subject.identity().is_some_and(|own| own.is_same(identity)));
        let mut readings = own.flat_map(|subject| subject.of(WORKLOAD_MEMORY_USED.id));
        match readings.find(|reading| reading.labels.texts() == wanted)?.value {
            Value::Int(bytes) => Some(bytes),
            Value::Float(_) | Value::Histogram(_) => None,
        }
    }

    /// The interfaces of this node, and whether each gave its last list.
    pub fn interfaces(&self) -> Vec<Interface> {
        let up = self.0.iter().flat_map(|subject| subject.of(WORKLOADS_UP.id));
        let interface = |reading: &Reading| {
            let interface = reading.labels.texts().remove(Label::Interface.name())?;
            Some(Interface { interface, up: reading.value.as_f64() > 0.0 })
        };
        up.filter_map(interface).collect()
    }
}
