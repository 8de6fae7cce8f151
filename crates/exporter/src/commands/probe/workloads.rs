//! Who holds the devices that `probe` found, or why that is not known.

use std::collections::BTreeMap;

use serde::Serialize;
use workloads::{Held, Holders, InterfaceReport, Present, Settings};

use super::Reason;

/// Who holds devices of this node.
#[derive(Debug, Serialize)]
pub struct WorkloadsReport {
    /// Those of this node; none without a kubelet.
    interfaces: Vec<Asked>,
    /// One for each holder.
    holders: Vec<Holder>,
    /// Ids that were given to pods and that no device has, by family.
    unresolved: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Serialize)]
struct Holder {
    /// The labels of the device, and its own.
    #[serde(flatten)]
    labels: BTreeMap<&'static str, String>,
    /// For people.
    #[serde(skip)]
    line: String,
}

#[derive(Debug, Serialize)]
struct Asked {
    interface: &'static str,
    path: String,
    unavailable: Option<Reason>,
}

impl WorkloadsReport {
    /// Asks once who holds which of these devices.
    ///
    /// # Errors
    /// One line, when the process has no resources for that.
    pub fn ask(settings: &Settings, devices: &[Present]) -> Result<Self, String> {
        let asked = Holders::ask(settings, devices);
        let Holders { interfaces, holders, unresolved } =
            asked.map_err(|error| format!("cannot ask who holds a device: {error}"))?;
        let interface = |InterfaceReport { name, path, fault }| Asked {
            interface: name,
            path: path.display().to_string(),
            unavailable: fault.map(Reason::from),
        };
        Ok(Self {
            interfaces: interfaces.into_iter().map(interface).collect(),
            holders: holders.iter().flat_map(Held::of).map(Holder::of).collect(),
            unresolved: unresolved.into_iter().map(|(family, ids)| (family.name(), ids)).collect(),
        })
    }

    /// Why an interface gave no list.
    pub fn reasons(&self) -> impl Iterator<Item = &Reason> {
        self.interfaces.iter().filter_map(|interface| interface.unavailable.as_ref())
    }

    /// For people.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![String::new()];
        if self.interfaces.is_empty() {
            lines.push("workloads: this node has neither a kubelet nor a folder of jobs".to_owned());
        }
        for Asked { interface, path, unavailable } in &self.interfaces {
            let state = match unavailable {
                None => "listed".to_owned(),
                Some(Reason { kind, call, code, .. }) => format!("{kind}: {call} ({code})"),
            };
            lines.push(format!("workloads: {interface}: {path}: {state}"));
        }
        lines.extend(self.holders.iter().map(|holder| holder.line.clone()));
        for (family, ids) in &self.unresolved {
            if *ids > 0 {
                lines.push(format!("  {family}: {ids} ids of pods are of no device here"));
            }
        }
        lines
    }
}

impl Holder {
    fn of(held: Held<'_>) -> Self {
        let identity = held.identity;
        let device =
            identity.partition.iter().fold(identity.device.clone(), |device, part| device + " " + part);
        let line = format!("  {device}  {}", held.name());
        let mut labels = held.labels;
        labels.extend(identity.labels().map(|(name, value)| (name, value.to_owned())));
        Self { labels, line }
    }
}
