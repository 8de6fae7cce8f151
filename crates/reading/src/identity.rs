//! Who a group of readings belongs to.

use naming::Family;

/// A name of a device, or of a part of it, by which those know it who hand devices out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alias {
    /// An id of a device plugin or of a DRA driver, beside the UUID, without what numbers a share.
    Id(String),
    /// A device node that nothing else has, by its path on the host.
    Node(String),
    /// The device number of a node that a process has open while it works on the device, and otherwise not. Only of
    /// a device whose driver lists no processes: see [`crate::Batch::put_client`].
    Opened(u64),
}

/// The labels that every reading of a device, or of a partition of it, carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Kind of silicon.
    pub family: Family,
    /// Its name on this node, which stays its own for as long as it is remembered: `gpu0`, `socket0`, or the PCI
    /// address `0000:03:00.0` where the hardware has no identifier of its own that everyone may read.
    pub device: String,
    /// The hardware's own identifier, where it has one.
    pub uuid: Option<String>,
    /// Part of the device: a MIG instance, a tile, a core.
    pub partition: Option<String>,
    /// Labels of the vendor's vocabulary, in the vendor's order. Empty where the vendor has none.
    pub vendor: Vec<(&'static str, String)>,
    /// What else it is called, where devices are handed out. No label.
    pub aliases: Vec<Alias>,
}

impl Identity {
    /// A whole device without a UUID and without labels of a vendor.
    pub fn new(family: Family, device: impl Into<String>) -> Self {
        Self {
            family,
            device: device.into(),
            uuid: None,
            partition: None,
            vendor: Vec::new(),
            aliases: Vec::new(),
        }
    }

    /// The labels of the unified schema, in the order in which they are printed.
    pub fn labels(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [("family", self.family.name()), ("device", self.device.as_str())]
            .into_iter()
            .chain(self.uuid.as_deref().map(|uuid| ("uuid", uuid)))
            .chain(self.partition.as_deref().map(|partition| ("partition", partition)))
    }

    /// Whether both carry the same labels in the unified schema.
    pub fn is_same(&self, other: &Self) -> bool {
        self.labels().eq(other.labels())
    }
}
