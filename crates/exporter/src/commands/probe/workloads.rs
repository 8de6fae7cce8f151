//! Who holds the devices that `probe` found, or why that is not known.

use std::collections::BTreeMap;

use reading::Subject;
use serde::Serialize;
use workloads::{Holders, InterfaceReport, Present, Settings};

use super::{Reason, labels};

/// Who holds devices of this node.
#[derive(Debug, Serialize)]
pub struct WorkloadsReport {
    /// Those of this node; none without a kubelet.
    interfaces: Vec<Asked>,
    /// One for each holder: the labels of the device, and its own.
    holders: Vec<BTreeMap<&'static str, String>>,
    /// Ids that were given to pods and that no device has, by family.
    unresolved: BTreeMap<&'static str, u64>,
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
            holders: holders.iter().flat_map(holders_of).collect(),
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
        for holder in &self.holders {
            let field = |name| holder.get(name).map_or("", String::as_str);
            let device = [field("device"), field("partition")].join(" ");
            let mut line = format!("  {}  {}", device.trim_end(), field("workload_kind"));
            for (name, before) in [
                ("namespace", " "),
                ("pod", "/"),
                ("job", " "),
                ("container", " "),
                ("user", " of "),
                ("share", "  share "),
            ] {
                if let Some(value) = holder.get(name) {
                    line.extend([before, value]);
                }
            }
            lines.push(line);
        }
        for (family, ids) in &self.unresolved {
            if *ids > 0 {
                lines.push(format!("  {family}: {ids} ids of pods are of no device here"));
            }
        }
        lines
    }
}

fn holders_of(subject: &Subject) -> impl Iterator<Item = BTreeMap<&'static str, String>> {
    let device = subject.identity().into_iter().flat_map(|identity| identity.labels());
    let device: BTreeMap<_, _> = device.map(|(name, value)| (name, value.to_owned())).collect();
    subject.readings().iter().map(move |reading| {
        let mut all = device.clone();
        all.extend(labels(&reading.labels));
        all
    })
}
